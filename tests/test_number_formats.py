"""Number formats: names, elements, digits, and what is no array of numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.representation.formats import (
    EXAMPLES,
    Integer,
    Minifloat,
    Specials,
    fidelity,
    mean_digits,
    nonzero_digits,
    number_format,
)
from format_examples import SIGNED, element_of, gaussian

# Names


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_format_is_found_again_by_its_own_name(name: str) -> None:
    assert number_format(number_format(name).name) == number_format(name)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("INT8", "int8"),
        ("fp4", "fp4-e2m1"),
        ("e2m1", "fp4-e2m1"),
        ("float8_e4m3fn", "fp8-e4m3"),
        ("float8_e4m3b11fnuz", "fp8-e4m3-fnuz-b11/unscaled"),
        ("bfloat16", "bf16"),
        ("mxfp4-e2m1", "mxfp4"),
        ("int4/e4m3/v16", "int4/v16/e4m3"),
        ("int4/v16/e4m3/tensor", "int4/v16/e4m3"),
        ("int8/channel/fp32", "int8"),
        ("fp4/v32/e8m0/ceil", "fp4-e2m1/v32/e8m0/ceil"),
        ("int8/channel/nearest", "int8"),
        ("mxfp4/floor", "mxfp4"),
        ("fp16/channel", "fp16/channel"),
        ("uint8/asymmetric", "int8/asymmetric"),
        ("hadamard(hadamard16(int4))", "hadamard(hadamard16(int4))"),
        ("bitmod-fp3/v64", "bitmod-fp3/v64"),
    ],
)
def test_names_may_be_written_in_several_ways(written: str, name: str) -> None:
    if name.endswith("/unscaled"):
        written += "/unscaled"
    assert number_format(written).name == name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mxpf4", "'mxfp4'"),
        ("int4/v16/e4m4", "'e4m3'"),
        ("int4/vv16", "'v16'"),
        ("fp8-e4m4", "'fp9-e4m4'"),
        ("int0", "1 to 128 bits"),
        ("int4/v0", "at least 1"),
        ("fp4/asymmetric", "only integers"),
        ("mxfp4/v16", "'fp4-e2m1/v32/e8m0'"),
        ("int8/channel/tensor", "v16"),
        ("int8/v16/v32", "exclude each other"),
        ("hadamard3(int4)", "power of two"),
        ("int4/v16/fp32/tensor", "leave 'tensor' out"),
        ("hadamard(int)", "'int8'"),
        ("bitmod-fp4/e4m3", "v64"),
        ("fp8-e0m7", "at least 1 exponent bit"),
        ("fp1000-e3m4", "unknown"),
    ],
)
def test_a_name_that_makes_no_sense_is_refused_with_what_would(name: str, hint: str) -> None:
    with pytest.raises(SpecError) as error:
        number_format(name)
    assert hint in str(error.value)


# Elements against exhaustive definitions


@pytest.mark.parametrize(
    ("name", "largest", "smallest_positive"),
    [
        ("fp8-e4m3", 448, 2**-9),  # OCP 8-bit floating point 1.0, table 1
        ("fp8-e5m2", 57344, 2**-16),
        ("fp6-e2m3", 7.5, 0.125),  # OCP Microscaling formats 1.0, tables 3 to 5
        ("fp6-e3m2", 28, 0.0625),
        ("fp4-e2m1", 6, 0.5),
        ("bf16", 3.3895314e38, 2.0**-133),
        ("fp16", 65504, 2.0**-24),
        ("ue5m3", 114688, 2.0**-17),
        ("int8", 127, 1),
    ],
)
def test_ends_of_the_formats_are_those_of_their_standards(name: str, largest: float, smallest_positive: float) -> None:
    element = element_of(name)
    finite = element.values[np.isfinite(element.values)]
    assert element.largest == pytest.approx(largest, rel=1e-6) == finite.max()
    assert finite[finite > 0].min() == smallest_positive


@settings(max_examples=60, deadline=None)
@given(
    exponent=st.integers(1, 5),
    fraction=st.integers(0, 6),
    bias=st.none() | st.integers(0, 20),
    specials=st.sampled_from(Specials),
    data=st.data(),
)
def test_any_minifloat_rounds_to_the_nearest_of_its_numbers_ties_to_even(
    exponent: int, fraction: int, bias: int | None, specials: Specials, data: st.DataObject
) -> None:
    if 2 ** (exponent + fraction) <= 2 ** max(fraction, 1):  # IEEE needs a finite exponent
        return
    element = Minifloat(exponent, fraction, bias, specials)
    codes = np.arange(2**element.bits, dtype=np.uint32)
    finite = np.isfinite(element.values)
    own = np.unique(element.values[finite])
    middles = (own[1:] + own[:-1]) / 2
    drawn = data.draw(st.lists(st.floats(own.min() * 1.5, own.max() * 1.5), min_size=1, max_size=20))
    for dtype in (np.float32, np.float64):
        values = np.concatenate([own, middles, drawn]).astype(dtype)
        found = element.snap(values.astype(element.working_type(values.dtype))).astype(np.float64)
        distance = np.abs(values.astype(np.float64)[:, None] - own)
        assert np.array_equal(np.abs(values - found), distance.min(axis=1))
        tied = (distance == distance.min(axis=1, keepdims=True)).sum(axis=1) == 2
        if fraction:  # without a fraction both are odd, and the larger is taken (IEEE 754-2019, §4.3.1)
            assert not (element.pack(found)[tied] & 1).any()
    # every number keeps its pattern, but for the zero that has two
    kept = element.pack(element.snap(element.values[finite]))
    assert np.array_equal(kept, codes[finite])


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8, 16, 24, 32])
@pytest.mark.parametrize("sign", ["int", "uint"])
def test_integers_hold_whole_numbers_up_to_their_ends(sign: str, bits: int) -> None:
    element = number_format(f"{sign}{bits}/unscaled")
    assert isinstance(element, Integer)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if sign == "int" else (0, 2**bits - 1)
    values = np.array([low, high, low / 2, high // 2, 0], np.float64)
    values = np.floor(values)
    quantized = element.quantize(values)
    assert np.array_equal(quantized.dequantize(), values)
    assert np.array_equal(quantized.codes, values.astype(np.int64) & (2**bits - 1))
    assert element.round(np.array([high + 10.0, low - 10.0])).tolist() == [high, low]


def test_a_scaled_integer_leaves_out_its_most_negative_number() -> None:
    rounded = number_format("int4/v4/e8m0").quantize(np.array([-1.99, -1.8, 1.99, 0.3]))
    assert rounded.codes.tolist() == [0b1001, 0b1001, 0b0111, 0b0001]  # -7, -7, 7, 1 quarters
    assert np.array_equal(rounded.dequantize(), [-1.75, -1.75, 1.75, 0.25])


def test_out_of_range_numbers_saturate_or_become_infinity_or_nan() -> None:
    beyond = np.array([1e30, -1e30], np.float32)
    e4m3, e5m2, e2m1 = (element_of(name) for name in ("fp8-e4m3", "fp8-e5m2", "fp4-e2m1"))
    assert e4m3.decode(e4m3.encode(beyond)).tolist() == [448, -448]
    assert np.isnan(e4m3.decode(e4m3.encode(beyond, saturate=False))).all()
    assert e5m2.decode(e5m2.encode(beyond, saturate=False)).tolist() == [math.inf, -math.inf]
    assert e2m1.decode(e2m1.encode(beyond, saturate=False)).tolist() == [6, -6]
    with pytest.raises(SpecError, match="NaN has no pattern"):
        e2m1.encode(np.array([math.nan]))


def test_formats_beyond_float64_are_priced_but_not_rounded_to() -> None:
    for wide in ("int64", "e15m80", "e11m10"):
        assert number_format(wide).bits >= 22
        with pytest.raises(UnsupportedError, match="priced"):
            number_format(wide).round(np.ones(3))


# Digits


def test_digits_are_counted_as_the_definitions_say() -> None:
    def signed_digits(x: int) -> int:
        count = 0
        while x:
            if x & 1:
                x -= 2 - x % 4
                count += 1
            x //= 2
        return count

    def booth(x: int) -> int:
        bits = [0] + [(x >> i) & 1 for i in range(14)]
        return sum(-2 * bits[i + 2] + bits[i + 1] + bits[i] != 0 for i in range(0, 14, 2))

    values = np.arange(-300, 301)
    counted = nonzero_digits(values)
    for value, (ones, csd, by_booth) in zip(values.tolist(), counted.tolist(), strict=True):
        assert (ones, csd, by_booth) == (abs(value).bit_count(), signed_digits(value), booth(value))


def test_digits_of_a_stored_tensor_are_those_of_its_significands() -> None:
    quantized = number_format("fp4/unscaled").quantize(np.array([0.0, 1.0, 1.5, -3.0, 6.0, 0.5]))
    digits = mean_digits(quantized)
    assert digits.ones == pytest.approx((0 + 1 + 2 + 2 + 2 + 1) / 6)  # 3 = 11, 6 = 1.1 · 2²
    assert digits.csd == pytest.approx((0 + 1 + 2 + 2 + 2 + 1) / 6)
    special = number_format("bitmod-fp4/v4").quantize(np.array([[-5.0, 6.0, 4.0, 0.0]]))
    assert mean_digits(special).ones == pytest.approx((2 + 2 + 1 + 0) / 4)
    for name in SIGNED:
        found = mean_digits(number_format(name).quantize(gaussian(16, 256)))
        assert 0 < found.csd <= found.ones + 1e-9 and 0 < found.booth <= found.ones + number_format(name).bits


# Bad input


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (np.array([1.0, math.nan, math.inf]), "2 of 3 values are NaN or infinite, the first at [1]"),
        (np.array([1j, 2.0]), "no real numbers"),
        (np.array(["a"]), "no real numbers"),
        (np.array([2**60, 1]), "2^53"),
        (np.ma.masked_array([1.0, 2.0], [True, False]), "masked"),
        ([[1.0], [1.0, 2.0]], "no array"),
    ],
)
@pytest.mark.parametrize("name", ["int8", "mxfp4", "fp16", "bitmod-fp4", "hadamard(int4)"])
def test_what_is_no_array_of_finite_real_numbers_is_refused(array: Any, problem: str, name: str) -> None:
    for call in (number_format(name).round, number_format(name).quantize):
        with pytest.raises(SpecError) as error:
            call(array)
        assert problem in str(error.value)


def test_an_axis_that_the_array_does_not_have_is_refused() -> None:
    for axis in (2, -3):
        with pytest.raises(SpecError, match="has no axis"):
            number_format("mxfp4").round(np.zeros((2, 3)), axis)


@pytest.mark.parametrize(
    "name", ["int8", "int8/tensor", "int8/asymmetric", "nvfp4", "int4/v16/uint4", "hadamard(int8)", "ternary"]
)
@pytest.mark.parametrize("magnitude", [1e-40, 1e-30, 1e30, 3e38])
def test_magnitudes_near_the_ends_of_float32_are_no_worse(name: str, magnitude: float) -> None:
    array = np.clip(gaussian(4, 64) / 4, -1, 1).astype(np.float64)
    usual = fidelity(array, number_format(name).round(array)).relative_error
    extreme = (array * magnitude).astype(np.float32)
    with np.errstate(all="raise", under="ignore"):
        found = fidelity(extreme, number_format(name).round(extreme)).relative_error
    assert found < 1.05 * usual + (0.01 if magnitude < 1e-37 else 1e-5)
