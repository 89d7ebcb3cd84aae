"""Timeloop and Sparseloop inputs (v0.3 and v0.4) → spec objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from fiberloom.architecture.levels import Architecture
from fiberloom.errors import SpecError, nearest
from fiberloom.input.expressions import Number
from fiberloom.input.field import Field
from fiberloom.input.timeloop_architecture import TimeloopArchitecture, read_architecture
from fiberloom.input.timeloop_constraints import SECTIONS as CONSTRAINTS
from fiberloom.input.timeloop_constraints import read_constraints
from fiberloom.input.timeloop_mapper import read_objective
from fiberloom.input.timeloop_mapping import read_mapping
from fiberloom.input.timeloop_problem import read_problem
from fiberloom.input.timeloop_sparse import apply_sparse_optimizations
from fiberloom.input.timeloop_tables import read_tables
from fiberloom.mapping.constraints import Constraints
from fiberloom.mapping.nest import Mapping as LoopNest
from fiberloom.workload.einsum import Einsum

TimeloopDialect = Literal["timeloop-0.3", "timeloop-0.4"]

READ = ("architecture", "problem", "mapping", "sparse_optimizations", "ERT", "ART", "variables")

STEERING = ("mapper", *CONSTRAINTS)
"""Sections that steer searches and don't alter what a given mapping costs."""

SKIPPED = (
    "compound_components",
    "components",
    "classes",
    "globals",
    "dumped_by_timeloop_front_end",
    "ERT_summary",
    "ART_summary",
    "energy_estimation",
    "flattened_architecture",
    "version",
    "model",
    "description",
    "action_counts",
)
"""Sections that steer energy estimation and don't alter what a given mapping costs."""


class TimeloopInput(NamedTuple):
    """What Timeloop's files say; None for what they don't have."""

    workload: Einsum | None
    architecture: Architecture | None
    mapping: LoopNest | None
    dialect: TimeloopDialect
    warnings: tuple[str, ...]
    constraints: Constraints
    objective: str | None


def looks_like_timeloop(sections: Mapping[str, Field]) -> bool:
    """Whether the sections are Timeloop's rather than fiberloom's own."""
    architecture, mapping = sections.get("architecture"), sections.get("mapping")
    if "problem" in sections or any(
        key in sections for key in ("sparse_optimizations", "ERT", "ART", "architecture_constraints")
    ):
        return True
    if architecture is not None and architecture.is_mapping:
        return any(key in architecture.value for key in ("subtree", "nodes", "storage", "arithmetic", "version"))
    if mapping is not None and mapping.is_list and mapping.value and isinstance(mapping.value[0], dict):
        return "target" in mapping.value[0]
    return any(key in sections for key in (*STEERING, *SKIPPED[:3], "variables"))


def dialect_of(sections: Mapping[str, Field]) -> TimeloopDialect:
    """The version of the input language: the architecture's, else any other section's, else 0.3."""
    for key in ("architecture", "problem", "mapping", "variables"):
        section = sections.get(key)
        if section is not None and section.is_mapping and "version" in section.value:
            version = str(section.value["version"])
            if version in ("0.2", "0.3"):
                return "timeloop-0.3"
            if version == "0.4":
                return "timeloop-0.4"
            raise section.child("version").error(f"version {version} is not known", "known: 0.3, 0.4")
        if key == "architecture" and section is not None and section.is_mapping and "nodes" in section.value:
            return "timeloop-0.4"
    return "timeloop-0.3"


def read_timeloop(sections: Mapping[str, Field]) -> TimeloopInput:
    """Workload, architecture, mapping, constraints and so on of the top-level sections of one or several files.

    Where a mapping is given, it is what counts: constraints that can't be read are only worth a warning.

    Raises:
        SpecError: with the place of what is wrong.
        UnsupportedError: for what Timeloop has and fiberloom does not model.
    """
    sections = {key.replace("-", "_"): section for key, section in sections.items()}
    for key, section in sections.items():
        if key == "layout":
            raise section.unsupported("data layouts are not supported")
        if key not in (*READ, *STEERING, *SKIPPED):
            raise section.error(f"unknown section '{key}'", nearest(key, [*READ, *STEERING, *SKIPPED]))
    dialect = dialect_of(sections)
    warnings: list[str] = []
    scope = _variables(sections.get("variables"))
    einsum = read_problem(sections["problem"].in_scope(scope), warnings) if "problem" in sections else None
    tables = read_tables(sections.get("ERT"), sections.get("ART"))
    architecture = mapping = None
    constraints, objective = Constraints(), None
    if "architecture" in sections:
        found = read_architecture(sections["architecture"], tables, warnings, scope)
        architecture = found.architecture
        optimizations: list[tuple[str | None, Field]] = [*found.sparse]
        if "sparse_optimizations" in sections:
            optimizations.append((None, sections["sparse_optimizations"]))
        if einsum is not None and optimizations:
            architecture = apply_sparse_optimizations(
                architecture, einsum, optimizations, underscore_flattening=dialect == "timeloop-0.4", warnings=warnings
            )
        elif optimizations:
            warnings.append(f"{optimizations[0][1].where}: sparse optimizations are ignored without a problem")
        if "mapping" in sections and sections["mapping"].value is not None:
            if einsum is None:
                raise sections["mapping"].error("a mapping without a problem", "give the file with 'problem:' too")
            mapping = read_mapping(sections["mapping"], einsum, architecture, found.aliases, warnings)
        if einsum is not None:
            try:
                constraints, objective = _steering(sections, found, einsum, warnings if mapping is None else [])
            except SpecError as error:
                if mapping is None:
                    raise
                warnings.append(f"{error.where}: what steers a search is ignored: {error.problem}")
    elif "mapping" in sections:
        raise sections["mapping"].error("a mapping without an architecture", "give the file with 'architecture:' too")
    return TimeloopInput(einsum, architecture, mapping, dialect, tuple(warnings), constraints, objective)


def _steering(
    sections: Mapping[str, Field], found: TimeloopArchitecture, einsum: Einsum, warnings: list[str]
) -> tuple[Constraints, str | None]:
    """Constraints of the map space, and what a search is to minimise."""
    constraints = read_constraints(sections, found.constraints, einsum, found.architecture, found.aliases, warnings)
    constraints.check(einsum, found.architecture)
    return constraints, read_objective(sections.get("mapper"), warnings)


def _variables(section: Field | None) -> dict[str, Number]:
    """Numbers of ``variables:``, each may use those before it; other values are left out."""
    scope: dict[str, Number] = {}
    for key, value in section.mapping().items() if section is not None else []:
        if key != "version" and value.is_number:
            scope[key] = value.number()
        elif value.is_text:
            try:
                scope[key] = value.in_scope(scope).number()
            except SpecError:
                continue
    return scope
