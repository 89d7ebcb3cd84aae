"""Labels: partial mappings, from the outermost level inwards, with what their loops already cost.

A label stands at a tile shape after the temporal or the spatial loops of a level. Everything that crosses into tiles
outside that shape is known exactly, from the model's own functions; `fiberloom.mapper.exact.sweep` bounds the rest. Two
labels at one shape with the same *interface* - what loops further in can still notice of the loops outside - cost the same
from there on, so that only those survive that no other beats in energy, cycles and lanes.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from fiberloom.model.compiled import allocates_nothing, entry_point, inlined, kernel
from fiberloom.model.occupancy import combine
from fiberloom.model.records import MAX_TENSORS

allocates_nothing(__name__)

DEMANDS: Final = 12
"""Bandwidth limits that the search takes."""

LABEL: Final[Any] = np.dtype(
    [
        ("parent", np.int64),  # label that this one continues; −1 at the root
        ("shape", np.int64),
        ("choice", np.int64),  # row of the order table, or spread
        ("kind", np.int64),  # kind of the innermost loop so far
        ("interface", np.int64),
        ("context", np.int64),  # of the bounds further in, see `contexts`
        ("sweeps", np.float64),  # of the tensor that the innermost loop leaves open
        ("energy", np.float64),  # of all that crosses outside the shape
        ("cycles", np.float64),  # the most of `asked`
        ("lanes", np.float64),  # product of the spatial factors so far
        ("power", np.float64),  # leakage per cycle of the levels outside
        (
            "busy",
            np.float64,
        ),  # least computations that take a cycle, over all lanes, but for what is skipped further in
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


SLACK: Final = 1e-11
"""Relative difference below which two energies are the same number, summed in another order."""


@inlined
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


@inlined
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


@inlined
@entry_point
def bound(energy, asked, busy, lanes, power, level, rest, g, cost, rule, best, count):
    """Bound on the objective of every completion, infinity when all are beaten.

    `asked[Q]` are the cycles of every bandwidth so far, `rest[J + Q]` the least energies and cycles of the rest, `busy` the
    computations that take a cycle but for what is skipped in the rest; `cost` holds the energy of compute and the leakage inside
    each level.
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
        compute = max(cost[0], g.busy_pj * busy * g.floor_share[level, j])
        e = energy + h + compute + (power + lanes * cost[2 + level]) * c
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


@inlined
@kernel
def limit_of(t):
    """From here on a bound is not worth following."""
    n = t.heap.shape[0]
    return t.heap[0] if n > 0 and t.held[0] == n else np.inf


@inlined
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
