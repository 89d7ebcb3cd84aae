import json
import sqlite3
import sys

import pytest

from fiberloom.errors import SpecError
from fiberloom.explore import Evaluated, ExplorationStore, Goal, Status, explore, make_agent
from fiberloom.explore.store import StoredTrial
from logged_problem import SPACE, Logged, goal_of


@pytest.fixture
def problem(tmp_path):
    (tmp_path / "log").touch()
    return Logged(tmp_path / "log")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


def fill(path, problem, evaluations=20, seed=0, **options):
    with ExplorationStore(path) as store:
        agent = make_agent("random", problem, goal_of(problem), seed)
        return explore(problem, agent, evaluations=evaluations, seed=seed, store=store, **options)


def test_a_store_gives_back_what_was_written(path, problem):
    evaluated = Evaluated(
        Status.EVALUATED, {"cost": 1.5, "size": 1e-30}, detail={"proved": [1, None, "µ"]}, seconds=0.25
    )
    senseless = Evaluated(Status.INVALID, reason="line 3: nø")
    pruned = Evaluated(Status.PRUNED, {"size": 99.0}, "size <= 15: at least 99")
    trials = [StoredTrial(3, evaluated, 0.5), StoredTrial(4, senseless, 0.75), StoredTrial(5, pruned, 0.8)]
    with ExplorationStore(path) as store:
        run = store.open_run("random", {"a": 1}, 7, goal_of(problem), resume=False)
        store.write(run, {3: evaluated, 4: senseless}, 0, trials)
    with ExplorationStore(path) as store:
        assert store.evaluation(3) == evaluated and store.evaluation(4) == senseless
        assert store.evaluation(5) is None, "bounds are no evaluation"
        assert store.recorded(run) == trials
        assert [(r.agent, r.seed, r.goal, r.trials) for r in store.runs()] == [("random", 7, goal_of(problem), 3)]


def test_an_evaluation_stays_unless_it_had_failed(path):
    failed, first, second = (
        Evaluated(Status.FAILED, reason="killed"),
        Evaluated(Status.EVALUATED, {"cost": 1.0}),
        Evaluated(Status.EVALUATED, {"cost": 2.0}),
    )
    with ExplorationStore(path) as store:
        store.write(1, {9: failed}, 0, [StoredTrial(9, failed, 0.0)])
        assert store.evaluation(9) is None, "another try may succeed"
        store.write(1, {9: first})
        store.write(1, {9: second})
        assert store.evaluation(9) == first
        assert store.recorded(1)[0].evaluated == failed, "the run was told that it had failed"


def test_a_write_that_fails_leaves_nothing_of_it(path, problem):
    fill(path, problem)
    with ExplorationStore(path) as store:
        before = store.recorded(1)
        pages = store._database.execute("PRAGMA page_count").fetchone()[0]
        store._database.execute(f"PRAGMA max_page_count = {pages + 2}")
        large = Evaluated(Status.EVALUATED, {"cost": 1.0}, detail={"layers": "x" * 100_000})
        with pytest.raises(SpecError, match="full"):
            store.write(1, {1: Evaluated(Status.EVALUATED, {"cost": 1.0}), 2: large}, len(before), [])
        assert store.recorded(1) == before and store.evaluation(2) is None


def test_designs_and_frames_have_every_evaluation_once(path, problem):
    pandas = pytest.importorskip("pandas")
    fill(path, problem, prune=False)
    fill(path, problem, seed=1, prune=False)
    with ExplorationStore(path) as store:
        designs = {problem.space.rank(point): e for point, e in store.designs(problem)}
        frame = store.frame(problem)
        tried = {problem.space.rank(t.point) for run in (1, 2) for t, _ in store.trials(problem, run)}
    assert designs.keys() == tried and isinstance(frame, pandas.DataFrame) and len(frame) == len(tried)
    row = frame[frame.design == str(max(tried))].iloc[0]
    assert row["cost"] == designs[max(tried)].metrics["cost"]
    assert row["parameter.a"] == problem.space.values(problem.space.unrank(max(tried)))["a"]


def test_another_goal_is_another_run_on_the_same_evaluations(path, problem):
    fill(path, problem, prune=False)
    with ExplorationStore(path) as store:
        goal = Goal.parse(["size"], [], problem.metrics)
        agent = make_agent("random", problem, goal, 0)
        found = explore(problem, agent, evaluations=20, store=store, resume=True, prune=False)
        assert found.resumed == 0 and found.evaluated == 0 and len(store.runs()) == 2
        judged = [trial for trial, _ in store.trials(problem, 1, goal)]
        assert [t.score for t in judged] == [t.score for t in found.trials]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("a: {linear: [0, 9]}", "a: {linear: [0, 8]}", "'a' was [0, 1, 2, 3, 4, 5, 6, 7, …] and is [0, 1, 2"),
        ("b: {linear: [0, 9]}", "e: {linear: [0, 9]}", "the parameter 'b' is gone; the parameter 'e' is new"),
        ("c == 'z'", "c == 'y'", "when there is a 'd'"),
        (
            "    a: {linear: [0, 9]}\n    b: {linear: [0, 9]}",
            "    b: {linear: [0, 9]}\n    a: {linear: [0, 9]}",
            "the order",
        ),
    ],
)
def test_a_store_of_a_space_that_changed_names_what_differs(path, problem, old, new, said):
    fill(path, problem)
    with pytest.raises(SpecError) as error:
        fill(path, Logged(problem.log, space=SPACE.replace(old, new)))
    assert "another exploration" in str(error.value) and said in str(error.value)


def test_requirements_and_sections_that_changed_are_named(path, problem):
    fill(path, problem)
    changed = SPACE + "  requires: [a + b <= 12]\nproblem: {kind: logged, speed: 3}\n"
    with pytest.raises(SpecError, match=r"what the space requires; 'problem:'"):
        fill(path, Logged(problem.log, space=changed))


def test_prose_and_known_designs_of_a_space_may_change(path, problem):
    fill(path, problem)
    prose = "# a comment\n" + SPACE.replace("space:", "space:\n  title: A title\n  known: {best: {a: 3}}")
    assert fill(path, Logged(problem.log, space=prose), resume=True).resumed == 20


@pytest.mark.parametrize("part", ["model", "code"])
def test_a_store_of_another_version_of_the_model_or_of_ones_own_code_is_refused(path, problem, part):
    fill(path, problem)
    change(path, "facts", lambda facts: json.dumps({**json.loads(facts), part: "older"}))
    with pytest.raises(SpecError, match="another version of the model"):
        fill(path, problem)


def test_a_store_of_an_older_layout_is_refused(path, problem):
    fill(path, problem)
    change(path, "format", lambda layout: "1")
    with pytest.raises(SpecError, match="has layout 1 of exploration stores, this version writes 2"):
        ExplorationStore(path)


def change(path, key, how):
    """Write another value of a key of ``meta``."""
    with sqlite3.connect(path) as database:
        (value,) = database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        database.execute("UPDATE meta SET value = ? WHERE key = ?", (how(value), key))
    database.close()


def test_a_damaged_file_is_refused_by_name_or_still_sound(path, problem):
    fill(path, problem, 300)
    content = path.read_bytes()
    refused = 0
    for keep in range(0, len(content), 1024):
        path.write_bytes(content[:keep])
        refused += not usable(path, problem)
    assert refused >= len(content) // 1024 - 1, "only an empty file is a new store"
    for start in range(0, len(content) - 64, len(content) // 40):
        path.write_bytes(content[:start] + bytes(64) + content[start + 64 :])
        usable(path, problem)
        path.write_bytes(content[:start] + b"\xff" * 64 + content[start + 64 :])
        usable(path, problem)


def usable(path, problem):
    """Whether a run can be resumed; the one way in which it can't is an error that names the file."""
    for name in ("-wal", "-shm"):
        path.with_name(path.name + name).unlink(missing_ok=True)
    try:
        fill(path, problem, 300, resume=True)
    except SpecError as error:
        assert str(path) in str(error)
        return False
    return True


def test_files_that_are_no_store_are_refused_unchanged(tmp_path, problem):
    text = tmp_path / "text.db"
    text.write_text("space: {}\n" * 50)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE mine (a)")
    database.close()
    for path in (text, other):
        before = path.read_bytes()
        with pytest.raises(SpecError, match="can't be used as an exploration store"):
            ExplorationStore(path)
        assert path.read_bytes() == before
    with pytest.raises(SpecError, match="unable to open"):
        ExplorationStore(tmp_path / "nowhere" / "store.db")
    with pytest.raises(SpecError, match="unable to open"):
        ExplorationStore(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="no file modes")
def test_a_store_that_cannot_be_written_is_refused(path, problem, tmp_path):
    fill(path, problem)
    with ExplorationStore(path) as store:
        store._database.execute("PRAGMA query_only = 1")
        agent = make_agent("random", problem, goal_of(problem), 5)
        with pytest.raises(SpecError, match="can't be written"):
            explore(problem, agent, evaluations=5, seed=5, store=store)
