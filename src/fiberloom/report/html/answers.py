"""One evaluation as the page needs it: energy by component, words and metadata by level and tensor, a point under the roof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fiberloom.report.html.components import COMPUTE, Component, index_of
from fiberloom.report.html.source import Json, finite, items, mapping, number, text

_ACTIONS = ("reads", "fills", "updates")


@dataclass(frozen=True)
class TensorUse:
    """A tensor at a level: words over all instances.

    Attributes:
        tile, occupied: words of the tile, dense and as given room, per instance.
        dense: words if nothing were sparse; None where the result does not say.
        metadata: metadata and payload items moved.
    """

    name: str
    tile: float | None
    occupied: float | None
    reads: float
    fills: float
    updates: float
    gated: float
    skipped: float
    dense: float | None
    metadata: float
    energy_pj: float | None
    metadata_pj: float

    @property
    def moved(self) -> float:
        return self.reads + self.fills + self.updates


@dataclass(frozen=True)
class LevelUse:
    """A storage level in one evaluation; words per instance."""

    name: str
    used: float | None
    capacity: float | None
    cycles: float | None
    tensors: tuple[TensorUse, ...]


@dataclass(frozen=True)
class Answer:
    """One evaluation.

    Attributes:
        edp: energy times time, in J·s (pJ·cycles·1e-21 where the clock is not known).
        bound: place of the component that sets the cycles, -1 where it is none of them.
        intensity: computations that take a cycle per word that the outermost level moves.
        rate: computations that take a cycle, per cycle.
    """

    cycles: float | None
    seconds: float | None
    energy_pj: float | None
    utilization: float | None
    bottleneck: str
    bound: int
    energy: tuple[float, ...]
    levels: tuple[LevelUse, ...]
    compute: Json
    certificate: Json
    loop_nest: str
    warnings: tuple[str, ...]
    intensity: float | None = None
    rate: float | None = None
    outer_words: float = 0.0
    provenance: Json = field(default_factory=dict)

    @property
    def edp(self) -> float | None:
        time = self.seconds if self.seconds is not None else self.cycles
        return None if time is None or self.energy_pj is None else self.energy_pj * 1e-12 * time


def read_answer(evaluation: Json, components: Sequence[Component]) -> Answer:
    """An evaluation's dictionary (docs/json.md), with its component energies in the order of `components`."""
    place = index_of(tuple(components))
    energies = mapping(evaluation.get("energy_by_component_pj"))
    levels = tuple(_level(entry) for entry in map(mapping, items(evaluation.get("levels"))))
    compute = mapping(evaluation.get("compute"))
    cycles = number(evaluation.get("cycles"))
    busy = (finite(compute.get("actual")) or 0.0) + (finite(compute.get("gated")) or 0.0)
    outer = sum(tensor.moved for tensor in levels[0].tensors) if levels else 0.0
    return Answer(
        cycles=cycles,
        seconds=number(evaluation.get("seconds")),
        energy_pj=number(evaluation.get("energy_pj")),
        utilization=number(evaluation.get("utilization")),
        bottleneck=text(evaluation.get("bottleneck")),
        bound=place.get(text(evaluation.get("bottleneck")), -1),
        energy=tuple(finite(energies.get(component.name)) or 0.0 for component in components),
        levels=levels,
        compute=compute,
        certificate=mapping(evaluation.get("certificate")),
        loop_nest=text(evaluation.get("loop_nest")),
        warnings=tuple(map(text, items(evaluation.get("warnings")))),
        intensity=busy / outer if outer > 0 and busy > 0 else None,
        rate=busy / cycles if cycles and busy > 0 else None,
        outer_words=outer,
        provenance=mapping(evaluation.get("provenance")),
    )


def _level(entry: Json) -> LevelUse:
    return LevelUse(
        name=text(entry.get("name")),
        used=finite(entry.get("used_words")),
        capacity=finite(entry.get("capacity_words")),
        cycles=finite(entry.get("cycles")),
        tensors=tuple(_tensor(str(name), mapping(use)) for name, use in mapping(entry.get("tensors")).items()),
    )


def _tensor(name: str, use: Json) -> TensorUse:
    instances = finite(use.get("instances"))
    instances = 1.0 if instances is None else instances
    counts = {action: mapping(use.get(action)) for action in _ACTIONS}
    dense = [finite(use.get(f"dense_{action}")) for action in _ACTIONS]
    energies = mapping(use.get("energy_by_action_pj"))
    return TensorUse(
        name=name,
        tile=finite(use.get("tile_words")),
        occupied=finite(use.get("occupied_words")),
        reads=_count(counts["reads"], "actual") * instances,
        fills=_count(counts["fills"], "actual") * instances,
        updates=_count(counts["updates"], "actual") * instances,
        gated=sum(_count(c, "gated") for c in counts.values()) * instances,
        skipped=sum(_count(c, "skipped") for c in counts.values()) * instances,
        dense=None if any(d is None for d in dense) else sum(d or 0.0 for d in dense) * instances,
        metadata=sum(_metadata(mapping(use.get(f"metadata_{action}"))) for action in _ACTIONS) * instances,
        energy_pj=finite(use.get("energy_pj")),
        metadata_pj=sum(finite(pj) or 0.0 for action, pj in energies.items() if str(action).startswith("metadata_")),
    )


def _count(counts: Json, kind: str) -> float:
    return finite(counts.get(kind)) or 0.0


def _metadata(counts: Json) -> float:
    return sum(finite(item) or 0.0 for rank in items(counts.get("actual")) for item in items(rank))


def compute_place(components: Sequence[Component]) -> int:
    """Place of the compute among the components, -1 without one."""
    return next((i for i, component in enumerate(components) if component.kind == COMPUTE), -1)


def answer_dict(answer: Answer, intern: Any) -> dict[str, Any]:
    """For the page; texts are handed to `intern`, which returns their number."""
    return {
        "cycles": answer.cycles,
        "seconds": answer.seconds,
        "energy_pj": answer.energy_pj,
        "edp": answer.edp,
        "utilization": answer.utilization,
        "bound": answer.bound,
        "bottleneck": answer.bottleneck,
        "energy": list(answer.energy),
        "intensity": answer.intensity,
        "rate": answer.rate,
        "certificate": {key: answer.certificate.get(key) for key in ("status", "gap", "objective")} if answer.certificate else None,
        "nest": intern(answer.loop_nest) if answer.loop_nest else None,
        "warnings": [intern(warning) for warning in answer.warnings],
        "levels": [{"used": level.used, "tensors": [_tensor_dict(t) for t in level.tensors]} for level in answer.levels],
    }


def _tensor_dict(use: TensorUse) -> dict[str, Any]:
    return {
        "name": use.name,
        "tile": use.tile,
        "occupied": use.occupied,
        "actual": use.moved,
        "gated": use.gated,
        "skipped": use.skipped,
        "metadata": use.metadata,
        "pj": use.energy_pj,
        "metadata_pj": use.metadata_pj,
    }
