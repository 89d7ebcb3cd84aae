"""Linear-pruned search: factorisations one after the other, for small map spaces."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.mapper.search import SearchProblem
from fiberloom.mapper.searchers.pruned import PrunedSearch
from fiberloom.mapping.packed import PackedMappings


class LinearPruned(PrunedSearch):
    """Factorisations in the order of their numbers; inside each, all splits and bypasses and the first permutations.

    With `max_permutations` of at least the number of order classes it visits every distinct mapping that may fit.

    Hyper-parameters (stopping rules as in the reference tool's mapper, 0 switches one off):
        max_permutations: distinct loop orders tried per factorisation, split and bypass (16, as random-pruned).
        victory_condition: stop after so many valid mappings without improvement (500); 0 never.
        timeout: stop after so many invalid mappings in a row (1000); 0 never.
    """

    name = "linear-pruned"
    summary = "factorisations in order, then splits, bypass and pruned permutations (Timeloop)"

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
        self._next = 0

    def factorisations(self, n: int) -> PackedMappings | None:
        """The next numbers; the factorisation of the first variable changes fastest."""
        tables = self.space.factorizations
        total = math.prod(table.count for table in tables)
        numbers = range(self._next, min(total, self._next + n))
        if not numbers:
            return None
        self._next = numbers.stop
        start = self.space.decode([0] * len(numbers))
        start.keep[:] |= self.space.free_keep
        left: NDArray[Any] = np.array(numbers, np.int64 if total < 2**63 else object)
        for d, table in enumerate(tables):
            self.space.set_factors(start, d, table.unrank(left % table.count))
            left = left // table.count
        return start

    def order_ranks(self, counts: list[int], n: int, most: int) -> NDArray[Any]:
        """The first combinations; the order of the innermost level changes fastest."""
        left = np.arange(min(math.prod(counts), most))
        ranks = np.empty((len(left), len(counts)), np.int64)
        for level, count in enumerate(counts):
            left, ranks[:, level] = np.divmod(left, count)
        return np.tile(ranks, (n, 1, 1))
