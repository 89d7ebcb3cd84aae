"""What every number format answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.representation.array import as_rows, checked_values, from_rows, rows_and_length

_SMALL, _LARGE = 2.0**-60, 2.0**100
COARSE_SCALE_BITS = 32
"""A coarse scale, one for a tensor or a row, is a float32 number."""


class NumberFormat(ABC):
    """How the values of a tensor are stored: elements of some bits and, in most formats, scales that several share.

    Scales belong to blocks along one axis of the tensor, the one that a matrix product sums over. `quantize` gives the
    stored bit patterns, `round` the numbers that they stand for.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The name that `number_format` reads."""

    @property
    @abstractmethod
    def bits(self) -> int:
        """Bits of one stored element, scales aside."""

    @property
    @abstractmethod
    def exponent_bits(self) -> int:
        """Exponent bits of an element; 0 for integers."""

    @property
    @abstractmethod
    def significand_bits(self) -> int:
        """Width of a multiplier's input: hidden bit included for floats, all bits for integers."""

    @property
    @abstractmethod
    def fixed_point_bits(self) -> int:
        """Bits of the narrowest integer, unsigned for unsigned formats, whose steps hold every number of the element."""

    @property
    def is_float(self) -> bool:
        """Whether elements have an exponent."""
        return self.exponent_bits > 0

    @property
    def block(self) -> int | None:
        """Elements that share a scale within a row; None where no scale is finer than a row."""
        return None

    @property
    def block_scale(self) -> NumberFormat | None:
        """Format of the scales of blocks; None where no scale is finer than a row."""
        return None

    @property
    def block_scaled(self) -> bool:
        """Whether scales change within a row, so that hardware applies them to partial sums."""
        return self.block is not None

    @property
    def rowwise(self) -> bool:
        """Whether rows (all else than the axis fixed) are stored independently of each other."""
        return True

    @property
    def keeps_zero(self) -> bool:
        """Whether zero is stored as zero."""
        return True

    @property
    def bits_per_element(self) -> float:
        """Bits of an element and its share of what blocks store; scales of whole rows or tensors are not counted."""
        return float(self.bits)

    def describe_scales(self) -> str:
        """A few words about what is stored beside the elements."""
        return "none"

    def storage_bits(self, shape: Sequence[int], axis: int = -1) -> int:
        """Bits of a tensor of `shape`, every scale counted; a last partial block has a scale of its own."""
        rows, length = rows_and_length(shape, axis)
        return rows * length * self.bits

    @abstractmethod
    def round_rows(self, rows: NDArray[Any], rng: np.random.Generator | None) -> NDArray[Any]:
        """`round` for checked values of shape ``(rows, length)``, float32 or float64; blocks run along the rows."""

    @abstractmethod
    def quantize_rows(self, rows: NDArray[Any], rng: np.random.Generator | None) -> Stored:
        """`quantize` for checked values of shape ``(rows, length)``."""

    @abstractmethod
    def dequantize_rows(self, stored: Stored, dtype: np.dtype[Any]) -> NDArray[Any]:
        """The numbers of shape ``(rows, length)`` that `stored` stands for, as float32 or float64."""

    @abstractmethod
    def significands(self, codes: NDArray[Any], choices: NDArray[Any] | None = None) -> NDArray[np.int64]:
        """The integers that a multiplier goes through digit by digit: significands of floats, with sign and hidden bit.

        Args:
            codes: bit patterns of elements.
            choices: which code book each uses, broadcast against `codes`; for formats with several.
        """

    def round(self, array: Any, axis: int = -1, rng: np.random.Generator | None = None) -> NDArray[Any]:
        """The numbers that are left of `array` once it is stored in this format.

        Args:
            array: real numbers of any shape, never modified.
            axis: along which blocks run.
            rng: rounds stochastically, up with the probability of the distance; None rounds to nearest, ties to even.

        Returns:
            Of the shape of `array` and its floating type, within its range; float32 or float64 for integers.

        Raises:
            SpecError: for values that are not finite real numbers, or that the format can't hold at all (a negative
                number in an unsigned format), and for an axis that the array does not have.
        """
        values, dtype = values_and_type(array)
        rows = roomy(as_rows(values, axis))
        return from_rows(given_back(self.round_rows(rows, rng), dtype), values.shape, axis)

    def quantize(self, array: Any, axis: int = -1, rng: np.random.Generator | None = None) -> Quantized:
        """The bit patterns that store `array`. Arguments and errors as `round`."""
        values, dtype = values_and_type(array)
        rows = roomy(as_rows(values, axis))
        return Quantized(self, self.quantize_rows(rows, rng), values.shape, axis, dtype, rows.dtype)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Stored:
    """Bit patterns of a tensor seen as ``(rows, length)``.

    Attributes:
        codes: of the elements, unsigned, ``(rows, length)``.
        scales: bit patterns of the scales, ``(rows, blocks)``, or ``(1, 1)`` of one scale for the tensor; None: no scales.
        coarse: float32 scales of the scales, ``(rows, 1)`` or ``(1, 1)``.
        zero_points: the code that stands for 0, ``(rows, blocks)`` or ``(1, 1)``.
        choices: which code book a block uses, ``(rows, blocks)``.
    """

    codes: NDArray[Any]
    scales: NDArray[Any] | None = None
    coarse: NDArray[np.float32] | None = None
    zero_points: NDArray[Any] | None = None
    choices: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Quantized:
    """A tensor as bit patterns.

    Attributes:
        format: how to read them.
        stored: the patterns, with `axis` last.
        shape: of the tensor.
        axis: along which blocks run.
        dtype: of the original, if that was a floating type; else float32 or float64.
        working: float32 or float64, in which `dequantize` computes.
    """

    format: NumberFormat
    stored: Stored
    shape: tuple[int, ...]
    axis: int
    dtype: np.dtype[Any]
    working: np.dtype[Any]

    @property
    def codes(self) -> NDArray[Any]:
        """Unsigned bit patterns of the elements, of the tensor's shape."""
        return from_rows(self.stored.codes, self.shape, self.axis)

    @property
    def scales(self) -> NDArray[Any] | None:
        """Bit patterns of the scales, of the tensor's shape with as many entries along `axis` as there are blocks.

        None without scales; of shape ``(1, 1)`` where the tensor has a single one.
        """
        return self._along_axis(self.stored.scales)

    @property
    def choices(self) -> NDArray[Any] | None:
        """Which code book each block uses, laid out as `scales`; None for formats of one."""
        return self._along_axis(self.stored.choices)

    @property
    def bits(self) -> int:
        """Bits of all that is stored."""
        return self.format.storage_bits(self.shape, self.axis)

    def dequantize(self) -> NDArray[Any]:
        """The numbers that the patterns stand for, of the tensor's shape; equal to what the format's `round` gives."""
        rows = self.format.dequantize_rows(self.stored, self.working)
        return from_rows(given_back(rows, self.dtype), self.shape, self.axis)

    def _along_axis(self, patterns: NDArray[Any] | None) -> NDArray[Any] | None:
        if patterns is None or patterns.shape[0] != self.stored.codes.shape[0]:
            return patterns
        shape = list(self.shape)
        shape[self.axis] = patterns.shape[1]
        return from_rows(patterns, tuple(shape), self.axis)


def values_and_type(array: Any) -> tuple[NDArray[Any], np.dtype[Any]]:
    """`array` as `checked_values` gives it, or without elements, and the type in which results are given back.

    Raises:
        SpecError: for what is not an array of finite real numbers.
    """
    own = getattr(array, "dtype", None)
    if isinstance(array, np.ndarray) and array.size == 0 and array.dtype.kind in "biufV":
        values = array.astype(np.float64 if array.dtype.itemsize > 2 and array.dtype != np.float32 else np.float32)
    else:
        values = checked_values(array)
    keeps = isinstance(own, np.dtype) and (own == np.float16 or own.name == "bfloat16")
    return values, own if keeps and own is not None else values.dtype


def roomy(rows: NDArray[Any]) -> NDArray[Any]:
    """`rows` in float64 where sums or scales of its numbers might leave float32's range; else themselves."""
    if rows.dtype != np.float32 or rows.size == 0:
        return rows
    largest = max(float(rows.max()), -float(rows.min()))
    return rows if _SMALL < largest < _LARGE or largest == 0 else rows.astype(np.float64)


def given_back(rows: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """`rows` as `dtype`; what rounding took beyond the type's largest number becomes that number."""
    if rows.dtype == dtype:
        return rows
    if dtype.itemsize < rows.dtype.itemsize and dtype.kind == "f":
        largest = rows.dtype.type(np.finfo(dtype).max)
        rows = np.clip(rows, -largest, largest)
    return rows.astype(dtype)
