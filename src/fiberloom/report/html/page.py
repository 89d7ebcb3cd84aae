"""The file: templates, style, scripts and data put together, with every text from outside escaped for where it goes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any, Final

from fiberloom.report.quantities import energy, engineering

SCRIPTS: Final = (
    "format.js",
    "element.js",
    "scales.js",
    "frame.js",
    "summary.js",
    "strips.js",
    "table.js",
    "details.js",
    "roofline.js",
    "levels.js",
    "coverage.js",
    "main.js",
)
"""In the order in which they need each other."""


def page(content: Mapping[str, Any], generator: str) -> str:
    """The report as one HTML document.

    Args:
        content: what `fiberloom.report.html.content.content` makes.
        generator: what made it, for the foot of the page.
    """
    return document("report.html", SCRIPTS, str(content["network"]["name"]), content, _plain_totals(content), generator)


def document(
    body: str, scripts: Sequence[str], name: str, content: Mapping[str, Any], totals: str, generator: str
) -> str:
    """A page with style, scripts and content.

    Args:
        body, scripts: names of assets: what the page shows, and what fills it.
        name: of what is reported on.
        content: with a ``headline``; the scripts' data.
        totals: HTML for readers without JavaScript.
        generator: what made it.
    """
    parts = {
        "title": escape(f"{name} – fiberloom report"),
        "name": escape(name),
        "headline": escape(str(content["headline"])),
        "generator": escape(generator),
        "totals": totals,
        "style": _asset("report.css"),
        "content": script_json(content),
        "script": '"use strict";\n(() => {\n' + "\n".join(_asset(script) for script in scripts) + "\n})();",
    }
    return _filled("page.html", parts | {"body": _filled(body, parts)})


def _filled(template: str, parts: Mapping[str, str]) -> str:
    """A template with every ``{{name}}`` replaced; text of parts is not looked at again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _asset(template))


def script_json(content: Mapping[str, Any]) -> str:
    """JSON that can stand in a script element: no ``<``, ``>`` or ``&``, so that no text in it ends the element."""
    written = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in ("<", ">", "&", "\u2028", "\u2029"):
        written = written.replace(character, f"\\u{ord(character):04x}")
    return written


def _asset(name: str) -> str:
    return (files("fiberloom.report.html") / "assets" / name).read_text(encoding="utf-8").strip()


def _plain_totals(content: Mapping[str, Any]) -> str:
    """The totals for readers without JavaScript."""
    rows = "".join(
        f'<tr><th scope="row">{escape(_named(case, design))}</th><td>{_quantity(design["cycles"], "")}</td>'
        f"<td>{_quantity(design['seconds'], 's')}</td><td>{_energy(design['energy_pj'])}</td></tr>"
        for case in content["cases"]
        for design in case["designs"]
    )
    head = "".join(f'<th scope="col">{title}</th>' for title in ("Design", "Cycles", "Time", "Energy"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _named(case: Mapping[str, Any], design: Mapping[str, Any]) -> str:
    return f"{design['name']} ({case['name']})" if case["name"] not in ("", "all") else str(design["name"])


def _quantity(value: Any, unit: str) -> str:
    return engineering(float(value), unit).strip() if isinstance(value, int | float) else escape(str(value or "–"))


def _energy(value: Any) -> str:
    return energy(float(value)) if isinstance(value, int | float) else escape(str(value or "–"))
