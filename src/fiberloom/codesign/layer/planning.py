"""From a layer and its representations to the problems whose mappings are searched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Final

from fiberloom.architecture.levels import Architecture
from fiberloom.architecture.library import describe
from fiberloom.architecture.library.design import DesignInfo
from fiberloom.architecture.library.menu import Menu, expanded_patterns
from fiberloom.architecture.library.roles import find_roles, rename
from fiberloom.architecture.library.structure import DENSE, Structure, structure_of
from fiberloom.codesign.layer.array import reduction_lanes, running
from fiberloom.codesign.layer.padding import lanes_by_role, padded
from fiberloom.codesign.layer.passes import Pass, StoredTerm, checked_menu, format_of, plan_passes, stored_terms
from fiberloom.codesign.layer.product import Gemm, matrix_product, transposed, with_terms
from fiberloom.codesign.layer.wiring import wiring
from fiberloom.errors import UnsupportedError
from fiberloom.network_evaluation.mapping_search import MappingJob, seen_by
from fiberloom.workload.einsum import Einsum

_BITMASK_PAYS: Final = Fraction(1, 8)
"""Share of zeros from which a bitmask, one bit to every 8-bit value, makes a tensor smaller."""

_REGISTER_WORDS: Final = 4
"""Up to so many words a level counts as registers, which are as wide as the values that they hold."""


@dataclass(frozen=True)
class Task:
    """One layer to be evaluated on one design.

    Attributes:
        layer: an Einsum of two operands, or (m, n, k) of a matrix product: rows of weights, columns, reduced length.
        design: a name of the library, or a design.
        weights, activations: a `Representation`, its text, a pattern, a share of non-zeros, or None for dense.
        settings: other values for the design's own variables.
        patterns: for weights, in place of those of the design's menu; ``C1(4:{4..7})->C0(2:4)`` spells out a range.
    """

    layer: Einsum | Gemm
    design: str | DesignInfo
    weights: Any = None
    activations: Any = None
    name: str = "layer"
    settings: Mapping[str, float] = field(default_factory=dict)
    patterns: Sequence[str] = ()

    @property
    def identity(self) -> str:
        """The same for tasks that are computed alike, whatever their names."""
        layer = self.layer.model_copy(update={"name": ""}) if isinstance(self.layer, Einsum) else self.layer
        design = self.design if isinstance(self.design, str) else self.design.name
        given = (str(self.weights), str(self.activations), sorted(self.settings.items()), tuple(self.patterns))
        return f"{design} {layer!r} {given}"


@dataclass(frozen=True)
class Run:
    """One mapping to be searched: passes that run as one problem.

    Attributes:
        cycles_per_step: cycles of the design in one of the job's.
    """

    job: MappingJob
    passes: tuple[Pass, ...]
    cycles_per_step: int = 1


@dataclass(frozen=True)
class Plan:
    """How a task is computed.

    Attributes:
        terms: of the operand on the side of the design's weights.
        extracted: that operand is activations, whose terms are found at run time; it lies in memory as it is.
        macs: multiplications of the dense product.
    """

    task: Task
    info: DesignInfo
    terms: tuple[StoredTerm, ...]
    runs: tuple[Run, ...]
    extracted: bool
    macs: int
    notes: tuple[str, ...]


def plan(task: Task) -> Plan:
    """The passes of a task on its design, and the problem of each.

    Raises:
        SpecError: for a design, pattern or layer that makes no sense.
        UnsupportedError: for what the design can't run.
    """
    info = _described(task, {})
    menu = checked_menu(info.menu, info.name)
    product, notes = matrix_product(task.layer, info)
    weights, activations = stored_terms(task.weights), stored_terms(task.activations)
    structured = activations[0].structure.ranks is not None and not activations[0].structure.is_dense
    extracted = menu.extracts and (len(activations) > 1 or structured)
    if extracted:
        if any(not term.structure.is_dense for term in weights):
            raise UnsupportedError(
                f"{info.name} runs one operand as structured terms, and both are given as such",
                hint="leave the weights dense, or the activations",
            )
        product = transposed(product, info)
        terms, others = activations, weights
        notes = (*notes, "activations stand on the side of the array that is structured; TASD units find their terms")
    else:
        terms, others = weights, activations
    if len(others) > 1:
        raise UnsupportedError(
            f"{info.name} runs the activations as one tensor, and they are given as {len(others)} terms",
            hint="designs with TASD units decompose activations: ttc-vegeta-m8",
        )
    passes = plan_passes(terms, menu, menu.weights)
    other = _densest_needed(others[0].structure, menu)
    together = len(passes) == 1 or (menu.stationary and (reduction_lanes(info) is not None or len(set(passes)) == 1))
    groups = [passes] if together else [(p,) for p in passes]
    runs = tuple(
        _run(task, info, product, terms, group, replace(others[0], structure=other), extracted) for group in groups
    )
    return Plan(task, info, terms, runs, extracted, product.macs, notes)


def _described(task: Task, settings: Mapping[str, float]) -> DesignInfo:
    """The design with its settings and patterns."""
    given = describe(task.design) if isinstance(task.design, str) else task.design
    info = given.with_settings({**task.settings, **settings})
    if not task.patterns or info.menu is None:
        return info
    return replace(info, menu=replace(info.menu, weights=expanded_patterns(task.patterns)))


def _densest_needed(wanted: Structure, menu: Menu) -> Structure:
    """The sparsest entry for activations that holds them."""
    best = DENSE
    for text in menu.activations:
        entry = structure_of(text)
        if entry.ranks is None:
            return wanted
        holds = wanted.within(entry) if wanted.ranks is not None else wanted.density <= entry.density
        if holds and entry.density < best.density:
            best = entry
    return best


def _run(
    task: Task,
    info: DesignInfo,
    product: Einsum,
    terms: Sequence[StoredTerm],
    passes: tuple[Pass, ...],
    other: StoredTerm,
    extracted: bool,
) -> Run:
    """The problem of one group of passes."""
    looped = len(passes) > 1 and reduction_lanes(info) is None  # equal passes: a loop over terms
    kept = _Kept.of(info, terms, passes[:1] if looped else passes)
    bits = {"metadata_bits": kept.coordinate_bits, "index_bits": math.ceil(other.structure.coordinate_bits)}
    own = {name: value for name, value in bits.items() if name in info.settings and name not in task.settings}
    info = _described(task, own) if own else info
    first, second = info.operands
    lanes, beat, architecture = lanes_by_role(info), 1, info.architecture
    if reduction_lanes(info) is not None:
        array = running(
            info, architecture, passes, weights=kept.density_value, activations=float(other.structure.density)
        )
        architecture, beat = array.architecture, array.cycles_per_step
        lanes["K"] = array.places
    plain = [first] if not kept.compressed else []
    plain += [second] if 1 - other.structure.density <= _BITMASK_PAYS else []
    architecture = _without_formats(architecture, plain)
    if extracted:
        architecture = _without_formats(architecture, [first], outside_of=architecture.levels[-1].name)
    product = padded(product, {"m": lanes.get("M", 1), "n": lanes.get("N", 1), "k": lanes.get("K", 1)})
    product = with_terms(product, first, len(passes)) if looped else product
    fields = {
        first: {"density": kept.density_field(), "word_bits": kept.word_bits},
        second: {"density": other.structure.density_field(), "word_bits": _word_bits(info, passes, other)},
    }
    architecture = _registers_for(architecture, max(f["word_bits"] or 0 for f in fields.values()))
    tensors = tuple(t.model_copy(update=fields.get(t.name, {})) for t in product.tensors)
    einsum = product.model_copy(update={"tensors": tensors})
    binding = find_roles(einsum, info.operands, info.output)
    architecture = rename(architecture, binding)
    job = MappingJob(
        einsum=seen_by(architecture, einsum),
        architecture=architecture,
        constraints=wiring(info, binding, architecture, einsum.shape),
    )
    return Run(job, passes, beat)


def _word_bits(info: DesignInfo, passes: Sequence[Pass], other: StoredTerm) -> int | None:
    """Width of the other operand: as it is kept, or once in every format that the passes multiply in; None: the level's."""
    from fiberloom.representation.formats import number_format

    if other.format is not None:
        bits = math.ceil(other.format.bits_per_element)
    else:
        bits = sum(number_format(name).bits for name in {p.format for p in passes})
    return None if bits == info.architecture.compute.word_bits else bits


def _registers_for(architecture: Architecture, bits: int) -> Architecture:
    """Registers of a few values hold as many where values are `bits` wide: with their scales, a little wider than the words."""
    levels = tuple(
        level.model_copy(update={"depth": level.depth * math.ceil(bits / level.word_bits)})
        if level.depth is not None and (level.capacity_words or 0) <= _REGISTER_WORDS and bits > level.word_bits
        else level
        for level in architecture.levels
    )
    return architecture.model_copy(update={"levels": levels})


@dataclass(frozen=True)
class _Kept:
    """How the values of a group of passes lie in memory.

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
    def of(cls, info: DesignInfo, terms: Sequence[StoredTerm], passes: Sequence[Pass]) -> _Kept:
        word = info.architecture.compute.word_bits
        values = coordinates = stored = Fraction(0)
        for p in passes:
            number = format_of(p, terms)
            bits = Fraction(word) if number is None else Fraction(str(number.bits_per_element))
            stored += p.entry.density
            values += p.entry.density * bits
            coordinates += p.entry.density * p.entry.coordinate_bits
        single = passes[0].entry if len(passes) == 1 else None
        if single is not None and values == single.density * word:
            return cls(single, float(single.density), None, math.ceil(single.coordinate_bits), not single.is_dense)
        has_format = any(next(iter(info.operands)) in level.formats for level in info.architecture.levels)
        words = values / word
        if not has_format or words > 1:  # nothing is compressed: words of the values' width
            return cls(single, float(single.density) if single else 1.0, math.ceil(values / stored), 0, False)
        return cls(None, float(words), None, math.ceil(coordinates / words), True)

    def density_field(self) -> Any:
        """The ``density:`` of the tensor."""
        if self.structure is not None:
            return self.structure.density_field()
        return {"distribution": "fixed-structured", "density": self.density_value} if self.compressed else None


def _without_formats(architecture: Architecture, roles: Sequence[str], outside_of: str | None = None) -> Architecture:
    """Tensors of these roles kept as they are, without metadata: everywhere, or at the levels outside of one."""
    if not roles:
        return architecture
    levels = tuple(
        level
        if level.name == outside_of
        else level.model_copy(update={"formats": {t: f for t, f in level.formats.items() if t not in roles}})
        for level in architecture.levels
    )
    return architecture.model_copy(update={"levels": levels})
