"""A network's evaluation for the terminal, and as CSV and Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from rich.console import ConsoleRenderable
from rich.table import Table
from rich.text import Text

from fiberloom.errors import FiberloomError, MissingExtraError
from fiberloom.network_evaluation.result import NetworkResult
from fiberloom.report.bars import legend, stacked_bar
from fiberloom.report.quantities import area, count, energy, engineering, ratio, share
from fiberloom.report.tables import bullet, heading, plain_table

_BAR: Final = 36
"""Characters of the longest bar."""

_MOST_LAYERS: Final = 60
"""Layers shown per case and design unless all are asked for."""


def network_report(result: NetworkResult, *, all_layers: bool = False) -> Iterator[ConsoleRenderable]:
    """Totals, comparison, breakdown, layers, and what is not in the totals."""
    content = result.content
    yield _head(content)
    yield totals_table(content)
    if len(content["designs"]) > 1:
        yield heading(
            "Against " + content["designs"][0]["name"],
            "times as much; EDP, energy × time, also as geometric mean over layers",
        )
        yield comparison_table(content)
    yield heading("Energy")
    yield from _bars(content, "energy_by_component_pj", energy)
    yield heading("Cycles by what sets them")
    yield from _bars(content, "cycles_by_bottleneck", count)
    for case in content["cases"]:
        for design in content["designs"]:
            mine = [e for e in content["layers"] if (e["case"], e["design"]) == (case["name"], design["name"])]
            yield heading(_label(case["name"], design["name"]), "layers that are one computation together")
            yield layer_table(mine, all_layers=all_layers)
    held = [t for t in content["totals"] if "kept_on_chip" in t]
    if held:
        yield heading("Kept on chip", "intermediates that never cross the outermost memory")
        yield held_table(held)
    others = [t for t in content["totals"] if t["other_operators"]["computed"]]
    if others:
        yield heading("Other operators", "read and write the outermost memory, one operation per lane and cycle")
        yield other_table(others)
    yield from _left_out(content)
    if content["notes"]:
        yield heading("Notes")
        for note in content["notes"]:
            yield bullet(note, "dim")


def _head(content: Mapping[str, Any]) -> Text:
    network = content["network"]
    macs = content["cases"][0]["macs"]
    return Text.assemble(
        (network["name"], "bold"),
        f"  {engineering(macs, 'MAC')}, {engineering(network['parameters'], '')} parameters"
        f"; every layer mapped for {content['objective']} by {content['mapper']['name']}\n",
    )


def _label(case: str, design: str) -> str:
    return design if case == "all" else f"{design}, {case}"


def totals_table(content: Mapping[str, Any]) -> Table:
    """One line per case and design."""
    table = plain_table()
    several = len(content["cases"]) > 1
    if several:
        table.add_column(" case", overflow="fold")
    table.add_column(" design" if not several else "design", overflow="fold")  # names give way to numbers
    for column in ("cycles", "time", "energy", "EDP", "util.", "area", "proved"):
        table.add_column(column, justify="right", no_wrap=True)
    for t in content["totals"]:
        seconds = t["seconds"]
        certificate = t["certificate"]
        cells = [t["case"]] if several else []
        incomplete = bool(t["left_out"]["not_mapped"] or t["left_out"]["unknown"])
        cells += [
            t["design"] + (" *" if incomplete else ""),
            count(t["cycles"]),
            engineering(seconds, "s"),
            energy(t["energy_pj"]),
            engineering(t["edp_j_s"], "J·s"),
            f"{t['utilization']:.1%}",
            area(t["area_um2"]) if t["area_um2"] else "not known",
            f"{certificate['proved']}/{certificate['layers']}",
        ]
        cells[0] = " " + cells[0]
        table.add_row(*cells)
    if any(t["left_out"]["not_mapped"] or t["left_out"]["unknown"] for t in content["totals"]):
        table.caption = Text("* not everything is included, see below", style="dim")
        table.caption_justify = "left"
    return table


def comparison_table(content: Mapping[str, Any]) -> Table:
    """Every design against the first."""
    table = plain_table()
    several = len(content["cases"]) > 1
    if several:
        table.add_column(" case", no_wrap=True)
    table.add_column(" design" if not several else "design", no_wrap=True)
    for column in ("cycles", "time", "energy", "EDP", "EDP, geomean"):
        table.add_column(column, justify="right", no_wrap=True)
    for entry in content["comparison"]:
        cells = [entry["case"]] if several else []
        cells.append(entry["design"])
        cells += [
            ratio(entry[key]) if entry[key] is not None else "–"
            for key in ("cycles_ratio", "seconds_ratio", "energy_ratio", "edp_ratio", "geomean_edp_ratio")
        ]
        cells[0] = " " + cells[0]
        table.add_row(*cells)
    return table


def _bars(content: Mapping[str, Any], field: str, shown: Any) -> Iterator[ConsoleRenderable]:
    """A stacked bar per case and design, with its own legend per design."""
    largest = max((sum(t[field].values()) for t in content["totals"]), default=0.0)
    for design in content["designs"]:
        mine = [t for t in content["totals"] if t["design"] == design["name"]]
        names = list(dict.fromkeys(name for t in mine for name in t[field]))
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True, min_width=22)
        table.add_column(justify="right", no_wrap=True, min_width=10)
        table.add_column(no_wrap=True)
        for t in mine:
            parts = [t[field].get(name, 0.0) for name in names]
            label = _label(t["case"], t["design"])
            table.add_row(" " + label, shown(sum(parts)), stacked_bar(parts, largest, _BAR))
        table.add_row("", "", legend(names))
        yield table


def layer_table(layers: Sequence[Mapping[str, Any]], *, all_layers: bool = False) -> Table:
    """One line per different layer; numbers are of one computation."""
    table = plain_table()
    table.add_column(" layer", overflow="ellipsis", max_width=26, no_wrap=True)
    table.add_column("×", justify="right", no_wrap=True)
    for column in ("MACs", "cycles", "energy", "util.", "set by", "saves", "gap"):
        table.add_column(column, justify="right" if column != "set by" else "left", no_wrap=True)
    shown = layers if all_layers else layers[:_MOST_LAYERS]
    for e in shown:
        if e["status"] != "mapped":
            table.add_row(
                " " + e["layer"], str(e["count"]), engineering(e["macs"], ""), Text("not mapped", style="red")
            )
            continue
        saved = e["saved"]
        faster = saved["speedup"] if saved is not None else None
        table.add_row(
            " " + e["layer"],
            str(e["count"]),
            engineering(e["macs"], ""),
            count(e["cycles"]),
            energy(e["energy_pj"]),
            f"{e['utilization']:.0%}",
            e["bottleneck"],
            ratio(faster) if faster is not None and abs(faster - 1) > 5e-3 else "",
            _gap(e["certificate"]),
        )
    if len(shown) < len(layers):
        table.caption = Text(f"{len(layers) - len(shown)} more; --all-layers shows them", style="dim")
        table.caption_justify = "left"
    return table


def _gap(certificate: Mapping[str, Any]) -> Text:
    if certificate["status"] == "optimal":
        return Text("proved", style="green")
    if certificate["status"] == "none":
        return Text("unproved", style="yellow")
    gap = certificate["gap"]
    return Text(f"≤ {gap:.0%}" if gap >= 0.005 else "< 0.5%", style="yellow")


def other_table(totals: Sequence[Mapping[str, Any]]) -> Table:
    """Cycles and energy of the operators that are no Einsums, by kind, and their part of the whole."""
    table = plain_table()
    table.add_column(" design", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    for column in ("computed", "cycles", "", "energy", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for t in totals:
        label = _label(t["case"], t["design"])
        for kind, part in t["other_operators"]["by_kind"].items():
            table.add_row(
                " " + label,
                kind,
                str(part["computed"]),
                count(part["cycles"]),
                Text(share(part["cycles"], t["cycles"]), style="dim"),
                energy(part["energy_pj"]),
                Text(share(part["energy_pj"], t["energy_pj"]), style="dim"),
            )
            label = ""
    return table


def held_table(totals: Sequence[Mapping[str, Any]]) -> Table:
    """Which level holds how many tensors, and how full that makes it at most."""
    table = plain_table()
    table.add_column(" design", no_wrap=True)
    table.add_column("level", no_wrap=True)
    for column in ("held", "at once", "of it", "traffic saved", "energy"):
        table.add_column(column, justify="right", no_wrap=True)
    for t in totals:
        kept = t["kept_on_chip"]
        if kept["level"] is None:
            table.add_row(" " + _label(t["case"], t["design"]), Text("no level of bounded capacity", style="dim"))
            continue
        table.add_row(
            " " + _label(t["case"], t["design"]),
            kept["level"],
            count(len(kept["tensors"])),
            engineering(kept["most_bytes"], "B"),
            share(kept["most_bytes"], kept["capacity_bytes"]),
            engineering(kept["saved_bytes"], "B"),
            energy(kept["saved_pj"]),
        )
    return table


def _left_out(content: Mapping[str, Any]) -> Iterator[ConsoleRenderable]:
    """What no total includes; the same on several designs or in several cases is said once."""
    said: dict[tuple[str, str], list[str]] = {}
    for t in content["totals"]:
        where = _label(t["case"], t["design"])
        for e in t["left_out"]["not_mapped"]:
            names = _some(e["operators"])
            text = f"{names}: {e['share_of_macs']:.1%} of the MACs; {e['reason']}" + (
                f" ({e['hint']})" if e["hint"] else ""
            )
            said.setdefault(("mapped", text), []).append(where)
        for e in t["left_out"]["unknown"]:
            text = f"{_some(e['operators'])} ({e['op']}): {e['share_of_bytes']:.1%} of the bytes that operators read and write"
            said.setdefault(("unknown", text + (f"; {e['reason']}" if e["reason"] else "")), []).append(where)
    everywhere = len(content["totals"])
    for kind, title in (("mapped", "Layers without a mapping"), ("unknown", "Operators that are not understood")):
        here = [(text, places) for (k, text), places in said.items() if k == kind]
        if here:
            yield heading(title, "no total includes them")
            for text, places in here:
                yield bullet(text if len(places) == everywhere else f"{_some(places)}: {text}", "yellow")


def _some(names: Sequence[str], most: int = 4) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def csv_text(result: NetworkResult) -> str:
    """`NetworkResult.rows` as CSV, with a head line."""
    rows = result.rows()
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def write_parquet(result: NetworkResult, path: Path) -> None:
    """`NetworkResult.rows` as a Parquet file.

    Raises:
        MissingExtraError: without pyarrow.
        FiberloomError: when the file can't be written.
    """
    try:
        pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise MissingExtraError("pyarrow", "frames", "--parquet") from None
    rows = result.rows()
    columns = {name: [_plain(row[name]) for row in rows] for name in (rows[0] if rows else ())}
    numeric = {
        name: [float(v) if isinstance(v, int) else v for v in values]
        if any(isinstance(v, float) for v in values)
        else values
        for name, values in columns.items()
    }
    try:
        parquet.write_table(pyarrow.table(numeric), str(path))
    except OSError as error:
        raise FiberloomError(
            f"can't write {path}: {error.strerror or error}", hint="give a file that can be made"
        ) from None


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float, str, bool)) or value is None else str(value)
