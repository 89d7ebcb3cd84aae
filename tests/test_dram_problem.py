"""ArchGym's DRAM space as a problem to explore."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest

from fiberloom.errors import SpecError
from fiberloom.explore import ExplorationStore, Goal, explore, make_agent, make_problem, read_space
from fiberloom.explore.dram.controller import DDR4_2400, METRICS, MT40A1G8, PARAMETERS, Controller, simulate
from fiberloom.explore.dram.device import Energies
from fiberloom.explore.dram.problem import DramProblem
from fiberloom.explore.dram.traces import KINDS, synthetic
from fiberloom.explore.problems import stored_problem
from fiberloom.explore.space import parse_space
from fiberloom.explore.trial import Status

SPACE = "fiberloom: 1\nspace:\n  parameters:\n    Scheduler: [Fifo, FrFcfs]\n    RequestBufferSize: {linear: [1, 4]}\n"


def test_the_library_has_archgyms_space() -> None:
    space = read_space("dram-controller").space
    assert space.size() == 1_769_472
    assert {p.name: p.values for p in space.parameters} == dict(PARAMETERS)


def test_a_point_is_the_controller_that_its_values_say() -> None:
    problem = make_problem("dram-controller")
    assert isinstance(problem, DramProblem)
    point = problem.space.sample(np.random.default_rng(3), 1)[0]
    made = problem.evaluate(point)
    assert made.status is Status.EVALUATED
    expected = simulate(synthetic("cloud-1", 1000, 0), Controller(**problem.space.values(point)))
    assert made.metrics == expected.metrics()
    assert list(made.metrics) == list(METRICS)


def test_named_designs_are_as_their_names_promise() -> None:
    problem = make_problem("dram-controller")
    plain, usual = (problem.evaluate(problem.space.point(v)).metrics for v in problem.file.known.values())
    assert usual["latency_ns"] < 0.1 * plain["latency_ns"]


def test_no_neighbour_of_the_best_design_is_better() -> None:
    problem = make_problem("dram-controller")
    goal = Goal.parse(["latency_ns * power_mw"], ["missed_refreshes <= 0"], problem.metrics)
    best = {"PagePolicy": "ClosedAdaptive", "Scheduler": "FrFcfs", "RequestBufferSize": 5, "RefreshPolicy": "AllBank"}
    point = problem.space.point(best)
    score = goal.values(problem.evaluate(point).metrics)[0]
    assert score == pytest.approx(65_427.737, abs=1e-3)
    for i, choices in enumerate(problem.space.shape):
        for chosen in range(choices):
            made = problem.evaluate((*point[:i], chosen, *point[i + 1 :])).metrics
            assert goal.violation(made) > 0 or goal.values(made)[0] >= score


def test_parameters_that_a_space_lacks_keep_their_defaults() -> None:
    problem = make_problem(parse_space(f"{SPACE}problem: {{kind: dram, trace: random, requests: 100}}\n"))
    assert isinstance(problem, DramProblem)
    assert problem.controller((0, 2)) == Controller(Scheduler="Fifo", RequestBufferSize=3)


def test_a_trace_file_lies_beside_its_space_and_belongs_to_the_facts(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("0,R,0\n5,W,64\n", encoding="utf-8")
    (tmp_path / "space.yaml").write_text(f"{SPACE}problem: {{kind: dram, trace: mine.csv}}\n", encoding="utf-8")
    first = make_problem(tmp_path / "space.yaml")
    assert isinstance(first, DramProblem)
    assert len(first.trace) == 2
    (tmp_path / "mine.csv").write_text("0,R,0\n5,W,128\n", encoding="utf-8")
    assert make_problem(tmp_path / "space.yaml").facts() != first.facts()


def test_a_store_gives_the_problem_back_without_the_trace_file(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("0,R,0\n+5,W,64\n", encoding="utf-8")
    (tmp_path / "space.yaml").write_text(f"{SPACE}problem: {{kind: dram, trace: mine.csv}}\n", encoding="utf-8")
    with ExplorationStore(tmp_path / "run.db") as store:
        problem = make_problem(tmp_path / "space.yaml")
        goal = Goal.parse(["latency_ns"], [], problem.metrics)
        explore(problem, make_agent("grid", problem, goal, 0), store=store)
        (tmp_path / "mine.csv").unlink()
        again = stored_problem(store)
        assert again.facts() == problem.facts()
        assert again.evaluate((1, 3)).metrics == problem.evaluate((1, 3)).metrics
    with ExplorationStore(tmp_path / "library.db") as store:
        problem = make_problem("dram-controller")
        store.bind(problem)
        assert stored_problem(store).facts() == problem.facts()


def test_an_option_that_controllers_do_not_have_is_refused() -> None:
    with pytest.raises(SpecError, match=r"kind 'dram' has no workloads\n.*trace"):
        make_problem("dram-controller", workloads=[])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"{SPACE}problem: {{kind: dram}}\n", "names no trace"),
        (f"{SPACE}problem: {{kind: dram, trace: streem}}\n", "'streem' is not known"),
        (f"{SPACE}problem: {{kind: dram, trace: stream, size: 5}}\n", "unknown field 'size'"),
        (f"{SPACE}problem: {{kind: dram, trace: stream, requests: 0}}\n", "a whole number from 1"),
        (f"{SPACE}problem: {{kind: dram, trace: none.csv}}\n", "can't be read"),
        (
            SPACE.replace("Scheduler:", "Schedule:") + "problem: {kind: dram, trace: stream}\n",
            "no parameter 'Schedule'",
        ),
        (SPACE.replace("FrFcfs", "FrFcf") + "problem: {kind: dram, trace: stream}\n", "Scheduler is 'FrFcf'"),
        (SPACE.replace("[1, 4]", "[0, 4]") + "problem: {kind: dram, trace: stream}\n", "RequestBufferSize is 0"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(text: str, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        make_problem(parse_space(text, "mine.yaml"))


def test_exploring_finds_what_plain_designs_do_not() -> None:
    problem = make_problem("dram-controller")
    goal = Goal.parse(["latency_ns * power_mw"], ["missed_refreshes <= 0"], problem.metrics)
    found = explore(problem, make_agent("random", problem, goal, 0), evaluations=300)
    assert found.best is not None
    assert problem.space.values(found.best.point)["RefreshPolicy"] == "AllBank"
    plain = problem.evaluate(problem.space.point(problem.file.known["plain"]))
    assert found.best.score < goal.score(goal.values(plain.metrics)) / 10
    assert all(math.isfinite(t.score) for t in found.trials)


def test_the_page_names_every_parameter_trace_and_metric_and_its_example_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "explore-dram.md").read_text(encoding="utf-8")
    for name in (*PARAMETERS, *METRICS, *KINDS):
        assert f"`{name}`" in page
    for values in PARAMETERS.values():
        assert all(f"`{v}`" in page for v in values if isinstance(v, str))
    e = Energies.of(DDR4_2400, MT40A1G8)
    assert f"`ACT` with its precharge {e.activate_nj:.1f} nJ, `RD` {e.read_nj:.1f} nJ, `WR` {e.write_nj:.1f} nJ" in page
    exec(compile(page.split("```python\n")[1].split("```")[0], "docs/explore-dram.md", "exec"), {})
    assert "latency_ns" in capsys.readouterr().out


@pytest.mark.slow
def test_two_thousand_designs_a_second() -> None:
    problem = make_problem("dram-controller")
    problem.prepare()
    points = problem.space.sample(np.random.default_rng(0), 2000)
    begun = time.process_time()
    for point in points:
        problem.evaluate(point)
    assert time.process_time() - begun < 2.0  # aim: 1 s on a core of its own
