"""``fiberloom cost-models``: one mapping under every cost model."""

from __future__ import annotations

from typing import Annotated

import typer

from fiberloom.cli.files import ArchitectureChoice, AsJson, Files, complete, placed, read_files
from fiberloom.cli.output import print_all, print_json


def cost_models(
    files: Files,
    json: AsJson = False,
    arch: ArchitectureChoice = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Only this model; may be given again.", metavar="NAME")
    ] = None,
) -> None:
    """Evaluate one mapping with every cost model, with the bounds that each has checked."""
    from fiberloom import cost_models as models

    chosen = [models.cost_model(name) for name in dict.fromkeys(model)] if model else list(models.cost_models())
    specification = read_files(files, arch)
    workload, architecture, mapping = complete(specification, files)

    from fiberloom.cost_models import DataCentricModel
    from fiberloom.model.lower import lower
    from fiberloom.report.cost_models import Answer, cost_models_dict, cost_models_report

    answers, directives = [], ""
    with placed(files):
        problem = lower(workload, architecture, base_directory=specification.base_directory)
        for one in chosen:
            reasons = one.supports(problem)
            answers.append(Answer(one, None if reasons else one.evaluate(problem, mapping), reasons))
            if isinstance(one, DataCentricModel) and not reasons:
                directives = one.directives(problem, mapping)
    if json:
        print_json(cost_models_dict(str(workload), architecture.name, answers, directives))
        return
    print_all(cost_models_report(f"{workload} on {architecture.name}", answers, directives))
