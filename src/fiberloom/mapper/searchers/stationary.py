"""Loop orders that keep one tensor still: the few orders per level that are worth trying.

At each level, a tensor stays where it is while the loops that do not index it run innermost. Among all allowed orders, the one
that puts most such work innermost for a tensor is that tensor's *stationary* order (weight-, input-, output-stationary; DOSA,
MICRO'23, chooses among these three per layer).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fiberloom.mapping.packed import PackedMappings

Orders = NDArray[np.int64]
"""``(k, D)`` variable indices, innermost first."""


def stationary_orders(
    orders: Orders | None, factors: NDArray[np.int64], relevant: NDArray[np.bool_], tensors: NDArray[np.bool_]
) -> Orders:
    """For every tensor of `tensors`, the order of `orders` in which it stays still longest; repeats removed.

    Args:
        orders: ``(k, D)`` allowed orders of a level, innermost first; None: any.
        factors: ``(D,)`` loop bounds at the level; loops of bound 1 do not count.
        relevant: ``(T, D)`` whether a variable indexes a tensor.
        tensors: ``(T,)`` tensors to consider.
    """
    if orders is None:  # each tensor's own: what does not index it innermost, longest loops first
        orders = np.stack([np.lexsort((-factors, moves)) for moves in relevant])
    turns = factors[orders]  # (k, D)
    chosen: list[int] = []
    for t in np.flatnonzero(tensors):
        moves = relevant[t][orders] & (turns > 1)
        still = np.where(np.cumsum(moves, axis=1) == 0, turns, 1)
        # work inside the first loop that moves the tensor; on ties, less work between its loops
        spread = np.where(moves, 1, turns).cumprod(axis=1).astype(float).sum(axis=1)
        best = int(np.lexsort((spread, -still.astype(float).prod(axis=1)))[0])
        if not any(np.array_equal(_active(orders[best], factors), _active(orders[c], factors)) for c in chosen):
            chosen.append(best)
    return orders[chosen] if chosen else orders[:1]


def with_stationary_orders(
    packed: PackedMappings,
    orders: Sequence[Orders | None],
    relevant: NDArray[np.bool_],
    *,
    most: int = 256,
    fixed: Sequence[int] = (),
) -> PackedMappings:
    """The one mapping of `packed` with every combination of stationary orders over the levels, at most `most` of them.

    Args:
        orders: allowed orders per level, innermost level first.
        relevant: ``(T, D)``.
        fixed: levels whose order stays as it is.
    """
    choices = []
    for level, allowed in enumerate(orders):
        factors = packed.temporal[0, level]
        below: NDArray[np.bool_] = np.asarray(packed.keep[0, :level].any(axis=0), bool)
        if level in fixed or (factors > 1).sum() < 2 or not below.any():
            choices.append(packed.temporal_order[0, level][None])
        else:
            choices.append(stationary_orders(allowed, factors, relevant, below))
    while math.prod(len(c) for c in choices) > most:  # fewer choices at the innermost level that has several
        level = next(i for i, c in enumerate(choices) if len(c) > 1)
        choices[level] = choices[level][:-1]
    combinations = np.array([np.stack(c) for c in itertools.product(*choices)], np.int64)
    rows = packed.take(np.zeros(len(combinations), np.int64))
    return replace(rows, temporal_order=combinations)


def _active(order: NDArray[np.int64], factors: NDArray[np.int64]) -> NDArray[np.int64]:
    return order[factors[order] > 1]
