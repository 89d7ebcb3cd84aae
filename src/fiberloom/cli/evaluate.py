"""``fiberloom evaluate``: what one mapping costs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from fiberloom.cli.files import ArchitectureChoice, AsJson, Files, complete, placed, read_files
from fiberloom.cli.output import print_all, print_json

if TYPE_CHECKING:
    from fiberloom.input.specification import Specification
    from fiberloom.model.evaluation import Evaluation

Rules = Annotated[
    str,
    typer.Option(
        "--rules",
        help="How the model resolves what builds of the reference tool do differently: "
        "fiberloom | timeloop-4 | timeloop-3.0.3 | artifact.",
    ),
]


def evaluate(
    files: Files,
    rules: Rules = "fiberloom",
    json: AsJson = False,
    fit_check: Annotated[
        bool, typer.Option("--fit-check/--no-fit-check", help="Refuse mappings whose tiles do not fit, or only warn.")
    ] = True,
    arch: ArchitectureChoice = None,
    savings: Annotated[
        bool,
        typer.Option(
            "--savings/--no-savings", help="Evaluate again without each sparse feature, to show what it saves."
        ),
    ] = True,
) -> None:
    """Evaluate one mapping: cycles, energy, area, and the account behind them."""
    from fiberloom.model.rules import rules as rule_set

    rule_set(rules)  # a wrong name is refused before the files are read
    specification = read_files(files, arch)
    parts = complete(specification, files)

    from fiberloom.model.evaluate import evaluate as evaluate_mapping

    base = specification.base_directory
    with placed(files):
        result = evaluate_mapping(*parts, rules=rules, base_directory=base, check_fit=fit_check)
    result = replace(result, warnings=(*specification.warnings, *result.warnings))
    if json:
        print_json(result.to_dict())
        return
    _print_tables(specification, result, rules, savings)


def _print_tables(specification: Specification, result: Evaluation, rules: str, savings: bool) -> None:

    from fiberloom.report.savings import feature_savings
    from fiberloom.report.tables import evaluation_report

    workload, architecture, mapping = specification.workload, specification.architecture, specification.mapping
    assert workload is not None and architecture is not None and mapping is not None
    saved = (
        feature_savings(
            workload, architecture, mapping, result, rules=rules, base_directory=specification.base_directory
        )
        if savings
        else ()
    )
    print_all(evaluation_report(result, saved))
