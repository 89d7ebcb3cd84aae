"""The report of an exploration as one HTML file: front, best designs, known designs beside them, importance, progress.

>>> from fiberloom.report.html.exploration import write_exploration
>>> write_exploration(found, "front.html")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fiberloom.explore.trial import Status
from fiberloom.report.exploration_account import (
    Measure,
    agent_name,
    counts,
    design_name,
    infeasible,
    measures,
    over,
    reasons,
    settings,
    size_text,
    spelled,
)
from fiberloom.report.exploration_references import Reference, standing
from fiberloom.report.html import generator, write_page
from fiberloom.report.html.content import rounded
from fiberloom.report.html.exploration_designs import marks
from fiberloom.report.html.exploration_progress import curves, importances, volume
from fiberloom.report.html.page import document

if TYPE_CHECKING:
    from fiberloom.explore import Exploration

SCRIPTS: Final = (
    "format.js",
    "element.js",
    "scales.js",
    "frame.js",
    "sortable.js",
    "labels.js",
    "exploration-front.js",
    "exploration-progress.js",
    "exploration-designs.js",
    "exploration.js",
)
LONGEST_REASONS: Final = 12
"""Reasons per status that the page lists."""


def write_exploration(
    found: Exploration, path: str | Path, references: Sequence[Reference] = (), others: Sequence[Exploration] = ()
) -> None:
    """Write the report; a file that is there is replaced at once, or kept as it is when anything fails.

    Args:
        references: designs that stand beside the front (`fiberloom.report.exploration_references`).
        others: other runs with the same goal, whose progress is drawn beside that of `found`.

    Raises:
        SpecError: if the file can't be written.
    """
    write_page(render_exploration(found, references, others), path)


def render_exploration(
    found: Exploration, references: Sequence[Reference] = (), others: Sequence[Exploration] = ()
) -> str:
    """The report as text."""
    made = content(found, references, others)
    name = found.problem.file.title or found.problem.file.name
    return document("exploration.html", SCRIPTS, name, made, _plain_front(found), generator())


def content(found: Exploration, references: Sequence[Reference], others: Sequence[Exploration]) -> dict[str, Any]:
    """What the scripts show, ready for JSON."""
    space, columns = found.problem.space, measures(found.goal, found.problem.metrics)
    plotted, left_out = marks(found, references, columns)
    made = {
        "headline": headline(found),
        "space": {"name": found.problem.file.name, "description": found.problem.file.description},
        "facts": _facts(found),
        "remarks": _remarks(found, references, others, left_out),
        "losses": _losses(found),
        "measures": [
            {"name": m.text, "title": m.title, "unit": m.unit, "aim": m.aim, "maximise": m.maximise} for m in columns
        ],
        "limits": [
            {"name": limit.name, "text": limit.text, "limit": limit.limit, "at_least": limit.at_least}
            for limit in found.goal.limits
        ],
        "parameters": [
            {"name": p.name, "values": list(p.values), "ordered": p.ordered, "when": list(p.when)}
            for p in space.parameters[: len(space.names)]
        ],
        "marks": plotted,
        "importance": importances(found, columns),
        "curves": curves(found, others),
        "volume": volume(found),
    }
    return dict(rounded(made))


def headline(found: Exploration) -> str:
    """The answer in a sentence or two."""
    tried = len({t.point for t in found.trials})
    columns = [m for m in measures(found.goal, found.problem.metrics) if m.aim]
    if not found.front:
        miss = found.nearest_miss()
        if miss is None:
            return f"None of {tried:,} designs could be evaluated."
        off = " and ".join(over(found.goal, miss.evaluated.metrics))
        return f"None of {tried:,} designs meets the limits. The nearest is {design_name(found, miss)}: {off}."
    if len(columns) == 1:
        best = found.front[0]
        return (
            f"The best of {tried:,} designs is {design_name(found, best)}, with {_best(columns[0], best)} "
            f"({spelled(settings(found, best))})."
        )
    ends = []
    for place, measure in enumerate(columns):
        best = min(found.front, key=lambda t: t.values[place])
        word = "the largest" if measure.maximise else "the least"
        ends.append(f"{design_name(found, best)} has {word} {measure.text}, {_said(measure, best)}")
    front = f"{len(found.front):,} of {tried:,} designs are" if len(found.front) > 1 else f"One of {tried:,} designs is"
    return f"{front} worth considering: no other is better in every objective. {'; '.join(ends)}."


def _best(measure: Measure, best: Any) -> str:
    return f"{measure.text} {_said(measure, best)}"


def _said(measure: Measure, trial: Any) -> str:
    unit = measure.title.removeprefix(measure.text).strip(" ()")
    return measure.say(trial.evaluated.metrics) + (f" {unit}" if unit else "")


def _facts(found: Exploration) -> list[tuple[str, str]]:
    space, goal = found.problem.space, found.goal
    tried = len({t.point for t in found.trials})
    size = space.size()
    facts = [
        ("Space", f"{size_text(size)} designs, {len(space.parameters):,} parameters"),
        ("Tried", "all" if tried == size else f"{tried:,} ({_percent(tried / size)})"),
        ("Objectives", ", ".join(goal.names)),
        ("Limits", ", ".join(limit.name for limit in goal.limits) or "none"),
        ("Agent", f"{agent_name(found.agent, found.hyper_parameters)}, seed {found.seed}"),
        ("Time", f"{found.seconds:,.1f} s" + (f", ended by {found.stopped}" if found.stopped else "")),
        ("Trials", ", ".join(f"{n:,} {status}" for status, n in counts(found.trials).items())),
    ]
    evaluated = [t for t in found.trials if t.evaluated.status is Status.EVALUATED]
    if goal.limits:
        facts.append(("Within the limits", f"{sum(t.feasible for t in evaluated):,} of {len(evaluated):,} evaluated"))
    return facts


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{100 * share:.2g} %" if share >= 1e-6 else "a vanishing share"


def _remarks(
    found: Exploration, references: Sequence[Reference], others: Sequence[Exploration], left_out: int
) -> list[str]:
    said = []
    if not found.repeated:
        said.append("This run was resumed and then proposed other designs than before; its curve is no single run's.")
    failed = counts(found.trials).get(Status.FAILED, 0)
    if failed:
        said.append(
            f"The evaluation of {failed:,} designs failed; another run tries them again (see Why designs are out)."
        )
    judged = [(r, standing(found.front, r.trial)[0]) for r in references]
    ahead = [r for r, place in judged if place == "ahead"]
    if ahead:
        inside = all(r.point is not None for r in ahead)
        said.append(
            f"No design of the front equals or beats {' and '.join(r.name for r in ahead)}: "
            + ("a larger budget finds more." if inside else "a larger budget may, if the space holds one that does.")
        )
    joining = _joining(found, others)
    if joining:
        said.append(f"{joining:,} designs of other runs in the store would join this front, or beat designs on it.")
    if not any(other.agent == "random" for other in others) and found.agent != "random":
        said.append(
            f"Nothing here says whether {found.agent} does better than random designs: 'fiberloom explore compare' does."
        )
    if left_out:
        said.append(f"{left_out:,} designs that are not on the front are left out of the chart, evenly chosen.")
    return said


def _joining(found: Exploration, others: Sequence[Exploration]) -> int:
    mine = {trial.point for trial in found.front}
    points = {t.point for other in others for t in other.front if t.point not in mine}
    trials = {t.point: t for other in others for t in other.front}
    return sum(standing(found.front, trials[point])[0] == "ahead" for point in points)


def _losses(found: Exploration) -> list[dict[str, Any]]:
    """Why designs are no candidates: status, reason, how many."""
    listed = []
    for status in (Status.PRUNED, Status.INVALID, Status.FAILED):
        every = reasons(found.goal, found.trials, status)
        listed += [(str(status), reason, n) for reason, n in every[:LONGEST_REASONS]]
        if len(every) > LONGEST_REASONS:
            rest = every[LONGEST_REASONS:]
            listed.append((str(status), f"{len(rest)} other reasons", sum(n for _, n in rest)))
    listed += [("over the limits", name, n) for name, n in infeasible(found.goal, found.trials)]
    return [{"status": status, "reason": reason, "count": n} for status, reason, n in listed]


def _plain_front(found: Exploration) -> str:
    """The front for readers without JavaScript."""
    columns = measures(found.goal, found.problem.metrics)
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in ("Design", *(m.title for m in columns), "Is"))
    rows = "".join(
        f'<tr><th scope="row">{escape(design_name(found, t))}</th>'
        + "".join(f"<td>{escape(m.say(t.evaluated.metrics))}</td>" for m in columns)
        + f"<td>{escape(spelled(settings(found, t)))}</td></tr>"
        for t in found.front
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
