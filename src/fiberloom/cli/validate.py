"""``fiberloom validate``: our numbers beside published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fiberloom.cli.files import AsJson


def validate(
    reference: Annotated[
        Path | None,
        typer.Option("--reference", metavar="DIR", help="Run every case of a directory of reference cases instead."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Compare with published figures; exit code 1 when one is outside its allowed error."""
    if reference is not None:
        from fiberloom.validate.reference import run_reference

        passed = run_reference(reference, as_json=json)
    else:
        from fiberloom.validate import run

        passed = run(as_json=json)
    if not passed:
        raise typer.Exit(1)
