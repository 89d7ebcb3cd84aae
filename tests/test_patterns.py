"""Patterns: what they keep, against all that they allow; ties, tails, axes, text, and the hardware model's density."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from fiberloom.architecture.library.structure import structure_of
from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.representation.patterns import (
    KernelPatterns,
    Mask,
    Pattern,
    find_pattern,
    pattern_examples,
    read_pattern,
)
from fiberloom.workload.density import ActualDensity, build_density

Array = NDArray[np.float32]


def gaussian(shape: tuple[int, ...], seed: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def lost(values: Array, kept: NDArray[np.bool_]) -> float:
    """Squared error of leaving out what is not kept."""
    return float(np.square(values[~kept], dtype=np.float64).sum())


def allowed(shape: tuple[int, ...], legal: object) -> list[NDArray[np.bool_]]:
    """Every mask of `shape` that `legal` accepts."""
    places = [
        np.array(bits, dtype=np.bool_).reshape(shape) for bits in itertools.product((0, 1), repeat=int(np.prod(shape)))
    ]
    return [mask for mask in places if legal(mask)]  # type: ignore[operator]


SMALL = arrays.arrays(np.float32, (1, 8), elements=st.integers(-9, 9).map(float))


def within(groups: NDArray[np.bool_], most: int) -> bool:
    return bool((groups.sum(axis=-1) <= most).all())


def two_ranks(mask: NDArray[np.bool_], outer: tuple[int, int], inner: tuple[int, int]) -> bool:
    blocks = mask.reshape(-1, outer[1], inner[1])
    return within(blocks, inner[0]) and within(blocks.any(axis=-1), outer[0])


@settings(deadline=None, max_examples=25)
@given(SMALL)
@pytest.mark.parametrize(
    ("text", "legal"),
    [
        ("3:8", lambda mask: within(mask.reshape(-1, 8), 3)),
        ("1:2", lambda mask: within(mask.reshape(-1, 2), 1)),
        ("C1(1:2)->C0(2:4)", lambda mask: two_ranks(mask, (1, 2), (2, 4))),
        ("C1(2:4)->C0(1:2)", lambda mask: two_ranks(mask, (2, 4), (1, 2))),
        ("unstructured(3/8)", lambda mask: mask.sum() <= 3),
        (
            "C1(unstructured 1/4)->C0(1:2)",
            lambda mask: within(mask.reshape(4, 2), 1) and mask.reshape(4, 2).any(1).sum() <= 1,
        ),
        ("block1x2(0.5)", lambda mask: mask.reshape(4, 2).any(axis=1).sum() <= 2),
    ],
)
def test_a_projection_called_optimal_loses_least_of_all_allowed_masks(text: str, legal: object, values: Array) -> None:
    pattern = read_pattern(text)
    kept = pattern.keep(values)
    assert pattern.optimal
    assert legal(kept)  # type: ignore[operator]
    assert lost(values, kept) == pytest.approx(min(lost(values, mask) for mask in allowed((1, 8), legal)))


@settings(deadline=None, max_examples=30)
@given(arrays.arrays(np.float32, (3, 5), elements=st.integers(-9, 9).map(float)))
def test_exact_v_n_m_loses_least_of_all_column_choices(values: Array) -> None:
    best = min(
        sum(sum(sorted(np.square(row[list(columns)]))[:2]) for row in values)
        + sum(float(np.square(np.delete(row, columns)).sum()) for row in values)
        for columns in itertools.combinations(range(5), 4)
    )
    assert lost(values, read_pattern("3:2:5/exact").keep(values)) == pytest.approx(float(best))
    assert lost(values, read_pattern("3:2:5").keep(values)) >= best - 1e-4


def test_greedy_v_n_m_loses_where_the_best_columns_hold_many_middling_values() -> None:
    # Four columns of 3s outweigh four in which each row has two 4s, of which it would keep both.
    values = np.zeros((2, 8), dtype=np.float32)
    values[:, :4] = 3
    values[0, 4:6] = values[1, 6:8] = 4
    greedy, exact = (lost(values, read_pattern(text).keep(values)) for text in ("2:2:8", "2:2:8/exact"))
    assert (greedy, exact) == (4 * 9 + 4 * 16, 8 * 9)
    assert not read_pattern("2:2:8").optimal
    many = gaussian((64, 640))
    greedy, exact = (lost(many, read_pattern(text).keep(many)) for text in ("16:2:8", "16:2:8/exact"))
    assert 1.005 < greedy / exact < 1.2


def test_a_share_below_another_rule_is_greedy_and_can_lose() -> None:
    pattern = (
        read_pattern("C1(1:2)->R->C0(unstructured 0.25)") if False else read_pattern("C(1:2)->R(unstructured 0.5)")
    )
    assert not pattern.optimal
    # Half of all eight places go to the first kernel pair's 9s and 8s; of each pair only one stays.
    values = np.array([[[9.0, 8.0], [8.5, 8.4], [1.0, 1.0], [0.5, 0.5]]], dtype=np.float32)
    kept = pattern.keep(values, 1)
    assert kept.sum() == 2
    better = np.array([[[True, True], [False, False], [True, True], [False, False]]])
    assert lost(values, better) < lost(values, kept)


def test_ties_go_to_the_first_and_counts_are_exact() -> None:
    ones = np.ones((2, 8), dtype=np.float32)
    assert read_pattern("2:4").keep(ones).tolist() == [[True, True, False, False] * 2] * 2
    assert read_pattern("C1(1:2)->C0(2:4)").keep(ones).tolist() == [[True, True] + [False] * 6] * 2
    kept = read_pattern("unstructured(0.3)").keep(np.concatenate((ones, -ones)))
    assert np.flatnonzero(kept).tolist() == list(range(10))  # ⌈0.3 · 32⌉
    by_row = read_pattern("unstructured(0.3/row)").keep(ones)
    assert by_row.sum(axis=1).tolist() == [3, 3]
    assert read_pattern("unstructured(0.9)").keep(np.eye(4)).sum() == 4  # zeros are never kept
    assert np.array_equal(read_pattern("unstructured").keep(np.eye(4)), np.eye(4) != 0)


def test_what_chooses_is_magnitude_whatever_the_sign() -> None:
    values = gaussian((30, 96))
    for text in (
        "2:4",
        "7:48",
        "1:96",
        "unstructured(0.1)",
        "unstructured(0.1/row)",
        "C1(4:6)->C0(2:4)",
        "4:2:8",
        "block2x4(0.3)",
    ):
        pattern = read_pattern(text)
        assert np.array_equal(pattern.keep(values), pattern.keep(np.abs(values)))
        assert np.array_equal(pattern.keep(values), pattern.keep(values.astype(np.float64)))


def test_tails_are_padded_kept_or_refused_as_written() -> None:
    values = gaussian((3, 10))
    padded, whole = read_pattern("2:4").keep(values), read_pattern("2:4/keep").keep(values)
    assert padded[:, 8:].all() and whole[:, 8:].all()  # two of four, two of them padding; or outside every block
    assert read_pattern("1:4").keep(values)[:, 8:].sum() == 3
    assert read_pattern("1:4/keep").keep(values)[:, 8:].all()
    with pytest.raises(SpecError, match="blocks of 4 don't divide an axis of 10"):
        read_pattern("2:4/refuse").keep(values)
    # C = 64 under groups of 24: the tail changes the density (16 of 64 are a tail).
    channels = gaussian((10, 64))
    kept = read_pattern("C1(4:6)->C0(2:4)/keep").keep(channels)
    assert kept.mean() == (48 / 3 + 16) / 64
    assert read_pattern("C1(4:6)->C0(2:4)").keep(channels).mean() == pytest.approx(0.375)
    assert read_pattern("C1(4:6)->C0(2:4)/keep").keep(gaussian((2, 20))).all()  # not one whole block
    with pytest.raises(SpecError, match="don't divide"):
        read_pattern("C1(4:6)->C0(2:4)/refuse").keep(channels)


def test_groups_of_a_convolution_run_over_input_channels() -> None:
    weights = gaussian((6, 12, 3, 3))
    kept = read_pattern("2:4").keep(weights, 1)
    for r, s in itertools.product(range(3), repeat=2):
        assert np.array_equal(kept[:, :, r, s], read_pattern("2:4").keep(np.ascontiguousarray(weights[:, :, r, s])))
    hss = read_pattern("RS->C1(2:3)->C0(2:4)").keep(weights, 1)
    assert np.array_equal(hss, read_pattern("C1(2:3)->C0(2:4)").keep(weights, 1))


def test_fibertree_specifications_keep_what_they_say() -> None:
    weights = gaussian((4, 8, 3, 3))
    norms = np.square(weights).sum(axis=(2, 3))
    kernels = read_pattern("C(unstructured 0.25)->R->S").keep(weights, 1)
    assert np.array_equal(
        kernels, np.broadcast_to((norms >= np.sort(norms.ravel())[-8])[:, :, None, None], weights.shape)
    )
    channels = read_pattern("C(unstructured 0.25)->M->RS").keep(weights, 1)
    best = np.argsort(np.square(weights).sum(axis=(0, 2, 3)))[-2:]
    assert sorted(np.flatnonzero(channels.any(axis=(0, 2, 3)))) == sorted(best)
    assert channels[:, best].all()
    inside = read_pattern("C->RS(2:4)").keep(weights, 1).reshape(4, 8, 9)
    assert (inside[:, :, :4].sum(-1) == 2).all() and (inside[:, :, 4:8].sum(-1) == 2).all() and inside[:, :, 8].all()
    assert np.array_equal(
        read_pattern("CRS(unstructured 0.3)").keep(weights, 1), read_pattern("unstructured(0.3)").keep(weights)
    )
    filters = read_pattern("M(unstructured 0.5)->CRS").keep(weights, 1)
    assert filters.reshape(4, -1).any(axis=1).sum() == 2
    per_filter = read_pattern("C(unstructured 0.25/fibre)->RS").keep(weights, 1)
    assert (per_filter.any(axis=(2, 3)).sum(axis=1) == 2).all()
    empty = weights * (np.arange(8) < 3)[None, :, None, None]
    assert read_pattern("C(unstructured)->R->S").keep(empty, 1).mean() == 3 / 8
    shared = read_pattern("C1(1:2)->RS->C0(2:4)").keep(weights, 1)  # one choice of four channels for all places
    assert (shared.any(axis=(2, 3)).reshape(4, 2, 4).any(axis=2).sum(axis=1) == 1).all()


def test_vectors_and_blocks_stay_or_go_together() -> None:
    values = gaussian((32, 24))
    vectors = read_pattern("vector8(2:4)").keep(values).reshape(4, 8, 24)
    assert (vectors == vectors[:, :1]).all()
    assert within(vectors.reshape(-1, 4), 2)
    norms = np.square(values).reshape(4, 8, 6, 4).sum(axis=1)
    assert lost(values, vectors.reshape(32, 24)) == pytest.approx(
        float(np.sort(norms, axis=-1)[..., :2].sum()), rel=1e-5
    )
    blocks = read_pattern("block4x6(0.25)").keep(values).reshape(8, 4, 4, 6)
    chosen = blocks.all(axis=(1, 3))
    assert np.array_equal(chosen, blocks.any(axis=(1, 3)))
    energy = np.square(values).reshape(8, 4, 4, 6).sum(axis=(1, 3))
    assert np.array_equal(chosen, energy >= np.sort(energy.ravel())[-8])


def test_kernels_take_the_mask_that_keeps_most() -> None:
    weights = gaussian((16, 8, 3, 3))
    pattern = KernelPatterns(entries=(4, 9), count=6)
    learned = pattern.learned(weights, 1)
    assert learned.masks is not None and len(learned.masks) == 6 and learned.optimal and not pattern.optimal
    kept = pattern.keep(weights, 1)
    assert np.array_equal(kept, learned.keep(weights, 1))
    masks = np.array(learned.masks).reshape(-1, 3, 3)
    for m, c in itertools.product(range(16), range(8)):
        energy = [float(np.square(weights[m, c][mask]).sum()) for mask in masks]
        assert np.array_equal(kept[m, c], masks[int(np.argmax(energy))])
    assert read_pattern(str(learned)) == learned
    everything = KernelPatterns(entries=(4, 9), count=126)  # C(9, 4) masks: each kernel its own four largest
    largest = np.sort(np.abs(weights).reshape(16, 8, 9), axis=-1)[..., -4:]
    assert lost(weights, everything.keep(weights, 1)) == pytest.approx(
        float((weights**2).sum() - (largest**2).sum()), rel=1e-5
    )
    with pytest.raises(SpecError, match="kernels of 9 places"):
        pattern.keep(gaussian((4, 9)))


def test_a_band_is_the_density_models_band() -> None:
    for shape in ((20, 20), (8, 30), (31, 9)):
        pattern = read_pattern("banded(3)")
        kept = pattern.keep(gaussian(shape))
        model = build_density("A", shape, pattern.density_specification(shape))
        assert model.density == kept.mean() == pattern.stored(shape) / kept.size
        for tile in ((1, 1), (4, 4), (3, 8)):
            assert model.probability_empty(tile) == pytest.approx(ActualDensity(kept).probability_empty(tile))
    with pytest.raises(SpecError, match="for matrices"):
        read_pattern("banded(3)").keep(gaussian((2, 3, 4)))


def test_a_mask_is_read_from_a_file(tmp_path: object) -> None:
    places = gaussian((6, 7)) > 0
    path = f"{tmp_path}/kept.npy"
    np.save(path, places)
    pattern = read_pattern(f"mask({path})")
    assert np.array_equal(pattern.keep(gaussian((6, 7), 2)), places)
    assert pattern.share == Fraction(int(places.sum()), 42)
    model = build_density("A", (6, 7), pattern.density_specification((6, 7)))
    assert model.density == pytest.approx(places.mean())
    with pytest.raises(SpecError, match=r"shape \(6, 7\), the tensor \(7, 6\)"):
        pattern.keep(gaussian((7, 6)))
    with pytest.raises(SpecError, match="no elements"):
        Mask(np.zeros((0, 3)))


@pytest.mark.parametrize("text", [example for example in pattern_examples() if not example.startswith("mask")])
def test_examples_are_read_and_written_back(text: str) -> None:
    pattern = read_pattern(text)
    assert str(read_pattern(str(pattern))) == str(pattern)
    assert read_pattern(str(pattern)) == pattern
    assert hash(read_pattern(str(pattern))) == hash(pattern)


def test_arrows_spaces_and_tails_are_read() -> None:
    assert read_pattern("C1(4:8) → C0(2:4)") == read_pattern("C1(4:8)->C0(2:4)")
    assert read_pattern("unstructured 30%") == read_pattern("unstructured(3/10)") == read_pattern("unstructured(0.3)")
    assert str(read_pattern(" 2 : 4 / keep ")) == "2:4/keep"
    assert read_pattern("vector16(2:4)").keep(gaussian((16, 8))).mean() == 0.5
    assert find_pattern("int8") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5:4", "keeps 5 of 4"),
        ("0:4", "keeps 0 of 4"),
        ("unstructured(1.5)", "at most 1"),
        ("unstructured(0)", "above 0"),
        ("unstructured(x)", "no share"),
        ("unstructured(1/0)", "no share"),
        ("unstructured(nan)", "no share"),
        ("C1(4:8)->C1(2:4)", "C1 -> C0"),
        ("C0(2:4)->C1(2:4)", "C1 -> C0"),
        ("C1(9:8)->C0(2:4)", "keeps 9 of 8"),
        ("C1->C0(4:4)->", "is no rank"),
        ("C->R", "has no rule"),
        ("C1(2:4)->C0", "says no size"),
        ("C->CR(2:4)", "stands twice"),
        ("C(perhaps)", "is no rule"),
        ("16:2:3", "is no V:N:M"),
        ("kernel(4:9)", "write kernel"),
        ("kernel(101,11)", "different lengths"),
        ("block0x4(0.5)", "at least one row"),
        ("dense/keep", "has no tail"),
        ("2:4/wrap", "is no pattern"),
        ("", "is no pattern"),
        ("mask(nowhere.npy)", "no file"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_pattern(text)


def test_axes_that_a_tensor_lacks_are_named() -> None:
    with pytest.raises(SpecError, match="names axis R"):
        read_pattern("C->R(2:4)").keep(gaussian((4, 4)))
    with pytest.raises(SpecError, match="no axis 3"):
        read_pattern("2:4").keep(gaussian((4, 4)), 3)
    with pytest.raises(SpecError, match="names axis M"):
        read_pattern("vector4(2:4)").keep(gaussian((8,)), 0)
    with pytest.raises(UnsupportedError, match="too many to try"):
        read_pattern("2:2:64/exact").keep(gaussian((2, 64)))


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("dense", "DenseDensity"),
        ("2:4", "FixedStructuredDensity"),
        ("unstructured(0.3)", "UniformDensity"),
        ("unstructured(0.3/row)", "HierarchicalDensity"),
        ("C1(4:8)->C0(2:4)", "HierarchicalDensity"),
        ("RS->C2->C1(3:4)->C0(2:4)", "HierarchicalDensity"),
        ("block1x4(2:8)", "HierarchicalDensity"),
        ("CRS(unstructured 0.3)", "UniformDensity"),
        ("kernel(4:9, 8)", "FixedStructuredDensity"),
    ],
)
def test_the_hardware_model_takes_the_density_of_a_pattern(text: str, model: str) -> None:
    shape, pattern = (8, 64, 3, 3), read_pattern(text)
    density = build_density("A", shape, pattern.density_specification(shape, 1))
    kept = pattern.keep(gaussian(shape), 1)
    assert type(density).__name__ == model
    assert density.density == pytest.approx(kept.mean(), abs=0.01)
    if model in ("FixedStructuredDensity", "HierarchicalDensity") and "kernel" not in text:
        # Whole patterns of a fibre hold what the model says, always.
        fibre = (1, pattern.span if pattern.span > 1 else 64, 1, 1)
        assert density.max_occupancy(fibre) == density.min_occupancy(fibre) == kept[0, : fibre[1], 0, 0].sum()


@pytest.mark.parametrize("text", ["vector8(2:4)", "8:2:8", "block4x4(0.3)", "C(unstructured 0.5)->R->S"])
def test_patterns_without_a_statistical_density_give_that_of_their_places(text: str) -> None:
    pattern, weights = read_pattern(text), gaussian((16, 64, 1, 1))
    with pytest.raises(UnsupportedError, match="density_of"):
        pattern.density_specification(weights.shape, 1)
    kept = pattern.keep(weights, 1)
    assert pattern.density_of(kept).density == pytest.approx(kept.mean())


@pytest.mark.parametrize("text", [e for e in pattern_examples() if not e.startswith(("mask", "banded", "kernel"))])
def test_stored_values_cover_what_is_kept(text: str) -> None:
    pattern: Pattern = read_pattern(text)
    for shape in ((16, 32, 3, 3), (5, 13, 3, 3)):
        kept = pattern.keep(gaussian(shape), 1)
        stored = pattern.stored(shape, 1)
        if stored is None:
            assert pattern.share is None
            continue
        assert stored >= kept.sum()
        if pattern.share is not None and shape[1] == 32 and "R" not in text:
            assert stored == pytest.approx(float(pattern.share) * kept.size, rel=0.05)
        if pattern.rigid:
            rows = np.moveaxis(kept, 1, -1).reshape(-1, shape[1]).sum(axis=1)
            assert rows.max() * len(rows) <= stored


def test_blocks_far_larger_than_the_tensor_neither_overflow_nor_exhaust_memory() -> None:
    values = gaussian((4, 6))
    huge = 10**25
    for text, kept in ((f"2:{huge}", 8), (f"{huge}:{huge}", 24), (f"banded({huge})", 24), (f"2:{huge}/keep", 24)):
        pattern = read_pattern(text)
        assert pattern.keep(values).sum() == kept
        assert pattern.metadata_bits(values.shape)
    for text in (f"C1(1:2)->C0(2:{huge})", f"{huge}:2:8", f"block{huge}x2(0.5)"):
        with pytest.raises(SpecError, match="would be padded"):
            read_pattern(text).keep(values)
        assert read_pattern(f"{text}/keep").keep(values).all()


@pytest.mark.parametrize(
    ("text", "structure"),
    [
        ("2:4/keep", "2:4"),
        ("block1x4(2:8)", "C1(2:8)->C0(4:4)"),
        ("vector16(2:4)", "2:4"),
        ("16:2:8", "2:8"),
        ("RS->C2->C1(3:4)->C0(2:4)", "C1(3:4)->C0(2:4)"),
        ("C1(4:4)->C0(2:2)", "dense"),
        ("unstructured(0.3/row)", "unstructured(0.3)"),
        ("C(unstructured 0.5)->R->S", "unstructured(0.5)"),
    ],
)
def test_hardware_sees_what_a_row_obeys(text: str, structure: str) -> None:
    assert str(structure_of(read_pattern(text))) == structure
