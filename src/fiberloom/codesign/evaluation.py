"""A layer with represented operands on a design: cycles, energy, area, throughput and stored bits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from fiberloom.architecture.levels import Architecture
from fiberloom.architecture.library import describe
from fiberloom.architecture.library.design import DesignInfo
from fiberloom.architecture.library.menu import Menu
from fiberloom.architecture.library.roles import find_roles, rename
from fiberloom.codesign.array import reduction_lanes, running
from fiberloom.codesign.padding import lanes_by_role, padded
from fiberloom.codesign.passes import (
    Pass,
    StoredTerm,
    checked_menu,
    ideal_throughput,
    menu_throughput,
    plan_passes,
    stored_terms,
)
from fiberloom.codesign.product import Gemm, matrix_product
from fiberloom.codesign.search import answers
from fiberloom.codesign.wiring import wiring
from fiberloom.codesign.structure import Structure, structure_of
from fiberloom.errors import UnsupportedError
from fiberloom.network_evaluation.mapping_search import MappingJob, seen_by
from fiberloom.workload.einsum import Einsum

SECONDS: Final = 30.0
"""Most time for the exact mapper per mapping, unless said otherwise."""

_BITMASK_PAYS: Final = Fraction(1, 8)
"""Share of zeros from which a bitmask, one bit to every 8-bit value, makes a tensor smaller."""


@dataclass(frozen=True)
class LayerCost:
    """What a layer costs on a design; figures are of one computation of it.

    Attributes:
        name, design: what was evaluated.
        weights, activations: the representations, as text.
        runs_as: entries of the menu that the weights run as, one after the other.
        macs: multiplications of the dense product, before padding.
        cycles, energy_pj, area_um2: of the whole design.
        seconds, edp_j_s: with the design's clock.
        ideal_throughput, menu_throughput: beside a dense product of 16-bit operands: with every zero of the weights skipped, and as
            the menu runs them.
        bits_per_weight: stored bits per element of the weights, with coordinates and scales; `value_bits`, `coordinate_bits` and
            `scale_bits` are its parts.
        energy_by_component_pj: by level and compute.
        bottleneck: what sets the cycles.
        certificate: of the mapping of every pass: status, lower bound, gap.
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
        """Stored bits per element of the weights."""
        return self.value_bits + self.coordinate_bits + self.scale_bits

    def to_dict(self) -> dict[str, Any]:
        """All figures by name."""
        made = {**vars(self), "edp_j_s": self.edp_j_s, "bits_per_weight": self.bits_per_weight}
        made["throughput"] = {"ideal": made.pop("ideal_throughput"), "menu": made.pop("menu_throughput")}
        made |= {"runs_as": list(self.runs_as), "notes": list(self.notes)}
        return made


@dataclass(frozen=True)
class Task:
    """One layer to be evaluated on one design.

    Attributes:
        layer: an Einsum of two operands, or (m, n, k) of a matrix product: rows of weights, columns, reduced length.
        weights, activations: a `Representation`, its text, a pattern, a share of non-zeros, or None for dense.
        settings: other values for the design's own variables.
    """

    layer: Einsum | Gemm
    design: str
    weights: Any = None
    activations: Any = None
    name: str = "layer"
    settings: Mapping[str, float] = field(default_factory=dict)


def evaluate(
    layer: Einsum | Gemm,
    design: str,
    weights: Any = None,
    activations: Any = None,
    *,
    settings: Mapping[str, float] | None = None,
    objective: str = "edp",
    seconds: float = SECONDS,
    workers: int | None = None,
    cache: bool | str | Path = True,
) -> LayerCost:
    """What a layer with represented weights costs on a design of the library, at the best mapping found.

    Args:
        layer, design, weights, activations, settings: as in `Task`.
        objective: what the mapping minimises: ``edp``, ``energy`` or ``latency``.
        seconds: most time of a mapping's search.
        workers, cache: as `fiberloom.network_evaluation.run_network`.

    Raises:
        SpecError: for a design, pattern or layer that makes no sense.
        UnsupportedError: for what the design can't run.
    """
    task = Task(layer, design, weights, activations, settings=settings or {})
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
    plans = [_plan(task) for task in tasks]
    jobs = [
        replace(run.job, objective=objective, seconds=seconds, memory_mb=2000.0) for plan in plans for run in plan.runs
    ]
    found = iter(answers(jobs, workers=workers, cache=cache, progress=progress))
    return [_cost(plan, [next(found) for _ in plan.runs]) for plan in plans]


@dataclass(frozen=True)
class _Run:
    """One mapping to be searched: passes that run as one problem."""

    job: MappingJob
    passes: tuple[Pass, ...]
    cycles_per_step: Fraction = Fraction(1)


@dataclass(frozen=True)
class _Plan:
    """How a task is computed."""

    task: Task
    info: DesignInfo
    terms: tuple[StoredTerm, ...]
    activations: Structure
    runs: tuple[_Run, ...]
    macs: int
    notes: tuple[str, ...]


def _plan(task: Task) -> _Plan:
    info = describe(task.design, dict(task.settings))
    menu = checked_menu(info.menu, info.name)
    product, notes = matrix_product(task.layer, info)
    terms = stored_terms(task.weights)
    passes = plan_passes(terms, menu, menu.weights)
    activations = _activations(task.activations, menu)
    together = len(passes) == 1 or (menu.stationary and reduction_lanes(info) is not None)
    groups = [passes] if together else [(p,) for p in passes]
    runs = tuple(_run(task, info, menu, product, terms, group, activations) for group in groups)
    return _Plan(task, info, terms, activations, runs, product.macs, notes)


def _activations(given: Any, menu: Menu) -> Structure:
    """The entry of the menu that the activations run as: the sparsest that holds them."""
    (term,) = stored_terms(given) if not _several(given) else (None,)
    if term is None:
        raise UnsupportedError(
            "activations of several terms", hint="decompose the operand that the design's menu decomposes"
        )
    wanted = term.structure
    if wanted.is_dense:
        return wanted
    best = structure_of("dense")
    for text in menu.activations:
        entry = structure_of(text)
        if entry.ranks is None:
            return wanted
        if wanted.within(entry) and entry.density < best.density:
            best = entry
    return best


def _several(given: Any) -> bool:
    return len(stored_terms(given)) > 1


def _run(
    task: Task,
    info: DesignInfo,
    menu: Menu,
    product: Einsum,
    terms: Sequence[StoredTerm],
    passes: tuple[Pass, ...],
    activations: Structure,
) -> _Run:
    """The problem of one group of passes."""
    kept = _Kept.of(info, menu, terms, passes)
    bits = {"metadata_bits": kept.coordinate_bits, "index_bits": math.ceil(activations.coordinate_bits)}
    own = {name: value for name, value in bits.items() if name in info.settings and name not in task.settings}
    info = describe(info.name, {**task.settings, **own}) if own else info
    first, second = info.operands
    lanes, beat = lanes_by_role(info), Fraction(1)
    architecture = info.architecture
    dropped = ([first] if not kept.compressed else []) + ([second] if 1 - activations.density <= _BITMASK_PAYS else [])
    if reduction_lanes(info) is not None:
        dense = float(activations.density)
        array = running(info, architecture, passes, weights=kept.density_value, activations=dense)
        architecture, beat = array.architecture, array.cycles_per_step
        lanes["K"] = array.places
    by_variable = {
        "m": lanes.get("M", 1),
        "n": lanes.get("N", lanes.get("P", 1)),
        "k": lanes.get("K", lanes.get("C", 1)),
    }
    product = padded(product, by_variable)
    tensors = []
    for tensor in product.tensors:
        density = {first: kept.density_field(), second: activations.density_field()}.get(tensor.name)
        tensors.append(
            tensor.model_copy(
                update={"density": density, "word_bits": kept.word_bits if tensor.name == first else None}
            )
        )
    einsum = product.model_copy(update={"tensors": tuple(tensors)})
    binding = find_roles(einsum, info.operands, info.output)
    architecture = rename(_without_formats(architecture, dropped), binding)
    job = MappingJob(
        einsum=seen_by(architecture, einsum),
        architecture=architecture,
        constraints=wiring(info, binding, architecture, einsum.shape),
        design=info.name if architecture == rename(info.architecture, binding) else None,
    )
    return _Run(job, passes, beat)


@dataclass(frozen=True)
class _Kept:
    """How the weights' values of a group of passes lie in memory.

    Attributes:
        structure: of a single pass in the design's own words; None: `density_value` words per place, however they are made up.
        density_value: words per place.
        word_bits: of a word where it is not the level's.
        coordinate_bits: per word, whole.
        compressed: whether places without a value take no room.
    """

    structure: Structure | None
    density_value: float
    word_bits: int | None
    coordinate_bits: int
    compressed: bool

    @classmethod
    def of(cls, info: DesignInfo, menu: Menu, terms: Sequence[StoredTerm], passes: Sequence[Pass]) -> _Kept:
        word = info.architecture.compute.word_bits
        values, coordinates = Fraction(0), Fraction(0)
        for p in passes:
            number = terms[min(p.term, len(terms) - 1)].format
            bits = Fraction(word) if number is None else Fraction(str(number.bits_per_element))
            values += p.entry.density * bits
            coordinates += p.entry.density * p.entry.coordinate_bits
        single = passes[0].entry if len(passes) == 1 else None
        if single is not None and values == single.density * word:
            return cls(single, float(single.density), None, math.ceil(single.coordinate_bits), not single.is_dense)
        has_format = any(next(iter(info.operands)) in level.formats for level in info.architecture.levels)
        words = values / word
        if not has_format or words > 1:
            bits = math.ceil(values / sum((p.entry.density for p in passes), Fraction(0)))
            return cls(single, float(single.density) if single else 1.0, bits, 0, has_format and words <= 1)
        return cls(None, float(words), None, math.ceil(coordinates / words), True)

    def density_field(self) -> Any:
        """The ``density:`` of the weights."""
        if self.structure is not None:
            return self.structure.density_field()
        return {"distribution": "fixed-structured", "density": self.density_value} if self.compressed else None


def _without_formats(architecture: Architecture, roles: Sequence[str]) -> Architecture:
    """Tensors of these roles kept as they are, without metadata."""
    if not roles:
        return architecture
    levels = tuple(
        level.model_copy(update={"formats": {t: f for t, f in level.formats.items() if t not in roles}})
        for level in architecture.levels
    )
    return architecture.model_copy(update={"levels": levels})


def _cost(plan: _Plan, found: Sequence[Mapping[str, Any]]) -> LayerCost:
    for answer in found:
        if answer["status"] != "mapped":
            raise UnsupportedError(
                f"{plan.task.name} on {plan.info.name}: {answer.get('reason')}", hint=answer.get("hint")
            )
    cycles = sum(float(run.cycles_per_step) * a["cycles"] for run, a in zip(plan.runs, found, strict=True))
    energy: dict[str, float] = {}
    for answer in found:
        for name, pj in answer["energy_by_component_pj"].items():
            energy[name] = energy.get(name, 0.0) + pj
    passes = [p for run in plan.runs for p in run.passes]
    values, coordinates, scales = _stored_bits(plan, passes)
    worst = max((a["certificate"] for a in found), key=lambda c: c["gap"])
    architecture = plan.info.architecture
    return LayerCost(
        name=plan.task.name,
        design=plan.info.name,
        weights=_text(plan.task.weights),
        activations=_text(plan.task.activations),
        runs_as=tuple(_shown(p) for p in passes),
        macs=plan.macs,
        cycles=cycles,
        energy_pj=sum(energy.values()),
        area_um2=found[0]["area_um2"],
        seconds=cycles * architecture.cycle_seconds,
        ideal_throughput=ideal_throughput(plan.terms),
        menu_throughput=menu_throughput(passes),
        value_bits=values,
        coordinate_bits=coordinates,
        scale_bits=scales,
        energy_by_component_pj=energy,
        bottleneck=found[0]["bottleneck"],
        certificate=worst,
        notes=plan.notes,
    )


def _stored_bits(plan: _Plan, passes: Sequence[Pass]) -> tuple[float, float, float]:
    """Bits per weight: values, coordinates, scales, as the design stores the passes."""
    word = plan.info.architecture.compute.word_bits
    values = coordinates = scales = Fraction(0)
    for p in passes:
        number = plan.terms[min(p.term, len(plan.terms) - 1)].format
        bits = Fraction(word if number is None else number.bits)
        values += p.entry.density * bits
        scales += p.entry.density * (Fraction(0) if number is None else Fraction(str(number.bits_per_element)) - bits)
        coordinates += p.entry.density * p.entry.coordinate_bits
    return float(values), float(coordinates), float(scales)


def _shown(p: Pass) -> str:
    return f"{p.entry} {p.format}"


def _text(given: Any) -> str:
    return "dense" if given is None else str(given)
