"""Represented weights on dense and sparse tensor cores, one technology, mappings searched exactly.

``python benchmarks/representation_designs.py gemm`` costs a matrix product over weight and activation densities, ``networks`` the
layers of three networks, ``tasd`` networks of 95 % unstructured sparsity on TASD tensor cores. Tables are printed and written to
``benchmarks/results/representation/``.

Each design is given the sparsest pattern of its menu that keeps at least the workload's density of weights
(`fiberloom.codesign.layer.choice.sparsest_pattern`). Activations are unstructured at the workload's density; S2TA rounds them up to
blocks of 8.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fiberloom.codesign import LayerCost, Task, evaluate_all
from fiberloom.codesign.layer.choice import sparsest_pattern
from fiberloom.codesign.network_cost import NetworkCost, Search
from fiberloom.codesign.networks import evaluate_networks

RESULTS = Path(__file__).parent / "results" / "representation"
BASELINE = "dense-tensor-core-45nm"
DESIGNS = (BASELINE, "stc", "dstc", "s2ta-45nm", "highlight")
SHORT = {BASELINE: "TC", "stc": "STC", "dstc": "DSTC", "s2ta-45nm": "S2TA", "highlight": "HighLight"}
WEIGHTS = (1.0, 0.75, 0.5, 0.375, 0.25)
ACTIVATIONS = (1.0, 0.75, 0.5, 0.25)
NETWORKS = {"resnet50": 0.5, "deit_s": 1.0, "bert_base": 1.0}
"""Density of activations: half for ReLU, dense for GELU."""


def gemm(arguments: argparse.Namespace) -> str:
    """Matrix product 1024³ on five designs over 5 × 4 densities."""
    side = arguments.side
    cases = [(d, w, a) for w in WEIGHTS for a in ACTIVATIONS for d in DESIGNS]
    tasks = [
        Task((side, side, side), d, sparsest_pattern(d, w), a, name=f"weights {w:g}, activations {a:g}")
        for d, w, a in cases
    ]
    if arguments.recorded:
        figures = json.loads((arguments.out / "designs_gemm.json").read_text(encoding="utf-8"))
    else:
        figures = {_key(*case): _figures(cost) for case, cost in zip(cases, _evaluated(tasks, arguments), strict=True)}
    text = _gemm_text(side, figures)
    _write(arguments, "gemm", text, figures)
    return text


def _gemm_text(side: int, figures: dict[str, Any]) -> str:
    def gain(design: str, w: float, a: float, on_chip: bool = False) -> float:
        base, ours = figures[_key(BASELINE, w, a)], figures[_key(design, w, a)]
        return _edp(base, on_chip) / _edp(ours, on_chip)

    every = [(w, a) for w in WEIGHTS for a in ACTIVATIONS]
    published = [(w, a) for w, a in every if w in (1.0, 0.5, 0.25)]
    rows = []
    for w, a in every:
        found = [(figures[_key(d, w, a)], gain(d, w, a)) for d in DESIGNS]
        rows.append([f"{w:g}", f"{a:g}", *(_entry(c["cycles"], c["energy_pj"], times) for c, times in found)])
    for name, points, on_chip in (
        ("geomean", every, False),
        ("geomean, weights 1, .5, .25", published, False),
        ("the same without DRAM energy", published, True),
    ):
        rows.append([name, "", *(f"{_geomean([gain(d, *p, on_chip) for p in points]):.2f}" for d in DESIGNS)])
    rows.append(["most", "", *(f"{max(gain(d, *p) for p in every):.2f}" for d in DESIGNS)])
    proved = sum(c["certificate"]["status"] == "optimal" for c in figures.values())
    text = f"# Matrix product {side}³\n\nEntries: cycles / µJ / EDP of TC over the design's. "
    text += f"{proved} of {len(figures)} mappings are proved optimal; the others have bounds.\n\n"
    return text + _table(["weights", "activations", *(SHORT[d] for d in DESIGNS)], rows) + "\n"


def _key(design: str, weights: float, activations: float) -> str:
    return f"{SHORT[design]} {weights:g} {activations:g}"


def _edp(figures: dict[str, Any], on_chip: bool) -> float:
    energy = figures["energy_pj"] - (figures["energy_by_component_pj"]["DRAM"] if on_chip else 0.0)
    return float(figures["cycles"] * energy)


def _entry(cycles: float, energy_pj: float, ratio: float) -> str:
    return f"{cycles:,.0f} / {energy_pj / 1e6:,.0f} / {ratio:.2f}"


def networks(arguments: argparse.Namespace) -> str:
    """The layers of whole networks on five designs at several densities of weights."""
    rows, found = [], {}
    ratios: dict[str, list[float]] = {d: [] for d in DESIGNS}
    for name, activations in NETWORKS.items():
        if arguments.only and name not in arguments.only:
            continue
        for density in arguments.densities:
            patterns = {d: sparsest_pattern(d, density) for d in DESIGNS}
            costs = evaluate_networks(
                name,
                DESIGNS,
                patterns,
                activations,
                search=_search(arguments),
                progress=_say,
            )
            base = costs[BASELINE].edp_j_s
            row = [name, f"{density:g}", f"{activations:g}"]
            for d in DESIGNS:
                cost = costs[d]
                ratios[d].append(base / cost.edp_j_s)
                proved = cost.certificates
                row.append(_entry(cost.cycles, cost.energy_pj, base / cost.edp_j_s))
                found[f"{SHORT[d]} {name} {density:g}"] = {
                    **_sums(cost), **proved, "left_out": dict(cost.left_out)
                }  # fmt: skip
            rows.append(row)
            print(_table(["network", "weights", "activations", *(SHORT[d] for d in DESIGNS)], [row]), flush=True)
    rows.append(["geomean", "", "", *(f"{_geomean(ratios[d]):.2f}" for d in DESIGNS)])
    text = (
        "# Networks\n\nAll products, those of attention dense. Entries: cycles / µJ / EDP of TC over the design's.\n\n"
    )
    text += _table(["network", "weights", "activations", *(SHORT[d] for d in DESIGNS)], rows) + "\n"
    _write(arguments, "networks", text, found)
    return text


SERIES = {
    "ttc-vegeta-m8": ("1:8", "2:8", "2:8+1:8", "4:8"),
    "ttc-stc-m8": ("4:8",),
    "ttc-vegeta-m4": ("1:4", "2:4"),
    "ttc-stc-m4": ("2:4",),
}
"""Series for weights of 5 % density. Share of non-zeros that each drops on magnitude-pruned Gaussian tensors of that sparsity:
1:8 16 %, 2:8 1.6 %, 2:8+1:8 0.1 %, 4:8 none, 1:4 7 %, 2:4 0.2 %."""


def tasd(arguments: argparse.Namespace) -> str:
    """ResNet-50 and BERT of 95 % unstructured sparsity: TASD tensor cores against dense and dual-side sparse ones."""
    rows, found = [], {}
    for name in ("resnet50", "bert_base"):
        if arguments.only and name not in arguments.only:
            continue
        activations = NETWORKS[name]
        options = [
            (BASELINE, "dense"),
            ("dstc", "unstructured(0.05)"),
            *((d, s) for d, every in SERIES.items() for s in every),
        ]
        edp: dict[tuple[str, str], float] = {}
        for design, series in options:
            cost = evaluate_networks(
                name, [design], {design: series}, activations, search=_search(arguments), progress=_say
            )[design]
            edp[design, series] = cost.edp_j_s
            against = [edp.get(option) for option in options[:2]]
            gain = [_saved(cost.edp_j_s, other) for other in against]
            rows.append(
                [name, SHORT.get(design, design), series, f"{cost.cycles:,.0f}", f"{cost.energy_pj / 1e6:,.0f}", *gain]
            )
            found[f"{name} {design} {series}"] = {**_sums(cost), **cost.certificates}
            print(rows[-1], flush=True)
    text = "# TASD on 95 % unstructured sparsity\n\nEDP saved against TC and DSTC; nothing is said about quality.\n\n"
    text += _table(["network", "design", "weights as", "cycles", "µJ", "EDP saved, TC", "EDP saved, DSTC"], rows) + "\n"
    _write(arguments, "tasd", text, found)
    return text


def _saved(edp: float, other: float | None) -> str:
    return "–" if other is None or other == edp else f"{1 - edp / other:+.0%}"


def _sums(cost: NetworkCost) -> dict[str, float]:
    return {"cycles": cost.cycles, "energy_pj": cost.energy_pj, "edp_j_s": cost.edp_j_s}


def _figures(cost: LayerCost) -> dict[str, object]:
    kept = (
        "weights",
        "runs_as",
        "cycles",
        "energy_pj",
        "edp_j_s",
        "area_um2",
        "throughput",
        "bits_per_weight",
        "bottleneck",
        "certificate",
    )
    whole = cost.to_dict()
    return {key: whole[key] for key in (*kept, "energy_by_component_pj")}


def _evaluated(tasks: Sequence[Task], arguments: argparse.Namespace) -> list[LayerCost]:
    return evaluate_all(
        tasks, seconds=arguments.seconds, cache=arguments.cache or True, workers=arguments.workers, progress=_say
    )


def _search(arguments: argparse.Namespace) -> Search:
    return Search(seconds=arguments.seconds, cache=arguments.cache or True, workers=arguments.workers)


def _say(done: int, searches: int) -> None:
    if done == searches or done % 10 == 0:
        print(f"{time.strftime('%H:%M:%S')} {done} of {searches} searched", file=sys.stderr, flush=True)


def _geomean(values: Sequence[float]) -> float:
    return math.exp(math.fsum(map(math.log, values)) / len(values)) if values else math.nan


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _write(arguments: argparse.Namespace, name: str, text: str, figures: dict[str, object]) -> None:
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"designs_{name}.md").write_text(text, encoding="utf-8")
    (arguments.out / f"designs_{name}.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("part", choices=("gemm", "networks", "tasd"))
    parser.add_argument(
        "--recorded", action="store_true", help="gemm: the table from recorded figures, without evaluating"
    )
    parser.add_argument("--side", type=int, default=1024, help="of the matrix product")
    parser.add_argument("--densities", type=float, nargs="+", default=[1.0, 0.5, 0.25], help="of the networks' weights")
    parser.add_argument("--only", nargs="+", help="networks to take")
    parser.add_argument("--seconds", type=float, default=20.0, help="most time of a mapping's search")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--cache", help="folder of known mappings")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    print({"gemm": gemm, "networks": networks, "tasd": tasd}[arguments.part](arguments))


if __name__ == "__main__":
    main()
