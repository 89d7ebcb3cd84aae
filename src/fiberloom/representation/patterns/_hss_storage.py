"""What a hierarchical pattern stores, rank by rank."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from fiberloom.representation.patterns._fibertree import Anywhere, Blocks, Rank, Tree
from fiberloom.representation.patterns._metadata import (
    bits_for,
    bits_of_block,
    bits_of_ranks,
    bits_of_rows,
    per_element,
)
from fiberloom.representation.patterns.unstructured import count_of


@dataclass(frozen=True)
class StoredRank:
    """A rank with a rule, as it is stored.

    Attributes:
        rule: of the rank.
        fibres: that are stored, each with metadata of its own.
        coordinates: of a fibre.
        stored: coordinates that are stored, of all fibres together.
    """

    rule: Blocks | Anywhere
    fibres: int
    coordinates: int
    stored: int

    def bits(self) -> dict[str, int]:
        """Metadata bits of all its fibres, by format."""
        if isinstance(self.rule, Blocks):
            return {name: bits * self.fibres for name, bits in bits_of_block(self.rule.kept, self.rule.of).items()}
        if self.rule.share == 1:
            return {"U": 0}
        number = bits_for(self.coordinates + 1) * self.fibres
        return {"B": self.coordinates * self.fibres, "CP": number + self.stored * bits_for(self.coordinates)}


def stored_ranks(ranks: Sequence[Rank], tree: Tree) -> Iterator[StoredRank]:
    """The ranks that have a rule, highest first."""
    fibres, reached = 1, 0
    for rank, end in zip(ranks, tree.ends, strict=True):
        if rank.rule is None:
            continue
        fibres *= math.prod(tree.view[reached : end - 1])
        coordinates, reached = tree.view[end - 1], end
        if isinstance(rank.rule, Blocks):
            stored = fibres * rank.rule.kept
        elif rank.rule.per_fibre:
            stored = fibres * count_of(rank.rule.share or Fraction(1), coordinates)
        else:
            stored = count_of(rank.rule.share or Fraction(1), fibres * coordinates)
        yield StoredRank(rank.rule, fibres, coordinates, stored)
        fibres = stored


def stored_values(ranks: Sequence[Rank], tree: Tree) -> int:
    """Values of a tensor that are stored, zeros of padded blocks and tails that are kept included."""
    last = next(i for i in reversed(range(len(ranks))) if ranks[i].rule is not None)
    *_, lowest = stored_ranks(ranks, tree)
    return lowest.stored * math.prod(tree.view[tree.ends[last] :]) + tree.outside


def metadata_of_ranks(ranks: Sequence[Rank], tree: Tree) -> dict[str, Fraction]:
    """Metadata bits per element of the tensor, for every choice of a format per rank, for ``enumerated`` ranks, and CSR."""
    size = math.prod(tree.shape)
    found = per_element(bits_of_ranks([rank.bits() for rank in stored_ranks(ranks, tree)]), 1, size)
    if "U" not in found:
        rows = size // tree.length
        found["UOP-CP"] = Fraction(bits_of_rows(stored_values(ranks, tree), rows, tree.length), size)
    return found
