"""What the page shows, computed from a network's result: all sums and ratios are made here, the page only draws.

Identical answers and texts are stored once, and numbers keep seven digits, so that large networks make small files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Final

from fiberloom.report.html import source, totals
from fiberloom.report.html.answers import Answer, answer_dict, read_answer
from fiberloom.report.html.components import Component, components_of
from fiberloom.report.html.headline import headline, omitted_sentence, remarks
from fiberloom.report.html.source import Json, Layer, Source, finite, mapping, text
from fiberloom.report.html.totals import Use
from fiberloom.report.quantities import count, engineering

DIGITS: Final = 7

EINSUM: Final = "einsum"
UNKNOWN: Final = "unknown"

COUNTED: Final = {
    "einsum": "mapped to the design; cycles, energy and traffic of the model",
    "unknown": "not understood; in no total",
}


class Stored:
    """Values that are stored once and named by their number."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[str, int] = {}

    def __call__(self, value: Any) -> int:
        key = json.dumps(value, sort_keys=True)
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
    components = {name: _components(found, name) for name in found.designs}
    read = [
        {name: read_answer(evaluation, components[name]) for name, evaluation in layer.answers.items() if name in components}
        for layer in found.layers
    ]
    uses = {
        name: [Use(i, layer.count, read[i][name]) for i, layer in enumerate(found.layers) if name in read[i]]
        for name in found.designs
    }
    failures = _failures(found)
    designs = [_design(found, name, components[name], uses[name], failures, d) for d, name in enumerate(found.designs)]
    roofs = [design["roof"] for design in designs]
    geomean = [[totals.geometric_mean_ratio(uses[a], uses[b]) for b in found.designs] for a in found.designs]
    best, baseline = _best(designs), _baseline(found)
    omitted = [_omitted(entry) for entry in found.unknown]
    made = {
        "network": {"name": found.name, "facts": _facts(found), "notes": list(found.notes)},
        "headline": headline(found.name, designs, best, baseline, geomean),
        "remarks": remarks(omitted, designs, failures),
        "best": best,
        "baseline": baseline,
        "geomean": geomean,
        "designs": designs,
        "layers": [_layer(layer, read[i], found.designs, roofs, answers, texts) for i, layer in enumerate(found.layers)],
        "omitted": omitted,
        "omitted_sentence": omitted_sentence(omitted) if omitted else "",
        "kinds": _kinds(found),
        "failures": failures,
        "run": [list(pair) for pair in found.run],
    }
    made["answers"], made["texts"] = answers.values, texts.values
    return made


def _components(found: Source, name: str) -> tuple[Component, ...]:
    """Of the layer with most of them: other operators may have an answer without levels."""
    candidates = [components_of(layer.answers[name], found.hardware[name]) for layer in found.layers if name in layer.answers]
    return max(candidates, key=len, default=())


def _design(
    found: Source, name: str, components: Sequence[Component], uses: Sequence[Use], failures: Sequence[Json], place: int
) -> dict[str, Any]:
    stated, hardware = found.totals[name], found.hardware[name]
    bound, energy = totals.bound_cycles(uses, components), totals.energies(uses, components)
    levels = totals.level_totals(uses, components, hardware)
    provenance = next((use.answer.provenance for use in uses if use.answer.provenance), {})
    cycles, joules, seconds = (_total(stated, uses, field) for field in ("cycles", "energy_pj", "seconds"))
    time = cycles if seconds is None else seconds
    return {
        "name": name,
        "title": text(hardware.get("title")),
        "cycles": cycles,
        "seconds": seconds,
        "energy_pj": joules,
        "edp": None if time is None or joules is None else time * joules * 1e-12,
        "utilization": _stated(stated, "utilization", totals.utilization(uses)),
        "area_um2": _stated(stated, "area_um2", None),
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
        "compute": totals.compute_component(components),
        "levels": levels,
        "sparse": totals.sparse_totals(levels, totals.compute_totals(uses)),
        "certificates": totals.certificates(uses, sum(1 for f in failures if f["design"] == place)),
        "roof": totals.roof(uses, components, hardware),
        "warnings": totals.warnings_of(uses, [text(note) for note in source.items(hardware.get("notes"))]),
    }


def _stated(stated: Json, name: str, otherwise: float | None) -> float | None:
    value = source.number(stated.get(name))
    return otherwise if value is None else value


def _total(stated: Json, uses: Sequence[Use], field: str) -> float | None:
    """The result's own total; the sum over layers where it states none."""
    value = source.number(stated.get(field))
    if value is not None:
        return value
    parts = [getattr(use.answer, field) for use in uses]
    return math.fsum(part * use.count for part, use in zip(parts, uses, strict=True)) if parts and None not in parts else None


def _best(designs: Sequence[dict[str, Any]]) -> int:
    """The least energy–delay product among the designs that leave out fewest layers."""
    return min(
        range(len(designs)),
        key=lambda d: (designs[d]["certificates"]["unmapped"], *_rank(designs[d]["edp"])),
        default=0,
    )


def _rank(value: float | None) -> tuple[bool, float]:
    known = value is not None and math.isfinite(value)
    return not known, value if known and value is not None else 0.0


def _baseline(found: Source) -> int:
    return found.designs.index(found.baseline) if found.baseline in found.designs else 0


def _layer(
    layer: Layer, read: dict[str, Answer], designs: Sequence[str], roofs: Sequence[Json], answers: Stored, texts: Stored
) -> dict[str, Any]:
    numbers: list[int | None] = []
    for name, roof in zip(designs, roofs, strict=True):
        if name not in read:
            numbers.append(None)
            continue
        made = answer_dict(read[name], texts)
        if made["intensity"] is not None:
            made["intensity"] /= roof["word_bytes"]
        numbers.append(answers(rounded(made)))
    return {
        "name": layer.name,
        "op": layer.op,
        "kind": layer.kind,
        "einsum": layer.einsum,
        "shape": "  ".join(f"{variable}={bound}" for variable, bound in layer.shape.items()),
        "tensors": [{"name": name, "text": density_text(density)} for name, density in layer.densities.items()],
        "count": layer.count,
        "macs": layer.macs,
        "note": layer.note,
        "answers": numbers,
        "failures": {str(designs.index(name)): why for name, why in layer.failures.items() if name in designs},
    }


def density_text(density: Any) -> str:
    """A density as a phrase: ``dense``, ``50% non-zero``, a pattern, or a model's name with its parameters."""
    if density is None:
        return "dense"
    value = source.number(density)
    if value is not None:
        return "dense" if value == 1 else f"{value * 100:.3g}\u202f% non-zero" if math.isfinite(value) else "density not a number"
    if isinstance(density, str):
        return density
    fields = mapping(density)
    return ", ".join(f"{key} {value}" for key, value in fields.items()) or "dense"


def _failures(found: Source) -> list[dict[str, Any]]:
    return [
        {"layer": i, "design": found.designs.index(name), "why": why}
        for i, layer in enumerate(found.layers)
        for name, why in layer.failures.items()
        if name in found.designs
    ]


def _omitted(entry: Json) -> dict[str, Any]:
    return {
        "name": text(entry.get("name")),
        "op": text(entry.get("op")),
        "count": finite(entry.get("count")) or 1,
        "share": source.number(entry.get("share")),
        "why": text(entry.get("note") or entry.get("why")),
    }


def _kinds(found: Source) -> list[dict[str, Any]]:
    made: dict[str, dict[str, Any]] = {}
    for layer in found.layers:
        entry = made.setdefault(
            layer.kind,
            {"kind": layer.kind, "operators": 0, "macs": 0.0, "operations": 0.0, "text": COUNTED.get(layer.kind, "counted by its operations")},
        )
        entry["operators"] += layer.count
        entry["macs"] += finite(layer.macs) or 0.0
        entry["operations"] += finite(layer.operations) or 0.0
    return list(made.values())


def _facts(found: Source) -> list[list[str]]:
    facts = [["From", found.source]] if found.source else []
    if found.macs is not None:
        facts.append(["Multiply-accumulates", engineering(found.macs, "").strip()])
    if found.parameters is not None:
        facts.append(["Parameters", engineering(found.parameters, "").strip()])
    facts.append(["Layers", count(sum(layer.count for layer in found.layers))])
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
