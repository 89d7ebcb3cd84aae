"""Simulated annealing over map spaces, as a batch of independent chains."""

from __future__ import annotations

import math

import numpy as np

from fiberloom.errors import SpecError
from fiberloom.mapper.search import GenerationalSearcher, Outcome, SearchProblem
from fiberloom.mapping.packed import ROWS, PackedMappings


class SimulatedAnnealing(GenerationalSearcher):
    """Chains that always accept what is better, and what is worse with probability ``exp(-ln(worse / now) / T)``.

    A move is one mutation along a random axis, repaired. The temperature falls geometrically, the schedule of Kirkpatrick,
    Gelatt & Vecchi (Science 220, 1983). It is relative to the objective: energies and EDPs of map spaces span decades,
    so differences of logarithms mean the same for any layer and objective, where absolute differences would need a
    temperature per problem. At the end of a cycle every chain restarts from the best mapping of all and the temperature
    starts again, so that any budget can be spent. Mind Mappings (ASPLOS'21) compares with annealing but does not state its
    schedule in what could be read, so the values below are ours.

    Hyper-parameters:
        chains: independent chains, evaluated together (32).
        steps: moves per chain and cycle (300).
        hottest: temperature at the beginning: 1 accepts a mapping 2.7 times worse with probability 1/e.
        coldest: temperature at the end: 0.001 accepts a mapping 0.1 % worse with that probability.
        draws: random mappings per chain to choose its start from (8).
    """

    name = "annealing"
    summary = "simulated annealing: parallel chains, geometric cooling, restarts"

    def __init__(
        self,
        target: SearchProblem,
        rng: np.random.Generator,
        *,
        chains: int = 32,
        steps: int = 300,
        hottest: float = 1.0,
        coldest: float = 0.001,
        draws: int = 8,
    ) -> None:
        super().__init__(target, rng)
        self.chains = chains
        self.steps = steps
        self.hottest = hottest
        self.coldest = coldest
        self.draws = draws
        self.bounded("chains", 1)
        self.bounded("steps", 1)
        self.bounded("draws", 1)
        self.bounded("coldest", 1e-12)
        if not coldest <= hottest < math.inf:
            raise SpecError(f"annealing from {hottest:g} to {coldest:g}", hint="hottest is at least coldest")
        self._now: PackedMappings | None = None
        self._value = np.full(chains, np.inf)
        self._best: PackedMappings | None = None
        self._best_value = math.inf
        self._step = 0

    @property
    def temperature(self) -> float:
        """Of the next move."""
        return float(self.hottest * (self.coldest / self.hottest) ** (self._step / max(1, self.steps - 1)))

    def propose(self) -> PackedMappings:
        """Starts to choose from, then one move per chain."""
        if self._now is None:
            return self.space.repair(self.space.sample(self.rng, self.chains * self.draws))
        return self.space.repair(self.space.mutate(self._now, self.rng))

    def learn(self, packed: PackedMappings, outcome: Outcome) -> None:
        """Accept or refuse the moves, and cool."""
        values = outcome.objective
        row = int(np.argmin(values))
        if values[row] < self._best_value:
            self._best, self._best_value = packed.take([row]), float(values[row])
        if len(packed) != self.chains * (self.draws if self._now is None else 1):
            return  # not what was proposed: a resumed run that can't be repeated
        if self._now is None:
            start = np.argmin(values.reshape(self.chains, self.draws), axis=1) + self.draws * np.arange(self.chains)
            self._now, self._value = packed.take(start), values[start]
            return
        with np.errstate(invalid="ignore"):
            worse = np.log(values) - np.log(self._value)
        # A chain that has met no valid mapping yet walks freely.
        accepted = np.isinf(self._value) | (
            self.rng.random(self.chains) < np.exp(-np.maximum(worse, 0) / self.temperature)
        )
        for name in ROWS:
            getattr(self._now, name)[accepted] = getattr(packed, name)[accepted]
        self._value = np.where(accepted, values, self._value)
        self._step += 1
        if self._step >= self.steps:
            self._step = 0
            if self._best is not None:
                self._now = self._best.take(np.zeros(self.chains, np.int64))
                self._value = np.full(self.chains, self._best_value)
