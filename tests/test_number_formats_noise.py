"""Noise of number formats: figures for Gaussian tensors, and what the crest factor foretells."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fiberloom.architecture.components.bit_serial import PUBLISHED_DIGITS
from fiberloom.errors import SpecError
from fiberloom.representation.formats import (
    ElementFormat,
    Integer,
    crest_factor,
    fidelity,
    nonzero_digits,
    number_format,
)
from fiberloom.representation.formats.crest import OVERSHOOT, crossover, foretold_qsnr_db
from fiberloom.representation.formats.minifloats import FP4_E2M1, FP6_E2M3, FP8_E4M3


def qsnr(name: str, array: NDArray[np.float32]) -> float:
    return fidelity(array, number_format(name).round(array)).qsnr_db


GAUSSIAN = np.random.default_rng(0).standard_normal((1024, 4096)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "db"), [("mxint8/ceil", 41.6), ("mxfp8/ceil", 31.5), ("mxint4/ceil", 16.8), ("mxfp4/ceil", 18.8)]
)
def test_gaussian_blocks_of_32_have_the_known_noise(name: str, db: float) -> None:
    assert qsnr(name, GAUSSIAN) == pytest.approx(db, abs=0.06)


def test_cutting_maxima_off_costs_mxfp8_a_decibel_and_gains_mxint4_most_of_one() -> None:
    gain = {
        name: qsnr(f"{name}/floor", GAUSSIAN) - qsnr(f"{name}/ceil", GAUSSIAN)
        for name in ("mxfp8", "mxint4", "mxfp4", "mxint8")
    }
    assert gain["mxfp8"] == pytest.approx(-0.88, abs=0.05)  # 511 becomes 448
    assert gain["mxint4"] == pytest.approx(0.72, abs=0.05)
    assert abs(gain["mxfp4"]) < 0.06 and abs(gain["mxint8"]) < 0.1


@pytest.mark.parametrize(
    ("bits", "minifloat", "crest"), [(8, FP8_E4M3, 7.55), (6, FP6_E2M3, 1.96), (4, FP4_E2M1, 2.04)]
)
def test_the_crossovers_of_the_closed_forms(bits: int, minifloat: ElementFormat, crest: float) -> None:
    # 7.55 is the figure of arXiv:2510.25602 for the pair of 8 bits; the formulas print rounded constants there
    assert crossover(Integer(bits), minifloat) == pytest.approx(crest, abs=0.015)


def test_the_crossover_of_8_bits_is_where_an_integer_has_lost_its_21_decibels() -> None:
    # 4.78 + 6.02 · 8 - 20 lg 1.5 - 20 lg κ = 10 lg (24 · 4^3): neither the block nor the subnormals of e4m3 matter
    by_hand = 10 ** ((4.78 + 6.02 * 8 - 20 * math.log10(OVERSHOOT) - 10 * math.log10(24 * 4**3)) / 20)
    assert by_hand == pytest.approx(7.55, abs=0.005)


def with_crest(crest: float, blocks: int = 500, size: int = 1024) -> NDArray[np.float32]:
    """Blocks of Gaussian values with one more that makes the crest factor; a block of 32 has at most the root of 32."""
    rng = np.random.default_rng(0)
    values = np.clip(rng.standard_normal((blocks, size)), -0.99 * crest, 0.99 * crest)
    energy = np.square(values[:, 1:]).sum(axis=1)
    values[:, 0] = crest * np.sqrt(energy / (size - crest**2))
    return (values * np.exp2(rng.uniform(0, 1, (blocks, 1)))).astype(np.float32)


@pytest.mark.parametrize("crest", [4.5, 6.0, 12.0, 20.0])
def test_measured_noise_follows_the_closed_forms(crest: float) -> None:
    array = with_crest(crest)
    assert crest_factor(array, 1024) == pytest.approx(crest, rel=1e-3)
    for name, element in (("int8", Integer(8)), ("fp8", FP8_E4M3)):
        # the mean overshoot of uniformly spread scales is 3.35 dB, not 3.52; Gaussian values fill binades unevenly
        assert qsnr(f"{name}/v1024/e8m0/ceil", array) == pytest.approx(foretold_qsnr_db(element, crest), abs=0.5)


def test_the_measured_crossover_of_8_bits_lies_near_the_foretold_one() -> None:
    leads = {crest: qsnr("int8/v1024/e8m0/ceil", a) - qsnr("fp8/v1024/e8m0/ceil", a)
             for crest in (6.5, 7.5, 8.0, 8.5, 9.5) for a in [with_crest(crest)]}  # fmt: skip
    crossing = np.interp(0, [-lead for lead in leads.values()], list(leads))
    assert crossing == pytest.approx(8.1, abs=0.25)


def test_blocks_of_32_never_reach_the_crossover_of_8_bits() -> None:
    assert math.sqrt(32) < crossover(Integer(8), FP8_E4M3)
    one_hot = np.zeros((64, 32), np.float32)
    one_hot[:, 5] = np.random.default_rng(0).standard_normal(64)
    assert crest_factor(one_hot, 32) == pytest.approx(math.sqrt(32))
    rng = np.random.default_rng(1)
    heavy = rng.standard_t(3, (512, 2048)).astype(np.float32)
    laplace = rng.laplace(size=(512, 2048)).astype(np.float32)
    outliers = GAUSSIAN[:, :2048] * np.where(rng.random(2048) < 0.01, 40, 1).astype(np.float32)
    for array in (GAUSSIAN, heavy, laplace, outliers):
        assert qsnr("mxint8", array) > qsnr("mxfp8/ceil", array) + 2
        if array is not outliers:  # whose energy lies in the outliers, of which an integer keeps more
            assert qsnr("mxfp4/ceil", array) > qsnr("mxint4/ceil", array) + 1.5
    # one scale for a row is another matter: outliers leave an integer few steps for all others
    assert qsnr("fp8", outliers) > qsnr("int8", outliers)
    assert crest_factor(GAUSSIAN, 32) < crest_factor(laplace, 32) < crest_factor(heavy, 32)


def test_a_rotation_turns_the_order_of_nvint4_and_nvfp4_round() -> None:
    outliers = GAUSSIAN.copy()
    outliers[:, ::16] *= 8
    assert qsnr("nvfp4", outliers) > qsnr("nvint4", outliers)
    assert qsnr("hadamard(nvint4)", outliers) > qsnr("hadamard(nvfp4)", outliers)


def test_a_crest_factor_is_that_of_the_tensor_or_the_mean_of_its_blocks() -> None:
    assert crest_factor(np.array([3.0, -3.0])) == 1
    assert crest_factor(np.array([1.0, 0, 0, 0])) == 2
    assert crest_factor(np.array([[1.0, 0], [2.0, 2.0], [0, 0]]), 2) == pytest.approx((math.sqrt(2) + 1) / 2)
    assert crest_factor(np.array([1.0, 0, 5.0]), 2) == pytest.approx((math.sqrt(2) + 1) / 2)  # a partial block
    assert crest_factor(np.zeros(3)) == crest_factor(np.zeros(0)) == 0
    assert crest_factor(np.array([[1.0, 1.0], [0, 0]]), 2, axis=0) == pytest.approx(math.sqrt(2))


def test_what_has_no_closed_form_is_refused() -> None:
    with pytest.raises(SpecError, match="crest factor"):
        foretold_qsnr_db(Integer(8), 0.5)
    with pytest.raises(SpecError, match="root"):
        foretold_qsnr_db(FP4_E2M1, 5, exact_maximum_of=16)
    with pytest.raises(SpecError, match="no closed form"):
        foretold_qsnr_db(number_format("ternary/unscaled"), 2)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="no crossover"):
        crossover(Integer(4), FP8_E4M3)


def test_fidelity_of_exact_and_of_empty_tensors() -> None:
    exact = fidelity(np.ones((2, 3)), np.ones((2, 3)))
    assert (exact.qsnr_db, exact.relative_error, exact.max_error) == (math.inf, 0, 0)
    assert fidelity(np.zeros(4), np.zeros(4)).relative_error == 0
    assert fidelity(np.zeros(0), np.zeros(0)).qsnr_db == math.inf
    half = fidelity(np.array([2.0, 0.0]), np.array([1.0, 0.0]))
    assert (half.qsnr_db, half.relative_error, half.max_error) == (pytest.approx(20 * math.log10(2)), 0.5, 1)


# The page

PAGE = (Path(__file__).parents[1] / "docs" / "number-formats.md").read_text(encoding="utf-8")


def body(first_cell: str) -> list[list[str]]:
    """Rows of the table on the page whose header begins with `first_cell`."""
    lines = PAGE.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first_cell} |")) + 2
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[start:])
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_examples_of_the_page_run() -> None:
    names: dict[str, object] = {}
    for example in re.findall(r"```python\n(.*?)```", PAGE, flags=re.S):
        exec(example, names)
    assert names["mine"].name == "mine"  # type: ignore[attr-defined]


def test_the_page_prints_closed_forms_digits_and_bits_that_are_true() -> None:
    for crest, integer, _, minifloat, _ in body("crest factor"):
        assert float(integer) == pytest.approx(foretold_qsnr_db(Integer(8), float(crest)), abs=6e-3)
        assert float(minifloat) == pytest.approx(foretold_qsnr_db(FP8_E4M3, float(crest)), abs=6e-3)
    rows = {row[0]: [cell for cell in row[1:]] for row in body("standard deviation")}
    normal = np.random.default_rng(0).normal(size=200_000)
    for column, deviation in enumerate((10, 20, 30, 40, 50)):
        counted = nonzero_digits(np.clip(np.rint(deviation * normal), -128, 127).astype(int)).mean(axis=0)
        for name, count in zip(("ones", "canonic signed digits", "Booth digits"), counted, strict=True):
            assert float(rows[name][column]) == pytest.approx(count, abs=0.02)
        assert rows["published"][column] == "–".join(f"{bound:.2f}" for bound in PUBLISHED_DIGITS[deviation])
    for names, _, _, _, bits, _ in body("format"):
        for name, printed in zip(names.replace("`", "").split(", "), bits.split(", "), strict=False):
            known = {"MXFP8": "mxfp8", "MXFP6": "mxfp6"}.get(name, name)
            assert number_format(known).bits_per_element == pytest.approx(float(printed), abs=0.01)


def test_every_name_on_the_page_is_one() -> None:
    for row in body("element"):
        for name in re.findall(r"`([^`]+)`", row[0]):
            number_format(name.replace("NAME", "int8"))
