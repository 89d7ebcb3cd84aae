"""Designs that need no evaluation, because bounds on their metrics lose already."""

from __future__ import annotations

from fiberloom.explore.front import Front
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import Point
from fiberloom.explore.trial import Evaluated, Status


def ruled_out(problem: DesignProblem, goal: Goal, front: Front, point: Point) -> Evaluated | None:
    """The bounds of a design that they rule out; None: it must be evaluated.

    Bounds of what limits ask for come first: most designs fall there, and those are the cheapest.
    """
    limiting = [limit for limit in goal.limits if not limit.at_least]
    if problem.space.violated(point):
        return None
    try:
        found = dict(problem.bounds(point, {limit.text for limit in limiting})) if limiting else {}
        broken = [limit for limit in limiting if limit.text in found and limit.overshoot(found)]
        if broken:
            off = "; ".join(f"{limit.name}: at least {found[limit.text]:.4g}" for limit in broken)
            return Evaluated(Status.PRUNED, found, off)
        if not front or any(aim.maximise for aim in goal.aims):
            return None
        found |= problem.bounds(point, {aim.text for aim in goal.aims})
    except Exception:  # evaluation says what is wrong with the design
        return None
    if all(aim.text in found for aim in goal.aims) and front.reaches(goal.values(found)):
        return Evaluated(Status.PRUNED, found, "its bounds are no better than a known design")
    return None
