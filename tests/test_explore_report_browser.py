"""The report of an exploration in a browser: front, hover, tables, hierarchies, importance, curves, light and dark, paper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent_problems import Formula
from explorations import explored
from fiberloom.explore import Exploration, Goal, explore, make_agent
from fiberloom.report.exploration_references import known_references
from fiberloom.report.html.exploration import write_exploration
from test_html_report_browser import ARGUMENTS, BROWSER, Page, contrast, needs_browser


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
def found(tmp_path_factory: pytest.TempPathFactory) -> Exploration:
    return explored(tmp_path_factory.mktemp("small"), limits=("lanes <= 8",))


@pytest.fixture(scope="module")
def report(found: Exploration, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "small.html"
    other = replace(found, seed=7, trials=found.trials[:5], times=found.times[:5])
    write_exploration(found, path, list(known_references(found)), [other])
    return path


def formula(objectives: list[str], limits: list[str], n: int, seed: int = 0) -> Exploration:
    problem = Formula()
    goal = Goal.parse(objectives, limits, problem.metrics)
    return explore(problem, make_agent("random", problem, goal, seed), evaluations=n, seed=seed)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Exploration, Path]:
    """A thousand designs, three objectives, a limit, and some that can't be evaluated."""
    path = tmp_path_factory.mktemp("page") / "crowd.html"
    made = formula(["delay", "area", "max lanes"], ["area <= 2000"], 1000)
    write_exploration(made, path)
    return made, path


@needs_browser
def test_every_part_has_content_and_the_console_stays_silent(browser: Any, report: Path, found: Exploration) -> None:
    shown = Page(browser, report)
    for part in ("facts", "remarks", "front", "front-table", "known-table", "hierarchies", "pair-table", "importance",
                 "curve", "volume"):  # fmt: skip
        if part != "remarks":
            assert shown.page.locator(f"#{part}").inner_text().strip(), part
    assert shown.page.locator("h1").inner_text() == "Small <array>"
    on_front = shown.page.locator("#front-table tbody tr").count()
    assert on_front == len(found.front)
    assert shown.page.locator("#front circle.point[data-mark], #front path.point[data-mark]").count() == on_front + len(
        [r for r in known_references(found) if r.trial.point not in {t.point for t in found.front}]
    )
    assert shown.page.locator("#hierarchies .hierarchy").count() == 2
    assert shown.page.locator("#curve path.steps").count() == 2
    assert not shown.wide()
    assert shown.complaints == []


@needs_browser
def test_a_design_of_the_chart_tells_and_is_drawn_on_enter(browser: Any, report: Path, found: Exploration) -> None:
    shown = Page(browser, report)
    shown.page.locator("#front svg[tabindex]").focus()
    shown.page.keyboard.press("ArrowRight")
    shown.page.keyboard.press("ArrowRight")
    tip = shown.page.locator("#tip").inner_text()
    assert "edp" in tip and "lanes" in tip and "buffer_kib" in tip
    name = tip.splitlines()[0].split(" ")[0]
    shown.page.keyboard.press("Enter")
    assert shown.page.locator("#hierarchies figure strong").first.inner_text() == name
    assert shown.page.locator("#pair-table thead th").nth(1).inner_text() == name
    level = shown.page.locator("#hierarchies .level").nth(1).inner_text()
    assert level.startswith("buffer") and "KiB" in level and "bandwidth" in level
    assert shown.complaints == []


@needs_browser
def test_two_designs_stand_side_by_side_with_their_ratio(browser: Any, report: Path, found: Exploration) -> None:
    shown = Page(browser, report)
    shown.page.select_option("#other", label="plain")
    heads = shown.texts("#pair-table thead th")
    assert heads[2] == "plain"
    plain = next(r.trial for r in known_references(found) if r.name == "plain")
    first = shown.page.locator("#design option:checked").inner_text()
    chosen = next(
        t for t in found.front if f"#{found.problem.space.rank(t.point)}" == first or first in ("plain", "large")
    )
    row = shown.texts("#pair-table tbody tr:nth-child(2) td")
    assert float(row[2].rstrip("×")) == pytest.approx(chosen.values[0] / plain.values[0], rel=0.02, abs=0.006)
    workloads = shown.page.locator("#pair-table").inner_text()
    assert "product, energy" in workloads and "proved" in workloads
    assert shown.complaints == []


@needs_browser
def test_any_measure_may_be_an_axis_and_a_limit_is_drawn_on_its_own(browser: Any, report: Path) -> None:
    shown = Page(browser, report)
    assert shown.page.locator("#front .stairs").count() == 1
    assert shown.page.locator("#front line.limit").count() == 0
    shown.page.select_option("#axis-x", label="lanes (MACs)")
    assert shown.page.locator("#front line.limit").count() == 1
    assert shown.page.locator("#front .stairs").count() == 0
    assert "lanes (MACs)" in (shown.page.locator("#front svg[tabindex]").get_attribute("aria-label") or "")
    assert shown.complaints == []


@needs_browser
def test_the_front_sorts_both_ways(browser: Any, report: Path, found: Exploration) -> None:
    shown = Page(browser, report)
    names = lambda: shown.texts("#front-table tbody th")  # noqa: E731
    shown.page.locator('#front-table button[data-key="m1"]').click()
    rising = names()
    shown.page.locator('#front-table button[data-key="m1"]').click()
    assert names() == rising[::-1]
    area = {str(found.problem.space.rank(t.point)): t.values[1] for t in found.front}
    ranks = [area[n.removeprefix("#")] for n in rising if n.startswith("#")]
    assert ranks == sorted(ranks)
    assert shown.complaints == []


@needs_browser
def test_importance_can_be_asked_for_any_measure(browser: Any, crowd: tuple[Exploration, Path]) -> None:
    shown = Page(browser, crowd[1])
    assert "all 3 objectives" in shown.page.locator("#importance-of option:checked").inner_text()
    shown.page.select_option("#importance-of", label="area")
    labels = shown.texts("#importance .label")
    assert {labels[0].split("\n")[0], labels[1].split("\n")[0]} == {"rows", "columns"}
    assert "no more than chance" in shown.page.locator("#importance").inner_text()
    assert shown.page.locator("#importance .chip").count() > 20
    assert shown.complaints == []


@needs_browser
def test_a_crowd_is_drawn_and_what_is_out_is_counted(browser: Any, crowd: tuple[Exploration, Path]) -> None:
    found, path = crowd
    shown = Page(browser, path)
    losses = shown.page.locator("#losses").inner_text()
    assert "13 banks bring bad luck" in losses and "area <= 2000" in losses
    over = len({t.point for t in found.trials if t.evaluated.metrics.get("area", 0) > 2000})
    path_of = shown.page.locator("#front path.dots.over").get_attribute("d") or ""
    assert path_of.count("M") == over
    assert shown.page.locator("#known-table").is_hidden()
    assert shown.page.locator("#hierarchies").is_hidden()
    assert not shown.wide()
    assert shown.complaints == []


@needs_browser
def test_progress_is_drawn_over_designs_and_over_seconds(browser: Any, crowd: tuple[Exploration, Path]) -> None:
    shown = Page(browser, crowd[1])
    before = shown.page.locator("#curve path.steps.main").get_attribute("d")
    shown.page.select_option("#along", "seconds")
    assert shown.page.locator("#curve path.steps.main").get_attribute("d") != before
    assert "seconds" in (shown.page.locator("#curve svg").text_content() or "")
    assert "100" in shown.page.locator("#volume").inner_text()
    assert shown.complaints == []


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(browser: Any, report: Path, scheme: str) -> None:
    shown = Page(browser, report, color_scheme=scheme)
    for selector in ("p.headline", "#facts dt", "#front-table thead button", "caption", ".hierarchy .level ul", ".chip",
                     "#importance .label"):  # fmt: skip
        assert contrast(shown.page, selector) >= 4.5, selector
    assert shown.complaints == []


@needs_browser
@pytest.mark.parametrize("width", [360, 768, 2560])
def test_nothing_sticks_out_sideways(browser: Any, report: Path, crowd: tuple[Exploration, Path], width: int) -> None:
    for path in (report, crowd[1]):
        assert not Page(browser, path, viewport={"width": width, "height": 768}).wide()


@needs_browser
def test_paper_has_the_whole_front_and_no_controls(
    browser: Any, crowd: tuple[Exploration, Path], tmp_path: Path
) -> None:
    found = formula(["delay", "area"], [], 1000)
    many = replace(found, front=tuple({t.point: t for t in found.trials if t.feasible}.values())[:150])
    write_exploration(many, tmp_path / "many.html")
    shown = Page(browser, tmp_path / "many.html")
    assert shown.page.locator("#front-table tbody tr").count() == 100
    shown.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert shown.page.locator("#front-table tbody tr").count() == 150
    shown.page.emulate_media(media="print")
    assert not shown.page.locator("header.bar").is_visible()
    assert not shown.wide()
    assert shown.page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    assert shown.complaints == []


@needs_browser
@pytest.mark.parametrize(("limits", "n"), [(["area <= 0.5"], 40), ([], 1), (["lanes >= 1e9"], 3)])
def test_explorations_that_found_little_or_nothing_are_shown(
    browser: Any, tmp_path: Path, limits: list[str], n: int
) -> None:
    write_exploration(formula(["delay"], limits, n), tmp_path / "little.html")
    shown = Page(browser, tmp_path / "little.html")
    assert shown.page.locator(".headline").inner_text().strip()
    assert shown.complaints == []


@needs_browser
def test_an_exploration_without_one_evaluation_is_shown(browser: Any, tmp_path: Path) -> None:
    found = formula(["delay"], [], 400)
    none = [(t, at) for t, at in zip(found.trials, found.times, strict=True) if not t.evaluated.metrics]
    assert none
    empty = replace(found, trials=tuple(t for t, _ in none), times=tuple(at for _, at in none), front=())
    write_exploration(empty, tmp_path / "none.html")
    shown = Page(browser, tmp_path / "none.html")
    assert "could be evaluated" in shown.page.locator(".headline").inner_text()
    assert "13 banks bring bad luck" in shown.page.locator("#losses").inner_text()
    assert shown.complaints == []


@needs_browser
def test_without_scripts_the_front_is_there(browser: Any, report: Path, found: Exploration) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert "worth considering" in page.locator(".headline").inner_text()
    assert page.locator("noscript table tbody tr").count() == len(found.front)
    context.close()
