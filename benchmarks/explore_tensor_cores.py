"""Tensor cores explored for ResNet-50 and BERT, killed and resumed on the way, against every design of the library:
``python benchmarks/explore_tensor_cores.py``.

The command of a user runs in a process of its own, which is killed (SIGKILL) at random moments and resumed. Then every design of the
front and every design of the library is evaluated afresh, without cached mappings, and each library design is set beside the best
design of the front that is no larger.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from fiberloom.architecture import library
from fiberloom.errors import FiberloomError
from fiberloom.explore import ExplorationStore, Goal, Trial, front, make_problem
from fiberloom.explore.accelerator import AcceleratorProblem
from fiberloom.explore.accelerator.problem import known_metrics
from fiberloom.explore.space import read_space
from fiberloom.explore.trial import Evaluated, Status
from fiberloom.network_evaluation.designs import Design, read_design
from study_problems import markdown, write_text

RESULTS = Path(__file__).parent / "results" / "explore"
OBJECTIVES = ("edp", "area")


def main() -> None:
    arguments = _arguments()
    limit = f"area <= {arguments.area:g}"
    store = arguments.store
    sessions, seconds = _explored(arguments, limit, store)
    file = read_space("tensor-core")
    problem = make_problem(file, cache=False)
    assert isinstance(problem, AcceleratorProblem)
    goal = Goal.parse(OBJECTIVES, [limit], problem.metrics)
    with ExplorationStore(store) as kept:
        (run,) = kept.runs()
        trials = [trial for trial, _ in kept.trials(problem, run.run, goal)]
    found = front(trials)
    problem.prepare()
    with ProcessPoolExecutor(arguments.jobs) as pool:
        again = list(zip(found, pool.map(problem.evaluate, [t.point for t in found]), strict=True))
        designs = [d for d in map(read_design, library.names()) if known_metrics(d)["area"] <= arguments.area]
        published = list(zip(designs, pool.map(partial(_published, problem), designs), strict=True))
    rows = _beside(published, again)
    text = "".join(
        [
            "# Tensor cores for ResNet-50 and BERT\n\n",
            f"`{_command(arguments)}`: {file.space.size():,} designs; workloads and search as in the space `tensor-core`; "
            f"objectives {' and '.join(OBJECTIVES)}, {limit} mm2; {arguments.jobs} processes.\n\n",
            _account(trials, sessions, seconds),
            f"\n## Front, evaluated again without cached mappings\n\n{_front(problem, again)}",
            f"\n## Every design of the library of at most {arguments.area:g} mm2\n\n{rows}",
        ]
    )
    write_text(arguments.out / "tensor_cores.md", text)
    print(text)


def _command(arguments: argparse.Namespace) -> str:
    script = f"python benchmarks/explore_tensor_cores.py --minutes {arguments.minutes:g} --kills {arguments.kills}"
    return f"{script} --agent {arguments.agent} --set {' '.join(arguments.set)} --area {arguments.area:g}"


def _explored(arguments: argparse.Namespace, limit: str, store: Path) -> tuple[int, float]:
    """Run the command, killed at random moments; how many sessions it took and their seconds."""
    if store.exists() and not arguments.resume:
        sys.exit(f"{store} exists: name another file, or give --resume")
    command = [
        sys.executable, "-m", "fiberloom", "explore", "tensor-core", "--objective", "edp", "--objective", "area",
        "--limit", limit, "--agent", arguments.agent, "--seed", str(arguments.seed), "--store", str(store), "--resume",
        "--jobs", str(arguments.jobs), "--budget", f"{arguments.minutes * 60:g}s",
        *(word for setting in arguments.set for word in ("--set", setting)),
    ]  # fmt: skip
    draw = random.Random(arguments.seed)
    stretch = arguments.minutes * 60 / (arguments.kills + 1)
    begun = time.perf_counter()
    for session in range(arguments.kills + 1):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            if process.wait(None if session == arguments.kills else stretch * draw.uniform(0.6, 1.1)):
                sys.exit(f"the exploration ended with code {process.returncode}")
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            print(f"killed after {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    return session + 1, time.perf_counter() - begun


def _account(trials: list[Trial], sessions: int, seconds: float) -> str:
    counts: dict[str, int] = {}
    for trial in trials:
        counts[str(trial.evaluated.status)] = counts.get(str(trial.evaluated.status), 0) + 1
    said = ", ".join(f"{n} {status}" for status, n in counts.items())
    twice = len(trials) - len({trial.point for trial in trials})
    return (
        f"{sessions} sessions, {sessions - 1} of them ended by SIGKILL; {seconds:.0f} s of wall time in all, "
        f"load average {os.getloadavg()[2]:.1f}. {len(trials)} trials ({said}), {twice} of a design that was tried before.\n"
    )


def _front(problem: AcceleratorProblem, again: list[tuple[Trial, Evaluated]]) -> str:
    rows = []
    names = {problem.space.point(values): name for name, values in problem.file.known.items()}
    for trial, afresh in again:
        stored = trial.evaluated.metrics
        proved = [f"{w['proved']}/{w['layers']}" for w in afresh.detail.get("workloads", {}).values()]
        values, on = problem.space.values(trial.point), problem.space.active(trial.point)
        spelled = " ".join(f"{k}={v}" for (k, v), here in zip(values.items(), on, strict=True) if here)
        change = afresh.metrics["edp"] / stored["edp"] - 1 if afresh.metrics else math.nan
        rows.append(
            [f"{stored['area']:.3f}", f"{stored['edp'] * 1e6:.3f}", f"{change:+.2%}", " ".join(proved),
             f"{names.get(trial.point, '')} {spelled}".strip()]
        )  # fmt: skip
    header = ("area, mm2", "EDP, uJ s", "evaluated again", "layers proved", "design")
    return markdown(header, rows)


def _published(problem: AcceleratorProblem, design: Design) -> Evaluated:
    try:
        return problem.measure_design(design)
    except FiberloomError as error:
        return Evaluated(Status.INVALID, reason=error.problem)


def _beside(published: list[tuple[Design, Evaluated]], again: list[tuple[Trial, Evaluated]]) -> str:
    rows: list[list[Any]] = []
    refused = []
    for design, evaluated in published:
        metrics = evaluated.metrics
        if not metrics:
            refused.append(f"{design.name}: {evaluated.reason}")
            continue
        row = [design.name, design.architecture.technology, f"{metrics['area']:.3f}", f"{metrics['edp'] * 1e6:.3f}"]
        smaller = [m for _, e in again if (m := e.metrics) and m["area"] <= metrics["area"] * (1 + 1e-9)]
        best = min(smaller, key=lambda m: m["edp"], default=None)
        if best is None:
            rows.append([*row, "", "", "none of the front is as small"])
            continue
        ratio = metrics["edp"] / best["edp"]
        verdict = "dominated" if ratio > 1 + 1e-9 or best["area"] < metrics["area"] * (1 - 1e-9) else "equal"
        rows.append([*row, f"{best['area']:.3f}", f"{ratio:.2f}x", verdict if ratio >= 1 - 1e-9 else "NOT dominated"])
    header = ("design", "technology", "area, mm2", "EDP, uJ s", "best of the front, mm2", "its gain in EDP", "verdict")
    left = "".join(f"* {line}\n" for line in refused)
    note = "\nThe space is of 45 nm; a design of another technology is no fair match, either way.\n"
    return markdown(header, rows) + note + (f"\nThese can't run the workloads:\n\n{left}" if left else "")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--minutes", type=float, default=30.0, help="budget of the exploration, killed sessions included"
    )
    parser.add_argument("--kills", type=int, default=5, help="how often it is killed and resumed")
    parser.add_argument("--agent", default="genetic")
    parser.add_argument("--set", nargs="*", default=["population=24"], help="hyper-parameters of the agent")
    parser.add_argument("--area", type=float, default=5.0, help="mm2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--store", type=Path, default=Path("tensor_cores.fiberloom"))
    parser.add_argument("--resume", action="store_true", help="go on with a store that is there")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
