"""What the commands of ``fiberloom explore`` have in common: space, workloads, goal, budgets, hyper-parameters."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fiberloom.errors import SpecError

if TYPE_CHECKING:
    from fiberloom.explore import DesignProblem, Goal

_BUDGET = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[a-z]*)")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}

Space = Annotated[str, typer.Argument(metavar="SPACE", help="A space of the library or a YAML file; see 'spaces'.")]
Workloads = Annotated[
    list[str] | None,
    typer.Option(
        "--workload", metavar="NET[@D]", help="A network, its weights' density after @: resnet50@2:4; repeat it."
    ),
]
Objectives = Annotated[
    list[str] | None,
    typer.Option("--objective", metavar="METRIC", help="To minimise: edp, 'max lanes'; repeat for a front."),
]
Limits = Annotated[
    list[str] | None, typer.Option("--limit", metavar="M<=X", help="A constraint: 'area <= 5'; repeat it.")
]
Budgets = Annotated[
    list[str] | None,
    typer.Option("--budget", metavar="N|TIME", help="Designs (200) or time (90s, 10min); both: what is first."),
]
Hyper = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A hyper-parameter of the agent; repeat it.")
]
DEFAULT_EVALUATIONS = 100


def problem_of(space: str, workloads: list[str] | None) -> DesignProblem:
    """The problem of a space, with workloads of the command line.

    Raises:
        SpecError: for a space or workload that there is not.
    """
    from fiberloom.explore import make_problem

    if not workloads:
        return make_problem(space)
    from fiberloom.explore.accelerator.workload import parse_workload

    return make_problem(space, workloads=[parse_workload(text) for text in workloads])


def goal_of(problem: DesignProblem, objectives: list[str] | None, limits: list[str] | None) -> Goal:
    """The goal of the options; what they leave out is the space's, without which the objective is the problem's first metric."""
    from fiberloom.explore import Goal

    file = problem.file
    wanted = objectives or file.objectives or [next(iter(problem.metrics))]
    return Goal.parse(wanted, file.limits if limits is None else limits, problem.metrics)


def read_budgets(texts: list[str] | None) -> tuple[int | None, float | None]:
    """Evaluations and seconds.

    Raises:
        SpecError: for what is neither, or stands twice.
    """
    evaluations: int | None = None
    seconds: float | None = None
    for text in texts or []:
        found = _BUDGET.fullmatch(text.strip().lower())
        unit = found["unit"] if found else "?"
        number = float(found["number"]) if found else 0.0
        if found is None or number <= 0 or (unit not in _SECONDS if unit else not number.is_integer()):
            raise SpecError(f"--budget {text}", hint="a number of designs (200), or a time: 90s, 10min, 2h")
        if (seconds if unit else evaluations) is not None:
            raise SpecError(f"--budget {text} is a second one of its kind", hint="give one number and one time at most")
        if unit:
            seconds = number * _SECONDS[unit]
        else:
            evaluations = int(number)
    return (DEFAULT_EVALUATIONS, None) if evaluations is None and seconds is None else (evaluations, seconds)


def read_hyper(texts: list[str] | None) -> dict[str, Any]:
    """Hyper-parameters of ``--set name=value``.

    Raises:
        SpecError: for what is not of that form.
    """
    from fiberloom.input.yaml_source import parse_yaml

    found: dict[str, Any] = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise SpecError(f"--set {text} is not name=value", hint="for example: --set population=40")
        (source,) = parse_yaml(f"value: {value}", "--set")
        found[name.strip().replace("-", "_")] = source.data["value"]
    return found
