"""The HTML report as people use it: in a browser, on paper, with data that is missing or hostile."""

from __future__ import annotations

import copy
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fiberloom.errors import SpecError
from fiberloom.report.html import render, write_report
from fiberloom.report.html.content import content
from networks import CONVOLUTION, DESIGNS, small_result

BROWSER = os.environ.get("FIBERLOOM_BROWSER") or next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome; FIBERLOOM_BROWSER names one")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def one_design(result: dict[str, Any], design: str = "stc", case: str = "2:4") -> dict[str, Any]:
    """The same result with one design and one case."""
    made = copy.deepcopy(result)
    for name in ("layers", "operators", "totals"):
        made[name] = [e for e in made[name] if (e["case"], e["design"]) == (case, design)]
    made["designs"] = [e for e in made["designs"] if e["name"] == design]
    made["cases"] = [e for e in made["cases"] if e["name"] == case]
    return made


def many_layers(result: dict[str, Any], layers: int) -> dict[str, Any]:
    """The same result with `layers` different Einsums."""
    made = one_design(result)
    first = made["layers"][0]
    made["layers"] = [
        {**first, "layer": f"block.{k}", "operators": [f"block.{k}"], "cycles": 1000 + (k * 7919) % 1009}
        for k in range(layers)
    ]
    return made


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


# The page


class Page:
    """A page in the browser with what it complained about."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.complaints: list[str] = []
        self.page = browser.new_page(**{"viewport": {"width": 1366, "height": 768}, **options})
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append("a dialog opened"))
        self.page.on(
            "request",
            lambda request: None if request.url.startswith(("file:", "data:")) else self.complaints.append(request.url),
        )
        self.page.goto(path.as_uri())

    def texts(self, selector: str) -> list[str]:
        """Of all elements."""
        found: list[str] = self.page.locator(selector).all_inner_texts()
        return found

    def column(self, title: str) -> list[str]:
        """The layer table's column of that title, top to bottom."""
        heads = [t.strip() for t in self.texts("#layer-table thead th")]
        return self.texts(f"#layer-table tbody tr.row td:nth-child({heads.index(title) + 1})")

    def wide(self) -> bool:
        """Whether the page has to be scrolled sideways."""
        found: bool = self.page.evaluate("document.documentElement.scrollWidth > innerWidth")
        return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if BROWSER is None:
        pytest.skip("no browser")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    results = {"sweep": small_result(), "single": one_design(small_result()), "long": many_layers(small_result(), 300)}
    for name, result in results.items():
        write_report(result, folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in results}


@needs_browser
@pytest.mark.parametrize("name", ["sweep", "single"])
def test_every_section_has_content_and_the_console_stays_silent(
    browser: Any, reports: dict[str, Path], name: str
) -> None:
    shown = Page(browser, reports[name])
    for section in ("facts", "designs", "energy-by-design", "cycles-by-design", "energy-by-layer", "cycles-by-layer",
                    "layer-table", "roofline-chart", "levels", "occupancy", "savings", "operators", "provenance"):  # fmt: skip
        assert shown.page.locator(f"#{section}").inner_text().strip(), section
    assert "NonMaxSuppression" in shown.page.locator("#remarks").inner_text()
    assert shown.page.locator("#roofline-chart .point").count() == 2
    assert shown.page.locator("h1").inner_text() == "Small <net>"
    assert shown.page.locator("#design").is_visible() == (name == "sweep")
    assert not shown.wide()
    assert shown.complaints == []


@needs_browser
def test_columns_sort_both_ways_and_say_so(browser: Any, reports: dict[str, Path]) -> None:
    shown = Page(browser, reports["long"])
    button = shown.page.locator('button.sort[data-key="cycles"]')
    button.click()
    head = shown.page.locator("#layer-table th", has=button)
    assert head.get_attribute("aria-sort") == "descending"
    falling = shown.column("Cycles")[:50]
    button.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    rising = shown.column("Cycles")[:50]

    def value(text: str) -> float:
        number, _, prefix = text.strip().partition("\u00a0")
        return float(number) * (1000 if prefix == "k" else 1)

    assert [value(t) for t in falling] == sorted((value(t) for t in falling), reverse=True)
    assert [value(t) for t in rising] == sorted(value(t) for t in rising)
    assert value(falling[0]) > value(rising[0])
    assert shown.complaints == []


@needs_browser
def test_filters_leave_what_matches(browser: Any, reports: dict[str, Path]) -> None:
    shown = Page(browser, reports["sweep"])
    assert shown.column("#") == ["1", "2", "3", "4"]
    shown.page.fill("#filter-text", "GEMM c=1024")
    assert shown.texts("#layer-table td.name button") == ["fc"]
    assert shown.page.locator("#shown").inner_text() == "1 of 4\u00a0layers"
    shown.page.fill("#filter-text", "no such layer")
    assert "No layer matches" in shown.page.locator("#layer-table").inner_text()
    shown.page.fill("#filter-text", "")
    shown.page.select_option("#filter-op", "Relu")
    assert shown.texts("#layer-table td.name button") == ["relu"]
    assert shown.complaints == []


@needs_browser
def test_a_layer_opens_with_its_loop_nest_and_closes_by_keyboard(browser: Any, reports: dict[str, Path]) -> None:
    shown = Page(browser, reports["sweep"])
    button = shown.page.locator("#layer-1 button")
    assert button.get_attribute("aria-expanded") == "false"
    button.click()
    detail = shown.page.locator("tr.detail")
    nest = "\n".join(next(e for e in small_result()["layers"] if e["design"] == "dense-tensor-core")["loop_nest"])
    design = shown.page.locator("#design option:checked").inner_text()
    wanted = next(e for e in small_result()["layers"] if e["design"] == design and e["layer"] == CONVOLUTION)
    assert detail.locator("pre").inner_text() == "\n".join(wanted["loop_nest"])
    assert nest
    assert all(name in detail.inner_text() for name in DESIGNS)
    button.press("Enter")
    assert detail.count() == 0
    assert button.get_attribute("aria-expanded") == "false"
    assert shown.complaints == []


@needs_browser
def test_a_point_of_the_roofline_tells_and_opens_its_layer(browser: Any, reports: dict[str, Path]) -> None:
    shown = Page(browser, reports["sweep"])
    shown.page.locator("#roofline-chart .point").first.hover()
    assert "computations per cycle" in shown.page.locator("#tip").inner_text()
    assert any(name in shown.page.locator("#tip").inner_text() for name in ("fc", CONVOLUTION))
    shown.page.mouse.move(1, 1)
    shown.page.locator("#roofline-chart svg").focus()
    shown.page.keyboard.press("ArrowRight")
    assert CONVOLUTION in shown.page.locator("#tip").inner_text()
    shown.page.keyboard.press("Enter")
    assert shown.page.locator("#detail-1").is_visible()
    assert shown.complaints == []


@needs_browser
def test_another_design_and_another_case_change_every_part(browser: Any, reports: dict[str, Path]) -> None:
    shown = Page(browser, reports["sweep"])
    shown.page.select_option("#design", label="stc")
    dense = {part: shown.page.locator(f"#{part}").inner_text() for part in ("layer-table", "levels", "savings")}
    shown.page.select_option("#case", label="2:4")
    for part, before in dense.items():
        assert shown.page.locator(f"#{part}").inner_text() != before, part
    assert "on stc, 2:4" in shown.page.locator("#layers h2").inner_text()
    assert "50\u202f% are made" in shown.page.locator("#savings").inner_text()
    shown.page.select_option("#baseline", label="scnn")
    assert "EDP better than scnn" in shown.page.locator("#designs").inner_text()
    shown.page.select_option("#metric", label="Energy")
    assert "µJ" in shown.page.locator("#cases").inner_text()
    shown.page.get_by_role("button", name="dense", exact=True).click()
    assert shown.page.locator("#case").input_value() == "0"
    assert shown.complaints == []


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(browser: Any, reports: dict[str, Path], scheme: str) -> None:
    shown = Page(browser, reports["sweep"], color_scheme=scheme)
    for selector in (
        "p.headline",
        "#facts dt",
        "#layer-table thead button",
        "#layer-table td.name button",
        ".quiet",
        "caption",
    ):
        assert contrast(shown.page, selector) >= 4.5, selector
    shown.page.click("#theme")
    assert shown.page.evaluate("document.documentElement.dataset.theme") == ("dark" if scheme == "light" else "light")
    assert contrast(shown.page, "p.headline") >= 4.5
    assert shown.complaints == []


def contrast(page: Any, selector: str) -> float:
    """WCAG 2.2 contrast ratio of an element's text on the page."""
    ink, paper = page.evaluate(
        """(selector) => {
            const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
            const rgb = (colour) => {
                context.fillStyle = colour;
                context.fillRect(0, 0, 1, 1);
                return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
            };
            const paper = getComputedStyle(document.body).backgroundColor;
            return [rgb(getComputedStyle(document.querySelector(selector)).color), rgb(paper)];
        }""",
        selector,
    )

    def luminance(colour: list[int]) -> float:
        linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@needs_browser
@pytest.mark.parametrize("width", [360, 768, 1366, 2560])
def test_nothing_sticks_out_sideways(browser: Any, reports: dict[str, Path], width: int) -> None:
    shown = Page(browser, reports["sweep"], viewport={"width": width, "height": 768})
    shown.page.locator("#layer-1 button").click()
    assert not shown.wide()


@needs_browser
def test_paper_gets_all_rows_and_no_controls(browser: Any, reports: dict[str, Path], tmp_path: Path) -> None:
    shown = Page(browser, reports["long"])
    assert shown.page.locator("#layer-table tbody tr.row").count() == 200
    written = shown.page.pdf(prefer_css_page_size=True)
    assert written.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", written)) > 10
    assert shown.page.locator("#layer-table tbody tr.row").count() > 300
    shown.page.emulate_media(media="print")
    assert not shown.page.locator("header.bar").is_visible()
    assert not shown.page.locator("#filters").is_visible()
    assert not shown.wide()
    assert shown.complaints == []


@needs_browser
def test_hundreds_of_layers_stay_quick(browser: Any, reports: dict[str, Path]) -> None:
    shown = Page(browser, reports["long"])
    spent = shown.page.evaluate(
        """() => { const begun = performance.now(); document.querySelector('button.sort[data-key="energy"]').click();
                   document.body.offsetHeight; return performance.now() - begun; }"""
    )
    assert spent < 2000  # milliseconds, on a slow machine that does other work
    shown.page.click("#more")
    assert shown.page.locator("#layer-table tbody tr.row").count() > 300


@needs_browser
def test_values_that_are_missing_or_odd_are_shown_as_such(browser: Any, tmp_path: Path) -> None:
    result = copy.deepcopy(small_result())
    odd = next(e for e in result["layers"] if e["design"] == "dense-tensor-core")
    odd.update(cycles=math.nan, energy_pj=math.inf, utilization=None)
    result["designs"][0]["name"] = hostile = "<img src=x onerror=alert(1)>"
    for entry in (*result["layers"], *result["operators"], *result["totals"]):
        if entry["design"] == "dense-tensor-core":
            entry["design"] = hostile
    write_report(result, tmp_path / "odd.html")
    shown = Page(browser, tmp_path / "odd.html")
    shown.page.select_option("#design", label=hostile)
    assert (shown.column("Cycles")[0], shown.column("Energy")[0], shown.column("Utilisation")[0]) == (
        "not a number",
        "∞",
        "–",
    )
    assert shown.page.locator("img").count() == 0
    assert shown.complaints == []


@needs_browser
def test_intermediates_kept_on_chip_are_listed(browser: Any, tmp_path: Path) -> None:
    result = one_design(small_result())
    held = {"names": ["conv", "relu"], "bytes": 2048, "from": CONVOLUTION, "to": "flatten"}
    kept = {"level": "SMEM", "capacity_bytes": 262144, "most_bytes": 2048, "tensors": [held]}
    result["totals"][0]["kept_on_chip"] = kept
    write_report(result, tmp_path / "kept.html")
    shown = Page(browser, tmp_path / "kept.html")
    text = shown.page.locator("#kept").inner_text().replace("\u00a0", " ")
    assert "SMEM holds 1 intermediate; at most 2.00 KiB of its 256 KiB at a time." in text
    shown.page.locator("#kept summary").click()
    assert shown.texts("#kept tbody td")[-1] == "flatten"
    assert shown.complaints == []


@needs_browser
def test_without_scripts_the_answer_is_there(browser: Any, reports: dict[str, Path]) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(reports["sweep"].as_uri())
    assert "Small <net> takes" in page.locator(".headline").inner_text()
    assert page.locator("noscript table tbody tr").count() == 6
    context.close()
