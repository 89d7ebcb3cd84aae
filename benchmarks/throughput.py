"""Mappings evaluated per second on a ResNet-50 3×3 layer, dense and sparse: ``python benchmarks/throughput.py``.

Four storage levels (DRAM, global buffer, a 14×12 array of local buffers, registers), legal random mappings: random ordered
factorisations of every variable over the temporal loops and the fan-out, random loop orders, random X/Y splits. Prints the
rate over mappings as drawn (those that do not fit the buffers stop early) and over mappings that all fit.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np

from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
from fiberloom.architecture.sparse import ActionOptimization, Format, LeaderFollower, RankFormat, SafKind, TensorFormat
from fiberloom.mapping.packed import PackedMappings
from fiberloom.model.evaluate import BatchEvaluator
from fiberloom.model.lower import Problem, lower
from fiberloom.workload.einsum import Einsum

# ResNet-50, stage 4: 256 → 256 channels, 14×14 outputs, 3×3 (He et al., CVPR 2016, table 1)
SHAPE = {"n": 1, "m": 256, "c": 256, "p": 14, "q": 14, "r": 3, "s": 3}
EQUATION = "O[n,m,p,q] = I[n,c,p+r,q+s] * W[m,c,r,s]"


def compressed(*ranks: Format) -> TensorFormat:
    """A format whose ranks take any number of loops each."""
    return TensorFormat(ranks=tuple(RankFormat(format=f, variables=tuple(SHAPE), metadata_word_bits=8) for f in ranks))


def problem(sparse: bool) -> Problem:
    """The layer on a four-level accelerator, dense or with formats and skipping."""
    skip = (
        ActionOptimization(kind=SafKind.SKIPPING, options=(LeaderFollower(follower="W", leaders=("I",)),)),
        ActionOptimization(kind=SafKind.SKIPPING, options=(LeaderFollower(follower="O", leaders=("I", "W")),)),
    )
    # every level repeats the ranks of the level inside it and adds one of its own
    inner, middle, outer = (
        {t: compressed(*[Format.UOP] * n, Format.CP) for t in "IW"} if sparse else {} for n in (1, 2, 3)
    )
    levels = (
        StorageLevel(name="DRAM", component=ComponentClass.DRAM, width_bits=64, word_bits=16, metadata_width_bits=64, formats=outer),
        StorageLevel(
            name="GLB", depth=32768, width_bits=64, word_bits=16, read_bandwidth=16, write_bandwidth=16,
            metadata_width_bits=64, formats=middle,
        ),
        StorageLevel(
            name="LB", depth=1024, width_bits=16, word_bits=16, instances=168, mesh_x=14, metadata_width_bits=16, formats=inner,
            optimizations=skip if sparse else (),
        ),
        StorageLevel(name="REG", component=ComponentClass.REGFILE, depth=32, width_bits=16, word_bits=16, instances=168, mesh_x=14),
    )  # fmt: skip
    densities = {"I": 0.5, "W": 0.3} if sparse else None
    einsum = Einsum.parse(EQUATION, SHAPE, name="resnet50-conv4-3x3", densities=densities)
    return lower(
        einsum, Architecture(name="four levels", levels=levels, compute=Compute(name="MAC", instances=168, mesh_x=14))
    )


def random_mappings(target: Problem, n: int, seed: int) -> PackedMappings:
    """`n` random mappings: prime factors dealt to levels, the fan-out bounded by the mesh, all orders equally likely."""
    rng = np.random.default_rng(seed)
    p = target.arrays[0]
    L, D, T = int(p["levels"]), int(p["variables"]), int(p["tensors"])
    temporal = np.ones((n, L, D), np.int64)
    spatial = np.ones((n, L, D), np.int64)
    fanout = [level for level in range(L) if p["has_fanout"][level]]
    used = np.ones((n, L, 2), np.int64)
    limit = np.stack([p["fan_x"][:L], p["fan_y"][:L]], axis=1)
    split_of = np.argsort(rng.random((n, L, D)), axis=2)
    split = rng.integers(0, D + 1, (n, L))
    on_x = np.zeros((n, L, D), np.bool_)
    for position in range(D):
        level_index, row = np.meshgrid(np.arange(L), np.arange(n))
        on_x[row, level_index, split_of[:, :, position]] = position < split
    rows = np.arange(n)
    for d, bound in enumerate(target.workload.shape.values()):
        for prime in _primes(bound):
            slot = rng.integers(0, L + len(fanout), n)
            for s, level in enumerate(fanout):
                axis = np.where(on_x[:, level, d], 0, 1)
                wants = slot == L + s
                fits = used[rows, level, axis] * prime <= limit[level][axis]
                take = wants & fits
                spatial[take, level, d] *= prime
                used[rows[take], level, axis[take]] *= prime
                slot[wants & ~fits] = rng.integers(0, L, int((wants & ~fits).sum()))
            chosen = slot < L
            np.multiply.at(temporal, (rows[chosen], slot[chosen], np.full(int(chosen.sum()), d)), prime)
    orders = np.argsort(rng.random((n, L, D)), axis=2)
    bits = (on_x * (1 << np.arange(D))).sum(axis=2)
    return PackedMappings(
        temporal,
        spatial,
        orders,
        split_of,
        bits,
        np.ones((n, L, T), np.bool_),
        np.ones((L, T), np.bool_),
        np.zeros((L, T), np.bool_),
    )


def select(mappings: PackedMappings, rows: np.ndarray) -> PackedMappings:
    """The mappings at `rows`."""
    per_mapping = ("temporal", "spatial", "temporal_order", "spatial_order", "on_x", "keep")
    return replace(mappings, **{name: getattr(mappings, name)[rows] for name in per_mapping})


def _primes(n: int) -> list[int]:
    found, d = [], 2
    while n > 1:
        while n % d == 0:
            found.append(d)
            n //= d
        d += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mappings", type=int, default=500_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    for name, sparse in (("dense", False), ("sparse", True)):
        target = problem(sparse)
        evaluator = BatchEvaluator(target)
        started = time.perf_counter()
        evaluator(random_mappings(target, 2_000, seed=1))
        print(f"{name}: first batch (compiling or loading the kernel) {time.perf_counter() - started:.1f} s")
        drawn = random_mappings(target, arguments.mappings, seed=2)
        fitting = np.flatnonzero(evaluator(drawn).valid)
        chosen = select(drawn, np.resize(fitting, arguments.mappings))
        for kind, batch in (("as drawn", drawn), ("that all fit", chosen)):
            rates, per_core = [], []
            for _ in range(arguments.repeats):
                started, cpu = time.perf_counter(), time.process_time()
                evaluator(batch)
                rates.append(len(batch) / (time.perf_counter() - started))
                per_core.append(len(batch) / (time.process_time() - cpu))
            share = f" ({len(fitting) / len(drawn):.0%} fit)" if batch is drawn else ""
            print(
                f"{name}, mappings {kind}{share}: {max(rates):,.0f} a second, best of {len(rates)} "
                f"({', '.join(f'{r:,.0f}' for r in rates)}); {max(per_core):,.0f} a CPU-second of one core"
            )


if __name__ == "__main__":
    main()
