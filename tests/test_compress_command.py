"""``fiberloom compress``: what it prints for tensors, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fiberloom.cli.program import run


@pytest.fixture
def gaussian(tmp_path: Path) -> Path:
    path = tmp_path / "w.npy"
    np.save(path, np.random.default_rng(0).standard_normal((256, 256), dtype=np.float32))
    return path


def found(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run(["compress", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_two_of_four_and_two_of_eight_more_drop_a_quarter(gaussian: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = found(capsys, "tasd", str(gaussian), "--series", "2:4+2:8")
    assert answer["dropped_nonzeros"] == 0.25
    assert answer["density"] == 0.75
    assert answer["relative_error"] == pytest.approx(0.1377, rel=0.02)


def test_several_series_make_a_table(gaussian: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = found(capsys, "tasd", str(gaussian), "--series", "2:4+2:8", "--series", "6:8")
    first, second = answer["results"]
    assert "relative_error" not in answer
    assert first["relative_error"] == second["relative_error"]
    assert run(["compress", "tasd", str(gaussian), "--series", "2:4", "--series", "4:8"]) == 0
    shown = capsys.readouterr().out
    assert "2:4" in shown and "4:8" in shown and "50.0%" in shown


def test_a_mistyped_series_or_file_is_an_error(gaussian: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["tasd", str(gaussian), "--series", "2:4+"], "a term is empty"),
        (["tasd", str(gaussian) + "x", "--series", "2:4"], "npyx"),
        (["tasd", "nothing.npy", "--series", "2:4"], "no such file"),
    ):
        assert run(["compress", *arguments]) == 2
        assert said in capsys.readouterr().err
