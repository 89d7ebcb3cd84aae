"""What is wanted of a design: objectives to minimise or maximise, and limits to keep."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fiberloom.errors import SpecError, nearest
from fiberloom.input.expressions import evaluate, names_in

_LIMIT: Final = re.compile(r"(?P<left>.+?)\s*(?P<sense><=|>=|<|>)\s*(?P<limit>[^<>=]+)")
_DIRECTION: Final = re.compile(r"(?P<way>min|max|minimi[sz]e|maximi[sz]e)\s*[: ]\s*(?P<text>.+)")

PENALTY: Final = 10.0
"""Factor of the relative violation in `Trial.penalised`: twice the limit is as bad as an eleven times worse objective."""


@dataclass(frozen=True)
class Aim:
    """One objective.

    Attributes:
        text: a metric, or arithmetic over metrics (``edp * area``).
        maximise: more is better.
    """

    text: str
    maximise: bool = False

    @property
    def name(self) -> str:
        return f"max {self.text}" if self.maximise else self.text


@dataclass(frozen=True)
class Limit:
    """A constraint: an expression over metrics that must not pass a number.

    Attributes:
        at_least: the expression must reach `limit`; else it must not exceed it.
    """

    text: str
    limit: float
    at_least: bool = False

    @property
    def name(self) -> str:
        return f"{self.text} {'>=' if self.at_least else '<='} {self.limit:g}"

    def overshoot(self, metrics: Mapping[str, float]) -> float:
        """How far off a design is, as a share of the limit (of 1 where the limit is 0); 0 where it keeps it."""
        by = evaluate(self.text, metrics) - self.limit
        return max(0.0, -by if self.at_least else by) / (abs(self.limit) or 1.0)


@dataclass(frozen=True)
class Goal:
    """Objectives, at least one, and limits."""

    aims: tuple[Aim, ...]
    limits: tuple[Limit, ...] = ()

    @classmethod
    def parse(cls, objectives: Sequence[str], limits: Sequence[str] = (), metrics: Iterable[str] = ()) -> Goal:
        """From texts: ``edp``, ``max bandwidth``, ``edp * area``; ``area <= 5``.

        Args:
            metrics: names that there are; none: any.

        Raises:
            SpecError: for what can't be read, metrics that there are not, and limits that contradict each other.
        """
        known = tuple(metrics)
        if not objectives:
            raise SpecError("no objective is given", hint=f"name at least one of {', '.join(known)}")
        aims = []
        for text in objectives:
            stated = _DIRECTION.fullmatch(text.strip())
            aim = Aim(stated["text"].strip(), stated["way"].startswith("max")) if stated else Aim(text.strip())
            _check(aim.text, known, "objective")
            if aim in aims:
                raise SpecError(f"the objective '{text}' stands twice", hint="name every objective once")
            aims.append(aim)
        goal = cls(tuple(aims), tuple(_limit(text, known) for text in limits))
        goal._refuse_contradictions()
        return goal

    @property
    def names(self) -> tuple[str, ...]:
        """Of the objectives."""
        return tuple(aim.name for aim in self.aims)

    def values(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """The objectives, all to be minimised: negated where more is better."""
        return tuple(-v if aim.maximise else v for aim in self.aims for v in (float(evaluate(aim.text, metrics)),))

    def judges(self, metrics: Mapping[str, float]) -> bool:
        """Whether `metrics` has all that the objectives need."""
        return all(names_in(aim.text) <= metrics.keys() for aim in self.aims)

    def violation(self, metrics: Mapping[str, float]) -> float:
        """Sum of the limits' overshoots, as far as `metrics` tells; 0 for a feasible design."""
        return math.fsum(limit.overshoot(metrics) for limit in self.limits if names_in(limit.text) <= metrics.keys())

    def broken(self, metrics: Mapping[str, float]) -> tuple[str, ...]:
        """The limits that a design breaks, with how far off it is."""
        return tuple(
            f"{limit.name} (found {evaluate(limit.text, metrics):.4g}, {limit.overshoot(metrics):.0%} off)"
            for limit in self.limits
            if limit.overshoot(metrics)
        )

    def score(self, values: Sequence[float]) -> float:
        """One number for agents that want one: the objective, or the geometric mean of several.

        Objectives that are maximised count as their reciprocals. Lower is better; values of 0 count as 1e-300.
        """
        logs = 0.0
        for aim, value in zip(self.aims, values, strict=True):
            if len(self.aims) == 1 and not aim.maximise:
                return value
            size = math.log(max(abs(value), 1e-300))
            logs += -size if aim.maximise else size
        return math.exp(logs / len(self.aims))

    def to_dict(self) -> dict[str, list[str]]:
        """As texts that `parse` reads."""
        return {"objectives": list(self.names), "limits": [limit.name for limit in self.limits]}

    def _refuse_contradictions(self) -> None:
        for low in self.limits:
            for high in self.limits:
                if low.at_least and not high.at_least and low.text == high.text and low.limit > high.limit:
                    raise SpecError(f"'{low.name}' and '{high.name}' contradict each other", hint="relax one of them")


def _limit(text: str, known: Sequence[str]) -> Limit:
    found = _LIMIT.fullmatch(text.strip())
    if found is None:
        raise SpecError(f"'{text}' is no limit", hint="write a metric, <= or >=, and a number: area <= 5")
    _check(found["left"].strip(), known, "limit")
    return Limit(found["left"].strip(), float(evaluate(found["limit"])), found["sense"].startswith(">"))


def _check(text: str, known: Sequence[str], what: str) -> None:
    names = names_in(text)
    if not names:
        raise SpecError(f"the {what} '{text}' names no metric", hint=f"metrics are {', '.join(known)}")
    for name in sorted(names):
        if known and name not in known:
            raise SpecError(f"'{name}' is no metric", hint=nearest(name, known))
