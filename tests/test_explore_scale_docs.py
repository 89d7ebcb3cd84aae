"""docs/explore-scale.md, run: its Python, and the commands that need no cluster."""

import re
import shlex
from pathlib import Path

from fiberloom.cli.program import run

PAGE = Path(__file__).parents[1] / "docs" / "explore-scale.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_commands_of_the_page_resume_a_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    commands = next(text for language, text in BLOCKS if language == "sh" and "--resume" in text).splitlines()
    for command in commands:
        assert run(shlex.split(command)[1:]) == 0
    assert "600 tried by random" in capsys.readouterr().out.replace(" designs", "")


def test_the_python_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for language, text in BLOCKS:
        if language == "python":
            exec(text, names)
    assert len(names["found"].trials) == 100
