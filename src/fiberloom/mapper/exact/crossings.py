"""What crosses a fan-out into the tiles inside, exactly, by the model's own functions."""

from __future__ import annotations

import numpy as np

from fiberloom.mapper.exact.tables import FIXED, READS, WRITES
from fiberloom.model.compiled import allocates_nothing, inlined, kernel
from fiberloom.model.counting import ACTUAL, FILL, GATING, READ, UPDATE
from fiberloom.model.dataflow import distinct_elements, distinct_offsets, sent_to_child, tile_size
from fiberloom.model.leaders import exact_leader_boxes, follower_level
from fiberloom.model.occupancy import combine
from fiberloom.model.peer import peer_links

allocates_nothing(__name__)


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


@inlined
@kernel
def _copies(p, level, instances):
    """Accesses that the instances of a level pay for: those of a cluster share one."""
    return np.ceil(instances / p.cluster[level]) if p.cluster[level] > 1 else instances


@inlined
@kernel
def _ask(g, label, level, read, written):
    """Words that an instance of a level reads and writes take their cycles."""
    for q in range(g.asks.shape[0]):
        if g.asks[q, 0] == level:
            limits = g.asks[q, 1]
            values = (read if limits != WRITES else 0.0) + (written if limits != READS else 0.0)
            label.asked[q] += values / g.bandwidth[q]


@kernel
def cross(p, g, m, w, level, t, label):
    """Energy of tensor `t` crossing the fan-out of `level` into the tile inside, exactly; demands go to `label`."""
    k, c = g.parent[level, t], level - 1
    read, updated, filled, passed = _crossing_words(p, g, m, w, level, t)
    energy = read * p.energy[k, READ, ACTUAL] + updated * p.energy[k, UPDATE, ACTUAL]
    energy *= _copies(p, k, float(w.used_instances[k + 1])) / p.values_per_access[k, t]
    _ask(g, label, k, read * p.demand[k, t], updated * p.demand[k, t])
    if level > 0:
        copies = _copies(p, c, float(w.used_instances[level])) / p.values_per_access[c, t]
        energy += (filled * p.energy[c, FILL, ACTUAL] + passed * p.energy[c, READ, ACTUAL]) * copies
        _ask(g, label, c, passed * p.demand[c, t], filled * p.demand[c, t])
    return energy


@inlined
@kernel
def _arriving(p, g, level, t, shapes):
    """Share of the dense words that a level's format and empty tiles outside leave."""
    if p.has_metadata[level, t]:
        return g.density[t, shapes[level]]
    at = g.arrives[level, t]
    return g.occupied[t, shapes[at]] if at >= 0 else 1.0


@kernel
def listed_share(p, g, w, position, level, t, shape):
    """Words that the metadata of a tensor's parent tile lists over those that the tile has.

    The format has a rank for the outermost loop between the two tiles, one for the loops inside it, and lists what the child holds
    (`ranks_from_loops`). `position` is where the loops that are laid out begin.
    """
    k = g.parent[level, t]
    outermost = -1
    for i in range(position, w.active_count):
        if w.active_level[i] <= k and p.is_relevant[t, w.active_variable[i]]:
            outermost = i
    if outermost < 0:
        return 1.0 if g.whole[t, shape] > 1 else 0.0
    for d in range(p.variables):
        w.rank_bound[d] = 1
    loops = 0
    for i in range(position, w.active_count):
        d = w.active_variable[i]
        if w.active_level[i] <= k and p.is_relevant[t, d] and (i != outermost or p.format_rule[k, t, 1] != 0):
            w.rank_bound[d] *= w.active_bound[i]
            loops += 1
    if g.whole[t, shape] == 1 and (loops == 0 or p.format_rule[k, t, 1] != 0):
        return 0.0  # a single coordinate is no list
    words = g.whole[t, shape] * tile_size(p, t, w.rank_bound)
    if p.format_rule[k, t, 1] == 0:
        for d in range(p.variables):
            w.rank_bound[d] = 1
        w.rank_bound[w.active_variable[outermost]] = w.active_bound[outermost]
        words *= tile_size(p, t, w.rank_bound)
    return words / w.whole[k, t]


@inlined
@kernel
def _metadata_pj(p, g, level, t, copies, words, action, kind, surviving, gone):
    """Energy of the metadata of dense `words` whose bits are the same whatever the loops are."""
    if p.metadata_width[level] == 0:
        return 0.0
    vectors = words * g.metadata[level, t] / p.metadata_width[level] * copies
    return vectors * (surviving * p.energy[level, 3 + action, ACTUAL] + gone * p.energy[level, 3 + action, kind])


@kernel
def _pending(p, g, m, w, position, level, t, label, shape, read, updated, kind, outside, surviving):
    """Energy of metadata that is known now that the child's tile is; what tiles further in decide on waits in `label.pending`."""
    k, c = g.parent[level, t], level - 1
    gone = outside - surviving
    lists = level > 0 and g.whole[t, shape] > 1
    if g.metadata[k, t] > 0.0 and p.metadata_width[k] > 0:
        # bits per dense word of the parent's tile, if its innermost rank has more than one coordinate
        bits = g.metadata[k, t]
        if g.fibres[k, t]:
            bits *= g.occupied[t, shape] if level > 0 else 0.0
        if g.listed[k, t]:
            again = listed_share(p, g, w, position, level, t, shape)
            lists = again > 0
            bits *= again
        into = 0.0
        if g.parent[k + 1, t] >= 0:
            _, _, into, _ = _crossing_words(p, g, m, w, k + 1, t)
        if lists and (level == 0 or not p.has_metadata[c, t]):
            passing = surviving + (gone if kind == GATING else 0.0)
            words = bits / p.word_bits[k]
            _ask(g, label, k, read * words * passing, updated * words * passing + into * words * outside)
        vectors = bits / p.metadata_width[k] * _copies(p, k, float(w.used_instances[k + 1]))
        pending = read * vectors * (surviving * p.energy[k, 3 + READ, ACTUAL] + gone * p.energy[k, 3 + READ, kind])
        pending += (
            updated * vectors * (surviving * p.energy[k, 3 + UPDATE, ACTUAL] + gone * p.energy[k, 3 + UPDATE, kind])
        )
        if g.parent[k + 1, t] >= 0:
            pending += into * vectors * outside * p.energy[k, 3 + FILL, ACTUAL]
        label.pending[t] += pending
    energy = 0.0
    if level == 0 or not p.has_metadata[c, t]:
        if lists:
            energy = label.pending[t]
        label.pending[t] = 0.0
    return energy


@kernel
def cross_sparse(p, g, m, tab, w, position, level, t, label, shape, scratch):
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
    taken = share * passing * p.demand[k, t]
    _ask(g, label, k, read * taken, updated * taken)
    if g.listed[k, t] == FIXED:
        _ask(
            g,
            label,
            k,
            read * passing * g.metadata[k, t] / p.word_bits[k],
            updated * passing * g.metadata[k, t] / p.word_bits[k],
        )
        energy += _metadata_pj(p, g, k, t, copies, read, READ, kind, surviving, gone)
        energy += _metadata_pj(p, g, k, t, copies, updated, UPDATE, kind, surviving, gone)
    else:
        energy += _pending(p, g, m, w, position, level, t, label, shape, read, updated, kind, outside, surviving)
    if level > 0:
        children = float(w.used_instances[level])
        share_inside = _arriving(p, g, c, t, shapes)
        vectors = share_inside * _copies(p, c, children) * g.overhead[c, t, shape] / p.values_per_access[c, t]
        energy += vectors * surviving * (filled * p.energy[c, FILL, ACTUAL] + passed * p.energy[c, READ, ACTUAL])
        taken = share_inside * surviving * p.demand[c, t]
        _ask(g, label, c, passed * taken, filled * taken)
        if g.listed[c, t] == FIXED:
            _ask(g, label, c, 0.0, filled * surviving * g.metadata[c, t] / p.word_bits[c])
            energy += _metadata_pj(p, g, c, t, _copies(p, c, children), filled, FILL, 0, surviving, 0.0)
        if p.is_compressed[k, t] and not p.is_compressed[c, t]:
            energy += filled * share_inside * surviving * p.conversion_energy[c, 0] * children
            if t == p.output:
                energy += updated * share * surviving * p.conversion_energy[c, 1] * parents
    return energy


@kernel
def least_busy(p, g, level, state):
    """Computations that take a cycle at least, when skipping has found what `state` says down to child row `level`; what
    leaders rule out further in that `Terrain.told` names is left to the bounds."""
    T = p.tensors
    busy = g.outside[0]
    for leader in range(T):
        if g.last_row[leader] < 0:
            continue
        most = 1.0 - p.element_density[leader]
        if level > g.last_row[leader]:
            if g.told[leader]:
                most = 0.0
        else:  # nothing further in looks at it
            met = 0.0
            for t in range(T):
                if t != p.output:
                    met += state[T * (1 + t) + leader]
            most = min(most, met)
        busy *= 1.0 - most
    return busy
