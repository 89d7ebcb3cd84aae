"""``fiberloom explore report``: what a store's runs found, as a page and in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fiberloom.cli.files import AsJson
from fiberloom.cli.output import print_all, print_json
from fiberloom.cli.saving import refuse_unwritable, save
from fiberloom.errors import SpecError

if TYPE_CHECKING:
    from fiberloom.explore import Exploration, ExplorationStore
    from fiberloom.report.exploration_references import Reference

Csv = Annotated[Path | None, typer.Option("--csv", metavar="OUT", help="Save every trial as a row of a CSV file.")]
Html = Annotated[Path | None, typer.Option("--html", metavar="OUT", help="Save a report as one HTML file.")]


def explore_report(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="What 'explore --store' wrote.")],
    run: Annotated[
        int | None, typer.Option("--run", metavar="N", help="Which run; without it, the last. 'runs' lists them.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="OUT.html", help="Where the page goes; STORE.html without it.")
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            "--with", metavar="NAME|FILE", help="Evaluate a design of the library beside the front; repeat it."
        ),
    ] = None,
    csv: Csv = None,
    as_json: AsJson = False,
) -> None:
    """Show what a run in a store found: a page with the front, its designs, known designs beside them, and what the parameters do.

    With --json no page is written unless --out names one.
    """
    from fiberloom.explore.problems import stored_problem
    from fiberloom.report.exploration import csv_text, exploration_dict, exploration_report, references_report
    from fiberloom.report.exploration_references import known_references, library_references
    from fiberloom.report.exploration_stored import chosen_run, same_goal, stored_exploration
    from fiberloom.report.html.exploration import write_exploration

    page = out if out is not None or as_json else store.with_suffix(".html")
    with opened(store) as kept:
        for path in (page, csv):
            refuse_unwritable(path)
        problem = stored_problem(kept)
        chosen = chosen_run(kept, run)
        found = stored_exploration(kept, problem, chosen)
        references = list(known_references(found, kept))
        if beside:
            _refuse_other_model(kept)
            references += library_references(found, beside, _told)
        others = [stored_exploration(kept, problem, other) for other in same_goal(kept, chosen)]
    if page is not None:
        write_exploration(found, page, references, others)
    if csv is not None:
        save(csv, csv_text(found))
    if as_json:
        print_json({**exploration_dict(found), "known": [_reference(found, r) for r in references]})
        return
    print_all(exploration_report(found))
    print_all(references_report(found, references))
    sys.stdout.flush()
    print(f"\nreport: {page}")


def explore_runs(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="What 'explore --store' wrote.")],
    as_json: AsJson = False,
) -> None:
    """List the runs of a store: agent, seed, goal, designs tried."""
    from fiberloom.report.exploration import runs_report

    with opened(store) as kept:
        runs = kept.runs()
    if as_json:
        listed = [
            {"run": r.run, "agent": r.agent, "hyper_parameters": dict(r.hyper_parameters), "seed": r.seed,
             **r.goal.to_dict(), "trials": r.trials, "fiberloom": r.version}
            for r in runs
        ]  # fmt: skip
        print_json({"runs": listed})
    else:
        print_all(runs_report(runs))


@contextmanager
def opened(path: Path) -> Iterator[ExplorationStore]:
    """A store that is there.

    Raises:
        SpecError: when it is not, or is something else.
    """
    from fiberloom.explore import ExplorationStore

    if not path.is_file():
        raise SpecError(f"there is no store '{path}'", hint="name a file that 'explore --store FILE' wrote")
    kept = ExplorationStore(path)
    try:
        yield kept
    finally:
        kept.close()


def save_pages(found: Exploration, html: Path | None, csv: Path | None) -> None:
    """What ``explore --html`` and ``--csv`` ask for."""
    if html is not None:
        from fiberloom.report.exploration_references import known_references
        from fiberloom.report.html.exploration import write_exploration

        write_exploration(found, html, list(known_references(found)))
    if csv is not None:
        from fiberloom.report.exploration import csv_text

        save(csv, csv_text(found))


def _refuse_other_model(store: ExplorationStore) -> None:
    from fiberloom.explore.store import model_hash

    if store.facts.get("model") != model_hash():
        raise SpecError(
            f"{store.path} holds evaluations of another version of the model",
            hint="what --with evaluates now would not compare with them; leave it out, or explore again into a new file",
        )


def _told(name: str) -> None:
    print(f"evaluating {name} …", file=sys.stderr)


def _reference(found: Exploration, reference: Reference) -> dict[str, object]:
    from fiberloom.report.exploration_references import standing

    evaluated = reference.trial.evaluated
    place, other = standing(found.front, reference.trial)
    return {
        "name": reference.name,
        "source": reference.source,
        "design": str(found.problem.space.rank(reference.point)) if reference.point is not None else None,
        "status": str(evaluated.status),
        "metrics": dict(evaluated.metrics),
        "reason": evaluated.reason or None,
        "standing": place,
        "by": str(found.problem.space.rank(other.point)) if other is not None else None,
    }
