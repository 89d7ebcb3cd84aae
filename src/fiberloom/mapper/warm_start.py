"""Warm start: a search begins at mappings that were good for similar layers.

The mapper study of Kao, Kwon et al. (IISWC'22, arXiv 2210.03731) finds that layers of a network have good mappings in common: a
search of the next layer inherits loop orders, parallelism and keeps of the mapping found for the most similar earlier layer, with
tile sizes scaled to its own bounds. The paper's code is not public; how variables are matched (`fiberloom.mapper.similarity`),
factors rescaled (`fiberloom.mapper.transfer`) and seeds injected (here) is our reading of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fiberloom.mapper.search import Outcome, Searcher
from fiberloom.mapper.similarity import correspondence, similarity
from fiberloom.mapper.transfer import RESCALINGS, transfer
from fiberloom.mapping.packed import PackedMappings
from fiberloom.mapping.space import MapSpace
from fiberloom.workload.einsum import Einsum


@dataclass(frozen=True)
class Solved:
    """Mappings found for an earlier layer.

    Attributes:
        space: their map space.
        packed: the mappings, best first.
    """

    space: MapSpace
    packed: PackedMappings


ADOPTING: Final = frozenset({"random", "genetic", "annealing"})
"""Searchers, with all that derive from them, whose population or chains take whatever mappings they are told of."""

MUTANTS: Final = 98
"""With one mapping in two rescalings they fill a population of 100. Own choice, made on ten layers each of ResNet-50 and of
MobileNetV2, where two seeds among random mappings saved fewer generations."""

Distance = Callable[[Einsum, Einsum], Any]
"""From an earlier layer to the new one; anything that can be compared, lower is more alike."""


class WarmStart(Searcher):
    """Any searcher, whose first proposals give way to mappings of earlier layers.

    Where the searcher learns from whatever it is told (`ADOPTING`), seeds replace the first mappings that it asks to judge: a
    population begins with them, an annealing chain starts at them, and the budget is the same as without. A searcher with a
    method ``seed(packed)`` is handed them before its first `ask`, and does with them what suits it. For any other, such as an
    enumeration, seeds are judged first and it is not told.

    Hyper-parameters are those of the inner searcher.
    """

    name = "warm-start"
    summary = "begins at mappings of similar layers"

    def __init__(
        self,
        inner: Searcher,
        earlier: Sequence[Solved],
        *,
        distance: Distance = similarity,
        neighbours: int = 1,
        rescalings: Sequence[str] = RESCALINGS,
        mutants: int = MUTANTS,
    ) -> None:
        """
        Args:
            inner: the searcher; it has not asked for anything yet.
            earlier: what was found for earlier layers; with the previous layer alone, the search starts from the previous.
            distance: from earlier layers to this one; the later of equals is taken.
            neighbours: how many earlier layers give their mappings.
            rescalings: ways to rescale factors (`transfer`); every mapping is transferred in each.
            mutants: as many seeds more: transferred mappings after one mutation.
        """
        super().__init__(inner.target, inner.rng)
        self.inner = inner
        self.name = f"{inner.name}, warm"
        self.sources = nearest_layers(self.space.workload, earlier, distance)[:neighbours]
        self.seeds = self._transferred(rescalings, mutants)
        self._left = self.seeds
        self._adopts = any(getattr(base, "name", None) in ADOPTING for base in type(inner).__mro__)
        self._own = False

    def _transferred(self, rescalings: Sequence[str], mutants: int) -> PackedMappings | None:
        """Mappings of the sources in every rescaling, nearest first, then mutants, without repeats; None if there are none."""
        if not self.sources:
            return None
        moved = [transfer(s.space, s.packed, self.space, rescale) for s in self.sources for rescale in rescalings]
        seeds = PackedMappings.concatenate(moved)
        if mutants:
            parents = seeds.take(np.arange(mutants) % len(seeds))
            changed = self.space.repair(self.space.mutate(parents, self.rng.spawn(1)[0]))
            seeds = PackedMappings.concatenate([seeds, changed])
        return seeds.take(self.space.distinct(seeds))

    @property
    def hyper_parameters(self) -> dict[str, Any]:
        """Hyper-parameters of the inner searcher, and the layers whose mappings are transferred."""
        return {**self.inner.hyper_parameters, "warm_start": [s.space.workload.name for s in self.sources]}

    def prepare(self) -> None:
        """As the inner searcher."""
        self.inner.prepare()

    def ask(self, n: int) -> PackedMappings | None:
        """Seeds first, in place of the inner searcher's first proposals where it learns from them."""
        seed = getattr(self.inner, "seed", None)
        if self._left is not None and callable(seed):
            seed(self._left)
            self._left = None
        self._own = self._left is not None and not self._adopts
        if self._left is None:
            asked = self.inner.ask(n)
            self.finished = self.inner.finished
            return asked
        if self._own:
            return self._next(n)
        asked = self.inner.ask(n)
        self.finished = self.inner.finished
        if asked is None:
            return None
        seeds = self._next(len(asked))
        return PackedMappings.concatenate([seeds, asked.take(slice(len(seeds), None))])

    def _next(self, n: int) -> PackedMappings:
        """At most `n` of the seeds that are left."""
        assert self._left is not None
        chosen = self._left.take(slice(0, n))
        self._left = self._left.take(slice(n, None)) if n < len(self._left) else None
        return chosen

    def tell(self, packed: PackedMappings, outcome: Outcome) -> None:
        """As the inner searcher, except for seeds that are not its own."""
        if not self._own:
            self.inner.tell(packed, outcome)


def nearest_layers(workload: Einsum, earlier: Sequence[Solved], distance: Distance = similarity) -> list[Solved]:
    """Earlier layers, the most similar first and the later of equals before; those that can't correspond are left out."""
    usable = [s for s in earlier if correspondence(s.space.workload, workload).tensors]
    usable.reverse()
    return sorted(usable, key=lambda s: distance(s.space.workload, workload))
