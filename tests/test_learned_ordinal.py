"""Unified ordinal vectors: encode and decode are inverses."""

from __future__ import annotations

import numpy as np
import pytest

from fiberloom.errors import SpecError
from fiberloom.explore.learned.ordinal import OrdinalCode


@pytest.mark.parametrize("levels", [1, 2, 12, 64])
def test_every_level_comes_back_exactly_for_every_number_of_buckets(levels: int) -> None:
    everything = np.arange(levels)
    for buckets in range(1, levels + 1):
        code = OrdinalCode(levels, buckets)
        assert (code.decode(code.encode(everything)) == everything).all(), buckets
        assert (code.decode(code.encode(everything).astype(np.float32)) == everything).all(), buckets


def test_every_level_has_a_vector_of_its_own() -> None:
    vectors = OrdinalCode(64, 16).encode(np.arange(64))
    assert len({tuple(v) for v in vectors}) == 64
    assert (vectors[0] > 0).sum() == 1, "the lowest level has reached the first bucket"


def test_vectors_grow_with_the_level() -> None:
    vectors = OrdinalCode(64, 16).encode(np.arange(64))
    assert (np.diff(vectors, axis=0) >= 0).all()


def test_small_errors_do_not_change_the_level() -> None:
    code = OrdinalCode(12, 12)
    noisy = code.encode(np.arange(12)) + np.random.default_rng(0).uniform(-0.1, 0.1, (12, 12))
    assert (code.decode(noisy) == np.arange(12)).all()


def test_any_vector_has_a_level() -> None:
    code = OrdinalCode(64, 5)
    drawn = np.random.default_rng(0).random((1000, 5))
    extremes = np.array([[0.0] * 5, [1.0] * 5])
    made = code.decode(np.concatenate([drawn, extremes]))
    assert made.min() >= 0
    assert made.max() <= 63
    assert made[-2:].tolist() == [0, 63]


def test_what_can_not_be_encoded_is_refused() -> None:
    with pytest.raises(SpecError, match="13 buckets for 12 levels"):
        OrdinalCode(12, 13)
    with pytest.raises(SpecError, match="levels from 0 to 12"):
        OrdinalCode(12, 3).encode([0, 12])
