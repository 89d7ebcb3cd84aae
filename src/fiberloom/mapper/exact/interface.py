"""What loops further in can notice of a label: its loops laid out, and the interface that tells labels apart."""

from __future__ import annotations

from typing import Final

import numpy as np

from fiberloom.mapper.exact.tables import COUNTED
from fiberloom.model.compiled import allocates_nothing, inlined, kernel
from fiberloom.model.dataflow import tile_size
from fiberloom.model.occupancy import combine

allocates_nothing(__name__)

BASE: Final = 64
"""Loops of a label are laid out from here, those of the step that continues it before."""
_WHOLE: Final = float(2**50)
"""Probabilities become whole numbers of this, to be told apart."""


@kernel
def walk(p, g, w, pool, index, depth, orders, shapes):
    """Lay out the loops of label `index` in `w`, from `BASE` on: the work record of the nest outside its shape.

    `depth` counts the steps since the root: odd ones are temporal loops, even ones spatial, from the outermost level in.
    """
    D, L = p.variables, p.levels
    n = BASE
    at = index
    for d in range(D):
        w.running[d] = g.extents[pool[index].shape, d]
    innermost = L - 1 - depth // 2  # level that the label's shape is the tile of, or stands inside
    if depth % 2 == 0:
        for d in range(D):
            w.extent[innermost + 1, d] = w.running[d]
        shapes[innermost] = pool[index].shape
    for step in range(depth, 0, -1):
        level = L - 1 - (step - 1) // 2
        before = pool[pool[at].parent].shape
        if step % 2 == 1:
            if step == depth:
                w.active_start[level] = n
                for d in range(D):
                    w.spatial_extent[level, d] = w.running[d]
            for i in range(D):
                d = orders[level, pool[at].choice, i]
                if d < 0:
                    break
                w.active_variable[n] = d
                w.active_bound[n] = g.extents[before, d] // w.running[d]
                w.active_level[n] = level
                w.active_axis[n] = 0
                n += 1
            for d in range(D):
                w.running[d] = g.extents[before, d]
                w.extent[level + 1, d] = w.running[d]
            shapes[level] = before
        else:
            w.active_start[level] = n
            lanes = 1
            for i in range(D):
                d = g.spread_order[level, i]
                f = g.spread[level, pool[at].choice, d]
                if f > 1:
                    w.active_variable[n] = d
                    w.active_bound[n] = f
                    w.active_level[n] = level
                    w.active_axis[n] = 1
                    n += 1
                    lanes *= f
            for d in range(D):
                w.running[d] = g.extents[before, d]
                w.spatial_extent[level, d] = w.running[d]
            w.fanout[level] = lanes
        at = pool[at].parent
    w.active_count = n
    w.active_start[L] = n
    if depth == 0:
        return
    used = 1
    for level in range(L - 1, innermost - 1, -1):
        w.used_instances[level + 1] = used
        if L - 1 - level < depth // 2:
            used *= w.fanout[level]
        for t in range(p.tensors):
            w.whole[level, t] = tile_size(p, t, w.extent[level + 1])


@inlined
@kernel
def prepend(w, position, variable, bound_, level, axis):
    """Put one loop inside those laid out; returns its place."""
    w.active_variable[position - 1] = variable
    w.active_bound[position - 1] = bound_
    w.active_level[position - 1] = level
    w.active_axis[position - 1] = axis
    return position - 1


@kernel
def interface(p, g, w, start, row, lanes, plain, state, shapes, label):
    """What loops further in can notice of those laid out from `start` on, as a number.

    `row` is the outermost child row still to be crossed. With `plain` (no bandwidth, leakage or cluster) the number of
    instances of outer levels can't be noticed.
    """
    total = np.int64(1)
    if g.whole_nest[row]:
        for i in range(start, w.active_count):
            total = combine(combine(total, w.active_variable[i]), w.active_bound[i])
            total = combine(total, w.active_level[i] * 2 + w.active_axis[i])
        return total
    for t in range(p.tensors):
        r = row
        while r > 0 and g.parent[r, t] < 0:
            r -= 1
        k = g.parent[r, t]
        h = np.int64(t)
        run = idle_since = idle_all = 1
        staying = r > 0
        moving = -1
        chain_variable = -1
        chain_bound = chain_inner = 1
        windowed = g.windowed[t]
        listing = 0  # loops that have a part in what metadata lists, as far as it matters how many
        if windowed or g.whole_spread[t]:
            for d in range(p.variables):
                w.running[d] = 1
        if g.sparse and g.listed[k, t] == COUNTED:
            for i in range(start, w.active_count):
                if listing < 2 and w.active_level[i] <= k and p.is_relevant[t, w.active_variable[i]]:
                    listing += 1
            h = combine(h, listing)
        for i in range(start, w.active_count):
            if not staying and not windowed and w.active_axis[i] == 0 and moving >= 0 and not g.whole_spread[t]:
                continue  # loops further out only multiply
            d, b, at = w.active_variable[i], w.active_bound[i], w.active_level[i]
            relevant = p.is_relevant[t, d]
            if relevant and moving < 0 and at <= k:
                moving = d
            if w.active_axis[i] == 0:
                if staying:
                    if not relevant and not g.windowed[t]:
                        run *= b
                        if p.entries > 0:
                            h += combine(np.int64(d + 1), b)
                    elif relevant and (not g.windowed[t] or p.is_lone[t, d]):
                        staying = False
                    else:
                        inner = w.running[d] if relevant else 1
                        if d == chain_variable and (not relevant or inner == chain_inner * chain_bound):
                            chain_bound *= b
                        else:
                            if chain_variable >= 0:
                                h = combine(combine(combine(h, chain_variable + 1), chain_bound), chain_inner)
                            chain_variable, chain_bound, chain_inner = d, b, inner
            else:
                if not relevant:
                    idle_all *= b
                if at <= k:
                    if not g.windowed[t] and not g.whole_spread[t]:
                        if not relevant:
                            idle_since *= b
                    else:
                        h = combine(combine(combine(h, d + 1), b), w.running[d])
            if windowed or g.whole_spread[t]:
                w.running[d] *= b
        if chain_variable >= 0:
            h = combine(combine(combine(h, chain_variable + 1), chain_bound), chain_inner)
        if g.sparse or windowed:
            h = combine(h, run)
        else:  # staying put for longer is better, whatever comes
            label.pending[t] = 1.0 / run
        h = combine(h, idle_since)
        if t == p.output:
            h = combine(h, idle_all)
        if not plain:
            h = combine(h, w.used_instances[k + 1])
        if g.sparse:
            h = combine(combine(h, moving + 1), np.int64(state[t] * _WHOLE))
            for leader in range(p.tensors):
                h = combine(h, np.int64(state[p.tensors * (1 + t) + leader] * _WHOLE))
            h = combine(h, np.int64(state[p.tensors * (1 + p.tensors) + t]))
            for c in range(row):
                if g.arrives[c, t] >= row:
                    h = combine(h, np.int64(g.occupied[t, shapes[g.arrives[c, t]]] * _WHOLE))
            if p.has_metadata[k, t]:
                h = combine(
                    combine(h, np.int64(g.density[t, shapes[k]] * _WHOLE)),
                    np.int64(g.overhead[k, t, shapes[k]] * _WHOLE),
                )
            elif g.arrives[k, t] >= 0:
                h = combine(h, np.int64(g.occupied[t, shapes[g.arrives[k, t]]] * _WHOLE))
        total = combine(total, h)
    if not plain:
        total = combine(total, np.int64(lanes))
    return total


@inlined
@kernel
def sweeps_of(p, g, w, start, label):
    """How often the tensor that the innermost loop leaves open was gone through by the loops outside its run."""
    t = g.opens[label.kind]
    if t < 0:
        return 1.0
    run = 1
    for i in range(start, w.active_count):
        if w.active_axis[i] == 0:
            if p.is_relevant[t, w.active_variable[i]]:
                break
            run *= w.active_bound[i]
    return g.idle[t, label.shape] / run
