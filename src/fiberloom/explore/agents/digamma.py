"""DiGamma's genetic algorithm: operators that know the hardware, the layers, and the axes of their mappings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import UnsupportedError
from fiberloom.explore.agents._base import GenerationalAgent
from fiberloom.explore.agents._ranking import ranked
from fiberloom.explore.goal import Goal
from fiberloom.explore.joint import JointProblem
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import Point
from fiberloom.explore.trial import Trial
from fiberloom.input.expressions import names_in

_ENERGY, _TIME = frozenset({"edp", "energy", "power"}), frozenset({"edp", "latency"})


class DiGamma(GenerationalAgent):
    """Array and mappings bred together; buffers follow from the mappings (`fiberloom.explore.joint`).

    After Kao et al., DATE'22, with the rates of its public code. There a design is one layer's; a child here is bred layer by
    layer: each takes the tiles of one loop from a second parent (`crossover`), swaps to another loop order (`order`), and
    moves up to three prime factors to other loops (`mutate`). `gather` is ours: it takes every layer's mapping from
    the survivor that runs this layer at the least cost, which the published operators don't look at.

    Hyper-parameters:
        population: designs per generation; 40 where GAMMA has 100, since designs cost more than mappings.
        elites: share that competes on unchanged, 0.05 (one at least).
        parents: share that breeds, 0.4.
        crossover: chance per layer, 0.57.
        order: chance per layer, 0.47.
        mutate: chance per layer, 0.53.
        hardware: chance that a child gets another array, 0.5.
        layers: share of the layers that a child changes at all, in the mean; 0.3 is ours, 1 breeds all of them.
        gather: share of the children that gather; 0.5 is ours, 0 is as published.
    """

    name = "digamma"
    summary = "genetic algorithm for arrays with mappings (kind: joint); buffers follow from the mappings"
    several = True

    def __init__(
        self,
        problem: DesignProblem,
        goal: Goal,
        rng: np.random.Generator,
        population: int = 40,
        elites: float = 0.05,
        parents: float = 0.4,
        crossover: float = 0.57,
        order: float = 0.47,
        mutate: float = 0.53,
        hardware: float = 0.5,
        layers: float = 0.3,
        gather: float = 0.5,
    ) -> None:
        super().__init__(problem, goal, rng)
        if not isinstance(problem, JointProblem):
            raise UnsupportedError(
                f"'{self.name}' breeds mappings, and the designs of '{problem.file.name}' have none of their own",
                hint="use a space of kind joint, such as digamma-like; or --agent genetic",
            )
        self.joint = problem.space
        self.counts = problem.counts
        self.population = population
        self.elites, self.parents = elites, parents
        self.crossover, self.order, self.mutate = crossover, order, mutate
        self.hardware, self.layers, self.gather = hardware, layers, gather
        self.whole("population", 2, 100_000)
        for rate in ("elites", "parents", "crossover", "order", "mutate", "hardware", "layers", "gather"):
            self.bounded(rate, 0, 1)
        self._innermost = next(i for i, slot in enumerate(problem.slots) if slot.level == 0 and slot.axis < 0)
        self.survivors: list[Trial] = []
        self._genes: NDArray[np.int64] = np.zeros((0, 0), np.int64)
        self._costs: NDArray[np.float64] = np.zeros((0, 0))

    def propose(self) -> list[Point]:
        """Random designs with small tiles first, then children; elites are remembered, not evaluated again."""
        if not self.survivors:
            drawn = self.joint.sample(self.rng, self.population)
            return [self._with_small_tiles(point) for point in drawn]
        return [self._child() for _ in range(self.population)]

    def learn(self, trials: Sequence[Trial]) -> None:
        """Rank children and elites; the best breed."""
        elites = max(1, round(self.elites * self.population))
        breeding = max(2, round(self.parents * self.population))
        best = ranked([*self.survivors[:elites], *trials])
        self.survivors = [t for t in best if t.evaluated.metrics][:breeding]
        if self.survivors:
            self._genes = np.array([self.joint.split(t.point)[1] for t in self.survivors])
            self._costs = np.array([self._layer_costs(t) for t in self.survivors])

    def _with_small_tiles(self, point: Point) -> Point:
        """As GAMMA begins: tiles of the innermost level are single words, what was in them goes outermost."""
        hardware, drawn = self.joint.split(point)
        genes = np.array(drawn)
        for part, layer in zip(self._parts, self.joint.layers, strict=True):
            factors = genes[part][: len(layer.primes)]
            factors[factors == self._innermost] = 0
            genes[part][: len(layer.primes)] = factors
        return (*hardware, *genes.tolist())

    def _layer_costs(self, trial: Trial) -> NDArray[np.float64]:
        """What each layer adds to the objective, as shares of the design's energy and time."""
        energy, cycles = np.array(trial.evaluated.detail["layers"]).T * self.counts
        used = frozenset().union(*(names_in(aim.text) for aim in self.goal.aims))
        reference = np.array(self.survivors[0].evaluated.detail["layers"]).T @ self.counts
        cost = np.zeros(len(energy))
        if used & _ENERGY:
            cost += energy / reference[0]
        if used & _TIME:
            cost += cycles / reference[1]
        return cost

    def _child(self) -> Point:
        rng, n = self.rng, len(self.survivors)
        first, second = (int(i) for i in rng.integers(0, n, 2))
        hardware, _ = self.joint.split(self.survivors[first].point)
        genes = self._genes[first].copy()
        if rng.random() < self.gather:
            for part, donor in zip(self._parts, self._costs.argmin(axis=0), strict=True):
                if rng.random() < 0.5:
                    genes[part] = self._genes[donor, part]
        if rng.random() < self.hardware:
            other = self.joint.split(self.survivors[second].point)[0]
            hardware = other if rng.random() < 0.5 else self.joint.hardware.neighbour(rng, hardware, step=4)
        changed = np.flatnonzero(rng.random(len(self._parts)) < self.layers)
        for j in changed if len(changed) else rng.integers(0, len(self._parts), 1):
            self._change(int(j), genes, self._genes[second])
        return (*hardware, *genes.tolist())

    def _change(self, j: int, genes: NDArray[np.int64], other: NDArray[np.int64]) -> None:
        """One layer of a child bred and mutated."""
        rng, layer, start = self.rng, self.joint.layers[j], self._parts[j].start
        primes = len(layer.primes)
        if primes and rng.random() < self.crossover:
            loop = layer.variables[int(rng.integers(primes))]
            at = start + np.flatnonzero(layer.variables == loop)
            genes[at] = other[at]
        if layer.ordered_levels and rng.random() < self.order:
            at = start + primes + int(rng.integers(len(layer.ordered_levels)))
            genes[at] = rng.integers(self.joint.radices[at])
        if primes and rng.random() < self.mutate:
            for k in rng.integers(0, primes, int(rng.integers(1, 4))):
                genes[start + k] = rng.integers(self.joint.radices[start + k])

    @property
    def _parts(self) -> list[slice]:
        n = len(self.joint.hardware.parameters)
        return [slice(p.start - n, p.stop - n) for p in self.joint.parts]
