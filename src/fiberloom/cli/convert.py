"""``fiberloom import``: other tools' files as fiberloom's own YAML."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fiberloom.cli.files import Files, read_files
from fiberloom.errors import FiberloomError


def import_files(
    files: Files,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="OUT", help="File to write; standard output when absent.")
    ] = None,
) -> None:
    """Convert Timeloop or Sparseloop files into fiberloom's own YAML."""
    specification = read_files(files)

    from fiberloom.input.native_dump import dump

    text = dump(specification)
    for warning in specification.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FiberloomError(
            f"can't write {output}: {error.strerror}", hint="give a file in a folder that exists"
        ) from None
