"""The section ``constraints`` of fiberloom's own YAML ↔ `Constraints`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fiberloom.architecture.levels import Architecture
from fiberloom.errors import Location, nearest
from fiberloom.input.construct import construct
from fiberloom.input.field import Field
from fiberloom.input.notation import read_loops
from fiberloom.mapping.constraints import Constraints, LevelConstraints, LoopConstraints
from fiberloom.workload.einsum import Einsum

FACTORS = ("factors", "at_least", "at_most")
ORDERS = ("inner", "outer", "order")
TEMPORAL_FIELDS = (*FACTORS, "remaining", *ORDERS)
SPATIAL_FIELDS = (*TEMPORAL_FIELDS, "x", "y", "least_fanout", "most_fanout")
KEEPS = ("keep", "bypass", "free")
SWITCHES = ("multicast", "peer_links")
LEVEL_FIELDS = ("temporal", "spatial", *KEEPS, *SWITCHES)


def read_native_constraints(section: Field, workload: Einsum | None, architecture: Architecture | None) -> Constraints:
    """The constraints of the section, by level, each with its place.

    Args:
        section: ``constraints``, in the scope of the file's variables.
        workload, architecture: what names are checked against; None where the files have none.

    Raises:
        SpecError: with the place of what is wrong, contradictions included.
    """
    levels: dict[str, LevelConstraints] = {}
    where: dict[str, str] = {}
    reader = _Reader(workload, where)
    names = None if architecture is None else [level.name for level in architecture.levels]
    for name, entry in section.mapping().items():
        if names is not None and name not in names:
            raise entry.error(f"'{name}' is not a storage level", nearest(name, names))
        levels[name] = reader.level(name, entry)
    found = Constraints(levels=levels, where=where)
    if workload is not None and architecture is not None:
        found.check(workload, architecture)
    return found


class _Reader:
    def __init__(self, workload: Einsum | None, where: dict[str, str]) -> None:
        self.variables = None if workload is None else list(workload.shape)
        self.tensors = None if workload is None else [t.name for t in workload.tensors]
        self.where = where

    def level(self, name: str, entry: Field) -> LevelConstraints:
        fields = entry.mapping()
        entry.refuse_unknown(fields, LEVEL_FIELDS)
        given = {key: field for key, field in fields.items() if field.value is not None}
        values: dict[str, Any] = {}
        for kind, known in (("temporal", TEMPORAL_FIELDS), ("spatial", SPATIAL_FIELDS)):
            if kind in given:
                values[kind] = self.loops(f"{name}.{kind}", given[kind], known)
        for key in KEEPS:
            if key in given:
                values[key] = tuple(self.tensor(tensor, given[key]) for tensor in given[key].names())
                self.note(f"{name}.{key}", given[key])
        for key in SWITCHES:
            if key in given:
                values[key] = {self.tensor(t, field): field.boolean() for t, field in given[key].mapping().items()}
                self.note(f"{name}.{key}", given[key])
        return construct(LevelConstraints, values, entry, fields)

    def loops(self, path: str, block: Field, known: Sequence[str]) -> LoopConstraints:
        fields = block.mapping()
        block.refuse_unknown(fields, known)
        given = {key: field for key, field in fields.items() if field.value is not None}
        values: dict[str, Any] = {}
        for key in FACTORS:
            if key in given:
                values[key] = dict(read_loops(given[key], self.variables))
                self.note_factors(f"{path}.{key}", given[key], values[key])
        for key in ("remaining", "inner", "outer", "x", "y"):
            if key in given:
                values[key] = tuple(self.variable(name, given[key]) for name in given[key].names())
                self.note(f"{path}.{key}", given[key])
        if "order" in given:
            values["inner"] = self.order(given)
            self.note(f"{path}.inner", given["order"])
        for key in ("least_fanout", "most_fanout"):
            if key in given:
                values[key] = given[key].integer(minimum=1)
                self.note(f"{path}.{key}", given[key])
        return construct(LoopConstraints, values, block, fields)

    def order(self, given: Mapping[str, Field]) -> tuple[str, ...]:
        """All loops, outermost first."""
        order = given["order"]
        for other in ("inner", "outer"):
            if other in given:
                raise given[other].error(f"'{other}' beside 'order'", "'order' lists all loops; give one of them")
        names = tuple(self.variable(name, order) for name in order.names())
        missing = [v for v in self.variables or () if v not in names]
        if missing:
            raise order.error(
                f"'order' leaves out {', '.join(missing)}",
                "list all loops, outermost first, or fix an end with 'inner'",
            )
        return names

    def variable(self, name: str, here: Field) -> str:
        if self.variables is not None and name not in self.variables:
            raise here.error(f"'{name}' is not an iteration variable", nearest(name, self.variables))
        return name

    def tensor(self, name: str, here: Field) -> str:
        if self.tensors is not None and name not in self.tensors:
            raise here.error(f"'{name}' is not a tensor of the workload", nearest(name, self.tensors))
        return name

    def note(self, path: str, here: Field) -> None:
        self.where[path] = str(Location(here.where.file, here.where.line))

    def note_factors(self, path: str, here: Field, factors: Mapping[str, int]) -> None:
        for variable in factors:
            self.note(f"{path}.{variable}", here.child(variable) if here.is_mapping else here)
