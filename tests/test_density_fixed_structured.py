"""Fixed-structured density: a tile holds its share, rounded down or up."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberloom.errors import SpecError
from fiberloom.workload.density import FixedStructuredDensity


@given(st.integers(0, 20), st.integers(1, 20), st.integers(1, 500), st.integers(1, 9))
def test_occupancy_is_the_mixture_of_floor_and_ceiling(kept: int, of: int, size: int, block: int) -> None:
    share = Fraction(min(kept, of), of)
    model = FixedStructuredDensity((500,), share)
    counts, probabilities = model.occupancy((size,))
    expected = share * size
    assert set(counts.tolist()) == {math.floor(expected), math.ceil(expected)}
    assert probabilities.sum() == pytest.approx(1)
    assert counts @ probabilities == pytest.approx(float(expected))
    assert model.mean_occupancy((size,)) == float(expected)
    assert model.min_occupancy((size,)) == math.floor(expected)
    assert model.max_occupancy((size,)) == math.ceil(expected)
    assert model.tile_statistics([(size,)], block)[0].tolist() == pytest.approx(
        [
            max(0.0, 1 - float(expected)),
            math.ceil(expected),
            float(expected),
            float(-(-counts // block) @ probabilities),
        ]
    )


def test_float_noise_makes_no_nonzero() -> None:
    assert 0.07 * 100 > 7
    assert FixedStructuredDensity((300,), 0.07).occupancy((100,)).counts.tolist() == [7]
    assert FixedStructuredDensity((6,), 1 / 3).occupancy((3,)).counts.tolist() == [1]
    assert FixedStructuredDensity((1280,), 1 / 128).mean_occupancy((1280,)) == 10


def test_confidence_picks_floor_when_it_suffices() -> None:
    model = FixedStructuredDensity((64,), 0.3)  # a tile of 4 holds 1 with 0.8, 2 with 0.2
    assert model.max_occupancy((4,), 0.8) == 1
    assert model.max_occupancy((4,), 0.81) == 2


@pytest.mark.parametrize(("density", "held"), [(0, 0), (1, 6)])
def test_density_zero_and_one_are_certain(density: float, held: int) -> None:
    model = FixedStructuredDensity((4, 6), density)
    assert model.occupancy((2, 3)).counts.tolist() == [held]
    assert model.probability_empty((2, 3)) == (held == 0)
    assert model.tile_statistics([(2, 3)], 4).tolist() == [[float(held == 0), held, held, -(-held // 4)]]


def test_known_enclosing_tile_sets_the_share() -> None:
    inner = FixedStructuredDensity((64,), 0.5).given(9, 3)
    assert inner.occupancy((3,)).counts.tolist() == [1]
    assert inner.occupancy((3, 1)).counts.tolist() == [1]
    with pytest.raises(SpecError, match="can't hold"):
        inner.given(4, -1)


def test_fractions_beyond_int64_are_exact() -> None:
    density = 0.123456789012345678
    model = FixedStructuredDensity((1 << 20, 1 << 20), density)
    sizes = np.array([(1, 7), (1 << 20, 1 << 20), (1 << 19, 3)])
    statistics = model.tile_statistics(sizes, 4)
    np.testing.assert_allclose(statistics[:, 2], sizes.prod(axis=1) * density, rtol=1e-15)
    assert statistics[:, 1].tolist() == [model.max_occupancy(s) for s in sizes.tolist()]
