"""Integers: ``int8``, ``uint4`` … of any width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.representation.formats.element import ElementFormat, stochastic

MAX_BITS = 128
_WIDEST_CODES = 32
_EXACT_IN_FLOAT32 = 22  # a float32 has 24 significant bits: room for the integer, its sign and the half


@dataclass(frozen=True)
class Integer(ElementFormat):
    """Whole numbers in two's complement, or unsigned.

    Attributes:
        width: bits.
        signed: whether there is a sign bit.
        symmetric: leaves the most negative number out, so that the range is ``-(2^(N-1)-1) … 2^(N-1)-1``. A scale that
            maps the largest magnitude to the end of the range never needs it, and using it after rounding biases
            gradients (Chen et al., arXiv:2510.25602). Codes are the same either way.
        point: bits behind the binary point: a pattern stands for its integer times ``2^-point``. Powers of two as scales
            expect numbers below 2, ``point = width - 2`` (OCP Microscaling formats 1.0, §5.3.4).
    """

    width: int
    signed: bool = True
    symmetric: bool = True
    point: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.width <= MAX_BITS:
            raise SpecError(f"an integer of {self.width} bits", hint=f"integers have 1 to {MAX_BITS} bits")

    @property
    def symbol(self) -> str:
        return f"{'' if self.signed else 'u'}int{self.width}"

    @property
    def bits(self) -> int:
        return self.width

    @property
    def exponent_bits(self) -> int:
        return 0

    @property
    def significand_bits(self) -> int:
        return self.width

    @property
    def fixed_point_bits(self) -> int:
        return self.width

    @property
    def largest(self) -> float:
        return ((1 << (self.width - self.signed)) - 1) / (1 << self.point)

    @property
    def lowest(self) -> float:
        if not self.signed:
            return 0.0
        return -self.largest if self.symmetric else -self.largest - self.smallest

    @property
    def smallest(self) -> float:
        return 1 / (1 << self.point)

    def working_type(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        if self.width > _WIDEST_CODES:
            raise UnsupportedError(
                f"{self.symbol} can be priced, but tensors are not rounded to it",
                hint=f"integers of up to {_WIDEST_CODES} bits can be",
            )
        return np.dtype(np.float64 if self.width > _EXACT_IN_FLOAT32 else dtype)

    def snap(self, values: NDArray[Any], rng: np.random.Generator | None = None) -> NDArray[Any]:
        steps = values * values.dtype.type(2**self.point) if self.point else values
        found = np.rint(steps) if rng is None else stochastic(steps, rng)
        if self.point:
            found *= values.dtype.type(self.smallest)
        np.clip(found, self.lowest, self.largest, out=found)
        return found

    def pack(self, snapped: NDArray[Any]) -> NDArray[Any]:
        steps = snapped * (1 << self.point) if self.point else snapped
        whole: NDArray[np.int64] = steps.astype(np.int64)
        whole &= (1 << self.width) - 1
        codes: NDArray[Any] = whole.astype(self.code_type)
        return codes

    def unpack(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        numbers: NDArray[np.float64] = self.significands(codes) / (1 << self.point)
        return numbers

    def significands(self, codes: NDArray[Any], choices: NDArray[Any] | None = None) -> NDArray[np.int64]:
        found: NDArray[np.int64] = codes.astype(np.int64)
        if self.signed:
            found -= (found >> (self.width - 1)) << self.width
        return found
