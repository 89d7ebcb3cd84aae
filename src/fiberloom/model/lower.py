"""From spec objects to plain arrays: a `Problem` once per Einsum and architecture, a packed row per mapping.

In arrays, storage level 0 is the innermost (just above compute), loops and ranks are listed innermost first, and tensors
keep the order of the Einsum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.architecture.components import Estimate, estimate
from fiberloom.architecture.levels import Architecture, Component, ComponentClass, StorageLevel
from fiberloom.architecture.sparse import Format, RankFormat, SafKind
from fiberloom.errors import SpecError, UnsupportedError, nearest
from fiberloom.model import records
from fiberloom.model.actions import KINDS, STORAGE_ACTIONS, compute_energy, reference_estimate, storage_energy
from fiberloom.model.rules import EnergyNames, Rules, rules
from fiberloom.workload.density import DensityModel, build_density
from fiberloom.workload.einsum import Einsum

Array = NDArray[Any]

_FORMATS: Final = {f: i for i, f in enumerate((Format.U, Format.UOP, Format.CP, Format.RLE, Format.B, Format.UB))}

# source: thresholds of the reference tool's vector-access correction, model-spec of the released build; rows by density
# < 0.2, < 0.3, … < 1, ≥ 1. It has no row beyond 32 words (it stops there); the row of the next listed block serves.
_BLOCK_THRESHOLDS: Final = {
    2: (251, 125, 84, 63, 51, 42, 36, 32, 28, 1),
    4: (375, 188, 125, 94, 75, 63, 54, 47, 42, 1),
    8: (438, 219, 146, 110, 88, 73, 63, 55, 49, 1),
    16: (469, 235, 157, 118, 94, 79, 67, 59, 52, 1),
    32: (485, 243, 162, 122, 97, 81, 70, 61, 52, 1),
}


@dataclass(frozen=True)
class Problem:
    """An Einsum on an architecture, lowered once; mappers and `evaluate` share it.

    Attributes:
        arrays: the record that the kernel reads (`fiberloom.model.records.PROBLEM`), shape ``(1,)``.
        densities: density model per tensor, in the Einsum's order.
        level_names: innermost first.
        provenance: where energies and areas come from, by component.
        areas_um2: area of one instance, by component name.
        warnings: about the problem as such.
    """

    workload: Einsum
    architecture: Architecture
    rules: Rules
    arrays: Array
    densities: tuple[DensityModel, ...]
    level_names: tuple[str, ...]
    provenance: dict[str, str]
    areas_um2: dict[str, float]
    warnings: tuple[str, ...]

    @property
    def variables(self) -> tuple[str, ...]:
        """Iteration variables, in array order."""
        return tuple(self.workload.shape)

    @property
    def tensors(self) -> tuple[str, ...]:
        """Tensor names, in array order."""
        return tuple(t.name for t in self.workload.tensors)


def lower(
    workload: Einsum,
    architecture: Architecture,
    *,
    rule_set: str | Rules = "fiberloom",
    base_directory: Path | None = None,
) -> Problem:
    """Lower an Einsum and an architecture to arrays.

    Raises:
        SpecError: when the architecture's sparse features name tensors or variables that the Einsum has not, a density
            can't be built, or the component library does not know something.
        UnsupportedError: for combinations of features that no rule covers.
    """
    chosen = rules(rule_set)
    variables = list(workload.shape)
    tensors = workload.tensors
    D, T = len(variables), len(tensors)
    R = max(1, *(len(t.ranks) for t in tensors))
    _check_limits(workload, architecture, D, T, R)
    coefficient = np.zeros((T, R, D), np.int64)
    for i, tensor in enumerate(tensors):
        for r, rank in enumerate(tensor.ranks):
            for term in rank:
                coefficient[i, r, variables.index(term.variable)] += term.coefficient
    used = (coefficient != 0).sum(axis=(1,))  # (T, D): ranks that a variable indexes
    per_rank = (coefficient != 0).sum(axis=2)  # (T, R)
    terms = {name: np.zeros((T, R, D), np.int64) for name in ("variable", "coefficient")}
    for i, r, d in zip(*np.nonzero(coefficient), strict=True):
        k = int((coefficient[i, r, :d] != 0).sum())
        terms["variable"][i, r, k] = d
        terms["coefficient"][i, r, k] = abs(coefficient[i, r, d])
    rank_count = np.array([len(t.ranks) for t in tensors], np.int64)
    shapes = np.ones((T, R), np.int64)
    for i, tensor in enumerate(tensors):
        shapes[i, : rank_count[i]] = tensor.tile_shape(workload.shape)
    radix = np.ones(R, np.int64)
    for r in range(1, R):
        radix[r] = radix[r - 1] * int(2 * shapes[:, r - 1].max() + 1)
    densities = tuple(
        build_density(
            t.name, tuple(int(s) for s in shapes[i, : rank_count[i]]), t.density, base_directory=base_directory
        )
        for i, t in enumerate(tensors)
    )
    levels = tuple(reversed(architecture.levels))  # innermost first
    chain: list[Component] = [architecture.compute, *levels]
    tables = {c.name: _energies(c, architecture, chosen) for c in chain}
    formats = _formats(levels, workload, variables, chosen)
    safs = _action_optimizations(levels, workload)
    L = len(levels)
    scale = np.array([[(t.word_bits or lv.word_bits) / lv.word_bits for t in tensors] for lv in levels])
    blocks = np.array([lv.words_per_access for lv in levels], np.int64)
    block_of = np.maximum(1, (blocks[:, None] / scale).astype(np.int64))
    fan = np.array(
        [[b // a for a, b in zip(chain[i + 1].mesh, chain[i].mesh, strict=True)] for i in range(L)], np.int64
    )
    infinite = math.inf
    arrays = _record(
        variables=D,
        levels=L,
        tensors=T,
        bounds=np.array(list(workload.shape.values()), np.int64),
        coefficient=coefficient,
        term_count=per_rank,
        term_variable=terms["variable"],
        term_coefficient=terms["coefficient"],
        rank_count=rank_count,
        tensor_shape=shapes,
        radix=radix,
        is_relevant=used > 0,
        is_lone=((coefficient != 0) & (per_rank == 1)[:, :, None]).any(axis=1),
        is_sole=((coefficient != 0) & (per_rank == 1)[:, :, None]).any(axis=1) & (used == 1),
        is_filtered=_filtered(formats, safs, T),
        is_simple=(per_rank <= 1).all(axis=1) & (used <= 1).all(axis=1),
        is_dense=np.array([d.density == 1.0 for d in densities]),
        by_shape=np.array([d.shape_dependent for d in densities]),
        element_density=np.array([d.density for d in densities]),
        tensor_has_metadata=formats["has_metadata"].any(axis=0),
        output=next(i for i, t in enumerate(tensors) if t.is_output),
        any_metadata=bool(formats["has_metadata"].any()),
        complete_nest=bool(formats["has_metadata"].any()) or any(lv.optimizations for lv in levels),
        has_fanout=fan.prod(axis=1) > 1,
        fan_x=np.ascontiguousarray(fan[:, 0]),
        fan_y=np.ascontiguousarray(fan[:, 1]),
        block=blocks,
        block_of=block_of,
        values_per_access=np.where(scale > blocks[:, None], blocks[:, None] / scale, block_of)
        if chosen.exact
        else block_of,
        demand=scale if chosen.exact else np.ones_like(scale),
        word_bits=np.array([lv.word_bits for lv in levels], np.int64),
        word_scale=scale,
        capacity=np.array([infinite if lv.capacity_words is None else lv.capacity_words for lv in levels], np.float64),
        min_utilization=np.array([lv.min_utilization for lv in levels]),
        cluster=np.array([lv.cluster_size for lv in levels], np.int64),
        metadata_word_bits=np.array([_metadata_word_bits(lv) for lv in levels], np.int64),
        metadata_width=np.array([_metadata_width(lv, chosen) for lv in levels], np.int64),
        metadata_capacity_bits=np.array([_metadata_capacity(lv) for lv in levels]),
        read_bandwidth=np.array([lv.read_bandwidth or infinite for lv in levels], np.float64),
        write_bandwidth=np.array([lv.write_bandwidth or infinite for lv in levels], np.float64),
        shared_bandwidth=np.array([lv.shared_bandwidth or infinite for lv in levels], np.float64),
        can_decompress=np.array([lv.decompress for lv in levels]),
        **formats,
        **safs,
        compute_gating=architecture.compute.gating,
        compute_skipping=architecture.compute.skipping,
        energy=np.array([tables[lv.name].storage for lv in levels]),
        compute_energy=np.array(tables[architecture.compute.name].compute),
        leak=np.array([tables[c.name].leak for c in chain]) * (1.0 if chosen.leakage else 0.0),
        conversion_energy=np.array([tables[lv.name].conversion for lv in levels]),
        block_threshold=np.array([_thresholds(lv.words_per_access) for lv in levels], np.int64),
        delta_rule=int(chosen.delta),
        first_visit_fills=chosen.first_visit_fills,
        exact=chosen.exact,
        evaluate_misfits=False,
    )
    return Problem(
        workload=workload,
        architecture=architecture,
        rules=chosen,
        arrays=arrays,
        densities=densities,
        level_names=tuple(lv.name for lv in levels),
        provenance={c.name: tables[c.name].provenance for c in chain},
        areas_um2={c.name: tables[c.name].area_um2 for c in chain},
        warnings=tuple(w for c in chain for w in tables[c.name].warnings),
    )


@dataclass(frozen=True)
class _Energies:
    storage: list[list[float]]
    compute: list[float]
    conversion: list[float]
    leak: float
    area_um2: float
    provenance: str
    warnings: tuple[str, ...]


def _check_limits(workload: Einsum, architecture: Architecture, variables: int, tensors: int, ranks: int) -> None:
    ranks_of_formats = max([0, *(len(f.ranks) for lv in architecture.levels for f in lv.formats.values())])
    for what, found, most in (
        ("iteration variables", variables, records.MAX_VARIABLES),
        ("tensors", tensors, records.MAX_TENSORS),
        ("ranks of a tensor", ranks, records.MAX_RANKS),
        ("storage levels", len(architecture.levels), records.MAX_LEVELS),
        ("ranks of a format", ranks_of_formats, records.MAX_FORMAT_RANKS),
    ):
        if found > most:
            raise UnsupportedError(f"{found} {what}", hint=f"the model takes at most {most}")


def areas_um2(architecture: Architecture, rule_set: str | Rules = "fiberloom") -> dict[str, float]:
    """Area of one instance of every component, by name, without a workload.

    Raises:
        SpecError: when the component library does not know something.
    """
    chosen = rules(rule_set)
    return {c.name: _energies(c, architecture, chosen).area_um2 for c in (architecture.compute, *architecture.levels)}


def _record(**fields: Any) -> Array:
    """A `PROBLEM` record of shape ``(1,)``; arrays fill the leading part of their field.

    Raises:
        UnsupportedError: if an array is larger than its field.
    """
    record = np.zeros(1, records.PROBLEM)
    for name, value in fields.items():
        room = record[name][0]
        array = np.asarray(value)
        if any(n > m for n, m in zip(array.shape, room.shape, strict=True)):
            raise UnsupportedError(
                f"{name.replace('_', ' ')}: {array.shape} entries", hint=f"the model takes {room.shape}"
            )
        part: tuple[Any, ...] = (0, *(slice(n) for n in array.shape))
        record[name][part] = array
    return record


def _energies(component: Component, architecture: Architecture, chosen: Rules) -> _Energies:
    """Energies of a component by the rule set's names, from its table, else the component library."""
    table = component.energy_pj
    library: Estimate | None = None
    notes: list[str] = []
    if chosen.exact and (table is None or component.area_um2 is None):
        try:
            library = estimate(
                _with_metadata_width(component),
                technology=architecture.technology,
                cycle_seconds=architecture.cycle_seconds,
            )
        except SpecError as error:
            if table is None:
                raise
            notes.append(
                f"'{component.name}': no area, because the component library does not know it: {error.problem}"
            )
    source = dict(table) if table is not None else dict(library.energy_pj) if library else {}
    names = chosen.energy_names if table is not None else EnergyNames.NEW
    warnings: list[str] = []
    storage = [[0.0] * len(KINDS) for _ in STORAGE_ACTIONS]
    compute = [0.0] * len(KINDS)
    if isinstance(component, StorageLevel):
        for a, action in enumerate(STORAGE_ACTIONS):
            for k, kind in enumerate(KINDS):
                energy = storage_energy(source, action, kind, names)
                if energy is None and kind == "actual" and not action.startswith("metadata"):
                    energy = 0.0 if component.component is ComponentClass.DUMMY else reference_estimate(component)
                    if table:
                        warnings.append(
                            f"'{component.name}': its energy table has no '{action}'; a built-in estimate serves"
                        )
                storage[a][k] = energy or 0.0
    else:
        for k, kind in enumerate(KINDS):
            energy = compute_energy(source, kind)
            compute[k] = reference_estimate(component) if energy is None else energy
    if table is not None:
        provenance = "energy table of the input"
    elif library is not None:
        provenance = library.provenance
    else:
        provenance = "built-in estimate of the reference tool"
    if component.area_um2 is not None:
        area = component.area_um2
    else:
        area = library.area_um2 if library is not None else 0.0
        if table is not None and library is not None:
            provenance += f"; area: {library.provenance}"
    return _Energies(
        storage,
        compute,
        [source.get("decompression_count", 0.0), source.get("compression_count", 0.0)],
        source.get("leak", 0.0),
        area,
        provenance,
        (*notes, *warnings),
    )


def _with_metadata_width(component: Component) -> Component:
    """The component with a stated width of its metadata accesses: metadata without an array of its own shares the data's."""
    if isinstance(component, StorageLevel) and component.formats and not component.metadata_width_bits:
        return component.model_copy(update={"metadata_width_bits": component.width_bits or component.word_bits})
    return component


def _metadata_word_bits(level: StorageLevel) -> int:
    """Metadata word width of a level: stated, else the width of its metadata array, else its data words."""
    if level.metadata_word_bits is not None:
        return level.metadata_word_bits
    return level.metadata_width_bits or level.word_bits


def _metadata_width(level: StorageLevel, chosen: Rules) -> int:
    """Bits of one metadata access; the reference builds move metadata for free where no width is stated."""
    if level.metadata_width_bits or not chosen.exact or level.energy_pj is not None:
        return level.metadata_width_bits or 0
    return level.width_bits or level.word_bits


def _metadata_capacity(level: StorageLevel) -> float:
    unbounded = level.component in (ComponentClass.DRAM, ComponentClass.DUMMY)
    if unbounded or level.metadata_depth is None or not level.metadata_width_bits:
        return math.inf
    return float(level.metadata_depth * level.metadata_width_bits)


def _thresholds(block: int) -> tuple[int, ...]:
    for listed, row in _BLOCK_THRESHOLDS.items():
        if block <= listed:
            return row
    return _BLOCK_THRESHOLDS[32]


def _aligned(bits: int, width: int | None) -> int:
    """`bits` raised until it divides the metadata storage width, so that no item straddles two rows."""
    if bits == 0 or not width or bits > width:
        return bits
    while width % bits:
        bits += 1
    return bits


def _formats(levels: Sequence[StorageLevel], workload: Einsum, variables: list[str], chosen: Rules) -> dict[str, Array]:
    names = [t.name for t in workload.tensors]
    L, T = len(levels), len(names)
    F = max([1, *(len(f.ranks) for lv in levels for f in lv.formats.values())])
    out: dict[str, Array] = {
        "has_metadata": np.zeros((L, T), np.bool_),
        "is_compressed": np.zeros((L, T), np.bool_),
        "inner_to_outer": np.zeros((L, T), np.bool_),
        "format_ranks": np.zeros((L, T), np.int64),
        "format_kind": np.zeros((L, T, F), np.int64),
        "format_rule": np.zeros((L, T, F), np.int64),
        "metadata_bits": np.zeros((L, T, F)),
        "payload_bits": np.zeros((L, T, F)),
    }
    for i, level in enumerate(levels):
        for tensor, layout in level.formats.items():
            if tensor not in names:
                raise SpecError(
                    f"level '{level.name}' gives a format for unknown tensor '{tensor}'", hint=nearest(tensor, names)
                )
            t = names.index(tensor)
            kinds = {rank.format for rank in layout.ranks}
            if kinds == {Format.U}:
                continue  # plainly uncompressed
            out["has_metadata"][i, t] = True
            out["is_compressed"][i, t] = layout.compressed
            out["inner_to_outer"][i, t] = layout.inner_to_outer
            out["format_ranks"][i, t] = len(layout.ranks)
            for r, rank in enumerate(reversed(layout.ranks)):  # innermost first
                out["format_kind"][i, t, r] = _FORMATS[rank.format]
                out["format_rule"][i, t, r] = _rule(rank, level, variables)
                word = _metadata_word_bits(level)
                bitmask = rank.format is Format.B or (rank.format is Format.UB and chosen.exact)
                default = 1 if bitmask else word
                metadata = default if rank.metadata_word_bits is None else rank.metadata_word_bits
                payload = word if rank.payload_word_bits is None else rank.payload_word_bits
                out["metadata_bits"][i, t, r] = _aligned(metadata, level.metadata_width_bits)
                out["payload_bits"][i, t, r] = _aligned(payload, level.metadata_width_bits)
    return out


def _filtered(formats: dict[str, Array], safs: dict[str, Array | int], tensors: int) -> Array:
    """Tensors with metadata at any level, and those that follow or lead, ``(T,)``."""
    followers = np.concatenate([safs["option_follower"], safs["spatial_follower"], safs["position_follower"]])
    leaders = np.concatenate([safs["option_leaders"], safs["spatial_leaders"]])
    involved = [(followers == t).any() or (leaders >> t & 1).any() for t in range(tensors)]
    return np.asarray(formats["has_metadata"].any(axis=0) | np.array(involved, np.bool_))


def _rule(rank: RankFormat, level: StorageLevel, variables: list[str]) -> int:
    if rank.variables is None:
        return 0
    bits = 0
    for variable in rank.variables:
        if variable not in variables:
            raise SpecError(
                f"level '{level.name}' flattens unknown variable '{variable}' into a rank",
                hint=nearest(variable, variables),
            )
        bits |= 1 << variables.index(variable)
    return bits


def _action_optimizations(levels: Sequence[StorageLevel], workload: Einsum) -> dict[str, Array | int]:
    names = [t.name for t in workload.tensors]

    def index(tensor: str, level: StorageLevel) -> int:
        if tensor not in names:
            raise SpecError(
                f"level '{level.name}' gates or skips unknown tensor '{tensor}'", hint=nearest(tensor, names)
            )
        return names.index(tensor)

    first: dict[SafKind, list[tuple[int, list[tuple[int, int]]]]] = {kind: [] for kind in SafKind}
    for i, level in enumerate(levels):
        for entry in level.optimizations:
            options = [
                (index(o.follower, level), sum(1 << index(x, level) for x in set(o.leaders))) for o in entry.options
            ]
            for (follower, leaders), option in zip(options, entry.options, strict=True):
                if entry.kind is SafKind.POSITION_SKIPPING:
                    continue
                if not leaders:
                    raise SpecError(f"level '{level.name}': {entry.kind} of '{option.follower}' names no leader")
                if leaders >> follower & 1:
                    raise SpecError(
                        f"level '{level.name}': '{option.follower}' can't lead itself",
                        hint="a format already leaves out a tensor's own zeros",
                    )
            first[entry.kind].append((i, options))
    for kind in (SafKind.SPATIAL_SKIPPING, SafKind.POSITION_SKIPPING):
        for i, options in first[kind]:
            if len(options) > 1:
                raise UnsupportedError(
                    f"level '{levels[i].name}': {kind} with alternatives", hint="give one entry each"
                )
    mixed = {(i, o[0][0]) for i, o in first[SafKind.SPATIAL_SKIPPING]} & {
        (i, f) for kind in (SafKind.GATING, SafKind.SKIPPING) for i, o in first[kind] for f, _ in o
    }
    for i, follower in mixed:
        raise UnsupportedError(
            f"level '{levels[i].name}': '{names[follower]}' is skipped in space and in time at one level"
        )
    ordered = [(1, e) for e in first[SafKind.GATING]] + [(2, e) for e in first[SafKind.SKIPPING]]
    starts = np.cumsum([0, *(len(e[1]) for _, e in ordered)])
    spatial, position = first[SafKind.SPATIAL_SKIPPING], first[SafKind.POSITION_SKIPPING]

    def integers(values: Sequence[int]) -> Array:
        return np.array(values, np.int64).reshape(-1)

    return {
        "entries": len(ordered),
        "spatial_entries": len(spatial),
        "position_entries": len(position),
        "saf_kind": integers([k for k, _ in ordered]),
        "saf_level": integers([e[0] for _, e in ordered]),
        "saf_first": integers(starts[:-1].tolist()),
        "saf_options": integers([len(e[1]) for _, e in ordered]),
        "option_follower": integers([f for _, e in ordered for f, _ in e[1]]),
        "option_leaders": integers([x for _, e in ordered for _, x in e[1]]),
        "spatial_level": integers([i for i, _ in spatial]),
        "spatial_follower": integers([o[0][0] for _, o in spatial]),
        "spatial_leaders": integers([o[0][1] for _, o in spatial]),
        "position_level": integers([i for i, _ in position]),
        "position_follower": integers([o[0][0] for _, o in position]),
    }
