import subprocess
import sys
import time
from pathlib import Path

import pytest

from fiberloom.errors import MissingExtraError, SpecError
from fiberloom.explore import Status, explore, make_agent
from fiberloom.explore.executors import Processes, Serial, make_executor
from logged_problem import Logged, Unprepared, goal_of, lines


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log").touch()
    return tmp_path / "log"


def evaluated(executor, problem, designs, wanted=lambda index: True):
    """Evaluations by design; each must be told once."""
    found = {}

    def done(index, evaluation):
        assert designs[index] not in found
        found[designs[index]] = evaluation

    with executor:
        executor.evaluate([problem.space.unrank(d) for d in designs], done, wanted)
    return found


def test_processes_find_what_this_process_finds(log):
    problem = Logged(log)
    designs = list(range(0, 600, 37))
    serial = evaluated(Serial(problem), problem, designs)
    parallel = evaluated(Processes(problem, 2), problem, designs)
    assert {d: e.metrics for d, e in serial.items()} == {d: e.metrics for d, e in parallel.items()}
    assert list(serial) == designs and sorted(parallel) == designs


def test_processes_work_at_the_same_time_and_are_kept_between_batches(log):
    problem = Logged(log, seconds=1.0)
    points = [problem.space.unrank(d) for d in range(2)]
    with Processes(problem, 2) as executor:
        while sum(worker.ready for worker in executor._pool._running) < 2:
            executor.evaluate(points, lambda index, evaluation: None)
        before = {worker.process.pid for worker in executor._pool._running}
        log.write_text("")
        executor.evaluate(points, lambda index, evaluation: None)
        assert {worker.process.pid for worker in executor._pool._running} == before
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["begin", "begin", "end", "end"]


@pytest.mark.parametrize("make", [Serial, lambda problem: Processes(problem, 2)])
def test_designs_that_are_not_wanted_any_more_are_left_out(make, log):
    problem = Logged(log)
    found = evaluated(make(problem), problem, list(range(10)), wanted=lambda index: index < 4)
    assert sorted(found) == [0, 1, 2, 3] and sorted(lines(log, "begin")) == [0, 1, 2, 3]


def test_a_design_that_kills_its_process_has_failed_and_the_others_go_on(log):
    faults = {3: "killed", 5: "segfault", 7: "exits", 8: "unpicklable", 9: "memory", 10: "bug", 11: "senseless"}
    problem = Logged(log, faults=faults)
    found = evaluated(Processes(problem, 2), problem, list(range(20)))
    assert sorted(found) == list(range(20))
    failed = {design: e.reason for design, e in found.items() if e.status is Status.FAILED}
    assert sorted(failed) == [3, 5, 7, 8, 9, 10]
    assert "signal 9" in failed[3] and "signal 11" in failed[5] and "SystemExit: 3" in failed[7]
    assert "pickle" in failed[8] and "memory" in failed[9] and "ZeroDivisionError: by design" in failed[10]
    assert found[11].status is Status.INVALID and found[11].reason == "it makes no sense"
    assert lines(log, "begin").count(3) == 2, "a process that ends is given a second try"
    assert lines(log, "begin").count(10) == 1, "a fault of the evaluation would only repeat"


def test_a_design_whose_process_was_killed_once_is_evaluated_all_the_same(log):
    problem = Logged(log, faults={3: "killed once"})
    found = evaluated(Processes(problem, 1), problem, list(range(6)))
    assert {e.status for e in found.values()} == {Status.EVALUATED}
    assert lines(log, "begin").count(3) == 2 and lines(log, "end").count(3) == 1


def test_an_evaluation_that_takes_too_long_has_failed(log):
    problem = Logged(log, faults={2: "hangs", 3: "hangs"})
    begun = time.perf_counter()
    found = evaluated(Processes(problem, 2, seconds=1.0), problem, list(range(8)))
    assert time.perf_counter() - begun < 60
    assert [d for d, e in sorted(found.items()) if e.status is Status.FAILED] == [2, 3]
    assert "longer than the 1 s" in found[2].reason
    assert lines(log, "begin").count(2) == 1, "it would only take as long again"


def test_an_exploration_goes_on_after_a_crash_and_keeps_the_reason(log):
    problem = Logged(log)
    fine = explore(problem, make_agent("random", problem, goal_of(problem), 0), evaluations=6, prune=False)
    fatal = fine.trials[2].point
    problem = Logged(log, faults={problem.space.rank(fatal): "killed"})
    with Processes(problem, 1) as executor:
        agent = make_agent("random", problem, goal_of(problem), 0)
        found = explore(problem, agent, evaluations=6, executor=executor, prune=False)
    assert [t.point for t in found.trials] == [t.point for t in fine.trials]
    for trial in found.trials:
        assert (trial.evaluated.status is Status.FAILED) == (trial.point == fatal)
        assert ("signal 9" in trial.evaluated.reason) == (trial.point == fatal)
        assert not (trial.point == fatal and trial.feasible)


def test_what_processes_cannot_take_is_said(log):
    class Local(Logged):
        pass

    for problem, said in ((Local(log), "can't be sent"), (Unprepared(log), "no such table")):
        with pytest.raises(SpecError, match="worker processes can't evaluate") as error:
            evaluated(Processes(problem, 2), problem, [1, 2])
        assert said in str(error.value)


def test_a_problem_of_a_script_is_refused_by_name(log, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\n"
        "from logged_problem import Logged\n"
        "from fiberloom.errors import SpecError\n"
        "from fiberloom.explore.executors import Processes\n"
        "class Mine(Logged): pass\n"
        f"problem = Mine(Path({str(log)!r}))\n"
        "try:\n"
        "    with Processes(problem, 1) as executor:\n"
        "        executor.evaluate([problem.space.unrank(1)], print)\n"
        "except SpecError as error:\n"
        "    print(error)\n"
    )
    said = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout
    assert "worker processes can't evaluate Mine" in said and "module" in said


def test_processes_serve_slow_problems_and_cheap_ones_stay_here(log, monkeypatch):
    problem = Logged(log)
    assert isinstance(make_executor(None, problem), Serial)
    assert isinstance(make_executor(None, problem, workers=3), Processes)
    assert isinstance(make_executor(None, problem, seconds=3.0), Processes)
    monkeypatch.setattr(Logged, "slow", True)
    assert isinstance(make_executor(None, problem, workers=1), Serial)
    assert isinstance(make_executor(None, problem, workers=2), Processes)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("proceses", {}, "did you mean 'processes'"),
        ("processes", {"workers": 0}, "at least 1"),
        ("serial", {"workers": 2}, "--executor processes"),
        ("serial", {"seconds": 1.0}, "--executor processes"),
        (None, {"seconds": -1.0}, "positive"),
        ("processes", {"address": "auto"}, "takes no address"),
    ],
)
def test_options_that_make_no_sense_are_refused(name, options, said, log):
    with pytest.raises(SpecError) as error:
        make_executor(name, Logged(log), **options)
    assert said in str(error.value)


def test_ray_that_is_missing_is_named_with_how_to_get_it(log, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError) as error:
        make_executor("ray", Logged(log))
    assert "pip install 'fiberloom[ray]'" in str(error.value)
