"""Loop orders of a level that the model can tell apart.

Walk from the innermost loop of a level outwards and ask what each tensor sees (docs/model.md, *Dense traffic*):

* A tensor whose ranks are single variables stays where it is until the first loop over one of its variables. It sees which
  loops stand inside that one, as a set; whatever stands further out multiplies its traffic in any order.
* A tensor with a window (a rank such as ``p + r``) keeps part of its tile while the window slides. It sees the sequence of loops
  up to the first one over a variable that indexes a rank alone, which leaves nothing in common; loops that do not index it commute.
* A tensor is blind at levels inside of which nothing keeps it: every computation fetches its own element.
* Formats with ranks assign loops to ranks, so they see the order of all loops over the tensor's variables.
* Gating and skipping see the set of the first kind for their follower; where a block holds several words also its first loop.
* Peer links compare a window with that of the step before, so they see the whole sequence of a tensor with a window.

Orders with the same view for every tensor form a class, and one order stands for it. Factors of 1 leave no loop, so the same
order is also read with any of its loops missing. The representative is chosen so that every such reading of any order has an
equivalent among the readings of the representatives: after the loop that moves a tensor come the other loops that move it too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from fiberloom.mapping.factorizations import Array, permutation_rank, permutation_unrank

MAX_CLASSED = 8
"""Most loops of a level whose orders are sorted into classes (8! = 40 320 orders); beyond, every order is a class of its own."""


@dataclass(frozen=True)
class View:
    """What one tensor sees of the order of a level's loops; fields are bit sets of variables.

    Attributes:
        relevant: variables that index the tensor.
        lone: those that index a rank alone.
        sequence: it sees the whole sequence (peer links of a window).
        first: it sees which of its variables comes first (blocks of several words).
        ranked: it sees the order of all its variables (a format with ranks).
        resident: it sees the loops inside its first one at all (a level inside may keep it).
    """

    relevant: int
    lone: int
    sequence: bool = False
    first: bool = False
    ranked: bool = False
    resident: bool = True


@dataclass(frozen=True)
class LevelOrders:
    """The loop orders of one level.

    Attributes:
        variables: number of variables, D.
        inner, middle, outer: variables with loops here: those that constraints fix innermost (innermost first), those in any
            order, those fixed outermost (innermost of them first).
        idle: variables without loops here; they stand outermost, in index order.
        may_be_unit: bit set of the variables of `inner` that may have a factor of 1.
        views: one per tensor.
        fixed: the only order, when there is one by `at`.
    """

    variables: int
    inner: tuple[int, ...]
    middle: tuple[int, ...]
    outer: tuple[int, ...]
    idle: tuple[int, ...]
    may_be_unit: int
    views: tuple[View, ...]
    fixed: tuple[int, ...] | None = None
    classed: Array | None = field(init=False, compare=False, repr=False)
    _leaders: dict[int, Array] = field(init=False, compare=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "classed", _representatives(self))

    @property
    def count(self) -> int:
        """Exact number of orders."""
        return math.factorial(len(self.middle)) if self.classed is None else len(self.classed)

    def at(self, order: Sequence[int]) -> LevelOrders:
        """These loops in one order only, innermost first."""
        return LevelOrders(
            self.variables, self.inner, self.middle, self.outer, self.idle, self.may_be_unit, self.views,
            tuple(int(d) for d in order),
        )  # fmt: skip

    def unrank(self, ranks: Array) -> Array:
        """Orders ``(n, D)``, innermost first, by number."""
        if self.classed is not None:
            return np.asarray(self.classed[np.asarray(ranks, np.int64)])
        middle = np.array(self.middle)[permutation_unrank(ranks, len(self.middle))]
        n = len(middle)
        parts = [np.tile(np.array(p, np.int64), (n, 1)) for p in (self.inner, self.outer, self.idle)]
        return np.concatenate([parts[0], middle, parts[1], parts[2]], axis=1)

    def rank(self, orders: Array) -> Array:
        """Number of each order ``(n, D)``; −1 where it is not exactly one of these orders."""
        n = len(orders)
        if self.classed is not None:
            key = _folded(orders)
            known = _folded(self.classed)
            by_key = np.argsort(known)
            at = np.minimum(np.searchsorted(known, key, sorter=by_key), len(known) - 1)
            found = by_key[at]
            return np.where(known[found] == key, found, -1)
        k = len(self.inner)
        middle = orders[:, k : k + len(self.middle)]
        exact = (np.sort(middle, axis=1) == np.array(sorted(self.middle))).all(axis=1)
        position = np.zeros(self.variables, np.int64)
        position[sorted(self.middle)] = np.arange(len(self.middle))
        back = np.empty(self.variables, np.int64)
        back[list(self.middle)] = np.arange(len(self.middle))
        ranks = np.where(exact, permutation_rank(back[np.where(exact[:, None], middle, self.middle)]), -1)
        return np.where((self.unrank(np.maximum(ranks, 0)) == orders).all(axis=1), ranks, -1) if n else ranks

    def equivalent(self, orders: Array, active: Array) -> Array:
        """Number of the first order that the model can't tell from each of ``(n, D)``, given which loops exist.

        Args:
            active: ``(n,)`` bit sets of the variables whose factor is not 1.

        Returns:
            ``(n,)`` int64; −1 where there is none (the order breaks a constraint).
        """
        if self.classed is None:
            return np.where(self.obeys(orders, active), self.rank(self._packed(orders, active)), -1)
        masks, which = np.unique(active, return_inverse=True)
        found = self.rank(orders)
        if len(masks):
            table = np.stack([self._leading(int(mask)) for mask in masks])
            found = np.where(found >= 0, table[which.reshape(-1), found], -1)
        rows = np.flatnonzero((found < 0) & self.obeys(orders, active))
        for mask in np.unique(active[rows]):
            some = rows[active[rows] == mask]
            known = signatures(_present(self.classed, int(mask)), self.views)
            asked = signatures(_present(orders[some], int(mask)), self.views)
            _, first, group = np.unique(np.concatenate([known, asked]), axis=0, return_index=True, return_inverse=True)
            match = first[group.reshape(-1)[len(known) :]]
            found[some] = np.where(match < len(known), match, -1)
        return found

    def _leading(self, mask: int) -> Array:
        """Per order, the first one that is equivalent to it when only the loops of `mask` exist."""
        assert self.classed is not None
        if mask not in self._leaders:
            known = signatures(_present(self.classed, mask), self.views)
            _, first, group = np.unique(known, axis=0, return_index=True, return_inverse=True)
            self._leaders[mask] = first[group.reshape(-1)]
        return self._leaders[mask]

    def _packed(self, orders: Array, active: Array) -> Array:
        """The loops that exist in their order, the others of each group after them in index order."""
        tier = self._tiers()[orders]
        unit = (active[:, None] >> orders & 1) == 0
        place = np.arange(self.variables)[None, :]
        fixed = np.empty(self.variables, np.int64)
        for group in (self.inner, self.outer, self.idle):
            fixed[list(group)] = np.arange(len(group))
        fixed[list(self.middle)] = np.array(self.middle, np.int64) + self.variables
        free = tier == len(self.inner)
        within = np.where(free & ~unit, place, fixed[orders])
        return np.asarray(np.take_along_axis(orders, np.argsort(tier * 4 * self.variables + within, axis=1), axis=1))

    def _tiers(self) -> Array:
        """Place of each variable's group: 0, 1, … of `inner`, then all of `middle`, then `outer`, then the idle ones."""
        tier = np.full(self.variables, len(self.inner), np.int64)
        for i, d in enumerate(self.inner):
            tier[d] = i
        for i, d in enumerate(self.outer):
            tier[d] = len(self.inner) + 1 + i
        for d in self.idle:
            tier[d] = len(self.inner) + 1 + len(self.outer)
        return tier

    def obeys(self, orders: Array, active: Array) -> Array:
        """Which orders ``(n, D)`` obey the constraints on the loops that exist."""
        tier = np.where(active[:, None] >> orders & 1, self._tiers()[orders], -1)
        before = np.maximum.accumulate(tier, axis=1)
        return np.asarray(((tier == -1) | (tier == before)).all(axis=1))

    def arranged(self, orders: Array) -> Array:
        """Orders ``(n, D)`` with their loops moved as little as the constraints ask."""
        tier = self._tiers()[orders]
        return np.asarray(np.take_along_axis(orders, np.argsort(tier, axis=1, kind="stable"), axis=1))

    def nearest(self, orders: Array, active: Array) -> Array:
        """Number of each order ``(n, D)`` or, where it is none of these, of an equivalent one, else of that of nearest places."""
        exact = self.rank(orders)
        rows = np.flatnonzero(exact < 0)
        if len(rows):
            arranged = self.arranged(orders[rows])
            exact[rows] = self.equivalent(arranged, active[rows])
            rest = np.flatnonzero(exact < 0)
            if len(rest) and self.classed is not None:
                known = np.argsort(self.classed, axis=1)
                asked = np.argsort(self.arranged(orders[rest]), axis=1)
                for i in range(0, len(rest), 256):
                    far = ((asked[i : i + 256, None] - known[None]) ** 2).sum(axis=2)
                    exact[rest[i : i + 256]] = far.argmin(axis=1)
        return exact


def signatures(orders: Array, views: Sequence[View]) -> Array:
    """What the tensors see of orders ``(n, k)`` (−1: no loop there): int64 ``(n, m)``, equal rows for equal views."""
    n, k = orders.shape
    absent = orders < 0
    variable = np.where(absent, 0, orders)
    parts: list[Array] = [np.zeros(n, np.int64)]
    for view in views:
        relevant = ~absent & ((view.relevant >> variable & 1) != 0)
        if view.resident:
            lone = relevant & ((view.lone >> variable & 1) != 0)
            before = np.cumsum(lone, axis=1) - lone
            inside = ~absent if view.sequence else ~absent & (before == 0) & ~lone
            window = relevant & inside
            run = 2 * (np.cumsum(window, axis=1) - window) + window
            parts.append(_sequence(variable, np.where(inside, run * 64 + variable, _LAST)))
        if view.first:
            at = relevant.argmax(axis=1)
            rows = np.arange(n)
            parts.append(np.where(relevant[rows, at], variable[rows, at] + 1, 0) if k else np.zeros(n, np.int64))
        if view.ranked:
            parts.append(_sequence(variable, np.where(relevant, np.arange(k)[None, :], _LAST)))
    return np.stack(parts, axis=1)


_LAST = 1 << 40


def _sequence(variable: Array, keys: Array) -> Array:
    """One number for the variables with a key below `_LAST` (at most 12), in the order of their keys."""
    by_key = np.argsort(keys, axis=1, kind="stable")[:, :12]
    ordered = np.take_along_axis(np.where(keys < _LAST, variable + 1, 0), by_key, axis=1)
    return _folded(ordered, 5)


def _folded(rows: Array, bits: int = 4) -> Array:
    """One int64 per row of small numbers (of `bits` bits, 64 in all)."""
    total = np.zeros(len(rows), np.int64)
    for column in rows.T:
        total = total << bits | column
    return total


def _present(orders: Array, mask: int) -> Array:
    return np.where(mask >> orders & 1, orders, -1)


def _representatives(level: LevelOrders) -> Array | None:
    if level.fixed is not None:
        return np.array([level.fixed], np.int64)
    if not (level.inner or level.middle or level.outer):
        return np.array([level.idle], np.int64)
    if len(level.inner) + len(level.middle) + len(level.outer) > MAX_CLASSED:
        return None
    return _classes(
        level.inner, level.middle, level.outer, level.idle, level.may_be_unit, level.views
    )  # cached: levels and layers share it


@lru_cache(maxsize=512)
def _classes(
    inner: tuple[int, ...],
    middle: tuple[int, ...],
    outer: tuple[int, ...],
    idle: tuple[int, ...],
    may_be_unit: int,
    views: tuple[View, ...],
) -> Array:
    loops = np.array([(*inner, *m, *outer) for m in itertools.permutations(middle)], np.int64)
    # A loop that constraints put innermost may hide others from a tensor, but only while it exists.
    droppable = [d for d in inner if may_be_unit >> d & 1] if len(middle) > 1 else []
    seen = []
    for size in range(len(droppable) + 1):
        for dropped in itertools.combinations(droppable, size):
            mask = sum(1 << d for d in (*inner, *middle, *outer) if d not in dropped)
            seen.append(signatures(_present(loops, mask), views))
    _, group = np.unique(np.concatenate(seen, axis=1), axis=0, return_inverse=True)
    group = group.reshape(-1)
    preference = _preference(loops, views)
    by_group = np.lexsort((np.arange(len(loops)), -preference, group))
    chosen = by_group[np.unique(group[by_group], return_index=True)[1]]
    chosen.sort()
    rest = np.tile(np.array(idle, np.int64), (len(chosen), 1))
    return np.concatenate([loops[chosen], rest], axis=1)


def _preference(loops: Array, views: Sequence[View]) -> Array:
    """Larger where, after the loop that first moves tensors, loops that move the same tensors come before others."""
    n, k = loops.shape
    lone = [v.lone for v in views if v.resident and not v.sequence]
    first = []
    for moved_by in lone:
        moves = (moved_by >> loops & 1) != 0
        first.append(np.where(moves.any(axis=1), moves.argmax(axis=1), k))
    score = np.zeros(n, np.int64)
    wanted = np.full(n, -1, np.int64)
    for i in range(k):
        here = np.full(n, -1, np.int64)
        begins = np.zeros(n, bool)
        for moved_by, at in zip(lone, first, strict=True):
            now = at == i
            begins |= now
            here = np.where(now, here & moved_by, here)
        wanted = np.where(begins, here, wanted)
        score = score * 2 + (wanted >> loops[:, i] & 1)
    return score
