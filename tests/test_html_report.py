"""The HTML report: what is computed for it, and the file."""

from __future__ import annotations

import copy
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from fiberloom.errors import SpecError
from fiberloom.report.html import render, write_report
from fiberloom.report.html.content import content
from networks import CONVOLUTION, DESIGNS, one_design, small_result

# What is computed for the page


def test_totals_on_the_page_are_those_of_the_result() -> None:
    page = content(small_result())
    for case in page["cases"]:
        for design in case["designs"]:
            total = next(
                t for t in small_result()["totals"] if (t["case"], t["design"]) == (case["name"], design["name"])
            )
            assert design["cycles"] == total["cycles"]
            assert design["energy_pj"] == pytest.approx(total["energy_pj"], rel=1e-6)
            assert sum(c["energy_pj"] for c in design["components"]) == pytest.approx(total["energy_pj"], rel=1e-6)
            assert sum(c["bound_cycles"] for c in design["components"]) == pytest.approx(total["cycles"], rel=1e-6)
            for level in design["levels"]:
                words = sum(counts["actual"] for counts in total["traffic"][level["name"]].values())
                assert level["moved"] == pytest.approx(words, rel=1e-6)
                dense = sum(counts["dense"] for counts in total["traffic"][level["name"]].values())
                assert level["moved"] + level["gated"] + level["skipped"] + level["eliminated"] == pytest.approx(
                    max(dense, level["moved"] + level["gated"] + level["skipped"]), rel=1e-6
                )


def test_geometric_means_agree_with_the_result_where_clocks_are_equal() -> None:
    page = content(small_result())
    for entry in small_result()["comparison"]:
        case = next(c for c in page["cases"] if c["name"] == entry["case"])
        place = [d["name"] for d in case["designs"]].index(entry["design"])
        assert case["geomean"][0][place] == pytest.approx(1 / entry["geomean_edp_ratio"], rel=1e-6)
        assert case["geomean"][place][0] == pytest.approx(entry["geomean_edp_ratio"], rel=1e-6)


def test_a_slower_clock_counts_in_the_energy_delay_product() -> None:
    result = copy.deepcopy(small_result())
    slow = next(d for d in result["designs"] if d["name"] == "stc")
    slow["cycle_seconds"] *= 5
    before, after = content(small_result())["cases"][0], content(result)["cases"][0]
    place = DESIGNS.index("stc")
    assert after["geomean"][0][place] == pytest.approx(before["geomean"][0][place] / 5, rel=1e-6)


def test_no_layer_is_above_the_roofs() -> None:
    page = content(small_result())
    for case in page["cases"]:
        for d, design in enumerate(case["designs"]):
            for layer in case["layers"]:
                answer = page["answers"][layer["answers"][d]]
                if answer["rate"] is None:
                    continue
                assert answer["rate"] <= design["roof"]["lanes"] * 1.000001
                assert answer["rate"] <= design["roof"]["bandwidth"] * answer["intensity"] * 1.001


def test_a_layer_that_reads_as_fast_as_it_can_lies_on_the_roof_of_reads() -> None:
    page = content(small_result())
    for case in page["cases"]:
        number = next(k for k, layer in enumerate(case["layers"]) if layer["name"] == "fc")
        for d, design in enumerate(case["designs"]):
            answer = page["answers"][case["layers"][number]["answers"][d]]
            assert answer["bottleneck"] == "DRAM"
            # places of 2:4 weights take bandwidth as the weights do
            assert answer["rate"] == pytest.approx(design["roof"]["reads"] * answer["intensity"], rel=3e-3)


def test_equal_answers_are_stored_once() -> None:
    result = one_design(small_result())
    layer = result["layers"][0]
    result["layers"] = [{**layer, "layer": f"block.{k}", "operators": [f"block.{k}"]} for k in range(100)]
    page = content(result)
    assert len(page["cases"][0]["layers"]) >= 100
    assert len(page["answers"]) <= 1 + len(result["operators"])


def test_the_headline_names_network_design_time_and_energy() -> None:
    headline = content(one_design(small_result()))["headline"]
    assert re.search(r"^Small <net> takes [\d.]+ [µnm]s and [\d.]+ [µnm]J on stc\.", headline)
    sweep = content(small_result())["cases"][1]
    assert sweep["designs"][sweep["best"]]["name"] in sweep["headline"]
    assert "of 3 designs" in sweep["headline"]


def test_an_operator_that_is_not_understood_comes_first() -> None:
    page = content(small_result())
    for case in page["cases"]:
        assert any("NonMaxSuppression" in remark for remark in case["remarks"])
        assert case["omitted"][0]["why"] == "no cost is known for it"


def test_a_layer_without_a_mapping_is_said_and_totals_are_not_compared_in_silence() -> None:
    result = copy.deepcopy(small_result())
    layer = next(e for e in result["layers"] if e["design"] == "stc")
    layer.update(status="not mappable", reason="the tile does not fit", hint="a larger buffer")
    case = content(result)["cases"][0]
    assert case["failures"] == [
        {"layer": 0, "design": DESIGNS.index("stc"), "why": "the tile does not fit (a larger buffer)"}
    ]
    assert any("1 layer has no mapping on stc" in remark for remark in case["remarks"])
    assert case["designs"][case["best"]]["name"] != "stc"


def test_operators_that_only_some_designs_treat_alike_are_told_apart_and_counted_once() -> None:
    result = copy.deepcopy(small_result())
    for entry in (e for e in result["layers"] if e["layer"] == CONVOLUTION):
        entry["operators"] = [CONVOLUTION, "conv 2", "conv 3"]
        entry["count"] = 3
        if entry["design"] == "scnn":  # holds the output of one of them on chip
            split = {**entry, "layer": "conv 2", "operators": ["conv 2"], "count": 1, "cycles": entry["cycles"] - 1}
            entry.update(operators=[CONVOLUTION, "conv 3"], count=2)
            result["layers"].append(split)
    page = content(result)
    layers = {layer["name"]: layer for layer in page["cases"][0]["layers"]}
    assert (layers[CONVOLUTION]["count"], layers[CONVOLUTION]["others"]) == (2, ["conv 3"])
    assert layers["conv 2"]["count"] == 1
    cycles = [
        [page["answers"][number]["cycles"] for number in layers[name]["answers"]] for name in (CONVOLUTION, "conv 2")
    ]
    assert [a - b for a, b in zip(*cycles, strict=True)] == [0, 0, 1]


# The file


def test_the_file_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    write_report(small_result(), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#|data:)""", text)
    assert "default-src 'none'" in text
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|WebSocket", text)
    assert len(text) < 250_000


def test_names_never_become_markup() -> None:
    result = copy.deepcopy(one_design(small_result()))
    hostile = "</script><script>alert(1)</script><!--"
    result["network"]["name"] = hostile
    result["layers"][0]["operators"] = [hostile]
    text = render(result)
    assert hostile not in text
    assert text.count("<script") == text.count("</script>") == 2
    data = re.search(r'<script type="application/json" id="content">(.*?)</script>', text, re.S)
    assert data is not None
    assert json.loads(data[1])["cases"][0]["layers"][0]["name"] == hostile


def test_placeholders_in_names_stay_as_they_are() -> None:
    result = one_design(small_result())
    result["network"]["name"] = "{{script}}"
    assert '<h1 id="title">{{script}}</h1>' in render(result)


def test_what_is_not_a_number_is_written_as_such() -> None:
    result = one_design(small_result())
    result["layers"][0].update(cycles=math.nan, energy_pj=math.inf, utilization=None)
    page = content(result)
    answer = page["answers"][page["cases"][0]["layers"][0]["answers"][0]]
    assert (answer["cycles"], answer["energy_pj"], answer["utilization"]) == ("nan", "inf", None)
    render(result)


def test_almost_nothing_is_enough_for_a_page() -> None:
    assert "Network was not evaluated" in render({"layers": [], "totals": []})
    text = render({"layers": [{"case": "all", "design": "x", "layer": "a"}], "totals": []})
    assert "<h1" in text


@pytest.mark.parametrize("wrong", [None, [], 3, "x", {}, {"layers": 3, "totals": []}])
def test_something_else_than_a_result_is_refused(wrong: Any) -> None:
    with pytest.raises(SpecError, match="not the result of a network"):
        render(wrong)


def test_a_file_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"missing/report\.html can't be written"):
        write_report(small_result(), tmp_path / "missing" / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_report_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")
    with pytest.raises(SpecError):
        write_report({}, target)
    assert target.read_text() == "old"
    write_report(small_result(), target)
    assert target.read_text().startswith("<!doctype html>")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
