"""Every design, by number: exhaustive where the space is small, a grid of equal steps where it is not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from fiberloom.explore.agents._base import Agent
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import Point
from fiberloom.explore.trial import Trial


class Grid(Agent):
    """All designs in order.

    Args:
        points: at most so many designs, equally far apart by number; 0: all of them.
    """

    name = "grid"
    summary = "every design in order (exhaustive), or a grid of them"
    several = True

    def __init__(self, problem: DesignProblem, goal: Goal, rng: np.random.Generator, points: int = 0) -> None:
        super().__init__(problem, goal, rng)
        self.points = points
        self.bounded("points", 0)
        self._designs = self._all()

    def _all(self) -> Iterator[Point]:
        size = self.space.size()
        count = min(size, int(self.points) or size)
        for i in range(count):
            point = self.space.unrank(i * size // count)
            if not self.space.violated(point):
                yield point

    def ask(self, n: int) -> list[Point] | None:
        return list(islice(self._designs, n)) or None

    def tell(self, trials: Sequence[Trial]) -> None:
        """Learns nothing."""
