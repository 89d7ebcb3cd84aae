"""Simulated annealing, as a few chains side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fiberloom.errors import SpecError
from fiberloom.explore.agents._base import GenerationalAgent
from fiberloom.explore.agents._record import Record
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import Point
from fiberloom.explore.trial import Trial


class Annealing(GenerationalAgent):
    """Chains that accept what is better, and what is worse with probability ``exp(-ln(worse / now) / T)``.

    A move changes one parameter (`DesignSpace.neighbour`). The temperature falls geometrically (Kirkpatrick, Gelatt & Vecchi, Science
    220, 1983) and is relative to the score, as in fiberloom's mapper of that name. At the end of a cycle every chain restarts from
    the best design and the temperature starts again, so that any budget can be spent. The values below are ours.

    Hyper-parameters:
        chains: independent chains, moved together.
        steps: moves per chain and cycle.
        hottest: temperature at the beginning: 1 accepts a design 2.7 times worse with probability 1/e.
        coldest: temperature at the end.
        draws: random designs per chain to choose its start from.
        reach: values that an ordered parameter moves by at most.
    """

    name = "annealing"
    summary = "simulated annealing: parallel chains, geometric cooling, restarts"

    def __init__(
        self,
        problem: DesignProblem,
        goal: Goal,
        rng: np.random.Generator,
        chains: int = 4,
        steps: int = 200,
        hottest: float = 0.3,
        coldest: float = 0.003,
        draws: int = 4,
        reach: int = 2,
    ) -> None:
        super().__init__(problem, goal, rng)
        self.chains = chains
        self.steps = steps
        self.hottest = hottest
        self.coldest = coldest
        self.draws = draws
        self.reach = reach
        self.whole("chains", 1, 10_000)
        for count in ("steps", "draws", "reach"):
            self.whole(count, 1)
        self.bounded("coldest", 1e-12)
        self.bounded("hottest", 1e-12, 1e12)
        if coldest > hottest:
            raise SpecError(f"annealing from {hottest:g} to {coldest:g}", hint="hottest is at least coldest")
        self._record = Record()
        self._now: list[Trial] = []
        self._step = 0

    @property
    def temperature(self) -> float:
        """Of the next move."""
        return float(self.hottest * (self.coldest / self.hottest) ** (self._step / max(1, self.steps - 1)))

    def propose(self) -> list[Point]:
        """Starts to choose from, then one move per chain."""
        if not self._now:
            return self.space.sample(self.rng, self.chains * self.draws)
        return [self.space.neighbour(self.rng, trial.point, step=self.reach) for trial in self._now]

    def learn(self, trials: Sequence[Trial]) -> None:
        """Accept or refuse the moves, and cool."""
        self._record.add(trials)
        if not self._now:
            groups = [trials[i :: self.chains] for i in range(self.chains)]
            self._now = [min(group, key=lambda t: t.order) for group in groups]
            return
        worse = self._record.heights(trials) - self._record.heights(self._now)
        luck = self.rng.random(len(trials))
        self._now = [
            new if u < math.exp(-max(0.0, by) / self.temperature) else old
            for old, new, by, u in zip(self._now, trials, worse, luck, strict=True)
        ]
        self._step += 1
        if self._step >= self.steps and self._record.best is not None:
            self._step = 0
            self._now = [self._record.best] * self.chains
