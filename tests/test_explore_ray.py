"""Explorations on a cluster of several nodes on this machine, one of which is killed in mid-run."""

import time

import pytest

from fiberloom.errors import SpecError
from fiberloom.explore import ExplorationStore, Status, explore, make_agent
from fiberloom.explore.executors import make_executor
from logged_problem import Logged, Unprepared, goal_of, lines

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log").touch()
    return tmp_path / "log"


def trials(found):
    return [(t.point, t.evaluated.status, dict(t.evaluated.metrics)) for t in found.trials]


def explored(problem, evaluations, seed=0, **options):
    agent = make_agent("random", problem, goal_of(problem), seed)
    return explore(problem, agent, evaluations=evaluations, seed=seed, **options)


def test_a_node_that_is_killed_loses_and_doubles_nothing(cluster, log, tmp_path):
    second = cluster.add_node(num_cpus=2)
    problem = Logged(log, seconds=0.1)
    killed = []

    def kill(news):
        if news.evaluated >= 25 and not killed:
            killed.append(news.evaluated)
            cluster.remove_node(second, allow_graceful=False)

    with (
        make_executor("ray", problem, address=cluster.address) as executor,
        ExplorationStore(tmp_path / "store.db") as store,
    ):
        deadline = time.monotonic() + 60
        while executor.workers < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert executor.workers == 3
        found = explored(problem, 150, executor=executor, store=store, progress=kill)
        assert executor.workers == 1
        assert killed
        designs = [problem.space.rank(point) for point, _ in store.designs(problem)]
    undisturbed = explored(Logged(tmp_path / "other"), 150)
    assert trials(found) == trials(undisturbed)
    assert {t.evaluated.status for t in found.trials} <= {Status.EVALUATED, Status.PRUNED}
    begun = lines(log, "begin")
    assert sorted(set(begun)) == sorted(designs) and len(designs) == len(set(designs)), "each is kept once"
    assert len(begun) - len(set(begun)) <= 2, "only what that node was evaluating is evaluated again"


def test_crashes_and_overlong_evaluations_on_a_cluster_have_failed(cluster, log):
    problem = Logged(log, seconds=0.0, faults={3: "killed", 5: "hangs", 7: "killed once"})
    found = {}
    with make_executor("ray", problem, seconds=2.0, address=cluster.address) as executor:
        points = [problem.space.unrank(d) for d in range(10)]
        executor.evaluate(points, found.__setitem__)
    assert {d: e.status for d, e in found.items() if e.status is not Status.EVALUATED} == {
        3: Status.FAILED,
        5: Status.FAILED,
    }
    assert len(found) == 10 and "lost" in found[3].reason and "longer than the 2 s" in found[5].reason


def test_a_cluster_is_started_here_where_none_is_named(log):
    ray.shutdown()
    problem = Logged(log)
    with make_executor("ray", problem, workers=2) as executor:
        assert executor.workers == 2
        found = explored(problem, 100, executor=executor)
    assert not ray.is_initialized()
    assert trials(found) == trials(explored(Logged(log), 100))


def test_what_a_cluster_cannot_do_is_said(log):
    with pytest.raises(SpecError, match="no Ray cluster can be reached"):
        make_executor("ray", Logged(log), address="127.0.0.1:1")
    with pytest.raises(SpecError, match="no address"):
        make_executor("ray", Logged(log), address="somewhere")
    with make_executor("ray", Unprepared(log), workers=1) as executor, pytest.raises(SpecError, match="no such table"):
        executor.evaluate([(0, 0, 0, 0)], lambda index, evaluation: None)
