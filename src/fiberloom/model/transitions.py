"""How a tile moves when a loop steps, and what it shares with its predecessor.

A *transition* is one step of temporal loop ``j`` with all loops inside it falling back to their start. Loops are listed
innermost first. The oldest build of the reference tool samples iterations 0 and 1 only, so that falling back moves by one
step; the exact rule falls back by all ``n − 1`` steps.
"""

from __future__ import annotations

import numpy as np

from fiberloom.model.compiled import kernel

DELTA_NEW, DELTA_EXACT = 1, 2  # values of fiberloom.model.rules.DeltaRule


@kernel
def overlap(p, t, lengths, move, whole):
    """Elements that a tile shares with itself moved by `move`."""
    shared = 1
    for r in range(p.rank_count[t]):
        rest = lengths[r] - abs(move[r])
        if rest <= 0:
            return 0
        shared *= rest
    return min(shared, whole)


@kernel
def gather_transitions(p, t, w, level):
    """Temporal loops above level's fan-out: bounds into `w.turn_bound`, steps into `w.turn_step`. Returns how many."""
    for d in range(p.variables):
        w.running[d] = w.spatial_extent[level, d]
    count = 0
    for i in range(w.active_start[level], w.active_count):
        if w.active_level[i] == level and w.active_axis[i] != 0:
            continue
        b = w.active_bound[i]
        d = w.active_variable[i]
        if w.active_axis[i] == 0:
            w.turn_bound[count] = b
            for r in range(p.rank_count[t]):
                w.turn_step[count, r] = p.coefficient[t, r, d] * w.running[d]
            count += 1
        w.running[d] *= b
    return count


@kernel
def moves(p, t, w, turns):
    """Translation of the tile at each transition into `w.turn_move`; a two-iteration sample unless the rule is exact."""
    for r in range(p.rank_count[t]):
        back = np.int64(0)
        for j in range(turns):
            w.turn_move[j, r] = w.turn_step[j, r] - back
            back += w.turn_step[j, r] * ((w.turn_bound[j] - 1) if p.delta_rule == DELTA_EXACT else 1)


@kernel
def _is_zero(w, j, ranks):
    for r in range(ranks):
        if w.turn_move[j, r] != 0:
            return False
    return True


@kernel
def _same_move(w, j, k, ranks):
    for r in range(ranks):
        if w.turn_move[j, r] != w.turn_move[k, r]:
            return False
    return True


@kernel
def transition_deltas(p, t, w, turns, whole):
    """Elements fetched at each transition into `w.turn_delta`; `w.turn_partial` says whether the predecessor was subtracted."""
    ranks = p.rank_count[t]
    steady = 0  # the loop whose stepping sets the remembered direction
    if p.delta_rule == DELTA_NEW:
        while steady < turns - 1 and _is_zero(w, steady, ranks):
            steady += 1
    for j in range(turns):
        subtract = (
            p.delta_rule == DELTA_EXACT
            or j <= steady
            or _same_move(w, j, steady, ranks)
            or (p.delta_rule == DELTA_NEW and _is_zero(w, j, ranks))
        )
        w.turn_partial[j] = subtract
        w.turn_delta[j] = whole - (overlap(p, t, w.lengths, w.turn_move[j], whole) if subtract else 0)


@kernel
def window_turns(p, t, w, level):
    """Transitions of a tensor's tile below `level`'s fan-out, with moves and words sent, into `w`. Returns how many."""
    extent = w.extent[level]
    whole = 1
    for r in range(p.rank_count[t]):
        length = 1
        for k in range(p.term_count[t, r]):
            length += p.term_coefficient[t, r, k] * (extent[p.term_variable[t, r, k]] - 1)
        w.lengths[r] = length
        whole *= length
    turns = gather_transitions(p, t, w, level)
    moves(p, t, w, turns)
    transition_deltas(p, t, w, turns, whole)
    return turns
