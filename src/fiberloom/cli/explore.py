"""``fiberloom explore``: which design to build."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from fiberloom.cli.explore_report import Csv, Html, explore_report, explore_runs, save_pages
from fiberloom.cli.failure import EXIT_INTERRUPTED
from fiberloom.cli.files import AsJson
from fiberloom.cli.output import print_all, print_json
from fiberloom.cli.saving import refuse_unwritable
from fiberloom.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fiberloom.explore import DesignProblem, Goal, Progress

_BUDGET = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[a-z]*)")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


class _RunByDefault(TyperGroup):
    """A group whose first argument may be a space: then it runs."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["run", *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


explore = typer.Typer(
    cls=_RunByDefault,
    no_args_is_help=True,
    help="Search a space of designs: fiberloom explore SPACE. The other commands compare agents and show what was found.",
)

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


@explore.command("run")
def run(
    space: Space,
    workload: Workloads = None,
    objective: Objectives = None,
    limit: Limits = None,
    budget: Budgets = None,
    agent: Annotated[
        str, typer.Option("--agent", metavar="NAME", help="Who proposes designs; see 'agents'.")
    ] = "random",
    hyper: Hyper = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the agent's random choices.")] = 0,
    store: Annotated[
        Path | None, typer.Option("--store", metavar="FILE", help="Keep every evaluation here as it is made.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the store's last run of this agent and goal.")
    ] = False,
    prune: Annotated[bool, typer.Option(help="Leave out designs whose bounds lose already.")] = True,
    known: Annotated[bool, typer.Option(help="Try the space's named designs first.")] = True,
    executor: Annotated[
        str | None,
        typer.Option(
            "--executor", metavar="NAME", help="serial or processes; without it, processes where evaluations are slow."
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", metavar="N", help="Designs at a time; without it, one per core.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="S", help="Most seconds for one design; it has failed then.")
    ] = None,
    csv: Csv = None,
    html: Html = None,
    as_json: AsJson = False,
) -> None:
    """Search a space of designs for the best, or for a Pareto front.

    Every layer of the workloads is mapped for every design; what was evaluated is kept in the store, and a run that was
    stopped goes on with --resume.
    """
    from fiberloom.explore import ExplorationStore, make_agent
    from fiberloom.explore import explore as search
    from fiberloom.explore.executors import make_executor
    from fiberloom.explore.exploration import ExplorationError

    for path in (csv, html):
        refuse_unwritable(path)
    if resume and store is None:
        raise SpecError("--resume without --store", hint="name the store that the run was kept in")
    problem = problem_of(space, workload)
    goal = goal_of(problem, objective, limit)
    evaluations, seconds = read_budgets(budget)
    searcher = make_agent(agent, problem, goal, seed, **read_hyper(hyper))
    start = [problem.space.point(values) for values in problem.file.known.values()] if known else []
    evaluating = make_executor(executor, problem, workers=jobs, seconds=timeout)
    kept = ExplorationStore(store) if store is not None else None
    fault: ExplorationError | None = None
    try:
        with shown(agent, goal) as progress, evaluating:
            found = search(
                problem, searcher, evaluations=evaluations, seconds=seconds, seed=seed, executor=evaluating, store=kept,
                resume=resume, prune=prune, start=start, progress=progress,
            )  # fmt: skip
    except ExplorationError as error:
        found, fault = error.found, error
    finally:
        if kept is not None:
            kept.close()
    if resume and not found.resumed:
        print(f"{store} had no run of this agent, seed and goal: one was begun", file=sys.stderr)
    save_pages(found, html, csv)
    if as_json:
        from fiberloom.report.exploration import exploration_dict

        print_json(exploration_dict(found))
    else:
        from fiberloom.report.exploration import exploration_report

        print_all(exploration_report(found))
        sys.stdout.flush()
    if fault is not None:
        raise fault
    if found.stopped == "interrupted":
        if store is not None:
            print(f"interrupted; --resume goes on from {store}", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED)


explore.command("report")(explore_report)
explore.command("runs")(explore_runs)


@explore.command("spaces")
def spaces(as_json: AsJson = False) -> None:
    """List the spaces of the library."""
    from fiberloom.explore import read_space, space_names
    from fiberloom.report.exploration import spaces_report

    files = [read_space(name) for name in space_names()]
    if as_json:
        print_json({"spaces": [{"name": f.name, "title": f.title, **f.space.to_dict()} for f in files]})
    else:
        print_all(spaces_report(files))


@explore.command("agents")
def list_agents(as_json: AsJson = False) -> None:
    """List the agents and their hyper-parameters."""
    from fiberloom.explore import agents
    from fiberloom.report.exploration import agents_report

    known = agents()
    if as_json:
        print_json({"agents": [{"name": n, "summary": a.summary, "defaults": a.defaults()} for n, a in known.items()]})
    else:
        print_all(agents_report(known))


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
    """The goal of the options; without an objective, the problem's first metric."""
    from fiberloom.explore import Goal

    return Goal.parse(objectives or [next(iter(problem.metrics))], limits or [], problem.metrics)


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
        if found is None or (unit and unit not in _SECONDS) or float(found["number"]) <= 0:
            raise SpecError(f"--budget {text}", hint="a number of designs (200), or a time: 90s, 10min, 2h")
        if (seconds if unit else evaluations) is not None:
            raise SpecError(f"--budget {text} is a second one of its kind", hint="give one number and one time at most")
        if unit:
            seconds = float(found["number"]) * _SECONDS[unit]
        else:
            evaluations = int(float(found["number"]))
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


@contextmanager
def shown(agent: str, goal: Goal) -> Iterator[Callable[[Progress], None]]:
    """A line on stderr that says how far the exploration is; nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Display

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=20))
    with Display(*columns, console=console, transient=True, disable=not console.is_terminal) as display:
        task = display.add_task(agent, total=None)

        def listen(news: Progress) -> None:
            said = f"{agent}: {news.trials:,} designs ({news.pruned:,} pruned, {news.known:,} known), {news.rate:.2g}/s"
            if news.front:
                said += f", front {news.front}, best {news.best:.4g}"
            if news.left is not None:
                said += f", {news.left:,.0f} s left"
            whole = None if news.left is None else news.seconds + news.left
            display.update(task, description=said, total=whole, completed=news.seconds)

        yield listen
