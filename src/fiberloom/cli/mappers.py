"""``fiberloom mappers``: list them, or compare them under one budget."""

from __future__ import annotations

import csv
import io
import json as json_module
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fiberloom.cli.evaluate import Rules
from fiberloom.cli.failure import EXIT_INTERRUPTED
from fiberloom.cli.files import ArchitectureChoice, AsJson
from fiberloom.cli.map import EXACT, MapperFiles
from fiberloom.cli.output import console, print_all, print_json
from fiberloom.cli.saving import make_folder, save
from fiberloom.cli.search_progress import stopped_empty_handed
from fiberloom.cli.target import ConstraintsFile, ObjectiveChoice, RemaindersChoice, read_target, refuse_budgets
from fiberloom.errors import SpecError

if TYPE_CHECKING:
    from fiberloom.mapper.comparison import MapperComparison, Yardstick
    from fiberloom.mapper.search import SearchProblem

mappers = typer.Typer(help="The mappers: list them, or compare them under one budget.", add_completion=False)

EVALUATIONS = 10_000
"""Budget of a comparison that is given none: what the published studies draw."""


@mappers.callback(invoke_without_command=True)
def _list(context: typer.Context, json: AsJson = False) -> None:
    """List the mappers with their hyper-parameters."""
    if context.invoked_subcommand is not None:
        return
    from fiberloom.mapper.search import searchers

    known = searchers()
    found: list[tuple[str, str, dict[str, Any]]] = [
        (EXACT, "the optimum, or the best within a limit, with a proof of how good it is (the default)", {})
    ]
    found += [(name, known[name].summary, known[name].defaults()) for name in known]
    if json:
        listed = [{"name": n, "summary": s, "hyper_parameters": _plain(h)} for n, s, h in found]
        print_json({"version": 1, "mappers": listed})
        return
    from fiberloom.report.mapper_comparison import mappers_table

    console().print(mappers_table(found))


def _plain(hyper: dict[str, Any]) -> dict[str, Any]:
    return {k: v if isinstance(v, (bool, int, float, str, type(None))) else str(v) for k, v in hyper.items()}


@mappers.command("compare")
def compare_mappers(
    files: MapperFiles,
    arch: ArchitectureChoice = None,
    objective: ObjectiveChoice = None,
    names: Annotated[
        str | None, typer.Option("--mappers", metavar="A,B,…", help="Which ones; all that can run when absent.")
    ] = None,
    evaluations: Annotated[
        int | None, typer.Option("--evaluations", metavar="N", help="Mappings per run; 10000 when there is no --time.")
    ] = None,
    time: Annotated[
        float | None,
        typer.Option("--time", metavar="S", help="Seconds per run; with --evaluations: in runs of its own."),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=1000, help="Runs per mapper and budget.")] = 5,
    exact_time: Annotated[
        float, typer.Option("--exact-time", metavar="S", help="For the exact mapper to prove the optimum; 0: none.")
    ] = 60.0,
    constraints: ConstraintsFile = None,
    remainders: RemaindersChoice = False,
    rules: Rules = "fiberloom",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Write curves.csv, curves.svg and summary.json there."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Compare mappers: one map space, one model, one budget, several seeds; values as multiples of the optimum."""
    refuse_budgets(time=time, evaluations=evaluations)
    if not 0 <= exact_time < math.inf:
        raise SpecError(f"--exact-time is {exact_time:g}", hint="a number of seconds, or 0 for no proof")
    if evaluations is None and time is None:
        evaluations = EVALUATIONS
    from fiberloom.mapper.comparison import chosen_mappers, compare

    wanted = None if names is None else [name.strip() for name in names.split(",") if name.strip()]
    wanted = None if wanted is None else [name for name in wanted if name != EXACT]  # the yardstick in any case
    chosen_mappers(wanted)
    target = read_target(
        files,
        architecture=arch,
        objective=objective,
        constraints=constraints,
        rules=rules,
        remainders=remainders,
    )
    if output is not None:
        make_folder(output)
    with stopped_empty_handed("the first mapper had finished"):
        optimum = _optimum(target.search, exact_time)
        with _progress(target.search) as told:
            result = compare(
                target.search,
                wanted,
                evaluations=evaluations,
                seconds=time,
                seeds=seeds,
                optimum=optimum,
                progress=told,
            )
    if result.best is None:
        from fiberloom.mapper.emptiness import why_nothing_is_valid

        raise why_nothing_is_valid(target.search, tried=target.search.evaluations)
    problem = target.search.problem
    title = f"{problem.workload.name} on {problem.architecture.name}"
    if output is not None:
        _write(result, title, output)
    _print(result, title, output, as_json=json)
    if result.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)


def _optimum(search: SearchProblem, seconds: float) -> Yardstick | None:
    from fiberloom.cli.search_progress import shown
    from fiberloom.errors import MappingError
    from fiberloom.mapper.comparison import yardstick
    from fiberloom.mapper.emptiness import why_nothing_is_valid

    if not seconds or search.space.remainders:
        return None
    try:
        with shown(EXACT, search.objective) as progress:
            return yardstick(search, seconds=seconds, memory_mb=4000, progress=progress)
    except MappingError as error:
        if error.hint is not None:  # stopped before anything was found
            return None
        raise why_nothing_is_valid(search) from None


def _progress(search: SearchProblem) -> Any:
    from contextlib import contextmanager

    from fiberloom.cli.search_progress import shown

    @contextmanager
    def told() -> Any:
        with shown("compare", search.objective) as show:
            yield lambda name, seed, news: show(news)

    return told()


def _write(result: MapperComparison, title: str, folder: Path) -> None:
    from fiberloom.report.mapper_comparison import comparison_dict, curve_rows
    from fiberloom.report.search_curves import curves_svg

    text = io.StringIO()
    columns = ("budget", "mapper", "seed", "evaluations", "seconds", "value", "ratio")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(curve_rows(result))
    save(folder / "curves.csv", text.getvalue())
    save(folder / "curves.svg", curves_svg(result, title))
    save(folder / "summary.json", json_module.dumps(comparison_dict(result), indent=1, allow_nan=False) + "\n")


def _print(result: MapperComparison, title: str, output: Path | None, *, as_json: bool) -> None:
    from rich.text import Text

    from fiberloom.report.mapper_comparison import comparison_dict, mapper_comparison_report

    if as_json:
        print_json(comparison_dict(result))
        return
    print_all((Text(title, style="bold"), *mapper_comparison_report(result)))
    if output is not None:
        print_all((Text(f" curves.csv, curves.svg and summary.json are in {output}", style="dim"),))
