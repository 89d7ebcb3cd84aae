"""What the two pruned searches of the reference tool share: a visit to a factorisation, whose failure prunes what is inside.

source: model-spec of the reference tool (Timeloop, ISPASS'19, §V): a map space is a product of factorisations, spatial
splits, bypass and loop permutations; a search picks a factorisation, then exhausts splits and bypass, and up to a
number of pruned permutations.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.mapper.search import GenerationalSearcher, Outcome, SearchProblem, same_mappings
from fiberloom.mapping.packed import PackedMappings

Array = NDArray[Any]

PROBES: Final = 1024
"""Mappings that probe splits and bypass at a time, over as many visits as they take."""


class PrunedSearch(GenerationalSearcher):
    """Visits factorisations; what does not fit is left with everything inside it.

    Whether a mapping fits does not depend on its loop orders. So each split and bypass of a factorisation is first judged
    with one permutation (a probe), and only where that fits with the others. Visits are made in blocks: the probes
    of a block come before its permutations, and the stopping rules are looked at after either.
    """

    def __init__(
        self,
        target: SearchProblem,
        rng: np.random.Generator,
        max_permutations: int,
        victory_condition: int,
        timeout: int,
    ) -> None:
        super().__init__(target, rng)
        self.max_permutations = max_permutations
        self.victory_condition = victory_condition
        self.timeout = timeout
        self.bounded("max_permutations", 1, 4096)
        self.bounded("victory_condition", 0)
        self.bounded("timeout", 0)
        self._splits = np.argwhere(self.space.open_axis)
        self._free = np.argwhere(self.space.free_keep)
        self._visited: PackedMappings | None = None  # factorisations under way, each with the order of its probes
        self._permutations: dict[int, Array] = {}  # by visit: its other loop orders (p, L, D), where a probe fitted
        self._at = (0, 0)  # visit, and the split and bypass within it
        self._probing: tuple[PackedMappings, Array] | None = None  # probes that are being judged, and their visits
        self._fitting: PackedMappings | None = None
        self._best = math.inf
        self._without_improvement = 0
        self._invalid = 0

    @abstractmethod
    def factorisations(self, n: int) -> PackedMappings | None:
        """The next visits: mappings whose factors count, or None after the last."""

    @abstractmethod
    def order_ranks(self, counts: list[int], n: int, most: int) -> Array:
        """``(n, p, L)`` numbers of order classes to try per visit, at least one; of each level's `counts`."""

    def propose(self) -> PackedMappings | None:
        """Permutations of what fitted; else probes of the next splits and bypasses."""
        if self._stops():
            return None
        if self._fitting is not None:
            proposed, self._fitting = self._fitting, None
            return proposed
        if self._visited is None or self._at[0] >= len(self._visited):
            self._visited = self.factorisations(PROBES)
            if self._visited is None:
                return None
            self._permutations = {}
            self._at = (0, 0)
        probes, visits = self._probes(self._visited)
        self._probing = (probes, visits)
        return probes

    def learn(self, packed: PackedMappings, outcome: Outcome) -> None:
        """Count what improves and what does not fit; keep the probes that fit for their other permutations."""
        self._count(outcome)
        if self._probing is None:
            return
        (probes, visits), self._probing = self._probing, None
        if not same_mappings(probes, packed):
            return
        fits = np.flatnonzero(outcome.valid)
        self._permute([int(v) for v in np.unique(visits[fits]) if int(v) not in self._permutations])
        others = np.array([len(self._permutations[v]) for v in visits[fits]], np.int64)
        if not others.sum():
            return
        inside = probes.take(np.repeat(fits, others))
        inside.temporal_order[:] = np.concatenate([self._permutations[v] for v in visits[fits]])
        self._fitting = inside

    def _stops(self) -> bool:
        if self.victory_condition and self._without_improvement >= self.victory_condition:
            self.finished = f"victory condition: {self._without_improvement} valid mappings without improvement"
            return True
        if self.timeout and self._invalid >= self.timeout:
            self.finished = f"timeout: {self._invalid} invalid mappings in a row"
            return True
        return False

    def _count(self, outcome: Outcome) -> None:
        """Longest runs without improvement and without a valid mapping that a block reaches or leaves under way."""
        valid = outcome.valid
        self._invalid, longest_invalid = _runs(self._invalid, valid)
        values = outcome.objective[valid]
        if len(values):
            before = np.minimum.accumulate(np.concatenate([[self._best], values]))
            self._without_improvement, longest = _runs(self._without_improvement, values < before[:-1])
            self._best = float(before[-1])
            if self.victory_condition and longest >= self.victory_condition:
                self._without_improvement = longest
        if self.timeout and longest_invalid >= self.timeout:
            self._invalid = longest_invalid

    def _permute(self, visits: list[int]) -> None:
        """Choose the other loop orders of visits: those that differ only in loops of bound 1 or reuse alike count once."""
        if not visits or self._visited is None:
            return
        space = self.space
        counts = [classes.count for classes in space.level_orders]
        ranks = self.order_ranks(counts, len(visits), 4 * self.max_permutations)
        n, p, _ = ranks.shape
        own = self._visited.take(visits)
        tried = own.take(np.repeat(np.arange(n), p))
        for level, classes in enumerate(space.level_orders):
            tried.temporal_order[:, level] = classes.unrank(ranks[:, :, level].reshape(-1))
        shape = tried.temporal_order.shape[1:]
        orders = space.canonical(tried).temporal_order.reshape(n, p, -1)
        probed = space.canonical(own).temporal_order.reshape(n, 1, -1)
        for visit, listed in zip(visits, np.concatenate([probed, orders], axis=1), strict=True):
            first = np.sort(np.unique(listed, axis=0, return_index=True)[1])
            self._permutations[visit] = listed[first[1 : self.max_permutations]].reshape(-1, *shape)

    def _probes(self, visited: PackedMappings) -> tuple[PackedMappings, Array]:
        """The next splits and bypasses, `PROBES` of them over as many visits as that takes, and their visits."""
        visit, offset = self._at
        rows: list[Array] = []
        bits: list[tuple[Array, Array]] = []
        room = PROBES
        while room and visit < len(visited):
            live = np.flatnonzero(visited.spatial[visit][tuple(self._splits.T)] > 1)
            total = 1 << (len(live) + len(self._free))
            here = np.arange(offset, min(total, offset + room))
            split = np.ones((len(here), len(self._splits)), np.bool_)
            split[:, live] = (here[:, None] >> np.arange(len(live)) & 1) == 0
            keep = (here[:, None] >> (len(live) + np.arange(len(self._free))) & 1) == 0
            rows.append(np.full(len(here), visit))
            bits.append((split, keep))
            room -= len(here)
            offset += len(here)
            if offset == total:
                visit, offset = visit + 1, 0
        self._at = (visit, offset)
        visits = np.concatenate(rows)
        probes = visited.take(visits)
        for (level, d), along_x in zip(self._splits, np.concatenate([s for s, _ in bits]).T, strict=True):
            bit = 1 << int(d)
            probes.on_x[:, level] = np.where(along_x, probes.on_x[:, level] | bit, probes.on_x[:, level] & ~bit)
        for (level, t), kept in zip(self._free, np.concatenate([k for _, k in bits]).T, strict=True):
            probes.keep[:, level, t] = kept
        return probes, visits


def _runs(carried: int, ends: Array) -> tuple[int, int]:
    """The run of False entries that is under way after `ends`, and the longest one; `carried` were under way before."""
    at = np.flatnonzero(ends)
    if not len(at):
        return carried + len(ends), carried + len(ends)
    lengths = np.diff(np.concatenate([[-1 - carried], at, [len(ends)]])) - 1
    return int(lengths[-1]), int(lengths.max())
