"""ConfuciuX: a policy learnt by REINFORCE finds the region, a local genetic algorithm refines it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fiberloom.explore.agents._base import GenerationalAgent
from fiberloom.explore.agents._policy import choices, drawn, softmax
from fiberloom.explore.agents._ranking import ranked
from fiberloom.explore.agents._record import Record
from fiberloom.explore.agents.genetic import Genetic
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import Point
from fiberloom.explore.trial import Trial

Floats = NDArray[np.float64]


class Reinforce(GenerationalAgent):
    """Two stages, as ConfuciuX (Kao, Jeong & Krishna, MICRO'20): reinforcement learning over the whole space, then a local GA.

    Stage 1 is REINFORCE (Williams, Machine Learning 8, 1992). An episode chooses one parameter after the other, as ConfuciuX chooses
    layer by layer, and a choice depends on the one before, which is part of ConfuciuX's state; where that has an LSTM, this policy is
    a table of logits per pair of neighbouring parameters, since a design space is small and its trials are few. The reward is the
    share of all designs so far that a design beats; ConfuciuX's, the distance to the worst one, has a unit and needs a scale
    per objective. Returns are standardised and steps are Adam's, as there.

    Stage 2 is `Genetic` from the best designs of stage 1, with steps to nearby values only.

    Hyper-parameters:
        episodes: designs of stage 1 at most; 500 (ConfuciuX trains for some hundreds of episodes).
        patience: stage 1 also ends when so many designs brought nothing better; 200 is ours.
        batch: episodes between updates; 10 is ours.
        rate: of Adam; 0.1 is ours (ConfuciuX's 0.001 is for a network).
        entropy: weight of the entropy bonus; 0.01, in place of its schedules of temperature and random actions.
        population: of stage 2, 20 (ConfuciuX).
        parents: share of it that breeds, 0.4 (ConfuciuX: 8 of 20).
    """

    name = "reinforce"
    summary = "ConfuciuX: REINFORCE, then a local genetic algorithm"

    def __init__(
        self,
        problem: DesignProblem,
        goal: Goal,
        rng: np.random.Generator,
        episodes: int = 500,
        patience: int = 200,
        batch: int = 10,
        rate: float = 0.1,
        entropy: float = 0.01,
        population: int = 20,
        parents: float = 0.4,
    ) -> None:
        super().__init__(problem, goal, rng)
        self.episodes = episodes
        self.patience = patience
        self.batch = batch
        self.rate = rate
        self.entropy = entropy
        self.population = population
        self.parents = parents
        for count in ("episodes", "patience"):
            self.whole(count, 1, 1_000_000_000)
        self.whole("batch", 1, 100_000)
        self.whole("population", 2, 100_000)
        self.bounded("rate", 1e-9, 100)
        self.bounded("entropy", 0, 100)
        self.bounded("parents", 0, 1)
        shape = self.space.shape
        self._tables = [Table(before, n) for before, n in zip((1, *shape), shape, strict=False)]
        self._record = Record()
        self._best: list[Trial] = []
        self._count = self._better = 0
        self.local: Genetic | None = None
        """The agent of stage 2; None in stage 1."""

    def propose(self) -> list[Point] | None:
        if self.local is not None:
            return self.local.propose()
        policies = [softmax(table.logits) for table in self._tables]
        return [self.meeting(lambda: self._episode(policies)) for _ in range(self.batch)]

    def learn(self, trials: Sequence[Trial]) -> None:
        if self.local is not None:
            self.local.learn(trials)
            return
        before = self._record.best
        self._record.add(trials)
        self._ascend(trials)
        self._best = ranked([*self._best, *trials])[: self.population]
        self._count += len(trials)
        if self._record.best is not before:
            self._better = self._count
        if self._count >= self.episodes or self._count - self._better >= self.patience:
            self.local = Genetic(
                self.problem, self.goal, self.rng, self.population, parents=self.parents, jump=0.0, injections=0.0
            )
            self.local.learn(self._best)

    def _episode(self, policies: Sequence[Floats]) -> list[int]:
        point: list[int] = []
        for p, policy in zip(self.space.parameters, policies, strict=True):
            point.append(drawn(self.rng, policy[point[-1] if point else 0]))
            if p.when and not self.space.active(point)[-1]:
                point[-1] = 0
        return point

    def _ascend(self, trials: Sequence[Trial]) -> None:
        """One step along the gradient of the expected reward."""
        rewards = self._record.rewards(trials)
        returns = (rewards - rewards.mean()) / (rewards.std() or 1.0)
        index, active = choices(self.space, [t.point for t in trials])
        for i, table in enumerate(self._tables):
            on = active[:, i]
            before = index[on, i - 1] if i else np.zeros(int(on.sum()), np.int64)
            table.ascend(before, index[on, i], returns[on], self.rate, self.entropy)


class Table:
    """Logits ``(values before, values)`` of a choice after another, with Adam (Kingma & Ba, ICLR'15, its default moments)."""

    def __init__(self, before: int, count: int) -> None:
        self.logits = np.zeros((before, count))
        self._mean = np.zeros_like(self.logits)
        self._square = np.zeros_like(self.logits)
        self._steps = 0

    def ascend(
        self, before: NDArray[np.int64], chosen: NDArray[np.int64], returns: Floats, rate: float, entropy: float
    ) -> None:
        """A step for choices ``(n,)`` with returns ``(n,)``."""
        if not len(chosen) or self.logits.shape[1] == 1:
            return
        policy = softmax(self.logits)
        gradient = np.zeros_like(self.logits)
        np.add.at(gradient, (before, chosen), returns)
        weight = np.zeros(len(self.logits))
        np.add.at(weight, before, returns)
        gradient -= weight[:, None] * policy
        surprise = -np.log(np.maximum(policy, 1e-12))
        visits = np.bincount(before, minlength=len(self.logits))[:, None]
        gradient += entropy * visits * policy * (surprise - (policy * surprise).sum(axis=1, keepdims=True))
        gradient /= len(chosen)
        self._steps += 1
        self._mean += 0.1 * (gradient - self._mean)
        self._square += 0.001 * (gradient**2 - self._square)
        mean = self._mean / (1 - 0.9**self._steps)
        square = self._square / (1 - 0.999**self._steps)
        self.logits += rate * mean / (np.sqrt(square) + 1e-8)
