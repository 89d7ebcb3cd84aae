"""What every agent promises, whatever its method."""

import math
import threading

import numpy as np
import pytest

from agent_problems import MIXED, ONE_DESIGN, Formula
from fiberloom.errors import MissingExtraError, SpecError
from fiberloom.explore import ExplorationStore, Goal, agents, explore, make_agent
from fiberloom.explore.trial import Evaluated, Status, Trial

PACKAGES = {
    "tpe": ("optuna",),
    "nsga2": ("optuna",),
    "nsga3": ("optuna",),
    "cma-es": ("optuna", "cmaes"),
    "gp": ("optuna", "torch", "scipy"),
    "surrogate": ("sklearn",),
    "ppo": ("stable_baselines3",),
    "sac": ("stable_baselines3",),
}
SLOW = ("gp", "ppo", "sac", "surrogate")
SMALL = {
    "surrogate": {"startup": 8, "candidates": 40, "members": 2},
    "sac": {"startup": 16, "sample": 16},
    "reinforce": {"episodes": 30, "patience": 20},
    "gp": {"startup": 4},
}
"""Hyper-parameters that bring every phase of an agent into a short run."""

COSTLY = {"gp": 5, "surrogate": 2}
"""Agents whose own time makes runs shorter by these factors."""

ELSEWHERE = ("digamma",)
"""Agents for one kind of problem, tried with that."""

NAMES = [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in agents() if n not in ELSEWHERE]
every_agent = pytest.mark.parametrize("name", NAMES)


def made(name, problem, goal, seed=0):
    for package in PACKAGES.get(name, ()):
        pytest.importorskip(package)
    return make_agent(name, problem, goal, seed, **SMALL.get(name, {}))


def goal_of(problem, *objectives, limits=()):
    return Goal.parse(objectives or ["delay"], limits, problem.metrics)


def some(name, count):
    """Evaluations of a run: `count`, less for costly agents."""
    return count // COSTLY.get(name, 1)


def proposals(agent, problem, goal, n, most=40):
    """Points that the agent proposes when it is asked for `n` designs at a time."""
    points = []
    try:
        while len(points) < most:
            asked = agent.ask(n)
            assert 1 <= len(asked) <= n
            points += asked
            agent.tell([Trial.of(point, problem.evaluate(point), goal) for point in asked])
    finally:
        agent.close()
    return points


@every_agent
def test_a_seed_determines_every_proposal(name):
    problem = Formula()
    goal = goal_of(problem)
    runs = [
        explore(problem, made(name, problem, goal, seed), evaluations=some(name, 60), seed=seed) for seed in (3, 3, 4)
    ]
    points = [[trial.point for trial in run.trials] for run in runs]
    assert points[0] == points[1]
    assert len(points[0]) == some(name, 60)
    assert name == "grid" or points[0] != points[2]


@every_agent
def test_every_design_proposed_is_in_the_space_and_meets_its_requirements(name):
    problem = Formula()
    goal = goal_of(problem, limits=["area <= 500"])
    points = proposals(made(name, problem, goal), problem, goal, 7, most=some(name, 80))
    for point in points:
        assert problem.space.canonical(point) == tuple(point)
        assert all(isinstance(i, int) for i in point)
        assert not problem.space.violated(point)


@every_agent
def test_a_resumed_run_proposes_what_it_had_proposed(name, tmp_path):
    problem = Formula()
    goal = goal_of(problem)
    stopped, count = some(name, 25), some(name, 70)
    whole = explore(problem, made(name, problem, goal), evaluations=count)
    with ExplorationStore(tmp_path / "run.db") as store:
        explore(problem, made(name, problem, goal), evaluations=stopped, store=store)
    with ExplorationStore(tmp_path / "run.db") as store:
        resumed = explore(problem, made(name, problem, goal), evaluations=count, store=store, resume=True)
    assert resumed.repeated
    assert [t.point for t in resumed.trials] == [t.point for t in whole.trials]
    assert resumed.evaluated <= count - stopped and sum(t.known for t in resumed.trials) >= stopped


@every_agent
def test_how_designs_are_asked_for_does_not_change_them(name):
    problem = Formula()
    goal = goal_of(problem)
    few = proposals(made(name, problem, goal), problem, goal, 3, some(name, 40))
    many = proposals(made(name, problem, goal), problem, goal, 64, some(name, 40))
    count = min(len(few), len(many))
    assert count >= some(name, 40) and few[:count] == many[:count]


@every_agent
def test_a_space_of_one_design_is_no_problem(name):
    problem = Formula(ONE_DESIGN)
    goal = goal_of(problem, "delay", "area")
    found = explore(problem, made(name, problem, goal), evaluations=some(name, 30))
    assert {trial.point for trial in found.trials} == {(0, 0)}
    assert found.evaluated == 1


@every_agent
def test_designs_that_fail_or_are_pruned_are_lived_with(name):
    problem = Formula()
    goal = goal_of(problem)
    agent = made(name, problem, goal)
    asked = 0
    outcomes = (
        Evaluated(Status.FAILED, reason="its process ended"),
        Evaluated(Status.INVALID, reason="it makes no sense"),
        Evaluated(Status.PRUNED, {"delay": 3.0, "area": 1.0, "lanes": 1.0}),
        Evaluated(Status.EVALUATED, {"delay": math.inf, "area": 1.0, "lanes": 1.0}),
    )
    try:
        for turn in range(12):
            points = agent.ask(10)
            asked += len(points)
            # nothing but failures at first, then a mixture
            kind = (lambda i: outcomes[i % 2]) if turn < 5 else (lambda i: outcomes[i % 4] if i % 5 else None)
            agent.tell([Trial.of(p, kind(i) or problem.evaluate(p), goal) for i, p in enumerate(points)])
    finally:
        agent.close()
    assert asked >= 12


@every_agent
def test_a_front_of_several_objectives_under_a_limit_is_found(name):
    problem = Formula()
    goal = goal_of(problem, "delay", "max lanes", limits=["area <= 300"])
    found = explore(problem, made(name, problem, goal), evaluations=some(name, 70))
    assert found.front and all(trial.evaluated.metrics["area"] <= 300 for trial in found.front)


@every_agent
def test_an_impossible_limit_is_lived_with(name):
    problem = Formula()
    goal = goal_of(problem, limits=["area <= 0.001"])
    found = explore(problem, made(name, problem, goal), evaluations=some(name, 40))
    assert found.best is None and len(found.trials) == some(name, 40)
    assert found.nearest_miss() is not None


@every_agent
def test_hyper_parameters_are_kept_and_checked(name):
    problem = Formula()
    agent = made(name, problem, goal_of(problem))
    agent.close()
    assert agent.hyper_parameters == {**type(agent).defaults(), **SMALL.get(name, {})} == dict(agent.hyper_parameters)
    for parameter, default in type(agent).defaults().items():
        nonsense = ["no", -3, math.nan, 1e30] if not isinstance(default, bool) else ["no", 7]
        for value in nonsense[:3]:
            with pytest.raises(SpecError, match=parameter):
                make_agent(name, problem, goal_of(problem), 0, **{parameter: value})


@every_agent
def test_agents_leave_nothing_running(name):
    problem = Formula()
    goal = goal_of(problem)
    before = threading.active_count()
    explore(problem, made(name, problem, goal), evaluations=some(name, 20))
    assert threading.active_count() <= before


@pytest.mark.parametrize("name", list(PACKAGES))
def test_a_missing_package_is_named_with_its_extra(name, monkeypatch):
    for package in PACKAGES[name]:
        monkeypatch.setitem(__import__("sys").modules, package, None)
    problem = Formula()
    with pytest.raises(MissingExtraError, match=r"pip install 'fiberloom\["):
        make_agent(name, problem, goal_of(problem), 0)


def test_every_agent_says_what_it_is():
    for name, agent in agents().items():
        assert agent.name == name and agent.summary
        assert all(parameter in (agent.__doc__ + str(agent.__mro__[1].__doc__)) for parameter in agent.defaults())


LEARNERS = ("annealing", "genetic", "ant-colony", "cem", "reinforce", "multi-agent", "nsga2")
LEARNERS += tuple(pytest.param(name, marks=pytest.mark.slow) for name in ("tpe", "cma-es", "surrogate"))


@pytest.mark.parametrize("name", LEARNERS)
def test_agents_that_learn_beat_random_where_there_is_something_to_learn(name):
    problem = Formula(MIXED.replace("[rows * columns <= 4096]", "[]"))
    goal = goal_of(problem)

    def median(which):
        return np.median(
            [explore(problem, made(which, problem, goal, s), evaluations=250).best.score for s in range(5)]
        )

    assert median(name) < median("random")
