"""Designs for the page: a mark per evaluated design, with what it takes, its values, and its hierarchy drawn where it is worth it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fiberloom.architecture.library.drawing import drawn_parts
from fiberloom.errors import FiberloomError
from fiberloom.explore.trial import Evaluated, Status
from fiberloom.report.exploration_account import Measure, design_name, design_number, over
from fiberloom.report.exploration_references import Reference, standing
from fiberloom.report.html.components import KIND_OF_CLASS

if TYPE_CHECKING:
    from fiberloom.architecture.levels import Architecture
    from fiberloom.explore import Exploration, Trial
    from fiberloom.explore.space import Point

MOST_MARKS: Final = 10_000
"""Designs of a page, about 250 bytes each; those of the front and named ones are always among them."""
MOST_DRAWN: Final = 60
"""Designs of the front whose hierarchies a page holds; named ones are drawn besides."""


def marks(
    found: Exploration, references: Sequence[Reference], columns: Sequence[Measure]
) -> tuple[list[dict[str, Any]], int]:
    """A mark per design, the front first, then named ones, then the others as they were tried; and how many are left out."""
    first: dict[Point, tuple[int, Trial]] = {}
    for number, trial in enumerate(found.trials, 1):
        if trial.evaluated.status is Status.EVALUATED:
            first.setdefault(trial.point, (number, trial))
    best = [trial.point for trial in found.front]
    named = {r.point: r for r in references if r.point is not None}
    order = {point: i for i, point in enumerate(best)}
    rest = [point for point in first if point not in named and point not in order]
    room = max(0, MOST_MARKS - len(best) - len(references))
    kept = rest if len(rest) <= room else [rest[i] for i in np.linspace(0, len(rest) - 1, room).astype(int)]
    drawn = set(_evenly(best, MOST_DRAWN)) | named.keys()
    listed = []
    for point in [*best, *kept]:
        if point in named:
            continue
        number, trial = first[point]
        listed.append(_mark(found, trial, columns, number, design_name(found, trial), point in drawn))
    for reference in references:
        tried = first.get(reference.point) if reference.point is not None else None
        entry = _mark(found, reference.trial, columns, tried[0] if tried else None, reference.name, True)
        place, other = standing(found.front, reference.trial)
        entry |= {"source": reference.source, "standing": place}
        entry["by"] = None if other is None or place == "equal" else design_name(found, other)
        if reference.architecture is not None:
            entry["parts"] = parts(reference.architecture)
        listed.append(entry)
    for entry in listed:
        if tuple(entry["place"]) in order:
            entry["kind"] = "front"
    listed.sort(key=lambda entry: order.get(tuple(entry.pop("place")), len(best) + ("source" not in entry)))
    return listed, len(rest) - len(kept)


def _mark(
    found: Exploration, trial: Trial, columns: Sequence[Measure], number: int | None, name: str, drawn: bool
) -> dict[str, Any]:
    space, metrics = found.problem.space, trial.evaluated.metrics
    active = space.active(trial.point) if trial.point else ()
    return {
        "place": trial.point,
        "name": name,
        "number": design_number(found, trial) if trial.point else None,
        "kind": "within" if trial.feasible else "over",
        "values": [measure.of(metrics) for measure in columns],
        "indices": [i if on else -1 for i, on, _ in zip(trial.point, active, space.names, strict=False)] or None,
        "trial": number,
        "reason": trial.evaluated.reason,
        "broken": list(over(found.goal, metrics)),
        "workloads": workloads(trial.evaluated),
        "parts": _drawn(found, trial.point) if drawn and trial.point else None,
    }


def workloads(evaluated: Evaluated) -> list[dict[str, Any]]:
    """Energy (J), latency (s) and certificates by workload, of problems that say them."""
    stated = evaluated.detail.get("workloads")
    if not isinstance(stated, Mapping):
        return []
    return [{"name": name, **run} for name, run in stated.items() if isinstance(run, Mapping)]


def _drawn(found: Exploration, point: Point) -> list[dict[str, Any]] | None:
    try:
        architecture = found.problem.architecture(point)
        return parts(architecture) if architecture is not None else None
    except FiberloomError:  # a stored space whose files have gone; everything else of the design is known
        return None


def parts(architecture: Architecture) -> list[dict[str, Any]]:
    """The hierarchy, outermost first."""
    return [
        {
            "name": part.name, "kind": KIND_OF_CLASS[part.component.value], "count": part.count,
            "size": part.size, "details": list(part.details), "fan_out": list(part.fan_out),
        }
        for part in drawn_parts(architecture)
    ]  # fmt: skip


def _evenly(points: Sequence[Point], most: int) -> list[Point]:
    if len(points) <= most:
        return list(points)
    return [points[i] for i in np.linspace(0, len(points) - 1, most).astype(int)]
