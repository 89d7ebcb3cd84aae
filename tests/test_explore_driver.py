import math
import time

import pytest

from fiberloom.errors import SpecError
from fiberloom.explore import ExplorationStore, Goal, Status, explore, make_agent
from fiberloom.explore.agents._base import Agent
from fiberloom.explore.driver import ExplorationError
from fiberloom.explore.executors import Processes, Serial
from fiberloom.explore.front import Front, dominates, front
from logged_problem import Logged, goal_of, lines


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log").touch()
    return tmp_path / "log"


def run(problem, evaluations=100, agent="random", seed=0, goal=None, **options):
    made = make_agent(agent, problem, goal or goal_of(problem), seed)
    return explore(problem, made, evaluations=evaluations, seed=seed, **options)


def told(found):
    return [(t.point, t.evaluated.status, dict(t.evaluated.metrics)) for t in found.trials]


def test_a_seed_determines_the_trials_whatever_the_store_knows_and_whoever_evaluates(log, tmp_path):
    problem = Logged(log)
    alone = run(problem, 200)
    with ExplorationStore(tmp_path / "store.db") as store:
        run(problem, 150, seed=1, store=store)
        run(problem, 600, agent="grid", store=store, prune=False)
        shared = run(problem, 200, store=store)
    with Processes(problem, 2) as executor:
        parallel = run(problem, 200, executor=executor)
    assert told(alone) == told(shared) == told(parallel)
    assert shared.evaluated == 0, "every design was in the store"


def test_a_larger_budget_begins_with_the_trials_of_a_smaller_one(log, tmp_path):
    problem = Logged(log)
    whole = run(problem, 200)
    for part in (1, 63, 64, 65, 130):
        assert told(run(problem, part)) == told(whole)[:part]
    with ExplorationStore(tmp_path / "store.db") as store:
        for part in (1, 40, 64, 100, 200):
            found = run(problem, part, store=store, resume=True)
        assert told(found) == told(whole) and len(store.runs()) == 1 and found.resumed == 100


class Repeats(Agent):
    """Proposes the same few designs for ever, and keeps what it is told."""

    name = "repeats"
    summary = "three designs, one of them twice"

    def ask(self, n):
        self.told = getattr(self, "told", [])
        return [(1, 1, 0, 0), (2, 2, 0, 0), (1, 1, 0, 0)]

    def tell(self, trials):
        self.told.append([t.point for t in trials])


def test_a_design_is_evaluated_once_however_often_it_is_proposed(log):
    problem = Logged(log)
    agent = Repeats(problem, goal_of(problem), None)
    found = explore(problem, agent, evaluations=10)
    assert len(found.trials) == 10 and found.evaluated == 2
    assert len(lines(log, "begin")) == 2
    assert [t.known for t in found.trials[:4]] == [False, False, True, True]
    assert agent.told == [[(1, 1, 0, 0), (2, 2, 0, 0), (1, 1, 0, 0)]] * 3, (
        "a batch that the budget cuts off is not told"
    )


def test_bounds_spare_evaluations_and_never_the_front(log):
    problem = Logged(log)
    exhaustive = run(problem, 600, agent="grid", prune=False)
    pruned = run(problem, 600, agent="grid")
    assert exhaustive.evaluated == 600 > 2 * pruned.evaluated
    assert [t.values for t in pruned.front] == [t.values for t in exhaustive.front]
    for trial in pruned.trials:
        if trial.evaluated.status is Status.PRUNED:
            assert trial.evaluated.reason and not trial.feasible


def test_a_front_grown_trial_by_trial_is_that_of_all_trials(log):
    found = run(Logged(log), 300, prune=False)
    grown = Front(found.trials)
    feasible = [t for t in found.trials if t.feasible]
    expected = {t.values for t in feasible if not any(dominates(other.values, t.values) for other in feasible)}
    assert {t.values for t in grown} == expected and len(grown) == len(expected)
    assert [t.values for t in front(found.trials)] == sorted(expected) == [t.values for t in found.front]
    assert not grown.add(found.front[0]) and grown.reaches(found.front[0].values)


def test_named_designs_are_tried_first_and_the_agent_hears_nothing_of_them(log):
    problem = Logged(log)
    agent = Repeats(problem, goal_of(problem), None)
    found = explore(problem, agent, evaluations=5, start=[(9, 9, 0, 3), (0, 0, 2, 1)])
    assert [t.point for t in found.trials[:2]] == [(9, 9, 0, 0), (0, 0, 2, 1)]
    assert agent.told == [[(1, 1, 0, 0), (2, 2, 0, 0), (1, 1, 0, 0)]]


@pytest.mark.parametrize("make", [Serial, lambda problem: Processes(problem, 2)])
def test_a_budget_of_seconds_ends_in_the_middle_of_a_batch(make, log):
    problem = Logged(log, seconds=0.1)
    with make(problem) as executor:
        executor.evaluate([(0, 0, 0, 0)], lambda index, evaluation: None)  # processes take their time to start
        agent = make_agent("random", problem, goal_of(problem), 0)
        found = explore(problem, agent, seconds=0.8, executor=executor, prune=False)
    assert found.stopped == "seconds" and 0 < len(found.trials) < 40
    batch = told(run(Logged(log), 64, prune=False))
    assert all(trial in batch for trial in told(found)), "in whatever order those under way together ended"
    assert list(found.times) == sorted(found.times)


def test_a_design_that_the_budget_cuts_off_between_is_kept_and_time_does_not_run_backwards(log):
    class Agent(Repeats):
        def ask(self, n):
            return [(1, 1, 0, 0), (2, 2, 0, 0), (3, 3, 0, 0), (4, 4, 0, 0), (1, 1, 0, 0)]

    problem = Logged(log, seconds=0.1)
    found = explore(problem, Agent(problem, goal_of(problem), None), seconds=0.15, prune=False)
    assert found.stopped == "seconds" and found.evaluated < 4
    assert found.trials[-1].point == (1, 1, 0, 0) and found.trials[-1].known
    assert list(found.times) == sorted(found.times)


def test_however_short_the_budget_one_design_is_tried(log):
    problem = Logged(log)
    found = explore(problem, make_agent("random", problem, goal_of(problem), 0), seconds=1e-9)
    assert found.evaluated == 1 and found.trials and found.stopped == "seconds"


def test_seconds_count_over_sessions(log, tmp_path):
    problem = Logged(log, seconds=0.02)
    with ExplorationStore(tmp_path / "store.db") as store:
        for budget in (0.3, 0.6):
            agent = make_agent("random", problem, goal_of(problem), 0)
            begun = time.perf_counter()
            found = explore(problem, agent, seconds=budget, store=store, resume=True)
            spent = time.perf_counter() - begun
            assert budget <= found.seconds
        assert found.resumed > 0 and spent < found.seconds - 0.2, "the seconds of the first session count"


def test_an_interrupted_run_has_everything_that_was_ready(log, tmp_path):
    problem = Logged(log, seconds=0.06)

    def interrupt(news):
        if news.evaluated == 5:
            raise KeyboardInterrupt

    with ExplorationStore(tmp_path / "store.db") as store:
        found = run(problem, store=store, progress=interrupt)
        assert found.stopped == "interrupted" and found.evaluated == 5
        assert sum(t.evaluated.status is Status.EVALUATED for t in found.trials) == 5
        whole = run(problem, store=store, resume=True)
        assert told(whole) == told(run(Logged(log), 100)) and len(lines(log, "begin")) >= whole.evaluated + 5


class Elsewhere(Repeats):
    """The same by name; proposes others than before."""

    def ask(self, n):
        self.told = []
        return [(5, 5, 0, 0)]


def test_a_run_that_proposes_others_than_before_goes_on_beside_the_old_one(log, tmp_path):
    problem = Logged(log)
    with ExplorationStore(tmp_path / "store.db") as store:
        first = explore(problem, Repeats(problem, goal_of(problem), None), evaluations=6, store=store)
        other = explore(problem, Elsewhere(problem, goal_of(problem), None), evaluations=4, store=store, resume=True)
        assert first.repeated and not other.repeated and other.resumed == 6
        assert [t.point for t in other.trials] == [(5, 5, 0, 0)] * 4
        assert [r.trials for r in store.runs()] == [6, 4], "nothing of the old run is lost"
        assert [t.point for t, _ in store.trials(problem, 1)] == [t.point for t in first.trials]
        assert [t.point for t, _ in store.trials(problem, 2)] == [t.point for t in other.trials]


def test_an_error_in_mid_run_comes_with_what_was_found(log):
    problem = Logged(log)

    class Breaks(Repeats):
        def tell(self, trials):
            raise SpecError("no further", hint="stop here")

    with pytest.raises(ExplorationError, match="no further") as error:
        explore(problem, Breaks(problem, goal_of(problem), None), evaluations=10)
    assert len(error.value.found.trials) == 3 and error.value.found.stopped == "error"
    assert error.value.hint == "stop here" and error.value.exit_code == SpecError.exit_code


def test_progress_tells_where_the_run_stands(log):
    problem = Logged(log, seconds=0.06)
    heard = []
    found = run(problem, 20, progress=heard.append, prune=False)
    last = heard[-1]
    assert [n.evaluated for n in heard[:-1]] == list(range(1, len(heard)))
    assert last.trials == 20 and last.evaluated == found.evaluated == len(heard) - 1
    assert last.front == len(found.front) and last.best == min(t.score for t in found.trials if t.feasible)
    assert 0 < last.rate < 1 / 0.06 and last.left == 0
    middle = heard[len(heard) // 2]
    assert 0.3 < middle.left / (found.seconds - middle.seconds) < 3, "the time left is roughly right"


def test_where_no_design_is_feasible_the_nearest_is_named(log):
    problem = Logged(log)
    goal = Goal.parse(["cost"], ["size <= 0.5", "cost <= 1"], problem.metrics)
    found = run(problem, 600, agent="grid", goal=goal, prune=False)
    miss = found.nearest_miss()
    assert found.best is None and found.front == ()
    assert miss.violation == min(goal.violation(t.evaluated.metrics) for t in found.trials)
    assert len(goal.broken(miss.evaluated.metrics)) == 2


@pytest.mark.parametrize("budget", [{"evaluations": 0}, {"seconds": -1.0}, {"seconds": math.nan}])
def test_a_budget_is_positive(budget, log):
    problem = Logged(log)
    with pytest.raises(SpecError, match="positive"):
        explore(problem, make_agent("random", problem, goal_of(problem), 0), **budget)


@pytest.mark.slow
def test_ten_thousand_cheap_trials_cost_little_and_no_more_than_in_proportion(log, tmp_path):
    problem = Logged(log)
    problem._write = lambda line: None

    def seconds_per_trial(evaluations, **options):
        begun = time.process_time()
        run(problem, evaluations, **options)
        return (time.process_time() - begun) / evaluations

    assert seconds_per_trial(10_000) < 0.3e-3
    assert seconds_per_trial(40_000) < 1.5 * seconds_per_trial(10_000)
    with ExplorationStore(tmp_path / "store.db") as store:
        assert seconds_per_trial(10_000, store=store, progress=lambda news: None) < 0.6e-3
