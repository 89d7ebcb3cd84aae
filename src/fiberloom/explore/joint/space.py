"""The space of a joint search: a design space of hardware, and choices of every layer's mapping behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.explore.joint.genes import LayerGenes
from fiberloom.explore.space import DesignSpace, Parameter, Point

_MOST_DIGITS: Final = 4000
"""Of a design's number; Python writes integers of up to 4300 digits as text."""


class JointSpace(DesignSpace):
    """Points are those of the hardware followed by one index per choice of every layer.

    `values` and `names` speak of the hardware alone: mappings are read as loop nests, not as hundreds of choices.

    Attributes:
        hardware: the space of the file.
        layers: choices of the layers, in order.
        parts: where each layer's choices stand in a point.

    Raises:
        UnsupportedError: for more choices than designs can be numbered by.
    """

    def __init__(self, hardware: DesignSpace, layers: Sequence[LayerGenes]) -> None:
        super().__init__(hardware.parameters, hardware.requirements)
        self.hardware = hardware
        self.layers = tuple(layers)
        genes = tuple(p for layer in layers for p in layer.parameters)
        self.parameters: tuple[Parameter, ...] = (*hardware.parameters, *genes)
        self.radices = np.array([len(p.values) for p in genes], np.int64)
        ends = len(hardware.parameters) + np.cumsum([len(layer.parameters) for layer in layers])
        self.parts = [slice(int(e) - len(layer.parameters), int(e)) for e, layer in zip(ends, layers, strict=True)]
        weights = [1]
        for radix in self.radices:
            weights.append(weights[-1] * int(radix))
        self._weights, self._mappings = weights[:-1], weights[-1]
        if self.size() >= 10**_MOST_DIGITS:
            raise UnsupportedError(
                f"{len(genes):,} choices of mappings are more than a joint search can number",
                hint="explore fewer or smaller networks at a time",
            )

    @property
    def names(self) -> tuple[str, ...]:
        return self.hardware.names

    def size(self) -> int:
        return self.hardware.size() * self._mappings

    def split(self, point: Sequence[int]) -> tuple[Point, tuple[int, ...]]:
        """The hardware's point and the choices of the layers."""
        n = len(self.hardware.parameters)
        return tuple(point[:n]), tuple(point[n:])

    def active(self, point: Sequence[int]) -> tuple[bool, ...]:
        hardware, genes = self.split(point)
        return (*self.hardware.active(hardware), *(True for _ in genes))

    def canonical(self, point: Sequence[int]) -> Point:
        hardware, genes = self.split(point)
        found = np.array(genes)
        if found.shape != self.radices.shape or (found < 0).any() or (found >= self.radices).any():
            self._check(point)
        return (*self.hardware.canonical(hardware), *(int(i) for i in genes))

    def values(self, point: Sequence[int]) -> dict[str, Any]:
        return self.hardware.values(self.split(point)[0])

    def point(self, values: Mapping[str, Any]) -> Point:
        """The hardware with these values, every loop at the outermost level."""
        return (*self.hardware.point(values), *(0 for _ in self.radices))

    def rank(self, point: Sequence[int]) -> int:
        hardware, genes = self.split(point)
        own = sum(int(g) * w for g, w in zip(genes, self._weights, strict=True) if g)
        return self.hardware.rank(hardware) * self._mappings + own

    def unrank(self, rank: int) -> Point:
        if not 0 <= rank < self.size():
            raise SpecError(f"there is no design {rank}", hint=f"they are numbered from 0 to {self.size() - 1}")
        hardware, rank = divmod(rank, self._mappings)
        genes = []
        for radix in self.radices:
            rank, gene = divmod(rank, int(radix))
            genes.append(gene)
        return (*self.hardware.unrank(hardware), *genes)

    def sample(self, rng: np.random.Generator, n: int) -> list[Point]:
        drawn = rng.integers(0, self.radices, (n, len(self.radices))).tolist()
        return [(*h, *genes) for h, genes in zip(self.hardware.sample(rng, n), drawn, strict=True)]

    def all(self) -> Iterator[Point]:
        for hardware in self.hardware.all():
            first = self.hardware.rank(hardware) * self._mappings
            for i in range(self._mappings):
                yield self.unrank(first + i)

    def neighbour(self, rng: np.random.Generator, point: Point, *, step: int = 1) -> Point:
        """As often another array as another mapping of one layer, in one choice."""
        hardware, genes = self.split(point)
        if rng.random() < 0.5:
            moved = self.hardware.neighbour(rng, hardware, step=step)
            if moved != hardware:
                return (*moved, *genes)
        changed = list(genes)
        i = int(rng.integers(len(changed)))
        changed[i] = int((changed[i] + rng.integers(1, self.radices[i])) % self.radices[i])
        return (*hardware, *changed)
