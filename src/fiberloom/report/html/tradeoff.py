"""The report of representations on designs as one HTML file: quality against cost, bits, energy, layers.

>>> from fiberloom.report.html.tradeoff import write_tradeoff
>>> write_tradeoff(found.to_dict(), "front.html")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from fiberloom.errors import SpecError
from fiberloom.report.html import generator, write_page
from fiberloom.report.html.page import document
from fiberloom.report.quantities import energy, engineering, ratio

SCRIPTS: Final = (
    "format.js",
    "element.js",
    "scales.js",
    "frame.js",
    "sortable.js",
    "labels.js",
    "front.js",
    "tradeoff.js",
)


def write_tradeoff(result: Mapping[str, Any], path: str | Path) -> None:
    """Write the report; a file that is there is replaced at once, or kept as it is when anything fails.

    Args:
        result: what `fiberloom.codesign.tradeoff.Tradeoff.to_dict` returns.

    Raises:
        SpecError: if `result` is something else, or the file can't be written.
    """
    write_page(render_tradeoff(result), path)


def render_tradeoff(result: Mapping[str, Any]) -> str:
    """The report as text.

    Raises:
        SpecError: if `result` is no trade-off with points.
    """
    if not isinstance(result.get("points"), Sequence) or not result["points"] or "quality" not in result:
        raise SpecError("this is no result of 'fiberloom compress' or 'codesign'", hint="give Tradeoff.to_dict()")
    made = content(result)
    name = str(result["model"]["name"])
    return document("tradeoff.html", SCRIPTS, name, made, _plain_table(result), generator())


def content(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the scripts show: the result, a headline, facts, and which point is shown first."""
    points = result["points"]
    grouped: dict[str, list[str]] = {}
    for name, reason in result["left_out"].items():
        grouped.setdefault(reason, []).append(name)
    front = [i for i, point in enumerate(points) if point["on_front"]]
    best = min(front, key=lambda i: points[i]["edp_j_s"], default=0)
    return {
        **result,
        "headline": headline(result),
        "facts": _facts(result),
        "best": 0 if len(result["designs"]) <= 1 else best,
        "left_out": list(grouped.items()),
    }


def headline(result: Mapping[str, Any]) -> str:
    """The answer in a sentence or two."""
    points, name = result["points"], result["model"]["name"]
    costed = [point for point in points if point.get("edp_j_s") is not None]
    if not costed:
        refused = sum(1 for point in points if point["refused"])
        if refused:
            return f"None of {len(points)} representations of {name} runs on the designs that were asked for."
        least = min(points, key=lambda point: point["output_error"])
        return (
            f"Of {_number(points)} of {name}, {least['scheme']} has the least output error, {_short(least['output_error'])}, "
            f"at {least['bits_per_weight']:.3g} bits per weight."
        )
    front = sorted((point for point in costed if point["on_front"]), key=lambda point: point["edp_j_s"])
    if len(costed) == 1:
        (only,) = costed
        return (
            f"{name} as {only['scheme']} takes {engineering(only['seconds'], 's')} and {energy(only['energy_pj'])} on "
            f"{only['design']}{_gain(only)}; {_quality(result, only)}, {only['bits_per_weight']:.3g} bits per weight."
        )
    cheapest, lower = front[0], result["quality"]["lower_is_better"]
    best = min(front, key=lambda point: point["quality"] if lower else -point["quality"])
    said = (
        f"{len(front)} of {len(costed)} points are worth considering. The cheapest is {_named(cheapest)}{_gain(cheapest)}, with "
        f"{_quality(result, cheapest)}"
    )
    return said + (f"; the best is {_named(best)}, with {_quality(result, best)}." if len(front) > 1 else ".")


def _number(points: Sequence[Any]) -> str:
    return "1 representation" if len(points) == 1 else f"{len(points)} representations"


def _named(point: Mapping[str, Any]) -> str:
    return f"{point['scheme']} on {point['design']}"


def _quality(result: Mapping[str, Any], point: Mapping[str, Any]) -> str:
    return f"{result['quality']['name']} {_short(point['quality'])}"


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _gain(point: Mapping[str, Any]) -> str:
    versus = point.get("versus_dense")
    if versus is None:
        return ""
    edp = versus["edp"]
    return (
        f", {ratio(edp)} less EDP than dense"
        if edp >= 1.005
        else f", {ratio(1 / edp)} the EDP of dense"
        if edp < 0.995
        else ""
    )


def _facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    model, quality = result["model"], result["quality"]
    facts = [
        ("Weights", f"{engineering(model['weights'], '')} in {model['layers']} layer{'s' * (model['layers'] != 1)}"),
        ("Products", engineering(model["macs"], "MAC")),
        ("Quality", f"{quality['name']}, {'lower' if quality['lower_is_better'] else 'higher'} is better"),
    ]
    if quality["original"] is not None and quality["name"] != "output error":
        facts.append(("Of the model as it is", _short(quality["original"])))
    facts += [
        (f"Dense on {design['name']}", engineering(design["dense"]["edp_j_s"], "J·s"))
        for design in result["designs"]
        if design["dense"]
    ]
    return facts


def _plain_table(result: Mapping[str, Any]) -> str:
    """The points for readers without JavaScript."""
    rows = "".join(
        f'<tr><th scope="row">{escape(point["scheme"])}</th><td>{escape(str(point["design"] or "–"))}</td>'
        f"<td>{_short(point['quality'])}</td><td>{point['bits_per_weight']:.3g}</td>"
        f"<td>{engineering(point['edp_j_s'], 'J·s') if point.get('edp_j_s') is not None else '–'}</td></tr>"
        for point in result["points"]
    )
    titles = ("Representation", "Design", result["quality"]["name"], "Bits per weight", "EDP")
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
