"""Compiled passes over whole arrays, where NumPy would take several with an array between each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


def masked(values: NDArray[Any], kept: NDArray[np.bool_]) -> NDArray[Any]:
    """`values` where `kept`, zero elsewhere; a new array."""
    held = np.empty(values.shape, dtype=values.dtype)
    _mask(np.ascontiguousarray(values).reshape(-1), np.ascontiguousarray(kept).reshape(-1), held.reshape(-1))
    return held


def difference(
    original: NDArray[Any], represented: NDArray[Any], unit: float = 1.0
) -> tuple[float, float, int, int, int]:
    """Squared error, squared norm, non-zeros before, after, and of the former those that are zero now.

    Args:
        unit: squares are of multiples of it.
    """
    before, after = np.ascontiguousarray(original).reshape(-1), np.ascontiguousarray(represented).reshape(-1)
    error, squared, *counts = _difference(before, after, 1.0 / unit)
    nonzeros, left, lost = (int(count) for count in counts)
    return float(error), float(squared), nonzeros, left, lost


@njit(nogil=True, cache=True, boundscheck=False)
def _mask(values: Any, kept: Any, held: Any) -> None:  # pragma: no cover - compiled
    for i in range(values.size):
        held[i] = values[i] if kept[i] else values.dtype.type(0)


@njit(nogil=True, cache=True, boundscheck=False, fastmath={"reassoc"})
def _difference(before: Any, after: Any, scale: float) -> Any:  # pragma: no cover - compiled
    error, squared, nonzeros, left, lost = 0.0, 0.0, 0, 0, 0
    for i in range(before.size):
        value = before[i] * scale
        gap = after[i] * scale - value
        squared += value * value
        error += gap * gap
        there, still = before[i] != 0, after[i] != 0
        nonzeros += there
        left += still
        lost += there & (not still)
    return error, squared, nonzeros, left, lost
