"""Iteration cases of a cluster level and the data that each one moves: reuse by coupling (Kwon et al., MICRO'19, §4).

A cluster level goes through its steps again and again in the same way, so few kinds of steps stand for all: the first one
(*init*), those in which the innermost loop moves on (*steady*), and those in which an inner loop has come to its edge, starts
over, and an outer one moves on (*edge*). A tensor is *coupled* to the dimensions that index it. In a step, a tensor stays where
it is (temporal reuse) when none of the dimensions that moved is coupled to it; over sub-clusters, one transfer serves all
(spatial reuse) when the spatially mapped dimension is not coupled to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fiberloom.cost_models.data_centric_clusters import Cluster, Directive
from fiberloom.workload.einsum import Einsum, Tensor


class Kind(StrEnum):
    """Which step an iteration case stands for."""

    INIT = "init"
    STEADY = "steady"
    EDGE = "edge"


@dataclass(frozen=True)
class Run:
    """One run of a cluster level over its chunk, as far as its data depend on what came before.

    Attributes:
        resumes: whether the chunk of the output holds partial sums already.
        unmoved: tensors whose chunk is that of the run before.
    """

    resumes: bool = False
    unmoved: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Case:
    """Steps of one cluster level that are alike.

    Attributes:
        occurrences: in one run of the level.
        moved: directives whose chunk changed within the run; none in its first step.
        held: tensors of which sub-clusters hold their chunk from the step before.
        resumes: whether partial sums of the output's chunk exist, here or in the level's memory.
    """

    kind: Kind
    occurrences: int
    moved: tuple[Directive, ...]
    held: frozenset[str]
    resumes: bool

    @property
    def run_inside(self) -> Run:
        """What each sub-cluster does in such a step."""
        return Run(self.resumes, self.held)


def cases(cluster: Cluster, workload: Einsum, run: Run) -> Iterator[Case]:
    """The iteration cases of one run of a cluster level; their occurrences add up to the product of its steps."""
    coupled = {t.name: frozenset(t.variables) for t in workload.tensors}
    output = coupled[workload.output.name]
    active = [d for d in cluster.temporal if d.steps > 1]

    def untouched(moved: Sequence[Directive]) -> frozenset[str]:
        return frozenset(name for name, indices in coupled.items() if all(d.dimension not in indices for d in moved))

    yield Case(Kind.INIT, 1, (), run.unmoved & untouched(active), run.resumes)
    for i, advancing in enumerate(active):
        times = (advancing.steps - 1) * math.prod(d.steps for d in active[:i])
        moved = tuple(active[i:])
        kind = Kind.EDGE if len(moved) > 1 else Kind.STEADY
        fresh = 0
        if advancing.dimension in output and not run.resumes:
            # new ground only as long as no loop outside that sums over the same chunk has moved
            fresh = (advancing.steps - 1) * math.prod(d.steps for d in active[:i] if d.dimension in output)
        if fresh:
            yield Case(kind, fresh, moved, untouched(moved), False)
        if times > fresh:
            yield Case(kind, times - fresh, moved, untouched(moved), True)


def arriving_words(tensor: Tensor, cluster: Cluster, case: Case) -> int:
    """Words of an operand that one sub-cluster gets in a step that it does not hold from the step before.

    Where one coupled dimension moved and nothing coupled started over, a window that slides keeps what it overlaps.
    """
    if tensor.name in case.held:
        return 0
    whole = tensor.tile_shape(cluster.chunk)
    words = math.prod(whole)
    moved = [d for d in case.moved if d.dimension in tensor.variables]
    if len(moved) != 1 or moved[0] is not case.moved[0]:
        return words
    shared = 1
    for length, rank in zip(whole, tensor.ranks, strict=True):
        step = sum(abs(t.coefficient) * moved[0].offset for t in rank if t.variable == moved[0].dimension)
        shared *= max(0, length - step)
    return words - shared


def transfers(tensor: Tensor, cluster: Cluster, *, multicast: bool) -> int:
    """Transfers that a step takes over a cluster's sub-clusters: one for all, or one each along coupled dimensions."""
    return math.prod(d.steps for d in cluster.spatial if not multicast or d.dimension in tensor.variables)


def unsupported(workload: Einsum) -> tuple[str, ...]:
    """What of an Einsum the cases can't express."""
    if any(len(rank) > 1 for rank in workload.output.ranks):
        return (
            f"output '{workload.output.name}' is indexed by sums: which of its elements are new can't be told by coupling",
        )
    return ()
