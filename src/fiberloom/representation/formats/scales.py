"""Formats that scales are stored in, and how a scale is rounded to them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.representation.formats.element import ElementFormat, stochastic
from fiberloom.representation.formats.minifloats import BF16, FP8_E4M3, FP16, FP32, Minifloat, Specials


@dataclass(frozen=True)
class PowerOfTwo(ElementFormat):
    """E8M0: ``2^(code-127)``, no sign, no zero, all ones is NaN (OCP Microscaling formats 1.0, §5.4.1)."""

    @property
    def symbol(self) -> str:
        return "e8m0"

    @property
    def bits(self) -> int:
        return 8

    @property
    def exponent_bits(self) -> int:
        return 8

    @property
    def significand_bits(self) -> int:
        return 1

    @property
    def fixed_point_bits(self) -> int:
        return 256

    @property
    def largest(self) -> float:
        return 2.0**127

    @property
    def smallest(self) -> float:
        return 2.0**-127

    @property
    def lowest(self) -> float:
        return self.smallest

    @property
    def keeps_zero(self) -> bool:
        return False

    def working_type(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return np.dtype(np.float64)

    def snap(self, values: NDArray[Any], rng: np.random.Generator | None = None) -> NDArray[Any]:
        fraction, exponent = np.frexp(np.clip(values, self.smallest, self.largest))
        # halfway between two powers the larger is taken: both are odd (IEEE 754-2019, §4.3.1)
        nearest_up = fraction >= 0.75
        up = nearest_up if rng is None else stochastic(2 * fraction - 1, rng) > 0
        found: NDArray[Any] = np.minimum(np.ldexp(0.5, exponent + up), self.largest)
        return found

    def pack(self, snapped: NDArray[Any]) -> NDArray[Any]:
        codes: NDArray[np.uint8] = (np.frexp(snapped)[1] + 126).astype(np.uint8)
        return codes

    def unpack(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        found = np.ldexp(1.0, codes.astype(np.int64) - 127)
        return np.where(codes == 255, np.nan, found)

    def significands(self, codes: NDArray[Any], choices: NDArray[Any] | None = None) -> NDArray[np.int64]:
        return np.ones(codes.shape, np.int64)


class Rule(StrEnum):
    """How a block's scale is rounded to its format."""

    FLOOR = "floor"
    """``2^(floor(log2 amax) - emax)``, emax the exponent of the element's largest number: the rule of OCP Microscaling
    formats 1.0, §6.3. A block's largest magnitudes may be cut off, by up to ``1 - largest/2^(emax+1)``."""
    NEAREST = "nearest"
    """The nearest scale to ``amax / largest``; the largest magnitude may be cut off by half a quantum of the scale."""
    CEIL = "ceil"
    """The next scale that is at least ``amax / largest``: nothing is cut off."""


E8M0 = PowerOfTwo()
UE5M3 = Minifloat(5, 3, specials=Specials.FN, signed=False, title="ue5m3")
"""Unsigned, largest 114,688: the range of e5m2's normal numbers with one more fraction bit (arXiv:2509.17791)."""

SCALE_FORMATS: dict[str, ElementFormat] = {
    "e8m0": E8M0,
    "e4m3": FP8_E4M3,
    "ue5m3": UE5M3,
    "fp16": FP16,
    "bf16": BF16,
    "fp32": FP32,
}
"""Formats of scales by name; ``uintN`` are scales as well."""


def scale_symbol(scale: ElementFormat) -> str:
    """How a scale's format is written inside a name."""
    return next((name for name, found in SCALE_FORMATS.items() if found == scale), scale.symbol)


def usual_rule(scale: ElementFormat) -> Rule:
    """The rule of a scale's bare name."""
    return Rule.FLOOR if scale == E8M0 else Rule.NEAREST


def least_scale(scale: ElementFormat) -> float:
    """The smallest scale that is stored: the smallest positive number, but 2^-6 of e4m3, where its subnormals end.

    So it is in torchao's functions for NVFP4.
    """
    if isinstance(scale, Minifloat) and scale != FP8_E4M3:
        return scale.smallest / (1 << scale.fraction)
    return scale.smallest


def rounded_scales(
    extents: NDArray[Any], largest: float, scale: ElementFormat, rule: Rule, coarse: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Scales that are stored for blocks, as numbers, none below `least_scale`.

    Args:
        extents: what the element's `largest` number has to reach in each block, usually its largest magnitude.
        coarse: scales of the scales, by which the ideal ones are divided first.
    """
    least = least_scale(scale)
    if rule is Rule.FLOOR:
        reach = (extents if coarse is None else extents / coarse.astype(extents.dtype)).astype(np.float64)
        powers = np.ldexp(1.0, np.frexp(reach)[1] - np.frexp(largest)[1])
        return np.clip(np.where(reach > 0, powers, 0.0), least, scale.largest)
    ideal = extents / extents.dtype.type(largest)
    if coarse is not None:
        ideal = ideal / coarse.astype(ideal.dtype)
    ideal = np.clip(ideal.astype(np.float64), least, scale.largest)
    found = scale.snap(ideal)
    if rule is Rule.CEIL:
        short = found < ideal
        found[short] = scale.decode(scale.pack(found[short]) + scale.code_type.type(1))
    np.clip(found, least, scale.largest, out=found)
    return found
