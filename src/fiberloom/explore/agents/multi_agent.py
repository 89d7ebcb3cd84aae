"""Multi-agent reinforcement learning: one learner per parameter, one reward for all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fiberloom.explore.agents._base import GenerationalAgent
from fiberloom.explore.agents._policy import choices, drawn, softmax
from fiberloom.explore.agents._record import Record
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import Point
from fiberloom.explore.trial import Trial

Floats = NDArray[np.float64]


class MultiAgent(GenerationalAgent):
    """Every parameter has a learner of its own, which sees nothing of the others but the reward that all share.

    The form of *Multi-agent reinforcement learning for microprocessor design space exploration* (arXiv 2211.16385): independent
    PPO learners (Schulman et al., arXiv 1707.06347) with a copied reward. A design needs one decision per parameter and no sequence,
    so a learner's policy is one vector of logits and its value function one number. The reward is the share of all designs so far that
    a design beats, which suits any objective. A learner learns from the designs that have its parameter.

    Hyper-parameters:
        batch: designs between updates; 20 is ours.
        rate: of learning, times the number of values, per step of gradient ascent on normalised advantages; 0.15 is ours: logits
            are few, with no network before them.
        clip: of the ratio of probabilities, 0.2 (PPO; ArchGym's setting).
        epochs: steps per batch; 4 is ours (PPO: 3 to 15).
        entropy: weight of the entropy bonus, 0.01 (PPO; ArchGym's setting).
    """

    name = "multi-agent"
    summary = "one PPO learner per parameter with a shared reward"

    def __init__(
        self,
        problem: DesignProblem,
        goal: Goal,
        rng: np.random.Generator,
        batch: int = 20,
        rate: float = 0.15,
        clip: float = 0.2,
        epochs: int = 4,
        entropy: float = 0.01,
    ) -> None:
        super().__init__(problem, goal, rng)
        self.batch = batch
        self.rate = rate
        self.clip = clip
        self.epochs = epochs
        self.entropy = entropy
        self.whole("batch", 1, 100_000)
        self.whole("epochs", 1, 10_000)
        self.bounded("rate", 1e-9, 100)
        self.bounded("clip", 1e-6, 10)
        self.bounded("entropy", 0, 100)
        self.learners = [Learner(n, rate, clip, int(epochs), entropy) for n in self.space.shape]
        self._record = Record()

    def propose(self) -> list[Point]:
        policies = [learner.policy for learner in self.learners]
        return [self.meeting(lambda: [drawn(self.rng, p) for p in policies]) for _ in range(self.batch)]

    def learn(self, trials: Sequence[Trial]) -> None:
        self._record.add(trials)
        rewards = self._record.rewards(trials)
        index, active = choices(self.space, [t.point for t in trials])
        for i, learner in enumerate(self.learners):
            learner.learn(index[active[:, i], i], rewards[active[:, i]])


class Learner:
    """PPO on one decision among `count` values."""

    def __init__(self, count: int, rate: float, clip: float, epochs: int, entropy: float) -> None:
        self.rate = rate
        self.clip = clip
        self.epochs = epochs
        self.entropy = entropy
        self.logits = np.zeros(count)
        self.value = 0.5  # a random design beats half of all random designs

    @property
    def policy(self) -> Floats:
        return softmax(self.logits)

    def learn(self, chosen: NDArray[np.int64], rewards: Floats) -> None:
        """Steps of clipped policy-gradient ascent on a batch.

        Args:
            chosen: ``(n,)`` indices.
            rewards: ``(n,)``.
        """
        if not len(chosen) or len(self.logits) == 1:
            return
        advantage = rewards - self.value
        advantage /= advantage.std() or 1.0  # PPO's normalisation; the mean is the value function's part
        self.value += 0.5 * float(rewards.mean() - self.value)
        picked = np.eye(len(self.logits))[chosen]
        before = self.policy[chosen]
        for _ in range(self.epochs):
            policy = self.policy
            ratio = policy[chosen] / before
            bound = np.where(advantage > 0, ratio < 1 + self.clip, ratio > 1 - self.clip)
            gradient = ((bound * advantage * ratio)[:, None] * (picked - policy)).mean(axis=0)
            surprise = -np.log(np.maximum(policy, 1e-12))
            gradient += self.entropy * policy * (surprise - float(policy @ surprise))
            self.logits += self.rate * len(self.logits) * gradient
