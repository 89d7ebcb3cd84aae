"""A design over the whole network: sums by component and level, certificates, what sparsity removed, the roofs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fiberloom.report.html.answers import Answer, LevelUse
from fiberloom.report.html.components import Component
from fiberloom.report.html.source import Json, entries, finite, text


@dataclass(frozen=True)
class Use:
    """An answer and how often it counts.

    Attributes:
        layer: place of the layer in the network.
    """

    layer: int
    count: int
    answer: Answer


def bound_cycles(uses: Sequence[Use], components: Sequence[Component]) -> list[float]:
    """Cycles of the layers that each component sets."""
    cycles = [0.0] * len(components)
    for use in uses:
        if use.answer.bound >= 0:
            cycles[use.answer.bound] += _finite(use.answer.cycles) * use.count
    return cycles


def energies(uses: Sequence[Use], components: Sequence[Component]) -> list[float]:
    """pJ of each component over all layers."""
    return [math.fsum(use.answer.energy[i] * use.count for use in uses) for i in range(len(components))]


def level_totals(uses: Sequence[Use], components: Sequence[Component], hardware: Json) -> list[dict[str, Any]]:
    """Each storage level over all layers that keep an account of it."""
    stated = {text(entry.get("name")): entry for entry in entries(hardware.get("levels"))}
    place = {component.name: i for i, component in enumerate(components)}
    names = list(dict.fromkeys(level.name for use in uses for level in use.answer.levels))
    made = []
    for name in names:
        found = [(use, level) for use in uses for level in use.answer.levels if level.name == name]
        capacity = _capacity(stated.get(name, {}), [level for _, level in found])
        fullest = max(found, key=lambda pair: _finite(pair[1].used))
        tensors = [(use.count, tensor) for use, level in found for tensor in level.tensors]

        def total(field: str, tensors: Sequence[tuple[int, Any]] = tensors) -> float:
            return math.fsum(count * getattr(tensor, field) for count, tensor in tensors)

        moved, gated, skipped = total("moved"), total("gated"), total("skipped")
        dense = max(total("dense"), moved + gated + skipped)
        made.append(
            {
                "name": name,
                "component": place.get(name, 0),
                "capacity_words": capacity,
                "peak_words": fullest[1].used,
                "peak_layer": fullest[0].layer if fullest[1].used else None,
                "mean_share": _mean_share(found, capacity),
                "reads": total("reads"),
                "fills": total("fills"),
                "updates": total("updates"),
                "moved": moved,
                "gated": gated,
                "skipped": skipped,
                "dense": dense,
                "eliminated": dense - moved - gated - skipped,
                "metadata_bits": total("metadata"),
                "metadata_pj": total("metadata_pj"),
            }
        )
    return made


def _capacity(stated: Json, levels: Sequence[LevelUse]) -> float | None:
    known = [level.capacity for level in levels if level.capacity is not None]
    return max(known) if known else finite(stated.get("capacity_words"))


def _mean_share(found: Sequence[tuple[Use, LevelUse]], capacity: float | None) -> float | None:
    """Occupied share of the capacity, layers weighed by their cycles."""
    weights = [(_finite(use.answer.cycles) * use.count, level.used) for use, level in found if level.used is not None]
    whole = math.fsum(weight for weight, _ in weights)
    if not capacity or not whole:
        return None
    return math.fsum(weight * used for weight, used in weights) / whole / capacity


def compute_totals(uses: Sequence[Use]) -> dict[str, float] | None:
    """Multiplications over all layers: all that the Einsums name, and what became of them."""
    counted = [use for use in uses if use.answer.compute]
    if not counted:
        return None
    fields = ("algorithmic", "actual", "gated", "skipped", "eliminated")
    return {
        name: math.fsum(_finite(finite(use.answer.compute.get(name))) * use.count for use in counted) for name in fields
    }


def saved_totals(uses: Sequence[Use], components: Sequence[Component]) -> dict[str, Any] | None:
    """Cycles and energy without the design's sparse features over those with them, of the layers where both are known."""
    known = [(use, use.answer.saved) for use in uses if use.answer.saved is not None and use.answer.saved.dense_cycles]
    if not known:
        return None
    cycles = math.fsum(_finite(use.answer.cycles) * use.count for use, _ in known)
    dense_cycles = math.fsum(_finite(saved.dense_cycles) * use.count for use, saved in known)
    energy = [math.fsum(use.answer.energy[i] * use.count for use, _ in known) for i in range(len(components))]
    dense = [math.fsum(_finite(s.dense_energy.get(c.name)) * use.count for use, s in known) for c in components]
    whole = math.fsum(energy)
    return {
        "speedup": dense_cycles / cycles if cycles else None,
        "energy_ratio": math.fsum(dense) / whole if whole else None,
        "energy": energy,
        "dense_energy": dense,
        "layers": len(known),
        "misfits": sum(1 for _, saved in known if not saved.fits),
    }


def sparse_totals(levels: Sequence[dict[str, Any]], compute: dict[str, float] | None) -> dict[str, Any]:
    """What sparsity did at all; ``any`` is false where nothing was gated, skipped, eliminated or described by metadata."""
    metadata = math.fsum(level["metadata_pj"] for level in levels)
    removed = [level[name] or 0.0 for level in levels for name in ("gated", "skipped", "eliminated", "metadata_bits")]
    removed += [compute[name] for name in ("gated", "skipped", "eliminated")] if compute else []
    return {"any": any(value > 0 for value in removed), "compute": compute, "metadata_pj": metadata}


def certificates(uses: Sequence[Use]) -> dict[str, Any]:
    """How many different layers' mappings are proved, bounded, or neither; the widest gap."""
    counts = {"proved": 0, "bounded": 0, "unproved": 0}
    worst = None
    for use in uses:
        status = text(use.answer.certificate.get("status"))
        if not use.answer.certificate:
            continue
        counts[{"optimal": "proved", "bound": "bounded"}.get(status, "unproved")] += 1
        gap = finite(use.answer.certificate.get("gap"))
        if status == "bound" and gap is not None:
            worst = gap if worst is None else max(worst, gap)
    return {**counts, "unmapped": 0, "worst_gap": worst}


def roof(uses: Sequence[Use], hardware: Json) -> dict[str, Any]:
    """Lanes, and words per cycle of the outermost level; None where not stated.

    Reads and writes of a level have ports of their own unless it states a shared bandwidth; the roof is their sum, which no
    layer can be above.
    """
    outer = next(iter(entries(hardware.get("levels"))), {})
    shared, read, write = (finite(outer.get(f"{kind}_words_per_cycle")) for kind in ("shared", "read", "write"))
    separate = read + write if read is not None and write is not None else None
    words = min((limit for limit in (shared, separate) if limit is not None), default=None)
    lanes = finite(hardware.get("peak_macs_per_cycle")) or finite(hardware.get("lanes"))
    name = text(outer.get("name")) or next((u.answer.levels[0].name for u in uses if u.answer.levels), "memory")
    notes = []
    if lanes is None:
        notes.append("The number of lanes is not stated, so that roof is not drawn.")
    if words is None:
        notes.append(f"The bandwidth of {name} is unlimited or not stated, so that roof is not drawn.")
    elif words == separate:
        notes.append(
            f"{name} reads {read:,.4g} and writes {write:,.4g} words per cycle; the solid roof is both together, "
            "the dashed one reads alone."
        )
    if bits := finite(outer.get("word_bits")):
        notes.append(f"Its words have {bits:g} bits.")
    reads = read if words == separate and read != words else None
    return {"lanes": lanes, "bandwidth": words, "reads": reads, "level": name, "note": " ".join(notes)}


def utilization(uses: Sequence[Use]) -> float | None:
    """Average over layers, weighed by cycles."""
    known = [
        (use.answer.utilization, _finite(use.answer.cycles) * use.count)
        for use in uses
        if use.answer.utilization is not None and math.isfinite(use.answer.utilization)
    ]
    whole = math.fsum(weight for _, weight in known)
    return math.fsum(value * weight for value, weight in known) / whole if whole else None


def notes_of(uses: Sequence[Use], stated: Sequence[str]) -> list[dict[str, Any]]:
    """Sentences with the number of layers that they come from."""
    counts: dict[str, int] = dict.fromkeys(stated, 0)
    for use in uses:
        for note in dict.fromkeys(use.answer.notes):
            counts[note] = counts.get(note, 0) + 1
    return [{"text": warning, "layers": layers} for warning, layers in counts.items()]


def geometric_mean_ratio(base: Sequence[Use], other: Sequence[Use]) -> float | None:
    """Geometric mean over the layers of both designs of EDP(base) / EDP(other), each layer as often as it occurs."""
    own = {use.layer: use.answer.edp for use in other}
    logs, weight = [], 0
    for use in base:
        first, second = use.answer.edp, own.get(use.layer)
        if not first or not second or not (math.isfinite(first) and math.isfinite(second)):
            continue
        logs.append(use.count * (math.log(first) - math.log(second)))
        weight += use.count
    return math.exp(math.fsum(logs) / weight) if weight else None


def _finite(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else 0.0
