"""The HTML report as people use it: in a real browser, and on paper."""

from __future__ import annotations

import copy
import math
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fiberloom.report.html import write_report
from networks import CONVOLUTION, DESIGNS, one_design, small_result

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


def many_layers(result: dict[str, Any], layers: int) -> dict[str, Any]:
    """The same result with `layers` different Einsums."""
    made = one_design(result)
    first = made["layers"][0]
    made["layers"] = [
        {**first, "layer": f"block.{k}", "operators": [f"block.{k}"], "cycles": 1000 + (k * 7919) % 1009}
        for k in range(layers)
    ]
    return made


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
def test_paper_gets_all_rows_and_no_controls(browser: Any, reports: dict[str, Path]) -> None:
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
def test_open_layers_follow_the_table_on_paper(browser: Any, reports: dict[str, Path]) -> None:
    shown = Page(browser, reports["sweep"])
    shown.page.locator("#layer-1 button").click()
    shown.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert shown.page.locator("tr.detail").count() == 0
    assert "for " in (shown.page.locator("#opened pre").text_content() or "")
    assert (
        shown.page.locator("#layer-table thead button").count() == 0
    )  # with them, heads are not repeated on every page
    shown.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert shown.page.locator("tr.detail").count() == 1
    assert shown.page.locator("#opened").text_content() == ""
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
