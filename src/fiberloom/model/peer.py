"""Peer links: a child takes from a mesh neighbour what that neighbour was sent one step before (systolic forwarding)."""

from __future__ import annotations

import numpy as np

from fiberloom.model.compiled import kernel
from fiberloom.model.transitions import DELTA_EXACT, gather_transitions, moves, window_turns

_EMPTY, _BOX, _CORNER = 0, 1, 2


@kernel
def _delta_shape(lengths, ranks, partial, move, low, size):
    """Shape of what is fetched when a tile moved by `move`: nothing, a box (`low`, `size`), or a corner of several slabs."""
    moved = 0
    for r in range(ranks):
        low[r] = 0
        size[r] = lengths[r]
        if move[r] != 0:
            moved += 1
            if abs(move[r]) >= lengths[r]:
                partial = False
    if not partial:
        return _BOX
    if moved == 0:
        return _EMPTY
    if moved > 1:
        return _CORNER
    for r in range(ranks):
        if move[r] != 0:
            size[r] = abs(move[r])
            low[r] = lengths[r] - move[r] if move[r] > 0 else 0
    return _BOX


@kernel
def _linked_children(offsets, children, ranks, need, place, at, linked):
    """Mark children with a mesh neighbour whose position differs from theirs by `need`; returns how many.

    `place[i]` is child `i`'s (x, y); `at[y, x]` is the child there, or −1.
    """
    count = 0
    height, width = at.shape
    for i in range(children):
        linked[i] = False
        for side in range(4):
            nx = place[i, 0] + (1 if side == 0 else -1 if side == 1 else 0)
            ny = place[i, 1] + (1 if side == 2 else -1 if side == 3 else 0)
            if nx < 0 or nx >= width or ny < 0 or ny >= height:
                continue
            j = at[ny, nx]
            if j < 0:
                continue
            same = True
            for r in range(ranks):
                if offsets[i, r] - offsets[j, r] != need[r]:
                    same = False
                    break
            if same:
                linked[i] = True
                count += 1
                break
    return count


@kernel
def _groups(offsets, children, ranks, radix, skip):
    """Distinct positions among the children that are not skipped."""
    keys = np.empty(children, np.int64)
    n = 0
    for i in range(children):
        if not skip[i]:
            key = np.int64(0)
            for r in range(ranks):
                key += offsets[i, r] * radix[r]
            keys[n] = key
            n += 1
    keys[:n].sort()
    distinct = 1 if n else 0
    for i in range(1, n):
        if keys[i] != keys[i - 1]:
            distinct += 1
    return distinct


@kernel
def peer_links(p, t, w, level):
    """Words that `level` need not read because its children pass them on, and words passed on, per instance of `level`.

    Exact schedules compare with the step before; the reference builds compare iteration 1 of every loop with iteration 0.
    """
    ranks = p.rank_count[t]
    if level == 0:
        turns = gather_transitions(p, t, w, level)
        moves(p, t, w, turns)
        for r in range(ranks):
            w.lengths[r] = 1
        for j in range(turns):
            w.turn_partial[j] = False
            w.turn_delta[j] = 1
    elif p.is_simple[t]:
        return 0.0, 0.0  # tiles without overlap never reappear at a neighbour
    else:
        turns = window_turns(p, t, w, level)
    if turns == 0:
        return 0.0, 0.0
    exact = p.delta_rule == DELTA_EXACT
    # positions of the children relative to the first, and their places in the mesh
    count = 0
    children = w.fanout[level]
    for d in range(p.variables):
        w.running[d] = w.extent[level, d]
    for i in range(w.active_start[level], w.active_count):
        if w.active_level[i] == level and w.active_axis[i] != 0:
            d, b = w.active_variable[i], w.active_bound[i]
            w.offset_bound[count] = b
            w.offset_axis[count] = w.active_axis[i]
            for r in range(ranks):
                w.offset_step[count, r] = p.coefficient[t, r, d] * w.running[d]
            w.running[d] *= b
            count += 1
    width, height = max(p.fan_x[level], w.fanout_xy[level, 0]), max(p.fan_y[level], w.fanout_xy[level, 1])
    offsets = np.zeros((children, ranks), np.int64)
    place = np.zeros((children, 2), np.int64)
    at = np.full((height, width), -1)
    reach = np.zeros(ranks, np.int64)
    for i in range(children):
        rest = i
        x_radix = y_radix = 1
        for k in range(count):
            index = rest % w.offset_bound[k]
            rest //= w.offset_bound[k]
            for r in range(ranks):
                offsets[i, r] += w.offset_step[k, r] * index
            if w.offset_axis[k] == 1:
                place[i, 0] += x_radix * index
                x_radix *= w.offset_bound[k]
            else:
                place[i, 1] += y_radix * index
                y_radix *= w.offset_bound[k]
        if not exact:  # the reference builds number children through, whole rows of the mesh first
            place[i, 0], place[i, 1] = i % width, i // width
        at[place[i, 1], place[i, 0]] = i
    for k in range(count):
        for r in range(ranks):
            reach[r] += abs(w.offset_step[k, r]) * (w.offset_bound[k] - 1)
    linked = np.zeros(children, np.bool_)
    none = np.zeros(children, np.bool_)
    all_groups = _groups(offsets, children, ranks, p.radix, none)
    low, size = np.zeros(ranks, np.int64), np.zeros(ranks, np.int64)
    low_before, size_before = np.zeros(ranks, np.int64), np.zeros(ranks, np.int64)
    need = np.zeros(ranks, np.int64)
    zero = np.zeros(ranks, np.int64)
    saved = 0.0
    passed = 0.0
    outer = 1.0
    for j in range(turns - 1, -1, -1):
        happens = (w.turn_bound[j] - 1) * outer
        outer *= w.turn_bound[j]
        kind = _delta_shape(w.lengths, ranks, w.turn_partial[j], w.turn_move[j], low, size)
        if kind == _EMPTY:
            continue
        # predecessors: the innermost loop before an outer one; before the innermost, anything
        first = 0
        last = 0 if j > 0 else turns  # index `turns` stands for the very first visit
        before_outer = 1.0
        times_of_before = np.zeros(turns + 1, np.float64)
        for i in range(turns - 1, -1, -1):
            times_of_before[i] = (w.turn_bound[i] - 1) * before_outer
            before_outer *= w.turn_bound[i]
        times_of_before[turns] = 1.0
        for before in range(first, last + 1):
            if j > 0:
                times = happens
            elif before == 0:
                if not exact:
                    continue
                times = times_of_before[0] - (times_of_before[0] / (w.turn_bound[0] - 1))
                if times <= 0:
                    continue
            else:
                times = times_of_before[before] * (1.0 if exact else (w.turn_bound[0] - 1))
            if before == turns:
                kind_before = _delta_shape(w.lengths, ranks, False, zero, low_before, size_before)
            else:
                kind_before = _delta_shape(
                    w.lengths, ranks, w.turn_partial[before], w.turn_move[before], low_before, size_before
                )
            if kind_before != kind:
                continue
            possible = True
            for r in range(ranks):
                if kind == _BOX:
                    if size[r] != size_before[r]:
                        possible = False
                    need[r] = low_before[r] - low[r] - w.turn_move[j, r]
                else:
                    if before == turns or w.turn_move[before, r] != w.turn_move[j, r]:
                        possible = False
                    need[r] = -w.turn_move[j, r]
                if abs(need[r]) > reach[r]:
                    possible = False
            if not possible:
                continue
            n = _linked_children(offsets, children, ranks, need, place, at, linked)
            if n == 0:
                continue
            remaining = _groups(offsets, children, ranks, p.radix, linked)
            if remaining < all_groups:
                saved += (all_groups - remaining) * w.turn_delta[j] * times
                passed += n * w.turn_delta[j] * times
    return saved, passed
