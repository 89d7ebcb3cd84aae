"""Hierarchical structured sparsity: a rule per rank of a fibertree."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.representation.array import checked_axis
from fiberloom.representation.patterns._base import Pattern, Tail, no_density_model, tail_text
from fiberloom.representation.patterns._fibertree import Anywhere, Blocks, Rank, Tree, read_ranks
from fiberloom.representation.patterns._hss_storage import metadata_of_ranks, stored_values
from fiberloom.representation.patterns._largest import largest, largest_of_blocks, largest_of_rows, squarable
from fiberloom.representation.patterns.unstructured import count_of

_TEXT: Final = re.compile(r"[A-Z]+\d*\s*\(.*\)|[A-Z]+\d*\s*(\(.*\))?\s*(->|→).*", re.DOTALL)
_AXIS: Final = "C"
_ROWS: Final = "M"


@dataclass(frozen=True)
class HSS(Pattern):
    """A rule at each rank of a fibertree: ``C1(4:8)->C0(2:4)``, ``RS->C2->C1(3:4)->C0(2:4)``, ``C(unstructured 0.5)->R->S``.

    G:H leaves at most G of every H coordinates non-empty, ``unstructured`` any (Wu et al., HighLight, MICRO'23). Ranks that are
    not named stand above all others. The projection begins at the lowest rank: values by magnitude, then, rank by rank,
    coordinates by the scaled L2 norm (root mean square) of what is left below them; blocks of a rank are equally long, so the
    scale changes no choice. With rules G:H that is optimal: subtrees share nothing, so the best of a coordinate does not depend
    on its neighbours. A share of all coordinates of the tensor couples subtrees: optimal as the highest rule, greedy below another.

    Attributes:
        ranks: highest first.
        tail: for blocks that don't divide a rank.
    """

    ranks: tuple[Rank, ...]
    tail: Tail = Tail.PAD

    examples: ClassVar[tuple[str, ...]] = (
        "C1(4:8)->C0(2:4)",
        "RS->C2->C1(3:4)->C0(2:4)",
        "C->RS(2:4)",
        "C(unstructured 0.5)->R->S",
    )

    @classmethod
    def from_text(cls, text: str) -> HSS | None:
        return cls(read_ranks(text)) if _TEXT.fullmatch(text) else None

    def keep(self, values: NDArray[Any], axis: int = -1) -> NDArray[np.bool_]:
        tree = Tree(self.ranks, values.shape, axis, self.tail)
        if 0 in tree.view:  # not one whole block
            return np.ones(values.shape, dtype=np.bool_)
        left = squarable(tree.arranged(values))
        kept = np.ones(tree.view, dtype=np.bool_)
        for rank, end in reversed(list(zip(self.ranks, tree.ends, strict=True))):
            if rank.rule is None:
                continue
            below = left.reshape(math.prod(tree.view[:end]), -1)
            scores = _scores(rank.rule, below)
            chosen = _chosen(rank.rule, scores.reshape(-1, tree.view[end - 1]), lambda end=end: tree.real(end))
            chosen = chosen.reshape(tree.view[:end] + (1,) * (len(tree.view) - end))
            kept &= chosen
            left *= chosen
        return tree.restored(kept)

    @property
    def optimal(self) -> bool:
        return not any(_over_tensor(rule) for rule in self._rules[1:])

    @property
    def rowwise(self) -> bool:
        first = next((i for i, rank in enumerate(self.ranks) if _binds(rank.rule)), len(self.ranks))
        return {rank.letters for rank in self.ranks[first:]} <= {_AXIS} and not any(map(_over_tensor, self._rules))

    @property
    def rigid(self) -> bool:
        binding = [rank for rank in self.ranks if _binds(rank.rule)]
        return all(rank.letters == _AXIS and isinstance(rank.rule, Blocks) for rank in binding)

    @property
    def share(self) -> Fraction | None:
        shares = [Fraction(rule.kept, rule.of) if isinstance(rule, Blocks) else rule.share for rule in self._rules]
        known = [share for share in shares if share is not None]
        return math.prod(known, start=Fraction(1)) if len(known) == len(shares) else None

    @property
    def span(self) -> int:
        return math.prod(rank.rule.of for rank in self.ranks if rank.letters == _AXIS and isinstance(rank.rule, Blocks))

    @property
    def ranks_along_axis(self) -> tuple[tuple[int, int], ...] | None:
        if not self.rigid:
            return None
        along = [rank.rule for rank in self.ranks if rank.letters == _AXIS]
        return tuple((rule.kept, rule.of) for rule in along if isinstance(rule, Blocks))

    def stored(self, shape: Sequence[int], axis: int = -1) -> int | None:
        return None if self.share is None else stored_values(self.ranks, Tree(self.ranks, shape, axis, self.tail))

    def metadata_bits(self, shape: Sequence[int] | None = None, axis: int = -1) -> dict[str, Fraction]:
        """Formats are joined rank by rank, highest first: ``CP-CP``. Every stored fibre of a rank has metadata of its own.

        A rank of which any coordinates stay takes ``B``, or ``CP`` behind their number.
        """
        if self.share is None:
            raise SpecError(
                f"the metadata of '{self}' depends on the tensor", hint="give each rank a share: unstructured 0.5"
            )
        if shape is not None:
            return metadata_of_ranks(self.ranks, Tree(self.ranks, shape, axis, self.tail))
        first = next((i for i, rank in enumerate(self.ranks) if _binds(rank.rule)), len(self.ranks))
        if not self.rigid or not {rank.letters for rank in self.ranks[first:]} <= {_ROWS, _AXIS}:
            raise SpecError(f"the metadata of '{self}' depends on the tensor's shape", hint="give the shape")
        ruled = tuple(rank for rank in self.ranks if isinstance(rank.rule, Blocks) and rank.letters in (_ROWS, _AXIS))
        rows = math.prod(rank.rule.of for rank in ruled if rank.letters == _ROWS and isinstance(rank.rule, Blocks))
        found = metadata_of_ranks(ruled, Tree(ruled, (rows, self.span), 1, self.tail))
        return {name: bits for name, bits in found.items() if name != "UOP-CP"}

    def density_specification(self, shape: Sequence[int], axis: int = -1) -> dict[str, Any]:
        along = self.ranks_along_axis
        if along and self.rowwise:
            pattern = "->".join(f"C{len(along) - 1 - i}({kept}:{of})" for i, (kept, of) in enumerate(along))
            return {"distribution": "hierarchical", "pattern": pattern, "axis": checked_axis(shape, axis)}
        if along == ():
            return {"distribution": "dense"}
        if len(self._rules) == 1 and _over_tensor(self.ranks[-1].rule):
            return {"distribution": "uniform", "density": self.density}
        raise no_density_model(self)

    def with_tail(self, tail: Tail) -> HSS:
        return replace(self, tail=tail)

    def with_share(self, share: Fraction) -> HSS:
        unknown = [rule for rule in self._rules if isinstance(rule, Anywhere) and rule.share is None]
        if len(unknown) != 1:
            return self
        known = [
            Fraction(r.kept, r.of) if isinstance(r, Blocks) else r.share for r in self._rules if r is not unknown[0]
        ]
        rest = min(Fraction(1), share / math.prod((part for part in known if part is not None), start=Fraction(1)))
        ranks = (
            replace(rank, rule=replace(rank.rule, share=rest)) if rank.rule is unknown[0] else rank
            for rank in self.ranks
        )
        return replace(self, ranks=tuple(ranks))

    @property
    def _rules(self) -> list[Blocks | Anywhere]:
        return [rank.rule for rank in self.ranks if rank.rule is not None]

    def __str__(self) -> str:
        return "->".join(str(rank) for rank in self.ranks) + tail_text(self.tail)


def _over_tensor(rule: Blocks | Anywhere | None) -> bool:
    """Whether the rule takes a share of all the tensor's coordinates together."""
    return isinstance(rule, Anywhere) and rule.share is not None and not rule.per_fibre


def _binds(rule: Blocks | Anywhere | None) -> bool:
    """Whether the rule leaves anything out."""
    return isinstance(rule, Anywhere) or (rule is not None and rule.kept < rule.of)


def _scores(rule: Blocks | Anywhere, below: NDArray[Any]) -> NDArray[Any]:
    """What coordinates are chosen by: the energy of what is ``below`` them, ``(coordinates, values)``, or whether there is any."""
    if below.shape[1] == 1:
        return below
    if isinstance(rule, Anywhere) and rule.share is None:
        return np.asarray((below != 0).any(axis=1))
    return np.asarray(np.einsum("ij,ij->i", below, below, dtype=np.float64))


def _chosen(rule: Blocks | Anywhere, fibres: NDArray[Any], real: Any) -> NDArray[np.bool_]:
    """Which coordinates of a rank stay.

    Args:
        fibres: scores, ``(fibres, coordinates)``.
        real: gives the number of coordinates that are not padding.
    """
    if isinstance(rule, Blocks):
        return largest_of_blocks(fibres, rule.kept, rule.of)
    if rule.share is None:
        return np.asarray(fibres != 0)
    if rule.per_fibre:
        return largest_of_rows(fibres, count_of(rule.share, fibres.shape[1]))
    return largest(fibres, count_of(rule.share, real()))
