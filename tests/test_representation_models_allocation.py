"""Allocation against brute force, and bounds against simulated truth: neither needs PyTorch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fiberloom.errors import SpecError
from fiberloom.representation.allocation import allocate, front
from fiberloom.representation.confidence import paired_share_change, ratio_bound, wilson


def brute(costs: np.ndarray, losses: np.ndarray, budget: float, limit: str) -> float:
    """Least cost within a budget of loss, or the reverse, over every allocation."""
    layers = range(len(costs))
    best = np.inf
    for choices in itertools.product(range(costs.shape[1]), repeat=len(costs)):
        cost, loss = (sum(table[i, c] for i, c in zip(layers, choices, strict=True)) for table in (costs, losses))
        bounded, least = (loss, cost) if limit == "loss" else (cost, loss)
        if bounded <= budget:
            best = min(best, least)
    return best


@pytest.mark.parametrize("limit", ["loss", "cost"])
@pytest.mark.parametrize("solver", ["highs", "labels"])
def test_an_allocation_is_as_good_as_the_best_of_all(limit: str, solver: str) -> None:
    if solver == "highs":
        pytest.importorskip("scipy")
    rng = np.random.default_rng(7)
    for _ in range(15):
        costs, losses = rng.random((5, 4)), rng.exponential(size=(5, 4)) * 10.0 ** rng.integers(-6, 3)
        costs[rng.random((5, 4)) < 0.1] = np.inf
        costs[:, 0] = 1.0
        bounded = losses if limit == "loss" else np.where(np.isfinite(costs), costs, 10)
        budget = float(rng.uniform(bounded.min(axis=1).sum() + 1e-12, bounded.max(axis=1).sum()))
        expected = brute(costs, losses, budget, limit)
        if not np.isfinite(expected):
            continue
        found = allocate(costs, losses, budget, limit, solver)
        bounded_total, least = (found.loss, found.cost) if limit == "loss" else (found.cost, found.loss)
        assert bounded_total <= budget
        assert least == pytest.approx(expected, rel=1e-9)


def test_the_front_holds_every_allocation_that_none_beats() -> None:
    rng = np.random.default_rng(3)
    costs, losses = rng.random((4, 3)), rng.random((4, 3))
    totals = [
        (sum(costs[i, c] for i, c in enumerate(choices)), sum(losses[i, c] for i, c in enumerate(choices)))
        for choices in itertools.product(range(3), repeat=4)
    ]
    undominated = sorted(t for t in totals if not any(o != t and o[0] <= t[0] and o[1] <= t[1] for o in totals))
    assert np.allclose([(found.cost, found.loss) for found in front(costs, losses)], undominated)


def test_many_layers_are_allocated_to_the_optimum_of_the_front() -> None:
    pytest.importorskip("scipy")
    rng = np.random.default_rng(0)
    costs, losses = np.sort(rng.integers(1, 50, (36, 6)))[:, ::-1], np.sort(rng.integers(1, 50, (36, 6)))
    budget = float(losses.mean(axis=1).sum())
    assert allocate(costs, losses, budget).cost == allocate(costs, losses, budget, solver="labels").cost


def test_impossible_budgets_and_broken_tables_are_named() -> None:
    with pytest.raises(SpecError, match="the least possible is 2"):
        allocate([[1, 2]], [[3, 2]], 1.0, solver="labels")
    with pytest.raises(SpecError, match="NaN"):
        allocate([[1, np.nan]], [[3, 2]], 1.0)
    with pytest.raises(SpecError, match="same layers"):
        allocate([[1, 2]], [[3]], 1.0)
    with pytest.raises(SpecError, match="layer 1 can't have any"):
        allocate([[1, 2], [np.inf, np.inf]], [[3, 2], [1, 1]], 10.0)
    with pytest.raises(SpecError, match="no limit"):
        allocate([[1]], [[1]], 1.0, limit="time")  # type: ignore[arg-type]


def test_wilson_bounds_are_the_roots_of_the_score_test() -> None:
    low, high = wilson(45, 50, 0.95)
    z = 1.6448536269514722
    for bound in (low, high):
        assert (0.9 - bound) ** 2 == pytest.approx(z * z * bound * (1 - bound) / 50)
    assert low < 0.9 < high
    assert wilson(50, 50, 0.95)[1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("kept", "lost", "won"), [(0.95, 0.01, 0.005), (0.9, 0.05, 0.02), (0.97, 0.0, 0.0), (0.7, 0.1, 0.1)]
)
def test_the_bound_on_a_change_of_accuracy_holds_as_often_as_it_says(kept: float, lost: float, won: float) -> None:
    rng = np.random.default_rng(5)
    shares = [kept, lost, won, 1 - kept - lost - won]
    before, after = np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0])
    held = 0
    for _ in range(1000):
        drawn = rng.choice(4, size=300, p=shares)
        held += paired_share_change(before[drawn], after[drawn], 0.95) <= won - lost
    assert held / 1000 >= 0.93


def test_the_bootstrap_bound_on_scores_holds_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(6)
    held = 0
    for seed in range(150):
        before = rng.normal(2.0, 0.5, 200)
        after = before - 0.02 + rng.normal(0, 0.1, 200)
        held += ratio_bound(before, after, 0.9, np.exp, seed) <= np.exp(-0.02)
    assert 0.84 <= held / 150 <= 0.96


def test_no_change_on_few_examples_is_no_proof_of_no_loss() -> None:
    right = np.ones(100)
    assert ratio_bound(right, right, 0.95, lambda mean: mean) < 0.99
    many = np.ones(1000)
    assert ratio_bound(many, many, 0.95, lambda mean: mean) > 0.99


def test_scores_that_can_not_be_paired_are_refused() -> None:
    with pytest.raises(SpecError, match="can't be paired"):
        ratio_bound(np.ones(3), np.ones(4), 0.95, lambda mean: mean)
    with pytest.raises(SpecError, match="several examples"):
        ratio_bound(np.ones(1), np.ones(1), 0.95, lambda mean: mean)
    with pytest.raises(SpecError, match="a confidence of 95"):
        ratio_bound(np.ones(4), np.ones(4), 95, lambda mean: mean)
