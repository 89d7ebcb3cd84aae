"""Spreads: the ways to fill one fan-out with the spatial loops of several variables."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fiberloom.mapping.factorizations import Array

MOST_SPREADS = 1 << 14
"""Spreads that are listed at most. Own choice: they are looked through for one that is near, not for the best."""


def spreads(
    choices: Sequence[Array],
    lanes: tuple[int, int],
    working: tuple[int, int],
    may: tuple[int, int],
    most: int = MOST_SPREADS,
) -> tuple[Array, Array]:
    """Spatial factors that fit a fan-out together, the fullest first.

    Args:
        choices: per variable, its allowed factors.
        lanes: room along X and Y.
        working: least and most children that work.
        may: bit sets of the variables that may run along X and along Y.
        most: how many to list.

    Returns:
        Factors ``(m, D)`` and ``(m,)`` bit sets of the variables with a loop along X.
    """  # fmt: skip
    D = len(choices)
    ordered = [[int(f) for f in c] for c in choices]  # ascending: the last one put on the stack is tried first
    highest = [math.prod(c[-1] for c in ordered[d:]) for d in range(D + 1)]
    lowest = [math.prod(c[0] for c in ordered[d:]) for d in range(D + 1)]
    found: list[tuple[tuple[int, ...], int]] = []
    pending: list[tuple[tuple[int, ...], int, int, int]] = [((), 0, 1, 1)]
    while pending and len(found) < most:
        factors, bits, x, y = pending.pop()
        d = len(factors)
        if x * y * highest[d] < working[0] or x * y * lowest[d] > min(working[1], lanes[0] * lanes[1]):
            continue
        if d == D:
            found.append((factors, bits))
            continue
        for f in ordered[d]:
            if f == 1:
                pending.append(((*factors, f), bits, x, y))
                continue
            if may[1] >> d & 1 and y * f <= lanes[1]:
                pending.append(((*factors, f), bits, x, y * f))
            if may[0] >> d & 1 and x * f <= lanes[0]:
                pending.append(((*factors, f), bits | 1 << d, x * f, y))
    return np.array([f for f, _ in found], np.int64).reshape(-1, D), np.array([b for _, b in found], np.int64)
