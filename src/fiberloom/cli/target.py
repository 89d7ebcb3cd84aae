"""What the commands of mapping search: the problem, the map space and the objective that files and options name."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fiberloom.cli.files import placed, read_files
from fiberloom.errors import SpecError, UnsupportedError

if TYPE_CHECKING:
    from fiberloom.input.field import Field
    from fiberloom.input.specification import Specification
    from fiberloom.mapper.search import SearchProblem
    from fiberloom.mapping.constraints import Constraints

ObjectiveChoice = Annotated[
    str | None,
    typer.Option(
        "--objective",
        metavar="NAME",
        help="edp | energy | latency | a product such as energy*latency^2. Without it: as the files say, else edp.",
    ),
]
ConstraintsFile = Annotated[
    Path | None,
    typer.Option(
        "--constraints",
        metavar="FILE",
        help="Constraints of the map space, instead of the files' own (Timeloop's: beside them).",
    ),
]
RemaindersChoice = Annotated[
    bool, typer.Option("--remainders", help="Factors that do not divide the bounds too: last tiles may be partial.")
]


@dataclass(frozen=True)
class Target:
    """What is searched, and where it came from.

    Attributes:
        specification: as read, constraints in force; without the mapping.
        search: problem, space and objective.
        notes: what was ignored or reinterpreted.
    """

    specification: Specification
    search: SearchProblem
    notes: tuple[str, ...]


def read_target(
    files: list[Path],
    *,
    architecture: str | None,
    objective: str | None,
    constraints: Path | None,
    rules: str,
    remainders: bool = False,
) -> Target:
    """The search that `files` and the options of a command describe.

    Args:
        architecture: a design or file that replaces the files' architecture.
        objective: its name; None: the files' own, or the energy–delay product.
        constraints: a file of constraints.
        rules: name of a rule set.
        remainders: search factors that do not divide the bounds too.

    Raises:
        UnsupportedError: for remainders under the rules of a reference build.
        SpecError: for anything that can't be read, is missing, contradicts itself or leaves no mapping.
    """
    from fiberloom.mapper.objective import parse_objective
    from fiberloom.model.rules import rules as rule_set

    exact = rule_set(rules).exact  # wrong names are refused before the files are read
    if remainders and not exact:
        raise UnsupportedError(f"--remainders under the rules '{rules}'", hint="leave --rules or --remainders out")
    wanted = parse_objective(objective) if objective is not None else None
    native = constraints is not None and _is_native(constraints)
    given = [*files, constraints] if constraints is not None and not native else files
    specification = read_files(given, architecture)
    _refuse_incomplete(specification, files)
    workload, hardware = specification.workload, specification.architecture
    assert workload is not None and hardware is not None
    notes = list(specification.warnings)
    if specification.mapping is not None:
        notes.append("the mapping in the files is ignored: this command searches its own")
    if constraints is not None and native:
        specification = replace(specification, constraints=_native_constraints(constraints, specification))

    from fiberloom.mapper.search import SearchProblem
    from fiberloom.mapping.space import MapSpace
    from fiberloom.model.lower import lower

    with placed(given):
        if not remainders:  # else the map space checks them: factors need not divide bounds
            specification.constraints.check(workload, hardware)
        problem = lower(workload, hardware, rule_set=rules, base_directory=specification.base_directory)
        space = MapSpace(workload, hardware, specification.constraints, remainders=remainders)
    notes += [f"the factors of '{v}' divide its bound: {reason}" for v, reason in space.perfect_variables.items()]
    if wanted is None:
        wanted = parse_objective(specification.objective or "edp")
    return Target(
        replace(specification, mapping=None), SearchProblem(problem, space, wanted), tuple(dict.fromkeys(notes))
    )


def refuse_budgets(**budgets: float | None) -> None:
    """Raise unless the budgets that are given, by option, are positive and finite."""
    for option, budget in budgets.items():
        if budget is not None and not 0 < budget < math.inf:
            raise SpecError(f"--{option} is {budget:g}", hint="a budget is a positive number")


def _refuse_incomplete(specification: Specification, files: list[Path]) -> None:
    missing = [part for part in ("workload", "architecture") if getattr(specification, part) is None]
    if not missing:
        return
    hints = {
        "workload": "add a section 'workload:' (Timeloop: 'problem:')",
        "architecture": "add a section 'architecture:', or name a design with --arch",
    }
    raise SpecError(
        f"no {' and no '.join(missing)} in {' '.join(map(str, files))}",
        hint="; ".join(hints[part] for part in missing) + " (docs/yaml.md)",
    )


def _sections(path: Path) -> dict[str, Field]:
    from fiberloom.input.field import Field
    from fiberloom.input.yaml_source import read_yaml

    sections: dict[str, Field] = {}
    for source in read_yaml(path):
        root = Field(source.data, source)
        if not root.is_mapping:
            raise root.error("a file of constraints is a mapping of sections", "start with 'constraints:'")
        sections |= root.mapping()
    return sections


def _is_native(path: Path) -> bool:
    """Whether a file's constraints are written as fiberloom's own, by level name; Timeloop's list targets."""
    from fiberloom.input.timeloop_constraints import SECTIONS

    sections = _sections(path)
    found = [sections[key] for key in sections if key.replace("-", "_") in SECTIONS]
    if not found:
        raise SpecError(f"there are no constraints in {path}", hint="add a section 'constraints:' (docs/mapping.md)")
    own = sections.get("constraints")
    return own is not None and (own.value is None or (own.is_mapping and "targets" not in own.value))


def _native_constraints(path: Path, specification: Specification) -> Constraints:
    from fiberloom.input.native import scope_of
    from fiberloom.input.native_constraints import read_native_constraints

    sections = _sections(path)
    section = sections["constraints"].in_scope(scope_of(sections))
    return read_native_constraints(section, specification.workload, specification.architecture)
