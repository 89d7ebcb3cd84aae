"""Random small problems whose whole map space can be enumerated, dense and sparse."""

from __future__ import annotations

from typing import Any

import numpy as np

from fiberloom.architecture.levels import Architecture, Compute, StorageLevel
from fiberloom.architecture.sparse import ActionOptimization, LeaderFollower, RankFormat, SafKind, TensorFormat
from fiberloom.input.specification import parse
from fiberloom.mapper.objective import Objective
from fiberloom.mapping.space import MapSpace
from fiberloom.model.evaluate import BatchEvaluator
from fiberloom.model.lower import Problem
from fiberloom.workload.einsum import Einsum

EINSUMS: list[tuple[str, dict[str, tuple[int, ...]]]] = [
    ("Z[m,n] = A[m,k] * B[k,n]", {"m": (2, 3, 4, 6), "k": (2, 4, 5), "n": (1, 2, 3, 4)}),
    ("O[p,m] = I[p+r,c] * W[r,c,m]", {"p": (2, 3, 4), "r": (2, 3), "c": (1, 2), "m": (2, 3)}),
    ("O[p] = I[2*p+r] * W[r]", {"p": (4, 6, 8), "r": (2, 3, 4)}),
    ("O[p,q,m] = I[p+r,q+s] * W[r,s,m]", {"p": (2, 4), "q": (1, 2), "r": (2, 3), "s": (1, 2), "m": (1, 2, 3)}),
    ("Z[i,j] = B[i,k,l] * C[k,j] * D[l,j]", {"i": (2, 3), "j": (2, 3), "k": (2,), "l": (2, 1)}),
    ("Z[b,m,n] = A[b,m,k] * B[b,k,n]", {"b": (2,), "m": (2, 4), "k": (2, 3), "n": (1, 2)}),
]


def _einsum(rng: np.random.Generator, sparse: bool) -> Einsum:
    text, choices = EINSUMS[int(rng.integers(len(EINSUMS)))]
    shape = {v: int(rng.choice(c)) for v, c in choices.items()}
    inputs = [part.strip().split("[")[0] for part in text.split("=")[1].split("*")]
    inputs = [name for name in inputs if name and name[0].isalpha() and name[0].isupper()]
    density = {t: round(float(rng.uniform(0.1, 0.9)), 2) for t in inputs if sparse and rng.random() < 0.8}
    body = f'einsum: "{text}", shape: {shape}' + (f", density: {density}" if density else "")
    workload = parse("{fiberloom: 1, workload: {" + body.replace("'", "") + "}}").workload
    assert workload is not None
    return workload


def _with_widths(rng: np.random.Generator, workload: Einsum) -> Einsum:
    """Some tensors with narrower or wider words than the 16 bits of the levels."""
    tensors = tuple(
        t.model_copy(update={"word_bits": int(rng.choice([4, 8, 32])) if rng.random() < 0.5 else None})
        for t in workload.tensors
    )
    return workload.model_copy(update={"tensors": tensors})


def _levels(rng: np.random.Generator, workload: Einsum) -> tuple[list[StorageLevel], int, int]:
    count = int(rng.integers(2, 4)) if rng.random() < 0.8 else 4
    instances = mesh_x = 1
    levels = []
    for i in range(count):
        if i > 0 and rng.random() < 0.5:
            fan = int(rng.choice([2, 4]))
            instances *= fan
            mesh_x *= int(rng.choice([1, 2, fan]))
        extra: dict[str, Any] = {}
        if i > 0:
            extra["depth"] = int(rng.integers(3, 20)) if i == count - 1 else int(rng.integers(8, 60))
            if rng.random() < 0.3:
                extra["block_words"] = 2
            if rng.random() < 0.5:
                extra["keep"] = tuple(t.name for t in workload.tensors if rng.random() < 0.6)
        for name, share in (("read_bandwidth", 0.3), ("write_bandwidth", 0.3), ("shared_bandwidth", 0.1)):
            if rng.random() < share:
                extra[name] = round(float(rng.uniform(0.3, 3)), 2)
        if rng.random() < 0.15:
            extra["multicast"] = False
        energy = {name: round(float(rng.uniform(1, 100)) / 3**i, 2) for name in ("read", "write")}
        if rng.random() < 0.2:
            energy["leak"] = round(float(rng.uniform(0, 3)), 2)
        energy |= {"gated_read": 0.1, "metadata_read": energy["read"] / 4, "metadata_write": energy["write"] / 4}
        component: Any = "dram" if i == 0 else "sram"
        levels.append(
            StorageLevel(
                name=f"L{i}", component=component, instances=instances, mesh_x=mesh_x, energy_pj=energy,
                metadata_width_bits=8, **extra,
            )
        )  # fmt: skip
    return levels, instances * int(rng.choice([1, 1, 2])), mesh_x


def _format(rng: np.random.Generator, variables: tuple[str, ...]) -> TensorFormat:
    def rank(kind: str, loops: tuple[str, ...] | None, **bits: int) -> RankFormat:
        return RankFormat(format=kind, variables=loops, **bits)  # type: ignore[arg-type]  # pydantic takes names

    kind = ("RLE", "CP", "B", "CSR")[int(rng.integers(4))]
    if kind == "CSR":
        return TensorFormat(
            ranks=tuple(rank(k, None, metadata_word_bits=4, payload_word_bits=4) for k in ("UOP", "CP"))
        )
    bits = {} if kind == "B" else {"metadata_word_bits": 4}
    return TensorFormat(ranks=(rank("UOP", variables, payload_word_bits=0), rank(kind, variables, **bits)))


def _with_features(rng: np.random.Generator, workload: Einsum, level: StorageLevel) -> StorageLevel:
    inputs = list(workload.inputs)
    formats = {}
    if rng.random() < 0.5:
        for t in inputs:
            if rng.random() < 0.6:
                variables = tuple(dict.fromkeys(term.variable for r in t.ranks for term in r))
                formats[t.name] = _format(rng, variables)
    entries: list[tuple[str, tuple[str, ...]]] = []
    if rng.random() < 0.5:
        a, b = inputs[0].name, inputs[1].name
        output = next(t.name for t in workload.tensors if t.is_output)
        entries = [[(a, (b,))], [(b, (a,))], [(a, (b,)), (b, (a,))], [(output, (a, b))]][int(rng.integers(4))]
    kind = SafKind.SKIPPING if rng.random() < 0.6 else SafKind.GATING
    optimizations = tuple(
        ActionOptimization(kind=kind, options=(LeaderFollower(follower=f, leaders=x),)) for f, x in entries
    )
    return level.model_copy(update={"formats": formats, "optimizations": optimizations})


def random_problem(seed: int, *, sparse: bool) -> tuple[Einsum, Architecture]:
    """A random Einsum on a random accelerator: 2 to 4 levels, fan-outs, bandwidths, leakage, free and stated keeps."""
    rng = np.random.default_rng([seed, int(sparse)])
    workload = _einsum(rng, sparse)
    levels, units, mesh_x = _levels(rng, workload)
    if sparse:
        levels = [_with_features(rng, workload, level) for level in levels]
    gating, skipping = (bool(x) for x in rng.random(2) < 0.3) if sparse else (False, False)
    leak = 0.1 if rng.random() < 0.2 else 0.0
    compute = Compute(
        name="mac", instances=units, mesh_x=mesh_x, gating=gating, skipping=skipping,
        energy_pj={"compute": 0.5, "gated_compute": 0.1, "leak": leak},
    )  # fmt: skip
    if rng.random() < 0.3:
        workload = _with_widths(rng, workload)
    return workload, Architecture(levels=tuple(levels), compute=compute)


def random_dense(seed: int) -> tuple[Einsum, Architecture]:
    return random_problem(seed, sparse=False)


def random_sparse(seed: int) -> tuple[Einsum, Architecture]:
    return random_problem(seed, sparse=True)


def random_core(seed: int, *, odd: bool = False) -> tuple[Einsum, Architecture]:
    """A random matrix product with N:M weights on a core that leaves their zeros out in space, as sparse tensor cores do.

    Args:
        odd: with other followers, entries at two levels, a second memory for weights inside, blocks of words and clusters, too.
    """
    rng = np.random.default_rng([seed, 2])
    other_rng = np.random.default_rng([seed, 3])
    pattern = ("2:4", "1:4", "1:2", "2:8", "3:4")[int(rng.integers(5))]
    shape = {"m": int(rng.choice([2, 4, 6])), "k": int(rng.choice([4, 8, 12])), "n": int(rng.choice([1, 2, 4]))}
    other = round(float(rng.uniform(0.2, 0.9)), 2) if rng.random() < 0.5 else 1.0
    workload = Einsum.parse("Z[m,n] = A[m,k] * B[k,n]", shape, densities={"A": pattern, "B": other})
    coordinates = TensorFormat(ranks=(RankFormat(format="CP", metadata_word_bits=2),))  # type: ignore[arg-type]  # pydantic takes names
    x, y = int(rng.choice([1, 2, 4])), int(rng.choice([1, 2]))

    def energy(most: float) -> dict[str, float]:
        names = ("read", "write", "metadata_read", "metadata_write")
        return {name: round(float(rng.uniform(0.1, 1)) * most, 2) for name in names}

    def narrow(share: float) -> dict[str, Any]:
        return {
            name: round(float(rng.uniform(0.5, 3)), 2)
            for name in ("read_bandwidth", "write_bandwidth")
            if rng.random() < share
        }

    skipped = tuple(
        ActionOptimization(kind=SafKind.SPATIAL_SKIPPING, options=(LeaderFollower(follower=follower, leaders=("A",)),))
        for follower in (("BZ", "B", "Z")[int(other_rng.integers(3))] if odd else "BZ")
    )
    blocks, cluster, nested = (bool(odd and x < 0.3) for x in other_rng.random(3))
    inner: tuple[StorageLevel, ...] = ()
    if odd and other_rng.random() < 0.3:
        inner = (
            StorageLevel(
                name="Inner", depth=2, keep=("A",), formats={"A": coordinates}, instances=x * y, mesh_x=x, energy_pj=energy(1),
                metadata_width_bits=2,
            ),
        )  # fmt: skip
    levels = (
        StorageLevel(
            name="DRAM", component="dram", formats={"A": coordinates}, energy_pj=energy(100), metadata_width_bits=8, **narrow(0.5)
        ),  # type: ignore[arg-type]  # pydantic takes names
        StorageLevel(
            name="Registers", depth=int(rng.integers(6, 40)), keep=("Z",) if rng.random() < 0.5 else ("B", "Z"), optimizations=skipped,
            energy_pj=energy(10), **narrow(0.2),
        ),
        StorageLevel(
            name="Lane", depth=int(rng.integers(1, 4)), keep=("A",), formats={"A": coordinates}, instances=x * y, mesh_x=x,
            energy_pj=energy(1), metadata_width_bits=2, block_words=2 if blocks else None, cluster_size=2 if cluster and x == 4 else 1,
            optimizations=skipped[:1] if nested else (), **narrow(0.2),
        ),
        *inner,
    )  # fmt: skip
    compute = Compute(
        name="mac", instances=x * y, mesh_x=x, gating=bool(rng.random() < 0.4), skipping=bool(rng.random() < 0.2),
        energy_pj={"compute": 5, "gated_compute": 1.0, "leak": 0.1 if rng.random() < 0.3 else 0.0},
    )  # fmt: skip
    return workload, Architecture(levels=levels, compute=compute)


def random_lists(seed: int) -> tuple[Einsum, Architecture]:
    """A random product or convolution with few non-zeros in lists whose metadata follows from tiles and loops, in small buffers."""
    rng = np.random.default_rng([seed, 7])

    def one(*choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    def energy(most: float) -> dict[str, float]:
        names = ("read", "write", "metadata_read", "metadata_write")
        return {name: round(float(rng.uniform(0.2, 1)) * most, 2) for name in names}

    text, choices = one(
        ("Z[m,n] = A[m,k] * B[k,n]", {"m": (2, 4, 6, 8), "k": (2, 4, 6, 8), "n": (2, 4, 6, 8)}),
        ("Z[p,m] = A[c,p+r] * B[m,c,r]", {"m": (1, 2, 4), "p": (2, 4, 6, 8), "c": (1, 2, 4), "r": (2, 3)}),
        ("Z[p,q] = A[2*p+r,q+s] * B[r,s]", {"p": (2, 4), "q": (2, 4), "r": (2, 3), "s": (1, 2)}),
    )
    shape = {v: int(one(*c)) for v, c in choices.items()}
    densities = {t: round(float(rng.uniform(0.03, 0.6)), 2) for t in "AB"}
    workload = Einsum.parse(text, shape, densities=densities)

    def lists() -> TensorFormat:
        kind, outer = one("RLE", "CP", "B"), one(None, tuple(shape))
        bits = {} if kind == "B" else {"metadata_word_bits": 4}
        free = RankFormat(format="UOP", payload_word_bits=0, metadata_word_bits=0, variables=outer)  # type: ignore[arg-type]  # pydantic takes names
        inner = RankFormat(format=kind, variables=tuple(shape), **bits)
        return one(
            TensorFormat(ranks=(free, inner)),
            TensorFormat(ranks=(inner,)),
            TensorFormat(ranks=(free, free, RankFormat(format=kind, **bits)), inner_to_outer=True),
        )

    narrow = {"read_bandwidth": round(float(rng.uniform(0.2, 2)), 2)} if rng.random() < 0.4 else {}
    widths = {"word_bits": 8, "metadata_word_bits": 4, "metadata_width_bits": 8}
    kind = SafKind.SKIPPING if rng.random() < 0.5 else SafKind.GATING
    entry = ActionOptimization(kind=kind, options=(LeaderFollower(follower="A", leaders=("B",)),))
    units = one(1, 1, 2)
    levels = [
        StorageLevel(
            name="DRAM", component="dram", formats={t: lists() for t in "AB" if rng.random() < 0.8}, energy_pj=energy(10), **widths,
            **narrow,
        ),  # type: ignore[arg-type]  # pydantic takes names
        StorageLevel(
            name="Buffer", depth=one(6, 10, 16, 30), keep=one(None, ("A", "B"), ("A", "Z")), block_words=one(None, None, 2),
            formats={t: lists() for t in "AB" if rng.random() < 0.3}, optimizations=one((), (entry,)), energy_pj=energy(20), **widths,
        ),
    ]  # fmt: skip
    if rng.random() < 0.5:
        levels.append(
            StorageLevel(
                name="RF", word_bits=8, instances=units, mesh_x=units, depth=one(3, 5, 8), energy_pj=energy(10)
            )
        )
    compute = Compute(
        name="mac", instances=units, mesh_x=units, gating=bool(rng.random() < 0.3), skipping=bool(rng.random() < 0.3),
        energy_pj={"compute": 1, "gated_compute": 0.3},
    )  # fmt: skip
    return workload, Architecture(levels=tuple(levels), compute=compute)


def enumerated(problem: Problem, space: MapSpace, objectives: list[Objective]) -> list[tuple[float, float] | None]:
    """Best value and tie-break of each objective over every point of the space; None where nothing fits."""
    best: list[tuple[float, float] | None] = [None] * len(objectives)
    evaluate = BatchEvaluator(problem)
    size, chunk = space.size(), 200_000
    for start in range(0, size, chunk):
        rows = space.decode(range(start, min(size, start + chunk)))
        rows = rows.take(space.violations(rows) == 0)
        if not len(rows):
            continue
        result = evaluate(rows)
        for o, objective in enumerate(objectives):
            i = objective.best(result.energy_pj, result.cycles)
            if i is not None:
                energy, cycles = result.energy_pj[i], result.cycles[i]
                found = float(objective.value(energy, cycles)), float(objective.tie(energy, cycles))
                best[o] = found if best[o] is None else min(best[o], found)  # type: ignore[type-var]  # not None here
    return best
