"""The lattice of tile shapes, and what one step on it may be.

A mapping is a chain of tile shapes from the whole problem to one element. A shape is a tuple of divisors of the bounds,
numbered in mixed radix. Two kinds of step lead inwards: the temporal loops of a level, and the spatial loops of the
fan-out below it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import UnsupportedError
from fiberloom.mapping.space import MapSpace

Array = NDArray[Any]

MAX_SHAPES = 4_000_000
"""Most tile shapes that the search takes on; its tables hold a few numbers per shape."""
_MAX_SPREADS = 200_000


@dataclass(frozen=True)
class Lattice:
    """All tile shapes of a problem.

    Attributes:
        count: divisors per variable, shape ``(D,)``.
        divisors: ``(D, most)``, ascending, padded with 0.
        stride: ``(D,)``; shape number = Σ digit · stride.
        extents: ``(S, D)`` iterations of every shape.
    """

    count: Array
    divisors: Array
    stride: Array
    extents: Array

    @property
    def size(self) -> int:
        """Number of shapes."""
        return len(self.extents)

    def below(self, chosen: Array) -> Array:
        """``(S,)`` whether a shape divides one of those `chosen` ``(S,)``."""
        D = len(self.count)
        found = chosen.reshape(self.count[::-1])  # the first variable's digit runs fastest
        for d in range(D):
            values = self.divisors[d, : self.count[d]]
            divides = values[None, :] % values[:, None] == 0  # (divisor, multiple)
            found = np.moveaxis(np.tensordot(divides, found, axes=(1, D - 1 - d)) > 0, 0, D - 1 - d)
        return found.reshape(-1)


def lattice(bounds: Array) -> Lattice:
    """The lattice below `bounds`.

    Raises:
        UnsupportedError: if it has more than `MAX_SHAPES` shapes.
    """
    lists = [[f for f in range(1, int(b) + 1) if b % f == 0] for b in bounds]
    count = np.array([len(x) for x in lists], np.int64)
    total = int(np.prod(count.astype(object)))
    if total > MAX_SHAPES:
        raise UnsupportedError(
            f"the exact mapper would need {total:,} tile shapes, and takes at most {MAX_SHAPES:,}",
            hint="constrain factors, or choose a heuristic mapper (--mapper genetic)",
        )
    divisors = np.zeros((len(lists), int(count.max())), np.int64)
    for d, row in enumerate(lists):
        divisors[d, : len(row)] = row
    stride = np.ones(len(lists), np.int64)
    stride[1:] = np.cumprod(count)[:-1]
    digits = (np.arange(total)[:, None] // stride) % count
    extents = np.stack([divisors[d, digits[:, d]] for d in range(len(lists))], axis=1)
    return Lattice(count, divisors, stride, extents)


def temporal_steps(points: Lattice, choices: list[list[Array]]) -> tuple[Array, Array]:
    """Digits that a loop at each level may step down to.

    Returns:
        ``(L, D, most, most)`` digits below each digit and ``(L, D, most)`` how many.
    """
    levels, D, most = len(choices), *points.divisors.shape
    below = np.zeros((levels, D, most, most), np.int64)
    count = np.zeros((levels, D, most), np.int64)
    for level in range(levels):
        for d in range(D):
            allowed = {int(f) for f in choices[level][d]}
            values = points.divisors[d, : points.count[d]]
            for i, value in enumerate(values):
                found = [j for j in range(i + 1) if value % values[j] == 0 and value // values[j] in allowed]
                below[level, d, i, : len(found)] = found
                count[level, d, i] = len(found)
    return below, count


@dataclass(frozen=True)
class Spreads:
    """Ways to fill one fan-out.

    Attributes:
        factors: ``(n, D)``.
        on_x: ``(n,)`` bit sets.
        lanes: ``(n,)`` children in use.
        inside: ``(n,)`` elements that a lane's tile of the folding tensor may hold, lest too few zeros are left out for the others
            to find a lane; infinite where all find one anyway.
    """

    factors: Array
    on_x: Array
    lanes: Array
    inside: Array


def spreads(space: MapSpace, level: int, *, every_axis: bool) -> Spreads:
    """Legal spatial factors at a level's fan-out, most lanes first.

    Args:
        every_axis: list every assignment to X and Y, not only one that fits (where the axis matters to the model).

    Raises:
        UnsupportedError: if there are too many.
    """
    fan_x, fan_y = (int(f) for f in space.lanes[level])
    bounds = space.constraints.at(space.level_names[level]).spatial
    most = fan_x * fan_y if bounds.most_fanout is None else min(fan_x * fan_y, bounds.most_fanout)
    least = bounds.least_fanout or 1
    D = len(space.bounds)
    choices = [[int(f) for f in space.spatial_choices[level][d] if f <= max(fan_x, fan_y)] for d in range(D)]
    partial: list[tuple[tuple[int, ...], int, int, int]] = [((), 1, 1, 0)]
    for d in range(D):
        grown = []
        for factors, x, y, on_x in partial:
            for f in choices[d]:
                if f == 1:
                    grown.append(((*factors, 1), x, y, on_x))
                    continue
                if x * y * f > most:
                    break
                if space.may_x[level] >> d & 1 and x * f <= fan_x:
                    grown.append(((*factors, f), x * f, y, on_x | 1 << d))
                if space.may_y[level] >> d & 1 and y * f <= fan_y:
                    grown.append(((*factors, f), x, y * f, on_x))
        if len(grown) > _MAX_SPREADS:
            raise UnsupportedError(
                f"more than {_MAX_SPREADS:,} ways to fill the fan-out below '{space.level_names[level]}'",
                hint="constrain its spatial factors",
            )
        partial = grown
        if not (
            every_axis or space.folds[level]
        ):  # of assignments with equal factors and use of both axes, one is enough
            seen: dict[tuple[Any, ...], tuple[tuple[int, ...], int, int, int]] = {}
            for row in partial:
                seen.setdefault((row[0], row[1], row[2]), row)
            partial = list(seen.values())
    found: dict[tuple[int, ...], list[tuple[float, int, int]]] = {}
    for factors, x, y, on_x in partial:
        inside = _inside(space, level, factors, on_x, x, y)
        if x * y >= least and inside >= 1:
            found.setdefault(factors, []).append((inside, on_x, x * y))
    rows = [
        (f, on_x, lanes, inside)
        for f, ways in found.items()
        for inside, on_x, lanes in (ways if every_axis else [max(ways, key=lambda way: way[0])])
    ]
    rows.sort(key=lambda row: -row[2])
    return Spreads(
        np.array([r[0] for r in rows], np.int64).reshape(len(rows), D),
        np.array([r[1] for r in rows], np.int64),
        np.array([r[2] for r in rows], np.int64),
        np.array([r[3] for r in rows], np.float64),
    )


def _inside(space: MapSpace, level: int, factors: tuple[int, ...], on_x: int, x: int, y: int) -> float:
    """See `Spreads.inside`; 0 where a spread does not fit the fan-out at all.

    A loop along the folding tensor takes only as many lanes as the points that it spans hold non-zeros, at most.
    """
    fold = space.folds[level]
    if fold is None or (x <= space.fan[level, 0] and y <= space.fan[level, 1]):
        return math.inf
    along = space.workload.tensor(fold.tensor).variables
    for inside in range(fold.places - 1, 0, -1):
        points, taken = inside, [1, 1]
        for d in space.spatial_orders[level]:
            lanes = factors[d]
            if space.variables[d] in along:
                points *= factors[d]
                lanes = min(lanes, math.ceil(points * fold.kept))
            taken[0 if on_x >> d & 1 else 1] *= lanes
        if taken[0] <= space.fan[level, 0] and taken[1] <= space.fan[level, 1]:
            return float(inside)
    return 0.0


def lanes_within(found: list[Spreads]) -> list[Array]:
    """Products of lanes that the fan-outs at and inside each level can reach, ascending, by level."""
    reachable = [np.array([1], np.int64)]
    for spread in found:
        lanes = np.unique(spread.lanes) if len(spread.lanes) else np.array([1], np.int64)
        reachable.append(np.unique(np.multiply.outer(reachable[-1], lanes)))
    return reachable[1:]


def subsets(free: Array) -> Iterator[Array]:
    """Every choice of the free keep bits ``(L, T)``, as arrays of what is chosen; those that keep most come first."""
    where = np.argwhere(free)
    for left_out in range(len(where) + 1):
        for bits in itertools.combinations(range(len(where)), left_out):
            chosen = free.copy()
            chosen[tuple(where[list(bits)].T)] = False
            yield chosen
