"""``fiberloom demo``: published designs side by side on a convolution and a matrix product."""

from __future__ import annotations

from typing import Annotated

import typer


def demo(
    layer: Annotated[
        str | None, typer.Option("--layer", help="Only layers whose title contains this.", metavar="TEXT")
    ] = None,
) -> None:
    """Compare published sparse designs on a ResNet-50 layer and a transformer GEMM."""
    from fiberloom.architecture import library
    from fiberloom.cli.output import console
    from fiberloom.errors import SpecError
    from fiberloom.model.evaluate import evaluate
    from fiberloom.report.compare import Row, comparison_report
    from fiberloom.report.savings import feature_savings

    out = console()
    layers = [entry for entry in library.demo() if layer is None or layer.lower() in entry[0].lower()]
    if not layers:
        raise SpecError(
            f"no layer of the demo contains '{layer}'", hint="there are: " + "; ".join(title for title, _ in library.demo())
        )
    for title, entries in layers:
        rows = []
        for design, specification in entries:
            workload, architecture, mapping = specification.workload, specification.architecture, specification.mapping
            assert workload is not None and architecture is not None and mapping is not None
            base = specification.base_directory
            result = evaluate(workload, architecture, mapping, base_directory=base)
            saved = feature_savings(workload, architecture, mapping, result, base_directory=base)
            rows.append(Row(design, architecture, result, saved))
        for part in comparison_report(title, rows):
            out.print(part)
