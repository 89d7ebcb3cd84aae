"""Runs an agent on a problem under a budget: every evaluation kept, the front so far, pruning by bounds, resuming.

**What makes a run repeatable.** The agent is always asked for `BATCH` designs, however many workers there are and whatever is left of
the budget; it is told when all of them are tried, in their order. Whether a design is evaluated or pruned depends on the run alone and
never on what else the store knows. So a seed determines the trials of a run (as far as evaluations repeat), a resumed run goes on
as if it had never stopped, and a run with a larger budget begins with the trials of a smaller one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Final

from fiberloom.errors import FiberloomError, SpecError
from fiberloom.explore.agents._base import Agent
from fiberloom.explore.executors import Executor, Serial
from fiberloom.explore.exploration import Exploration, ExplorationError, Progress
from fiberloom.explore.front import Front
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.pruning import Screen
from fiberloom.explore.run_lock import RunLock
from fiberloom.explore.space import Point
from fiberloom.explore.store import ExplorationStore, StoredTrial
from fiberloom.explore.trial import Evaluated, Status, Trial

__all__ = ["Exploration", "ExplorationError", "Progress", "explore"]

BATCH: Final = 64
"""Most designs asked at a time; agents that learn from every trial give fewer."""

NEWS_SECONDS: Final = 0.05
"""Least time between two reports of progress: more often, nobody reads them."""


def explore(
    problem: DesignProblem,
    agent: Agent,
    *,
    evaluations: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    executor: Executor | None = None,
    store: ExplorationStore | None = None,
    resume: bool = False,
    prune: bool = True,
    start: Sequence[Point] = (),
    progress: Callable[[Progress], None] | None = None,
) -> Exploration:
    """Let the agent explore until a budget ends, whichever is first; without one, until it has nothing more to propose.

    Args:
        evaluations: trials, pruned and known ones included.
        seconds: of the run, sessions before included; evaluations that are under way then are finished.
        seed: what the agent's generator was made from; names the run in the store.
        store: where every evaluation is kept as it is made.
        resume: go on with the last run of this agent, seed and goal in the store.
        prune: leave out designs whose bounds already lose against the front or break a limit.
        start: designs that are tried first, before the agent is asked.
        progress: called as evaluations end, at most every `NEWS_SECONDS`.

    Raises:
        SpecError: for a budget that is not positive, a space whose requirements no design meets, a store of another problem, or a run
            that goes on in another process.
        ExplorationError: for what fails later, such as a disk that is full, with everything found so far.
    """
    for name, budget in (("evaluations", evaluations), ("seconds", seconds)):
        if budget is not None and not 0 < budget < math.inf:
            raise SpecError(f"{name} is {budget}", hint="a budget is a positive number")
    if all(problem.space.violated(point) for point in start):
        problem.space.refuse_empty()
    run = _Run(problem, agent, evaluations, seconds, executor or Serial(problem), prune, progress)
    stopped, fault = "interrupted", None
    with RunLock(store.path) if store is not None else nullcontext() as lock:
        try:
            if store is not None and lock is not None:
                store.bind(problem)
                run.record = _Record(store, lock, agent, seed, resume=resume)
            stopped = run.go(start)
        except KeyboardInterrupt:
            pass
        except FiberloomError as error:
            if not run.trials:
                raise
            stopped, fault = "error", error
        finally:
            agent.close()
    found = run.found(seed, stopped)
    if fault is not None:
        raise ExplorationError(fault, found) from fault
    return found


class _Record:
    """A run in a store: what it was told before, and where it goes on.

    Attributes:
        trials: that were told before; fewer when the run turns out to propose others.
        resumed: how many there were.
        repeated: whether it proposes the same.
    """

    def __init__(self, store: ExplorationStore, lock: RunLock, agent: Agent, seed: int, *, resume: bool) -> None:
        self.store = store
        self._lock = lock
        self._run = (agent.name, agent.hyper_parameters, seed, agent.goal)
        self.number = self._open(resume=resume)
        self.trials = store.recorded(self.number)
        self.resumed = len(self.trials)
        self.repeated = True

    def _open(self, *, resume: bool) -> int:
        number = self.store.open_run(*self._run, resume=resume)
        self._lock.hold(number)
        return number

    def compare(self, first: int, designs: Sequence[int]) -> None:
        """Where the run now proposes others than from number `first` on, go on as a new run that begins with the same trials."""
        for number, design in enumerate(designs, first):
            if number < len(self.trials) and self.trials[number].design != design:
                del self.trials[number:]
                self.repeated = False
                self.number = self._open(resume=False)
                self.store.write(self.number, {}, 0, self.trials)


@dataclass
class _Batch:
    """Designs that were asked together, as far as they are tried.

    Attributes:
        room: how many of them the budget takes; the others are left alone.
        found, times: trials that are ready and when they were, by place.
        taken: how many from the first on are trials of the run.
    """

    points: list[Point]
    designs: list[int]
    room: int
    found: dict[int, Trial] = field(default_factory=dict)
    times: dict[int, float] = field(default_factory=dict)
    taken: int = 0


@dataclass
class _Run:
    """What a running exploration has seen."""

    problem: DesignProblem
    agent: Agent
    most: int | None
    most_seconds: float | None
    executor: Executor
    prune: bool
    progress: Callable[[Progress], None] | None
    record: _Record | None = None
    trials: list[Trial] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    front: Front = field(default_factory=Front)
    evaluated: int = 0
    _cut_off: list[tuple[float, Trial]] = field(default_factory=list)
    _known: dict[Point, Evaluated] = field(default_factory=dict)
    _best: float = math.inf
    _counts: dict[str, int] = field(default_factory=lambda: {"known": 0, "pruned": 0})
    _begun: float | None = None
    _before: float = 0.0
    _repeated: int = 0
    _news: float = -math.inf

    @property
    def seconds(self) -> float:
        """Of the run; while it repeats what was recorded, as recorded."""
        if self._begun is None:
            return self.times[-1] if self.times else 0.0
        return self._before + time.perf_counter() - self._begun

    def go(self, start: Sequence[Point]) -> str:
        """Trials until a reason to stop, which is returned."""
        first = [self.problem.space.canonical(point) for point in start]
        if not self._recorded():
            self._begun = time.perf_counter()
        while (reason := self._over()) is None:
            if first:
                begun = self._try(first[:BATCH])
                first = first[BATCH:]
                if begun is not None:
                    self.agent.begin(begun)
                continue
            asked = self.agent.ask(BATCH)
            if asked is None:
                return self.agent.finished
            trials = self._try([self.problem.space.canonical(point) for point in asked])
            if trials is not None:
                self.agent.tell(trials)
        self._say(last=True)
        return reason

    def found(self, seed: int, stopped: str) -> Exploration:
        """Everything so far."""
        late = sorted(self._cut_off, key=lambda entry: entry[0])
        last = self.times[-1] if self.times else 0.0  # a trial of the batch may have waited for one before it
        trials, times = [*self.trials, *(t for _, t in late)], [*self.times, *(max(at, last) for at, _ in late)]
        for _, trial in late:
            self.front.add(trial)
        repeated, resumed = (self.record.repeated, self.record.resumed) if self.record else (True, 0)
        return Exploration(
            self.problem, self.agent.goal, self.agent.name, seed, tuple(trials), tuple(times), tuple(self.front), stopped,
            self.seconds, self.evaluated, repeated, resumed, dict(self.agent.hyper_parameters),
        )  # fmt: skip

    def _recorded(self) -> list[StoredTrial]:
        return self.record.trials if self.record is not None else []

    def _over(self) -> str | None:
        if self.most is not None and len(self.trials) >= self.most:
            return "evaluations"
        return "seconds" if len(self.trials) >= max(1, len(self._recorded())) and self._late() else None

    def _late(self) -> bool:
        return self.most_seconds is not None and self.seconds >= self.most_seconds

    def _try(self, points: list[Point]) -> list[Trial] | None:
        """Trials of `points`; None when the budget ended before all were tried."""
        space = self.problem.space
        designs = [space.rank(point) for point in points]
        first = len(self.trials)
        room = len(points) if self.most is None else min(len(points), self.most - first)
        batch = _Batch(points, designs, room)
        if self.record is not None:
            self.record.compare(first, designs[:room])
        todo: dict[Point, list[int]] = {}
        ready: dict[int, Evaluated] = {}
        for i, point in enumerate(points[:room]):
            if first + i < len(self._recorded()):
                continue
            if self._begun is None:
                self._before, self._repeated = self._recorded()[-1].seconds if self._recorded() else 0.0, first + i
                self._begun = time.perf_counter()
            known = self._known.get(point)
            if known is not None:
                ready[i] = known
            else:
                todo.setdefault(point, []).append(i)
        screen = (
            Screen.of(self.agent.goal, self.front) if self.prune else None
        )  # what this batch finds comes too late for it
        try:
            self._repeat(batch, first)
            for i, evaluated in ready.items():
                self._settle(batch, i, evaluated, known=True)
            self._take(batch, {})
            if todo:
                self._evaluate(batch, todo, screen)
        finally:
            self._cut_off = [(batch.times[i], trial) for i, trial in batch.found.items()]
        whole = batch.taken == len(points)
        return self.trials[first:] if whole else None

    def _repeat(self, batch: _Batch, first: int) -> None:
        """Trials that are recorded already, as the agent was told them."""
        for stored in self._recorded()[first : first + batch.room]:
            point = batch.points[batch.taken]
            trial = Trial.of(point, stored.evaluated, self.agent.goal, known=True)
            if stored.evaluated.status is not Status.PRUNED:
                self._known[point] = stored.evaluated
            self._count(trial)
            self.trials.append(trial)
            self.times.append(stored.seconds)
            batch.taken += 1

    def _evaluate(self, batch: _Batch, todo: dict[Point, list[int]], screen: Screen | None) -> None:
        """Designs that this run does not know: ruled out by their bounds, from the store, or of the executor."""
        waiting = list(todo)

        def settle(index: int, evaluated: Evaluated, *, known: bool) -> None:
            point = waiting[index]
            pruned = evaluated.status is Status.PRUNED
            if not pruned:
                self._known[point] = evaluated
            for nth, i in enumerate(todo[point]):
                self._settle(batch, i, evaluated, known=not pruned and (known or nth > 0))
            self._take(batch, {} if known or pruned else {batch.designs[todo[point][0]]: evaluated})
            self._say()

        def wanted(index: int) -> bool:
            if self._late() and self._known:  # one design at least
                return False
            point = waiting[index]
            stored = self._known.get(point)
            if stored is None and self.record is not None:
                stored = self.record.store.evaluation(batch.designs[todo[point][0]])
                if stored is not None and screen is not None:  # as if the store did not know it
                    stored = screen.ruled_out(self.problem, point) or stored
            if stored is not None:
                settle(index, stored, known=True)
            return stored is None

        def done(index: int, evaluated: Evaluated) -> None:
            self.evaluated += evaluated.status is not Status.PRUNED
            settle(index, evaluated, known=False)

        self.executor.evaluate(waiting, done, wanted, screen)

    def _settle(self, batch: _Batch, i: int, evaluated: Evaluated, *, known: bool) -> None:
        batch.found[i] = Trial.of(batch.points[i], evaluated, self.agent.goal, known=known)
        batch.times[i] = self.seconds
        self._count(batch.found[i])

    def _count(self, trial: Trial) -> None:
        self._counts["known"] += trial.known
        self._counts["pruned"] += trial.evaluated.status is Status.PRUNED
        if self.front.add(trial):
            self._best = min(self._best, trial.score)

    def _take(self, batch: _Batch, evaluations: dict[int, Evaluated]) -> None:
        """Make trials of what is ready from the first on, and write all that is new to the store before anything else."""
        first = len(self.trials)
        rows: list[StoredTrial] = []
        while batch.taken in batch.found:
            trial, at = batch.found.pop(batch.taken), batch.times[batch.taken]
            at = max(at, self.times[-1] if self.times else 0.0)
            self.trials.append(trial)
            self.times.append(at)
            rows.append(StoredTrial(batch.designs[batch.taken], trial.evaluated, at))
            batch.taken += 1
        if self.record is not None and (evaluations or rows):
            self.record.store.write(self.record.number, evaluations, first, rows)

    def _say(self, *, last: bool = False) -> None:
        now = time.perf_counter()
        if self.progress is None or (now - self._news < NEWS_SECONDS and not last):
            return
        self._news = now
        here = now - self._begun if self._begun is not None else 0.0
        trials = len(self.trials)
        fresh = trials - self._repeated
        left: float | None = None
        if self.most is not None and fresh > 0:
            left = (self.most - trials) * here / fresh
        if self.most_seconds is not None:
            rest = max(0.0, self.most_seconds - self.seconds)
            left = rest if left is None else min(left, rest)
        self.progress(
            Progress(
                trials=trials,
                evaluated=self.evaluated,
                known=self._counts["known"],
                pruned=self._counts["pruned"],
                best=self._best,
                front=len(self.front),
                seconds=self.seconds,
                rate=self.evaluated / here if here else 0.0,
                left=left,
            )
        )
