"""Multipliers, adders and multiply–accumulate units by number format.

All curves pass exactly through the published anchors of both nodes. An integer multiplier follows the product of its
operand widths, an integer adder its width. A float multiplier is a multiplier of the significands, an adder of the
exponents, and alignment and rounding that follow the significand; a float adder follows the significand. The rule is
fitted on 16- and 32-bit IEEE formats only and foretells the published bf16 figures at 7 nm (multiply 0.21 pJ, add
0.11 pJ) within 3 %, which is the reason to trust it below 16 bits at all; there it stays an extrapolation.

Scales of blocks are charged where they act: once for each block a product of two scales, the scaling of the block's sum
and its addition in fp32. Scales of rows and tensors act once for each result and are not charged.
"""

from __future__ import annotations

import math
from itertools import pairwise

from fiberloom.architecture.components._base import (
    GATED_SHARE,
    LOGIC_LEAKAGE_NW_PER_UM2,
    Estimate,
    PowerLaw,
    attribute_location,
    count_attribute,
    leakage_pj_per_cycle,
)
from fiberloom.architecture.components.technology import Technology
from fiberloom.architecture.components.technology import technology as find_technology
from fiberloom.architecture.levels import Component
from fiberloom.errors import Location, SpecError
from fiberloom.representation.formats import NumberFormat, number_format

# source: Horowitz, ISSCC 2014, 45 nm, 0.9 V, pJ. trust: high (quoted everywhere); the paper calls them rough.
_HOROWITZ_PJ = {
    "int8 add": 0.03,
    "int32 add": 0.1,
    "fp16 add": 0.4,
    "fp32 add": 0.9,
    "int8 multiply": 0.2,
    "int32 multiply": 3.1,
    "fp16 multiply": 1.1,
    "fp32 multiply": 3.7,
}
# source: Jouppi et al., ISCA 2021, table 2, 7 nm, pJ. trust: good: int8, int32 and fp32 confirmed in a second
# place, fp16 recalled.
_JOUPPI_PJ = {
    "int8 add": 0.007,
    "int32 add": 0.03,
    "fp16 add": 0.16,
    "fp32 add": 0.38,
    "int8 multiply": 0.07,
    "int32 multiply": 1.48,
    "fp16 multiply": 0.34,
    "fp32 multiply": 1.31,
}
# source: areas given beside the same energies in Horowitz' table, um2 at 45 nm. trust: good, often quoted.
_HOROWITZ_UM2 = {
    "int8 add": 36.0,
    "int32 add": 137.0,
    "fp16 add": 1360.0,
    "fp32 add": 4184.0,
    "int8 multiply": 282.0,
    "int32 multiply": 3495.0,
    "fp16 multiply": 1640.0,
    "fp32 multiply": 7700.0,
}
_FP16, _FP32, _EXPONENT = number_format("fp16"), number_format("fp32"), number_format("int8")
_WIDEST = 128  # bits of an integer that has a name
_ANCHORED = ("int8", "int32", "fp16", "fp32")


class Arithmetic:
    """Curves of one table (energies of a node, or areas), fitted through its eight anchors."""

    def __init__(self, anchors: dict[str, float]) -> None:
        self._integer_add = PowerLaw.through((8, anchors["int8 add"]), (32, anchors["int32 add"]))
        self._integer_multiply = PowerLaw.through((64, anchors["int8 multiply"]), (1024, anchors["int32 multiply"]))
        half, single = _FP16.significand_bits, _FP32.significand_bits
        self._float_add = PowerLaw.through((half, anchors["fp16 add"]), (single, anchors["fp32 add"]))
        half_rest, single_rest = (
            anchors[f"{fmt.name} multiply"]
            - self._integer_multiply(fmt.significand_bits**2)
            - self._integer_add(fmt.exponent_bits)
            for fmt in (_FP16, _FP32)
        )
        self._normalise = PowerLaw.through((half, half_rest), (single, single_rest))

    def add(self, fmt: NumberFormat) -> float:
        """One addition (or subtraction, or comparison)."""
        return self._float_add(fmt.significand_bits) if fmt.is_float else self._integer_add(fmt.bits)

    def multiply(self, a: NumberFormat, b: NumberFormat) -> float:
        """One multiplication; an integer beside a float counts as a significand without exponent."""
        product = a.significand_bits * b.significand_bits
        cost = self._integer_multiply(product)
        if a.is_float or b.is_float:
            cost += self._integer_add(max(a.exponent_bits, b.exponent_bits)) + self._normalise(math.sqrt(product))
        return cost


AT_45NM = Arithmetic(_HOROWITZ_PJ)
AT_7NM = Arithmetic(_JOUPPI_PJ)
AREA_45NM = Arithmetic(_HOROWITZ_UM2)


def adder_energy(fmt: str | NumberFormat, technology: str) -> float:
    """pJ of one addition in a format, as in spatial reduction trees.

    Raises:
        SpecError: for an unknown format or technology.
    """
    parsed = number_format(fmt)
    return find_technology(technology).energy(AT_45NM.add(parsed), AT_7NM.add(parsed))


def adder_area(fmt: str | NumberFormat, technology: str) -> float:
    """um2 of one adder. Raises `SpecError` as `adder_energy` does."""
    return AREA_45NM.add(number_format(fmt)) * find_technology(technology).logic_area_factor


def multiplier_energy(a: str | NumberFormat, b: str | NumberFormat, technology: str) -> float:
    """pJ of one multiplication; the operands may differ in format. Raises `SpecError` as `adder_energy` does."""
    left, right = number_format(a), number_format(b)
    return find_technology(technology).energy(AT_45NM.multiply(left, right), AT_7NM.multiply(left, right))


def accumulator_format(a: NumberFormat, b: NumberFormat, bits: int | None) -> NumberFormat:
    """Format of the accumulator: of `bits` bits, or what is customary.

    Integers: product width and 16 guard bits, room for 65,536 additions (int8 gives the usual 32); in blocks with scales
    of their own, room for one block. Floats whose products fit 32 bits of fixed point (fp4, fp6, also beside int8) are
    summed exactly so, as integers; other floats in fp32, and those wider than it in fp64.
    """
    product = a.fixed_point_bits + b.fixed_point_bits
    if not (a.is_float or b.is_float):
        return number_format(f"int{bits if bits is not None else min(product + _guard_bits(a, b), _WIDEST)}")
    if bits is None:
        if product <= _FP32.bits:
            return number_format(f"int{product + _guard_bits(a, b)}")
        return _FP32 if max(a.bits, b.bits) <= _FP32.bits else number_format("fp64")
    exponent = max(a.exponent_bits, b.exponent_bits, 5 if bits <= 16 else 8 if bits <= 32 else 11)
    if bits < exponent + 2:
        raise SpecError(f"an accumulator of {bits} bits has no room for {exponent} exponent bits")
    return number_format(f"e{exponent}m{bits - exponent - 1}")


def _guard_bits(a: NumberFormat, b: NumberFormat) -> int:
    """Bits that a sum of products needs beyond one product."""
    blocks = [fmt.block for fmt in (a, b) if fmt.block is not None]
    return math.ceil(math.log2(min(blocks))) if blocks else 16


def block_scaling(table: Arithmetic, a: NumberFormat, b: NumberFormat, accumulator: NumberFormat) -> float:
    """What scales of blocks cost for each multiplication; 0 without any.

    Once in as many products as the smaller block has elements, the two scales are multiplied (powers of two: added), the
    block's sum is multiplied by them (shifted by the addition of an exponent) and added to the sum of blocks in fp32. Of
    area, one such unit serves the multipliers of a block.
    """
    scales = [fmt.block_scale for fmt in (a, b) if fmt.block_scale is not None]
    if not scales:
        return 0.0
    cost = table.add(_FP32)
    factors = [accumulator, *scales]  # the sum of a block, and its one or two scales
    for left, right in pairwise(factors):
        powers_of_two = 1 in (left.significand_bits, right.significand_bits)
        cost += table.add(_EXPONENT) if powers_of_two else table.multiply(left, right)
    return cost / min(fmt.block for fmt in (a, b) if fmt.block is not None)


def estimate_mac(component: Component, tech: Technology, cycle_seconds: float) -> Estimate:
    """A multiplier and the adder that accumulates into it; operand registers and control are not included.

    Attributes read: ``number_format`` (int of ``word_bits`` when absent), ``multiplier_format_a`` and ``…_b`` for mixed
    precision, ``accumulator_bits``.

    Raises:
        SpecError: for an unknown format, or an accumulator that is too narrow.
    """
    attributes = component.attributes
    formats = []
    for name in ("multiplier_format_a", "multiplier_format_b"):
        key = name if name in attributes else "number_format"
        if key in attributes:
            formats.append(number_format(attributes[key], where=attribute_location(component, key)))
        else:
            where = Location(field=f"{component.name}.word_bits")
            formats.append(number_format(f"int{component.word_bits}", where=where))
    a, b = formats
    bits = count_attribute(component, "accumulator_bits") if "accumulator_bits" in attributes else None
    try:
        accumulator = accumulator_format(a, b, bits)
    except SpecError as error:
        raise SpecError(error.problem, where=Location(field=f"{component.name}.attributes.accumulator_bits")) from None
    compute = tech.energy(AT_45NM.multiply(a, b), AT_7NM.multiply(a, b))
    compute += tech.energy(AT_45NM.add(accumulator), AT_7NM.add(accumulator))
    area_45nm = AREA_45NM.multiply(a, b) + AREA_45NM.add(accumulator)
    if a.block_scaled or b.block_scaled:
        compute += tech.energy(block_scaling(AT_45NM, a, b, accumulator), block_scaling(AT_7NM, a, b, accumulator))
        area_45nm += block_scaling(AREA_45NM, a, b, accumulator)
    leakage_nw = area_45nm * LOGIC_LEAKAGE_NW_PER_UM2 * tech.leakage_factor
    energy = {
        "compute": compute,
        "gated_compute": GATED_SHARE * compute,
        "skipped_compute": 0.0,
        "leak": leakage_pj_per_cycle(leakage_nw, cycle_seconds),
    }
    operands = a.name if a == b else f"{a.name} x {b.name}"
    anchored = all(f.name in _ANCHORED for f in (a, b))
    notes = ["on anchors" if anchored else "interpolated or extrapolated from int8/int32/fp16/fp32"]
    if not any(k in attributes for k in ("number_format", "multiplier_format_a", "multiplier_format_b")):
        notes.append("no number_format given: integers of word_bits")
    if a.block_scaled or b.block_scaled:
        notes.append(f"scales once in {min(fmt.block for fmt in (a, b) if fmt.block is not None)} products")
    sources = "Horowitz ISSCC'14 (45 nm), Jouppi ISCA'21 (7 nm)"
    provenance = f"MAC {operands} into {accumulator.name}: {sources}, {'; '.join([*notes, tech.note])}"
    return Estimate(energy, area_45nm * tech.logic_area_factor, provenance)
