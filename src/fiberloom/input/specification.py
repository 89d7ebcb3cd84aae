"""What users' files say together: `read` them, in fiberloom's own YAML or Timeloop's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fiberloom.architecture.levels import Architecture
from fiberloom.errors import SpecError
from fiberloom.input.field import Field
from fiberloom.input.timeloop import SKIPPED, looks_like_timeloop, read_timeloop
from fiberloom.input.yaml_source import Source, parse_yaml, read_yaml
from fiberloom.mapping.constraints import Constraints
from fiberloom.mapping.nest import Mapping
from fiberloom.workload.einsum import Einsum

Dialect = Literal["fiberloom", "timeloop-0.3", "timeloop-0.4"]


@dataclass(frozen=True)
class Specification:
    """Workload, architecture and mapping as read; None for what the files don't have.

    Attributes:
        dialect: language of the files.
        warnings: what was ignored or reinterpreted, each with its place.
        base_directory: folder of the first file; relative paths in the specification start there.
        constraints: of the map space; empty where the files have none.
        objective: what a search is to minimise (``edp``, ``latency``, ``energy``), where the files say it.
    """

    workload: Einsum | None
    architecture: Architecture | None
    mapping: Mapping | None
    dialect: Dialect = "fiberloom"
    warnings: tuple[str, ...] = ()
    base_directory: Path | None = None
    constraints: Constraints = field(default_factory=Constraints)
    objective: str | None = None


def read(paths: Sequence[Path | str]) -> Specification:
    """Read one specification from one or several files.

    Args:
        paths: YAML files; their top-level sections are put together.

    Raises:
        SpecError: for anything that can't be read, with file, line, field and what would be right.
        UnsupportedError: for features of Timeloop inputs that are known and not modelled.
    """
    files = [Path(path) for path in paths]
    if not files:
        raise SpecError("no file is given", hint="name at least one YAML file")
    return _interpret((source for file in files for source in read_yaml(file)), files[0].resolve().parent)


def parse(text: str, *, file: str | None = None, base_directory: Path | None = None) -> Specification:
    """Read a specification from a YAML string.

    Args:
        text: one or several YAML documents.
        file: name for messages.
        base_directory: where relative paths start.

    Raises:
        SpecError, UnsupportedError: as `read`.
    """
    return _interpret(parse_yaml(text, file), base_directory)


def _interpret(sources: Iterable[Source], base_directory: Path | None) -> Specification:
    sections = _merge(sources)
    if "fiberloom" not in sections and looks_like_timeloop(sections):
        return Specification(**read_timeloop(sections)._asdict(), base_directory=base_directory)
    from fiberloom.input.native import read_native, scope_of
    from fiberloom.input.native_constraints import read_native_constraints

    workload, architecture, mapping = read_native(sections)
    constraints = Constraints()
    if "constraints" in sections:
        section = sections["constraints"].in_scope(scope_of(sections))
        constraints = read_native_constraints(section, workload, architecture)
    return Specification(workload, architecture, mapping, base_directory=base_directory, constraints=constraints)


def _merge(sources: Iterable[Source]) -> dict[str, Field]:
    """Top-level sections of all documents.

    Raises:
        SpecError: for a section that two documents give differently.
    """
    sections: dict[str, Field] = {}
    for source in sources:
        root = Field(source.data, source)
        if not root.is_mapping:
            raise root.error(
                "a specification is a mapping of sections", "start with 'workload:', 'architecture:' or 'mapping:'"
            )
        for key, section in root.mapping().items():
            before = sections.setdefault(key, section)
            if before.value != section.value and key.replace("-", "_") not in (*SKIPPED, "mapper"):
                raise section.error(
                    f"section '{key}' is given twice; the other is at {before.where}", "keep one of the two"
                )
    if not sections:
        raise SpecError("the files have no sections", hint="start with 'workload:', 'architecture:' or 'mapping:'")
    return sections
