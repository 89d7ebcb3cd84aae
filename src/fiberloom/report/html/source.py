"""What the report takes from a network's result: the one place that knows how that dictionary is laid out.

Everything is optional here: a field that is missing, or not of its kind, is read as None (or nothing), and the page says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fiberloom.errors import SpecError

Json = Mapping[str, Any]

EINSUM: Final = "einsum"
UNKNOWN: Final = "unknown"
MAPPED: Final = "mapped"


@dataclass(frozen=True)
class Layer:
    """Equal operators of a network, with the answer of every design.

    Attributes:
        operators: names of all of them.
        einsum, shape, tensors: of an Einsum; empty for others.
        count: how often they are computed in all.
        answers: by design: the account of **one** computation.
        failures: by design: why there is none.
    """

    name: str
    operators: tuple[str, ...]
    op: str
    kind: str
    einsum: str
    shape: Json
    tensors: Json
    count: int
    macs: float | None
    operations: float | None
    note: str
    answers: Mapping[str, Json]
    failures: Mapping[str, str]


@dataclass(frozen=True)
class Case:
    """The network under one setting (batch, densities).

    Attributes:
        totals: by design.
        unknown: operators that no total includes.
    """

    name: str
    settings: Json
    macs: float | None
    totals: Mapping[str, Json]
    layers: tuple[Layer, ...]
    unknown: tuple[Json, ...]


@dataclass(frozen=True)
class Source:
    """A network's result, field by field.

    Attributes:
        designs: names, in order; the first is what the others are compared with.
        hardware: by design: peaks, capacities, bandwidths, sources.
        run: how the result was made: name and text.
    """

    name: str
    source: str
    parameters: float | None
    notes: tuple[str, ...]
    designs: tuple[str, ...]
    hardware: Mapping[str, Json]
    cases: tuple[Case, ...]
    run: tuple[tuple[str, str], ...]
    version: str


def read(result: Json) -> Source:
    """The fields of a network's result.

    Raises:
        SpecError: if it is not the dictionary of a network's result.
    """
    if not isinstance(result, Mapping) or not all(
        isinstance(result.get(n), list | tuple) for n in ("layers", "totals")
    ):
        raise SpecError("this is not the result of a network", hint="pass what NetworkResult.to_dict() returns")
    network = mapping(result.get("network"))
    layers, operators, totals = (entries(result.get(name)) for name in ("layers", "operators", "totals"))
    hardware = {text(entry.get("name")): entry for entry in entries(result.get("designs"))}
    designs = tuple(dict.fromkeys([*hardware, *(text(e.get("design")) for e in (*totals, *layers))]))
    stated = {text(entry.get("name")): entry for entry in entries(result.get("cases"))}
    names = dict.fromkeys([*stated, *(text(e.get("case")) for e in (*totals, *layers))])
    return Source(
        name=text(network.get("name")) or "Network",
        source=text(network.get("source")),
        parameters=number(network.get("parameters")),
        notes=tuple(dict.fromkeys(map(text, (*items(network.get("notes")), *items(result.get("notes")))))),
        designs=designs,
        hardware={name: hardware.get(name, {}) for name in designs},
        cases=tuple(_case(name, stated.get(name, {}), layers, operators, totals) for name in names),
        run=tuple(_run(result)),
        version=text(result.get("fiberloom")),
    )


def _case(
    name: str, stated: Json, layers: tuple[Json, ...], operators: tuple[Json, ...], totals: tuple[Json, ...]
) -> Case:
    own = {text(entry.get("design")): entry for entry in totals if text(entry.get("case")) == name}
    mine = [e for e in (*layers, *operators) if text(e.get("case")) == name and text(e.get("kind")) != UNKNOWN]
    left_out = next((mapping(entry.get("left_out")) for entry in own.values()), {})
    settings = {key: value for key, value in stated.items() if key not in ("name", "macs", "operators")}
    return Case(
        name=name,
        settings=settings,
        macs=number(stated.get("macs")),
        totals=own,
        layers=tuple(_aligned(mine)),
        unknown=entries(left_out.get("unknown")),
    )


def _aligned(found: Sequence[Json]) -> Iterator[Layer]:
    """One layer per set of operators that every design treats alike.

    What is held on chip can split equal operators into several entries on one design and not on another.
    """
    names = [tuple(map(text, items(entry.get("operators")))) or (text(entry.get("layer")),) for entry in found]
    treated: dict[str, list[int]] = {}
    for place, operators in enumerate(names):
        for operator in operators:
            treated.setdefault(operator, []).append(place)
    groups: dict[tuple[int, ...], list[str]] = {}
    for operator, listed in treated.items():
        groups.setdefault(tuple(listed), []).append(operator)
    for places, group in groups.items():
        operators = names[places[0]]
        whole = finite(found[places[0]].get("count")) or len(operators)
        counts = [finite(count) or 0.0 for count in items(found[places[0]].get("counts"))]
        if len(counts) != len(operators) or sum(counts) != whole:
            counts = [whole / len(operators)] * len(operators)
        own = dict(zip(operators, counts, strict=True))
        yield _layer([found[place] for place in places], tuple(group), round(sum(own[name] for name in group)))


def _layer(group: Sequence[Json], operators: tuple[str, ...], count: int) -> Layer:
    """The entries of all designs for one layer."""
    entry = group[0]
    answers = {text(e.get("design")): e for e in group if text(e.get("status")) in (MAPPED, "")}
    failures = {text(e.get("design")): _failure(e) for e in group if text(e.get("status")) not in (MAPPED, "")}
    kind = text(entry.get("kind")) or EINSUM
    return Layer(
        name=operators[0] or "unnamed",
        operators=operators,
        op=text(entry.get("op")) or kind,
        kind=kind,
        einsum=text(entry.get("einsum")),
        shape=mapping(entry.get("shape")),
        tensors=mapping(entry.get("tensors")),
        count=count,
        macs=number(entry.get("macs")),
        operations=number(entry.get("operations")),
        note=text(entry.get("note")),
        answers=answers,
        failures=failures,
    )


def _failure(entry: Json) -> str:
    reason, hint = text(entry.get("reason")) or "no mapping was found", text(entry.get("hint"))
    return f"{reason} ({hint})" if hint else reason


def _run(result: Json) -> Iterator[tuple[str, str]]:
    mapper = mapping(result.get("mapper"))
    if objective := text(result.get("objective")):
        yield "Every mapping minimises", {"edp": "energy × cycles (EDP)"}.get(objective.lower(), objective)
    if name := text(mapper.get("name")):
        yield "Mapper", name
    if seconds := finite(mapper.get("seconds_per_layer")):
        yield "Most time per layer", f"{seconds:g} s"
    if evaluations := finite(mapper.get("evaluations")):
        yield "Mappings judged per layer", f"{evaluations:,.0f}"
    if mapper.get("seed") is not None:
        yield "Seed", text(mapper.get("seed"))
    if widths := text(result.get("widths")):
        meaning = {"fit": "as in the network, no wider than the design's words", "network": "as in the network"}
        yield "Widths of values", meaning.get(widths, {"design": "as the design's words"}.get(widths, widths))


def mapping(value: Any) -> Json:
    """`value` if it is a mapping, nothing otherwise."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> tuple[Any, ...]:
    """`value` as a tuple if it is a list, nothing otherwise."""
    return tuple(value) if isinstance(value, list | tuple) else ()


def entries(value: Any) -> tuple[Json, ...]:
    """The mappings of a list."""
    return tuple(entry for entry in items(value) if isinstance(entry, Mapping))


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
