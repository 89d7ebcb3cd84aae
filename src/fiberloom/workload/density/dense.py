"""Every element is non-zero."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fiberloom.errors import SpecError
from fiberloom.workload.density._base import DensityModel, Occupancy, checked_block, checked_occupied
from fiberloom.workload.density._spec import Parameters


class DenseDensity(DensityModel):
    """A tensor without zeros: a tile of n elements holds n non-zeros."""

    distribution = "dense"

    @classmethod
    def from_spec(cls, shape: Sequence[int], parameters: Parameters) -> DenseDensity:
        return cls(shape)

    @property
    def density(self) -> float:
        return 1.0

    def occupancy(self, tile: Sequence[int]) -> Occupancy:
        return Occupancy(np.array([self.tile_size(tile)], dtype=np.int64), np.ones(1))

    def tile_statistics(self, tiles: ArrayLike, block: int) -> NDArray[np.float64]:
        sizes = self.tile_sizes(tiles)
        return np.stack((np.zeros(len(sizes)), sizes, sizes, -(-sizes // checked_block(block))), axis=1).astype(
            np.float64
        )

    def given(self, tile_size: int, occupied: int) -> DenseDensity:
        if checked_occupied(tile_size, occupied) != tile_size:
            raise SpecError(f"a tile of {tile_size} elements of a dense tensor can't hold {occupied} non-zeros")
        return DenseDensity((tile_size,))
