"""The report of ``compress`` and ``codesign`` in a browser: charts, tables, keyboard, light and dark, paper, odd values."""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fiberloom.errors import SpecError
from fiberloom.report.html.tradeoff import headline, render_tradeoff, write_tradeoff
from test_html_report_browser import ARGUMENTS, BROWSER, Page, contrast, needs_browser

DESIGNS = ("dense-tensor-core", "stc")
SCHEMES = {"2:4": (0.36, 9.0, 0.5), "int8": (0.007, 8.0, 1.0), "1:8 int8 + <b>7:8</b> fp4": (0.07, 5.9, 0.7)}
"""Error, bits per weight, cost beside int8."""


def cost(scale: float) -> dict[str, Any]:
    return {
        "cycles": 1000.0 * scale,
        "seconds": 1e-6 * scale,
        "energy_pj": 5e6 * scale,
        "edp_j_s": 5e-12 * scale * scale,
        "area_um2": 3e6,
        "energy_by_component_pj": {"DRAM": 3e6 * scale, "MAC": 2e6 * scale},
        "certificates": {"layers": 2, "proved": 2, "largest_gap": 0.0},
    }


def layer(name: str, error: float, bits: float) -> dict[str, Any]:
    return {
        "name": name,
        "shape": [64, 128],
        "relative_error": error,
        "output_error": error * 1.2,
        "dropped_nonzeros": 0.25,
        "density": 0.75,
        "original_density": 1.0,
        "bits_per_weight": bits,
        "bits": {"values": bits - 1, "scales": 0.25, "metadata": 0.75},
        "throughput": {"ideal": 2.0, "menu": 1.0},
        "count": 1,
        "certificate": {"status": "optimal", "gap": 0.0},
        "runs_as": ["2:4 int8"],
        "bottleneck": "MAC",
        **{k: v / 2 for k, v in cost(1.0).items() if isinstance(v, float)},
    }


def result(layers: int = 2) -> dict[str, Any]:
    """Three schemes on two designs; the last can't run on the first."""
    points: list[dict[str, Any]] = []
    for scheme, (error, bits, scale) in SCHEMES.items():
        for design in DESIGNS:
            runs = design == "stc" or "fp4" not in scheme
            point = {
                "design": design, "scheme": scheme, "representation": scheme, "quality": error, "relative_error": error,
                "output_error": error * 1.2, "dropped_nonzeros": 0.25, "density": 0.75, "original_density": 1.0,
                "bits_per_weight": bits, "throughput": {"ideal": 4.0, "menu": 2.0 if runs else None},
                "layers": [layer(f"layer.{k}", error, bits) for k in range(layers)], "on_front": False,
                "dominated_by": None, "refused": None if runs else "no multipliers for fp4", "hint": None,
            }  # fmt: skip
            if runs:
                point |= cost(scale * (1.0 if design == "stc" else 3.0)) | {
                    "versus_dense": {"cycles": 2.0, "energy": 1.5, "edp": 3.0},
                    "on_front": design == "stc",
                }
            points.append(point)
    points[0]["dominated_by"] = 1
    points[2]["dominated_by"] = 3
    designs = [
        {
            "name": name, "title": f"The {name}", "weights": ["dense", "2:4"], "formats": {"int8": 2.0}, "area_um2": 3e6,
            "cycle_seconds": 1e-9, "dense": cost(2.0), "sources": ["A paper"],
        }
        for name in DESIGNS
    ]  # fmt: skip
    return {
        "version": 1,
        "model": {"name": "Net <x>", "source": "", "layers": layers, "weights": 8192 * layers, "macs": 10**6},
        "quality": {"name": "accuracy loss", "lower_is_better": True, "original": 0.0},
        "designs": designs,
        "points": points,
        "left_out": {"embedding": "no product reads it"},
        "notes": ["errors of weights are no proxy"],
    }


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
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tradeoff") / "front.html"
    write_tradeoff(result(), path)
    return path


def test_a_report_needs_nothing_from_elsewhere() -> None:
    page = render_tradeoff(result())
    assert not re.search(r'(src|href)="https?://', page)
    assert "<x>" not in page.replace("&lt;x&gt;", "") and "<b>7:8</b>" not in page
    assert "{{" not in page


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no result"):
        write_tradeoff({"points": []}, tmp_path / "x.html")
    with pytest.raises(SpecError, match="can't be written"):
        write_tradeoff(result(), tmp_path / "nowhere" / "x.html")


def test_the_headline_says_what_is_cheapest_and_what_is_best() -> None:
    said = headline(result())
    assert said.startswith("3 of 5 points are worth considering")
    assert "int8 on stc" in said and "2:4 on stc" in said


def test_without_a_design_the_headline_speaks_of_errors() -> None:
    made = result()
    made["designs"] = []
    made["points"] = [
        {**p, "design": None, "edp_j_s": None, "refused": None} for p in made["points"] if p["design"] == "stc"
    ]
    assert "int8 has the least output error" in headline(made)


@needs_browser
def test_every_part_has_content_and_the_console_stays_silent(browser: Any, report: Path) -> None:
    shown = Page(browser, report)
    for part in (
        "facts",
        "remarks",
        "front",
        "point-table",
        "refused",
        "bits-by-scheme",
        "energy-by-point",
        "layer-table",
        "provenance",
    ):
        assert shown.page.locator(f"#{part}").inner_text().strip(), part
    assert shown.page.locator("h1").inner_text() == "Net <x>"
    assert (
        shown.page.locator("#front .point[data-point]").count() == 5 + 2
    )  # points with a cost, and the dense model twice
    assert shown.page.locator("#front .point.hollow").count() == 2
    assert shown.page.locator("#front .stairs").count() == 1
    assert "no multipliers for fp4" in shown.page.locator("#refused").inner_text()
    assert not shown.wide()
    assert shown.complaints == []


@needs_browser
def test_a_point_of_the_chart_tells_and_opens_its_layers(browser: Any, report: Path) -> None:
    shown = Page(browser, report)
    shown.page.locator("#front svg[tabindex]").focus()
    shown.page.keyboard.press("ArrowRight")
    tip = shown.page.locator("#tip").inner_text()
    assert "2:4 on dense-tensor-core" in tip and "bits per weight" in tip and "beaten by" in tip
    shown.page.keyboard.press("Enter")
    assert shown.page.locator("#layers h2").inner_text() == "Layers under 2:4 on dense-tensor-core"
    assert shown.page.locator("#point").input_value() == "0"
    shown.page.select_option("#point", "3")
    assert "int8 on stc" in shown.page.locator("#layers h2").inner_text()
    assert "stc" in shown.page.locator("#energy-by-point figcaption").inner_text()
    assert shown.complaints == []


@needs_browser
def test_columns_sort_both_ways_and_missing_values_come_last(browser: Any, report: Path) -> None:
    shown = Page(browser, report)
    button = shown.page.locator('#point-table button[data-key="edp"]')
    numbers = lambda: [t.strip() for t in shown.texts("#point-table tbody tr td:first-child")]  # noqa: E731
    button.click()
    rising = numbers()
    assert (
        shown.page.locator("#point-table th", has=shown.page.locator('[data-key="edp"]')).get_attribute("aria-sort")
        == "ascending"
    )
    shown.page.keyboard.press("Enter")
    falling = numbers()
    assert rising[-1] == falling[-1] == "5"
    assert rising[:-1] == falling[:-1][::-1]
    assert shown.complaints == []


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(browser: Any, report: Path, scheme: str) -> None:
    shown = Page(browser, report, color_scheme=scheme)
    for selector in ("p.headline", "#facts dt", "#point-table thead button", "tr.quiet td", "caption", ".remarks li"):
        assert contrast(shown.page, selector) >= 4.5, selector
    shown.page.click("#theme")
    assert shown.page.evaluate("document.documentElement.dataset.theme") == ("dark" if scheme == "light" else "light")
    assert shown.complaints == []


@needs_browser
@pytest.mark.parametrize("width", [360, 768, 2560])
def test_nothing_sticks_out_sideways(browser: Any, report: Path, width: int) -> None:
    assert not Page(browser, report, viewport={"width": width, "height": 768}).wide()


@needs_browser
def test_paper_gets_all_layers_and_no_controls(browser: Any, tmp_path: Path) -> None:
    write_tradeoff(result(layers=300), tmp_path / "long.html")
    shown = Page(browser, tmp_path / "long.html")
    assert shown.page.locator("#layer-table tbody tr").count() == 200
    shown.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert shown.page.locator("#layer-table tbody tr").count() == 300
    assert shown.page.locator("#layer-table thead button").count() == 0
    shown.page.emulate_media(media="print")
    assert not shown.page.locator("header.bar").is_visible()
    assert not shown.wide()
    shown.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert shown.page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    assert shown.complaints == []


@needs_browser
def test_a_single_representation_without_hardware_is_shown(browser: Any, tmp_path: Path) -> None:
    made = copy.deepcopy(result(layers=1))
    made["designs"], made["points"] = [], [made["points"][1]]
    for field in ("cycles", "seconds", "energy_pj", "edp_j_s", "area_um2", "energy_by_component_pj", "versus_dense"):
        made["points"][0].pop(field, None)
    made["points"][0] |= {"design": None, "on_front": False}
    for entry in made["points"][0]["layers"]:
        for field in ("cycles", "seconds", "energy_pj", "edp_j_s", "certificate", "runs_as"):
            entry.pop(field, None)
    write_tradeoff(made, tmp_path / "one.html")
    shown = Page(browser, tmp_path / "one.html")
    assert "Without a design" in shown.page.locator("#front").inner_text()
    assert shown.page.locator("#layer-table tbody tr").count() == 1
    assert shown.complaints == []


@needs_browser
def test_without_scripts_the_answer_is_there(browser: Any, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert "worth considering" in page.locator(".headline").inner_text()
    assert page.locator("noscript table tbody tr").count() == 6
    context.close()
