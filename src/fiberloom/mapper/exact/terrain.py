"""The ground that a search runs on: an Einsum, an accelerator and one choice of keeps, as tables over tile shapes."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import UnsupportedError
from fiberloom.mapper.exact.labels import BASE, DEMANDS
from fiberloom.mapper.exact.lattice import Lattice, Spreads, lanes_within, lattice, spreads, temporal_steps
from fiberloom.mapper.exact.orders import Relevance, orders_by_set
from fiberloom.mapper.exact.sparsity import sparsity, statistics
from fiberloom.mapper.exact.sweep import BOTH, CLOSED, OPEN, READS, WINDOW, WRITES, Terrain
from fiberloom.mapping.space import MapSpace
from fiberloom.model.counting import FILL, READ, UPDATE
from fiberloom.model.lower import Problem

Array = NDArray[Any]

_MOST_THRESHOLDS: Final = 16
_MOST_SWEEPS: Final = 16
_MOST_PARTS: Final = 8
_LEAST_SWEEPS: Final = 5
_TABLE_NUMBERS: Final = 3_000_000
"""Most numbers in one table of bounds; fewer lanes and sweeps are told apart beyond."""


def _blockwise(p: Any, keep: Array) -> Array:
    """Where gating or skipping looks at whole blocks of a tensor, whose innermost moving loop then matters, ``(L, T)``."""
    L, T = keep.shape
    out = np.zeros((L, T), bool)
    for s in range(int(p["entries"])):
        for o in range(int(p["saf_first"][s]), int(p["saf_first"][s]) + int(p["saf_options"][s])):
            t = int(p["option_follower"][o])
            source = next((at for at in range(int(p["saf_level"][s]), L) if keep[at, t]), -1)
            if source >= 0 and p["block_of"][source, t] > 1:
                out[source, t] = True
    return out


def passes_on(problem: Problem, space: MapSpace) -> Array:
    """Where children may pass tiles on that reappear at a neighbour, ``(L, T)``: below a fan-out, of tensors with windows."""
    p = problem.arrays[0]
    L, T = space.peer_links.shape
    may_keep = space.fixed_keep | space.free_keep
    out = np.zeros((L, T), bool)
    for level in range(1, L):
        wide = space.fan[level].prod() > 1
        out[level] = space.peer_links[level] & may_keep[level - 1] & wide & ~p["is_simple"][:T].astype(bool)
    return out


@dataclass(frozen=True)
class Ground:
    """What all choices of keeps share.

    Attributes:
        points: the lattice of tile shapes.
        spreads: ways to fill each fan-out, by level.
        effect: ``(T, D)`` what a loop over each variable does to each tensor's reuse.
        shares: per level ``(3 T, n)``: children per position of each tensor, least distinct positions, and lanes that hold
            different windows.
    """

    problem: Problem
    space: MapSpace
    points: Lattice
    spreads: tuple[Spreads, ...]
    below: Array
    below_count: Array
    threshold: Array
    ceiling: Array
    effect: Array
    kind_of: Array
    status: Array
    shares: tuple[Array, ...]
    opens: Array
    group: Array
    trails: Array
    sweeps: Array
    size: Array
    part: tuple[int, ...] = ()

    def merging(self, level: int) -> Array:
        """``(T, n)`` children of a spread of the level's fan-out that may share words of each tensor, at most.

        Variables that index a rank alone tell children apart; those of a window may not, with loops along other fan-outs.
        """
        T = len(self.size)
        merged = self.shares[level][:T] * self.shares[level][2 * T : 3 * T]
        merged[~np.asarray(self.space.multicast[level], bool)] = 1.0
        return merged

    def split(self) -> list[Ground]:
        """The same ground in parts, by how the spreads of the fan-out where that differs most share words; itself if none differ."""
        logs = [np.log(self.merging(level)) for level in range(len(self.spreads))]
        widest = max(range(len(logs)), key=lambda level: float(np.ptp(logs[level], axis=1).sum()))
        values = logs[widest]
        if values.shape[1] < 2 or np.ptp(values, axis=1).max() < 1e-9:
            return [self]
        for classes in range(8, 1, -1):  # as fine as `_MOST_PARTS` allow
            span = np.maximum(values.max(axis=1, keepdims=True), 1e-9)
            place = np.minimum((values / span * classes).astype(np.int64), classes - 1)
            rows, which = np.unique(place, axis=1, return_inverse=True)
            if rows.shape[1] <= _MOST_PARTS:
                break
        parts = []
        for number in range(rows.shape[1]):
            chosen = np.flatnonzero(which.reshape(-1) == number)
            ways = self.spreads[widest]
            part = replace(
                self,
                spreads=(
                    *self.spreads[:widest],
                    Spreads(ways.factors[chosen], ways.on_x[chosen], ways.lanes[chosen]),
                    *self.spreads[widest + 1 :],
                ),
                shares=(
                    *self.shares[:widest],
                    np.ascontiguousarray(self.shares[widest][:, chosen]),
                    *self.shares[widest + 1 :],
                ),
                part=(*self.part, number),
            )
            for name in (
                "whole",
                "idle",
                "idle_class",
                "stepped",
                "_statistics",
                "opens_of",
                "sequence",
                "outer_count",
            ):
                if name in self.__dict__:
                    part.__dict__[name] = self.__dict__[name]
            parts.append(part)
        return parts

    def orders_for(self, keep: Array) -> tuple[Array, Array]:
        """Loop orders by set of loops, ``(L, n, D)`` and ``(L, 2^D + 1)``, of what `keep` makes visible.

        A tensor sees the loops of a level while a level further in keeps it.
        """
        p = self.problem.arrays[0]
        D, T, L = int(p["variables"]), int(p["tensors"]), int(p["levels"])
        metadata = p["has_metadata"][:L, :T].astype(bool) & keep
        moves = _blockwise(p, keep)
        tables: dict[Any, tuple[Array, Array]] = {}
        found = []
        for level in range(L):
            fixed = self.space.constraints.at(self.space.level_names[level]).temporal
            rows = [
                (_bits(self.effect[t] != OPEN), _bits(self.effect[t] == CLOSED), bool(not p["is_simple"][t]),
                 bool(metadata[level:, t].any() or moves[level:, t].any()), bool(keep[:level, t].any()))
                for t in range(T)
            ]  # fmt: skip
            seen = tuple(row[:4] for row in rows if row[3] or row[4])
            key = (fixed.inner, fixed.outer, seen)
            if key not in tables:
                tables[key] = orders_by_set(list(self.space.variables), Relevance(*zip(*seen, strict=True)) if seen else
                                            Relevance((), (), (), ()), fixed)  # fmt: skip
            found.append(tables[key])
        orders = np.full((L, max(len(o) for _, o in found), D), -1, np.int64)
        for level, (_, listed) in enumerate(found):
            orders[level, : len(listed)] = listed
        return orders, np.stack([first for first, _ in found])

    def statistics(self, t: int, block: int = 1) -> Array:
        """See `fiberloom.mapper.exact.sparsity.statistics`; computed once."""
        if (t, block) not in self._statistics:
            self._statistics[t, block] = statistics(self, t, block)
        return self._statistics[t, block]

    @cached_property
    def _statistics(self) -> dict[tuple[int, int], Array]:
        return {}

    @cached_property
    def whole(self) -> Array:
        """``(T, S)`` words of every tensor's tile."""
        p = self.problem.arrays[0]
        D, T = int(p["variables"]), int(p["tensors"])
        out = np.ones((T, self.points.size))
        for t in range(T):
            for r in range(int(p["rank_count"][t])):
                out[t] *= 1 + (self.points.extents - 1) @ np.abs(p["coefficient"][t, r, :D])
        return out

    @cached_property
    def idle_class(self) -> Array:
        """``(T, S)`` place of `idle` among `sweeps`."""
        rows = [
            np.searchsorted(c, i * (1 + 1e-12), side="right") - 1 for c, i in zip(self.sweeps, self.idle, strict=True)
        ]
        return np.stack(rows).astype(np.int32)

    @cached_property
    def stepped(self) -> Array:
        """``(K + 1, T, S)`` least words that one step of a loop of each kind (last: of any window) brings to a tile with windows."""
        p = self.problem.arrays[0]
        T, K = len(self.size), len(self.status)
        out = np.zeros((K + 1, T, self.points.size))
        for t in range(T):
            steps = np.abs(p["coefficient"][t, : int(p["rank_count"][t]), : len(self.space.bounds)])  # (R, D)
            lengths = 1 + (self.points.extents - 1) @ steps.T  # (S, R)
            for k in range(K + 1):
                kinds = self.kind_of == k if k < K else np.ones(len(self.kind_of), bool)
                moving = np.flatnonzero(kinds & (self.effect[t] == WINDOW) & (self.space.bounds > 1))
                if len(moving):
                    fresh = [
                        np.minimum(1.0, (steps[:, d] * self.points.extents[:, d : d + 1] / lengths).max(axis=1))
                        for d in moving
                    ]
                    out[k, t] = self.whole[t] * np.min(fresh, axis=0)
        return out

    @cached_property
    def sweeps_inside(self) -> Array:
        """``(L, n, T, V)`` place among `sweeps` of each, times the children that a spread gives the same positions of the tensor."""
        T, V = self.sweeps.shape
        most = max(s.shape[1] for s in self.shares)
        found = np.zeros((len(self.shares), most, T, V), np.int32)
        for level, shares in enumerate(self.shares):
            for t in range(T):
                inside = shares[t][:, None] * np.where(np.isfinite(self.sweeps[t]), self.sweeps[t], 1.0)
                place = np.searchsorted(self.sweeps[t], inside * (1 + 1e-12), side="right") - 1
                found[level, : shares.shape[1], t] = place
        return found

    @cached_property
    def opens_of(self) -> Array:
        """``(C,)`` tensor whose sweeps a group counts; −1: none."""
        return np.array(
            [self.opens[np.flatnonzero(self.group[1:] == c)[0] + 1] for c in range(len(self.trails))], np.int64
        )

    @cached_property
    def sequence(self) -> Array:
        """``(C, D)`` variables, those whose loops stand outside the run of a group first."""
        return np.argsort(self.trails, axis=1, kind="stable").astype(np.int64)

    @cached_property
    def outer_count(self) -> Array:
        """``(C,)`` how many those are."""
        outside: Array = (self.trails == 0).sum(axis=1).astype(np.int64)
        return outside

    @cached_property
    def idle(self) -> Array:
        """``(T, S)`` iterations, outside a tile, of the variables that do not index the tensor."""
        p = self.problem.arrays[0]
        D, T = int(p["variables"]), int(p["tensors"])
        left = self.space.bounds / self.points.extents
        irrelevant = ~p["is_relevant"][:T, :D].astype(bool)
        return np.stack([left[:, irrelevant[t]].prod(axis=1) for t in range(T)])


def sizes(problem: Problem, space: MapSpace) -> Array:
    """``(T,)`` at least so many distinct elements are touched."""
    p = problem.arrays[0]
    D, T = int(p["variables"]), int(p["tensors"])
    return np.array(
        [
            math.prod(
                _distinct(
                    [
                        (int(space.bounds[d]), abs(int(p["coefficient"][t, r, d])))
                        for d in range(D)
                        if p["coefficient"][t, r, d]
                    ]
                )
                for r in range(int(p["rank_count"][t]))
            )
            for t in range(T)
        ],
        np.float64,
    )


def _sweep_classes(bounds: Array, most: int) -> Array:
    """At most `most` of the numbers of iterations that divisors of `bounds` make, spread in the logarithm, from 1; padded with inf."""
    found = np.array([1], np.int64)
    for bound in bounds:
        found = np.unique(np.multiply.outer(found, [f for f in range(1, int(bound) + 1) if bound % f == 0]))
    if len(found) > most:
        wanted = np.exp(np.linspace(0, math.log(found[-1]), most))
        found = found[np.unique(np.searchsorted(found, wanted * (1 - 1e-9)))[:most]]
    return np.array([*found, *[math.inf] * (most - len(found))], np.float64)


def _distinct(terms: list[tuple[int, int]]) -> int:
    """At least so many distinct values of Σ coefficient · index, over (bound, coefficient) pairs."""
    terms = [(n, a) for n, a in terms if n > 1]
    if len(terms) != 2:
        return max([1, *(n for n, _ in terms)])
    (n, a), (m, b) = terms
    g = math.gcd(a, b)
    return n * m - max(0, n - b // g) * max(0, m - a // g)


def ground(problem: Problem, space: MapSpace) -> Ground:
    """Lay the ground.

    Raises:
        UnsupportedError: for problems beyond the sizes that the search takes.
    """
    p = problem.arrays[0]
    D, T, L = int(p["variables"]), int(p["tensors"]), int(p["levels"])
    points = lattice(space.bounds)
    limited = sum(
        math.isfinite(p[name][level])
        for level in range(L)
        for name in ("read_bandwidth", "write_bandwidth", "shared_bandwidth")
    )
    if limited > DEMANDS or 2 * D > BASE:
        raise UnsupportedError("more limited bandwidths, or more variables, than the exact mapper takes")
    below, below_count = temporal_steps(points, space.temporal_choices)
    linked = passes_on(problem, space)
    ways = tuple(spreads(space, level, every_axis=bool(linked[level].any())) for level in range(L))
    relevant = p["is_relevant"][:T, :D].astype(bool)
    lone = p["is_lone"][:T, :D].astype(bool)
    simple = p["is_simple"][:T].astype(bool)
    effect = np.where(~relevant, OPEN, np.where(lone | simple[:, None], CLOSED, WINDOW))  # (T, D)
    live = np.flatnonzero(space.bounds > 1) if (space.bounds > 1).any() else np.arange(1)
    kinds, place = np.unique(effect.T[live], axis=0, return_inverse=True)
    kind_of = np.zeros(D, np.int64)
    kind_of[live] = place.reshape(-1)
    status = np.concatenate([np.full((1, T), OPEN), kinds])
    size = sizes(problem, space)
    # of several tensors that a loop leaves in place, the sweeps of the largest are counted
    opens = np.array(
        [-1, *(max(np.flatnonzero(row == OPEN), key=lambda t: size[t], default=-1) for row in kinds)], np.int64
    )
    groups = [*dict.fromkeys(int(t) if t >= 0 else -k for k, t in enumerate(opens) if k)]
    group = np.array([0, *(groups.index(int(t) if t >= 0 else -k) for k, t in enumerate(opens) if k)], np.int64)
    kind = kind_of.reshape(D) + 1
    trails = np.array([effect[g] == OPEN if g >= 0 else kind == -g for g in groups], np.uint8)
    reach = lanes_within(list(ways))
    room = max(2, _TABLE_NUMBERS // (points.size * len(status)))
    lanes = max(len(r) for r in reach)  # the fewer there are to tell apart, the more sweeps can be
    V = min(_MOST_SWEEPS, max(_LEAST_SWEEPS, room // min(12, lanes)))
    sweeps = np.stack([_sweep_classes(space.bounds[~relevant[t]], V) for t in range(T)])
    V = int(np.isfinite(sweeps).sum(axis=1).max())
    J = max(1, min(_MOST_THRESHOLDS, lanes, room // V))
    threshold, ceiling = np.ones((L + 1, J)), np.ones((L + 1, J))
    for level in range(L):
        threshold[level], ceiling[level] = _thresholds(reach[level], J)
    shares = []
    for level in range(L):
        factors = ways[level].factors
        shares.append(
            np.concatenate(
                [
                    np.stack([np.where(relevant[t], 1, factors).prod(axis=1) for t in range(T)]),
                    np.stack([_positions(p, t, factors) for t in range(T)]),
                    np.stack([np.where(effect[t] == WINDOW, factors, 1).prod(axis=1) for t in range(T)]),
                ]
            ).astype(np.float64)
        )
    return Ground(
        problem, space, points, ways, below, below_count,
        threshold, ceiling, effect, kind, status, tuple(shares), opens, group, trails, sweeps[:, :V].copy(), size,
    )  # fmt: skip


def _positions(p: Any, t: int, factors: Array) -> Array:
    """Fewest distinct positions of tensor `t` among the children, ``(n,)``."""
    total = np.ones(len(factors), np.int64)
    for r in range(int(p["rank_count"][t])):
        used = np.flatnonzero(p["coefficient"][t, r, : factors.shape[1]])
        total *= np.maximum(1, (factors[:, used] - 1).sum(axis=1) + 1)
    return total


def _bits(row: Array) -> int:
    return sum(1 << int(d) for d in np.flatnonzero(row))


def _thresholds(reach: Array, J: int) -> tuple[Array, Array]:
    """`J` thresholds on lanes, ascending from 1, and the most lanes counted under each; surplus ones can't be reached."""
    if len(reach) > J:  # spread evenly in the logarithm, always with the smallest and the largest
        wanted = np.exp(np.linspace(0, math.log(reach[-1]), J))
        chosen = np.unique(np.searchsorted(reach, wanted * (1 - 1e-9)))
        chosen = np.unique(np.concatenate([[0], chosen[chosen < len(reach)], [len(reach) - 1]]))
    else:
        chosen = np.arange(len(reach))
    chosen = chosen[-J:] if len(chosen) > J else chosen
    chosen[0] = 0
    threshold, ceiling = np.full(J, np.inf), np.full(J, float(reach[-1]))
    threshold[: len(chosen)] = reach[chosen]
    threshold[0] = 1.0
    for j in range(len(chosen)):
        ceiling[j] = reach[chosen[j + 1] - 1] if j + 1 < len(chosen) else reach[-1]
    return threshold, ceiling


def _may_loop(base: Ground, level: int) -> bool:
    """Whether a level may have temporal loops at all."""
    return any(int(choices[-1]) > 1 for choices in base.space.temporal_choices[level])


def terrain(base: Ground, keep: Array) -> Terrain | None:
    """Tables for one choice of keeps ``(L, T)``; None where it can't hold the problem at all."""
    p = base.problem.arrays[0]
    D, T, L = int(p["variables"]), int(p["tensors"]), int(p["levels"])
    points, space = base.points, base.space
    parent = np.full((L + 1, T), -1, np.int64)
    for t in range(T):
        keepers = np.flatnonzero(keep[:, t])
        if not len(keepers):
            return None
        parent[0, t] = keepers[0]
        for child, keeper in itertools.pairwise(keepers):
            parent[child + 1, t] = keeper
    thin = sparsity(base, keep, parent)
    if thin is None:
        return None
    fits = np.ones((L, points.size), np.uint8)
    for level in range(L):
        used = sum(
            (
                (thin.most[t] if p["is_compressed"][level, t] else base.whole[t]) * float(p["word_scale"][level, t])
                for t in range(T)
                if keep[level, t]
            ),
            np.zeros(points.size),
        )
        fits[level] = (used <= p["capacity"][level] * (1 + 1e-12)) & (
            used >= p["min_utilization"][level] * np.minimum(p["capacity"][level], 1e300)
        )
    fan = space.lanes.prod(axis=1).astype(np.float64)
    above = np.array([fan[level + 1 :].prod() for level in range(L)])
    most_copies = np.array([shares[:T].max(axis=1) for shares in base.shares])
    copies = np.array([most_copies[level + 1 :].prod(axis=0) for level in range(L)])
    merged = np.array([base.merging(level).max(axis=1) for level in range(L)])
    sends = np.full((L, T), -1, np.int64)
    upper = np.ones((L + 1, T))
    read, update, fill = (np.zeros((L + 1, T)) for _ in range(3))
    for row in range(L):
        for t in range(T):
            k = parent[row, t]
            if k < 0:
                continue
            # The traffic is known at the innermost fan-out between the two, unless loops further in may still repeat it.
            at = row
            while at < k and fan[at] == 1 and (row == 0 or not _may_loop(base, at)):
                at += 1
            if fan[at] == 1:
                at = row
            sends[at, t] = row
            upper[row, t] = merged[at + 1 : k + 1, t].prod()
            outer = 1.0 / max(1, int(p["cluster"][k])) / float(p["values_per_access"][k, t])
            outer *= thin.least[t] if p["has_metadata"][k, t] else 1.0
            read[row, t] = float(p["energy"][k, READ, 0]) * outer
            update[row, t] = float(p["energy"][k, UPDATE, 0]) * outer
            if row > 0:
                inner = 1.0 / max(1, int(p["cluster"][row - 1])) / float(p["values_per_access"][row - 1, t])
                inner *= thin.least[t] if p["has_metadata"][row - 1, t] else 1.0
                fill[row, t] = float(p["energy"][row - 1, FILL, 0]) * inner
            if t == int(p["output"]) and not p["is_simple"][t]:
                read[row, t] = fill[row, t] = 0.0  # first visits of elements that windows share are not bounded
    limited = [
        (level, what, float(p[name][level]))
        for level in range(L)
        for what, name in ((READS, "read_bandwidth"), (WRITES, "write_bandwidth"), (BOTH, "shared_bandwidth"))
        if math.isfinite(p[name][level])
    ]
    most = max(len(s.factors) for s in base.spreads)
    spread = np.ones((L, most, D), np.int64)
    lanes = np.ones((L, most), np.int64)
    on_x = np.zeros((L, most), np.int64)
    for level, ways in enumerate(base.spreads):
        spread[level, : len(ways.factors)] = ways.factors
        lanes[level, : len(ways.factors)] = ways.lanes
        on_x[level, : len(ways.factors)] = ways.on_x
    digit = np.zeros((D, int(space.bounds.max()) + 1), np.int32)
    for d in range(D):
        digit[d, points.divisors[d, : points.count[d]]] = np.arange(points.count[d])
    multicast = np.asarray(space.multicast, np.uint8)
    windowed = ~p["is_simple"][:T].astype(bool)
    return Terrain(
        count=points.count,
        stride=points.stride,
        extents=points.extents,
        digit=digit,
        below=base.below,
        below_count=base.below_count,
        spread=spread,
        spread_count=np.array([len(s.factors) for s in base.spreads], np.int64),
        lanes=lanes,
        on_x=on_x,
        spread_order=np.asarray(space.spatial_orders, np.int64),
        linked=passes_on(base.problem, space).astype(np.uint8),
        threshold=base.threshold,
        ceiling=base.ceiling,
        kind_of=base.kind_of,
        status=base.status,
        opens=base.opens,
        opens_of=base.opens_of,
        group=base.group,
        trails=base.trails,
        counted=np.isin(np.arange(T), base.opens).astype(np.uint8),
        sweeps_inside=base.sweeps_inside,
        sequence=base.sequence,
        outer_count=base.outer_count,
        sweeps=base.sweeps,
        idle_class=base.idle_class,
        parent=parent,
        whole=base.whole,
        idle=base.idle,
        outside=(space.bounds / points.extents).prod(axis=1),
        size=base.size,
        windowed=windowed,
        stepped=base.stepped,
        whole_spread=np.array([not multicast[:, t].all() for t in range(T)]),
        asks=np.array([row[:2] for row in limited], np.int64).reshape(len(limited), 2),
        bandwidth=np.array([row[2] for row in limited], np.float64),
        pace=np.array([1.0 / (above[row[0]] * row[2]) for row in limited], np.float64),
        fits=fits,
        multicast=multicast,
        sends=sends,
        upper=upper,
        above=above,
        copies=copies,
        read=read,
        update=update,
        fill=fill,
        compact=np.where(p["has_metadata"][:L, :T].astype(bool), thin.least, 1.0) * p["demand"][:L, :T],
        sparse=thin.sparse,
        sent_share=thin.sent_share,
        filled_share=thin.filled_share,
        density=thin.density,
        occupied=thin.occupied,
        overhead=thin.overhead,
        metadata=thin.metadata,
        fibres=thin.fibres,
        whole_nest=thin.whole_nest,
        any_metadata=thin.any_metadata,
        arrives=thin.arrives,
        last_row=thin.last_row,
        refines=thin.refines,
    )
