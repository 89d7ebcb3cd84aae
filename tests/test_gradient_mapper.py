"""The relaxed model, the orders that keep tensors still, and the gradient mapper built on both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fiberloom.architecture import library
from fiberloom.errors import SpecError
from fiberloom.mapper.driver import SearchResult, run
from fiberloom.mapper.search import SearchProblem
from fiberloom.mapper.searchers.accounts import Accountant
from fiberloom.mapper.searchers.gradient import FactorShares, GradientSearcher
from fiberloom.mapper.searchers.random_search import RandomSearch
from fiberloom.mapper.searchers.relaxed import RelaxedModel, RelaxedPoints
from fiberloom.mapper.searchers.stationary import stationary_orders, with_stationary_orders
from fiberloom.mapping.space import MapSpace
from fiberloom.model.evaluate import BatchEvaluator
from fiberloom.model.lower import lower
from fiberloom.workload.einsum import Einsum
from map_problems import gemm_problem

CONV = Einsum.parse("O[m,p,q] = W[m,c,r,s] * I[c,p+r,q+s]", {"m": 32, "c": 16, "p": 14, "q": 14, "r": 3, "s": 3})
QUICK = {"steps": 60, "round_every": 30, "candidates": 16}


def conv_on_eyeriss(objective: str = "edp", **densities: float) -> SearchProblem:
    conv = Einsum.parse(str(CONV), CONV.shape, densities=densities)
    problem = lower(conv, library.load("eyeriss", conv))
    return SearchProblem(problem, MapSpace(conv, problem.architecture), objective)


# Accounts


def test_parts_of_an_account_add_up_to_the_energy_of_the_batch_evaluator() -> None:
    target = conv_on_eyeriss(W=0.5, I=0.4)
    packed = target.space.repair(target.space.sample(np.random.default_rng(0), 3000))
    result = BatchEvaluator(target.problem)(packed)
    rows = np.flatnonzero(result.valid)[:20]
    accounts = Accountant(target.problem)(packed.take(rows))
    parts = accounts.storage_pj.sum(axis=(1, 2)) + accounts.compute_pj + accounts.leakage_pj
    assert len(rows) > 3
    np.testing.assert_allclose(parts, result.energy_pj[rows], rtol=1e-9)
    np.testing.assert_array_equal(accounts.cycles, result.cycles[rows])


def test_mappings_that_do_not_fit_are_accounted_only_when_asked_for() -> None:
    target = conv_on_eyeriss()
    packed = target.space.repair(target.space.sample(np.random.default_rng(0), 200))
    strict, lenient = (Accountant(target.problem, misfits=m)(packed) for m in (False, True))
    misfit = strict.status != 0
    np.testing.assert_array_equal(strict.status, lenient.status)
    assert misfit.any()
    assert np.isnan(strict.energy_pj[misfit]).all()
    assert np.isfinite(lenient.energy_pj).all()


# The relaxed model


def relaxed_points(seed: int, points: int = 4) -> tuple[RelaxedModel, RelaxedPoints]:
    target = conv_on_eyeriss()
    rng = np.random.default_rng(seed)
    L, D, T = len(target.space.level_names), len(target.space.variables), len(target.space.tensors)
    keep = rng.random((points, L, T)) < 0.6
    keep[:, -1] = True
    return RelaxedModel(target.problem, target.space.multicast), RelaxedPoints(
        rng.uniform(0.05, 1.2, (points, L, D)),
        rng.uniform(0.05, 0.6, (points, L, D)),
        np.array([[rng.permutation(D) for _ in range(L)] for _ in range(points)]),
        rng.random((points, L, D)) < 0.5,
        keep,
    )


@pytest.mark.parametrize("powers", [(1.0, 1.0), (1.0, 0.0), (0.5, 2.0)])
def test_the_gradient_is_that_of_finite_differences(powers: tuple[float, float]) -> None:
    model, points = relaxed_points(seed=1)
    n = len(points.temporal)
    neutral, weights = model.neutral(n), (np.full(n, powers[0]), np.full(n, powers[1]))

    def loss(at: RelaxedPoints) -> np.ndarray:
        cost = model(at, neutral, weights)
        relaxed = powers[0] * np.log(cost.energy_pj) + powers[1] * np.log(cost.cycles)
        return np.asarray(relaxed + model.penalty_weight * cost.penalty)

    cost = model(points, neutral, weights)
    rng = np.random.default_rng(2)
    for _ in range(10):
        move_t, move_s = (rng.normal(size=points.temporal.shape) for _ in range(2))
        h = 1e-6
        ahead = loss(points.at(points.temporal + h * move_t, points.spatial + h * move_s))
        behind = loss(points.at(points.temporal - h * move_t, points.spatial - h * move_s))
        along = (cost.temporal_gradient * move_t + cost.spatial_gradient * move_s).sum(axis=(1, 2))
        np.testing.assert_allclose(along, (ahead - behind) / (2 * h), rtol=1e-4, atol=1e-3)


def test_the_relaxed_model_is_the_model_at_whole_factors_of_a_dense_product() -> None:
    target = gemm_problem()
    packed = target.space.repair(target.space.sample(np.random.default_rng(3), 4000))
    result = BatchEvaluator(target.problem)(packed)
    rows = packed.take(np.flatnonzero(result.valid)[:200])
    accounts = Accountant(target.problem)(rows)
    points = RelaxedPoints.of(rows)
    model = RelaxedModel(target.problem, rows.multicast)
    cost = model(points, model.neutral(len(rows)))
    np.testing.assert_allclose(cost.storage_pj, accounts.storage_pj, rtol=1e-9, atol=1e-6)
    assert (cost.penalty == 0).all()
    assert (cost.cycles >= 0.999 * accounts.cycles - 1).all()
    assert (cost.cycles <= 1.2 * accounts.cycles).all()  # the maximum over bandwidths is smooth


def test_a_correction_makes_the_relaxed_energy_of_a_sparse_mapping_exact() -> None:
    target = conv_on_eyeriss(W=0.5, I=0.4)
    packed = target.space.repair(target.space.sample(np.random.default_rng(0), 3000))
    rows = packed.take(np.flatnonzero(BatchEvaluator(target.problem)(packed).valid)[:8])
    accounts, points = Accountant(target.problem)(rows), RelaxedPoints.of(rows)
    model = RelaxedModel(target.problem, rows.multicast)
    neutral = model.neutral(len(rows))
    plain, corrected = (model(points, c) for c in (neutral, model.correction(points, accounts, neutral)))
    stored = accounts.storage_pj.sum(axis=(1, 2))
    assert (np.abs(plain.storage_pj.sum(axis=(1, 2)) - stored) > 0.01 * stored).any()
    np.testing.assert_allclose(corrected.storage_pj.sum(axis=(1, 2)), stored, rtol=1e-9)


def test_shares_of_a_bound_multiply_to_the_bound() -> None:
    space = conv_on_eyeriss().space
    shares = FactorShares(space)
    logits = np.random.default_rng(4).normal(size=(5, 2, len(space.level_names), len(space.variables)))
    factors = np.exp(shares.logarithms(logits))
    np.testing.assert_allclose(factors.prod(axis=(1, 2)), np.broadcast_to(space.bounds, (5, len(space.bounds))))
    assert (factors >= 1).all()


# Stationary orders


def test_the_stationary_order_of_a_tensor_has_the_loops_that_do_not_index_it_innermost() -> None:
    orders = np.array([[0, 1, 2], [1, 0, 2], [2, 0, 1], [1, 2, 0]])
    relevant = np.array([[True, False, True], [False, True, True], [True, True, False]])  # A[m,k], B[k,n], Z[m,n]
    for t, inner in enumerate((1, 0, 2)):
        only = np.arange(3) == t
        assert stationary_orders(orders, np.array([4, 4, 4]), relevant, only)[:, 0].tolist() == [inner]


def test_orders_that_differ_in_loops_of_bound_1_are_one() -> None:
    orders = np.array([[0, 1, 2], [1, 0, 2], [2, 0, 1]])
    relevant = np.array([[True, False, True], [False, True, True], [True, True, False]])
    assert len(stationary_orders(orders, np.array([8, 1, 1]), relevant, np.ones(3, bool))) == 1


def test_combinations_of_orders_are_capped_and_change_nothing_else() -> None:
    target = conv_on_eyeriss()
    several = target.space.sample(np.random.default_rng(1), 50)
    one = several.take([int(np.argmax((several.temporal > 1).sum(axis=(1, 2))))])
    relevant = np.array(target.problem.arrays["is_relevant"][0][:3, : len(target.space.variables)], bool)
    every = with_stationary_orders(one, target.space.orders, relevant)
    some = with_stationary_orders(one, target.space.orders, relevant, most=5)
    assert len(every) > len(some)
    assert 1 <= len(some) <= 5
    assert (every.temporal == one.temporal).all()
    assert (np.sort(every.temporal_order, axis=2) == np.arange(len(target.space.variables))).all()


# The mapper


def searched(target: SearchProblem, seed: int = 0, batch: int = 2048, **hyper: int) -> SearchResult:
    searcher = GradientSearcher(target, np.random.default_rng(seed), **{**QUICK, **hyper})
    return run(searcher, target, evaluations=1500, batch=batch)


def test_gradient_descent_beats_random_search_at_equal_evaluations_on_a_convolution() -> None:
    target = conv_on_eyeriss()
    chance = run(RandomSearch(target, np.random.default_rng(0)), target, evaluations=1500)
    assert searched(target).value < 0.7 * chance.value


@pytest.mark.parametrize("objective", ["energy", "latency"])
def test_gradient_descent_follows_its_objective(objective: str) -> None:
    best = {o: searched(conv_on_eyeriss(o)).best_outcome for o in (objective, "edp")}
    column = {"energy": "energy_pj", "latency": "cycles"}[objective]
    outcome, other = best[objective], best["edp"]
    assert outcome is not None
    assert other is not None
    assert getattr(outcome, column)[0] <= 1.05 * getattr(other, column)[0]


def test_gradient_descent_handles_sparse_tensors() -> None:
    dense, sparse = searched(conv_on_eyeriss()), searched(conv_on_eyeriss(W=0.3, I=0.3))
    assert sparse.value < dense.value


def test_the_same_seed_gives_the_same_trials_however_they_are_cut() -> None:
    results = [searched(conv_on_eyeriss(), seed=3, batch=batch) for batch in (2048, 17)]
    assert results[0].value == results[1].value
    np.testing.assert_array_equal(results[0].curve.evaluations, results[1].curve.evaluations)


def test_proposals_lie_in_the_space() -> None:
    target = conv_on_eyeriss()
    searcher = GradientSearcher(target, np.random.default_rng(0), **QUICK)
    for _ in range(4):
        packed = searcher.ask(500)
        assert packed is not None
        assert (target.space.violations(packed) == 0).mean() > 0.9
        searcher.tell(packed, target.evaluate(packed))


def test_a_space_without_a_choice_of_factors_is_no_obstacle() -> None:
    target = gemm_problem()
    fixed = target.space.sample(np.random.default_rng(0), 500)
    fixed = fixed.take(np.flatnonzero(target.evaluate(fixed).valid)[:1])
    space = target.space.freeze("tile", fixed).freeze("parallel", fixed)
    frozen = SearchProblem(target.problem, space, "edp")
    found = run(GradientSearcher(frozen, np.random.default_rng(0), **QUICK), frozen, evaluations=200)
    assert found.value <= target.evaluate(replace(fixed)).objective[0]


@pytest.mark.parametrize("hyper", [{"starts": 0}, {"learning_rate": -1.0}, {"patience": 0}])
def test_senseless_hyper_parameters_are_refused(hyper: dict[str, float]) -> None:
    with pytest.raises(SpecError, match=next(iter(hyper))):
        GradientSearcher(gemm_problem(), np.random.default_rng(0), **hyper)  # type: ignore[arg-type]
