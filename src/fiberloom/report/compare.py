"""Designs side by side on one workload: cycles, energy by kind of component, and what their features save."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderResult
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from fiberloom.architecture.levels import Architecture, ComponentClass
from fiberloom.model.evaluation import Evaluation
from fiberloom.report.bars import legend, stacked_bar
from fiberloom.report.quantities import count, energy, ratio
from fiberloom.report.savings import ALL_FEATURES, Saving
from fiberloom.report.tables import bullet, heading, plain_table

KINDS: Final = {
    ComponentClass.DRAM: "DRAM",
    ComponentClass.SRAM: "on-chip buffers",
    ComponentClass.REGFILE: "register files",
    ComponentClass.MAC: "arithmetic",
    ComponentClass.DUMMY: "wires",
}
NETWORKS: Final = "networks"


@dataclass(frozen=True)
class Row:
    """One design of a comparison.

    Attributes:
        plain: the same hardware without its sparse features, under a mapping that suits it; None where there is none.
        savings: what each of its features saves (see `feature_savings`).
        note: how the design runs the workload.
    """

    design: str
    architecture: Architecture
    evaluation: Evaluation
    plain: Evaluation | None = None
    savings: tuple[Saving, ...] = ()
    note: str = ""

    def energy_by_kind_pj(self) -> dict[str, float]:
        """Energy in pJ by kind of component, in the order of `KINDS`."""
        kinds = {level.name: KINDS[level.component] for level in self.architecture.levels}
        kinds[self.architecture.compute.name] = KINDS[self.architecture.compute.component]
        parts = dict.fromkeys([*KINDS.values(), NETWORKS], 0.0)
        for name, value in self.evaluation.energy_by_component_pj.items():
            parts[kinds.get(name, NETWORKS)] += value
        return parts


def comparison_report(title: str, rows: Sequence[Row]) -> Iterator[ConsoleRenderable]:
    """Table, energy picture and savings of `rows`, all on the workload that `title` names."""
    yield Text(title, style="bold")
    yield Rule(characters="━", style="dim")
    yield comparison_table(rows)
    notes: dict[str, list[str]] = {}
    for row in rows:
        notes.setdefault(row.note, []).append(row.design)
    for note, designs in notes.items():
        if note:
            yield Text(f" {', '.join(designs)}: {note}", style="dim")
    yield heading("Energy by kind of component")
    yield EnergyPicture(rows)
    if any(row.savings for row in rows):
        yield heading("What each sparse feature saves", "the same mapping without it, as a multiple")
        yield features_table(rows)
    warnings = dict.fromkeys(f"{row.design}: {warning}" for row in rows for warning in row.evaluation.warnings)
    if warnings:
        yield heading("Warnings")
        for warning in warnings:
            yield bullet(warning, "yellow")
    yield Text("")


def comparison_table(rows: Sequence[Row]) -> Table:
    """Cycles, energy and utilisation, and speed-up and energy ratio over the same design without its features."""
    table = plain_table()
    table.add_column(" design", overflow="ellipsis", no_wrap=True, min_width=14, style="bold")
    for column in ("cycles", "faster", "energy", "saves", "pJ/MAC", "used"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("bottleneck", overflow="fold")
    table.caption = Text(
        " faster, saves: than the same hardware without its sparse features; used: effectual MACs per lane and cycle",
        style="dim",
    )
    table.caption_justify = "left"
    for row in rows:
        result, plain = row.evaluation, row.plain if row.savings else None
        algorithmic = result.compute.algorithmic
        table.add_row(
            " " + row.design,
            count(result.cycles),
            ratio(plain.cycles / result.cycles) if plain and result.cycles else "–",
            energy(result.energy_pj),
            ratio(plain.energy_pj / result.energy_pj) if plain and result.energy_pj else "–",
            f"{result.energy_pj / algorithmic:.3g}" if algorithmic else "",
            f"{result.utilization:.0%}",
            result.bottleneck,
        )
    return table


class EnergyPicture:
    """One stacked bar per design, on one scale; bars that outgrow it end in ``»``."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        parts = [row.energy_by_kind_pj() for row in self.rows]
        shown = [kind for kind in (*KINDS.values(), NETWORKS) if any(p[kind] > 0 for p in parts)]
        totals = [row.evaluation.energy_pj for row in self.rows]
        # A single outlier must not flatten the others: bars are cut at a few times the median.
        largest = min(max(totals), 3 * statistics.median_high(totals)) if totals else 0.0
        name_width = min(24, max((len(row.design) for row in self.rows), default=0))
        width = max(10, options.max_width - name_width - 15)
        table = Table.grid(padding=(0, 1))
        table.add_column(max_width=name_width + 1, overflow="ellipsis", no_wrap=True, style="bold")
        table.add_column(no_wrap=True)
        for row, kinds in zip(self.rows, parts, strict=True):
            picture = stacked_bar([kinds[kind] for kind in shown], largest, width)
            if row.evaluation.energy_pj > largest:
                picture.append("»", style="bold")
            picture.append(f" {energy(row.evaluation.energy_pj)}", style="dim")
            table.add_row(" " + row.design, picture)
        yield table
        yield Padding(legend(shown), (0, 0, 0, 1))


def features_table(rows: Sequence[Row]) -> Table:
    """Design, feature, and how many times more cycles and energy it takes without it."""
    table = plain_table()
    table.add_column(" design", overflow="ellipsis", no_wrap=True, min_width=14, style="bold")
    table.add_column("feature", overflow="fold", ratio=1)
    table.add_column("cycles", justify="right", no_wrap=True)
    table.add_column("energy", justify="right", no_wrap=True)
    unfit = False
    for row in rows:
        name = row.design
        for saving in row.savings:
            if saving.feature == ALL_FEATURES:
                continue
            unfit = unfit or not saving.fits
            table.add_row(
                " " + name,
                saving.feature + ("" if saving.fits else " *"),
                ratio(saving.speedup) if saving.speedup is not None else "needed",
                ratio(saving.energy_ratio) if saving.energy_ratio is not None else "",
            )
            name = ""
    if unfit:
        table.caption = Text("* the tiles would not fit the memories without it", style="dim")
        table.caption_justify = "left"
    return table
