"""How the exact mapper's time and memory grow: ``python benchmarks/exact_scaling.py``.

Against storage levels, ranks, free keeps and problem size, each point in a process of its own with a limit. Where the limit stops
it, the row says what is proved: the bound and the gap.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from exact_problems import RESULTS, timed
from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
from fiberloom.errors import FiberloomError
from fiberloom.mapper.exact import find_optimum
from fiberloom.mapper.objective import parse_objective
from fiberloom.mapper.search import SearchProblem
from fiberloom.mapping.constraints import Constraints, LevelConstraints
from fiberloom.mapping.space import MapSpace
from fiberloom.model.lower import lower
from fiberloom.workload.einsum import Einsum
from study_problems import markdown, write_text

SHAPES = {
    3: ("Z[m,n] = A[m,k] * B[k,n]", "m n k"),
    4: ("Z[b,m,n] = A[b,m,k] * B[b,k,n]", "m n k b"),
    5: ("Z[b,h,m,n] = A[b,h,m,k] * B[b,h,k,n]", "m n k b h"),
    6: ("O[m,p,q] = I[c,p+r,q+s] * W[m,c,r,s]", "m c p q r s"),
    7: ("O[n,m,p,q] = I[n,c,p+r,q+s] * W[m,c,r,s]", "m c p q r s n"),
    8: ("O[n,g,m,p,q] = I[n,g,c,p+r,q+s] * W[g,m,c,r,s]", "m c p q r s n g"),
    9: ("O[g,m,p,q,o] = I[g,c,p+r,q+s,o+t] * W[g,m,c,r,s,t]", "m c p q r s g t o"),
}
"""Einsums by ranks (variables): matrix products with batches, convolutions with batch, groups, a third dimension."""

SIZES = {"m": 64, "n": 64, "k": 64, "c": 64, "p": 28, "q": 28, "o": 4, "r": 3, "s": 3, "t": 3, "b": 8, "h": 4, "g": 2}
AXES = ("levels", "ranks", "free keeps", "size")


def einsum(ranks: int, size: int = 0) -> Einsum:
    """A problem of `ranks` ranks; `size` replaces the bounds of a matrix product."""
    equation, names = SHAPES[ranks]
    variables = [v for v in names.split() if v in equation]
    sizes = {v: size or (4 if v == "n" and ranks > 5 else SIZES[v]) for v in variables}
    return Einsum.parse(equation, sizes, name=f"{ranks} ranks")


def design(workload: Einsum, levels: int) -> Architecture:
    """Main memory over `levels` − 1 buffers, each of 1/16 the size at about half the energy; 16 lanes below the outermost buffer."""
    keep = tuple(t.name for t in workload.tensors)
    chain = [
        StorageLevel(
            name="M", component=ComponentClass.DRAM, keep=keep, energy_pj={"read": 200, "write": 200}, area_um2=0
        )
    ]
    words, energy = 2**17, 8.0
    for i in range(1, levels):
        chain.append(
            StorageLevel(
                name=f"L{i}", depth=words, instances=1 if i == 1 else 16, keep=keep,
                energy_pj={"read": energy, "write": energy}, area_um2=0, shared_bandwidth=16.0,
            )
        )  # fmt: skip
        words, energy = max(16, words // 16), max(0.25, energy / 2)
    compute = Compute(name="MAC", instances=16 if levels > 1 else 1, energy_pj={"mac": 1.0}, area_um2=0)
    return Architecture(name=f"{levels} levels", levels=tuple(chain), compute=compute)


def freed(workload: Einsum, levels: int, bits: int) -> Constraints:
    """`bits` pairs of buffer and tensor whose keeping is searched, inner buffers first."""
    pairs = [(f"L{i}", t.name) for i in range(levels - 1, 0, -1) for t in workload.tensors][:bits]
    by_level: dict[str, tuple[str, ...]] = {}
    for level, tensor in pairs:
        by_level[level] = (*by_level.get(level, ()), tensor)
    return Constraints(levels={level: LevelConstraints(free=tensors) for level, tensors in by_level.items()})


def points(quick: bool) -> Iterable[tuple[str, dict[str, int]]]:
    """The axis and the settings of every row."""
    for levels in (2, 3) if quick else range(2, 7):
        yield "levels", {"ranks": 3, "levels": levels}
    for ranks in (3, 4) if quick else range(3, 10):
        yield "ranks", {"ranks": ranks, "levels": 3}
    for bits in (0, 3) if quick else range(10):
        yield "free keeps", {"ranks": 3, "levels": 4, "bits": bits}
    for size in (64, 256) if quick else (64, 256, 1024, 4096, 720, 5040):
        yield "size", {"ranks": 3, "levels": 4, "size": size}


def measure(settings: dict[str, int], limit: float, memory_mb: float) -> dict[str, Any]:
    """One point, in this process."""
    workload = einsum(settings["ranks"], settings.get("size", 0))
    architecture = design(workload, settings["levels"])
    limits = freed(workload, settings["levels"], settings.get("bits", 0))
    problem = lower(workload, architecture)
    space = MapSpace(workload, architecture, limits)
    target = SearchProblem(problem, space, "edp")
    target.prepare()
    _warm()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    try:
        found, cpu = timed(target, limit, memory_mb)
    except FiberloomError as error:
        return {"status": f"none: {error.problem}", "cpu": limit}
    return {
        "cpu": cpu,
        "status": found.certificate.status,
        "bound": found.certificate.lower_bound,
        "gap": found.certificate.gap,
        "labels": found.statistics["labels"],
        "mappings": found.statistics["mappings"],
        "points": math.log10(space.size()),
        "before_mb": before,
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _warm() -> None:
    """Load every kernel of the search on a problem of eight MACs."""
    tiny = Einsum.parse(SHAPES[3][0], {"m": 2, "n": 2, "k": 2})
    architecture = design(tiny, 2)
    find_optimum(lower(tiny, architecture), MapSpace(tiny, architecture), parse_objective("edp"))


def main() -> None:
    arguments = _arguments()
    if arguments.one:
        print(json.dumps(measure(json.loads(arguments.one), arguments.limit, arguments.memory)))
        return
    _warm()  # what is compiled here, the processes load
    options = " --quick" if arguments.quick else ""
    parts = [
        f"# Exact mapper: scaling\n\n`python benchmarks/exact_scaling.py{options}`: EDP, limits {arguments.limit:g} CPU s and "
        f"{arguments.memory:g} MB for labels, one process a row.\n"
    ]
    rows: dict[str, list[list[Any]]] = {axis: [] for axis in AXES}
    for axis, settings in points(arguments.quick):
        if arguments.axes and axis.split()[0] not in arguments.axes:
            continue
        found = _apart(settings, arguments)
        print(axis, settings, found, file=sys.stderr, flush=True)
        row = [settings["levels"], settings["ranks"], settings.get("bits", 0), settings.get("size", "")]
        rows[axis].append([*row, *_shown(found)])
    header = (
        "levels",
        "ranks",
        "free keeps",
        "size",
        "log₁₀ mappings",
        "CPU s",
        "labels",
        "evaluated",
        "peak MB",
        "certificate",
        "gap",
        "bound, pJ·cycles",
    )
    for axis, lines in rows.items():
        if lines:
            parts.append(f"\n## Against {axis}\n\n{markdown(header, lines)}")
    parts.append(NOTE)
    text = "".join(parts)
    write_text(arguments.out / "scaling.md", text)
    print(text)


NOTE = """
Peak memory is the process's (`ru_maxrss`), of which Python, NumPy and the compiled code take what the smallest rows show.
"""


def _apart(settings: dict[str, int], arguments: argparse.Namespace) -> dict[str, Any]:
    command = [
        sys.executable,
        __file__,
        "--one",
        json.dumps(settings),
        "--limit",
        str(arguments.limit),
        "--memory",
        str(arguments.memory),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=arguments.limit * 20 + 300, check=False)
    except subprocess.TimeoutExpired:
        return {"status": "killed: far beyond its limit"}
    if done.returncode:
        return {"status": f"failed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}"}
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def _shown(found: dict[str, Any]) -> list[str]:
    if "labels" not in found:
        return ["", f"{found.get('cpu', math.nan):.2f}", "", "", "", found["status"], "", ""]
    return [
        f"{found['points']:.1f}", f"{found['cpu']:.2f}", f"{found['labels']:,}", f"{found['mappings']:,}", f"{found['mb']:.0f}",
        found["status"], f"{found['gap']:.2%}", f"{found['bound']:.4g}",
    ]  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the first points of every axis")
    parser.add_argument("--axes", nargs="+", choices=("levels", "ranks", "free", "size"), metavar="AXIS")
    parser.add_argument("--limit", type=float, default=60.0, help="CPU seconds per search")
    parser.add_argument("--memory", type=float, default=1000.0, help="MB for labels")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
