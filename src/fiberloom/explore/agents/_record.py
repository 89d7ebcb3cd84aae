"""Trials so far, as agents that want one number per design see them."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fiberloom.explore.scale import decades
from fiberloom.explore.trial import Trial

Floats = NDArray[np.float64]


class Record:
    """What was told so far.

    Attributes:
        best: the trial of the least `Trial.order`; None before the first.
    """

    def __init__(self) -> None:
        self.best: Trial | None = None
        self._orders: list[tuple[float, float]] = []
        self._feasible = -math.inf
        self._worst = 0.0

    def add(self, trials: Sequence[Trial]) -> None:
        """Take trials into account."""
        for trial in trials:
            insort(self._orders, trial.order)
            if self.best is None or trial.order < self.best.order:
                self.best = trial
            if math.isfinite(trial.penalised):
                self._worst = max(self._worst, decades(trial.penalised))
        if self.best is not None and self.best.violation == 0:
            self._feasible = decades(self.best.score)

    def rewards(self, trials: Sequence[Trial]) -> Floats:
        """``(n,)`` share of all trials so far that each one beats, from 0 to 1; equal ones count half.

        The same for every objective and unit, and failed designs need no number: they beat nothing.
        """
        count = max(1, len(self._orders))
        return np.array(
            [
                1 - (bisect_left(self._orders, t.order) + bisect_right(self._orders, t.order)) / (2 * count)
                for t in trials
            ]
        )

    def heights(self, trials: Sequence[Trial]) -> Floats:
        """``(n,)`` penalised scores on the scale of `decades`, lower is better, all finite.

        A design beyond the limits is never lower than the best one within them; one without metrics is as high as the highest known.
        """
        return np.array(
            [
                self._worst
                if not math.isfinite(t.penalised)
                else decades(t.penalised)
                if t.violation == 0
                else max(decades(t.penalised), self._feasible)
                for t in trials
            ]
        )
