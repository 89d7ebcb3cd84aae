"""The report of a comparison of agents as one HTML file: best so far, the lottery of hyper-parameters, every setting beside random."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np

from fiberloom.explore.comparison import BASELINE, CHANCE, Comparison, Contestant
from fiberloom.report.exploration_comparison import default_target, finite, measure, number
from fiberloom.report.html import generator, write_page
from fiberloom.report.html.content import rounded
from fiberloom.report.html.page import document

SCRIPTS: Final = (
    "format.js",
    "element.js",
    "scales.js",
    "frame.js",
    "sortable.js",
    "exploration-comparison.js",
)
POINTS: Final = 48
"""Places along an axis where curves are drawn."""


def write_comparison(comparison: Comparison, name: str, path: str | Path, target: float | None = None) -> None:
    """Write the report; a file that is there is replaced at once, or kept as it is when anything fails.

    Args:
        name: of what was explored.
        target: of the lottery; None: what the best run of random reached.

    Raises:
        SpecError: if the file can't be written.
    """
    write_page(render_comparison(comparison, name, target), path)


def render_comparison(comparison: Comparison, name: str, target: float | None = None) -> str:
    """The report as text."""
    made = content(comparison, target)
    return document("exploration-comparison.html", SCRIPTS, f"{name}: agents", made, _plain(comparison), generator())


def content(comparison: Comparison, target: float | None) -> dict[str, Any]:
    """What the scripts show, ready for JSON."""
    chosen = default_target(comparison) if target is None else target
    lottery = comparison.lottery(chosen)
    best = {share.best.name for share in lottery}
    made = {
        "headline": headline(comparison),
        "measure": measure(comparison),
        "facts": _facts(comparison),
        "remarks": [f"{name} is left out: {reason}" for name, reason in comparison.left_out.items()],
        "chance": CHANCE,
        "baseline": BASELINE,
        "axes": {axis: _axis(comparison, axis, best) for axis in comparison.axes},
        "target": finite(chosen),
        "target_given": target is not None,
        "lottery": [
            {
                "agent": share.agent, "settings": share.settings, "reaching": share.reaching, "runs": share.runs,
                "best": share.best.name, "quartiles": [finite(v) for v in share.quartiles],
                "values": [
                    {"name": c.name, "finals": [finite(v) for v in comparison.values(c, "evaluations")]}
                    for c in comparison.contestants if c.setting.agent == share.agent
                ],
            }
            for share in lottery
        ],
    }  # fmt: skip
    return dict(rounded(made))


def headline(comparison: Comparison) -> str:
    """Which agents beat random, in a sentence."""
    axis = comparison.axes[0]
    others = [c for c in comparison.contestants if c.name != BASELINE]
    winners = [c for c in others if comparison.verdict(c, axis).beats_random]
    budget = f"{comparison.budget(axis):,.6g} {axis}"
    if not others:
        return f"Only random was run, with {budget}."
    agents = {c.setting.agent for c in others}
    winning = {c.setting.agent for c in winners}
    order = sorted(others, key=lambda c: _median(comparison, c, axis))
    said = f"With {budget}, {len(winning) or 'none'} of {len(agents)} agents {'beats' if len(winning) == 1 else 'beat'} random"
    settings = f" in {len(winners)} of {len(others)} settings" if len(others) > len(agents) and winners else ""
    first, random = _median(comparison, order[0], axis), _median(comparison, comparison[BASELINE], axis)
    return (
        f"{said}{settings}. The best median is that of {order[0].name}, {number(first)}; random's is {number(random)}."
        if math.isfinite(first)
        else f"{said}: no setting finds a feasible design in half of its runs."
    )


def _median(comparison: Comparison, contestant: Contestant, axis: str) -> float:
    return float(comparison.quartiles(contestant, axis, [comparison.budget(axis)])[1, 0])


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    budgets = [f"{comparison.budget(axis):,.6g} {axis}" for axis in comparison.axes]
    goal = comparison.goal
    return [
        ("Budget of each run", " and ".join(budgets)),
        ("Seeds", str(comparison.seeds)),
        ("Settings", str(len(comparison.contestants))),
        ("Objectives", ", ".join(goal.names)),
        ("Limits", ", ".join(limit.name for limit in goal.limits) or "none"),
        ("Measure", measure(comparison)),
    ]


def _axis(comparison: Comparison, axis: str, drawn: set[str]) -> dict[str, Any]:
    end = comparison.budget(axis)
    start = 1.0 if axis == "evaluations" else end / 200
    places = np.geomspace(start, max(end, start), POINTS)
    if axis == "evaluations":
        places = np.unique(places.round())
    points = comparison.checkpoints(axis)
    return {
        "points": points,
        "places": places.tolist(),
        "settings": [_setting(comparison, c, axis, points, places.tolist(), c.name in drawn) for c in comparison.contestants],
    }  # fmt: skip


def _setting(
    comparison: Comparison,
    contestant: Contestant,
    axis: str,
    points: Sequence[float],
    places: Sequence[float],
    drawn: bool,
) -> dict[str, Any]:
    verdict = comparison.verdict(contestant, axis)
    at = comparison.quartiles(contestant, axis, points)
    return {
        "name": contestant.name,
        "agent": contestant.setting.agent,
        "medians": [finite(v) for v in at[1]],
        "quartiles": [finite(at[0, -1]), finite(at[2, -1])],
        "beats": verdict.beats_random,
        "chance": verdict.chance,
        "times": finite(verdict.ratio),
        "rate": contestant.rate,
        "curve": [[finite(v) for v in row] for row in comparison.quartiles(contestant, axis, places)]
        if drawn
        else None,
    }


def _plain(comparison: Comparison) -> str:
    """Medians at the end for readers without JavaScript."""
    axis = comparison.axes[0]
    rows = "".join(
        f'<tr><th scope="row">{escape(c.name)}</th><td>{number(_median(comparison, c, axis))}</td>'
        f"<td>{'yes' if comparison.verdict(c, axis).beats_random else 'no'}</td></tr>"
        for c in comparison.contestants
    )
    head = "".join(f'<th scope="col">{title}</th>' for title in ("Agent", "Median", "Beats random"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
