"""Arithmetic, MACs and bit-serial multipliers: published anchors, number formats, accumulators, scales."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from component_costs import FORMATS, NODES, cost, mac
from fiberloom.architecture.components import (
    COMPUTE_ACTIONS,
    adder_area,
    adder_energy,
    bit_serial_area,
    bit_serial_energy,
    multiplier_energy,
    number_format,
)
from fiberloom.architecture.components.bit_serial import PUBLISHED_DIGITS
from fiberloom.architecture.components.mac import AREA_45NM, AT_45NM, accumulator_format, block_scaling
from fiberloom.architecture.levels import Compute
from fiberloom.errors import SpecError
from fiberloom.representation.formats import EXAMPLES, nonzero_digits


@pytest.mark.parametrize(
    ("operation", "at_45nm", "at_7nm"),
    [
        # Horowitz, ISSCC 2014; Jouppi et al., ISCA 2021, table 2
        ("int8 add", 0.03, 0.007),
        ("int32 add", 0.1, 0.03),
        ("fp16 add", 0.4, 0.16),
        ("fp32 add", 0.9, 0.38),
        ("int8 multiply", 0.2, 0.07),
        ("int32 multiply", 3.1, 1.48),
        ("fp16 multiply", 1.1, 0.34),
        ("fp32 multiply", 3.7, 1.31),
    ],
)
def test_arithmetic_meets_the_published_energies_at_both_nodes(operation: str, at_45nm: float, at_7nm: float) -> None:
    fmt, action = operation.split()
    for node, published in (("45nm", at_45nm), ("7nm", at_7nm)):
        ours = adder_energy(fmt, node) if action == "add" else multiplier_energy(fmt, fmt, node)
        assert ours == pytest.approx(published, rel=1e-9)


def test_bf16_which_no_curve_was_fitted_to_comes_out_as_published_at_7nm() -> None:
    assert multiplier_energy("bf16", "bf16", "7nm") == pytest.approx(0.21, rel=0.03)  # Jouppi et al., table 2
    assert adder_energy("bf16", "7nm") == pytest.approx(0.11, rel=0.03)


@pytest.mark.parametrize(
    ("fmt", "add_um2", "multiply_um2"),
    [("int8", 36, 282), ("int32", 137, 3495), ("fp16", 1360, 1640), ("fp32", 4184, 7700)],
)
def test_arithmetic_meets_the_published_areas_at_45nm(fmt: str, add_um2: float, multiply_um2: float) -> None:
    bits = number_format(fmt).bits
    assert adder_area(fmt, "45nm") == pytest.approx(add_um2)
    unit = cost(mac(number_format=fmt, accumulator_bits=bits))
    assert unit.area_um2 == pytest.approx(add_um2 + multiply_um2)


def test_the_65nm_node_follows_stillmaker_and_baas() -> None:
    # energy factors 3.755 V² - 4.398 V + 1.975 at 1.0 V over 1.018 V² - 0.3107 V + 0.1539 at 0.9 V; area 1.5
    assert adder_energy("int8", "65nm") / adder_energy("int8", "45nm") == pytest.approx(1.332 / 0.69885, rel=1e-4)
    assert adder_area("int8", "65nm") / adder_area("int8", "45nm") == pytest.approx(1.5)


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_newer_node_never_costs_more_arithmetic(fmt: str) -> None:
    units = [cost(mac(number_format=fmt), node) for node in NODES]
    for older, newer in itertools.pairwise(units):
        assert newer.area_um2 <= older.area_um2
        assert all(newer.energy_pj[action] <= older.energy_pj[action] for action in COMPUTE_ACTIONS)


@settings(max_examples=100, deadline=None)
@given(
    node=st.sampled_from(NODES),
    exponent=st.integers(1, 11),
    fraction=st.integers(0, 52),
    more=st.integers(0, 52),
    bits=st.integers(1, 64),
)
def test_wider_numbers_never_cost_less(node: str, exponent: int, fraction: int, more: int, bits: int) -> None:
    narrow, wide = f"e{exponent}m{fraction}", f"e{exponent}m{fraction + more}"
    assert multiplier_energy(wide, wide, node) >= multiplier_energy(narrow, narrow, node) > 0
    assert multiplier_energy(wide, narrow, node) >= multiplier_energy(narrow, narrow, node)
    assert adder_energy(wide, node) >= adder_energy(narrow, node) > 0
    assert multiplier_energy(f"int{bits + 1}", f"int{bits}", node) > multiplier_energy(f"int{bits}", f"int{bits}", node)
    assert adder_energy(f"int{bits + 1}", node) > adder_energy(f"int{bits}", node)


def test_an_int8_mac_adds_into_32_bits() -> None:
    unit = cost(mac(number_format="int8"))
    assert unit.energy_pj["compute"] == pytest.approx(0.2 + 0.1)
    assert unit.area_um2 == pytest.approx(282 + 137)
    assert set(unit.energy_pj) == set(COMPUTE_ACTIONS)


def test_an_fp16_mac_adds_into_fp32_unless_told_otherwise() -> None:
    assert cost(mac(number_format="fp16")).energy_pj["compute"] == pytest.approx(1.1 + 0.9)
    assert cost(mac(number_format="fp16", accumulator_bits=16)).energy_pj["compute"] == pytest.approx(1.1 + 0.4)


def test_without_a_format_the_mac_takes_integers_of_its_word() -> None:
    assert cost(Compute(name="mac", word_bits=8)).energy_pj == cost(mac(number_format="int8")).energy_pj
    assert "no number_format given" in cost(Compute(name="mac", word_bits=8)).provenance


def test_mixed_precision_lies_between_the_two_pure_multipliers() -> None:
    mixed = cost(mac(multiplier_format_a="int4", multiplier_format_b="int8", accumulator_bits=32)).energy_pj["compute"]
    low = cost(mac(number_format="int4", accumulator_bits=32)).energy_pj["compute"]
    high = cost(mac(number_format="int8", accumulator_bits=32)).energy_pj["compute"]
    assert low < mixed < high


def test_an_integer_beside_a_float_is_multiplied_as_a_significand() -> None:
    assert multiplier_energy("int4", "fp16", "45nm") < multiplier_energy("fp16", "fp16", "45nm")
    assert multiplier_energy("int4", "fp16", "45nm") == multiplier_energy("fp16", "int4", "45nm")


def test_gated_compute_costs_the_clock_and_skipped_compute_nothing() -> None:
    energy = cost(mac(number_format="int8")).energy_pj
    assert energy["gated_compute"] == pytest.approx(0.03 * energy["compute"])
    assert energy["skipped_compute"] == 0
    assert 0 < energy["leak"] < 0.1 * energy["compute"]


def test_scales_of_blocks_are_charged_once_in_a_block() -> None:
    once_in_32, once_in_16 = (block_scaling_of(f"fp4/v{block}/e8m0") for block in (32, 16))
    assert once_in_16 == pytest.approx(2 * once_in_32)
    assert "scales once in 32 products" in cost(mac(number_format="mxfp4")).provenance
    mixed = cost(mac(multiplier_format_a="mxint8", multiplier_format_b="nvfp4"))
    assert "mxint8 x nvfp4" in mixed.provenance and "scales once in 16 products" in mixed.provenance


def test_powers_of_two_are_cheaper_scales_than_floats() -> None:
    powers, floats, one_operand = (
        block_scaling_of(name, other)
        for name, other in [("int4/v16/e8m0",) * 2, ("int4/v16/e4m3",) * 2, ("int4/v16/e4m3", "int8")]
    )
    assert powers < one_operand < floats


def block_scaling_of(a: str, b: str | None = None) -> float:
    left, right = number_format(a), number_format(b or a)
    return block_scaling(AT_45NM, left, right, accumulator_format(left, right, None))


def test_scales_of_rows_and_tensors_are_not_charged() -> None:
    for free in ("int8/channel", "int8/tensor", "int8/unscaled", "int8/asymmetric"):
        assert cost(mac(number_format=free)).energy_pj == cost(mac(number_format="int8")).energy_pj


@pytest.mark.parametrize(
    ("a", "b", "accumulator"),
    [
        ("int8", "int8", "int32"),  # as customary
        ("fp4", "fp4", "int26"),  # products are multiples of 1/4 up to 36: 5 + 5 bits, and 16
        ("int8", "fp4", "int29"),
        ("mxint8", "mxint8", "int21"),  # a block of 32: 5 guard bits
        ("fp8", "fp8", "fp32"),  # 19 + 19 bits of fixed point are too many
        ("bf16", "int8", "fp32"),
        ("ternary", "int8", "int26"),
        ("bitmod-fp4", "fp16", "fp32"),
        ("hadamard(nvint4)", "hadamard(nvint4)", "int12"),
    ],
)
def test_products_of_few_bits_are_summed_exactly_in_fixed_point(a: str, b: str, accumulator: str) -> None:
    unit = cost(mac(multiplier_format_a=a, multiplier_format_b=b))
    assert f" into {accumulator}:" in unit.provenance
    assert unit.energy_pj["compute"] > 0 and unit.area_um2 > 0


def test_every_format_of_the_registry_has_a_price() -> None:
    prices = {name: cost(mac(number_format=name)) for name in EXAMPLES}
    assert all(math.isfinite(p.energy_pj["compute"]) and p.energy_pj["compute"] > 0 for p in prices.values())
    rising = ("binary", "int4", "mxfp4", "mxint8", "mxfp8-e4m3", "fp16", "fp32")
    energies = [cost(mac(number_format=name)).energy_pj["compute"] for name in rising]
    assert energies == sorted(energies)


def test_a_serial_multiplication_costs_an_addition_for_each_non_zero_digit() -> None:
    two, four = (bit_serial_energy("int8", "int8", digits, "45nm") for digits in (2, 4))
    assert four == pytest.approx(2 * two) == pytest.approx(4 * adder_energy("int16", "45nm"))
    assert bit_serial_energy("int8", "int8", 0, "45nm") == 0
    with_exponents = bit_serial_energy("fp4", "fp16", 1, "7nm")
    assert with_exponents == pytest.approx(adder_energy("int13", "7nm") + adder_energy("int5", "7nm"))
    assert bit_serial_area("int8", "int8", "45nm") < AREA_45NM.multiply(number_format("int8"), number_format("int8"))


@pytest.mark.parametrize("digits", [-1, math.nan, math.inf])
def test_a_count_of_digits_is_a_number_from_0(digits: float) -> None:
    with pytest.raises(SpecError, match="non-zero digits"):
        bit_serial_energy("int8", "int8", digits, "45nm")


def test_normal_int8_values_have_as_many_signed_digits_as_a_published_encoder_counts() -> None:
    normal = np.random.default_rng(0).normal(size=200_000)
    for deviation, (lowest, highest) in PUBLISHED_DIGITS.items():
        values = np.clip(np.rint(deviation * normal), -128, 127).astype(int)
        csd = nonzero_digits(values).mean(axis=0)[1]
        # its digits -1 … 2 are not the fewest there are, but nearly
        assert 0.95 * lowest < csd < highest


@pytest.mark.parametrize(
    ("name", "hint"),
    [("in8", "'int8'"), ("bf17", "'bf16'"), ("fp8-e4m4", "fp9-e4m4"), ("int0", "1 to 128"), ("float16e", "'float16'")],
)
def test_an_unknown_number_format_is_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(SpecError) as error:
        cost(mac(number_format=name))
    assert hint in str(error.value)
    assert "mac.attributes.number_format" in str(error.value)


def test_an_accumulator_needs_room_for_its_exponent() -> None:
    with pytest.raises(SpecError, match="no room"):
        cost(mac(number_format="bf16", accumulator_bits=8))
