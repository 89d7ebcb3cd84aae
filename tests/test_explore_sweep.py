import itertools
import math

import numpy as np
import pytest

from agent_problems import Formula
from fiberloom.errors import SpecError
from fiberloom.explore import ExplorationStore, Goal
from fiberloom.explore.comparison import Comparison, Contestant, Run, Setting, Step, rank_sum_chance
from fiberloom.explore.sweep import compare, grid


def contestant(agent, *bests, aims=1):
    runs = [Run(seed, 10, 10, 1.0, "evaluations", (Step(5, 0.5, (b,) * aims, b),)) for seed, b in enumerate(bests)]
    return Contestant(Setting(agent), tuple(runs))


def test_the_chance_of_a_rank_sum_is_that_of_all_deals():
    rng = np.random.default_rng(0)
    for _ in range(20):
        pooled = rng.integers(0, 6, 8).astype(float)
        pooled[pooled == 5] = np.inf
        ranks = np.array([np.mean(np.flatnonzero(np.sort(pooled) == v)) for v in pooled])
        deals = [sum(ranks[list(chosen)]) for chosen in itertools.combinations(range(8), 3)]
        expected = np.mean(np.array(deals) <= ranks[:3].sum() + 1e-9)
        assert rank_sum_chance(pooled[:3], pooled[3:]) == pytest.approx(expected)


def test_an_agent_beats_random_only_by_the_rule():
    goal = Goal.parse(["delay"])
    random = contestant("random", 5, 6, 7, 8, 9)
    better, same, worse = (
        contestant("a", 1, 2, 3, 4, 4.5),
        contestant("b", 5, 6, 7, 8, 9),
        contestant("c", 10, 11, 12, 13, 14),
    )
    found = Comparison(goal, 10, None, 5, (random, better, same, worse))
    assert found.verdict(better, "evaluations").chance == pytest.approx(1 / math.comb(10, 5))
    assert [found.verdict(c, "evaluations").beats_random for c in (better, same, worse, random)] == [
        True,
        False,
        False,
        False,
    ]
    assert found.verdict(better, "evaluations").ratio == pytest.approx(7 / 3)


def test_runs_that_found_nothing_feasible_rank_last():
    goal = Goal.parse(["delay"])
    random, lost = contestant("random", 5, 6, 7, 8, 9), contestant("lost", 1, 1)
    lost = Contestant(lost.setting, (*lost.by_evaluations, Run(2, 10, 10, 1.0, "evaluations", ())))
    found = Comparison(goal, 10, None, 3, (random, lost))
    assert list(found.values(lost, "evaluations")) == [1, 1, math.inf]
    assert found.quartiles(lost, "evaluations", [10])[2, 0] == math.inf


def test_before_the_first_design_a_run_has_found_nothing():
    found = Comparison(Goal.parse(["delay"]), 10, None, 2, (contestant("random", 3, 4),))
    assert found.quartiles(found.contestants[0], "evaluations", [4, 5])[1].tolist() == [math.inf, 3.5]


def test_several_objectives_are_compared_by_the_volume_that_runs_miss():
    problem = Formula()
    goal = Goal.parse(["delay", "area"], [], problem.metrics)
    found = compare(problem, goal, [("grid", {"points": 300})], seeds=3, evaluations=300)
    values = found.values(found["grid"], "evaluations")
    assert len(set(values)) == 1  # a grid is the same with every seed
    assert all(0 <= v < 1 for c in found.contestants for v in found.values(c, "evaluations"))
    early = found.values(found["random"], "evaluations", 3)
    assert all(early >= found.values(found["random"], "evaluations"))


def test_random_is_always_among_the_agents_and_first():
    problem = Formula()
    goal = Goal.parse(["delay"], [], problem.metrics)
    found = compare(problem, goal, [("grid", {"points": 7})], seeds=2, evaluations=20)
    assert [c.name for c in found.contestants] == ["random", "grid points=7"]
    assert [run.trials for run in found["grid"].by_evaluations] == [7, 7]
    assert found.budget("evaluations") == 20 and found.axes == ("evaluations",)


def test_a_budget_in_seconds_is_run_of_its_own():
    problem = Formula()
    found = compare(problem, Goal.parse(["delay"]), [], seeds=1, evaluations=5, seconds=0.5)
    assert found["random"].by_evaluations[0].trials == 5
    assert found["random"].by_seconds[0].trials > 5


def test_the_lottery_counts_settings_and_runs_that_reach_the_target():
    goal = Goal.parse(["delay"])
    one, other = contestant("a", 1, 1, 9), contestant("a", 1, 9, 9)
    found = Comparison(goal, 10, None, 3, (contestant("random", 5, 6, 7), one, other))
    random, share = found.lottery(target=2)
    assert (share.settings, share.runs, share.reaching) == (2, 0.5, 0.5)
    assert share.best is one and random.reaching == 0
    assert found.lottery(target=2, evaluations=4)[1].runs == 0


def test_a_grid_of_hyper_parameters_has_every_combination():
    assert grid("a", {"x": [1, 2], "y": [3]}) == [("a", {"x": 1, "y": 3}), ("a", {"x": 2, "y": 3})]


def test_a_comparison_with_a_store_repeats_without_evaluating(tmp_path):
    problem = Formula()
    goal = Goal.parse(["delay"], [], problem.metrics)
    with ExplorationStore(tmp_path / "kept.db") as store:
        first = compare(problem, goal, [], seeds=2, evaluations=30, store=store)
        again = compare(problem, goal, [], seeds=2, evaluations=30, store=store)
    assert all(run.evaluated == 0 for run in again["random"].runs)
    assert np.array_equal(first.values(first["random"], "evaluations"), again.values(again["random"], "evaluations"))


@pytest.mark.parametrize(
    "agents, budget",
    [
        ([("randm", {})], {"evaluations": 5}),
        ([("grid", {"pints": 3})], {"evaluations": 5}),
        ([], {}),
        ([], {"evaluations": -1}),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_run(agents, budget):
    problem = Formula()
    with pytest.raises(SpecError):
        compare(problem, Goal.parse(["delay"], [], problem.metrics), agents, **budget)


def test_an_objective_that_can_not_be_computed_for_a_design_does_not_end_the_run():
    problem = Formula()
    goal = Goal.parse(["area / (lanes - 1)"], [], problem.metrics)
    found = compare(problem, goal, [("grid", {"points": 200})], seeds=1, evaluations=200)
    assert found["grid"].runs[0].trials > 150 and found["grid"].runs[0].steps
