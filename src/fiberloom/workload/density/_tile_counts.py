"""Counting the non-zeros of every tile of a given tensor: an integral image, or coordinates when that is smaller.

Integral image: F. Crow, "Summed-area tables for texture mapping", SIGGRAPH'84, in any number of ranks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fiberloom.workload.density._base import Occupancy
from fiberloom.workload.density._windows import Histogram

Ints = NDArray[np.int64]

INTEGRAL_IMAGE_BYTES = 512 << 20
"""Largest integral image, unless coordinates take even more."""

_CHUNK = 1 << 22  # entries of a gathered piece


@dataclass(frozen=True)
class Coordinates:
    """Where the non-zeros of a tensor are, each once.

    Attributes:
        shape: shape of the tensor.
        ranks: per rank, the coordinate of every non-zero, shape ``(nonzeros,)``.
    """

    shape: tuple[int, ...]
    ranks: tuple[NDArray[np.integer], ...]

    @property
    def nonzeros(self) -> int:
        """Number of non-zeros (tensors without ranks are never kept as coordinates)."""
        return len(self.ranks[0])


class TileCounter(Protocol):
    """Something that knows how many non-zeros each tile of a tensor holds."""

    nonzeros: int

    def occupancy(self, tile: Sequence[int], starts: Sequence[Ints]) -> Occupancy:
        """Distribution over the tiles of extents `tile` at every combination of `starts` (ascending, one per rank)."""


def tile_counter(source: NDArray[np.bool_] | Coordinates) -> TileCounter:
    """The smaller way to count: an integral image for up to `INTEGRAL_IMAGE_BYTES`, unless non-zeros are very few."""
    size = math.prod(source.shape)
    if isinstance(source, Coordinates):
        # Filling an image costs a step per element, each tile shape a sort of the coordinates.
        few = source.nonzeros * 32 + 1_000_000 < size
        if few or size * _width(source.nonzeros) > INTEGRAL_IMAGE_BYTES:
            return CoordinateCounter(source)
        mask = np.zeros(source.shape, dtype=np.bool_)
        mask[source.ranks] = True
        return IntegralImage(mask)
    nonzeros = int(np.count_nonzero(source))
    image_bytes = size * _width(nonzeros)
    if image_bytes <= INTEGRAL_IMAGE_BYTES or image_bytes <= nonzeros * 8 * source.ndim:
        return IntegralImage(source)
    return CoordinateCounter(Coordinates(source.shape, source.nonzero()))


def _width(nonzeros: int) -> int:
    return 4 if nonzeros < 2**31 else 8


class IntegralImage:
    """Non-zeros before every corner; a tile is the alternating sum of its 2^R corners.

    Args:
        mask: where the tensor is non-zero.
    """

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self.nonzeros = int(np.count_nonzero(mask))
        self._before = np.zeros([s + 1 for s in mask.shape], dtype=f"i{_width(self.nonzeros)}")
        self._before[(slice(1, None),) * mask.ndim] = mask
        for axis in range(mask.ndim):
            np.cumsum(self._before, axis=axis, out=self._before)

    def occupancy(self, tile: Sequence[int], starts: Sequence[Ints]) -> Occupancy:
        histogram = Histogram()
        if not tile:
            histogram.add(self._before)
            return histogram.occupancy()
        corners, first, last = [], [], []
        for axis, extent in enumerate(tile):
            ends = np.minimum(starts[axis] + extent, self._before.shape[axis] - 1)
            used = np.unique(np.concatenate((starts[axis], ends)))
            corners.append(used)
            first.append(np.searchsorted(used, starts[axis]))
            last.append(np.searchsorted(used, ends))
        # Along the first rank piece by piece, so that memory stays bounded.
        rows = max(1, _CHUNK // math.prod(len(c) for c in corners[1:]))
        for begin in range(0, len(starts[0]), rows):
            low, high = first[0][begin : begin + rows], last[0][begin : begin + rows]
            needed, place = np.unique(np.concatenate((low, high)), return_inverse=True)
            piece = self._before[np.ix_(corners[0][needed], *corners[1:])]
            place = place.reshape(-1)
            counts = piece.take(place[len(low) :], axis=0) - piece.take(place[: len(low)], axis=0)
            for axis in range(1, len(tile)):
                counts = counts.take(last[axis], axis=axis) - counts.take(first[axis], axis=axis)
            histogram.add(counts)
        return histogram.occupancy()


class CoordinateCounter:
    """Non-zeros sorted into the tiles that hold them; tiles that nobody names are empty.

    Args:
        coordinates: the non-zeros.
    """

    def __init__(self, coordinates: Coordinates) -> None:
        self.nonzeros = coordinates.nonzeros
        self._ranks = coordinates.ranks

    def occupancy(self, tile: Sequence[int], starts: Sequence[Ints]) -> Occupancy:
        tiles = math.prod(len(s) for s in starts)
        number = np.zeros(self.nonzeros, dtype=np.int64)  # of the tile, in row-major order
        owner = np.arange(self.nonzeros)
        for coordinate, extent, begins in zip(self._ranks, tile, starts, strict=True):
            position = coordinate[owner].astype(np.int64)
            # The windows that hold a position are those with position − extent < start ≤ position.
            low = np.searchsorted(begins, position - extent, side="right")
            windows = np.searchsorted(begins, position, side="right") - low
            within = np.arange(int(windows.sum())) - np.repeat(np.cumsum(windows) - windows, windows)
            owner = np.repeat(owner, windows)
            number = np.repeat(number, windows) * len(begins) + np.repeat(low, windows) + within
        counts = np.unique(number, return_counts=True)[1]
        histogram = Histogram()
        histogram.add_equal(0, tiles - len(counts))
        if len(counts):
            histogram.add(counts)
        return histogram.occupancy()
