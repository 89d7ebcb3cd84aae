"""Dense traffic of mappings whose factors do not divide the bounds, so that the last tile of a variable is a partial one.

Tiles are products of the factors inside them, so every tile of a variable starts at a multiple of its size and only the
very last one is cut off, at the bound. What of a variable lies inside its bound is then a set of mixed-radix numbers up to
a limit, the digits being the iterations of its loops, and counting any of them (tiles, lanes with work, steps) is a walk
over its digits. All counts here are exact integers over *all* instances, from which averages per instance follow.

The words that cross a boundary are those of all tiles of all steps, less those that stand still: when loop ``j`` steps, a
tile stays where it is if ``j`` does not index the tensor and no loop inside it that does has a second iteration. In a
partial tile that happens in other places than in a full one, which is why the loops of a variable are not simply
multiplied (docs/model.md, *Remainders*).
"""

from __future__ import annotations

import numpy as np

from fiberloom.model.compiled import kernel
from fiberloom.model.counting import FILL, READ, UPDATE
from fiberloom.model.dataflow import distinct_offsets, rank_length, tile_size

UNCOVERED, BY_RULES, PARTIAL_WINDOW, PARTIAL_SPARSE, PARTIAL_PEERS = 12, 13, 14, 15, 16
"""Statuses: factors that do not cover the bound tightly, and what is not evaluated where tiles are partial."""

ALL_LANES, TILE_LANES, FIRST_LANE = 2, 1, 0
"""Which iterations of a level's spatial loops are counted: all; those of variables that index a rank alone; the first."""


@kernel
def remainders(p, m, w):
    """Prepare a nest whose factors do not multiply to the bounds: links between loops, extents cut off, steps.

    Needs `build_nest`. Returns a status (0: fine).
    """
    D, L, T = p.variables, p.levels, p.tensors
    for d in range(D):
        w.outermost_of[d] = -1
        w.running[d] = 1
    for i in range(w.active_count):
        d = w.active_variable[i]
        w.active_stride[i] = w.running[d]
        w.inner_of[i] = w.outermost_of[d]
        w.outermost_of[d] = i
        w.running[d] *= w.active_bound[i]
    status = 0
    for d in range(D - 1, -1, -1):
        i = w.outermost_of[d]
        bound = p.bounds[d]
        if w.running[d] < bound or (i >= 0 and w.active_stride[i] * (w.active_bound[i] - 1) >= bound):
            w.failed_variable = d
            return UNCOVERED
        if w.running[d] == bound:
            continue
        if status == 0:
            w.failed_variable = d
        for t in range(T):
            if p.is_relevant[t, d]:
                if not p.is_sole[t, d]:
                    status = PARTIAL_WINDOW
                elif p.is_filtered[t]:
                    status = PARTIAL_SPARSE
                else:
                    continue
                w.failed_variable, w.failed_tensor = d, t
    if not p.exact:
        return BY_RULES
    if status != 0:
        return status
    if p.spatial_entries > 0 or p.position_entries > 0:
        w.failed_tensor = p.spatial_follower[0] if p.spatial_entries > 0 else p.position_follower[0]
        return PARTIAL_SPARSE
    for t in range(T):
        w.failed_tensor = t
        if t == p.output:
            for r in range(p.rank_count[t]):
                if p.term_count[t, r] > 0 and p.term_coefficient[t, r, 0] != 1:
                    return PARTIAL_WINDOW
        if p.is_simple[t]:
            continue
        if t == p.output:
            return PARTIAL_WINDOW
        for level in range(1, L):
            if m.peer_links[level, t] and m.keep[level - 1, t] and w.fanout[level] > 1:
                w.failed_level = level
                return PARTIAL_PEERS
    for level in range(L + 1):
        for d in range(D):
            w.extent[level, d] = min(w.extent[level, d], p.bounds[d])
            if level < L:
                w.spatial_extent[level, d] = min(w.spatial_extent[level, d], p.bounds[d])
    for level in range(L):
        for t in range(T):
            w.whole[level, t] = tile_size(p, t, w.extent[level + 1])
            w.tile[level, t] = w.whole[level, t] if m.keep[level, t] else 0
        w.lane_rule[level] = FIRST_LANE
    # the first lane has a point whenever any lane has one
    w.steps = 1.0
    w.points = 1.0
    for d in range(D):
        w.points *= p.bounds[d]
        below, last = _positions(p, 0, w, 0, d, 0, p.bounds[d] - 1)
        w.steps *= below + last
    return 0


@kernel
def _positions(p, t, w, row, d, above, limit):
    """Tiles of `w.extent[row]` of variable `d` at positions below `limit`, and at it (0 or 1), over the lanes of `w.lane_rule`.

    Positions count tiles. Temporal loops before `above` stay at their first iteration.
    """
    if limit < 0:
        return 0, 0
    below = 0
    at = 1
    tile = w.extent[row, d]
    i = w.outermost_of[d]
    while i >= w.active_start[row]:
        digit = limit // (w.active_stride[i] // tile) % w.active_bound[i]
        rule = w.lane_rule[w.active_level[i]]
        free = rule == ALL_LANES or (rule == TILE_LANES and p.is_sole[t, d])
        if w.active_axis[i] == 0:
            free = i >= above
        if free:
            below = below * w.active_bound[i] + at * digit
        elif digit > 0:
            below += at
            at = 0
        i = w.inner_of[i]
    return below, at


@kernel
def _tiles_from(p, t, w, row, d, above, reach):
    """As `_positions`, over the whole bound: elements in `t`'s rank of `d` where the variable indexes one alone, else tiles.

    With a `reach` above 0, only of the tiles that are fewer than `reach` before the last: those that have no second iteration
    of a loop of that step.
    """
    last = (p.bounds[d] - 1) // w.extent[row, d]
    below, at = _positions(p, t, w, row, d, above, last)
    if reach > 0:
        others, other = _positions(p, t, w, row, d, above, last - reach)
        below -= others + other
    return below * w.full_length[d] + at * w.last_length[d]


@kernel
def _rank_lengths(p, t, w, row):
    """Lengths of full and last tiles of each variable's own rank; 1 for variables without. Returns the size of the other ranks."""
    for d in range(p.variables):
        w.full_length[d] = 1
        w.last_length[d] = 1
    others = 1
    for r in range(p.rank_count[t]):
        w.lengths[r] = rank_length(p, t, r, w.extent[row])
        w.back[r] = 0
        d = p.term_variable[t, r, 0]
        if p.term_count[t, r] == 1 and p.is_sole[t, d]:
            extent = (p.bounds[d] - 1) % w.extent[row, d] + 1
            w.full_length[d] = w.lengths[r]
            w.last_length[d] = 1 + p.term_coefficient[t, r, 0] * (extent - 1)
        else:
            others *= w.lengths[r]
    return others


@kernel
def _words_sent(p, t, w, row):
    """Words of `t` sent to all holders of the tiles of `w.extent[row]` in the lanes of `w.lane_rule`; row 0 holds nothing."""
    D = p.variables
    start = w.active_start[row]
    words = _rank_lengths(p, t, w, row)
    for d in range(D):
        w.held[d] = _tiles_from(p, t, w, row, d, start, 0)
        w.reach[d] = 0
        words *= w.held[d]
    if row == 0:
        return words
    alone = 1
    for r in range(p.rank_count[t]):
        d = p.term_variable[t, r, 0]
        if p.term_count[t, r] == 1 and not p.is_sole[t, d]:
            alone *= w.lengths[r]
    for i in range(start, w.active_count):
        if w.active_axis[i] != 0:
            continue
        d = w.active_variable[i]
        if p.is_sole[t, d] and w.reach[d] == 0:
            w.reach[d] = w.active_stride[i] // w.extent[row, d]
        before = w.held[d]
        w.held[d] = _tiles_from(p, t, w, row, d, i + 1, w.reach[d])
        if p.is_lone[t, d]:
            if w.held[d] == 0 or not p.is_sole[t, d]:
                break
            continue  # what stays in place lies at the end, where this loop has one iteration
        shared = alone
        for r in range(p.rank_count[t]):
            if p.term_count[t, r] > 1:
                step = p.coefficient[t, r, d] * w.active_stride[i]
                shared *= max(0, w.lengths[r] - abs(step - w.back[r]))
                w.back[r] += step * (w.active_bound[i] - 1)
        shared *= before - w.held[d]
        for other in range(D):
            if other != d:
                shared *= w.held[other]
        words -= shared
    return words


@kernel
def _elements_handled(p, t, w, row):
    """Elements of output `t` that each instance above the tiles of `w.extent[row]` handles, added up over the marked lanes."""
    elements = _rank_lengths(p, t, w, row)
    for d in range(p.variables):
        elements *= _tiles_from(p, t, w, row, d, w.active_start[row] if p.is_relevant[t, d] else w.active_count, 0)
    return elements


@kernel
def _told_apart(p, t, m, w, row, keeper):
    """Mark the lanes that `keeper` tells apart in `w.lane_rule`; returns distinct positions in ranks of several variables.

    As in `dataflow`: multicast spans the fan-outs from the child's up to the keeper's, until one has none.
    """
    groups = 1
    together = True
    for level in range(row, keeper + 1):
        if not m.multicast[level, t]:
            w.lane_rule[level] = ALL_LANES
            together = False
            continue
        w.lane_rule[level] = TILE_LANES
        if p.is_simple[t]:
            continue
        first = row if together else level
        distinct = distinct_offsets(p, t, w, first, level)
        for i in range(w.active_start[first], w.active_start[level + 1]):
            if w.active_axis[i] != 0 and p.is_sole[t, w.active_variable[i]]:
                distinct //= w.active_bound[i]
        groups = distinct if together else groups * distinct
    return groups


@kernel
def remainder_traffic(p, m, w):
    """As `dense_traffic`, for partial tiles: averages per instance, and `w.fullest`, the first instance's counts over them."""
    L = p.levels
    for t in range(p.tensors):
        outermost = L - 1
        while outermost > 0 and not m.keep[outermost, t]:
            outermost -= 1
        row = 0  # of the tiles that the keeper at hand sends
        for level in range(L):
            for a in range(3):
                w.dense[level, t, a] = 0.0
            w.peer[level, t] = 0.0
            if not m.keep[level, t]:
                continue
            for first_only in range(2):
                instances = 1 if first_only else w.used_instances[level + 1]
                for other in range(L):
                    w.lane_rule[other] = FIRST_LANE if first_only else ALL_LANES
                own = _elements_handled(p, t, w, level + 1) if t == p.output else 0
                for arriving in (True, False):  # in this order: the second marks other lanes
                    if arriving and level == outermost:
                        continue
                    groups = 1 if arriving else _told_apart(p, t, m, w, row, level)
                    words = groups * _words_sent(p, t, w, level + 1 if arriving else row)
                    # the first visit of an output needs neither a read nor a fill
                    _note_average(w, level, t, FILL if arriving else READ, words - own, instances, first_only)
                    if not arriving and t == p.output:
                        _note_average(w, level, t, UPDATE, words, instances, first_only)
            row = level + 1


@kernel
def _note_average(w, level, t, action, words, instances, first_only):
    if not first_only:
        w.dense[level, t, action] = words / np.float64(instances)
    else:
        average = w.dense[level, t, action]
        w.fullest[level, t, action] = words / average if average > 0 else 1.0
