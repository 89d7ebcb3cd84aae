"""Pareto fronts and the volume that they dominate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fiberloom.explore.trial import Trial


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether `a` is nowhere worse than `b` and somewhere better; all minimised."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


class Front:
    """The feasible trials so far that no other one dominates; of equal ones the first."""

    def __init__(self, trials: Iterable[Trial] = ()) -> None:
        self._trials: list[Trial] = []
        self._values: NDArray[np.float64] = np.empty((0, 0))
        for trial in trials:
            self.add(trial)

    def __len__(self) -> int:
        return len(self._trials)

    def __iter__(self) -> Iterator[Trial]:
        """By their first objective."""
        return iter(sorted(self._trials, key=lambda t: t.values))

    def add(self, trial: Trial) -> bool:
        """Whether the trial is on the front now; what it dominates is not any more."""
        if not trial.feasible or self.reaches(trial.values):
            return False
        values = np.array([trial.values])
        if self._trials:
            stay = np.logical_not((self._values >= values).all(axis=1))
            self._trials = [t for t, stays in zip(self._trials, stay, strict=True) if stays]
            values = np.concatenate([self._values[stay], values])
        self._trials.append(trial)
        self._values = values
        return True

    @property
    def values(self) -> NDArray[np.float64]:
        """(n, objectives), in no order."""
        return self._values

    def reaches(self, values: Sequence[float]) -> bool:
        """Whether a trial of the front is nowhere worse than `values`."""
        return bool(self._trials) and bool((self._values <= np.asarray(values)).all(axis=1).any())


def front(trials: Iterable[Trial]) -> list[Trial]:
    """The feasible trials that no other one dominates, by their first objective; of equal ones the first."""
    return list(Front(trials))


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
