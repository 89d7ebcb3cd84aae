"""Uniform random search: the baseline that every paper draws."""

from __future__ import annotations

import numpy as np

from fiberloom.mapper.search import GenerationalSearcher, SearchProblem
from fiberloom.mapping.packed import PackedMappings


class RandomSearch(GenerationalSearcher):
    """Independent points, each mapping of the space as likely as any other.

    Hyper-parameters:
        block: mappings drawn at a time; speed and memory depend on it, the distribution does not (ours).
    """

    name = "random"
    summary = "uniform over the points of the map space"

    def __init__(self, target: SearchProblem, rng: np.random.Generator, *, block: int = 2048) -> None:
        super().__init__(target, rng)
        self.block = block
        self.bounded("block", 1)

    def propose(self) -> PackedMappings:
        """A block of independent samples."""
        return self.space.sample(self.rng, self.block)
