"""Agents side by side as tables and as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from fiberloom.explore.comparison import BASELINE, CHANCE, Comparison, Contestant, Run, Verdict
from fiberloom.report.tables import bullet, heading, plain_table

if TYPE_CHECKING:
    from rich.console import ConsoleRenderable
    from rich.table import Table
    from rich.text import Text

VERSION: Final = 1
"""Of the object that `comparison_dict` returns."""

MOST_SETTINGS: Final = 24
"""Settings of one axis that are printed; the others are in --json and on the page."""


def measure(comparison: Comparison) -> str:
    """What the numbers of a comparison are, in words."""
    aims = comparison.goal.aims
    if len(aims) > 1:
        return "share of the joint front's hypervolume that is missed"
    return f"least 1 / ({aims[0].text})" if aims[0].maximise else f"least {aims[0].text}"


def default_target(comparison: Comparison) -> float:
    """What the best run of random reached with the whole budget; infinite where none found a feasible design."""
    return float(comparison.values(comparison[BASELINE], "evaluations").min())


def comparison_report(comparison: Comparison, target: float | None = None) -> Iterator[ConsoleRenderable]:
    """Per budget: medians along it, quartiles at its end, and how each setting stands beside random; then the lottery.

    Args:
        target: of the lottery; None: `default_target`.
    """
    for axis in comparison.axes:
        seeds = f"median of {comparison.seeds} seeds" if comparison.seeds > 1 else "one seed"
        yield heading(f"After so many {axis}", f"{measure(comparison)}; {seeds}; less is better")
        yield _medians(comparison, axis)
        hidden = len(comparison.contestants) - MOST_SETTINGS
        if hidden > 0:
            yield bullet(f"{hidden} more settings, all worse, are in --json and --html", "dim")
    yield bullet(f"times: random's median over its own; {_rule(comparison)}", "dim")
    if len(comparison.contestants) > len({c.setting.agent for c in comparison.contestants}):
        yield from _lottery(comparison, default_target(comparison) if target is None else target, target is not None)
    if not any(run.steps for c in comparison.contestants for run in c.runs):
        yield bullet("no run found a design within the limits; 'fiberloom explore' says how far off they are", "yellow")
    for name, reason in comparison.left_out.items():
        yield bullet(f"{name} is left out: {reason}", "yellow")


def _rule(comparison: Comparison) -> str:
    """What "beats random" means, and whether so few seeds can show it: the best of all orders must be rare enough."""
    seeds = comparison.seeds
    said = f"beats random: so low a rank sum has a chance below {CHANCE:.0%} if it were no better (exact one-sided test"
    shows = 1 / math.comb(2 * seeds, seeds) < CHANCE
    return said + (")" if shows else f"; with {seeds} seed{'s' * (seeds != 1)} no agent can show it)")


def _medians(comparison: Comparison, axis: str) -> Table:
    points = comparison.checkpoints(axis)
    table = plain_table()
    longest = max(len(word) for c in comparison.contestants for word in c.name.split())
    table.add_column(" agent", min_width=min(longest + 1, 30), overflow="fold", style="bold")
    for point in points:
        table.add_column(f"{point:,.4g}", justify="right", no_wrap=True)
    table.add_column("quartiles", justify="right", no_wrap=True)
    table.add_column("times", justify="right", no_wrap=True)
    table.add_column("beats random", no_wrap=True)
    rows = [(c, comparison.quartiles(c, axis, points)) for c in comparison.contestants]
    rows.sort(key=lambda row: tuple(row[1][1, ::-1]))
    shown = rows[:MOST_SETTINGS]
    shown += [row for row in rows[MOST_SETTINGS:] if row[0] is comparison[BASELINE]]
    for contestant, values in shown:
        quartiles = f"{number(values[0, -1])} – {number(values[2, -1])}"
        said = _beside_random(contestant, comparison.verdict(contestant, axis))
        table.add_row(f" {contestant.name}", *(number(v) for v in values[1]), quartiles, *said)
    return table


def _beside_random(contestant: Contestant, verdict: Verdict) -> tuple[str, Text]:
    from rich.text import Text

    if contestant.name == BASELINE:
        return "", Text("–", style="dim")
    times = f"{verdict.ratio:.3g}×" if math.isfinite(verdict.ratio) else ""
    said = f"chance {verdict.chance:.2g}"
    return times, Text(f"yes, {said}", style="green") if verdict.beats_random else Text(f"no, {said}", style="yellow")


def _lottery(comparison: Comparison, target: float, given: bool) -> Iterator[ConsoleRenderable]:
    whose = "as asked" if given else "what the best run of random reached"
    yield heading("The lottery of hyper-parameters", f"target {number(target)}, {whose}")
    table = plain_table()
    table.add_column(" agent", no_wrap=True, style="bold")
    for column in ("settings", "reach it", "runs", "median", "quartiles"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("best setting", overflow="fold", ratio=1)
    for share in comparison.lottery(target):
        _, first, median, third, _ = share.quartiles
        table.add_row(
            f" {share.agent}", str(share.settings), f"{share.reaching:.0%}", f"{share.runs:.0%}", number(median),
            f"{number(first)} – {number(third)}", share.best.name,
        )  # fmt: skip
    yield table
    yield bullet(
        "reach it: settings whose median over seeds reaches the target; runs: of all seeds and settings", "dim"
    )


def number(value: float) -> str:
    """A value of a comparison."""
    if not math.isfinite(value):
        return "none"
    return f"{value:.3f}" if 0.01 <= abs(value) < 10 else f"{value:.4g}"


def comparison_dict(comparison: Comparison, target: float | None = None) -> dict[str, Any]:
    """The object of ``fiberloom explore compare --json``; values that no seed reached are null."""
    chosen = default_target(comparison) if target is None else target
    return {
        "version": VERSION,
        "goal": comparison.goal.to_dict(),
        "measure": measure(comparison),
        "budget": {"evaluations": comparison.evaluations, "seconds": comparison.seconds},
        "seeds": comparison.seeds,
        "agents": [_contestant(comparison, c) for c in comparison.contestants],
        "lottery": {
            "target": finite(chosen),
            "agents": [
                {
                    "agent": share.agent, "settings": share.settings, "settings_reaching": share.reaching,
                    "runs_reaching": share.runs, "quartiles": [finite(v) for v in share.quartiles],
                    "best": share.best.name,
                }
                for share in comparison.lottery(chosen)
            ],
        },
        "left_out": dict(comparison.left_out),
        "interrupted": comparison.interrupted,
    }  # fmt: skip


def _contestant(comparison: Comparison, contestant: Contestant) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": contestant.name,
        "agent": contestant.setting.agent,
        "hyper_parameters": dict(contestant.setting.hyper),
        "trials_per_second": contestant.rate,
    }
    for axis in comparison.axes:
        points = comparison.checkpoints(axis)
        verdict = comparison.verdict(contestant, axis)
        rows = comparison.quartiles(contestant, axis, points)
        made[axis] = {
            "points": points,
            **{
                name: [finite(v) for v in row]
                for name, row in zip(("first_quartile", "median", "third_quartile"), rows, strict=True)
            },
            "final": [finite(v) for v in comparison.values(contestant, axis)],
            "beats_random": verdict.beats_random,
            "chance": verdict.chance,
            "times_better_than_random": finite(verdict.ratio),
            "runs": [_run(run) for run in contestant.along(axis)],
        }
    return made


def _run(run: Run) -> Mapping[str, Any]:
    return {
        "seed": run.seed,
        "trials": run.trials,
        "evaluated": run.evaluated,
        "seconds": run.seconds,
        "stopped": run.stopped,
        "steps": [{"trial": s.number, "seconds": s.seconds, "values": list(s.values), "score": s.score} for s in run.steps],
    }  # fmt: skip


def finite(value: float) -> float | None:
    """For JSON."""
    return float(value) if math.isfinite(value) else None
