"""What formats, gating and skipping do on a ground: tables over tile shapes, and what can't be known from a shape alone."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.mapper.exact.skipped import Skipped, skipped
from fiberloom.mapper.exact.tables import COUNTED, FIXED, SLIDING
from fiberloom.model.counting import FORMAT_B, FORMAT_CP, FORMAT_RLE, FORMAT_U
from fiberloom.model.tables import tile_rows

if TYPE_CHECKING:
    from fiberloom.mapper.exact.ground import Ground
    from fiberloom.mapping.space import MapSpace
    from fiberloom.model.lower import Problem

Array = NDArray[Any]


@dataclass(frozen=True)
class Sparsity:
    """Tables for one choice of keeps; the names are those of `fiberloom.mapper.exact.tables.Terrain`.

    Attributes:
        most: ``(T, S)`` largest occupancy.
        least: ``(T,)`` least expected share of non-zeros over all tiles.
        skipped: what gating and skipping leave.
    """

    sparse: bool
    most: Array
    least: Array
    density: Array
    occupied: Array
    sent_share: Array
    filled_share: Array
    overhead: Array
    metadata: Array
    fibres: Array
    listed: Array
    whole_nest: Array
    arrives: Array
    refines: bool
    skipped: Skipped


def is_sparse(p: Any) -> bool:
    """Whether anything but dense traffic decides on costs (densities alone don't)."""
    return bool(p["any_metadata"]) or int(p["entries"]) > 0


def lists_by_idle_loops(problem: Problem, space: MapSpace) -> bool:
    """Whether loops of one iteration may decide on metadata, by where they stand among the others.

    A format with fewer ranks than the one inside makes fibres of their variables' inner tiles (`fiberloom.model.fibertree`). The
    search places such loops in one way only.
    """
    p = problem.arrays[0]
    may = space.fixed_keep | space.free_keep
    ranks = np.where(
        p["has_metadata"][: len(may), : may.shape[1]] & may, p["format_ranks"][: len(may), : may.shape[1]], 0
    )
    return any(
        0 < outer[t] < inner[t] for inner, outer in itertools.combinations(ranks, 2) for t in range(may.shape[1])
    )


def statistics(base: Ground, t: int, block: int = 1) -> Array:
    """Probability of being empty, largest and mean occupancy and blocks of tensor `t`'s tile for every shape, ``(S, 4)``."""
    p = base.problem.arrays[0]
    D, R = int(p["variables"]), int(p["rank_count"][t])
    lengths = np.stack([1 + (base.points.extents - 1) @ np.abs(p["coefficient"][t, r, :D]) for r in range(R)], axis=1)
    lengths = np.minimum(lengths, p["tensor_shape"][t, :R])
    distinct, inverse = np.unique(lengths, axis=0, return_inverse=True)
    return tile_rows(base.problem, t, distinct, block)[inverse.reshape(-1)]


def sparsity(base: Ground, keep: Array, parent: Array) -> Sparsity | None:
    """The tables; None where a level would have to decompress and can't."""
    p = base.problem.arrays[0]
    T, L, S = int(p["tensors"]), int(p["levels"]), base.points.size
    nothing = np.ones((1, 1, 1))
    one = np.ones((1, 1))
    summed = not bool(p["is_simple"][int(p["output"])])  # what an output's windows share depends on every loop outside
    if not is_sparse(p):
        none = np.zeros((L, T), np.uint8)
        return Sparsity(
            False, base.whole, np.ones(T), one, one, nothing, nothing, nothing, np.zeros((L, T)), none, none,
            np.full(L + 1, summed, np.uint8), np.full((L, T), -1), False, skipped(base, keep, parent, nothing[0]),
        )  # fmt: skip
    metadata_at = p["has_metadata"][:L, :T].astype(bool) & keep
    compressed = p["is_compressed"][:L, :T].astype(bool)
    for t in range(T):
        outside = False
        for level in reversed(np.flatnonzero(keep[:, t])):
            if outside and not compressed[level, t] and not p["can_decompress"][level]:
                return None
            outside = bool(compressed[level, t])
    rows = [base.statistics(t) for t in range(T)]
    empty = np.stack([r[:, 0] for r in rows])
    most = np.stack([r[:, 1] for r in rows])
    density = np.stack([r[:, 2] / base.whole[t] for t, r in enumerate(rows)])
    overhead = np.ones((L, T, S))
    for level in range(L):
        for t in range(T):
            block = int(p["block_of"][level, t])
            if block > 1 and compressed[level, t] and metadata_at[level, t]:
                found = base.statistics(t, block)
                sparse_tile = (density[t] < 1.0) & (density[t] > 0.0) & (found[:, 2] > 0)
                with np.errstate(divide="ignore", invalid="ignore"):
                    overhead[level, t] = np.where(sparse_tile, found[:, 3] / (found[:, 2] / block), 1.0)
    arrives = np.full((L, T), -1, np.int64)
    for t in range(T):
        decides = -1
        for level in reversed(np.flatnonzero(keep[:, t])):
            outer = parent[level + 1, t] if level + 1 <= L else -1
            if outer >= 0 and metadata_at[outer, t]:
                decides = level
            arrives[level, t] = decides
    sent, filled = np.ones((L + 1, T, S)), np.ones((L + 1, T, S))
    filtered = skipped(base, keep, parent, empty)
    for row in range(L):
        for t in range(T):
            k = int(parent[row, t])
            if k < 0:
                continue
            left = np.ones(S)
            for leader in range(T):
                if int(filtered.outer[row, t]) >> leader & 1:
                    left = left * (1.0 - empty[leader])
            sent[row, t] = left * (1.0 - empty[t] if not metadata_at[k, t] and arrives[k, t] >= 0 else 1.0)
            if row > 0:
                c = row - 1
                filled[row, t] = left * (1.0 - empty[t] if not metadata_at[c, t] and arrives[c, t] >= 0 else 1.0)
    metadata, fibres, listed, loose = _metadata(p, metadata_at, parent, density)
    whole_nest = np.array([summed or bool(loose[row:].any()) for row in range(L + 1)], np.uint8)
    for level, t in np.argwhere(listed == SLIDING):  # until the tile is known that is listed
        crossed = next(row for row in range(level + 1) if parent[row, t] == level)
        whole_nest[crossed:] = True
    inputs = [t for t in range(T) if t != int(p["output"])]
    innermost = [int(np.flatnonzero(keep[:, t])[0]) for t in inputs]
    vanish = all(metadata_at[level, t] for level, t in zip(innermost, inputs, strict=True))
    return Sparsity(
        True, most, density.min(axis=1), density, 1.0 - empty, sent, filled, overhead, metadata, fibres, listed, whole_nest,
        arrives, not vanish and not bool(p["compute_skipping"]), filtered,
    )  # fmt: skip


def _metadata(p: Any, metadata_at: Array, parent: Array, density: Array) -> tuple[Array, Array, Array, Array]:
    """Bits per dense word ``(L, T)`` where the child's tile alone decides on them; whether per fibre; where the loops outside it
    decide as well (`listed_share`); where other things do.

    So it is for formats whose outer ranks cost nothing and whose innermost lists coordinates of the child's tile; or, for tensors
    whose formats all do so, of every non-zero (`FIXED`).
    """
    L, T = metadata_at.shape
    bits, loose = np.zeros((L, T)), np.zeros((L, T), bool)
    fibres, listed = np.zeros((2, L, T), np.uint8)
    fixed = [all(_lists_non_zeros(p, int(level), t) for level in np.flatnonzero(metadata_at[:, t])) for t in range(T)]
    for level in range(L):
        for t in range(T):
            if not metadata_at[level, t]:
                continue
            ranks = int(p["format_ranks"][level, t])
            kinds = p["format_kind"][level, t, :ranks]
            paid = (p["metadata_bits"][level, t, :ranks] + p["payload_bits"][level, t, :ranks]) * (kinds != FORMAT_U)
            child = next((c for c in range(level - 1, -1, -1) if parent[c + 1, t] == level), -1)
            plain_child = child < 0 or not metadata_at[child, t]
            inside = 0 if child < 0 else 1 if plain_child else int(p["format_ranks"][child, t])
            if fixed[
                t
            ]:  # what outer ranks cost, and what sliding tiles list again, comes on top; too few ranks refuse loops
                bits[level, t] = float(p["element_density"][t]) * float(p["metadata_bits"][level, t, 0])
                listed[level, t] = FIXED
                loose[level, t] = bool(paid[1:].any()) or not p["is_simple"][t] or ranks <= inside
                continue
            uniform = bool(np.ptp(density[t]) < 1e-12)
            unlimited = all(
                np.isinf(p[name][level]) for name in ("read_bandwidth", "write_bandwidth", "shared_bandwidth")
            )
            free = (
                ranks > inside
                and (plain_child or unlimited)  # cycles of metadata are known as soon as the child's tile is
                and not paid[1:].any()
                and uniform
                and np.isinf(p["metadata_capacity_bits"][level])
            )
            if free and kinds[0] in (FORMAT_CP, FORMAT_RLE):
                bits[level, t] = float(density[t, -1]) * float(p["metadata_bits"][level, t, 0])
            elif free and kinds[0] == FORMAT_B and plain_child and child >= 0:
                bits[level, t] = float(p["metadata_bits"][level, t, 0])
                fibres[level, t] = 1
            else:
                loose[level, t] = True
            by_loops = bits[level, t] > 0 and not fibres[level, t] and plain_child and _in_one_rank(p, level, t)
            if not p["is_simple"][t]:  # sliding tiles list what they share as the loops have it: bits are the least
                if by_loops:
                    listed[level, t] = SLIDING
                else:
                    loose[level, t] = True
            elif by_loops and (child < 0 or p["format_rule"][level, t, 1] == 0):
                listed[level, t] = COUNTED
            elif child < 0:
                loose[level, t] = True
    return bits, fibres, listed, loose


def least_bits(base: Ground, level: int, t: int) -> Array:
    """``(S,)`` bits of metadata of a tensor's tile at least, for every shape."""
    p = base.problem.arrays[0]
    if not p["has_metadata"][level, t] or not _lists_non_zeros(p, level, t):
        return np.zeros(base.points.size)
    bits: Array = base.whole[t] * float(p["element_density"][t]) * float(p["metadata_bits"][level, t, 0])
    return bits


def _lists_non_zeros(p: Any, level: int, t: int) -> bool:
    """Whether the innermost rank of a format has a coordinate for every non-zero, whatever the loops are: also in fibres of one."""
    lists = p["format_kind"][level, t, 0] in (FORMAT_CP, FORMAT_RLE)
    return bool(lists and (p["inner_to_outer"][level, t] or int(p["format_ranks"][level, t]) == 1))


def _in_one_rank(p: Any, level: int, t: int) -> bool:
    """Whether a format has one rank outside the child's tile, which takes the outermost loop, or all of them (see `listed_share`)."""
    relevant = sum(1 << int(d) for d in np.flatnonzero(p["is_relevant"][t, : int(p["variables"])]))
    outer, inner = (int(p["format_rule"][level, t, r]) for r in (1, 0))
    everything = inner & relevant == relevant
    return int(p["format_ranks"][level, t]) == 2 and not p["inner_to_outer"][level, t] and everything and (
        outer == 0 or outer & relevant == relevant
    )  # fmt: skip
