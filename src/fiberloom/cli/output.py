"""Where commands print: one console for people, one JSON object for machines."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, ConsoleRenderable


def print_json(value: Any) -> None:
    """Print one JSON object on stdout: indented for people at a terminal, on one line, which takes half the time, for programs.

    Raises:
        ValueError: for NaN or infinity, which JSON has not (a fault of fiberloom).
    """
    indent = 1 if sys.stdout.isatty() else None
    sys.stdout.write(json.dumps(value, indent=indent, allow_nan=False) + "\n")
    sys.stdout.flush()


def print_all(parts: Iterable[ConsoleRenderable]) -> None:
    """Print the parts of a report one after the other."""
    out = console()
    for part in parts:
        out.print(part)


def console() -> Console:
    """A console on stdout; 100 columns wide where there is no terminal and COLUMNS does not say otherwise."""
    from rich.console import Console

    class _Console(Console):
        """Leaves a broken pipe to `fiberloom.cli.program`."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 100
    return _Console(highlight=False, width=width)
