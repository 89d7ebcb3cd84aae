"""Explorations as tables and as data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fiberloom.explore.trial import Status

if TYPE_CHECKING:
    from rich.console import ConsoleRenderable

    from fiberloom.explore import Agent, Exploration, Trial
    from fiberloom.explore.space import SpaceFile

MOST_ROWS = 20
"""Designs of a front that are printed; all of them are in --json."""


def exploration_report(found: Exploration) -> Iterator[ConsoleRenderable]:
    """What an exploration found: how it went, the front, or what stands in the way."""
    from rich.table import Table
    from rich.text import Text

    problem, space = found.problem, found.problem.space
    counts = {status: sum(t.evaluated.status is status for t in found.trials) for status in Status}
    said = ", ".join(f"{n:,} {status}" for status, n in counts.items() if n) or "nothing tried"
    yield Text(f"{problem.file.name}: {space.size():,} designs, {len(found.trials):,} tried by {found.agent} ({said})")
    yield Text(f"{found.seconds:,.1f} s, stopped: {found.stopped}")
    if not found.repeated:
        yield Text("the resumed run proposes other designs than before; what was evaluated is used all the same")
    if not found.front:
        yield from _nothing(found)
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("design", justify="right")
    metrics = [m for m in problem.metrics if m in found.front[0].evaluated.metrics]
    for metric in metrics:
        unit = problem.metrics[metric]
        table.add_column(f"{metric}{f' ({unit})' if unit else ''}", justify="right")
    table.add_column("what it is")
    names = {space.point(values): name for name, values in problem.file.known.items()}
    for trial in shortened(found.front):
        row = [f"{trial.evaluated.metrics[m]:.4g}" for m in metrics]
        what = names.get(trial.point)
        table.add_row(str(space.rank(trial.point)), *row, (f"{what}: " if what else "") + spelled(found, trial))
    yield Text("front, by its first objective:" if len(found.goal.aims) > 1 else "best:", style="bold")
    yield table
    if len(found.front) > MOST_ROWS:
        yield Text(f"{len(found.front)} designs; {MOST_ROWS} of them are shown, all with --json")


def shortened(trials: Sequence[Trial]) -> list[Trial]:
    """At most `MOST_ROWS`, evenly chosen, first and last included."""
    if len(trials) <= MOST_ROWS:
        return list(trials)
    return [trials[round(i * (len(trials) - 1) / (MOST_ROWS - 1))] for i in range(MOST_ROWS)]


def spelled(found: Exploration, trial: Trial) -> str:
    """The values of a design, parameters that it lacks left out."""
    space = found.problem.space
    values, on = space.values(trial.point), space.active(trial.point)
    return " ".join(f"{name}={value}" for (name, value), here in zip(values.items(), on, strict=True) if here)


def _nothing(found: Exploration) -> Iterator[ConsoleRenderable]:
    from rich.text import Text

    miss = found.nearest_miss()
    if miss is not None:
        yield Text("no design meets the limits; the nearest one:", style="bold")
        yield Text("  " + spelled(found, miss))
        for broken in found.goal.broken(miss.evaluated.metrics):
            yield Text("  " + broken)
        return
    reasons: dict[str, int] = {}
    for trial in found.trials:
        if trial.evaluated.reason:
            reasons[trial.evaluated.reason] = reasons.get(trial.evaluated.reason, 0) + 1
    yield Text("no design could be evaluated:", style="bold")
    for reason, count in sorted(reasons.items(), key=lambda entry: -entry[1])[:3]:
        yield Text(f"  {count:,} times: {reason}")


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
        "space": {"name": found.problem.file.name, **found.problem.space.to_dict()},
        "metrics": dict(found.problem.metrics),
        "goal": found.goal.to_dict(),
        "agent": found.agent,
        "seed": found.seed,
        "stopped": found.stopped,
        "seconds": found.seconds,
        "trials": len(found.trials),
        "evaluated": found.evaluated,
        "best": trial_dict(found, best) if best is not None else None,
        "front": [trial_dict(found, trial) for trial in found.front],
        "curve": [{"trial": n, "seconds": at, "score": score} for n, at, score in found.curve],
    }


def spaces_report(files: Sequence[SpaceFile]) -> Iterator[ConsoleRenderable]:
    """The library's spaces."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("space", "designs", "parameters", "what it is"):
        table.add_column(column, justify="right" if column in ("designs", "parameters") else "left")
    for f in files:
        table.add_row(f.name, f"{f.space.size():,}", str(len(f.space.parameters)), f.title)
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
