"""What makes each agent the one it is named after."""

import random
import threading

import numpy as np
import pytest

from agent_problems import MIXED, Formula
from fiberloom.explore import Goal, explore, make_agent
from fiberloom.explore.agents._policy import drawn
from fiberloom.explore.agents._ranking import crowding, pareto_ranks, ranked
from fiberloom.explore.agents._record import Record
from fiberloom.explore.agents.genetic import axes
from fiberloom.explore.agents.multi_agent import Learner
from fiberloom.explore.front import dominates
from fiberloom.explore.scale import decades
from fiberloom.explore.space import DesignSpace, Parameter
from fiberloom.explore.trial import Evaluated, Status, Trial


def trial(goal, number, **metrics):
    status = Status.EVALUATED if metrics else Status.FAILED
    return Trial.of((number,), Evaluated(status, metrics), goal)


def test_decades_keep_the_order_of_numbers_of_any_sign():
    numbers = [-1e300, -5.0, -1e-9, 0.0, 1e-9, 5.0, 1e300]
    scaled = [decades(x) for x in numbers]
    assert scaled == sorted(scaled) and len(set(scaled)) == len(numbers)
    assert decades(80.0) - decades(8.0) == pytest.approx(np.log(10))


def test_a_pareto_rank_is_how_many_fronts_stand_before():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 6, (40, 3)).astype(float)
    ranks = pareto_ranks(values)
    for i, value in enumerate(values):
        before = [ranks[j] for j, other in enumerate(values) if dominates(other, value)]
        assert ranks[i] == max(before, default=-1) + 1


def test_the_ends_of_a_front_and_its_lonely_designs_are_the_least_crowded():
    distance = crowding(np.array([[0.0, 10], [1, 9], [2, 8], [6, 4], [10, 0]]))
    assert np.isinf(distance[[0, -1]]).all()
    assert distance[3] > distance[2] > distance[1]


def test_designs_within_the_limits_rank_before_those_beyond():
    goal = Goal.parse(["delay", "area"], ["area <= 5"])
    dominated, far, near, first, failed = (
        trial(goal, 0, delay=9.0, area=5.0), trial(goal, 1, delay=0.1, area=50.0), trial(goal, 2, delay=0.2, area=6.0),
        trial(goal, 3, delay=3.0, area=4.0), trial(goal, 4),
    )  # fmt: skip
    assert ranked([failed, far, dominated, near, first, first]) == [first, dominated, near, far, failed]


def test_a_reward_is_the_share_of_designs_that_a_design_beats():
    goal = Goal.parse(["delay"], ["area <= 5"])
    good, fair, beyond, failed = (
        trial(goal, 0, delay=1.0, area=1.0), trial(goal, 1, delay=2.0, area=1.0), trial(goal, 2, delay=0.1, area=9.0),
        trial(goal, 3),
    )  # fmt: skip
    record = Record()
    record.add([good, fair, beyond, failed])
    assert record.rewards([good, fair, beyond, failed]).tolist() == [0.875, 0.625, 0.375, 0.125]


def test_no_design_beyond_the_limits_is_lower_than_the_best_within():
    goal = Goal.parse(["delay"], ["area <= 5"])
    within, beyond, failed = trial(goal, 0, delay=2.0, area=1.0), trial(goal, 1, delay=0.1, area=5.1), trial(goal, 2)
    record = Record()
    record.add([within, beyond, failed])
    low, above, high = record.heights([within, beyond, failed])
    assert low == above == pytest.approx(decades(2.0)) and high >= low


def test_parameters_of_one_component_and_those_that_depend_on_each_other_are_one_axis():
    space = DesignSpace(
        [
            Parameter("lanes", (1, 2)),
            Parameter("GLB.depth", (1, 2)),
            Parameter("skip", (False, True)),
            Parameter("GLB.width", (1, 2)),
            Parameter("queue", (1, 2), when=("skip == 1",)),
        ]
    )
    assert {tuple(sorted(axis)) for axis in axes(space)} == {(0,), (1, 3), (2, 4)}


def test_the_genetic_algorithm_does_not_repeat_earlier_generations_while_others_are_left():
    problem = Formula()
    agent = make_agent("genetic", problem, Goal.parse(["delay"]), 0, injections=0.0)
    found = explore(problem, agent, evaluations=400)
    generations = [{t.point for t in found.trials[i : i + 40]} for i in range(0, 400, 40)]
    earlier = set()
    for generation in generations:
        assert len(generation & earlier) <= 1
        earlier |= generation


def test_the_cross_entropy_method_moves_to_the_elite_and_lets_no_value_die_out():
    problem = Formula()
    agent = make_agent("cem", problem, Goal.parse(["delay"]), 0, population=40)
    explore(problem, agent, evaluations=400)
    rows = agent._probabilities[0]
    assert rows.argmax() in (5, 6, 7) and rows.max() > 0.5
    proposed = [point for _ in range(60) for point in agent.propose()]
    assert {point[0] for point in proposed} == set(range(8))


def test_an_ant_of_limited_depth_changes_so_many_parameters_of_the_best_design():
    problem = Formula()
    agent = make_agent("ant-colony", problem, Goal.parse(["delay"]), 0, depth=2, greediness=0.0)
    explore(problem, agent, evaluations=64)
    best = agent._record.best.point
    queue = problem.space.index["queue"]
    for point in agent.propose():
        # switching skipping on or off brings its dependents with it
        changed = [i for i, (a, b) in enumerate(zip(point, best, strict=True)) if a != b and i < queue]
        assert len(changed) <= 2


def test_greedy_ants_take_the_way_of_most_pheromone():
    problem = Formula()
    agent = make_agent("ant-colony", problem, Goal.parse(["delay"]), 0, greediness=1.0, evaporation=0.5)
    explore(problem, agent, evaluations=160)
    assert agent.propose()[0] == agent._record.best.point


def test_confuciux_ends_in_small_steps_around_what_its_policy_found():
    problem = Formula(MIXED.replace("[rows * columns <= 4096]", "[]"))
    agent = make_agent("reinforce", problem, Goal.parse(["delay"]), 0, episodes=60, population=10)
    explore(problem, agent, evaluations=60)
    assert agent.local is not None and not agent.local.jump
    parents = [t.point for t in agent.local.survivors]
    banks = problem.space.index["banks"]
    reached = {p[banks] + step for p in parents for step in range(-12, 13)}
    assert all(point[banks] in reached for point in agent.propose())


def test_a_learner_of_one_parameter_finds_the_best_of_its_values():
    rng = np.random.default_rng(0)
    learner = Learner(6, rate=0.15, clip=0.2, epochs=4, entropy=0.01)
    for _ in range(60):
        chosen = np.array([drawn(rng, learner.policy) for _ in range(20)])
        learner.learn(chosen, 1 - np.abs(chosen - 4) / 5 + rng.normal(0, 0.05, 20))
    assert learner.policy.argmax() == 4 and learner.policy[4] > 0.7


def test_learners_of_parameters_that_no_design_has_stay_as_they_are():
    problem = Formula()
    goal = Goal.parse(["delay"])
    agent = make_agent("multi-agent", problem, goal, 0)
    without = [p for p in problem.space.sample(np.random.default_rng(0), 60) if not p[4]][:20]
    agent.learn([Trial.of(p, problem.evaluate(p), goal) for p in without])
    queue = problem.space.index["queue"]
    assert not agent.learners[queue].logits.any() and agent.learners[0].logits.any()


def test_optuna_is_not_told_of_parameters_that_a_design_lacks():
    pytest.importorskip("optuna")
    problem = Formula()
    agent = make_agent("tpe", problem, Goal.parse(["delay"]), 0)
    explore(problem, agent, evaluations=40)
    told = [(bool(t.params["skipping"]), "queue" in t.params) for t in agent.study.trials]
    assert (True, True) in told and (False, False) in told and (True, False) not in told and (False, True) not in told


def test_what_breaks_a_requirement_is_told_to_optuna_and_costs_no_evaluation():
    pytest.importorskip("optuna")
    problem = Formula(MIXED.replace("4096", "16"))
    agent = make_agent("nsga2", problem, Goal.parse(["delay"]), 0, population=10)
    found = explore(problem, agent, evaluations=50)
    assert len(found.trials) == 50 and len(agent.study.trials) > 60
    assert all(t.evaluated.status is not Status.INVALID or "bad luck" in t.evaluated.reason for t in found.trials)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ppo", "sac"])
def test_a_learner_leaves_the_random_numbers_of_others_alone_and_is_not_moved_by_them(name):
    torch = pytest.importorskip("torch")
    pytest.importorskip("stable_baselines3")
    problem = Formula()
    goal = Goal.parse(["delay"])

    def points(disturbed):
        agent = make_agent(name, problem, goal, 0)
        made = []
        for _ in range(8):
            states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
            asked = agent.ask(64)
            assert random.getstate() == states[0] and np.random.get_state()[1].tolist() == states[1]
            assert torch.equal(torch.get_rng_state(), states[2])
            agent.tell([Trial.of(p, problem.evaluate(p), goal) for p in asked])
            made += asked
            if disturbed:
                random.random(), np.random.random(), torch.rand(3)
        agent.close()
        return made

    assert points(False) == points(True)


def test_what_a_learner_raises_reaches_whoever_asks():
    pytest.importorskip("torch")
    from fiberloom.explore.agents._learner_thread import LearnerThread

    def make(step):
        def loop():
            assert step(np.zeros(3)).tolist() == [1.0]
            raise ArithmeticError("diverged")

        return loop

    thread = LearnerThread(make)
    assert thread.step(None).tolist() == [0, 0, 0]
    with pytest.raises(ArithmeticError, match="diverged"):
        thread.step(np.ones(1))
    thread.stop()


def test_a_forgotten_learner_ends():
    pytest.importorskip("torch")
    from fiberloom.explore.agents._learner_thread import LearnerThread

    thread = LearnerThread(lambda step: lambda: [step(np.zeros(1)) for _ in range(10)])
    thread.step(None)
    assert any(t.name == "learner" for t in threading.enumerate())
    thread.stop()
    assert not any(t.name == "learner" for t in threading.enumerate())
