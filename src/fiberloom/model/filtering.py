"""Step 2, sparse filtering: what formats, gating and skipping leave of the dense traffic.

Order of the work, as in Sparseloop (MICRO'22, §5.3): (1) the occupancy of every tile and its metadata; (2) accesses that a
format makes unnecessary; (3) how likely each gating or skipping entry finds its leader empty; (4) what that removes, at the
level itself (gated or skipped) and from every level inside (never happens); (5) the operand states at compute.

`exact` rules keep expectations as real numbers. The rules of the reference builds round after every step, in its order.
Results go to `w.count[l, t, action, kind]` and `w.metadata[l, t, rank, item, action, kind]` with action = read, fill,
update; kind = actual, gated, skipped; item = metadata, payload.
"""

from __future__ import annotations

import numpy as np

from fiberloom.model.compiled import kernel
from fiberloom.model.dataflow import rank_length, tile_size
from fiberloom.model.fibertree import OK, ranks_from_loops
from fiberloom.model.leaders import child_keeper, exact_leader_boxes, follower_level, leader_boxes
from fiberloom.model.occupancy import (
    BLOCKS,
    MAX_OCCUPANCY,
    MEAN_FILL,
    MEAN_OCCUPANCY,
    P_EMPTY,
    combine,
    find,
    tile_statistics,
)
from fiberloom.model.records import UNIT_MISSES

ACTUAL, GATED, SKIPPED = 0, 1, 2
READ, FILL, UPDATE = 0, 1, 2
NONE, GATING, SKIPPING, SPATIAL, POSITION = 0, 1, 2, 3, 4
FORMAT_U, FORMAT_UOP, FORMAT_CP, FORMAT_RLE, FORMAT_B, FORMAT_UB = 0, 1, 2, 3, 4, 5


@kernel
def _removed(p, count, probability):
    """Part of `count` that goes: rounded down by the rules of the reference builds."""
    gone = count * probability
    return gone if p.exact else np.floor(gone)


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
                        dense -= _removed(p, dense, 1.0 - w.density[level, t])
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


@kernel
def leader_probabilities(p, m, tab, w, n_loops):
    """Step (3): probability and kind of the entry that governs each (level, follower), into `w.saf_p` and `w.saf_kind`."""
    L, T = p.levels, p.tensors
    if p.entries == 0:
        return 0
    for level in range(L):
        for t in range(T):
            w.saf_p[level, t] = 0.0
            for leader in range(T):
                w.saf_leader[level, t, leader] = 0.0
    for s in range(p.entries):
        best_saving = 0.0
        best_level = best_follower = -1
        best_p = 0.0
        for o in range(p.saf_first[s], p.saf_first[s] + p.saf_options[s]):
            follower = p.option_follower[o]
            source = follower_level(m, p.saf_level[s], follower, L)
            if source < 0:
                w.failed_level, w.failed_tensor = p.saf_level[s], follower
                return 10
            child = child_keeper(m, source, follower)
            if p.exact:
                probability = exact_leader_boxes(p, tab, w, source, child, follower, p.option_leaders[o])
            else:
                probability = leader_boxes(p, tab, w, source, child, follower, p.option_leaders[o], n_loops)
            # expected gain decides between options
            at = child if child >= 0 else source
            occupied = w.tile[source, follower] * w.density[source, follower]
            if p.has_metadata[at, follower]:
                units = 0.0
                for r in range(p.format_ranks[at, follower]):
                    units += w.units[at, follower, r, 0] + w.units[at, follower, r, 1]
                occupied += units * (p.metadata_word_bits[source] // p.word_bits[source])
            saving = p.energy[source, READ, ACTUAL] / p.block[source] * occupied * probability
            if saving >= best_saving:
                best_saving = saving
                best_level, best_follower, best_p = source, follower, probability
                for leader in range(T):
                    w.best_leader[leader] = w.leader_empty[leader]
                for d in range(p.variables):
                    w.best_extent[d] = w.leader_extent[d]
        if best_level < 0:
            continue
        if w.saf_kind[best_level, best_follower] == NONE or w.saf_p[best_level, best_follower] < best_p:
            w.saf_kind[best_level, best_follower] = p.saf_kind[s]
            w.saf_p[best_level, best_follower] = best_p
            for leader in range(T):
                w.saf_leader[best_level, best_follower, leader] = w.best_leader[leader]
            for d in range(p.variables):
                w.saf_extent[best_level, best_follower, d] = w.best_extent[d]
    return 0


@kernel
def _split(p, m, w, level, t, probability, kind):
    """Move the share `probability` of this level's reads and updates to `kind` (gated or skipped)."""
    reads = w.count[level, t, READ, ACTUAL]
    gone = reads * probability
    if not p.exact:
        gone = np.ceil(gone) if t == p.output else np.floor(gone)
    w.count[level, t, READ, kind] += gone
    w.count[level, t, READ, ACTUAL] = reads - gone
    gone = _removed(p, w.count[level, t, UPDATE, ACTUAL], probability)
    w.count[level, t, UPDATE, kind] += gone
    w.count[level, t, UPDATE, ACTUAL] -= gone
    if not p.has_metadata[level, t]:
        return
    ranks = p.format_ranks[level, t]
    child = child_keeper(m, level, t)
    if child >= 0 and not p.exact:
        ranks = min(ranks, p.format_ranks[child, t] if p.has_metadata[child, t] else 0)
    for r in range(ranks):
        for item in range(2):
            for a in (READ, UPDATE):
                gone = _removed(p, w.metadata[level, t, r, item, a, ACTUAL], probability)
                w.metadata[level, t, r, item, a, kind] += gone
                w.metadata[level, t, r, item, a, ACTUAL] -= gone


@kernel
def _scale_inside(p, w, level, t, probability, outer_ranks):
    """Remove the share `probability` of everything that level `level` does with `t`."""
    for a in range(3):
        w.count[level, t, a, ACTUAL] -= _removed(p, w.count[level, t, a, ACTUAL], probability)
    if not p.has_metadata[level, t] or w.tile[level, t] == 0:
        return
    ranks = p.format_ranks[level, t]
    for r in range(ranks):
        for item in range(2):
            for a in range(3):
                if not p.exact:
                    # the reference build scales only one rank, and only below a level whose own format has exactly one
                    if a == UPDATE or outer_ranks != 1 or r != 0:
                        continue
                w.metadata[level, t, r, item, a, ACTUAL] -= _removed(
                    p, w.metadata[level, t, r, item, a, ACTUAL], probability
                )


@kernel
def _propagate_exact(p, m, tab, w):
    """Step (4), default rules: a follower's boxes nest, so the emptiest box of each leader met so far decides."""
    L, T = p.levels, p.tensors
    spatial = 1.0
    for t in range(T):
        for leader in range(T):
            w.met_leader[leader] = 0.0
        surviving = 1.0
        for level in range(L - 1, -1, -1):
            outside = surviving
            kind = w.saf_kind[level, t]
            if kind == GATING or kind == SKIPPING:
                for leader in range(T):
                    own, met = w.saf_leader[level, t, leader], w.met_leader[leader]
                    if own > met:
                        surviving *= (1.0 - own) / (1.0 - met)
                        w.met_leader[leader] = own
            if m.keep[level, t]:
                if outside < 1.0:
                    _scale_inside(p, w, level, t, 1.0 - outside, 0)
                if surviving < outside:
                    _split(p, m, w, level, t, 1.0 - surviving / outside, kind)
            surviving *= 1.0 - w.spatial_p[level, t]
            w.elimination[level, t] = 1.0 - surviving
        if t != p.output:
            product = 1.0
            for level in range(L):
                product *= 1.0 - w.spatial_p[level, t]
            spatial = min(spatial, product)
    for leader in range(T):
        w.compute_leader[leader] = _leader_rules_out(p, tab, w, leader, False) if p.entries > 0 else 0.0
        w.skip_leader[leader] = _leader_rules_out(p, tab, w, leader, True) if p.entries > 0 else 0.0
    for t in range(T):
        if w.position[t]:
            w.compute_leader[t] = max(w.compute_leader[t], 1.0 - p.element_density[t])
            w.skip_leader[t] = max(w.skip_leader[t], 1.0 - p.element_density[t])
    arriving = w.steps * w.used_instances[0] * spatial
    skipped_past = gated_past = arriving
    for leader in range(T):
        skipped_past *= 1.0 - w.skip_leader[leader]
        gated_past *= 1.0 - w.compute_leader[leader]
    # What arrives at a lane that spatial skipping kept is not empty there: its leaders' zeros are gone already.
    for e in range(p.spatial_entries):
        own = w.spatial_p[p.spatial_level[e], p.spatial_follower[e]]
        for leader in range(T):
            if (p.spatial_leaders[e] >> leader) & 1:
                w.compute_leader[leader] = max(w.compute_leader[leader], own)
                w.skip_leader[leader] = max(w.skip_leader[leader], own)
    # A gated operand costs its cycle, unless no operand exists at all.
    idle_skipped, idle_gated = skipped_past, gated_past
    for t in range(T):
        if t == p.output:
            continue
        innermost = 0
        while innermost < L - 1 and not m.keep[innermost, t]:
            innermost += 1
        if not p.has_metadata[innermost, t]:
            idle_skipped = idle_gated = 0.0
        else:
            idle_skipped *= 1.0 - _given_not_empty(p.element_density[t], w.skip_leader[t])
            idle_gated *= 1.0 - _given_not_empty(p.element_density[t], w.compute_leader[t])
    w.remaining = gated_past
    w.idled = max(0.0, skipped_past - idle_skipped - gated_past + idle_gated)


@kernel
def _leader_rules_out(p, tab, w, leader, only_skipping):
    """Probability that a box of `leader` that some operand's entry looks at is empty.

    Boxes of one follower nest, so its emptiest decides. Boxes of several followers cross: they share an inner box, and what
    each has beside it is independent of the others given that the inner box is empty.
    """
    boxes = 0
    last = 0.0
    for t in range(p.tensors):
        w.met_leader[t] = 0.0
        if t == p.output:
            continue
        at = -1
        for level in range(p.levels):
            own = w.saf_leader[level, t, leader]
            if own > w.met_leader[t] and (w.saf_kind[level, t] == SKIPPING or not only_skipping):
                w.met_leader[t] = own
                at = level
        if at >= 0:
            last = w.met_leader[t]
            for d in range(p.variables):
                extent = w.saf_extent[at, t, d]
                w.box_extent[d] = extent if boxes == 0 else min(w.box_extent[d], extent)
            boxes += 1
    if boxes < 2:
        return last
    tile_statistics(p, tab, w, leader, w.box_extent, 0)
    inner = w.stat[P_EMPTY]
    if inner <= 0:
        return 0.0
    all_held = inner
    for t in range(p.tensors):
        if w.met_leader[t] > 0:
            all_held *= max(0.0, 1.0 - w.met_leader[t] / inner)
    return inner - all_held


@kernel
def _given_not_empty(density, empty):
    """Density of an element of a box that is known not to be empty."""
    return min(1.0, density / (1.0 - empty)) if empty < 1.0 else 0.0


@kernel
def _propagate_rounded(p, m, w):
    """Step (4), rules of the reference builds: each entry works inwards to the next one, rounding down at every level."""
    L, T = p.levels, p.tensors
    total = w.steps * w.used_instances[0]
    w.idled = 0.0
    for t in range(T):
        w.reaches_compute[t] = False
        w.reach_p[t] = 0.0
    for t in range(T):
        outer_p = -1.0
        for level in range(L - 1, -1, -1):
            kind = w.saf_kind[level, t]
            if kind == NONE:
                continue
            own = w.saf_p[level, t] if kind != SPATIAL else w.spatial_p[level, t]
            if outer_p < 0:
                if kind != SPATIAL:
                    _split(p, m, w, level, t, own, kind)
            elif own < outer_p:
                own = outer_p  # an inner entry can't revive what an outer one removed (the tool wraps around here)
                w.clamped = True
            # what it removes inside, down to and including the next level with an entry
            at = level - 1
            while at >= 0:
                _scale_inside(p, w, at, t, own, p.format_ranks[level, t] if p.has_metadata[level, t] else 0)
                inner_kind = w.saf_kind[at, t]
                if inner_kind != NONE:
                    inner = w.saf_p[at, t] if inner_kind != SPATIAL else w.spatial_p[at, t]
                    if p.has_metadata[at, t]:
                        for r in range(p.format_ranks[at, t]):
                            for item in range(2):
                                w.metadata[at, t, r, item, READ, ACTUAL] = w.metadata[at, t, r, item, UPDATE, ACTUAL]
                    if inner_kind != SPATIAL:
                        effective = 1.0 - (1.0 - inner) / (1.0 - own) if own < 1 else 0.0
                        _split(p, m, w, at, t, max(0.0, effective), inner_kind)
                    break
                at -= 1
            if at < 0 and t != p.output:
                total -= np.floor(total * own)
                w.reaches_compute[t] = True
                w.reach_p[t] = np.round(own * 1e6) / 1e6
            outer_p = own
        w.elimination[0, t] = max(0.0, outer_p)
    for t in range(T):
        if w.position[t]:
            gone = 1.0 - np.round(p.element_density[t] * 1e6) / 1e6
            total -= np.floor(total * gone)
    w.remaining = total


@kernel
def _operand_states(p, m, w):
    """Step (5): split the remaining computations by operand states into `w.compute` = actual, gated, skipped, nonexistent."""
    L, T = p.levels, p.tensors
    all_nonzero = 1.0  # every operand exists and is not zero
    all_exist = 1.0
    none_exists = 1.0
    for t in range(T):
        if t == p.output:
            continue
        innermost = 0
        while innermost < L - 1 and not m.keep[innermost, t]:
            innermost += 1
        nonzero = p.element_density[t]
        if p.exact:
            nonzero = _given_not_empty(nonzero, w.compute_leader[t])
        else:
            nonzero = np.round(nonzero * 1e6) / 1e6
            for other in range(T):
                if other != t and other != p.output and w.reaches_compute[other]:
                    # the other operand's entry leads on this one
                    nonzero = nonzero / (1.0 - w.reach_p[other]) if w.reach_p[other] < 1 else 0.0
            if w.position[t]:
                nonzero = 1.0
        nonzero = min(1.0, max(0.0, nonzero))
        all_nonzero *= nonzero
        if p.has_metadata[innermost, t]:
            all_exist *= nonzero
            none_exists *= 1.0 - nonzero
        else:
            none_exists = 0.0
    total = w.remaining
    zero_exists = all_exist - all_nonzero
    some_missing = max(0.0, 1.0 - all_exist - none_exists)
    skipped = gated = 0.0
    vanished = none_exists * total
    if p.compute_gating:
        gated += zero_exists * total
    if p.compute_skipping:
        skipped += some_missing * total
    elif p.compute_gating:
        gated += some_missing * total
    if not p.exact:
        skipped, gated, vanished = np.floor(skipped), np.floor(gated), np.floor(vanished)
    w.compute[0] = max(0.0, total - skipped - gated - vanished)
    w.compute[1] = gated + w.idled
    w.compute[2] = skipped


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


@kernel
def surviving_computations(p, m, tab, w):
    """Steps (4) and (5): what entries remove, what becomes of the rest at compute, and how many units are busy."""
    if p.exact:
        _propagate_exact(p, m, tab, w)
    else:
        _propagate_rounded(p, m, w)
    _operand_states(p, m, w)
    # average units at work: the tensor that leaves most of them busy decides
    busy = 0.0
    for t in range(p.tensors):
        busy = max(busy, w.ratio[0, t])
    w.busy_units = w.used_instances[0] * busy * w.lane_use
