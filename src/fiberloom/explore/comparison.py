"""Agents side by side: what their runs found by when, and whether that beats random.

One number says how far a run is (`Comparison.value`), the less the better. With one objective it is the best feasible score so far;
with several, the share of the hypervolume of everybody's joint front that the run misses, on logarithmic axes.

**The rule for "beats random".** The values at the end of the budget, one per seed, are ranked together with random's. An agent beats
random if so low a rank sum has a chance below 5 % when the names are dealt at random: the one-sided rank-sum test of Wilcoxon (1945)
and of Mann & Whitney (1947), exact, ties included. Runs that found nothing feasible tie for the last rank. The chance is not corrected
for the number of agents: of twenty agents that are no better than random, one would be said to beat it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.explore.driver import Exploration
from fiberloom.explore.front import dominates, hypervolume
from fiberloom.explore.goal import Goal
from fiberloom.explore.scale import decades

Floats = NDArray[np.float64]

BASELINE: Final = "random"
"""Always compared: an agent that does not beat it has learnt nothing."""

FRACTIONS: Final = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Of a budget, where medians and quartiles are stated."""

CHANCE: Final = 0.05
"""Of the rule for "beats random"."""

AXES: Final = ("evaluations", "seconds")


@dataclass(frozen=True)
class Setting:
    """An agent with hyper-parameters; those that are not named have their defaults."""

    agent: str
    hyper: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return " ".join((self.agent, *(f"{key}={value}" for key, value in self.hyper.items())))


@dataclass(frozen=True)
class Step:
    """A design that improved a run.

    Attributes:
        number: of the trial, from 1.
        seconds: since the run began.
        values: the objectives, minimised.
        score: `Goal.score` of them.
    """

    number: int
    seconds: float
    values: tuple[float, ...]
    score: float


@dataclass(frozen=True)
class Run:
    """What is kept of an exploration.

    Attributes:
        trials: told to the agent, of which `evaluated` were evaluated for it.
        steps: with one objective, every better score; with several, every design that joined the front of its time.
    """

    seed: int
    trials: int
    evaluated: int
    seconds: float
    stopped: str
    steps: tuple[Step, ...]

    @classmethod
    def of(cls, found: Exploration) -> Run:
        """From an exploration."""
        steps: list[Step] = []
        archive: list[tuple[float, ...]] = []
        best = math.inf
        several = len(found.goal.aims) > 1
        for number, (trial, at) in enumerate(zip(found.trials, found.times, strict=True), 1):
            if not trial.feasible or not all(map(math.isfinite, trial.values)):
                continue
            if several and not any(kept == trial.values or dominates(kept, trial.values) for kept in archive):
                archive = [kept for kept in archive if not dominates(trial.values, kept)] + [trial.values]
            elif several or trial.score >= best:
                continue
            best = min(best, trial.score)
            steps.append(Step(number, at, trial.values, trial.score))
        return cls(found.seed, len(found.trials), found.evaluated, found.seconds, found.stopped, tuple(steps))

    def until(self, axis: str, point: float) -> list[Step]:
        """Steps up to a number of evaluations or seconds."""
        return [step for step in self.steps if (step.number if axis == "evaluations" else step.seconds) <= point]


@dataclass(frozen=True)
class Contestant:
    """One setting with its runs, one per seed.

    Attributes:
        by_evaluations, by_seconds: runs under the budget in evaluations, and in seconds; empty without that budget.
    """

    setting: Setting
    by_evaluations: tuple[Run, ...] = ()
    by_seconds: tuple[Run, ...] = ()

    @property
    def name(self) -> str:
        return self.setting.name

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs."""
        return (*self.by_evaluations, *self.by_seconds)

    def along(self, axis: str) -> tuple[Run, ...]:
        """The runs that are drawn over an axis: those under its budget, else those there are."""
        first, second = self.by_evaluations, self.by_seconds
        return (first or second) if axis == "evaluations" else (second or first)

    @property
    def rate(self) -> float:
        """Trials per second, the agent's own time included."""
        seconds = sum(run.seconds for run in self.runs)
        return sum(run.trials for run in self.runs) / seconds if seconds else 0.0


@dataclass(frozen=True)
class Verdict:
    """An agent beside random.

    Attributes:
        chance: of a rank sum so low if the agent were no better than random.
        beats_random: `chance` is below `CHANCE`.
        ratio: median of random / median of the agent: above 1 is better; NaN where it can't be said.
    """

    chance: float
    beats_random: bool
    ratio: float


@dataclass(frozen=True)
class Share:
    """How the settings of one agent fare: the hyper-parameter lottery (ArchGym, ISCA'23).

    Attributes:
        settings: that were tried, each with every seed.
        quartiles: of the value over all runs: least, first quartile, median, third quartile, largest.
        runs: share of runs that reach the target.
        reaching: share of settings whose median over seeds reaches it.
        best: the setting of the least median.
    """

    agent: str
    settings: int
    quartiles: tuple[float, float, float, float, float]
    runs: float
    reaching: float
    best: Contestant


@dataclass(frozen=True)
class Comparison:
    """Settings of agents under the same budgets, random among them.

    Attributes:
        evaluations, seconds: budgets of each run; None where that budget was not set.
        seeds: 0 … seeds − 1 were used.
        left_out: names of settings that could not run, and why.
        interrupted: those that had not finished are left out.
    """

    goal: Goal
    evaluations: int | None
    seconds: float | None
    seeds: int
    contestants: tuple[Contestant, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    interrupted: bool = False

    def __getitem__(self, name: str) -> Contestant:
        """The contestant of a name (`Setting.name`); of a bare agent's name the first of its settings.

        Raises:
            SpecError: when there is none.
        """
        for contestant in self.contestants:
            if contestant.name == name:
                return contestant
        for contestant in self.contestants:
            if contestant.setting.agent == name:
                return contestant
        raise SpecError(f"'{name}' is not in the comparison", hint="; ".join(c.name for c in self.contestants))

    @property
    def axes(self) -> tuple[str, ...]:
        """Those with a budget."""
        return tuple(axis for axis in AXES if getattr(self, axis) is not None)

    def budget(self, axis: str) -> float:
        """Where an axis ends: its budget, or the longest run where that was not set."""
        stated = getattr(self, axis)
        if stated is not None:
            return float(stated)
        runs = [run for c in self.contestants for run in c.along(axis)]
        return max((float(run.trials if axis == "evaluations" else run.seconds) for run in runs), default=1.0)

    def checkpoints(self, axis: str) -> list[float]:
        """Where along an axis medians are stated: whole numbers of evaluations, or seconds."""
        points = [self.budget(axis) * share for share in FRACTIONS]
        return list(dict.fromkeys(max(1.0, float(round(p))) for p in points)) if axis == "evaluations" else points

    def value(self, run: Run, axis: str, point: float) -> float:
        """How far a run was at a point of an axis (see the module); infinite before its first feasible design."""
        steps = run.until(axis, point)
        if not steps:
            return math.inf
        if len(self.goal.aims) == 1:
            return steps[-1].score
        reference, whole = self._joint
        return 1 - hypervolume([self._place(s) for s in steps], reference) / whole if whole else 0.0

    def values(self, contestant: Contestant, axis: str, point: float | None = None) -> Floats:
        """``(seeds,)`` values at a point of an axis; None: where it ends."""
        point = self.budget(axis) if point is None else point
        return np.array([self.value(run, axis, point) for run in contestant.along(axis)])

    def quartiles(self, contestant: Contestant, axis: str, points: Sequence[float]) -> Floats:
        """``(3, points)`` first quartile, median and third quartile over seeds; infinite where so many found nothing feasible."""
        columns = [self.values(contestant, axis, point) for point in points]
        return np.array([[quantile(column, q) for column in columns] for q in (0.25, 0.5, 0.75)])

    def verdict(self, contestant: Contestant, axis: str, point: float | None = None) -> Verdict:
        """Whether an agent beats random, by the rule of the module."""
        mine = self.values(contestant, axis, point)
        random = self.values(self[BASELINE], axis, point)
        own, other = quantile(mine, 0.5), quantile(random, 0.5)
        positive = 0 < own < math.inf and other > 0
        chance = 1.0 if contestant is self[BASELINE] else rank_sum_chance(mine, random)
        return Verdict(chance, chance < CHANCE, other / own if positive else math.nan)

    def lottery(self, target: float, evaluations: float | None = None) -> list[Share]:
        """Per agent, how many of its settings and runs reach a value of at most `target` within so many evaluations."""
        point = self.budget("evaluations") if evaluations is None else evaluations
        grouped: dict[str, list[Contestant]] = {}
        for contestant in self.contestants:
            grouped.setdefault(contestant.setting.agent, []).append(contestant)
        return [self._share(agent, group, target, point) for agent, group in grouped.items()]

    def _share(self, agent: str, group: Sequence[Contestant], target: float, point: float) -> Share:
        values = np.array([self.values(contestant, "evaluations", point) for contestant in group])
        medians = [quantile(row, 0.5) for row in values]
        low, q1, q2, q3, high = (quantile(values.ravel(), q) for q in (0, 0.25, 0.5, 0.75, 1))
        return Share(
            agent=agent,
            settings=len(group),
            quartiles=(low, q1, q2, q3, high),
            runs=float(np.mean(values <= target)),
            reaching=float(np.mean(np.array(medians) <= target)),
            best=group[int(np.argmin(medians))],
        )

    def _steps(self) -> Iterator[Step]:
        return (step for contestant in self.contestants for run in contestant.runs for step in run.steps)

    @cached_property
    def _joint(self) -> tuple[tuple[float, ...], float]:
        """The corner that volumes are measured from, and the volume of all runs together."""
        places = np.array([self._place(step) for step in self._steps()])
        if not len(places):
            return (), 0.0
        # what is worst in some objective still counts for the others
        reference = tuple(float(v) for v in places.max(axis=0) + 0.1 * np.ptp(places, axis=0))
        best = [p for p in np.unique(places, axis=0) if not np.any((places <= p).all(1) & (places < p).any(1))]
        return reference, hypervolume(best, reference)

    @staticmethod
    def _place(step: Step) -> tuple[float, ...]:
        return tuple(decades(value) for value in step.values)


def quantile(values: Floats, q: float) -> float:
    """Linear between neighbours in order, without making NaN of infinities."""
    ordered = np.sort(values)
    place = q * (len(ordered) - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return float(low if low == high else low + (high - low) * (place - math.floor(place)))


def rank_sum_chance(mine: Floats, others: Floats) -> float:
    """Chance of ranks as low as those of `mine` among all, if names were dealt at random: exact, with ties.

    Args:
        mine: ``(n,)``, may be infinite.
        others: ``(m,)``.
    """
    pooled = np.concatenate([mine, others])
    ordered = np.sort(pooled)
    # twice the mean rank of equal values, a whole number
    ranks = np.searchsorted(ordered, pooled, "left") + np.searchsorted(ordered, pooled, "right") + 1
    ways = [[0] * (int(ranks.sum()) + 1) for _ in range(len(mine) + 1)]
    ways[0][0] = 1
    for rank in map(int, ranks):
        for taken in range(len(mine), 0, -1):
            fewer, row = ways[taken - 1], ways[taken]
            for total in range(len(row) - 1, rank - 1, -1):
                row[total] += fewer[total - rank]
    reached = int(ranks[: len(mine)].sum())
    return sum(ways[-1][: reached + 1]) / sum(ways[-1])
