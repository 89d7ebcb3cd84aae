"""What a density model answers: how many non-zeros a tile of a tensor holds.

A new model is one class in one file of this folder: subclass `DensityModel`, give it a `distribution` name, and
implement `density` and `occupancy`. Everything the hardware model asks follows from those two; override the others
where a closed form is faster.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import UnsupportedError


class Occupancy(NamedTuple):
    """Distribution of the number of non-zeros in a tile.

    Attributes:
        counts: possible numbers of non-zeros, ascending, shape ``(K,)``.
        probabilities: probability of each, shape ``(K,)``, summing to 1.
    """

    counts: NDArray[np.int64]
    probabilities: NDArray[np.float64]


class DensityModel(ABC):
    """How the non-zeros of one tensor are distributed over its tiles.

    Args:
        shape: shape of the whole tensor.
    """

    distribution: ClassVar[str]
    """Name in specifications (``distribution: <name>``)."""

    shape_dependent: ClassVar[bool] = False
    """Whether occupancy depends on the tile's shape and not only on its number of elements."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(int(s) for s in shape)
        self.size = math.prod(self.shape)

    @property
    @abstractmethod
    def density(self) -> float:
        """Share of non-zeros in the whole tensor, 0..1."""

    @abstractmethod
    def occupancy(self, tile: Sequence[int]) -> Occupancy:
        """Distribution of the non-zeros of a tile of shape `tile` (one extent per rank of the tensor)."""

    def probability_empty(self, tile: Sequence[int]) -> float:
        """Probability that a tile of shape `tile` holds no non-zero."""
        counts, probabilities = self.occupancy(tile)
        return float(probabilities[counts == 0].sum())

    def max_occupancy(self, tile: Sequence[int], confidence: float = 1.0) -> int:
        """Most non-zeros that a tile can hold (or their `confidence`-quantile)."""
        counts, probabilities = self.occupancy(tile)
        if confidence >= 1.0:
            return int(counts[-1])
        return int(counts[min(int(np.searchsorted(np.cumsum(probabilities), confidence - 1e-12)), len(counts) - 1)])

    def mean_occupancy(self, tile: Sequence[int]) -> float:
        """Expected number of non-zeros in a tile."""
        counts, probabilities = self.occupancy(tile)
        return float(counts @ probabilities)

    def expected_blocks(self, tile: Sequence[int], block: int) -> float:
        """Expected number of blocks of `block` words that the non-zeros of a tile fill, E⌈k/block⌉."""
        counts, probabilities = self.occupancy(tile)
        return float(-(-counts // block) @ probabilities)

    def given(self, tile_size: int, occupied: int) -> DensityModel:
        """The model inside a tile of `tile_size` elements that is known to hold `occupied` non-zeros.

        Raises:
            UnsupportedError: where the model has no such closed form.
        """
        raise UnsupportedError(f"density '{self.distribution}' can't be conditioned on an enclosing tile's occupancy")
