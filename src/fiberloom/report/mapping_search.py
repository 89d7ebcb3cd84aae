"""A search's answer as tables: the loop nest, what is proved about it, what it took, the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import ConsoleRenderable
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fiberloom.mapper.certificate import Certificate
from fiberloom.mapper.objective import Objective
from fiberloom.model.evaluation import Evaluation
from fiberloom.report.quantities import count, energy, ratio
from fiberloom.report.savings import Saving
from fiberloom.report.tables import EnergyBars, bullet, heading, level_table, plain_table, savings_table, summary

ENDINGS = {
    "evaluations": "the budget of evaluations is spent",
    "seconds": "the time is up",
    "memory": "the memory limit is reached",
    "interrupted": "interrupted",
    "exhausted": "every mapping was tried",
    "proved": "finished",
    "bounded": "finished",
    "reached": "the wanted value is reached",
}
"""Why a search ended, in words; other reasons are the mapper's own words."""
_LESS = {True: "fewer cycles", False: "less energy"}
"""What decides between mappings of equal objective, by whether the objective sees the energy."""


@dataclass(frozen=True)
class SearchFacts:
    """What a search took.

    Attributes:
        mapper: its name.
        objective: what it minimised.
        value: the least found.
        space: exact number of points of the map space.
        seconds, prepare_seconds: of searching; of offline work before it.
        stopped: why it ended.
        evaluations, valid: mappings judged and those that fit; None for the exact mapper.
        statistics: whatever else the mapper counts.
    """

    mapper: str
    objective: Objective
    value: float
    space: int
    seconds: float
    stopped: str
    prepare_seconds: float = 0.0
    evaluations: int | None = None
    valid: int | None = None
    statistics: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The object under ``search`` of ``fiberloom map --json`` (docs/json.md)."""
        facts: dict[str, Any] = {
            "mapper": self.mapper,
            "objective": self.objective.name,
            "value": self.value,
            "map_space_size": self.space,
            "seconds": self.seconds,
            "prepare_seconds": self.prepare_seconds,
            "stopped": self.stopped,
        }
        if self.evaluations is not None:
            facts |= {"evaluations": self.evaluations, "valid": self.valid}
        return facts | {"statistics": dict(self.statistics)}


def certificate_sentence(certificate: Certificate, facts: SearchFacts) -> str:
    """What is proved about the mapping that a search found, as one sentence."""
    bound, value = certificate.lower_bound, facts.value
    lowest = f"no mapping of the map space is below {_number(bound)}"
    if certificate.status == "optimal":
        said = f"proved optimal: no mapping of the map space has a lower {certificate.objective}"
        if facts.stopped in ("proved", "exhausted"):
            return said
        return f"{said}; one of the same {certificate.objective} may take {_LESS[facts.objective.energy_power > 0]}"
    over = value / bound - 1 if bound > 0 else math.inf
    if certificate.status == "bound":
        known = "bounded, not proved:" if facts.stopped == "bounded" else "stopped early, but"
        return f"{known} {_above(over)}: {lowest}"
    if math.isfinite(over):
        return f"nothing is proved by this mapper; by the roofline it is {_above(over)}: {lowest}"
    return "nothing is proved: the optimum may be anywhere below"


def _above(over: float) -> str:
    if over >= 1:
        return f"at most {ratio(over + 1)} the optimum" if math.isfinite(over) else "somewhere above the optimum"
    percent = f"{over:.1%}".replace("%", " %") if over >= 0.0005 else f"{100 * over:.1g} %"
    return f"at most {percent} above the optimum"


def size_text(size: int) -> str:
    """``1,234`` or ``3.42e+27``, for a number of any length."""
    if size < 10**7:
        return f"{size:,}"
    digits = str(size)
    lead = f"{digits[0]}.{digits[1:3]}"
    return f"{lead}e{len(digits) - 1}"


def mapping_report(
    evaluation: Evaluation, certificate: Certificate, facts: SearchFacts, savings: Sequence[Saving] = ()
) -> Iterator[ConsoleRenderable]:
    """The best mapping, what is proved, what it took; then the tables of an evaluation."""
    yield Text.assemble((f"Best mapping for {facts.objective.name}", "bold"), f" by {facts.mapper}\n")
    yield Padding(Text(evaluation.loop_nest), (0, 0, 0, 1))
    yield Text("")
    yield certificate_text(certificate, facts)
    yield facts_table(facts)
    yield Text("")
    yield summary(evaluation)
    yield heading("Energy by component")
    yield EnergyBars(evaluation)
    yield heading("Words per instance of a level", "dense: without sparsity; gated: idle cycle; skipped: no cycle")
    yield level_table(evaluation.levels)
    if savings:
        yield heading("What the sparse features save", "the same mapping, without the feature")
        yield savings_table(savings)
    if evaluation.warnings:
        yield heading("Warnings")
        for warning in evaluation.warnings:
            yield bullet(warning, "yellow")
    if evaluation.provenance:
        yield heading("Where energies and areas come from")
        for component, source in evaluation.provenance.items():
            yield bullet(f"{component}: {source}", "dim")


def certificate_text(certificate: Certificate, facts: SearchFacts) -> Text:
    """The certificate's sentence, coloured by what it is worth."""
    style = {"optimal": "bold green", "bound": "bold yellow"}.get(certificate.status, "yellow")
    return Text(f" {certificate_sentence(certificate, facts)}", style=style)


def facts_table(facts: SearchFacts) -> Table:
    """Objective, time, mappings tried, size of the space."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim")
    prepared = f", after {facts.prepare_seconds:.2f} s of preparation" if facts.prepare_seconds >= 0.005 else ""
    table.add_row(f" {facts.objective.name}", _number(facts.value), facts.objective.unit)
    table.add_row(" search", f"{facts.seconds:.2f} s", ENDINGS.get(facts.stopped, facts.stopped) + prepared)
    if facts.evaluations is not None:
        table.add_row(" tried", f"{facts.evaluations:,}", f"{facts.valid or 0:,} of them valid")
    table.add_row(" map space", size_text(facts.space), "mappings")
    return table


def front_table(points: Sequence[tuple[float, float]], chosen: int) -> Table:
    """Cycles and energy of the mappings of a Pareto front; the one that is shown in full is marked."""
    table = plain_table()
    for column in (" cycles", "energy", "cycles / least", "energy / least", "EDP / least"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    least_energy, least_cycles = min(pj for pj, _ in points), min(c for _, c in points)
    least_edp = min(pj * c for pj, c in points)
    for i, (pj, cycles) in enumerate(points):
        table.add_row(
            count(cycles),
            energy(pj),
            ratio(cycles / least_cycles if least_cycles else 1.0),
            ratio(pj / least_energy if least_energy else 1.0),
            ratio(pj * cycles / least_edp if least_edp else 1.0),
            Text("shown above", style="dim") if i == chosen else "",
        )
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if 100 <= value < 1e9 else f"{value:.6g}"
