"""Scales of number formats: their rules, their storage, choices of groups, rotations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberloom.errors import SpecError
from fiberloom.representation.formats import (
    BitMod,
    Scaled,
    fidelity,
    number_format,
)
from format_examples import gaussian

# Scales


def test_the_floor_rule_of_powers_of_two_is_that_of_the_standard() -> None:
    # largest magnitude 7 of fp4 with emax 2: 2^(2 - 2) = 1, and 7 is cut off at 6; the ceiling takes 2
    block = np.array([7.0, 0.5, -3.0, 0.25])
    floor, ceil = (number_format(f"fp4/v4/e8m0/{rule}").quantize(block) for rule in ("floor", "ceil"))
    assert floor.scales is not None and ceil.scales is not None
    assert (floor.scales.tolist(), ceil.scales.tolist()) == ([127], [128])
    assert floor.dequantize().tolist() == [6, 0.5, -3, 0]  # 0.25 is halfway to 0, which is even
    assert ceil.dequantize().tolist() == [8, 0, -3, 0]


@settings(max_examples=60, deadline=None)
@given(
    element=st.sampled_from(["int4", "int8", "fp4", "fp6-e3m2", "fp8"]),
    scale=st.sampled_from(["e8m0", "ue5m3", "fp32", "fp16", "bf16", "e4m3", "uint8"]),
    seed=st.integers(0, 99),
)
def test_scales_rounded_up_cut_nothing_off(element: str, scale: str, seed: int) -> None:
    array = gaussian(4, 64, seed=seed)
    found = number_format(f"{element}/v16/{scale}/ceil")
    assert isinstance(found, Scaled)
    quantized = found.quantize(array)
    scales = np.repeat(np.abs(array).reshape(4, 4, 16).max(axis=-1), 16, axis=-1) / found.element.largest
    steps = {"int4": 1, "int8": 1, "fp4": 2, "fp6-e3m2": 4, "fp8": 32}[element]
    stored = np.abs(found.round(array)).reshape(4, 4, 16).max(axis=-1) / found.element.largest
    assert quantized.scales is not None
    # what the largest magnitude of a block loses is rounding alone: at most half a step of the stored scale
    coarsest = {"e8m0": 2.0, "uint8": 300.0}.get(scale, 1.13)
    loss = np.abs(np.abs(array).reshape(4, 4, 16).max(axis=-1) - stored * found.element.largest)
    assert (loss <= 0.5 * steps * coarsest * scales[:, ::16] * 1.0001).all()


def test_the_floor_rule_cuts_maxima_off_and_the_ceiling_does_not() -> None:
    array = np.abs(gaussian(4096, 32))
    largest = array.max(axis=1)
    loss = {rule: 1 - number_format(f"mxfp4/{rule}").round(array).max(axis=1) / largest for rule in ("floor", "ceil")}
    # 2^(e+3) stands for numbers below 2^(e+3): 6/8 is left in the worst case
    assert 0.22 < loss["floor"].max() <= 0.25
    assert 0.15 < loss["ceil"].max() <= 0.2  # rounding alone: 5 is halfway between 4 and 6 and becomes 4


def test_every_scale_is_counted_and_a_partial_block_has_its_own() -> None:
    assert number_format("mxfp4").bits_per_element == 4.25
    assert number_format("nvfp4").bits_per_element == 4.5
    assert number_format("bitmod-fp4").bits_per_element == pytest.approx(4 + (8 + 2) / 128)
    assert number_format("int8/v32/asymmetric").bits_per_element == pytest.approx(8 + (32 + 8) / 32)
    assert number_format("hadamard(mxfp4)").storage_bits((7, 40)) == number_format("mxfp4").storage_bits((7, 40))
    for name, scales in [
        ("fp16", 0), ("int8", 7 * 32), ("int8/tensor", 32), ("int8/unscaled", 0), ("mxfp4", 7 * 2 * 8),
        ("nvfp4", 7 * 3 * 8 + 32), ("int4/v16/uint4/channel", 7 * 3 * 4 + 7 * 32), ("int8/asymmetric", 7 * (32 + 8)),
        ("bitmod-fp4/v16", 7 * 3 * 10 + 7 * 32),
    ]:  # fmt: skip
        found = number_format(name)
        assert found.storage_bits((7, 40)) == 7 * 40 * found.bits + scales, name
        quantized = found.quantize(gaussian(7, 40))
        assert quantized.bits == found.storage_bits((7, 40))
        stored = sum(
            0 if part is None else part.size * bits
            for part, bits in [
                (quantized.stored.codes, found.bits),
                (quantized.stored.coarse, 32),
                (quantized.stored.choices, 2),
                (quantized.stored.zero_points, found.bits),
            ]
        )
        scale_bits = {"bitmod-fp4/v16": 8, "int4/v16/uint4/channel": 4, "mxfp4": 8, "nvfp4": 8}.get(name, 32)
        stored += 0 if quantized.stored.scales is None else quantized.stored.scales.size * scale_bits
        assert stored == quantized.bits, name


def test_two_level_scales_are_small_integers_below_a_float_for_each_row() -> None:
    quantized = number_format("int4/v16/uint4/channel").quantize(gaussian(8, 64))
    assert quantized.scales is not None and quantized.stored.coarse is not None
    assert quantized.scales.shape == (8, 4) and quantized.scales.max(axis=1).tolist() == [15] * 8
    assert quantized.stored.coarse.shape == (8, 1)
    finer = fidelity(gaussian(8, 64), number_format("int4/v16").round(gaussian(8, 64))).qsnr_db
    assert finer - 1 < fidelity(gaussian(8, 64), quantized.dequantize()).qsnr_db < finer + 0.1


def test_scales_of_e4m3_need_a_tensor_scale_and_those_of_ue5m3_do_not() -> None:
    small = 1e-4 * gaussian(64, 64)
    with_coarse, alone, wide = (
        fidelity(small, number_format(f"fp4/v16/{scale}").round(small)).qsnr_db
        for scale in ("e4m3", "e4m3/single", "ue5m3")
    )
    assert alone < 1  # scales of 1e-4 lie below e4m3
    assert with_coarse > 20 and wide > 18  # among ue5m3's subnormals


def test_zero_points_use_all_codes_between_the_smallest_and_the_largest_value() -> None:
    skewed = np.abs(gaussian(64, 64)) - 0.5
    symmetric, asymmetric = (
        fidelity(skewed, number_format(f"int4{w}").round(skewed)).qsnr_db for w in ("", "/asymmetric")
    )
    assert asymmetric > symmetric + 3
    quantized = number_format("int4/asymmetric").quantize(skewed)
    assert quantized.codes.min() == 0 and quantized.codes.max() == 15
    positive = number_format("int8/asymmetric").quantize(np.array([1.0, 2.0]))
    assert positive.stored.zero_points is not None and positive.stored.zero_points.item() == 0  # the range includes 0


def test_unsigned_integers_refuse_negative_numbers() -> None:
    assert number_format("uint8").round(np.array([0.0, 1.0, 255.0])).tolist() == [0, 1, 255]
    with pytest.raises(SpecError, match=r"2 of 3 values are") as error:
        number_format("uint8").round(np.array([-1.0, 2.0, -3.0]))
    assert "int8/asymmetric" in str(error.value)


def test_ternary_and_binary_scales_are_mean_magnitudes() -> None:
    row = np.array([[0.5, -1.5, 0.1, 1.9]])
    assert np.allclose(number_format("ternary").round(row), [[0, -1, 0, 1]])  # the mean is 1, and 0.5 a tie: to even
    assert np.allclose(number_format("binary").round(row), [[1, -1, 1, 1]])
    uneven = np.array([[1.0, -1.0], [3.0, 0.0]])  # one scale for the tensor is the mean over all three, not a row's
    assert np.allclose(number_format("binary/tensor").round(uneven), np.array([[1, -1], [1, 1]]) * 5 / 3)
    assert np.allclose(number_format("ternary/tensor").round(uneven), np.array([[1, -1], [1, 0]]) * 5 / 3)
    # XNOR-Net's scale is optimal: no other magnitude leaves less
    array = gaussian(1, 1000)
    best = fidelity(array, number_format("binary").round(array)).relative_error
    for factor in (0.9, 1.1):
        assert fidelity(array, factor * number_format("binary").round(array)).relative_error > best


# Choice among code books


def test_a_group_takes_the_number_that_leaves_least_error() -> None:
    found = number_format("bitmod-fp4/v4")
    quantized = found.quantize(np.array([[8.0, 1.0, 2.0, 3.0], [-5.0, 6.0, 4.0, 0.0], [-8.0, 6.0, -4.0, 1.0]]))
    assert quantized.choices is not None
    assert quantized.choices[:, 0].tolist() == [2, 1, 3]  # 8, -5, -8
    assert quantized.codes[0, 0] == quantized.codes[1, 0] == quantized.codes[2, 0] == 0b1000
    assert found.bits_per_element == 4 + 10 / 4


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), base=st.sampled_from(["bitmod-fp3", "bitmod-fp4"]))
def test_no_choice_of_a_group_would_have_left_less(seed: int, base: str) -> None:
    found = number_format(f"{base}/v16")
    assert isinstance(found, BitMod)
    array = gaussian(1, 16, seed=seed).astype(np.float64)
    left = float(np.square(array - found.round(array)).sum())
    for special in found.specials:
        book = np.append(np.unique(found.element.values), special)
        top, bottom = max(found.element.largest, special), max(found.element.largest, -special)
        ideal = max(array.max() / top, -array.min() / bottom)
        coarse = np.float32(np.abs(array).max() / found.element.largest / 255)
        scale = np.rint(ideal / coarse) * coarse
        assert left <= np.square(array[0][:, None] - scale * book).min(axis=1).sum() * 1.000001


def test_choosing_beats_the_format_without_a_choice() -> None:
    array = gaussian(256, 1024)
    for base, plain in (("bitmod-fp3", "fp3-e2m0/v128/uint8/channel"), ("bitmod-fp4", "fp4/v128/uint8/channel")):
        chosen, without = (fidelity(array, number_format(name).round(array)).qsnr_db for name in (base, plain))
        assert chosen > without + 0.3


# Rotation


@pytest.mark.parametrize("length", [1, 2, 31, 64, 100, 129])
def test_a_rotation_is_orthonormal_and_its_own_inverse_whatever_the_length(length: int) -> None:
    from fiberloom.representation.formats.hadamard import rotated

    rows = gaussian(5, length).astype(np.float64)
    other = gaussian(5, length, seed=1).astype(np.float64)
    assert np.allclose(rotated(rotated(rows, 32), 32), rows, atol=1e-12)
    assert np.allclose((rotated(rows, 32) * rotated(other, 32)).sum(axis=1), (rows * other).sum(axis=1))


def test_a_rotation_spreads_outliers() -> None:
    array = gaussian(256, 512)
    array[:, ::64] *= 30
    plain, rotated = (fidelity(array, number_format(name).round(array)) for name in ("nvint4", "hadamard64(nvint4)"))
    assert plain.qsnr_db > 0 and rotated.max_error < plain.max_error
    spread = fidelity(array[:, 1:64], number_format("hadamard64(int4)").round(array)[:, 1:64]).relative_error
    assert spread < fidelity(array[:, 1:64], number_format("int4").round(array)[:, 1:64]).relative_error
