"""Errors as people and machines read them: one panel, or one JSON object, on stderr."""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from fiberloom.errors import FiberloomError

EXIT_USAGE: Final = 2
"""The command line can't be understood; the same code as input that can't be read."""
EXIT_INTERNAL: Final = 70
"""A fault of fiberloom itself (EX_SOFTWARE of sysexits.h)."""
EXIT_INTERRUPTED: Final = 130
"""128 + SIGINT, as shells report it."""
EXIT_BROKEN_PIPE: Final = 141
"""128 + SIGPIPE, as shells report it."""

_LONGEST = 1200
"""Characters of a problem or hint that are shown: an error fits on one screen."""


def report(error: FiberloomError, kind: str, exit_code: int, *, as_json: bool) -> int:
    """Show `error` on stderr and return `exit_code`.

    Args:
        kind: machine-readable class of the error.
    """
    if as_json:
        print(json.dumps({"error": as_dict(error, kind, exit_code)}), file=sys.stderr)
        return exit_code
    from rich.console import Console
    from rich.panel import Panel
    from rich.text import Text

    text = Text(_shortened(error.problem))
    place = str(error.where) if error.where is not None else ""
    if error.hint:
        text.append("\n" + _shortened(error.hint), style="cyan")
    console = Console(stderr=True, highlight=False)
    title = Text(place or "error", style="bold red", overflow="ellipsis", no_wrap=True)
    if len(place) > console.width - 8:  # a place that does not fit the frame goes into it
        title = Text("error", style="bold red")
        text = Text.assemble((place + "\n", "bold"), text)
    console.print(Panel(text, title=title, title_align="left", border_style="red"))
    return exit_code


def as_dict(error: FiberloomError, kind: str, exit_code: int) -> dict[str, Any]:
    """The object under ``error`` that ``--json`` prints (docs/json.md)."""
    where = error.where
    return {
        "type": kind,
        "problem": error.problem,
        "hint": error.hint,
        "file": where.file if where else None,
        "line": where.line if where else None,
        "field": where.field if where else None,
        "exit_code": exit_code,
    }


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"
