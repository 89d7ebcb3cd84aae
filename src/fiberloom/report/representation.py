"""Representations on designs for the terminal, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.console import ConsoleRenderable
from rich.table import Table
from rich.text import Text

from fiberloom.report.quantities import count, energy, engineering, ratio, significant
from fiberloom.report.tables import bullet, heading, plain_table

if TYPE_CHECKING:
    from fiberloom.codesign.tradeoff import Tradeoff

_MOST_LAYERS: Final = 40
_FLAT: Final = (
    "relative_error", "output_error", "dropped_nonzeros", "density", "original_density", "bits_per_weight", "throughput",
    "cycles", "seconds", "energy_pj", "edp_j_s", "area_um2", "refused",
)  # fmt: skip
"""Fields of the first result that stand at the top of ``compress --json`` as well."""


def compress_dict(method: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """The object of ``fiberloom compress --json`` (docs/json.md): what was asked for first stands at the top."""
    points = content["points"]
    first = points[0]
    made = {"version": content["version"], "method": method, "model": content["model"]}
    made |= {"activations": content["activations"], "design": first["design"]}
    made |= {"representation": first["representation"], "quality": first["quality"]}
    made |= {name: first.get(name) for name in _FLAT}
    made["results"] = points
    return made | {key: content[key] for key in ("designs", "left_out", "notes")} | {"quality_of": content["quality"]}


def tradeoff_report(content: Mapping[str, Any]) -> Iterator[ConsoleRenderable]:
    """Points, the layers of the first, what is left out, notes."""
    yield _head(content)
    yield weights_table(content)
    if content["designs"]:
        yield heading("Cost", "of all products of the network; menu: throughput of what the design can run")
        yield points_table(content)
        if len(content["designs"]) > 1:
            yield Text("")
            yield front_line(content)
    refused = [point for point in content["points"] if point["refused"]]
    if refused:
        yield heading("Not on these designs")
        said: dict[tuple[str, str, str], list[str]] = {}
        for point in refused:
            said.setdefault((point["design"], point["refused"], point["hint"] or ""), []).append(point["scheme"])
        for (design, problem, hint), schemes in said.items():
            yield bullet(f"{', '.join(schemes)} on {design}: {problem}" + (f" ({hint})" if hint else ""), "yellow")
    first = content["points"][0]
    if len(first["layers"]) > 1:
        yield heading(f"Layers under {first['scheme']}", f"on {first['design']}" if first["design"] else "")
        yield layers_table(first["layers"])
    left_out = content["left_out"]
    if left_out:
        yield heading("Weights that stay as they are")
        for reason in dict.fromkeys(left_out.values()):
            names = [name for name, why in left_out.items() if why == reason]
            yield bullet(
                f"{', '.join(names[:6])}{f' and {len(names) - 6} more' if len(names) > 6 else ''}: {reason}", "dim"
            )
    if content["notes"]:
        yield heading("Notes")
        for note in content["notes"]:
            yield bullet(note, "dim")


def _head(content: Mapping[str, Any]) -> Text:
    model, points = content["model"], content["points"]
    if model["layers"] == 1:
        shape = " × ".join(map(str, points[0]["layers"][0]["shape"]))
        size = f"a matrix of {shape} weights"
    else:
        size = f"{model['layers']} layers, {engineering(model['weights'], '')} weights"
    where = ", ".join(design["name"] for design in content["designs"])
    return Text.assemble((model["name"], "bold"), f"  {size}" + (f"; on {where}" if where else "; no hardware") + "\n")


def weights_table(content: Mapping[str, Any]) -> Table:
    """What is left of the weights: one line per representation."""
    quality = content["quality"]
    table = plain_table()
    table.add_column(" representation", overflow="fold", min_width=16)
    named = quality["name"] != "output error"
    columns = [quality["name"]] if named else []
    for column in (*columns, "weight error", "output error", "dropped", "density", "bits/weight", "ideal"):
        table.add_column(column, justify="right", no_wrap=True)
    if named and quality["original"] is not None:
        table.add_row(" as it is", quality_text(quality["original"]), "0", "0", "0.0%", style="italic")
    for point in {point["scheme"]: point for point in content["points"]}.values():
        cells = [" " + point["scheme"]]
        cells += [quality_text(point["quality"])] if named else []
        cells += [_error(point["relative_error"]), _error(point["output_error"]), f"{point['dropped_nonzeros']:.1%}"]
        cells += [f"{point['density']:.1%}", f"{point['bits_per_weight']:.2f}", ratio(point["throughput"]["ideal"])]
        table.add_row(*cells)
    return table


def points_table(content: Mapping[str, Any]) -> Table:
    """What it costs: one line per representation and design; beaten points are dim."""
    points, designs = content["points"], content["designs"]
    several = len(designs) > 1
    table = plain_table()
    table.add_column(" representation", overflow="fold", min_width=16)
    if several:
        table.add_column("design", overflow="fold", min_width=10)
    for column in ("menu", "cycles", "energy", "EDP", "EDP vs dense"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for design in designs:
        own = [point for point in points if point["design"] == design["name"]]
        if design["dense"] is not None and all(point["scheme"] != "dense" for point in own):
            dense = design["dense"]
            cells = [" dense", *([design["name"]] if several else []), "1.00×", count(dense["cycles"])]
            cells += [energy(dense["energy_pj"]), engineering(dense["edp_j_s"], "J·s"), "1"]
            table.add_row(*cells, "", style="italic")
        for point in own:
            cells = [" " + point["scheme"], *([design["name"]] if several else [])]
            if point["refused"]:
                table.add_row(*cells, *["–"] * 5, "can't run", style="dim")
                continue
            cells += [ratio(point["throughput"]["menu"]), count(point["cycles"]), energy(point["energy_pj"])]
            cells += [engineering(point["edp_j_s"], "J·s"), _against(point)]
            front = "front" if point["on_front"] and len(points) > 1 else ""
            table.add_row(*cells, front, style="dim" if point["dominated_by"] is not None else None)
    return table


def _against(point: Mapping[str, Any]) -> str:
    """How many times less the energy–delay product is than that of the dense model on the same design."""
    versus = point.get("versus_dense")
    if versus is None:
        return "–"
    less = versus["edp"]
    if abs(less - 1) < 5e-3:
        return "same"
    return f"{ratio(less)} less" if less > 1 else f"{ratio(1 / less)} more"


def _error(value: float) -> str:
    return "0" if value == 0 else significant(value) if value >= 1e-4 else f"{value:.1e}"


def quality_text(value: float | None) -> str:
    """Of a quality function: four significant digits."""
    return "–" if value is None else f"{value:.4g}"


def layers_table(layers: Sequence[Mapping[str, Any]]) -> Table:
    """One line per represented tensor; costs are of all computations with it."""
    table = plain_table()
    table.add_column(" layer", overflow="ellipsis", max_width=28, no_wrap=True)
    costed = any("cycles" in layer for layer in layers)
    apart = any(abs(layer["relative_error"] - layer["output_error"]) > 5e-3 * layer["output_error"] for layer in layers)
    errors = ("weight error", "output error") if apart else ("error",)
    for column in ("matrix", *errors, "dropped", "bits/weight"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("cycles", "energy", "EDP") if costed else ():
        table.add_column(column, justify="right", no_wrap=True)
    for layer in layers[:_MOST_LAYERS]:
        cells = [" " + layer["name"], "×".join(map(str, layer["shape"]))]
        cells += [_error(layer["relative_error"])] if apart else []
        cells += [_error(layer["output_error"]), f"{layer['dropped_nonzeros']:.1%}", f"{layer['bits_per_weight']:.2f}"]
        if "cycles" in layer:
            cells += [count(layer["cycles"]), energy(layer["energy_pj"]), engineering(layer["edp_j_s"], "J·s")]
        table.add_row(*cells)
    if len(layers) > _MOST_LAYERS:
        table.caption = Text(f"{len(layers) - _MOST_LAYERS} more; --json and --html have them all", style="dim")
        table.caption_justify = "left"
    return table


def front_line(content: Mapping[str, Any]) -> Text:
    """The points worth considering, cheapest first."""
    front = sorted((p for p in content["points"] if p["on_front"]), key=lambda p: p["edp_j_s"])
    text = ", ".join(f"{p['scheme']} on {p['design']}" for p in front)
    return Text.assemble(("Pareto front", "bold"), f" of {content['quality']['name']} against EDP: {text or 'empty'}")


def csv_text(found: Tradeoff) -> str:
    """`Tradeoff.rows` as CSV, with a head line."""
    rows = found.rows()
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
