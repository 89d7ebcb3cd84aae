"""The bound of one step: least energy, cycles and surviving computations of what crosses a fan-out, whatever lies outside."""

from __future__ import annotations

import numpy as np

from fiberloom.mapper.exact.tables import CLOSED, OPEN, READS, WINDOW, WRITES
from fiberloom.model.compiled import allocates_nothing, entry_point, inlined, kernel

allocates_nothing(__name__)


@inlined
@kernel
def _slid(g, t, kind, shape, times):
    """Least words of a tensor when windows slide over it: at least every second of `times` steps is one of the innermost loop."""
    return max(g.size[t], 0.5 * times * g.stepped[kind, t, shape])


@inlined
@kernel
def sweep_class(g, t, sweeps):
    """Place of a number of sweeps: the largest one told apart that is not above it."""
    n = g.sweeps.shape[1]
    i = 0
    while i + 1 < n and g.sweeps[t, i + 1] <= sweeps * (1 + 1e-12):
        i += 1
    return i


@inlined
@kernel
def _shared(p, t, v, shares, uppers, context):
    """Lanes of the fan-outs outside that share a tile of tensor `t` inside spread `v`, at most."""
    T = p.tensors
    return uppers[context, t] * min(uppers[context, T + t], uppers[context, 2 * T + t] * shares[2 * T + t, v])


@inlined
@kernel
def _box(p, g, level, v, row, after, t):
    """What meets a granule of tensor `t` on its way to child row `row`: the tile inside times the lanes here that share it."""
    inside = after if row > 0 else 0
    box = inside
    for d in range(p.variables):
        f = g.spread[level, v, d]
        if f > 1 and not p.is_relevant[t, d]:
            extent = g.extents[inside, d]
            box += g.stride[d] * (g.digit[d, extent * f] - g.digit[d, extent])
    return box


@inlined
@kernel
def _left(p, g, chosen, box, row, t, run, uppers, context):
    """Least share that the leaders `chosen` leave of what crosses into child row `row`.

    A granule of tensor `t` meets the `box`, as many more on lanes outside as the context promises, and those of the `run` steps
    for which it stays put; compute keeps nothing.
    """
    times = uppers[context, 3 * p.tensors + t] * (run if row > 0 else 1.0) * (1 + 1e-12)
    n = g.grown.shape[1]
    i = 0
    while i + 1 < n and g.grown[t, i + 1] <= times:
        i += 1
    return g.left[chosen, box, i]


@inlined
@kernel
def run_of(g, t, before, sweeps):
    """Steps for which a tensor stays put that loops outside its run went through `sweeps` times; 1 where that is not known."""
    return g.idle[t, before] / sweeps if g.runs[t] else 1.0


@inlined
@kernel
def tensor_bound(p, g, level, v, before, after, t, status, kind, sweeps, run, shares, uppers, context, out, at):
    """Least energy of tensor `t` across the fan-out of `level`, ``out[at, 0]``, and cycles of every bandwidth, ``out[at, 1:]``.

    `sweeps` counts how often an open tensor was gone through, at least, and `run` the steps for which it stays put, at least;
    `kind` is the last loop's, ``uppers[context, 4 T]`` see `contexts`. Returns the least share of the computations that its
    entries leave, where this crossing decides on it.
    """
    energy = read = updated = into = 0.0
    K = g.status.shape[0]
    Q = g.asks.shape[0]
    row = g.sends[level, t]
    sent_left = own_left = all_left = 1.0
    listed = g.sparse and row > 0 and g.whole[t, after] > 1.0  # formats list what crosses
    if g.sparse:
        if row >= 0 and g.own_set[row, t] >= 0:
            box = _box(p, g, level, v, row, after, t)
            sent_left = _left(p, g, g.own_set[row, t], box, row, t, run, uppers, context)
        if g.own_set[level, t] >= 0:
            if row == level:
                own_left = sent_left
            else:
                box = _box(p, g, level, v, level, after, t)
                own_left = _left(p, g, g.own_set[level, t], box, level, t, run, uppers, context)
            busy = g.busy_set[level, t]
            if busy == g.own_set[level, t]:
                all_left = own_left
            elif busy >= 0:
                all_left = _left(p, g, busy, box, level, t, run, uppers, context)
    if row >= 0:
        k = g.parent[row, t]
        upper = _shared(p, t, v, shares, uppers, context)
        if row == 0:
            content = g.outside[0] / upper
            if g.multicast[level, t]:
                content *= shares[p.tensors + t, v] / g.lanes[level, v]
        else:
            if status == OPEN:
                if g.windowed[t]:
                    times = g.outside[before] / g.idle[t, before] * sweeps
                    content = _slid(g, t, K, after, times * shares[p.tensors + t, v] / upper)
                else:
                    content = g.size[t] * max(1.0, sweeps / upper)
            elif status == WINDOW:
                content = _slid(g, t, kind, after, g.outside[before] * shares[p.tensors + t, v] / upper)
            elif g.windowed[t]:
                content = g.whole[t, after] * g.outside[before] * shares[p.tensors + t, v] / upper
            else:
                content = g.size[t] * max(1.0, g.idle[t, before] / upper)
            if not g.multicast[level, t]:
                content *= shares[t, v]
        share = 1.0
        if g.sparse:
            share = g.sent_share[row, t, after if row > 0 else 0] * sent_left
        if t == p.output:
            updated = content
            content = max(0.0, content - g.size[t] * g.copies[k, t])
        read = content * share
        updated *= share
        energy += updated * g.update[row, t] + read * g.read[row, t]
        if listed:
            energy += updated * g.metadata_update[row, t] + read * g.metadata_read[row, t]
    if level > 0 and g.parent[level, t] >= 0:
        if status == OPEN:
            if g.windowed[t]:
                into = _slid(g, t, K, after, g.outside[after] / g.idle[t, before] * sweeps)
            else:
                into = g.size[t] * sweeps * shares[t, v]
        elif status == WINDOW:
            into = _slid(g, t, kind, after, g.outside[after])
        elif g.windowed[t]:
            into = g.whole[t, after] * g.outside[after]
        else:
            into = g.size[t] * g.idle[t, after]
        if t == p.output:
            into = max(0.0, into - g.size[t] * g.copies[level - 1, t])
        if g.sparse:
            into *= g.filled_share[level, t, after] * own_left
        energy += into * g.fill[level, t]
    out[at, 0] = energy
    for q in range(Q):
        limited, limits = g.asks[q, 0], g.asks[q, 1]
        words = 0.0
        if row >= 0 and g.parent[row, t] == limited:
            values = (read if limits != WRITES else 0.0) + (updated if limits != READS else 0.0)
            words += values * (g.compact[limited, t] + (g.metadata_words[row, t] if listed else 0.0))
        if limited == level - 1 and limits != READS:
            words += into * g.compact[limited, t]
        out[at, 1 + q] = words * g.pace[q]
    return all_left


@inlined
@kernel
def open_bounds(p, g, level, v, before, after, t, shares, uppers, context, out, left):
    """`tensor_bound` of an open tensor for every number of sweeps told apart that there can be, in the rows of `out` that end where
    the next tensor's begin (see `all_bounds`); what it returns goes to ``left[t V …]``."""
    K, V, Q = g.status.shape[0], g.sweeps.shape[1], g.asks.shape[0]
    at = t * (3 + K + V) + 3 + K
    row = g.sends[level, t]
    keeps = level > 0 and g.parent[level, t] >= 0
    size = g.size[t]
    parent = g.parent[row, t] if row >= 0 else 0
    child = level - 1
    # words = the larger of the whole and of what rises with sweeps
    rising = rising_inside = size
    if g.windowed[t]:
        steps = 0.5 * g.stepped[K, t, after] / g.idle[t, before]
        rising = steps * g.outside[before] * shares[p.tensors + t, v]
        rising_inside = steps * g.outside[after] / shares[t, v]
    copies = 1.0 if g.multicast[level, t] else shares[t, v]
    scale = 1.0 / _shared(p, t, v, shares, uppers, context) if row >= 0 else 0.0
    first = first_inside = 0.0
    if t == p.output:
        if row >= 0:
            first = size * g.copies[parent, t]
        if keeps:
            first_inside = size * g.copies[child, t]
    whole = read_pj = update_pj = fill_pj = 0.0
    if row == 0:
        whole = g.outside[0] * scale
        if g.multicast[level, t]:
            whole *= shares[p.tensors + t, v] / g.lanes[level, v]
    if row >= 0:
        read_pj, update_pj = g.read[row, t], g.update[row, t]
    if keeps:
        fill_pj = g.fill[level, t]
    sent = filled = busy = box = box_inside = -1
    share = share_inside = 1.0
    listed = 0.0  # words of metadata
    if g.sparse:
        if row >= 0:
            share = g.sent_share[row, t, after if row > 0 else 0]
            sent = g.own_set[row, t]
            if sent >= 0:
                box = _box(p, g, level, v, row, after, t)
            if row > 0 and g.whole[t, after] > 1.0:
                read_pj += g.metadata_read[row, t]
                update_pj += g.metadata_update[row, t]
                listed = g.metadata_words[row, t]
        if keeps:
            share_inside = g.filled_share[level, t, after]
        filled, busy = g.own_set[level, t], g.busy_set[level, t]
        if filled >= 0:
            box_inside = box if row == level else _box(p, g, level, v, level, after, t)
    for i in range(V):
        times = g.sweeps[t, i]
        if times == np.inf or (times > g.idle[t, before] and not g.constant[level, t]):
            break
        read = updated = into = 0.0
        sent_left = own_left = all_left = 1.0
        if sent >= 0 or filled >= 0:
            run = run_of(g, t, before, times)
            if sent >= 0:
                sent_left = _left(p, g, sent, box, row, t, run, uppers, context)
            if filled >= 0:
                own_left = sent_left
                if row != level:
                    own_left = _left(p, g, filled, box_inside, level, t, run, uppers, context)
                all_left = own_left
                if busy != filled:
                    all_left = _left(p, g, busy, box_inside, level, t, run, uppers, context) if busy >= 0 else 1.0
        if row >= 0:
            read = whole if row == 0 else max(size, rising * times * scale) * copies
            if t == p.output:
                updated = read * share * sent_left
                read = max(0.0, read - first)
            read *= share * sent_left
        if keeps:
            into = max(size, rising_inside * times * shares[t, v])
            into = max(0.0, into - first_inside) * share_inside * own_left
        left[t * V + i] = all_left
        out[at + i, 0] = updated * update_pj + read * read_pj + into * fill_pj
        for q in range(Q):
            limited, limits = g.asks[q, 0], g.asks[q, 1]
            words = 0.0
            if row >= 0 and parent == limited:
                values = (read if limits != WRITES else 0.0) + (updated if limits != READS else 0.0)
                words += values * (g.compact[limited, t] + listed)
            if limited == child and limits != READS:
                words += into * g.compact[limited, t]
            out[at + i, 1 + q] = words * g.pace[q]


@inlined
@entry_point
def crossing_bound(p, g, level, v, before, after, kind, sweeps, shares, uppers, context, total, part):
    """Least energy of everything that crosses into level − 1 (or compute) through the fan-out of `level`, and cycles.

    `before` and `after` are the tile shapes outside and inside the fan-out, `v` the spread, `kind` the last loop, `sweeps` those of
    the tensor that it leaves open, ``uppers[context, 4 T]`` see `contexts`. ``total[1 + Q]`` gets them; ``part[1, 1 + Q]``: scratch.
    Returns the least share of the computations that skipping at this crossing leaves.
    """
    total[:] = 0.0
    left = 1.0
    for t in range(p.tensors):
        if nothing_crosses(g, level, t):
            continue
        counted = t == g.opens[kind]
        times = sweeps if counted else 1.0
        run = run_of(g, t, before, sweeps) if counted and g.sparse else 1.0
        left *= tensor_bound(
            p, g, level, v, before, after, t, g.status[kind, t], kind, times, run, shares, uppers, context, part, 0
        )
        for c in range(total.shape[0]):
            total[c] += part[0, c]
    return left


@inlined
@kernel
def nothing_crosses(g, level, t):
    """Whether a tensor costs nothing at the fan-out of `level`."""
    return g.sends[level, t] < 0 and (level == 0 or g.parent[level, t] < 0) and g.busy_set[level, t] < 0


@inlined
@kernel
def all_bounds(p, g, level, v, before, after, t, shares, uppers, context, parts, left, known):
    """All that one tensor may cost at a crossing: in `parts`, from row ``t (3 + K + V)`` on, by status, by kind where windows move,
    and by sweeps. With `known`, only what differs between shapes for a tensor of `Terrain.constant`.

    Returns the least share of computations where the tensor does not stay put; those by sweeps go to ``left[t V …]``.
    """
    K, V = g.status.shape[0], g.sweeps.shape[1]
    first = t * (3 + K + V)
    closed = 1.0
    for case in range(3 + (K if g.windowed[t] else 0)):
        status, kind = CLOSED, 0
        if case == OPEN:
            status = OPEN
            if known or (g.counted[t] and not g.sparse):
                continue
        elif case >= 3:
            status, kind = WINDOW, case - 3
            if g.status[kind, t] != WINDOW:
                continue
        elif case != CLOSED:
            continue
        share = tensor_bound(
            p, g, level, v, before, after, t, status, kind, 1.0, 1.0, shares, uppers, context, parts, first + case
        )
        if case == CLOSED:
            closed = share
    if g.counted[t] and not known:
        open_bounds(p, g, level, v, before, after, t, shares, uppers, context, parts, left)
        if not g.sparse:
            for c in range(parts.shape[1]):
                parts[first + OPEN, c] = parts[first + 3 + K, c]
    return closed
