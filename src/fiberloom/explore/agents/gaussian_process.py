"""Optuna's Gaussian-process Bayesian optimisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from fiberloom.errors import require
from fiberloom.explore.agents._optuna import OptunaAgent
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import Point


class GaussianProcess(OptunaAgent):
    """A Gaussian process per objective and constraint, log expected (hypervolume) improvement (Ament et al., NeurIPS'23).

    Its time per design grows with the cube of their number: for some hundreds of costly evaluations.

    Hyper-parameters:
        startup: random designs before the first model, 10 (Optuna).
        batch: designs asked at a time; 1 learns most from every evaluation.
    """

    name = "gp"
    summary = "Optuna's Gaussian process; for some hundreds of costly designs"
    several = True

    def __init__(
        self, problem: DesignProblem, goal: Goal, rng: np.random.Generator, startup: int = 10, batch: int = 1
    ) -> None:
        super().__init__(problem, goal, rng)
        self.startup = startup
        self.batch = batch
        self.whole("startup", 1)
        self.whole("batch", 1, 10_000)
        for package in ("scipy", "torch"):  # Optuna's process needs both
            require(package, package, "explore,torch", f"the agent '{self.name}'")
        self.start()

    def propose(self) -> list[Point]:
        """On one core: the fits are small, and threads would wait for one another."""
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return super().propose()
        finally:
            torch.set_num_threads(threads)

    def sampler(self, seed: int) -> Any:
        from optuna.samplers import GPSampler

        return GPSampler(n_startup_trials=self.startup, seed=seed, warn_independent_sampling=False)
