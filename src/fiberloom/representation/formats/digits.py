"""Non-zero digits of stored numbers: what a multiplier that goes through digits one by one has to do.

Three ways to write an integer of two's complement: the ones of its magnitude (Albericio et al., Bit-Pragmatic, MICRO 2017),
canonic signed digits, of which no representation with digits -1, 0, 1 has fewer (Reitwiesner, 1960), and radix-4 Booth
digits -2 … 2, half as many (MacSorley, 1961). Of floats it is the significand that is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.representation.formats._base import NumberFormat, Quantized
from fiberloom.representation.formats._tiles import Tile, over_tiles, part_of, tiles

_HALF = 16
CODE_BOOKS = 4
"""Most code books that a format chooses among."""


@dataclass(frozen=True)
class Digits:
    """Mean non-zero digits of a tensor's elements, zeros included.

    Attributes:
        ones: of the magnitude in binary.
        csd: in canonic signed digits.
        booth: in radix-4 Booth digits.
    """

    ones: float
    csd: float
    booth: float


def mean_digits(quantized: Quantized) -> Digits:
    """Mean non-zero digits of the elements of a tensor, as it is stored; 0 for a tensor without elements."""
    stored, number_format = quantized.stored, quantized.format
    width = number_format.bits
    if stored.codes.size == 0:
        return Digits(0.0, 0.0, 0.0)

    def tile(at: Tile) -> NDArray[np.int64]:
        codes = at.of(stored.codes)
        if width > _HALF:
            found: NDArray[np.int64] = nonzero_digits(number_format.significands(codes))
            return np.asarray(found.reshape(-1, 3).sum(axis=0))
        if stored.choices is not None:
            codes = codes + (part_of(stored.choices, at).astype(np.int64) << width)
        books = 1 if stored.choices is None else CODE_BOOKS
        counts = np.bincount(codes.ravel(), minlength=books << width)
        return np.asarray(counts @ _digits_of_codes(number_format, books))

    sums = np.sum(over_tiles(tile, tiles(stored.codes.shape, number_format.block)), axis=0)
    return Digits(*(sums / stored.codes.size).tolist())


def nonzero_digits(integers: NDArray[Any]) -> NDArray[np.int64]:
    """Non-zero digits of integers below 2^60, shape ``(…, 3)``: ones of the magnitude, canonic signed, Booth.

    The non-zero places of the canonic signed digits of x are where x and 3x differ, and radix-4 Booth digit i of x is zero
    where its bits 2i+1, 2i and 2i-1 agree.
    """
    values = integers.astype(np.int64)
    magnitudes = np.abs(values)
    # bit i is set where bits i and i - 1 of the value differ
    changes = values ^ (values << 1)
    pairs = (changes | changes >> 1) & 0x5555_5555_5555_5555
    return np.stack([_ones(magnitudes), _ones(magnitudes ^ (3 * magnitudes)), _ones(pairs)], axis=-1)


def _ones(values: NDArray[np.int64]) -> NDArray[np.int64]:
    patterns = values.astype(np.uint64)
    found = np.zeros(values.shape, np.int64)
    for shift in range(0, 64, _HALF):
        found += _ones_of_halves()[(patterns >> np.uint64(shift)) & np.uint64(0xFFFF)]
    return found


@lru_cache(maxsize=1)
def _ones_of_halves() -> NDArray[np.uint8]:
    halves = np.arange(1 << _HALF, dtype=np.uint16)
    ones: NDArray[np.uint8] = np.unpackbits(halves.view(np.uint8).reshape(-1, 2), axis=1).sum(axis=1, dtype=np.uint8)
    return ones


@lru_cache(maxsize=64)
def _digits_of_codes(number_format: NumberFormat, books: int) -> NDArray[np.int64]:
    """Non-zero digits of every pattern in each of the code books, ``(books * patterns, 3)``."""
    codes = np.arange(1 << number_format.bits, dtype=np.uint32)
    return np.concatenate([nonzero_digits(number_format.significands(codes, np.asarray(b))) for b in range(books)])
