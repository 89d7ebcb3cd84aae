"""Which constraints and fan-outs a mapping breaks, and the nearby mapping that breaks none."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fiberloom.mapping.factorizations import Array
from fiberloom.mapping.packed import PackedMappings
from fiberloom.mapping.spreads import spreads

if TYPE_CHECKING:
    from fiberloom.mapping.space import MapSpace


@dataclass(frozen=True)
class Violation:
    """One thing that a mapping breaks.

    Attributes:
        kind: ``factor``, ``product``, ``order``, ``axis``, ``keep``, ``fanout``, ``utilization`` or ``keeper``.
        level: name of the level; None where the whole nest is concerned.
        subject: the variable or tensor; None where the level is concerned.
        problem: one sentence.
    """

    kind: str
    level: str | None
    subject: str | None
    problem: str


_Check = tuple[Array, Callable[[int], Violation]]


def breaches(space: MapSpace, packed: PackedMappings, coupled: bool) -> Array:
    """``(n,)`` number of violations; see `MapSpace.violations`."""
    total = np.zeros(len(packed), np.int64)
    for broken, _ in _checks(space, packed, coupled):
        total += broken
    return total


def explain(space: MapSpace, packed: PackedMappings, i: int) -> list[Violation]:
    """What mapping `i` breaks; see `MapSpace.explain`."""
    one = packed.take(slice(i, i + 1))
    return [describe(0) for broken, describe in _checks(space, one, True) if broken[0]]


def _checks(space: MapSpace, packed: PackedMappings, coupled: bool) -> Iterator[_Check]:
    for d in range(len(space.variables)):
        yield from _factor_checks(space, packed, d)
    for level in range(len(space.level_names)):
        yield from _order_and_axis_checks(space, packed, level)
        yield from _keep_checks(space, packed, level)
    if coupled:
        for level, spatial in space.slots:
            if spatial:
                yield from _fanout_checks(space, space.occupied(packed, level), level)
        for t in range(len(space.tensors)):
            lost = np.asarray(~packed.keep[:, :, t].any(axis=1))
            yield lost, _said("keeper", None, space.tensors[t], _no_keeper(space, t))


def _said(
    kind: str, level: str | None, subject: str | None, problem: Callable[[int], str]
) -> Callable[[int], Violation]:
    return lambda i: Violation(kind, level, subject, problem(i))


def _factor_checks(space: MapSpace, packed: PackedMappings, d: int) -> Iterator[_Check]:
    found, variable, bound = space.factorizations[d], space.variables[d], int(space.bounds[d])
    factors = space.factors(packed, d)
    for s, (level, spatial) in enumerate(space.slots):
        kind = "spatial" if spatial else "temporal"
        name, choices = space.level_names[level], found.choices[s]

        def factor_problem(i: int, s: int = s, name: str = name, kind: str = kind, choices: Array = choices) -> str:
            return f"'{name}' {kind} {variable}={factors[i, s]}; allowed are {_listed(choices)}"

        yield np.asarray(~found.is_choice(s, factors[:, s])), _said("factor", name, variable, factor_problem)
    for level, name in enumerate(space.level_names):
        if (level, True) not in space.slots:

            def no_fanout(i: int, level: int = level, name: str = name) -> str:
                return f"'{name}' spatial {variable}={packed.spatial[i, level, d]}, but it has no fan-out below it"

            yield packed.spatial[:, level, d] > 1, _said("factor", name, variable, no_fanout)

    def product_problem(i: int) -> str:
        whole = math.prod(int(f) for f in factors[i])
        empty = found.partial and whole >= bound
        problem = f"the factors of {variable} multiply to {whole}, but its bound is {bound}"
        return problem + (": its outermost loop has iterations without work" if empty else "")

    yield ~found.covers(factors), _said("product", None, variable, product_problem)


def _order_and_axis_checks(space: MapSpace, packed: PackedMappings, level: int) -> Iterator[_Check]:
    name, names = space.level_names[level], space.variables
    classes = space.level_orders[level]
    orders, active = packed.temporal_order[:, level], space.active(packed, level)

    def order_problem(i: int) -> str:
        present = [names[d] for d in reversed(orders[i]) if active[i] >> d & 1]
        inner = " ".join(names[d] for d in reversed(classes.inner))
        outer = " ".join(names[d] for d in reversed(classes.outer))
        wanted = [f"{word} {listed}" for word, listed in (("outermost", outer), ("innermost", inner)) if listed]
        return f"'{name}' has its loops in the order {' '.join(present)}; constraints put {' and '.join(wanted)}"

    yield ~classes.obeys(orders, active), _said("order", name, None, order_problem)
    bits = np.arange(len(names))
    along_x = packed.on_x[:, level, None] >> bits & 1 != 0
    barred = np.where(along_x, space.may_x[level] >> bits & 1 == 0, space.may_y[level] >> bits & 1 == 0)
    barred &= packed.spatial[:, level] > 1

    def axis_problem(i: int) -> str:
        listed = [f"{v} along {'X' if x else 'Y'}" for v, x, b in zip(names, along_x[i], barred[i], strict=True) if b]
        return f"'{name}' spreads {', '.join(listed)}, which the constraints or the fan-out do not allow"

    if (level, True) in space.slots:
        yield barred.any(axis=1), _said("axis", name, None, axis_problem)


def _keep_checks(space: MapSpace, packed: PackedMappings, level: int) -> Iterator[_Check]:
    name = space.level_names[level]
    for t, tensor in enumerate(space.tensors):
        if not space.free_keep[level, t]:
            wanted = bool(space.fixed_keep[level, t])

            def problem(_: int, tensor: str = tensor, wanted: bool = wanted) -> str:
                return f"'{name}' {'bypasses' if wanted else 'keeps'} '{tensor}', but it is to {'keep' if wanted else 'bypass'} it"

            yield packed.keep[:, level, t] != wanted, _said("keep", name, tensor, problem)


def _fanout_checks(space: MapSpace, occupied: Array, level: int) -> Iterator[_Check]:
    name = space.level_names[level]
    for axis, word in enumerate("XY"):
        room = int(space.lanes[level, axis])

        def over(i: int, axis: int = axis, word: str = word, room: int = room) -> str:
            return f"the spatial loops below '{name}' need {occupied[i, axis]} children along {word}; there are {room}"

        yield occupied[:, axis] > room, _said("fanout", name, None, over)
    working = occupied.prod(axis=1)
    most, least = int(space.most[level]), int(space.least[level])

    def outside(i: int) -> str:
        limit = f"at most {most}" if working[i] > most else f"at least {least}"
        return f"{working[i]} children below '{name}' work; the constraints ask for {limit}"

    yield (working > most) | (working < least), _said("utilization", name, None, outside)


def _no_keeper(space: MapSpace, t: int) -> Callable[[int], str]:
    return lambda _: f"no level keeps '{space.tensors[t]}'"


def _listed(choices: Array) -> str:
    shown = ", ".join(str(c) for c in choices[:12])
    return shown + (f", … {choices[-1]}" if len(choices) > 12 else "")


def repair(space: MapSpace, packed: PackedMappings) -> PackedMappings:
    """A legal batch near `packed`; see `MapSpace.repair`."""
    out = packed.take(slice(None))
    np.copyto(out.spatial_order, space.spatial_orders)
    for level in range(len(space.level_names)):
        if (level, True) not in space.slots:
            out.spatial[:, level] = 1
    for d, found in enumerate(space.factorizations):
        factors = space.factors(out, d)
        rows = np.flatnonzero(~found.legal(factors))
        if len(rows):
            wanted = np.log2(np.maximum(factors[rows], 1))
            space.set_factors(out, d, found.nearest(wanted)[0], rows)
    out.on_x[:] = (out.on_x & space.may_x & space.may_y) | (space.default_on_x & ~(space.may_x & space.may_y))
    _fit_fanouts(space, out)
    _raise_utilization(space, out)
    _spread_anew(space, out)
    out.keep[:] = np.where(space.free_keep, out.keep, space.fixed_keep)
    give_keepers(space, out)
    snap_orders(space, out)
    return out


def snap_orders(space: MapSpace, packed: PackedMappings) -> None:
    """Make every loop order one of the space's, in place."""
    for level, classes in enumerate(space.level_orders):
        orders = packed.temporal_order[:, level]
        rows = np.flatnonzero(classes.rank(orders) < 0)
        if len(rows):
            part = packed.take(rows)
            packed.temporal_order[rows, level] = classes.unrank(
                classes.nearest(part.temporal_order[:, level], space.active(part, level))
            )


def give_keepers(space: MapSpace, packed: PackedMappings) -> None:
    """Let the outermost level that may do so keep every tensor that nothing keeps, in place."""
    for t in range(len(space.tensors)):
        lost = ~packed.keep[:, :, t].any(axis=1)
        if lost.any():
            packed.keep[lost, np.flatnonzero(space.free_keep[:, t])[-1], t] = True


def _fit_fanouts(space: MapSpace, packed: PackedMappings) -> None:
    for level, spatial in space.slots:
        if spatial:
            for along in (0, 1):
                _flip_off(space, packed, level, along)
            for limited in (0, 1, None):
                _hand_out(space, packed, level, limited)


def _flip_off(space: MapSpace, packed: PackedMappings, level: int, axis: int) -> None:
    """Move spatial loops to the other axis where they are too many along this one and fit there."""
    occupied = space.occupied(packed, level)
    rows = np.flatnonzero(occupied[:, axis] > space.lanes[level, axis])
    occupied = occupied[rows]
    for d in np.flatnonzero(space.open_axis[level]):
        factor = packed.spatial[rows, level, d]
        flip = (packed.on_x[rows, level] >> d & 1 == 1 - axis) & (factor > 1)
        flip &= occupied[:, axis] > space.lanes[level, axis]
        flip &= occupied[:, 1 - axis] * factor <= space.lanes[level, 1 - axis]
        packed.on_x[rows[flip], level] ^= 1 << int(d)
        occupied[flip, axis] //= factor[flip]
        occupied[flip, 1 - axis] *= factor[flip]


def _hand_out(space: MapSpace, packed: PackedMappings, level: int, axis: int | None) -> None:
    """Shrink spatial factors along an axis (None: both together, to their joint limit) until they fit."""
    room = int(space.lanes[level, axis] if axis is not None else space.most[level])
    D = len(space.variables)
    tried = np.zeros((len(packed), D), np.int64)
    lowest = np.array([int(c[0]) for c in space.spatial_choices[level]])
    rows = np.arange(len(packed))
    for _ in range(4 * D):
        occupied = space.occupied(packed, level, rows)
        needed = occupied[:, axis] if axis is not None else occupied.prod(axis=1)
        rows, needed = rows[needed > room], needed[needed > room]
        if not len(rows):
            return
        factors = packed.spatial[rows, level]
        along = packed.on_x[rows, level, None] >> np.arange(D) & 1
        mine = factors > 1 if axis is None else (factors > 1) & (along == 1 - axis)
        # the smallest loop that makes room alone, else the largest; those tried before come last
        wanted = np.maximum(room * factors // needed[:, None], 1)
        enough = mine & (wanted >= lowest) & (needed[:, None] // factors * wanted <= room)
        cost = np.where(enough, factors / wanted, 1e9 / factors) + 1e12 * tried[rows]
        cost = np.where(mine & (factors > lowest), cost, np.inf)
        chosen = cost.argmin(axis=1)
        movable = np.isfinite(cost[np.arange(len(rows)), chosen])
        if not movable.any():
            return
        for d in np.unique(chosen[movable]):
            some = np.flatnonzero(movable & (chosen == d))
            tried[rows[some], d] += 1
            _cap(space, packed, level, int(d), rows[some], wanted[some, d])


def _cap(space: MapSpace, packed: PackedMappings, level: int, d: int, rows: Array, most: Array) -> None:
    """Bring variable `d`'s spatial factor at a level down to `most` per row; the rest goes to temporal loops."""
    found = space.factorizations[d]
    factors = space.factors(packed, d, rows)
    own = space.slots.index((level, True))
    temporal = [s for s, (_, spatial) in enumerate(space.slots) if not spatial]
    same = space.slots.index((level, False))
    done = np.zeros(len(rows), bool)
    for to in (same, *(s for s in reversed(temporal) if s != same)):
        some = np.flatnonzero(~done)
        capped, fits = found.capped(factors[some], own, to, most[some])
        factors[some[fits]] = capped[fits]
        done[some[fits]] = True
    left = np.flatnonzero(~done)
    if len(left):
        wanted = np.log2(factors[left])
        excess = np.maximum(wanted[:, own] - np.log2(most[left]), 0)
        wanted[:, own] -= excess
        wanted[:, same] += excess
        limits = np.full(factors[left].shape, found.bound, np.int64)
        for s, (_, spatial) in enumerate(space.slots):
            if spatial:  # no other fan-out gets worse
                limits[:, s] = factors[left, s]
        limits[:, own] = most[left]
        near, _ = found.nearest(wanted, limits)
        factors[left] = near
    space.set_factors(packed, d, factors, rows)


def _raise_utilization(space: MapSpace, packed: PackedMappings) -> None:
    """Grow spatial loops from temporal ones until enough children work."""
    for level in map(int, np.flatnonzero(space.least > 1)):
        own = space.slots.index((level, True))
        rows = np.arange(len(packed))
        for _ in range(64):
            rows = rows[space.occupied(packed, level, rows).prod(axis=1) < space.least[level]]
            if not len(rows) or not _grow_once(space, packed, level, own, rows):
                break


def _spread_anew(space: MapSpace, packed: PackedMappings) -> None:
    """Where a fan-out still is too full or too empty, take over the nearest of the spreads that fit it."""
    for own, (level, spatial) in enumerate(space.slots):
        if not spatial:
            continue
        occupied = space.occupied(packed, level)
        working = occupied.prod(axis=1)
        rows = np.flatnonzero(
            (occupied > space.lanes[level]).any(axis=1) | (working > space.most[level]) | (working < space.least[level])
        )
        if not len(rows):
            continue
        factors, along_x = spreads(
            space.spatial_choices[level],
            (int(space.lanes[level, 0]), int(space.lanes[level, 1])),
            (int(space.least[level]), int(space.most[level])),
            (int(space.may_x[level]), int(space.may_y[level])),
        )
        if not len(factors):
            continue
        logs = np.log2(factors)
        far = np.array([np.abs(logs - now).sum(axis=1) for now in np.log2(packed.spatial[rows, level])])
        nearest = np.argsort(far, axis=1, kind="stable")[:, :_TRIED_SPREADS]
        for candidate in range(nearest.shape[1]):
            if not len(rows):
                break
            chosen = nearest[:, candidate]
            left = ~_take_spread(space, packed, own, rows, factors[chosen], along_x[chosen])
            rows, nearest = rows[left], nearest[left]


_TRIED_SPREADS = 16
"""Spreads that are tried per mapping before it is left as it is. Own choice."""


def _take_spread(
    space: MapSpace, packed: PackedMappings, own: int, rows: Array, factors: Array, along_x: Array
) -> Array:
    """Give rows the spatial factors ``(n, D)`` of slot `own`; returns which of them other fan-outs allow (only they change)."""
    level = space.slots[own][0]
    fits = np.ones(len(rows), bool)
    taken = []
    for d, found in enumerate(space.factorizations):
        now = space.factors(packed, d, rows)
        most, least = np.full(now.shape, found.bound, np.int64), np.ones(now.shape, np.int64)
        most[:, space.slot_spatial] = now[:, space.slot_spatial]  # no other fan-out gets worse
        least[:, space.slot_spatial] = now[:, space.slot_spatial]
        most[:, own] = least[:, own] = factors[:, d]
        near, fit = found.nearest(np.log2(now), most, least)
        taken.append(near)
        fits &= fit
    for d, near in enumerate(taken):
        space.set_factors(packed, d, near[fits], rows[fits])
    spread = ((factors > 1) << np.arange(len(space.variables))).sum(axis=1)
    packed.on_x[rows[fits], level] = (along_x | space.default_on_x[level] & ~spread)[fits]
    return fits


def _grow_once(space: MapSpace, packed: PackedMappings, level: int, own: int, rows: Array) -> bool:
    """Grow one spatial loop of each row by the least step that some temporal loop can give; whether any row grew."""
    grown = np.zeros(len(rows), bool)
    same = space.slots.index((level, False))
    others = [s for s, (_, spatial) in enumerate(space.slots) if not spatial and s != same]
    for d, found in enumerate(space.factorizations):
        for step in np.unique(found.primes):
            for axis in (0, 1):
                if not (space.may_x, space.may_y)[axis][level] >> d & 1:
                    continue
                factors = space.factors(packed, d, rows)
                occupied = space.occupied(packed, level, rows)
                bit = 1 << d
                now = np.where(packed.on_x[rows, level] & bit, 0, 1)
                # a loop that changes axis leaves its old one
                along = occupied[:, axis] * np.where(now == axis, step, factors[:, own] * step)
                fits = (
                    ~grown & (along <= space.lanes[level, axis]) & (occupied.prod(axis=1) * step <= space.most[level])
                )
                for source in (same, *others):
                    larger, legal = found.grown(factors, own, source, int(step))
                    take = fits & ~grown & legal
                    factors[take] = larger[take]
                    at = rows[take]
                    packed.on_x[at, level] = (
                        packed.on_x[at, level] | bit if axis == 0 else packed.on_x[at, level] & ~bit
                    )
                    grown |= take
                space.set_factors(packed, d, factors, rows)
    return bool(grown.any())
