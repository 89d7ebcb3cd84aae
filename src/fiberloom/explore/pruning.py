"""Designs that need no evaluation, because bounds on their metrics lose already."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fiberloom.explore.front import Front
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import Point
from fiberloom.explore.trial import Evaluated, Status


@dataclass(frozen=True)
class Screen:
    """What a design must not lose against to be evaluated: the limits of a goal, and a front as it was. It can be pickled.

    Attributes:
        reached: (n, objectives), values of the front.
    """

    goal: Goal
    reached: NDArray[np.float64] = field(compare=False)

    @classmethod
    def of(cls, goal: Goal, front: Front) -> Screen:
        """The front as it is now."""
        return cls(goal, front.values)

    def evaluate(self, problem: DesignProblem, point: Point) -> Evaluated:
        """The bounds of a design that they rule out, else its evaluation."""
        return self.ruled_out(problem, point) or problem.evaluate(point)

    def ruled_out(self, problem: DesignProblem, point: Point) -> Evaluated | None:
        """The bounds of a design that they rule out; None: it must be evaluated."""
        begun = time.perf_counter()
        bounds = self._losing(problem, point)
        return None if bounds is None else replace(bounds, seconds=time.perf_counter() - begun)

    def _losing(self, problem: DesignProblem, point: Point) -> Evaluated | None:
        """Bounds of what limits ask for come first: most designs fall there, and those are the cheapest."""
        goal = self.goal
        limiting = [limit for limit in goal.limits if not limit.at_least]
        if problem.space.violated(point):
            return None
        try:
            found = dict(problem.bounds(point, {limit.text for limit in limiting})) if limiting else {}
            broken = [limit for limit in limiting if limit.text in found and limit.overshoot(found)]
            if broken:
                off = "; ".join(f"{limit.name}: at least {found[limit.text]:.4g}" for limit in broken)
                return Evaluated(Status.PRUNED, found, off)
            if not len(self.reached) or any(aim.maximise for aim in goal.aims):
                return None
            found |= problem.bounds(point, {aim.text for aim in goal.aims})
        except Exception:  # evaluation says what is wrong with the design
            return None
        if all(aim.text in found for aim in goal.aims):
            values = np.asarray(goal.values(found))
            if (self.reached <= values).all(axis=1).any():
                return Evaluated(Status.PRUNED, found, "its bounds are no better than a known design")
        return None
