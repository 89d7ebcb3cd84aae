"""Validation as tables: published figures, and the errors over a directory of reference cases."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.console import ConsoleRenderable
from rich.table import Table
from rich.text import Text

from fiberloom.report.tables import bullet, heading, plain_table
from fiberloom.validate.comparison import Comparison
from fiberloom.validate.reference import NEEDED, CaseResult, distribution

MOST_CASES = 20
"""Disagreeing cases that are shown."""


def comparison_report(comparisons: Sequence[Comparison]) -> Iterator[ConsoleRenderable]:
    """Published figure, ours, error, allowed error; sources and notes once per experiment; the verdict last."""
    for experiment in dict.fromkeys(c.experiment for c in comparisons):
        lines = [c for c in comparisons if c.experiment == experiment]
        yield heading(experiment)
        yield _comparison_table(lines)
        for text in dict.fromkeys(f"source: {c.source}" for c in lines):
            yield bullet(text, "dim")
        for text in dict.fromkeys(c.note for c in lines if c.note):
            yield bullet(text, "dim")
    yield heading("Summary")
    yield _summary_table(comparisons)
    outside = sum(not c.passed for c in comparisons)
    verdict = (
        f"all {len(comparisons)} figures are" if not outside else f"{outside} of {len(comparisons)} figures are not"
    )
    yield Text(f"\n{verdict} within their allowed error", style="bold red" if outside else "bold green")


def _summary_table(comparisons: Sequence[Comparison]) -> Table:
    table = plain_table()
    table.add_column(" experiment")
    table.add_column("rules")
    for column in ("figures", "mean |error|", "largest", "outside"):
        table.add_column(column, justify="right", no_wrap=True)
    for experiment, rules in dict.fromkeys((c.experiment, c.rules) for c in comparisons):
        errors = [abs(c.error) for c in comparisons if (c.experiment, c.rules) == (experiment, rules)]
        outside = sum(not c.passed for c in comparisons if (c.experiment, c.rules) == (experiment, rules))
        mean = sum(errors) / len(errors)
        table.add_row(f" {experiment}", rules, str(len(errors)), _percent(mean), _percent(max(errors)), str(outside))
    return table


def _comparison_table(lines: Sequence[Comparison]) -> Table:
    table = plain_table()
    table.add_column(" point", overflow="fold")
    table.add_column("quantity", overflow="fold")
    for column in ("published", "ours", "error", "allowed"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for line in lines:
        verdict = Text("ok", style="green") if line.passed else Text("OUTSIDE", style="bold red")
        numbers = (f"{line.published:.6g}", f"{line.ours:.6g}", f"{line.error:+.2%}", f"{line.allowed:.2%}")
        table.add_row(f" {line.point}", line.quantity, *numbers, verdict)
    return table


def reference_report(results: Sequence[CaseResult]) -> Iterator[ConsoleRenderable]:
    """Distribution of errors per quantity, the worst cases, and the share that agrees."""
    yield heading(f"Errors over {len(results)} cases")
    yield _error_table(results)
    bad = sorted((r for r in results if not r.agrees), key=_badness, reverse=True)
    if bad:
        yield heading(
            f"Cases that do not agree: {len(bad)}", "worst first" if len(bad) <= MOST_CASES else f"worst {MOST_CASES}"
        )
        yield _worst_table(bad[:MOST_CASES])
    agreeing = len(results) - len(bad)
    yield Text(
        f"\n{agreeing}/{len(results)} cases agree in cycles, energy and every data count within 1 % or one unit "
        f"({agreeing / len(results):.1%}; needed {NEEDED:.0%})",
        style="bold",
    )


def _error_table(results: Sequence[CaseResult]) -> Table:
    table = plain_table()
    table.add_column(" quantity", no_wrap=True)
    for column in ("numbers", "within", "median", "90 %", "99 %", "max"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, row in distribution(results).items():
        percentiles = (_percent(row[key]) for key in ("median", "p90", "p99", "max"))
        table.add_row(f" {name}", f"{row['numbers']:,.0f}", f"{row['within']:.2%}", *percentiles)
    table.caption = Text(" within: 1 % or one unit of the last rounding", style="dim")
    table.caption_justify = "left"
    return table


def _worst_table(bad: Sequence[CaseResult]) -> Table:
    table = plain_table()
    table.add_column(" case", overflow="fold", ratio=3)
    table.add_column("where", overflow="fold", ratio=4)
    for column in ("ours", "reference", "error"):
        table.add_column(column, justify="right", no_wrap=True)
    for result in bad:
        worst = result.worst
        if result.failure is not None or worst is None:
            table.add_row(f" {result.name}", result.failure or "")
        else:
            place = f"{worst.quantity} {worst.where}".strip()
            table.add_row(f" {result.name}", place, f"{worst.ours:.6g}", f"{worst.theirs:.6g}", _percent(worst.error))
    return table


def _badness(result: CaseResult) -> float:
    worst = result.worst
    return math.inf if result.failure is not None or worst is None else worst.error


def _percent(value: float) -> str:
    return "∞" if math.isinf(value) else f"{value:.2%}"
