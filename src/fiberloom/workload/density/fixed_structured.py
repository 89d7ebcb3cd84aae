"""Every tile holds its share of the non-zeros, as exactly as whole numbers allow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fiberloom.errors import SpecError
from fiberloom.workload.density._base import DensityModel, Occupancy, checked_block, checked_occupied
from fiberloom.workload.density._share import exact_share
from fiberloom.workload.density._spec import Parameters


class FixedStructuredDensity(DensityModel):
    """A tile of n elements at density d holds ⌊n·d⌋ or ⌈n·d⌉ non-zeros, n·d on average (Sparseloop, MICRO'22).

    This is the density of ``N:M`` pruning for tiles of whole groups; inside a group it stays with the two nearest
    whole numbers, whichever positions the group keeps. Shares are exact fractions: 0.07 of 100 is 7.

    Args:
        shape: shape of the whole tensor.
        density: share of non-zeros in 0..1; ``Fraction(2, 4)`` for a 2:4 pattern.

    Raises:
        SpecError: if `density` is outside 0..1.
    """

    distribution = "fixed-structured"
    aliases = ("structured",)
    parameters = ("density",)

    def __init__(self, shape: Sequence[int], density: float | Fraction) -> None:
        super().__init__(shape)
        if not 0 <= density <= 1:
            raise SpecError(f"density {density} is not in 0..1")
        self.share = exact_share(density)

    @classmethod
    def from_spec(cls, shape: Sequence[int], parameters: Parameters) -> FixedStructuredDensity:
        return cls(shape, parameters.pattern_or_density())

    @property
    def density(self) -> float:
        return float(self.share)

    def _floor_and_rest(self, tile: Sequence[int]) -> tuple[int, Fraction]:
        """⌊n·d⌋ and n·d − ⌊n·d⌋, the probability of one more."""
        expected = self.tile_size(tile) * self.share
        floor = math.floor(expected)
        return floor, expected - floor

    def occupancy(self, tile: Sequence[int]) -> Occupancy:
        floor, rest = self._floor_and_rest(tile)
        if rest == 0:
            return Occupancy(np.array([floor], dtype=np.int64), np.ones(1))
        return Occupancy(np.array([floor, floor + 1], dtype=np.int64), np.array([float(1 - rest), float(rest)]))

    def mean_occupancy(self, tile: Sequence[int]) -> float:
        return float(self.tile_size(tile) * self.share)

    def tile_statistics(self, tiles: ArrayLike, block: int) -> NDArray[np.float64]:
        sizes, block = self.tile_sizes(tiles), checked_block(block)
        numerator, denominator = self.share.numerator, self.share.denominator
        if max(numerator, denominator) * int(sizes.max(initial=1)) < 2**63:
            floor, rest = np.divmod(sizes * numerator, denominator)
        else:  # beyond int64: whole numbers of any length
            products = sizes.astype(object) * numerator
            floor, rest = (products // denominator).astype(np.int64), products % denominator
        above = (rest / denominator).astype(np.float64)
        below = ((denominator - rest) / denominator).astype(np.float64)
        result = np.empty((len(sizes), 4))
        result[:, 0] = np.where(floor == 0, below, 0.0)
        result[:, 1] = floor + (above > 0)
        result[:, 2] = floor + above
        result[:, 3] = -(-floor // block) * below + -(-(floor + 1) // block) * above
        return result

    def given(self, tile_size: int, occupied: int) -> FixedStructuredDensity:
        return FixedStructuredDensity((tile_size,), Fraction(checked_occupied(tile_size, occupied), tile_size))
