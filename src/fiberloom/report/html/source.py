"""What the report takes from the result of a network: the one place that knows the names of that dictionary's fields.

Everything is optional here: a field that is missing, or not of its kind, is read as None (or nothing), and the page says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fiberloom.errors import SpecError

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Layer:
    """One operator with its answers.

    Attributes:
        answers: by design: the evaluation's dictionary, or None where there is none.
        failures: by design: why there is none.
    """

    name: str
    op: str
    kind: str
    einsum: str
    shape: Mapping[str, int]
    densities: Mapping[str, Any]
    count: int
    macs: float | None
    operations: float | None
    note: str
    answers: Mapping[str, Json]
    failures: Mapping[str, str]


@dataclass(frozen=True)
class Source:
    """A network's result, field by field.

    Attributes:
        totals: by design.
        baseline: the design that ratios refer to.
        run: how the result was made: name and text.
    """

    name: str
    source: str
    macs: float | None
    parameters: float | None
    notes: tuple[str, ...]
    designs: tuple[str, ...]
    baseline: str
    objective: str
    totals: Mapping[str, Json]
    hardware: Mapping[str, Json]
    layers: tuple[Layer, ...]
    unknown: tuple[Json, ...]
    run: tuple[tuple[str, str], ...] = field(default=())


def mapping(value: Any) -> Json:
    """`value` if it is a mapping, nothing otherwise."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> tuple[Any, ...]:
    """`value` as a tuple if it is a list, nothing otherwise."""
    return tuple(value) if isinstance(value, list | tuple) else ()


def text(value: Any) -> str:
    """`value` as text; nothing for None."""
    return "" if value is None else str(value)


def number(value: Any) -> float | None:
    """`value` if it is a number (not finite ones included), None otherwise."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def finite(value: Any) -> float | None:
    """`value` if it is a finite number, None otherwise."""
    found = number(value)
    return found if found is not None and math.isfinite(found) else None


def read(result: Json) -> Source:
    """The fields of a network's result.

    Raises:
        SpecError: if it is not the dictionary of a network's result, or has neither layers nor designs.
    """
    if not isinstance(result, Mapping) or not isinstance(result.get("layers"), list | tuple):
        raise SpecError("this is not the result of a network", hint="pass what NetworkResult.to_dict() returns")
    network = mapping(result.get("network"))
    totals = mapping(result.get("totals"))
    layers = tuple(_layer(entry) for entry in map(mapping, result["layers"]))
    designs = tuple(dict.fromkeys([*map(str, totals), *(name for layer in layers for name in layer.answers)]))
    comparison = mapping(result.get("comparison"))
    return Source(
        name=text(network.get("name")) or "Network",
        source=text(network.get("source")),
        macs=number(network.get("macs")),
        parameters=number(network.get("parameters")),
        notes=tuple(map(text, items(network.get("notes")))),
        designs=designs,
        baseline=text(comparison.get("baseline")) or (designs[0] if designs else ""),
        objective=text(result.get("objective")),
        totals={name: mapping(totals.get(name)) for name in designs},
        hardware={name: mapping(mapping(result.get("hardware")).get(name)) for name in designs},
        layers=layers,
        unknown=tuple(map(mapping, items(result.get("unknown")))),
        run=tuple(_run(result)),
    )


def _layer(entry: Json) -> Layer:
    results = mapping(entry.get("results"))
    answers = {str(design): mapping(found) for design, found in results.items()}
    return Layer(
        name=text(entry.get("name")) or "unnamed",
        op=text(entry.get("op")) or text(entry.get("kind")) or "operator",
        kind=text(entry.get("kind")) or "einsum",
        einsum=text(entry.get("einsum")),
        shape=mapping(entry.get("shape")),
        densities=mapping(entry.get("densities")),
        count=int(finite(entry.get("count")) or 1),
        macs=number(entry.get("macs")),
        operations=number(entry.get("operations")),
        note=text(entry.get("note")),
        answers={design: found for design, found in answers.items() if "cycles" in found},
        failures={
            design: text(found.get("error")) or "no answer" for design, found in answers.items() if "cycles" not in found
        },
    )


def _run(result: Json) -> Iterable[tuple[str, str]]:
    for field_name, label in (("objective", "Objective"), ("mapper", "Mapper"), ("rules", "Rules of the model")):
        if found := text(result.get(field_name)):
            yield label, found
