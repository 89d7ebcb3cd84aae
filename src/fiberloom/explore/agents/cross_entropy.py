"""The cross-entropy method: probabilities move towards the best designs of each generation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fiberloom.explore.agents._base import GenerationalAgent
from fiberloom.explore.agents._policy import choices, drawn
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import Point
from fiberloom.explore.trial import Trial


class CrossEntropy(GenerationalAgent):
    """Every parameter is drawn by itself; its probabilities become the frequencies among the elite, smoothed.

    De Boer, Kroese, Mannor & Rubinstein, *A tutorial on the cross-entropy method* (Annals of Operations Research 134, 2005), with
    independent categorical distributions. A factored REINFORCE is nearly the same, which is why this stands beside the learners.

    Hyper-parameters:
        population: designs per generation; the tutorial takes a multiple of the parameters, 50 is ours.
        elite: share of a generation that probabilities move to; 0.2 (the tutorial: 0.01 to 0.1 of much larger generations).
        smoothing: share of the new frequencies, 0.7 (the tutorial).
        floor: share that stays uniform, so that no value dies out; 0.05 is ours.
    """

    name = "cem"
    summary = "cross-entropy method: independent probabilities per parameter"

    def __init__(
        self,
        problem: DesignProblem,
        goal: Goal,
        rng: np.random.Generator,
        population: int = 50,
        elite: float = 0.2,
        smoothing: float = 0.7,
        floor: float = 0.05,
    ) -> None:
        super().__init__(problem, goal, rng)
        self.population = population
        self.elite = elite
        self.smoothing = smoothing
        self.floor = floor
        self.whole("population", 2, 100_000)
        for share in ("elite", "smoothing", "floor"):
            self.bounded(share, 0, 1)
        self._probabilities = [np.full(n, 1 / n) for n in self.space.shape]

    def propose(self) -> list[Point]:
        mixed = [(1 - self.floor) * p + self.floor / len(p) for p in self._probabilities]
        return [self.meeting(lambda: [drawn(self.rng, p) for p in mixed]) for _ in range(self.population)]

    def learn(self, trials: Sequence[Trial]) -> None:
        """Frequencies among the elite that have the parameter; nothing is learnt of designs without metrics."""
        best = sorted((t for t in trials if t.evaluated.metrics), key=lambda t: t.order)
        best = best[: max(1, round(self.elite * len(trials)))]
        if not best:
            return
        index, active = choices(self.space, [t.point for t in best])
        for i, old in enumerate(self._probabilities):
            chosen = index[active[:, i], i]
            if len(chosen):
                frequency = np.bincount(chosen, minlength=len(old)) / len(chosen)
                self._probabilities[i] = (1 - self.smoothing) * old + self.smoothing * frequency
