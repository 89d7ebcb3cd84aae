"""Step 1, dense traffic: how many words every level reads, is filled with and is updated with.

All counts are closed forms over the loop nest. For a tile that is fetched again and again while the loops above it turn,
only the *transition* matters: which loop stepped (all loops inside it fell back to their start). Transition ``j`` happens
``(n_j − 1) · Π n_i`` times, ``i`` over the loops outside ``j``, and moves the tile by a fixed vector; what the tile shares
with its predecessor is then a product of overlaps of intervals. This is exact for perfect factors (docs/model.md,
*Dense traffic*), linear in the number of loops, and needs no enumeration of iterations.

Everything here is compiled; arrays are views into `Lowered` and `Work` (see `fiberloom.model.lower`).
"""

from __future__ import annotations

import numpy as np

from fiberloom.model.compiled import kernel
from fiberloom.model.peer import peer_links
from fiberloom.model.transitions import DELTA_EXACT, gather_transitions, window_turns


@kernel
def build_nest(p, m, w):
    """Write the complete loop nest, innermost first, into `w` and the extents below every level.

    Loops of a bound above 1 are the active ones; all loops are listed only for problems with sparse features, whose
    ranks and anchors see them. Returns the number of all loops. `w.extent[l]` are the iterations of each variable inside
    and at level `l` (``l = 0`` is compute: all ones; storage level `l` is row ``l + 1``); `w.spatial_extent[l]` stops
    below level `l`'s temporal loops.
    """
    D, L = p.variables, p.levels
    n = 0
    active = 0
    steps = 1
    for d in range(D):
        w.extent[0, d] = 1
    for level in range(L):
        w.active_start[level] = active
        for d in range(D):
            w.spatial_extent[level, d] = w.extent[level, d]
        x = y = 1
        if p.has_fanout[level]:
            for i in range(D):
                d = m.spatial_order[level, i]
                f = m.spatial[level, d]
                axis = 1 if (m.on_x[level] >> d) & 1 else 2
                if p.complete_nest:
                    w.loop_variable[n] = d
                    w.loop_bound[n] = f
                    w.loop_level[n] = level
                    w.loop_axis[n] = axis
                    n += 1
                if f > 1:
                    w.active_variable[active] = d
                    w.active_bound[active] = f
                    w.active_level[active] = level
                    w.active_axis[active] = axis
                    active += 1
                    w.spatial_extent[level, d] *= f
                    if axis == 1:
                        x *= f
                    else:
                        y *= f
        w.fanout[level] = x * y
        w.fanout_xy[level, 0] = x
        w.fanout_xy[level, 1] = y
        for d in range(D):
            w.extent[level + 1, d] = w.spatial_extent[level, d]
        for i in range(D):
            d = m.temporal_order[level, i]
            f = m.temporal[level, d]
            if p.complete_nest:
                w.loop_variable[n] = d
                w.loop_bound[n] = f
                w.loop_level[n] = level
                w.loop_axis[n] = 0
                n += 1
            if f > 1:
                w.active_variable[active] = d
                w.active_bound[active] = f
                w.active_level[active] = level
                w.active_axis[active] = 0
                active += 1
                w.extent[level + 1, d] *= f
                steps *= f
    w.active_start[L] = active
    w.active_count = active
    w.steps = steps
    w.remainder = False
    for d in range(D):
        if w.extent[L, d] != p.bounds[d]:
            w.remainder = True
    # instances in use of each level: product of the fan-outs above it
    used = 1
    for level in range(L - 1, -1, -1):
        w.used_instances[level + 1] = used
        used *= w.fanout[level]
    w.used_instances[0] = used
    w.points = w.steps * used
    for level in range(L):
        for t in range(p.tensors):
            w.whole[level, t] = tile_size(p, t, w.extent[level + 1])
            w.tile[level, t] = w.whole[level, t] if m.keep[level, t] else 0
    return n


@kernel
def rank_length(p, t, r, extent):
    """Elements of rank `r` of tensor `t` spanned by `extent` iterations of each variable."""
    length = 1
    for k in range(p.term_count[t, r]):
        length += p.term_coefficient[t, r, k] * (extent[p.term_variable[t, r, k]] - 1)
    return length


@kernel
def tile_size(p, t, extent):
    """Elements of tensor `t` spanned by `extent` iterations of each variable."""
    size = 1
    for r in range(p.rank_count[t]):
        size *= rank_length(p, t, r, extent)
    return size


@kernel
def distinct_offsets(p, t, w, first_level, last_level):
    """Distinct positions of tensor `t` among the children spanned by the spatial loops of levels first..last."""
    if first_level == last_level and w.fanout[first_level] == 1:
        return 1
    total = 1
    if p.is_simple[t]:
        for i in range(w.active_start[first_level], w.active_start[last_level + 1]):
            if w.active_axis[i] != 0:
                if p.is_relevant[t, w.active_variable[i]]:
                    total *= w.active_bound[i]
        return total
    # Positions are sums of steps; gather (bound, step per rank) of the relevant spatial loops.
    count = 0
    for d in range(p.variables):
        w.running[d] = w.extent[first_level, d]
    for i in range(w.active_start[first_level], w.active_start[last_level + 1]):
        d, b = w.active_variable[i], w.active_bound[i]
        if w.active_axis[i] != 0 and p.is_relevant[t, d]:
            w.offset_bound[count] = b
            for r in range(p.rank_count[t]):
                w.offset_step[count, r] = p.coefficient[t, r, d] * w.running[d]
            count += 1
        w.running[d] *= b
    if count == 0:
        return 1
    for r in range(p.rank_count[t]):
        loops = 0
        first = second = -1
        for k in range(count):
            if w.offset_step[k, r] != 0:
                loops += 1
                if first < 0:
                    first = k
                else:
                    second = k
        if loops == 1:
            total *= w.offset_bound[first]
        elif loops == 2:
            a, b = abs(w.offset_step[first, r]), abs(w.offset_step[second, r])
            n, m = w.offset_bound[first], w.offset_bound[second]
            x, y = a, b
            while y:
                x, y = y, x % y
            total *= n * m - max(0, n - b // x) * max(0, m - a // x)
        elif loops > 2:
            total *= _count_sums(w, count, r)
    return total


@kernel
def _count_sums(w, count, rank):
    """Distinct sums of steps of one rank over all index tuples."""
    points = 1
    for k in range(count):
        if w.offset_step[k, rank] != 0:
            points *= w.offset_bound[k]
    sums = np.zeros(points, np.int64)
    for i in range(points):
        rest = i
        for k in range(count):
            if w.offset_step[k, rank] != 0:
                sums[i] += abs(w.offset_step[k, rank]) * (rest % w.offset_bound[k])
                rest //= w.offset_bound[k]
    sums.sort()
    distinct = 1
    for i in range(1, points):
        if sums[i] != sums[i - 1]:
            distinct += 1
    return distinct


@kernel
def sent_to_child(p, t, w, level):
    """Words that one child below `level`'s fan-out is sent over the whole run: whatever its previous tile did not hold.

    One pass over the loops above the child, innermost first. `repeated` are the words sent per sweep of the loops passed so
    far, beyond the first tile. Once a loop has stepped a variable that indexes a rank alone, tiles have nothing in common.
    """
    if level == 0:  # compute: no residency, one element each step
        return w.steps
    whole = w.whole[level - 1, t]
    simple = p.is_simple[t]
    ranks = p.rank_count[t]
    alone = 1  # part of the tile in ranks that one variable indexes
    if not simple:
        for d in range(p.variables):
            w.running[d] = w.spatial_extent[level, d]
        for r in range(ranks):
            w.lengths[r] = rank_length(p, t, r, w.extent[level])
            w.back[r] = 0
            if p.term_count[t, r] < 2:
                alone *= w.lengths[r]
    repeated = 0
    nothing_shared = False
    for i in range(w.active_start[level], w.active_count):
        d, b = w.active_variable[i], w.active_bound[i]
        if w.active_axis[i] != 0:
            if not simple and w.active_level[i] > level:
                w.running[d] *= b
            continue
        if not nothing_shared and p.is_lone[t, d]:
            nothing_shared = True
        sent = whole
        if not nothing_shared:
            if simple:
                sent = 0  # loops that do not index the tensor leave its tile where it is
            else:
                shared = alone
                for r in range(ranks):
                    if p.term_count[t, r] > 1:
                        step = p.coefficient[t, r, d] * w.running[d]
                        shared *= max(0, w.lengths[r] - abs(step - w.back[r]))
                        w.back[r] += step * (b - 1)
                sent = whole - shared
        repeated = b * repeated + (b - 1) * sent
        if not simple:
            w.running[d] *= b
    return whole + repeated


@kernel
def _sent_to_child_sampled(p, t, w, level):
    """As `sent_to_child`, by the reference builds: two iterations of every loop stand for all, see `transition_deltas`."""
    if level == 0:
        return w.steps
    whole = w.whole[level - 1, t]
    turns = window_turns(p, t, w, level)
    words = whole
    outer = 1
    for j in range(turns - 1, -1, -1):
        words += w.turn_delta[j] * (w.turn_bound[j] - 1) * outer
        outer *= w.turn_bound[j]
    return words


@kernel
def distinct_elements(p, t, w, level):
    """Distinct elements of `t` that one instance of `level` touches over the whole run (its union of tiles)."""
    if p.is_simple[t]:
        total = w.whole[level, t]
        for i in range(w.active_start[level + 1], w.active_count):
            if w.active_axis[i] == 0 and p.is_relevant[t, w.active_variable[i]]:
                total *= w.active_bound[i]
        return total
    turns = gather_transitions(p, t, w, level + 1) if level + 1 < p.levels else 0
    extent = w.extent[level + 1]
    total = 1
    for r in range(p.rank_count[t]):
        length = rank_length(p, t, r, extent)
        points = 1
        for j in range(turns):
            if w.turn_step[j, r] != 0:
                points *= w.turn_bound[j]
        starts = np.zeros(points, np.int64)
        for i in range(points):
            rest = i
            key = np.int64(0)
            for j in range(turns):
                if w.turn_step[j, r] != 0:
                    key += abs(w.turn_step[j, r]) * (rest % w.turn_bound[j])
                    rest //= w.turn_bound[j]
            starts[i] = key
        starts.sort()
        covered = length
        for i in range(1, points):
            covered += min(length, starts[i] - starts[i - 1])
        total *= covered
    return total


@kernel
def dense_traffic(p, m, w):
    """Fill `w.dense[level, tensor] = (reads, fills, updates)` per instance. Needs `build_nest`."""
    exact = p.delta_rule == DELTA_EXACT
    for t in range(p.tensors):
        outermost = p.levels - 1
        while outermost > 0 and not m.keep[outermost, t]:
            outermost -= 1
        for level in range(p.levels):
            if not m.keep[level, t]:
                for a in range(3):
                    w.dense[level, t, a] = 0.0
        if t == p.output:
            _output_shares(p, t, w, exact)
        if exact:
            _exact_demand(p, t, m, w, outermost)
        else:
            _sampled_demand(p, t, m, w, outermost)
        for level in range(outermost + 1):
            if not m.keep[level, t]:
                continue
            peer = 0.0
            if level < outermost and w.link[level + 1] > 0:
                # words passed on between the children of the level outside, per child (the reference tool divides by all
                # instances of the child level instead)
                peer = (
                    w.link[level + 1] / w.fanout[level + 1]
                    if exact
                    else w.link[level + 1] // w.used_instances[level + 1]
                )
            share = w.share[level + 1] if level < outermost else 0.0
            content = w.content[level]
            w.peer[level, t] = peer
            if t != p.output:
                w.dense[level, t, 0] = content + peer if exact else round(content + peer)
                w.dense[level, t, 1] = share + peer if exact else np.floor(share + peer)
                w.dense[level, t, 2] = 0.0
                continue
            # the first visit of an output element needs no read, and no fill where the rule says so
            own = min(w.partition[level], content + peer)  # a strided output's tile spans holes that no loop visits
            first = 0.0 if level == outermost else min(own, share + peer)
            if exact:
                w.dense[level, t, 0] = content + peer - own
                w.dense[level, t, 1] = share + peer - first
                w.dense[level, t, 2] = content
            else:
                w.dense[level, t, 0] = round(content + peer - own)
                w.dense[level, t, 1] = np.floor(share + peer) if p.first_visit_fills else round(share + peer - first)
                w.dense[level, t, 2] = round(content)


@kernel
def _output_shares(p, t, w, exact):
    """Distinct output elements that one instance of each level handles, into `w.partition`."""
    if exact:
        for level in range(p.levels):
            w.partition[level] = distinct_elements(p, t, w, level)
        return
    w.partition[p.levels - 1] = w.whole[p.levels - 1, t]
    for level in range(p.levels - 2, -1, -1):
        size = w.whole[level, t]
        spread = tile_size(p, t, w.spatial_extent[level + 1]) if w.fanout[level + 1] > 1 else size
        w.partition[level] = np.floor(w.partition[level + 1] * size / spread)


@kernel
def _exact_demand(p, t, m, w, outermost):
    """Words read from every keeper, `w.content`, and sent to every child, `w.share` (of the level above the child).

    Fan-outs of levels that do not keep the tensor act as one with the keeper's outside them.
    """
    level = 0
    while level <= outermost:
        words = sent_to_child(p, t, w, level)
        groups = 1.0
        together = True  # one multicast spans the whole run of fan-outs
        lowest = level
        still_needed = 1.0
        w.share[level] = words
        w.link[level] = 0.0
        if level > 0 and m.keep[level - 1, t] and m.peer_links[level, t] and w.fanout[level] > 1:
            own = float(distinct_offsets(p, t, w, level, level)) if m.multicast[level, t] else float(w.fanout[level])
            saved, linked = peer_links(p, t, w, level)
            still_needed = (words * own - saved) / (words * own)
            w.link[level] = linked
            w.share[level] = words - linked / w.fanout[level]
        while True:
            if not m.multicast[level, t]:
                together = False
                groups *= w.fanout[level]
            elif together:
                groups = float(distinct_offsets(p, t, w, lowest, level))
            else:
                groups *= distinct_offsets(p, t, w, level, level)
            if m.keep[level, t] or level == outermost:
                break
            level += 1
            w.share[level] = words
            w.link[level] = 0.0
        w.content[level] = words * groups * still_needed
        level += 1


@kernel
def _sampled_demand(p, t, m, w, outermost):
    """As `_exact_demand`, the way of the reference builds: as if all levels kept the tensor, then bypassed level by level."""
    pending = -1.0  # demand on a level that does not keep the tensor
    for level in range(outermost + 1):
        words = sent_to_child(p, t, w, level) if p.is_simple[t] else _sent_to_child_sampled(p, t, w, level)
        distinct = distinct_offsets(p, t, w, level, level) if m.multicast[level, t] else w.fanout[level]
        w.share[level] = words
        w.content[level] = words * distinct
        w.link[level] = 0.0
        if m.peer_links[level, t] and w.fanout[level] > 1:
            saved, linked = peer_links(p, t, w, level)
            w.content[level] -= saved
            w.link[level] = linked
            w.share[level] -= linked / w.fanout[level]
        if pending >= 0:
            offered = w.share[level] * w.fanout[level]
            w.content[level] *= pending * w.fanout[level] / offered if offered > 0 else 0.0
            w.link[level] = 0.0  # links between children that keep nothing are pointless
        pending = -1.0 if m.keep[level, t] else w.content[level]
