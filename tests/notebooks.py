"""Notebooks of docs/notebooks, run for their tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"
LAST_CELL = """
import json
from pathlib import Path

Path("facts.json").write_text(json.dumps({facts}))
"""


@dataclass(frozen=True)
class Run:
    """A notebook after it was run: its cells by id, the folder in which it ran, and what its variables held in the end."""

    cells: dict[str, Any]
    folder: Path
    facts: dict[str, Any]

    def text(self, cell: str) -> str:
        """What a cell printed."""
        return "".join(o["text"] for o in self.cells[cell]["outputs"] if o["output_type"] == "stream")


def run_notebook(
    name: str,
    parameters: dict[str, object],
    facts: str,
    needs: tuple[str, ...],
    request: pytest.FixtureRequest,
    folder: Path,
    seconds: int,
) -> Run:
    """Run a notebook with other parameters; mappings that it searches for are kept between runs.

    Args:
        parameters: beside ``CACHE``, which is set here.
        facts: a Python expression over the notebook's variables, whose value JSON can hold.
        needs: packages without which the tests are skipped.
        seconds: most for one cell.
    """
    for package in ("plotly", "pandas", "ipykernel", *needs):
        pytest.importorskip(package)
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    answers = request.config.cache.mkdir("notebook-answers") if request.config.cache is not None else folder / "answers"
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    cell.source = "\n".join(f"{n} = {v!r}" for n, v in {**parameters, "CACHE": str(answers)}.items())
    notebook.cells.append(nbformat.v4.new_code_cell(LAST_CELL.format(facts=facts)))
    nbclient.NotebookClient(notebook, timeout=seconds, resources={"metadata": {"path": str(folder)}}).execute()
    found = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    return Run({cell["id"]: cell for cell in notebook.cells}, folder, found)
