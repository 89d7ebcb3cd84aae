"""One choice of keeps as the search sees it: its tables, its bounds, and the mappings that its complete labels stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberloom.mapper.exact.contexts import Contexts
from fiberloom.mapper.exact.ground import Ground
from fiberloom.mapper.exact.tables import Terrain
from fiberloom.mapping.packed import PackedMappings
from fiberloom.mapping.space import MapSpace

Array = NDArray[Any]


class Sweep(NamedTuple):
    """Bounds at one level, by context: ``(C, A, W, J + Q)`` before its fan-out, ``(C, B, W, J + Q)`` before its loops,
    ``(C, G, A, J + Q)`` before the loops outside a run of each group; `A` and `B` are the shapes that can be there."""

    spatial: Array
    temporal: Array
    turned: Array

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return sum(a.nbytes for a in self)


@dataclass
class Template:
    """One choice of keeps: its tables, its loop orders, whether a beam has looked at it, whether its bounds were refined.

    Of the computations, at least `busy` take a cycle: `start`, but for what the bounds know to be skipped.
    """

    base: Ground
    keep: Array
    land: Terrain
    orders: Array
    order_first: Array
    compute_pj: float
    busy: float
    start: float
    contexts: Contexts
    tried: bool = False
    refined: bool = False
    root: Array | None = None
    """``(J + Q,)`` least energy of everything, by least lanes, and least cycles of every bandwidth."""


def completed(space: MapSpace, template: Template, pool: Array, rows: Array) -> PackedMappings:
    """Mappings of complete labels."""
    land = template.land
    L, D = len(space.level_names), len(space.bounds)
    n = len(rows)
    temporal, spatial = np.ones((n, L, D), np.int64), np.ones((n, L, D), np.int64)
    order = np.tile(np.arange(D), (n, L, 1))
    on_x = np.tile(space.default_on_x, (n, 1))
    at = rows.copy()
    for depth in range(2 * L, 0, -1):
        level = L - 1 - (depth - 1) // 2
        outer = pool["parent"][at]
        factors = land.extents[pool["shape"][outer]] // land.extents[pool["shape"][at]]
        choice = pool["choice"][at]
        if depth % 2:
            temporal[:, level] = factors
            listed = template.orders[level, choice]
            for i in range(n):
                inner = [int(d) for d in listed[i] if d >= 0]
                order[i, level] = [*inner, *(d for d in range(D) if d not in inner)]
        else:
            spatial[:, level] = factors
            used = ((factors > 1) << np.arange(D)).sum(axis=1)
            on_x[:, level] = (on_x[:, level] & ~used) | template.base.spreads[level].on_x[choice]
        at = outer
    return PackedMappings(
        temporal, spatial, order, np.tile(space.spatial_orders, (n, 1, 1)), on_x,
        np.tile(template.keep, (n, 1, 1)), space.multicast, space.peer_links,
    )  # fmt: skip
