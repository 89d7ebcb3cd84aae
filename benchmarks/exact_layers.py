"""The exact mapper on every distinct layer of three networks, and against random-pruned search: ``python benchmarks/exact_layers.py``.

One design of the library for all layers, without sparse features: keeps as published, loops free. Then, on a few layers
and on any problem files that are named, the time of random-pruned search until it is within 5 % of the proved optimum.
Seconds are CPU seconds of this process.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from exact_problems import RESULTS, timed
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
DUELS = ("resnet50", "bert-base")
WITHIN = 1.05


def main() -> None:
    arguments = _arguments()
    limit = f"--limit {arguments.limit:g} --seeds {arguments.seeds}"
    options = " --quick" if arguments.quick else f" --design {arguments.design} {limit}"
    title = f"`python benchmarks/exact_layers.py{options}`: EDP, design of the library, limit in CPU s a layer."
    parts = [f"# Exact mapper: whole networks\n\n{title}\n\n"]
    text, searched = _networks(arguments)
    parts.append(text)
    if arguments.seeds:
        parts += ["\n## Against random-pruned search\n\n", _duels(searched, arguments)]
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


def _networks(arguments: argparse.Namespace) -> tuple[str, dict[str, tuple[SearchProblem, Optimum, float]]]:
    searched: dict[str, tuple[SearchProblem, Optimum, float]] = {}
    summary, slow = [], []
    for name in arguments.networks:
        layers = network(name)[:2] if arguments.quick else network(name)
        seconds, proved, failed = 0.0, 0, 0
        for layer in layers:
            try:
                problem = target(layer.einsum, arguments.design)
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


def _duels(searched: dict[str, tuple[SearchProblem, Optimum, float]], arguments: argparse.Namespace) -> str:
    chosen = list(dict.fromkeys(next((n for n in searched if n.startswith(d)), "") for d in DUELS))
    contests = {name: searched[name] for name in chosen if name}
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
    rows = []
    for name, (problem, found, cpu) in contests.items():
        best = float(problem.objective.value(np.array(found.energy_pj), np.array(found.cycles)).min())
        times, reached = [], []
        for seed in range(arguments.seeds):
            searcher = make("random-pruned", problem, np.random.default_rng(seed))
            started = time.process_time()
            result = run(searcher, problem, evaluations=arguments.cap, seed=seed, reach=best * WITHIN)
            times.append(time.process_time() - started)
            reached.append(result.value / best)
            print(
                f"{name}, seed {seed}: {times[-1]:.1f} s, {reached[-1]:.3f} of the optimum", file=sys.stderr, flush=True
            )
        arrived = sum(r <= WITHIN for r in reached)
        middle = statistics.median(times)
        sign = "" if arrived > len(times) / 2 else "> "
        rows.append(
            [
                name, f"{cpu:.2f}", found.certificate.status, f"{arrived} of {len(times)}", f"{sign}{middle:.1f}",
                f"{sign}{middle / cpu:.1f}×", f"{statistics.median(reached):.3f}",
            ]
        )  # fmt: skip
    header = (
        "problem",
        "exact, CPU s",
        "certificate",
        "seeds within 5 %",
        "random-pruned, CPU s (median)",
        "ratio",
        "its best / optimum",
    )
    note = (
        f"\nRandom-pruned stops after {arguments.cap:,} mappings (invalid ones count); “>” where half of the seeds were not there by "
        "then. CPU seconds of all threads.\n"
    )
    return markdown(header, rows) + note


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two layers a network, one seed, 300,000 random mappings")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--design", default="tpu-like", help="a design of the library")
    parser.add_argument(
        "--problems", nargs="*", type=Path, default=[], metavar="FILE", help="more problems: mapper inputs"
    )
    parser.add_argument("--limit", type=float, default=30.0, help="CPU seconds of exact search a problem")
    parser.add_argument("--cap", type=int, default=20_000_000, help="mappings of random-pruned search a seed")
    parser.add_argument("--seeds", type=int, default=3, help="of random-pruned search; 0: none")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds, arguments.cap = 1, min(arguments.cap, 300_000)
    return arguments


if __name__ == "__main__":
    main()
