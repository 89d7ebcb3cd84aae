"""Random-pruned search: the usual mapper of Timeloop and Sparseloop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.mapper.search import SearchProblem
from fiberloom.mapper.searchers.pruned import PrunedSearch
from fiberloom.mapping.packed import PackedMappings


class RandomPruned(PrunedSearch):
    """Random factorisations; inside each, all splits and bypasses and some random permutations.

    Hyper-parameters (defaults of the reference tool's mapper; for a comparison at a fixed budget set both stopping rules to 0):
        max_permutations: distinct loop orders tried per factorisation, split and bypass (16).
        victory_condition: stop after so many valid mappings without improvement (500); 0 never.
        timeout: stop after so many invalid mappings in a row (1000); 0 never.
    """

    name = "random-pruned"
    summary = "random factorisations, then splits, bypass and pruned permutations (Timeloop)"

    def __init__(
        self,
        target: SearchProblem,
        rng: np.random.Generator,
        *,
        max_permutations: int = 16,
        victory_condition: int = 500,
        timeout: int = 1000,
    ) -> None:
        super().__init__(target, rng, max_permutations, victory_condition, timeout)

    def factorisations(self, n: int) -> PackedMappings:
        """Independent ordered factorisations, uniform for every variable."""
        drawn = self.space.sample(self.rng, n)
        drawn.keep[:] |= self.space.free_keep
        return drawn

    def order_ranks(self, counts: list[int], n: int, most: int) -> NDArray[Any]:
        """All combinations where they are few, in a random order per visit; else random ones."""
        total = math.prod(counts)
        if total <= most:
            chosen = self.rng.permuted(np.tile(np.arange(total), (n, 1)), axis=1)
            ranks = np.empty((n, total, len(counts)), np.int64)
            for level, count in enumerate(counts):
                chosen, ranks[:, :, level] = np.divmod(chosen, count)
            return ranks
        return self.rng.integers(0, np.array(counts), (n, most, len(counts)))
