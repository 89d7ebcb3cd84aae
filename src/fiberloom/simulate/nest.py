"""The loop nest of a mapping, flattened to one list of loops, and the numbering of its time steps and instances."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fiberloom.architecture.levels import Architecture
from fiberloom.errors import MappingError
from fiberloom.mapping.nest import Mapping
from fiberloom.workload.einsum import Einsum, Tensor


@dataclass(frozen=True)
class Loop:
    """One loop. `stride` is how far one iteration of it moves `variable`; `level` counts from the outermost, 0."""

    variable: str
    bound: int
    spatial: bool
    level: int
    stride: int


@dataclass(frozen=True)
class Nest:
    """All loops of bound > 1, outermost first: temporal then spatial loops of level 0, then those of level 1, ….

    A *cut* at `c` stands above the loops of level `c`: the loops above it number the time steps and the instances of
    level `c`, the loops below it span that level's tile. The cut at ``len(levels)`` is that of compute: one lane, one
    point.

    Factors may multiply to more than a bound. The nest then has points outside the bound, which are skipped: tiles end at
    the bound, and an instance without any point in a step is idle (see `active`).
    """

    workload: Einsum
    architecture: Architecture
    mapping: Mapping
    loops: tuple[Loop, ...]

    @classmethod
    def of(cls, workload: Einsum, architecture: Architecture, mapping: Mapping) -> Nest:
        """Lay out the loops of `mapping`.

        Raises:
            MappingError: when the mapping does not fit the workload.
        """
        mapping.check(workload, architecture)
        plain: list[tuple[str, int, bool, int]] = []
        for level, storage in enumerate(architecture.levels):
            here = mapping.at(storage.name)
            for factors, order, spatial in (
                (here.temporal, here.temporal_order, False),
                (here.spatial, here.spatial_order, True),
            ):
                for variable in outermost_first(workload.shape, order):
                    if factors.get(variable, 1) > 1:
                        plain.append((variable, factors[variable], spatial, level))
        loops: list[Loop] = []
        inner = dict.fromkeys(workload.shape, 1)
        for variable, bound, spatial, level in reversed(plain):
            loops.insert(0, Loop(variable, bound, spatial, level, inner[variable]))
            inner[variable] *= bound
        return cls(workload, architecture, mapping, tuple(loops))

    @property
    def compute_cut(self) -> int:
        return len(self.architecture.levels)

    def steps(self, cut: int) -> int:
        """Time steps above a cut: product of the temporal bounds."""
        return math.prod(loop.bound for loop in self.loops if loop.level < cut and not loop.spatial)

    def instances(self, cut: int) -> int:
        """Instances in use at a cut: product of the spatial bounds above it."""
        return math.prod(loop.bound for loop in self.loops if loop.level < cut and loop.spatial)

    def extents(self, cut: int) -> dict[str, int]:
        """Iterations of each variable inside a cut, in a full tile."""
        extents = dict.fromkeys(self.workload.shape, 1)
        for loop in self.loops:
            if loop.level >= cut:
                extents[loop.variable] *= loop.bound
        return {variable: min(extent, self.workload.shape[variable]) for variable, extent in extents.items()}

    def remainders(self) -> set[str]:
        """Variables whose factors multiply to more than their bound."""
        products = dict.fromkeys(self.workload.shape, 1)
        for loop in self.loops:
            products[loop.variable] *= loop.bound
        return {variable for variable, product in products.items() if product != self.workload.shape[variable]}

    def active(self, cut: int) -> NDArray[np.bool_]:
        """Whether each (time step, instance) has any point inside all bounds: ``(steps, instances)``."""
        inside = np.ones((self.steps(cut), self.instances(cut)), dtype=bool)
        for variable, base in self.variable_bases(cut).items():
            inside &= base < self.workload.shape[variable]
        return inside

    def indices(self, cut: int, spatial: bool) -> dict[Loop, NDArray[np.int64]]:
        """Iteration of each temporal (or spatial) loop above a cut at every time step (or instance), in nest order."""
        loops = [loop for loop in self.loops if loop.level < cut and loop.spatial == spatial]
        grid = np.indices([loop.bound for loop in loops]).reshape(len(loops), -1) if loops else ()
        return {loop: np.asarray(index, dtype=np.int64) for loop, index in zip(loops, grid, strict=True)}

    def variable_bases(self, cut: int) -> dict[str, NDArray[np.int64]]:
        """First value of each variable in the tile of every (time step, instance): arrays ``(steps, instances)``."""
        steps, instances = self.steps(cut), self.instances(cut)
        bases = {v: np.zeros((steps, instances), dtype=np.int64) for v in self.workload.shape}
        for loop, index in self.indices(cut, spatial=False).items():
            bases[loop.variable] += (index * loop.stride)[:, None]
        for loop, index in self.indices(cut, spatial=True).items():
            bases[loop.variable] += (index * loop.stride)[None, :]
        return bases

    def tiles(self, tensor: Tensor, cut: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Lowest coordinate, from 0, and length of the tile of every (time step, instance): ``(steps, instances, ranks)`` each.

        Meaningless where nothing is `active`.
        """
        bases = self.variable_bases(cut)
        extents = {
            variable: np.clip(self.workload.shape[variable] - bases[variable], 0, extent)
            for variable, extent in self.extents(cut).items()
        }
        origins = np.zeros((self.steps(cut), self.instances(cut), len(tensor.ranks)), dtype=np.int64)
        lengths = np.ones_like(origins)
        for r, rank in enumerate(tensor.ranks):
            for coefficient, variable in rank:
                lengths[:, :, r] += abs(coefficient) * (extents[variable] - 1)
                if coefficient > 0:
                    origins[:, :, r] += coefficient * bases[variable]
                else:  # the highest iteration has the lowest coordinate; shift so that the whole tensor starts at 0
                    last = bases[variable] + extents[variable] - 1
                    origins[:, :, r] += coefficient * (last - (self.workload.shape[variable] - 1))
        return origins, lengths

    def keepers(self, tensor: str) -> tuple[int, ...]:
        """Levels that hold a tensor, outermost first.

        Raises:
            MappingError: if there is none.
        """
        kept = []
        for i, level in enumerate(self.architecture.levels):
            keep = self.mapping.at(level.name).keep
            keep = level.keep if keep is None else keep
            if keep is None or tensor in keep:
                kept.append(i)
        if not kept:
            raise MappingError(f"tensor '{tensor}' is kept at no level", hint="keep it at least at the outermost level")
        return tuple(kept)

    def multicast(self, level: int, tensor: str) -> bool:
        """Whether one read can serve several children across the fan-out of `level`."""
        storage = self.architecture.levels[level]
        return storage.multicast and self.mapping.at(storage.name).multicast.get(tensor, True)

    def peer_links(self, child: int, tensor: str) -> bool:
        """Whether the instances of level `child`, which hold `tensor`, pass its tiles on to their mesh neighbours."""
        if child in (0, self.compute_cut):
            return False
        storage = self.architecture.levels[child - 1]
        return self.mapping.at(storage.name).peer_links.get(tensor, storage.peer_links)

    def along_x(self, loop: Loop) -> bool:
        """Whether a spatial loop runs along X."""
        along_x = self.mapping.at(self.architecture.levels[loop.level].name).spatial_x
        return along_x is None or loop.variable in along_x


def outermost_first(variables: Iterable[str], order: tuple[str, ...]) -> list[str]:
    """Complete a loop order: variables left out stand outside those listed, in reversed declaration order."""
    return [*reversed([v for v in variables if v not in order]), *order]
