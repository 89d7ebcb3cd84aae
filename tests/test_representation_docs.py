"""The examples of the documentation run, and their figures are right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fiberloom.representation import measure, read_representation

DOCS = Path(__file__).parent.parent / "docs"


def test_the_examples_run_and_give_the_figures_they_state() -> None:
    names: dict[str, Any] = {}
    for page in ("representation.md", "tasd.md"):
        for block in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL):
            exec(block, names)
    sdq, found = names["sdq"], names["found"]
    assert found.relative_error == pytest.approx(0.0996, abs=5e-4)
    assert found.stored == (0.125, 0.75)
    assert (sdq.bits_per_weight(), sdq.ideal_throughput()) == (5.8125, 4.0)
    assert [sum(getattr(term, part) for term in sdq.storage()) for part in ("values", "scales", "metadata")] == [
        4,
        0.4375,
        1.375,
    ]
    assert sdq.bits_per_weight(metadata="smallest") == pytest.approx(5.44, abs=0.005)
    assert len(names["terms"]) == 2


def test_the_table_of_degrees_is_what_the_patterns_say() -> None:
    rows = re.findall(r"^\| `(C1\S+)` \| ([\d. |]+) \|$", (DOCS / "hss.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == 15
    values = np.random.default_rng(1).standard_normal((64, 10080), dtype=np.float32)
    for degree, figures in rows:
        density, error, _, metadata, coordinates = (float(figure) for figure in figures.split(" | "))
        found = read_representation(degree)
        assert found.terms[0].pattern.density == pytest.approx(density, abs=6e-4)
        assert measure(values, found).relative_error == pytest.approx(error, abs=0.002)
        assert found.storage()[0].metadata == pytest.approx(metadata, abs=6e-4)
        assert found.storage(metadata="CP")[0].metadata == pytest.approx(coordinates, abs=6e-4)
