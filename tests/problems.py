"""Random small problems: an Einsum, an architecture that fits a random mapping of it, and sparse features.

`random_problem` takes a `random.Random`, so a seed names a problem, and hypothesis (``strategies.randoms()``) can
drive and shrink it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
from fiberloom.architecture.sparse import (
    ActionOptimization,
    Format,
    LeaderFollower,
    RankFormat,
    SafKind,
    TensorFormat,
)
from fiberloom.mapping.nest import LevelMapping, Mapping
from fiberloom.workload.einsum import Einsum, Tensor

_COMPRESSED = (Format.CP, Format.RLE, Format.B)
_UNCOMPRESSED = (Format.UOP, Format.UOP, Format.UB, Format.U)
LEVEL_NAMES = ("DRAM", "Global", "Local", "Register")


@dataclass(frozen=True)
class Problem:
    """What a model and a simulation are both asked."""

    workload: Einsum
    architecture: Architecture
    mapping: Mapping

    def __str__(self) -> str:
        lines = [f"{self.workload}  {self.workload.shape}"]
        lines += [f"  {t.name}: density {t.density}" for t in self.workload.tensors if t.density is not None]
        for level in self.architecture.levels:
            here = self.mapping.at(level.name)
            lines.append(
                f"  {level.name} x{level.instances} keeps {here.keep}: temporal {here.temporal} {here.temporal_order}, "
                f"spatial {here.spatial} {here.spatial_order} x={here.spatial_x} multicast={here.multicast} "
                f"peer_links={here.peer_links}"
            )
            lines += [
                f"    {name}: {' '.join(r.format for r in f.ranks)}{' inner-to-outer' if f.inner_to_outer else ''}"
                for name, f in level.formats.items()
            ]
            lines += [f"    {o}" for o in level.optimizations]
        compute = self.architecture.compute
        lines.append(f"  compute x{compute.instances} gating={compute.gating} skipping={compute.skipping}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Features:
    """What random problems may contain.

    Attributes:
        max_points: most points of the iteration space.
        max_lanes: most lanes of compute.
        halos: Einsums with overlapping or strided windows.
        inputs: largest number of input tensors.
        sparse: densities, formats, gating and skipping.
        multicast_off: tensors that can't be multicast at some level.
        peer_links: inputs are passed to mesh neighbours, and windows slide.
        remainders: bounds that few factors divide, and factors that do not divide them.
    """

    max_points: int = 3000
    max_lanes: int = 64
    halos: bool = True
    inputs: int = 3
    sparse: bool = False
    multicast_off: bool = False
    peer_links: bool = False
    remainders: bool = False


def random_problem(rng: random.Random, features: Features = Features()) -> Problem:
    """A legal problem: unbounded capacities, the outermost level keeps every tensor."""
    workload = random_einsum(rng, features)
    names = LEVEL_NAMES[: rng.randint(1, len(LEVEL_NAMES))]
    mapping = random_mapping(rng, workload, names, features)
    architecture = _fitting_architecture(rng, workload, mapping, names, features)
    return Problem(workload, architecture, mapping)


def random_einsum(rng: random.Random, features: Features) -> Einsum:
    """One of the usual kernels with small bounds."""
    kernels: list[Callable[[random.Random], tuple[str, str]]] = [
        lambda r: ("Z[m,n] = A[m,k] * B[k,n]", "mnk"),
        lambda r: ("Z[m,n] = A[k,m] * B[n,k]", "mnk"),
        lambda r: ("Z[m] = A[m,k] * B[k]", "mk"),
        lambda r: ("Z[b,m,n] = A[b,m,k] * B[b,k,n]", "bmnk"),
        lambda r: ("Z[m,n] = A[m] * B[n]", "mn"),
        lambda r: ("Z[i,j,r] = A[i,j,k] * B[k,r]", "ijkr"),  # tensor times matrix
        lambda r: ("Z[m] = A[m] * B[m]", "m"),
    ]
    if features.halos:
        # Only windows that slide over neighbours are passed on.
        kernels = [] if features.peer_links else kernels
        kernels += [
            lambda r: (f"Z[k,p] = A[c,{_window(r, 'p', 'r')}] * B[k,c,r]", "kcpr"),
            lambda r: (f"Z[p] = A[{_window(r, 'p', 'r')}] * B[r]", "pr"),
            lambda r: (f"Z[k,p,q] = A[c,{_window(r, 'p', 'r')},{_window(r, 'q', 's')}] * B[k,c,r,s]", "kcpqrs"),
            lambda r: (f"Z[c,p,q] = A[c,{_window(r, 'p', 'r')},{_window(r, 'q', 's')}] * B[c,r,s]", "cpqrs"),
            lambda r: (f"Z[g,k,p] = A[g,c,{_window(r, 'p', 'r')}] * B[g,k,c,r]", "gkcpr"),
        ]
    if features.inputs >= 3 and not features.peer_links:
        kernels += [
            lambda r: ("Z[i,r] = A[i,j,k] * B[j,r] * C[k,r]", "ijkr"),  # MTTKRP
            lambda r: ("Z[i,j] = A[i,j] * B[i,k] * C[k,j]", "ijk"),  # SDDMM
        ]
    equation, variables = rng.choice(kernels)(rng)
    shape = dict.fromkeys(variables, 1)
    limit = rng.choice([16, 100, 400, features.max_points])
    for _ in range(60):
        variable = rng.choice(variables)
        factor = rng.choice([2, 2, 2, 3, 3, 5, 7])
        small = variable in "rs" and "p" in variables  # filter taps
        if math.prod(shape.values()) * factor <= limit and shape[variable] * factor <= (7 if small else 18):
            shape[variable] *= factor
    if features.remainders:
        shape = {v: rng.choice([b, b + 1, b + 1, b + 2]) for v, b in shape.items()}
    densities: dict[str, Any] = {}
    if features.sparse:
        for name in _tensor_names(equation):
            if rng.random() < 0.85:
                densities[name] = {
                    "distribution": "uniform",
                    "density": rng.choice([0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9]),
                }
    return Einsum.parse(equation, shape, densities=densities)


def random_mapping(rng: random.Random, workload: Einsum, names: tuple[str, ...], features: Features) -> Mapping:
    """Prime factors of every bound dealt to random levels, temporal or spatial; random orders, bypasses."""
    temporal: list[dict[str, int]] = [{} for _ in names]
    spatial: list[dict[str, int]] = [{} for _ in names]
    lanes, spatial_share = 1, rng.choice([0.0, 0.2, 0.4])
    if features.remainders:
        temporal, spatial = _uneven_factors(rng, workload, names, features, spatial_share)
    for variable, bound in () if features.remainders else workload.shape.items():
        for prime in _primes(bound):
            level = rng.randrange(len(names))
            if rng.random() < spatial_share and lanes * prime <= features.max_lanes:
                lanes *= prime
                spatial[level][variable] = spatial[level].get(variable, 1) * prime
            else:
                temporal[level][variable] = temporal[level].get(variable, 1) * prime
    tensors = [t.name for t in workload.tensors]
    levels = {}
    for i, name in enumerate(names):
        order, fanned = list(workload.shape), list(spatial[i])
        rng.shuffle(order)
        rng.shuffle(fanned)
        along_x = tuple(v for v in fanned if rng.random() < 0.5) if rng.random() < 0.7 else None
        choosy = spatial[i] and rng.random() < 0.3
        levels[name] = LevelMapping(
            temporal=temporal[i],
            spatial=spatial[i],
            # Left-out variables have a stated place too, so drop some.
            temporal_order=tuple(order[rng.randint(0, len(order)) if rng.random() < 0.3 else 0 :]),
            spatial_order=tuple(fanned),
            spatial_x=along_x,
            keep=tuple(tensors) if i == 0 else tuple(t for t in tensors if rng.random() < 0.7),
            multicast={rng.choice(tensors): False} if features.multicast_off and choosy else {},
            peer_links=dict.fromkeys(tensors[:-1], features.peer_links),
        )
    return Mapping(levels=levels)


def _uneven_factors(
    rng: random.Random, workload: Einsum, names: tuple[str, ...], features: Features, spatial_share: float
) -> tuple[list[dict[str, int]], list[dict[str, int]]]:
    """Any factors from inside out, temporal and spatial per level, until a variable's tile covers its bound."""
    temporal: list[dict[str, int]] = [{} for _ in names]
    spatial: list[dict[str, int]] = [{} for _ in names]
    lanes = 1
    for variable, bound in workload.shape.items():
        tile = 1
        for level in reversed(range(len(names))):
            for loops in (spatial, temporal):
                left = -(-bound // tile)
                factor = min(left, rng.choice([1, 1, 2, 2, 3, 4, 5, left]))
                if loops is spatial and (rng.random() > spatial_share or lanes * factor > features.max_lanes):
                    factor = 1
                elif loops is temporal and level == 0:
                    factor = left
                if factor > 1:
                    loops[level][variable] = factor
                    lanes *= factor if loops is spatial else 1
                tile *= factor
    return temporal, spatial


def windows_overlap(tensor: Tensor) -> bool:
    """Whether tiles of the tensor overlap or have holes (sums or strides in an index)."""
    return any(len(rank) > 1 or abs(rank[0].coefficient) != 1 for rank in tensor.ranks)


def _fitting_architecture(
    rng: random.Random, workload: Einsum, mapping: Mapping, names: tuple[str, ...], features: Features
) -> Architecture:
    mesh_x = mesh_y = 1
    levels = []
    formats = _random_formats(rng, workload, mapping, names) if features.sparse else [{} for _ in names]
    safs = _random_safs(rng, workload, mapping, names) if features.sparse else [() for _ in names]
    for i, name in enumerate(names):
        here = mapping.at(name)
        levels.append(
            StorageLevel(
                name=name,
                component=ComponentClass.DRAM if i == 0 else ComponentClass.SRAM,
                instances=mesh_x * mesh_y,
                mesh_x=mesh_x,
                block_words=1,
                energy_pj={"read": 1.0, "write": 1.0},
                area_um2=0.0,
                formats=formats[i],
                optimizations=safs[i],
                # Keeps are stated by the mapping; an architecture's default must then not matter.
                keep=rng.choice([None, (workload.output.name,)]),
            )
        )
        along_x = here.spatial_x if here.spatial_x is not None else tuple(here.spatial)
        idle = rng.choice([1, 1, 2]) if here.spatial else 1
        mesh_x *= math.prod(f for v, f in here.spatial.items() if v in along_x) * idle
        mesh_y *= math.prod(f for v, f in here.spatial.items() if v not in along_x)
    compute = Compute(
        name="MAC",
        instances=mesh_x * mesh_y,
        mesh_x=mesh_x,
        energy_pj={"compute": 1.0},
        area_um2=0.0,
        gating=features.sparse and rng.random() < 0.4,
        skipping=features.sparse and rng.random() < 0.4,
    )
    return Architecture(levels=tuple(levels), compute=compute)


def _random_formats(
    rng: random.Random, workload: Einsum, mapping: Mapping, names: tuple[str, ...]
) -> list[dict[str, TensorFormat]]:
    """Formats from the innermost level outwards: ranks for a level's own loops around those of the tiles inside it."""
    result: list[dict[str, TensorFormat]] = [{} for _ in names]
    for tensor in workload.tensors:
        if windows_overlap(tensor) or rng.random() < 0.3:
            continue
        inside: list[RankFormat] = []  # ranks of the tile of the next keeper inside; none while it is one element
        own = 0
        inner_to_outer = rng.random() < 0.3
        for i, name in reversed(list(enumerate(names))):
            here = mapping.at(name)
            own += sum(
                factor > 1
                for factors in (here.temporal, here.spatial)
                for variable, factor in factors.items()
                if variable in tensor.variables
            )
            if tensor.name not in (here.keep or ()):
                continue
            if rng.random() < 0.7:
                count = own if inside else max(1, own)
                outside = rng.randint(0, count) if inside else rng.randint(0, count - 1)
                if inside and not inside[0].format.compressed:
                    outside = count
                ranks = [RankFormat(format=rng.choice(_UNCOMPRESSED)) for _ in range(outside)]
                ranks += [RankFormat(format=rng.choice(_COMPRESSED)) for _ in range(count - outside)]
                result[i][tensor.name] = TensorFormat(ranks=tuple(ranks + inside), inner_to_outer=inner_to_outer)
                inside = ranks + inside if inside or own else []
            elif inside or own:
                inside = [RankFormat(format=rng.choice(_COMPRESSED))]  # whole, if a level outside compresses it
            own = 0
    return result


def _random_safs(
    rng: random.Random, workload: Einsum, mapping: Mapping, names: tuple[str, ...]
) -> list[tuple[ActionOptimization, ...]]:
    """Leader–follower pairs, double-sided pairs and output followers; at most one per follower and acting level."""
    result: list[list[ActionOptimization]] = [[] for _ in names]
    plain_inputs = [t.name for t in workload.inputs if not windows_overlap(t)]
    followers = [t.name for t in workload.tensors if not windows_overlap(t)]
    taken = set()
    for _ in range(rng.choice([0, 1, 1, 2, 2, 3])):
        if not followers:
            break
        follower, level = rng.choice(followers), rng.randrange(len(names))
        leaders = [t for t in plain_inputs if t != follower]
        if not leaders:
            continue
        chosen = tuple(rng.sample(leaders, rng.randint(1, len(leaders))))
        pairs = [(follower, chosen)]
        if len(chosen) == 1 and follower in plain_inputs and rng.random() < 0.4:
            pairs.append((chosen[0], (follower,)))
        kind = rng.choice([SafKind.GATING, SafKind.SKIPPING])
        for name, leading in pairs:
            acting = max(i for i in range(level + 1) if name in (mapping.at(names[i]).keep or ()))
            if (acting, name) not in taken:
                taken.add((acting, name))
                option = LeaderFollower(follower=name, leaders=leading)
                result[level].append(ActionOptimization(kind=kind, options=(option,)))
    return [tuple(entries) for entries in result]


def _window(rng: random.Random, output: str, tap: str) -> str:
    stride, dilation = rng.choice([1, 1, 2, 3]), rng.choice([1, 1, 2, 3])
    return " + ".join(v if c == 1 else f"{c}*{v}" for c, v in ((stride, output), (dilation, tap)))


def _tensor_names(equation: str) -> list[str]:
    return [c for i, c in enumerate(equation) if equation[i + 1 : i + 2] == "["]


def _primes(number: int) -> list[int]:
    primes, p = [], 2
    while number > 1:
        while number % p == 0:
            primes.append(p)
            number //= p
        p += 1
    return primes
