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
from fiberloom.model.counting import ACTUAL, GATING, NONE, READ, SKIPPING, SPATIAL, UPDATE, removed
from fiberloom.model.leaders import child_keeper, exact_leader_boxes, follower_level, leader_boxes
from fiberloom.model.occupancy import P_EMPTY, tile_statistics


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
    gone = removed(p, w.count[level, t, UPDATE, ACTUAL], probability)
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
                gone = removed(p, w.metadata[level, t, r, item, a, ACTUAL], probability)
                w.metadata[level, t, r, item, a, kind] += gone
                w.metadata[level, t, r, item, a, ACTUAL] -= gone


@kernel
def _scale_inside(p, w, level, t, probability, outer_ranks):
    """Remove the share `probability` of everything that level `level` does with `t`."""
    for a in range(3):
        w.count[level, t, a, ACTUAL] -= removed(p, w.count[level, t, a, ACTUAL], probability)
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
                w.metadata[level, t, r, item, a, ACTUAL] -= removed(
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
    arriving = w.points * spatial
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
    total = w.points
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
