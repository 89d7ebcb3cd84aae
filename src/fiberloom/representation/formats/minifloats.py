"""Floating-point elements of any exponent and fraction width: ``fp8-e4m3``, ``fp4-e2m1``, ``bf16`` …

A pattern is sign, exponent field E, fraction field F of m bits. It stands for ``2^(E-bias) (1 + F/2^m)``, and for
``2^(1-bias) F/2^m`` where E is 0 (IEEE 754-2019, §3.4). What the topmost patterns mean is the policy `Specials`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.representation.formats.element import ElementFormat, stochastic

MAX_BITS = 128


class Specials(StrEnum):
    """Patterns that are not finite numbers."""

    IEEE = "ieee"
    """The highest exponent holds infinities (fraction 0) and NaN."""
    FN = "fn"
    """No infinities; all ones is NaN (OCP 8-bit floating point 1.0, e4m3)."""
    FNUZ = "fnuz"
    """No infinities and no negative zero, whose pattern is the only NaN (arXiv:2206.02915)."""
    FINITE = "finite"
    """Every pattern is a number (OCP Microscaling formats 1.0, fp6 and fp4)."""


@dataclass(frozen=True)
class Minifloat(ElementFormat):
    """A binary floating-point format.

    Attributes:
        exponent: bits of the exponent field.
        fraction: bits of the fraction field.
        bias: subtracted from the exponent field; None: ``2^(exponent-1) - 1``, one more for fnuz.
        specials: what the topmost patterns mean; None: as `usual_specials`.
        signed: whether there is a sign bit.
        title: customary name where it is not made of the fields, such as ``bf16``.
    """

    exponent: int
    fraction: int
    bias: int | None = None
    specials: Specials | None = None
    signed: bool = True
    title: str | None = None

    def __post_init__(self) -> None:
        if self.exponent < 1 or self.fraction < 0 or self.bits > MAX_BITS:
            raise SpecError(
                f"a float of {self.exponent} exponent and {self.fraction} fraction bits",
                hint=f"floats have at least 1 exponent bit, and up to {MAX_BITS} bits in all",
            )

    @property
    def symbol(self) -> str:
        if self.title is not None:
            return self.title
        fields = f"e{self.exponent}m{self.fraction}"
        name = f"fp{self.bits}-{fields}" if self.signed else f"u{fields}"
        if self.policy is not usual_specials(self.exponent, self.fraction):
            name += f"-{self.policy.value}"
        return name if self.bias in (None, _usual_bias(self.exponent, self.policy)) else f"{name}-b{self.bias}"

    @property
    def bits(self) -> int:
        return self.exponent + self.fraction + self.signed

    @property
    def exponent_bits(self) -> int:
        return self.exponent

    @property
    def significand_bits(self) -> int:
        return self.fraction + 1

    @property
    def fixed_point_bits(self) -> int:
        return self.largest_exponent - self.lowest_exponent + self.fraction + 2

    @property
    def policy(self) -> Specials:
        """What the topmost patterns mean."""
        return self.specials or usual_specials(self.exponent, self.fraction)

    @cached_property
    def offset(self) -> int:
        """What is subtracted from the exponent field."""
        return self.bias if self.bias is not None else _usual_bias(self.exponent, self.policy)

    @cached_property
    def lowest_exponent(self) -> int:
        """Exponent of the smallest normal number."""
        return 1 - self.offset

    @cached_property
    def largest_code(self) -> int:
        """Bit pattern of the largest number."""
        top = (1 << (self.exponent + self.fraction)) - 1
        match self.policy:
            case Specials.IEEE:
                return top - (1 << self.fraction)
            case Specials.FN:
                return top - 1
            case _:
                return top

    @cached_property
    def largest_exponent(self) -> int:
        """Exponent of the largest number."""
        return max(self.largest_code >> self.fraction, 1) - self.offset

    @cached_property
    def largest(self) -> float:
        if self.exponent > 11:
            return math.inf  # beyond float64; such formats are only priced
        field, quanta = divmod(self.largest_code, 1 << self.fraction)
        return math.ldexp(quanta + ((1 << self.fraction) if field else 0), self.largest_exponent - self.fraction)

    @property
    def lowest(self) -> float:
        return -self.largest if self.signed else 0.0

    @property
    def smallest(self) -> float:
        return math.ldexp(1.0, self.lowest_exponent)

    def working_type(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        # A float32 serves where adding and taking away 2^(exponent + 23 - fraction) neither overflows nor underflows.
        fits = self.fraction <= 21 and self.largest_exponent + 24 - self.fraction <= 127
        if fits and self.lowest_exponent - self.fraction >= -126 and dtype == np.float32:
            return np.dtype(np.float32)
        if not self._as_float64 and (self.exponent > 10 or self.fraction > 50):
            raise UnsupportedError(
                f"{self.symbol} can be priced, but tensors are not rounded to it",
                hint="floats of up to 10 exponent and 50 fraction bits, and fp64, can be",
            )
        return np.dtype(np.float64)

    def snap(self, values: NDArray[Any], rng: np.random.Generator | None = None) -> NDArray[Any]:
        if self._as_float64:
            return values
        found: NDArray[Any]
        own = _FIELDS[values.dtype]
        found = np.clip(values, self.lowest, self.largest)
        # 2^e of each number, at least that of the smallest normal one
        scale = found.view(own.pattern) & own.exponent_mask
        np.maximum(scale, (own.bias + self.lowest_exponent) << own.fraction, out=scale)
        if rng is None:
            # 1.5 · 2^(e + own fraction - fraction): its last place is the quantum, so adding it rounds to nearest even
            scale += ((own.fraction - self.fraction) << own.fraction) | (1 << (own.fraction - 1))
            shift = scale.view(values.dtype)
            found += shift
            found -= shift
        else:
            scale -= self.fraction << own.fraction
            quantum = scale.view(values.dtype)
            found = np.clip(stochastic(found / quantum, rng) * quantum, self.lowest, self.largest)
        if self.signed and self.policy is not Specials.FNUZ:
            np.copysign(found, values, out=found)
        return found

    def pack(self, snapped: NDArray[Any]) -> NDArray[Any]:
        if self.bits <= 8:
            # the upper half of a float32 holds all of a number of up to 8 significant bits
            upper = snapped.astype(np.float32, copy=False).view(np.uint32) >> 16
            codes: NDArray[np.uint8] = self._codes_by_upper_half[upper]
            return codes
        return self._pack(snapped)

    def _pack(self, snapped: NDArray[Any]) -> NDArray[Any]:
        if self._wider is not None:
            upper = snapped.astype(self._wider.number).view(self._wider.code) >> (self._wider.fraction - self.fraction)
            return upper.astype(self.code_type)
        magnitude = np.abs(snapped).astype(np.float64)
        exponent = np.where(magnitude == 0, self.lowest_exponent, np.frexp(magnitude)[1] - 1)
        exponent = np.maximum(exponent, self.lowest_exponent)
        quanta = np.ldexp(magnitude, self.fraction - exponent).astype(np.int64)
        # a normal number's quanta hold the hidden bit, which adds the one that its exponent field has more
        codes = ((exponent - self.lowest_exponent).astype(np.int64) << self.fraction) + quanta
        codes = codes.astype(np.uint64)
        if self.signed:
            codes |= (np.signbit(snapped) & ~self._is_lone_zero(snapped)).astype(np.uint64) << np.uint64(self.bits - 1)
        narrow: NDArray[Any] = codes.astype(self.code_type)
        return narrow

    def _is_lone_zero(self, snapped: NDArray[Any]) -> NDArray[np.bool_]:
        """Where a negative zero becomes the only zero there is."""
        return (snapped == 0) if self.policy is Specials.FNUZ else np.zeros(snapped.shape, bool)

    def unpack(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        if self._wider is not None:
            bits = codes.astype(self._wider.code) << (self._wider.fraction - self.fraction)
            with np.errstate(invalid="ignore"):  # signalling NaN among the patterns
                return bits.view(self._wider.number).astype(np.float64)
        codes = codes.astype(np.int64)
        magnitude = codes & ((1 << (self.exponent + self.fraction)) - 1)
        field, fraction = magnitude >> self.fraction, magnitude & ((1 << self.fraction) - 1)
        quanta = np.abs(self.significands(codes)).astype(np.float64)
        found: NDArray[np.float64] = np.ldexp(quanta, np.maximum(field, 1) - self.offset - self.fraction)
        match self.policy:
            case Specials.IEEE:
                top = field == 2**self.exponent - 1
                found[top] = np.where(fraction[top] == 0, np.inf, np.nan)
            case Specials.FN:
                found[magnitude > self.largest_code] = np.nan
            case _:
                pass
        if self.signed:
            negative = (codes >> (self.bits - 1)) & 1 == 1
            found = np.where(negative, -found, found)
            if self.policy is Specials.FNUZ:
                found[codes == 2 ** (self.bits - 1)] = np.nan
        return found

    def significands(self, codes: NDArray[Any], choices: NDArray[Any] | None = None) -> NDArray[np.int64]:
        codes = codes.astype(np.int64)
        normal = (codes >> self.fraction) & ((1 << self.exponent) - 1) > 0
        found: NDArray[np.int64] = (codes & ((1 << self.fraction) - 1)) + (normal.astype(np.int64) << self.fraction)
        return np.where((codes >> (self.bits - 1)) & 1 == 1, -found, found) if self.signed else found

    def encode(self, values: NDArray[Any], *, saturate: bool = True) -> NDArray[Any]:
        values = np.asarray(values)
        bad = np.isnan(values)
        beyond = np.abs(values) > self._overflow if not self._overflows_at else np.abs(values) >= self._overflow
        infinite = np.isinf(values)
        if (self.policy is Specials.FINITE) and bad.any():
            raise SpecError(f"NaN has no pattern in {self.symbol}", hint=f"{int(bad.sum()):,} values are NaN")
        working = self.working_type(values.dtype)
        codes = self.pack(self.snap(np.where(bad | infinite, 0, values).astype(working)))
        sign = np.where(np.signbit(values), 2 ** (self.bits - 1), 0).astype(self.code_type) if self.signed else 0
        if saturate:
            codes = np.where(infinite, self.largest_code | sign, codes)
        elif self.policy is Specials.IEEE:
            codes = np.where(beyond, (self.largest_code + 1) | sign, codes)
        elif self.policy is Specials.FINITE:
            codes = np.where(infinite, self.largest_code | sign, codes)
        else:
            codes = np.where(beyond, self._nan | (0 if self.policy is Specials.FNUZ else sign), codes)
        return np.where(bad, self._nan | (0 if self.policy is Specials.FNUZ else sign), codes).astype(self.code_type)

    @cached_property
    def _nan(self) -> int:
        """Pattern of the quiet NaN."""
        match self.policy:
            case Specials.IEEE:
                return self.largest_code + 1 + (2 ** (self.fraction - 1) if self.fraction else 0)
            case Specials.FNUZ:
                return 1 << (self.bits - 1)
            case _:
                return self.largest_code + 1

    @cached_property
    def _overflow(self) -> float:
        """Half a quantum above the largest number."""
        return self.largest + math.ldexp(0.5, self.largest_exponent - self.fraction)

    @cached_property
    def _overflows_at(self) -> bool:
        """Whether a tie at `_overflow` rounds up, because the largest number is odd."""
        return self.largest_code % 2 == 1

    @property
    def _as_float64(self) -> bool:
        return (self.exponent, self.fraction, self.policy, self.bias) == (11, 52, Specials.IEEE, None)

    @cached_property
    def _wider(self) -> _Wider | None:
        """float32 or float64, where this format is the upper part of its patterns."""
        return (
            None if (self.policy, self.bias) != (Specials.IEEE, None) or not self.signed else _WIDER.get(self.exponent)
        )

    @cached_property
    def _codes_by_upper_half(self) -> NDArray[np.uint8]:
        numbers = (np.arange(2**16, dtype=np.uint32) << 16).view(np.float32)
        own = np.abs(numbers) <= self.largest  # false for NaN
        return self._pack(np.where(own, numbers, 0)).astype(np.uint8)


@dataclass(frozen=True)
class _Fields:
    """Where the fields of the working type lie."""

    pattern: type[np.signedinteger[Any]]
    fraction: int
    bias: int
    exponent_mask: int


@dataclass(frozen=True)
class _Wider:
    """A type of NumPy's, that of its patterns, and its fraction bits."""

    number: type[np.floating[Any]]
    code: type[np.unsignedinteger[Any]]
    fraction: int


_WIDER = {
    5: _Wider(np.float16, np.uint16, 10),
    8: _Wider(np.float32, np.uint32, 23),
    11: _Wider(np.float64, np.uint64, 52),
}
_FIELDS = {
    np.dtype(np.float32): _Fields(np.int32, 23, 127, 0x7F800000),
    np.dtype(np.float64): _Fields(np.int64, 52, 1023, 0x7FF0000000000000),
}


def usual_specials(exponent: int, fraction: int) -> Specials:
    """The policy of a float's bare name.

    fp8-e4m3 has no infinities (OCP 8-bit floating point 1.0), floats of fewer than 8 bits have finite numbers only (OCP
    Microscaling formats 1.0), all others follow IEEE 754.
    """
    if (exponent, fraction) == (4, 3):
        return Specials.FN
    return Specials.FINITE if exponent + fraction < 7 else Specials.IEEE


def _usual_bias(exponent: int, specials: Specials) -> int:
    return (1 << (exponent - 1)) - (0 if specials is Specials.FNUZ else 1)


FP64 = Minifloat(11, 52, title="fp64")
FP32 = Minifloat(8, 23, title="fp32")
TF32 = Minifloat(8, 10, title="tf32")
BF16 = Minifloat(8, 7, title="bf16")
FP16 = Minifloat(5, 10, title="fp16")
FP8_E4M3 = Minifloat(4, 3)
FP8_E5M2 = Minifloat(5, 2)
FP6_E2M3 = Minifloat(2, 3)
FP6_E3M2 = Minifloat(3, 2)
FP4_E2M1 = Minifloat(2, 1)
