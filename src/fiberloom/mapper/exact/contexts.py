"""What the bound of an inner level may know of the fan-outs outside: how many of their lanes share words of each tensor.

Traffic that is charged further in than a fan-out which shares it costs the less the more lanes share. A *context* is what there
is to know of those lanes, four numbers per tensor; every level has bounds for each of its contexts, and a spread leads from a
context of its level to one of the next. With one context per level, every tensor is shared as much as any spread shares it;
the more contexts, the tighter.

Lanes along variables that do not index a tensor share it. Lanes along windows share a tile only where positions coincide: for
one position and one lane inside, all loops outside but one per rank can be chosen freely.

Gating and skipping, on the other hand, find the less the more lanes share a granule: the fourth number is the least of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fiberloom.mapper.exact.ground import Ground
    from fiberloom.mapper.exact.tables import Terrain

Array = NDArray[Any]


@dataclass(frozen=True)
class Contexts:
    """Contexts of every level, the innermost first.

    Attributes:
        upper: per level ``(C, 4 T)``, of the fan-outs further out whose traffic is charged further in, at most: lanes that do
            not index the tensor; lanes along its windows; and of these, those that coincide for one lane inside. Last, of
            those between a keeper and what it filters, at least: lanes that do not index the tensor.
        turn: per level ``(C, n)`` context of the next level in that a spread leads to; −1 where the spread needs no bound.
    """

    upper: tuple[Array, ...]
    turn: tuple[Array, ...]


def contexts(base: Ground, land: Terrain, most: list[int], wanted: list[Array]) -> Contexts:
    """Contexts of every level, at most `most` of each; spreads that are not `wanted` (``(n,)`` by level) lead nowhere."""
    L, T = len(base.spreads), len(base.size)
    pending, filtered = np.zeros(
        (2, L + 1, T), bool
    )  # whether a fan-out shares words that are charged, filtered further in
    for at in range(L):
        for t in range(T):
            if land.sends[at, t] >= 0:
                pending[at + 1 : land.parent[land.sends[at, t], t] + 1, t] = True
            if land.own_set[at, t] >= 0:
                filtered[at + 1 : land.parent[at, t] + 1, t] = True
    upper: list[Array] = [np.ones((1, 4 * T))]
    pending = np.concatenate([np.tile(pending, 3), filtered], axis=1)
    turn: list[Array] = []
    for level in range(L - 1, -1, -1):
        outside = np.where(pending[level + 1], upper[0], 1.0)  # (C, T)
        vectors = np.where(
            pending[level], _joined(outside[:, None, :], base.merging(level).T[None]), 1.0
        )  # (C, n, 4 T)
        alive = np.broadcast_to(wanted[level], vectors.shape[:2])
        found, place = _classes(vectors[alive], most[level - 1] if level else 1)
        to = np.full(alive.shape, -1, np.int64)
        to[alive] = place
        turn.insert(0, to)
        if level:
            upper.insert(0, found)
    return Contexts(tuple(upper), tuple(turn))


def _joined(outside: Array, here: Array) -> Array:
    """What two fan-outs share together, ``(C, n, 4 T)``."""
    T = here.shape[2] // 4
    along, coincide = slice(T, 2 * T), slice(2 * T, 3 * T)
    joined = outside * here
    joined[..., coincide] = np.minimum(
        outside[..., coincide] * here[..., along], here[..., coincide] * outside[..., along]
    )
    return joined


def _classes(vectors: Array, most: int) -> tuple[Array, Array]:
    """At most `most` vectors such that each of ``(N, 4 T)`` has one that is nowhere below it, nor above its last `T`; and which.

    The class that differs most, in the logarithm of one tensor's lanes, is halved until there are enough.
    """
    distinct, place = np.unique(vectors, axis=0, return_inverse=True)
    logs = np.log(distinct)
    classes = [np.arange(len(distinct))]
    spans = [np.ptp(logs, axis=0)] if len(distinct) else []
    while len(classes) < most:
        widest = max(range(len(spans)), key=lambda i: float(spans[i].max()), default=None)
        if widest is None or spans[widest].max() < 1e-9:
            break
        members = classes.pop(widest)
        along = logs[members, int(spans.pop(widest).argmax())]
        low = along < (along.min() + along.max()) / 2
        for half in (members[low], members[~low]):
            classes.append(half)
            spans.append(np.ptp(logs[half], axis=0))
    of = np.zeros(len(distinct), np.int64)
    largest = np.ones((len(classes), vectors.shape[1]))
    least = slice(vectors.shape[1] * 3 // 4, None)
    for i, members in enumerate(classes):
        of[members] = i
        if len(members):
            largest[i] = distinct[members].max(axis=0)
            largest[i, least] = distinct[members][:, least].min(axis=0)
    return largest, of[place.reshape(-1)]
