"""Optuna's NSGA-II and NSGA-III: genetic algorithms for fronts."""

from __future__ import annotations

from typing import Any

import numpy as np

from fiberloom.explore.agents._optuna import OptunaAgent
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem


class Nsga2(OptunaAgent):
    """Pareto ranks and crowding distance (Deb et al., IEEE TEC 2002), uniform crossover.

    Hyper-parameters, with Optuna's defaults:
        population: designs per generation, 50.
        crossover: chance that a child has two parents, 0.9.
        swapping: chance that a parameter comes from the second one, 0.5.
    """

    name = "nsga2"
    summary = "Optuna's NSGA-II"
    several = True

    def __init__(
        self,
        problem: DesignProblem,
        goal: Goal,
        rng: np.random.Generator,
        population: int = 50,
        crossover: float = 0.9,
        swapping: float = 0.5,
    ) -> None:
        super().__init__(problem, goal, rng)
        self.population = population
        self.crossover = crossover
        self.swapping = swapping
        self.whole("population", 2, 100_000)
        self.bounded("crossover", 0, 1)
        self.bounded("swapping", 0, 1)
        self.batch = self.population
        self.start()

    @property
    def _options(self) -> dict[str, Any]:
        return {"population_size": self.population, "crossover_prob": self.crossover, "swapping_prob": self.swapping}

    def sampler(self, seed: int) -> Any:
        from optuna.samplers import NSGAIISampler

        return NSGAIISampler(**self._options, seed=seed)


class Nsga3(Nsga2):
    """Pareto ranks and reference points (Deb & Jain, IEEE TEC 2014), for three objectives and more.

    Hyper-parameters: as `Nsga2`.
    """

    name = "nsga3"
    summary = "Optuna's NSGA-III, for three objectives and more"

    def sampler(self, seed: int) -> Any:
        from optuna.samplers import NSGAIIISampler

        return NSGAIIISampler(**self._options, seed=seed)
