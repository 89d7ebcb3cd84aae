"""docs/notebooks/compression.ipynb, run: what its text says holds for what it computes."""

from __future__ import annotations

import re

import pytest

from notebooks import Run, run_notebook

FACTS = """{
    "accuracy": accuracy(model), "found": found.to_dict(), "front": [point["scheme"] for point in found.front], "pick": pick,
    "proxy": proxy.to_dict("records"), "after": after, "interval": [low, high],
    "kept": [float((layer.weight != 0).float().mean()) for layer in trained if hasattr(layer, "weight")],
}"""


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("notebook")
    return run_notebook(
        "compression.ipynb", {"EPOCHS": 6, "SECONDS": 2}, FACTS, ("torch", "sklearn"), request, folder, 900
    )


def test_the_network_learns_its_digits(run: Run) -> None:
    assert run.facts["accuracy"] > 0.93


def test_the_least_weight_error_is_not_the_least_output_error(run: Run) -> None:
    for pattern in ("2:4", "1:4"):
        rows = {row["places by"]: row for row in run.facts["proxy"] if row["pattern"] == pattern}
        assert min(rows, key=lambda name: rows[name]["mean weight error"]) == "magnitude"
        assert min(rows, key=lambda name: rows[name]["mean output error"]) == "sparsegpt"


def test_patterns_cost_what_the_menu_of_a_design_holds(run: Run) -> None:
    menu = {(p["design"], p["scheme"]): p["throughput"]["menu"] for p in run.facts["found"]["points"]}
    assert menu["stc", "C1(4:4)->C0(2:4) int8"] == 4.0
    assert menu["stc", "C1(4:8)->C0(2:4) int8"] == 4.0
    assert menu["highlight", "C1(4:8)->C0(2:4) int8"] == 8.0
    assert menu["dense-tensor-core-45nm", "C1(4:8)->C0(2:4) int8"] == 2.0
    assert menu["ttc-vegeta-m8", "4:8 int8 + 1:8 int8"] == pytest.approx(2 * 8 / 5)
    assert menu["sdq-core", "7:8 => 1:8 int8 + 6:8 fp4"] == pytest.approx(4.0)
    assert menu["sdq-core", "int4/v16/e4m3"] == 4.0
    assert menu["highlight", "int4/v16/e4m3"] == 2.0


def test_nothing_beats_the_front(run: Run) -> None:
    costed = [p for p in run.facts["found"]["points"] if not p["refused"]]
    for point in costed:
        beaten = any(
            o["edp_j_s"] <= point["edp_j_s"]
            and o["quality"] <= point["quality"]
            and (o["edp_j_s"], o["quality"]) != (point["edp_j_s"], point["quality"])
            for o in costed
        )
        assert point["on_front"] != beaten
    assert len(set(run.facts["front"])) >= 3


def test_plain_four_bit_formats_are_strong(run: Run) -> None:
    assert {"int4/v16/e4m3", "fp4/v16/e4m3"} & set(run.facts["front"])
    original = run.facts["found"]["quality"]["original"]
    plain = next(p for p in run.facts["found"]["points"] if p["scheme"] == "int4/v16/e4m3")
    assert plain["quality"] < 1.25 * original


def test_the_choice_keeps_to_its_rule_and_is_judged_by_other_images(run: Run) -> None:
    pick = run.facts["pick"]
    assert pick["quality"] <= 1.1 * run.facts["found"]["quality"]["original"]
    assert pick["versus_dense"]["edp"] > 1.5
    low, high = run.facts["interval"]
    assert low < run.facts["after"] < high and high - low < 0.06


def test_training_on_keeps_the_zeros(run: Run) -> None:
    first, *others = run.facts["kept"]
    assert first == 1.0
    assert all(share == pytest.approx(0.25, abs=0.02) for share in others)


def test_the_picture_and_the_report_are_made(run: Run) -> None:
    assert "plotly" in str(run.cells["front-plot"]["outputs"])
    page = (run.folder / "digits.html").read_text(encoding="utf-8")
    assert "sdq-core" in page and not re.search(r'(src|href)="https?://', page)
