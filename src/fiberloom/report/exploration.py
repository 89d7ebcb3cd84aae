"""Explorations as tables and as data."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fiberloom.explore.trial import Status
from fiberloom.report.exploration_account import (
    agent_name,
    counts,
    design_name,
    infeasible,
    measures,
    over,
    reasons,
    settings,
    shared,
    size_text,
    spelled,
)
from fiberloom.report.exploration_references import Reference, standing
from fiberloom.report.tables import plain_table

if TYPE_CHECKING:
    from rich.console import ConsoleRenderable

    from fiberloom.explore import Agent, Exploration, Trial
    from fiberloom.explore.space import SpaceFile
    from fiberloom.explore.store import StoredRun

MOST_ROWS = 12
"""Designs of a front that are printed; all of them are in --json, --csv and --html."""
MOST_REASONS = 3
VERSION = 1
"""Of the object that `exploration_dict` returns."""


def exploration_report(found: Exploration) -> Iterator[ConsoleRenderable]:
    """What an exploration found: how it went, the front, or what stands in the way."""
    from rich.text import Text

    problem = found.problem
    said = ", ".join(f"{n:,} {status}" for status, n in counts(found.trials).items()) or "nothing tried"
    agent = agent_name(found.agent, found.hyper_parameters)
    space = f"{problem.file.name}: {size_text(problem.space.size())} designs"
    yield Text(f"{space}, {len(found.trials):,} tried by {agent} ({said})")
    yield Text(f"{found.seconds:,.1f} s" + (f", stopped: {found.stopped}" if found.stopped else ""), style="dim")
    if not found.repeated:
        yield Text("the resumed run proposes other designs than before; what was evaluated is used all the same")
    yield from _losses(found)
    if not found.front:
        yield from _nothing(found)
        return
    several = len(found.goal.aims) > 1
    title = f"\nfront: {len(found.front):,} design{'s' * (len(found.front) != 1)}" if several else "\nbest"
    yield Text(title, style="bold")
    yield from _front_table(found, shortened(found.front))
    if len(found.front) > MOST_ROWS:
        yield Text(
            f"{MOST_ROWS} of {len(found.front)} designs are shown; --json, --csv and --html have all", style="dim"
        )


def _front_table(found: Exploration, trials: Sequence[Trial]) -> Iterator[ConsoleRenderable]:
    """A row of measures per design, and below it the values in which it differs from the others."""
    from rich.padding import Padding
    from rich.text import Text

    metrics = trials[0].evaluated.metrics
    columns = [m for m in measures(found.goal, found.problem.metrics) if m.of(metrics) is not None]
    table = plain_table()
    table.add_column(" design", no_wrap=True, style="bold")
    for measure in columns:
        widest = max(len(measure.say(trial.evaluated.metrics)) for trial in trials)
        title = ("max " if measure.maximise else "") + measure.title
        style = "bold" if measure.aim else ""
        table.add_column(
            _headed(title, max(widest, 8)), justify="right", min_width=widest, overflow="fold", style=style
        )
    for trial in trials:
        table.add_row(" " + design_name(found, trial), *(m.say(trial.evaluated.metrics) for m in columns))
    yield table
    designs = [settings(found, trial) for trial in trials]
    common = shared(designs)
    yield Text("")
    if common:
        yield Padding(Text(f"all have {spelled(common)}", style="dim"), (0, 0, 0, 1))
    names = plain_table()
    names.show_header = False
    names.add_column(no_wrap=True, style="bold")
    names.add_column(overflow="fold", ratio=1)
    for trial, values in zip(trials, designs, strict=True):
        own = {name: value for name, value in values.items() if name not in common}
        names.add_row(" " + design_name(found, trial), spelled(own) or "–")
    yield names


def references_report(found: Exploration, references: Sequence[Reference]) -> Iterator[ConsoleRenderable]:
    """Known designs beside the front; nothing without any."""
    from rich.text import Text

    if not references:
        return
    aims = [m for m in measures(found.goal, found.problem.metrics) if m.aim]
    yield Text("\nknown designs", style="bold")
    table = plain_table()
    table.add_column(" design", no_wrap=True, style="bold")
    for measure in aims:
        table.add_column(_headed(measure.title, 8), justify="right")
    table.add_column("beside the front", overflow="fold", ratio=1)
    for reference in references:
        metrics = reference.trial.evaluated.metrics
        table.add_row(f" {reference.name}", *(m.say(metrics) for m in aims), _beside(found, reference))
    yield table


def _beside(found: Exploration, reference: Reference) -> str:
    place, other = standing(found.front, reference.trial)
    if place == "beaten" and other is not None:
        return f"beaten by {design_name(found, other)}"
    said = {"equal": "on it", "ahead": "no design of the front equals or beats it"}
    broken = "; ".join(over(found.goal, reference.trial.evaluated.metrics))
    return said.get(place) or broken or reference.trial.evaluated.reason


def _headed(title: str, width: int) -> str:
    """A title in lines that are about as wide as its column."""
    return title if len(title) <= width else title.replace("_", "_\n").replace(" (", "\n(").replace("max ", "max\n")


def shortened(trials: Sequence[Trial]) -> list[Trial]:
    """At most `MOST_ROWS`, evenly chosen, first and last included."""
    if len(trials) <= MOST_ROWS:
        return list(trials)
    return [trials[round(i * (len(trials) - 1) / (MOST_ROWS - 1))] for i in range(MOST_ROWS)]


def _losses(found: Exploration) -> Iterator[ConsoleRenderable]:
    """Why designs are no candidates."""
    from rich.text import Text

    for status in (Status.PRUNED, Status.INVALID, Status.FAILED):
        listed = reasons(found.goal, found.trials, status)
        for reason, count in listed[:MOST_REASONS]:
            yield Text(f"  {count:,} {status}: {reason}", style="yellow" if status is Status.FAILED else "dim")
        if len(listed) > MOST_REASONS:
            rest = sum(count for _, count in listed[MOST_REASONS:])
            yield Text(f"  {rest:,} {status} for {len(listed) - MOST_REASONS} other reasons", style="dim")
    for limit, count in infeasible(found.goal, found.trials):
        yield Text(f"  {count:,} break {limit}", style="dim")


def _nothing(found: Exploration) -> Iterator[ConsoleRenderable]:
    from rich.text import Text

    miss = found.nearest_miss()
    if miss is None:
        yield Text("\nno design could be evaluated", style="bold")
        return
    least = " (as its bounds say)" if miss.evaluated.status is Status.PRUNED else ""
    yield Text(f"\nno design meets the limits; the nearest one is {design_name(found, miss)}{least}:", style="bold")
    yield Text("  " + spelled(settings(found, miss)))
    for broken in over(found.goal, miss.evaluated.metrics):
        yield Text("  " + broken)


def trial_dict(found: Exploration, trial: Trial) -> dict[str, Any]:
    """A trial as data; what is infinite or absent is null."""
    space = found.problem.space
    return {
        "design": str(space.rank(trial.point)),
        "values": space.values(trial.point),
        "status": str(trial.evaluated.status),
        "metrics": dict(trial.evaluated.metrics),
        "feasible": trial.feasible,
        "violation": trial.violation if math.isfinite(trial.violation) else None,
        "reason": trial.evaluated.reason or None,
        "detail": dict(trial.evaluated.detail),
    }


def exploration_dict(found: Exploration) -> dict[str, Any]:
    """The object of ``fiberloom explore --json``."""
    best = found.best
    return {
        "version": VERSION,
        "space": {"name": found.problem.file.name, **found.problem.space.to_dict()},
        "metrics": dict(found.problem.metrics),
        "goal": found.goal.to_dict(),
        "agent": found.agent,
        "hyper_parameters": dict(found.hyper_parameters),
        "seed": found.seed,
        "stopped": found.stopped,
        "seconds": found.seconds,
        "trials": len(found.trials),
        "by_status": {str(status): count for status, count in counts(found.trials).items()},
        "evaluated": found.evaluated,
        "best": trial_dict(found, best) if best is not None else None,
        "front": [trial_dict(found, trial) for trial in found.front],
        "curve": [{"trial": n, "seconds": at, "score": score} for n, at, score in found.curve],
    }


def csv_text(found: Exploration) -> str:
    """Every trial as a row: number, seconds, design, status, feasible, on the front, reason, parameters, metrics."""
    space = found.problem.space
    out = io.StringIO()
    head = ["trial", "seconds", "design", "status", "feasible", "on_front", "violation", "reason"]
    metrics = list(found.problem.metrics)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*head, *(f"parameter.{name}" for name in space.names), *metrics])
    best = {trial.point for trial in found.front}
    for number, (trial, at) in enumerate(zip(found.trials, found.times, strict=True), 1):
        violation = trial.violation if math.isfinite(trial.violation) else ""
        about = [trial.evaluated.status, trial.feasible, trial.point in best, violation, trial.evaluated.reason]
        values = settings(found, trial)
        writer.writerow(
            [
                number, at, space.rank(trial.point), *about,
                *(values.get(name, "") for name in space.names), *(trial.evaluated.metrics.get(m, "") for m in metrics),
            ]
        )  # fmt: skip
    return out.getvalue()


def runs_report(runs: Sequence[StoredRun]) -> Iterator[ConsoleRenderable]:
    """The runs of a store."""
    table = plain_table()
    table.add_column(" run", justify="right", no_wrap=True)
    for column in ("agent", "seed", "goal"):
        table.add_column(column, overflow="fold")
    table.add_column("designs", justify="right", no_wrap=True)
    for run in runs:
        agent = agent_name(run.agent, run.hyper_parameters)
        goal = ", ".join((*run.goal.names, *(limit.name for limit in run.goal.limits)))
        table.add_row(f" {run.run}", agent, str(run.seed), goal, f"{run.trials:,}")
    yield table


def spaces_report(files: Sequence[SpaceFile]) -> Iterator[ConsoleRenderable]:
    """The library's spaces."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("space", "designs", "parameters", "what it is"):
        table.add_column(column, justify="right" if column in ("designs", "parameters") else "left")
    for f in files:
        table.add_row(f.name, size_text(f.space.size()), str(len(f.space.parameters)), f.title)
    yield table


def agents_report(known: Mapping[str, type[Agent]]) -> Iterator[ConsoleRenderable]:
    """Agents and their hyper-parameters."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("agent", "what it does", "hyper-parameters"):
        table.add_column(column)
    for name, agent in known.items():
        table.add_row(name, agent.summary, " ".join(f"{k}={v}" for k, v in agent.defaults().items()))
    yield table
