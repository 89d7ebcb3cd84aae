"""One design tried: what came of it, and how good that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from fiberloom.errors import SpecError
from fiberloom.explore.goal import PENALTY, Goal
from fiberloom.explore.space import Point


class Status(StrEnum):
    """What became of a design."""

    EVALUATED = "evaluated"
    PRUNED = "pruned"
    """Not evaluated: its bounds already lose. Its metrics are those bounds."""
    INVALID = "invalid"
    """It makes no sense, or the workload can't run on it."""
    FAILED = "failed"
    """Its evaluation ended by a fault or with its process; another try may succeed."""


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation says of a design, independent of any goal.

    Attributes:
        status: see `Status`.
        metrics: by name; empty where there are none.
        reason: why there are none.
        detail: what belongs to it, as plain data (certificates, layers, …).
        seconds: that it took.
    """

    status: Status
    metrics: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Trial:
    """A design, its evaluation, and how that meets the goal.

    Attributes:
        values: the objectives, minimised; infinite where a metric that they need is missing.
        violation: how far off the limits it is, relative, as far as metrics are known; 0 where feasible, infinite without metrics.
        score: one number for the objectives (`Goal.score`).
        known: its evaluation was in the store already.
    """

    point: Point
    evaluated: Evaluated
    values: tuple[float, ...]
    violation: float
    score: float
    known: bool = False

    @classmethod
    def of(cls, point: Point, evaluated: Evaluated, goal: Goal, *, known: bool = False) -> Trial:
        """Judge an evaluation by a goal."""
        metrics = evaluated.metrics
        try:
            violation = goal.violation(metrics) if metrics else math.inf
            values = goal.values(metrics) if goal.judges(metrics) else None
        except SpecError as error:  # such as a division by a metric that is 0 here
            unjudged = replace(evaluated, status=Status.INVALID, metrics={}, reason=str(error))
            return cls.of(point, unjudged, goal, known=known)
        if values is None:
            return cls(point, evaluated, (math.inf,) * len(goal.aims), violation, math.inf, known)
        return cls(point, evaluated, values, violation, goal.score(values), known)

    @property
    def feasible(self) -> bool:
        """Evaluated, within every limit."""
        return self.evaluated.status is Status.EVALUATED and self.violation == 0

    @property
    def penalised(self) -> float:
        """`score`, made worse in proportion to the violation; infinite where there are no metrics."""
        if not math.isfinite(self.violation):
            return math.inf
        worse = 1 + PENALTY * self.violation
        return self.score * worse if self.score >= 0 else self.score / worse

    @property
    def order(self) -> tuple[float, float]:
        """Sorts trials: feasible ones by score, then the others by how far off they are."""
        return (0.0, self.score) if self.violation == 0 else (self.violation, self.score)
