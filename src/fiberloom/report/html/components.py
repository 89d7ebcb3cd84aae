"""What a component of a design is, as far as a reader of charts cares: five kinds, told apart by colour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fiberloom.report.html.source import Json, entries, mapping, text

MEMORY, BUFFER, REGISTER, COMPUTE, NETWORK = "memory", "buffer", "register", "compute", "network"

KIND_OF_CLASS: Final = {"dram": MEMORY, "sram": BUFFER, "regfile": REGISTER, "mac": COMPUTE, "dummy": NETWORK}
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


def components_of(entries_of_design: Iterable[Json], hardware: Json) -> tuple[Component, ...]:
    """Levels from the outermost on, compute, networks.

    Args:
        entries_of_design: accounts of layers on the design.
        hardware: what the result says of the design.
    """
    stated = entries(hardware.get("levels"))
    classes = {text(entry.get("name")): text(entry.get("component")) for entry in stated}
    levels = dict.fromkeys(classes)
    compute = text(mapping(hardware.get("compute")).get("name"))
    others: dict[str, None] = {}
    for entry in entries_of_design:
        levels |= dict.fromkeys(text(level.get("name")) for level in entries(entry.get("levels")))
        compute = compute or text(mapping(entry.get("compute")).get("name"))
        others |= dict.fromkeys(map(str, mapping(entry.get("energy_by_component_pj"))))
    names = list(levels)
    found = [
        (name, KIND_OF_CLASS.get(classes.get(name, "").lower()) or _guess(name, i, len(names)))
        for i, name in enumerate(names)
    ]
    if compute:
        found.append((compute, COMPUTE))
    known = {name for name, _ in found}
    found += [(name, NETWORK) for name in others if name not in known]
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


def index_of(components: Sequence[Component]) -> Mapping[str, int]:
    """Place of each component by name."""
    return {component.name: i for i, component in enumerate(components)}


def compute_place(components: Sequence[Component]) -> int:
    """Place of the compute among the components, -1 without one."""
    return next((i for i, component in enumerate(components) if component.kind == COMPUTE), -1)
