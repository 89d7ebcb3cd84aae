"""What a map space holds, and how much each of its axes matters.

Shares are estimated from uniform samples. The ablation is that of the mapper study of Kao, Kwon et al. (IISWC'22): at the best
mapping, one axis is swept while the others stay, and the ratio of the worst to the best says what the axis decides.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fiberloom.mapper.search import OUTSIDE, SearchProblem
from fiberloom.mapping.constraints import Constraints
from fiberloom.mapping.packed import PackedMappings
from fiberloom.mapping.space import AXES, MapSpace

Z_95: Final = 1.959964
"""Normal quantile of a two-sided 95 % interval."""

STATUSES: Final = {
    0: "valid",
    OUTSIDE: "breaks a fan-out or leaves a tensor without a keeper",
    1: "format has too few ranks",
    2: "format has too few ranks",
    10: "gated or skipped tensor is not kept",
    11: "gated or skipped tensor is not kept",
    20: "tiles exceed a capacity",
    21: "metadata exceeds its capacity",
    22: "tiles use too little of a level",
    23: "spatial loops exceed a fan-out",
    24: "uncompressed under a compressed level",
}
"""What becomes of a mapping, in words, by status (`fiberloom.model.evaluate.explain`)."""


@dataclass(frozen=True)
class Share:
    """A share of the points of a space, with its 95 % interval (Wilson's score interval, JASA 1927)."""

    value: float
    low: float
    high: float

    @staticmethod
    def of(hits: int, samples: int) -> Share:
        """The share that `hits` of `samples` independent draws estimate."""
        if not samples:
            return Share(math.nan, 0.0, 1.0)
        p, z2 = hits / samples, Z_95**2
        middle = (p + z2 / (2 * samples)) / (1 + z2 / samples)
        half = Z_95 * math.sqrt(p * (1 - p) / samples + z2 / (4 * samples**2)) / (1 + z2 / samples)
        return Share(p, max(0.0, middle - half), min(1.0, middle + half))


@dataclass(frozen=True)
class SpaceSummary:
    """A map space in numbers.

    Attributes:
        size, by_axis: exact numbers of points; the axes multiply to the size.
        unconstrained: the same per axis without constraints.
        samples: uniform draws behind the shares.
        canonical: points that are the one representative of their loop nest.
        valid: points that fit.
        outcomes: what became of the samples, in words, by how often.
    """

    size: int
    by_axis: dict[str, int]
    unconstrained: dict[str, int]
    samples: int
    canonical: Share
    valid: Share
    outcomes: dict[str, int]


@dataclass(frozen=True)
class AxisSweep:
    """One axis swept while the others stay as in a mapping.

    Attributes:
        points: of the axis; `exhaustive` when all were evaluated, else `tried` uniform samples.
        valid: of those tried.
        best, median, worst: objective over the valid ones; NaN when none is.
    """

    axis: str
    points: int
    tried: int
    exhaustive: bool
    valid: int
    best: float
    median: float
    worst: float

    @property
    def ratio(self) -> float:
        """Worst over best: how much the axis decides."""
        return self.worst / self.best if self.best else math.nan


def summarise(target: SearchProblem, rng: np.random.Generator, samples: int) -> SpaceSummary:
    """Count a space and estimate its shares from `samples` uniform points."""
    space = target.space
    drawn = space.sample(rng, samples)
    status = target.evaluate(drawn).status
    unique = space.encode(space.canonical(drawn))
    canonical = sum(a == b for a, b in zip(unique, space.encode(drawn), strict=True))
    free = space
    if space.constraints.levels:
        free = MapSpace(space.workload, space.architecture, Constraints())
    counted = Counter(STATUSES.get(int(code), f"status {code}") for code in status)
    return SpaceSummary(
        size=space.size(),
        by_axis=space.size_by_axis(),
        unconstrained=free.size_by_axis(),
        samples=samples,
        canonical=Share.of(canonical, samples),
        valid=Share.of(int(np.count_nonzero(status == 0)), samples),
        outcomes=dict(counted.most_common()),
    )


def sweep(target: SearchProblem, best: PackedMappings, axis: str, rng: np.random.Generator, samples: int) -> AxisSweep:
    """Vary one axis at the mapping `best` (one row): all of its points where there are at most `samples`, else so many samples.

    ``tile`` varies temporal factors, ``order`` loop orders, ``bypass`` keeps. ``parallel`` moves factors between the temporal and
    the spatial loops of the same level, so that tiles stay, and spatial loops between X and Y.
    """
    space = target.space
    if axis == "parallel":
        points, packed = _spreads(space, best, rng, samples)
    else:
        for other in AXES:
            if other != axis:
                space = space.freeze(other, best)
        points = space.size()
        packed = space.decode(range(points)) if points <= samples else space.sample(rng, samples)
    value = target.evaluate(packed).objective
    found = value[np.isfinite(value)]
    low, middle, high = (float(f(found)) for f in (np.min, np.median, np.max)) if len(found) else (math.nan,) * 3
    return AxisSweep(axis, points, len(packed), points <= samples, len(found), low, middle, high)


def _spreads(
    space: MapSpace, best: PackedMappings, rng: np.random.Generator, samples: int
) -> tuple[int, PackedMappings]:
    """How many ways there are to spread the loops of a mapping over space, and all of them or a sample."""
    choices: list[tuple[int, int, list[int]]] = []  # level, variable, spatial factors
    for level, spatial in space.slots:
        for d in range(len(space.variables)) if spatial else ():
            whole = int(best.temporal[0, level, d] * best.spatial[0, level, d])
            outer = {int(f) for f in space.temporal_choices[level][d]}
            inner = [int(f) for f in space.spatial_choices[level][d] if whole % f == 0 and whole // int(f) in outer]
            if len(inner) > 1:
                choices.append((level, d, inner))
    axes = [(int(level), int(d)) for level, d in np.argwhere(space.open_axis)]
    radices = [len(inner) for _, _, inner in choices] + [2] * len(axes)
    points = math.prod(radices)
    n = min(points, samples)
    digits: list[Any] = [rng.integers(0, radix, n) for radix in radices]
    if radices and points <= samples:
        digits = list(np.unravel_index(np.arange(n), radices))
    packed = best.take(np.zeros(n, np.int64))
    for (level, d, inner), digit in zip(choices, digits, strict=False):
        together = packed.temporal[:, level, d] * packed.spatial[:, level, d]
        packed.spatial[:, level, d] = np.array(inner)[digit]
        packed.temporal[:, level, d] = together // packed.spatial[:, level, d]
    for (level, d), digit in zip(axes, digits[len(choices) :], strict=True):
        on_x, bit = packed.on_x[:, level], 1 << d
        packed.on_x[:, level] = np.where(digit == 1, on_x | bit, on_x & ~bit)
    return points, packed


def levels_of(space: MapSpace) -> list[dict[str, Any]]:
    """Per level, outermost first, what is left to choose: name, temporal and spatial factors per variable, number of loop
    orders, fan-out along X and Y, and which tensors it keeps for certain, may keep, or bypasses."""
    rows = []
    for level in reversed(range(len(space.level_names))):
        fixed, free = space.fixed_keep[level], space.free_keep[level]
        rows.append(
            {
                "level": space.level_names[level],
                "temporal": _choices(space, space.temporal_choices[level]),
                "spatial": _choices(space, space.spatial_choices[level]),
                "orders": space.order_count(level),
                "fan_out": [int(f) for f in space.fan[level]],
                "keeps": [t for t, kept in zip(space.tensors, fixed, strict=True) if kept],
                "may_keep": [t for t, open_ in zip(space.tensors, free, strict=True) if open_],
            }
        )
    return rows


def _choices(space: MapSpace, choices: Any) -> dict[str, list[int]]:
    return {v: [int(f) for f in c] for v, c in zip(space.variables, choices, strict=True) if list(c) != [1]}
