"""A genetic algorithm whose operators know what kind of parameter they change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fiberloom.explore.agents._base import GenerationalAgent
from fiberloom.explore.agents._ranking import ranked
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import DesignSpace, Point
from fiberloom.explore.trial import Trial


class Genetic(GenerationalAgent):
    """Elites survive, parents breed, and every operator moves along one axis of the design.

    The scheme and, unless said, the rates are those of GAMMA (Kao & Krishna, ICCAD'20, as in its public code), which DiGamma (DATE'22)
    extends to hardware. Its axes were tile, order and parallelism of a mapping; here an axis is a group of parameters that belong
    together: those of one component (``GLB.depth``, ``GLB.width``) and those that depend on one another (`axes`). Ordered
    parameters step to nearby values, the others jump. A child that an earlier generation had is mutated again. With several
    objectives, ranks are Pareto ranks (as in GAMMA for Timeloop, IISWC'22).

    Hyper-parameters:
        population: designs per generation; 40 where GAMMA has 100, since designs cost more than mappings.
        elites: share that competes on unchanged, 0.05 (one at least).
        parents: share that breeds, 0.4.
        crossover: chance that a child takes one axis from a second parent, 0.57.
        mutate: chance that a child is mutated, 0.53; one that would be its parent's copy always is.
        loci: parameters that a mutation changes at most, 3.
        jump: chance that the mutation of an ordered parameter redraws it instead of stepping; 0.2 is ours.
        reach: values that a step goes at most; 2 is ours.
        injections: share of a generation that is drawn at random, 0.1 (GAMMA for Timeloop).
    """

    name = "genetic"
    summary = "genetic algorithm: axis crossover, ordered steps, categorical jumps, Pareto ranks"
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
        mutate: float = 0.53,
        loci: int = 3,
        jump: float = 0.2,
        reach: int = 2,
        injections: float = 0.1,
    ) -> None:
        super().__init__(problem, goal, rng)
        self.population = population
        self.elites = elites
        self.parents = parents
        self.crossover = crossover
        self.mutate = mutate
        self.loci = loci
        self.jump = jump
        self.reach = reach
        self.injections = injections
        self.whole("population", 2, 100_000)
        self.whole("loci", 1)
        self.whole("reach", 1)
        for rate in ("elites", "parents", "crossover", "mutate", "jump", "injections"):
            self.bounded(rate, 0, 1)
        self.axes = axes(self.space)
        self.survivors: list[Trial] = []
        self._tried: set[Point] = set()

    def begin(self, trials: Sequence[Trial]) -> None:
        """Breed from the designs that are known."""
        self._tried.update(t.point for t in trials)
        self.learn([*self.survivors, *trials])

    def propose(self) -> list[Point]:
        """Children and injections; elites are remembered, not evaluated again."""
        if not self.survivors:
            made = self.space.sample(self.rng, self.population)
        else:
            injected = min(round(self.injections * self.population), self.population - 1)
            made = [self._child() for _ in range(self.population - injected)]
            made += self.space.sample(self.rng, injected)
        self._tried.update(made)
        return made

    def learn(self, trials: Sequence[Trial]) -> None:
        """Rank children and elites; what has no metrics is no parent."""
        elites = max(1, round(self.elites * self.population))
        best = ranked([*self.survivors[:elites], *trials])
        self.survivors = [t for t in best if t.evaluated.metrics][: self.population]

    def _child(self) -> Point:
        breeding = min(len(self.survivors), max(2, round(self.parents * self.population)))
        first, second = (self.survivors[int(i)].point for i in self.rng.integers(0, breeding, 2))
        child = first
        if self.rng.random() < self.crossover:
            axis = self.axes[int(self.rng.integers(len(self.axes)))]
            crossed = self.space.canonical([second[i] if i in axis else first[i] for i in range(len(first))])
            child = first if self.space.violated(crossed) else crossed
        if child == first or self.rng.random() < self.mutate:
            child = self._mutated(child)
        for _ in range(10):  # a space may be small enough to be exhausted: then repeat
            if child not in self._tried:
                break
            child = self._mutated(child)
        return child

    def _mutated(self, point: Point) -> Point:
        """Up to `loci` parameters changed, the requirements met."""
        for _ in range(int(self.rng.integers(1, self.loci + 1))):
            reach = max(self.space.shape) if self.rng.random() < self.jump else self.reach
            point = self.space.neighbour(self.rng, point, step=reach)
        return point


def axes(space: DesignSpace) -> list[frozenset[int]]:
    """Groups of parameters that belong together: of the same component by name, and dependents with what they depend on."""
    group = {p.name: {i} for i, p in enumerate(space.parameters)}
    for p in space.parameters:
        component = [q.name for q in space.parameters if "." in p.name and q.name.split(".")[0] == p.name.split(".")[0]]
        for other in (*p.used, *component):
            joined = group[p.name] | group[other]
            for i in joined:
                group[space.parameters[i].name] = joined
    return [frozenset(members) for members in {id(m): m for m in group.values()}.values()]
