"""The bound: least energy and cycles that the rest of a mapping can take, for every tile shape, by one sweep from compute outwards.

The sweep solves a relaxed problem exactly. A state is (stage, tile shape, kind of the last loop, sweeps): the last loop tells which
tensor it leaves in place, and *sweeps* is how often that tensor has been gone through by the loops outside its run. Relaxed is
only what reuse of sliding windows further out may do, gating and skipping see the smallest boxes that the schedule allows,
and sweeps are rounded down to a few. Energies are told apart by several least numbers of lanes still to be filled; the last
columns of a table are the least cycles that each limited bandwidth is asked for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fiberloom.model.compiled import entry_point, kernel

READS, WRITES, BOTH = 0, 1, 2
"""What a bandwidth limits."""

OPEN, WINDOW, CLOSED = 0, 1, 2
"""What a loop does to a tensor's reuse: leaves its tile in place, moves a window, or moves on to new elements."""


class Terrain(NamedTuple):
    """Arrays that the sweep and the search share, for one choice of keeps. Shapes: L levels, D variables, T tensors,
    S tile shapes, K kinds of last loop (0: none yet), J lane thresholds."""

    count: Any  # (D,) divisors
    stride: Any  # (D,)
    extents: Any  # (S, D)
    digit: Any  # (D, largest bound + 1) place of a divisor among the divisors
    below: Any  # (L, D, most, most) digits that a temporal loop leads to
    below_count: Any  # (L, D, most)
    spread: Any  # (L, n, D) spatial factors
    spread_count: Any  # (L,)
    lanes: Any  # (L, n)
    on_x: Any  # (L, n) bit sets of the variables along X
    spread_order: Any  # (L, D) order of spatial loops, innermost first
    linked: Any  # (L, T) whether children of the level pass the tensor's tiles on to each other
    threshold: Any  # (L + 1, J) least lanes at and inside the level; row L is unused
    ceiling: Any  # (L + 1, J) most lanes that a completion counted under the threshold has
    kind_of: Any  # (D,) kind of a loop over each variable
    status: Any  # (K, T) OPEN, WINDOW, CLOSED
    first: Any  # (K + 1,) states, one for every number of sweeps told apart, of the kinds before each; W together
    opens: Any  # (K,) tensor whose sweeps a state of the kind counts; −1: none
    opens_of: Any  # (C,) the same by group
    group: Any  # (K,) kinds of one group open the same tensor
    trails: Any  # (C, D) variables whose loops stand innermost when a group does
    counted: Any  # (T,) whether any kind counts the tensor's sweeps
    sweeps_inside: (
        Any  # (L, n, T, V) place of a number of sweeps times the children that a spread gives the same positions
    )
    sequence: Any  # (C, D) variables in the order in which loops of a level are chosen: the trailing ones last
    outer_count: Any  # (C,) how many do not trail
    sweeps: Any  # (T, V) numbers of sweeps that are told apart, ascending from 1
    idle_class: Any  # (T, S) place of `idle` among them
    parent: Any  # (L + 1, T) keeper outside of what row c + 1 (row 0: compute) is filled from; −1: keeps nothing
    whole: Any  # (T, S) words of the tile
    idle: Any  # (T, S) iterations of irrelevant variables outside the tile
    outside: Any  # (S,) iterations outside the tile
    size: Any  # (T,) least distinct elements
    windowed: Any  # (T,)
    stepped: (
        Any  # (K + 1, T, S) words that a step of a loop of the kind (row K: of any window) brings to a windowed tile
    )
    whole_spread: Any  # (T,) whether it matters how, not only how often, lanes share the tensor
    asks: Any  # (Q, 2) limited bandwidths: level, and what it limits (`READS`, `WRITES`, `BOTH`)
    bandwidth: Any  # (Q,) words per cycle and instance
    pace: Any  # (Q,) cycles per word when all instances share it
    fits: Any  # (L, S)
    spatial_shapes: Any  # (L, S) shapes that may stand before a fan-out, rising; the first `spatial_count`
    spatial_count: Any  # (L,)
    spatial_row: Any  # (L, S) place of a shape among them; −1
    temporal_shapes: Any  # the same before a level's loops
    temporal_count: Any  # (L,)
    temporal_row: Any  # (L, S)
    multicast: Any  # (L, T)
    sends: Any  # (L, T) child row whose parent's traffic is charged at the level's fan-out; −1: none
    above: Any  # (L,) instances of the level, at most
    copies: Any  # (L, T) instances that hold the same elements, at most
    read: Any  # (L + 1, T) energy of a word read at the parent for child row c + 1
    update: Any  # (L + 1, T)
    fill: Any  # (L + 1, T) energy of a word filled at the child
    compact: Any  # (L, T) words of the level's bandwidth that a dense value takes at least
    sparse: bool
    sent_share: Any  # (L + 1, T, S) least share of the parent's traffic that gating, skipping and empty tiles leave
    filled_share: Any  # (L + 1, T, S) and of the child's fills; (1, 1, 1) where nothing is sparse
    density: Any  # (T, S) expected share of non-zeros
    occupied: Any  # (T, S) probability that the tile is not empty
    overhead: Any  # (L, T, S) vector accesses of a compressed tile over those of full blocks
    metadata: Any  # (L, T) bits of metadata per dense word, where no other loops than the child's tile decide on them
    fibres: Any  # (L, T) whether only fibres with a non-zero pay them
    whole_nest: Any  # (L + 1,) whether every loop outside the child row may still be noticed further in
    any_metadata: bool  # whether ranks of formats may refuse a complete nest
    arrives: Any  # (L, T) level whose tile decides whether the tensor's tile here arrives at all; −1: it does
    last_row: Any  # (T,) innermost child row at which skipping looks at the tensor; −1: none does
    refines: bool  # whether what skipping finds outside bounds the busy cycles


@kernel
def _slid(g, t, kind, shape, times):
    """Least words of a tensor when windows slide over it: at least every second of `times` steps is one of the innermost loop."""
    return max(g.size[t], 0.5 * times * g.stepped[kind, t, shape])


@kernel
def sweep_class(g, t, sweeps):
    """Place of a number of sweeps: the largest one told apart that is not above it."""
    n = g.sweeps.shape[1]
    i = 0
    while i + 1 < n and g.sweeps[t, i + 1] <= sweeps * (1 + 1e-12):
        i += 1
    return i


@kernel
def _shared(p, t, v, shares, uppers):
    """Lanes of the fan-outs outside that share a tile of tensor `t` inside spread `v`, at most."""
    T = p.tensors
    return uppers[t] * min(uppers[T + t], uppers[2 * T + t] * shares[2 * T + t, v])


@kernel
def _tensor_bound(p, g, level, v, before, after, t, status, kind, sweeps, shares, uppers, out):
    """Least energy of tensor `t` across the fan-out of `level`, ``out[0]``, and cycles of every bandwidth, ``out[1:]``.

    `sweeps` counts how often an open tensor was gone through, `kind` is the last loop's, ``uppers[3 T]`` the context (see `contexts`).
    """
    energy = read = updated = into = 0.0
    K = g.status.shape[0]
    Q = g.asks.shape[0]
    row = g.sends[level, t]
    if row >= 0:
        k = g.parent[row, t]
        upper = _shared(p, t, v, shares, uppers)
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
        share = g.sent_share[row, t, after if row > 0 else 0] if g.sparse else 1.0
        if t == p.output:
            updated = content
            content = max(0.0, content - g.size[t] * g.copies[k, t])
        read = content
        energy += (updated * g.update[row, t] + read * g.read[row, t]) * share
        read *= share
        updated *= share
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
            into *= g.filled_share[level, t, after]
        energy += into * g.fill[level, t]
    out[0] = energy
    for q in range(Q):
        at, limits = g.asks[q, 0], g.asks[q, 1]
        words = 0.0
        if row >= 0 and g.parent[row, t] == at:
            words += ((read if limits != WRITES else 0.0) + (updated if limits != READS else 0.0)) * g.compact[at, t]
        if at == level - 1 and limits != READS:
            words += into * g.compact[at, t]
        out[1 + q] = words * g.pace[q]


@kernel
def _open_bounds(p, g, level, v, before, after, t, shares, uppers, out):
    """`_tensor_bound` of an open tensor for every number of sweeps told apart that there can be, ``out[V, 1 + Q]``."""
    V, Q = g.sweeps.shape[1], g.asks.shape[0]
    row = g.sends[level, t]
    keeps = level > 0 and g.parent[level, t] >= 0
    size = g.size[t]
    parent = g.parent[row, t] if row >= 0 else 0
    child = level - 1
    # words = the larger of the whole and of what rises with sweeps
    rising = rising_inside = size
    if g.windowed[t]:
        steps = 0.5 * g.stepped[g.status.shape[0], t, after] / g.idle[t, before]
        rising = steps * g.outside[before] * shares[p.tensors + t, v]
        rising_inside = steps * g.outside[after] / shares[t, v]
    copies = 1.0 if g.multicast[level, t] else shares[t, v]
    scale = 1.0 / _shared(p, t, v, shares, uppers) if row >= 0 else 0.0
    first = first_inside = 0.0
    if t == p.output:
        if row >= 0:
            first = size * g.copies[parent, t]
        if keeps:
            first_inside = size * g.copies[child, t]
    whole = 0.0
    if row == 0:
        whole = g.outside[0] * scale
        if g.multicast[level, t]:
            whole *= shares[p.tensors + t, v] / g.lanes[level, v]
    share = inside = 1.0
    if g.sparse:
        if row >= 0:
            share = g.sent_share[row, t, after if row > 0 else 0]
        if keeps:
            inside = g.filled_share[level, t, after]
    for i in range(V):
        times = g.sweeps[t, i]
        if times > g.idle[t, before]:
            break
        energy = read = updated = into = 0.0
        if row >= 0:
            read = whole if row == 0 else max(size, rising * times * scale) * copies
            if t == p.output:
                updated = read * share
                read = max(0.0, read - first)
            read *= share
            energy = updated * g.update[row, t] + read * g.read[row, t]
        if keeps:
            into = max(size, rising_inside * times * shares[t, v])
            into = max(0.0, into - first_inside) * inside
            energy += into * g.fill[level, t]
        out[i, 0] = energy
        for q in range(Q):
            at, limits = g.asks[q, 0], g.asks[q, 1]
            words = 0.0
            if row >= 0 and parent == at:
                words += ((read if limits != WRITES else 0.0) + (updated if limits != READS else 0.0)) * g.compact[
                    at, t
                ]
            if at == child and limits != READS:
                words += into * g.compact[at, t]
            out[i, 1 + q] = words * g.pace[q]


@entry_point
def crossing_bound(p, g, level, v, before, after, kind, sweeps, shares, uppers, total, part):
    """Least energy of everything that crosses into level − 1 (or compute) through the fan-out of `level`, and cycles.

    `before` and `after` are the tile shapes outside and inside the fan-out, `v` the spread, `kind` the last loop, `sweeps` those of
    the tensor that it leaves open, ``uppers[3 T]`` the context. ``total[1 + Q]`` gets them; `part` is scratch of its shape.
    """
    total[:] = 0.0
    for t in range(p.tensors):
        times = sweeps if t == g.opens[kind] else 1.0
        _tensor_bound(p, g, level, v, before, after, t, g.status[kind, t], kind, times, shares, uppers, part)
        for c in range(total.shape[0]):
            total[c] += part[c]


@entry_point
def sweep_spatial(p, g, level, inner, out, inner_rows, shares, uppers, turn, parts, swept, base):
    """``out[A, W, J + Q]``: least energies and cycles from before the fan-out of `level`, for its `A` shapes that can be there
    (`spatial_shapes`); ``inner[C, B, W, J' + Q]`` likewise from inside it, by context.
    ``uppers[3 T]`` is the context here, ``turn[n]`` the one inside each spread.

    ``parts[T, 3 + K, 1 + Q]``, ``swept[T, V, 1 + Q]`` and ``base[1 + Q]`` are scratch.
    """
    K, columns = g.status.shape[0], out.shape[2]
    Q = g.asks.shape[0]
    J = columns - Q
    inner_J = inner.shape[3] - Q
    T = p.tensors
    out[:] = np.inf
    for v in range(g.spread_count[level]):
        context = turn[v]
        if context < 0:
            continue
        lanes = g.lanes[level, v]
        for j in range(J):  # inner threshold that serves: the largest not above what is still needed
            need = g.threshold[level, j] / lanes
            chosen = 0
            for i in range(inner_J):
                if g.threshold[level - 1, i] <= need * (1 + 1e-12) if level > 0 else False:
                    chosen = i
            if level == 0:
                chosen = 0 if lanes >= g.threshold[level, j] else -1
            elif need > g.threshold[level - 1, inner_J - 1] * (1 + 1e-12):
                chosen = -1
            inner_rows[j] = chosen
        for a in range(out.shape[0]):
            s = g.spatial_shapes[level, a]
            if not divides(p, g, s, level, v):
                continue
            after = shape_inside(p, g, s, level, v)
            if level == 0:
                if after != 0:
                    continue
            elif not g.fits[level - 1, after]:
                continue
            row = g.temporal_row[level - 1, after] if level > 0 else 0
            for t in range(T):
                _tensor_bound(p, g, level, v, s, after, t, CLOSED, 0, 1.0, shares, uppers, parts[t, CLOSED])
                for k in range(K if g.windowed[t] else 0):
                    if g.status[k, t] == WINDOW:
                        _tensor_bound(p, g, level, v, s, after, t, WINDOW, k, 1.0, shares, uppers, parts[t, 3 + k])
                if not g.counted[t]:
                    _tensor_bound(p, g, level, v, s, after, t, OPEN, 0, 1.0, shares, uppers, parts[t, OPEN])
                if g.counted[t]:
                    _open_bounds(p, g, level, v, s, after, t, shares, uppers, swept[t])
                    parts[t, OPEN] = swept[t, 0]
            for k in range(K):
                open_ = g.opens[k]
                for c in range(Q + 1):
                    base[c] = 0.0
                    for t in range(T):
                        if t != open_:
                            status = g.status[k, t]
                            base[c] += parts[t, 3 + k if status == WINDOW else status, c]
                for i in range(g.idle_class[open_, s] + 1 if open_ >= 0 else 1):
                    here, to = g.first[k] + i, g.first[k]
                    if open_ >= 0:
                        to += g.sweeps_inside[level, v, open_, i]
                    if level > 0 and inner[context, row, to, 0] == np.inf:
                        continue
                    energy = base[0] + (swept[open_, i, 0] if open_ >= 0 else 0.0)
                    for j in range(J):
                        at = inner_rows[j]
                        if at >= 0:
                            there = energy + (inner[context, row, to, at] if level > 0 else 0.0)
                            least = out[a, here, j]
                            out[a, here, j] = there if there < least else least
                    for q in range(Q):
                        c = base[1 + q]
                        if open_ >= 0:
                            c += swept[open_, i, 1 + q]
                        if level > 0:
                            c += inner[context, row, to, inner_J + q]
                        out[a, here, J + q] = min(out[a, here, J + q], c)


@kernel
def divides(p, g, s, level, v):
    """Whether a spread divides a shape."""
    for d in range(p.variables):
        f = g.spread[level, v, d]
        if f > 1 and g.extents[s, d] % f:
            return False
    return True


@kernel
def shape_inside(p, g, s, level, v):
    """Shape after spread `v`; the factors divide."""
    number = 0
    for d in range(p.variables):
        number += g.stride[d] * g.digit[d, g.extents[s, d] // g.spread[level, v, d]]
    return number


@kernel
def _widths(g, open_, s, n):
    """Numbers in use in a row of scratch: those of the sweeps that there can be outside shape `s`."""
    return (g.idle_class[open_, s] + 1) * n if open_ >= 0 else n


@kernel
def _close_along(g, level, d, values, open_, n, may_stay):
    """Every shape takes the least of the shapes that a loop over `d`, or none, leads to; none always with `may_stay`."""
    for a in range(g.spatial_count[level] - 1, -1, -1):  # digits below a shape's come later
        s = g.spatial_shapes[level, a]
        digit = (s // g.stride[d]) % g.count[d]
        base = s - digit * g.stride[d]
        steps = g.below_count[level, d, digit]
        stays = steps > 0 and g.below[level, d, digit, steps - 1] == digit  # digits below rise
        width = _widths(g, open_, s, n)
        if not stays and not may_stay:
            for j in range(width):
                values[a, j] = np.inf
        for i in range(steps - 1 if stays else steps):
            to = g.spatial_row[level, base + g.below[level, d, digit, i] * g.stride[d]]
            for j in range(width):
                there, here = values[to, j], values[a, j]
                values[a, j] = there if there < here else here


@kernel
def _step_along(g, level, d, source, open_, n, out):
    """``out[s] = min(out[s], source[s'])`` over the shapes s' that a loop over `d` leads to."""
    for a in range(g.spatial_count[level]):
        s = g.spatial_shapes[level, a]
        digit = (s // g.stride[d]) % g.count[d]
        base = s - digit * g.stride[d]
        width = _widths(g, open_, s, n)
        for i in range(g.below_count[level, d, digit]):
            to = g.spatial_row[level, base + g.below[level, d, digit, i] * g.stride[d]]
            if to != a:
                for j in range(width):
                    there, here = source[to, j], out[a, j]
                    out[a, j] = there if there < here else here


@kernel
def _still(g, level, d, values, open_, n):
    """Leave in `values` only the shapes that may go without a loop over `d`."""
    for a in range(g.spatial_count[level]):
        s = g.spatial_shapes[level, a]
        digit = (s // g.stride[d]) % g.count[d]
        count = g.below_count[level, d, digit]
        if count == 0 or g.below[level, d, digit, count - 1] != digit:
            for j in range(_widths(g, open_, s, n)):
                values[a, j] = np.inf


@entry_point
def sweep_temporal(p, g, level, after, out, turned, none, some, least, loose):
    """``out[B, W, J + Q]``: least energies and cycles from before the temporal loops of `level`, for the `B` shapes that can be
    there (`temporal_shapes`); ``after[A, W, J + Q]`` from after them.

    The innermost loop is of some kind, and with it stand all loops that leave the same tensor open: the run that is longest.
    ``turned[C, A, J + Q]`` gets the least from before the loops outside a run of each group, some of which may be behind already.
    `none`, `some` are scratch ``(A, V·(J + Q))``, `least`, `loose` ``(A, J + Q)``.
    """
    A, _, n = after.shape
    K = g.status.shape[0]
    D = p.variables
    pinned = False  # whether a variable must have a loop
    for d in range(D):
        for digit in range(g.count[d]):
            steps = g.below_count[level, d, digit]
            if steps == 0 or g.below[level, d, digit, steps - 1] != digit:
                pinned = True
    out[:] = np.inf
    for b in range(out.shape[0]):  # no loops: every factor must be allowed to be 1
        s = g.temporal_shapes[level, b]
        still = True
        for d in range(D):
            digit = (s // g.stride[d]) % g.count[d]
            count = g.below_count[level, d, digit]
            if count == 0 or g.below[level, d, digit, count - 1] != digit:
                still = False
        if still:
            out[b] = after[g.spatial_row[level, s]]
    turned[:] = np.inf
    for kind in range(1, K):
        group, open_ = g.group[kind], g.opens[kind]
        for a in range(A):
            width = _widths(g, open_, g.spatial_shapes[level, a], n)
            for i in range(width // n):
                for j in range(n):
                    none[a, i * n + j] = after[a, g.first[kind] + i, j]
            for j in range(width):
                some[a, j] = np.inf
        # none: no loop of the kind so far; some: at least one
        for d in range(D):
            if g.trails[group, d] and g.kind_of[d] != kind and g.count[d] > 1:
                _close_along(g, level, d, none, open_, n, False)
        for d in range(D):
            if g.trails[group, d] and g.kind_of[d] == kind and g.count[d] > 1:
                _close_along(g, level, d, some, open_, n, False)
                _step_along(g, level, d, none, open_, n, some)
                _still(g, level, d, none, open_, n)
        for a in range(A):
            at = _widths(g, open_, g.spatial_shapes[level, a], n) - n
            for j in range(n):
                least[a, j] = some[a, at + j]
                if pinned:
                    loose[a, j] = some[a, at + j]
        for d in range(D):
            if not g.trails[group, d] and g.count[d] > 1:
                _close_along(g, level, d, least, -1, n, False)
                if pinned:
                    _close_along(g, level, d, loose, -1, n, True)
        for a in range(A):
            for j in range(n):
                turned[group, a, j] = min(turned[group, a, j], loose[a, j] if pinned else least[a, j])
        for b in range(out.shape[0]):
            s = g.temporal_shapes[level, b]
            a = g.spatial_row[level, s]
            for k in range(K):
                goes_on = open_ >= 0 and g.status[k, open_] == OPEN
                for i in range(g.idle_class[g.opens[k], s] + 1 if g.opens[k] >= 0 else 1):
                    at = i * n if g.opens[k] == open_ else 0
                    state = g.first[k] + i
                    for j in range(n):
                        there, here = least[a, j], out[b, state, j]
                        out[b, state, j] = there if there < here else here
                    if goes_on:
                        for j in range(n):
                            there, here = some[a, at + j], out[b, state, j]
                            out[b, state, j] = there if there < here else here
