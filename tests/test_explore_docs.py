"""docs/explore.md, run: its spaces are read, its Python runs, and its commands do as written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from fiberloom.cli.program import run
from fiberloom.explore import make_problem
from fiberloom.explore.accelerator import AcceleratorProblem

PAGE = Path(__file__).parents[1] / "docs" / "explore.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def written(folder: Path) -> list[Path]:
    """The YAML files of the page."""
    found = []
    for language, text in BLOCKS:
        if language == "yaml":
            name = re.match(r"# file: (\S+)\n", text)
            assert name is not None, text
            found.append(folder / name[1])
            found[-1].write_text(text, encoding="utf-8")
    return found


def test_the_spaces_of_the_page_make_sense_and_so_does_every_design_tried(tmp_path: Path) -> None:
    edge, formats = (make_problem(path) for path in written(tmp_path))
    # 4 lanes x 4 buffers x 2 widths x 3 bandwidths, for zeros ignored, gated, and skipped with 3 widths of metadata
    assert edge.space.size() == 4 * 4 * 2 * 3 * (1 + 1 + 3)
    assert formats.space.size() == 2 * 2 * 2 * 3
    for problem in (edge, formats):
        assert isinstance(problem, AcceleratorProblem)
        for point in problem.space.sample(np.random.default_rng(0), 30):
            levels = [level.name for level in problem.architecture(point).levels]
            values = problem.space.values(point)
            assert ("registers" in levels) == (values.get("rows", 16) > 8)
            assert problem.workloads(point)[0][0].network == "alexnet"


def test_the_python_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    ran = [exec(compile(text, str(PAGE), "exec"), names) for language, text in BLOCKS if language == "python"]
    assert ran and (tmp_path / "dram.html").exists()


def test_every_option_of_the_page_exists(capsys: pytest.CaptureFixture[str]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    helps = ""
    for command in ("run", "compare", "report", "runs"):
        run(["explore", command, "--help"])
        helps += capsys.readouterr().out
    named = set(re.findall(r"--[a-z][a-z-]*", text))
    assert len(named) > 15
    assert {option for option in named if option not in helps} == set()


@pytest.mark.slow
def test_the_commands_of_the_page_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path)
    commands = [line for language, text in BLOCKS if language == "bash" for line in text.splitlines()]
    assert len(commands) >= 6
    for line in commands:
        program, *arguments = shlex.split(line)
        assert program == "fiberloom"
        assert run(arguments) == 0, (line, capsys.readouterr().err)
    for page in ("edge.html", "first.html", "agents.html"):
        assert (tmp_path / page).stat().st_size > 20_000
    assert len((tmp_path / "first.csv").read_text(encoding="utf-8").splitlines()) == 61
