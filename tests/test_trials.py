"""The trial store: nothing is lost but the last batch, and a run goes on where it was killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fiberloom.errors import SpecError
from fiberloom.mapper.driver import run
from fiberloom.mapper.search import make
from fiberloom.mapper.trials import TrialStore
from fiberloom.mapping.packed import ROWS
from map_problems import GEMM, gemm_problem

ENDLESS = """
import sys
sys.path.insert(0, sys.argv[1])
from map_problems import gemm_problem
from fiberloom.mapper.driver import run
from fiberloom.mapper.search import make
from fiberloom.mapper.trials import TrialStore
target = gemm_problem()
run(make("genetic", target, 4), target, seed=4, store=TrialStore(sys.argv[2]), seconds=300)
"""


def test_what_is_stored_is_what_was_tried(tmp_path: Path) -> None:
    target = gemm_problem()
    packed = target.space.sample(np.random.default_rng(0), 300)
    outcome = target.evaluate(packed)
    with TrialStore(tmp_path / "trials.db") as store:
        number = store.open_run(target, make("random", target, 0), seed=0)
        store.append(number, packed, outcome, 1.5)
    with TrialStore(tmp_path / "trials.db") as store:
        ((again, judged, seconds),) = store.resume(number)
    for row in (*ROWS, "multicast", "peer_links"):
        assert np.array_equal(getattr(again, row), getattr(packed, row)), row
        assert getattr(again, row).dtype == getattr(packed, row).dtype
    for column in ("objective", "energy_pj", "cycles", "status"):
        assert np.array_equal(getattr(judged, column), getattr(outcome, column), equal_nan=column != "status"), column
    assert seconds == 1.5


def test_the_best_of_all_runs_is_found(tmp_path: Path) -> None:
    target = gemm_problem("latency")
    with TrialStore(tmp_path / "trials.db") as store:
        assert store.best() is None
        results = [
            run(make("random", target, seed), target, evaluations=600, batch=100, seed=seed, store=store)
            for seed in range(3)
        ]
        best = store.best()
        assert [r["trials"] for r in store.runs()] == [600] * 3
        assert [r["seed"] for r in store.runs()] == [0, 1, 2]
        assert [r["best"] for r in store.runs()] == [r.value for r in results]
    assert best is not None
    packed, outcome = best
    assert outcome.objective[0] == min(r.value for r in results)
    assert outcome.energy_pj[0] == min(
        r.best_outcome.energy_pj[0] for r in results if r.best_outcome and r.value == outcome.objective[0]
    )
    assert target.evaluate(packed).objective[0] == outcome.objective[0]


def test_a_frame_has_a_row_per_trial(tmp_path: Path) -> None:
    target = gemm_problem()
    with TrialStore(tmp_path / "trials.db") as store:
        assert len(store.frame()) == 0
        found = run(make("random", target, 7), target, evaluations=500, batch=90, seed=7, store=store)
        frame = store.frame(mappings=True)
    assert len(frame) == 500
    assert frame["trial"].tolist() == list(range(500))
    assert frame["valid"].sum() == found.valid
    assert frame["objective"].min() == found.value
    assert (frame.loc[frame["valid"], "energy_pj"] * frame.loc[frame["valid"], "cycles"]).min() == found.value
    factors = [f"{kind}.{level}.m" for kind in ("temporal", "spatial") for level in ("DRAM", "Buffer", "Registers")]
    assert (frame[factors].prod(axis=1) == 8).all()


def test_a_run_that_is_stopped_and_resumed_has_the_trials_of_one_that_never_stopped(tmp_path: Path) -> None:
    for name in ("random", "random-pruned", "annealing", "genetic", "cma-es"):
        target = gemm_problem()
        whole = run(make(name, target, 3), target, evaluations=700, batch=50)
        with TrialStore(tmp_path / f"{name}.db") as store:
            run(make(name, target, 3), target, evaluations=430, seed=3, store=store, batch=50)
        before = target.evaluations
        with TrialStore(tmp_path / f"{name}.db") as store:
            resumed = run(make(name, target, 3), target, evaluations=700, seed=3, store=store, resume=True, batch=50)
            assert len(store.runs()) == 1
        assert resumed.replayed_exactly
        assert resumed.replayed <= 430
        assert target.evaluations - before == resumed.evaluations - resumed.replayed
        assert resumed.best == whole.best
        assert resumed.curve.evaluations.tolist() == whole.curve.evaluations.tolist()
        assert resumed.curve.value.tolist() == whole.curve.value.tolist()


@pytest.mark.parametrize("name", ["random", "random-pruned", "annealing", "genetic", "cma-es"])
def test_a_searcher_that_proposes_otherwise_still_hears_the_stored_trials(tmp_path: Path, name: str) -> None:
    target = gemm_problem()
    with TrialStore(tmp_path / "trials.db") as store:
        first = run(make(name, target, 3), target, evaluations=500, batch=70, seed=3, store=store)
        # The generator is not made from the seed that the run is recorded under.
        resumed = run(make(name, target, 8), target, evaluations=700, seed=3, store=store, resume=True)
    assert not resumed.replayed_exactly
    assert resumed.replayed == 500
    assert resumed.value <= first.value
    assert resumed.evaluations == 700


def test_another_searcher_hyper_parameter_or_seed_is_another_run(tmp_path: Path) -> None:
    target = gemm_problem()
    with TrialStore(tmp_path / "trials.db") as store:
        for searcher, seed in (
            (make("random", target, 0), 0),
            (make("random", target, 1), 1),
            (make("genetic", target, 0), 0),
            (make("genetic", target, 0, population=50), 0),
        ):
            found = run(searcher, target, evaluations=100, seed=seed, store=store, resume=True)
            assert found.replayed == 0
        assert len(store.runs()) == 4


def test_a_file_of_another_problem_says_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "trials.db"
    target = gemm_problem()
    with TrialStore(path) as store:
        run(make("random", target, 0), target, evaluations=50, store=store)
    others = {
        "workload": gemm_problem(text=GEMM.replace("m: 8", "m: 16").replace("m=8", "m=16")),
        "architecture": gemm_problem(text=GEMM.replace("depth: 24", "depth: 32")),
        "objective": gemm_problem("latency"),
    }
    for part, other in others.items():
        with TrialStore(path) as store, pytest.raises(SpecError, match=f"its {part} differs"):
            run(make("random", other, 0), other, evaluations=50, store=store)


def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but dear to somebody " * 100)
    with pytest.raises(SpecError, match="trial store"):
        TrialStore(path)
    assert path.read_text().startswith("not a database")
    with pytest.raises(SpecError, match="trial store"):
        TrialStore(tmp_path / "missing" / "trials.db")


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(SpecError, match="trial store"):
        TrialStore(path)
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
def test_a_killed_search_leaves_a_file_that_opens_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "trials.db"
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(Path(__file__).parent), str(path)])
    try:
        deadline = time.monotonic() + 240
        while stored(path) < 1000:
            assert process.poll() is None, "the search ended by itself"
            assert time.monotonic() < deadline, "the search stores nothing"
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    target = gemm_problem()
    with TrialStore(path) as store:
        batches = store.resume(1)
        trials = sum(len(packed) for packed, _, _ in batches)
        assert trials == store.runs()[0]["trials"] >= 1000
        for packed, outcome, _ in batches[-2:]:
            assert np.array_equal(target.evaluate(packed).objective, outcome.objective)
        resumed = run(make("genetic", target, 4), target, evaluations=trials + 500, seed=4, store=store, resume=True)
    assert resumed.replayed == trials
    assert resumed.replayed_exactly
    plain = gemm_problem()
    assert resumed.best == run(make("genetic", plain, 4), plain, evaluations=trials + 500).best


def stored(path: Path) -> int:
    """Trials in a store that another process writes."""
    if not path.exists():
        return 0
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        try:
            return int(database.execute("SELECT COALESCE(SUM(trials), 0) FROM batches").fetchone()[0])
        except sqlite3.OperationalError:  # not laid out yet
            return 0
