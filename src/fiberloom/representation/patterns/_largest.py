"""Choosing the largest magnitudes of every block: compiled, since every projection asks for it millions of times."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fiberloom.representation.threads import in_slabs

_BY_RANK = 32
"""Blocks up to this size are ranked by comparing every pair, larger ones are sorted: the faster of the two as measured."""


def largest_of_blocks(rows: NDArray[Any], n: int, m: int) -> NDArray[np.bool_]:
    """The `n` largest magnitudes of every `m` neighbours in each row; of equals the first. A short last block keeps n at most.

    Args:
        rows: ``(R, L)`` real numbers without NaN.
    """
    kept = np.empty(rows.shape, dtype=np.bool_)
    choose = _by_rank if m <= _BY_RANK else _by_order
    in_slabs(lambda at: choose(np.abs(rows[at]), n, m, kept[at]), rows)
    return kept


def largest(values: NDArray[Any], count: int) -> NDArray[np.bool_]:
    """The `count` largest magnitudes of all `values`, without zeros; of equals the first in row-major order."""
    return largest_of_rows(values.reshape(1, -1), count).reshape(values.shape)


def largest_of_rows(rows: NDArray[Any], count: int) -> NDArray[np.bool_]:
    """The `count` largest magnitudes of every row, without zeros; of equals the first.

    Args:
        rows: ``(R, L)`` real numbers without NaN.
        count: from 1; more than L is L.
    """
    kept = np.empty(rows.shape, dtype=np.bool_)
    length = rows.shape[1]

    def choose(at: slice) -> None:
        magnitudes = np.abs(rows[at])
        if count >= length:
            np.not_equal(magnitudes, 0, out=kept[at])
            return
        threshold = np.partition(magnitudes, length - count, axis=1)[:, length - count, None]
        np.greater(magnitudes, threshold, out=kept[at])
        missing = count - np.count_nonzero(kept[at], axis=1)
        for i, row in enumerate(magnitudes):
            if threshold[i, 0]:
                kept[at][i, np.flatnonzero(row == threshold[i, 0])[: missing[i]]] = True

    in_slabs(choose, rows)
    return kept


@njit(nogil=True, cache=True, boundscheck=False)
def _by_rank(rows: Any, n: int, m: int, kept: Any) -> None:  # pragma: no cover - compiled
    length = rows.shape[1]
    for r in range(rows.shape[0]):
        for start in range(0, length, m):
            end = min(start + m, length)
            for i in range(start, end):
                value = rows[r, i]
                rank = 0
                for j in range(start, i):
                    rank += rows[r, j] >= value
                for j in range(i + 1, end):
                    rank += rows[r, j] > value
                kept[r, i] = rank < n


@njit(nogil=True, cache=True, boundscheck=False)
def _by_order(rows: Any, n: int, m: int, kept: Any) -> None:  # pragma: no cover - compiled
    length = rows.shape[1]
    for r in range(rows.shape[0]):
        for start in range(0, length, m):
            end = min(start + m, length)
            order = np.argsort(-rows[r, start:end], kind="mergesort")
            kept[r, start:end] = False
            for i in range(min(n, end - start)):
                kept[r, start + order[i]] = True
