"""Where tiles start along each rank, and the distribution that a histogram over all tiles is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.workload.density._base import Occupancy

Ints = NDArray[np.int64]


def window_starts(extent: int, tile: int, stride: int) -> Ints:
    """Starts 0, stride, 2·stride, … up to the first window that reaches the end of a rank of `extent` elements.

    With ``stride == tile`` these are the aligned tiles that partition the rank, the last one clipped. Every window
    starts inside the rank, also when a stride above the extent of the tile leaves gaps.
    """
    windows = -(-max(extent - tile, 0) // stride) + 1
    return np.arange(min(windows, -(-extent // stride)), dtype=np.int64) * stride


def checked_strides(strides: Sequence[int], ranks: int) -> tuple[int, ...]:
    """`strides` as integers.

    Raises:
        SpecError: unless there is one stride of at least 1 per rank.
    """
    if len(strides) != ranks or any(s < 1 for s in strides):
        raise SpecError(
            f"strides {tuple(strides)} for a tensor of {ranks} ranks", hint="one stride of at least 1 per rank"
        )
    return tuple(int(s) for s in strides)


class Histogram:
    """Number of tiles by occupancy, gathered piece by piece."""

    def __init__(self) -> None:
        self._counts: list[Ints] = []
        self._tiles: list[Ints] = []

    def add(self, counts: NDArray[np.integer]) -> None:
        """One tile per entry of `counts`, any shape."""
        values, tiles = np.unique(counts, return_counts=True)
        self._counts.append(values.astype(np.int64))
        self._tiles.append(tiles.astype(np.int64))

    def add_equal(self, count: int, tiles: int) -> None:
        """`tiles` tiles that hold `count` non-zeros each."""
        if tiles > 0:
            self._counts.append(np.array([count], dtype=np.int64))
            self._tiles.append(np.array([tiles], dtype=np.int64))

    def occupancy(self) -> Occupancy:
        """The distribution of a tile drawn with equal probability; its arrays are read-only."""
        counts, place = np.unique(np.concatenate(self._counts), return_inverse=True)
        tiles = np.zeros(len(counts), dtype=np.int64)
        np.add.at(tiles, place.reshape(-1), np.concatenate(self._tiles))
        probabilities = tiles / tiles.sum()
        counts.flags.writeable = probabilities.flags.writeable = False
        return Occupancy(counts, probabilities)
