"""One mapping for a range of densities, judged at densities that it was not made for: ``python benchmarks/study_densities.py``.

Activations of convolutions become sparser and denser; weights stay at one density. Compared are mappings made for a range of densities
at once, for dense activations alone, and for the middle of the range alone, each over the best mapping known for the
density that it is judged at.
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

from fiberloom.mapper.driver import run
from fiberloom.mapper.multi_density import TRAINED, at_densities, multi_density
from fiberloom.mapper.search import SearchProblem, make
from fiberloom.mapping.packed import PackedMappings
from fiberloom.mapping.space import MapSpace
from fiberloom.model.lower import lower
from fiberloom.workload.layers import Layer, convolution, mind_mappings
from study_problems import RESULTS, geometric_mean, markdown, proof, sparse_accelerator, write_csv, write_text

TESTED = (0.9, 0.7, 0.6, 0.35, 0.3, 0.15, 0.05)
"""None of them in `TRAINED`; the last lies outside its range."""
WEIGHTS = 0.5
"""Density of the weights: half are pruned (own choice)."""
MIDDLE = 0.5
BATCH = 64
"""Mappings evaluated at a time; so few are not worth threads. It changes no trial."""


@dataclass(frozen=True)
class LayerStudy:
    """One layer with one seed.

    Attributes:
        values: ``(tested,)`` objective at `TESTED`, by how the mapping was found; ``own`` is made for the very density.
        optimum: ``(tested,)``, NaN where not proved.
    """

    layer: str
    seed: int
    values: dict[str, np.ndarray]
    optimum: np.ndarray


def layers(count: int | None) -> list[Layer]:
    """Convolutions of Mind Mappings with a batch of one, and two 1×1 layers of ResNet-50."""
    chosen = [layer.einsum for layer in mind_mappings() if "c" in layer.einsum.shape]
    made = [e.model_copy(update={"shape": {**e.shape, "n": 1}}) for e in chosen]
    made.append(convolution("ResNet_1x1_reduce", outputs=64, inputs=256, rows=56))
    made.append(convolution("ResNet_1x1_expand", outputs=1024, inputs=256, rows=14))
    return [Layer(e) for e in made][:count]


def main() -> None:
    arguments = _arguments()
    started = time.perf_counter()
    chosen = layers(arguments.layers)
    _at(chosen[0], 1.0, arguments)[0].prepare()
    tasks = list(itertools.product(chosen, range(arguments.seeds), [arguments]))
    found: list[LayerStudy] = []
    with ProcessPoolExecutor(arguments.jobs) as processes:
        for study in processes.map(_study, *zip(*tasks, strict=True)):
            found.append(study)
            print(f"{study.layer}, seed {study.seed}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    write_csv(arguments.out / "densities.csv", list(_rows(found)))
    text = _report(found, arguments)
    write_text(arguments.out / "densities.md", text)
    print(text)


def _at(layer: Layer, density: float, arguments: argparse.Namespace) -> tuple[SearchProblem, MapSpace]:
    einsum = at_densities(at_densities(layer.einsum, "W", [WEIGHTS])[0], "I", [density])[0]
    architecture = sparse_accelerator(einsum)
    space = MapSpace(einsum, architecture)
    return SearchProblem(lower(einsum, architecture), space, arguments.objective), space


def _study(layer: Layer, seed: int, arguments: argparse.Namespace) -> LayerStudy:
    tested = [_at(layer, d, arguments)[0] for d in TESTED]
    dense, space = _at(layer, 1.0, arguments)
    middle, _ = _at(layer, MIDDLE, arguments)
    together = {
        combine: multi_density(
            dense.problem.workload,
            dense.problem.architecture,
            space,
            "I",
            objective=arguments.objective,
            combine=combine,
        )
        for combine in ("sum", "geomean")
    }
    budget = arguments.evaluations
    # A mapping scored at five densities asks the model five times.
    per_mapping = len(TRAINED)
    searched: dict[str, tuple[SearchProblem, int]] = {
        "range, sum": (together["sum"], budget),
        "range, geomean": (together["geomean"], budget),
        "range, sum, a fifth of the mappings": (together["sum"], budget // per_mapping),
        "dense": (dense, budget),
        f"density {MIDDLE:g}": (middle, budget),
    }
    values = {}
    for name, (target, evaluations) in searched.items():
        best = _best(arguments.searcher, target, evaluations, seed)
        values[name] = np.array([_value(t, best) for t in tested])
    own = [_best(arguments.searcher, t, budget, seed) for t in tested]
    values["own"] = np.array([_value(t, b) for t, b in zip(tested, own, strict=True)])
    optimum = np.full(len(TESTED), math.nan)
    if arguments.proof_seconds and seed == 0:
        proofs = [proof(t, arguments.proof_seconds) for t in tested]
        optimum = np.array([p.value if p.proved else math.nan for p in proofs])
    return LayerStudy(layer.name, seed, values, optimum)


def _best(searcher: str, target: SearchProblem, evaluations: int, seed: int) -> PackedMappings | None:
    return run(make(searcher, target, seed), target, evaluations=evaluations, seed=seed, batch=BATCH).best_packed


def _value(target: SearchProblem, mapping: PackedMappings | None) -> float:
    return float(target.evaluate(mapping).objective[0]) if mapping is not None else math.inf


def _references(found: Sequence[LayerStudy]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Per layer: the least value known at every tested density, and whether it is proved."""
    references = {}
    for layer in dict.fromkeys(s.layer for s in found):
        mine = [s for s in found if s.layer == layer]
        least = np.min([v for s in mine for v in s.values.values()], axis=0)
        optimum = mine[0].optimum
        proved = np.isfinite(optimum)
        references[layer] = np.where(proved, optimum, least), proved
    return references


def _rows(found: Sequence[LayerStudy]) -> list[dict[str, Any]]:
    rows = []
    references = _references(found)
    for layer, (reference, proved) in references.items():
        mine = [s for s in found if s.layer == layer]
        for name in mine[0].values:
            for i, density in enumerate(TESTED):
                ratio = np.median([s.values[name][i] for s in mine]) / reference[i]
                known = "optimum" if proved[i] else "best known"
                rows.append(
                    {"layer": layer, "mapping": name, "density": density, "ratio": f"{ratio:.5g}", "over": known}
                )
    return rows  # fmt: skip


def _report(found: Sequence[LayerStudy], arguments: argparse.Namespace) -> str:
    references = _references(found)
    names = list(found[0].values)
    proved = sum(int(p.sum()) for _, p in references.values())
    cases = len(references) * len(TESTED)

    def ratios(name: str, density: int | None = None, layer: str | None = None) -> list[float]:
        return [
            s.values[name][i] / references[s.layer][0][i]
            for s in found
            for i in range(len(TESTED))
            if density in (None, i) and layer in (None, s.layer)
        ]

    def cell(values: Sequence[float]) -> str:
        fitting = [v for v in values if math.isfinite(v)]
        text = f"{geometric_mean(fitting):.3f}" if fitting else "–"
        return text if len(fitting) == len(values) else f"{text} ({1 - len(fitting) / len(values):.0%} do not fit)"

    by_density = [
        [n, *(cell(ratios(n, i)) for i in range(len(TESTED))), cell(ratios(n)), _worst(ratios(n))] for n in names
    ]
    by_layer = [[n, *(cell(ratios(n, None, layer)) for layer in references)] for n in names]
    return "".join(
        [
            "# One mapping for a range of densities\n\n",
            f"`{' '.join(['python', 'benchmarks/study_densities.py', *_options()])}`: {arguments.searcher}, "
            f"{arguments.evaluations:,} mappings per search, {arguments.seeds} seeds, objective {arguments.objective}; weights "
            f"{WEIGHTS:.0%} dense, the sparse accelerator of `study_problems.py`. Ranges are made from the densities {_list(TRAINED)} "
            f"of the activations and judged at {_list(TESTED)}.\n\n",
            "Values over the reference at the same density, geometric means over layers and seeds. The reference is the proved "
            f"optimum in {proved} of {cases} cases, in the others the best mapping that any search of the study found. *own* is a "
            "search at the very density with the same number of mappings: what it lacks to 1 is the searcher's failing, not the "
            "technique's. A mapping of a range asks the model five times; the row of a fifth of the mappings has spent as much as "
            "the others.\n\n",
            markdown(("made for", *(f"{d:g}" for d in TESTED), "all", "worst"), by_density),
            "\nBy layer:\n\n",
            markdown(("made for", *references), by_layer),
        ]
    )  # fmt: skip


def _worst(ratios: Sequence[float]) -> str:
    return f"{max(ratios):.3f}" if math.isfinite(max(ratios)) else "does not fit"


def _list(densities: Sequence[float]) -> str:
    return ", ".join(f"{d:g}" for d in densities)


def _options() -> list[str]:
    words = sys.argv[1:]
    return [w for i, w in enumerate(words) if w != "--out" and (i == 0 or words[i - 1] != "--out")]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searcher", default="genetic")
    parser.add_argument("--evaluations", type=int, default=5000, help="mappings per search")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--layers", type=int, help="only the first so many")
    parser.add_argument("--objective", default="edp")
    parser.add_argument(
        "--proof-seconds", type=float, default=0, help="for the exact mapper, per layer and density; 0 does without"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes side by side")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="two layers, one seed, 1500 mappings, in a minute")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.layers, arguments.seeds, arguments.evaluations = 2, 1, 1500
    return arguments


if __name__ == "__main__":
    main()
