"""CoSA's mixed-integer program of one mapping: prime factors to loops, a loop order at one buffer (ISCA'21, §III).

All sizes enter as base-2 logarithms, so that products of factors are sums. Written for HiGHS, which takes linear
constraints only: the products of CoSA's order binaries and loop lengths are replaced by big-M pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.mapping.factorizations import prime_powers
from fiberloom.mapping.space import MapSpace
from fiberloom.model.lower import Problem

Floats = NDArray[np.float64]

TEMPORAL, ALONG_X, ALONG_Y = 0, 1, 2


@dataclass(frozen=True)
class Weights:
    """Weights of the objective; the defaults are those of CoSA's released code.

    Attributes:
        utilization: of the summed logarithms of tiles in finite levels inside the ordered one.
        compute: of the logarithm of the temporal steps.
        traffic: of the summed logarithms of each tensor's words into the ordered level's children.
    """

    utilization: float = -0.1
    compute: float = 10.0
    traffic: float = 1.0


@dataclass(frozen=True)
class Assignment:
    """A solution: factors ``(L, D)``, `on_x` ``(L, D)`` bool, loop order ``(D,)`` innermost first at the ordered level."""

    temporal: NDArray[np.int64]
    spatial: NDArray[np.int64]
    on_x: NDArray[np.bool_]
    order: NDArray[np.int64]
    objective: float
    proved: bool


@dataclass
class _Rows:
    """Linear constraints under construction: ``low <= sum of coefficient x variable <= high``."""

    entries: list[tuple[int, int, float]] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)

    def add(self, terms: list[tuple[int, float]], low: float, high: float) -> None:
        for variable, coefficient in terms:
            self.entries.append((len(self.low), variable, coefficient))
        self.low.append(low)
        self.high.append(high)


class MappingProgram:
    """The program of one problem and map space.

    Args:
        keep: ``(L, T)`` which level keeps which tensor.
        level: the level whose loop order is decided, 0 innermost.
        capacity_share: ``(L, T)`` share of its level's words that a kept tensor may take.
    """

    def __init__(
        self,
        problem: Problem,
        space: MapSpace,
        keep: NDArray[np.bool_],
        *,
        level: int,
        capacity_share: Floats,
        weights: Weights,
    ) -> None:
        p = problem.arrays[0]
        L, D, T = len(space.level_names), len(space.variables), len(space.tensors)
        self._shape = (L, D, T)
        self._space, self._level, self._keep = space, level, keep
        self._relevant = np.array(p["is_relevant"][:T, :D], bool)
        with np.errstate(divide="ignore", invalid="ignore"):
            words = p["capacity"][:L, None] * capacity_share / p["word_scale"][:L, :T]
            self._room = np.maximum(0.0, np.log2(words))  # (L, T); a tile has one word at least
        self._costs: list[float] = []
        self._binary: list[bool] = []
        self._rows = _Rows()
        self._choices = {
            TEMPORAL: space.temporal_choices,
            ALONG_X: space.spatial_choices,
            ALONG_Y: space.spatial_choices,
        }
        self._loops: dict[tuple[int, int, int], list[tuple[int, float]]] = {}  # (kind, level, variable): x, log2 prime
        self._assigned: list[tuple[int, tuple[int, int, int], int]] = []  # x, loop, prime
        self._axis: dict[tuple[int, int], int] = {}
        self._place_factors()
        self._fit()
        self._choose_order()
        self._weigh(weights)
        self._cuts: list[list[int]] = []

    def _variable(self, *, binary: bool) -> int:
        self._costs.append(0.0)
        self._binary.append(binary)
        return len(self._costs) - 1

    def _open_loops(self, d: int) -> list[tuple[int, int, int]]:
        """Loops of variable d that a factor may go to, innermost first."""
        found = []
        bit = 1 << d
        for level in range(self._shape[0]):
            if len(self._choices[ALONG_X][level][d]) > 1:
                if int(self._space.may_x[level]) & bit and self._space.lanes[level, 0] > 1:
                    found.append((ALONG_X, level, d))
                if int(self._space.may_y[level]) & bit and self._space.lanes[level, 1] > 1:
                    found.append((ALONG_Y, level, d))
            if len(self._choices[TEMPORAL][level][d]) > 1 and self._keep[level].any():
                found.append((TEMPORAL, level, d))  # loops of a level that keeps nothing belong to the next one outside
        return found

    def _fixed(self, kind: int, level: int, d: int) -> int:
        """Factor of a loop that has one choice; 1 for loops that are open."""
        choices = self._choices[kind][level][d]
        return int(choices[0]) if len(choices) == 1 else 1

    def _place_factors(self) -> None:
        """Every prime factor to exactly one loop; equal primes of a variable in order, inside out."""
        L, D, _ = self._shape
        for d in range(D):
            rest = int(self._space.bounds[d])
            for level in range(L):
                rest //= self._fixed(TEMPORAL, level, d) * self._fixed(ALONG_X, level, d)
            loops = self._open_loops(d)
            for prime, power in prime_powers(rest):
                before: list[tuple[int, float]] | None = None
                for _ in range(power):
                    mine = []
                    for position, loop in enumerate(loops):
                        if not (self._choices[loop[0]][loop[1]][d] % prime == 0).any():
                            continue
                        x = self._variable(binary=True)
                        self._loops.setdefault(loop, []).append((x, float(np.log2(prime))))
                        self._assigned.append((x, loop, prime))
                        mine.append((x, float(position)))
                    self._rows.add([(x, 1.0) for x, _ in mine], 1, 1)
                    if before is not None:
                        self._rows.add([(x, -at) for x, at in before] + mine, 0, np.inf)
                    before = mine
            for loop in loops:
                most = float(np.log2(self._choices[loop[0]][loop[1]][d][-1]))
                if loop in self._loops:
                    self._rows.add(self._loops[loop], -np.inf, most + 1e-9)

    def _fit(self) -> None:
        """Tiles within their share of each level, spatial factors within the fan-outs, one axis per spatial loop."""
        L, D, T = self._shape
        for level in range(L):
            for t in range(T):
                if self._keep[level, t] and np.isfinite(self._room[level, t]):
                    terms, constant = self._tile(level, t)
                    if terms:  # fixed loops alone may need more than the share; the model judges then
                        self._rows.add(terms, -np.inf, max(0.0, self._room[level, t] - constant) + 1e-9)
            for axis, kind in enumerate((ALONG_X, ALONG_Y)):
                terms = [term for d in range(D) for term in self._loops.get((kind, level, d), [])]
                fixed = sum(
                    np.log2(self._fixed(kind, level, d))
                    for d in range(D)
                    if (int(self._space.default_on_x[level]) >> d & 1) == (axis == 0)
                )
                if terms:
                    self._rows.add(
                        terms, -np.inf, max(0.0, float(np.log2(self._space.lanes[level, axis])) - fixed) + 1e-9
                    )
            for d in range(D):
                both = [self._loops.get((kind, level, d), []) for kind in (ALONG_X, ALONG_Y)]
                if both[0] and both[1]:
                    a = self._axis[level, d] = self._variable(binary=True)
                    most = float(np.log2(self._space.bounds[d]))
                    self._rows.add([*both[0], (a, -most)], -np.inf, 1e-9)
                    self._rows.add([*both[1], (a, most)], -np.inf, most + 1e-9)

    def _tile(self, level: int, t: int, *, own_turns: bool = True) -> tuple[list[tuple[int, float]], float]:
        """Logarithm of a tensor's tile at a level (without the level's temporal loops if not `own_turns`).

        Ranks of several variables (sliding windows) count as the product of their extents, which they never exceed.
        """
        terms: list[tuple[int, float]] = []
        constant = 0.0
        for inner in range(level + 1):
            for d in np.flatnonzero(self._relevant[t]):
                kinds = (TEMPORAL, ALONG_X, ALONG_Y) if own_turns or inner < level else (ALONG_X, ALONG_Y)
                for kind in kinds:
                    terms += self._loops.get((kind, inner, int(d)), [])
                    if kind != ALONG_Y:
                        constant += float(np.log2(self._fixed(kind, inner, int(d))))
        return terms, constant

    def _choose_order(self) -> None:
        """A permutation of the loops at the ordered level, and for every tensor the loops outside its innermost own one."""
        _, _, T = self._shape
        level = self._level
        loops = [d for d in range(self._shape[1]) if (TEMPORAL, level, d) in self._loops]
        n = len(loops)
        self._ranked: dict[tuple[int, int], int] = {}
        self._again: list[list[int]] = [[] for _ in range(T)]
        length: dict[tuple[int, int], int] = {}
        most = {d: float(np.log2(self._space.bounds[d])) for d in loops}
        for d in loops:
            for z in range(n):
                self._ranked[d, z] = self._variable(binary=True)
                length[d, z] = self._variable(binary=False)
                self._rows.add([(length[d, z], 1.0), (self._ranked[d, z], -most[d])], -np.inf, 0)
            self._rows.add([(self._ranked[d, z], 1.0) for z in range(n)], 1, 1)
            own = [(x, -c) for x, c in self._loops[TEMPORAL, level, d]]
            self._rows.add([*((length[d, z], 1.0) for z in range(n)), *own], 0, 0)
        for z in range(n):
            self._rows.add([(self._ranked[d, z], 1.0) for d in loops], 1, 1)
        big = max(most.values(), default=0.0)
        for t in range(T):
            started = self._moved_inside(t)
            for z in range(n):
                moves, again = self._variable(binary=True), self._variable(binary=False)
                self._again[t].append(again)
                for d in loops:
                    if self._relevant[t, d]:
                        self._rows.add([(moves, 1.0), (self._ranked[d, z], -1.0)], 0, np.inf)
                if started is not None:
                    self._rows.add([(moves, 1.0), (started, -1.0)], 0, np.inf)
                lengths = [(length[d, z], -1.0) for d in loops]
                self._rows.add([(again, 1.0), (moves, -big), *lengths], -big, np.inf)
                started = moves

    def _between(self, t: int, *, own: bool) -> list[tuple[int, float]]:
        """Temporal loops that do (or do not) index a tensor, of the levels between its next keeper inside and the ordered level.

        CoSA's levels all keep what passes through them; where one does not, these loops repeat the transfer.
        """
        inside = [level for level in range(self._level) if self._keep[level, t]]
        first = inside[-1] + 1 if inside else 0
        return [
            term
            for (kind, level, d), terms in self._loops.items()
            if kind == TEMPORAL and first <= level < self._level and bool(self._relevant[t, d]) == own
            for term in terms
        ]

    def _moved_inside(self, t: int) -> int | None:
        """A binary that is 1 when a loop inside the ordered level already moves the tensor's tile; None when none can."""
        loops = self._between(t, own=True)
        if not loops:
            return None
        moved = self._variable(binary=True)
        for x, _ in loops:
            self._rows.add([(moved, 1.0), (x, -1.0)], 0, np.inf)
        return moved

    def _weigh(self, weights: Weights) -> None:
        T = self._shape[2]
        for (kind, _, _), terms in self._loops.items():
            if kind == TEMPORAL:
                self._cost(terms, weights.compute)
        for t in range(T):
            for level in range(self._level):
                if self._keep[level, t] and np.isfinite(self._room[level, t]):
                    self._cost(self._tile(level, t)[0], weights.utilization)
            self._cost(self._tile(self._level, t, own_turns=False)[0], weights.traffic)
            self._cost(self._between(t, own=False), weights.traffic)
            self._cost([(again, 1.0) for again in self._again[t]], weights.traffic)
            for (kind, level, _), terms in self._loops.items():
                if kind == TEMPORAL and level > self._level:
                    self._cost(terms, weights.traffic)

    def _cost(self, terms: list[tuple[int, float]], weight: float) -> None:
        for variable, coefficient in terms:
            self._costs[variable] += weight * coefficient

    def solve(self, *, seconds: float) -> Assignment | None:
        """The best assignment not yet forbidden; None when there is none or the time ends without one."""
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import coo_array

        n = len(self._costs)
        if n == 0:
            return None if self._cuts else self._assignment(np.zeros(0), 0.0, True)
        rows = _Rows(list(self._rows.entries), list(self._rows.low), list(self._rows.high))
        for cut in self._cuts:
            rows.add([(x, 1.0) for x in cut], -np.inf, len(cut) - 1)
        at, variable, value = (np.array(column) for column in zip(*rows.entries, strict=True))
        matrix = coo_array((value, (at, variable)), shape=(len(rows.low), n)).tocsr()
        binary = np.array(self._binary)
        result: Any = milp(
            np.array(self._costs),
            integrality=binary.astype(int),
            bounds=Bounds(0, np.where(binary, 1.0, np.inf)),
            constraints=LinearConstraint(matrix, np.array(rows.low), np.array(rows.high)),
            options={"time_limit": seconds},
        )
        if result.x is None:
            return None
        return self._assignment(result.x, float(result.fun), result.status == 0)

    def forbid(self, solution: Assignment) -> None:
        """Exclude a solution's factors from later ones (a no-good cut)."""
        self._cuts.append(self._chosen(solution))

    def _chosen(self, solution: Assignment) -> list[int]:
        """The binaries at 1 of a solution's factors: primes fill the loops in order, inside out."""
        left = {
            (TEMPORAL, level, d): int(f) // self._fixed(TEMPORAL, level, d)
            for (level, d), f in np.ndenumerate(solution.temporal)
        }
        for (level, d), f in np.ndenumerate(solution.spatial):
            kind = ALONG_X if solution.on_x[level, d] else ALONG_Y
            left[kind, level, d] = int(f) // self._fixed(kind, level, d)
        chosen = []
        by_prime: dict[tuple[int, int], list[list[tuple[int, tuple[int, int, int]]]]] = {}
        for x, loop, prime in self._assigned:
            group = by_prime.setdefault((loop[2], prime), [[]])
            if group[-1] and any(loop == other for _, other in group[-1]):
                group.append([])
            group[-1].append((x, loop))
        for (_, prime), copies in by_prime.items():
            for copy in copies:
                x, loop = next((x, loop) for x, loop in copy if left.get(loop, 1) % prime == 0)
                left[loop] //= prime
                chosen.append(x)
        return chosen

    def _assignment(self, x: Floats, objective: float, proved: bool) -> Assignment:
        L, D, _ = self._shape
        temporal, spatial = (
            np.array([[self._fixed(kind, level, d) for d in range(D)] for level in range(L)], np.int64)
            for kind in (TEMPORAL, ALONG_X)
        )
        on_x = (np.asarray(self._space.default_on_x)[:, None] >> np.arange(D) & 1).astype(bool)
        for variable, (kind, level, d), prime in self._assigned:
            if x[variable] > 0.5:
                if kind == TEMPORAL:
                    temporal[level, d] *= prime
                else:
                    spatial[level, d] *= prime
                    on_x[level, d] = kind == ALONG_X
        ranked = sorted((z, d) for (d, z), variable in self._ranked.items() if x[variable] > 0.5)
        order = [d for _, d in ranked]
        order += [d for d in range(D) if d not in order]
        return Assignment(temporal, spatial, on_x, np.array(order, np.int64), objective, proved)
