"""``fiberloom explore`` with what makes no sense: one error that says where and what, never a traceback; and Ctrl-C."""

import json
import signal
import subprocess
import sys
import time

import pytest

from fiberloom.cli.program import run

SPACE = """fiberloom: 1
space:
  parameters:
    PagePolicy: {choice: [Open, Closed]}
    RequestBufferSize: {powers_of_two: [1, 8]}
  requires: [RequestBufferSize >= 2]
problem: {kind: dram, trace: cloud-1, requests: 20}
"""


@pytest.fixture
def space(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text(SPACE)
    return tmp_path / "space.yaml"


def refused(capsys, *arguments):
    """The error as data."""
    assert run(["explore", *map(str, arguments), "--json"]) in (2, 3)
    captured = capsys.readouterr()
    assert captured.out == ""
    return json.loads(captured.err.splitlines()[-1])["error"]


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        (SPACE[SPACE.index("parameters") : SPACE.index("problem")], "name: empty\n", 2, "has no parameters"),
        ("choice: [Open, Closed]", "choice: []", 4, "has no values"),
        ("choice: [Open, Closed]", "choice: [Open, Open]", 4, "twice"),
        ("powers_of_two: [1, 8]", "powers_of_two: [8, 1]", 5, "rises"),
        ("RequestBufferSize >= 2", "RequestBufferSize >= 16", 6, "'RequestBufferSize >= 16' fails most often (100% of them)"),
        ("[RequestBufferSize >= 2]", "[RequestBufferSize >= 4, RequestBufferSize <= 2]", 6, "none of the 8 designs meets"),
        ("RequestBufferSize >= 2", "RequestBufferSze >= 2", 6, "no parameter"),
        ("RequestBufferSize >= 2", "RequestBufferSize >= ", 6, "not arithmetic"),
        ("RequestBufferSize >= 2", "RequestBufferSize / (RequestBufferSize - 1) > 2", 6, "division by zero"),
        ("PagePolicy", "PagePolcy", 4, "no parameter 'PagePolcy'"),
        ("cloud-1", "clod-1", 7, "not known"),
        ("kind: dram", "kind: drum", 7, "no problem of kind 'drum'"),
        ("requires", "require", 6, "require"),
    ],
)  # fmt: skip
def test_spaces_that_make_no_sense_are_refused_with_their_line(space, capsys, old, new, line, said):
    assert old in SPACE
    space.write_text(SPACE.replace(old, new, 1))
    error = refused(capsys, space, "--budget", "5")
    assert said in error["problem"] and error["hint"]
    assert (error["file"], error["line"]) == (str(space), line)


@pytest.mark.parametrize("agent", ["grid", "random"])
def test_a_large_space_that_no_design_meets_ends_soon_for_every_agent(space, capsys, agent):
    many = "".join(f"    p{i}: {{linear: [1, 1000]}}\n" for i in range(6))
    kind = "problem: {kind: accelerator, workloads: [alexnet]}\n"
    contradiction = SPACE.replace("  requires", many + "  requires").replace("Size >= 2", "Size * p0 < 0")
    space.write_text(contradiction[: contradiction.index("problem")] + kind)
    begun = time.perf_counter()
    error = refused(capsys, space, "--agent", agent)
    assert "none of 20,000 random designs" in error["problem"] and error["line"] == 12
    assert time.perf_counter() - begun < 60


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--objective", "latncy_ns"], "did you mean 'latency_ns'"),
        (["--limit", "power"], "is no limit"),
        (["--limit", "power_mw >= 5", "--limit", "power_mw <= 4"], "'power_mw >= 5' and 'power_mw <= 4' contradict"),
        (["--budget", "0"], "--budget 0"),
        (["--budget", "5 parsecs"], "90s, 10min"),
        (["--executor", "prcesses"], "did you mean 'processes'"),
        (["--executor", "serial", "--jobs", "2"], "--executor processes"),
        (["--jobs", "0"], "at least 1"),
        (["--timeout", "-1"], "positive"),
        (["--address", "auto", "--executor", "serial"], "takes no address"),
        (["--resume"], "--store"),
        (["--store", "nowhere/store.db"], "unable to open"),
        (["--store", "space.yaml"], "not a database"),
        (["--agent", "radom"], "did you mean 'random'"),
        (["--set", "temperature=3"], "no hyper-parameter 'temperature'"),
    ],
)
def test_options_that_make_no_sense_are_refused(space, capsys, options, said):
    error = refused(capsys, space, *options)
    assert said in f"{error['problem']} {error['hint']}"
    assert space.read_text() == SPACE


def test_a_store_of_a_space_that_has_changed_since_names_the_parameter(space, capsys):
    assert run(["explore", str(space), "--budget", "4", "--store", "store.db"]) == 0
    capsys.readouterr()
    space.write_text(SPACE.replace("[1, 8]", "[1, 16]"))
    error = refused(capsys, space, "--budget", "4", "--store", "store.db")
    assert "'RequestBufferSize' was [1, 2, 4, 8] and is [1, 2, 4, 8, 16]" in error["problem"]


def test_limits_that_nothing_meets_are_named_with_how_far_off(space, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert (
        run(["explore", str(space), "--limit", "power_mw <= 1", "--limit", "latency_ns <= 1e9", "--budget", "9"]) == 4
    )
    said = capsys.readouterr().out
    assert "no design meets the limits" in said and "power_mw <= 1 (found" in said and "% off)" in said
    assert "latency_ns <= 1e+09 (found" not in said


def test_resuming_what_was_never_begun_says_so(space, capsys):
    assert run(["explore", str(space), "--budget", "4", "--store", "store.db", "--resume"]) == 0
    assert "had no run of this agent, seed and goal" in capsys.readouterr().err
    assert run(["explore", str(space), "--budget", "6", "--store", "store.db", "--resume"]) == 0
    assert "had no run" not in capsys.readouterr().err


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_ctrl_c_reports_the_best_so_far_and_how_to_go_on(space, executor):
    command = ["explore", "dram-controller", "--budget", "1h", "--store", "store.db", "--executor", executor, "--json"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from fiberloom.cli import main; main()", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    store = space.with_name("store.db-wal")
    deadline = time.monotonic() + 90
    while (not store.exists() or store.stat().st_size < 100_000) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    found = json.loads(out)
    assert found["stopped"] == "interrupted" and found["trials"] > 3 and found["best"]["metrics"]["latency_ns"] > 0
    assert "--resume goes on from store.db" in err and "Traceback" not in err
