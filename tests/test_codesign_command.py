"""``fiberloom codesign``: the front, what is printed and saved, what is refused, what Ctrl-C leaves."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberloom.cli.program import run
from fiberloom.cli.representation_run import listed
from fiberloom.codesign.front import dominators

PROGRAM = [sys.executable, "-c", "from fiberloom.cli import main; main()"]
DESIGNS = "dense-tensor-core,stc,highlight"
REPRESENTATIONS = "2:4,C1(4:8)->C0(2:4),int8"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("codesign")
    random = np.random.default_rng(0)
    np.savez(
        made / "model.npz",
        first=random.standard_normal((64, 256)).astype(np.float32),
        second=random.standard_normal((128, 64)).astype(np.float32),
    )
    return made


@pytest.fixture(scope="module")
def found(folder: Path) -> Any:
    words = [
        "codesign",
        "model.npz",
        "--designs",
        DESIGNS,
        "--representations",
        REPRESENTATIONS,
        "--cache",
        "cache",
        "--json",
    ]
    done = subprocess.run([*PROGRAM, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_representation_is_a_point_on_every_design(found: Any) -> None:
    assert {(p["design"], p["scheme"]) for p in found["points"]} == {
        (design, scheme) for design in DESIGNS.split(",") for scheme in listed([REPRESENTATIONS])
    }
    for point in found["points"]:
        assert point["cycles"] > 0 and point["area_um2"] > 0 and point["bits_per_weight"] > 0
        assert point["edp_j_s"] == pytest.approx(point["energy_pj"] * 1e-12 * point["seconds"])
        assert point["throughput"]["menu"] <= point["throughput"]["ideal"] * (1 + 1e-9)
        assert [layer["name"] for layer in point["layers"]] == ["first", "second"]


def test_a_design_runs_what_its_menu_holds(found: Any) -> None:
    menu = {(p["design"], p["scheme"]): p["throughput"]["menu"] for p in found["points"]}
    assert menu["dense-tensor-core", "2:4"] == 1.0
    assert menu["stc", "2:4"] == menu["stc", "C1(4:8)->C0(2:4)"] == 2.0
    assert menu["highlight", "C1(4:8)->C0(2:4)"] == 4.0


def test_points_off_the_front_name_one_that_beats_them(found: Any) -> None:
    points = found["points"]
    for point in points:
        if point["dominated_by"] is None:
            assert point["on_front"]
            continue
        other = points[point["dominated_by"]]
        assert other["on_front"] and not point["on_front"]
        assert other["quality"] <= point["quality"] and other["edp_j_s"] <= point["edp_j_s"]
    assert {p["scheme"] for p in points if p["on_front"]} == {"2:4", "C1(4:8)->C0(2:4)", "int8"}


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_the_front_is_that_of_comparing_all_with_all(points: list[tuple[int, int]]) -> None:
    behind = dominators([float(c) for c, _ in points], [float(q) for _, q in points])
    for (cost, loss), by in zip(points, behind, strict=True):
        better = [i for i, (c, q) in enumerate(points) if c <= cost and q <= loss and (c, q) != (cost, loss)]
        assert (by is None) == (not better)
        assert by is None or (by in better and behind[by] is None)


def test_points_without_a_number_are_on_no_front() -> None:
    assert dominators([None, 2.0, 1.0], [0.0, float("nan"), 5.0]) == [None, None, None]


def test_a_second_run_searches_nothing(folder: Path, found: Any, capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    words = ["codesign", str(folder / "model.npz"), "--designs", DESIGNS, "--representations", REPRESENTATIONS]
    assert run([*words, "--cache", str(folder / "cache"), "--csv", str(folder / "points.csv")]) == 0
    assert time.monotonic() - begun < 10
    shown = capsys.readouterr().out
    assert "Pareto front of output error against EDP" in shown
    assert "no proxy for accuracy" in shown
    rows = list(csv.DictReader((folder / "points.csv").open()))
    assert len(rows) == len(found["points"])
    assert [float(row["edp_j_s"]) for row in rows] == [p["edp_j_s"] for p in found["points"]]


def test_what_a_design_cannot_run_is_a_point_with_the_reason(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["codesign", str(folder / "model.npz"), "--designs", "stc", "--representations", "fp64,int8"]
    assert run([*words, "--cache", str(folder / "cache"), "--json"]) == 0
    wide, narrow = json.loads(capsys.readouterr().out)["points"]
    assert "fp64" in wide["refused"] and wide.get("cycles") is None and not wide["on_front"]
    assert wide["relative_error"] >= 0 and narrow["refused"] is None and narrow["on_front"]


def test_quality_turns_the_front_where_more_is_better(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "judge.py").write_text(
        "import numpy as np\ndef kept(tensors):\n    return float(np.mean([np.mean(v != 0) for v in tensors.values()]))\n"
    )
    words = ["codesign", str(folder / "model.npz"), "--designs", "stc,highlight", "--representations", REPRESENTATIONS]
    words += ["--cache", str(folder / "cache"), "--json", "--quality", f"{tmp_path / 'judge.py'}:kept"]
    assert run(words) == 0
    content = json.loads(capsys.readouterr().out)
    quality = {p["scheme"]: p["quality"] for p in content["points"]}
    assert quality["2:4"] == 0.5 and quality["C1(4:8)->C0(2:4)"] == 0.25
    assert {p["scheme"] for p in content["points"] if p["on_front"]} == set(listed([REPRESENTATIONS]))
    assert content["quality"]["original"] == 1.0


def test_lists_are_cut_at_commas_outside_brackets() -> None:
    assert listed(["2:4, 4:8", "f(1,2),int8"]) == ["2:4", "4:8", "f(1,2)", "int8"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--designs", "stc"], "--representations"),
        (["--representations", "2:4"], "--designs"),
        (["--designs", "stx", "--representations", "2:4"], "did you mean 'stc'?"),
        (["--designs", "stc,stc", "--representations", "2:4"], "a design is given twice"),
        (["--designs", "stc", "--representations", "2:4,2:4"], "a representation is given twice"),
        (["--designs", "stc", "--representations", "2-4"], "neither a pattern"),
        (["--designs", "stc", "--representations", "7:8 => 1:8 int8 + 6:8 fp4", "--method", "wandb"], "wanda"),
        (["--designs", "stc", "--representations", "2:4", "--csv", "/nowhere/p.csv"], "there is no folder"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["codesign", str(folder / "model.npz"), *words]) in (1, 2)
    message = re.sub(r"[\s│]+", " ", capsys.readouterr().err)
    assert said in message and "Traceback" not in message, message


def test_ctrl_c_keeps_what_is_searched(tmp_path: Path) -> None:
    words = ["codesign", "resnet18", "--random-weights", "0", "--designs", "stc", "--representations", "2:4,int8"]
    words += ["--cache", str(tmp_path), "--jobs", "1"]
    process = subprocess.Popen([*PROGRAM, *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while not list(tmp_path.rglob("*.json")) and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "of 2 points" in errors and "goes on from there" in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.rglob("*.part"))
