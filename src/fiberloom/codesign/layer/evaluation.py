"""A layer with represented operands on a design: cycles, energy, area, throughput and stored bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from fiberloom.codesign.layer.extraction import extraction_pj
from fiberloom.codesign.layer.passes import Pass, format_of, ideal_throughput, menu_throughput
from fiberloom.codesign.layer.planning import Plan, Run, Task, plan
from fiberloom.codesign.layer.product import Gemm
from fiberloom.codesign.layer.search import answers
from fiberloom.codesign.layer.sums import later_cycles, resumed
from fiberloom.errors import UnsupportedError
from fiberloom.workload.einsum import Einsum

__all__ = ["SECONDS", "LayerCost", "Task", "evaluate", "evaluate_all"]

SECONDS: Final = 30.0
"""Most time for the exact mapper per mapping, unless said otherwise."""


@dataclass(frozen=True)
class LayerCost:
    """What a layer costs on a design; figures are of one computation of it.

    Attributes:
        name, design: what was evaluated.
        weights, activations: the representations, as text.
        runs_as: entries of the menu that the structured operand runs as, one after the other.
        macs: multiplications of the dense product, before padding.
        cycles, energy_pj, area_um2: of the whole design.
        seconds: with the design's clock.
        ideal_throughput, menu_throughput: beside a dense product of 16-bit operands: with every zero of the terms skipped, and as
            the menu runs them. Values without a number format count as those of 16 bits.
        value_bits, coordinate_bits, scale_bits: stored per element of the structured operand, as the passes keep it.
        energy_by_component_pj: by level and compute.
        bottleneck: what sets the cycles.
        certificate: of the mapping, of several the one of the largest gap: status, lower bound, gap.
        notes: what was changed on the way.
    """

    name: str
    design: str
    weights: str
    activations: str
    runs_as: tuple[str, ...]
    macs: int
    cycles: float
    energy_pj: float
    area_um2: float
    seconds: float
    ideal_throughput: float
    menu_throughput: float
    value_bits: float
    coordinate_bits: float
    scale_bits: float
    energy_by_component_pj: Mapping[str, float]
    bottleneck: str
    certificate: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def edp_j_s(self) -> float:
        """Energy times time."""
        return self.energy_pj * 1e-12 * self.seconds

    @property
    def bits_per_weight(self) -> float:
        """Stored bits per element, with coordinates and scales."""
        return self.value_bits + self.coordinate_bits + self.scale_bits

    def to_dict(self) -> dict[str, Any]:
        """All figures by name."""
        made = {**vars(self), "edp_j_s": self.edp_j_s, "bits_per_weight": self.bits_per_weight}
        made["throughput"] = {"ideal": made.pop("ideal_throughput"), "menu": made.pop("menu_throughput")}
        return made | {"runs_as": list(self.runs_as), "notes": list(self.notes)}


def evaluate(
    layer: Einsum | Gemm,
    design: str,
    weights: Any = None,
    activations: Any = None,
    *,
    settings: Mapping[str, float] | None = None,
    patterns: Sequence[str] = (),
    objective: str = "edp",
    seconds: float = SECONDS,
    workers: int | None = None,
    cache: bool | str | Path = True,
) -> LayerCost:
    """What a layer with represented weights costs on a design of the library, at the best mapping found.

    Args:
        layer, design, weights, activations, settings, patterns: as in `Task`.
        objective: what the mapping minimises: ``edp``, ``energy`` or ``latency``.
        seconds: most time of a mapping's search.
        workers, cache: as `fiberloom.network_evaluation.run_network`.

    Raises:
        SpecError: for a design, pattern or layer that makes no sense.
        UnsupportedError: for what the design can't run.
    """
    task = Task(layer, design, weights, activations, settings=settings or {}, patterns=patterns)
    return evaluate_all([task], objective=objective, seconds=seconds, workers=workers, cache=cache)[0]


def evaluate_all(
    tasks: Sequence[Task],
    *,
    objective: str = "edp",
    seconds: float = SECONDS,
    workers: int | None = None,
    cache: bool | str | Path = True,
    progress: Callable[[int, int], None] | None = None,
) -> list[LayerCost]:
    """`evaluate` for many layers: mappings that are equal are searched once, several at a time.

    Args:
        progress: told how many searches are done, and how many there are.

    Raises:
        SpecError, UnsupportedError: as `evaluate`, for the first task that can't be computed.
    """
    first = {task.identity: task for task in reversed(tasks)}
    plans = {identity: plan(task) for identity, task in first.items()}
    jobs = [replace(run.job, objective=objective, seconds=seconds) for made in plans.values() for run in made.runs]
    found = iter(answers(jobs, workers=workers, cache=cache, progress=progress))
    costs = {identity: _cost(made, [next(found) for _ in made.runs]) for identity, made in plans.items()}
    return [replace(costs[task.identity], name=task.name) for task in tasks]


def _cost(made: Plan, found: Sequence[Mapping[str, Any]]) -> LayerCost:
    for answer in found:
        if answer["status"] != "mapped":
            raise UnsupportedError(
                f"{made.task.name} on {made.info.name}: {answer.get('reason')}", hint=answer.get("hint")
            )
    cycles, energy = 0.0, dict[str, float]()
    for i, (run, answer) in enumerate(zip(made.runs, found, strict=True)):
        cost = (answer["cycles"], answer["energy_by_component_pj"])
        if i > 0:  # partial sums of the terms before
            cost = resumed(run.job, answer, made.info.output)
        cycles += cost[0] * run.cycles_per_step
        for part in (cost[1], later_cycles(run.job, run.cycles_per_step, made.info.output)):
            for name, pj in part.items():
                energy[name] = energy.get(name, 0.0) + pj
    if made.extracted:
        energy["TASD units"] = sum(_extraction(made, run, a) for run, a in zip(made.runs, found, strict=True))
    passes = [p for run in made.runs for p in run.passes]
    values, coordinates, scales = _stored_bits(made, passes)
    return LayerCost(
        name=made.task.name,
        design=made.info.name,
        weights=_text(made.task.weights),
        activations=_text(made.task.activations),
        runs_as=tuple(f"{p.entry} {p.format}" for p in passes),
        macs=made.macs,
        cycles=cycles,
        energy_pj=sum(energy.values()),
        area_um2=found[0]["area_um2"],
        seconds=cycles * made.info.architecture.cycle_seconds,
        ideal_throughput=ideal_throughput(made.terms),
        menu_throughput=menu_throughput(passes, made.terms),
        value_bits=values,
        coordinate_bits=coordinates,
        scale_bits=scales,
        energy_by_component_pj=energy,
        bottleneck=found[0]["bottleneck"],
        certificate=max((a["certificate"] for a in found), key=lambda c: float(c["gap"])),
        notes=made.notes,
    )


def _extraction(made: Plan, run: Run, answer: Mapping[str, Any]) -> float:
    """pJ of finding the terms, every time that words pass from the level outside the array to the array."""
    first = next(iter(made.info.operands))
    level = next(level for level in reversed(answer["levels"][:-1]) if first in level["tensors"])
    words = level["tensors"][first]["traffic"].get("read", {}).get("actual", 0.0)
    return float(words) * extraction_pj([p.entry for p in run.passes], made.info.architecture.technology)


def _stored_bits(made: Plan, passes: Sequence[Pass]) -> tuple[float, float, float]:
    """Bits per element: values, coordinates, scales, as the design stores the passes."""
    word = made.info.architecture.compute.word_bits
    values = coordinates = scales = Fraction(0)
    for p in passes:
        number = format_of(p, made.terms)
        bits = Fraction(word if number is None else number.bits)
        values += p.entry.density * bits
        scales += p.entry.density * (Fraction(0) if number is None else Fraction(str(number.bits_per_element)) - bits)
        coordinates += p.entry.density * p.entry.coordinate_bits
    return float(values), float(coordinates), float(scales)


def _text(given: Any) -> str:
    return "dense" if given is None else str(given)
