"""Read the files that a command is given, and the architecture that ``--arch`` names."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fiberloom.errors import FiberloomError, Location, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fiberloom.architecture.levels import Architecture
    from fiberloom.input.specification import Specification
    from fiberloom.mapping.nest import Mapping
    from fiberloom.workload.einsum import Einsum

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...",
        help="Workload, architecture and mapping: fiberloom's YAML or Timeloop's, in one file or several.",
    ),
]
ArchitectureChoice = Annotated[
    str | None,
    typer.Option("--arch", metavar="NAME|FILE", help="Take the architecture from the design library or a file."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object (docs/json.md) and nothing else.")]


def read_files(paths: list[Path], architecture: str | None = None) -> Specification:
    """The specification in `paths`; `architecture` names a design or a file that replaces theirs.

    Raises:
        SpecError: for files that can't be read or make no sense.
    """
    from fiberloom.input.specification import read

    specification = read([str(path) for path in paths])
    if architecture is None:
        return specification
    return replace(specification, architecture=_architecture(architecture))


def _architecture(choice: str) -> Architecture:
    from fiberloom.input.specification import read

    if choice.endswith((".yaml", ".yml", ".json")) or Path(choice).exists():
        found = read([choice]).architecture
        if found is None:
            raise SpecError(f"{choice} has no architecture", hint="give a file with an 'architecture:' section")
        return found
    from fiberloom.architecture import library

    return library.load(choice)


def complete(specification: Specification, paths: list[Path]) -> tuple[Einsum, Architecture, Mapping]:
    """Workload, architecture and mapping.

    Raises:
        SpecError: naming the ones that the files lack.
    """
    missing = [part for part in ("workload", "architecture", "mapping") if getattr(specification, part) is None]
    workload, architecture, mapping = specification.workload, specification.architecture, specification.mapping
    if workload is None or architecture is None or mapping is None:
        hints = {
            "workload": "add a section 'workload:' (Timeloop: 'problem:')",
            "architecture": "add a section 'architecture:', or name a design with --arch",
            "mapping": "add a section 'mapping:' that says which loops run at which level",
        }
        files = " ".join(str(path) for path in paths)
        raise SpecError(
            f"no {' and no '.join(missing)} in {files}",
            hint="; ".join(hints[part] for part in missing) + " (docs/yaml.md)",
        )
    return workload, architecture, mapping


@contextmanager
def placed(paths: list[Path]) -> Iterator[None]:
    """Give errors that only know names (of levels, tensors, variables) the files that hold them."""
    try:
        yield
    except FiberloomError as error:
        where = error.where or Location()
        if where.file is None:
            error.where = Location(" ".join(str(path) for path in paths), where.line, where.field)
        raise
