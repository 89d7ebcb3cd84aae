"""Moves through a map space, a batch at a time: mutations of one mapping and crossover of two, along its four axes.

The axes are those of GAMMA's operators (ICCAD'20, §3.2): tile, order, parallelism; and bypass. Moves keep every factorisation
legal; fan-outs may be exceeded afterwards (`MapSpace.repair`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fiberloom.mapping.factorizations import Array, uniform_below
from fiberloom.mapping.packed import PackedMappings
from fiberloom.mapping.repairing import give_keepers

if TYPE_CHECKING:
    from fiberloom.mapping.space import MapSpace

REDRAW = 0.1
"""Share of tile mutations that draw the variable's factorisation anew, so that no mapping is out of reach. Own choice."""


def mutate(space: MapSpace, packed: PackedMappings, rng: np.random.Generator, axis: str | None) -> PackedMappings:
    """One mutation per mapping.

    * ``tile`` moves a prime factor of a random variable from one of its loops to another (or redraws the factorisation); where
      tiles may be partial, it lowers one factor and lets another loop take over;
    * ``order`` gives a random level another loop order;
    * ``parallel`` does so between a spatial and a temporal loop, or a spatial loop to the other axis;
    * ``bypass`` flips a free keep.

    Args:
        axis: None chooses per mapping among the axes that vary. An axis without a choice leaves mappings as they are.

    Raises:
        SpecError: for an unknown axis.
    """
    out = packed.take(slice(None))
    for name, rows in _axis_of_rows(space, rng, len(packed), axis):
        if len(rows):
            _MUTATIONS[name](space, out, rng, rows)
    return out


def _axis_of_rows(space: MapSpace, rng: np.random.Generator, n: int, axis: str | None) -> list[tuple[str, Array]]:
    if axis is not None:
        return [(axis, np.arange(n))] if space.varies(axis) else []
    axes = [name for name in space.AXES if space.varies(name)]
    if not axes:
        return []
    drawn = rng.integers(0, len(axes), n)
    return [(name, np.flatnonzero(drawn == i)) for i, name in enumerate(axes)]


def _mutate_tile(space: MapSpace, packed: PackedMappings, rng: np.random.Generator, rows: Array) -> None:
    open_ = [d for d, found in enumerate(space.factorizations) if found.count > 1]
    drawn = rng.integers(0, len(open_), len(rows))
    for i, d in enumerate(open_):
        some = rows[drawn == i]
        if len(some):
            slots = np.arange(len(space.slots))
            _move_part(space, packed, rng, some, d, slots, slots, REDRAW)


def _move_part(
    space: MapSpace, packed: PackedMappings, rng: np.random.Generator, rows: Array, d: int, sources: Array, targets: Array,
    redraw: float,
) -> None:  # fmt: skip
    """Move part of a factor of variable `d` from one of `sources` to one of `targets` (slots); redraw where none can move."""
    found = space.factorizations[d]
    factors, moved = found.moved(rng, space.factors(packed, d, rows), sources, targets)
    redrawn = ~moved | (rng.random(len(rows)) < redraw)
    factors[redrawn] = found.sample(rng, int(redrawn.sum()))
    space.set_factors(packed, d, factors, rows)


def _mutate_order(space: MapSpace, packed: PackedMappings, rng: np.random.Generator, rows: Array) -> None:
    open_ = [level for level, classes in enumerate(space.level_orders) if classes.count > 1]
    drawn = rng.integers(0, len(open_), len(rows))
    for i, level in enumerate(open_):
        some = rows[drawn == i]
        classes = space.level_orders[level]
        now = classes.rank(packed.temporal_order[some, level])
        other = uniform_below(rng, classes.count - 1, len(some))
        packed.temporal_order[some, level] = classes.unrank(other + ((now >= 0) & (other >= now)))


def _mutate_parallel(space: MapSpace, packed: PackedMappings, rng: np.random.Generator, rows: Array) -> None:
    places = [
        (s, level, d)
        for s, (level, spatial) in enumerate(space.slots)
        for d in range(len(space.variables))
        if spatial and (len(space.factorizations[d].choices[s]) > 1 or space.open_axis[level, d])
    ]
    temporal = np.flatnonzero(~space.slot_spatial)
    drawn = rng.integers(0, len(places), len(rows))
    for i, (s, level, d) in enumerate(places):
        some = rows[drawn == i]
        movable = len(space.factorizations[d].choices[s]) > 1
        flip = np.full(len(some), bool(space.open_axis[level, d])) & (packed.spatial[some, level, d] > 1)
        if movable:
            flip &= rng.random(len(some)) < 0.5
        packed.on_x[some[flip], level] ^= 1 << d
        some = some[~flip]
        if movable and len(some):
            inward = rng.random(len(some)) < 0.5
            own = np.array([s])
            if space.open_axis[level, d]:  # a loop that begins chooses its axis
                fresh = some[(packed.spatial[some, level, d] == 1) & (rng.random(len(some)) < 0.5)]
                packed.on_x[fresh, level] ^= 1 << d
            may_shrink = packed.spatial[some, level, d] > int(space.factorizations[d].choices[s][0])
            inward |= ~may_shrink
            _move_part(space, packed, rng, some[inward], d, temporal, own, 0.0)
            _move_part(space, packed, rng, some[~inward], d, own, temporal, 0.0)


def _mutate_bypass(space: MapSpace, packed: PackedMappings, rng: np.random.Generator, rows: Array) -> None:
    places = np.argwhere(space.free_keep)
    level, t = places[rng.integers(0, len(places), len(rows))].T
    packed.keep[rows, level, t] ^= True
    give_keepers(space, packed)


_MUTATIONS = {
    "tile": _mutate_tile,
    "order": _mutate_order,
    "parallel": _mutate_parallel,
    "bypass": _mutate_bypass,
}


def crossover(
    space: MapSpace, a: PackedMappings, b: PackedMappings, rng: np.random.Generator, axis: str | None
) -> PackedMappings:
    """Children of parents `a` and `b` (of equal length): `a`, with parts of `b` each taken with probability one half.

    * ``tile`` takes whole factorisations, with their axes, of variables;
    * ``order`` takes the orders of levels;
    * ``parallel`` takes the spatial factors and axes of variables; where the bound would be missed, their temporal factors too;
    * ``bypass`` takes keeps.

    Args:
        axis: None chooses per row among the axes that vary.

    Raises:
        SpecError: for an unknown axis.
    """
    child = a.take(slice(None))
    for name, rows in _axis_of_rows(space, rng, len(a), axis):
        n = len(rows)
        if name in ("tile", "parallel"):
            taken = rng.random((n, len(space.variables))) < 0.5
            _take_factors(space, child, b, rows, taken, spatial_only=name == "parallel")
        elif name == "order":
            taken = rng.random((n, len(space.level_names))) < 0.5
            child.temporal_order[rows] = np.where(taken[:, :, None], b.temporal_order[rows], a.temporal_order[rows])
        else:
            taken = rng.random((n, *space.free_keep.shape)) < 0.5
            child.keep[rows] = np.where(taken & space.free_keep, b.keep[rows], a.keep[rows])
            give_keepers(space, child)
    return child


def _take_factors(
    space: MapSpace, child: PackedMappings, b: PackedMappings, rows: Array, taken: Array, *, spatial_only: bool
) -> None:
    temporal = np.broadcast_to(taken[:, None, :], b.temporal[rows].shape)
    if spatial_only:
        mixed = replace(child.take(rows), spatial=b.spatial[rows])
        matches = np.stack([f.covers(space.factors(mixed, d)) for d, f in enumerate(space.factorizations)], axis=1)
        temporal = temporal & ~matches[:, None, :]
    child.temporal[rows] = np.where(temporal, b.temporal[rows], child.temporal[rows])
    child.spatial[rows] = np.where(taken[:, None, :], b.spatial[rows], child.spatial[rows])
    bits = (taken << np.arange(len(space.variables))).sum(axis=1)[:, None]
    child.on_x[rows] = child.on_x[rows] & ~bits | b.on_x[rows] & bits
