"""Mappers side by side: one space, one model, one budget, several seeds, and the proved optimum as the yardstick.

The protocol of the mapper study of Kao, Kwon et al. (IISWC'22): best-so-far over evaluations and over seconds, medians and quartiles
over seeds. What no study could draw is the gap to the optimum, which the exact mapper proves here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import FiberloomError, MissingExtraError, SpecError, UnsupportedError, nearest
from fiberloom.mapper.driver import SearchResult, run
from fiberloom.mapper.progress import Progress
from fiberloom.mapper.search import SearchProblem, make, searchers
from fiberloom.mapping.nest import Mapping

Floats = NDArray[np.float64]

BASELINE: Final = "random"
"""Always compared: a mapper that does not beat it has learnt nothing."""

FRACTIONS: Final = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Of a budget, where medians and quartiles are stated."""


ROUNDING: Final = 1e-12
"""Relative difference of values that are summed in another order."""

CONTRADICTED: Final = (
    "a mapper found less than what was taken for the proved optimum: a fault of fiberloom, please report it"
)


@dataclass(frozen=True)
class Yardstick:
    """The least value of the objective that is known, and what is proved about it.

    Attributes:
        value: of the best mapping known.
        lower_bound: no mapping of the space is below; 0 where nothing is proved.
        proved: whether `value` is the optimum.
        seconds: that the exact mapper took; None where it did not run.
        note: why it proved nothing, if so.
    """

    value: float
    lower_bound: float
    proved: bool
    seconds: float | None
    note: str = ""


@dataclass(frozen=True)
class Contestant:
    """One mapper with its runs, one per seed.

    Attributes:
        name: of the mapper.
        by_evaluations, by_seconds: runs under the budget in evaluations, and in seconds; empty without that budget.
    """

    name: str
    by_evaluations: tuple[SearchResult, ...] = ()
    by_seconds: tuple[SearchResult, ...] = ()

    @property
    def runs(self) -> tuple[SearchResult, ...]:
        """All runs."""
        return (*self.by_evaluations, *self.by_seconds)

    @property
    def invalid_share(self) -> float:
        """Share of all mappings judged that were not valid; 0 without any."""
        judged = sum(r.evaluations for r in self.runs)
        return 1 - sum(r.valid for r in self.runs) / judged if judged else 0.0

    @property
    def prepare_seconds(self) -> float:
        """Median time of offline work."""
        return float(np.median([r.prepare_seconds for r in self.runs]))

    @property
    def rate(self) -> float:
        """Mappings judged per second, over all runs."""
        seconds = sum(r.seconds for r in self.runs)
        return sum(r.evaluations for r in self.runs) / seconds if seconds else 0.0


@dataclass(frozen=True)
class MapperComparison:
    """Mappers under the same budgets.

    Attributes:
        evaluations, seconds: budgets of each run; None where that budget was not set.
        seeds: 0 … seeds − 1 were used.
        left_out: mappers that could not run, and why.
        yardstick: what values are divided by.
        best: the best mapping that any mapper found; None when none found a valid one.
        interrupted: the mappers that had not finished are left out.
    """

    objective: str
    evaluations: int | None
    seconds: float | None
    seeds: int
    contestants: tuple[Contestant, ...]
    left_out: dict[str, str]
    yardstick: Yardstick
    best: Mapping | None = None
    interrupted: bool = False

    def quartiles(self, contestant: Contestant, axis: str, points: Sequence[float]) -> Floats:
        """``(3, points)`` first quartile, median, third quartile of best-so-far / yardstick over seeds; infinite where so many
        seeds had found nothing valid yet.

        Args:
            axis: ``evaluations`` or ``seconds``.
            points: where on it.
        """
        runs = runs_along(contestant, axis)
        curves = np.array(
            [r.curve.at_evaluations(points) if axis == "evaluations" else r.curve.at_seconds(points) for r in runs]
        ).reshape(len(runs), len(points))
        values: Floats = (
            np.sort(curves, axis=0) / self.yardstick.value if self.yardstick.value else np.sort(curves, axis=0)
        )
        return np.array([[_quantile(column, q) for column in values.T] for q in (0.25, 0.5, 0.75)])

    def budget(self, axis: str) -> float:
        """Where the axis ends: the budget, or the longest run where that budget was not set."""
        stated = self.evaluations if axis == "evaluations" else self.seconds
        if stated is not None:
            return float(stated)
        runs = [r for c in self.contestants for r in runs_along(c, axis)]
        return max((float(getattr(r, axis)) for r in runs), default=1.0)


def runs_along(contestant: Contestant, axis: str) -> tuple[SearchResult, ...]:
    """The runs that are drawn over an axis: those under its budget, else those there are."""
    first, second = contestant.by_evaluations, contestant.by_seconds
    return (first or second) if axis == "evaluations" else (second or first)


def _quantile(ordered: Floats, q: float) -> float:
    """Linear between neighbours, without making NaN of infinities."""
    place = q * (len(ordered) - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return float(low if low == high else low + (high - low) * (place - math.floor(place)))


def chosen_mappers(names: Sequence[str] | None) -> list[str]:
    """Mappers to compare: those named (all, when None) with the baseline first.

    Raises:
        SpecError: for a name that does not exist.
    """
    known = list(searchers())
    for name in names or ():
        if name not in known:
            raise SpecError(f"there is no mapper '{name}'", hint=nearest(name, known))
    wanted = known if names is None else list(dict.fromkeys(names))
    return [BASELINE, *(name for name in wanted if name != BASELINE)]


def compare(
    target: SearchProblem,
    names: Sequence[str] | None,
    *,
    evaluations: int | None,
    seconds: float | None,
    seeds: int,
    optimum: Yardstick | None = None,
    progress: Callable[[str, int, Progress], None] | None = None,
) -> MapperComparison:
    """Run every mapper with every seed under each budget that is set.

    With both budgets every mapper runs twice, so that neither axis is cut short by the other's budget. Ctrl-C leaves out the mappers
    that had not finished.

    Args:
        names: mappers; None: all that can run. Those named must be able to.
        optimum: what the exact mapper found; None: the best of all runs is the yardstick.
        progress: told mapper, seed and news.

    Raises:
        SpecError: for unknown names or budgets that are not positive.
        MissingExtraError, UnsupportedError: when a mapper that was named can't run.
        KeyboardInterrupt: when interrupted before the first mapper had finished.
    """
    contestants: list[Contestant] = []
    left_out: dict[str, str] = {}
    interrupted = False
    for name in chosen_mappers(names):
        if interrupted:
            left_out[name] = "the comparison was interrupted"
            continue
        try:
            contestants.append(
                Contestant(
                    name,
                    tuple(_runs(target, name, seeds, evaluations, None, progress)) if evaluations is not None else (),
                    tuple(_runs(target, name, seeds, None, seconds, progress)) if seconds is not None else (),
                )
            )
        except KeyboardInterrupt:
            if not contestants:
                raise
            interrupted, left_out[name] = True, "the comparison was interrupted"
        except (MissingExtraError, UnsupportedError) as error:
            if names is not None and name in names:
                raise
            left_out[name] = _reason(error)
    runs = [r for c in contestants for r in c.runs if r.best is not None]
    best = min(runs, key=lambda r: r.value, default=None)
    known = best.value if best is not None else math.inf
    if optimum is None:
        optimum = Yardstick(known, 0.0, proved=False, seconds=None, note="the exact mapper did not run")
    elif known < optimum.value * (1 - ROUNDING):
        note = CONTRADICTED if optimum.proved else optimum.note
        optimum = Yardstick(known, 0.0 if optimum.proved else optimum.lower_bound, False, optimum.seconds, note)
    return MapperComparison(
        target.objective.name, evaluations, seconds, seeds, tuple(contestants), left_out, optimum,
        best.best if best is not None else None, interrupted,
    )  # fmt: skip


def _runs(
    target: SearchProblem,
    name: str,
    seeds: int,
    evaluations: int | None,
    seconds: float | None,
    progress: Callable[[str, int, Progress], None] | None,
) -> Iterator[SearchResult]:
    for seed in range(seeds):

        def told(news: Progress, seed: int = seed) -> None:
            if progress is not None:
                progress(name, seed, news)

        result = run(
            make(name, target, seed), target, evaluations=evaluations, seconds=seconds, seed=seed, progress=told
        )
        if result.stopped == "interrupted":
            raise KeyboardInterrupt
        yield result


def _reason(error: FiberloomError) -> str:
    return error.problem + (f" ({error.hint})" if error.hint else "")


def yardstick(target: SearchProblem, *, seconds: float | None, memory_mb: float, progress: Any = None) -> Yardstick:
    """What the exact mapper proves within `seconds`.

    Raises:
        MappingError: when no mapping of the space is valid.
    """
    from fiberloom.mapper.exact import find_optimum

    try:
        found = find_optimum(
            target.problem, target.space, target.objective, seconds=seconds, memory_mb=memory_mb, progress=progress
        )
    except UnsupportedError as error:
        return Yardstick(math.inf, 0.0, proved=False, seconds=None, note=_reason(error))
    certificate = found.certificate
    value = float(target.objective.value(found.energy_pj[0], found.cycles[0]))
    proved = certificate.status == "optimal"
    note = "" if proved else "stopped before the proof was complete"
    return Yardstick(value, certificate.lower_bound, proved, found.seconds, note)
