"""A problem that writes down when an evaluation begins and ends, and that can be told to fail in every way.

As a program, it explores: ``python -c "from logged_problem import main; main()" STORE LOG …``.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import ClassVar

from fiberloom.errors import SpecError
from fiberloom.explore import DesignProblem, Evaluated, ExplorationStore, Goal, Status, explore, make_agent
from fiberloom.explore.driver import ExplorationError
from fiberloom.explore.executors import make_executor
from fiberloom.explore.space import Point, parse_space

SPACE = """
fiberloom: 1
space:
  parameters:
    a: {linear: [0, 9]}
    b: {linear: [0, 9]}
    c: {choice: [x, y, z]}
    d: {linear: [1, 4], when: c == 'z'}
"""


class Logged(DesignProblem):
    """Two metrics of 600 designs.

    Args:
        log: gets a line ``begin DESIGN`` and a line ``end DESIGN`` per evaluation.
        seconds: that an evaluation takes.
        faults: by design: ``killed``, ``killed once``, ``segfault``, ``hangs``, ``memory``, ``bug``, ``senseless``, ``exits``,
            ``unpicklable``.
    """

    kind = "logged"
    metrics: ClassVar[Mapping[str, str]] = {"cost": "J", "size": "mm2"}

    def __init__(
        self, log: Path, seconds: float = 0.0, faults: Mapping[int, str] | None = None, space: str = SPACE
    ) -> None:
        super().__init__(parse_space(space, "logged.yaml"))
        self.log = log
        self.seconds = seconds
        self.faults = faults or {}

    def measure(self, point: Point) -> Evaluated:
        design = self.space.rank(point)
        self._write(f"begin {design}")
        time.sleep(self.seconds)
        if design in self.faults:
            self._fail(self.faults[design], design)
        metrics = self.bounds(point, self.metrics)
        self._write(f"end {design}")
        detail = {"broken": lambda: 0} if self.faults.get(design) == "unpicklable" else {}
        return Evaluated(Status.EVALUATED, metrics, detail=detail)

    def bounds(self, point: Point, wanted: Collection[str]) -> Mapping[str, float]:
        values = self.space.values(point)
        size = 1.0 + values["a"] + values["b"] + (values["d"] or 0)
        known = {"cost": 100 / size + abs(values["a"] - 3) + "xyz".index(values["c"]), "size": size}
        return {name: known[name] for name in wanted}

    def _fail(self, how: str, design: int) -> None:
        begun = self.log.read_text().splitlines().count(f"begin {design}")
        if how == "killed" or (how == "killed once" and begun == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "segfault":
            ctypes.string_at(0)
        if how == "hangs":
            time.sleep(3600)
        if how == "memory":
            raise MemoryError
        if how == "bug":
            raise ZeroDivisionError("by design")
        if how == "senseless":
            raise SpecError("it makes no sense")
        if how == "exits":
            sys.exit(3)

    def _write(self, line: str) -> None:
        with self.log.open("a") as file:
            file.write(line + "\n")


class Unprepared(Logged):
    """A problem that no process can prepare for."""

    def prepare(self) -> None:
        raise FileNotFoundError("no such table")


def lines(log: Path, kind: str) -> list[int]:
    """Designs of the log's lines of a kind."""
    return [int(line.split()[1]) for line in log.read_text().splitlines() if line.startswith(kind)]


def main() -> None:
    """Explore until the budget ends; prints how many trials there are, or the error."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store", type=Path)
    parser.add_argument("log", type=Path)
    parser.add_argument("--evaluations", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--agent", default="random")
    parser.add_argument("--seconds", type=float, default=0.01)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--executor", default="serial")
    parser.add_argument("--resume", action="store_true")
    given = parser.parse_args()
    problem = Logged(given.log, given.seconds)
    goal = goal_of(problem)
    agent = make_agent(given.agent, problem, goal, given.seed)
    try:
        with ExplorationStore(given.store) as store, make_executor(
            given.executor, problem, workers=given.workers
        ) as executor:  # fmt: skip
            found = explore(
                problem, agent, evaluations=given.evaluations, seed=given.seed, executor=executor, store=store,
                resume=given.resume,
            )  # fmt: skip
    except ExplorationError as error:
        print(len(error.found.trials), "error", error.problem)
        sys.exit(error.exit_code)
    except SpecError as error:
        print("0 error", error.problem)
        sys.exit(error.exit_code)
    print(len(found.trials), found.stopped)


def goal_of(problem: DesignProblem) -> Goal:
    """Small and cheap, but not too small."""
    return Goal.parse(["cost", "size"], ["size <= 15"], problem.metrics)
