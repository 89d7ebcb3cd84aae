"""Soft actor-critic, one joint policy over all parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from fiberloom.explore.agents._stable_baselines import StableBaselinesAgent
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem


class Sac(StableBaselinesAgent):
    """SAC (Haarnoja et al., ICML'18) of stable-baselines3; an action is a number from 0 to 1 per parameter, cut into its values.

    Hyper-parameters:
        batch: designs side by side, 8; ours.
        startup: random designs before learning, 100 (stable-baselines3).
        rate: of learning; 0.001 is ours, since designs are few (stable-baselines3: 0.0003).
        updates: gradient steps per design, 1 (the paper).
        sample: designs that a gradient step looks back at, 256 (stable-baselines3).
    """

    name = "sac"
    summary = "stable-baselines3's SAC, one policy over all parameters"
    continuous = True

    def __init__(
        self,
        problem: DesignProblem,
        goal: Goal,
        rng: np.random.Generator,
        batch: int = 8,
        startup: int = 100,
        rate: float = 0.001,
        updates: int = 1,
        sample: int = 256,
    ) -> None:
        super().__init__(problem, goal, rng)
        self.batch = batch
        self.startup = startup
        self.rate = rate
        self.updates = updates
        self.sample = sample
        self.whole("batch", 1, 10_000)
        self.whole("startup", 1)
        self.whole("updates", 1, 1000)
        self.whole("sample", 1)
        self.bounded("rate", 1e-9, 10)
        self.start()

    def learner(self, environment: Any, seed: int) -> Any:
        from stable_baselines3 import SAC

        return SAC(
            "MlpPolicy", environment, learning_rate=self.rate, learning_starts=self.startup, train_freq=1,
            gradient_steps=self.updates * self.batch, batch_size=self.sample, buffer_size=100_000, seed=seed, device="cpu",
        )  # fmt: skip
