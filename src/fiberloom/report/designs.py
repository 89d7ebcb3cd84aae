"""The design library as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table


def designs_table(designs: Sequence[Any]) -> Table:
    """Name, title and the formats, gating and skipping of every design.

    Args:
        designs: `DesignInfo` objects of `fiberloom.architecture.library`.
    """
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    table.add_column(" name", no_wrap=True, style="bold")
    for column in ("design", "formats", "gating", "skipping"):
        table.add_column(column, overflow="fold")
    for info in designs:
        cells = (_cell(getattr(info, field)) for field in ("formats", "gating", "skipping"))
        table.add_row(" " + info.name, info.title, *cells)
    return table


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value or "–"
    return "; ".join(str(part) for part in value) or "–"
