"""The design library as a table, and one design in full."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import ConsoleRenderable
from rich.table import Table
from rich.text import Text

from fiberloom.architecture.library import DesignInfo
from fiberloom.report.tables import heading, plain_table


def designs_table(designs: Sequence[DesignInfo]) -> Table:
    """Name, title, and the formats, gating and skipping of every design, without the levels where they act."""
    table = plain_table()
    table.add_column(" name", no_wrap=True, style="bold")
    for column in ("design", "compressed", "gating", "skipping"):
        table.add_column(column, overflow="fold")
    for info in designs:
        compute = info.architecture.compute
        gating = _places_dropped(entry for treatment in info.treatments for entry in treatment.gating)
        skipping = _places_dropped(entry for treatment in info.treatments for entry in treatment.skipping)
        gating += ["compute"] if compute.gating else []
        skipping += ["compute"] if compute.skipping else []
        formats = [f"{t.role} {' / '.join(_places_dropped(t.formats))}" for t in info.treatments if t.formats]
        title = Text.assemble(info.title, (f" ({info.venue} {info.year})", "dim"))
        table.add_row(" " + info.name, title, *("\n".join(cell) or "–" for cell in (formats, gating, skipping)))
    return table


def _places_dropped(entries: Iterable[str]) -> list[str]:
    """``W ← I at spad`` without where it happens, each once."""
    return list(dict.fromkeys(entry.rpartition(" at ")[0] for entry in entries))


def design_report(info: DesignInfo, drawing: str) -> Iterator[ConsoleRenderable]:
    """Drawing of the hierarchy, what the design is about, and its parameters with their sources.

    Args:
        drawing: as `fiberloom.architecture.library.draw` returns it.
    """
    yield Text(drawing)
    yield heading("About")
    yield Text(info.summary)
    yield heading("Parameters")
    table = plain_table()
    for column in (" what", "value", "status", "source"):
        table.add_column(column, overflow="fold")
    for parameter in info.parameters:
        table.add_row(f" {parameter.what}", parameter.value, parameter.status.value, parameter.source)
    yield table


def design_dict(info: DesignInfo) -> dict[str, object]:
    """Plain data of a design for ``fiberloom designs --json``."""
    return {
        "name": info.name,
        "title": info.title,
        "paper": info.paper,
        "venue": info.venue,
        "year": info.year,
        "summary": info.summary,
        "computes": list(info.computes),
        "lanes": info.lanes,
        "tensors": [
            {
                "role": treatment.role,
                "kind": treatment.kind,
                "formats": list(treatment.formats),
                "gating": list(treatment.gating),
                "skipping": list(treatment.skipping),
            }
            for treatment in info.treatments
        ],
        "parameters": [
            {"what": p.what, "value": p.value, "status": p.status.value, "source": p.source} for p in info.parameters
        ],
    }
