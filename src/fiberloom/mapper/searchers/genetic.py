"""A genetic algorithm with the operators of GAMMA (Kao & Krishna, ICCAD'20)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.mapper.search import GenerationalSearcher, Outcome, SearchProblem
from fiberloom.mapping.packed import ROWS, PackedMappings

Array = NDArray[Any]


class Genetic(GenerationalSearcher):
    """Elites survive, parents breed, and every operator moves along one axis of the mapping: tile, order, parallelism, bypass.

    Per generation duplicates are removed, the best are kept, children are bred from random pairs of parents, go through the
    operators below, each with its probability, and are repaired. Where no parent is valid the population is drawn anew.
    What is GAMMA's: the operators on tile, order and parallelism and their rates, as in its public code (MIT; read, not
    copied). Tiles are exact factorisations here, so a tile mutation redraws all loops of a variable, as in the version
    of GAMMA for Timeloop that the mapper study of IISWC'22 builds on; bypass, injections and the all-at-the-top half of
    the first population come from there, too. GAMMA's growing and shrinking of cluster levels has no
    counterpart: the levels of an architecture are fixed (and its own default switches them off).

    Hyper-parameters, with the defaults of GAMMA unless another source is named:
        population: 100.
        elites: share that survives unchanged, 0.05 (one at least).
        parents: share that breeds, 0.4.
        crossover_tile: a child takes one random variable's loops at all levels from the second parent, 0.57.
        swap_order: two loops of one level change places, 0.47.
        mutate_tile: up to `tile_loci` random variables are factorised anew, 0.53.
        tile_loci: 3.
        mutate_parallel: a spatial loop changes its variable, factor or axis, 0.1.
        crossover_bypass: a child takes the second parent's keeps, 0.125 (GAMMA for Timeloop: one of four axes is swapped with 0.5).
        mutate_bypass: one keep is flipped, 0.1 (the rate of the other rare operators of GAMMA for Timeloop).
        injections: share drawn at random, 0.1 (GAMMA for Timeloop).
    """

    name = "genetic"
    summary = "genetic algorithm with GAMMA's operators"

    def __init__(
        self,
        target: SearchProblem,
        rng: np.random.Generator,
        *,
        population: int = 100,
        elites: float = 0.05,
        parents: float = 0.4,
        crossover_tile: float = 0.57,
        swap_order: float = 0.47,
        mutate_tile: float = 0.53,
        tile_loci: int = 3,
        mutate_parallel: float = 0.1,
        crossover_bypass: float = 0.125,
        mutate_bypass: float = 0.1,
        injections: float = 0.1,
    ) -> None:
        super().__init__(target, rng)
        self.population = population
        self.elites = elites
        self.parents = parents
        self.crossover_tile = crossover_tile
        self.swap_order = swap_order
        self.mutate_tile = mutate_tile
        self.tile_loci = tile_loci
        self.mutate_parallel = mutate_parallel
        self.crossover_bypass = crossover_bypass
        self.mutate_bypass = mutate_bypass
        self.injections = injections
        self.bounded("population", 2)
        self.bounded("tile_loci", 1)
        rates = ("elites", "parents", "crossover_tile", "swap_order", "mutate_tile", "mutate_parallel")
        for rate in (*rates, "crossover_bypass", "mutate_bypass", "injections"):
            self.bounded(rate, 0, 1)
        self._survivors: tuple[PackedMappings, Outcome] | None = None  # best first, without duplicates

    def start(self) -> PackedMappings:
        """The first population: half with all factors outermost, half random; subclasses may begin elsewhere."""
        drawn = self.space.sample(self.rng, self.population)
        half = slice(0, self.population // 2)
        drawn.temporal[half] = 1
        drawn.spatial[half] = 1
        drawn.temporal[half, -1] = self.space.bounds
        return self.space.repair(drawn)

    def propose(self) -> PackedMappings:
        """Children and injections; elites are remembered, not judged again."""
        if self._survivors is None:
            return self.start()
        ranked, _ = self._survivors
        elites = max(1, round(self.elites * self.population))
        injected = round(self.injections * self.population)
        children = max(1, self.population - elites - injected)
        breeding = min(len(ranked), max(2, round(self.parents * self.population)))
        pairs = self.rng.integers(0, breeding, (2, children))
        child, other = ranked.take(pairs[0]), ranked.take(pairs[1])
        self._cross(child, other)
        self._sometimes(child, self.swap_order, self._swap)
        self._sometimes(child, self.mutate_tile, self._refactor)
        self._sometimes(child, self.mutate_parallel, lambda part: self.space.mutate(part, self.rng, "parallel"))
        self._sometimes(child, self.mutate_bypass, lambda part: self.space.mutate(part, self.rng, "bypass"))
        batches = [child, self.space.sample(self.rng, injected)] if injected else [child]
        return self.space.repair(PackedMappings.concatenate(batches))

    def learn(self, packed: PackedMappings, outcome: Outcome) -> None:
        """Rank children and elites; an equal objective is ranked by what breaks its ties."""
        if self._survivors is not None:
            elites = max(1, round(self.elites * self.population))
            best, known = self._survivors
            packed = PackedMappings.concatenate([best.take(slice(0, elites)), packed])
            outcome = Outcome.concatenate([known.take(slice(0, elites)), outcome])
        rows = self.space.distinct(packed)
        rows = rows[outcome.valid[rows]]
        if not len(rows):
            self._survivors = None
            return
        tie = self.target.objective.tie(outcome.energy_pj[rows], outcome.cycles[rows])
        rows = rows[np.lexsort((tie, outcome.objective[rows]))][: self.population]
        self._survivors = packed.take(rows), outcome.take(rows)

    def _cross(self, child: PackedMappings, other: PackedMappings) -> None:
        """One variable's loops, and all keeps, from the second parent."""
        n = len(child)
        rows = np.flatnonzero(self.rng.random(n) < self.crossover_tile)
        d = self.rng.integers(0, len(self.space.variables), len(rows))
        child.temporal[rows, :, d] = other.temporal[rows, :, d]
        child.spatial[rows, :, d] = other.spatial[rows, :, d]
        bit = (1 << d)[:, None]
        child.on_x[rows] = child.on_x[rows] & ~bit | other.on_x[rows] & bit
        rows = np.flatnonzero(self.rng.random(n) < self.crossover_bypass)
        child.keep[rows] = other.keep[rows]

    def _sometimes(
        self, packed: PackedMappings, rate: float, operator: Callable[[PackedMappings], PackedMappings]
    ) -> None:
        """Put what an operator makes of random rows in their place."""
        rows = np.flatnonzero(self.rng.random(len(packed)) < rate)
        if len(rows):
            changed = operator(packed.take(rows))
            for name in ROWS:
                getattr(packed, name)[rows] = getattr(changed, name)

    def _swap(self, packed: PackedMappings) -> PackedMappings:
        """Two loops of one level change places; repair brings orders that are not allowed to the nearest that is."""
        n, L, D = packed.temporal_order.shape
        level = self.rng.integers(0, L, n)
        a, b = self.rng.integers(0, D, (2, n))
        rows = np.arange(n)
        order = packed.temporal_order
        order[rows, level, a], order[rows, level, b] = order[rows, level, b], order[rows, level, a]
        return packed

    def _refactor(self, packed: PackedMappings) -> PackedMappings:
        """Draw the factorisations of up to `tile_loci` variables anew."""
        loci: Array = self.rng.integers(0, len(self.space.variables), (self.tile_loci, len(packed)))
        for drawn in loci:
            for d, table in enumerate(self.space.factorizations):
                rows = np.flatnonzero(drawn == d)
                if len(rows):
                    self.space.set_factors(packed, d, table.sample(self.rng, len(rows)), rows)
        return packed
