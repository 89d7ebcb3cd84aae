"""Loop orders of one level that the model can tell apart, for every set of loops that are there.

A tensor with one variable per rank sees which loops stand inside the innermost one that indexes it. A tensor with windows
sees the sequence up to the innermost loop whose variable indexes a rank alone. A tensor whose format follows the loops sees
the order of all that index it. Everything further out only multiplies.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberloom.mapping.constraints import LoopConstraints

Array = NDArray[Any]


class Relevance(NamedTuple):
    """Bit sets of variables per tensor: `indexed` by, `close` it (after which nothing is shared); and what it sees."""

    indexed: tuple[int, ...]
    close: tuple[int, ...]
    windowed: tuple[bool, ...]
    ordered: tuple[bool, ...]


def orders_by_set(variables: list[str], seen: Relevance, fixed: LoopConstraints) -> tuple[Array, Array]:
    """Distinct orders of every set of loops.

    Returns:
        ``(2**D + 1,)`` first row of each set, ``(n, D)`` orders, innermost first, padded with −1.
    """
    D = len(variables)
    inner = [variables.index(v) for v in reversed(fixed.inner)]
    outer = [variables.index(v) for v in reversed(fixed.outer)]
    first = np.zeros(2**D + 1, np.int64)
    rows: list[list[int]] = []
    for present in range(2**D):
        first[present] = len(rows)
        head = [d for d in inner if present >> d & 1]
        tail = [d for d in outer if present >> d & 1 and d not in inner]
        middle = [d for d in range(D) if present >> d & 1 and d not in head and d not in tail]
        found: dict[Any, list[int]] = {}
        _grow(head, middle, tail, seen, found)
        rows.extend([*order, *[-1] * (D - len(order))] for order in found.values())
    first[2**D] = len(rows)
    return first, np.array(rows, np.int64).reshape(len(rows), D)


def _grow(order: list[int], rest: list[int], tail: list[int], seen: Relevance, found: dict[Any, list[int]]) -> None:
    if not rest or _settled(order, seen, rest):
        whole = [*order, *rest, *tail]
        found.setdefault(_signature(whole, seen), whole)
        return
    for d in rest:
        _grow([*order, d], [e for e in rest if e != d], tail, seen, found)


def _settled(order: list[int], seen: Relevance, rest: list[int]) -> bool:
    """Whether the order of what is left can't matter."""
    inside = sum(1 << d for d in order)
    left = sum(1 << d for d in rest)
    for index, close, ordered in zip(seen.indexed, seen.close, seen.ordered, strict=True):
        if not inside & close and left & (index | close):
            return False
        if ordered and (left & index).bit_count() > 1:
            return False
    return True


def _signature(order: list[int], seen: Relevance) -> Any:
    parts: list[Any] = []
    for index, close, windowed, ordered in zip(*seen, strict=True):
        reach = next((i for i, d in enumerate(order) if close >> d & 1), len(order))
        parts.append(tuple(order[:reach]) if windowed else frozenset(order[:reach]))
        if ordered:
            parts.append(tuple(d for d in order if index >> d & 1))
    return tuple(parts)
