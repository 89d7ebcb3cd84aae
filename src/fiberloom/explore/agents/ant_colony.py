"""Ant colony: walks through the parameters, drawn to the values that good designs have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fiberloom.explore.agents._base import GenerationalAgent
from fiberloom.explore.agents._policy import drawn
from fiberloom.explore.agents._record import Record
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import Point
from fiberloom.explore.trial import Trial

Floats = NDArray[np.float64]


class AntColony(GenerationalAgent):
    """Ants choose a value of one parameter after the other; pheromone lies on the way from each value to the next one's.

    The ant colony system (Dorigo & Gambardella, IEEE TEC 1997): with probability `greediness` an ant takes the way of most
    pheromone, else one in proportion; ways that ants took fade towards the first amount, the best walk so far is
    reinforced. ArchGym (ISCA'23) takes it over from DeepSwarm with the same four hyper-parameters. Amounts are
    relative, so that they suit any objective: the first is 1 / number of parameters and a best walk's is 1, the proportion
    that the paper's rule gives for an average tour.

    DeepSwarm's depth is how far a network may grow; a design has all its parameters from the beginning, so here an ant that follows
    the best design goes its own way for `depth` parameters.

    Hyper-parameters:
        ants: walks per generation; ArchGym tries 2 to 64.
        evaporation: share of a way's pheromone that fades when it is walked or reinforced, 0.1 (both papers).
        greediness: 0.5 (DeepSwarm; 0.9 in the ant colony system).
        depth: parameters, drawn by lot, that an ant chooses anew; the others are those of the best design. 0: all.
    """

    name = "ant-colony"
    summary = "ant colony system, with ArchGym's hyper-parameters"

    def __init__(
        self,
        problem: DesignProblem,
        goal: Goal,
        rng: np.random.Generator,
        ants: int = 16,
        evaporation: float = 0.1,
        greediness: float = 0.5,
        depth: int = 0,
    ) -> None:
        super().__init__(problem, goal, rng)
        self.ants = ants
        self.evaporation = evaporation
        self.greediness = greediness
        self.depth = depth
        self.whole("ants", 1, 100_000)
        self.bounded("evaporation", 0, 1)
        self.bounded("greediness", 0, 1)
        self.whole("depth", 0)
        shape = self.space.shape
        self._first = 1 / len(shape)
        self._ways: list[Floats] = [
            np.full((before, n), self._first) for before, n in zip((1, *shape), shape, strict=False)
        ]
        self._record = Record()

    def propose(self) -> list[Point]:
        return [self.meeting(self._walk) for _ in range(self.ants)]

    def learn(self, trials: Sequence[Trial]) -> None:
        """Walked ways fade, the best one is reinforced."""
        self._record.add(trials)
        for trial in trials:
            self._move(trial.point, self._first)
        if self._record.best is not None and self._record.best.evaluated.metrics:
            self._move(self._record.best.point, 1.0)

    def _walk(self) -> list[int]:
        count = len(self._ways)
        best = self._record.best
        own = set(range(count))
        if best is not None and 0 < self.depth < count:
            own = set(self.rng.choice(count, self.depth, replace=False).tolist())
        point: list[int] = []
        for i, ways in enumerate(self._ways):
            pheromone = ways[point[-1] if point else 0]
            if best is not None and i not in own:
                point.append(best.point[i])
            elif self.rng.random() < self.greediness:
                most = np.flatnonzero(pheromone == pheromone.max())
                point.append(int(most[self.rng.integers(len(most))]))
            else:
                point.append(drawn(self.rng, pheromone / pheromone.sum()))
            if self.space.parameters[i].when and not self.space.active(point)[-1]:
                point[-1] = 0
        return point

    def _move(self, point: Point, towards: float) -> None:
        """Bring the pheromone of a walk nearer to an amount."""
        for ways, before, here in zip(self._ways, (0, *point), point, strict=False):
            ways[before, here] += self.evaporation * (towards - ways[before, here])
