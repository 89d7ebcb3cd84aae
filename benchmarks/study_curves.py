"""Every mapper on the eight problems of Mind Mappings, as gaps to the proved optimum: ``python benchmarks/study_curves.py``.

Same space, model and budget in evaluations (valid or not) for all, several seeds. Writes a picture per problem, the quartiles of
the curves as CSV, and a Markdown table beside what the paper publishes for its own model and accelerator template.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from fiberloom.errors import FiberloomError
from fiberloom.mapper.comparison import Contestant, MapperComparison, compare
from fiberloom.mapper.driver import run
from fiberloom.mapper.search import SearchProblem, make, searchers
from fiberloom.mapper.searchers.mind_mappings import MindMappings
from fiberloom.report.search_curves import curves_svg
from fiberloom.workload.layers import Layer, mind_mappings
from study_problems import (
    RESULTS,
    algorithmic_minimum,
    dense_target,
    geometric_mean,
    markdown,
    proof,
    write_csv,
    write_text,
)

# source: Mind Mappings, ASPLOS'21, abstract: EDP of the other mapper over Mind Mappings' at equal steps.
PUBLISHED = {
    "annealing": ("simulated annealing", 1.40),
    "genetic": ("genetic algorithm", 1.76),
    "": ("reinforcement learning", 1.29),
}
# source: same; mean EDP of Mind Mappings over the algorithmic minimum.
PUBLISHED_OVER_MINIMUM = 5.32
LEARNED = "mind-mappings"
"""Its surrogate is trained once per problem, and shared by all seeds."""
NOT_COMPARED = ("exhaustive",)
"""An enumeration from number 0 says nothing within any budget of such a space."""


def main() -> None:
    arguments = _arguments()
    wanted = [p for p in mind_mappings() if not arguments.problems or p.name in arguments.problems]
    names = arguments.mappers or [n for n in searchers() if n not in NOT_COMPARED]
    found: dict[str, MapperComparison] = {}
    notes: dict[str, str] = {}
    minima = {p.name: algorithmic_minimum(p.einsum) for p in wanted}
    with ProcessPoolExecutor(arguments.jobs) as processes:
        answers = processes.map(_compared, wanted, repeat(names), repeat(arguments))
        for layer, (comparison, note) in zip(wanted, answers, strict=True):
            found[layer.name], notes[layer.name] = comparison, note
    folder: Path = arguments.out
    for name, comparison in found.items():
        write_text(folder / f"curves_{name.lower()}.svg", curves_svg(comparison, f"{name}, {arguments.objective}"))
    write_csv(folder / "curves.csv", list(_curve_rows(found)))
    text = _report(found, minima, notes, arguments)
    write_text(folder / "curves.md", text)
    print(text)


def _compared(layer: Layer, names: Sequence[str], arguments: argparse.Namespace) -> tuple[MapperComparison, str]:
    """All mappers on one problem, and what the proof of its optimum says."""
    started = time.perf_counter()
    target = dense_target(layer.einsum, arguments.objective)
    optimum = proof(target, arguments.proof_seconds)
    usable = [n for n in names if _runs(n, target)]
    comparison = compare(
        target, [n for n in usable if n != LEARNED], evaluations=arguments.evaluations, seconds=None, seeds=arguments.seeds,
        optimum=optimum if math.isfinite(optimum.value) else None,
    )  # fmt: skip
    if LEARNED in usable:
        comparison = _with_learned(comparison, target, arguments.samples)
    print(f"{layer.name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return comparison, optimum.note


def _runs(name: str, target: SearchProblem) -> bool:
    """Whether a mapper can run here; says why not."""
    try:
        searchers()[name](target, np.random.default_rng(0))
    except FiberloomError as error:
        print(f"{name} is left out: {error.problem}", file=sys.stderr)
        return False
    return True


def _with_learned(comparison: MapperComparison, target: SearchProblem, samples: int) -> MapperComparison:
    """The comparison with Mind Mappings; if it has found a better mapping than any, that is the yardstick."""
    first = make(LEARNED, target, 0, samples=samples)
    started = time.perf_counter()
    first.prepare()
    print(f"surrogate of {target.problem.workload.name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    assert isinstance(first, MindMappings)
    surrogate = first.trained
    runs = tuple(
        run(make(LEARNED, target, seed, surrogate=surrogate), target, evaluations=comparison.evaluations, seed=seed)
        for seed in range(comparison.seeds)
    )
    contestants = (*comparison.contestants, Contestant(LEARNED, runs))
    least = min(r.value for r in runs)
    yard = comparison.yardstick
    if not yard.proved and least < yard.value:
        yard = replace(yard, value=least)
    return replace(comparison, contestants=contestants, yardstick=yard)


def _curve_rows(found: dict[str, MapperComparison]) -> list[dict[str, Any]]:
    rows = []
    for problem, comparison in found.items():
        budget = int(comparison.budget("evaluations"))
        points = np.unique(np.geomspace(10, budget, 16).astype(int))
        for contestant in comparison.contestants:
            quartiles = comparison.quartiles(contestant, "evaluations", list(points))
            for point, (low, middle, high) in zip(points, quartiles.T, strict=True):
                values = (f"{v:.6g}" for v in (low, middle, high))
                columns = ("first_quartile", "median", "third_quartile")
                rows.append(
                    {"problem": problem, "mapper": contestant.name, "evaluations": int(point)}
                    | dict(zip(columns, values, strict=True))
                )
    return rows  # fmt: skip


def _final(comparison: MapperComparison, name: str) -> Sequence[float]:
    """Best / yardstick of every seed at the end of the budget."""
    contestant = next(c for c in comparison.contestants if c.name == name)
    return [r.value / comparison.yardstick.value for r in contestant.by_evaluations]


def _report(
    found: dict[str, MapperComparison], minima: dict[str, float], notes: dict[str, str], arguments: argparse.Namespace
) -> str:
    mappers = [c.name for c in next(iter(found.values())).contestants]
    proved = [p for p, c in found.items() if c.yardstick.proved]
    part = [
        "# Best-so-far against the proved optimum\n\n",
        f"`{_command(arguments)}`: {arguments.evaluations:,} evaluations (invalid mappings count), {arguments.seeds} seeds, objective "
        f"{arguments.objective}, the accelerator of Mind Mappings (`study_problems.py`).\n\n",
        "## What the exact mapper says\n\n",
        markdown(
            ("problem", "best known", "of the algorithmic minimum", "proved", "lower bound", "seconds"),
            [_yardstick_row(name, c, minima[name], notes[name]) for name, c in found.items()],
        ),
        "\n`best known` in pJ·cycles (energies relative to a MAC). The algorithmic minimum is the paper's unit, which may be out of "
        "reach.\n",
        "\n## Gap to the optimum at the end of the budget\n\n",
        "Value over the optimum less one, in percent: median (quartiles) over seeds."
        + ("" if len(proved) == len(found) else " Where nothing is proved, over the best known.")
        + "\n\n",
        markdown(("problem", *mappers), [_gap_row(name, c, mappers) for name, c in found.items()]),
        "\n## How soon\n\nMedian gap in percent, as the median over problems, after that many evaluations.\n\n",
        _progress_table(found, mappers),
    ]
    if LEARNED in mappers and arguments.objective == "edp":
        part += ["\n## Beside the published ratios\n\n", _published(found, mappers, minima)]
    return "".join(part)


def _command(arguments: argparse.Namespace) -> str:
    given = " ".join(sys.argv[1:])
    given = re.sub(r"--out \S+ ?", "", given).strip()
    return f"python benchmarks/study_curves.py {given}".strip()


def _yardstick_row(name: str, comparison: MapperComparison, minimum: float, note: str) -> list[str]:
    yard = comparison.yardstick
    gap = 1 - yard.lower_bound / yard.value
    said = "yes" if yard.proved else f"gap at most {gap:.1%}" if yard.lower_bound > 0 else f"no: {note}"
    seconds = f"{yard.seconds:.1f}" if yard.seconds is not None else "–"
    return [name, f"{yard.value:.6g}", f"{yard.value / minimum:.3f}", said, f"{yard.lower_bound:.6g}", seconds]


def _gap_row(name: str, comparison: MapperComparison, mappers: Sequence[str]) -> list[str]:
    cells = []
    for mapper in mappers:
        low, middle, high = (100 * (v - 1) for v in comparison.quartiles(
            next(c for c in comparison.contestants if c.name == mapper), "evaluations", [comparison.budget("evaluations")]
        )[:, 0])  # fmt: skip
        cells.append(f"{middle:.2f} ({low:.2f}–{high:.2f})")
    return [name, *cells]


def _progress_table(found: dict[str, MapperComparison], mappers: Sequence[str]) -> str:
    budget = int(next(iter(found.values())).budget("evaluations"))
    points = [p for p in (100, 300, 1000, 3000, 10000, 30000, 100000) if p < budget] + [budget]
    rows = []
    for mapper in mappers:
        medians = [
            c.quartiles(next(x for x in c.contestants if x.name == mapper), "evaluations", points)[1]
            for c in found.values()
        ]
        rows.append([mapper, *(f"{100 * (v - 1):.2f}" for v in np.median(medians, axis=0))])
    return markdown(("mapper", *(f"{p:,}" for p in points)), rows)


def _published(found: dict[str, MapperComparison], mappers: Sequence[str], minima: dict[str, float]) -> str:
    ours = {
        m: geometric_mean(np.mean(_final(c, m)) / np.mean(_final(c, LEARNED)) for c in found.values()) for m in mappers
    }
    rows = [
        [title, f"{ratio:.2f}", f"{ours[name]:.2f}" if name in ours else "not built"]
        for name, (title, ratio) in PUBLISHED.items()
    ]
    rows += [[m, "–", f"{ratio:.2f}"] for m, ratio in ours.items() if m not in PUBLISHED and m != LEARNED]
    over = geometric_mean(np.mean(_final(c, LEARNED)) * c.yardstick.value / minima[name] for name, c in found.items())
    best = geometric_mean(c.yardstick.value / minima[name] for name, c in found.items())
    return (
        "EDP of each mapper over Mind Mappings' at the end of the budget, geometric mean over problems of means over seeds. "
        "Published at 5,000 steps, with the paper's cost model, trained on 10 million samples.\n\n"
        + markdown(("mapper / Mind Mappings", "published", "ours"), rows)
        + f"\nMind Mappings over the algorithmic minimum: published {PUBLISHED_OVER_MINIMUM}, ours {over:.2f}; the best known "
        f"mappings are at {best:.2f}, so no mapper could be further ahead than that on this model.\n"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=5000, help="per run; the paper's number of steps by default")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--objective", default="edp")
    parser.add_argument("--mappers", nargs="+", help="all that can run, by default")
    parser.add_argument("--problems", nargs="+", help="names as in Mind Mappings; all by default")
    parser.add_argument("--proof-seconds", type=float, default=20, help="for the exact mapper, per problem")
    parser.add_argument(
        "--samples", type=int, default=20_000, help="mappings that Mind Mappings' surrogate is trained on"
    )
    parser.add_argument("--jobs", type=int, default=1, help="problems side by side")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="three problems, two seeds, 1000 evaluations, in a minute")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.evaluations, arguments.seeds, arguments.proof_seconds = 1000, 2, 5
        arguments.problems = arguments.problems or ["ResNet_4", "AlexNet_4", "MTTKRP_1"]
        arguments.mappers = arguments.mappers or ["random", "random-pruned", "annealing", "genetic", "cma-es"]
    return arguments


if __name__ == "__main__":
    main()
