"""Arrays and mappings searched together, against arrays searched around a mapper, and against one array.

    python benchmarks/joint.py [--seconds 2] [--seeds 5] [--out benchmarks/results/explore/joint.md]

All runs have the same template (an array with a scratchpad per element, a buffer, a DRAM), component library, networks and area limit,
and one core's seconds (of computing, not of the clock, so that other work on the machine does not count).
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fiberloom.explore import Goal, make_agent, make_problem, read_space
from fiberloom.explore.accelerator.workload import parse_workload
from fiberloom.explore.joint import JointProblem
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import Point, parse_space
from fiberloom.explore.trial import Evaluated, Status, Trial

NETWORKS = ("resnet18", "bert_base", "mobilenet_v2")
AREAS = (0.2, 7.0)
"""mm2. DiGamma's edge and cloud budgets as we recall them; areas are ours, so the two are not the same designs."""
EVALUATIONS = (300, 1000)
LAYER_SECONDS = 0.2

JOINT = read_space("digamma-like").text
NESTED = (
    JOINT.replace("kind: joint", "kind: accelerator\n  mapper: MAPPER\n  seconds: SECONDS")
    .replace("  derive: [buffer, scratchpad]\n", "")
    .replace(
        "columns: {linear: [1, 64]}\n",
        "columns: {linear: [1, 64]}\n    buffer_kib: {powers_of_two: [2, 512]}\n    words: {choice: [4, 8, 16, 32, 64, 128, 256]}\n",
    )
    .replace("name: buffer, component: sram,", "name: buffer, component: sram, depth: buffer_kib * 128,")
    .replace("name: scratchpad, component: regfile,", "name: scratchpad, component: regfile, depth: words,")
    + """
design:
  computes: [conv, gemm]
  operands: {W: weights, I: activations}
  output: O
  dataflow:
    - {level: DRAM, order: G B M P Q C}
    - {level: buffer, x: M, y: C, tile: Q P M, order: M P Q C}
    - {level: scratchpad, tile: R S Q, order: S R Q}
"""
)
"""The same template with the memories' sizes as choices and a dataflow of its own."""


@dataclass(frozen=True)
class Curve:
    """Best feasible EDP (J s) so far: (evaluations, seconds, EDP) at every improvement, and how many there were."""

    steps: list[tuple[int, float, float]]
    evaluations: int

    def at_seconds(self, seconds: float) -> float:
        return min((edp for _, at, edp in self.steps if at <= seconds), default=np.inf)

    def at_evaluations(self, most: int) -> float:
        reached = most <= self.evaluations
        return min((edp for n, _, edp in self.steps if n <= most), default=np.inf) if reached else np.nan


def nested(mapper: str, network: str) -> DesignProblem:
    text = NESTED.replace("MAPPER", mapper).replace("SECONDS", str(LAYER_SECONDS))
    return make_problem(parse_space(text), workloads=[parse_workload(network)], cache=False)


def searched(
    problem: DesignProblem, agent: str, hyper: dict[str, Any], area: float, seed: int, seconds: float
) -> tuple[Curve, Trial | None]:
    """A run of `seconds` of computing; evaluations under way are finished, and don't count when they end later."""
    goal = Goal.parse(["edp"], [f"area <= {area}"], problem.metrics)
    searcher = make_agent(agent, problem, goal, seed, **hyper)
    steps: list[tuple[int, float, float]] = []
    count, best, begun = 0, None, time.process_time()
    while time.process_time() - begun < seconds:
        trials = []
        for point in searcher.ask(64) or ():
            trials.append(Trial.of(point, _evaluated(problem, point, area), goal))
            count += 1
            now = time.process_time() - begun
            if now > seconds:
                break
            if trials[-1].feasible and (best is None or trials[-1].score < best.score):
                best = trials[-1]
                steps.append((count, now, best.score))
        else:
            searcher.tell(trials)
    return Curve(steps, count), best


def _evaluated(problem: DesignProblem, point: Point, area: float) -> Evaluated:
    """Designs over the area limit cost next to nothing where the area is known before anything is mapped."""
    known = problem.bounds(point, ["area"])
    if known.get("area", 0.0) > area:
        return Evaluated(Status.PRUNED, known)
    return problem.evaluate(point)


def fixed(network: str, area: float) -> tuple[str, float, float, float]:
    """The largest square array with 1 to 4 times as much buffer as scratchpads, mapped exactly: what, EDP, share proved, seconds."""
    problem = nested("exact", network)
    best: tuple[float, Point] | None = None
    for side in range(1, 65):
        for kib in (2, 4, 8, 16, 32, 64, 128, 256, 512):
            point = problem.space.point({"rows": side, "columns": side, "buffer_kib": kib, "words": 32})
            metrics = problem.bounds(point, ["area"])
            share = kib * 1024 / (side * side * 32)
            if metrics["area"] <= area and 1 <= share <= 4 and (best is None or metrics["area"] > best[0]):
                best = metrics["area"], point
    assert best is not None
    begun = time.process_time()
    found = problem.evaluate(best[1])
    seconds = time.process_time() - begun
    (run,) = found.detail["workloads"].values()
    values = problem.space.values(best[1])
    said = f"{values['rows']} x {values['columns']}, {values['buffer_kib']} KiB, {values['words']} words"
    return said, found.metrics["edp"], run["proved"] / run["layers"], seconds


CONTENDERS = {
    "joint: digamma": ("joint", "digamma", {}),
    "joint: digamma, operators as published": ("joint", "digamma", {"layers": 1, "gather": 0}),
    "joint: random": ("joint", "random", {}),
    "nested: genetic around the dataflow": ("dataflow", "genetic", {}),
    "nested: genetic around the exact mapper": ("exact", "genetic", {}),
}


def rows(seconds: float, seeds: int) -> Iterator[str]:
    for network in NETWORKS:
        joint = make_problem(parse_space(JOINT), workloads=[parse_workload(network)])
        assert isinstance(joint, JointProblem)
        joint.prepare()
        problems = {"joint": joint, "dataflow": nested("dataflow", network), "exact": nested("exact", network)}
        for problem in problems.values():
            problem.prepare()
        for area in AREAS:
            yield f"\n### {network}, {area:g} mm2\n"
            yield table_head()
            reference, worst = np.nan, 0.0
            for label, (which, agent, hyper) in CONTENDERS.items():
                curves = []
                for seed in range(seeds):
                    problem = problems[which]
                    curve, best = searched(problem, agent, hyper, area, seed, seconds)
                    curves.append(curve)
                    if which == "joint" and best is not None:
                        again = joint.confirmed(best.point)
                        worst = max(worst, *(abs(again[m] / best.evaluated.metrics[m] - 1) for m in again))
                ends = [c.at_seconds(seconds) for c in curves]
                reference = float(np.median(ends)) if np.isnan(reference) else reference
                counts = int(np.median([c.evaluations for c in curves]))
                cells = [_cell([c.at_evaluations(n) for c in curves]) for n in EVALUATIONS]
                yield f"| {label} | {counts:,} | {' | '.join(cells)} | {_cell(ends)} | {np.median(ends) / reference:.2f} |"
            said, edp, proved, took = fixed(network, area)
            label = f"one array ({said}), exact mapper, {took:.0f} s, {proved:.0%} proved"
            blank = " | ".join("" for _ in EVALUATIONS)
            yield f"| {label} | 1 | {blank} | {edp:.3g} | {edp / reference:.2f} |"
            yield f"\nBest designs of joint searches, each layer evaluated again on the sized hardware: differences up to {worst:.1g}."


def table_head() -> str:
    columns = [f"EDP at {n:,} evaluations" for n in EVALUATIONS]
    head = ["search", "evaluations", *columns, "EDP at the end", "over digamma"]
    return f"| {' | '.join(head)} |\n| --- |{' ---: |' * (len(head) - 1)}"


def _cell(values: list[float]) -> str:
    """Median and quartiles, J s."""
    if any(np.isnan(values)):
        return ""
    if not np.isfinite(np.median(values)):
        return "none feasible"
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75), method="nearest")
    return f"{middle:.3g} ({low:.3g} … {high:.3g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/explore/joint.md")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    for line in rows(given.seconds, given.seeds):
        print(line, flush=True)
        lines.append(line)
        note = (
            f"`python benchmarks/joint.py --seconds {given.seconds:g} --seeds {given.seeds}`: {time.process_time() / 60:.0f} minutes "
            f"of one core ({platform.machine()}, {os.cpu_count()} cores, shared with other work)."
        )
        given.out.write_text(
            "\n".join(["# Joint search of arrays and mappings", "", INTRODUCTION, "", note, *lines, ""])
        )


INTRODUCTION = f"""Medians and quartiles over seeds of the best EDP (J s, lower is better) within the area limit. An evaluation is
a design with one mapping per layer for the joint searches, and a design with a search of all its mappings for the nested ones, so
that only seconds compare those with each other; designs over the area limit count, though the nested searches don't map them. Nested
searches choose the memories' sizes too (9 buffers, 7 scratchpads); their exact mapper has {LAYER_SECONDS:g} s of the clock per layer
and the dataflow to fall back on.

DiGamma's own figures are 3.0x (edge) and 10.0x (cloud) less latency than the best of its baselines, in geometric mean over seven
networks, as published (DATE'22, abstract): other models, areas and baselines, not to be compared with these."""

if __name__ == "__main__":
    main()
