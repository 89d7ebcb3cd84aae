"""Policies that choose every parameter by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fiberloom.explore.space import DesignSpace, Point

Floats = NDArray[np.float64]


def softmax(logits: Floats) -> Floats:
    """Along the last axis."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Floats = raised / raised.sum(axis=-1, keepdims=True)
    return shares


def drawn(rng: np.random.Generator, probabilities: Floats) -> int:
    """One index, with these probabilities."""
    return min(int(np.searchsorted(np.cumsum(probabilities), rng.random(), "right")), len(probabilities) - 1)


def choices(space: DesignSpace, points: Sequence[Point]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """``(n, parameters)`` indices, and which of them the designs have."""
    return np.array(points, np.int64).reshape(len(points), -1), np.array([space.active(p) for p in points], bool)
