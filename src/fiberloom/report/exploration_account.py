"""What there is to say about an exploration: its measures, what became of its designs and why, how designs differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from fiberloom.explore.trial import Status
from fiberloom.input.expressions import evaluate, names_in
from fiberloom.report.quantities import engineering, significant

if TYPE_CHECKING:
    from fiberloom.explore import Exploration, Goal, Trial

_PREFIXED: Final = ("J", "s", "W", "J s")
"""Units that take prefixes (µJ); others are stated at their usual size already."""

LONGEST_NUMBER: Final = 14
"""Digits of a design's number that are all shown."""

LOSING: Final = "bounds are no better than a known design"
UNKNOWN: Final = "no reason was kept"


@dataclass(frozen=True)
class Measure:
    """A metric, or an objective computed from metrics.

    Attributes:
        text: its name, or the arithmetic.
        unit: of the metric; empty for arithmetic and plain numbers.
        aim: whether it is an objective; `maximise`: more of it is better, which only goals say.
    """

    text: str
    unit: str = ""
    aim: bool = False
    maximise: bool = False

    @property
    def title(self) -> str:
        said = not self.unit or self.unit in _PREFIXED or self.text.endswith(f"_{self.unit.lower().replace('/', '')}")
        return self.text if said else f"{self.text} ({_spelled(self.unit)})"

    def of(self, metrics: Mapping[str, float]) -> float | None:
        """Its value; None where a metric is missing."""
        return float(evaluate(self.text, metrics)) if names_in(self.text) <= metrics.keys() else None

    def say(self, metrics: Mapping[str, float]) -> str:
        """Its value with three digits, prefixes in the place of exponents."""
        value = self.of(metrics)
        return "–" if value is None else quantity(value, self.unit)


def quantity(value: float, unit: str) -> str:
    """A value as people read it; units that have prefixes are named, others stand in the head of their column."""
    if unit in _PREFIXED:
        return engineering(value, _spelled(unit))
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{value:,.0f}"
    return significant(value) if 1e-3 <= abs(value) < 1e6 else f"{value:.3g}"


def _spelled(unit: str) -> str:
    return {"J s": "J·s", "mm2": "mm²"}.get(unit, unit)


def measures(goal: Goal, metrics: Mapping[str, str]) -> list[Measure]:
    """Objectives first, then what limits speak of, then the other metrics.

    Args:
        metrics: unit by metric.
    """
    aims = [Measure(a.text, metrics.get(a.text, ""), True, a.maximise) for a in goal.aims]
    limited = [name for limit in goal.limits for name in metrics if name in names_in(limit.text)]
    said = {aim.text for aim in aims}
    return [*aims, *(Measure(m, metrics[m]) for m in dict.fromkeys([*limited, *metrics]) if m not in said)]


def counts(trials: Sequence[Trial]) -> dict[Status, int]:
    """Trials by what became of them."""
    return {status: n for status in Status if (n := sum(t.evaluated.status is status for t in trials))}


def reasons(goal: Goal, trials: Sequence[Trial], status: Status) -> list[tuple[str, int]]:
    """Why trials have a status, the commonest reason first."""
    found = Counter(_reason(goal, t) for t in trials if t.evaluated.status is status)
    return found.most_common()


def _reason(goal: Goal, trial: Trial) -> str:
    """Stores keep the bounds of pruned designs and no reason: it follows from them."""
    if trial.evaluated.status is not Status.PRUNED:
        return trial.evaluated.reason or UNKNOWN
    known = [limit for limit in goal.limits if names_in(limit.text) <= trial.evaluated.metrics.keys()]
    broken = [limit.name for limit in known if limit.overshoot(trial.evaluated.metrics)]
    return " and ".join(f"breaks {name} at best" for name in broken) or LOSING


def over(goal: Goal, metrics: Mapping[str, float]) -> tuple[str, ...]:
    """The limits that a design breaks, with how far off it is, as far as its metrics tell."""
    known = tuple(limit for limit in goal.limits if names_in(limit.text) <= metrics.keys())
    return replace(goal, limits=known).broken(metrics)


def infeasible(goal: Goal, trials: Sequence[Trial]) -> list[tuple[str, int]]:
    """Limits that evaluated designs break, and how many do."""
    metrics = [t.evaluated.metrics for t in trials if t.evaluated.status is Status.EVALUATED]
    found = [(limit.name, sum(limit.overshoot(m) > 0 for m in metrics)) for limit in goal.limits]
    return sorted((entry for entry in found if entry[1]), key=lambda entry: -entry[1])


def agent_name(agent: str, hyper_parameters: Mapping[str, Any]) -> str:
    """An agent with its hyper-parameters that are not the defaults."""
    from fiberloom.explore import agents

    known = agents()
    usual = known[agent].defaults() if agent in known else {}
    own = {k: v for k, v in hyper_parameters.items() if k not in usual or usual[k] != v}
    return " ".join((agent, spelled(own))).strip()


def design_name(found: Exploration, trial: Trial) -> str:
    """The space's name for a design, or its number."""
    space = found.problem.space
    for name, values in found.problem.file.known.items():
        if space.point(values) == trial.point:
            return name
    return f"#{design_number(found, trial)}"


def design_number(found: Exploration, trial: Trial) -> str:
    """Its number in the space; the ends of one that is long, as those of joint searches are."""
    number = str(found.problem.space.rank(trial.point))
    return number if len(number) <= LONGEST_NUMBER else f"{number[:6]}…{number[-6:]}"


def size_text(designs: int) -> str:
    """How many designs a space has."""
    return f"{designs:,}" if designs < 10**15 else f"about 10^{len(str(designs)) - 1}"


def settings(found: Exploration, trial: Trial) -> dict[str, Any]:
    """The values of a design, parameters that it lacks left out."""
    space = found.problem.space
    values, on = space.values(trial.point), space.active(trial.point)
    return {name: values[name] for name, here in zip(space.names, on, strict=False) if here}


def shared(designs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all designs have in common; nothing for a single one."""
    if len(designs) < 2:
        return {}
    first = designs[0]
    return {k: v for k, v in first.items() if all(k in other and other[k] == v for other in designs[1:])}


def spelled(values: Mapping[str, Any]) -> str:
    """``lanes=16 zeros=skipped``, each pair unbroken."""
    return " ".join(f"{name}={value_text(value)}" for name, value in values.items())


def value_text(value: Any) -> str:
    """A value of a parameter."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
