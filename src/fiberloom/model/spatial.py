"""Lanes: children that spatial skipping leaves out, and lanes that position skipping refills."""

from __future__ import annotations

import numpy as np

from fiberloom.model.compiled import kernel
from fiberloom.model.counting import ACTUAL, NONE, READ, SPATIAL
from fiberloom.model.dataflow import tile_size
from fiberloom.model.leaders import child_keeper, follower_level
from fiberloom.model.occupancy import BLOCKS, MAX_OCCUPANCY, MEAN_FILL, MEAN_OCCUPANCY, P_EMPTY, tile_statistics


@kernel
def position_skipping(p, m, tab, w):
    """Lanes refilled with the follower's own non-zeros: lane use of compute, and passes over the other operands' data.

    The reference build averages the share of full lanes over passes; the passes themselves set the time, so the exact rule
    takes expected non-zeros over expected lane-slots.
    """
    L, T = p.levels, p.tensors
    for t in range(T):
        w.position[t] = False
        w.pass_ratio[t] = 1.0
    use = 1.0
    for s in range(p.position_entries):
        level, t = p.position_level[s], p.position_follower[s]
        at = follower_level(m, level, t, L)
        lanes = 1
        D = p.variables
        for d in range(D):
            if p.is_relevant[t, d]:
                lanes *= m.spatial[level, d]
        n = w.tile[at, t] if at == level else 0
        if at != level:
            w.failed_level, w.failed_tensor = level, t
            return 11
        tile_statistics(p, tab, w, t, w.extent[level + 1], lanes)
        w.position[t] = True
        slots = w.stat[BLOCKS] * lanes
        mean = w.stat[MEAN_OCCUPANCY]
        # lanes that do not divide the tile leave some empty in the dense schedule too
        w.pass_ratio[t] = min(1.0, slots / n) if n > 0 else 1.0
        use *= (mean / slots if slots > 0 else 1.0) if p.exact else w.stat[MEAN_FILL]
    w.lane_use = use
    # an operand is read once per pass over the other one
    for s in range(p.position_entries):
        level, t = p.position_level[s], p.position_follower[s]
        for other in range(T):
            if other != t and w.position[other]:
                w.count[level, t, READ, ACTUAL] *= w.pass_ratio[other]
                if not p.exact:
                    w.count[level, t, READ, ACTUAL] = np.floor(w.count[level, t, READ, ACTUAL])
    return 0


@kernel
def _spatial_ratio(p, m, tab, w, block, t, follower, n_loops, expansion):
    """Share of `block`'s children that the non-zeros of `t` need, and (scaled in place) the most along X and Y.

    With a `follower` (≥ 0), boxes of `t` grow by the temporal loops during which the follower's tile stays put.
    """
    L, D = p.levels, p.variables
    ratio = 1.0
    first = True
    for d in range(D):
        w.running[d] = w.extent[block, d]
    follower_child = child_keeper(m, block, follower) if follower >= 0 else -1
    follower_home = follower_level(m, block, follower, L) if follower >= 0 else -1
    for i in range(n_loops):
        if w.loop_level[i] != block or w.loop_axis[i] == 0:
            continue
        d, b = w.loop_variable[i], w.loop_bound[i]
        if b > 1 and p.is_relevant[t, d]:
            for e in range(D):
                w.box_extent[e] = w.running[e]
            if follower >= 0 and follower_child >= 0 and p.is_relevant[follower, d] and follower_home >= 0:
                for j in range(n_loops):
                    at = w.loop_level[j]
                    if at < block or w.loop_axis[j] != 0 or w.loop_bound[j] == 1:
                        continue
                    if at > follower_home:
                        break
                    if p.is_relevant[follower, w.loop_variable[j]]:
                        break
                    w.box_extent[w.loop_variable[j]] *= w.loop_bound[j]
            inner = tile_size(p, t, w.box_extent)
            if first:
                tile_statistics(p, tab, w, t, w.box_extent, 0)
                ratio = 1.0 - w.stat[P_EMPTY]
                first = False
            w.box_extent[d] *= b
            tile_statistics(p, tab, w, t, w.box_extent, 0)
            fibre = 1
            for r in range(p.rank_count[t]):
                fibre *= w.lengths[r]
            most = min(w.stat[MAX_OCCUPANCY], float(fibre // inner))
            axis = 0 if w.loop_axis[i] == 1 else 1
            expansion[axis] = np.floor(expansion[axis] * (most / b))
        w.running[d] *= b
    return ratio


@kernel
def spatial_skipping(p, m, tab, w, n_loops):
    """Children that spatial skipping leaves out, level by level (row 0 of `w.expansion` is compute, `l + 1` storage `l`)."""
    L, T = p.levels, p.tensors
    expansion = w.expansion
    for t in range(T):
        x = y = 1.0
        for level in range(L - 1, -1, -1):
            expansion[level + 1, t, 0], expansion[level + 1, t, 1] = x, y
            x *= w.fanout_xy[level, 0]
            y *= w.fanout_xy[level, 1]
        expansion[0, t, 0], expansion[0, t, 1] = x, y
        for level in range(L + 1):
            w.ratio[level, t] = 1.0
        for level in range(L):
            w.spatial_p[level, t] = 0.0
            w.saf_kind[level, t] = NONE
    if p.spatial_entries == 0:
        return
    original = w.original_expansion
    for t in range(T):
        for a in range(L + 1):
            original[a, t, 0], original[a, t, 1] = expansion[a, t, 0], expansion[a, t, 1]
            w.is_reduced[a, t] = False
        for block in range(L):
            home = block
            while home < L - 1 and not m.keep[home, t]:
                home += 1
            leads = not p.exact  # the reference builds let any tensor with metadata thin out any fan-out
            for e in range(p.spatial_entries):
                if p.spatial_level[e] == block and (p.spatial_leaders[e] >> t) & 1:
                    leads = True
            if leads and m.keep[home, t] and p.has_metadata[home, t]:
                w.ratio[block, t] = _spatial_ratio(p, m, tab, w, block, t, -1, n_loops, expansion[block, t])
                w.is_reduced[block, t] = w.ratio[block, t] != 1.0
        for a in range(L, 0, -1):
            rx = expansion[a, t, 0] / original[a, t, 0]
            ry = expansion[a, t, 1] / original[a, t, 1]
            if rx != 1.0 or ry != 1.0 or (p.exact and w.ratio[a, t] < 1.0):
                original[a, t, 0], original[a, t, 1] = expansion[a, t, 0], expansion[a, t, 1]
                crossed = False
                for inner in range(a - 1, -1, -1):
                    expansion[inner, t, 0] = np.floor(expansion[inner, t, 0] * rx)
                    expansion[inner, t, 1] = np.floor(expansion[inner, t, 1] * ry)
                    crossed = crossed or w.is_reduced[inner, t]
                    if not crossed:
                        w.ratio[inner, t] *= w.ratio[a, t]
    for s in range(p.spatial_entries):
        block, follower = p.spatial_level[s], p.spatial_follower[s]
        product = 1.0
        for leader in range(T):
            if not (p.spatial_leaders[s] >> leader) & 1:
                continue
            home = block
            while home < L - 1 and not m.keep[home, leader]:
                home += 1
            if m.keep[home, leader] and p.has_metadata[home, leader]:
                product *= _spatial_ratio(p, m, tab, w, block, leader, follower, n_loops, expansion[block, follower])
        w.ratio[block, follower] = product
        w.saf_kind[block, follower] = SPATIAL
    for t in range(T):
        for a in range(L, -1, -1):
            rx = ry = 1.0
            if a > 0:
                rx = expansion[a, t, 0] / original[a, t, 0]
                ry = expansion[a, t, 1] / original[a, t, 1]
            if a < L:
                w.spatial_p[a, t] = 1.0 - w.ratio[a, t] if w.saf_kind[a, t] == SPATIAL else 0.0
            if a > 0:
                ratio = w.ratio[a, t]
                w.instances[a - 1, t] = w.used_instances[a] * ratio
                if p.exact and 0.0 < ratio < 1.0:
                    # counts are per instance in use, and those in use hold what is not empty
                    w.density[a - 1, t] = min(1.0, w.density[a - 1, t] / ratio)
                    for r in range(p.format_ranks[a - 1, t]):
                        w.units[a - 1, t, r, 0] /= ratio
                        w.units[a - 1, t, r, 1] /= ratio
            if rx != 1.0 or ry != 1.0 or (p.exact and w.ratio[a, t] < 1.0):
                crossed = False
                for inner in range(a - 1, -1, -1):
                    crossed = crossed or w.saf_kind[inner, t] == SPATIAL
                    if not crossed:
                        w.ratio[inner, t] *= w.ratio[a, t]
                    expansion[inner, t, 0] = np.floor(expansion[inner, t, 0] * rx)
                    expansion[inner, t, 1] = np.floor(expansion[inner, t, 1] * ry)
