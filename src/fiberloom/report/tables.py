"""An evaluation as tables for the terminal, readable from 80 columns on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fiberloom.model.evaluation import ACTIONS, Counts, Evaluation, LevelAccount, MetadataCounts, TensorAccount
from fiberloom.report.bars import bar
from fiberloom.report.quantities import area, count, energy, engineering, ratio, share, significant
from fiberloom.report.savings import Saving

METADATA = ("metadata_reads", "metadata_fills", "metadata_updates")


def evaluation_report(evaluation: Evaluation, savings: Sequence[Saving] = ()) -> Iterator[ConsoleRenderable]:
    """All parts, in the order in which a reader asks: what, where, why, from where."""
    yield summary(evaluation)
    yield heading("Energy by component")
    yield EnergyBars(evaluation)
    yield heading("Words per instance of a level", "dense: without sparsity; gated: idle cycle; skipped: no cycle")
    yield level_table(evaluation.levels)
    if savings:
        yield heading("What the sparse features save", "the same mapping, without the feature")
        yield savings_table(savings)
    yield heading("Loop nest")
    yield Padding(Text(evaluation.loop_nest), (0, 0, 0, 1))
    if evaluation.warnings:
        yield heading("Warnings")
        for warning in evaluation.warnings:
            yield bullet(warning, "yellow")
    if evaluation.provenance:
        yield heading("Where energies and areas come from")
        for component, source in evaluation.provenance.items():
            yield bullet(f"{component}: {source}", "dim")


def plain_table() -> Table:
    """A table with a line under its head, two spaces between columns, no frame."""
    return Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 0, 0, 1))


def heading(title: str, remark: str = "") -> Text:
    """A line between parts."""
    text = Text(f"\n{title}", style="bold")
    if remark:
        text.append(f"  ({remark})", style="not bold dim")
    return text


def bullet(text: str, style: str) -> Table:
    """A paragraph with a hanging indent."""
    table = Table.grid(padding=(0, 1))
    table.add_row(Text(" •"), Text(text, style=style))
    return table


def summary(evaluation: Evaluation) -> ConsoleRenderable:
    """Cycles, time, energy, area, utilisation, EDP and what became of the computations."""
    compute = evaluation.compute
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    table.title = Text.assemble((evaluation.workload, "bold"), " on ", (evaluation.architecture, "bold"))
    table.title_justify = "left"
    frequency = engineering(1 / evaluation.cycle_seconds, "Hz")
    per_mac = evaluation.energy_pj / compute.algorithmic if compute.algorithmic else 0.0
    table.add_row(" cycles", count(evaluation.cycles), f"set by {evaluation.bottleneck}")
    table.add_row(" time", engineering(evaluation.cycles * evaluation.cycle_seconds, "s"), f"at {frequency}")
    table.add_row(" energy", energy(evaluation.energy_pj), f"{significant(per_mac)} pJ per algorithmic MAC")
    table.add_row(" area", area(evaluation.area_um2) if evaluation.area_um2 else "not known", "")
    table.add_row(" utilisation", f"{evaluation.utilization:.1%}", "effectual MACs per lane and cycle")
    table.add_row(" EDP", engineering(evaluation.edp * 1e-12 * evaluation.cycle_seconds, "J·s"), "energy × time")
    fates = ", ".join(
        f"{share(value, compute.algorithmic)} {name}"
        for name, value in (
            ("done", compute.actual),
            ("gated", compute.gated),
            ("skipped", compute.skipped),
            ("never sent", compute.eliminated),
        )
        if value
    )
    table.add_row(" computes", count(compute.algorithmic), fates)
    table.add_row(" rules", evaluation.rules, "")
    return table


class EnergyBars:
    """Energy of every component with its share as a bar that fills the line."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.parts = evaluation.energy_by_component_pj
        self.total = evaluation.energy_pj
        self.cycles = {level.name: level.cycles for level in evaluation.levels}
        self.cycles[evaluation.compute.name] = evaluation.compute.cycles

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widest = max((len(name) for name in self.parts), default=0)
        width = max(10, min(60, options.max_width - min(widest, 28) - 40))
        table = Table.grid(padding=(0, 1))
        table.add_column(max_width=28, overflow="ellipsis", no_wrap=True)
        for _ in range(3):
            table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True)
        largest = max(self.parts.values(), default=0.0)
        for name, value in self.parts.items():
            cycles = f"{count(self.cycles[name])} cycles" if name in self.cycles else ""
            table.add_row(
                " " + name,
                energy(value),
                share(value, self.total),
                Text(cycles, style="dim"),
                bar(value, largest, width),
            )
        yield table


def level_table(levels: Sequence[LevelAccount]) -> Table:
    """Level × tensor × action: actual, gated and skipped words per instance, and the energy of all instances."""
    table = plain_table()
    table.add_column(" level", overflow="fold", max_width=24)
    table.add_column("action", no_wrap=True)
    for column in ("actual", "gated", "skipped", "dense", "energy"):
        table.add_column(column, justify="right", no_wrap=True)
    for i, level in enumerate(levels):
        if i:
            table.add_section()
        table.add_row(Text(f" {level.name}", style="bold"), Text(_room(level), style="dim"))
        for account in level.tensors.values():
            _add_tensor(table, account)
        if level.leakage_pj:
            table.add_row("  leakage", "", "", "", "", "", energy(level.leakage_pj))
    return table


def _room(level: LevelAccount) -> str:
    instances = f"× {count(level.instances)}" if level.instances != 1 else ""
    used = f"{count(level.used_words)} words"
    if level.capacity_words:
        used = f"{share(level.used_words, level.capacity_words)} full"
    return f"{instances} {used}".strip()


def _add_tensor(table: Table, account: TensorAccount) -> None:
    label = f"  {account.tensor}"
    for action in ACTIONS:
        counts: Counts = getattr(account, action)
        dense: float = getattr(account, f"dense_{action}")
        spent = account.energy_by_action_pj.get(action.removesuffix("s"), 0.0)
        if not (counts.actual or counts.gated or counts.skipped or dense):
            continue
        table.add_row(
            label,
            action,
            *(count(value) for value in (counts.actual, counts.gated, counts.skipped)),
            Text(count(dense) if dense else "", style="dim"),
            energy(spent) if spent else "0",
        )
        label = ""
    for action in METADATA:
        metadata: MetadataCounts = getattr(account, action)
        sums = [sum(a + b for a, b in getattr(metadata, fate)) for fate in ("actual", "gated", "skipped")]
        if not any(sums):
            continue
        spent = account.energy_by_action_pj.get(action.removesuffix("s"), 0.0)
        table.add_row(
            label,
            Text(action.replace("metadata_", "meta "), style="dim"),
            *(Text(count(value), style="dim") for value in sums),
            "",
            Text(energy(spent) if spent else "0", style="dim"),
        )
        label = ""


def savings_table(savings: Sequence[Saving]) -> Table:
    """Cycles and energy without each feature, and how many times more that is."""
    table = plain_table()
    table.add_column(" without", overflow="fold", ratio=1)
    for column in ("cycles", "", "energy", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for saving in savings:
        table.add_row(" " + saving.feature + ("" if saving.fits else " *"), *_saving_cells(saving))
    if not all(saving.fits for saving in savings):
        table.caption = Text("* the tiles would not fit the memories without it", style="dim")
        table.caption_justify = "left"
    return table


def _saving_cells(saving: Saving) -> tuple[str, str, str, str]:
    if saving.cycles is None or saving.energy_pj is None:
        return "needed", "", "", ""
    return (
        count(saving.cycles),
        ratio(saving.speedup) if saving.speedup is not None else "",
        energy(saving.energy_pj),
        ratio(saving.energy_ratio) if saving.energy_ratio is not None else "",
    )
