"""The non-zeros are where the user's own tensor has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fiberloom.errors import SpecError
from fiberloom.workload.density._base import DensityModel, Occupancy, checked_occupied
from fiberloom.workload.density._spec import Parameters
from fiberloom.workload.density._storage_order import same_order
from fiberloom.workload.density._tensor_file import SUFFIXES, read_nonzeros
from fiberloom.workload.density._tile_counts import Coordinates, tile_counter
from fiberloom.workload.density._windows import checked_strides, window_starts
from fiberloom.workload.density.uniform import UniformDensity


class ActualDensity(DensityModel):
    """Exact occupancies of a given tensor, over all its tiles of a shape, each with equal probability.

    `occupancy` takes the aligned tiles that partition the tensor (the last of a rank clipped), `occupancy_at` tiles
    that overlap, as the windows of a convolution do. A tile shape costs time in proportion to the number of tiles,
    once.

    Args:
        nonzeros: where the tensor is non-zero, as a mask of its shape or as coordinates.
    """

    distribution = "actual"
    aliases = ("actual-data", "real-data")
    parameters = ("file", "array")
    shape_dependent = True

    def __init__(self, nonzeros: NDArray[np.bool_] | Coordinates) -> None:
        super().__init__(nonzeros.shape)
        self._counter = tile_counter(nonzeros)
        self._known: dict[tuple[tuple[int, ...], tuple[int, ...]], Occupancy] = {}

    @classmethod
    def from_array(cls, array: ArrayLike) -> ActualDensity:
        """The model of a tensor at hand: elements that differ from 0 (NaN does) are its non-zeros."""
        return cls(np.asarray(np.asarray(array) != 0))

    @classmethod
    def from_spec(cls, shape: Sequence[int], parameters: Parameters) -> ActualDensity:
        path = Path(parameters.text("file", f"the tensor, one of {', '.join(SUFFIXES)}")).expanduser()
        if parameters.base_directory is not None:
            path = parameters.base_directory / path
        named = parameters.values.get("array") is not None
        array = parameters.text("array", "name of the array in the file") if named else None
        nonzeros = read_nonzeros(path, array, parameters)
        if isinstance(nonzeros, np.ndarray) and same_order(nonzeros.shape, shape):
            nonzeros = nonzeros.reshape(tuple(shape))  # a grouped convolution's channels are stored as one axis
        if tuple(nonzeros.shape) != tuple(shape):
            raise parameters.error(
                f"{path.name} holds a tensor of shape {tuple(nonzeros.shape)}, the Einsum's has {tuple(shape)}",
                name="file",
                hint="one is the other's transpose" if tuple(nonzeros.shape) == tuple(shape)[::-1] else None,
            )
        return cls(nonzeros)

    @property
    def density(self) -> float:
        return self._counter.nonzeros / self.size

    def occupancy(self, tile: Sequence[int]) -> Occupancy:
        clipped = self.clipped(tile)
        return self.occupancy_at(clipped, clipped)

    def occupancy_at(self, tile: Sequence[int], strides: Sequence[int]) -> Occupancy:
        clipped, strides = self.clipped(tile), checked_strides(strides, len(self.shape))
        key = (clipped, strides)
        if key not in self._known:
            # A tile as long as its rank stands still, whatever its stride.
            starts = [window_starts(*rank) for rank in zip(self.shape, clipped, strides, strict=True)]
            self._known[key] = self._enumerate(clipped, starts, aligned=clipped == strides)
        return self._known[key]

    def occupancy_over(self, tile: Sequence[int], starts: Sequence[Sequence[int] | NDArray[np.int64]]) -> Occupancy:
        """Distribution over the tiles at every combination of `starts`, for positions that no single stride describes.

        Args:
            tile: extent per rank.
            starts: per rank, where tiles begin; repeats count.

        Raises:
            SpecError: unless there is at least one start inside the tensor per rank.
        """
        clipped = self.clipped(tile)
        arrays = [np.sort(np.asarray(s, dtype=np.int64)) for s in starts]
        if len(arrays) != len(self.shape) or any(
            len(a) == 0 or a[0] < 0 or a[-1] >= s for a, s in zip(arrays, self.shape, strict=False)
        ):
            raise SpecError(f"tile starts do not lie inside a tensor of shape {self.shape}")
        return self._enumerate(clipped, arrays, aligned=False)

    def _enumerate(self, tile: tuple[int, ...], starts: list[NDArray[np.int64]], *, aligned: bool) -> Occupancy:
        if aligned and math.prod(tile) == 1 and 0 < self._counter.nonzeros < self.size:
            return Occupancy(np.array([0, 1], dtype=np.int64), np.array([1 - self.density, self.density]))
        return self._counter.occupancy(tile, starts)

    def given(self, tile_size: int, occupied: int) -> DensityModel:
        """Only an empty and a full tile say where their non-zeros are.

        Raises:
            UnsupportedError: for another occupancy.
        """
        if checked_occupied(tile_size, occupied) in (0, tile_size):
            return UniformDensity((tile_size,), occupied // tile_size)
        return super().given(tile_size, occupied)
