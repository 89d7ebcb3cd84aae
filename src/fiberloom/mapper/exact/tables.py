"""Arrays that the bounds and the search share, and the numbers by which they name things."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

READS, WRITES, BOTH = 0, 1, 2
"""What a bandwidth limits."""

OPEN, WINDOW, CLOSED = 0, 1, 2
"""What a loop does to a tensor's reuse: leaves its tile in place, moves a window, or moves on to new elements."""

SLIDING, COUNTED, FIXED = 1, 2, 3
"""Metadata lists the more often what sliding tiles share, the more loops move them; or single words only if there are two loops;
or the non-zeros, whatever the loops are."""

SPEED_SLACK: Final = 1e-4
"""How far, relatively, completions that are counted under a speed may lie below it, per level: what rounding must not tell apart."""


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
    folding: Any  # (L,) tensor whose zeros spatial skipping leaves out so that more spreads fit the fan-out; 0 where there is none
    inside: Any  # (L, n) elements of it inside a spread, at most
    linked: Any  # (L, T) whether children of the level pass the tensor's tiles on to each other
    threshold: Any  # (L + 1, J) least lanes over computations left, at and inside the level; row L is unused
    ceiling: Any  # (L + 1, J) the most that a completion counted under the threshold has of them
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
    sent_share: Any  # (L + 1, T, S) least share of the parent's traffic that outer entries and empty tiles leave
    filled_share: Any  # (L + 1, T, S) and of the child's fills; (1, 1, 1) where nothing is sparse
    density: Any  # (T, S) expected share of non-zeros
    occupied: Any  # (T, S) probability that the tile is not empty
    overhead: Any  # (L, T, S) vector accesses of a compressed tile over those of full blocks
    metadata: Any  # (L, T) bits of metadata per dense word, where no other loops than the child's tile decide on them
    fibres: Any  # (L, T) whether only fibres with a non-zero pay them
    listed: Any  # (L, T) how what metadata lists depends on loops; 0: tiles of several words are listed
    whole_nest: Any  # (L + 1,) whether every loop outside the child row may still be noticed further in
    arrives: Any  # (L, T) level whose tile decides whether the tensor's tile here arrives at all; −1: it does
    last_row: Any  # (T,) innermost child row at which skipping looks at the tensor; −1: none does
    refines: bool  # whether what skipping finds outside bounds the busy cycles
    left: Any  # (G, S, V') least share that sets of leaders leave, by box and by how many more boxes of a granule it meets
    grown: Any  # (T, V') these numbers, ascending from 1
    own_set: Any  # (L + 1, T) leaders that decide on what crosses into a child row from its parent; −1: none
    busy_set: Any  # (L + 1, T) leaders whose last word on computations is spoken there; −1: none
    told: Any  # (T,) whether a tensor is such a leader
    metadata_read: Any  # (L + 1, T) energy of metadata per dense word read at the parent, for tiles of several words
    metadata_update: Any  # (L + 1, T)
    metadata_words: Any  # (L + 1, T) words of the parent's bandwidth that they take
    constant: Any  # (L, T) whether the tensor's cost at a fan-out is the same for all shapes while it stays put
    runs: Any  # (T,) whether sweeps tell exactly for how many steps the tensor stays put
    boost: Any  # (L,) most by which skipping at and inside a level speeds computations up beyond its lanes
    floor_share: Any  # (L + 1, J) least share of the computations left, of what is counted under a threshold
    busy_pj: float  # energy of a computation that takes its cycle, if nothing else is left of them
