"""The kinds of problems that a space file may name."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from fiberloom.errors import SpecError, nearest
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import SpaceFile, parse_space, read_space
from fiberloom.explore.store import ExplorationStore

KINDS: Final = {
    "accelerator": "accelerator.problem:AcceleratorProblem",
    "dram": "dram.problem:DramProblem",
    "joint": "joint.problem:JointProblem",
    "airchitect": "learned.problem:AirchitectProblem",
}
"""Module and class by the ``kind:`` of a ``problem:`` section."""


def make_problem(space: str | Path | SpaceFile, **options: Any) -> DesignProblem:
    """The problem of a space: of the library by name, of a file, or as read.

    Args:
        options: of the problem's constructor, such as `workloads` of an accelerator.

    Raises:
        SpecError: for a space or kind that there is not, and as the problem's constructor.
    """
    file = space if isinstance(space, SpaceFile) else read_space(space)
    kind = _class(file)
    known = list(inspect.signature(kind).parameters)[1:]
    for name in options:
        if name not in known:
            raise SpecError(f"a problem of kind '{kind.kind}' has no {name}", hint=nearest(name, known))
    return kind(file, **options)


def stored_problem(store: ExplorationStore) -> DesignProblem:
    """The problem of a store, from the store alone.

    Raises:
        SpecError: for a store without a problem, and as `make_problem`.
    """
    facts = store.facts
    if not facts:
        raise SpecError(f"{store.path} holds no exploration", hint="give a file that 'explore --store' wrote")
    file = parse_space(facts["space"], store.file)
    return make_problem(file, **_class(file).options(facts))


def _class(file: SpaceFile) -> type[DesignProblem]:
    kind = "accelerator"
    if "problem" in file.sections:
        section = file.sections["problem"]
        kind = section.mapping()["kind"].text() if "kind" in section.mapping() else kind
        if kind not in KINDS:
            raise SpecError(f"there is no problem of kind '{kind}'", where=section.where, hint=nearest(kind, KINDS))
    module, _, name = KINDS[kind].partition(":")
    found: type[DesignProblem] = getattr(import_module(f"fiberloom.explore.{module}"), name)
    return found
