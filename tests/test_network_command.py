"""``fiberloom network``: what it prints and saves, what it refuses, and what Ctrl-C leaves."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fiberloom.cli.program import run

PROGRAM = [sys.executable, "-c", "from fiberloom.cli import main; main()"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("answers")


ALEXNET = ["network", "alexnet", "--arch", "dense-tensor-core", "--time", "20", "--jobs", "2"]


def test_json_has_designs_totals_layers_and_where_numbers_come_from(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = tmp_path / "layers.csv"
    assert run([*ALEXNET, "--cache", str(folder), "--json", "--csv", str(table)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"totals", "layers", "designs", "provenance", "notes", "cases", "operators", "comparison"} <= found.keys()
    assert [e["layer"] for e in found["layers"]] == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
    assert found["totals"][0]["macs"] == 714188480
    rows = list(csv.DictReader(table.open()))
    assert [row["name"] for row in rows][:2] == ["conv1", "conv2"]
    assert sum(float(row["energy_pj"]) * int(row["count"]) for row in rows) == pytest.approx(
        found["totals"][0]["energy_pj"]
    )


def test_tables_show_totals_layers_and_notes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*ALEXNET, "--cache", str(folder), "--batch", "1"]) == 0
    shown = capsys.readouterr().out
    for part in (
        "dense-tensor-core",
        "fc8",
        "Energy",
        "Cycles by what sets them",
        "Other operators",
        "pooling",
        "8-bit words",
    ):
        assert part in shown


def test_batches_and_densities_are_cases_side_by_side(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*ALEXNET, "--cache", str(folder), "--weights", "dense,2:4,0.3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [case["name"] for case in found["cases"]] == ["weights dense", "weights 2:4", "weights 0.3"]
    assert all(e["cached"] for e in found["layers"])  # a dense design sees no density
    assert len({t["cycles"] for t in found["totals"]}) == 1
    assert found["totals"][1]["effectual_macs"] == found["totals"][0]["macs"] / 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["network", "alexnet"], "--arch"),
        (["network", "alexnet", "--arch", "tpu-lik"], "did you mean 'tpu-like'"),
        (["network", "alexnett", "--arch", "stc"], "did you mean 'alexnet'"),
        (["network", "alexnet", "--arch", "stc", "--jobs", "0"], "0 jobs"),
        (["network", "alexnet", "--arch", "stc", "--batch", "1,x"], "--batch x"),
        (["network", "alexnet", "--arch", "stc", "--weights", "70%"], "'70%' is not a density"),
        (["network", "alexnet", "--arch", "stc", "--weights", "2:4,2:4"], "given twice"),
        (["network", "alexnet", "--arch", "stc", "--dim", "batch"], "not name=extent"),
        (["network", "alexnet", "--arch", "stc", "--no-cache", "--cache", "x"], "--no-cache"),
        (["network", "alexnet", "--arch", "missing.yaml"], "missing.yaml"),
        (["network", "alexnet", "--arch", "stc", "--csv", "nowhere/out.csv"], "no folder nowhere"),
        (["network", "alexnet", "--arch", "stc", "--profile", "none.yaml"], "none.yaml"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) in (1, 2)
    shown = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert said in shown and "Traceback" not in shown


def test_ctrl_c_says_what_is_kept_and_leaves_no_worker(tmp_path: Path) -> None:
    words = ["network", "resnet50", "--arch", "simba-like", "--cache", str(tmp_path), "--jobs", "1", "--time", "2"]
    process = subprocess.Popen([*PROGRAM, *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while not list(tmp_path.rglob("*.json")) and process.poll() is None:
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    workers = children.read_text().split() if children.exists() else []
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "the same command goes on from there" in errors
    assert not list(tmp_path.rglob("*.part"))
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
