"""Executors: where designs are evaluated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import ClassVar, Self

from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.pruning import Screen
from fiberloom.explore.space import Point
from fiberloom.explore.trial import Evaluated


class Executor(ABC):
    """Evaluates designs, several at a time; used as a context that gives its processes back.

    Attributes:
        workers: how many designs it evaluates at a time.
    """

    name: ClassVar[str]
    workers: int = 1

    def __init__(self, problem: DesignProblem) -> None:
        self.problem = problem

    @abstractmethod
    def evaluate(
        self,
        points: Sequence[Point],
        done: Callable[[int, Evaluated], None],
        wanted: Callable[[int], bool] = lambda index: True,
        screen: Screen | None = None,
    ) -> None:
        """Evaluate `points`, begun in their order.

        An evaluation whose process ends is begun once more, and has the status ``failed`` with the reason if that ends too.

        Args:
            done: called in this thread with the index of each as it is ready, once.
            wanted: asked with an index right before its evaluation begins; where False, it is left out.
            screen: designs that it rules out are not evaluated: their bounds are the answer.

        Raises:
            SpecError: when nothing can be evaluated at all, such as for a problem that other processes can't load.
        """

    @staticmethod
    def evaluated(problem: DesignProblem, point: Point, screen: Screen | None) -> Evaluated:
        """The answer of one design, in whatever process this is."""
        return problem.evaluate(point) if screen is None else screen.evaluate(problem, point)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027 - an executor in this process holds nothing
        """End its processes."""
