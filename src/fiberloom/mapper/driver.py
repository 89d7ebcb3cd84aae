"""Runs a searcher under a budget: best so far, its curve, progress, interruption, and every trial stored."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.mapper.progress import Progress, Reporter
from fiberloom.mapper.search import Outcome, Searcher, SearchProblem, same_mappings
from fiberloom.mapping.nest import Mapping
from fiberloom.mapping.packed import PackedMappings, unpack

if TYPE_CHECKING:
    from fiberloom.mapper.trials import TrialStore

BATCH: Final = 2048
"""Mappings asked at a time: enough that the kernel works in parallel, little enough to stop within some 10 ms."""


@dataclass(frozen=True)
class Curve:
    """The best so far, one entry per improvement.

    Attributes:
        evaluations: mappings judged when it was found, itself included; int64.
        seconds: since the search began, at the end of its batch.
        value: the objective, strictly falling.
    """

    evaluations: NDArray[np.int64]
    seconds: NDArray[np.float64]
    value: NDArray[np.float64]

    def at_evaluations(self, counts: Any) -> NDArray[np.float64]:
        """Best value after each of `counts` evaluations, infinite before the first valid mapping."""
        return self._at(self.evaluations, counts)

    def at_seconds(self, times: Any) -> NDArray[np.float64]:
        """Best value at each of `times` in seconds, infinite before the first valid mapping."""
        return self._at(self.seconds, times)

    def _at(self, axis: NDArray[Any], points: Any) -> NDArray[np.float64]:
        steps = np.concatenate([[np.inf], self.value])
        chosen: NDArray[np.float64] = steps[np.searchsorted(axis, np.asarray(points), side="right")]
        return chosen


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        best: the best mapping, None when no mapping was valid.
        best_packed, best_outcome: the same as one packed row, and what it costs; None likewise.
        curve: the best so far.
        evaluations, valid: mappings judged (invalid ones included), and those that were valid.
        seconds: spent searching: asking, judging, telling and storing.
        prepare_seconds: spent before, on offline work such as training.
        stopped: ``evaluations`` or ``seconds`` (the budget ended), ``reached`` (the wanted value), ``interrupted``, or the
            searcher's own reason (``exhausted`` after every mapping, ``victory condition``, ``timeout``, …).
        replayed: evaluations taken from the store; they count in `evaluations`, and their time in `seconds`.
        replayed_exactly: the searcher proposed the stored trials itself, so the run continues as if never stopped.
    """

    best: Mapping | None
    best_packed: PackedMappings | None
    best_outcome: Outcome | None
    curve: Curve
    evaluations: int
    valid: int
    seconds: float
    prepare_seconds: float
    stopped: str
    replayed: int = 0
    replayed_exactly: bool = True

    @property
    def value(self) -> float:
        """The least objective found, infinite when no mapping was valid."""
        return float(self.best_outcome.objective[0]) if self.best_outcome is not None else math.inf


def run(
    searcher: Searcher,
    target: SearchProblem,
    *,
    evaluations: int | None = None,
    seconds: float | None = None,
    seed: int | None = None,
    store: TrialStore | None = None,
    resume: bool = False,
    progress: Callable[[Progress], None] | None = None,
    batch: int = BATCH,
    reach: float | None = None,
) -> SearchResult:
    """Search until a budget ends, whichever is first; without one, until the searcher has nothing more to propose.

    With a budget in evaluations alone, the same seed and hyper-parameters give the same trials on any machine. Ctrl-C
    returns the best so far.

    Args:
        evaluations: mappings to judge, invalid ones included.
        seconds: of search; loading the kernel and `Searcher.prepare` are not counted. Looked at between batches.
        seed: what the searcher's generator was made from; recorded in the store.
        store: where every batch of trials is appended.
        resume: replay the last run of this searcher, hyper-parameters and seed from the store, then go on (see
            `fiberloom.mapper.trials`). Budgets count what is replayed.
        progress: called from a thread of its own, some ten times per second and once at the end.
        batch: most mappings per ask; searchers that propose generations give the same trials for any.
        reach: stop once the objective is at most this.

    Raises:
        SpecError: for a budget that is not positive, or a store of another problem.
    """
    for name, budget in (("evaluations", evaluations), ("seconds", seconds), ("batch", batch)):
        if budget is not None and not budget > 0:
            raise SpecError(f"{name} is {budget}", hint="a budget is a positive number")
    state = _Run(searcher, target, evaluations, seconds)
    with Reporter(progress) as reporter:
        stopped = "interrupted"
        try:
            reporter.update(state.progress("preparing"))
            target.prepare()
            begun = time.perf_counter()
            searcher.prepare()
            state.prepare_seconds = time.perf_counter() - begun
            run_id = None
            if store is not None:
                run_id = store.open_run(target, searcher, seed=seed, resume=resume)
                for packed, outcome, spent in store.replay(run_id):
                    state.replay(packed, outcome, spent)
                    reporter.update(state.progress("replaying"))
            state.start()
            while (reason := state.done(reach)) is None:
                asked = searcher.ask(state.room(batch))
                if asked is None:
                    reason = searcher.finished
                    break
                outcome = target.evaluate(asked)
                state.record(asked, outcome)
                if store is not None and run_id is not None:
                    store.append(run_id, asked, outcome, state.seconds)
                reporter.update(state.progress("searching"))
                searcher.tell(asked, outcome)
            stopped = reason
        except KeyboardInterrupt:
            stopped = "interrupted"
        state.stop()
        reporter.update(state.progress("done"))
    return state.result(stopped)


@dataclass
class _Run:
    """What a running search has seen."""

    searcher: Searcher
    target: SearchProblem
    most_evaluations: int | None
    most_seconds: float | None
    evaluations: int = 0
    valid: int = 0
    seconds: float = 0.0
    prepare_seconds: float = 0.0
    replayed: int = 0
    replayed_exactly: bool = True
    best: PackedMappings | None = None
    outcome: Outcome | None = None
    curve: list[tuple[int, float, float]] = field(default_factory=list)
    _started: float | None = None

    @property
    def value(self) -> float:
        return float(self.outcome.objective[0]) if self.outcome is not None else math.inf

    def start(self) -> None:
        """The clock goes on where the replayed trials left it."""
        self._started = time.perf_counter() - self.seconds

    def stop(self) -> None:
        if self._started is not None:
            self.seconds = time.perf_counter() - self._started

    def done(self, reach: float | None) -> str | None:
        if reach is not None and self.value <= reach:
            return "reached"
        if self.most_evaluations is not None and self.evaluations >= self.most_evaluations:
            return "evaluations"
        self.stop()
        if self.most_seconds is not None and self.seconds >= self.most_seconds:
            return "seconds"
        return None

    def room(self, batch: int) -> int:
        return batch if self.most_evaluations is None else min(batch, self.most_evaluations - self.evaluations)

    def replay(self, packed: PackedMappings, outcome: Outcome, spent: float) -> None:
        """A stored batch, told as if it had just been judged; the searcher is asked first, so that it stays in step."""
        asked = self.searcher.ask(len(packed))
        self.replayed_exactly &= asked is not None and same_mappings(asked, packed)
        self.seconds = spent
        self.record(packed, outcome)
        self.replayed += len(packed)
        if asked is not None:  # a searcher out of step may ask for fewer; it is told no more than it asked
            room = slice(0, len(asked))
            self.searcher.tell(packed.take(room), outcome.take(room))

    def record(self, packed: PackedMappings, outcome: Outcome) -> None:
        """Count a batch, and keep its best mapping if it beats the incumbent."""
        self.stop()
        value = outcome.objective
        below = np.flatnonzero(value < self.value)
        if len(below):
            lowest = np.minimum.accumulate(value[below])
            first = np.concatenate([[True], lowest[1:] < lowest[:-1]])
            self.curve += [
                (self.evaluations + int(row) + 1, self.seconds, float(v))
                for row, v in zip(below[first], lowest[first], strict=True)
            ]
        self.evaluations += len(packed)
        self.valid += int(np.count_nonzero(outcome.valid))
        row = self._best_row(outcome)
        if row is not None:
            self.best, self.outcome = packed.take([row]), outcome.take([row])

    def _best_row(self, outcome: Outcome) -> int | None:
        """Row of the batch's best mapping if it beats the incumbent, ties included."""
        least = outcome.objective.min() if len(outcome) else math.inf
        if not math.isfinite(least) or least > self.value:
            return None
        rows = np.flatnonzero(outcome.objective == least)
        tie = self.target.objective.tie(outcome.energy_pj[rows], outcome.cycles[rows])
        chosen = int(np.argmin(tie))
        if self.outcome is not None and least == self.value:
            mine = self.target.objective.tie(self.outcome.energy_pj, self.outcome.cycles)[0]
            if not tie[chosen] < mine:
                return None
        return int(rows[chosen])

    def progress(self, phase: str) -> Progress:
        shares = [
            done / most
            for done, most in ((self.evaluations, self.most_evaluations), (self.seconds, self.most_seconds))
            if most
        ]
        return Progress(
            searcher=self.searcher.name,
            phase=phase,
            evaluations=self.evaluations,
            valid=self.valid,
            seconds=self.seconds,
            best=self.value,
            best_energy_pj=float(self.outcome.energy_pj[0]) if self.outcome is not None else math.nan,
            best_cycles=float(self.outcome.cycles[0]) if self.outcome is not None else math.nan,
            share=min(1.0, max(shares)) if shares else None,
        )

    def result(self, stopped: str) -> SearchResult:
        counts, times, values = ([point[i] for point in self.curve] for i in range(3))
        problem = self.target.problem
        best = None if self.best is None else unpack(problem.workload, problem.architecture, self.best, 0)
        return SearchResult(
            best=best,
            best_packed=self.best,
            best_outcome=self.outcome,
            curve=Curve(np.array(counts, np.int64), np.array(times, np.float64), np.array(values, np.float64)),
            evaluations=self.evaluations,
            valid=self.valid,
            seconds=self.seconds,
            prepare_seconds=self.prepare_seconds,
            stopped=stopped,
            replayed=self.replayed,
            replayed_exactly=self.replayed_exactly,
        )
