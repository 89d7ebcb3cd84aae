"""The arrays of a joint search, lowered once each, and what their derived buffers cost at any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.architecture.components import estimate
from fiberloom.architecture.levels import Architecture, ComponentClass, StorageLevel
from fiberloom.errors import SpecError, UnsupportedError, nearest
from fiberloom.model.actions import KINDS, STORAGE_ACTIONS, storage_energy
from fiberloom.model.lower import lower
from fiberloom.model.records import PROBLEM
from fiberloom.model.rules import EnergyNames
from fiberloom.network_evaluation.cases import Layer, Widths, fitted
from fiberloom.network_evaluation.designs import Design
from fiberloom.network_evaluation.mapping_search import seen_by
from fiberloom.workload.einsum import Einsum

Array = NDArray[Any]

_OF_THE_EINSUM: Final = frozenset(
    ("variables", "tensors", "output", "bounds", "coefficient", "term_count", "term_variable", "term_coefficient",
     "rank_count", "tensor_shape", "radix", "is_relevant", "is_lone", "is_sole", "is_simple", "is_dense", "by_shape",
     "element_density")
)  # fmt: skip
"""Fields of a lowered problem that its Einsum alone decides; the others follow from the hardware and the tensors' names and widths."""

_OF_THE_HARDWARE: Final = tuple(name for name in PROBLEM.names or () if name not in _OF_THE_EINSUM)


@dataclass(frozen=True)
class Price:
    """A memory of some depth: pJ by action and kind, pJ of leakage per cycle, um2; of one instance."""

    energy_pj: Array
    leak_pj: float
    area_um2: float


@dataclass(frozen=True)
class Hardware:
    """An array whose derived buffers have one row each, lowered.

    Attributes:
        fields: of the lowered problem, by signature, what the hardware decides.
        area_um2: of everything but the derived buffers.
        derived: levels whose depth is open, by index from the innermost.
    """

    design: Design
    fields: tuple[dict[str, Array], ...]
    area_um2: float
    derived: dict[int, Memory]

    @property
    def architecture(self) -> Architecture:
        return self.design.architecture


@dataclass(frozen=True)
class Memory:
    """A level whose depth is open.

    Attributes:
        kind: all that its price depends on besides the depth.
    """

    level: StorageLevel
    kind: tuple[str, str, float]

    @classmethod
    def of(cls, level: StorageLevel, architecture: Architecture) -> Memory:
        text = level.model_dump_json(exclude={"name", "depth"})
        return cls(level, (text, architecture.technology, architecture.cycle_seconds))

    def depth(self, words: float) -> int:
        """Rows that hold `words`, at least one."""
        return max(1, math.ceil(words * self.level.multiple_buffering / self.level.words_per_access - 1e-9))

    def capacity(self, depth: int) -> int:
        """Words in `depth` rows, as `StorageLevel.capacity_words`."""
        return math.floor(depth * self.level.words_per_access / self.level.multiple_buffering)

    def price(self, depth: int) -> Price:
        """What it costs with `depth` rows, by the component library."""
        key = (*self.kind, depth)
        if key not in _PRICES:
            if len(_PRICES) >= _MOST_PRICES:
                _PRICES.clear()
            _PRICES[key] = _priced(self.level.model_copy(update={"depth": depth}), *self.kind[1:])
        return _PRICES[key]


_PRICES: Final[dict[tuple[Any, ...], Price]] = {}
_MOST_PRICES: Final = 100_000  # about 40 MB


def _priced(level: StorageLevel, technology: str, cycle_seconds: float) -> Price:
    found = estimate(level, technology=technology, cycle_seconds=cycle_seconds)
    table = [
        [storage_energy(found.energy_pj, action, kind, EnergyNames.NEW) or 0.0 for kind in KINDS]
        for action in STORAGE_ACTIONS
    ]
    return Price(np.array(table), found.energy_pj.get("leak", 0.0), found.area_um2)


class Lowering:
    """Lowers layers on any hardware of a space.

    Layers whose Einsums differ in nothing but bounds share what the hardware decides, so that it is lowered once for all of them.

    Args:
        derived: names of the levels whose depth follows from the mappings.
    """

    def __init__(self, layers: Sequence[Layer], derived: Sequence[str]) -> None:
        self.layers = tuple(layers)
        self.derived = tuple(derived)
        signatures: dict[str, list[int]] = {}
        for j, layer in enumerate(layers):
            signatures.setdefault(_signature(layer.einsum), []).append(j)
        self.rows = [np.array(rows) for rows in signatures.values()]

    def bound(self, design: Design, j: int) -> tuple[Einsum, Architecture]:
        """Layer `j` and the architecture under its names."""
        bound = design.bound(fitted(self.layers[j].einsum, Widths.FIT, design.architecture.compute.word_bits))
        return seen_by(bound.architecture, bound.einsum), bound.architecture

    def hardware(self, design: Design) -> Hardware:
        """`design` lowered.

        Raises:
            UnsupportedError: for sparse features; SpecError: for levels that can't be derived.
        """
        self._check(design)
        architecture = design.architecture
        levels = tuple(
            level.model_copy(update={"depth": 1}) if level.name in self.derived else level
            for level in architecture.levels
        )
        whole = replace(design, architecture=architecture.model_copy(update={"levels": levels}))
        found = [lower(*self.bound(whole, int(rows[0]))) for rows in self.rows]
        fields = tuple({name: problem.arrays[name][0] for name in _OF_THE_HARDWARE} for problem in found)
        areas = found[0].areas_um2
        fixed = [c for c in (*levels, architecture.compute) if c.name not in self.derived]
        derived = {
            i: Memory.of(level, architecture) for i, level in enumerate(reversed(levels)) if level.name in self.derived
        }
        return Hardware(whole, fields, sum(areas[c.name] * c.instances for c in fixed), derived)

    def _check(self, design: Design) -> None:
        architecture = design.architecture
        sparse = [lv.name for lv in architecture.levels if lv.formats or lv.optimizations]
        if sparse or architecture.compute.gating or architecture.compute.skipping:
            raise UnsupportedError(
                f"a joint search takes dense hardware, and '{(*sparse, architecture.compute.name)[0]}' has sparse features",
                hint="leave out formats, gate and skip; or use 'kind: accelerator', which maps every design by itself",
            )
        for level in architecture.levels:
            if level.min_utilization:
                raise UnsupportedError(
                    f"'{level.name}' has a least utilisation, which a joint search does not keep", hint="leave it out"
                )
        by_name = {level.name: level for level in architecture.levels}
        for name in self.derived:
            if name not in by_name:
                raise SpecError(f"'derive' names '{name}', which is no level", hint=nearest(name, by_name))
            level = by_name[name]
            if level.component not in (ComponentClass.SRAM, ComponentClass.REGFILE):
                raise SpecError(f"'{name}' is derived, but is a {level.component.value}", hint="derive sram or regfile")
            if level.energy_pj is not None or level.area_um2 is not None:
                raise SpecError(
                    f"'{name}' is derived, but its energy or area is given for one size",
                    hint="leave out energy_pj and area_um2: the component library prices every size",
                )


def _signature(einsum: Einsum) -> str:
    """What lowering hardware looks at in an Einsum; `Lowering` is right as far as this is complete (tests compare)."""
    return repr((tuple(einsum.shape), [(t.name, t.ranks, t.is_output, t.word_bits) for t in einsum.tensors]))
