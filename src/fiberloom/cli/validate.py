"""``fiberloom validate``: our numbers beside published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fiberloom.cli.files import AsJson
from fiberloom.cli.output import print_all, print_json


def validate(
    reference: Annotated[
        Path | None,
        typer.Option("--reference", metavar="DIR", help="Run every case of a directory of reference cases instead."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Compare with published figures; exit code 1 when one is outside its allowed error."""
    if not (
        _against_reference(reference, as_json=json) if reference is not None else _against_publications(as_json=json)
    ):
        raise typer.Exit(1)


def _against_publications(*, as_json: bool) -> bool:
    from fiberloom.report.validation import comparison_report
    from fiberloom.validate import run

    comparisons = run()
    passed = all(comparison.passed for comparison in comparisons)
    if as_json:
        print_json({"version": 1, "passed": passed, "comparisons": [c.to_dict() for c in comparisons]})
    else:
        print_all(comparison_report(comparisons))
    return passed


def _against_reference(directory: Path, *, as_json: bool) -> bool:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from fiberloom.report.validation import reference_report
    from fiberloom.validate.reference import cases_in, passed, run_case, summary

    cases = cases_in(directory)
    columns = (TextColumn("cases"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        results = [run_case(case) for case in progress.track(cases)]
    if as_json:
        print_json(summary(results))
    else:
        print_all(reference_report(results))
    return passed(results)
