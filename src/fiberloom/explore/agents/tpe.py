"""Optuna's tree-structured Parzen estimator: the default engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from fiberloom.explore.agents._optuna import OptunaAgent
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem


class Tpe(OptunaAgent):
    """Draws where good designs are dense and bad ones are not (Bergstra et al., NeurIPS'11; Watanabe, arXiv 2304.11127).

    Hyper-parameters, with Optuna's defaults unless said:
        startup: random designs before the first estimate, 10.
        candidates: draws of which the most promising is proposed, 24.
        joint: estimate parameters together (the multivariate TPE of Falkner et al., ICML'18) rather than one by one.
        batch: designs asked at a time; 1 learns most from every evaluation. Others under way count as bad ones.
    """

    name = "tpe"
    summary = "Optuna's tree-structured Parzen estimator"
    several = True
    conditional = True

    def __init__(
        self,
        problem: DesignProblem,
        goal: Goal,
        rng: np.random.Generator,
        startup: int = 10,
        candidates: int = 24,
        joint: bool = True,
        batch: int = 1,
    ) -> None:
        super().__init__(problem, goal, rng)
        self.startup = startup
        self.candidates = candidates
        self.joint = joint
        self.batch = batch
        self.whole("startup", 1)
        self.whole("candidates", 1)
        self.whole("batch", 1, 10_000)
        self.flag("joint")
        self.start()

    def sampler(self, seed: int) -> Any:
        from optuna.samplers import TPESampler

        return TPESampler(
            n_startup_trials=self.startup, n_ei_candidates=self.candidates, multivariate=self.joint, seed=seed
        )
