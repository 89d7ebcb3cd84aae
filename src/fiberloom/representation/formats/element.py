"""Element formats: a number alone, without any scale."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.representation.formats._base import NumberFormat, Stored
from fiberloom.representation.formats._tiles import Tile, over_tiles, tiles

_WIDEST_TABLE = 16
_NARROW = 8


class ElementFormat(NumberFormat):
    """A set of numbers with a bit pattern each. As a format of tensors it is a cast: values are taken as they are.

    Subclasses say what is special in `snap`, `pack` and `unpack`; the rest follows.
    """

    @property
    @abstractmethod
    def symbol(self) -> str:
        """How the element is written inside a name, such as ``int8`` in ``int8/v16/e4m3``."""

    @property
    @abstractmethod
    def largest(self) -> float:
        """Largest number of the format."""

    @property
    @abstractmethod
    def smallest(self) -> float:
        """Smallest positive number that has the format's full precision."""

    @property
    def lowest(self) -> float:
        """Most negative number of the format; 0 for unsigned ones."""
        return -self.largest

    @property
    def usually_scaled(self) -> bool:
        """Whether the bare name means the element with scales: true for integers and for 8 bits and fewer."""
        return not self.is_float or self.bits <= _NARROW

    @property
    def scale_is_mean(self) -> bool:
        """Whether a shared scale is the mean magnitude, not the one that lets the largest number reach the largest."""
        return False

    @property
    def name(self) -> str:
        return f"{self.symbol}/unscaled" if self.usually_scaled else self.symbol

    @abstractmethod
    def working_type(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """float32 or float64, in which values of `dtype` are rounded without a second rounding.

        Raises:
            UnsupportedError: for formats wider than float64 can check.
        """

    @abstractmethod
    def snap(self, values: NDArray[Any], rng: np.random.Generator | None = None) -> NDArray[Any]:
        """The nearest numbers of the format, those out of range at its ends.

        Args:
            values: finite, of a `working_type`; not modified.
            rng: rounds stochastically; None: to nearest, ties to even.
        """

    @abstractmethod
    def pack(self, snapped: NDArray[Any]) -> NDArray[Any]:
        """Bit patterns, in the narrowest unsigned type that holds them, of numbers that are the format's own."""

    @abstractmethod
    def unpack(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """Numbers of bit patterns."""

    @cached_property
    def code_type(self) -> np.dtype[Any]:
        """Narrowest unsigned type that holds a bit pattern."""
        return np.min_scalar_type(2**self.bits - 1)

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """Number of every bit pattern, for formats of up to 16 bits.

        Raises:
            SpecError: for wider formats.
        """
        if self.bits > _WIDEST_TABLE:
            raise SpecError(f"{self.symbol} has 2^{self.bits} numbers: too many to list")
        return self.unpack(np.arange(2**self.bits, dtype=np.uint32))

    def decode(self, codes: NDArray[Any], dtype: Any = np.float64) -> NDArray[Any]:
        """Numbers of bit patterns, as `dtype`."""
        if self.bits > _WIDEST_TABLE:
            return self.unpack(codes).astype(dtype)
        table = self._float32_values if np.dtype(dtype) == np.float32 else self.values
        found: NDArray[Any] = table[codes]
        return found.astype(dtype, copy=False)

    def encode(self, values: NDArray[Any], *, saturate: bool = True) -> NDArray[Any]:
        """Bit patterns of the nearest numbers, ties to even; the plain cast, for arrays of float32 or float64.

        Args:
            saturate: numbers out of range become the format's ends; otherwise infinity or NaN, where it has them.

        Raises:
            SpecError: for NaN or infinity in a format that has no pattern for it.
        """
        del saturate  # only floats have anything but their ends
        if not np.isfinite(values).all():
            raise SpecError(f"NaN or infinity has no pattern in {self.symbol}")
        return self.pack(self.snap(values.astype(self.working_type(values.dtype))))

    def round_rows(self, rows: NDArray[Any], rng: np.random.Generator | None) -> NDArray[Any]:
        found = np.empty_like(rows, order="C")
        working = self.working_type(rows.dtype)

        def tile(at: Tile) -> None:
            found[at.rows, at.columns] = self.snap(rows[at.rows, at.columns].astype(working), rng)

        over_tiles(tile, tiles(rows.shape), in_order=rng is not None)
        return found

    def quantize_rows(self, rows: NDArray[Any], rng: np.random.Generator | None) -> Stored:
        codes = np.empty(rows.shape, self.code_type)
        working = self.working_type(rows.dtype)

        def tile(at: Tile) -> None:
            codes[at.rows, at.columns] = self.pack(self.snap(rows[at.rows, at.columns].astype(working), rng))

        over_tiles(tile, tiles(rows.shape), in_order=rng is not None)
        return Stored(codes)

    def dequantize_rows(self, stored: Stored, dtype: np.dtype[Any]) -> NDArray[Any]:
        found = np.empty(stored.codes.shape, dtype)

        def tile(at: Tile) -> None:
            found[at.rows, at.columns] = self.decode(stored.codes[at.rows, at.columns], dtype)

        over_tiles(tile, tiles(stored.codes.shape))
        return found

    @cached_property
    def _float32_values(self) -> NDArray[np.float32]:
        with np.errstate(invalid="ignore"):  # NaN among the patterns
            return self.values.astype(np.float32)


def stochastic(steps: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Whole numbers: `steps` rounded up with the probability of their distance; whole ones stay."""
    down = np.floor(steps)
    whole: NDArray[Any] = down + (rng.random(steps.shape, steps.dtype) < steps - down)
    return whole
