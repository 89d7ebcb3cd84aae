"""Banded density: tile occupancies equal those of the matrix, counted element by element."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.workload.density import ActualDensity, BandedDensity


def band(rows: int, columns: int, width: int) -> np.ndarray:
    """The matrix, from the definition."""
    i, j = np.indices((rows, columns))
    if rows > columns:
        return abs(i - j * rows // columns) <= width
    return abs(i * columns // rows - j) <= width


def tally(mask: np.ndarray, tile: tuple[int, int], strides: tuple[int, int]) -> dict[int, float]:
    """Share of tiles by occupancy, by cutting every tile out."""
    starts = []
    for extent, t, s in zip(mask.shape, tile, strides, strict=True):
        of_rank = [0]
        while of_rank[-1] + t < extent and of_rank[-1] + s < extent:
            of_rank.append(of_rank[-1] + s)
        starts.append(of_rank)
    held = [int(mask[a : a + tile[0], b : b + tile[1]].sum()) for a in starts[0] for b in starts[1]]
    return {k: held.count(k) / len(held) for k in sorted(set(held))}


SIDES = st.integers(1, 14)


@given(SIDES, SIDES, st.integers(0, 16), st.data())
@settings(max_examples=300)
def test_occupancies_equal_scanning(rows: int, columns: int, width: int, data: st.DataObject) -> None:
    model, mask = BandedDensity((rows, columns), width), band(rows, columns, width)
    tile = data.draw(st.tuples(st.integers(1, rows), st.integers(1, columns)))
    strides = data.draw(st.one_of(st.just(tile), st.tuples(SIDES, SIDES)))
    counts, probabilities = model.occupancy_at(tile, strides)
    assert dict(zip(counts.tolist(), probabilities.tolist(), strict=True)) == pytest.approx(tally(mask, tile, strides))
    assert model.density == pytest.approx(mask.mean())
    if strides == tile:
        assert model.occupancy(tile).counts.tolist() == counts.tolist()


def test_square_band_is_distance_from_the_diagonal() -> None:
    model = BandedDensity((6, 6), 1)
    assert model.density == pytest.approx((6 + 5 + 5) / 36)
    # 2 × 2 tiles: three full on the diagonal, four with one corner, two empty.
    assert model.occupancy((2, 2)).counts.tolist() == [0, 1, 4]
    assert model.occupancy((2, 2)).probabilities.tolist() == pytest.approx([2 / 9, 4 / 9, 3 / 9])
    assert model.probability_empty((2, 2)) == pytest.approx(2 / 9)
    assert model.max_occupancy((2, 2)) == 4
    assert model.mean_occupancy((2, 2)) == pytest.approx(16 / 9)
    assert model.expected_blocks((2, 2), 2) == pytest.approx(4 / 9 + 3 / 9 * 2)


def test_rectangle_has_a_band_of_the_same_width_in_every_row() -> None:
    assert band(3, 9, 1).sum(axis=1).tolist() == [2, 3, 3]
    assert BandedDensity((3, 9), 1).density == pytest.approx(8 / 27)
    assert BandedDensity((9, 3), 1).density == pytest.approx(8 / 27)


def test_shape_of_the_tile_matters() -> None:
    model = BandedDensity((8, 8), 0)
    assert model.max_occupancy((4, 4)) == 4
    assert model.max_occupancy((2, 8)) == 2
    assert model.tile_statistics([(4, 4), (2, 8), (4, 4)], 2)[:, 1].tolist() == [4, 2, 4]


def test_large_band_is_counted_without_touching_elements() -> None:
    model = BandedDensity((100_000, 100_000), 5_000)
    started = time.perf_counter()
    single, wide = model.occupancy((1, 1)), model.occupancy((7, 5))
    assert time.perf_counter() - started < 2
    assert single.probabilities[1] == pytest.approx(model.density)
    assert wide.counts[-1] == 35
    nonzeros = model.density * model.size
    tiles = -(-100_000 // 7) * (100_000 // 5)
    assert wide.counts @ wide.probabilities * tiles == pytest.approx(nonzeros, rel=1e-12)


def test_full_band_is_dense() -> None:
    model = BandedDensity((5, 5), 4)
    assert model.density == 1
    assert model.occupancy((2, 2)).counts.tolist() == [1, 2, 4]  # the clipped tiles of the edges


def test_empty_and_full_tiles_have_known_insides() -> None:
    model = BandedDensity((8, 8), 1)
    assert model.given(16, 0).probability_empty((4,)) == 1
    assert model.given(16, 16).min_occupancy((4,)) == 4
    with pytest.raises(UnsupportedError, match="banded"):
        model.given(16, 5)


def test_band_is_of_two_ranks() -> None:
    with pytest.raises(SpecError, match=r"\(4, 4, 4\)"):
        BandedDensity((4, 4, 4), 1)
    with pytest.raises(SpecError, match="below 0"):
        BandedDensity((4, 4), -1)
    with pytest.raises(SpecError, match="strides"):
        BandedDensity((4, 4), 1).occupancy_at((2, 2), (1,))
    with pytest.raises(SpecError, match="ranks"):
        BandedDensity((4, 4), 1).occupancy((2,))


def test_band_and_its_own_matrix_agree() -> None:
    model, matrix = BandedDensity((37, 61), 5), ActualDensity.from_array(band(37, 61, 5))
    tiles = [(1, 1), (4, 7), (37, 61), (5, 61), (37, 2)]
    np.testing.assert_allclose(model.tile_statistics(tiles, 4), matrix.tile_statistics(tiles, 4), rtol=1e-12)
