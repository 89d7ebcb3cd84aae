"""The accelerator that a design's values make of its space's file."""

from __future__ import annotations

from fiberloom.architecture.levels import Architecture
from fiberloom.architecture.library.design import parse_design
from fiberloom.explore.accelerator.workload import Search
from fiberloom.explore.space import Point, SpaceFile
from fiberloom.input.field import Field
from fiberloom.input.native import read_native, scope_of
from fiberloom.input.native_constraints import read_native_constraints
from fiberloom.input.yaml_source import Source
from fiberloom.mapping.constraints import Constraints
from fiberloom.network_evaluation.designs import Design
from fiberloom.network_evaluation.mapping_search import DATAFLOW


def design_of(file: SpaceFile, point: Point) -> Design:
    """The accelerator of a point: ``architecture:``, ``constraints:`` and ``design:`` filled.

    Raises:
        SpecError: with the place in the space's file, for a specification that makes no sense.
    """
    source = file.template.fill(file.space.values(point))
    name = f"{file.name}-{file.space.rank(point)}"
    kept = {k: v for k, v in source.data.items() if k in ("fiberloom", "variables", "architecture")}
    if "design" in source.data:
        info = parse_design(name, Field({**kept, "design": source.data["design"]}, source))
        constraints = _constraints(source, info.architecture)
        return Design(name, info.title or name, "space", info.architecture, constraints, info)
    _, architecture, _ = read_native(Field(kept, source).mapping())
    if architecture is None:
        raise Field(source.data, source).error("'architecture' is missing", "add one, with choices in it")
    return Design(name, file.title or name, "space", architecture, _constraints(source, architecture))


def _constraints(source: Source, architecture: Architecture) -> Constraints:
    """What bounds the search of mappings; a mapper that does not search takes none."""
    mapper = source.data.get("problem", {}).get("mapper", Search.mapper)
    sections = Field(source.data, source).mapping()
    if "constraints" not in sections or mapper == DATAFLOW:
        return Constraints()
    return read_native_constraints(sections["constraints"].in_scope(scope_of(sections)), None, architecture)
