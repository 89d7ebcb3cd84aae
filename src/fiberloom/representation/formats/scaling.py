"""How scales are laid out over a tensor and stored, and what scales a tensor gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.representation.array import rows_and_length
from fiberloom.representation.formats._base import COARSE_SCALE_BITS
from fiberloom.representation.formats._tiles import Tile, part_of
from fiberloom.representation.formats.element import ElementFormat
from fiberloom.representation.formats.integers import Integer
from fiberloom.representation.formats.minifloats import FP8_E4M3, FP32
from fiberloom.representation.formats.scales import Rule, rounded_scales, scale_symbol, usual_rule

_SAFE = 2.0**100


class Per(StrEnum):
    """What has one scale."""

    TENSOR = "tensor"
    CHANNEL = "channel"
    """A row: all elements along the axis, others fixed. For weights ``(out, in)`` that is an output channel."""


_SPOKEN = {Per.TENSOR: "the tensor", Per.CHANNEL: "each row"}


def usual_coarse(scale: ElementFormat) -> Per | None:
    """What has a scale of scales where the name does not say: the tensor, for scales of little range."""
    return Per.TENSOR if scale == FP8_E4M3 or isinstance(scale, Integer) else None


@dataclass(frozen=True)
class Scaling:
    """How scales are laid out and stored.

    Attributes:
        per: elements of a block, or what else has one scale.
        scale: their format.
        coarse: what has a float32 scale of scales; None: nothing.
        rule: how a scale is rounded to its format; None: as `usual_rule`.
    """

    per: int | Per
    scale: ElementFormat = FP32
    coarse: Per | None = None
    rule: Rule | None = None

    def __post_init__(self) -> None:
        if isinstance(self.per, int) and self.per < 1:
            raise SpecError(f"a scale for {self.per} elements", hint="blocks have at least 1")
        if self.coarse is not None and not isinstance(self.per, int):
            raise SpecError("a coarse scale stands above scales of blocks", hint="such as v16: 16 elements")
        if self.coarse is not None and self.scale.exponent_bits >= FP32.exponent_bits:
            problem = f"{scale_symbol(self.scale)} has float32's range: scales in it need none above"
            raise SpecError(problem, hint=f"leave '{self.coarse.value}' out")

    @property
    def block(self) -> int | None:
        """Elements of a block; None where no scale is finer than a row."""
        return self.per if isinstance(self.per, int) else None

    @property
    def rounding(self) -> Rule:
        """How a scale is rounded to its format."""
        return self.rule or usual_rule(self.scale)

    @property
    def rowwise(self) -> bool:
        """Whether no scale spans rows."""
        return Per.TENSOR not in (self.per, self.coarse)

    def describe(self) -> str:
        """A few words, such as ``e4m3 for 16, fp32 for the tensor``."""
        what = str(self.per) if isinstance(self.per, int) else _SPOKEN[self.per]
        rule = "" if self.rounding is Rule.NEAREST else f" ({self.rounding.value})"
        coarse = "" if self.coarse is None else f", fp32 for {_SPOKEN[self.coarse]}"
        return f"{scale_symbol(self.scale)} for {what}{rule}{coarse}"

    def storage_bits(self, shape: Sequence[int], axis: int, extra: int = 0) -> int:
        """Bits of all scales of a tensor, and of `extra` bits beside each."""
        rows, length = rows_and_length(shape, axis)
        if rows * length == 0:
            return 0
        blocks = rows if self.block is None else rows * -(-length // self.block)
        blocks = 1 if self.per is Per.TENSOR else blocks
        coarse = {None: 0, Per.TENSOR: 1, Per.CHANNEL: rows}[self.coarse]
        return blocks * (self.scale.bits + extra) + coarse * COARSE_SCALE_BITS

    def fit_coarse(self, extents: NDArray[Any], largest: float) -> NDArray[np.float32] | None:
        """The scales of scales, ``(rows, 1)`` or ``(1, 1)``, that give the largest scale its format's largest number.

        Args:
            extents: largest magnitudes of blocks, ``(rows, blocks)``, float32 or float64.
            largest: number of the element that they reach.
        """
        if self.coarse is None:
            return None
        axis = None if self.coarse is Per.TENSOR else 1
        top = extents.max(axis=axis, keepdims=True, initial=0)
        coarse: NDArray[np.float32] = (top.astype(np.float64) / (largest * self.scale.largest)).astype(np.float32)
        coarse[coarse == 0] = 1
        return coarse

    def fit(self, extents: NDArray[Any], largest: float, coarse: NDArray[np.float32] | None = None) -> Scales:
        """The scales with which blocks whose values reach `extents` reach the number `largest`.

        Args:
            extents: ``(rows, blocks)``, float32 or float64.
            coarse: scales of scales; None: as `fit_coarse`.
        """
        if self.per is Per.TENSOR:
            extents = extents.max(axis=None, initial=0).reshape(1, 1).astype(extents.dtype)
        if coarse is None:
            coarse = self.fit_coarse(extents, largest)
        numbers = rounded_scales(extents, largest, self.scale, self.rounding, coarse)
        return Scales(self.scale.pack(numbers), coarse, numbers, extents == 0)


@dataclass(frozen=True)
class Scales:
    """Scales of blocks, stored and in use.

    Attributes:
        codes: bit patterns, ``(rows, blocks)`` or ``(1, 1)``.
        coarse: scales of scales, ``(rows, 1)`` or ``(1, 1)``, or None.
        numbers: what the patterns stand for.
        idle: blocks of zeros, whose scale does not matter.
    """

    codes: NDArray[Any]
    coarse: NDArray[np.float32] | None
    numbers: NDArray[np.float64]
    idle: NDArray[np.bool_]

    def divider(self, dtype: np.dtype[Any], element: ElementFormat) -> Callable[[NDArray[Any], Tile], NDArray[Any]]:
        """A function that divides values of a tile, ``(rows, blocks, elements)``, by their scales.

        It works in a type in which neither quotients nor the rounding to `element` leave the range. With scales of
        scales it multiplies by one reciprocal for both, as kernels do.

        Args:
            dtype: of the values.
        """
        with np.errstate(over="ignore", under="ignore"):
            used = np.where(self.idle, 1.0, totals(self.numbers, self.coarse, np.dtype(np.float64)))
        far = used.size > 0 and not 1 / _SAFE < used.min() <= used.max() < _SAFE
        working = element.working_type(np.dtype(np.float64) if far else dtype)
        divisors = np.where(self.idle, 1.0, self.numbers).astype(working)
        if self.coarse is None:
            return lambda values, at: values / part_of(divisors, at)
        factors = (1 / self.coarse.astype(working)) / divisors
        return lambda values, at: values * part_of(factors, at)


def totals(numbers: NDArray[Any], coarse: NDArray[np.float32] | None, dtype: np.dtype[Any]) -> NDArray[Any]:
    """By what elements are multiplied, ``(rows, blocks)`` or ``(1, 1)``."""
    found = numbers.astype(dtype)
    return found if coarse is None else found * coarse.astype(dtype)
