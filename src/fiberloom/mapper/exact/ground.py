"""What all choices of keeps share of the ground that a search runs on: tile shapes, spreads, and what loops do to each tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import UnsupportedError
from fiberloom.mapper.exact.interface import BASE
from fiberloom.mapper.exact.labels import DEMANDS
from fiberloom.mapper.exact.lattice import Lattice, Spreads, lanes_within, lattice, spreads, temporal_steps
from fiberloom.mapper.exact.orders import Relevance, orders_by_set
from fiberloom.mapper.exact.sparsity import is_sparse, statistics
from fiberloom.mapper.exact.tables import CLOSED, OPEN, SPEED_SLACK, WINDOW
from fiberloom.mapping.space import MapSpace
from fiberloom.model.lower import Problem

Array = NDArray[Any]

_MOST_THRESHOLDS: Final = 16
_MOST_SWEEPS: Final = 16
_LEAST_SWEEPS: Final = 5
_FINER_SWEEPS: Final = (64, 48, 32, 24, 16, 12, 8, _LEAST_SWEEPS)
_TABLE_NUMBERS: Final = 3_000_000
"""Most numbers in one table of bounds; fewer lanes and sweeps are told apart beyond."""
_SPEEDS: Final = 5
"""Speeds told apart where skipping has a part in them."""
_SPEED_STEP: Final = 0.04
"""Logarithm of the ratio below which two speeds need not be told apart."""


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
        reach: products of lanes that the fan-outs at and inside each level can have, ascending.
        told_apart: how many of them the bounds tell apart at most.
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
    reach: tuple[Array, ...]
    told_apart: int
    effect: Array
    kind_of: Array
    status: Array
    shares: tuple[Array, ...]
    opens: Array
    group: Array
    trails: Array
    sweeps: Array
    size: Array

    def thresholds(self, least: float, boost: Array, most: int = _SPEEDS) -> tuple[Array, Array, Array]:
        """``(L + 1, J)`` least speeds that the bounds tell apart, the most counted under each, and the least share of computations
        left of those; surplus ones are infinite.

        A speed is the product of the lanes over the share of the computations that skipping leaves, which lies within one and one
        over `boost` (``(L,)``, at and inside each level). Whatever is slower than `least` altogether is left out; at most
        `most` are told apart where skipping has a part in it.
        """
        L = len(self.spreads)
        J = self.told_apart if boost.max() == 1.0 else max(self.told_apart, most)
        threshold, ceiling, share = np.ones((3, L + 1, J))
        for level in range(L):
            outside = math.prod(int(ways.lanes.max(initial=1)) for ways in self.spreads[level + 1 :])
            outside *= boost[-1] / boost[level]
            reach = self.reach[level][self.reach[level] * outside * boost[level] >= least]
            reach = reach if len(reach) else self.reach[level][-1:]
            if boost[level] == 1.0:
                threshold[level], ceiling[level] = _thresholds(reach, min(J, self.told_apart), J)
                continue
            slack = (1 + SPEED_SLACK) ** (L + 1)
            slowest, fastest = max(float(reach[0]), least / outside) / slack, float(reach[-1]) * boost[level]
            n = int(np.clip(math.ceil(math.log(fastest / slowest) / _SPEED_STEP) + 1, 2, J)) if fastest > slowest else 1
            threshold[level, :n], threshold[level, n:] = np.geomspace(min(slowest, fastest), fastest, n), np.inf
            ceiling[level] = fastest * slack
            ceiling[level, : n - 1] = threshold[level, 1:n] * slack
            share[level] = np.minimum(1.0, reach[0] / ceiling[level])
        return threshold, ceiling, share

    def merging(self, level: int) -> Array:
        """``(4 T, n)`` what a spread of the level's fan-out shares: see `fiberloom.mapper.exact.contexts`."""
        p = self.problem.arrays[0]
        T = len(self.size)
        factors = self.spreads[level].factors
        alone = np.ones((T, len(factors)))
        for t in range(T):
            indexed = p["coefficient"][t, : int(p["rank_count"][t]), : factors.shape[1]] != 0  # (R, D)
            for r in range(len(indexed)):
                one = indexed[r] & (self.effect[t] == WINDOW) & (indexed.sum(axis=0) == 1)
                alone[t] *= np.where(one, factors, 1).max(axis=1)
        lanes = self.shares[level]
        shared = np.concatenate([lanes[:T], lanes[2 * T : 3 * T], lanes[2 * T : 3 * T] / alone])
        shared[np.tile(~np.asarray(self.space.multicast[level], bool), 3)] = 1.0
        return np.concatenate([shared, lanes[:T]])

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
    def most(self) -> Array:
        """``(T, S)`` largest occupancy of every tensor's tile where formats drop zeros."""
        if not is_sparse(self.problem.arrays[0]):
            return self.whole
        return np.stack([self.statistics(t)[:, 1] for t in range(len(self.size))])

    @cached_property
    def rows(self) -> dict[str, Array]:
        """Shapes that may stand before each fan-out and before each level's loops, whatever else is kept: see `Terrain`.

        They lie within tiles that every level further out can hold.
        """
        p = self.problem.arrays[0]
        L, S = len(self.spreads), self.points.size
        shapes, row = np.zeros((2, L, S), np.int32), np.full((2, L, S), -1, np.int32)
        count = np.zeros((2, L), np.int64)
        inside = np.zeros(S, bool)
        inside[-1] = True
        for level in range(L - 1, -1, -1):
            used = np.zeros(S)
            for t in np.flatnonzero(self.space.fixed_keep[level]):
                words = self.most[t] if p["is_compressed"][level, t] else self.whole[t]
                used += words * float(p["word_scale"][level, t])
            tiles = inside & (used <= p["capacity"][level] * (1 + 1e-12))
            inside = self.points.below(tiles)
            for i, chosen in enumerate((inside, tiles)):
                found = np.flatnonzero(chosen)
                count[i, level] = len(found)
                shapes[i, level, : len(found)] = found
                row[i, level, found] = np.arange(len(found))
        return {
            f"{name}_{what}": table[i]
            for i, name in enumerate(("spatial", "temporal"))
            for what, table in (("shapes", shapes), ("count", count), ("row", row))
        }

    @cached_property
    def runs(self) -> Array:
        """``(T,)`` whether sweeps tell for how many steps a tensor stays put: all numbers of them are told apart, and every loop that
        leaves it in place counts them."""
        relevant = self.problem.arrays[0]["is_relevant"][: len(self.size), : len(self.space.bounds)].astype(bool)
        return np.array(
            [
                np.isfinite(self.sweeps[t]).sum() == len(_products(self.space.bounds[~relevant[t]]))
                and all(self.opens[k] == t for k in range(1, len(self.opens)) if self.status[k, t] == OPEN)
                for t in range(len(self.size))
            ],
            np.uint8,
        )

    @cached_property
    def first(self) -> Array:
        """``(K + 1,)`` states of the kinds before each."""
        widths = [int(np.isfinite(self.sweeps[t]).sum()) if t >= 0 else 1 for t in self.opens]
        return np.cumsum([0, *widths])

    def finer(self, numbers: int) -> Ground:
        """The same with as many sweeps told apart as need at most `numbers` states."""
        p = self.problem.arrays[0]
        relevant = p["is_relevant"][: len(self.size), : len(self.space.bounds)].astype(bool)
        for most in _FINER_SWEEPS:
            sweeps = np.stack([_sweep_classes(self.space.bounds[~row], most) for row in relevant])
            found = replace(self, sweeps=sweeps[:, : int(np.isfinite(sweeps).sum(axis=1).max())].copy())
            if int(found.first[-1]) <= max(numbers, int(self.first[-1])):
                break
        for name in ("whole", "idle", "stepped", "_statistics", "most", "rows", "opens_of", "sequence", "outer_count"):
            if name in self.__dict__:
                found.__dict__[name] = self.__dict__[name]
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


def _products(bounds: Array) -> Array:
    """Numbers of iterations that divisors of `bounds` make, ascending."""
    found = np.array([1], np.int64)
    for bound in bounds:
        found = np.unique(np.multiply.outer(found, [f for f in range(1, int(bound) + 1) if bound % f == 0]))
    return found


def _sweep_classes(bounds: Array, most: int) -> Array:
    """At most `most` of the numbers of iterations that divisors of `bounds` make, spread in the logarithm, from 1; padded with inf."""
    found = _products(bounds)
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
        tuple(reach), J, effect, kind, status, tuple(shares), opens, group, trails, sweeps[:, :V].copy(), size,
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


def _thresholds(reach: Array, J: int, room: int) -> tuple[Array, Array]:
    """At most `J` thresholds on lanes, ascending, in ``(room,)``, and the most lanes counted under each; others: infinite."""
    if len(reach) > J:  # spread evenly in the logarithm, always with the smallest and the largest
        wanted = np.exp(np.linspace(0, math.log(reach[-1]), J))
        chosen = np.unique(np.searchsorted(reach, wanted * (1 - 1e-9)))
        chosen = np.unique(np.concatenate([[0], chosen[chosen < len(reach)], [len(reach) - 1]]))
    else:
        chosen = np.arange(len(reach))
    chosen = chosen[-J:] if len(chosen) > J else chosen
    chosen[0] = 0
    threshold, ceiling = np.full(room, np.inf), np.full(room, float(reach[-1]))
    threshold[: len(chosen)] = reach[chosen]
    for j in range(len(chosen)):
        ceiling[j] = reach[chosen[j + 1] - 1] if j + 1 < len(chosen) else reach[-1]
    return threshold, ceiling
