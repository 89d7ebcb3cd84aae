"""Evaluation in this process, one design after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fiberloom.explore.executors._base import Executor
from fiberloom.explore.pruning import Screen
from fiberloom.explore.space import Point
from fiberloom.explore.trial import Evaluated


class Serial(Executor):
    """In this process."""

    name = "serial"
    _prepared = False

    def evaluate(
        self,
        points: Sequence[Point],
        done: Callable[[int, Evaluated], None],
        wanted: Callable[[int], bool] = lambda index: True,
        screen: Screen | None = None,
    ) -> None:
        if not self._prepared:
            self.problem.prepare()
            self._prepared = True
        for i, point in enumerate(points):
            if wanted(i):
                done(i, self.evaluated(self.problem, point, screen))
