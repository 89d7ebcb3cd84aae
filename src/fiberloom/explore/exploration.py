"""What an exploration found, and where one stands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fiberloom.errors import FiberloomError, SpecError
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.trial import Trial


@dataclass(frozen=True)
class Progress:
    """Where an exploration stands.

    Attributes:
        trials: so far, those under way not included; `known` of them were in the store or tried before, `pruned` by their bounds.
        evaluated: in this process or its workers, in this session.
        best: least score of a feasible design, infinite before the first.
        front: designs on the front.
        seconds: of the run, sessions before included.
        rate: evaluations per second of this session.
        left: seconds to the end of the budget, as fast as this session has been so far; None: unknown.
    """

    trials: int
    evaluated: int
    known: int
    pruned: int
    best: float
    front: int
    seconds: float
    rate: float
    left: float | None


@dataclass(frozen=True)
class Exploration:
    """What an exploration found.

    Attributes:
        trials: in the order proposed; where it was interrupted, those of the last batch that were ready.
        times: seconds since the run began, one per trial.
        front: the feasible trials that no other dominates.
        stopped: ``evaluations`` or ``seconds`` (the budget ended), ``interrupted``, ``error``, or the agent's reason.
        repeated: whether a resumed run proposed the designs that it had proposed before.
        resumed: trials that the store had of this run.
        hyper_parameters: of the agent, those with their defaults included.
    """

    problem: DesignProblem
    goal: Goal
    agent: str
    seed: int
    trials: tuple[Trial, ...]
    times: tuple[float, ...]
    front: tuple[Trial, ...]
    stopped: str
    seconds: float
    evaluated: int
    repeated: bool = True
    resumed: int = 0
    hyper_parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> Trial | None:
        """The feasible trial of the least score; None: there is none."""
        return min((t for t in self.trials if t.feasible), key=lambda t: t.score, default=None)

    @property
    def curve(self) -> list[tuple[int, float, float]]:
        """Trials, seconds and least score at every improvement."""
        found: list[tuple[int, float, float]] = []
        least = math.inf
        for number, (trial, at) in enumerate(zip(self.trials, self.times, strict=True), 1):
            if trial.feasible and trial.score < least:
                least = trial.score
                found.append((number, at, least))
        return found

    def nearest_miss(self) -> Trial | None:
        """Where nothing is feasible: the evaluated trial that is least off the limits."""
        return min(
            (t for t in self.trials if math.isfinite(t.violation) and not t.feasible),
            key=lambda t: t.violation,
            default=None,
        )


class ExplorationError(SpecError):
    """An exploration that an error ended, such as a full disk.

    Attributes:
        found: everything up to there.
    """

    def __init__(self, error: FiberloomError, found: Exploration) -> None:
        super().__init__(error.problem, where=error.where, hint=error.hint)
        self.exit_code = error.exit_code
        self.found = found
