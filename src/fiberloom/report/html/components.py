"""What a component of a design is, as far as a reader of charts cares: five kinds, told apart by colour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fiberloom.report.html.source import Json, items, mapping, text

MEMORY, BUFFER, REGISTER, COMPUTE, NETWORK = "memory", "buffer", "register", "compute", "network"

KIND_OF_CLASS: Final = {"DRAM": MEMORY, "SRAM": BUFFER, "regfile": REGISTER, "MAC": COMPUTE, "dummy": NETWORK}
"""By the values of `fiberloom.architecture.levels.ComponentClass`."""

_REGISTERS: Final = ("reg", "rf", "scratch", "spad", "latch", "accum", "psum")
_MEMORIES: Final = ("dram", "hbm", "ddr", "offchip", "off-chip", "main")


@dataclass(frozen=True)
class Component:
    """A level, the compute or a network of a design.

    Attributes:
        variant: the how-manieth of its kind in the design, from 1.
    """

    name: str
    kind: str
    variant: int


def components_of(evaluation: Json, hardware: Json) -> tuple[Component, ...]:
    """Levels from the outermost on, compute, networks.

    Args:
        evaluation: the dictionary of any evaluation on the design.
        hardware: what the result says of the design; ``levels`` with ``name`` and ``component`` where it does.
    """
    classes = {text(entry.get("name")): text(entry.get("component")) for entry in map(mapping, items(hardware.get("levels")))}
    levels = [text(mapping(level).get("name")) for level in items(evaluation.get("levels"))]
    compute = text(mapping(evaluation.get("compute")).get("name"))
    found: list[tuple[str, str]] = []
    for place, name in enumerate(levels):
        found.append((name, KIND_OF_CLASS.get(classes.get(name, "")) or _guess(name, place, len(levels))))
    if compute:
        found.append((compute, COMPUTE))
    known = {name for name, _ in found}
    found += [(name, NETWORK) for name in map(str, mapping(evaluation.get("energy_by_component_pj"))) if name not in known]
    return tuple(_numbered(found))


def _guess(name: str, place: int, levels: int) -> str:
    """From names and places: the outermost level is the memory unless it is called a buffer; the innermost of several, registers."""
    lower = name.lower()
    if any(word in lower for word in _MEMORIES):
        return MEMORY
    if any(word in lower for word in _REGISTERS):
        return REGISTER
    if place == 0:
        return MEMORY
    return REGISTER if place == levels - 1 and levels > 2 else BUFFER


def _numbered(found: list[tuple[str, str]]) -> list[Component]:
    seen: dict[str, int] = {}
    made = []
    for name, kind in found:
        seen[kind] = seen.get(kind, 0) + 1
        made.append(Component(name, kind, seen[kind]))
    return made


def to_dicts(components: tuple[Component, ...]) -> list[dict[str, Any]]:
    """For the page."""
    return [{"name": c.name, "kind": c.kind, "variant": c.variant} for c in components]


def index_of(components: tuple[Component, ...]) -> Mapping[str, int]:
    """Place of each component by name."""
    return {component.name: i for i, component in enumerate(components)}
