"""What holds for every notebook of docs/notebooks without running it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from notebooks import NOTEBOOKS


@pytest.fixture(params=sorted(path.name for path in NOTEBOOKS.glob("*.ipynb")))
def cells(request: pytest.FixtureRequest) -> Any:
    return json.loads((NOTEBOOKS / request.param).read_text(encoding="utf-8"))["cells"]


def test_a_notebook_is_stored_without_outputs(cells: Any) -> None:
    assert all(not c["outputs"] and c["execution_count"] is None for c in cells if c["cell_type"] == "code")


def test_links_of_a_notebook_lead_somewhere(cells: Any) -> None:
    text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert len(links) >= 5
    assert [link for link in links if not (NOTEBOOKS / link).exists()] == []
