"""Explorations in processes of their own that are killed, interrupted, started twice and run out of disk."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fiberloom.explore import ExplorationStore, explore, make_agent
from logged_problem import Logged, goal_of, lines

TESTS = str(Path(__file__).parent)


def started(store, log, *options, before=""):
    """The program of `logged_problem` in a process of its own."""
    program = f"import sys; sys.path.insert(0, {TESTS!r})\n{before}\nfrom logged_problem import main\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", program, str(store), str(log), *map(str, options)], stdout=subprocess.PIPE, text=True
    )


def stored(store, problem, run=1):
    """Designs, states and metrics of a run's trials."""
    with ExplorationStore(store) as opened:
        return [(t.point, t.evaluated.status, dict(t.evaluated.metrics)) for t, _ in opened.trials(problem, run)]


def trials_of(agent, evaluations, seed=0):
    """Of an exploration in this process that nothing disturbs, without a store."""
    problem = Logged(Path("/dev/null"))
    found = explore(problem, make_agent(agent, problem, goal_of(problem), seed), evaluations=evaluations, seed=seed)
    return [(t.point, t.evaluated.status, dict(t.evaluated.metrics)) for t in found.trials]


def wait_for(log, count):
    """Until so many evaluations have begun, as the log says."""
    while len(lines(log, "begin")) < count:
        time.sleep(0.002)


@pytest.mark.parametrize(("executor", "workers"), [("serial", 1), pytest.param("processes", 2, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_ends_as_one_that_was_not(tmp_path, executor, workers):
    store, log = tmp_path / "store.db", tmp_path / "log"
    log.touch()
    options = ("--evaluations", 260, "--seconds", 0.01, "--executor", executor, "--workers", workers)
    rng = random.Random(executor)
    kills = 4
    for kill in range(kills):
        process = started(store, log, *options, *(["--resume"] if kill else []))
        wait_for(log, len(lines(log, "begin")) + rng.randint(2, 25))
        time.sleep(rng.random() * 0.02)
        process.kill()
        process.wait()
        with ExplorationStore(store) as opened:
            kept = {Logged(log).space.rank(point) for point, _ in opened.designs(Logged(log))}
        lost = set(lines(log, "end")) - kept
        assert len(lost) <= workers, "only what was under way may be missing"
    last = started(store, log, *options, "--resume")
    assert last.communicate()[0].split() == ["260", "evaluations"]
    problem = Logged(log)
    assert stored(store, problem) == trials_of("random", 260)
    begun = lines(log, "begin")
    again = len(begun) - len(set(begun))
    assert again <= kills * workers, "only what was under way is evaluated a second time"
    with ExplorationStore(store) as opened:
        assert len(opened.runs()) == 1


def test_ctrl_c_ends_a_run_cleanly_with_what_it_found(tmp_path):
    store, log = tmp_path / "store.db", tmp_path / "log"
    log.touch()
    process = started(store, log, "--seconds", 0.05, "--executor", "processes", "--workers", 2)
    wait_for(log, 12)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[0].split()
    assert said[1] == "interrupted" and int(said[0]) >= 5 and process.returncode == 0
    assert started(store, log, "--resume").communicate()[0].split() == ["150", "evaluations"]
    assert stored(store, Logged(log)) == trials_of("random", 150)


def test_two_runs_share_one_store_and_each_others_evaluations(tmp_path):
    store, log = tmp_path / "store.db", tmp_path / "log"
    log.touch()
    both = [started(store, log, "--evaluations", 400, "--seed", seed, "--seconds", 0.002) for seed in (0, 1)]
    assert [process.communicate()[0].split() for process in both] == [["400", "evaluations"]] * 2
    problem = Logged(log)
    with ExplorationStore(store) as opened:
        seeds = {run.run: run.seed for run in opened.runs()}
        designs = [problem.space.rank(point) for point, _ in opened.designs(problem)]
    assert sorted(seeds.values()) == [0, 1]
    for run, seed in seeds.items():
        assert stored(store, problem, run) == trials_of("random", 400, seed)
    begun = lines(log, "begin")
    assert sorted(set(begun)) == sorted(designs), "each is kept, once"
    assert len(begun) - len(set(begun)) <= 10, "both evaluate a design only if they begin it at the same time"


def test_a_run_under_way_cannot_be_resumed_a_second_time(tmp_path):
    store, log = tmp_path / "store.db", tmp_path / "log"
    log.touch()
    first = started(store, log, "--evaluations", 60, "--seconds", 0.1)
    wait_for(log, 3)
    second = started(store, log, "--evaluations", 60, "--resume")
    said = second.communicate()[0]
    assert second.returncode == 2 and "run 1 of" in said and "under way in another process" in said
    assert first.communicate()[0].split() == ["60", "evaluations"]
    assert stored(store, Logged(log)) == trials_of("random", 60)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "store.db"], "nothing else is left behind"
    assert started(store, log, "--evaluations", 60, "--resume").communicate()[0].split() == ["60", "evaluations"]


def test_a_full_disk_ends_a_run_with_what_it_found_and_nothing_lost(tmp_path):
    store, log = tmp_path / "store.db", tmp_path / "log"
    log.touch()
    most = 150_000  # bytes of a file, after which writing fails like on a full disk
    limited = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))"
    )
    process = started(store, log, "--seconds", 0, before=limited)
    said = process.communicate()[0]
    tried = int(said.split()[0])
    assert process.returncode == 2 and "error" in said and "can't be written" in said
    assert 0 < tried < 150, "what was found is reported all the same"
    problem = Logged(log)
    with ExplorationStore(store) as opened:
        kept = {problem.space.rank(point) for point, _ in opened.designs(problem)}
    assert len(kept) > 3 and len(set(lines(log, "end")) - kept) == 1, "all but the one that found no room"
    assert stored(store, problem) == trials_of("random", 150)[: len(stored(store, problem))]
    assert started(store, log, "--resume").communicate()[0].split() == ["150", "evaluations"]
    assert stored(store, problem) == trials_of("random", 150)
    assert len(lines(log, "begin")) <= len(set(lines(log, "begin"))) + 1
