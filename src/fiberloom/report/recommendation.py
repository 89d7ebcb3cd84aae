"""One-shot advice as a table: the model's design beside the simplest one and the best one, evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import ConsoleRenderable
from rich.table import Table
from rich.text import Text

from fiberloom.explore.learned.advice import Advice, Choice
from fiberloom.explore.learned.designs import COUNT
from fiberloom.explore.learned.recommender import Card
from fiberloom.report.quantities import engineering
from fiberloom.report.tables import bullet, plain_table

_UNITS = {"latency": "cycles", "edp": "pJ·cycles"}


def recommendation_report(
    name: str, layers: int, cap_mm2: float, advice: Sequence[Advice], card: Card
) -> Iterator[ConsoleRenderable]:
    """The designs under each dataflow, and what they were worth.

    Args:
        advice: one per dataflow; the first is the best by the model.
    """
    unit = _UNITS[card.objective]
    what = f"{layers} different layers" if layers > 1 else "one layer"
    yield Text.assemble((name, "bold"), f": {what}, {card.objective} under {cap_mm2:g} mm2")
    yield Text("")
    yield _table(advice, unit)
    took = sum(a.one_shot_seconds for a in advice)
    all_took = sum(a.exhaustive_seconds for a in advice)
    yield bullet(
        f"The model answered in {took * 1e3:.3g} ms; evaluating all {COUNT} designs for the last column took {all_took * 1e3:.3g} ms.",
        "dim",
    )
    worse = [a.dataflow for a in advice if a.regret > a.baseline_regret * (1 + 1e-9)]
    if worse:
        yield bullet(
            f"Under {', '.join(worse)} the simplest rule, as many lanes as fit, does better than the model.", "yellow"
        )
    moved = sum(a.moved for a in advice)
    if moved:
        yield bullet(
            f"Answers over the cap, moved to the nearest design within: {moved} of {layers * len(advice)}.",
            "dim",
        )
    if layers > 1:
        counts = ", ".join(f"{a.dataflow} {a.answers}" for a in advice)
        yield bullet(f"Different answers for the layers, of which the best for the network is shown: {counts}.", "dim")


def recommendation_dict(name: str, layers: int, cap_mm2: float, advice: Sequence[Advice], card: Card) -> dict[str, Any]:
    """Plain data of the same."""
    return {
        "workload": name,
        "layers": layers,
        "area_cap_mm2": cap_mm2,
        "objective": card.objective,
        "unit": _UNITS[card.objective],
        "model": card.__dict__,
        "dataflows": [
            {
                "dataflow": a.dataflow,
                "recommended": _choice_dict(a.recommended),
                "most_lanes": _choice_dict(a.baseline),
                "best": _choice_dict(a.best),
                "foretold_cost": a.foretold,
                "regret": a.regret,
                "most_lanes_regret": a.baseline_regret,
                "answers": a.answers,
                "answers_moved_into_cap": a.moved,
                "one_shot_seconds": a.one_shot_seconds,
                "exhaustive_seconds": a.exhaustive_seconds,
            }
            for a in advice
        ],
    }


def _table(advice: Sequence[Advice], unit: str) -> Table:
    table = plain_table()
    table.add_column(" dataflow", no_wrap=True, style="bold")
    table.add_column("design", no_wrap=True)
    for column in ("lanes", "buffer", "mm2", unit, "over best", "foretold"):
        table.add_column(column, justify="right", no_wrap=True)
    for a in advice:
        foretold = "–" if a.foretold is None else engineering(a.foretold, "")
        rows = (
            ("recommended", a.recommended, a.regret, foretold),
            ("most lanes", a.baseline, a.baseline_regret, ""),
            ("best of all", a.best, 1.0, ""),
        )
        for i, (what, choice, regret, said) in enumerate(rows):
            table.add_row(
                f" {a.dataflow}" if i == 0 else "",
                what,
                str(choice.lanes),
                f"{choice.buffer_kib} KiB",
                f"{choice.area_mm2:.2f}",
                engineering(choice.cost, ""),
                f"{regret:.3f}",
                said,
                end_section=i == len(rows) - 1,
            )
    return table


def _choice_dict(choice: Choice) -> dict[str, Any]:
    return {
        "clusters": choice.clusters,
        "lanes": choice.lanes,
        "buffer_kib": choice.buffer_kib,
        "area_mm2": choice.area_mm2,
        "cost": choice.cost,
    }
