"""Unstructured sparsity: the non-zeros lie anywhere with equal probability."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fiberloom.errors import SpecError
from fiberloom.workload.density import _hypergeometric as hypergeometric
from fiberloom.workload.density._base import DensityModel, Occupancy, checked_block, checked_occupied
from fiberloom.workload.density._share import nonzeros_of
from fiberloom.workload.density._spec import Parameters


class UniformDensity(DensityModel):
    """⌈d·N⌉ non-zeros placed at random, without replacement, among the N elements: hypergeometric occupancy.

    Source: Sparseloop, MICRO'22 ("uniform"). The smallest occupancy of a tile of n elements is
    max(0, n − (N − r)): a tile larger than the number of zeros can't be empty.

    Args:
        shape: shape of the whole tensor.
        density: share of non-zeros in 0..1.

    Raises:
        SpecError: if `density` is outside 0..1.
    """

    distribution = "uniform"
    aliases = ("hypergeometric", "unstructured")
    parameters = ("density",)

    def __init__(self, shape: Sequence[int], density: float | Fraction) -> None:
        super().__init__(shape)
        if not 0 <= density <= 1:
            raise SpecError(f"density {density} is not in 0..1")
        self.nonzeros = nonzeros_of(density, self.size)
        """Number of non-zeros in the whole tensor."""

    @classmethod
    def from_spec(cls, shape: Sequence[int], parameters: Parameters) -> UniformDensity:
        return cls(shape, parameters.density())

    @property
    def density(self) -> float:
        """Share of non-zeros, after rounding their number up to a whole one."""
        return self.nonzeros / self.size

    def occupancy(self, tile: Sequence[int]) -> Occupancy:
        return Occupancy(*hypergeometric.distribution(self.size, self.nonzeros, self.tile_size(tile)))

    def probability_empty(self, tile: Sequence[int]) -> float:
        drawn = np.array([self.tile_size(tile)], dtype=np.int64)
        return float(hypergeometric.probability_none(self.size, self.nonzeros, drawn)[0])

    def min_occupancy(self, tile: Sequence[int]) -> int:
        return max(0, self.tile_size(tile) - (self.size - self.nonzeros))

    def max_occupancy(self, tile: Sequence[int], confidence: float = 1.0) -> int:
        if confidence >= 1.0:
            return min(self.tile_size(tile), self.nonzeros)
        return super().max_occupancy(tile, confidence)

    def mean_occupancy(self, tile: Sequence[int]) -> float:
        return self.tile_size(tile) * self.nonzeros / self.size

    def expected_blocks(self, tile: Sequence[int], block: int) -> float:
        return float(self._statistics(np.array([self.tile_size(tile)], dtype=np.int64), block)[0, 3])

    def tile_statistics(self, tiles: ArrayLike, block: int) -> NDArray[np.float64]:
        sizes, row = np.unique(self.tile_sizes(tiles), return_inverse=True)
        return self._statistics(sizes, block)[row.reshape(-1)]

    def _statistics(self, sizes: NDArray[np.int64], block: int) -> NDArray[np.float64]:
        """The columns of `tile_statistics` for tiles of `sizes` elements, shape ``(n,)`` → ``(n, 4)``."""
        none = hypergeometric.probability_none(self.size, self.nonzeros, sizes)
        result = np.empty((len(sizes), 4))
        result[:, 0] = none
        result[:, 1] = np.minimum(sizes, self.nonzeros)
        result[:, 2] = sizes * (self.nonzeros / self.size)
        result[:, 3] = hypergeometric.expected_blocks(self.size, self.nonzeros, sizes, checked_block(block), none)
        return result

    def given(self, tile_size: int, occupied: int) -> UniformDensity:
        return UniformDensity((tile_size,), Fraction(checked_occupied(tile_size, occupied), tile_size))
