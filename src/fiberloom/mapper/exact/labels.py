"""Labels: partial mappings, from the outermost level inwards, with what their loops already cost.

A label stands at a tile shape after the temporal or the spatial loops of a level. Everything that crosses into tiles
outside that shape is known exactly, from the model's own functions; `fiberloom.mapper.exact.sweep` bounds the rest. Two
labels at one shape with the same *interface* - what loops further in can still notice of the loops outside - cost the same
from there on, so that only those survive that no other beats in energy, cycles and lanes.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from fiberloom.mapper.exact.sweep import OPEN, READS, WRITES, crossing_bound, shape_inside, sweep_class
from fiberloom.model.compiled import entry_point, kernel
from fiberloom.model.counting import ACTUAL, FILL, GATING, READ, UPDATE
from fiberloom.model.dataflow import distinct_elements, distinct_offsets, sent_to_child, tile_size
from fiberloom.model.leaders import exact_leader_boxes, follower_level
from fiberloom.model.occupancy import combine
from fiberloom.model.peer import peer_links
from fiberloom.model.records import MAX_TENSORS

DEMANDS: Final = 12
"""Bandwidth limits that the search takes."""

LABEL: Final[Any] = np.dtype(
    [
        ("parent", np.int64),  # label that this one continues; −1 at the root
        ("shape", np.int64),
        ("choice", np.int64),  # row of the order table, or spread
        ("kind", np.int64),  # kind of the innermost loop so far
        ("interface", np.int64),
        ("sweeps", np.float64),  # of the tensor that the innermost loop leaves open
        ("energy", np.float64),  # of all that crosses outside the shape
        ("cycles", np.float64),  # the most of `asked`
        ("lanes", np.float64),  # product of the spatial factors so far
        ("power", np.float64),  # leakage per cycle of the levels outside
        ("busy", np.float64),  # least computations that take a cycle, over all lanes
        ("value", np.float64),  # bound on the objective
        ("asked", np.float64, (DEMANDS,)),  # cycles that every limited bandwidth was asked for so far
        # per tensor: metadata energy that tiles further in decide on; where nothing is sparse, one over the iterations that
        # its tile stays put for
        ("pending", np.float64, (MAX_TENSORS,)),
        ("next", np.int64),  # next label with the same shape and interface; −1
    ],
    align=True,
)
"""One label."""


class Table(NamedTuple):
    """Labels found in one step, by shape and interface."""

    labels: Any  # (n,) LABEL
    states: Any  # (n, X) what gating and skipping found outside, see `SparseState`; X = 0 where nothing is sparse
    keys: Any  # open addressing, a power of two; 0 is free
    heads: Any  # first label of each list
    state: Any  # (1,) labels in use
    dropped: Any  # (1,) least bound among labels that found no room
    orders: Any  # (L, n, D) innermost first, padded with −1
    order_first: Any  # (L, 2^D + 1)


class Scratch(NamedTuple):
    """Room for one step."""

    label: Any  # (1,) LABEL
    state: Any  # (X,)
    own: Any  # (T,)
    entry: Any  # (S, K, V, J + Q) bounds from where the labels stand
    turned: Any  # (C, S, J + Q) bounds before the loops outside the run of a group
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
    part: Any  # (1 + Q,)


BASE: Final = 64
"""Loops of a label are laid out from here, those of the step that continues it before."""
_WHOLE: Final = float(2**50)
"""Probabilities become whole numbers of this, to be told apart."""
SLACK: Final = 1e-11
"""Relative difference below which two energies are the same number, summed in another order."""


@kernel
def value_of(energy, cycles, rule):
    """The objective: energy^rule[0] · cycles^rule[1]."""
    if rule[0] == 1.0:
        if rule[1] == 0.0:
            return energy
        if rule[1] == 1.0:
            return energy * cycles
    elif rule[0] == 0.0 and rule[1] == 1.0:
        return cycles
    return energy ** rule[0] * cycles ** rule[1]


@entry_point
def beaten(energy, cycles, rule, best, count):
    """Whether something already found is as good as (energy, cycles), in the objective and then in the tie-break.

    `best[count, 2]` are the energies and cycles found; `rule` the exponents of the objective (0, 1), of the tie-break
    (2, 3), and whether all points of the front are wanted (4).
    """
    if rule[4] > 0.0:
        for i in range(count):  # noqa: SIM110 - compiled
            if best[i, 0] <= energy * (1 + SLACK) and best[i, 1] <= cycles:
                return True
        return False
    if count == 0:
        return False
    value, found = value_of(energy, cycles, rule), value_of(best[0, 0], best[0, 1], rule)
    if value >= found * (1 + SLACK):
        return True
    if value < found * (1 - SLACK):
        return False
    second = energy ** rule[2] * cycles ** rule[3]
    return second >= best[0, 0] ** rule[2] * best[0, 1] ** rule[3] * (1 - SLACK)


@entry_point
def bound(energy, asked, busy, lanes, power, level, rest, g, cost, rule, best, count):
    """Bound on the objective of every completion, infinity when all are beaten.

    `asked[Q]` are the cycles of every bandwidth so far, `rest[J + Q]` the least energies and cycles of the rest; `cost` holds the
    energy of compute and the leakage inside each level.
    """
    least = np.inf
    alive = False
    columns = rest.shape[0] - g.asks.shape[0]
    cycles = 0.0
    for q in range(g.asks.shape[0]):
        cycles = max(cycles, asked[q] + rest[columns + q])
    for j in range(columns):
        h = rest[j]
        if h == np.inf:
            break
        c = max(cycles, busy / (lanes * g.ceiling[level, j]))
        c = np.ceil(c - 1e-9)
        e = energy + h + cost[0] + (power + lanes * cost[2 + level]) * c
        if not beaten(e, c, rule, best, count):
            alive = True
            least = min(least, value_of(e, c, rule))
    return least if alive else np.inf


@kernel
def add_label(table, label, state):
    """Put `label` into the table unless one with its shape and interface is as good."""
    count = table.state[0]
    key = combine(label.interface, label.shape)
    if key == 0:
        key = np.int64(1)
    mask = table.keys.shape[0] - 1
    slot = np.int64(np.uint64(key) >> np.uint64(20)) & mask
    while table.keys[slot] != 0 and table.keys[slot] != key:
        slot = (slot + 1) & mask
    fresh = table.keys[slot] == 0
    at = np.int64(-1) if fresh else table.heads[slot]
    last = np.int64(-1)
    while at >= 0:
        other = table.labels[at]
        if other.energy <= label.energy * (1 + SLACK) and _as_good(other, label):
            return
        if label.energy <= other.energy and _as_good(label, other):  # the other one goes
            other.value = np.inf
            if last < 0:
                table.heads[slot] = other.next
            else:
                table.labels[last].next = other.next
        else:
            last = at
        at = other.next
    if count == table.labels.shape[0]:  # full: what is left out is remembered by its bound
        table.dropped[0] = min(table.dropped[0], label.value)
        return
    label.next = table.heads[slot] if not fresh else -1
    table.keys[slot] = key
    table.heads[slot] = count
    table.labels[count] = label
    for i in range(state.shape[0]):
        table.states[count, i] = state[i]
    table.state[0] = count + 1


@kernel
def _as_good(a, b):
    if a.cycles > b.cycles or a.power > b.power or a.lanes < b.lanes or a.busy > b.busy * (1 + SLACK):
        return False
    for q in range(DEMANDS):
        if a.asked[q] > b.asked[q] * (1 + SLACK):
            return False
    for t in range(MAX_TENSORS):  # noqa: SIM110 - compiled
        if a.pending[t] > b.pending[t] * (1 + SLACK):
            return False
    return True


@kernel
def limit_of(t):
    """From here on a bound is not worth following."""
    n = t.heap.shape[0]
    return t.heap[0] if n > 0 and t.held[0] == n else np.inf


@kernel
def within_beam(t, value):
    """Whether `value` is among the least that this step of the beam has met; then it is remembered."""
    n = t.heap.shape[0]
    if n == 0:
        return True
    held = t.held[0]
    if held < n:
        i = held
        t.held[0] = held + 1
        while i > 0 and t.heap[(i - 1) // 2] < value:
            t.heap[i] = t.heap[(i - 1) // 2]
            i = (i - 1) // 2
        t.heap[i] = value
        return True
    if value >= t.heap[0]:
        return False
    i = 0
    while True:
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and t.heap[child + 1] > t.heap[child]:
            child += 1
        if t.heap[child] <= value:
            break
        t.heap[i] = t.heap[child]
        i = child
    t.heap[i] = value
    return True


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
        if windowed or g.whole_spread[t]:
            for d in range(p.variables):
                w.running[d] = 1
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
        total = combine(total, h)
    if not plain:
        total = combine(total, np.int64(lanes))
    return total


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


@kernel
def _crossing_words(p, g, m, w, level, t):
    """Dense words that one parent reads and is updated with, that one child is filled with, and passes on to neighbours."""
    row = level
    k = g.parent[row, t]
    words = sent_to_child(p, t, w, level)
    groups = 1.0
    together = True
    for at in range(level, k + 1):
        if not m.multicast[at, t]:
            together = False
            groups *= w.fanout[at]
        elif together:
            groups = float(distinct_offsets(p, t, w, level, at))
        else:
            groups *= distinct_offsets(p, t, w, at, at)
    read = words * groups
    passed = 0.0
    if level > 0 and g.linked[level, t] and w.fanout[level] > 1 and m.keep[level - 1, t]:
        own = float(distinct_offsets(p, t, w, level, level)) if m.multicast[level, t] else float(w.fanout[level])
        saved, linked = peer_links(p, t, w, level)
        read *= (words * own - saved) / (words * own)
        passed = linked / w.fanout[level]
    updated = 0.0
    filled = float(words) if row > 0 else 0.0
    if t == p.output:
        updated = read
        read -= min(read, float(distinct_elements(p, t, w, k)))
        if row > 0:
            filled -= min(filled, float(distinct_elements(p, t, w, row - 1)))
    return read, updated, filled, passed


@kernel
def _copies(p, level, instances):
    """Accesses that the instances of a level pay for: those of a cluster share one."""
    return np.ceil(instances / p.cluster[level]) if p.cluster[level] > 1 else instances


@kernel
def _ask(p, g, label, level, t, read, written):
    """Values of tensor `t` that an instance of a level reads and writes take their cycles."""
    for q in range(g.asks.shape[0]):
        if g.asks[q, 0] == level:
            limits = g.asks[q, 1]
            values = (read if limits != WRITES else 0.0) + (written if limits != READS else 0.0)
            label.asked[q] += values * p.demand[level, t] / g.bandwidth[q]


@kernel
def cross(p, g, m, w, level, t, label):
    """Energy of tensor `t` crossing the fan-out of `level` into the tile inside, exactly; demands go to `label`."""
    k, c = g.parent[level, t], level - 1
    read, updated, filled, passed = _crossing_words(p, g, m, w, level, t)
    energy = read * p.energy[k, READ, ACTUAL] + updated * p.energy[k, UPDATE, ACTUAL]
    energy *= _copies(p, k, float(w.used_instances[k + 1])) / p.values_per_access[k, t]
    _ask(p, g, label, k, t, read, updated)
    if level > 0:
        copies = _copies(p, c, float(w.used_instances[level])) / p.values_per_access[c, t]
        energy += (filled * p.energy[c, FILL, ACTUAL] + passed * p.energy[c, READ, ACTUAL]) * copies
        _ask(p, g, label, c, t, passed, filled)
    return energy


@kernel
def _arriving(p, g, level, t, shapes):
    """Share of the dense words that a level's format and empty tiles outside leave."""
    if p.has_metadata[level, t]:
        return g.density[t, shapes[level]]
    at = g.arrives[level, t]
    return g.occupied[t, shapes[at]] if at >= 0 else 1.0


@kernel
def cross_sparse(p, g, m, tab, w, level, t, label, shape, scratch):
    """As `cross`, with formats, gating and skipping; `scratch.state` goes on to what is found at this boundary."""
    T = p.tensors
    k, c = g.parent[level, t], level - 1
    read, updated, filled, passed = _crossing_words(p, g, m, w, level, t)
    state, shapes = scratch.state, scratch.shapes
    outside = state[t]
    surviving = outside
    kind = 0
    best = -1.0
    for s in range(p.entries):
        o = p.saf_first[s]
        if p.option_follower[o] != t or follower_level(m, p.saf_level[s], t, p.levels) != k:
            continue
        probability = exact_leader_boxes(p, tab, w, k, c, t, p.option_leaders[o])
        if probability > best:
            best = probability
            kind = p.saf_kind[s]
            for leader in range(T):
                scratch.own[leader] = w.leader_empty[leader]
            for d in range(p.variables):
                w.best_extent[d] = w.leader_extent[d]
    if kind > 0:
        boxes = np.int64(state[T * (1 + T) + t])
        for leader in range(T):
            own, met = scratch.own[leader], state[T * (1 + t) + leader]
            if own > met:
                surviving *= (1.0 - own) / (1.0 - met)
                state[T * (1 + t) + leader] = own
                boxes = combine(boxes, np.int64(leader + 1))
                for d in range(p.variables):
                    if p.is_relevant[leader, d]:
                        boxes = combine(boxes, w.best_extent[d])
        state[T * (1 + T) + t] = float(boxes & 0xFFFFFFFFFFFF)
    state[t] = surviving
    gone = outside - surviving
    parents = float(w.used_instances[k + 1])
    share = _arriving(p, g, k, t, shapes)
    copies = _copies(p, k, parents)
    vectors = share * copies * g.overhead[k, t, shapes[k]] / p.values_per_access[k, t]
    energy = read * vectors * (surviving * p.energy[k, READ, ACTUAL] + gone * p.energy[k, READ, kind])
    energy += updated * vectors * (surviving * p.energy[k, UPDATE, ACTUAL] + gone * p.energy[k, UPDATE, kind])
    passing = surviving + (gone if kind == GATING else 0.0)  # gated traffic takes its cycles
    _ask(p, g, label, k, t, read * share * passing, updated * share * passing)
    if g.metadata[k, t] > 0.0 and p.metadata_width[k] > 0:
        # bits per dense word of the parent's tile, if its innermost rank has more than one coordinate
        bits = g.metadata[k, t]
        if g.fibres[k, t]:
            bits *= g.occupied[t, shape] if level > 0 else 0.0
        vectors = bits / p.metadata_width[k] * copies
        pending = read * vectors * (surviving * p.energy[k, 3 + READ, ACTUAL] + gone * p.energy[k, 3 + READ, kind])
        pending += (
            updated * vectors * (surviving * p.energy[k, 3 + UPDATE, ACTUAL] + gone * p.energy[k, 3 + UPDATE, kind])
        )
        if g.parent[k + 1, t] >= 0:
            _, _, into, _ = _crossing_words(p, g, m, w, k + 1, t)
            pending += into * vectors * outside * p.energy[k, 3 + FILL, ACTUAL]
        label.pending[t] += pending
    if level == 0 or not p.has_metadata[c, t]:
        if level > 0 and g.whole[t, shape] > 1:
            energy += label.pending[t]
        label.pending[t] = 0.0
    if level > 0:
        children = float(w.used_instances[level])
        share_inside = _arriving(p, g, c, t, shapes)
        vectors = share_inside * _copies(p, c, children) * g.overhead[c, t, shape] / p.values_per_access[c, t]
        energy += vectors * surviving * (filled * p.energy[c, FILL, ACTUAL] + passed * p.energy[c, READ, ACTUAL])
        _ask(p, g, label, c, t, passed * share_inside * surviving, filled * share_inside * surviving)
        if p.is_compressed[k, t] and not p.is_compressed[c, t]:
            energy += filled * share_inside * surviving * p.conversion_energy[c, 0] * children
            if t == p.output:
                energy += updated * share * surviving * p.conversion_energy[c, 1] * parents
    return energy


@kernel
def least_busy(p, g, level, state):
    """Computations that take a cycle at least, when skipping has found what `state` says down to child row `level`."""
    T = p.tensors
    busy = g.outside[0]
    for leader in range(T):
        if g.last_row[leader] < 0:
            continue
        most = 1.0 - p.element_density[leader]
        if level <= g.last_row[leader]:  # nothing further in looks at it
            met = 0.0
            for t in range(T):
                if t != p.output:
                    met += state[T * (1 + t) + leader]
            most = min(most, met)
        busy *= 1.0 - most
    return busy


@kernel
def _promise(g, origin, level, rest, cost, rule, best, found):
    """Bound on what continues a label whose energy and cycles stay what they are."""
    return bound(
        origin.energy, origin.asked, origin.busy, origin.lanes, origin.power, level, rest, g, cost, rule, best, found
    )


@entry_point
def expand_temporal(p, g, w, pool, states, first, last, depth, after, table, rule, best, found, cost, plain, t):
    """Continue labels ``first`` … ``last`` of `pool` by the temporal loops of the next level.

    `after[S, K, V, J + Q]` bounds what follows them; `table` holds what was found (see `Table`), `t` the scratch (see `Scratch`).

    The loops of a level are chosen group by group of what the innermost one leaves open: first those outside the run, as long as
    the bound allows, then those of the run.
    """
    D, L = p.variables, p.levels
    level = L - 1 - depth // 2
    for source in range(first, last):
        origin = pool[source]
        at = sweep_class(g, g.opens[origin.kind], origin.sweeps) if g.opens[origin.kind] >= 0 else 0
        if _promise(g, origin, level, t.entry[origin.shape, origin.kind, at], cost, rule, best, found) == np.inf:
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
            t.kind_value[origin.kind] = _promise(
                g, origin, level, after[start, origin.kind, at], cost, rule, best, found
            )
            if t.kind_value[origin.kind] < np.inf and within_beam(t, t.kind_value[origin.kind]):
                _add_rows(p, g, w, origin, source, level, start, 0, -1, after, table, rule, best, found, cost, plain, t)
        for group in range(g.trails.shape[0]):
            outside = g.outer_count[group]
            if _promise(g, origin, level, t.turned[group, start], cost, rule, best, found) == np.inf and (
                g.status[origin.kind, g.opens_of[group]] != OPEN if g.opens_of[group] >= 0 else True
            ):
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
                        value = _promise(g, origin, level, t.turned[group, shape], cost, rule, best, found)
                        if value >= limit_of(t):
                            continue
                i += 1
                t.shape[i] = shape
                t.loops[i] = loops
                if i < D:
                    t.turn[i] = 0


@kernel
def _close_group(
    p, g, w, origin, source, level, group, middle, outer, shape, loops, after, table, rule, best, found, cost, plain, t
):
    """Labels for one choice of loops, by what the innermost one is: `outer` are those outside the run, from `middle` on it goes."""
    open_ = g.opens_of[group]
    sweeps = 1.0
    if open_ >= 0:
        if outer or g.status[origin.kind, open_] != OPEN:
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
        value = _promise(g, origin, level, after[shape, kind, at], cost, rule, best, found)
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
            label.value = max(label.value, _promise(g, origin, level, after[shape, kind, at], cost, rule, best, found))
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
    p, g, m, tab, w, pool, states, first, last, depth, after, table, rule, best, found, cost, plain, t, shares
):
    """As `expand_temporal`, by the spatial loops of the level: tensors cross into the tiles inside.

    `after[S, K, J]` bounds what follows inside; at compute it is zero.
    """
    D, L, T = p.variables, p.levels, p.tensors
    level = L - 1 - depth // 2
    columns = after.shape[3]
    label = t.label[0]
    for source in range(first, last):
        origin = pool[source]
        open_ = g.opens[origin.kind]
        at = sweep_class(g, open_, origin.sweeps) if open_ >= 0 else 0
        if _promise(g, origin, level, t.entry[origin.shape, origin.kind, at], cost, rule, best, found) == np.inf:
            continue
        walk(p, g, w, pool, source, depth, table.orders, t.shapes)
        steps = 1.0
        for i in range(BASE, w.active_count):
            if w.active_axis[i] == 0:
                steps *= w.active_bound[i]
        w.steps = steps
        for v in range(g.spread_count[level]):
            legal = True
            for d in range(D):
                if g.extents[origin.shape, d] % g.spread[level, v, d]:
                    legal = False
                    break
            if not legal:
                continue
            shape = shape_inside(p, g, origin.shape, level, v)
            if level == 0:
                if shape != 0:
                    continue
            elif not g.fits[level - 1, shape]:
                continue
            sweeps = 1.0
            if open_ >= 0:
                sweeps = origin.sweeps * shares[open_, v]
                at = sweep_class(g, open_, sweeps)
            lanes = origin.lanes * g.lanes[level, v]
            power = origin.power
            if level > 0:
                power += p.leak[level] * lanes
            crossing_bound(p, g, level, v, origin.shape, shape, origin.kind, origin.sweeps, shares, t.total, t.part)
            for j in range(columns):
                t.rest[j] = after[shape, origin.kind, at, j] if level > 0 else 0.0
            for q in range(g.asks.shape[0]):
                t.rest[columns - g.asks.shape[0] + q] += t.total[1 + q]
            promise = bound(
                origin.energy + t.total[0],
                origin.asked,
                origin.busy,
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
                        energy += cross_sparse(p, g, m, tab, w, level, i, label, shape, t)
                if g.refines:
                    label.busy = max(label.busy, least_busy(p, g, level, t.state))
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
