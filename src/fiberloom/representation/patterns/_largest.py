"""Choosing the largest magnitudes of every block: compiled, since every projection asks for it millions of times."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fiberloom.representation.threads import in_slabs

_UNROLLED: Final = 8
"""Blocks up to this size have code of their own, compiled for just that size: three to six times as fast as measured."""

_BY_RANK: Final = 32
"""Blocks up to this size are ranked by comparing every pair, larger ones are sorted: the faster of the two as measured."""


def largest_of_blocks(rows: NDArray[Any], n: int, m: int) -> NDArray[np.bool_]:
    """The `n` largest magnitudes of every `m` neighbours in each row; of equals the first. A short last block keeps n at most.

    Args:
        rows: ``(R, L)`` real numbers without NaN.
    """
    m = min(m, rows.shape[1])
    n = min(n, m)
    kept = np.empty(rows.shape, dtype=np.bool_)
    whole = rows.shape[1] // m * m

    def choose(at: slice) -> None:
        if m > _BY_RANK:
            _by_order(rows[at], n, m, kept[at])
        elif m > _UNROLLED:
            _by_rank(rows[at], n, m, kept[at])
        else:
            _by_rank_of(m)(rows[at], n, kept[at])
            if whole < rows.shape[1]:
                _by_rank(rows[at, whole:], n, m, kept[at, whole:])

    in_slabs(choose, rows)
    return kept


def squarable(values: NDArray[Any]) -> NDArray[Any]:
    """`values`, of float64 as multiples of the largest, so that squares in float64 neither overflow nor all vanish."""
    if values.dtype != np.float64:
        return values
    return np.asarray(values / (float(np.abs(values).max(initial=0)) or 1.0))


def largest(values: NDArray[Any], count: int) -> NDArray[np.bool_]:
    """The `count` largest magnitudes of all `values`, without zeros; of equals the first in row-major order."""
    return largest_of_rows(values.reshape(1, -1), count).reshape(values.shape)


def largest_of_rows(rows: NDArray[Any], count: int) -> NDArray[np.bool_]:
    """The `count` largest magnitudes of every row, without zeros; of equals the first.

    Args:
        rows: ``(R, L)`` real numbers without NaN.
        count: from 1; more than L is L.
    """
    length = rows.shape[1]
    if count >= length:
        return np.asarray(rows != 0)
    kept = np.empty(rows.shape, dtype=np.bool_)

    def choose(at: slice) -> None:
        part = rows[at]
        sorted_in_part = np.abs(part)
        sorted_in_part.partition(length - count, axis=1)
        threshold = sorted_in_part[:, length - count, None].copy()
        del sorted_in_part
        np.greater(part, threshold, out=kept[at])
        kept[at] |= part < -threshold
        missing = count - np.count_nonzero(kept[at], axis=1)
        for i in np.flatnonzero((missing > 0) & (threshold[:, 0] > 0)):
            equal = (part[i] == threshold[i, 0]) | (part[i] == -threshold[i, 0])
            kept[at][i, np.flatnonzero(equal)[: missing[i]]] = True

    in_slabs(choose, rows)
    return kept


@cache
def _by_rank_of(m: int) -> Any:
    """As `_by_rank` for whole blocks of the constant size `m`."""

    @njit(nogil=True, cache=True, boundscheck=False)
    def by_rank(rows: Any, n: int, kept: Any) -> None:  # pragma: no cover - compiled
        for r in range(rows.shape[0]):
            row, chosen = rows[r], kept[r]
            for block in range(row.shape[0] // m):
                start = block * m
                for i in range(m):
                    value = abs(row[start + i])
                    rank = np.int32(0)
                    for j in range(i):
                        rank += np.int32(abs(row[start + j]) >= value)
                    for j in range(i + 1, m):
                        rank += np.int32(abs(row[start + j]) > value)
                    chosen[start + i] = rank < n

    return by_rank


@njit(nogil=True, cache=True, boundscheck=False)
def _by_rank(rows: Any, n: int, m: int, kept: Any) -> None:  # pragma: no cover - compiled
    for r in range(rows.shape[0]):
        for start in range(0, rows.shape[1], m):
            size = min(m, rows.shape[1] - start)
            block, chosen = rows[r, start : start + size], kept[r, start : start + size]
            for i in range(size):
                value, rank = abs(block[i]), 0
                for j in range(size):
                    other = abs(block[j])
                    rank += (other > value) | ((other == value) & (j < i))
                chosen[i] = rank < n


@njit(nogil=True, cache=True, boundscheck=False)
def _by_order(rows: Any, n: int, m: int, kept: Any) -> None:  # pragma: no cover - compiled
    length = rows.shape[1]
    for r in range(rows.shape[0]):
        for start in range(0, length, m):
            end = min(start + m, length)
            order = np.argsort(-np.abs(rows[r, start:end]), kind="mergesort")
            kept[r, start:end] = False
            for i in range(min(n, end - start)):
                kept[r, start + order[i]] = True
