"""The exact mapper on every distinct layer of three networks, and against random-pruned search: ``python benchmarks/exact_layers.py``.

One design of the library for all layers, without sparse features: keeps as published, loops free. Then, on a few layers
and on any problem files that are named, the time of random-pruned search until it is within 5 % of the proved optimum. Its
own stopping rules are off: they would end it after a second. Seconds are CPU seconds of this process.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from exact_problems import RESULTS, cpu_limit, timed
from fiberloom.architecture import library
from fiberloom.architecture.features import without_features
from fiberloom.errors import FiberloomError
from fiberloom.input.specification import read
from fiberloom.mapper.driver import run
from fiberloom.mapper.exact import Optimum
from fiberloom.mapper.search import SearchProblem, make
from fiberloom.mapping.space import MapSpace
from fiberloom.model.lower import lower
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.layers import network
from study_problems import markdown, write_text

NETWORKS = ("resnet50", "mobilenet_v2", "bert_base")
DUELS = ("resnet50-conv3_2-3x3", "bert-base-feed-forward-1")
"""Layers of those networks on which random-pruned search runs."""
WITHIN = 1.05


Contests = dict[str, tuple[SearchProblem, Optimum, float]]
"""Problems by name, each with its proved (or bounded) optimum and the CPU seconds that it took."""


def main() -> None:
    arguments = _arguments()
    limits = f"--limit {arguments.limit:g} --seeds {arguments.seeds} --ratio {arguments.ratio:g}"
    options = f" --designs {' '.join(arguments.designs)} {limits}"
    command = f"python benchmarks/exact_layers.py{' --quick' if arguments.quick else options}"
    parts = [f"# Exact mapper: whole networks\n\n`{command}`: EDP, designs of the library, limit in CPU s a layer.\n"]
    contests: Contests = {}
    for design in arguments.designs:
        text, searched = _networks(arguments, design)
        parts.append(f"\n## On {design}\n\n{text}")
        contests |= {f"{name} on {design}": searched[name] for name in searched if name.startswith(DUELS)}
    if arguments.seeds:
        contests |= _given(arguments)
        parts.append("\n## Against random-pruned search\n\n")
        rows: list[list[object]] = []
        for name, (problem, found, cpu) in contests.items():
            if found.certificate.status != "optimal":
                print(f"{name}: no contest, as its optimum is not proved", file=sys.stderr)
                continue
            rows.append(_duel(name, problem, found, cpu, arguments))
            write_text(arguments.out / "layers.md", "".join(parts) + _duels(rows, arguments))
        parts.append(_duels(rows, arguments))
    whole = "".join(parts)
    write_text(arguments.out / "layers.md", whole)
    print(whole)


def target(einsum: Einsum, design: str) -> SearchProblem:
    """The search problem of a layer on the dense part of a design of the library."""
    architecture = without_features(library.load(design, einsum))
    return SearchProblem(lower(einsum, architecture), MapSpace(einsum, architecture), "edp")


def _search(problem: SearchProblem, limit: float) -> tuple[Optimum, float]:
    problem.prepare()
    return timed(problem, limit)


def _networks(arguments: argparse.Namespace, design: str) -> tuple[str, Contests]:
    searched: Contests = {}
    summary, slow = [], []
    for name in arguments.networks:
        layers = network(name)[-2:] if arguments.quick else network(name)
        seconds, proved, failed = 0.0, 0, 0
        for layer in layers:
            try:
                problem = target(layer.einsum, design)
                found, cpu = _search(problem, arguments.limit)
            except FiberloomError as error:
                print(f"{layer.name}: {error}", file=sys.stderr)
                failed += 1
                continue
            certificate = found.certificate
            print(
                f"{layer.name}: {cpu:.2f} s, {certificate.status}, gap {certificate.gap:.2%}",
                file=sys.stderr,
                flush=True,
            )
            seconds += cpu
            proved += certificate.status == "optimal"
            searched[layer.name] = problem, found, cpu
            shape = " ".join(f"{v}={n}" for v, n in layer.einsum.shape.items())
            slow.append((cpu, [layer.name, shape, f"{cpu:.2f}", certificate.status, f"{certificate.gap:.2%}"]))
        summary.append([name, len(layers), proved, failed, f"{seconds:.1f}"])
    summary.append(
        [
            "together",
            *(sum(int(row[i]) for row in summary) for i in (1, 2, 3)),
            f"{sum(float(r[4]) for r in summary):.1f}",
        ]
    )
    text = markdown(("network", "distinct layers", "proved", "nothing found", "CPU s"), summary)
    slowest = [row for _, row in sorted(slow, key=lambda pair: -pair[0])[:8]]
    return text + "\nThe slowest:\n\n" + markdown(("layer", "shape", "CPU s", "certificate", "gap"), slowest), searched


def _given(arguments: argparse.Namespace) -> Contests:
    """The problems of files."""
    contests: Contests = {}
    for path in arguments.problems:
        given = read([path])
        assert given.workload is not None and given.architecture is not None
        problem = lower(given.workload, given.architecture, base_directory=given.base_directory)
        space = MapSpace(given.workload, given.architecture, given.constraints)
        one = SearchProblem(problem, space, given.objective or "edp")
        try:
            contests[path.stem] = (one, *_search(one, arguments.limit))
        except FiberloomError as error:
            print(f"{path.stem}: {error}", file=sys.stderr)
    return contests


def _duels(rows: list[list[object]], arguments: argparse.Namespace) -> str:
    header = (
        "problem",
        "exact, CPU s",
        "seeds within 5 %",
        "random-pruned, CPU s (median)",
        "ratio",
        "its best / optimum (median)",
        "its mappings (median)",
    )
    note = (
        "\nProblems whose optimum is proved; the exact search's time includes the proof. Random-pruned search without its "
        f"stopping rules, until it is within 5 % of the optimum or has had {arguments.ratio:g} times the exact search's CPU "
        f"seconds, at most {arguments.seconds:g}; “≥” where half of the seeds were not there by then. CPU seconds of all "
        "threads; mappings that do not fit count. Problems without a design are files given by `--problems`.\n"
    )
    return markdown(header, rows) + note


def _duel(name: str, problem: SearchProblem, found: Optimum, cpu: float, arguments: argparse.Namespace) -> list[object]:
    """A row: how long random-pruned search takes, over seeds."""
    best = float(problem.objective.value(np.array(found.energy_pj), np.array(found.cycles)).min())
    most = min(arguments.ratio * cpu, arguments.seconds)
    times, reached, tried = [], [], []
    for seed in range(arguments.seeds):
        searcher = make("random-pruned", problem, np.random.default_rng(seed), victory_condition=0, timeout=0)
        started = time.process_time()
        with cpu_limit(most):
            result = run(searcher, problem, seed=seed, reach=best * WITHIN)
        times.append(time.process_time() - started)
        reached.append(result.value / best)
        tried.append(result.evaluations)
        print(
            f"{name}, seed {seed}: {times[-1]:.1f} s, {reached[-1]:.3f} of the optimum, {result.stopped}",
            file=sys.stderr,
            flush=True,
        )
    arrived = sum(r <= WITHIN for r in reached)
    middle = statistics.median(times)
    sign = "" if arrived > len(times) / 2 else "≥ "
    return [
        name, f"{cpu:.2f}", f"{arrived} of {len(times)}", f"{sign}{middle:.1f}",
        f"{sign}{middle / cpu:.1f}×", f"{statistics.median(reached):.3f}", f"{statistics.median(tried):,.0f}",
    ]  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two layers a network and contests of 5 s")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--designs", nargs="+", default=["tpu-like"], metavar="NAME", help="of the library")
    parser.add_argument(
        "--problems", nargs="*", type=Path, default=[], metavar="FILE", help="more problems: mapper inputs"
    )
    parser.add_argument("--limit", type=float, default=30.0, help="CPU seconds of exact search a problem")
    parser.add_argument(
        "--ratio", type=float, default=200.0, help="random-pruned search: times the exact search's CPU s"
    )
    parser.add_argument("--seconds", type=float, default=600.0, help="random-pruned search: most CPU seconds a seed")
    parser.add_argument("--seeds", type=int, default=3, help="of random-pruned search; 0: none")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds, arguments.seconds = 1, min(arguments.seconds, 5.0)
    return arguments


if __name__ == "__main__":
    main()
