"""What representations do to tensors, for the terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray
from rich.console import ConsoleRenderable
from rich.table import Table
from rich.text import Text

from fiberloom.report.quantities import engineering, significant
from fiberloom.report.tables import plain_table
from fiberloom.representation import Representation, measure


def measured(values: NDArray[Any], representation: Representation, axis: int) -> dict[str, Any]:
    """Error, dropped non-zeros and density of one tensor under one representation, by name."""
    return {"representation": str(representation), **measure(values, representation, axis).to_dict()}


def representation_dict(
    method: str, tensor: str, shape: Sequence[int], axis: int, rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The object of ``--json`` (docs/json.md); of a single representation, its fields stand beside ``results`` too."""
    found: dict[str, Any] = {"version": 1, "method": method, "tensor": tensor, "shape": list(shape), "axis": axis}
    if len(rows) == 1:
        found |= rows[0]
    return {**found, "results": [dict(row) for row in rows]}


def representation_report(found: Mapping[str, Any]) -> Iterator[ConsoleRenderable]:
    """One line per representation."""
    shape = " × ".join(map(str, found["shape"]))
    yield Text.assemble((found["tensor"], "bold"), f"  {shape}, blocks along axis {found['axis']}\n")
    yield _table(found["results"])


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = plain_table()
    table.add_column(" representation", overflow="fold")
    for column in ("relative error", "non-zeros dropped", "density"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            " " + row["representation"],
            significant(row["relative_error"])
            if row["relative_error"] >= 1e-6
            else engineering(row["relative_error"], ""),
            f"{row['dropped_nonzeros']:.1%}",
            f"{row['density']:.1%}",
        )
    return table
