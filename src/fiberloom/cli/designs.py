"""``fiberloom designs``: the library of published designs."""

from __future__ import annotations

from typing import Annotated

import typer

from fiberloom.cli.files import AsJson
from fiberloom.cli.output import print_json

designs = typer.Typer(help="The library of published designs: list them, or show one.", add_completion=False)


@designs.callback(invoke_without_command=True)
def _list(context: typer.Context, json: AsJson = False) -> None:
    """List the published designs with their place in the taxonomy of sparse features."""
    if context.invoked_subcommand is not None:
        return
    from fiberloom.architecture import library

    found = [library.describe(name) for name in library.names()]
    if json:
        from fiberloom.report.designs import design_dict

        print_json({"version": 1, "designs": [design_dict(info) for info in found]})
        return
    from fiberloom.cli.output import console
    from fiberloom.report.designs import designs_table

    console().print(designs_table(found))


@designs.command("show")
def show(name: Annotated[str, typer.Argument(help="As 'fiberloom designs' lists it.")]) -> None:
    """Draw the hierarchy of one design with its sparse features, and name its sources."""
    from fiberloom.architecture import library
    from fiberloom.cli.output import console
    from fiberloom.report.designs import design_report

    out = console()
    info = library.describe(name)
    for part in design_report(info, library.draw(info, width=max(60, out.width - 1))):
        out.print(part)
