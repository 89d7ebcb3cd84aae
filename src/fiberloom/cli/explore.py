"""``fiberloom explore``: which design to build."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from fiberloom.cli.explore_compare import explore_compare
from fiberloom.cli.explore_options import (
    Budgets,
    Hyper,
    Limits,
    Objectives,
    Space,
    Workloads,
    goal_of,
    problem_of,
    read_budgets,
    read_hyper,
)
from fiberloom.cli.explore_proxy import explore_proxy
from fiberloom.cli.explore_report import Csv, Html, explore_report, explore_runs, save_pages
from fiberloom.cli.failure import EXIT_INTERRUPTED
from fiberloom.cli.files import AsJson
from fiberloom.cli.output import print_all, print_json
from fiberloom.cli.saving import refuse_unwritable
from fiberloom.errors import MappingError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fiberloom.explore import Goal, Progress


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


@explore.command("run")
def run(
    space: Space,
    workload: Workloads = None,
    objective: Objectives = None,
    limit: Limits = None,
    budget: Budgets = None,
    agent: Annotated[
        str | None,
        typer.Option(
            "--agent",
            metavar="NAME",
            help="Who proposes designs, see 'agents'; without it Optuna's tpe, for a front nsga2 (without Optuna genetic). "
            "A command with a blank is an agent from outside.",
        ),
    ] = None,
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
            "--executor",
            metavar="NAME",
            help="serial, processes or ray; without it, processes where evaluations are slow.",
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
    address: Annotated[
        str | None, typer.Option("--address", metavar="HOST:PORT", help="Of a Ray cluster; auto: this machine's.")
    ] = None,
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
    from fiberloom.explore.pipe import outside_agent

    for path in (csv, html):
        refuse_unwritable(path)
    if resume and store is None:
        raise SpecError("--resume without --store", hint="name the store that the run was kept in")
    problem = problem_of(space, workload)
    goal = goal_of(problem, objective, limit)
    evaluations, seconds = read_budgets(budget)
    agent = agent or default_agent(goal)
    outside = " " in agent.strip()
    searcher = (
        outside_agent(agent, problem, goal, seed, **read_hyper(hyper))
        if outside
        else make_agent(agent, problem, goal, seed, **read_hyper(hyper))
    )
    start = [problem.space.point(values) for values in problem.file.known.values()] if known else []
    evaluating = make_executor(executor, problem, workers=jobs, seconds=timeout, address=address)
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
    if not found.front:
        raise typer.Exit(MappingError.exit_code)


explore.command("compare")(explore_compare)
explore.command("proxy")(explore_proxy)
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


def default_agent(goal: Goal) -> str:
    """Optuna's samplers where Optuna is installed: one for a front, one for a single objective."""
    if find_spec("optuna") is None:
        return "genetic"
    return "nsga2" if len(goal.aims) > 1 else "tpe"


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
