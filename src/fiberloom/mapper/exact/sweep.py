"""The bound: least energy that the rest of a mapping can take, for every tile shape, by one sweep from compute outwards.

The sweep solves a relaxed problem exactly. What it relaxes is memory of the loops further out: a tensor that the innermost
loop met so far leaves in place is assumed to have been left in place by all loops outside it, and gating and skipping to
act on the smallest boxes that the schedule allows. Which tensors those are follows from that one loop, so that a state is
(stage, tile shape, kind of the last loop), and the bound is the shortest path in that graph, for each of several least
numbers of lanes still to be filled.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fiberloom.model.compiled import entry_point, kernel

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
    parent: Any  # (L + 1, T) keeper outside of what row c + 1 (row 0: compute) is filled from; −1: keeps nothing
    whole: Any  # (T, S) words of the tile
    idle: Any  # (T, S) iterations of irrelevant variables outside the tile
    outside: Any  # (S,) iterations outside the tile
    size: Any  # (T,) least distinct elements
    windowed: Any  # (T,)
    retained: (
        Any  # (T, S) words that tiles of the shape hold together, over all other elements of ranks without a window
    )
    window_lanes: Any  # (L, T) lanes outside the level's fan-out that may hold different windows, at most
    whole_spread: Any  # (T,) whether it matters how, not only how often, lanes share the tensor
    demand: Any  # (L,) slot of the level's demands in labels; −1: unlimited
    fits: Any  # (L, S)
    multicast: Any  # (L, T)
    sends: Any  # (L, T) child row whose parent's traffic is charged at the level's fan-out; −1: none
    upper: Any  # (L + 1, T) children of the fan-outs between the parent and where its traffic is charged, at most
    above: Any  # (L,) instances of the level, at most
    read: Any  # (L + 1, T) energy of a word read at the parent for child row c + 1
    update: Any  # (L + 1, T)
    fill: Any  # (L + 1, T) energy of a word filled at the child
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
def distinct_at_least(p, g, t, level, v):
    """Fewest distinct positions of tensor `t` among the children of spread `v`."""
    total = 1
    for r in range(p.rank_count[t]):
        positions = 0
        for k in range(p.term_count[t, r]):
            f = g.spread[level, v, p.term_variable[t, r, k]]
            if f > 1:
                positions = f if positions == 0 else positions + f - 1
        if positions > 1:
            total *= positions
    return total


@kernel
def spread_idle(p, g, t, level, v):
    """Children of spread `v` per position of tensor `t`: factors that do not index it."""
    idle = 1
    for d in range(p.variables):
        if not p.is_relevant[t, d]:
            idle *= g.spread[level, v, d]
    return idle


@kernel
def _swept_again(g, t, level, shape, times, lanes):
    """Least words of a tensor whose windows are swept `times` over: each sweep may find one tile still in place."""
    return g.size[t] + max(0.0, times - 1.0) * max(
        0.0, g.size[t] - g.retained[t, shape] * g.window_lanes[level, t] * lanes
    )


@entry_point
def boundary_bound(p, g, level, v, before, after, kind, shares):
    """Least energy of everything that crosses into level − 1 (or compute) through the fan-out of `level`.

    `before` and `after` are the tile shapes outside and inside the fan-out, `v` the spread, `kind` the last loop.
    """
    energy = 0.0
    for t in range(p.tensors):
        status = g.status[kind, t]
        # what the parent sends: charged at the innermost fan-out between it and the child, or at the child's own
        row = g.sends[level, t]
        if row >= 0:
            k = g.parent[row, t]
            upper = float(g.upper[row, t])
            if row == 0:
                content = g.outside[0] / upper
                if g.multicast[level, t]:
                    content *= shares[p.tensors + t, v] / g.lanes[level, v]
            else:
                if status == OPEN:
                    content = g.size[t]
                elif status == WINDOW:
                    content = _swept_again(g, t, level, after, g.idle[t, before] / upper, shares[2 * p.tensors + t, v])
                elif g.windowed[t]:
                    content = g.whole[t, after] * g.outside[before] * shares[p.tensors + t, v] / upper
                else:
                    content = g.size[t] * max(1.0, g.idle[t, before] / upper)
                if not g.multicast[level, t]:
                    content *= shares[t, v]
            part = 0.0
            if t == p.output:
                part = content * g.update[row, t]
                content = max(0.0, content - g.size[t] * min(g.above[k], g.idle[t, before]))
            part += content * g.read[row, t]
            if g.sparse:
                part *= g.sent_share[row, t, after if row > 0 else 0]
            energy += part
        # what the child is filled with
        if level > 0 and g.parent[level, t] >= 0:
            if status == OPEN:
                filled = g.size[t] * shares[t, v]
            elif status == WINDOW:
                filled = _swept_again(g, t, level, after, g.idle[t, after], shares[2 * p.tensors + t, v])
            elif g.windowed[t]:
                filled = g.whole[t, after] * g.outside[after]
            else:
                filled = g.size[t] * g.idle[t, after]
            if t == p.output:
                filled = max(0.0, filled - g.size[t] * min(g.above[level - 1], g.idle[t, after]))
            part = filled * g.fill[level, t]
            if g.sparse:
                part *= g.filled_share[level, t, after]
            energy += part
    return energy


@entry_point
def sweep_spatial(p, g, level, inner, out, inner_rows, shares):
    """``out[S, K, J]``: least energy from before the fan-out of `level`; `inner[S, K, J]` from inside it."""
    S, K, J = out.shape
    D = p.variables
    for s in range(S):
        for k in range(K):
            for j in range(J):
                out[s, k, j] = np.inf
    for v in range(g.spread_count[level]):
        lanes = g.lanes[level, v]
        for j in range(J):  # inner threshold that serves: the largest not above what is still needed
            need = g.threshold[level, j] / lanes
            chosen = 0
            for i in range(J):
                if g.threshold[level - 1, i] <= need * (1 + 1e-12) if level > 0 else False:
                    chosen = i
            if level == 0:
                chosen = 0 if lanes >= g.threshold[level, j] else -1
            elif need > g.threshold[level - 1, J - 1] * (1 + 1e-12):
                chosen = -1
            inner_rows[j] = chosen
        for s in range(S):
            after = s
            legal = True
            for d in range(D):
                f = g.spread[level, v, d]
                if f > 1 and g.extents[s, d] % f:
                    legal = False
                    break
            if not legal:
                continue
            after = shape_inside(p, g, s, level, v)
            if level == 0:
                if after != 0:
                    continue
            elif not g.fits[level - 1, after]:
                continue
            for k in range(K):
                if level > 0 and inner[after, k, 0] == np.inf:
                    continue
                crossing = boundary_bound(p, g, level, v, s, after, k, shares)
                for j in range(J):
                    i = inner_rows[j]
                    if i < 0:
                        continue
                    e = crossing + (inner[after, k, i] if level > 0 else 0.0)
                    out[s, k, j] = min(out[s, k, j], e)


@kernel
def shape_inside(p, g, s, level, v):
    """Shape after spread `v`; the factors divide."""
    number = 0
    for d in range(p.variables):
        number += g.stride[d] * g.digit[d, g.extents[s, d] // g.spread[level, v, d]]
    return number


@kernel
def _close_along(p, g, level, d, rows, strict, source, out):
    """``out[s] = min(source[s'])`` over the shapes s' that a loop over `d` leads to; a factor above 1 if `strict`."""
    S = rows
    for s in range(S):
        digit = (s // g.stride[d]) % g.count[d]
        base = s - digit * g.stride[d]
        for j in range(out.shape[1]):
            best = np.inf
            for i in range(g.below_count[level, d, digit]):
                to = g.below[level, d, digit, i]
                if strict and to == digit:
                    continue
                best = min(best, source[base + to * g.stride[d], j])
            out[s, j] = best


@entry_point
def sweep_temporal(p, g, level, after, out, a, b, c):
    """``out[S, K, J]``: least energy from before the temporal loops of `level`; `after[S, K, J]` from after them.

    With loops, the innermost one is of some kind: all loops take any allowed factor, one of that kind a factor above 1.
    `a`, `b`, `c` are scratch of shape ``(S, J)``.
    """
    S, K, J = out.shape
    D = p.variables
    # no loops: every factor must be allowed to be 1
    for s in range(S):
        still = True
        for d in range(D):
            digit = (s // g.stride[d]) % g.count[d]
            n = g.below_count[level, d, digit]
            if n == 0 or g.below[level, d, digit, n - 1] != digit:
                still = False
        for k in range(K):
            for j in range(J):
                out[s, k, j] = after[s, k, j] if still else np.inf
    for kind in range(1, K):
        for s in range(S):
            for j in range(J):
                a[s, j] = after[s, kind, j]
                c[s, j] = np.inf
        for d in range(D):
            if g.kind_of[d] != kind and g.count[d] > 1:
                _close_along(p, g, level, d, S, False, a, b)
                for s in range(S):
                    for j in range(J):
                        a[s, j] = b[s, j]
        # c: at least one loop of the kind; a: any or none so far
        for d in range(D):
            if g.kind_of[d] == kind and g.count[d] > 1:
                _close_along(p, g, level, d, S, False, c, b)
                for s in range(S):
                    for j in range(J):
                        c[s, j] = b[s, j]
                _close_along(p, g, level, d, S, True, a, b)
                for s in range(S):
                    for j in range(J):
                        c[s, j] = min(c[s, j], b[s, j])
                # `a` goes on without a loop over d: factor 1 only
                for s in range(S):
                    digit = (s // g.stride[d]) % g.count[d]
                    n = g.below_count[level, d, digit]
                    if n == 0 or g.below[level, d, digit, n - 1] != digit:
                        for j in range(J):
                            a[s, j] = np.inf
        for s in range(S):
            for k in range(K):
                for j in range(J):
                    out[s, k, j] = min(out[s, k, j], c[s, j])
