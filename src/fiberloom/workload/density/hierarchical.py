"""Hierarchical structured sparsity: at each rank, G of every H groups are kept."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.workload.density._base import DensityModel, Occupancy
from fiberloom.workload.density._hypergeometric import NEGLIGIBLE
from fiberloom.workload.density._spec import Parameters

Floats = NDArray[np.float64]
Ranks = tuple[tuple[int, int], ...]

_ARROW: Final = re.compile(r"\s*(?:->|→)\s*")
_RANK: Final = re.compile(r"[A-Za-z]\w*\s*\(\s*(\d+)\s*:\s*(\d+)\s*\)")


def is_hierarchical(text: str) -> bool:
    """Whether a density is written rank by rank, as ``C1(4:8)->C0(2:4)``."""
    return "(" in text


def parse_hierarchy(text: str) -> Ranks:
    """(G, H) per rank, outermost first, of ``C1(4:8)->C0(2:4)`` (also ``→``).

    Raises:
        SpecError: if `text` is no such pattern.
    """
    ranks = []
    for part in _ARROW.split(text.strip()):
        match = _RANK.fullmatch(part)
        if match is None:
            raise SpecError(
                f"'{part}' is not a rank of a hierarchical pattern",
                hint="write NAME(G:H) per rank, outermost first: 'C1(4:8)->C0(2:4)' keeps 4 of 8 blocks, and 2 of 4 in them",
            )
        kept, of = int(match[1]), int(match[2])
        if not 1 <= kept <= of:
            raise SpecError(f"rank '{part}' keeps {kept} of {of}", hint="in G:H, 1 ≤ G ≤ H")
        ranks.append((kept, of))
    return tuple(ranks)


class HierarchicalDensity(DensityModel):
    """Fibres along one axis are cut into patterns of ∏H elements, each with exactly ∏G non-zeros (HighLight, MICRO'23).

    A pattern is H₁ blocks of which any G₁ are kept, each of which is H₀ elements of which any G₀ are kept (any number of
    ranks). Every choice is equally likely, and patterns are independent of each other. A pattern that reaches past the
    end of the axis is cut there, wherever its non-zeros are: the tail has the density of the rest, on average.

    Occupancies are exact, and averaged over all aligned tiles, the last of a rank clipped: a tile of whole patterns
    always holds its share; one that cuts patterns or blocks holds what chance leaves inside.

    Args:
        shape: shape of the whole tensor.
        ranks: (G, H) per rank, outermost first.
        axis: along which patterns lie; None: 1 (the inputs of a filter or of a row of weights), 0 for a vector.

    Raises:
        SpecError: if there is no rank, a G is not in 1..H, or no such axis.
    """

    distribution = "hierarchical"
    aliases = ("hss",)
    parameters = ("pattern", "axis")
    shape_dependent = True

    def __init__(self, shape: Sequence[int], ranks: Sequence[tuple[int, int]], axis: int | None = None) -> None:
        super().__init__(shape)
        self.ranks: Ranks = tuple((int(kept), int(of)) for kept, of in ranks)
        if not self.ranks or any(not 1 <= kept <= of for kept, of in self.ranks):
            raise SpecError(f"ranks {self.ranks} of a hierarchical pattern", hint="give (G, H) per rank, 1 ≤ G ≤ H")
        if not self.shape:
            raise SpecError("a tensor without ranks has no hierarchical pattern")
        chosen = min(1, len(self.shape) - 1) if axis is None else axis
        if not -len(self.shape) <= chosen < len(self.shape):
            raise SpecError(f"axis {axis} of a tensor of {len(self.shape)} ranks", hint="axes count from 0")
        self.axis = chosen % len(self.shape)
        self.kept, self.span = (math.prod(pair[i] for pair in self.ranks) for i in (0, 1))
        self.share = Fraction(self.kept, self.span)
        self._known: dict[tuple[int, ...], Occupancy] = {}

    @classmethod
    def from_spec(cls, shape: Sequence[int], parameters: Parameters) -> HierarchicalDensity:
        text = parameters.text("pattern", "ranks from the outermost, such as 'C1(4:8)->C0(2:4)'")
        axis = None
        if parameters.values.get("axis") is not None:
            axis = parameters.whole("axis", "along which patterns lie, counted from 0")
        try:
            return cls(shape, parse_hierarchy(text), axis)
        except SpecError as error:
            name = "axis" if error.problem.startswith("axis") else "pattern"
            raise parameters.error(error.problem, name=name, hint=error.hint) from None

    @property
    def density(self) -> float:
        return float(self.share)

    def occupancy(self, tile: Sequence[int]) -> Occupancy:
        clipped = self.clipped(tile)
        if clipped not in self._known:
            self._known[clipped] = self._mixture(clipped)
        return self._known[clipped]

    def max_occupancy(self, tile: Sequence[int], confidence: float = 1.0) -> int:
        if confidence < 1.0:
            return super().max_occupancy(tile, confidence)
        clipped = self.clipped(tile)
        most = max(most_nonzeros(self.ranks, begin, length) for begin, length, _ in self._segments(clipped[self.axis]))
        return most * math.prod(clipped) // clipped[self.axis]

    def mean_occupancy(self, tile: Sequence[int]) -> float:
        clipped = self.clipped(tile)
        tiles = math.prod(-(-extent // t) for extent, t in zip(self.shape, clipped, strict=True))
        return float(Fraction(self.size, tiles) * self.share)

    def _segments(self, length: int) -> list[tuple[int, int, int]]:
        """(start inside its pattern, length, how many) of the different pieces that tiles cut out of a fibre."""
        extent = self.shape[self.axis]
        starts = np.arange(0, extent, length)
        pieces = np.stack([starts % self.span, np.minimum(length, extent - starts)], axis=1)
        different, counts = np.unique(pieces, axis=0, return_counts=True)
        return [(int(b), int(n), int(c)) for (b, n), c in zip(different, counts, strict=True)]

    def _fibres(self, tile: tuple[int, ...]) -> dict[int, int]:
        """Number of tiles by how many fibres they hold: fewer where the other ranks clip them."""
        found = {1: 1}
        for axis, (extent, t) in enumerate(zip(self.shape, tile, strict=True)):
            if axis == self.axis:
                continue
            parts = {t: extent // t} | ({extent % t: 1} if extent % t else {})
            grown: dict[int, int] = {}
            for fibres, tiles in found.items():
                for part, times in parts.items():
                    grown[fibres * part] = grown.get(fibres * part, 0) + tiles * times
            found = grown
        return found

    def _mixture(self, tile: tuple[int, ...]) -> Occupancy:
        segments, fibres = self._segments(tile[self.axis]), self._fibres(tile)
        tiles = sum(n for *_, n in segments) * sum(fibres.values())
        pieces = [
            (*_power(self.ranks, begin, length, rows), times * n / tiles)
            for begin, length, times in segments
            for rows, n in fibres.items()
        ]
        least = min(first for first, _, _ in pieces)
        probabilities = np.zeros(max(first + len(p) for first, p, _ in pieces) - least)
        for first, p, weight in pieces:
            probabilities[first - least : first - least + len(p)] += p * weight
        held = np.flatnonzero(probabilities)
        counts, chosen = (held + least).astype(np.int64), probabilities[held]
        counts.flags.writeable = chosen.flags.writeable = False
        return Occupancy(counts, chosen)


def most_nonzeros(ranks: Ranks, begin: int, length: int) -> int:
    """Most non-zeros of `length` elements of a fibre that start `begin` elements into a pattern."""
    sure, pieces = _cut(ranks, begin, length)
    return sure + sum(len(_part(ranks, a, b)) - 1 for a, b in pieces)


@lru_cache(maxsize=65536)
def _power(ranks: Ranks, begin: int, length: int, fibres: int) -> tuple[int, Floats]:
    """Least count, and probabilities from there on, of the non-zeros of `fibres` independent equal segments."""
    sure, pieces = _cut(ranks, begin, length)
    first, one = sure, np.ones(1)
    for a, b in pieces:
        first, one = _trimmed(first, np.convolve(one, _part(ranks, a, b)))
    total, result = 0, np.ones(1)
    while fibres:
        if fibres & 1:
            total, result = _trimmed(total + first, np.convolve(result, one))
        fibres >>= 1
        if fibres:
            first, one = _trimmed(2 * first, np.convolve(one, one))
    return total, result


def _cut(ranks: Ranks, begin: int, length: int) -> tuple[int, list[tuple[int, int]]]:
    """Non-zeros of the whole patterns in a segment, and the ranges of the patterns that it cuts."""
    span, kept = math.prod(h for _, h in ranks), math.prod(g for g, _ in ranks)
    pieces = []
    if begin:
        end = min(span, begin + length)
        pieces.append((begin, end))
        length -= end - begin
    whole, rest = divmod(length, span)
    if rest:
        pieces.append((0, rest))
    return whole * kept, pieces


def _trimmed(first: int, probabilities: Floats) -> tuple[int, Floats]:
    """Without the negligible ends."""
    held = np.flatnonzero(probabilities >= NEGLIGIBLE * probabilities.max())
    return first + int(held[0]), probabilities[held[0] : held[-1] + 1]


@lru_cache(maxsize=65536)
def _part(ranks: Ranks, begin: int, end: int) -> Floats:
    """P(k non-zeros among elements `begin` to `end` of a pattern), k from 0 to the most that can be there."""
    (kept, of), inner = ranks[0], ranks[1:]
    if not inner:
        n = end - begin
        return _without_end(np.array([_chosen(of, kept, n, k) for k in range(min(n, kept) + 1)]))
    span = math.prod(h for _, h in inner)
    whole = range(-(-begin // span), end // span)  # blocks that lie inside as a whole
    cut = []
    if begin // span == (end - 1) // span and not whole:
        cut.append(_part(inner, begin % span, begin % span + end - begin))
    else:
        if begin % span:
            cut.append(_part(inner, begin % span, span))
        if end % span:
            cut.append(_part(inner, 0, end % span))
    full = np.zeros(math.prod(g for g, _ in inner) + 1)
    full[-1] = 1.0
    ways = math.comb(of, kept)
    result = np.zeros(end - begin + 1)
    for taken in range(1 << len(cut)):
        there = [p for i, p in enumerate(cut) if taken >> i & 1]
        part = np.ones(1)
        for p in there:
            part = np.convolve(part, p)
        for n in range(min(len(whole), kept - len(there)) + 1):
            outside = kept - len(there) - n
            chance = math.comb(len(whole), n) * math.comb(of - len(whole) - len(cut), outside) / ways
            if chance:
                result[: len(part)] += chance * part
            part = np.convolve(part, full)
    return _without_end(result)


def _chosen(population: int, marked: int, drawn: int, k: int) -> float:
    """P(k of `drawn` elements are marked), hypergeometric."""
    if marked - k > population - drawn:
        return 0.0
    return math.comb(drawn, k) * math.comb(population - drawn, marked - k) / math.comb(population, marked)


def _without_end(probabilities: Floats) -> Floats:
    """Without the counts at the end that can't happen; read-only."""
    held: Floats = probabilities[: np.flatnonzero(probabilities)[-1] + 1]
    held.flags.writeable = False
    return held
