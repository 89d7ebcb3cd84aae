"""Evaluation in child processes of this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fiberloom.errors import SpecError
from fiberloom.explore.executors._base import Executor
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.pruning import Screen
from fiberloom.explore.space import Point
from fiberloom.explore.trial import Evaluated, Status
from fiberloom.workers import Lost, WorkerPool, WorkersError, cores

TRIES = 2
"""How often an evaluation is begun whose process ends in the middle of it: memory may have been short for once."""


class Evaluations:
    """The work of a process: a point and what it must not lose against is a job."""

    def __init__(self, problem: DesignProblem) -> None:
        self.problem = problem

    def prepare(self) -> None:
        """As the problem."""
        self.problem.prepare()

    def do(self, job: tuple[Point, Screen | None]) -> Evaluated:
        """One design."""
        return Executor.evaluated(self.problem, *job)


class Processes(Executor):
    """Child processes, each with one thread, that end with this one.

    Args:
        workers: how many; None: one per core.
        seconds: most time for an evaluation; it has failed then.

    Raises:
        SpecError: for fewer workers than 1.
    """

    name = "processes"

    def __init__(self, problem: DesignProblem, workers: int | None = None, seconds: float | None = None) -> None:
        super().__init__(problem)
        self.workers = cores() if workers is None else workers
        if self.workers < 1:
            raise SpecError(
                f"{self.workers} worker processes", hint="at least 1; or evaluate serially, in this process"
            )
        self._pool = WorkerPool(Evaluations(problem), self.workers, tries=TRIES, seconds=seconds)

    def evaluate(
        self,
        points: Sequence[Point],
        done: Callable[[int, Evaluated], None],
        wanted: Callable[[int], bool] = lambda index: True,
        screen: Screen | None = None,
    ) -> None:
        def answered(index: int, answer: Any) -> None:
            done(index, Evaluated(Status.FAILED, reason=answer.reason) if isinstance(answer, Lost) else answer)

        try:
            self._pool.run([(point, screen) for point in points], wanted=wanted, done=answered)
        except WorkersError as error:
            raise SpecError(
                f"worker processes can't evaluate {type(self.problem).__name__}: {error}",
                hint="its class must stand in a module that they can import; or evaluate serially",
            ) from None

    def close(self) -> None:
        self._pool.close()
