"""TASD series: recorded and closed-form errors, identities, and the optimum."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.representation import (
    compare,
    decompose_optimally,
    distinct_densities,
    expected_dropped_nonzeros,
    greedy_is_optimal,
    measure,
    read_family,
    read_representation,
)
from recorded_decompositions import recorded_hss, recorded_series

Array = NDArray[np.float32]


def gaussian(shape: tuple[int, ...], seed: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def recorded_tensor(name: str) -> Array:
    """A draw of the tensor that `recorded_decompositions` calls `name`."""
    values = gaussian((1024, 1024))
    kind, _, sparsity = name.rpartition("_s")
    if name == "relu_gauss":
        return np.maximum(values, 0)
    if kind == "gauss_randmask":
        return values * (np.random.default_rng(2).random(values.shape) >= float(sparsity))
    return read_representation(f"unstructured({1 - float(sparsity):g})").project(values)


def plainly(values: Array, *terms: tuple[int, int]) -> list[Array]:
    """The terms of a series, block by block in plain Python; short last blocks keep what fits."""
    residual, found = values.copy(), []
    for n, m in terms:
        held = np.zeros_like(values)
        for row in range(len(values)):
            for start in range(0, values.shape[1], m):
                block = np.abs(residual[row, start : start + m])
                for place in sorted(range(len(block)), key=lambda i: (-block[i], i))[:n]:
                    held[row, start + place] = residual[row, start + place]
        found.append(held)
        residual -= held
    return found


@pytest.mark.parametrize("name", recorded_series())
def test_recorded_errors_are_met_within_sampling_error(name: str) -> None:
    values = recorded_tensor(name)
    squared = np.square(values, dtype=np.float64).sum()
    nonzeros = np.count_nonzero(values)
    for text, (error, dropped) in recorded_series()[name].items():
        lost = values - read_representation(text).project(values)
        # Scatter over 16 groups of rows says how far two tensors of this size differ.
        parts = np.square(lost, dtype=np.float64).reshape(16, -1).sum(axis=1) * 16 / squared
        missing = (lost != 0).reshape(16, -1).sum(axis=1) * 16 / nonzeros
        few = 4 / nonzeros  # a handful of rare events
        for ours, once, rounding in ((parts, error**2, 1e-4 * error), (missing, dropped, 5e-4)):
            scatter = 5 * math.sqrt(2) * ours.std(ddof=1) / 4
            assert abs(ours.mean() - once) <= scatter + rounding + few, (text, ours.mean(), once)


def test_recorded_errors_of_hss_degrees_are_met_within_sampling_error() -> None:
    values = gaussian((104, 10080))  # every span divides the rows
    for text, (error, unstructured) in recorded_hss().items():
        hss = read_representation(text)
        for series, once in ((hss, error), (read_representation(f"unstructured({hss.stored_share})"), unstructured)):
            assert measure(values, series).relative_error == pytest.approx(once, abs=0.0015), text


def squared_order_statistics(distribution: str, m: int) -> list[float]:
    """E[X²₍ᵢ₎]/E[X²] of the i-th smallest of m magnitudes."""
    ranks = range(1, m + 1)
    if distribution == "uniform":  # of U(0, 1): Beta(i, m − i + 1), second moment i(i+1)/((m+1)(m+2))
        return [3 * i * (i + 1) / ((m + 1) * (m + 2)) for i in ranks]
    if distribution == "laplace":  # of an exponential: sums of independent exponentials of rates m, m − 1, … (Rényi)
        gaps = [1 / (m - j) for j in range(m)]
        return [(sum(gaps[:i]) ** 2 + sum(g * g for g in gaps[:i])) / 2 for i in ranks]
    from scipy import integrate, stats

    law = stats.norm() if distribution == "gaussian" else stats.t(5)
    scale = math.comb(m, 1) / law.var()

    def moment(i: int) -> float:
        def density(x: float) -> float:
            below = 2 * law.cdf(x) - 1
            ways = math.comb(m - 1, i - 1)
            return 2 * law.pdf(x) * ways * below ** (i - 1) * (1 - below) ** (m - i) * x * x

        return float(integrate.quad(density, 0, np.inf)[0]) * scale

    return [moment(i) for i in ranks]


@pytest.mark.parametrize(
    ("distribution", "m"), [("uniform", 5), ("laplace", 6), ("laplace", 12), ("gaussian", 10), ("student", 6)]
)
def test_the_error_of_n_of_m_is_the_mean_of_the_smallest_order_statistics(distribution: str, m: int) -> None:
    if distribution not in {"uniform", "laplace"}:
        pytest.importorskip("scipy")
    rng = np.random.default_rng(3)
    draw = {
        "uniform": lambda size: rng.uniform(-1, 1, size),
        "laplace": lambda size: rng.laplace(size=size),
        "gaussian": rng.standard_normal,
        "student": lambda size: rng.standard_t(5, size),
    }[distribution]
    values = draw((1000, 20 * m))
    squares = squared_order_statistics(distribution, m)
    for n in range(1, m):
        expected = math.sqrt(sum(squares[: m - n]) / m)
        assert measure(values, read_representation(f"{n}:{m}")).relative_error == pytest.approx(expected, rel=0.03)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(1, 6), st.integers(0, 6)).map(lambda t: (t[0], t[0] + t[1])), min_size=1, max_size=3
    ),
    arrays.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 29)), elements=st.integers(-4, 4).map(float)),
)
def test_a_series_takes_block_by_block_what_is_left_over(terms: list[tuple[int, int]], values: Array) -> None:
    series = read_representation("+".join(f"{n}:{m}" for n, m in terms))
    before = values.copy()
    for ours, plain in zip(series.decompose(values), plainly(values, *terms), strict=True):
        assert np.array_equal(ours, plain)
    assert np.array_equal(values, before)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 40), st.data())
def test_terms_of_one_size_add_up(m: int, data: st.DataObject) -> None:
    n1 = data.draw(st.integers(1, m - 1))
    n2 = data.draw(st.integers(1, m - n1))
    values = gaussian((7, 3 * m), seed=m)
    one = read_representation(f"{n1 + n2}:{m}").project(values)
    assert np.array_equal(read_representation(f"{n1}:{m}+{n2}:{m}").project(values), one)


def test_two_of_four_and_two_of_eight_are_six_of_eight_bit_by_bit() -> None:
    values = gaussian((500, 4000))
    both = read_representation("2:4+2:8").project(values)
    assert np.array_equal(both, read_representation("6:8").project(values))
    assert not np.array_equal(
        read_representation("2:4+1:8").project(values), read_representation("5:8").project(values)
    )


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 6), st.integers(2, 6), st.integers(2, 4), st.integers(1, 20))
def test_when_a_fine_and_a_coarse_term_are_one(n1: int, m: int, k: int, n2: int) -> None:
    """n₁:m + n₂:km is (k·n₁ + n₂):km exactly if n₂ ≥ (k − 1)(m − n₁): see docs/tasd.md."""
    if n1 > m or n2 > k * m or k * n1 + n2 > k * m:
        return
    series, one = read_representation(f"{n1}:{m}+{n2}:{k * m}"), read_representation(f"{k * n1 + n2}:{k * m}")
    same = n2 >= (k - 1) * (m - n1)
    rows = gaussian((2000 if not same else 300, k * m), seed=n1 + 7 * m)
    if not same:  # a block of small values: the series keeps its largest before larger ones elsewhere
        rows[0, :m] = (np.arange(m) + 1) * 1e-6
    assert np.array_equal(series.project(rows), one.project(rows)) == same


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 8), st.integers(0, 8), st.integers(1, 3), st.integers(1, 3))
def test_a_series_of_one_size_is_lossless_exactly_if_no_block_holds_more(a: int, b: int, n1: int, n2: int) -> None:
    values = np.zeros((1, 16), dtype=np.float32)
    values[0, :a] = 1 + np.arange(a)
    values[0, 8 : 8 + b] = 1 + np.arange(b)
    found = measure(values, read_representation(f"{n1}:8+{n2}:8"))
    assert (found.relative_error == 0) == (max(a, b) <= n1 + n2)


@pytest.mark.parametrize("density", [0.5, 0.2, 0.07])
@pytest.mark.parametrize("text", ["2:4", "1:8", "4:16", "2:4+1:8", "2:4+2:16", "3:9+1:27", "4:8+2:8+1:8", "1:5+1:5"])
def test_what_random_zeros_lose_is_known(density: float, text: str) -> None:
    series = read_representation(text)
    values = gaussian((1000, 1080)) * (np.random.default_rng(4).random((1000, 1080)) < density)
    expected = expected_dropped_nonzeros(series, density)
    scatter = math.sqrt(expected / np.count_nonzero(values))
    assert measure(values, series).dropped_nonzeros == pytest.approx(expected, abs=8 * scatter + 1e-5)


def test_two_of_four_loses_three_sixteenths_of_random_halves() -> None:
    assert expected_dropped_nonzeros(read_representation("2:4"), 0.5) == pytest.approx(0.1875, abs=1e-15)
    for refused in ("2:8+2:4", "unstructured(0.5)", "2:4 int8"):
        with pytest.raises(UnsupportedError):
            expected_dropped_nonzeros(read_representation(refused), 0.5)
    with pytest.raises(SpecError, match="above 0"):
        expected_dropped_nonzeros(read_representation("2:4"), 0)


def least_error(values: Array, terms: list[tuple[int, int]]) -> float:
    """Least squared error over every way to give each place to a term or to none."""
    best = math.inf
    for owner in itertools.product(range(len(terms) + 1), repeat=len(values)):
        if all(
            owner[start : start + m].count(t) <= n
            for t, (n, m) in enumerate(terms)
            for start in range(0, len(values), m)
        ):
            best = min(best, sum(float(v) ** 2 for v, t in zip(values, owner, strict=True) if t == len(terms)))
    return best


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.sampled_from([(1, 2), (1, 3), (2, 3), (1, 4), (2, 4), (1, 6)]), min_size=1, max_size=2),
    st.lists(st.integers(-5, 5), min_size=2, max_size=7),
)
def test_the_optimum_is_that_of_all_assignments(terms: list[tuple[int, int]], row: list[int]) -> None:
    values = np.array([row], dtype=np.float32)
    series = read_representation("+".join(f"{n}:{m}" for n, m in terms))
    parts = decompose_optimally(values, series)
    error = float(np.square(values - sum(parts)).sum())
    assert error == pytest.approx(least_error(values[0], terms))
    for part, (n, m) in zip(parts, terms, strict=True):
        assert all(np.count_nonzero(part[0, i : i + m]) <= n for i in range(0, len(row), m))
    greedy = float(np.square(values - series.project(values)).sum())
    assert greedy >= error
    if greedy_is_optimal(series):
        assert greedy == pytest.approx(error)


@pytest.mark.parametrize("tail", ["", "/keep"])
@pytest.mark.parametrize("text", ["2:4+2:8", "1:3+1:6+2:12", "2:4+1:4+1:16", "3:5"])
def test_nested_series_from_fine_to_coarse_are_optimal(text: str, tail: str) -> None:
    series = read_representation("+".join(part + tail for part in text.split("+")))
    values = gaussian((200, 117))
    assert greedy_is_optimal(series)
    assert compare(values, sum(decompose_optimally(values, series))).relative_error == pytest.approx(
        measure(values, series).relative_error, rel=1e-6
    )


def test_greedy_loses_where_blocks_are_coarse_first_or_cross() -> None:
    values = gaussian((400, 480))
    for text, gap in (("2:8+2:4", 0.03), ("2:4+1:6", 0.005), ("2:5+1:7", 0.005)):
        series = read_representation(text)
        assert not greedy_is_optimal(series)
        least = compare(values, sum(decompose_optimally(values, series))).relative_error
        assert measure(values, series).relative_error > least + gap
    with pytest.raises(UnsupportedError, match="no series"):
        decompose_optimally(values, read_representation("2:4 + unstructured(0.1)"))


def test_families_have_their_degrees() -> None:
    for text, members, densities in (
        ("C1(4:{4..8})->C0(2:{2..4})", 15, 12),
        ("2:{2..16}", 15, 15),
        ("C1(2:{2..8})->C0(2:{2..4})", 21, 15),
        ("{1, 2}:8 + 4:8", 2, 2),
        ("2:4", 1, 1),
    ):
        family = read_family(text)
        assert (len(family), len(distinct_densities(family))) == (members, densities)
    assert [str(member) for member in read_family("{1,2}:{4..5}")] == ["1:4", "1:5", "2:4", "2:5"]
    highlight = [float(d) for d in distinct_densities(read_family("C1(4:{4..8})->C0(2:{2..4})"))]
    recorded = [1.0, 0.8, 0.666667, 0.571429, 0.533333, 0.5, 0.444444, 0.4, 0.380952, 0.333333, 0.285714, 0.25]
    assert highlight == pytest.approx(recorded, abs=1e-6)
    two_rank = [float(d) for d in distinct_densities(read_family("C1(2:{2..8})->C0(2:{2..4})"))]
    assert (two_rank[0], two_rank[-1]) == (1, 0.125)


@pytest.mark.parametrize("text", ["2:{4..2}", "2:{4..", "2:{a..b}", "2:{}", "2:{1..4}", "{1..999}:{1000..9999}"])
def test_a_family_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        read_family(text)
