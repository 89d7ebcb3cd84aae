"""Timeloop's ``mapper`` section: what its search optimises."""

from __future__ import annotations

from fiberloom.input.field import Field
from fiberloom.input.timeloop_constraint_text import place_of

_OBJECTIVES = {"edp": "edp", "delay": "latency", "energy": "energy"}
"""Timeloop's metrics (NVlabs/timeloop, src/applications/mapper) and ours."""


def read_objective(mapper: Field | None, warnings: list[str]) -> str | None:
    """The objective of a search: the first of the optimisation metrics; None where none is given.

    Args:
        mapper: the section.
        warnings: settings that have no meaning here are named here; they are Timeloop's own search's.

    Raises:
        SpecError: if the section is no mapping, or the metrics are no words.
    """
    if mapper is None or mapper.value is None:
        return None
    fields = mapper.mapping(hyphens=True)
    found: list[tuple[str, Field]] = []
    for key in ("optimization_metric", "optimization_metrics"):
        if key in fields:
            found += [(name.lower(), fields[key]) for name in fields[key].names()]
    objective = None
    if found:
        name, here = found[0]
        objective = _OBJECTIVES.get(name)
        if objective is None:
            warnings.append(f"{place_of(here)}: the metric '{name}' is not known here; known: {', '.join(_OBJECTIVES)}")
        if others := [other for other, _ in found[1:]]:
            warnings.append(f"{place_of(here)}: only the first metric counts; ignored: {', '.join(others)}")
    ignored = [f.name for k, f in fields.items() if k not in ("optimization_metric", "optimization_metrics", "version")]
    if ignored:
        warnings.append(f"{place_of(mapper)}: settings of another search are ignored: {', '.join(ignored)}")
    return objective
