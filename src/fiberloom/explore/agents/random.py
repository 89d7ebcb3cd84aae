"""Uniform random search: the baseline that every other agent is shown beside."""

from __future__ import annotations

from collections.abc import Sequence

from fiberloom.explore.agents._base import Agent
from fiberloom.explore.space import Point
from fiberloom.explore.trial import Trial


class Random(Agent):
    """Designs drawn uniformly from those that meet the space's requirements, with replacement."""

    name = "random"
    summary = "uniform random designs"
    several = True

    def ask(self, n: int) -> list[Point]:
        return self.space.sample(self.rng, n)

    def tell(self, trials: Sequence[Trial]) -> None:
        """Learns nothing."""
