"""Iteration cases of a cluster level and the data that each one moves: reuse by coupling (Kwon et al., MICRO'19, §4).

A cluster level goes through its steps again and again in the same way, so few kinds of steps stand for all: the first one
(*init*), those in which the innermost loop moves on (*steady*), and those in which an inner loop has come to its edge, starts
over, and an outer one moves on (*edge*). A tensor is *coupled* to the dimensions that index it. In a step, a tensor stays where
it is (temporal reuse) when none of the dimensions that moved is coupled to it; over sub-clusters, one transfer serves all
(spatial reuse) when the spatially mapped dimension is not coupled to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
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
class Case:
    """Steps of one cluster level that are alike.

    Attributes:
        occurrences: in one run of the level.
        moved: directives whose chunk changed; none in the first step.
        starts_result: whether another chunk of the output is worked on than before (True in the first step).
        resumes_result: whether the chunk of the output holds partial sums already.
    """

    kind: Kind
    occurrences: int
    moved: tuple[Directive, ...]
    starts_result: bool
    resumes_result: bool


def cases(cluster: Cluster, output: Tensor, *, resumed: bool) -> Iterator[Case]:
    """The iteration cases of one run of a cluster level; their occurrences add up to the product of its steps.

    Args:
        resumed: whether the cluster's own chunk of the output holds partial sums from an earlier run.
    """
    coupled = frozenset(output.variables)
    active = [d for d in cluster.temporal if d.steps > 1]
    yield Case(Kind.INIT, 1, (), True, resumed)
    for i, advancing in enumerate(active):
        times = (advancing.steps - 1) * math.prod(d.steps for d in active[:i])
        inner = active[i + 1 :]
        moved = (advancing, *inner)
        kind = Kind.EDGE if inner else Kind.STEADY
        starts = any(d.dimension in coupled for d in moved)
        fresh = 0
        if advancing.dimension in coupled and not resumed:
            # new ground only as long as no loop outside that sums over the same chunk has moved
            fresh = (advancing.steps - 1) * math.prod(d.steps for d in active[:i] if d.dimension in coupled)
        if fresh:
            yield Case(kind, fresh, moved, starts, False)
        if times > fresh:
            yield Case(kind, times - fresh, moved, starts, True)


def arriving_words(tensor: Tensor, cluster: Cluster, case: Case) -> int:
    """Words of an operand that one sub-cluster gets in a step that it does not hold from the step before.

    Where one coupled dimension moved and nothing coupled started over, a window that slides keeps what it overlaps.
    """
    whole = tensor.tile_shape(cluster.chunk)
    words = math.prod(whole)
    if case.kind is Kind.INIT:
        return words
    moved = [d for d in case.moved if d.dimension in tensor.variables]
    if not moved:
        return 0
    if len(moved) > 1 or moved[0] is not case.moved[0]:
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
