"""How an exploration went, for the page: best so far, the front's volume, and what the parameters did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fiberloom.explore.comparison import Run
from fiberloom.explore.front import hypervolume
from fiberloom.explore.scale import decades
from fiberloom.explore.trial import Status
from fiberloom.report.exploration_account import Measure, agent_name
from fiberloom.report.exploration_importance import importance

if TYPE_CHECKING:
    from fiberloom.explore import Exploration, Goal

MOST_CURVES: Final = 8
"""Runs beside the reported one that are drawn, the latest ones."""
MOST_STEPS: Final = 200
"""Places along a run where the volume of its front is computed."""


def curves(found: Exploration, others: Sequence[Exploration]) -> dict[str, Any]:
    """Best objective so far of this run and others, as steps of trials, seconds and value."""
    aims = found.goal.aims
    title = aims[0].text if len(aims) == 1 else f"geometric mean of {', '.join(aim.name for aim in aims)}"
    runs = [(found, _name(found), True)]
    runs += [(other, _name(other), False) for other in others[-MOST_CURVES:]]
    return {
        "title": title,
        "maximise": len(aims) == 1 and aims[0].maximise,
        "runs": [
            {"name": name, "main": main, "steps": _steps(run), "end": [len(run.trials), run.seconds]}
            for run, name, main in runs
        ],
    }


def _name(run: Exploration) -> str:
    return f"{agent_name(run.agent, run.hyper_parameters)}, seed {run.seed}"


def _steps(run: Exploration) -> list[list[float]]:
    inverse = len(run.goal.aims) == 1 and run.goal.aims[0].maximise  # the score of such a goal is the reciprocal
    return [[n, at, 1 / score if inverse and score else score] for n, at, score in run.curve]


def volume(found: Exploration) -> list[list[float]] | None:
    """Trials, seconds, share of the last front's hypervolume, on logarithmic axes; None for one objective or no front."""
    if len(found.goal.aims) < 2 or not found.front:
        return None
    steps = Run.of(found).steps
    places = np.array([[decades(value) for value in step.values] for step in steps])
    # what is worst in some objective still counts for the others
    reference = [float(v) for v in places.max(axis=0) + 0.1 * np.ptp(places, axis=0)]
    chosen = np.unique(np.linspace(1, len(steps), min(len(steps), MOST_STEPS)).astype(int))
    volumes = [hypervolume(_best(places[:n]), reference) for n in chosen]
    if not volumes[-1]:
        return None
    return [[steps[n - 1].number, steps[n - 1].seconds, v / volumes[-1]] for n, v in zip(chosen, volumes, strict=True)]


def _best(places: Any) -> Any:
    """Rows that no other dominates."""
    return [p for p in np.unique(places, axis=0) if not np.any((places <= p).all(1) & (places < p).any(1))]


def importances(found: Exploration, columns: Sequence[Measure]) -> list[dict[str, Any]]:
    """Per measure, the objectives first: parameters with their shares of its variance over all evaluated designs."""
    evaluated = {t.point: t for t in found.trials if t.evaluated.status is Status.EVALUATED}
    asked = [(m.text, _direction(m), [m.of(t.evaluated.metrics) for t in evaluated.values()]) for m in columns]
    if len(found.goal.aims) > 1:
        asked.insert(0, (_together(found.goal), -1, [t.score for t in evaluated.values()]))
    made = []
    for title, direction, values in asked:
        known = [(p, v) for p, v in zip(evaluated, values, strict=True) if v is not None and math.isfinite(v)]
        entries = importance(found.problem.space, [p for p, _ in known], [v for _, v in known])
        if entries:
            positive = all(v > 0 for _, v in known)
            made.append(
                {
                    "title": title, "direction": direction, "positive": positive, "designs": len(known),
                    "entries": [_entry(e) for e in entries],
                }
            )  # fmt: skip
    return made


def _direction(measure: Measure) -> int:
    """1 where more is better, -1 where less is, 0 where the goal does not say."""
    return (1 if measure.maximise else -1) if measure.aim else 0


def _together(goal: Goal) -> str:
    return f"all {len(goal.aims)} objectives (geometric mean)"


def _entry(found: Any) -> dict[str, Any]:
    return {
        "name": found.parameter,
        "share": found.share,
        "chance": found.chance,
        "shows": found.shows,
        "designs": found.designs,
        "values": [[value.label, value.designs, value.ratio] for value in found.values],
    }
