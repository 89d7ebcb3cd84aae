"""Non-zeros in a band around the diagonal of a matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.workload.density._base import DensityModel, Occupancy, checked_occupied
from fiberloom.workload.density._spec import Parameters
from fiberloom.workload.density._windows import Histogram, checked_strides, window_starts
from fiberloom.workload.density.uniform import UniformDensity

Ints = NDArray[np.int64]


class BandedDensity(DensityModel):
    """Element (i, j) of an M × N matrix is non-zero iff it lies within `width` of the scaled diagonal.

    * M = N: ``|i − j| ≤ width``.
    * M < N: ``|⌊i·N/M⌋ − j| ≤ width``: every row has its band around the column that the diagonal of the rectangle
      crosses.
    * M > N: ``|i − ⌊j·M/N⌋| ≤ width``, the transpose of the above.

    Occupancies are exact over all aligned tiles (the last of a row or column clipped), each with equal probability. A
    tile-row costs time only for the tiles on the band's two edges: those outside hold nothing, those inside are full.

    Args:
        shape: (M, N).
        width: elements on each side of the diagonal, from 0.

    Raises:
        SpecError: unless there are two ranks and `width` is at least 0.
    """

    distribution = "banded"
    parameters = ("width", "band_width")
    shape_dependent = True

    def __init__(self, shape: Sequence[int], width: int) -> None:
        super().__init__(shape)
        if len(self.shape) != 2:
            raise SpecError(f"a banded tensor has two ranks; this one has shape {self.shape}")
        if width < 0:
            raise SpecError(f"band width {width} is below 0")
        self.width = int(width)
        self._transposed = self.shape[0] > self.shape[1]
        self._rows, self._columns = sorted(self.shape)  # as if M ≤ N
        centre = np.arange(self._rows, dtype=np.int64) * self._columns // self._rows
        # Row i is non-zero from first[i] up to, not including, last[i]; both ascend with i.
        self._first = np.maximum(centre - self.width, 0)
        self._last = np.minimum(centre + self.width + 1, self._columns)
        self._first_sum = np.concatenate(([0], np.cumsum(self._first)))
        self._last_sum = np.concatenate(([0], np.cumsum(self._last)))
        self._known: dict[tuple[int, ...], Occupancy] = {}

    @classmethod
    def from_spec(cls, shape: Sequence[int], parameters: Parameters) -> BandedDensity:
        if len(shape) != 2:
            raise parameters.error(f"a banded tensor has two ranks; this one has shape {tuple(shape)}")
        given = [name for name in cls.parameters if parameters.values.get(name) is not None]
        if len(given) > 1:
            raise parameters.error("'width' and 'band_width' both stand here", hint="they mean the same; give one")
        return cls(shape, parameters.whole(given[0] if given else "width", "elements on each side of the diagonal"))

    @property
    def density(self) -> float:
        return float(self._last_sum[-1] - self._first_sum[-1]) / self.size

    def occupancy(self, tile: Sequence[int]) -> Occupancy:
        clipped = self.clipped(tile)
        return self.occupancy_at(clipped, clipped)

    def occupancy_at(self, tile: Sequence[int], strides: Sequence[int]) -> Occupancy:
        clipped, strides = self.clipped(tile), checked_strides(strides, 2)
        key = (*clipped, *strides)
        if key not in self._known:
            self._known[key] = self._enumerate(clipped, strides)
        return self._known[key]

    def _enumerate(self, tile: tuple[int, ...], strides: tuple[int, ...]) -> Occupancy:
        if self._transposed:
            tile, strides = tile[::-1], strides[::-1]
        height, breadth = tile
        top = window_starts(self._rows, height, strides[0])
        bottom = np.minimum(top + height, self._rows)
        left = window_starts(self._columns, breadth, strides[1])
        right = np.minimum(left + breadth, self._columns)
        # Per tile-row: tiles [0, enter) and [leave, …) lie outside the band, tiles [full, unfull) inside it.
        enter = np.searchsorted(right, self._first[top], side="right")
        leave = np.searchsorted(left, self._last[bottom - 1], side="left")
        full = np.clip(np.searchsorted(left, self._first[bottom - 1], side="left"), enter, leave)
        unfull = np.clip(np.searchsorted(right, self._last[top], side="right"), full, leave)
        histogram = Histogram()
        histogram.add_equal(0, len(top) * len(left) - int((leave - enter).sum()))
        # Only the last tile can be narrower than the others, so count it apart.
        ends_inside = (unfull == len(left)) & (unfull > full)
        for rows in np.unique(bottom - top):
            of_height = bottom - top == rows
            histogram.add_equal(int(rows * breadth), int((unfull - full - ends_inside)[of_height].sum()))
            histogram.add_equal(int(rows * (right[-1] - left[-1])), int((ends_inside & of_height).sum()))
        for begin, end in ((enter, full), (unfull, leave)):
            row, column = _ranges(begin, end)
            if len(row):
                a, b, c, d = top[row], bottom[row], left[column], right[column]
                histogram.add(self._left_of(b, d) - self._left_of(b, c) - self._left_of(a, d) + self._left_of(a, c))
        return histogram.occupancy()

    def _left_of(self, row: Ints, column: Ints) -> Ints:
        """Non-zeros above `row` and left of `column`, elementwise.

        Row i has ``max(0, column − first[i]) − max(0, column − last[i])`` of them; `first` and `last` ascend, so the
        rows that count are a prefix.
        """
        begun = np.minimum(np.searchsorted(self._first, column, side="left"), row)
        ended = np.minimum(np.searchsorted(self._last, column, side="left"), row)
        return np.asarray(
            begun * column - self._first_sum[begun] - (ended * column - self._last_sum[ended]), dtype=np.int64
        )

    def parts_empty_given(self, tile: Sequence[int], part: Sequence[int], occupied: Ints) -> NDArray[np.float64]:
        """Share of empty parts in the first tile, row by row, that holds as many non-zeros as `occupied` says.

        Args:
            tile, part: extents; parts start at multiples of theirs inside the tile.
            occupied: numbers of non-zeros, shape ``(n,)``.

        Returns:
            Shape ``(n,)``; 1 where no tile holds so many.
        """
        height, breadth = self.clipped(tile)
        top, left = np.arange(0, self.shape[0], height), np.arange(0, self.shape[1], breadth)
        held = self._held(top[:, None], left[None, :], height, breadth)
        out = np.ones(len(occupied))
        for i, k in enumerate(occupied):
            where = np.argwhere(held == k)
            if k > 0 and len(where):
                row, column = int(top[where[0][0]]), int(left[where[0][1]])
                rows = np.arange(row, min(row + height, self.shape[0]), part[0])
                columns = np.arange(column, min(column + breadth, self.shape[1]), part[1])
                out[i] = float((self._held(rows[:, None], columns[None, :], part[0], part[1]) == 0).mean())
        return out

    def _held(self, top: Ints, left: Ints, height: int, breadth: int) -> Ints:
        """Non-zeros of tiles at `top` and `left`, broadcast; clipped at the edges."""
        a, b = np.broadcast_arrays(top, np.minimum(top + height, self.shape[0]))
        c, d = np.broadcast_arrays(left, np.minimum(left + breadth, self.shape[1]))
        if self._transposed:
            a, b, c, d = c, d, a, b
        a, b, c, d = np.broadcast_arrays(a, b, c, d)
        return self._left_of(b, d) - self._left_of(b, c) - self._left_of(a, d) + self._left_of(a, c)

    def given(self, tile_size: int, occupied: int) -> DensityModel:
        """Only an empty and a full tile say where their non-zeros are.

        Raises:
            UnsupportedError: for another occupancy.
        """
        if checked_occupied(tile_size, occupied) in (0, tile_size):
            return UniformDensity((tile_size,), occupied // tile_size)
        return super().given(tile_size, occupied)


def _ranges(begin: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Every (row, column) with ``begin[row] ≤ column < end[row]``."""
    lengths = np.maximum(end - begin, 0)
    row = np.repeat(np.arange(len(begin), dtype=np.int64), lengths)
    offset = np.arange(len(row), dtype=np.int64) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return row, begin[row] + offset
