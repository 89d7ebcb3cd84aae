"""docs/tutorial.md, run: its files are written, its commands and Python blocks executed, in order, in one folder."""

import re
import shlex
from pathlib import Path

import pytest

from fiberloom.cli.program import run

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TUTORIAL.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_tutorial_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    ran = {"yaml": 0, "bash": 0, "python": 0}
    for language, text in BLOCKS:
        ran[language] += 1
        if language == "yaml":
            name = re.match(r"# file: (\S+)\n", text)
            assert name is not None, text
            Path(name[1]).write_text(text, encoding="utf-8")
        elif language == "python":
            exec(compile(text, str(TUTORIAL), "exec"), namespace)
        else:
            for line in text.splitlines():
                program, *arguments = shlex.split(line)
                if program == "pip":  # the environment of the tests is installed already
                    continue
                assert program == "fiberloom"
                assert run(arguments) == 0, (line, capsys.readouterr().err)
    assert min(ran.values()) >= 4


@pytest.mark.parametrize(
    "page", [*sorted(TUTORIAL.parent.glob("*.md")), TUTORIAL.parents[1] / "README.md"], ids=lambda p: p.name
)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("https://", "http://", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
