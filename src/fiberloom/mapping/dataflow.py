"""Dataflows: how a design spreads and orders the loops of any workload, and the mapping that follows from it.

A dataflow says, level by level, which loops run along X and along Y of the fan-out, which loops make up the level's
tile, and in which order they stand. Loops are named by *role* (``M`` output channels, ``C`` reduced channels …), so
that one description serves every layer. `plan` turns it into a mapping without any search:

1. spatial loops, innermost fan-out first, each grown to the largest divisor of what is left of its bound that fits the
   fan-out and every capacity further out;
2. temporal loops of each level's tile, innermost level first, grown in the same way;
3. what is left stands at the outermost level.

Growing in this order gives lanes precedence over tiles. The result is what the design's authors describe, not the best
mapping; a mapper finds better ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as Roles
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from fiberloom.architecture.levels import Architecture, StorageLevel
from fiberloom.architecture.sparse import Format, SafKind, TensorFormat
from fiberloom.errors import MappingError, nearest
from fiberloom.mapping.nest import LevelMapping, Mapping
from fiberloom.workload.density import DensityModel, build_density
from fiberloom.workload.einsum import Einsum, Tensor

LOW_UTILIZATION = 0.5
"""Share of lanes below which a plan warns."""


@dataclass(frozen=True)
class Growth:
    """One loop that a dataflow grows.

    Attributes:
        role: which variables. Several of one role share a fan-out as widely as their divisors allow; a tile grows them
            in turn, the last first.
        at_most: largest product of the role's factors here; None: as far as it fits.
        nonzeros_of: tensor whose non-zeros alone take up lanes (spatial skipping): a loop over 2:4 weights may run
            twice as far as the fan-out.
    """

    role: str
    at_most: int | None = None
    nonzeros_of: str | None = None


@dataclass(frozen=True)
class LevelDataflow:
    """What a dataflow does at one storage level.

    Attributes:
        x, y: loops along the axes of the fan-out below the level, in the order in which they grow.
        tile: temporal loops of the level, in the order in which they grow.
        order: roles, **outermost first**; those left out stand outside.
    """

    level: str
    x: tuple[Growth, ...] = ()
    y: tuple[Growth, ...] = ()
    tile: tuple[Growth, ...] = ()
    order: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A mapping and what its reader should know.

    Attributes:
        lanes_used: share of the compute instances that have work, 0..1.
        warnings: one sentence each.
    """

    mapping: Mapping
    lanes_used: float
    warnings: tuple[str, ...] = ()


def plan(
    workload: Einsum, architecture: Architecture, dataflow: Sequence[LevelDataflow], roles: Roles[str, Sequence[str]]
) -> Plan:
    """The mapping that a dataflow gives a workload.

    Args:
        dataflow: at most one entry per level; levels without one have no loops.
        roles: variables of each role; every variable of the workload has exactly one role. A role without variables
            takes part as a loop of bound 1.

    Raises:
        MappingError: if a level can't even hold one element of what it keeps, or the dataflow names unknown levels.
    """
    nest = _Nest(workload, architecture)
    known = [level.name for level in architecture.levels]
    at = {entry.level: entry for entry in dataflow}
    for name in at:
        if name not in known:
            raise MappingError(
                f"the dataflow names level '{name}', which the architecture has not", hint=nearest(name, known)
            )
    misfit = nest.misfit()
    if misfit is not None:
        raise MappingError(
            f"'{misfit}' can't hold one element of each tensor that it keeps", hint="enlarge it, or keep less there"
        )
    lanes = 1.0
    for i in reversed(range(len(known))):
        entry = at.get(known[i], LevelDataflow(known[i]))
        fan_x, fan_y = architecture.fanout(known[i])
        lanes *= nest.spread(i, entry.x, fan_x, roles, along_x=True) * nest.spread(
            i, entry.y, fan_y, roles, along_x=False
        )
    for i in reversed(range(len(known))):
        nest.grow_tile(i, at.get(known[i], LevelDataflow(known[i])).tile, roles)
    for variable in workload.shape:
        nest.temporal[0][variable] = nest.temporal[0].get(variable, 1) * nest.left(variable)
    levels = {
        name: nest.level_mapping(i, _variables(at[name].order if name in at else (), roles))
        for i, name in enumerate(known)
    }
    used = lanes / architecture.compute.instances
    warnings = []
    if used < LOW_UTILIZATION:
        shape = " ".join(f"{v}={n}" for v, n in workload.shape.items())
        warnings.append(
            f"the dataflow of '{architecture.name}' keeps {used:.0%} of its {architecture.compute.instances} lanes "
            f"busy: the bounds {shape} have no larger divisors that fit; pad them to multiples of the fan-outs"
        )
    return Plan(Mapping(levels=levels), used, tuple(warnings))


def _variables(order: Sequence[str], roles: Roles[str, Sequence[str]]) -> tuple[str, ...]:
    return tuple(variable for role in order for variable in roles.get(role, ()))


@lru_cache(maxsize=4096)
def _divisors(n: int) -> tuple[int, ...]:
    """Divisors of `n`, largest first."""
    small = [d for d in range(1, math.isqrt(n) + 1) if n % d == 0]
    return tuple(sorted({*small, *(n // d for d in small)}, reverse=True))


@dataclass
class _Nest:
    """Factors chosen so far, and whether they fit. Levels are numbered from the outermost."""

    workload: Einsum
    architecture: Architecture
    temporal: list[dict[str, int]] = field(default_factory=list)
    spatial: list[dict[str, int]] = field(default_factory=list)
    along_x: list[list[str]] = field(default_factory=list)
    along_y: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = len(self.architecture.levels)
        self.temporal, self.spatial = [{} for _ in range(count)], [{} for _ in range(count)]
        self.along_x, self.along_y = [[] for _ in range(count)], [[] for _ in range(count)]
        self._models: dict[str, DensityModel] = {}
        self._occupancies: dict[tuple[str, tuple[int, ...]], int] = {}

    def left(self, variable: str) -> int:
        """What is left of a variable's bound."""
        taken = math.prod(f.get(variable, 1) for factors in (self.temporal, self.spatial) for f in factors)
        return self.workload.shape[variable] // taken

    def spread(
        self, level: int, growths: Sequence[Growth], fan: int, roles: Roles[str, Sequence[str]], *, along_x: bool
    ) -> float:
        """Grow spatial loops along one axis; returns how many children they occupy."""
        occupied = 1
        for growth in growths:
            variables = [v for v in reversed(roles.get(growth.role, ())) if self.spatial[level].get(v, 1) == 1]
            room = min(fan // occupied, growth.at_most or fan // occupied)
            chosen, children = self._widest(level, variables, room, growth)
            for variable, factor in chosen.items():
                if factor > 1:
                    self.spatial[level][variable] = factor
                    (self.along_x if along_x else self.along_y)[level].append(variable)
            occupied *= children
        return occupied

    def _widest(self, level: int, variables: Sequence[str], room: int, growth: Growth) -> tuple[dict[str, int], int]:
        """Factors of `variables` that occupy the most children within `room` and fit; earlier variables break ties."""
        if not variables:
            return {}, 1
        variable, *others = variables
        best: dict[str, int] = {}
        most = 0
        for factor in _divisors(self.left(variable)):
            children = self._children(level, variable, factor, growth.nonzeros_of)
            if children > room or (growth.nonzeros_of and growth.at_most and factor > growth.at_most):
                continue
            before = self.spatial[level].get(variable, 1)
            self.spatial[level][variable] = factor
            if factor == 1 or self.misfit() is None:
                rest, rest_children = self._widest(level, others, room // children, growth)
                if children * rest_children > most:
                    best, most = {variable: factor, **rest}, children * rest_children
            self.spatial[level][variable] = before
            if most == room:
                break
        return best, max(1, most)

    def _children(self, level: int, variable: str, factor: int, nonzeros_of: str | None) -> int:
        """Children that a spatial loop occupies: its bound, or the most non-zeros that it can meet."""
        if nonzeros_of is None or not _skips_in_space(self.architecture.levels[level], nonzeros_of):
            return factor
        tensor = self.workload.tensor(nonzeros_of)
        return max(1, min(factor, self._most_nonzeros(tensor, tensor.tile_shape({variable: factor}))))

    def grow_tile(self, level: int, growths: Sequence[Growth], roles: Roles[str, Sequence[str]]) -> None:
        """Grow a level's temporal loops."""
        for growth in growths:
            product = 1
            for variable in reversed(roles.get(growth.role, ())):
                most = (growth.at_most or 2**62) // product
                already = self.temporal[level].get(variable, 1)
                for factor in _divisors(self.left(variable)):
                    if factor > most:
                        continue
                    self.temporal[level][variable] = already * factor
                    if self.misfit() is None:
                        product *= factor
                        break
                else:
                    self.temporal[level][variable] = already

    def misfit(self) -> str | None:
        """The first level, from inside, that can't hold its tile; None if all can."""
        extents = dict.fromkeys(self.workload.shape, 1)
        for i in reversed(range(len(self.architecture.levels))):
            for factors in (self.spatial[i], self.temporal[i]):
                for variable, factor in factors.items():
                    extents[variable] *= factor
            if not self._fits(self.architecture.levels[i], extents):
                return self.architecture.levels[i].name
        return None

    def _fits(self, level: StorageLevel, extents: dict[str, int]) -> bool:
        words, bits = 0, 0
        for tensor in self.workload.tensors:
            if level.keep is not None and tensor.name not in level.keep:
                continue
            shape = tensor.tile_shape(extents)
            layout = level.formats.get(tensor.name)
            held = math.prod(shape)
            if layout is not None and layout.compressed:
                held = self._most_nonzeros(tensor, shape)
            words += held
            if layout is not None and level.metadata_depth is not None and level.metadata_width_bits:
                bits += _most_metadata_bits(layout, level, math.prod(shape), held, tensor, extents)
        if level.capacity_words is not None and words > level.capacity_words:
            return False
        return not (
            level.metadata_depth is not None
            and level.metadata_width_bits
            and level.capacity_words is not None
            and bits > level.metadata_depth * level.metadata_width_bits
        )

    def _most_nonzeros(self, tensor: Tensor, shape: tuple[int, ...]) -> int:
        if tensor.density is None:
            return math.prod(shape)
        if tensor.name not in self._models:
            self._models[tensor.name] = build_density(
                tensor.name, self.workload.tensor_shape(tensor.name), tensor.density
            )
        key = tensor.name, shape
        if key not in self._occupancies:
            self._occupancies[key] = self._models[tensor.name].max_occupancy(shape)
        return self._occupancies[key]

    def level_mapping(self, level: int, order: Sequence[str]) -> LevelMapping:
        outside = [v for v in self.workload.shape if v not in order]
        spatial = {v: f for v, f in self.spatial[level].items() if f > 1}
        along_x = tuple(v for v in self.along_x[level] if v in spatial)
        along_y = tuple(v for v in self.along_y[level] if v in spatial)
        return LevelMapping(
            temporal={v: f for v, f in self.temporal[level].items() if f > 1},
            temporal_order=(*outside, *order),
            spatial=spatial,
            spatial_order=(*along_y, *along_x),
            spatial_x=along_x if spatial else None,
        )


def _skips_in_space(level: StorageLevel, leader: str) -> bool:
    return any(
        entry.kind is SafKind.SPATIAL_SKIPPING and any(leader in option.leaders for option in entry.options)
        for entry in level.optimizations
    )


def _most_metadata_bits(
    layout: TensorFormat, level: StorageLevel, size: int, held: int, tensor: Tensor, extents: dict[str, int]
) -> int:
    """An upper bound of the metadata of a tile of `size` elements that holds `held` values.

    Ranks without named variables may hold any loop, so each is charged as if it held all that is left.
    """
    word = (
        level.metadata_word_bits
        if level.metadata_word_bits is not None
        else level.metadata_width_bits or level.word_bits
    )
    bits, left = 0, size
    for i, rank in enumerate(reversed(layout.ranks)):
        own = math.prod(extents[v] for v in rank.variables if v in tensor.variables) if rank.variables else 1
        outer = max(1, left // own)
        metadata = (
            rank.metadata_word_bits if rank.metadata_word_bits is not None else 1 if rank.format is Format.B else word
        )
        payload = rank.payload_word_bits if rank.payload_word_bits is not None else word
        metadata, payload = (_aligned(item, level.metadata_width_bits) for item in (metadata, payload))
        present = min(left, held)
        match rank.format:
            case Format.B:
                bits += left * metadata + (present * payload if i else 0)
            case Format.CP | Format.RLE:
                bits += present * metadata + (present * payload if i else 0)
            case Format.UB:
                bits += left * metadata
            case Format.UOP:
                bits += (left + outer) * payload if i else 0
            case Format.U:
                pass
        left = outer
    return bits


def _aligned(item_bits: int, width_bits: int | None) -> int:
    """Bits that an item takes: raised until no item straddles two rows (as the model does)."""
    while item_bits and width_bits and item_bits < width_bits and width_bits % item_bits:
        item_bits += 1
    return item_bits
