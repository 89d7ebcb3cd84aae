"""Mappers side by side as tables and as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import ConsoleRenderable
from rich.table import Table
from rich.text import Text

from fiberloom.mapper.comparison import FRACTIONS, Contestant, MapperComparison, runs_along
from fiberloom.report.tables import bullet, heading, plain_table

VERSION: Final = 1
"""Of the object that `comparison_dict` returns."""

AXES: Final = {"evaluations": "evaluations", "seconds": "seconds"}
"""Axes of best-so-far curves, and their unit."""


def axes_of(comparison: MapperComparison) -> list[str]:
    """The axes that have a budget."""
    return [axis for axis in AXES if getattr(comparison, axis) is not None]


def measure(comparison: MapperComparison) -> str:
    """What the numbers of a comparison are, in words."""
    over = "the proved optimum" if comparison.yardstick.proved else "the best mapping known"
    return f"best {comparison.objective} so far, as a multiple of {over}"


def mapper_comparison_report(comparison: MapperComparison) -> Iterator[ConsoleRenderable]:
    """Per budget: medians at fractions of it, quartiles at its end; what each mapper spends; the yardstick."""
    for axis in axes_of(comparison):
        budget = comparison.budget(axis)
        yield heading(
            f"Median of {comparison.seeds} seeds" if comparison.seeds > 1 else "One seed",
            f"{measure(comparison)}, after a share of {budget:,.6g} {AXES[axis]}",
        )
        yield _medians(comparison, axis)
    yield heading("What the mappers spend", "preparation is not counted against the budget")
    yield _spending(comparison)
    yield Text("")
    yield Text(f" {yardstick_sentence(comparison)}", style="bold")
    for name, reason in comparison.left_out.items():
        yield bullet(f"{name} is left out: {reason}", "yellow")


def yardstick_sentence(comparison: MapperComparison) -> str:
    """What everything is divided by."""
    stick = comparison.yardstick
    spent = f" by the exact mapper in {stick.seconds:.2f} s" if stick.seconds is not None else ""
    if stick.proved:
        return f"optimum {stick.value:.6g}, proved{spent}"
    bound = f"; nothing is below {stick.lower_bound:.6g}" if stick.lower_bound else ""
    return f"best known {stick.value:.6g}, not proved to be the optimum: {stick.note or 'no proof'}{bound}"


def _medians(comparison: MapperComparison, axis: str) -> Table:
    points = [fraction * comparison.budget(axis) for fraction in FRACTIONS]
    table = plain_table()
    table.add_column(" mapper", no_wrap=True)
    for fraction in FRACTIONS:
        table.add_column(f"{fraction:.0%}".replace("%", " %"), justify="right", no_wrap=True)
    table.add_column("quartiles", justify="right", no_wrap=True)
    rows = [(c, comparison.quartiles(c, axis, points)) for c in comparison.contestants]
    for contestant, values in sorted(rows, key=lambda row: (row[1][1, -1], row[1][1, -2])):
        quartiles = f"{_multiple(values[0, -1])} – {_multiple(values[2, -1])}"
        table.add_row(f" {contestant.name}", *(_multiple(v) for v in values[1]), quartiles)
    return table


def _spending(comparison: MapperComparison) -> Table:
    table = plain_table()
    table.add_column(" mapper", no_wrap=True)
    for column in ("invalid", "mappings/s", "preparation", "ended by"):
        table.add_column(column, justify="right", no_wrap=True)
    for contestant in comparison.contestants:
        endings = ", ".join(dict.fromkeys(r.stopped.partition(":")[0] for r in contestant.runs))
        prepared = f"{contestant.prepare_seconds:.2f} s" if contestant.prepare_seconds >= 0.005 else "–"
        rate = f"{contestant.rate:,.0f}"
        table.add_row(f" {contestant.name}", f"{contestant.invalid_share:.1%}", rate, prepared, endings)
    return table


def _multiple(value: float) -> str:
    if not math.isfinite(value):
        return "none"
    return f"{value:.3f}" if value < 10 else f"{value:,.1f}" if value < 1000 else f"{value:.2g}"


def mappers_table(found: Sequence[tuple[str, str, Mapping[str, Any]]]) -> Table:
    """Name, one line and hyper-parameters of each mapper."""
    table = plain_table()
    table.add_column(" mapper", no_wrap=True, style="bold")
    table.add_column("what it does", ratio=3, overflow="fold")
    table.add_column("hyper-parameters (--set name=value)", ratio=3, overflow="fold")
    for name, summary, hyper in found:
        values = ", ".join(f"{k}={v}" for k, v in hyper.items())
        table.add_row(f" {name}", summary, Text(values, style="dim"))
    return table


def comparison_dict(comparison: MapperComparison) -> dict[str, Any]:
    """Plain data for ``summary.json`` and ``--json`` (docs/json.md); values that no seed reached are None."""
    stick = comparison.yardstick
    return {
        "version": VERSION,
        "objective": comparison.objective,
        "budget": {"evaluations": comparison.evaluations, "seconds": comparison.seconds},
        "seeds": comparison.seeds,
        "optimum": {
            "value": _finite(stick.value),
            "lower_bound": stick.lower_bound,
            "proved": stick.proved,
            "seconds": stick.seconds,
            "note": stick.note,
        },
        "fractions": list(FRACTIONS),
        "mappers": [_contestant(comparison, c) for c in comparison.contestants],
        "left_out": dict(comparison.left_out),
    }


def _contestant(comparison: MapperComparison, contestant: Contestant) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": contestant.name,
        "invalid_share": contestant.invalid_share,
        "mappings_per_second": contestant.rate,
        "prepare_seconds": contestant.prepare_seconds,
    }
    for axis in axes_of(comparison):
        values = comparison.quartiles(contestant, axis, [f * comparison.budget(axis) for f in FRACTIONS])
        facts[axis] = {
            name: [_finite(v) for v in row]
            for name, row in zip(("first_quartile", "median", "third_quartile"), values, strict=True)
        }
    return facts


def curve_rows(comparison: MapperComparison) -> Iterator[Mapping[str, Any]]:
    """Every improvement of every run, and its end: budget, mapper, seed, evaluations, seconds, value, ratio."""
    for axis in axes_of(comparison):
        for contestant in comparison.contestants:
            for seed, result in enumerate(runs_along(contestant, axis)):
                curve = result.curve
                points = list(zip(curve.evaluations, curve.seconds, curve.value, strict=True))
                if points:
                    points.append((result.evaluations, result.seconds, points[-1][2]))
                for evaluations, seconds, value in points:
                    yield {
                        "budget": axis,
                        "mapper": contestant.name,
                        "seed": seed,
                        "evaluations": int(evaluations),
                        "seconds": float(seconds),
                        "value": float(value),
                        "ratio": float(value) / comparison.yardstick.value,
                    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
