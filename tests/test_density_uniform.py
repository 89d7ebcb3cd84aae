"""Uniform density is the hypergeometric distribution, in every regime of its closed forms."""

from __future__ import annotations

import math
import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberloom.errors import SpecError
from fiberloom.workload.density import DenseDensity, UniformDensity


def exact(population: int, marked: int, drawn: int) -> dict[int, Fraction]:
    """Occupancy by counting placements."""
    counts = range(max(0, drawn - (population - marked)), min(drawn, marked) + 1)
    ways = math.comb(population, drawn)
    return {k: Fraction(math.comb(marked, k) * math.comb(population - marked, drawn - k), ways) for k in counts}


def model(population: int, marked: int) -> UniformDensity:
    return UniformDensity((population,), Fraction(marked, population))


@pytest.mark.parametrize("population", [1, 2, 3, 7, 16, 24])
def test_small_cases_equal_counting_all_placements(population: int) -> None:
    for marked in range(population + 1):
        for drawn in range(1, population + 1):
            uniform, truth = model(population, marked), exact(population, marked, drawn)
            counts, probabilities = uniform.occupancy((drawn,))
            assert counts.tolist() == list(truth)
            np.testing.assert_allclose(probabilities, [float(p) for p in truth.values()], rtol=1e-13)
            assert uniform.min_occupancy((drawn,)) == min(truth)
            assert uniform.max_occupancy((drawn,)) == max(truth)
            assert uniform.probability_empty((drawn,)) == pytest.approx(float(truth.get(0, 0)), rel=1e-13)
            assert uniform.mean_occupancy((drawn,)) == pytest.approx(float(sum(k * p for k, p in truth.items())))
            for block in (1, 2, 3, 5, 64):
                blocks = float(sum(-(-k // block) * p for k, p in truth.items()))
                assert uniform.expected_blocks((drawn,), block) == pytest.approx(blocks, rel=1e-12)


@st.composite
def _draws(draw: st.DrawFn, largest: int = 3000) -> tuple[int, int, int]:
    population = draw(st.integers(1, largest))
    return population, draw(st.integers(0, population)), draw(st.integers(1, population))


@given(_draws())
def test_probability_empty_equals_exact_fraction(case: tuple[int, int, int]) -> None:
    population, marked, drawn = case
    truth = float(exact_empty(population, marked, drawn))
    assert model(population, marked).probability_empty((drawn,)) == pytest.approx(truth, rel=1e-12, abs=1e-300)


def exact_empty(population: int, marked: int, drawn: int) -> Fraction:
    return Fraction(math.comb(population - marked, drawn), math.comb(population, drawn))


@pytest.mark.parametrize(
    ("population", "marked", "drawn"),
    [
        (100_000, 1_000, 9_000),  # summed logarithms
        (100_000, 65, 50_000),
        (100_000, 300, 90_000),  # close to the singularity: multiplied out
        (100_000, 99_000, 900),
        (50_000, 4_000, 4_001),
    ],
)
def test_probability_empty_of_large_tiles_equals_exact_fraction(population: int, marked: int, drawn: int) -> None:
    truth = exact_empty(population, marked, drawn)
    assert model(population, marked).probability_empty((drawn,)) == pytest.approx(float(truth), rel=1e-12, abs=0)


@given(_draws(), st.integers(1, 70))
@settings(max_examples=200)
def test_identities_hold(case: tuple[int, int, int], block: int) -> None:
    population, marked, drawn = case
    uniform = model(population, marked)
    counts, probabilities = uniform.occupancy((drawn,))
    mean = drawn * marked / population
    assert probabilities.sum() == pytest.approx(1, rel=1e-12)
    assert counts @ probabilities == pytest.approx(mean, rel=1e-11)
    assert uniform.mean_occupancy((drawn,)) == pytest.approx(mean)
    assert -(-counts // block) @ probabilities == pytest.approx(uniform.expected_blocks((drawn,), block), rel=1e-11)
    assert mean / block - 1e-9 <= uniform.expected_blocks((drawn,), block) <= mean / block + 1


@given(_draws(200), st.floats(0.01, 0.999))
def test_confidence_is_the_quantile(case: tuple[int, int, int], confidence: float) -> None:
    population, marked, drawn = case
    truth = exact(population, marked, drawn)
    bound = model(population, marked).max_occupancy((drawn,), confidence)
    within = float(sum(p for k, p in truth.items() if k <= bound))
    below = float(sum(p for k, p in truth.items() if k < bound))
    assert within >= confidence - 1e-11
    assert below < confidence + 1e-11


@pytest.mark.parametrize("block", [2, 4, 16, 64])
def test_expected_blocks_of_wide_distributions_equal_the_sum(block: int) -> None:
    uniform = UniformDensity((1 << 20,), 0.3)
    for drawn in (50, 400, 3_000, 30_000, 500_000):
        counts, probabilities = uniform.occupancy((drawn,))
        assert uniform.expected_blocks((drawn,), block) == pytest.approx(-(-counts // block) @ probabilities, rel=1e-12)


def test_tile_statistics_are_the_scalar_answers() -> None:
    uniform = UniformDensity((60, 70), 0.07)
    tiles = np.array([(1, 1), (3, 5), (60, 70), (60, 1), (3, 5), (20, 35), (9, 64), (61, 2)])
    for block in (1, 4, 16):
        statistics = uniform.tile_statistics(tiles, block)
        assert statistics.shape == (8, 4)
        for tile, row in zip(tiles.tolist(), statistics, strict=True):
            assert row.tolist() == pytest.approx(
                [
                    uniform.probability_empty(tile),
                    uniform.max_occupancy(tile),
                    uniform.mean_occupancy(tile),
                    uniform.expected_blocks(tile, block),
                ],
                rel=1e-12,
            )


def test_million_element_tiles_answer_at_once() -> None:
    uniform = UniformDensity((1 << 15, 1 << 15), 0.1)
    counts, probabilities = uniform.occupancy((1 << 15, 1 << 14))
    assert len(counts) < 300_000
    assert counts @ probabilities == pytest.approx(uniform.nonzeros / 2, rel=1e-9)
    sizes = np.arange(1, 200_001)[:, None] * 5
    flat = UniformDensity((1 << 30,), 0.1)
    started = time.perf_counter()
    flat.tile_statistics(sizes, 1)
    assert time.perf_counter() - started < 1.0


def test_number_of_nonzeros_is_rounded_up_without_float_noise() -> None:
    assert 0.07 * 100 > 7
    assert UniformDensity((100,), 0.07).nonzeros == 7
    assert UniformDensity((50,), 0.14).nonzeros == 7
    assert UniformDensity((3,), 1 / 3).nonzeros == 1
    assert UniformDensity((100,), 1e-12).nonzeros == 1
    assert UniformDensity((10**15,), 0.1).nonzeros == 10**14


def test_tile_larger_than_the_zeros_is_never_empty() -> None:
    uniform = UniformDensity((4, 4), 0.75)
    assert uniform.min_occupancy((3, 3)) == 9 - 4
    assert uniform.probability_empty((3, 3)) == 0
    assert uniform.occupancy((3, 3)).counts[0] == 5


@pytest.mark.parametrize(("density", "held"), [(0, 0), (1, 6)])
def test_density_zero_and_one_are_certain(density: float, held: int) -> None:
    uniform = UniformDensity((4, 6), density)
    counts, probabilities = uniform.occupancy((2, 3))
    assert (counts.tolist(), probabilities.tolist()) == ([held], [1.0])
    assert uniform.probability_empty((2, 3)) == (held == 0)
    assert uniform.min_occupancy((2, 3)) == uniform.max_occupancy((2, 3)) == uniform.max_occupancy((2, 3), 0.5) == held
    assert uniform.tile_statistics([(2, 3)], 4).tolist() == [[float(held == 0), held, held, -(-held // 4)]]


def test_known_enclosing_tile_replaces_the_tensor() -> None:
    inner = UniformDensity((64, 64), 0.1).given(16, 5)
    assert inner.occupancy((4,)).counts.tolist() == [0, 1, 2, 3, 4]
    assert inner.probability_empty((2, 2)) == pytest.approx(math.comb(11, 4) / math.comb(16, 4))
    with pytest.raises(SpecError, match="16 elements can't hold 17"):
        inner.given(16, 17)


def test_occupancy_agrees_with_sampled_tensors() -> None:
    random = np.random.default_rng(7)
    uniform = UniformDensity((12, 12), 0.2)
    tensor = np.zeros(144, dtype=int)
    tensor[: uniform.nonzeros] = 1
    held = np.array([random.permutation(tensor)[:18].sum() for _ in range(20_000)])
    counts, probabilities = uniform.occupancy((3, 6))
    observed = np.array([(held == k).mean() for k in counts])
    np.testing.assert_allclose(observed, probabilities, atol=0.015)


def test_dense_is_uniform_at_one() -> None:
    tiles = [(1, 1), (3, 2), (4, 9)]
    dense, full = DenseDensity((4, 6)), UniformDensity((4, 6), 1.0)
    assert dense.tile_statistics(tiles, 4).tolist() == full.tile_statistics(tiles, 4).tolist()
    assert dense.max_occupancy((2, 3)) == dense.min_occupancy((2, 3)) == 6
    assert dense.given(8, 8).mean_occupancy((4,)) == 4
    with pytest.raises(SpecError, match="dense"):
        dense.given(8, 7)


@pytest.mark.parametrize("density", [-0.1, 1.5, float("nan")])
def test_density_outside_its_range_is_refused(density: float) -> None:
    with pytest.raises(SpecError, match=r"not in 0\.\.1"):
        UniformDensity((4,), density)


def test_impossible_tiles_and_blocks_are_refused() -> None:
    uniform = UniformDensity((4, 4), 0.5)
    with pytest.raises(SpecError, match="extent below 1"):
        uniform.occupancy((0, 4))
    with pytest.raises(SpecError, match="extent below 1"):
        uniform.tile_statistics([(0, 4)], 1)
    with pytest.raises(SpecError, match="whole numbers"):
        uniform.tile_statistics([(0.5, 4)], 1)
    with pytest.raises(SpecError, match="block holds 0 words"):
        uniform.expected_blocks((2, 2), 0)
    with pytest.raises(SpecError, match="no elements"):
        UniformDensity((4, 0), 0.5)
