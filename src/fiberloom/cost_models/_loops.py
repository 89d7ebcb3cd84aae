"""A mapping as plain loops and extents, for the models that reason about loops in Python, and what any loop nest must move.

Level 0 is the innermost storage level; loops are listed innermost first; loops of bound 1 are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as ByName
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from fiberloom.cost_models._base import Words
from fiberloom.mapping.nest import Mapping
from fiberloom.model.lower import Problem
from fiberloom.model.packing import pack
from fiberloom.workload.einsum import Einsum, IndexExpression, Tensor


@dataclass(frozen=True)
class Loop:
    """A loop over `variable` with `bound` iterations."""

    variable: str
    bound: int


@dataclass(frozen=True)
class Loops:
    """A mapping of a problem.

    Attributes:
        temporal, spatial: loops of each level; `spatial` is the fan-out below it.
        keep: tensors that each level holds.
        multicast: tensors of which one read serves all children that need the same words, per level.
        peer_links: tensors that children pass on to neighbours, per level.
    """

    problem: Problem
    temporal: tuple[tuple[Loop, ...], ...]
    spatial: tuple[tuple[Loop, ...], ...]
    keep: tuple[frozenset[str], ...]
    multicast: tuple[frozenset[str], ...]
    peer_links: tuple[frozenset[str], ...]

    @property
    def levels(self) -> int:
        return len(self.temporal)

    @cached_property
    def inside(self) -> tuple[dict[str, int], ...]:
        """Iterations of each variable inside the fan-out of level `l` (the tile of one child): compute's are all 1."""
        extents = dict.fromkeys(self.problem.workload.shape, 1)
        found = []
        for temporal, spatial in zip(self.temporal, self.spatial, strict=True):
            found.append(dict(extents))
            for loop in (*spatial, *temporal):
                extents[loop.variable] *= loop.bound
        return (*found, extents)

    @cached_property
    def used_instances(self) -> tuple[int, ...]:
        """Instances in use of each level; the last entry are the lanes of compute in use, so that `[-1]` reads well."""
        counts, used = [], 1
        for spatial in reversed(self.spatial):
            counts.append(used)
            used *= math.prod(loop.bound for loop in spatial)
        return (*reversed(counts), used)

    @property
    def lanes(self) -> int:
        """Lanes of compute in use."""
        return self.used_instances[-1]

    @cached_property
    def steps(self) -> int:
        """Iterations of all temporal loops together."""
        return math.prod(loop.bound for loops in self.temporal for loop in loops)

    def keepers(self, tensor: str) -> list[int]:
        """Levels that hold `tensor`, innermost first."""
        return [level for level in range(self.levels) if tensor in self.keep[level]]

    def tile_words(self, tensor: Tensor, level: int) -> int:
        """Words of the tile of `tensor` that level `level` holds."""
        return math.prod(tensor.tile_shape(self.inside[level + 1]))


def read_loops(problem: Problem, mapping: Mapping) -> Loops:
    """The loops of a mapping.

    Raises:
        MappingError: when the mapping does not fit the Einsum.
    """
    packed = pack(problem, [mapping])
    variables, tensors = problem.variables, problem.tensors

    def loops(factors: NDArray[Any], orders: NDArray[Any]) -> tuple[tuple[Loop, ...], ...]:
        return tuple(
            tuple(Loop(variables[d], int(row[d])) for d in order if row[d] > 1)
            for row, order in zip(factors, orders, strict=True)
        )

    def names(flags: NDArray[Any]) -> tuple[frozenset[str], ...]:
        return tuple(frozenset(name for name, flag in zip(tensors, row, strict=True) if flag) for row in flags)

    return Loops(
        problem=problem,
        temporal=loops(packed.temporal[0], packed.temporal_order[0]),
        spatial=loops(packed.spatial[0], packed.spatial_order[0]),
        keep=names(packed.keep[0]),
        multicast=names(packed.multicast),
        peer_links=names(packed.peer_links),
    )


def used_words(workload: Einsum, tensor: Tensor) -> int:
    """Distinct words of `tensor` that the Einsum touches at all (holes of strided windows left out)."""
    return math.prod(_positions(rank, workload) for rank in tensor.ranks)


def _positions(rank: IndexExpression, workload: Einsum) -> int:
    """Distinct values of an affine index."""
    terms = sorted((abs(term.coefficient), workload.shape[term.variable]) for term in rank)
    covered, sums = 1, None
    for step, bound in terms:
        if sums is None and step <= covered:
            covered += step * (bound - 1)  # the windows overlap or touch: no holes
            continue
        if sums is None:
            sums = (1 << covered) - 1
        shifted = sums
        for i in range(1, bound):
            shifted |= sums << (step * i)
        sums = shifted
    return covered if sums is None else sums.bit_count()


def distinct_children(loops: Loops, tensor: Tensor, first: int, last: int) -> int:
    """At least so many different tiles of `tensor` are asked for at once by the children below levels `first` … `last`.

    Exact where every rank is indexed by one variable; otherwise the widest variable of each rank counts.
    """
    total = 1
    for rank in tensor.ranks:
        widest = 1
        for term in rank:
            spread = math.prod(
                loop.bound
                for level in range(first, last + 1)
                for loop in loops.spatial[level]
                if loop.variable == term.variable
            )
            widest = max(widest, spread)
        total *= widest
    return total


def port_cycles(problem: Problem, level: int, moved: ByName[str, Words], instances: float) -> float:
    """Cycles that the ports of one of `instances` of a level are busy with what all of them move, by tensor."""
    p = problem.arrays[0]
    reads = writes = 0.0
    for name, words in moved.items():
        demand = float(p["demand"][level, problem.tensors.index(name)]) / instances
        reads += words.reads * demand
        writes += (words.fills + words.updates) * demand
    return max(
        reads / float(p["read_bandwidth"][level]),
        writes / float(p["write_bandwidth"][level]),
        (reads + writes) / float(p["shared_bandwidth"][level]),
    )
