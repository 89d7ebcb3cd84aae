"""The answer in a sentence or two, and what the totals leave out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fiberloom.report.quantities import energy, engineering, ratio

_FEW = 4


def headline(
    network: str, designs: Sequence[dict[str, Any]], best: int, geomean: Sequence[Sequence[float | None]]
) -> str:
    """What the network costs on the best design, how that compares, and what it is spent on."""
    if not designs:
        return f"{network} was not evaluated on any design."
    design = designs[best]
    if not _known(design["cycles"]) or not _known(design["energy_pj"]):
        return f"{network} has no total on {design['name']}: a layer has no finite cycles or energy there."
    cost = f"{network} takes {_time(design)} and {energy(design['energy_pj'])} on {design['name']}"
    spent = _spent(design)
    if len(designs) == 1:
        return f"{cost}.{spent}"
    best_of = f"{cost}, the lowest energy–delay product of {len(designs)} designs"
    if best != 0:
        return f"{best_of}{_gain(geomean[0][best], designs[0]['name'])}.{spent}"
    others = [(other["edp"], other["name"]) for i, other in enumerate(designs) if i != best and _known(other["edp"])]
    if not others or not design["edp"]:
        return f"{best_of}.{spent}"
    edp, name = min(others)
    return f"{best_of}; the next, {name}, has {ratio(edp / design['edp'])} as much.{spent}"


def _gain(gain: float | None, base: str) -> str:
    """How much better than the baseline, layer by layer."""
    if gain is None or not _known(gain):
        return ""
    if abs(gain - 1) < 0.005:
        return f"; layer by layer it equals {base} (geometric mean)"
    if gain < 1:
        return f", although {base} is {ratio(1 / gain)} better layer by layer (geometric mean)"
    return f": {ratio(gain)} better than {base} (geometric mean over layers)"


def _time(design: dict[str, Any]) -> str:
    if _known(design["seconds"]):
        return engineering(design["seconds"], "s")
    return f"{engineering(design['cycles'], '').strip()} cycles"


def _spent(design: dict[str, Any]) -> str:
    """Where most energy goes and what sets most cycles."""
    parts = design["components"]
    if not parts:
        return ""
    most = max(parts, key=lambda part: part["energy_pj"])
    slow = max(parts, key=lambda part: part["bound_cycles"])
    said = []
    if most["energy_pj"]:
        whole = math.fsum(part["energy_pj"] for part in parts)
        said.append(f"{most['name']} takes {most['energy_pj'] / whole:.0%} of the energy")
    if design["bound_cycles"] and slow["bound_cycles"]:
        who = "" if said and most is slow else f"{slow['name']} "
        said.append(f"{who}sets {slow['bound_cycles'] / design['bound_cycles']:.0%} of the cycles")
    return f" {' and '.join(said)}." if said else ""


def remarks(
    omitted: Sequence[dict[str, Any]], designs: Sequence[dict[str, Any]], failures: Sequence[dict[str, Any]]
) -> list[str]:
    """What a reader must know before any number: operators and layers that no total includes."""
    said = []
    if omitted:
        said.append(omitted_sentence(omitted))
    for i, design in enumerate(designs):
        missing = len({f["layer"] for f in failures if f["design"] == i})
        if missing:
            layers, them = ("1 layer has", "it") if missing == 1 else (f"{missing} layers have", "them")
            said.append(
                f"{layers} no mapping on {design['name']}: its totals leave {them} out, and can't be compared as they are."
            )
    return said


def omitted_sentence(omitted: Sequence[dict[str, Any]]) -> str:
    """Names of operators that are not understood, with their number."""
    names = list(dict.fromkeys(entry["op"] or entry["name"] for entry in omitted))
    listed = ", ".join(names[:_FEW]) + (f" and {len(names) - _FEW} more" if len(names) > _FEW else "")
    operators = math.fsum(entry["count"] for entry in omitted)
    verb = "operator is" if operators == 1 else "operators are"
    return f"{operators:.0f} {verb} not understood and in no total: {listed}."


def _known(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
