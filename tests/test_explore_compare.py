"""`explore compare`: settings, the table, the JSON object and the page, each beside random."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from agent_problems import Formula
from fiberloom.cli.explore_compare import read_settings
from fiberloom.errors import SpecError
from fiberloom.explore import Goal
from fiberloom.explore.comparison import Comparison, Contestant, Run, Setting, Step
from fiberloom.explore.sweep import compare, grid
from fiberloom.report.exploration_comparison import comparison_dict, comparison_report, default_target
from fiberloom.report.html.exploration_comparison import content, headline, render_comparison, write_comparison
from test_html_report_browser import ARGUMENTS, BROWSER, Page, contrast, needs_browser


def contestant(agent: str, *bests: float, hyper: dict[str, Any] | None = None) -> Contestant:
    """Runs of 10 designs that end with these values; half of the way there they were twice as bad."""
    runs = [
        Run(
            seed, 10, 10, 1.0, "evaluations",
            () if math.isinf(b) else (Step(2, 0.1, (2 * b,), 2 * b), Step(6, 0.5, (b,), b)),
        )
        for seed, b in enumerate(bests)
    ]  # fmt: skip
    return Contestant(Setting(agent, hyper or {}), tuple(runs))


@pytest.fixture
def made() -> Comparison:
    return Comparison(
        Goal.parse(["delay"]), 10, None, 5,
        (
            contestant("random", 5, 6, 7, 8, 9),
            contestant("better", 1, 2, 3, 4, 4.5, hyper={"size": 10}),
            contestant("better", 20, 21, 22, 23, math.inf, hyper={"size": 20}),
            contestant("same", 5, 6, 7, 8, 9),
        ),
        {"gp": "the package 'optuna' is missing"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def real() -> Comparison:
    problem = Formula()
    goal = Goal.parse(["delay", "area"], [], problem.metrics)
    settings = [("grid", {}), *grid("genetic", {"population": [8, 16], "mutate": [0.1, 0.3]})]
    return compare(problem, goal, settings, seeds=3, evaluations=60, seconds=0.2)


def printed(comparison: Comparison, target: float | None = None) -> str:
    console = Console(width=100, file=io.StringIO(), highlight=False)
    for part in comparison_report(comparison, target):
        console.print(part)
    return console.file.getvalue()  # type: ignore[attr-defined]


def row(text: str, name: str) -> str:
    """The first line of the table that begins with a name."""
    return next(line for line in text.splitlines() if line.startswith(f" {name} "))


def test_every_agent_says_whether_it_beats_random(made: Comparison) -> None:
    text = printed(made)
    assert max(map(len, text.splitlines())) <= 100
    assert f"yes, chance {1 / math.comb(10, 5):.2g}" in row(text, "better size=10")
    assert "2.33×" in row(text, "better size=10")
    assert "no, chance" in row(text, "same") and "1×" in row(text, "same")
    assert row(text, "random").rstrip().endswith("–")
    assert "gp is left out: the package 'optuna' is missing" in text


def test_so_few_seeds_that_nothing_can_be_shown_are_said(made: Comparison) -> None:
    few = Comparison(made.goal, 10, None, 1, (contestant("random", 5), contestant("a", 1)))
    text = printed(few)
    assert "with 1 seed no agent can show it" in text and "no, chance 0.5" in text
    assert "no agent can show it" not in printed(made)


def test_the_lottery_counts_settings_and_runs_that_reach_the_target(made: Comparison) -> None:
    assert default_target(made) == 5
    lottery = {entry["agent"]: entry for entry in comparison_dict(made)["lottery"]["agents"]}
    assert (lottery["better"]["settings"], lottery["better"]["settings_reaching"]) == (2, 0.5)
    assert lottery["better"]["runs_reaching"] == 0.5 and lottery["better"]["best"] == "better size=10"
    assert lottery["random"]["runs_reaching"] == 0.2 and lottery["random"]["settings_reaching"] == 0
    text = printed(made, 4.0)
    assert "target 4.000, as asked" in text and "50%" in row(text, "better ")


def test_without_several_settings_there_is_no_lottery(made: Comparison) -> None:
    assert "lottery" not in printed(Comparison(made.goal, 10, None, 5, (made.contestants[0], made.contestants[3])))


def test_runs_without_a_feasible_design_are_none_and_null(made: Comparison) -> None:
    nothing = Comparison(made.goal, 10, None, 2, tuple(contestant(n, math.inf, math.inf) for n in ("random", "a")))
    text = printed(nothing)
    assert "none – none" in text and "no run found a design within the limits" in text
    data = comparison_dict(nothing)
    assert data["agents"][1]["evaluations"]["median"] == [None] * len(data["agents"][1]["evaluations"]["points"])
    assert data["lottery"]["target"] is None
    json.dumps(data, allow_nan=False)
    assert "no setting finds a feasible design" in headline(nothing)


def test_json_has_medians_quartiles_verdicts_and_steps_of_both_budgets(real: Comparison) -> None:
    data = comparison_dict(real)
    json.dumps(data, allow_nan=False)
    assert len(data["agents"]) == 6
    for entry, contestant_ in zip(data["agents"], real.contestants, strict=True):
        for axis in ("evaluations", "seconds"):
            shown = entry[axis]
            finals = real.values(contestant_, axis)
            assert shown["final"] == pytest.approx(list(finals))
            assert shown["median"][-1] == pytest.approx(np.median(finals))
            assert [r["seed"] for r in shown["runs"]] == [0, 1, 2]
            assert all(r["trials"] <= 60 for r in shown["runs"]) or axis == "seconds"
    assert data["measure"].startswith("share of the joint front's hypervolume")


def test_settings_are_every_combination_for_the_agents_that_have_the_hyper_parameter() -> None:
    made = read_settings(["genetic", "grid"], ["genetic.population=10,20", "mutate=0.1,0.2"])
    assert made == [
        ("genetic", {"population": p, "mutate": m}) for p in (10, 20) for m in (0.1, 0.2)
    ] + [("grid", {})]  # fmt: skip
    assert read_settings(["random"], []) == [("random", {})]
    assert {name for name, _ in read_settings(None, None)} >= {"random", "grid", "genetic", "tpe"}


@pytest.mark.parametrize(
    ("agents", "grids", "message"),
    [
        (["geneti"], [], "no agent 'geneti'"),
        (["genetic"], ["populatio=3,4"], "hyper-parameter 'populatio'"),
        (["genetic"], ["grid.points=3"], "'grid' is not compared"),
        (["genetic"], ["genetic.points=3"], "'genetic' has no hyper-parameter 'points'"),
        (["genetic"], ["population"], "is not name=v1,v2"),
        (["genetic"], ["population="], "is not name=v1,v2"),
        (["genetic"], ["=3"], "is not name=v1,v2"),
        (["genetic"], ["population=[3"], "not valid YAML"),
    ],
)
def test_slips_of_the_pen_in_settings_are_named(agents: list[str], grids: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        read_settings(agents, grids)


def test_headlines_count_the_agents_that_beat_random(made: Comparison) -> None:
    said = headline(made)
    assert said.startswith("With 10 evaluations, 1 of 2 agents beats random in 1 of 3 settings.")
    assert "better size=10, 3.000; random's is 7.000" in said


def test_of_each_agent_the_best_setting_is_drawn_and_all_are_in_the_table(made: Comparison) -> None:
    settings = content(made, None)["axes"]["evaluations"]["settings"]
    assert [entry["name"] for entry in settings if entry["curve"]] == ["random", "better size=10", "same"]
    assert len(settings) == 4


def test_a_page_needs_nothing_from_elsewhere(made: Comparison, tmp_path: Path) -> None:
    page = render_comparison(made, "A <b>space</b>")
    assert not re.search(r'(src|href)="https?://', page) and "{{" not in page and "<b>space" not in page
    with pytest.raises(SpecError, match="can't be written"):
        write_comparison(made, "x", tmp_path / "nowhere" / "x.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if BROWSER is None:
        pytest.skip("no browser")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield running
        running.close()


@needs_browser
def test_curves_settings_and_lottery_are_shown_for_both_budgets(browser: Any, real: Comparison, tmp_path: Path) -> None:
    write_comparison(real, "Formula", tmp_path / "c.html")
    shown = Page(browser, tmp_path / "c.html")
    assert shown.page.locator("#curves path.steps").count() == 3
    assert shown.page.locator("#curves path.steps.main.dashed").count() == 1
    assert shown.page.locator("#setting-table tbody tr").count() == 6
    assert shown.page.locator("#lottery circle.point").count() == 6
    before = shown.page.locator("#curves path.steps.main").get_attribute("d")
    shown.page.select_option("#axis", "seconds")
    assert shown.page.locator("#curves path.steps.main").get_attribute("d") != before
    shown.page.locator("#lottery svg[tabindex]").focus()
    shown.page.keyboard.press("ArrowRight")
    assert "median" in shown.page.locator("#tip").inner_text()
    assert not shown.wide()
    assert shown.complaints == []


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_reads_in_light_and_dark_on_narrow_screens_and_on_paper(
    browser: Any, made: Comparison, tmp_path: Path, scheme: str
) -> None:
    write_comparison(made, "Made", tmp_path / "c.html")
    shown = Page(browser, tmp_path / "c.html", color_scheme=scheme, viewport={"width": 360, "height": 800})
    for selector in ("p.headline", "#facts dt", "#setting-table thead button", "caption", "td .worse", "td .better"):
        assert contrast(shown.page, selector) >= 4.5, selector
    assert not shown.wide()
    shown.page.emulate_media(media="print")
    shown.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert shown.page.locator("#setting-table thead button").count() == 0
    assert shown.page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    assert shown.complaints == []


@needs_browser
def test_a_comparison_in_which_nothing_is_feasible_is_shown(browser: Any, made: Comparison, tmp_path: Path) -> None:
    nothing = Comparison(made.goal, 10, None, 2, tuple(contestant(n, math.inf, math.inf) for n in ("random", "a")))
    write_comparison(nothing, "Nothing", tmp_path / "c.html")
    shown = Page(browser, tmp_path / "c.html")
    assert "No run found a feasible design" in shown.page.locator("#curves").inner_text()
    assert shown.complaints == []
