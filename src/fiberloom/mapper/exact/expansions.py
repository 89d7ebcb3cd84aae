"""Steps inwards: labels go on by the temporal loops of a level, and by the spatial loops of its fan-out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fiberloom.mapper.exact.crossing_bounds import crossing_bound, sweep_class
from fiberloom.mapper.exact.crossings import cross, cross_sparse, least_busy
from fiberloom.mapper.exact.interface import BASE, interface, prepend, sweeps_of, walk
from fiberloom.mapper.exact.labels import DEMANDS, add_label, bound, limit_of, within_beam
from fiberloom.mapper.exact.sweep import divides, may_enter, shape_inside
from fiberloom.mapper.exact.tables import OPEN
from fiberloom.model.compiled import allocates_nothing, entry_point, inlined, kernel

allocates_nothing(__name__)


class Scratch(NamedTuple):
    """Room for one step."""

    label: Any  # (1,) LABEL
    state: Any  # (X,)
    own: Any  # (T,)
    entry: Any  # (C, A or B, W, J + Q) bounds from where the labels stand
    turned: Any  # (C, G, A, J + Q) bounds before the loops outside the run of a group
    digit: Any  # (D + 1,)
    turn: Any  # (D + 1,)
    shape: Any  # (D + 1,)
    loops: Any  # (D + 1,)
    kind_value: Any  # (K,)
    rest: Any  # (J + Q,)
    heap: Any  # (n,) least bounds met in this step of a beam, the largest first; empty: no beam
    held: Any  # (1,) how many
    shapes: Any  # (L,) tile shape of every level outside
    total: Any  # (1 + Q,)
    part: Any  # (1, 1 + Q)


@inlined
@kernel
def _promise(g, origin, level, rest, cost, rule, best, found):
    """Bound on what continues a label whose energy and cycles stay what they are."""
    return bound(
        origin.energy, origin.asked, origin.busy, origin.lanes, origin.power, level, rest, g, cost, rule, best, found
    )


@entry_point
def expand_temporal(p, g, w, pool, states, first, last, depth, after, table, rule, best, found, cost, plain, t):
    """Continue labels ``first`` … ``last`` of `pool` by the temporal loops of the next level.

    `after[C, A, W, J + Q]` bounds what follows them; `table` holds what was found (see `Table`), `t` the scratch (see `Scratch`).

    The loops of a level are chosen group by group of what the innermost one leaves open: first those outside the run, as long as
    the bound allows, then those of the run.
    """
    D, L = p.variables, p.levels
    level = L - 1 - depth // 2
    for source in range(first, last):
        origin = pool[source]
        at = sweep_class(g, g.opens[origin.kind], origin.sweeps) if g.opens[origin.kind] >= 0 else 0
        state = g.first[origin.kind] + at
        rest = t.entry[origin.context, g.temporal_row[level, origin.shape], state]
        if _promise(g, origin, level, rest, cost, rule, best, found) == np.inf:
            continue
        walk(p, g, w, pool, source, depth, table.orders, t.shapes)
        for i in range(t.state.shape[0]):
            t.state[i] = states[source, i]
        start = origin.shape
        still = True
        for d in range(D):
            digit = (start // g.stride[d]) % g.count[d]
            t.digit[d] = digit
            n = g.below_count[level, d, digit]
            if n == 0 or g.below[level, d, digit, n - 1] != digit:
                still = False
        if still:
            rest = after[origin.context, g.spatial_row[level, start], state]
            t.kind_value[origin.kind] = _promise(g, origin, level, rest, cost, rule, best, found)
            if t.kind_value[origin.kind] < np.inf and within_beam(t, t.kind_value[origin.kind]):
                _add_rows(p, g, w, origin, source, level, start, 0, -1, after, table, rule, best, found, cost, plain, t)
        for group in range(g.trails.shape[0]):
            outside = g.outer_count[group]
            goes_on = origin.kind > 0 and g.opens_of[group] >= 0 and g.status[origin.kind, g.opens_of[group]] == OPEN
            rest = t.turned[origin.context, group, g.spatial_row[level, start]]
            if not goes_on and _promise(g, origin, level, rest, cost, rule, best, found) == np.inf:
                continue
            i = 0
            t.turn[0] = 0
            t.shape[0] = start
            t.loops[0] = 0
            while i >= 0:
                if i == D:
                    if t.loops[D] != t.loops[outside]:  # the run has a loop
                        _close_group(
                            p, g, w, origin, source, level, group, t.shape[outside], t.loops[outside], t.shape[D],
                            t.loops[D], after, table, rule, best, found, cost, plain, t,
                        )  # fmt: skip
                    i -= 1
                    continue
                d = g.sequence[group, i]
                digit = t.digit[d]
                if t.turn[i] >= g.below_count[level, d, digit]:
                    i -= 1
                    continue
                to = g.below[level, d, digit, t.turn[i]]
                t.turn[i] += 1
                shape = t.shape[i] + (to - digit) * g.stride[d]
                loops = t.loops[i]
                if to != digit:
                    loops |= 1 << d
                    if i < outside:
                        rest = t.turned[origin.context, group, g.spatial_row[level, shape]]
                        if _promise(g, origin, level, rest, cost, rule, best, found) >= limit_of(t):
                            continue
                i += 1
                t.shape[i] = shape
                t.loops[i] = loops
                if i < D:
                    t.turn[i] = 0


@inlined
@kernel
def _close_group(
    p, g, w, origin, source, level, group, middle, outer, shape, loops, after, table, rule, best, found, cost, plain, t
):
    """Labels for one choice of loops, by what the innermost one is: `outer` are those outside the run, from `middle` on it goes."""
    open_ = g.opens_of[group]
    sweeps = 1.0
    if open_ >= 0:
        if outer or origin.kind == 0 or g.status[origin.kind, open_] != OPEN:
            sweeps = g.idle[open_, middle]
        elif g.opens[origin.kind] == open_:
            sweeps = origin.sweeps
    at = sweep_class(g, open_, sweeps) if open_ >= 0 else 0
    alive = False
    for kind in range(1, g.group.shape[0]):
        if g.group[kind] != group:
            continue
        t.kind_value[kind] = np.inf
        present = False
        for d in range(p.variables):
            if (loops >> d) & 1 and g.kind_of[d] == kind:
                present = True
        if not present:
            continue
        rest = after[origin.context, g.spatial_row[level, shape], g.first[kind] + at]
        value = _promise(g, origin, level, rest, cost, rule, best, found)
        if value < np.inf and within_beam(t, value):
            t.kind_value[kind] = value
            alive = True
    if alive:
        _add_rows(p, g, w, origin, source, level, shape, loops, group, after, table, rule, best, found, cost, plain, t)


@kernel
def _add_rows(p, g, w, origin, source, level, shape, loops, group, after, table, rule, best, found, cost, plain, t):
    """Labels for one choice of loops, one per order whose innermost loop is of the group and promises something."""
    D = p.variables
    label = t.label[0]
    for row in range(table.order_first[level, loops], table.order_first[level, loops + 1]):
        kind = g.kind_of[table.orders[level, row, 0]] if loops else origin.kind
        if loops and (g.group[kind] != group or t.kind_value[kind] == np.inf):
            continue
        position = BASE
        for i in range(D - 1, -1, -1):  # loops of the order stand innermost first
            d = table.orders[level, row, i]
            if d >= 0:
                f = g.extents[origin.shape, d] // g.extents[shape, d]
                position = prepend(w, position, d, f, level, 0)
        label.parent = source
        label.context = origin.context
        label.shape = shape
        label.choice = row
        label.kind = kind
        label.energy = origin.energy
        label.cycles = origin.cycles
        label.busy = origin.busy
        label.lanes = origin.lanes
        label.power = origin.power
        label.value = t.kind_value[kind]
        label.sweeps = sweeps_of(p, g, w, position, label)
        if g.opens[kind] >= 0:
            at = sweep_class(g, g.opens[kind], label.sweeps)
            rest = after[origin.context, g.spatial_row[level, shape], g.first[kind] + at]
            label.value = max(label.value, _promise(g, origin, level, rest, cost, rule, best, found))
            if label.value == np.inf:
                continue
        for i in range(DEMANDS):
            label.asked[i] = origin.asked[i]
        for i in range(label.pending.shape[0]):
            label.pending[i] = origin.pending[i]
        label.interface = interface(p, g, w, position, level, origin.lanes, plain, t.state, t.shapes, label)
        add_label(table, label, t.state)


@entry_point
def expand_spatial(
    p, g, m, tab, w, pool, states, first, last, depth, after, table, rule, best, found, cost, plain, t, shares, uppers, turn
):  # fmt: skip
    """As `expand_temporal`, by the spatial loops of the level: tensors cross into the tiles inside.

    `after[C, B, W, J + Q]` bounds what follows inside; at compute it is zero. `uppers`, `turn`: see `Contexts`.
    """
    D, L, T = p.variables, p.levels, p.tensors
    level = L - 1 - depth // 2
    columns = after.shape[3]
    label = t.label[0]
    least_left = (g.boost[level - 1] if level > 0 else 1.0) / g.boost[level] * (1 - 1e-9)
    for source in range(first, last):
        origin = pool[source]
        open_ = g.opens[origin.kind]
        at = sweep_class(g, open_, origin.sweeps) if open_ >= 0 else 0
        rest = t.entry[origin.context, g.spatial_row[level, origin.shape], g.first[origin.kind] + at]
        if _promise(g, origin, level, rest, cost, rule, best, found) == np.inf:
            continue
        walk(p, g, w, pool, source, depth, table.orders, t.shapes)
        steps = 1.0
        for i in range(BASE, w.active_count):
            if w.active_axis[i] == 0:
                steps *= w.active_bound[i]
        w.steps = steps
        for v in range(g.spread_count[level]):
            context = turn[origin.context, v]
            if context < 0 or not divides(p, g, origin.shape, level, v):
                continue
            shape = shape_inside(p, g, origin.shape, level, v)
            if not may_enter(g, level, v, shape):
                continue
            sweeps = 1.0
            if open_ >= 0:
                sweeps = origin.sweeps * shares[open_, v]
                at = sweep_class(g, open_, sweeps)
            lanes = origin.lanes * g.lanes[level, v]
            power = origin.power
            if level > 0:
                power += p.leak[level] * lanes
            row, state = g.temporal_row[level - 1, shape] if level > 0 else 0, g.first[origin.kind] + at
            for j in range(columns):
                t.rest[j] = after[context, row, state, j] if level > 0 else 0.0
            if bound(
                origin.energy, origin.asked, least_left * origin.busy, lanes, power, level - 1, t.rest, g, cost, rule, best, found
            ) == np.inf:  # fmt: skip
                continue
            left = crossing_bound(
                p, g, level, v, origin.shape, shape, origin.kind, origin.sweeps, shares, uppers, origin.context, t.total, t.part
            )  # fmt: skip
            for q in range(g.asks.shape[0]):
                t.rest[columns - g.asks.shape[0] + q] += t.total[1 + q]
            promise = bound(
                origin.energy + t.total[0],
                origin.asked,
                origin.busy * left,
                lanes,
                power,
                level - 1,
                t.rest,
                g,
                cost,
                rule,
                best,
                found,
            )
            if promise == np.inf or not within_beam(t, promise):
                continue
            position = BASE
            x = y = 1
            for i in range(D - 1, -1, -1):
                d = g.spread_order[level, i]
                f = g.spread[level, v, d]
                if f > 1:
                    along_x = (g.on_x[level, v] >> d) & 1
                    position = prepend(w, position, d, f, level, 1 if along_x else 2)
                    if along_x:
                        x *= f
                    else:
                        y *= f
            w.fanout_xy[level, 0] = x
            w.fanout_xy[level, 1] = y
            w.active_start[level] = position
            w.fanout[level] = g.lanes[level, v]
            w.used_instances[level] = lanes
            for d in range(D):
                w.extent[level, d] = g.extents[shape, d]
            if level > 0:
                for i in range(T):
                    w.whole[level - 1, i] = g.whole[i, shape]
            label.parent = source
            label.context = context
            label.shape = shape
            label.choice = v
            label.kind = origin.kind
            label.sweeps = sweeps
            label.lanes = lanes
            label.power = power
            for i in range(DEMANDS):
                label.asked[i] = origin.asked[i]
            for i in range(label.pending.shape[0]):
                label.pending[i] = origin.pending[i]
            energy = origin.energy
            label.busy = origin.busy
            if g.sparse:
                if level > 0:
                    t.shapes[level - 1] = shape
                for i in range(t.state.shape[0]):
                    t.state[i] = states[source, i]
                for i in range(T):
                    if g.parent[level, i] >= 0:
                        energy += cross_sparse(p, g, m, tab, w, position, level, i, label, shape, t)
                if g.refines:
                    label.busy = least_busy(p, g, level, t.state)
            else:
                for i in range(T):
                    if g.parent[level, i] >= 0:
                        energy += cross(p, g, m, w, level, i, label)
            label.energy = energy
            label.cycles = 0.0
            for q in range(g.asks.shape[0]):
                label.cycles = max(label.cycles, label.asked[q])
                t.rest[columns - g.asks.shape[0] + q] -= t.total[1 + q]
            label.value = bound(
                energy, label.asked, label.busy, lanes, power, level - 1, t.rest, g, cost, rule, best, found
            )
            if label.value == np.inf:
                continue
            if level > 0:
                label.interface = interface(p, g, w, position, level - 1, lanes, plain, t.state, t.shapes, label)
            else:  # complete: only the model can tell
                label.power += p.leak[0] * lanes
                label.interface = np.int64(table.state[0] if g.sparse else 0)
            add_label(table, label, t.state)
