"""A map space as tables and as plain data: size, axes, what is valid, what levels may do, how much axes matter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import ConsoleRenderable
from rich.table import Table
from rich.text import Text

from fiberloom.mapper.axes import AxisSweep, Share, SpaceSummary
from fiberloom.report.mapping_search import size_text
from fiberloom.report.quantities import ratio
from fiberloom.report.tables import heading, plain_table

VERSION: Final = 1
"""Of the object that `map_space_dict` returns."""

WHAT: Final = {
    "tile": "factors of the loops, temporal and spatial",
    "order": "loop orders, equivalent ones counted once",
    "parallel": "X or Y, for spatial loops that may take either",
    "bypass": "which levels keep which tensors",
}
SWEPT: Final = {
    "tile": "temporal factors",
    "order": "loop orders",
    "parallel": "loops in time or space, X or Y",
    "bypass": "keeps",
}
MOST_LISTED: Final = 4
"""Factors of a variable that are listed; beyond, how many there are."""


def map_space_report(
    title: str,
    summary: SpaceSummary,
    levels: Sequence[Mapping[str, Any]],
    sweeps: Sequence[AxisSweep] = (),
    found: str = "",
) -> Iterator[ConsoleRenderable]:
    """All parts: size, shares, axes, what becomes of samples, levels; the ablation where there is one.

    Args:
        title: what the space belongs to.
        levels: of `fiberloom.mapper.axes.levels_of`.
        found: what the ablation varies: one sentence about the mapping.
    """
    yield Text(title, style="bold")
    yield _summary(summary)
    yield heading("Axes", "choices of each; they multiply to the size")
    yield _axes(summary)
    yield heading("What becomes of mappings", f"{summary.samples:,} uniform samples")
    yield _outcomes(summary)
    yield heading(
        "What the levels leave open", "factors that may occur; variables that are not named have no loop there"
    )
    yield _levels(levels)
    if sweeps:
        yield heading("How much each axis matters", found)
        yield _sweeps(sweeps)


def _summary(summary: SpaceSummary) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    exact = f"{summary.size:,}" if summary.size < 10**24 else ""
    table.add_row(" mappings", size_text(summary.size), f"{exact}  10^{_log10(summary.size):.2f}".strip())
    for name, share, remark in (
        ("canonical", summary.canonical, "the one representative of their loop nest"),
        ("valid", summary.valid, "fit fan-outs, capacities and formats"),
    ):
        table.add_row(f" {name}", _percent(share.value), f"{_interval(share)}; {remark}")
    if summary.valid.value > 0:
        about = _log10(summary.size) + math.log10(summary.valid.value)
        table.add_row(" so valid", f"about 10^{about:.1f}", "mappings")
    return table


def _axes(summary: SpaceSummary) -> Table:
    table = plain_table()
    table.add_column(" axis", no_wrap=True)
    table.add_column("choices", justify="right", no_wrap=True)
    table.add_column("without constraints", justify="right", no_wrap=True)
    table.add_column("what", style="dim")
    for axis, number in summary.by_axis.items():
        free = summary.unconstrained[axis]
        table.add_row(f" {axis}", size_text(number), size_text(free) if free != number else "the same", WHAT[axis])
    return table


def _outcomes(summary: SpaceSummary) -> Table:
    table = plain_table()
    table.add_column(" outcome")
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("95 % interval", no_wrap=True, style="dim")
    for outcome, number in summary.outcomes.items():
        share = Share.of(number, summary.samples)
        table.add_row(f" {outcome}", _percent(share.value), _interval(share))
    return table


def _levels(levels: Sequence[Mapping[str, Any]]) -> Table:
    table = plain_table()
    table.add_column(" level", overflow="fold", max_width=18, style="bold")
    table.add_column("temporal", overflow="fold", ratio=3)
    table.add_column("spatial", overflow="fold", ratio=3)
    table.add_column("orders", justify="right", no_wrap=True)
    table.add_column("keeps", overflow="fold", ratio=2)
    for level in levels:
        kept = ", ".join([*level["keeps"], *(f"{t}?" for t in level["may_keep"])]) or "nothing"
        spatial = _listed(level["spatial"])
        if math.prod(level["fan_out"]) > 1:
            spatial = f"on {level['fan_out'][0]} x {level['fan_out'][1]}: {spatial or 'none'}"
        table.add_row(
            f" {level['level']}", _listed(level["temporal"]) or "–", spatial or "–", f"{level['orders']:,}", kept
        )
    table.caption = Text(" T?: the level may keep or bypass T", style="dim")
    table.caption_justify = "left"
    return table


def _listed(choices: Mapping[str, Sequence[int]]) -> str:
    parts = []
    for variable, factors in choices.items():
        if len(factors) == 1:
            parts.append(f"{variable}={factors[0]}")
        elif len(factors) <= MOST_LISTED:
            parts.append(f"{variable}:{'|'.join(map(str, factors))}")
        else:
            parts.append(f"{variable}:{factors[0]}…{factors[-1]}({len(factors)})")
    return " ".join(parts)


def _sweeps(sweeps: Sequence[AxisSweep]) -> Table:
    table = plain_table()
    table.add_column(" axis", no_wrap=True)
    table.add_column("swept", style="dim")
    for column in ("points", "tried", "valid", "worst / best", "median / best"):
        table.add_column(column, justify="right", no_wrap=True)
    for s in sorted(sweeps, key=lambda s: -s.ratio if math.isfinite(s.ratio) else 0.0):
        tried = "all" if s.exhaustive else f"{s.tried:,}"
        cells = ("–", "–")
        if math.isfinite(s.ratio):
            cells = (ratio(s.ratio), ratio(s.median / s.best))
        share = _percent(s.valid / s.tried) if s.tried else "–"
        table.add_row(f" {s.axis}", SWEPT[s.axis], size_text(s.points), tried, share, *cells)
    return table


def map_space_dict(
    summary: SpaceSummary, levels: Sequence[Mapping[str, Any]], ablation: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The object of ``fiberloom mapspace --json`` (docs/json.md)."""
    answer: dict[str, Any] = {
        "version": VERSION,
        "size": summary.size,
        "log10_size": _log10(summary.size),
        "by_axis": summary.by_axis,
        "by_axis_without_constraints": summary.unconstrained,
        "samples": summary.samples,
        "canonical_share": _share(summary.canonical),
        "valid_share": _share(summary.valid),
        "outcomes": summary.outcomes,
        "levels": [dict(level) for level in levels],
    }
    return answer if ablation is None else answer | {"ablation": dict(ablation)}


def sweep_dict(sweep: AxisSweep) -> dict[str, Any]:
    """One axis of the ablation as plain data; None where nothing was valid."""
    return {
        "axis": sweep.axis,
        "points": sweep.points,
        "tried": sweep.tried,
        "exhaustive": sweep.exhaustive,
        "valid": sweep.valid,
        **{name: _finite(getattr(sweep, name)) for name in ("best", "median", "worst", "ratio")},
    }


def _share(share: Share) -> dict[str, float]:
    return {"value": share.value, "low": share.low, "high": share.high}


def _interval(share: Share) -> str:
    return f"{_percent(share.low)} – {_percent(share.high)}"


def _percent(value: float) -> str:
    if value and value < 0.001:
        return f"{100 * value:.1e} %"
    return f"{100 * value:.1f} %"


def _log10(number: int) -> float:
    """Of a whole number of any length."""
    shift = max(0, number.bit_length() - 60)
    return math.log10(number >> shift) + shift * math.log10(2) if number else -math.inf


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
