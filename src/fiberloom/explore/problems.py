"""The kinds of problems that a space file may name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Final

from fiberloom.errors import SpecError, nearest
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import SpaceFile, read_space

KINDS: Final = {
    "accelerator": "accelerator.problem:AcceleratorProblem",
    "dram": "dram.problem:DramProblem",
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
    kind = "accelerator"
    if "problem" in file.sections:
        section = file.sections["problem"]
        kind = section.mapping()["kind"].text() if "kind" in section.mapping() else kind
        if kind not in KINDS:
            raise SpecError(f"there is no problem of kind '{kind}'", where=section.where, hint=nearest(kind, KINDS))
    module, _, name = KINDS[kind].partition(":")
    made: DesignProblem = getattr(import_module(f"fiberloom.explore.{module}"), name)(file, **options)
    return made
