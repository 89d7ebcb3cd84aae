"""Hierarchical density: occupancies equal those of all patterns, counted one by one."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberloom.errors import SpecError
from fiberloom.simulate.draw import hierarchical
from fiberloom.workload.density import FixedStructuredDensity, HierarchicalDensity, build_density
from fiberloom.workload.density.hierarchical import parse_hierarchy

Ranks = list[tuple[int, int]]


def patterns(ranks: Ranks) -> list[tuple[int, ...]]:
    """Every pattern that the ranks allow, equally likely."""
    if not ranks:
        return [(1,)]
    (kept, of), inner = ranks[0], patterns(ranks[1:])
    empty = (0,) * len(inner[0])
    found = []
    for chosen in itertools.combinations(range(of), kept):
        for blocks in itertools.product(inner, repeat=kept):
            at = dict(zip(chosen, blocks, strict=True))
            found.append(sum((at.get(i, empty) for i in range(of)), ()))
    return found


def fibre_tally(ranks: Ranks, begin: int, length: int) -> Counter[int]:
    """Probability by non-zeros of a segment, from all ways to fill the patterns that it meets."""
    every, span = patterns(ranks), math.prod(of for _, of in ranks)
    tally: Counter[int] = Counter()
    for drawn in itertools.product(every, repeat=-(-(begin + length) // span)):
        tally[sum(sum(drawn, ())[begin : begin + length])] += 1
    total = sum(tally.values())
    return Counter({k: Fraction(n, total) for k, n in tally.items()})


def counted(ranks: Ranks, shape: tuple[int, int], tile: tuple[int, int]) -> dict[int, float]:
    """Distribution over all aligned tiles of a matrix with patterns along its columns."""
    span = math.prod(of for _, of in ranks)
    whole: Counter[int] = Counter()
    starts = list(itertools.product(range(0, shape[0], tile[0]), range(0, shape[1], tile[1])))
    for row, column in starts:
        rows, length = min(tile[0], shape[0] - row), min(tile[1], shape[1] - column)
        one = fibre_tally(ranks, column % span, length)
        held: Counter[int] = Counter({0: Fraction(1)})
        for _ in range(rows):
            grown: Counter[int] = Counter()
            for (a, p), (b, q) in itertools.product(held.items(), one.items()):
                grown[a + b] += p * q
            held = grown
        for k, p in held.items():
            whole[k] += p / len(starts)
    return {k: float(p) for k, p in sorted(whole.items())}


SMALL: list[Ranks] = [
    [(2, 4)],
    [(1, 2), (1, 3)],
    [(2, 3), (1, 2)],
    [(1, 3), (2, 3)],
    [(1, 2), (1, 2), (1, 2)],
    [(2, 2), (1, 4)],
]


@pytest.mark.parametrize("ranks", SMALL)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_occupancies_of_tiles_aligned_or_not_equal_counting_every_pattern(ranks: Ranks, data: st.DataObject) -> None:
    span = math.prod(of for _, of in ranks)
    shape = (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2 * span)))
    tile = (data.draw(st.integers(1, shape[0])), data.draw(st.integers(1, min(shape[1], span + 1))))
    model = HierarchicalDensity(shape, ranks)
    found, expected = model.occupancy(tile), counted(ranks, shape, tile)
    assert found.counts.tolist() == list(expected)
    assert found.probabilities.tolist() == pytest.approx(list(expected.values()))
    assert model.mean_occupancy(tile) == pytest.approx(sum(k * p for k, p in expected.items()))
    assert model.max_occupancy(tile) == max(expected)
    assert model.min_occupancy(tile) == min(expected)
    assert model.probability_empty(tile) == pytest.approx(expected.get(0, 0.0))


def test_tiles_of_whole_patterns_hold_their_share_with_certainty() -> None:
    model = HierarchicalDensity((1024, 1024), [(4, 8), (2, 4)])
    assert model.density == 0.25
    for tile, held in (((1, 32), 8), ((16, 64), 256), ((1024, 1024), 2**18)):
        assert model.occupancy(tile).counts.tolist() == [held]
        assert model.max_occupancy(tile) == held


def test_half_a_pattern_can_hold_twice_its_share_or_nothing() -> None:
    model = HierarchicalDensity((8, 64), [(1, 2), (2, 4)])
    halves = model.occupancy((1, 4))
    assert halves.counts.tolist() == [0, 2]
    assert halves.probabilities.tolist() == [0.5, 0.5]
    assert FixedStructuredDensity((8, 64), 0.25).max_occupancy((1, 4)) == 1  # spreads evenly, as blocks of 4 do not


def test_one_rank_at_whole_groups_is_fixed_structured() -> None:
    model, plain = HierarchicalDensity((16, 64), [(2, 4)]), FixedStructuredDensity((16, 64), 0.5)
    for tile in ((1, 4), (4, 8), (16, 64)):
        assert model.occupancy(tile).counts.tolist() == plain.occupancy(tile).counts.tolist()


def test_drawn_tensors_agree_with_the_distribution() -> None:
    ranks, shape, tile = [(4, 7), (2, 3)], (400, 126), (2, 9)
    drawn = hierarchical(shape, ranks, 1, np.random.default_rng(0))
    assert drawn.mean() == pytest.approx(8 / 21, abs=1e-9)
    held = drawn.reshape(shape[0] // 2, 2, shape[1] // 9, 9).sum(axis=(1, 3)).ravel()
    found = HierarchicalDensity(shape, ranks).occupancy(tile)
    assert held.mean() == pytest.approx(float(found.counts @ found.probabilities), rel=0.02)
    for k, p in zip(found.counts, found.probabilities, strict=True):
        assert (held == k).mean() == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / len(held)) + 1e-3)


def test_patterns_lie_along_the_axis_that_is_named() -> None:
    along_rows = HierarchicalDensity((64, 8), [(1, 2), (2, 4)], axis=0)
    assert along_rows.occupancy((8, 1)).counts.tolist() == [2]
    assert along_rows.occupancy((1, 8)).counts.tolist() == list(range(9))
    assert HierarchicalDensity((64, 8, 3, 3), [(2, 4)]).axis == 1
    assert HierarchicalDensity((64,), [(2, 4)]).axis == 0


def test_a_tile_of_many_fibres_keeps_its_mean_and_its_mass() -> None:
    model = HierarchicalDensity((100_000, 1000), [(4, 5), (2, 3)])
    found = model.occupancy((100_000, 7))
    assert found.probabilities.sum() == pytest.approx(1)
    assert float(found.counts @ found.probabilities) == pytest.approx(model.mean_occupancy((100_000, 7)), rel=1e-9)


def test_text_is_read_with_either_arrow_and_errors_say_what_to_write() -> None:
    assert parse_hierarchy("C1(4:8)->C0(2:4)") == parse_hierarchy(" C1(4:8) → C0(2:4)") == ((4, 8), (2, 4))
    model = build_density("A", (8, 64), "C1(4:8)->C0(2:4)")
    assert isinstance(model, HierarchicalDensity) and model.density == 0.25
    spelled = build_density("A", (64, 8), {"distribution": "hierarchical", "pattern": "C0(2:4)", "axis": 0})
    assert isinstance(spelled, HierarchicalDensity) and spelled.axis == 0
    for text, problem in (
        ("C1(4:8)->2:4", "'2:4' is not a rank"),
        ("C1(5:4)", "keeps 5 of 4"),
        ("C1(0:4)", "keeps 0 of 4"),
        ("C1(4:8", "is not a rank"),
    ):
        with pytest.raises(SpecError, match=problem) as error:
            build_density("A", (8, 64), text)
        assert error.value.hint
    with pytest.raises(SpecError, match="axis 2 of a tensor of 2 ranks"):
        build_density("A", (8, 64), {"distribution": "hierarchical", "pattern": "C0(2:4)", "axis": 2})
    with pytest.raises(SpecError, match="'pattern' is missing"):
        build_density("A", (8, 64), {"distribution": "hierarchical"})
