"""Agents in other processes: what they are told, and what becomes of a run when they misbehave."""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fiberloom.errors import SpecError
from fiberloom.explore import ExplorationStore, Goal, explore
from fiberloom.explore.dram.problem import DramProblem
from fiberloom.explore.driver import ExplorationError
from fiberloom.explore.pipe import PipeAgent, outside_agent, serve
from fiberloom.explore.space import parse_space

SPACE = """
space:
  parameters:
    Scheduler: [Fifo, FrFcfs]
    RequestBufferSize: {linear: [1, 8]}
problem: {kind: dram, trace: stream, requests: 100}
"""

PAGE = (Path(__file__).parents[1] / "docs" / "explore-environments.md").read_text(encoding="utf-8")
CLIMBER = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "hello" in block)
"""The agent that the documentation shows."""


def problem() -> DramProblem:
    return DramProblem(parse_space(SPACE))


def command(folder: Path, program: str) -> str:
    path = folder / "agent.py"
    path.write_text(program, encoding="utf-8")
    return shlex.join([sys.executable, str(path)])


def started(folder: Path, program: str, timeout: float = 20.0) -> PipeAgent:
    made = problem()
    return outside_agent(command(folder, program), made, Goal.parse(["latency_ns"]), 1, timeout=timeout)


ASK = "import json, sys\nsys.stdin.readline()\nfor number, line in enumerate(sys.stdin):\n    if 'ask' not in line: continue\n    "
ONE_THEN = ASK + "if number == 0: print(json.dumps({'designs': [[0, 0]]}), flush=True); continue\n    "


def test_an_agent_in_another_process_searches(tmp_path: Path) -> None:
    agent = started(tmp_path, CLIMBER)
    found = explore(agent.problem, agent, evaluations=60)
    assert found.stopped == "evaluations"
    assert len(found.trials) == 60
    assert found.best is not None
    best = min(agent.problem.evaluate(p).metrics["latency_ns"] for p in agent.problem.space.all())
    assert found.best.score == best
    assert agent.hyper_parameters == {"command": agent.command, "timeout": 20.0}


def test_the_page_runs_its_own_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "outside_agent" in block)
    example = example.replace('"python climber.py"', repr(command(tmp_path, CLIMBER))).replace("=500", "=50")
    exec(compile(example, "docs/explore-environments.md", "exec"), {})
    assert "PagePolicy" in capsys.readouterr().out


def test_the_same_seed_asks_for_the_same_designs_and_a_store_resumes(tmp_path: Path) -> None:
    runs = []
    for path in (tmp_path / "a.db", tmp_path / "b.db"):
        with ExplorationStore(path) as store:
            agent = started(tmp_path, CLIMBER)
            runs.append(explore(agent.problem, agent, evaluations=20, store=store))
    assert [t.point for t in runs[0].trials] == [t.point for t in runs[1].trials]
    with ExplorationStore(tmp_path / "a.db") as store:
        agent = started(tmp_path, CLIMBER)
        more = explore(agent.problem, agent, evaluations=30, store=store, resume=True)
    assert more.repeated
    assert [t.point for t in more.trials[:20]] == [t.point for t in runs[0].trials]


def test_what_an_agent_hears_is_all_there_is_to_know(tmp_path: Path) -> None:
    program = ASK.replace("sys.stdin.readline()", "heard = [json.loads(sys.stdin.readline())]").replace(
        "    if 'ask'",
        "    heard.append(json.loads(line)); open(sys.argv[1], 'w').write(json.dumps(heard))\n    if 'ask'",
    )
    program += "print(json.dumps({'designs': [{'Scheduler': 'FrFcfs', 'RequestBufferSize': 3}]}), flush=True)\n"
    made = problem()
    goal = Goal.parse(["latency_ns", "max bandwidth_gbs"], ["power_mw <= 1"], made.metrics)
    agent = outside_agent(f"{command(tmp_path, program)} {tmp_path / 'heard.json'}", made, goal, 1)
    found = explore(made, agent, evaluations=2)
    first, ask, tell, *_ = json.loads((tmp_path / "heard.json").read_text(encoding="utf-8"))
    assert first["space"] == json.loads(json.dumps(made.space.to_dict()))
    assert first["goal"] == {"objectives": ["latency_ns", "max bandwidth_gbs"], "limits": ["power_mw <= 1"]}
    assert first["metrics"]["power_mw"] == "mW"
    assert list(ask) == ["ask"]
    assert ask["ask"] >= 1
    (told,) = tell["tell"]
    trial = found.trials[0]
    assert told["point"] == list(trial.point) == [1, 2]
    assert told["design"] == {"Scheduler": "FrFcfs", "RequestBufferSize": 3}
    assert told["metrics"] == dict(trial.evaluated.metrics)
    assert told["values"] == [trial.values[0], -trial.evaluated.metrics["bandwidth_gbs"]]
    assert (told["feasible"], told["violation"]) == (False, trial.violation)


def test_an_agent_may_say_that_it_is_done(tmp_path: Path) -> None:
    agent = started(tmp_path, ONE_THEN + "print(json.dumps({'done': 'converged'}), flush=True)\n")
    found = explore(agent.problem, agent, evaluations=10)
    assert (len(found.trials), found.stopped) == (1, "the outside agent is done: converged")


FAULTS = {
    "print('hello', flush=True)": "wrote 'hello', which is no JSON object",
    "print('[1]', flush=True)": "which is no JSON object",
    "print(json.dumps({'points': [[0, 0]]}), flush=True)": 'answered {"points"',
    "print(json.dumps({'designs': []}), flush=True)": 'answered {"designs": []}',
    "print(json.dumps({'designs': [[0, 8]]}), flush=True)": "'RequestBufferSize' has no value number 8",
    "print(json.dumps({'designs': [[0]]}), flush=True)": "a design of 1 numbers",
    "print(json.dumps({'designs': [[0, 0.5]]}), flush=True)": "[0, 0.5] is no design",
    "print(json.dumps({'designs': [{'Schedular': 'Fifo'}]}), flush=True)": "no parameter 'Schedular'",
    "print(json.dumps({'designs': [{'Scheduler': 'fifo'}]}), flush=True)": "'Scheduler' is never 'fifo'",
    "print(json.dumps({'designs': [[0, 0]] * 1000}), flush=True)": "gave 1000 designs",
    "print('last words', file=sys.stderr); sys.exit(3)": "ended with exit code 3",
    "sys.stdout.close(); import os, time; os.close(1); time.sleep(30)": "closed its output",
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)": "was ended by signal 9",
    "import time; time.sleep(60)": "gave no answer within 1 s",
    "sys.stdout.write('x' * (17 << 20)); sys.stdout.flush()": "a line without end",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_misbehaving_agent_ends_the_run_with_everything_kept(tmp_path: Path, fault: str) -> None:
    agent = started(tmp_path, ONE_THEN + fault + "\n", timeout=1.0 if "60" in fault else 20.0)
    with ExplorationStore(tmp_path / "run.db") as store:
        with pytest.raises(ExplorationError) as caught:
            explore(agent.problem, agent, evaluations=10, store=store)
        assert store.evaluation(agent.problem.space.rank((0, 0))) is not None
    assert len(caught.value.found.trials) == 1
    assert FAULTS[fault] in str(caught.value)


def test_an_agent_that_fails_before_its_first_design_is_an_error(tmp_path: Path) -> None:
    agent = started(tmp_path, "import sys\nsys.exit('no licence')\n")
    with pytest.raises(SpecError, match=r"(?s)ended with exit code 1.*no licence"):
        explore(agent.problem, agent, evaluations=10)


@pytest.mark.parametrize(
    ("words", "problem_text"),
    [
        ("", "has no command"),
        ("no-such-program --x", "'no-such-program' can't be started"),
        ("echo 'x", "can't be read"),
    ],
)
def test_a_command_that_can_not_be_started_is_an_error(words: str, problem_text: str) -> None:
    with pytest.raises(SpecError, match=problem_text):
        outside_agent(words, problem(), Goal.parse(["latency_ns"]))
    with pytest.raises(SpecError, match="timeout of 'pipe'"):
        outside_agent("cat", problem(), Goal.parse(["latency_ns"]), timeout=0)


def test_an_agent_that_will_not_leave_is_ended(tmp_path: Path) -> None:
    program = ASK.replace(
        "import json, sys\n", "import json, signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    )
    program += "print(json.dumps({'designs': [[0, 0]]}), flush=True); time.sleep(60)\n"
    agent = started(tmp_path, program)
    begun = time.perf_counter()
    explore(agent.problem, agent, evaluations=1)
    assert time.perf_counter() - begun < 10
    assert agent._process._process.poll() is not None


def test_designs_are_evaluated_for_whoever_asks() -> None:
    made = problem()
    requests = [
        {"sample": 3},
        {"evaluate": [[1, 7], {"Scheduler": "Fifo"}]},
        {"evaluate": [[9, 9]]},
        {"sample": -1},
        "nonsense",
        {"close": True},
        {"sample": 1},
    ]
    out = io.StringIO()
    serve(made, Goal.parse(["latency_ns"]), [*(json.dumps(r) for r in requests), "{"], out)
    hello, sampled, trials, range_error, count_error, unknown = (
        json.loads(line) for line in out.getvalue().splitlines()
    )
    assert hello["space"]["size"] == 16
    assert all(made.space.canonical(point) for point in sampled["designs"])
    assert [t["point"] for t in trials["trials"]] == [[1, 7], [0, 0]]
    assert trials["trials"][0]["metrics"] == dict(made.evaluate((1, 7)).metrics)
    assert "has no value number 9" in range_error["error"]
    assert "is not known" in count_error["error"]
    assert "is not known" in unknown["error"]


def test_threads_of_an_agent_end_with_it(tmp_path: Path) -> None:
    before = threading.active_count()
    agent = started(tmp_path, CLIMBER)
    explore(agent.problem, agent, evaluations=3)
    until = time.perf_counter() + 5
    while threading.active_count() > before and time.perf_counter() < until:
        time.sleep(0.02)
    assert threading.active_count() <= before


def test_the_generator_seeds_the_agent(tmp_path: Path) -> None:
    firsts = set()
    for seed in range(6):
        made = problem()
        agent = outside_agent(command(tmp_path, CLIMBER), made, Goal.parse(["latency_ns"]), np.random.default_rng(seed))
        firsts.add(tuple(agent.ask(1) or ()))
        agent.close()
    assert len(firsts) > 1
