"""Exhaustive search: every mapping of the space in the order of its number."""

from __future__ import annotations

from typing import Final

import numpy as np

from fiberloom.mapper.search import GenerationalSearcher, SearchProblem
from fiberloom.mapping.packed import PackedMappings

BLOCK: Final = 4096


class Exhaustive(GenerationalSearcher):
    """All points, first to last; what it reports after the last one is the optimum of the space.

    Hyper-parameters:
        skip_equivalent: leave out points whose loop nest another point has too (permutations of loops of bound 1).
    """

    name = "exhaustive"
    exhaustive = True
    summary = "every mapping of the space"

    def __init__(self, target: SearchProblem, rng: np.random.Generator, *, skip_equivalent: bool = True) -> None:
        super().__init__(target, rng)
        self.skip_equivalent = skip_equivalent
        self._next = 0
        self._size = self.space.size()

    def propose(self) -> PackedMappings | None:
        """The next block that is not empty."""
        while self._next < self._size:
            numbers = range(self._next, min(self._size, self._next + BLOCK))
            self._next = numbers.stop
            points = self.space.decode(numbers)
            if not self.skip_equivalent:
                return points
            form = self.space.canonical(points)
            own = (form.temporal_order == points.temporal_order).all(axis=(1, 2)) & (form.on_x == points.on_x).all(
                axis=1
            )
            if own.any():
                return points.take(own)
        return None
