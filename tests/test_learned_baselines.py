"""What learned models have to beat."""

from __future__ import annotations

import numpy as np
import pytest

from fiberloom.explore.learned import baselines
from fiberloom.explore.learned.designs import CLUSTERS, COUNT, areas_mm2, levels
from fiberloom.explore.learned.labelling import Labels, random_labels
from fiberloom.explore.learned.scoring import score


@pytest.fixture(scope="module")
def train() -> Labels:
    return random_labels(400, seed=9)


@pytest.fixture(scope="module")
def test() -> Labels:
    return random_labels(60, seed=10, keep_costs=True)


def test_the_constant_is_the_most_frequent_label(train: Labels, test: Labels) -> None:
    made = baselines.most_frequent(train)(test)
    assert set(made.tolist()) == {int(np.bincount(train.design).argmax())}


def test_most_lanes_leaves_no_room_for_another_cluster(test: Labels) -> None:
    made = baselines.most_lanes()(test)
    array, _ = levels(made)
    areas = areas_mm2()
    for design, clusters, cap in zip(made, array, test.cap_mm2, strict=True):
        assert areas[design] <= cap
        larger = [d for d in range(COUNT) if levels(d)[0] > clusters]
        assert clusters == len(CLUSTERS) - 1 or areas[larger].min() > cap


def test_a_table_answers_what_it_was_made_from(train: Labels) -> None:
    first = train.take(slice(0, None, 4))
    assert np.mean(baselines.table(first)(first) == first.design) > 0.9


def test_a_table_answers_shapes_it_never_saw(train: Labels, test: Labels) -> None:
    small = train.take(slice(40))
    assert baselines.table(small)(test).shape == test.design.shape


def test_learners_beat_the_best_constant(train: Labels, test: Labels) -> None:
    pytest.importorskip("sklearn")
    constant = score(test, baselines.most_frequent(train)(test))
    for fit in (baselines.table, baselines.neighbours, lambda rows: baselines.trees(rows, iterations=30)):
        learned = score(test, fit(train)(test))
        assert learned.regret < constant.regret


def test_searches_come_closer_with_more_evaluations(test: Labels) -> None:
    for search in (baselines.random_search, baselines.genetic):
        few, many = (score(test, search(test, n)) for n in (10, 200))
        assert 1 <= many.regret < few.regret
        assert few.outside == many.outside == 0


def test_searching_everything_finds_the_label(test: Labels) -> None:
    assert (baselines.random_search(test, COUNT) == test.design).all()


@pytest.mark.parametrize("search", [baselines.random_search, baselines.genetic])
def test_searches_repeat_by_their_seed(test: Labels, search: object) -> None:
    assert callable(search)
    assert (search(test, 20, 1) == search(test, 20, 1)).all()


def test_a_genetic_search_pays_for_every_design_once(test: Labels) -> None:
    """With as many evaluations as designs there are it may converge early, and never does worse than the first population."""
    made = score(test, baselines.genetic(test, COUNT))
    assert made.optimal > 0.95
