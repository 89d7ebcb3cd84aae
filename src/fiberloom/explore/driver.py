"""Runs an agent on a problem under a budget: every evaluation kept, the front so far, pruning by bounds, resuming."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from fiberloom.errors import SpecError
from fiberloom.explore.agents._base import Agent
from fiberloom.explore.executors import Executor, Serial
from fiberloom.explore.front import dominates, front
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import Point
from fiberloom.explore.store import ExplorationStore
from fiberloom.explore.trial import Evaluated, Status, Trial

BATCH: Final = 64
"""Most designs asked at a time; agents that learn from every trial give fewer."""


@dataclass(frozen=True)
class Progress:
    """Where an exploration stands.

    Attributes:
        trials: told so far; `known` of them were in the store, `pruned` by their bounds.
        evaluated: in this process or its workers, in this session.
        best: least score of a feasible design, infinite before the first.
        front: designs on the front.
        seconds: of the run, sessions before included.
        rate: evaluations per second of this session.
        left: seconds to the end of the budget at that rate; None: unknown.
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
        trials: in order.
        times: seconds since the run began, one per trial.
        front: the feasible trials that no other dominates.
        stopped: ``evaluations`` or ``seconds`` (the budget ended), ``interrupted``, or the agent's reason.
        repeated: whether a resumed run proposed the designs that it had proposed before.
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
        seconds: of the run, sessions before included; looked at between batches, evaluations under way are finished.
        seed: what the agent's generator was made from; names the run in the store.
        store: where every evaluation is kept.
        resume: go on with the last run of this agent, seed and goal in the store.
        prune: leave out designs whose bounds already lose against the front or break a limit.
        start: designs that are tried first, before the agent is asked.
        progress: called after every evaluation.

    Raises:
        SpecError: for a budget that is not positive, or a store of another problem.
    """
    for name, budget in (("evaluations", evaluations), ("seconds", seconds)):
        if budget is not None and not 0 < budget < math.inf:
            raise SpecError(f"{name} is {budget}", hint="a budget is a positive number")
    if store is not None:
        store.bind(problem)
    run = _Run(problem, agent, evaluations, seconds, executor or Serial(problem), store, prune, progress)
    if store is not None:
        run.number = store.open_run(agent.name, agent.hyper_parameters, seed, agent.goal, resume=resume)
        run.recorded = [at for _, at in store.trials(problem, run.number)]
    stopped = "interrupted"
    try:
        stopped = run.go(start)
    except KeyboardInterrupt:
        pass
    finally:
        agent.close()
    return Exploration(
        problem, agent.goal, agent.name, seed, tuple(run.trials), tuple(run.times), tuple(front(run.trials)), stopped,
        run.seconds, run.evaluated, run.repeated,
    )  # fmt: skip


@dataclass
class _Run:
    """What a running exploration has seen."""

    problem: DesignProblem
    agent: Agent
    most: int | None
    most_seconds: float | None
    executor: Executor
    store: ExplorationStore | None
    prune: bool
    progress: Callable[[Progress], None] | None
    number: int = 0
    recorded: list[float] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    front: list[Trial] = field(default_factory=list)
    evaluated: int = 0
    spent: float = 0.0
    repeated: bool = True
    _cache: dict[Point, Evaluated] = field(default_factory=dict)
    _begun: float = field(default_factory=time.perf_counter)
    _before: float = 0.0

    @property
    def seconds(self) -> float:
        """Of the run; while it repeats what was recorded, as recorded."""
        if len(self.trials) < len(self.recorded):
            return self.recorded[len(self.trials) - 1] if self.trials else 0.0
        return self._before + time.perf_counter() - self._begun

    def go(self, start: Sequence[Point]) -> str:
        """Trials until a reason to stop, which is returned."""
        first = [self.problem.space.canonical(point) for point in start]
        while (reason := self._done()) is None:
            room = BATCH if self.most is None else min(BATCH, self.most - len(self.trials))
            asked, first = (first[:room], first[room:]) if first else (None, [])
            proposed = asked is None
            if asked is None:
                asked = self.agent.ask(room)
                if asked is None:
                    return self.agent.finished
            points = [self.problem.space.canonical(point) for point in asked]
            trials = self._try(points)
            if proposed:
                self.agent.tell(trials)
        return reason

    def _done(self) -> str | None:
        if self.most is not None and len(self.trials) >= self.most:
            return "evaluations"
        repeats = len(self.trials) < len(self.recorded)
        if not repeats and self.most_seconds is not None and self.seconds >= self.most_seconds:
            return "seconds"
        return None

    def _try(self, points: list[Point]) -> list[Trial]:
        """Trials of `points`, evaluated where they are neither known nor pruned."""
        goal = self.agent.goal
        ranks = [self.problem.space.rank(point) for point in points]
        found: dict[int, Trial] = {}
        todo: dict[Point, list[int]] = {}
        for i, (point, rank) in enumerate(zip(points, ranks, strict=True)):
            known = self._known(point, rank)
            pruned = None if known else self._pruned(point)
            if known is not None:
                found[i] = Trial.of(point, known, goal, known=True)
            elif pruned is not None:
                found[i] = Trial.of(point, pruned, goal)
            else:
                todo.setdefault(point, []).append(i)
        waiting = list(todo)

        def done(index: int, evaluated: Evaluated) -> None:
            point = waiting[index]
            self._cache[point] = evaluated
            self.evaluated += 1
            self.spent += evaluated.seconds
            if self.store is not None:
                self.store.keep(ranks[todo[point][0]], evaluated)
            for nth, i in enumerate(todo[point]):
                found[i] = Trial.of(point, evaluated, goal, known=nth > 0)
            self._say(found)

        if waiting:
            self.executor.evaluate(waiting, done)
        trials = [found[i] for i in range(len(points))]
        self._record(ranks, trials)
        return trials

    def _known(self, point: Point, rank: int) -> Evaluated | None:
        known = self._cache.get(point)
        if known is None and self.store is not None:
            known = self.store.evaluation(rank)
        return known

    def _pruned(self, point: Point) -> Evaluated | None:
        """The bounds of a design that they rule out; None: it must be evaluated."""
        if not self.prune or self.problem.space.violated(point):
            return None
        try:
            bounds = self.problem.bound(point)
        except Exception:  # evaluation says what is wrong with it
            return None
        if not bounds:
            return None
        goal = self.agent.goal
        known = [limit for limit in goal.limits if limit.text in bounds and not limit.at_least]
        broken = [limit for limit in known if limit.overshoot(bounds)]
        complete = all(aim.text in bounds and not aim.maximise for aim in goal.aims)
        bounding = Evaluated(Status.PRUNED, dict(bounds) if complete else {}, "")
        if broken:
            off = "; ".join(f"{limit.name}: at least {bounds[limit.text]:.4g}" for limit in broken)
            return Evaluated(Status.PRUNED, bounding.metrics, off) if self._judgeable(bounding.metrics) else None
        if not complete:
            return None
        values = goal.values(bounds)
        for best in self.front:
            if best.values == values or dominates(best.values, values):
                return Evaluated(Status.PRUNED, bounding.metrics, "its bounds are no better than a known design")
        return None

    def _judgeable(self, metrics: object) -> bool:
        """Whether a trial of bounds has every metric that the limits ask for."""
        try:
            self.agent.goal.violation(metrics)  # type: ignore[arg-type]
        except SpecError:
            return False
        return True

    def _record(self, ranks: Sequence[int], trials: Sequence[Trial]) -> None:
        first = len(self.trials)
        if self.store is not None:
            self.repeated &= self.store.proposed(self.number, first, ranks)
        was_repeating = first < len(self.recorded)
        self.trials += trials
        if was_repeating and len(self.trials) >= len(self.recorded):
            self._before, self._begun = self.recorded[-1], time.perf_counter()
        now = self.seconds
        self.times += [self.recorded[i] if i < len(self.recorded) else now for i in range(first, len(self.trials))]
        if self.store is not None:
            self.store.told(self.number, first, ranks, trials, now)
        self.front = front([*self.front, *trials])
        self._say({})

    def _say(self, under_way: dict[int, Trial]) -> None:
        if self.progress is None:
            return
        trials = len(self.trials) + len(under_way)
        here = time.perf_counter() - self._begun
        rate = self.evaluated / here if here else 0.0
        left: float | None = None
        if self.most is not None and trials:
            left = (self.most - trials) / (trials / self.seconds) if self.seconds else None
        if self.most_seconds is not None:
            rest = max(0.0, self.most_seconds - self.seconds)
            left = rest if left is None else min(left, rest)
        scores = [t.score for t in (*self.front, *under_way.values()) if t.feasible]
        self.progress(
            Progress(
                trials=trials,
                evaluated=self.evaluated,
                known=sum(t.known for t in self.trials),
                pruned=sum(t.evaluated.status is Status.PRUNED for t in self.trials),
                best=min(scores, default=math.inf),
                front=len(self.front),
                seconds=self.seconds,
                rate=rate,
                left=left,
            )
        )
