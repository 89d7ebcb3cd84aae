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

from fiberloom.mapper.exact.crossing_bounds import all_bounds, nothing_crosses
from fiberloom.mapper.exact.tables import OPEN, SPEED_SLACK, WINDOW
from fiberloom.model.compiled import allocates_nothing, entry_point, inlined, kernel

allocates_nothing(__name__)


class Spare(NamedTuple):
    """Scratch of a sweep."""

    parts: Any  # (T (3 + K + V), 1 + Q)
    base: Any  # (1 + Q,)
    left: Any  # (T V,)
    closed: Any  # (T,)
    rows: Any  # (n, J)
    plain: Any  # (n,)
    way: Any  # (n, rows at a time, 3)
    ways: Any  # (n,)


@entry_point
def sweep_spatial(p, g, level, inner, out, first, last, shares, uppers, turn, spare):
    """``out[C, A, W, J + Q]``: least energies and cycles from before the fan-out of `level`, by context, for those of its `A` shapes
    that can be there (`spatial_shapes`) from `first` to `last`; ``inner[C', B, W, J' + Q]`` likewise from inside it.

    ``uppers[C, 4 T]`` are the contexts here, ``turn[C, n]`` the one inside each spread, `spare` is scratch (see `Spare`).
    """
    K, V, columns = g.status.shape[0], g.sweeps.shape[1], out.shape[3]
    Q, T = g.asks.shape[0], p.tensors
    inner_columns = inner.shape[3]
    J, inner_J = columns - Q, inner_columns - Q
    from_, to_ = inner.reshape(-1), out.reshape(-1)
    parts, base, left = spare.parts, spare.base, spare.left
    parts[:] = 0.0
    left[:] = 1.0
    spare.closed[:] = 1.0
    decides = False  # whether skipping here has a part in how fast a mapping is
    for t in range(T):
        decides = decides or g.busy_set[level, t] >= 0
    for v in range(g.spread_count[level]):
        spare.plain[v] = _serving(g, level, inner_J, J, g.lanes[level, v], spare.rows, v) and not decides
    for v in range(g.spread_count[level]):
        spare.ways[v] = 0
        for a in range(first, last):
            s = g.spatial_shapes[level, a]
            if divides(p, g, s, level, v):
                after = shape_inside(p, g, s, level, v)
                if may_enter(g, level, v, after):
                    n = spare.ways[v]
                    spare.way[v, n, 0], spare.way[v, n, 1] = a, after
                    spare.way[v, n, 2] = g.temporal_row[level - 1, after] if level > 0 else 0
                    spare.ways[v] = n + 1
    for context in range(out.shape[0]):
        rows = out.shape[2] * columns
        for at in range((context * out.shape[1] + first) * rows, (context * out.shape[1] + last) * rows):
            to_[at] = np.inf
        for v in range(g.spread_count[level]):
            if turn[context, v] < 0:
                continue
            for x in range(spare.ways[v]):
                a, after, row = spare.way[v, x, 0], spare.way[v, x, 1], spare.way[v, x, 2]
                s = g.spatial_shapes[level, a]
                here = (context * out.shape[1] + a) * rows
                there = (turn[context, v] * inner.shape[1] + row) * inner.shape[2] * inner_columns
                for t in range(T):
                    if not nothing_crosses(g, level, t):
                        spare.closed[t] = all_bounds(
                            p,
                            g,
                            level,
                            v,
                            s,
                            after,
                            t,
                            shares,
                            uppers,
                            context,
                            parts,
                            left,
                            x > 0 and g.constant[level, t],
                        )
                speed = -1.0
                for k in range(K):
                    open_ = g.opens[k]
                    for c in range(Q + 1):
                        base[c] = 0.0
                    others_left = 1.0
                    for t in range(T):
                        if t != open_:
                            others_left *= spare.closed[t]
                            status = g.status[k, t]
                            at = t * (3 + K + V) + (3 + k if status == WINDOW else status)
                            for c in range(Q + 1):
                                base[c] += parts[at, c]
                    width = g.idle_class[open_, s] + 1 if open_ >= 0 else 1
                    opened = max(0, open_)
                    swept = opened * (3 + K + V) + 3 + K
                    target = here + g.first[k] * columns
                    for i in range(width):
                        source = there
                        if level > 0:
                            place = g.first[k] + (g.sweeps_inside[level, v, open_, i] if open_ >= 0 else 0)
                            source += place * inner_columns
                        if from_[source] < np.inf:
                            energy = base[0]
                            if open_ >= 0:
                                energy += parts[swept + i, 0]
                            if spare.plain[v]:
                                for j in range(J):
                                    cost, least = energy + from_[source + j], to_[target + j]
                                    to_[target + j] = cost if cost < least else least
                            else:
                                if decides:
                                    share = others_left * (left[opened * V + i] if open_ >= 0 else 1.0)
                                    if g.lanes[level, v] / share != speed:
                                        speed = g.lanes[level, v] / share
                                        _serving(g, level, inner_J, J, speed, spare.rows, v)
                                for j in range(J):
                                    at = spare.rows[v, j]
                                    if at >= 0:
                                        cost, least = energy + from_[source + at], to_[target + j]
                                        to_[target + j] = cost if cost < least else least
                            for q in range(Q):
                                cost, least = base[1 + q] + from_[source + inner_J + q], to_[target + J + q]
                                if open_ >= 0:
                                    cost += parts[swept + i, 1 + q]
                                to_[target + J + q] = cost if cost < least else least
                        target += columns


@inlined
@kernel
def _serving(g, level, inner_J, J, speed, out, at):
    """For every threshold of a level the largest of those inside that is not above what is still needed, ``out[at, J]``; −1: out of
    reach. Returns whether each is served by its own number."""
    slack = 1 + 1e-12 if g.boost[level] == 1.0 else 1 + SPEED_SLACK
    same = inner_J == J
    i = 0
    for j in range(J):
        need = g.threshold[level, j] / speed
        if level == 0:
            out[at, j] = 0 if need <= slack else -1
        else:
            while i + 1 < inner_J and g.threshold[level - 1, i + 1] <= need * slack:
                i += 1
            out[at, j] = i if need <= g.threshold[level - 1, inner_J - 1] * slack else -1
        same = same and out[at, j] == j
    return same


@inlined
@kernel
def may_enter(g, level, v, shape):
    """Whether a lane of a spread can hold the tile `shape` that is left to it."""
    if level == 0:
        return shape == 0
    return g.fits[level - 1, shape] and g.whole[g.folding[level], shape] <= g.inside[level, v]


@inlined
@kernel
def divides(p, g, s, level, v):
    """Whether a spread divides a shape."""
    for d in range(p.variables):
        f = g.spread[level, v, d]
        if f > 1 and g.extents[s, d] % f:
            return False
    return True


@inlined
@kernel
def shape_inside(p, g, s, level, v):
    """Shape after spread `v`; the factors divide."""
    number = 0
    for d in range(p.variables):
        number += g.stride[d] * g.digit[d, g.extents[s, d] // g.spread[level, v, d]]
    return number


@inlined
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
def sweep_temporal(p, g, level, after, out, turned, none, some, least, loose, fresh):
    """``out[B, W, J + Q]``: least energies and cycles from before the temporal loops of `level`, for the `B` shapes that can be
    there (`temporal_shapes`); ``after[A, W, J + Q]`` from after them.

    The innermost loop is of some kind, and with it stand all loops that leave the same tensor open: the run that is longest.
    ``turned[C, A, J + Q]`` gets the least from before the loops outside a run of each group, some of which may be behind already.
    `none`, `some` are scratch ``(A, V·(J + Q))``, `least`, `loose`, `fresh` ``(A, J + Q)``.
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
            a = g.spatial_row[level, s]
            for state in range(after.shape[1]):
                for j in range(n):
                    out[b, state, j] = after[a, state, j]
    turned[:] = np.inf
    fresh[:] = np.inf  # whatever the loops here, if no run of outer ones goes on
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
                fresh[a, j] = min(fresh[a, j], least[a, j])
        for b in range(out.shape[0]):
            s = g.temporal_shapes[level, b]
            a = g.spatial_row[level, s]
            for k in range(1, K):
                if open_ >= 0 and g.status[k, open_] == OPEN:
                    for i in range(g.idle_class[g.opens[k], s] + 1 if g.opens[k] >= 0 else 1):
                        at = i * n if g.opens[k] == open_ else 0
                        state = g.first[k] + i
                        for j in range(n):
                            there, here = some[a, at + j], out[b, state, j]
                            out[b, state, j] = there if there < here else here
    for b in range(out.shape[0]):
        s = g.temporal_shapes[level, b]
        a = g.spatial_row[level, s]
        for k in range(K):
            for i in range(g.idle_class[g.opens[k], s] + 1 if g.opens[k] >= 0 else 1):
                state = g.first[k] + i
                for j in range(n):
                    there, here = fresh[a, j], out[b, state, j]
                    out[b, state, j] = there if there < here else here
