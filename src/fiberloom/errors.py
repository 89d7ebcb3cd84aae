"""The one error type that users see, with the place it points to."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True)
class Location:
    """Where in the user's input something stands: file, 1-based line, and the path of fields that leads to it."""

    file: str | None = None
    line: int | None = None
    field: str | None = None

    def __str__(self) -> str:
        place = self.file or ""
        if self.line is not None:
            place += f"{':' if place else 'line '}{self.line}"
        if self.field:
            place += f"{': ' if place else ''}{self.field}"
        return place


class FiberloomError(Exception):
    """Base of every error that fiberloom raises on purpose.

    Args:
        problem: what was found, in one sentence.
        where: file, line and field.
        hint: what would be right.
    """

    exit_code = 1

    def __init__(self, problem: str, *, where: Location | None = None, hint: str | None = None) -> None:
        self.problem = problem
        self.where = where
        self.hint = hint
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where is not None and str(self.where) else ""
        return f"{place}{self.problem}" + (f"\n  {self.hint}" if self.hint else "")


class SpecError(FiberloomError):
    """A specification (workload, architecture, mapping, file) that can't be read or is not meaningful."""

    exit_code = 2


class UnsupportedError(SpecError):
    """A feature of an input that fiberloom knows by name and does not support."""

    exit_code = 3


class MappingError(FiberloomError):
    """A mapping that does not fit the workload or the architecture (factors, capacity, fan-out, ranks)."""

    exit_code = 4


class MissingExtraError(FiberloomError):
    """An optional dependency that is not installed; the message says how to install it."""

    exit_code = 5

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package '{package}'", hint=f"pip install 'fiberloom[{extra}]'")


def require(module: str, package: str, extra: str, purpose: str) -> None:
    """See that an optional package is there, before what needs it deep inside.

    Raises:
        MissingExtraError: if it can't be imported.
    """
    try:
        import_module(module)
    except ImportError:
        raise MissingExtraError(package, extra, purpose) from None


def nearest(name: str, candidates: Iterable[str]) -> str:
    """A hint that names the closest candidate when `name` looks mistyped, and lists the legal names otherwise."""
    names = [str(c) for c in candidates]
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return "known: " + ", ".join(names[:24]) + (", …" if len(names) > 24 else "") if names else "none is known here"
