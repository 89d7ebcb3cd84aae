"""What gating and skipping leave at least, by the box of a leader that a follower's granule meets."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.model.counting import GATING, SKIPPING

if TYPE_CHECKING:
    from fiberloom.mapper.exact.ground import Ground

Array = NDArray[Any]

_MOST_GROWTHS: Final = 32
"""Numbers of boxes told apart."""
_MOST_PAIRS: Final = 4096
_TABLE_NUMBERS: Final = 20_000_000
"""Most pairs of tiles and numbers in a table, beyond which a granule meets one box."""


@dataclass(frozen=True)
class Skipped:
    """Shares that leaders leave, for one choice of keeps; the names are those of `fiberloom.mapper.exact.tables.Terrain`.

    Attributes:
        outer: ``(L + 1, T)`` bit sets of leaders that filter further out only.
    """

    left: Array
    grown: Array
    own_set: Array
    busy_set: Array
    told: Array
    outer: Array
    last_row: Array

    def boosts(self, base: Ground) -> Array:
        """``(L,)`` how much faster than their lanes computations can be, by what skipping at and inside each level rules out."""
        p = base.problem.arrays[0]
        L = len(base.spreads)
        found = np.ones(L)
        for row, t in np.argwhere(self.busy_set[:L] >= 0):
            # the smallest boxes: single elements of the lanes that share the granule at its own fan-out
            shared = np.where(p["is_relevant"][t, : len(base.space.bounds)], 1, base.spreads[row].factors)
            boxes = (_digits_of(base, shared) * base.points.stride).sum(axis=1)
            found[row:] /= max(1e-12, float(self.left[self.busy_set[row, t], boxes, 0].min(initial=1.0)))
        return found


def skipped(base: Ground, keep: Array, parent: Array, empty: Array) -> Skipped:
    """The tables; `empty` ``(T, S)`` is the probability that a tile is."""
    p = base.problem.arrays[0]
    T, L = int(p["tensors"]), int(p["levels"])
    output = int(p["output"])
    entries = [
        (int(p["saf_kind"][s]), int(p["saf_level"][s]), int(p["option_follower"][o]), int(p["option_leaders"][o]))
        for s in range(int(p["entries"]))
        for o in range(int(p["saf_first"][s]), int(p["saf_first"][s]) + int(p["saf_options"][s]))
    ]
    own, outer, last = np.zeros((L + 1, T), np.int64), np.zeros((L + 1, T), np.int64), np.full(T, -1, np.int64)
    followers: list[set[int]] = [set() for _ in range(T)]
    for row, t in itertools.product(range(L), range(T)):
        k = int(parent[row, t])
        for kind, level, follower, wanted in entries if k >= 0 else ():
            if follower != t:
                continue
            source = next((at for at in range(level, L) if keep[at, t]), -1)
            if source > k:
                outer[row, t] |= wanted
            elif source == k:
                own[row, t] |= wanted
                if kind == SKIPPING and t != output:
                    for leader in _members(wanted, T):
                        last[leader] = row if last[leader] < 0 else min(last[leader], row)
                        followers[leader].add(t)
    outer &= ~own
    told = np.array([len(f) == 1 for f in followers], np.uint8)
    own_set, busy_set = np.full((2, L + 1, T), -1, np.int64)
    sets: dict[tuple[int, int], int] = {}
    for row, t in np.argwhere(own > 0):
        decided = sum(1 << x for x in _members(own[row, t], T) if told[x] and last[x] == row and t in followers[x])
        own_set[row, t] = sets.setdefault((int(t), int(own[row, t])), len(sets))
        if decided:
            busy_set[row, t] = sets.setdefault((int(t), decided), len(sets))
    grown = np.stack([_growths(base, t) for t in range(T)])
    tables = [
        _least_left(base, t, np.prod([1.0 - empty[x] for x in _members(bits, T)], axis=0), grown[t]) for t, bits in sets
    ]
    left = np.stack(tables) if tables else np.ones((1, 1, grown.shape[1]))
    return Skipped(left, grown, own_set, busy_set, told, outer, last)


def only_skips(p: Any) -> bool:
    """Whether every computation that takes a cycle is made."""
    kinds = p["saf_kind"][: int(p["entries"])]
    return not bool((kinds == GATING).any()) and not bool(p["compute_gating"])


def _members(bits: int, T: int) -> list[int]:
    return [t for t in range(T) if int(bits) >> t & 1]


def _irrelevant(base: Ground, t: int) -> list[int]:
    """Variables that do not index a tensor and have more than one value."""
    relevant = base.problem.arrays[0]["is_relevant"][t]
    return [d for d, bound in enumerate(base.space.bounds) if bound > 1 and not relevant[d]]


def _growths(base: Ground, t: int) -> Array:
    """``(V',)`` numbers of boxes that a granule of tensor `t` may meet one after the other, ascending from 1, padded with inf."""
    found = np.array([1], np.int64)
    free = _irrelevant(base, t)
    combinations = int(np.prod([base.points.count[d] for d in free], initial=1))
    if combinations**2 <= _MOST_PAIRS and base.points.size * _MOST_GROWTHS <= _TABLE_NUMBERS:
        for d in free:
            divisors = base.points.divisors[d, : base.points.count[d]]
            found = np.unique(np.multiply.outer(found, divisors))
    if len(found) > _MOST_GROWTHS:
        wanted = np.exp(np.linspace(0, np.log(found[-1]), _MOST_GROWTHS))
        found = found[np.unique(np.searchsorted(found, wanted * (1 - 1e-9)))[:_MOST_GROWTHS]]
    return np.array([*found, *[np.inf] * (_MOST_GROWTHS - len(found))], np.float64)


def _least_left(base: Ground, t: int, left: Array, grown: Array) -> Array:
    """``(S, V')`` least of `left` ``(S,)`` over the boxes that hold a tile and ``grown[i]`` times as much along the loops that do not
    index tensor `t`."""
    points = base.points
    out = np.ones((points.size, len(grown)))
    if not np.isfinite(grown[1]):
        out[:, 0] = left
        return out
    free = _irrelevant(base, t)
    digits = np.array(list(itertools.product(*(range(points.count[d]) for d in free))), np.int64)  # (n, free)
    offsets = digits @ points.stride[free]
    extents = np.stack([points.divisors[d, digits[:, i]] for i, d in enumerate(free)], axis=1)
    numbers = np.arange(points.size)
    fixed = np.flatnonzero(((numbers[:, None] // points.stride[free]) % points.count[free] == 0).all(axis=1))
    tiles = fixed[:, None] + offsets  # (m, n)
    values = left[tiles]
    found = np.full((*tiles.shape, len(grown)), np.inf)
    for a, b in itertools.product(range(len(digits)), repeat=2):
        if (extents[b] % extents[a] == 0).all():
            i = int(np.searchsorted(grown, float((extents[b] // extents[a]).prod()), side="right")) - 1
            found[:, a, i] = np.minimum(found[:, a, i], values[:, b])
    found = np.minimum.accumulate(found[..., ::-1], axis=2)[..., ::-1]
    out[tiles] = np.where(np.isfinite(found), found, 1.0)
    return out


def _digits_of(base: Ground, extents: Array) -> Array:
    """Places of `extents` ``(n, D)`` among the divisors."""
    points = base.points
    return np.stack(
        [np.searchsorted(points.divisors[d, : points.count[d]], extents[:, d]) for d in range(extents.shape[1])], axis=1
    )
