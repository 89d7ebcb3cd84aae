"""Designs per second against workers: in this process, child processes, a Ray cluster; and what an exploration adds of its own.

    python benchmarks/explore_scaling.py            # everything, about ten minutes; without ray, its rows are left out

Writes ``benchmarks/results/explore/scaling.md``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fiberloom.errors import MissingExtraError
from fiberloom.explore import DesignProblem, ExplorationStore, Goal, explore, make_agent, make_problem, read_space
from fiberloom.explore.accelerator.workload import parse_workload
from fiberloom.explore.executors import Executor, Processes, Serial
from fiberloom.explore.executors.ray import Ray
from fiberloom.explore.space import Point, parse_space
from fiberloom.workers import cores

RESULT = Path(__file__).parent / "results" / "explore" / "scaling.md"
ROUNDS = 2
"""Every executor is measured so often, in turn, and its best is shown: other work on the machine only slows it down."""


class OneByOne(Ray):
    """Ray with a task per design, however cheap."""

    name = "ray, a task per design"

    def _chunk(self, waiting: Any, wanted: Callable[[int], bool]) -> list[int]:
        self._lately = 1e9
        return super()._chunk(waiting, wanted)


def dram(requests: int) -> DesignProblem:
    """The library's DRAM controllers on a trace of so many requests."""
    text = read_space("dram-controller").text.replace("requests: 1000", f"requests: {requests}")
    return make_problem(parse_space(text, "dram-controller.yaml"))


def tensor_cores() -> DesignProblem:
    """The library's tensor cores on one small network, every mapping searched anew."""
    return make_problem("tensor-core", workloads=[parse_workload("alexnet@2:4")], cache=False)


def makers(problem: DesignProblem) -> Iterator[tuple[str, Callable[[], Executor]]]:
    """Executors by what the table calls them."""
    yield "serial", lambda: Serial(problem)
    for n in (1, 2):
        yield f"processes, {n}", partial(Processes, problem, n)
    for n in (1, 2):
        yield f"ray, {n}", partial(Ray, problem, n)
    yield "ray, 2, a task per design", lambda: OneByOne(problem, 2)


def designs_per_second(problem: DesignProblem, count: int) -> dict[str, tuple[float, float]]:
    """Best rate, and seconds until the executor could begin, by executor."""
    points = problem.space.sample(np.random.default_rng(0), count)
    found: dict[str, tuple[float, float]] = {}
    for _ in range(ROUNDS):
        for name, make in makers(problem):
            try:
                rate, started = measured(make, points)
            except MissingExtraError:
                continue
            before = found.get(name, (0.0, started))
            found[name] = (max(before[0], rate), min(before[1], started))
            print(f"{type(problem).__name__} {name}: {rate:,.2f}/s, began after {started:.1f} s", flush=True)
    return found


def measured(make: Callable[[], Executor], points: Sequence[Point]) -> tuple[float, float]:
    begun = time.perf_counter()
    with make() as executor:
        for _ in range(3):  # until every worker is there
            executor.evaluate(points[: executor.workers], lambda index, evaluated: None)
        ready = time.perf_counter()
        executor.evaluate(points, lambda index, evaluated: None)
        return len(points) / (time.perf_counter() - ready), ready - begun


def own_time(problem: DesignProblem, trials: int) -> dict[str, float]:
    """Microseconds of processor time per trial of random search beyond the evaluations, by what is kept."""
    goal = Goal.parse([next(iter(problem.metrics))], [], problem.metrics)

    def spent(store: ExplorationStore | None) -> float:
        agent = make_agent("random", problem, goal, 0)
        begun = time.process_time()
        found = explore(problem, agent, evaluations=trials, store=store)
        here = time.process_time() - begun
        points = {t.point for t in found.trials}
        begun = time.process_time()
        for point in points:
            problem.evaluate(point)
        return (here - (time.process_time() - begun)) / trials * 1e6

    with tempfile.TemporaryDirectory() as folder, ExplorationStore(Path(folder) / "store.db") as store:
        return {"nothing kept": spent(None), "every evaluation in a store": spent(store)}


def table(measured: dict[str, tuple[float, float]]) -> list[str]:
    serial = measured["serial"][0]
    lines = ["| executor, workers | designs/s | of serial | begins after (s) |", "| --- | ---: | ---: | ---: |"]
    for name, (rate, started) in measured.items():
        lines.append(f"| {name} | {rate:,.3g} | {rate / serial:.2f} | {started:.1f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--designs", type=int, default=12, help="of the slow problem; others in proportion")
    given = parser.parse_args()
    n = given.designs
    problems = (
        (f"Tensor cores on AlexNet at 2:4, {n} designs, every layer mapped anew", tensor_cores(), n),
        (f"DRAM controllers, 1,000 requests, {50 * n:,} designs", dram(1000), 50 * n),
        (f"DRAM controllers, 10 requests, {250 * n:,} designs", dram(10), 250 * n),
    )
    load = os.getloadavg()[0]
    lines = [
        "# Explorations against workers",
        "",
        f"`python benchmarks/explore_scaling.py --designs {n}` on a machine of {cores()} cores that ran other work at the same time "
        f"(load average {load:.0f} at the beginning), so absolute figures are low, and ratios are those of what the cores had left. "
        f"Best of {ROUNDS} rounds.",
    ]
    for title, problem, count in problems:
        lines += ["", f"## {title}", "", *table(designs_per_second(problem, count))]
    trials = 10_000
    lines += [
        "",
        f"## An exploration's own time ({trials:,} trials of random search, DRAM controllers, one request)",
        "",
    ]
    lines += ["| | processor time per trial (µs) |", "| --- | ---: |"]
    lines += [f"| {name} | {microseconds:.0f} |" for name, microseconds in own_time(dram(1), trials).items()]
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text("\n".join(lines) + "\n")
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
