"""The structure of a pattern as hardware sees it: how many non-zeros blocks hold at most, rank by rank."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from fiberloom.errors import SpecError
from fiberloom.representation.patterns import Pattern
from fiberloom.workload.density.hierarchical import is_hierarchical, most_nonzeros, parse_hierarchy

Ranks = tuple[tuple[int, int], ...]

_PAIR: Final = re.compile(r"(\d+)\s*:\s*(\d+)")
_UNSTRUCTURED: Final = re.compile(r"unstructured(?:\s*\(\s*([0-9.eE+-]+)\s*\))?")


@dataclass(frozen=True)
class Structure:
    """Where non-zeros may stand.

    Attributes:
        ranks: (G, H) per rank, outermost first: G of every H groups hold something; None: anywhere.
        density: share of non-zeros.
    """

    ranks: Ranks | None
    density: Fraction

    @property
    def is_dense(self) -> bool:
        """Whether nothing is left out."""
        return self.density == 1

    @property
    def span(self) -> int:
        """Elements of one complete pattern; 1 where there is none."""
        return math.prod(h for _, h in self.ranks or ((1, 1),))

    @property
    def kept(self) -> int:
        """Non-zeros of one complete pattern."""
        return math.prod(g for g, _ in self.ranks or ((1, 1),))

    @property
    def coordinate_bits(self) -> Fraction:
        """Bits of coordinates per stored value.

        Several ranks: the offset of every kept group within its H, shared by what the group keeps (HighLight). One rank: offsets,
        or a bitmask where that is shorter. No structure: a bitmask, one bit for every element, stored or not.
        """
        if self.is_dense:
            return Fraction(0)
        if self.ranks is None:
            return 1 / self.density
        if len(self.ranks) == 1:
            ((kept, of),) = self.ranks
            return min(Fraction(math.ceil(math.log2(of))), Fraction(of, kept))
        bits, below = Fraction(0), 1
        for kept, of in reversed(self.ranks):
            if kept < of:
                bits += Fraction(math.ceil(math.log2(of)), below)
            below *= kept
        return bits

    def density_field(self) -> Any:
        """The ``density:`` of a workload's tensor, for hardware whose steps take whole patterns: each holds its share exactly."""
        if self.is_dense:
            return None
        if self.ranks is None:
            return float(self.density)
        return f"{self.kept}:{self.span}"

    def within(self, other: Structure) -> bool:
        """Whether every tensor of this structure is one of `other`, wherever its non-zeros are."""
        if other.is_dense:
            return True
        if other.ranks is None:
            return self.density <= other.density or other.density == 0
        if self.ranks is None:
            return False
        return _held(self.ranks, other.ranks)

    def __str__(self) -> str:
        if self.is_dense:
            return "dense"
        if self.ranks is None:
            return f"unstructured({float(self.density):g})"
        if len(self.ranks) == 1:
            return f"{self.ranks[0][0]}:{self.ranks[0][1]}"
        last = len(self.ranks) - 1
        return "->".join(f"C{last - i}({g}:{h})" for i, (g, h) in enumerate(self.ranks))


DENSE: Final = Structure(((1, 1),), Fraction(1))


def structure_of(pattern: Any) -> Structure:
    """The structure of a pattern of `fiberloom.representation`, of its text, or of a share of non-zeros.

    Raises:
        SpecError: for what is neither.
    """
    if isinstance(pattern, Structure):
        return pattern
    if pattern is None:
        return DENSE
    if isinstance(pattern, Pattern) and (along := pattern.ranks_along_axis) is not None:
        return _structured(along) if along else DENSE
    if isinstance(pattern, (int, float, Fraction)) and not isinstance(pattern, bool):
        if not 0 < pattern <= 1:
            raise SpecError(
                f"density {pattern} is not in 0..1", hint="give the share of non-zeros, above 0 and up to 1"
            )
        return DENSE if pattern == 1 else Structure(None, Fraction(str(pattern)))
    text = str(pattern).strip()
    if text.lower() == "dense":
        return DENSE
    if match := _UNSTRUCTURED.fullmatch(text.lower()):
        return structure_of(float(match[1])) if match[1] else Structure(None, Fraction(0))
    if match := _PAIR.fullmatch(text):
        ranks: Ranks = ((int(match[1]), int(match[2])),)
        if not 1 <= ranks[0][0] <= ranks[0][1]:
            raise SpecError(f"pattern '{text}' keeps {ranks[0][0]} of {ranks[0][1]}", hint="in N:M, 1 ≤ N ≤ M")
        return _structured(ranks)
    if is_hierarchical(text):
        try:
            return _structured(parse_hierarchy(text))
        except SpecError:
            if not hasattr(pattern, "share"):
                raise
    share = getattr(pattern, "share", None)
    if share is None:
        raise SpecError(
            f"hardware can't tell how dense '{text}' is",
            hint="write 'dense', 'unstructured(0.3)', '2:4' or 'C1(4:8)->C0(2:4)'",
        )
    return structure_of(share)  # other patterns are to hardware what non-zeros anywhere are


def _structured(ranks: Ranks) -> Structure:
    return Structure(ranks, math.prod((Fraction(g, h) for g, h in ranks), start=Fraction(1)))


def _held(inner: Ranks, outer: Ranks) -> bool:
    """Whether blocks of pattern `inner` never hold more than pattern `outer` allows."""
    block = 1
    for kept, of in reversed(outer):
        if _most_groups(inner, block, of) > kept:
            return False
        block *= of
    return True


def _most_groups(ranks: Ranks, block: int, groups: int) -> int:
    """Most blocks of `block` elements that hold something, of `groups` neighbours (an upper bound where blocks cross patterns)."""
    if block == 1:
        return _most(ranks, groups)
    below = math.prod(h for _, h in ranks[1:])
    if len(ranks) > 1 and block % below == 0:  # whole groups of the outer ranks: look at those
        return min(groups, _most_groups(ranks[:-1], block // ranks[-1][1], groups))
    return min(groups, _most(ranks, block * groups))


def _most(ranks: Ranks, length: int) -> int:
    """Most non-zeros in `length` elements, windows starting at multiples of `length`."""
    span = math.prod(h for _, h in ranks)
    return max(most_nonzeros(ranks, begin, length) for begin in {i * length % span for i in range(span)})
