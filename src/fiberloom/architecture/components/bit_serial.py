"""Multipliers that go through one operand digit by digit and skip its zeros, and published ones to compare with.

A product is the sum of the parallel operand, shifted, over the non-zero digits of the serial one, so time and energy follow
how many there are on average: `fiberloom.representation.formats.mean_digits` counts them in a tensor. What is priced is the
adder of the product's width, by the curve through the published integer adders; shifter, digit encoder and registers are
not (trust: a lower bound).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from fiberloom.architecture.components.mac import AREA_45NM, AT_7NM, AT_45NM, Arithmetic
from fiberloom.architecture.components.technology import technology as find_technology
from fiberloom.errors import SpecError
from fiberloom.representation.formats import NumberFormat, number_format


def bit_serial_energy(
    serial: str | NumberFormat, parallel: str | NumberFormat, digits: float, technology: str
) -> float:
    """pJ of one multiplication, before the accumulator.

    Args:
        serial: format of the operand that is gone through digit by digit.
        parallel: format of the other one.
        digits: mean non-zero digits of the serial operand, in whatever digits the hardware encodes.
        technology: a node.

    Raises:
        SpecError: for an unknown format or technology, or digits that are no number from 0.
    """
    if not (math.isfinite(digits) and digits >= 0):
        raise SpecError(f"{digits} non-zero digits", hint="a mean count from 0")
    a, b = number_format(serial), number_format(parallel)
    return find_technology(technology).energy(_serial(AT_45NM, a, b, digits), _serial(AT_7NM, a, b, digits))


def bit_serial_area(serial: str | NumberFormat, parallel: str | NumberFormat, technology: str) -> float:
    """um2 of one serial multiplier. Raises `SpecError` for an unknown format or technology."""
    a, b = number_format(serial), number_format(parallel)
    return _serial(AREA_45NM, a, b, 1.0) * find_technology(technology).logic_area_factor


def _serial(table: Arithmetic, a: NumberFormat, b: NumberFormat, digits: float) -> float:
    cost = digits * table.add(number_format(f"int{a.significand_bits + b.significand_bits}"))
    exponent = max(a.exponent_bits, b.exponent_bits)
    return cost + (table.add(number_format(f"int{exponent}")) if exponent else 0.0)


@dataclass(frozen=True)
class PublishedUnit:
    """A processing element as published.

    Attributes:
        name: what it multiplies.
        energy_pj: for one product; None where no energy is given.
        area_um2: of the element.
        products_per_cycle: that it completes on average.
        source: and what is known of the process.
    """

    name: str
    energy_pj: float | None
    area_um2: float
    products_per_cycle: float
    source: str


_BITMOD = (
    "BitMoD's simulator (Chen et al., HPCA 2025, arXiv:2411.11745), before its factor 1.5 for placement and routing"
)
_BIT_WEIGHT = "synthesis, 32 nm (SAED32, 0.85 V), released with arXiv:2503.06342 (HPCA 2025)"
PUBLISHED: Final = (
    PublishedUnit("fp16 x fp16, parallel", 0.77, 1968.7, 1, _BITMOD),
    # 0.56 pJ a cycle for four products, one cycle for two bits of a weight
    PublishedUnit("4-bit weight x fp16, serial", 0.56 * 2 / 4, 1507.7, 2, _BITMOD),
    PublishedUnit("6-bit weight x fp16, serial", 0.56 * 3 / 4, 1507.7, 4 / 3, _BITMOD),
    PublishedUnit("int8 x int8, parallel, 500 MHz", None, 1481, 1, _BIT_WEIGHT),
    PublishedUnit("int8 x int8, carry-save accumulation, 666 MHz", None, 1446, 1, _BIT_WEIGHT),
)
"""Published elements, to compare with; nothing is fitted to them."""

PUBLISHED_DIGITS: Final = {10: (1.71, 1.75), 20: (2.05, 2.10), 30: (2.27, 2.32), 40: (2.45, 2.48), 50: (2.57, 2.60)}
"""Mean partial products of int8 values from a normal distribution, by its standard deviation, as counted by the encoder of
arXiv:2503.06342 in vectors of 32 and of 128 (released with the article)."""
