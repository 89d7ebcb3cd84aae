"""The space of mappings of a workload on an architecture: counted, numbered, drawn from, and kept to its constraints.

A point chooses, independently of each other,

* ``tile``: for every iteration variable, one ordered factorisation of its bound over the temporal loops of the levels and the
  spatial loops of the fan-outs (`fiberloom.mapping.factorizations`), or factors that cover it
  (`fiberloom.mapping.coverings`),
* ``order``: for every level, one class of loop orders (`fiberloom.mapping.orders`),
* ``parallel``: for every spatial loop that may run along both axes of its fan-out, X or Y,
* ``bypass``: for every keep that is free, whether the level keeps the tensor.

So points have mixed-radix numbers, 0 … `MapSpace.size` − 1. What couples several choices is not part of the numbering and is
told by `MapSpace.violations`: spatial factors together may exceed a fan-out, and a tensor may be left without a keeper.
Whether tiles fit their levels is the model's to say. (Axes as in the mapper study of Kao, Kwon et al., IISWC'22.)
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fiberloom.architecture.levels import Architecture
from fiberloom.errors import SpecError, nearest
from fiberloom.mapping import moves, repairing
from fiberloom.mapping.allowed import allowed
from fiberloom.mapping.constraints import Constraints
from fiberloom.mapping.factorizations import Array, Factorizations, uniform_below
from fiberloom.mapping.orders import LevelOrders
from fiberloom.mapping.packed import ROWS, PackedMappings
from fiberloom.mapping.partial_tiles import perfect_variables
from fiberloom.mapping.views import level_orders
from fiberloom.workload.einsum import Einsum

AXES = ("tile", "order", "parallel", "bypass")
"""What a mapping chooses."""


@dataclass(frozen=True)
class Digit:
    """One digit of a point's number.

    Attributes:
        axis: one of `AXES`.
        radix: how many values it has.
        index: variable (tile); level (order); level and variable (parallel); level and tensor (bypass).
    """

    axis: str
    radix: int
    index: tuple[int, ...]


class MapSpace:
    """All mappings of a workload on an architecture that constraints allow. Levels count from the innermost.

    Attributes:
        variables, tensors, level_names: names; D variables, T tensors, L levels.
        bounds: ``(D,)`` bound of each variable.
        fan: ``(L, 2)`` children along X and Y below each level.
        folds: per level, what spatial skipping of structured zeros saves there (`fiberloom.mapping.allowed.Fold`).
        lanes: ``(L, 2)`` what spatial factors along X and Y may multiply to: `fan`, or more where spatial skipping folds
            structured zeros away.
        temporal_choices, spatial_choices: per level and variable, the allowed factors, ascending int64.
        orders: per level, ``(k, D)`` loop orders innermost first, one per class; None above eight loops, where every order is
            its own class (see `order_count`).
        fixed_keep, free_keep: ``(L, T)`` bool: kept for certain; searched.
        may_x, may_y: ``(L,)`` bit sets of the variables that may run along X, along Y.
        layout: slice of every axis in a row of `vector`.
        digits: digits of a point's number, the least significant first.
        remainders: whether factors may multiply to more than the bounds, with partial last tiles.
        perfect_variables: variables whose factors multiply to their bounds all the same, with the reason why the model takes no
            partial tiles of them; empty without `remainders`.
    """

    AXES = AXES

    def __init__(
        self,
        workload: Einsum,
        architecture: Architecture,
        constraints: Constraints | None = None,
        *,
        remainders: bool = False,
    ) -> None:
        """
        Args:
            remainders: take factors that do not divide the bounds too (`fiberloom.mapping.coverings`), of all variables but
                `perfect_variables`. Then a ``tile`` is a row of factors that cover the bound, with no iteration of the
                outermost loop empty.

        Raises:
            SpecError: for constraints that contradict each other or leave no mapping; it names them.
        """
        constraints = constraints if constraints is not None else Constraints()
        self.workload, self.architecture, self.constraints = workload, architecture, constraints
        self.variables = tuple(workload.shape)
        self.tensors = tuple(t.name for t in workload.tensors)
        self.level_names = tuple(level.name for level in reversed(architecture.levels))
        self.bounds: Array = np.array(list(workload.shape.values()), np.int64)
        self.remainders = remainders
        self.perfect_variables = perfect_variables(workload, architecture, constraints) if remainders else {}
        partial = [v for v in self.variables if remainders and v not in self.perfect_variables]
        left = allowed(workload, architecture, constraints, partial)
        self.fan, self.lanes, self.folds = left.fan, left.lanes, left.folds
        self.most, self.least = left.most, left.least
        self.may_x, self.may_y = left.may_x, left.may_y
        self.fixed_keep, self.free_keep = left.fixed_keep, left.free_keep
        self.multicast, self.peer_links = left.multicast, left.peer_links
        self.slots = left.slots
        self.factorizations: tuple[Factorizations, ...] = left.factorizations
        self.level_orders: tuple[LevelOrders, ...] = tuple(
            level_orders(workload, architecture, constraints, left, level) for level in range(len(self.level_names))
        )
        self._arrange()

    def _arrange(self) -> None:
        """Whatever follows from the factorisations, orders, axes and keeps."""
        L, D = len(self.level_names), len(self.variables)
        one = np.ones(1, np.int64)
        self.temporal_choices: list[list[Array]] = [[one] * D for _ in range(L)]
        self.spatial_choices: list[list[Array]] = [[one] * D for _ in range(L)]
        for s, (level, spatial) in enumerate(self.slots):
            for d, found in enumerate(self.factorizations):
                (self.spatial_choices if spatial else self.temporal_choices)[level][d] = found.choices[s]
        self.slot_levels = np.array([level for level, _ in self.slots])
        self.slot_spatial = np.array([spatial for _, spatial in self.slots])
        self.orders: list[Array | None] = [orders.classed for orders in self.level_orders]
        both = self.may_x & self.may_y
        everything = (1 << D) - 1
        # Spatial loops that do not exist, and those along the only axis open to them.
        self.default_on_x = everything & ~(self.may_y & ~self.may_x)
        self.spreads = np.array([[int(c[-1]) > 1 for c in row] for row in self.spatial_choices]).reshape(L, D)
        self.open_axis = self.spreads & ((both[:, None] >> np.arange(D)) & 1 != 0)
        self.spatial_orders = np.array([self._spatial_order(level) for level in range(L)], np.int64)
        digits = [Digit("tile", found.count, (d,)) for d, found in enumerate(self.factorizations)]
        digits += [Digit("order", orders.count, (level,)) for level, orders in enumerate(self.level_orders)]
        digits += [Digit("parallel", 2, (int(i), int(d))) for i, d in np.argwhere(self.open_axis)]
        digits += [Digit("bypass", 2, (int(i), int(t))) for i, t in np.argwhere(self.free_keep)]
        self.digits = tuple(digit for digit in digits if digit.radix > 1)
        counts = (L * D, L * D + int(self.open_axis.sum()), L * D, int(self.free_keep.sum()))
        ends = np.cumsum(counts)
        at = {axis: slice(int(e) - n, int(e)) for axis, e, n in zip(("tile", "parallel", "order", "bypass"), ends, counts,
                                                                   strict=True)}  # fmt: skip
        self.layout = {axis: at[axis] for axis in AXES}

    def _spatial_order(self, level: int) -> list[int]:
        """The one order of a level's spatial loops: as constraints list them, the others in index order; but innermost
        those along which structured zeros are left out, which are reduced."""
        loops = self.constraints.at(self.level_names[level]).spatial
        inner = [self.variables.index(v) for v in reversed(loops.inner)]
        outer = [self.variables.index(v) for v in reversed(loops.outer)]
        free = [d for d in range(len(self.variables)) if d not in inner and d not in outer]
        fold = self.folds[level]
        if fold is not None:
            kept = self.workload.output.variables
            reduced = [v for v in self.workload.tensor(fold.tensor).variables if v not in kept]
            free.sort(key=lambda d: self.variables[d] not in reduced)
        return [*inner, *free, *outer]

    def __repr__(self) -> str:
        return f"MapSpace({self.workload.name} on {self.architecture.name}: {self.size():.3g} points)"

    # Counting and numbering

    def order_count(self, level: int) -> int:
        """Exact number of order classes of a level."""
        return self.level_orders[level].count

    def size(self) -> int:
        """Exact number of points."""
        return math.prod(digit.radix for digit in self.digits)

    def size_by_axis(self) -> dict[str, int]:
        """Exact number of choices per axis; their product is `size`. Spatial factors count as ``tile``, their axes as ``parallel``."""
        return {axis: math.prod(d.radix for d in self.digits if d.axis == axis) for axis in AXES}

    def varies(self, axis: str) -> bool:
        """Whether moves along an axis can change a mapping; ``parallel`` moves factors between time and space too.

        Raises:
            SpecError: for an unknown axis.
        """
        self._check_axis(axis)
        if axis == "parallel" and any(
            len(found.choices[s]) > 1 for found in self.factorizations for s in np.flatnonzero(self.slot_spatial)
        ):
            return True
        return any(digit.axis == axis for digit in self.digits)

    def _check_axis(self, axis: str) -> None:
        if axis not in AXES:
            raise SpecError(f"unknown axis '{axis}' of a map space", hint=nearest(axis, AXES))

    def decode(self, ids: Sequence[int] | Array) -> PackedMappings:
        """Points by number.

        Raises:
            SpecError: for a number outside 0 … `size` − 1.
        """
        size = self.size()
        numbers = [int(i) for i in ids]
        for number in numbers:
            if not 0 <= number < size:
                raise SpecError(
                    f"there is no mapping {number}", hint=f"this map space numbers them from 0 to {size - 1}"
                )
        left: Array = np.array(numbers, np.int64 if size < 2**63 else object).reshape(len(numbers))
        values = []
        for digit in self.digits:
            values.append(left % digit.radix)
            left = left // digit.radix
        return self._assembled(len(numbers), values)

    def encode(self, packed: PackedMappings) -> list[int]:
        """Numbers of points, the inverse of `decode`. Equivalent loop orders have the same number.

        Raises:
            SpecError: for a mapping outside the space.
        """
        n = len(packed)
        outside = self.breaches(packed, coupled=False)
        if outside.any():
            i = int(np.flatnonzero(outside)[0])
            raise SpecError(
                f"mapping {i} of the batch is not in the map space: {self.explain(packed, i)[0].problem}",
                hint="repair() brings mappings into the space",
            )
        total: Array = np.zeros(n, object)
        weight = 1
        orders: dict[int, Array] = {}
        for digit in self.digits:
            index = digit.index
            if digit.axis == "tile":
                value = self.factorizations[index[0]].rank(self.factors(packed, index[0]))
            elif digit.axis == "order":
                value = orders[index[0]] = self._order_numbers(packed, index[0])
            elif digit.axis == "parallel":
                value = packed.on_x[:, index[0]] >> index[1] & 1
            else:
                value = packed.keep[:, index[0], index[1]].astype(np.int64)
            total = total + value.astype(object) * weight
            weight *= digit.radix
        return [int(i) for i in total]

    def _order_numbers(self, packed: PackedMappings, level: int) -> Array:
        classes = self.level_orders[level]
        found = classes.rank(packed.temporal_order[:, level])
        rows = np.flatnonzero(found < 0)
        if len(rows):
            part = packed.take(rows)
            found[rows] = classes.nearest(part.temporal_order[:, level], self.active(part, level))
        return found

    def sample(self, rng: np.random.Generator, n: int) -> PackedMappings:
        """`n` points, uniform over the space and independent (fan-outs may be exceeded, see `violations`)."""
        return self._assembled(n, [uniform_below(rng, digit.radix, n) for digit in self.digits])

    def _assembled(self, n: int, values: Sequence[Array]) -> PackedMappings:
        L, D = len(self.level_names), len(self.variables)
        temporal, spatial = np.ones((n, L, D), np.int64), np.ones((n, L, D), np.int64)
        order = np.empty((n, L, D), np.int64)
        on_x = np.tile(self.default_on_x, (n, 1))
        keep = np.tile(self.fixed_keep, (n, 1, 1))
        packed = PackedMappings(
            temporal,
            spatial,
            order,
            np.tile(self.spatial_orders, (n, 1, 1)),
            on_x,
            keep,
            self.multicast,
            self.peer_links,
        )
        nothing = np.zeros(n, np.int64)
        chosen = {(digit.axis, digit.index): value for digit, value in zip(self.digits, values, strict=True)}
        for d, found in enumerate(self.factorizations):
            self.set_factors(packed, d, found.unrank(chosen.get(("tile", (d,)), nothing)))
        for level, classes in enumerate(self.level_orders):
            order[:, level] = classes.unrank(chosen.get(("order", (level,)), nothing))
        for (axis, index), value in chosen.items():
            if axis == "parallel":
                bit = 1 << index[1]
                on_x[:, index[0]] = np.where(value == 1, on_x[:, index[0]] | bit, on_x[:, index[0]] & ~bit)
            elif axis == "bypass":
                keep[:, index[0], index[1]] = value == 1
        return packed

    # Parts of packed mappings

    def factors(self, packed: PackedMappings, d: int, rows: Array | None = None) -> Array:
        """``(n, slots)`` factors of variable `d`, in the order of `slots`, of (some rows of) a batch."""
        at = slice(None) if rows is None else rows
        parts = [(packed.spatial if spatial else packed.temporal)[at, level, d] for level, spatial in self.slots]
        return np.stack(parts, axis=1)

    def set_factors(self, packed: PackedMappings, d: int, factors: Array, rows: Array | None = None) -> None:
        """Write ``(n, slots)`` factors of variable `d` into (some rows of) a batch."""
        at = slice(None) if rows is None else rows
        for s, (level, spatial) in enumerate(self.slots):
            (packed.spatial if spatial else packed.temporal)[at, level, d] = factors[:, s]

    def active(self, packed: PackedMappings, level: int) -> Array:
        """``(n,)`` bit sets of the variables with a temporal loop at a level."""
        return np.asarray(((packed.temporal[:, level] > 1) << np.arange(len(self.variables))).sum(axis=1))

    def occupied(self, packed: PackedMappings, level: int, rows: Array | None = None) -> Array:
        """``(n, 2)`` children along X and Y that the spatial loops of a level span, of (some rows of) a batch."""
        at = slice(None) if rows is None else rows
        spatial, on_x = packed.spatial[at, level], packed.on_x[at, level]
        out = np.ones((len(on_x), 2), np.int64)
        for d in np.flatnonzero(self.spreads[level]):
            along_x = on_x >> d & 1 != 0
            out[:, 0] *= np.where(along_x, spatial[:, d], 1)
            out[:, 1] *= np.where(along_x, 1, spatial[:, d])
        return out

    # Belonging

    def violations(self, packed: PackedMappings) -> Array:
        """``(n,)`` how many constraints and fan-outs each mapping breaks; 0 for a mapping that may be evaluated.

        Counted are factors that are not allowed (or do not multiply to the bound), loop orders, axes and keeps against the
        constraints, fan-outs exceeded, utilisation limits missed, and tensors that nothing keeps.
        """
        return self.breaches(packed, coupled=True)

    def breaches(self, packed: PackedMappings, *, coupled: bool) -> Array:
        """As `violations`; without those that couple choices when not `coupled`."""
        return repairing.breaches(self, packed, coupled)

    def explain(self, packed: PackedMappings, i: int) -> list[repairing.Violation]:
        """What mapping `i` of a batch breaks, one entry each; as many as `violations` counts."""
        return repairing.explain(self, packed, i)

    def repair(self, packed: PackedMappings) -> PackedMappings:
        """The batch with every mapping brought into the space and its fan-outs; legal parts stay as they are.

        Illegal factorisations become the nearest legal ones (in logarithms). Where spatial loops exceed a fan-out, they change
        axis, or hand factors to the temporal loop of the same level, or else to the outermost that may take them.
        """
        return repairing.repair(self, packed)

    def canonical(self, packed: PackedMappings) -> PackedMappings:
        """The batch with one form for every loop nest: what loops of bound 1 leave open is fixed, orders become their class.

        Mappings outside the space keep their factors and keeps.
        """
        out = packed.take(slice(None))
        for level, classes in enumerate(self.level_orders):
            active = self.active(packed, level)
            orders = packed.temporal_order[:, level]
            found = classes.equivalent(orders, active)
            out.temporal_order[:, level] = classes.unrank(np.maximum(found, 0))
            rest = np.flatnonzero(found < 0)
            out.temporal_order[rest, level] = _unit_loops_outside(orders[rest], active[rest])
        spread = ((packed.spatial > 1) << np.arange(len(self.variables))).sum(axis=2)
        out.on_x[:] = packed.on_x & spread | self.default_on_x & ~spread
        out.spatial_order[:] = self.spatial_orders
        return out

    def distinct(self, packed: PackedMappings) -> Array:
        """Rows of the first occurrence of every different loop nest, ascending."""
        form = self.canonical(packed)
        n = len(form)
        parts = [np.ascontiguousarray(getattr(form, name)).reshape(n, -1).view(np.uint8).reshape(n, -1)
                 for name in ROWS if name != "spatial_order"]  # fmt: skip
        rows = np.ascontiguousarray(np.concatenate(parts, axis=1))
        keys = rows.view(np.dtype((np.void, rows.shape[1]))).reshape(n)
        return np.sort(np.unique(keys, return_index=True)[1])

    # Moving

    def mutate(self, packed: PackedMappings, rng: np.random.Generator, axis: str | None = None) -> PackedMappings:
        """One mutation per mapping, along an axis (None: one at random of those with a choice). See `moves.mutate`."""
        return moves.mutate(self, packed, rng, axis)

    def crossover(
        self, a: PackedMappings, b: PackedMappings, rng: np.random.Generator, axis: str | None = None
    ) -> PackedMappings:
        """Children of parents `a` and `b`, row by row: `a` with random parts of `b`. See `moves.crossover`."""
        return moves.crossover(self, a, b, rng, axis)

    def freeze(self, axis: str, mapping: PackedMappings) -> MapSpace:
        """The space with one axis fixed as in a mapping (the first row of a batch).

        ``tile`` fixes the temporal factors, ``parallel`` the spatial factors and their axes, ``order`` the loop orders,
        ``bypass`` the keeps.

        Raises:
            SpecError: for an unknown axis or a mapping outside the space.
        """
        self._check_axis(axis)
        self.encode(mapping.take(slice(0, 1)))
        frozen = copy.copy(self)
        if axis in ("tile", "parallel"):
            held = self.slot_spatial if axis == "parallel" else ~self.slot_spatial
            frozen.factorizations = tuple(
                found.restricted(
                    [int(f) if fix else None for f, fix in zip(self.factors(mapping, d)[0], held, strict=True)]
                )
                for d, found in enumerate(self.factorizations)
            )
        if axis == "parallel":
            everything = (1 << len(self.variables)) - 1
            frozen.may_x = self.may_x & (mapping.on_x[0] | everything & ~(self.may_x & self.may_y))
            frozen.may_y = self.may_y & ~(mapping.on_x[0] & self.may_x)
        if axis == "order":
            one = mapping.take(slice(0, 1))
            frozen.level_orders = tuple(
                classes.at(classes.unrank(self._order_numbers(one, level))[0])
                for level, classes in enumerate(self.level_orders)
            )
        if axis == "bypass":
            frozen.fixed_keep = mapping.keep[0].copy()
            frozen.free_keep = np.zeros_like(self.free_keep)
        frozen._arrange()
        return frozen

    # As vectors

    def vector(self, packed: PackedMappings) -> Array:
        """Mappings as real vectors ``(n, V)``, the encoding of surrogates (Mind Mappings, ASPLOS'21, §4.1.1).

        In order: ``log2`` of the temporal factors (L·D), ``log2`` of the spatial factors (L·D), 1 for spatial loops along X
        (where both axes are open), the place of every variable in its level's loop order from the innermost, 0 … D−1 (L·D),
        and 1 for free keeps. `layout` has the slice of each axis; spatial factors and their axes are ``parallel``.
        """
        n = len(packed)
        bits = packed.on_x[:, :, None] >> np.arange(len(self.variables)) & 1
        return np.concatenate(
            [
                np.log2(packed.temporal).reshape(n, -1), np.log2(packed.spatial).reshape(n, -1), bits[:, self.open_axis],
                np.argsort(packed.temporal_order, axis=2).reshape(n, -1), packed.keep[:, self.free_keep],
            ],
            axis=1, dtype=np.float64,
        )  # fmt: skip

    def unvector(self, vectors: Array) -> PackedMappings:
        """The point of the space nearest to each vector ``(n, V)``: `vector` of a point gives the point again.

        Factors become the legal factorisation of least distance in logarithms, orders the allowed order of the places' ranks
        (or the nearest class), bits are rounded. Fan-outs may be exceeded (see `repair`).

        Raises:
            SpecError: if V is not this space's.
        """
        vectors = np.asarray(vectors, np.float64)
        width = max(part.stop for part in self.layout.values())
        if vectors.ndim != 2 or vectors.shape[1] != width:
            raise SpecError(f"mappings as vectors of shape {vectors.shape}", hint=f"this map space has (n, {width})")
        n, L, D = len(vectors), len(self.level_names), len(self.variables)
        logs = [vectors[:, i * L * D : (i + 1) * L * D].reshape(n, L, D) for i in (0, 1)]
        parallel = vectors[:, self.layout["parallel"]][:, L * D :]
        places = vectors[:, self.layout["order"]].reshape(n, L, D)
        packed = self._assembled(n, [np.zeros(n, np.int64)] * len(self.digits))
        for d, found in enumerate(self.factorizations):
            wanted = np.stack([logs[1 if spatial else 0][:, level, d] for level, spatial in self.slots], axis=1)
            self.set_factors(packed, d, found.nearest(wanted)[0])
        for level, classes in enumerate(self.level_orders):
            by_place = np.argsort(places[:, level], axis=1, kind="stable")
            packed.temporal_order[:, level] = classes.unrank(classes.nearest(by_place, self.active(packed, level)))
        for (level, d), value in zip(np.argwhere(self.open_axis), parallel.T, strict=True):
            bit = 1 << int(d)
            on = packed.on_x[:, level]
            packed.on_x[:, level] = np.where(value >= 0.5, on | bit, on & ~bit)
        keep = packed.keep.copy()
        keep[:, self.free_keep] = vectors[:, self.layout["bypass"]] >= 0.5
        return replace(packed, keep=keep)


def _unit_loops_outside(orders: Array, active: Array) -> Array:
    """Orders ``(n, D)`` with the loops that do not exist moved outermost, in index order."""
    unit = (active[:, None] >> orders & 1) == 0
    D = orders.shape[1]
    key = np.where(unit, D + orders, np.arange(D))
    return np.asarray(np.take_along_axis(orders, np.argsort(key, axis=1), axis=1))
