"""What warm start saves over the layers of three networks: ``python benchmarks/study_warm_start.py``.

Layers are mapped in order by one searcher of generations, from three beginnings: its own (*cold*), the mapping found for the
*previous* layer, and for the *most similar* earlier one. Counted are the generations until a run has 99.5 % of the gain
that the cold run of the same seed makes between its first generation and its last.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fiberloom.mapper.driver import SearchResult, run
from fiberloom.mapper.search import SearchProblem, make
from fiberloom.mapper.warm_start import Solved, WarmStart, nearest_layers
from fiberloom.workload.layers import Layer, network
from study_problems import RESULTS, dense_target, geometric_mean, markdown, proof, spread, write_csv, write_text

BEGINNINGS = ("cold", "previous", "most similar")
SHARE = 0.995
"""Of the cold run's gain; the share by which the IISWC'22 study counts."""
BATCH = 64
"""Mappings evaluated at a time; so few are not worth threads. It changes no trial."""


@dataclass(frozen=True)
class LayerRun:
    """One search of one layer.

    Attributes:
        best: after every generation, ``(generations,)``.
        seed_value: the best transferred mapping; infinite without.
    """

    layer: str
    beginning: str
    seed: int
    best: np.ndarray
    seed_value: float


def main() -> None:
    arguments = _arguments()
    started = time.perf_counter()
    optima: dict[str, float] = {}
    for name in arguments.networks:
        for layer in _layers(name, arguments):
            target = dense_target(layer.einsum, arguments.objective)
            target.prepare()
            if arguments.proof_seconds:
                optima[layer.name] = _proved(target, arguments.proof_seconds)
    tasks = list(itertools.product(arguments.networks, BEGINNINGS, range(arguments.seeds), [arguments]))
    runs: dict[str, list[LayerRun]] = {name: [] for name in arguments.networks}
    with ProcessPoolExecutor(arguments.jobs) as processes:
        for (name, *_), found in zip(tasks, processes.map(_network, *zip(*tasks, strict=True)), strict=True):
            runs[name] += found
            print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    text = _report(runs, optima, arguments)
    rows = [row for name, found in runs.items() for row in _rows(name, found)]
    write_csv(arguments.out / "warm_start.csv", rows)
    write_text(arguments.out / "warm_start.md", text)
    print(text)


def _proved(target: SearchProblem, seconds: float) -> float:
    found = proof(target, seconds)
    return found.value if found.proved else math.nan


def _layers(name: str, arguments: argparse.Namespace) -> tuple[Layer, ...]:
    return network(name, **({"batch": arguments.batch} if name != "bert_base" else {}))[: arguments.layers]


def _network(name: str, beginning: str, seed: int, arguments: argparse.Namespace) -> list[LayerRun]:
    """One pass over a network; every layer's best is there for the layers after it."""
    earlier: list[Solved] = []
    found = []
    for i, layer in enumerate(_layers(name, arguments)):
        target = dense_target(layer.einsum, arguments.objective)
        rng = np.random.default_rng([seed, i])
        searcher = make(arguments.searcher, target, rng)
        seed_value = math.inf
        if beginning != "cold" and earlier:
            known = earlier if beginning == "most similar" else nearest_layers(layer.einsum, earlier[-1:])
            warm = WarmStart(searcher, known)
            searcher = warm
            if warm.seeds is not None:
                seed_value = float(target.evaluate(warm.seeds).objective.min())
        size = arguments.generation
        result = run(searcher, target, evaluations=size * arguments.generations, seed=seed, batch=BATCH)
        found.append(
            LayerRun(layer.name, beginning, seed, _by_generation(result, size, arguments.generations), seed_value)
        )
        if result.best_packed is not None:
            earlier.append(Solved(target.space, result.best_packed))
    return found


def _by_generation(result: SearchResult, size: int, generations: int) -> np.ndarray:
    return np.asarray(result.curve.at_evaluations(size * np.arange(1, generations + 1)))


def _needed(best: np.ndarray, cold: np.ndarray, logarithmic: bool) -> int:
    """Generations (from 1) to `SHARE` of the cold gain; one more than there were where it is never reached."""
    first, last = cold[np.isfinite(cold)][[0, -1]]
    wanted = first * (last / first) ** SHARE if logarithmic else first - SHARE * (first - last)
    reached = np.flatnonzero(best <= wanted * (1 + 1e-12))
    return int(reached[0]) + 1 if len(reached) else len(best) + 1


def _rows(name: str, runs: Sequence[LayerRun]) -> list[dict[str, Any]]:
    """Per layer and beginning, medians over seeds."""
    cold = {(r.layer, r.seed): r.best for r in runs if r.beginning == "cold"}
    rows = []
    for layer in dict.fromkeys(r.layer for r in runs):
        for beginning in BEGINNINGS:
            mine = [r for r in runs if r.layer == layer and r.beginning == beginning]
            linear, logarithmic = (
                np.median([_needed(r.best, cold[r.layer, r.seed], log) for r in mine]) for log in (False, True)
            )
            final = np.median([r.best[-1] / cold[r.layer, r.seed][-1] for r in mine])
            rows.append(
                {
                    "network": name,
                    "layer": layer,
                    "beginning": beginning,
                    "generations": f"{linear:g}",
                    "generations_of_logarithmic_gain": f"{logarithmic:g}",
                    "final_over_cold": f"{final:.6g}",
                    "transferred_over_cold_final": f"{np.median([r.seed_value / cold[r.layer, r.seed][-1] for r in mine]):.6g}",
                }
            )
    return rows


def _report(runs: dict[str, list[LayerRun]], optima: dict[str, float], arguments: argparse.Namespace) -> str:
    most = arguments.generations
    parts = [
        "# What warm start saves\n\n",
        f"`{' '.join(['python', 'benchmarks/study_warm_start.py', *_options()])}`: {arguments.searcher}, {most} generations of "
        f"{arguments.generation} mappings, {arguments.seeds} seeds, batch {arguments.batch}, objective {arguments.objective}, "
        "the accelerator of Mind Mappings (`study_problems.py`). Distinct layers, in order.\n\n",
        f"Generations to {SHARE:.1%} of the gain of the cold run of the same seed. *Of the gain* is measured in the objective, as the "
        "study does it; *of its logarithm* asks for more, because a cold first generation is often ten times worse than the "
        "last. Medians over seeds per layer; then median (quartiles) over layers. The saving is the geometric mean over layers "
        f"of cold over warm; a run that never got there counts {most + 1}. The first layer of a network has nothing to begin from and "
        "is left out. Part of a saving is that searches of earlier layers were spent on what a warm search inherits.\n\n",
    ]
    header = ("network", "beginning", "generations", "saving", "generations, of the logarithm", "saving", "layers that lose",
              "best over cold best")  # fmt: skip
    rows = []
    for name, found in runs.items():
        table = _rows(name, found)
        first = table[0]["layer"]
        cold = {r["layer"]: r for r in table if r["beginning"] == "cold"}
        for beginning in BEGINNINGS:
            mine = [r for r in table if r["beginning"] == beginning and r["layer"] != first]
            cells = []
            for column in ("generations", "generations_of_logarithmic_gain"):
                needed = [float(r[column]) for r in mine]
                before = [float(cold[r["layer"]][column]) for r in mine]
                saving = geometric_mean(b / n for b, n in zip(before, needed, strict=True))
                cells += [spread(needed, ".3g"), f"{saving:.2f}×"]
            column = "generations_of_logarithmic_gain"
            lose = sum(float(r[column]) > float(cold[r["layer"]][column]) for r in mine)
            final = spread((float(r["final_over_cold"]) for r in mine), ".4f")
            rows.append([name, beginning, *cells, f"{lose} of {len(mine)}", final])
    parts.append(markdown(header, rows))
    parts += ["\n## Transfer alone\n\n", _transfer_table(runs)]
    if optima:
        parts += ["\n## Gap to the proved optimum after the last generation\n\n", _gap_table(runs, optima)]
    return "".join(parts)


def _transfer_table(runs: dict[str, list[LayerRun]]) -> str:
    rows = []
    for name, found in runs.items():
        cold = {(r.layer, r.seed): r.best for r in found if r.beginning == "cold"}
        first = found[0].layer
        for beginning in BEGINNINGS[1:]:
            mine = [r for r in found if r.beginning == beginning and r.layer != first]
            fits = [r for r in mine if math.isfinite(r.seed_value)]
            ratio = [r.seed_value / cold[r.layer, r.seed][-1] for r in fits]
            start = [r.seed_value / cold[r.layer, r.seed][0] for r in fits]
            better = sum(s <= 1 for s in start) / len(mine)
            rows.append([name, beginning, f"{len(fits) / len(mine):.0%}", spread(ratio, ".3f"), f"{better:.0%}"])
    return (
        "The better of the two rescalings before any search: how often one fits, its value over the cold run's last "
        "(median, quartiles), and how often it is no worse than the whole first generation of the cold run.\n\n"
        + markdown(("network", "beginning", "fits", "over the cold last", "no worse than the cold first"), rows)
    )


def _gap_table(runs: dict[str, list[LayerRun]], optima: dict[str, float]) -> str:
    rows = []
    for name, found in runs.items():
        for beginning in BEGINNINGS:
            mine = [r for r in found if r.beginning == beginning and math.isfinite(optima[r.layer])]
            if mine:
                layers = len({r.layer for r in mine})
                rows.append(
                    [
                        name,
                        beginning,
                        f"{layers}",
                        spread((100 * (r.best[-1] / optima[r.layer] - 1) for r in mine), ".3g"),
                    ]
                )
    return "Percent; layers whose optimum is proved.\n\n" + markdown(("network", "beginning", "layers", "gap"), rows)  # fmt: skip


def _options() -> list[str]:
    words = sys.argv[1:]
    return [w for i, w in enumerate(words) if w != "--out" and (i == 0 or words[i - 1] != "--out")]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["resnet50", "vgg16", "mobilenet_v2"])
    parser.add_argument("--searcher", default="genetic")
    parser.add_argument("--generation", type=int, default=100, help="mappings per generation")
    parser.add_argument("--generations", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16, help="images")
    parser.add_argument("--layers", type=int, help="only so many of each network")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes side by side")
    parser.add_argument("--objective", default="edp")
    parser.add_argument(
        "--proof-seconds", type=float, default=0, help="for the exact mapper, per layer; 0 leaves the optimum out"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="five layers of each network, two seeds, in a minute")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.layers, arguments.seeds, arguments.generations = 5, 2, 20
    return arguments


if __name__ == "__main__":
    main()
