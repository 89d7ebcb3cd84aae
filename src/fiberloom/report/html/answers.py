"""One account of a layer as the page needs it: energy by component, words and metadata by level and tensor, a point under the roof."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fiberloom.report.html.components import Component, index_of
from fiberloom.report.html.source import Json, entries, finite, items, mapping, number, text


@dataclass(frozen=True)
class TensorUse:
    """A tensor at a level. Words are of all instances, but `tile` and `occupied` of one.

    Attributes:
        tile, occupied: words of the tile, dense and as given room.
        dense: words moved if nothing were sparse.
        metadata: bits of metadata moved.
        demand: words of the level's bandwidth that all this takes: gated words and metadata too, skipped ones not.
    """

    name: str
    tile: float | None
    occupied: float | None
    reads: float
    fills: float
    updates: float
    gated: float
    skipped: float
    dense: float
    metadata: float
    demand: float
    energy_pj: float | None
    metadata_pj: float

    @property
    def moved(self) -> float:
        return self.reads + self.fills + self.updates


@dataclass(frozen=True)
class LevelUse:
    """A storage level in one evaluation; `used` and `capacity` in words per instance."""

    name: str
    used: float | None
    capacity: float | None
    tensors: tuple[TensorUse, ...]


@dataclass(frozen=True)
class Saved:
    """The same mapping on the same hardware without formats, gating and skipping, over what it costs with them.

    Attributes:
        speedup, energy_ratio: without / with.
        dense_energy: pJ without, by component; None where unknown.
        fits: whether the dense tiles fit the memories.
    """

    speedup: float | None
    energy_ratio: float | None
    dense_cycles: float | None
    dense_energy: Mapping[str, float | None]
    fits: bool


@dataclass(frozen=True)
class Answer:
    """One computation of a layer on a design.

    Attributes:
        edp: energy times time, in J·s (times cycles where the clock is not known).
        bound: place of the component that sets the cycles, -1 where it is none of them.
        intensity: computations that take a cycle per word of the outermost level's bandwidth that they take (`TensorUse.demand`).
        rate: computations that take a cycle, per cycle.
        mapped_as: the Einsum that is mapped, where it is not the layer's own.
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
    mapped_as: str
    notes: tuple[str, ...]
    saved: Saved | None
    intensity: float | None
    rate: float | None

    @property
    def edp(self) -> float | None:
        time = self.seconds if self.seconds is not None else self.cycles
        return None if time is None or self.energy_pj is None else self.energy_pj * 1e-12 * time


def read_answer(entry: Json, components: Sequence[Component], cycle_seconds: float | None) -> Answer:
    """The account of a layer, with its component energies in the order of `components`.

    Args:
        cycle_seconds: of the design's clock.
    """
    energies = mapping(entry.get("energy_by_component_pj"))
    levels = tuple(_level(level) for level in entries(entry.get("levels")))
    compute = mapping(entry.get("compute"))
    cycles = number(entry.get("cycles"))
    busy = (finite(compute.get("actual")) or 0.0) + (finite(compute.get("gated")) or 0.0)
    outer = sum(tensor.demand for tensor in levels[0].tensors) if levels else 0.0
    bottleneck = text(entry.get("bottleneck")) if cycles else ""
    return Answer(
        cycles=cycles,
        seconds=None if cycles is None or cycle_seconds is None else cycles * cycle_seconds,
        energy_pj=number(entry.get("energy_pj")),
        utilization=number(entry.get("utilization")),
        bottleneck=bottleneck,
        bound=index_of(components).get(bottleneck, -1),
        energy=tuple(finite(energies.get(component.name)) or 0.0 for component in components),
        levels=levels,
        compute=compute,
        certificate=mapping(entry.get("certificate")),
        loop_nest="\n".join(map(text, items(entry.get("loop_nest")))),
        mapped_as=text(mapping(entry.get("mapped_as")).get("einsum")),
        notes=tuple(map(text, (*items(entry.get("notes")), *items(entry.get("warnings")), *_held(entry)))),
        saved=_saved(mapping(entry.get("saved"))),
        intensity=busy / outer if outer > 0 and busy > 0 else None,
        rate=busy / cycles if cycles and busy > 0 else None,
    )


def _held(entry: Json) -> list[str]:
    """Which tensors stay on chip, as a sentence."""
    held = mapping(entry.get("kept_on_chip"))
    names = ", ".join(map(str, mapping(held.get("tensors"))))
    return [f"{names} stays in {text(held.get('level'))} and takes no way to the outermost memory"] if names else []


def _level(entry: Json) -> LevelUse:
    return LevelUse(
        name=text(entry.get("name")),
        used=finite(entry.get("used_words")),
        capacity=finite(entry.get("capacity_words")),
        tensors=tuple(
            _tensor(str(name), mapping(use), finite(entry.get("word_bits")))
            for name, use in mapping(entry.get("tensors")).items()
        ),
    )


def _tensor(name: str, use: Json, word_bits: float | None) -> TensorUse:
    own = finite(use.get("word_bits"))
    traffic = {action: mapping(counts) for action, counts in mapping(use.get("traffic")).items()}
    width = own / word_bits if own and word_bits else 1.0
    moved, gated = (sum(_count(counts, kind) for counts in traffic.values()) for kind in ("actual", "gated"))
    metadata = sum(finite(bits) or 0.0 for bits in mapping(use.get("metadata_bits")).values())
    return TensorUse(
        name=name,
        tile=finite(use.get("tile_words")),
        occupied=finite(use.get("occupied_words")),
        reads=_count(traffic.get("read"), "actual"),
        fills=_count(traffic.get("fill"), "actual"),
        updates=_count(traffic.get("update"), "actual"),
        gated=gated,
        skipped=sum(_count(counts, "skipped") for counts in traffic.values()),
        dense=sum(_count(counts, "dense") for counts in traffic.values()),
        metadata=metadata,
        demand=(moved + gated) * width + (metadata / word_bits if word_bits else 0.0),
        energy_pj=finite(use.get("energy_pj")),
        metadata_pj=finite(use.get("metadata_pj")) or 0.0,
    )


def _count(counts: Json | None, kind: str) -> float:
    return finite((counts or {}).get(kind)) or 0.0


def _saved(entry: Json) -> Saved | None:
    if not entry:
        return None
    return Saved(
        speedup=finite(entry.get("speedup")),
        energy_ratio=finite(entry.get("energy_ratio")),
        dense_cycles=finite(entry.get("dense_cycles")),
        dense_energy={
            text(e.get("name")): finite(e.get("dense_energy_pj")) for e in entries(entry.get("by_component"))
        },
        fits=entry.get("dense_fits") is not False,
    )


def answer_dict(answer: Answer, intern: Callable[[str], int]) -> dict[str, Any]:
    """For the page.

    Args:
        intern: stores a text and returns its number.
    """
    certificate = {key: answer.certificate.get(key) for key in ("status", "gap", "objective")}
    saved = answer.saved
    return {
        "cycles": answer.cycles,
        "energy_pj": answer.energy_pj,
        "edp": answer.edp,
        "utilization": answer.utilization,
        "bound": answer.bound,
        "bottleneck": answer.bottleneck,
        "energy": list(answer.energy),
        "intensity": answer.intensity,
        "rate": answer.rate,
        "certificate": certificate if answer.certificate else None,
        "nest": intern(answer.loop_nest) if answer.loop_nest else None,
        "mapped_as": answer.mapped_as,
        "notes": [intern(note) for note in answer.notes],
        "saved": None if saved is None else [saved.speedup, saved.energy_ratio, saved.fits],
        "levels": [{"used": level.used, "tensors": [_tensor_row(t) for t in level.tensors]} for level in answer.levels],
    }


def _tensor_row(use: TensorUse) -> list[Any]:
    """In the order in which the page reads them."""
    return [
        use.name,
        use.tile,
        use.occupied,
        use.moved,
        use.gated,
        use.skipped,
        use.dense,
        use.metadata,
        use.energy_pj,
        use.metadata_pj,
    ]
