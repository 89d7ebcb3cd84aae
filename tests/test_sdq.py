"""SDQ on arrays: sparsify, split exactly, quantise."""

from __future__ import annotations

import numpy as np
import pytest

from fiberloom.errors import SpecError
from fiberloom.representation import read_representation
from fiberloom.representation.calibration import InputStatistics
from fiberloom.representation.sdq import SDQ

WEIGHTS = np.random.default_rng(0).standard_t(4, (64, 128)).astype(np.float32)


def statistics() -> InputStatistics:
    rng = np.random.default_rng(1)
    found = InputStatistics(128, second_moments=True)
    found.add((rng.standard_normal((500, 128)) * np.exp(rng.standard_normal(128))).astype(np.float32))
    return found


@pytest.mark.parametrize(
    "text",
    [
        "7:8 => 1:8 int8 + 6:8 fp4",
        "1:8 int8 + 7:8 fp4",
        "6:8 => 2:8 int8 + 4:8 fp4",
        "3:4 => 1:4 int8 + 2:4 fp4",
        "4:8 => 1:8 int8 + 1:8 int8 + 2:8 int4",
    ],
)
@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
@pytest.mark.parametrize("criterion", ["magnitude", "product"])
def test_the_split_adds_up_to_what_sparsification_left_bit_for_bit(text: str, method: str, criterion: str) -> None:
    sdq = SDQ.read(text, method if "=>" in text else "magnitude", criterion)
    found = sdq.decompose(WEIGHTS, statistics())
    parts = [found.split(i) for i in range(len(sdq.terms))]
    assert found.exact
    assert np.array_equal(sum(parts), found.sparse)
    assert (sum((part != 0).astype(int) for part in parts) <= 1).all()
    for part, term in zip(parts, sdq.terms, strict=True):
        n, m = (int(number) for number in str(term.pattern).split(":"))
        assert np.count_nonzero(part.reshape(-1, m), axis=1).max() <= n


def test_a_split_that_is_too_small_is_not_exact() -> None:
    found = SDQ.read("7:8 => 1:8 int8 + 5:8 fp4").decompose(WEIGHTS)
    assert not found.exact
    lost = found.sparse - found.split(0) - found.split(1)
    assert np.count_nonzero(lost) == WEIGHTS.size // 8


def test_outliers_are_the_largest_of_each_block() -> None:
    found = SDQ.read("1:8 int8 + 7:8 fp4").decompose(WEIGHTS)
    blocks = np.abs(WEIGHTS).reshape(-1, 8)
    assert np.array_equal(np.abs(found.split(0)).reshape(-1, 8).max(axis=1), blocks.max(axis=1))


def test_the_product_criterion_ranks_by_weight_times_norm_of_its_input() -> None:
    seen = statistics()
    found = SDQ.read("1:8 int8 + 7:8 fp4", criterion="product").decompose(WEIGHTS, seen)
    product = (np.abs(WEIGHTS) * seen.norms).reshape(-1, 8)
    assert np.array_equal((found.split(0) != 0).reshape(-1, 8).argmax(axis=1), product.argmax(axis=1))


def test_each_term_is_rounded_alone_with_scales_of_sixteen_stored_values() -> None:
    found = SDQ.read("7:8 => 1:8 int8 + 6:8 fp4").decompose(WEIGHTS)
    assert [str(term.format) for term in found.of.terms] == ["int8/v16/e4m3", "fp4-e2m1/v16/e4m3"]
    outliers = found.split(0)
    packed = outliers.reshape(64, 16, 8)
    packed = np.take_along_axis(packed, np.abs(packed).argmax(axis=2)[..., None], axis=2)[
        ..., 0
    ]  # 16 stored values a row
    rounded = found.of.terms[0].format.round(packed)
    assert np.array_equal(np.sort(found.term(0)[outliers != 0]), np.sort(rounded[packed != 0]))
    assert np.array_equal(found.represented, found.term(0) + found.term(1))


def test_outliers_in_eight_bits_lower_the_error_of_four_bits() -> None:
    def error(text: str) -> float:
        held = SDQ.read(text).decompose(WEIGHTS).represented
        return float(np.linalg.norm(held - WEIGHTS))

    assert error("1:8 int8 + 7:8 fp4") < error("dense fp4")
    assert error("1:8 int8 + 7:8 int4") < error("dense int4")


def test_a_representation_object_can_be_taken_and_own_scales_are_kept() -> None:
    sdq = SDQ.read(read_representation("7:8 => 1:8 int8/v32 + 6:8 mxfp4"), scales="v16/e4m3")
    assert str(sdq) == "7:8 => 1:8 int8/v32 + 6:8 mxfp4"
    assert str(SDQ.read("1:8 int8 + 7:8 fp4", scales=None)) == "1:8 int8 + 7:8 fp4-e2m1"


def test_weights_stay_as_they_were() -> None:
    before = WEIGHTS.copy()
    SDQ.read("1:8 int8 + 7:8 fp4").decompose(WEIGHTS).terms  # noqa: B018
    SDQ.read("7:8 => 1:8 int8 + 6:8 fp4", "sparsegpt", "product").decompose(WEIGHTS, statistics()).terms  # noqa: B018
    assert np.array_equal(WEIGHTS, before)


def test_missing_calibration_and_contradictions_are_named() -> None:
    with pytest.raises(SpecError, match="needs the layer's inputs"):
        SDQ.read("7:8 => 1:8 int8 + 6:8 fp4", "wanda").decompose(WEIGHTS)
    with pytest.raises(SpecError, match="product criterion needs the layer's inputs"):
        SDQ.read("1:8 int8 + 7:8 fp4", criterion="product").decompose(WEIGHTS)
    with pytest.raises(SpecError, match="nothing is pruned by wanda"):
        SDQ.read("1:8 int8 + 7:8 fp4", "wanda")
    with pytest.raises(SpecError, match="no criterion is called 'products'"):
        SDQ.read("1:8 int8 + 7:8 fp4", criterion="products")
    with pytest.raises(SpecError, match="NaN or infinite"):
        SDQ.read("1:8 int8 + 7:8 fp4").decompose(np.full((8, 8), np.inf))
