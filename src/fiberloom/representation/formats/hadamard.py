"""Rotation by a Hadamard matrix before an array is stored: outliers are spread over their neighbours.

The matrix is orthonormal and its own inverse (Sylvester's construction over ``sqrt(size)``), so an inner product of two
tensors rotated along the summed axis is that of the originals, and hardware need not rotate weights back. `round` does, to
compare with the original.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.representation.formats._base import NumberFormat, Stored
from fiberloom.representation.formats._tiles import Tile, over_tiles, tiles

USUAL_SIZE = 128
LARGEST_SIZE = 1 << 20


@dataclass(frozen=True)
class Hadamard(NumberFormat):
    """A format whose input is rotated in pieces of `size` elements along the axis.

    What is left behind the last whole piece is rotated in pieces of smaller powers of two, so no length is refused.

    Attributes:
        inner: stores the rotated values.
        size: a power of two; None: the inner format's block if that is one, else 128.
    """

    inner: NumberFormat
    size: int | None = None

    def __post_init__(self) -> None:
        if self.size is not None and (self.size < 2 or self.size & (self.size - 1) or self.size > LARGEST_SIZE):
            raise SpecError(f"a Hadamard rotation of {self.size} elements", hint="take a power of two: 2, 4 … 2^20")

    @property
    def length(self) -> int:
        """Elements that are rotated together."""
        return self.size or self._usual_size

    @property
    def _usual_size(self) -> int:
        block = self.inner.block or 0
        return block if 2 <= block <= LARGEST_SIZE and block & (block - 1) == 0 else USUAL_SIZE

    @property
    def name(self) -> str:
        size = "" if self.length == self._usual_size else str(self.length)
        return f"hadamard{size}({self.inner.name})"

    @property
    def bits(self) -> int:
        return self.inner.bits

    @property
    def exponent_bits(self) -> int:
        return self.inner.exponent_bits

    @property
    def significand_bits(self) -> int:
        return self.inner.significand_bits

    @property
    def fixed_point_bits(self) -> int:
        return self.inner.fixed_point_bits

    @property
    def block(self) -> int | None:
        return self.inner.block

    @property
    def block_scale(self) -> NumberFormat | None:
        return self.inner.block_scale

    @property
    def rowwise(self) -> bool:
        return self.inner.rowwise

    @property
    def keeps_zero(self) -> bool:
        return False

    @property
    def bits_per_element(self) -> float:
        return self.inner.bits_per_element

    def describe_scales(self) -> str:
        return f"{self.inner.describe_scales()}; {self.length} elements rotated together"

    def storage_bits(self, shape: Sequence[int], axis: int = -1) -> int:
        return self.inner.storage_bits(shape, axis)

    def significands(self, codes: NDArray[Any], choices: NDArray[Any] | None = None) -> NDArray[np.int64]:
        return self.inner.significands(codes, choices)

    def round_rows(self, rows: NDArray[Any], rng: np.random.Generator | None) -> NDArray[Any]:
        return rotated(self.inner.round_rows(rotated(rows, self.length), rng), self.length)

    def quantize_rows(self, rows: NDArray[Any], rng: np.random.Generator | None) -> Stored:
        return self.inner.quantize_rows(rotated(rows, self.length), rng)

    def dequantize_rows(self, stored: Stored, dtype: np.dtype[Any]) -> NDArray[Any]:
        return rotated(self.inner.dequantize_rows(stored, dtype), self.length)


def rotated(rows: NDArray[Any], size: int) -> NDArray[Any]:
    """Rows ``(rows, length)`` times the orthonormal Hadamard matrix of `size`, piece by piece; its own inverse.

    Sums and differences are taken in the array's type, in a fixed order, so that results don't depend on the machine.
    """
    found = np.empty(rows.shape, rows.dtype)
    start = 0
    while size >= 1 and start < rows.shape[1]:
        stop = start + (rows.shape[1] - start) // size * size
        if stop > start:
            _rotate(rows[:, start:stop], found[:, start:stop], size)
        start, size = stop, size // 2
    return found


def _rotate(rows: NDArray[Any], found: NDArray[Any], size: int) -> None:
    """Rotate rows whose length is a multiple of `size` into `found`."""
    norm = rows.dtype.type(1 / math.sqrt(size))

    def tile(at: Tile) -> None:
        # pieces side by side, so that every step goes through long rows
        values = np.multiply(at.of(rows).reshape(-1, size).T, norm, order="C")
        half = 1
        while half < size:
            pairs = values.reshape(-1, 2, half, values.shape[1])
            difference = pairs[:, 0] - pairs[:, 1]
            pairs[:, 0] += pairs[:, 1]
            pairs[:, 1] = difference
            half *= 2
        found[at.rows, at.columns] = values.T.reshape(at.rows.stop - at.rows.start, -1)

    over_tiles(tile, tiles(rows.shape, size))
