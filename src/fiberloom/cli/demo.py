"""``fiberloom demo``: published designs side by side on a convolution and a matrix product."""

from __future__ import annotations

from typing import Annotated

import typer

from fiberloom.cli.output import print_all


def demo(
    layer: Annotated[
        str | None, typer.Option("--layer", help="Only layers whose title contains this.", metavar="TEXT")
    ] = None,
) -> None:
    """Compare published sparse designs on a ResNet-50 layer and a transformer GEMM."""
    from fiberloom.architecture import library
    from fiberloom.errors import SpecError
    from fiberloom.model.evaluate import evaluate
    from fiberloom.report.compare import Row, comparison_report
    from fiberloom.report.savings import feature_savings

    everything = library.demo()
    layers = [entry for entry in everything if layer is None or layer.lower() in entry[0].lower()]
    if not layers:
        titles = "; ".join(title for title, _ in everything)
        raise SpecError(f"no layer of the demo contains '{layer}'", hint=f"there are: {titles}")
    for title, runs in layers:
        rows = []
        for run in runs:
            result = evaluate(run.workload, run.architecture, run.mapping)
            plain = evaluate(run.workload, run.plain_architecture, run.plain_mapping)
            saved = feature_savings(run.workload, run.architecture, run.mapping, result)
            rows.append(Row(run.design, run.architecture, result, plain, saved, run.note))
        print_all(comparison_report(title, rows))
