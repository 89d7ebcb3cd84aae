"""What the page shows, computed from a network's result: all sums and ratios are made here, the page only draws.

Identical answers and texts are stored once, and numbers keep seven digits, so that large networks make small files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fiberloom.report.html import source, totals
from fiberloom.report.html.answers import Answer, answer_dict, read_answer
from fiberloom.report.html.components import Component, components_of, compute_place
from fiberloom.report.html.headline import headline, omitted_sentence, remarks
from fiberloom.report.html.source import EINSUM, Case, Json, Layer, Source, finite, text
from fiberloom.report.html.totals import Use
from fiberloom.report.quantities import engineering

DIGITS: Final = 7


class Stored:
    """Values that are stored once and named by their number."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[str, int] = {}

    def __call__(self, value: Any) -> int:
        key = json.dumps(value)
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(value)
        return self._numbers[key]


def content(result: Json) -> dict[str, Any]:
    """The page's data, ready for JSON.

    Args:
        result: what `NetworkResult.to_dict` returns.

    Raises:
        SpecError: if it is something else.
    """
    found = source.read(result)
    texts, answers = Stored(), Stored()
    cases = [_case(found, case, answers, texts) for case in found.cases]
    made = {
        "network": {"name": found.name, "facts": _facts(found), "notes": list(found.notes)},
        "headline": cases[0]["headline"] if cases else f"{found.name} was not evaluated.",
        "cases": cases,
        "run": [list(pair) for pair in found.run],
        "version": found.version,
        "answers": answers.values,
        "texts": texts.values,
    }
    return dict(rounded(made))


def _case(found: Source, case: Case, answers: Stored, texts: Stored) -> dict[str, Any]:
    designs = [
        name for name in found.designs if name in case.totals or any(name in layer.answers for layer in case.layers)
    ]
    components = {
        name: components_of(
            (layer.answers[name] for layer in case.layers if name in layer.answers), found.hardware[name]
        )
        for name in designs
    }
    read = [_answers(layer, designs, components, found.hardware) for layer in case.layers]
    uses = {
        name: [Use(i, layer.count, read[i][name]) for i, layer in enumerate(case.layers) if name in read[i]]
        for name in designs
    }
    failures = [
        {"layer": i, "design": designs.index(name), "why": why}
        for i, layer in enumerate(case.layers)
        for name, why in layer.failures.items()
        if name in designs
    ]
    described = [_design(found, case, name, components[name], uses[name]) for name in designs]
    for place, design in enumerate(described):
        design["certificates"]["unmapped"] = sum(1 for failure in failures if failure["design"] == place)
    einsums = {name: [use for use in uses[name] if case.layers[use.layer].kind == EINSUM] for name in designs}
    geomean = [[totals.geometric_mean_ratio(einsums[a], einsums[b]) for b in designs] for a in designs]
    best, omitted = _best(described), [_omitted(entry) for entry in case.unknown]
    return {
        "name": case.name,
        "settings": [[key, text(value)] for key, value in case.settings.items() if value is not None],
        "macs": case.macs,
        "headline": headline(found.name, described, best, geomean),
        "remarks": remarks(omitted, described, failures),
        "best": best,
        "geomean": geomean,
        "designs": described,
        "layers": [_layer(layer, read[i], designs, answers, texts) for i, layer in enumerate(case.layers)],
        "omitted": omitted,
        "omitted_sentence": omitted_sentence(omitted) if omitted else "",
        "kinds": _kinds(case, designs, read),
        "failures": failures,
    }


def _answers(
    layer: Layer, designs: Sequence[str], components: Mapping[str, Sequence[Component]], hardware: Mapping[str, Json]
) -> dict[str, Answer]:
    return {
        name: read_answer(layer.answers[name], components[name], finite(hardware[name].get("cycle_seconds")))
        for name in designs
        if name in layer.answers
    }


def _design(
    found: Source, case: Case, name: str, components: Sequence[Component], uses: Sequence[Use]
) -> dict[str, Any]:
    stated, hardware = source.mapping(case.totals.get(name)), found.hardware[name]
    bound, energy = totals.bound_cycles(uses, components), totals.energies(uses, components)
    levels = totals.level_totals(uses, components, hardware)
    provenance = source.mapping(hardware.get("provenance"))
    cycles, joules, seconds = (_total(stated, uses, field) for field in ("cycles", "energy_pj", "seconds"))
    time = cycles if seconds is None else seconds
    return {
        "name": name,
        "title": text(hardware.get("title")),
        "paper": text(hardware.get("paper")),
        "technology": text(hardware.get("technology")),
        "cycles": cycles,
        "seconds": seconds,
        "energy_pj": joules,
        "edp": None if time is None or joules is None else time * joules * 1e-12,
        "utilization": _first(source.number(stated.get("utilization")), totals.utilization(uses)),
        "area_um2": _first(source.number(stated.get("area_um2")), source.number(hardware.get("area_um2"))),
        "bound_cycles": math.fsum(bound),
        "components": [
            {
                "name": c.name,
                "kind": c.kind,
                "variant": c.variant,
                "energy_pj": energy[i],
                "bound_cycles": bound[i],
                "source": text(provenance.get(c.name)),
            }
            for i, c in enumerate(components)
        ],
        "compute": compute_place(components),
        "levels": levels,
        "sparse": totals.sparse_totals(levels, totals.compute_totals(uses)),
        "saved": totals.saved_totals(uses, components),
        "kept": _kept(source.mapping(stated.get("kept_on_chip"))),
        "certificates": totals.certificates(uses),
        "roof": totals.roof(uses, hardware),
        "notes": totals.notes_of(uses, [text(note) for note in source.items(hardware.get("notes"))]),
        "sources": [text(line) for line in source.items(hardware.get("sources"))],
    }


def _kept(stated: Json) -> dict[str, Any] | None:
    """Intermediates that stay on chip, where that was asked for."""
    if not stated:
        return None
    tensors = [
        {
            "names": ", ".join(map(text, source.items(entry.get("names")))),
            "bytes": source.number(entry.get("bytes")),
            "from": text(entry.get("from")),
            "to": text(entry.get("to")),
        }
        for entry in source.entries(stated.get("tensors"))
    ]
    room = {key: source.number(stated.get(key)) for key in ("capacity_bytes", "most_bytes")}
    return {"level": text(stated.get("level")), **room, "tensors": tensors}


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _total(stated: Json, uses: Sequence[Use], field: str) -> float | None:
    """The result's own total; the sum over layers where it states none."""
    value = source.number(stated.get(field))
    if value is not None:
        return value
    parts = [getattr(use.answer, field) for use in uses]
    return (
        math.fsum(part * use.count for part, use in zip(parts, uses, strict=True))
        if parts and None not in parts
        else None
    )


def _best(designs: Sequence[dict[str, Any]]) -> int:
    """The least energy–delay product among the designs that leave out fewest layers."""

    def rank(place: int) -> tuple[int, bool, float]:
        edp = designs[place]["edp"]
        known = edp is not None and math.isfinite(edp)
        return designs[place]["certificates"]["unmapped"], not known, edp if known else 0.0

    return min(range(len(designs)), key=rank, default=0)


def _layer(
    layer: Layer, read: Mapping[str, Answer], designs: Sequence[str], answers: Stored, texts: Stored
) -> dict[str, Any]:
    return {
        "name": layer.name,
        "others": list(layer.operators[1:]),
        "op": layer.op,
        "kind": layer.kind,
        "einsum": layer.einsum,
        "shape": "  ".join(f"{variable}={bound}" for variable, bound in layer.shape.items()),
        "tensors": [tensor_text(name, source.mapping(facts)) for name, facts in layer.tensors.items()],
        "count": layer.count,
        "macs": layer.macs,
        "operations": layer.operations,
        "note": layer.note,
        "answers": [answers(rounded(answer_dict(read[name], texts))) if name in read else None for name in designs],
        "failures": {str(designs.index(name)): why for name, why in layer.failures.items() if name in designs},
    }


def tensor_text(name: str, facts: Json) -> str:
    """``W = conv1.weight: 64×3×7×7, int8, 30 % non-zero (2:4)``."""
    own = text(facts.get("name"))
    parts = [
        "×".join(map(text, source.items(facts.get("shape")))),
        text(facts.get("number_format")),
        density_text(facts),
    ]
    return f"{name}{f' = {own}' if own and own != name else ''}: " + ", ".join(part for part in parts if part)


def density_text(facts: Json) -> str:
    """A density as a phrase: ``dense``, ``30 % non-zero (uniform)``."""
    density, pattern = source.number(facts.get("density")), text(facts.get("pattern"))
    if density is None:
        return pattern
    if density == 1:
        return "dense"
    share = f"{density * 100:.3g}\u202f% non-zero" if math.isfinite(density) else "density is not a number"
    return f"{share} ({pattern})" if pattern and pattern != "dense" else share


def _omitted(entry: Json) -> dict[str, Any]:
    names = [text(name) for name in source.items(entry.get("operators"))] or [text(entry.get("name"))]
    return {
        "name": ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else ""),
        "op": text(entry.get("op")),
        "count": len(names),
        "share": source.number(entry.get("share_of_bytes")),
        "why": text(entry.get("reason") or entry.get("note")),
    }


def _kinds(case: Case, designs: Sequence[str], read: Sequence[Mapping[str, Answer]]) -> list[dict[str, Any]]:
    """Operators by kind, with cycles and energy by design."""
    made: dict[str, dict[str, Any]] = {}
    for layer, found in zip(case.layers, read, strict=True):
        entry = made.setdefault(
            layer.kind,
            {
                "kind": layer.kind,
                "operators": 0,
                "work": 0.0,
                "cycles": [0.0] * len(designs),
                "energy": [0.0] * len(designs),
            },
        )
        entry["operators"] += layer.count
        entry["work"] += (finite(layer.macs if layer.kind == EINSUM else layer.operations) or 0.0) * layer.count
        for d, name in enumerate(designs):
            if name in found:
                entry["cycles"][d] += (finite(found[name].cycles) or 0.0) * layer.count
                entry["energy"][d] += (finite(found[name].energy_pj) or 0.0) * layer.count
    return list(made.values())


def _facts(found: Source) -> list[list[str]]:
    facts = [["From", found.source]] if found.source else []
    first = found.cases[0] if found.cases else None
    if first is not None and first.macs is not None:
        facts.append(["Multiply-accumulates", engineering(first.macs, "").strip()])
    if found.parameters is not None:
        facts.append(["Parameters", engineering(found.parameters, "").strip()])
    if first is not None:
        einsums = [layer for layer in first.layers if layer.kind == EINSUM]
        facts.append(["Einsums", f"{sum(layer.count for layer in einsums):,}, {len(einsums):,} different"])
    return facts


def rounded(value: Any) -> Any:
    """Floats to seven digits, whole ones as integers; what JSON can't hold as ``"nan"``, ``"inf"``, ``"-inf"``."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        short = float(f"{value:.{DIGITS}g}")
        return int(short) if short.is_integer() and abs(short) < 2**53 else short
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(entry) for entry in value]
    return value
