"""Step 2, first half: occupancy and metadata of every tile, and the accesses that a format makes unnecessary.

Results go to `w.density`, `w.present`, `w.max_occupancy`, `w.units[l, t, rank, item]`, and the first version of `w.count` and
`w.metadata` (see `fiberloom.model.filtering`).
"""

from __future__ import annotations

import numpy as np

from fiberloom.model.compiled import kernel
from fiberloom.model.counting import (
    ACTUAL,
    FORMAT_B,
    FORMAT_CP,
    FORMAT_RLE,
    FORMAT_U,
    FORMAT_UB,
    FORMAT_UOP,
    GATED,
    SKIPPED,
    UPDATE,
    removed,
)
from fiberloom.model.dataflow import rank_length
from fiberloom.model.fibertree import OK, ranks_from_loops
from fiberloom.model.occupancy import MAX_OCCUPANCY, MEAN_OCCUPANCY, P_EMPTY, combine, find, tile_statistics
from fiberloom.model.records import UNIT_MISSES


@kernel
def _subtile_empty(p, tab, w, t, level, child, r):
    """Probability that the tile below a coordinate of rank `r` is empty; looked up once, or known from the child."""
    known = w.empty_subtile[level, t, r]
    if known >= 0:
        return known
    if child >= 0 and r <= w.child_ranks[level, t] and w.child_ranks[level, t] > 0 and p.has_metadata[child, t]:
        known = _child_subtile_empty(p, tab, w, t, child, r)
    else:
        tile_statistics(p, tab, w, t, w.subtile[level, t, r], 0)
        known = w.stat[P_EMPTY]
    w.empty_subtile[level, t, r] = known
    return known


@kernel
def _child_subtile_empty(p, tab, w, t, child, r):
    if w.empty_subtile[child, t, r] < 0:
        tile_statistics(p, tab, w, t, w.subtile[child, t, r], 0)
        w.empty_subtile[child, t, r] = w.stat[P_EMPTY]
    return w.empty_subtile[child, t, r]


@kernel
def _metadata_units(p, m, tab, w, t, level, child):
    """Expected metadata and payload items per rank of a tile into `w.units[level, t]`; innermost payload is the data itself."""
    ranks = p.format_ranks[level, t]
    parent_knows = w.parent_metadata[level, t]
    if p.exact:
        fibres = 1.0  # fibres of the rank if nothing were empty
        for r in range(ranks + 1):
            w.empty_subtile[level, t, r] = -1.0
        for r in range(ranks - 1, -1, -1):
            length = w.fibre[level, t, r]
            w.units[level, t, r, 0] = 0.0
            w.units[level, t, r, 1] = 0.0
            trivial = length == 1 and r != (0 if p.inner_to_outer[level, t] else ranks - 1)
            if not trivial and p.format_kind[level, t, r] != FORMAT_U:
                kind = p.format_kind[level, t, r]
                present = coordinates = 0.0
                if kind == FORMAT_UOP or kind == FORMAT_B:
                    present = fibres * (1.0 - _subtile_empty(p, tab, w, t, level, child, r + 1))
                if kind != FORMAT_UOP and kind != FORMAT_UB:
                    coordinates = fibres * length * (1.0 - _subtile_empty(p, tab, w, t, level, child, r))
                if kind == FORMAT_UOP:
                    w.units[level, t, r, 1] = present * (length + 1)
                elif kind == FORMAT_CP or kind == FORMAT_RLE:
                    w.units[level, t, r, 0] = coordinates
                    w.units[level, t, r, 1] = coordinates
                elif kind == FORMAT_B:
                    w.units[level, t, r, 0] = present * length
                    w.units[level, t, r, 1] = coordinates
                else:
                    w.units[level, t, r, 0] = fibres * length * w.present[level, t]
                    w.units[level, t, r, 1] = fibres * length * w.present[level, t]
            fibres *= length
    else:
        key = combine(np.int64(level * 64 + t), 1 if parent_knows else 0)
        for r in range(ranks + 1):
            if r < ranks:
                key = combine(key, w.fibre[level, t, r])
            extent = w.subtile[level, t, r]
            for q in range(p.rank_count[t]):
                key = combine(key, rank_length(p, t, q, extent))
        for d in range(p.variables):
            if p.is_relevant[t, d]:
                key = combine(key, w.extent[level + 1, d])
        row = find(tab.unit_keys, key)
        if row >= 0:
            for r in range(ranks):
                w.units[level, t, r, 0] = tab.unit_rows[row, r, 0]
                w.units[level, t, r, 1] = tab.unit_rows[row, r, 1]
            w.max_metadata_bits[level, t] = tab.unit_rows[row, ranks, 0]
        else:
            n = w.unit_miss_count
            if n < UNIT_MISSES:
                w.unit_miss_key[n] = key
                w.unit_miss[n, 0] = level
                w.unit_miss[n, 1] = t
                w.unit_miss[n, 2] = 1 if parent_knows else 0
                for r in range(ranks):
                    w.unit_miss[n, 3 + r] = w.fibre[level, t, r]
                for r in range(ranks + 1):
                    for d in range(p.variables):
                        w.unit_miss_extent[n, r, d] = w.subtile[level, t, r, d]
                for d in range(p.variables):
                    w.unit_miss_extent[n, ranks + 1, d] = w.extent[level + 1, d]
                w.unit_miss_count = n + 1
            for r in range(ranks):
                w.units[level, t, r, 0] = 0.0
                w.units[level, t, r, 1] = 0.0
    if not p.exact:
        return  # the rows say so already
    # the payload of the innermost rank that holds anything is the data
    for r in range(ranks):
        if w.units[level, t, r, 0] > 0 or w.units[level, t, r, 1] > 0:
            w.units[level, t, r, 1] = 0.0
            break


@kernel
def tile_occupancies(p, m, tab, w, n_loops):
    """Step (1): density, largest occupancy, average instances and metadata of every tile. Returns a status (0: fine)."""
    L, T = p.levels, p.tensors
    for t in range(T):
        parent = -1
        arriving = 1.0  # share of tiles that an outer level sends at all
        for level in range(L - 1, -1, -1):
            w.instances[level, t] = w.used_instances[level + 1]
            w.density[level, t] = 1.0
            w.present[level, t] = 1.0
            w.max_occupancy[level, t] = w.tile[level, t]
            w.parent_metadata[level, t] = False
            w.max_metadata_bits[level, t] = 0.0
            if not m.keep[level, t] or w.tile[level, t] == 0:
                continue
            knows = parent >= 0 and p.has_metadata[parent, t]
            w.parent_metadata[level, t] = knows
            w.present[level, t] = arriving
            if knows or p.has_metadata[level, t]:
                tile_statistics(p, tab, w, t, w.extent[level + 1], 0)
                size = w.tile[level, t]
                mean = w.stat[MEAN_OCCUPANCY]
                filled = 1.0 - w.stat[P_EMPTY]
                if p.exact:
                    w.density[level, t] = mean / size
                    if knows:
                        arriving = filled
                        w.present[level, t] = filled
                elif knows:
                    w.instances[level, t] *= filled
                    w.density[level, t] = mean / (size * filled) if filled > 0 else 0.0
                else:
                    w.density[level, t] = mean / size
                if p.is_compressed[level, t] or (p.has_metadata[level, t] and not p.exact):
                    w.max_occupancy[level, t] = w.stat[MAX_OCCUPANCY]
            parent = level
    if p.any_metadata:
        for t in range(T):
            if not p.tensor_has_metadata[t]:
                continue
            child = -1
            for level in range(L):
                if not m.keep[level, t] or w.tile[level, t] == 0:
                    continue
                status = ranks_from_loops(p, w, t, level, child, n_loops)
                if status != OK:
                    w.failed_level, w.failed_tensor = level, t
                    return status
                if p.has_metadata[level, t]:
                    _metadata_units(p, m, tab, w, t, level, child)
                child = level
    return 0


@kernel
def format_savings(p, m, w):
    """Step (2): data accesses that survive the format, and the metadata accesses that it costs."""
    L, T = p.levels, p.tensors
    for t in range(T):
        for level in range(L):
            for a in range(3):
                dense = w.dense[level, t, a]
                w.count[level, t, a, GATED] = 0.0
                w.count[level, t, a, SKIPPED] = 0.0
                if p.has_metadata[level, t] and w.tile[level, t] > 0:
                    if a != UPDATE or t == p.output:
                        dense -= removed(p, dense, 1.0 - w.density[level, t])
                elif p.exact:
                    dense *= w.present[level, t]
                w.count[level, t, a, ACTUAL] = dense
            if not (p.has_metadata[level, t] and w.tile[level, t] > 0):
                continue
            for r in range(p.format_ranks[level, t]):
                for item in range(2):
                    units = w.units[level, t, r, item]
                    for a in range(3):
                        accesses = units * (w.dense[level, t, a] / w.tile[level, t])
                        w.metadata[level, t, r, item, a, ACTUAL] = (
                            accesses if p.exact else np.ceil(accesses * (1.0 - 1e-12))
                        )
                        w.metadata[level, t, r, item, a, GATED] = 0.0
                        w.metadata[level, t, r, item, a, SKIPPED] = 0.0
