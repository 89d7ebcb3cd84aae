"""What learned models are told about a matrix product, its dataflow and the area cap: five tokens.

A bound is told twice: as the number of a bucket (exact up to 256, then eight to an octave), which is embedded, and as numbers:
its logarithm and how evenly 16 lanes and 64 clusters divide it. The cap is told likewise; the dataflow is a bucket alone.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.explore.learned.designs import CLUSTERS, DATAFLOWS, LANES, LARGEST_BOUND
from fiberloom.explore.learned.labelling import Labels
from fiberloom.explore.learned.workloads import LARGEST_CAP_MM2, LEAST_CAP_MM2

Array = NDArray[Any]
Floats = NDArray[np.float64]

_EXACT: Final = 256
_PER_OCTAVE: Final = 8
_CAP_BUCKETS: Final = 128

BOUND_BUCKETS: Final = _EXACT + _PER_OCTAVE * int(np.log2(LARGEST_BOUND / _EXACT)) + 1
BUCKETS: Final = (BOUND_BUCKETS, BOUND_BUCKETS, BOUND_BUCKETS, len(DATAFLOWS), _CAP_BUCKETS)
"""Buckets of each token: m, n, k, dataflow, cap."""
NUMBERS: Final = 3
"""Numbers of each token beside its bucket."""
TOKENS: Final = len(BUCKETS)


def tokens(bounds: Array, dataflow: Array, cap_mm2: Floats) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Buckets ``(n, 5)`` and numbers ``(n, 5, 3)`` of rows of `Labels`."""
    n = len(dataflow)
    buckets = np.zeros((n, TOKENS), np.int64)
    numbers = np.zeros((n, TOKENS, NUMBERS), np.float32)
    x = np.asarray(bounds, float)
    beyond = np.floor(_PER_OCTAVE * np.log2(np.maximum(x, _EXACT) / _EXACT)).astype(np.int64)
    buckets[:, :3] = np.clip(np.where(x <= _EXACT, x - 1, _EXACT + beyond), 0, BOUND_BUCKETS - 1)
    numbers[:, :3, 0] = np.log2(x) / np.log2(LARGEST_BOUND)
    for i, lanes in enumerate((LANES, CLUSTERS[-1])):
        numbers[:, :3, 1 + i] = x / lanes / np.ceil(x / lanes)
    buckets[:, 3] = dataflow
    place = np.log(np.asarray(cap_mm2) / LEAST_CAP_MM2) / np.log(LARGEST_CAP_MM2 / LEAST_CAP_MM2)
    buckets[:, 4] = np.clip(np.floor(place * _CAP_BUCKETS), 0, _CAP_BUCKETS - 1)
    numbers[:, 4, 0] = place
    numbers[:, 4, 1] = np.asarray(cap_mm2) / LARGEST_CAP_MM2
    return buckets, numbers


def columns(labels: Labels) -> Floats:
    """Plain features ``(n, 5)`` for trees and neighbours: log2 of m, n, k; the dataflow; log2 of the cap."""
    return np.column_stack([np.log2(labels.bounds), labels.dataflow, np.log2(labels.cap_mm2)])
