"""CMA-ES over mappings as vectors, through the package `cmaes` (Nomura & Shibata, arXiv 2402.01373).

Differential evolution is left out: scipy's calls the objective itself instead of asking and telling, and the kept libraries that
have an ask/tell form of it (pymoo, nevergrad) bring a dozen packages along for one searcher.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import MissingExtraError
from fiberloom.mapper.search import GenerationalSearcher, Outcome, SearchProblem, same_mappings
from fiberloom.mapping.packed import PackedMappings

Floats = NDArray[np.float64]

INVALID: Final = 1000.0
"""Fitness of a mapping that does not fit; above the logarithm of any double, so above every valid one."""


class CMAES(GenerationalSearcher):
    """A Gaussian over mappings as vectors, whose mean and covariance follow the better half of every generation.

    Coordinates are those of `MapSpace.vector` scaled to 0..1; a sample becomes the nearest mapping, repaired, and the Gaussian
    learns from the sample (Hansen & Ostermeier 2001; samples beyond the bounds are drawn once more, then clipped).
    Fitness is the logarithm of the objective; only its ranking counts. When the Gaussian has collapsed, it
    restarts with a population twice as large (IPOP, Auger & Hansen, CEC'05).

    Hyper-parameters:
        population: samples per generation; 0 takes ``4 + 3 ln V`` for V coordinates (Hansen's default, arXiv 1604.00772, eq. 48).
        sigma: first standard deviation as a share of each coordinate's range, 0.3 (there, §B.4).
        growth: of the population at a restart, 2 (IPOP).
        most_population: where the growth ends, 4096 (ours).
    """

    name = "cma-es"
    summary = "CMA-ES on the vector form of mappings, restarting with growing populations"

    def __init__(
        self,
        target: SearchProblem,
        rng: np.random.Generator,
        *,
        population: int = 0,
        sigma: float = 0.3,
        growth: float = 2.0,
        most_population: int = 4096,
    ) -> None:
        super().__init__(target, rng)
        self.population = population
        self.sigma = sigma
        self.growth = growth
        self.most_population = most_population
        self.bounded("population", 0)
        self.bounded("sigma", 1e-9, 10)
        self.bounded("growth", 1)
        self.bounded("most_population", 2)
        try:
            import cmaes
        except ImportError:
            raise MissingExtraError("cmaes", "search", "the searcher 'cma-es'") from None
        self._cma = cmaes.CMA
        self._low, self._high = _ranges(target)
        self._open = np.flatnonzero(self._high > self._low)
        chosen = population or 4 + int(3 * np.log(max(1, len(self._open))))
        self._size = max(4, chosen)
        self._gaussian: Any = None
        self._samples: Floats = np.empty((0, 0))
        self._proposed = self.space.decode([])

    def propose(self) -> PackedMappings:
        """One generation of samples, each the nearest mapping."""
        if len(self._open) < 2:  # no Gaussian in fewer than two coordinates; such spaces are tiny
            return self.space.sample(self.rng, self._size)
        if self._gaussian is None:
            self._gaussian = self._fresh()
        elif self._gaussian.should_stop():
            self._size = min(self.most_population, int(self._size * self.growth))
            self._gaussian = self._fresh()
        self._samples = np.array([self._gaussian.ask() for _ in range(self._size)])
        vectors = np.tile(self._low, (self._size, 1))
        vectors[:, self._open] += self._samples * (self._high - self._low)[self._open]
        self._proposed = self.space.repair(self.space.unvector(vectors))
        return self._proposed

    def learn(self, packed: PackedMappings, outcome: Outcome) -> None:
        """Move the Gaussian towards the better samples."""
        if self._gaussian is None or len(packed) != self._size:
            return
        if not same_mappings(packed, self._proposed):
            spread = (self._high - self._low)[self._open]
            self._samples = (self.space.vector(packed) - self._low)[:, self._open] / spread
        with np.errstate(divide="ignore"):
            fitness = np.clip(np.where(outcome.valid, np.log(outcome.objective), INVALID), -INVALID, INVALID)
        self._gaussian.tell(list(zip(self._samples, fitness.tolist(), strict=True)))

    def _fresh(self) -> Any:
        width = len(self._open)
        return self._cma(
            mean=self.rng.random(width),
            sigma=self.sigma,
            bounds=np.tile([0.0, 1.0], (width, 1)),
            seed=int(self.rng.integers(2**31)),
            population_size=self._size,
            n_max_resampling=1,
        )


def _ranges(target: SearchProblem) -> tuple[Floats, Floats]:
    """Least and greatest value of every coordinate of `MapSpace.vector`."""
    space = target.space
    factors = [[np.log2([c[0], c[-1]]) for row in choices for c in row]
               for choices in (space.temporal_choices, space.spatial_choices)]  # fmt: skip
    L, D = len(space.level_names), len(space.variables)
    places = [(0.0, D - 1.0 if space.order_count(level) > 1 else 0.0) for level in range(L) for _ in range(D)]
    bits = [(0.0, 1.0)]
    ranges = np.array(
        [*factors[0], *factors[1], *bits * int(space.open_axis.sum()), *places, *bits * int(space.free_keep.sum())]
    )
    return ranges[:, 0], ranges[:, 1]
