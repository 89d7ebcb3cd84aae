"""Agents: who proposes designs. They ask and are told, and never evaluate anything themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

import numpy as np

from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import Point
from fiberloom.explore.trial import Trial
from fiberloom.hyper_parameters import Method, Methods

DRAWS: Final = 50
"""Designs that an agent draws before it takes a random one that meets the requirements."""


class Agent(Method, ABC):
    """Proposes designs and learns from what becomes of them.

    A subclass is one published way to search: `name` and `summary` say which, the keyword arguments of its constructor are
    its hyper-parameters with the paper's defaults, each kept as an attribute of the same name. All randomness comes from
    `rng`, so that a seed and the hyper-parameters determine every proposal; that is what resuming a run builds on. Optional
    packages are imported in the constructor.

    Args:
        problem: `problem.space` is searched.
        goal: objectives and limits; trials arrive judged by it.
    """

    given = 3
    several: ClassVar[bool] = False
    """Whether it searches for a front by itself; others see `Trial.penalised` alone."""

    finished: str = "exhausted"
    """Why `ask` had nothing more to propose."""

    def __init__(self, problem: DesignProblem, goal: Goal, rng: np.random.Generator) -> None:
        self.problem = problem
        self.space = problem.space
        self.goal = goal
        self.rng = rng

    def begin(self, trials: Sequence[Trial]) -> None:
        """Designs that were tried before the agent is asked, such as the space's named ones."""

    @abstractmethod
    def ask(self, n: int) -> list[Point] | None:
        """At most `n` and at least one design to try, or None when there is nothing more to propose.

        Everything that was asked is told before the next call.
        """

    @abstractmethod
    def tell(self, trials: Sequence[Trial]) -> None:
        """What became of the designs of the last `ask`, in their order."""

    def close(self) -> None:
        """Give back what the agent holds, such as another process."""

    def meeting(self, draw: Callable[[], Sequence[int]]) -> Point:
        """The first canonical design among some draws that meets the space's requirements; a random one where none does."""
        for _ in range(DRAWS):
            point = self.space.canonical(draw())
            if not self.space.violated(point):
                return point
        return self.space.sample(self.rng, 1)[0]


class GenerationalAgent(Agent):
    """An agent that thinks in generations of its own size; however `ask` cuts them, its trials are the same.

    Subclasses implement `propose` and `learn`.
    """

    def __init__(self, problem: DesignProblem, goal: Goal, rng: np.random.Generator) -> None:
        super().__init__(problem, goal, rng)
        self._waiting: list[Point] = []
        self._told: list[Trial] = []

    @abstractmethod
    def propose(self) -> list[Point] | None:
        """The next generation, or None when there is nothing more to propose."""

    @abstractmethod
    def learn(self, trials: Sequence[Trial]) -> None:
        """What became of a whole generation, in the order proposed."""

    def ask(self, n: int) -> list[Point] | None:
        """The next designs of the generation; a new one when all are told."""
        if not self._waiting:
            generation = self.propose()
            if not generation:
                return None
            self._waiting = list(generation)
        asked, self._waiting = self._waiting[:n], self._waiting[n:]
        return asked

    def tell(self, trials: Sequence[Trial]) -> None:
        """Kept until the whole generation is told."""
        self._told += trials
        if not self._waiting:
            told, self._told = self._told, []
            self.learn(told)


def agents() -> Methods[Agent]:
    """Every agent by its name; iterating over names loads no module."""
    from fiberloom.explore.agents import AGENTS

    return Methods("fiberloom.explore.agents", AGENTS)


def make_agent(name: str, problem: DesignProblem, goal: Goal, rng: np.random.Generator | int, **hyper: Any) -> Agent:
    """The agent `name`; `rng` may be a seed.

    Raises:
        SpecError: for a name or a hyper-parameter that does not exist (with the nearest one), or a value out of range.
        MissingExtraError: when it needs a package that is not installed.
    """
    chosen = agents().chosen(name, hyper, "agent")
    generator = np.random.default_rng(rng) if isinstance(rng, int) else rng
    return chosen(problem, goal, generator, **hyper)
