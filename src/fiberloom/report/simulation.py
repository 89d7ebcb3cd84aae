"""Simulations as a table, and as plain data: averages over samples."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import ConsoleRenderable
from rich.table import Table
from rich.text import Text

from fiberloom.report.quantities import count, share
from fiberloom.report.tables import heading, level_table
from fiberloom.simulate import Simulation


def simulation_summary(runs: Sequence[Simulation]) -> dict[str, Any]:
    """`Simulation.to_dict` with every number averaged over `runs`, and the standard error of the cycles.

    Args:
        runs: simulations of one mapping, at least one.
    """
    averaged: dict[str, Any] = _mean([run.to_dict() for run in runs])
    averaged["cycles_standard_error"] = _standard_error([run.cycles for run in runs])
    return averaged


def simulation_report(runs: Sequence[Simulation]) -> Iterator[ConsoleRenderable]:
    """Cycles, computations and the words moved, averaged over `runs`; counts per level are those of the first run."""
    average, first = simulation_summary(runs), runs[0]
    error = average["cycles_standard_error"]
    spread = f" ± {count(error)}" if error else ""
    compute = average["compute"]
    table = Table.grid(padding=(0, 2))
    table.title = Text.assemble(
        (first.workload, "bold"), " on ", (first.architecture, "bold"), f", {len(runs)} sample(s)"
    )
    table.title_justify = "left"
    table.add_row(" cycles", count(average["cycles"]) + spread, "perfectly balanced lanes, no bandwidth limits")
    table.add_row(" lockstep", count(average["lockstep_cycles"]), "cycles when all lanes wait for each other")
    fates = ", ".join(
        f"{share(compute[fate], compute['algorithmic'])} {fate}"
        for fate in ("actual", "gated", "skipped", "eliminated")
        if compute[fate]
    )
    table.add_row(" computes", count(compute["algorithmic"]), fates)
    yield table
    yield heading("Words per instance of a level", "first sample" if len(runs) > 1 else "")
    yield level_table(first.levels)


def _mean(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, dict):
        return {key: _mean([value[key] for value in values]) for key in first}
    if isinstance(first, list):
        return [_mean(column) for column in zip(*values, strict=True)]
    if isinstance(first, (int, float)) and not isinstance(first, bool):
        mean = statistics.fmean(values)
        return int(mean) if mean.is_integer() else mean
    return first


def _standard_error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
