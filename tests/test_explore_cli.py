"""`fiberloom explore` as people type it: what it prints and writes, and what it says to bad input."""

from __future__ import annotations

import csv
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from explorations import written
from fiberloom.cli.program import run

DRAM = ["dram-controller", "--objective", "latency_ns", "--objective", "power_mw", "--limit", "missed_refreshes <= 0"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explored")
    path = folder / "dram.db"
    arguments = ["explore", *DRAM, "--budget", "60", "--store", str(path)]
    assert (
        run(
            [
                *arguments,
                "--agent",
                "random",
                "--html",
                str(folder / "at-once.html"),
                "--csv",
                str(folder / "at-once.csv"),
            ]
        )
        == 0
    )
    assert run([*arguments, "--agent", "genetic", "--set", "population=10"]) == 0
    return path


def test_a_space_alone_is_explored(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explore", "dram-controller", "--budget", "5"]) == 0
    text = capsys.readouterr().out
    assert f"1,769,472 designs, 5 tried by {'nsga2' if find_spec('optuna') else 'genetic'}" in text and "front" in text


def test_the_page_and_the_csv_can_be_written_at_once(store: Path) -> None:
    page = (store.parent / "at-once.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "missed_refreshes" in page
    rows = list(csv.DictReader((store.parent / "at-once.csv").open(encoding="utf-8")))
    assert len(rows) == 60 and rows[0]["parameter.PagePolicy"]


def test_runs_of_a_store_are_listed(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explore", "runs", str(store)]) == 0
    text = capsys.readouterr().out
    assert "random" in text and "genetic population=10" in text and "missed_refreshes <= 0" in text
    assert run(["explore", "runs", str(store), "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [(r["agent"], r["trials"]) for r in runs] == [("random", 60), ("genetic", 60)]


def test_a_report_is_of_the_last_run_beside_the_store_unless_told_otherwise(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explore", "report", str(store)]) == 0
    text = capsys.readouterr().out
    assert "60 tried by genetic" in text and f"report: {store.with_suffix('.html')}" in text
    assert "known designs" in text and " usual " in text
    assert store.with_suffix(".html").stat().st_size > 20_000
    out, table = tmp_path / "first.html", tmp_path / "first.csv"
    assert run(["explore", "report", str(store), "--run", "1", "--out", str(out), "--csv", str(table)]) == 0
    assert "60 tried by random" in capsys.readouterr().out
    assert out.exists() and len(table.read_text(encoding="utf-8").splitlines()) == 61


def test_a_report_as_json_writes_no_page(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store.with_suffix(".html").unlink(missing_ok=True)
    assert run(["explore", "report", str(store), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["trials"] == 60 and found["front"] and {k["name"] for k in found["known"]} == {"plain", "usual"}
    assert {k["standing"] for k in found["known"]} <= {"beaten", "equal", "ahead", "over the limits"}
    assert not store.with_suffix(".html").exists()


def test_library_designs_stand_beside_accelerators(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.db"
    space = written(tmp_path)
    arguments = ["explore", str(space), "--objective", "edp", "--objective", "area", "--budget", "4", "-j", "1"]
    assert run([*arguments, "--store", str(path)]) == 0
    assert run(["explore", "report", str(path), "--with", "dense-tensor-core", "--with", "eyeriss-v2-pe"]) == 0
    text = capsys.readouterr().out
    assert "dense-tensor-core" in text and "eyeriss-v2-pe" in text and " plain " in text


def test_agents_are_compared_in_words_as_json_and_as_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "agents.html"
    arguments = ["explore", "compare", "dram-controller", "--agent", "genetic", "--grid", "population=8,16"]
    arguments += ["--objective", "latency_ns", "--budget", "30", "--seeds", "2"]
    arguments += ["--store", str(tmp_path / "c.db"), "-j", "1"]
    assert run([*arguments, "--html", str(page)]) == 0
    text = capsys.readouterr().out
    assert "genetic population=16" in text and "beats random" in text and "lottery" in text
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert run([*arguments, "--json", "--target", "100"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [a["name"] for a in found["agents"]] == ["random", "genetic population=8", "genetic population=16"]
    assert found["lottery"]["target"] == 100
    assert all(len(a["evaluations"]["final"]) == 2 for a in found["agents"])


BAD = {
    "no such space": (["tensr-core"], "no design space 'tensr-core'"),
    "no such metric": (["dram-controller", "--objective", "latency"], "'latency' is no metric"),
    "no such agent": (["dram-controller", "--agent", "rndom"], "no agent 'rndom'"),
    "a budget of half a design": (["dram-controller", "--budget", "2.5"], "--budget 2.5"),
    "a budget of nothing": (["dram-controller", "--budget", "0"], "--budget 0"),
    "a budget of weeks": (["dram-controller", "--budget", "2weeks"], "--budget 2weeks"),
    "two numbers": (["dram-controller", "--budget", "2", "--budget", "3"], "a second one of its kind"),
    "no value": (["dram-controller", "--agent", "genetic", "--set", "population"], "is not name=value"),
    "no such hyper-parameter": (["dram-controller", "--agent", "genetic", "--set", "popul=3"], "no hyper-parameter 'popul'"),
    "limits that contradict": (
        ["dram-controller", "--limit", "power_mw <= 3", "--limit", "power_mw >= 5"], "contradict each other"
    ),
    "resume nothing": (["dram-controller", "--resume"], "--resume without --store"),
    "a page in no folder": (["dram-controller", "--html", "/no/such/folder/x.html"], "no folder"),
    "a table over a folder": (["dram-controller", "--csv", "/"], "it is a folder"),
    "report of nothing": (["report", "/no/such.db"], "no store"),
    "runs of nothing": (["runs", "/no/such.db"], "no store"),
    "compare with a slip": (["compare", "dram-controller", "--agent", "geneti"], "no agent 'geneti'"),
    "compare in a folder": (["compare", "dram-controller", "--html", "/no/such/folder/x.html"], "no folder"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_screen_that_names_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, said = BAD[name]
    assert run(["explore", *arguments]) in (1, 2)  # 1: files that can't be written
    error = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert said in error and "Traceback" not in error


def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "notes.db"
    path.write_text("my notes\n" * 200, encoding="utf-8")
    assert run(["explore", "report", str(path)]) == 2
    assert "can't be used as an exploration store" in " ".join(capsys.readouterr().err.split())
    assert path.read_text(encoding="utf-8") == "my notes\n" * 200


def test_a_design_beside_what_is_no_accelerator_is_refused(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explore", "report", str(store), "--with", "stc"]) != 0
    assert "can't evaluate designs of the library" in " ".join(capsys.readouterr().err.split())
    assert run(["explore", "report", str(store), "--run", "9"]) == 2
    assert "has no run 9" in capsys.readouterr().err
