"""Optuna's CMA-ES over designs."""

from __future__ import annotations

from typing import Any

import numpy as np

from fiberloom.errors import require
from fiberloom.explore.agents._optuna import OptunaAgent
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem


class CmaEs(OptunaAgent):
    """A normal distribution over designs that adapts its covariance (Hansen & Ostermeier, 2001), with a margin for integers (Hamano et
    al., GECCO'22). Values without an order are numbered as they stand in the space, which is an order that means nothing.

    Hyper-parameters:
        population: designs per generation; 0: 4 + 3 ln(parameters), as Hansen recommends.
        margin: keep every integer reachable.
    """

    name = "cma-es"
    summary = "Optuna's CMA-ES with margin"
    constrained = False
    categories = False

    def __init__(
        self,
        problem: DesignProblem,
        goal: Goal,
        rng: np.random.Generator,
        population: int = 0,
        margin: bool = True,
    ) -> None:
        super().__init__(problem, goal, rng)
        self.population = population
        self.margin = margin
        self.whole("population", 0, 100_000)
        self.flag("margin")
        require("cmaes", "cmaes", "explore", f"the agent '{self.name}'")  # Optuna's sampler imports it late
        searched = max(1, sum(n > 1 for n in self.space.shape))
        # the cmaes package wants at least five of a population
        self.batch = max(5, self.population or 4 + int(3 * np.log(searched)))
        self.start()

    def sampler(self, seed: int) -> Any:
        from optuna.samplers import CmaEsSampler

        return CmaEsSampler(popsize=self.batch, with_margin=self.margin, warn_independent_sampling=False, seed=seed)
