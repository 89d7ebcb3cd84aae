"""One mapping under every cost model, and algorithms side by side, as tables and plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import ConsoleRenderable
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fiberloom.cost_models import Cost, CostModel
from fiberloom.cost_models.algorithms import OBJECTIVES, AlgorithmCost, why, winner
from fiberloom.report.quantities import count, energy, ratio
from fiberloom.report.tables import bullet, heading, plain_table
from fiberloom.workload.algorithms import Movement

JSON_VERSION = 1
"""Version of the objects that ``cost-models --json`` and ``algorithms --json`` print."""

_ACTIONS = ("reads", "fills", "updates")
_APART = 1.005
"""Ratio of two counts from which on they are listed as different."""


@dataclass(frozen=True)
class Answer:
    """What one model says: a cost, or the reasons why there is none."""

    model: CostModel
    cost: Cost | None
    reasons: tuple[str, ...] = ()


def cost_models_report(title: str, answers: Sequence[Answer], directives: str = "") -> Iterator[ConsoleRenderable]:
    """Totals of every model, reasons of those that decline, and the counts in which they differ.

    Args:
        directives: the mapping in data-centric notation.
    """
    yield Text(title, style="bold")
    yield _totals(answers)
    given = [answer.cost for answer in answers if answer.cost is not None]
    declined = [answer for answer in answers if answer.cost is None]
    if declined:
        yield heading("Not judged")
        for answer in declined:
            for reason in answer.reasons:
                yield bullet(f"{answer.model.name}: {reason}", "yellow")
    apart = differences(given)
    if len(given) > 1:
        yield heading("Where the models differ", "words of all instances")
        yield _differences(apart, given) if apart else Text(" in no count", style="dim")
    if directives:
        yield heading("The mapping as clusters and directives")
        yield Padding(Text(directives), (0, 0, 0, 1))
    notes = [f"{cost.model}: {note}" for cost in given for note in cost.notes]
    if notes:
        yield heading("Notes")
        for note in notes:
            yield bullet(note, "dim")


def _totals(answers: Sequence[Answer]) -> Table:
    table = plain_table()
    table.add_column(" model", style="bold", no_wrap=True)
    for column in ("cycles", "", "energy", "", "checks"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("bottleneck", overflow="fold")
    first = next((a.cost for a in answers if a.cost is not None), None)
    for answer in answers:
        cost = answer.cost
        if cost is None or first is None:
            table.add_row(" " + answer.model.name, "–", "", "–", "", "", Text("does not support this", style="dim"))
            continue
        against = cost is not first
        table.add_row(
            " " + answer.model.name,
            count(cost.cycles),
            ratio(cost.cycles / first.cycles) if against and first.cycles else "",
            energy(cost.energy_pj),
            ratio(cost.energy_pj / first.energy_pj) if against and first.energy_pj else "",
            f"{len(cost.checks)} hold",
            cost.bottleneck,
        )
    return table


def differences(costs: Sequence[Cost]) -> list[tuple[str, str, str, list[float | None]]]:
    """Level, tensor, action and its words under each model, for counts that differ."""
    found = []
    levels = dict.fromkeys(level for cost in costs for level in cost.words)
    for level in levels:
        tensors = dict.fromkeys(t for cost in costs for t in cost.words.get(level, {}))
        for tensor in tensors:
            for action in _ACTIONS:
                words = [
                    getattr(cost.words[level][tensor], action) if tensor in cost.words.get(level, {}) else None
                    for cost in costs
                ]
                known = [w for w in words if w is not None]
                if known and max(known) > _APART * min(known):
                    found.append((level, tensor, action, words))
    return found


def _differences(rows: Sequence[tuple[str, str, str, list[float | None]]], costs: Sequence[Cost]) -> Table:
    table = plain_table()
    for column in (" level", "tensor", "action"):
        table.add_column(column, no_wrap=True)
    for cost in costs:
        table.add_column(cost.model, justify="right", no_wrap=True)
    last = ""
    for level, tensor, action, words in rows:
        shown = [("–" if w is None else count(w)) for w in words]
        table.add_row(" " + (level if level != last else ""), tensor, action, *shown)
        last = level
    return table


def cost_models_dict(
    workload: str, architecture: str, answers: Sequence[Answer], directives: str = ""
) -> dict[str, Any]:
    """The object of ``fiberloom cost-models --json``."""
    return {
        "version": JSON_VERSION,
        "workload": workload,
        "architecture": architecture,
        "models": [
            {
                "name": answer.model.name,
                "summary": answer.model.summary,
                "supported": answer.cost is not None,
                "reasons": list(answer.reasons),
                "cost": None if answer.cost is None else answer.cost.to_dict(),
            }
            for answer in answers
        ],
        "directives": directives,
    }


@dataclass(frozen=True)
class Contest:
    """Algorithms for one Einsum on one design.

    Attributes:
        design: name of the architecture.
        costs: of the algorithms that run there.
        declined: why others do not, by algorithm.
    """

    title: str
    design: str
    costs: tuple[AlgorithmCost, ...]
    declined: tuple[tuple[str, str], ...] = ()


def algorithms_report(
    contests: Sequence[Contest], objective: str, gaps: Sequence[float] = ()
) -> Iterator[ConsoleRenderable]:
    """Algorithms of every contest with their costs, and who wins by how much and why.

    Args:
        objective: one of `OBJECTIVES`: what the mappings were searched for and the winner is judged by.
        gaps: of mappings that are not proved to be the best.
    """
    table = plain_table()
    table.add_column(" Einsum", overflow="fold")
    table.add_column("design", no_wrap=True)
    table.add_column("algorithm", no_wrap=True)
    for column in ("cycles", "energy", "EDP", "used", "moving"):
        table.add_column(column, justify="right", no_wrap=True)
    table.caption = Text(
        " EDP: over that of the winner; used: MACs per lane and cycle; moving: energy spent between layouts",
        style="dim",
    )
    table.caption_justify = "left"
    last = ""
    for contest in contests:
        best = winner(contest.costs, objective) if contest.costs else None
        least = min((cost.edp for cost in contest.costs), default=0.0)
        design = contest.design
        for cost in contest.costs:
            table.add_row(
                " " + (contest.title if contest.title != last else ""),
                design,
                Text(cost.algorithm.name, style="bold green" if cost is best else ""),
                count(cost.cycles),
                energy(cost.energy_pj),
                ratio(cost.edp / least) if least else "",
                f"{cost.utilization:.0%}",
                f"{cost.moving[1]:.0%}" if cost.algorithm.movements else "",
            )
            last, design = contest.title, ""
    yield table
    yield heading("Who wins", f"by {objective}")
    for contest in contests:
        if contest.costs:
            best = winner(contest.costs, objective)
            text = f"{contest.title} on {contest.design}: {best.algorithm.name}, {why(contest.costs, objective)}"
            yield bullet(text, "")
    if gaps:
        text = f"mappings not proved to be the best: {len(gaps)}; the optimum may be up to {max(gaps):.1%} below them"
        yield bullet(text, "yellow")
    declined = dict.fromkeys(
        f"{c.title} on {c.design}: {name}: {reason}" for c in contests for name, reason in c.declined
    )
    if declined:
        yield heading("Not run")
        for line in declined:
            yield bullet(line, "yellow")
    steps = dict.fromkeys(
        f"{cost.algorithm.name}: {step.what}, {step.read_words:,} words read, {step.written_words:,} written"
        for contest in contests
        for cost in contest.costs
        for step in cost.algorithm.movements
    )
    if steps and len(contests) <= 8:
        yield heading("What is moved")
        for line in steps:
            yield bullet(line, "dim")


def algorithms_dict(contests: Sequence[Contest], objective: str, gaps: Sequence[float] = ()) -> dict[str, Any]:
    """The object of ``fiberloom algorithms --json``."""
    return {
        "version": JSON_VERSION,
        "objective": objective,
        "unproved_gaps": list(gaps),
        "contests": [
            {
                "einsum": contest.title,
                "design": contest.design,
                "winners": {o: winner(contest.costs, o).algorithm.name for o in OBJECTIVES} if contest.costs else {},
                "why": why(contest.costs, objective) if contest.costs else "",
                "declined": dict(contest.declined),
                "algorithms": [_algorithm_dict(cost) for cost in contest.costs],
            }
            for contest in contests
        ],
    }


def _algorithm_dict(cost: AlgorithmCost) -> dict[str, Any]:
    return {
        "name": cost.algorithm.name,
        "remark": cost.algorithm.remark,
        "cycles": cost.cycles,
        "energy_pj": cost.energy_pj,
        "edp_pj_cycles": cost.edp,
        "utilization": cost.utilization,
        "steps": [
            {
                "step": s.step.what if isinstance(s.step, Movement) else str(s.step),
                "shape": None if isinstance(s.step, Movement) else dict(s.step.shape),
                "read_words": s.step.read_words if isinstance(s.step, Movement) else None,
                "written_words": s.step.written_words if isinstance(s.step, Movement) else None,
                "cycles": s.cycles,
                "energy_pj": s.energy_pj,
            }
            for s in cost.steps
        ],
    }
