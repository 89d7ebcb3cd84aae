"""What a density model answers: how many non-zeros a tile of a tensor holds.

A new model is one class in one file of this folder: subclass `DensityModel`, give it a `distribution` name, and
implement `density`, `occupancy` and `from_spec`; then import the file in ``__init__``. Everything the hardware model
asks follows from those; override the others where a closed form is faster.

A tile that reaches past the edge of its tensor is clipped there: nothing lies outside.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fiberloom.errors import SpecError, UnsupportedError

if TYPE_CHECKING:
    from fiberloom.workload.density._spec import Parameters

TILE_STATISTICS = ("probability_empty", "max_occupancy", "mean_occupancy", "expected_blocks")
"""Columns of `DensityModel.tile_statistics`."""


class Occupancy(NamedTuple):
    """Distribution of the number of non-zeros in a tile.

    Attributes:
        counts: possible numbers of non-zeros, ascending, shape ``(K,)``.
        probabilities: probability of each, shape ``(K,)``, summing to 1. Counts whose probability is negligible
            (below 1e-18 of the largest) may be left out.
    """

    counts: NDArray[np.int64]
    probabilities: NDArray[np.float64]


class DensityModel(ABC):
    """How the non-zeros of one tensor are distributed over its tiles.

    Args:
        shape: shape of the whole tensor.

    Raises:
        SpecError: if an extent is below 1.
    """

    distribution: ClassVar[str]
    """Name in specifications (``distribution: <name>``)."""

    aliases: ClassVar[tuple[str, ...]] = ()
    """Other names in specifications."""

    parameters: ClassVar[tuple[str, ...]] = ()
    """Names of the fields that stand beside ``distribution`` in a specification."""

    shape_dependent: ClassVar[bool] = False
    """Whether occupancy depends on the tile's shape and not only on its number of elements."""

    registry: ClassVar[dict[str, type[DensityModel]]] = {}
    """Every model by distribution name; a subclass that sets `distribution` enters by being defined."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "distribution" in cls.__dict__:
            DensityModel.registry[cls.distribution] = cls

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(int(s) for s in shape)
        if any(s < 1 for s in self.shape):
            raise SpecError(f"a tensor of shape {self.shape} has no elements", hint="every extent is at least 1")
        self.size = math.prod(self.shape)

    @classmethod
    @abstractmethod
    def from_spec(cls, shape: Sequence[int], parameters: Parameters) -> DensityModel:
        """Build the model of a tensor of shape `shape` from the fields of a specification.

        Raises:
            SpecError: when a field is missing or wrong.
        """

    @property
    @abstractmethod
    def density(self) -> float:
        """Share of non-zeros in the whole tensor, 0..1."""

    @abstractmethod
    def occupancy(self, tile: Sequence[int]) -> Occupancy:
        """Distribution of the non-zeros of a tile of shape `tile` (one extent per rank of the tensor)."""

    def occupancy_at(self, tile: Sequence[int], strides: Sequence[int]) -> Occupancy:
        """Distribution over the tiles whose starts advance by `strides`; strides below the extents make them overlap.

        Such are the windows of ``I[2*p+r]``. The last window of a rank is the first that reaches its end. The same as
        `occupancy` for models that know no positions.

        Args:
            tile: extent per rank.
            strides: advance from one tile to the next, per rank, at least 1.
        """
        return self.occupancy(tile)

    def probability_empty(self, tile: Sequence[int]) -> float:
        """Probability that a tile of shape `tile` holds no non-zero."""
        counts, probabilities = self.occupancy(tile)
        return float(probabilities[0]) if counts[0] == 0 else 0.0

    def min_occupancy(self, tile: Sequence[int]) -> int:
        """Fewest non-zeros that a tile can hold."""
        return int(self.occupancy(tile).counts[0])

    def max_occupancy(self, tile: Sequence[int], confidence: float = 1.0) -> int:
        """Most non-zeros that a tile can hold, or the fewest that suffice with probability `confidence`."""
        counts, probabilities = self.occupancy(tile)
        if confidence >= 1.0:
            return int(counts[-1])
        # The slack forgives rounding in the running sum only.
        reached = int(np.searchsorted(np.cumsum(probabilities), confidence - 1e-12))
        return int(counts[min(reached, len(counts) - 1)])

    def mean_occupancy(self, tile: Sequence[int]) -> float:
        """Expected number of non-zeros in a tile."""
        counts, probabilities = self.occupancy(tile)
        return float(counts @ probabilities)

    def expected_blocks(self, tile: Sequence[int], block: int) -> float:
        """Expected number of blocks of `block` words that the non-zeros of a tile fill, E⌈k/block⌉."""
        counts, probabilities = self.occupancy(tile)
        return float(-(-counts // checked_block(block)) @ probabilities)

    def tile_statistics(self, tiles: ArrayLike, block: int) -> NDArray[np.float64]:
        """The four numbers that a search asks of every tile, at once.

        Args:
            tiles: whole numbers, shape ``(n, R)``: one tile per row, one extent per rank.
            block: words per block, for `expected_blocks`.

        Returns:
            Shape ``(n, 4)``, columns as in `TILE_STATISTICS`.
        """
        shapes, row = np.unique(checked_tiles(tiles), axis=0, return_inverse=True)
        distinct = np.empty((len(shapes), 4))
        for i, extents in enumerate(shapes.tolist()):
            distinct[i] = (
                self.probability_empty(extents),
                self.max_occupancy(extents),
                self.mean_occupancy(extents),
                self.expected_blocks(extents, block),
            )
        return distinct[row.reshape(-1)]

    def given(self, tile_size: int, occupied: int) -> DensityModel:
        """The model inside a tile of `tile_size` elements that is known to hold `occupied` non-zeros.

        Raises:
            UnsupportedError: where the model has no such closed form.
            SpecError: if `occupied` is not in 0..`tile_size`.
        """
        raise UnsupportedError(f"density '{self.distribution}' can't be conditioned on an enclosing tile's occupancy")

    def clipped(self, tile: Sequence[int]) -> tuple[int, ...]:
        """Extents of `tile` inside the tensor.

        Raises:
            SpecError: if the number of ranks is not the tensor's, or an extent is below 1.
        """
        if len(tile) != len(self.shape):
            raise SpecError(f"a tile of {len(tile)} ranks {tuple(tile)} for a tensor of shape {self.shape}")
        if any(t < 1 for t in tile):
            raise SpecError(f"tile {tuple(tile)} has an extent below 1")
        return tuple(min(int(t), s) for t, s in zip(tile, self.shape, strict=True))

    def tile_size(self, tile: Sequence[int]) -> int:
        """Elements of `tile` inside the tensor. A conditional model (`given`) has one rank and takes tiles of any.

        Raises:
            SpecError: if an extent is below 1.
        """
        if len(tile) == len(self.shape):
            return math.prod(self.clipped(tile))
        if any(t < 1 for t in tile):
            raise SpecError(f"tile {tuple(tile)} has an extent below 1")
        return min(math.prod(int(t) for t in tile), self.size)

    def tile_sizes(self, tiles: ArrayLike) -> NDArray[np.int64]:
        """`tile_size` of every row of `tiles`, shape ``(n, R)`` → ``(n,)``."""
        checked = checked_tiles(tiles)
        if checked.shape[1] == len(self.shape):
            checked = np.minimum(checked, np.array(self.shape, dtype=np.int64))
        return np.asarray(np.minimum(checked.prod(axis=1, dtype=np.int64), self.size), dtype=np.int64)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, density={self.density:.6g})"


def checked_tiles(tiles: ArrayLike) -> NDArray[np.int64]:
    """`tiles` as int64 of shape ``(n, R)``.

    Raises:
        SpecError: for another shape, numbers that are not whole, or extents below 1.
    """
    array = np.asarray(tiles)
    if array.ndim != 2 or not (np.issubdtype(array.dtype, np.integer) or array.size == 0):
        raise SpecError(f"tiles are whole numbers of shape (n, ranks); found {array.dtype} of shape {array.shape}")
    if array.size and array.min() < 1:
        raise SpecError("a tile has an extent below 1")
    return array.astype(np.int64)


def checked_block(block: int) -> int:
    """`block`, if it is a possible number of words.

    Raises:
        SpecError: if it is below 1.
    """
    if block < 1:
        raise SpecError(f"a block holds {block} words", hint="blocks hold at least one word")
    return int(block)


def checked_occupied(tile_size: int, occupied: int) -> int:
    """`occupied`, if a tile of `tile_size` elements can hold so many.

    Raises:
        SpecError: if it can't.
    """
    if not 0 <= occupied <= tile_size:
        raise SpecError(f"a tile of {tile_size} elements can't hold {occupied} non-zeros")
    return int(occupied)
