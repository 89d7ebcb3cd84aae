"""A network on several designs, with several weights: ``python benchmarks/network_designs.py``.

Every layer is mapped by the exact mapper, first with an empty cache, then from the cache, each by the command line in a process of its
own, as users run it. The table says how many mappings are proved, and what sparse tensor cores make of 2:4 weights, layer by layer.
Seconds are wall clock, so only their ratio to the machine at hand says anything.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from study_problems import markdown, write_text

RESULTS = Path(__file__).parent / "results" / "network"
DESIGNS = ("dense-tensor-core", "stc", "highlight", "s2ta-45nm", "gamma-like")
WEIGHTS = ("dense", "2:4", "0.3", "0.2", "0.1")
STEP = 0.02
"""Speed-ups that differ by less are one row of the table."""


def main() -> None:
    arguments = _arguments()
    designs = [text for name in arguments.designs for text in ("--arch", name)]
    command = [
        sys.executable,
        "-m",
        "fiberloom",
        "network",
        arguments.network,
        *designs,
        "--weights",
        ",".join(arguments.weights),
    ]
    if arguments.time:
        command += ["--time", f"{arguments.time:g}"]
    with tempfile.TemporaryDirectory() as folder:
        command += ["--cache", folder, "--json"]
        cold, found = _timed(command)
        cached, _ = _timed(command)
    text = [
        f"# {arguments.network} on {len(arguments.designs)} designs, weights {', '.join(arguments.weights)}\n\n",
        f"`{' '.join(['fiberloom', *command[3:-3]])}`, {os.cpu_count()} cores: ",
        f"{cold:.1f} s with an empty cache, {cached:.1f} s from it.\n\n",
        _proved(found, arguments.designs),
    ]
    if {"stc", "dense-tensor-core"} <= set(arguments.designs) and {"dense", "2:4"} <= set(arguments.weights):
        text.append("\n## A sparse tensor core with 2:4 weights over one without zeros skipped\n\n" + _speed_ups(found))
    write_text(arguments.out / f"{arguments.network}.md", "".join(text))
    print("".join(text))


def _timed(command: Sequence[str]) -> tuple[float, dict[str, Any]]:
    begun = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return time.perf_counter() - begun, json.loads(done.stdout)


def _proved(found: dict[str, Any], designs: Sequence[str]) -> str:
    """Layers by design, how many of their mappings are proved, the largest gap, and energy-delay products by weights."""
    rows = []
    cases = [case["name"] for case in found["cases"]]
    for design in designs:
        layers = [x for x in found["layers"] if x["design"] == design]
        proved = sum((x["certificate"] or {}).get("status") == "optimal" for x in layers)
        gap = max(((x["certificate"] or {}).get("gap", 1.0) for x in layers), default=1.0)
        searched = sum({(x["edp_j_s"], x["search_seconds"]): x["search_seconds"] for x in layers}.values())
        products = [
            next(t["edp_j_s"] for t in found["totals"] if t["design"] == design and t["case"] == case) for case in cases
        ]
        rows.append([design, len(layers), proved, f"{gap:.1%}", f"{searched:.1f}", *(f"{edp:.3g}" for edp in products)])
    return markdown(
        ("design", "layers", "proved", "largest gap", "searches, s", *(f"EDP, J·s: {case}" for case in cases)), rows
    )


def _speed_ups(found: dict[str, Any]) -> str:
    """Cycles of the dense core over those of the sparse one, and what bounds the sparse one."""
    dense = {
        x["layer"]: x for x in found["layers"] if x["design"] == "dense-tensor-core" and x["case"].endswith("dense")
    }
    rows: list[list[object]] = []
    for x in found["layers"]:
        if x["design"] == "stc" and x["case"].endswith("2:4"):
            ratio = dense[x["layer"]]["cycles"] / x["cycles"]
            same = next(
                (row for row in rows if row[0] == x["bottleneck"] and abs(float(str(row[1])) - ratio) < STEP), None
            )
            if same is None:
                rows.append([x["bottleneck"], f"{ratio:.2f}", 1, x["layer"]])
            else:
                same[2] = int(str(same[2])) + 1
    rows.sort(key=lambda row: (str(row[0]) != "MAC", -float(str(row[1]))))
    return markdown(("bound by", "speed-up", "layers", "such as"), rows)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--network", default="resnet50")
    parser.add_argument(
        "--designs", nargs="+", default=list(DESIGNS), metavar="NAME", help="of the library, or YAML files"
    )
    parser.add_argument("--weights", nargs="+", default=list(WEIGHTS), metavar="D")
    parser.add_argument("--time", type=float, help="most seconds per layer")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
