"""Pareto fronts and the volume that they dominate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fiberloom.explore.trial import Trial


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether `a` is nowhere worse than `b` and somewhere better; all minimised."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def front(trials: Iterable[Trial]) -> list[Trial]:
    """The feasible trials that no other one dominates, by their first objective; of equal ones the first."""
    candidates = sorted((t for t in trials if t.feasible), key=lambda t: t.values)
    found: list[Trial] = []
    for trial in candidates:
        if not any(f.values == trial.values or dominates(f.values, trial.values) for f in found):
            found.append(trial)
    return found


def hypervolume(values: ArrayLike, reference: Sequence[float]) -> float:
    """Volume of what `values` (n × objectives, minimised) dominate below `reference`.

    By slicing along the last objective (While et al., IEEE TEC 2006, HSO): exact for any number of objectives, fast for the two to
    four of a design problem.
    """
    points: NDArray[np.float64] = np.asarray(values, np.float64).reshape(-1, len(reference))
    limit = np.asarray(reference, np.float64)
    return _volume(points[(points < limit).all(axis=1)], limit)


def _volume(points: NDArray[np.float64], limit: NDArray[np.float64]) -> float:
    if not len(points):
        return 0.0
    if len(limit) == 1:
        return float(limit[0] - points.min())
    total, end = 0.0, limit[-1]
    order = np.argsort(points[:, -1])[::-1]
    for rank, row in enumerate(order):
        depth = end - points[row, -1]
        if depth > 0:
            total += depth * _volume(points[order[rank:], :-1], limit[:-1])
            end = points[row, -1]
    return total
