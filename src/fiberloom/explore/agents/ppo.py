"""Proximal policy optimisation, one joint policy over all parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from fiberloom.explore.agents._stable_baselines import StableBaselinesAgent
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem


class Ppo(StableBaselinesAgent):
    """PPO (Schulman et al., arXiv 1707.06347) of stable-baselines3; actions are the indices of all values at once.

    Hyper-parameters:
        batch: designs side by side; 16 is ours.
        steps: of every environment between updates; 2 is ours, since designs are few (stable-baselines3: 2048).
        rate: of learning; 0.003 is ours for the same reason (stable-baselines3: 0.0003; ArchGym: 0.00001).
        epochs: passes over what was seen, 10 (stable-baselines3).
        clip: of the ratio of probabilities, 0.2 (both).
        entropy: weight of the entropy bonus, 0.01 (ArchGym; stable-baselines3: 0).
    """

    name = "ppo"
    summary = "stable-baselines3's PPO, one policy over all parameters"

    def __init__(
        self,
        problem: DesignProblem,
        goal: Goal,
        rng: np.random.Generator,
        batch: int = 16,
        steps: int = 2,
        rate: float = 0.003,
        epochs: int = 10,
        clip: float = 0.2,
        entropy: float = 0.01,
    ) -> None:
        super().__init__(problem, goal, rng)
        self.batch = batch
        self.steps = steps
        self.rate = rate
        self.epochs = epochs
        self.clip = clip
        self.entropy = entropy
        self.whole("batch", 2, 10_000)
        self.whole("steps", 1)
        self.whole("epochs", 1)
        self.bounded("rate", 1e-9, 10)
        self.bounded("clip", 1e-6, 10)
        self.bounded("entropy", 0, 100)
        self.start()

    def learner(self, environment: Any, seed: int) -> Any:
        from stable_baselines3 import PPO

        return PPO(
            "MlpPolicy", environment, learning_rate=self.rate, n_steps=self.steps, batch_size=self.batch, n_epochs=self.epochs,
            clip_range=self.clip, ent_coef=self.entropy, seed=seed, device="cpu",
        )  # fmt: skip
