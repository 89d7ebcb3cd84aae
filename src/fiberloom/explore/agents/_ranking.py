"""Trials from best to worst: by score and violation, or by Pareto rank where the goal has several objectives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fiberloom.explore.trial import Trial

Floats = NDArray[np.float64]


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Best first, every design once.

    Designs within the limits come before those beyond, which go by how far off they are; those within them by Pareto rank
    and, of equal rank, the lonelier first (NSGA-II: Deb et al., IEEE TEC 2002, constrained domination and crowding distance).
    With one objective that is the order of the scores.
    """
    distinct = sorted({t.point: t for t in trials}.values(), key=lambda t: t.order)
    within = [t for t in distinct if t.violation == 0]
    if within and len(within[0].values) > 1:
        values = np.array([t.values for t in within])
        rank, distance = pareto_ranks(values), np.zeros(len(within))
        for r in range(int(rank.max()) + 1):
            distance[rank == r] = crowding(values[rank == r])
        within = [within[i] for i in np.lexsort((-distance, rank))]
    return within + [t for t in distinct if t.violation > 0]


def pareto_ranks(values: Floats) -> NDArray[np.int64]:
    """``(n,)`` ranks of ``(n, objectives)`` values: 0 for those that nothing dominates, 1 for those that only these dominate, …"""
    no_worse = np.asarray((values[:, None] <= values[None]).all(axis=2))
    dominated_by = no_worse & ~no_worse.T
    ranks = np.full(len(values), -1)
    rank = 0
    while (ranks < 0).any():
        left = ranks < 0
        ranks[left & ~dominated_by[left].any(axis=0)] = rank
        rank += 1
    return ranks


def crowding(values: Floats) -> Floats:
    """``(n,)`` distance between the neighbours of each value, relative and summed over objectives; infinite at the ends."""
    distance = np.zeros(len(values))
    for column in values.T:
        order = np.argsort(column, kind="stable")
        width = column[order[-1]] - column[order[0]]
        distance[order[[0, -1]]] = np.inf
        if len(column) > 2 and width > 0 and np.isfinite(width):
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / width
    return distance
