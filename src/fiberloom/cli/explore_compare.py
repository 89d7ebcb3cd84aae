"""``fiberloom explore compare``: agents at equal budget, every one beside random."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fiberloom.cli.explore_options import (
    Budgets,
    Limits,
    Objectives,
    Space,
    Workloads,
    goal_of,
    problem_of,
    read_budgets,
)
from fiberloom.cli.failure import EXIT_INTERRUPTED
from fiberloom.cli.files import AsJson
from fiberloom.cli.output import print_all, print_json
from fiberloom.cli.saving import refuse_unwritable
from fiberloom.errors import SpecError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    from fiberloom.explore import Progress

SEEDS = 5
"""The fewest with which an agent that wins every time passes for better than random with a wide margin (chance 1 of 252)."""


def explore_compare(
    space: Space,
    agent: Annotated[
        list[str] | None,
        typer.Option(
            "--agent", metavar="NAME", help="To compare with random; repeat it. Without it, all that can run."
        ),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option("--grid", metavar="[AGENT.]NAME=V1,V2", help="Try every value of a hyper-parameter; repeat it."),
    ] = None,
    workload: Workloads = None,
    objective: Objectives = None,
    limit: Limits = None,
    budget: Budgets = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Runs of every setting, from seed 0 on.")] = SEEDS,
    target: Annotated[
        float | None,
        typer.Option(
            "--target", metavar="X", help="Which settings reach X? Without it, what random's best run reached."
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option("--store", metavar="FILE", help="Keep and reuse evaluations (budgets in designs only)."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", metavar="N", help="Designs at a time; without it, one per core.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="OUT", help="Save curves and lottery as one HTML file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare agents at equal budget: medians and quartiles over seeds, and whether each beats random.

    With a number of designs and a time, every agent runs under each budget. With --grid, every combination of values is a
    setting of its own, and how many of an agent's settings reach a target shows how much its hyper-parameters matter.
    """
    from fiberloom.explore.executors import make_executor
    from fiberloom.explore.store import ExplorationStore
    from fiberloom.explore.sweep import compare

    refuse_unwritable(html)
    problem = problem_of(space, workload)
    goal = goal_of(problem, objective, limit)
    evaluations, seconds = read_budgets(budget)
    settings = read_settings(agent, grid)
    evaluating = make_executor(None, problem, workers=jobs)
    kept = ExplorationStore(store) if store is not None else None
    try:
        with _shown(len(settings), seeds) as told, evaluating:
            found = compare(
                problem, goal, settings, seeds=seeds, evaluations=evaluations, seconds=seconds, executor=evaluating,
                store=kept, skip_missing=not agent, progress=told,
            )  # fmt: skip
    finally:
        if kept is not None:
            kept.close()
    if html is not None:
        from fiberloom.report.html.exploration_comparison import write_comparison

        write_comparison(found, problem.file.title or problem.file.name, html, target)
    if as_json:
        from fiberloom.report.exploration_comparison import comparison_dict

        print_json({"space": problem.file.name, **comparison_dict(found, target)})
    else:
        from fiberloom.report.exploration_comparison import comparison_report

        print_all(comparison_report(found, target))
        sys.stdout.flush()
    if found.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)


def read_settings(names: Sequence[str] | None, grids: Sequence[str] | None) -> list[tuple[str, dict[str, Any]]]:
    """Every setting of every agent: all combinations of the values of its grid.

    A hyper-parameter without an agent's name is for all named agents that have it.

    Raises:
        SpecError: for agents that there are not, and a hyper-parameter that none of them has.
    """
    from fiberloom.explore import agents
    from fiberloom.explore.sweep import grid

    known = agents()
    for name in names or ():
        if name not in known:
            raise SpecError(f"there is no agent '{name}'", hint=nearest(name, known))
    chosen = list(dict.fromkeys(names or known))
    choices: dict[str, dict[str, list[Any]]] = {name: {} for name in chosen}
    for text in grids or ():
        owner, hyper, values = _grid(text)
        if owner and owner not in choices:
            raise SpecError(f"--grid {text}: '{owner}' is not compared", hint=nearest(owner, chosen))
        takers = [owner] if owner else [name for name in chosen if hyper in known[name].defaults()]
        legal = {h for name in ([owner] if owner else chosen) for h in known[name].defaults()}
        if hyper not in legal or not takers:
            whose = f"'{owner}' has" if owner else "no agent that is compared has"
            raise SpecError(f"{whose} {'no' if owner else 'a'} hyper-parameter '{hyper}'", hint=nearest(hyper, legal))
        for name in takers:
            choices[name][hyper] = values
    return [setting for name in chosen for setting in grid(name, choices[name])]


def _grid(text: str) -> tuple[str, str, list[Any]]:
    """Agent (or nothing), hyper-parameter and values of ``agent.name=v1,v2``."""
    from fiberloom.input.yaml_source import parse_yaml

    place, equals, listed = text.partition("=")
    owner, _, hyper = place.rpartition(".")
    if not equals or not hyper.strip() or not listed.strip(" ,"):
        raise SpecError(f"--grid {text} is not name=v1,v2", hint="for example: --grid genetic.population=20,40")
    (source,) = parse_yaml(f"values: [{listed}]", "--grid")
    return owner.strip(), hyper.strip().replace("-", "_"), list(source.data["values"])


@contextmanager
def _shown(settings: int, seeds: int) -> Iterator[Callable[[str, int, Progress], None] | None]:
    """A line on stderr that says which run it is; nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Display

    console = Console(stderr=True)
    columns = (SpinnerColumn(), BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn())
    with Display(
        *columns, TextColumn("{task.description}"), console=console, transient=True, disable=not console.is_terminal
    ) as display:
        task = display.add_task("", total=settings * seeds)
        runs: set[tuple[str, int]] = set()

        def listen(name: str, seed: int, news: Progress) -> None:
            runs.add((name, seed))
            said = f"{name}, seed {seed}: {news.trials:,} designs, {news.rate:.2g}/s"
            display.update(task, completed=len(runs) - 1, description=said)

        yield listen
