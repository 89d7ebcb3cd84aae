"""The ground that a search runs on: an Einsum, an accelerator and one choice of keeps, as tables over tile shapes."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.mapper.exact.ground import Ground, passes_on
from fiberloom.mapper.exact.skipped import only_skips
from fiberloom.mapper.exact.sparsity import Sparsity, least_bits, sparsity
from fiberloom.mapper.exact.tables import BOTH, FIXED, READS, WRITES, Terrain
from fiberloom.model.counting import FILL, READ, UPDATE

Array = NDArray[Any]


def _may_loop(base: Ground, level: int) -> bool:
    """Whether a level may have temporal loops at all."""
    return any(int(choices[-1]) > 1 for choices in base.space.temporal_choices[level])


def _constant(base: Ground, thin: Sparsity, sends: Array, parent: Array) -> Array:
    """``(L, T)`` see `Terrain.constant`: no windows, and nothing that formats, gating or skipping leave out."""
    p = base.problem.arrays[0]
    L, T = sends.shape
    found = np.tile(p["is_simple"][:T].astype(np.uint8), (L, 1))
    for level, t in itertools.product(range(L), range(T)) if thin.sparse else ():
        rows = {level, int(sends[level, t])} - {-1}
        if any(thin.skipped.own_set[row, t] >= 0 or (thin.metadata[parent[row, t], t] > 0) for row in rows):
            found[level, t] = False
        if any((thin.sent_share[row, t] < 1).any() or (thin.filled_share[row, t] < 1).any() for row in rows):
            found[level, t] = False
    return found


def _fixed_pj(p: Any, thin: Sparsity, level: int, t: int, action: int) -> float:
    """Energy of the metadata of a dense word that is moved, where it is the same whatever the loops are."""
    if thin.listed[level, t] != FIXED or p["metadata_width"][level] == 0:
        return 0.0
    vectors = float(thin.metadata[level, t]) / float(p["metadata_width"][level]) / max(1, int(p["cluster"][level]))
    return float(p["energy"][level, 3 + action, 0]) * vectors


def terrain(base: Ground, keep: Array, least: float = 1.0) -> Terrain | None:
    """Tables for one choice of keeps ``(L, T)`` that fills `least` lanes; None where it can't hold the problem at all."""
    p = base.problem.arrays[0]
    D, T, L = int(p["variables"]), int(p["tensors"]), int(p["levels"])
    points, space = base.points, base.space
    parent = np.full((L + 1, T), -1, np.int64)
    for t in range(T):
        keepers = np.flatnonzero(keep[:, t])
        if not len(keepers):
            return None
        parent[0, t] = keepers[0]
        for child, keeper in itertools.pairwise(keepers):
            parent[child + 1, t] = keeper
    thin = sparsity(base, keep, parent)
    if thin is None:
        return None
    fits = np.ones((L, points.size), np.uint8)
    for level in range(L):
        used = sum(
            (
                (thin.most[t] if p["is_compressed"][level, t] else base.whole[t]) * float(p["word_scale"][level, t])
                for t in range(T)
                if keep[level, t]
            ),
            np.zeros(points.size),
        )
        fits[level] = (used <= p["capacity"][level] * (1 + 1e-12)) & (
            used >= p["min_utilization"][level] * np.minimum(p["capacity"][level], 1e300)
        )
        if np.isfinite(p["metadata_capacity_bits"][level]):
            bits = sum((least_bits(base, level, t) for t in range(T) if keep[level, t]), np.zeros(points.size))
            fits[level] &= bits <= p["metadata_capacity_bits"][level] * (1 + 1e-12)
    fan = space.lanes.prod(axis=1).astype(np.float64)
    above = np.array([fan[level + 1 :].prod() for level in range(L)])
    most_copies = np.array([shares[:T].max(axis=1) for shares in base.shares])
    copies = np.array([most_copies[level + 1 :].prod(axis=0) for level in range(L)])
    sends = np.full((L, T), -1, np.int64)
    read, update, fill, metadata_read, metadata_update, metadata_words = np.zeros((6, L + 1, T))
    for row in range(L):
        for t in range(T):
            k = parent[row, t]
            if k < 0:
                continue
            # The traffic is known at the innermost fan-out between the two, unless loops further in may still repeat it.
            at = row
            while at < k and fan[at] == 1 and (row == 0 or not _may_loop(base, at)):
                at += 1
            if fan[at] == 1:
                at = row
            sends[at, t] = row
            outer = 1.0 / max(1, int(p["cluster"][k])) / float(p["values_per_access"][k, t])
            outer *= thin.least[t] if p["has_metadata"][k, t] else 1.0
            several = row > 0 and not p["has_metadata"][row - 1, t] and thin.listed[k, t] != FIXED
            if several and thin.metadata[k, t] > 0 and p["metadata_width"][k] > 0:
                bits = thin.metadata[k, t] * (thin.occupied[t].min() if thin.fibres[k, t] else 1.0)
                vectors = bits / float(p["metadata_width"][k]) / max(1, int(p["cluster"][k]))
                metadata_words[row, t] = bits / float(p["word_bits"][k])
                metadata_read[row, t] = float(p["energy"][k, 3 + READ, 0]) * vectors
                metadata_update[row, t] = float(p["energy"][k, 3 + UPDATE, 0]) * vectors
            read[row, t] = float(p["energy"][k, READ, 0]) * outer + _fixed_pj(p, thin, k, t, READ)
            update[row, t] = float(p["energy"][k, UPDATE, 0]) * outer + _fixed_pj(p, thin, k, t, UPDATE)
            if row > 0:
                inner = 1.0 / max(1, int(p["cluster"][row - 1])) / float(p["values_per_access"][row - 1, t])
                inner *= thin.least[t] if p["has_metadata"][row - 1, t] else 1.0
                fill[row, t] = float(p["energy"][row - 1, FILL, 0]) * inner + _fixed_pj(p, thin, row - 1, t, FILL)
            if t == int(p["output"]) and not p["is_simple"][t]:
                read[row, t] = fill[row, t] = metadata_read[row, t] = 0.0  # shared first visits have no bound
    limited = [
        (level, what, float(p[name][level]))
        for level in range(L)
        for what, name in ((READS, "read_bandwidth"), (WRITES, "write_bandwidth"), (BOTH, "shared_bandwidth"))
        if math.isfinite(p[name][level])
    ]
    most = max(len(s.factors) for s in base.spreads)
    spread = np.ones((L, most, D), np.int64)
    lanes = np.ones((L, most), np.int64)
    on_x = np.zeros((L, most), np.int64)
    inside = np.full((L, most), math.inf)
    for level, ways in enumerate(base.spreads):
        spread[level, : len(ways.factors)] = ways.factors
        lanes[level, : len(ways.factors)] = ways.lanes
        on_x[level, : len(ways.factors)] = ways.on_x
        inside[level, : len(ways.factors)] = ways.inside
    digit = np.zeros((D, int(space.bounds.max()) + 1), np.int32)
    for d in range(D):
        digit[d, points.divisors[d, : points.count[d]]] = np.arange(points.count[d])
    multicast = np.asarray(space.multicast, np.uint8)
    windowed = ~p["is_simple"][:T].astype(bool)
    refines = thin.refines
    filtered = thin.skipped
    boost = filtered.boosts(base) if refines else np.ones(L)
    threshold, ceiling, floor_share = base.thresholds(least, boost)
    return Terrain(
        count=points.count,
        stride=points.stride,
        extents=points.extents,
        digit=digit,
        below=base.below,
        below_count=base.below_count,
        spread=spread,
        spread_count=np.array([len(s.factors) for s in base.spreads], np.int64),
        lanes=lanes,
        on_x=on_x,
        spread_order=np.asarray(space.spatial_orders, np.int64),
        folding=np.array([space.tensors.index(fold.tensor) if fold else 0 for fold in space.folds], np.int64),
        inside=inside,
        linked=passes_on(base.problem, space).astype(np.uint8),
        threshold=threshold,
        ceiling=ceiling,
        kind_of=base.kind_of,
        status=base.status,
        first=base.first,
        opens=base.opens,
        opens_of=base.opens_of,
        group=base.group,
        trails=base.trails,
        counted=np.isin(np.arange(T), base.opens).astype(np.uint8),
        sweeps_inside=base.sweeps_inside,
        sequence=base.sequence,
        outer_count=base.outer_count,
        sweeps=base.sweeps,
        idle_class=base.idle_class,
        parent=parent,
        whole=base.whole,
        idle=base.idle,
        outside=(space.bounds / points.extents).prod(axis=1),
        size=base.size,
        windowed=windowed,
        stepped=base.stepped,
        whole_spread=np.array([not multicast[:, t].all() for t in range(T)]),
        asks=np.array([row[:2] for row in limited], np.int64).reshape(len(limited), 2),
        bandwidth=np.array([row[2] for row in limited], np.float64),
        pace=np.array([1.0 / (above[row[0]] * row[2]) for row in limited], np.float64),
        fits=fits,
        **base.rows,
        multicast=multicast,
        sends=sends,
        above=above,
        copies=copies,
        read=read,
        update=update,
        fill=fill,
        compact=np.where(p["has_metadata"][:L, :T].astype(bool), thin.least, 1.0) * p["demand"][:L, :T]
        + np.where(thin.listed == FIXED, thin.metadata, 0.0) / p["word_bits"][:L, None],
        sparse=thin.sparse,
        sent_share=thin.sent_share,
        filled_share=thin.filled_share,
        density=thin.density,
        occupied=thin.occupied,
        overhead=thin.overhead,
        metadata=thin.metadata,
        fibres=thin.fibres,
        listed=thin.listed,
        whole_nest=thin.whole_nest,
        arrives=thin.arrives,
        last_row=filtered.last_row,
        refines=refines,
        left=filtered.left,
        grown=filtered.grown,
        own_set=filtered.own_set,
        busy_set=filtered.busy_set if refines else np.full_like(filtered.busy_set, -1),
        told=filtered.told,
        metadata_read=metadata_read,
        metadata_update=metadata_update,
        metadata_words=metadata_words,
        constant=_constant(base, thin, sends, parent),
        runs=base.runs,
        boost=boost,
        floor_share=floor_share,
        busy_pj=float(p["compute_energy"][0]) if refines and only_skips(p) else 0.0,
    )
