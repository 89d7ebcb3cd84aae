"""Representations: notation, stored bits, throughput, scales, what they do to arrays of all kinds."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.representation import Representation, compare, measure, read_representation
from fiberloom.representation.formats import number_format
from fiberloom.representation.patterns import bits_of_mask, read_pattern


def gaussian(shape: tuple[int, ...], seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def test_terms_formats_and_pruning_are_read() -> None:
    sdq = read_representation("7:8 => 1:8 int8 + 6:8 fp4/v16/e4m3")
    assert [str(term.pattern) for term in sdq.terms] == ["1:8", "6:8"]
    assert [term.format.bits for term in sdq.terms if term.format is not None] == [8, 4]
    assert str(sdq.pruning) == "7:8"
    assert read_representation(str(sdq)) == sdq
    assert str(read_representation("int8")) == "dense int8"
    assert read_representation("2:4+2:8").stored_share == Fraction(3, 4)
    spaced = read_representation("RS -> C2 -> C1(3:4) -> C0(2:4) int8")
    assert (str(spaced.terms[0].pattern), spaced.terms[0].format) == ("RS->C2->C1(3:4)->C0(2:4)", number_format("int8"))
    assert str(read_representation("unstructured 0.1 int8")) == "unstructured(0.1) int8"
    assert read_representation(sdq) is sdq


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2:4++1:8", "a term is empty"),
        ("", "a term is empty"),
        ("2:4 in8", "unknown number format 'in8'"),
        ("2:5:4 int8", "no V:N:M"),
        ("5:4 int8", "keeps 5 of 4"),
        ("nonsense", "neither a pattern nor a number format"),
        ("=> 2:4", "is no pattern"),
        ("foo int8", "'foo' is no pattern"),
        ("2:{4..8}", "stands for several"),
    ],
)
def test_unreadable_text_says_why(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_representation(text)


@pytest.mark.parametrize(
    ("text", "throughput"),
    [
        ("4:8", 2),
        ("2:4", 2),
        ("int8", 2),
        ("fp8-e4m3", 2),
        ("int4/v16/e4m3", 4),
        ("fp4/v16/e4m3", 4),
        ("4:8 int8", 4),
        ("1:8 int8 + 7:8 fp4", Fraction(32, 9)),
        ("7:8 => 1:8 int8 + 6:8 fp4", 4),
        ("6:8 => 2:8 int8 + 4:8 fp4", 4),
        ("3:4 => 1:4 int8 + 2:4 fp4", 4),
        ("dense", 1),
        ("C1(4:8)->C0(2:4)", 4),
        ("2:4 + 2:8", Fraction(4, 3)),
        ("fp6", Fraction(16, 6)),
    ],
)
def test_ideal_throughput_is_the_inverse_of_stored_share_over_rate(text: str, throughput: Fraction) -> None:
    assert read_representation(text).ideal_throughput() == float(throughput)


@pytest.mark.parametrize(
    ("text", "simple", "smallest"),
    [
        ("fp4/v16/e4m3", 4.5, 4.5),
        # values (1·8 + 6·4)/8, index (3 + 8)/8 or (3 + 5)/8, a scale of 8 bits for 16 stored
        ("7:8 => 1:8 int8/v16/e4m3 + 6:8 fp4/v16/e4m3", 4 + 1.375 + 0.4375, 4 + 1.0 + 0.4375),
        ("3:4 => 1:4 int8/v16/e4m3 + 2:4 fp4/v16/e4m3", 4 + 1.5 + 0.375, 4 + 1.25 + 0.375),
        ("4:8 int8/v16/e4m3", 4 + 1 + 0.25, 4 + 7 / 8 + 0.25),
        ("mxfp4", 4.25, 4.25),
        ("dense", 16, 16),
        ("2:4", 8 + 1, 8 + 0.75),
        ("C1(4:8)->C0(2:4) int8", 2 + 0.75, 2 + (7 + 4 * 3) / 32),
        # scales of an unstructured term belong to places, not to what is stored
        ("unstructured(1/4) int8/v16/e4m3", 2 + 0.5 + 6 / 7, 2 + 0.5 + 6 / 7),
    ],
)
def test_bits_per_weight_are_values_scales_and_metadata(text: str, simple: float, smallest: float) -> None:
    found = read_representation(text)
    if "unstructured" in text:  # two-bit runs: 2 / (1 − 0.75³) bits per non-zero
        simple = smallest = 2 + 0.5 + 0.25 * 2 / (1 - 0.75**3)
    assert found.bits_per_weight() == pytest.approx(simple, rel=1e-12)
    assert found.bits_per_weight(metadata="smallest") == pytest.approx(smallest, rel=1e-12)
    assert found.bits_per_weight((64, 128)) == pytest.approx(simple, rel=0.01)


def test_metadata_can_be_asked_for_by_name() -> None:
    two_ranks = read_representation("C1(4:8)->C0(2:4)")
    assert two_ranks.storage(metadata="CP")[0].metadata == (4 * 3 + 4 * 2 * 2) / 32
    assert two_ranks.storage(metadata="B-CP")[0].metadata == (8 + 4 * 2 * 2) / 32
    assert two_ranks.storage(metadata="B")[0].metadata_format == "B-B"
    assert read_representation("dense").storage(metadata="CP")[0].metadata == 0
    with pytest.raises(SpecError, match="can't be kept as 'UOP'"):
        two_ranks.storage(metadata="UOP")
    rows, length = 32, 64
    csr = read_representation("2:4").storage((rows, length), metadata="UOP-CP")[0].metadata
    assert csr == ((rows + 1) * 11 + rows * length // 2 * 6) / (rows * length)


@pytest.mark.parametrize(("n", "m"), [(1, 4), (2, 4), (3, 4), (1, 8), (6, 8), (7, 8), (4, 16), (5, 9), (2, 2)])
def test_metadata_formats_of_a_block_suffice_and_waste_less_than_a_bit(n: int, m: int) -> None:
    bits = {name: share * m for name, share in read_pattern(f"{n}:{m}").metadata_bits().items()}
    masks = list(combinations(range(m), n))
    if n == m:
        assert bits == {"U": 0}
        return
    assert bits["B"] == m
    assert 2 ** bits["enumerated"] >= len(masks) > 2 ** (bits["enumerated"] - 1)
    assert 2 ** (bits["CP"] / n) >= m > 2 ** (bits["CP"] / n - 1)
    runs = {b - a - 1 for mask in masks for a, b in zip((-1, *mask[:-1]), mask, strict=True)}
    assert runs == set(range(m - n + 1))
    assert 2 ** (bits["RLE"] / n) >= len(runs)


def test_hierarchical_metadata_is_a_sum_over_ranks() -> None:
    bits = read_pattern("C2(2:3)->C1(3:4)->C0(2:6)").metadata_bits()
    spans = {"B": (3, 4, 6), "CP": (2 * 2, 3 * 2, 2 * 3), "RLE": (2 * 1, 3 * 1, 2 * 3)}
    for names in product(spans, repeat=3):
        outer, middle, inner = (spans[name][rank] for rank, name in enumerate(names))
        assert bits["-".join(names)] == Fraction(outer + 2 * middle + 2 * 3 * inner, 72)
    assert bits["enumerated"] == Fraction(2 + 2 * 2 + 6 * 4, 72)
    vectors = read_pattern("vector16(2:4)").metadata_bits()
    assert vectors == {name: share / 16 for name, share in read_pattern("2:4").metadata_bits().items()}
    assert vectors["B"] == read_pattern("vector16(2:4)").metadata_bits((32, 8))["B"]
    four_of_eight, two_of_four = read_pattern("4:8").metadata_bits(), read_pattern("2:4").metadata_bits()
    for name in ("B", "CP", "enumerated"):  # 8 columns of which 4 are shared by 16 rows; in them, 2 of 4 for each row
        both = four_of_eight[name] / 16 + two_of_four[name] / 2
        assert read_pattern("16:2:8").metadata_bits()[name if name == "enumerated" else f"{name}-{name}"] == both
    with pytest.raises(SpecError, match="depends on the tensor's shape"):
        read_pattern("C(2:4)->RS").metadata_bits()


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 5), st.integers(1, 40), st.floats(0, 1), st.integers(0, 99))
def test_metadata_of_a_mask_is_that_of_its_encoding(rows: int, length: int, density: float, seed: int) -> None:
    kept = np.random.default_rng(seed).random((rows, length)) < density
    bits = bits_of_mask(kept)
    stored = int(kept.sum())
    if not stored:
        assert "RLE" not in bits
        return

    def encoded(width: int) -> int:
        """Fields of `width` bits; the largest says so many zeros and no value yet."""
        fields, longest = 0, 2**width - 1
        for row in kept:
            run = 0
            for place in row:
                if place:
                    fields, run = fields + 1, 0
                else:
                    run += 1
                    if run == longest:
                        fields, run = fields + 1, 0
            fields -= _escapes_behind_the_last(row, longest)
        return fields * width

    assert bits["RLE"] == Fraction(min(encoded(width) for width in range(1, 17)), kept.size)
    pointer = math.ceil(math.log2(stored + 1))
    coordinate = math.ceil(math.log2(length)) if length > 1 else 0
    assert bits["UOP-CP"] == Fraction((rows + 1) * pointer + stored * coordinate, kept.size)


def _escapes_behind_the_last(row: NDArray[np.bool_], longest: int) -> int:
    """Fields that only say zeros behind a row's last value: they need not be stored."""
    places = np.flatnonzero(row)
    return (len(row) - (int(places[-1]) + 1 if len(places) else 0)) // longest


def test_run_lengths_of_random_places_meet_their_mean() -> None:
    for density in (0.5, 0.1, 0.01):
        kept = np.random.default_rng(5).random((1, 1_000_000)) < density
        nominal = read_pattern(f"unstructured({density})").metadata_bits()["RLE"]
        assert float(bits_of_mask(kept)["RLE"]) == pytest.approx(float(nominal), rel=0.02)


def test_padding_and_tails_are_counted_for_a_given_shape() -> None:
    shape = (10, 30)
    assert read_representation("2:4").shares(shape) == (Fraction(16, 30),)  # eight blocks in 30
    assert read_representation("2:4/keep").shares(shape) == (Fraction(16, 30),)  # seven blocks, two outside
    assert read_representation("1:4/keep").shares(shape) == (Fraction(9, 30),)
    assert read_representation("C1(1:2)->C0(2:4)").shares(shape) == (Fraction(8, 30),)
    assert read_representation("2:4").bits_per_weight(shape) == pytest.approx((16 * 16 + 8 * 4) / 30)


def test_what_depends_on_the_tensor_is_asked_of_a_measurement() -> None:
    values = gaussian((64, 64)) * (np.random.default_rng(2).random((64, 64)) < 0.2)
    found = read_representation("unstructured int8")
    with pytest.raises(SpecError, match="depends on the tensor"):
        found.bits_per_weight()
    with pytest.raises(SpecError, match="depends on the tensor"):
        found.ideal_throughput()
    measured = measure(values, found)
    density = np.count_nonzero(values) / values.size
    assert measured.stored == (density,)
    assert found.ideal_throughput(measured.stored) == pytest.approx(2 / density)
    bits = found.storage(values.shape, stored=measured.stored)[0]
    assert bits.values == pytest.approx(8 * density)
    assert bits.metadata == pytest.approx(float(bits_of_mask(values != 0)["RLE"]), rel=0.05)
    nothing = measure(np.zeros((4, 4)), found)
    assert (nothing.relative_error, nothing.dropped_nonzeros, found.bits_per_weight((4, 4), stored=nothing.stored)) == (
        0,
        0,
        0,
    )
    channels = read_representation("C(unstructured)->RS")
    pruned = gaussian((4, 8, 3, 3)) * (np.arange(8) < 2)[:, None, None]
    assert channels.bits_per_weight(pruned.shape, 1, stored=measure(pruned, channels, 1).stored) < 16 / 4 + 1


def test_scales_of_a_rigid_pattern_belong_to_stored_values() -> None:
    # Two of four stay, so eight neighbours in storage share a scale: here the first eight blocks' large values.
    values = np.tile(np.array([[100.0, 100.0, 1.0, 1.0]], dtype=np.float32), (1, 8))
    values[0, 16:] /= 50
    four_bits = number_format("int4/v8")
    packed = read_representation("2:4 int4/v8").project(values)
    stored = np.concatenate((np.full(8, 100.0), np.full(8, 2.0))).astype(np.float32)[None]
    kept = read_pattern("2:4").keep(values)
    assert np.array_equal(packed[kept], four_bits.round(stored)[0])
    assert not packed[~kept].any()
    places = read_representation("unstructured(0.5) int4/v8").project(values)
    held = np.where(read_pattern("unstructured(0.5)").keep(values), values, 0)
    assert np.array_equal(places, four_bits.round(held))


@pytest.mark.parametrize("text", ["2:4 int4/v16/e4m3", "C1(4:6)->C0(2:4) int4/v8", "1:8 int8/v16 + 6:8 fp4/v16/e4m3"])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_axis_only_turns_the_tensor(text: str, axis: int) -> None:
    values = gaussian((50, 70))
    found = read_representation(text)
    turned = values if axis == 1 else np.ascontiguousarray(values.T)
    expected = found.project(turned)
    assert np.array_equal(found.project(values, axis), expected if axis == 1 else expected.T)
    assert measure(values, found, axis).relative_error == pytest.approx(measure(turned, found).relative_error)


def test_what_a_format_loses_goes_to_the_terms_behind() -> None:
    values = gaussian((64, 64))
    one, two = (
        measure(values, read_representation(text)).relative_error for text in ("int4/v16", "int4/v16 + int4/v16")
    )
    assert two < one / 8
    parts = read_representation("1:8 int8 + 7:8 int8").decompose(values)
    assert np.array_equal(parts[0] + parts[1], read_representation("1:8 int8 + 7:8 int8").project(values))


def test_importance_chooses_the_places_but_not_the_values() -> None:
    values = np.array([[1.0, -2.0, 3.0, 4.0]], dtype=np.float32)
    found = read_representation("2:4").project(values, importance=np.array([10.0, 1.0, 0.0, 1.0]))
    assert found.tolist() == [[1.0, 0.0, 0.0, 4.0]]
    per_input = gaussian((40, 8)) ** 2
    many = gaussian((40, 8))
    expected = np.where(read_pattern("2:4").keep(many * per_input), many, 0)
    assert np.array_equal(read_representation("2:4").project(many, importance=per_input), expected)
    assert measure(many, read_representation("2:4"), importance=per_input).relative_error == pytest.approx(
        compare(many, expected).relative_error
    )
    with pytest.raises(SpecError, match="does not go with"):
        read_representation("2:4").project(many, importance=np.ones(7))


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from(
        [
            "2:4",
            "3:5+1:10",
            "C1(2:3)->C0(1:2)",
            "unstructured(0.3)",
            "4:2:8",
            "block2x3(0.4)",
            "vector3(1:2)",
            "dense int8/v16",
        ]
    ),
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.int32]),
)
def test_arrays_of_all_shapes_and_types_are_never_modified(text: str, rows: int, length: int, dtype: type) -> None:
    values = (np.random.default_rng(rows * 97 + length).standard_normal((rows, length)) * 20).astype(dtype)
    before = values.copy()
    found = read_representation(text)
    projected = found.project(values)
    assert projected.shape == values.shape
    assert projected.dtype == (np.float64 if dtype in (np.float64, np.int32) else np.float32)
    assert np.array_equal(values, before)
    measured = measure(values, found)
    assert measured.relative_error == pytest.approx(compare(values, projected).relative_error, abs=1e-9)
    assert measured.density == np.count_nonzero(projected) / values.size
    assert np.array_equal(sum(found.decompose(values)), projected)


def test_slabs_change_nothing() -> None:
    values = gaussian((700, 1000))  # several slabs
    for text in ("2:4+2:8", "4:16 int8/v16"):
        found = read_representation(text)
        whole = np.concatenate([found.project(rows[None]) for rows in values])
        assert np.array_equal(found.project(values), whole)


def test_errors_of_tiny_and_huge_values_are_relative() -> None:
    values = np.random.default_rng(1).standard_normal((16, 64))
    expected = measure(values, read_representation("2:4")).relative_error
    for scale in (1e-200, 1e200):
        for text in ("2:4", "C1(2:4)->C0(2:4)", "16:2:8"):
            scaled = measure(values * scale, read_representation(text)).relative_error
            assert scaled == pytest.approx(measure(values, read_representation(text)).relative_error)
    assert 0.3 < expected < 0.4


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[1.0, np.nan, 2.0, np.inf]]), r"2 of 4 values are NaN or infinite, the first at \[0, 1\]"),
        (np.zeros((0, 4)), "no elements"),
        (np.float32(3), "no axis"),
        (np.array([1 + 2j]), "no real numbers"),
        (np.array(["a"]), "no real numbers"),
        (np.array([[2**60 + 1]]), r"beyond 2\^53"),
        ([[1.0], [2.0, 3.0]], "no array of numbers"),
        (np.ma.masked_equal(np.array([1.0, 2.0]), 2.0), "masked out"),
    ],
)
def test_arrays_that_hold_no_finite_numbers_are_refused(array: object, message: str) -> None:
    for text in ("2:4", "dense", "unstructured(0.3) int8"):
        with pytest.raises(SpecError, match=message):
            measure(array, read_representation(text))  # type: ignore[arg-type]
        with pytest.raises(SpecError, match=message):
            read_representation(text).project(array)  # type: ignore[arg-type]


def test_sparse_matrices_are_written_out_unless_they_are_huge() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    values = gaussian((20, 40)) * (np.random.default_rng(2).random((20, 40)) < 0.1)
    assert np.array_equal(
        read_representation("2:4").project(sparse.csr_matrix(values)), read_representation("2:4").project(values)
    )
    with pytest.raises(SpecError, match="too large to write out"):
        measure(sparse.coo_matrix((10**6, 10**6)), read_representation("2:4"))


def test_tensors_of_pytorch_are_taken_from_their_graph() -> None:
    torch = pytest.importorskip("torch")
    values = gaussian((8, 8))
    expected = measure(values, read_representation("2:4")).relative_error
    assert measure(torch.tensor(values, requires_grad=True), read_representation("2:4")).relative_error == expected
    rounded = torch.tensor(values).bfloat16()
    assert measure(rounded, read_representation("2:4")).relative_error == pytest.approx(expected, rel=0.01)


def test_a_representation_has_terms() -> None:
    with pytest.raises(SpecError, match="at least one term"):
        Representation(())
    with pytest.raises(SpecError, match="can't be compared"):
        compare(np.ones(3), np.ones(4))


def test_a_format_without_a_zero_leaves_places_that_the_pattern_drops_empty() -> None:
    values = np.random.default_rng(3).standard_normal((8, 32)).astype(np.float32)
    held = read_representation("unstructured(0.25) binary").project(values)
    assert np.count_nonzero(held) == values.size // 4
