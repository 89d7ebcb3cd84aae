"""Fibertree specifications of sparsity: ranks from the highest to the lowest, each with its rule, and where they lie in an array.

Ranks come from a tensor's axes by reordering, flattening and partitioning (Sze et al., *Efficient Processing of Deep Neural
Networks*, 2020; Wu et al., HighLight, MICRO'23): ``RS`` is the axes R and S flattened, ``C2 -> C1 -> C0`` the axis C cut into
blocks of blocks. Letters: C is the axis along which products are summed (input channels, inputs); the axes behind it are R, S, T
in order; those in front of it are, from it outwards, M (output channels, rows) and N.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.representation.array import checked_axis
from fiberloom.representation.patterns._base import Tail, whole_blocks
from fiberloom.representation.patterns.unstructured import read_share, share_text

BEHIND: Final = "RST"
IN_FRONT: Final = "MN"

MOST_PADDING: Final = 64
LEAST_ROOM: Final = 1 << 20
"""A tensor that padding makes larger than so many times itself (and this) meets blocks that are not meant for it."""

_RANK = re.compile(r"([A-Z]+)(\d*)\s*(?:\((.*)\))?")
_BLOCKS = re.compile(r"(\d+)\s*:\s*(\d+)")
_ANYWHERE = re.compile(r"unstructured(?:\s+(?P<share>.+?))?(?P<fibre>\s*/\s*fibre)?", re.IGNORECASE)


@dataclass(frozen=True)
class Blocks:
    """In every `of` neighbouring coordinates, at most `kept` are not empty (written G:H)."""

    kept: int
    of: int

    def __str__(self) -> str:
        return f"{self.kept}:{self.of}"


@dataclass(frozen=True)
class Anywhere:
    """Coordinates stay wherever they are: a share of all those of the rank, or of each fibre's; None: all that are not empty."""

    share: Fraction | None
    per_fibre: bool = False

    def __str__(self) -> str:
        words = ["unstructured"] if self.share is None else ["unstructured", share_text(self.share)]
        return " ".join(words) + ("/fibre" if self.per_fibre else "")


@dataclass(frozen=True)
class Rank:
    """One rank of a specification.

    Attributes:
        letters: of the axes that are flattened into it, outermost first.
        level: which part of a partitioned rank, 0 the lowest; None: not partitioned.
        rule: which coordinates may be non-empty; None: all.
    """

    letters: str
    level: int | None
    rule: Blocks | Anywhere | None

    @property
    def name(self) -> str:
        """As it is written."""
        return self.letters + ("" if self.level is None else str(self.level))

    def __str__(self) -> str:
        return self.name if self.rule is None else f"{self.name}({self.rule})"


def read_ranks(text: str) -> tuple[Rank, ...]:
    """The ranks of ``RS -> C2 -> C1(3:4) -> C0(2:4)``, highest first.

    Raises:
        SpecError: for what can't be read or makes no sense.
    """
    ranks = tuple(_read_rank(part.strip(), text) for part in re.split(r"->|→", text))
    _check(ranks, text)
    return ranks


def _read_rank(part: str, text: str) -> Rank:
    match = _RANK.fullmatch(part)
    if match is None:
        raise SpecError(
            f"'{part}' in '{text}' is no rank", hint="write NAME or NAME(G:H), highest first: RS -> C1(4:8) -> C0(2:4)"
        )
    level = int(match[2]) if match[2] else None
    return Rank(match[1], level, None if match[3] is None else read_rule(match[3].strip(), part))


def read_rule(rule: str, part: str) -> Blocks | Anywhere | None:
    if rule.lower() == "dense":
        return None
    if blocks := _BLOCKS.fullmatch(rule):
        kept, of = int(blocks[1]), int(blocks[2])
        if not 1 <= kept <= of:
            raise SpecError(f"'{part}' keeps {kept} of {of}", hint="in G:H, 1 ≤ G ≤ H")
        return Blocks(kept, of)
    if anywhere := _ANYWHERE.fullmatch(rule):
        share = anywhere["share"]
        return Anywhere(None if share is None else read_share(share, part), anywhere["fibre"] is not None)
    raise SpecError(
        f"'{rule}' in '{part}' is no rule",
        hint="known: G:H, unstructured, unstructured 0.3, unstructured 0.3/fibre, dense",
    )


def _check(ranks: Sequence[Rank], text: str) -> None:
    if all(rank.rule is None for rank in ranks):
        raise SpecError(
            f"'{text}' has no rule", hint="give at least one rank a rule, such as C0(2:4), or write 'dense'"
        )
    bases = list(dict.fromkeys(rank.letters for rank in ranks))
    letters = "".join(bases)
    twice = next((letter for letter in letters if letters.count(letter) > 1), None)
    if twice is not None:
        raise SpecError(
            f"axis {twice} stands twice in '{text}'", hint="an axis is one rank, or one partitioned: C1 -> C0"
        )
    for base in bases:
        levels = [rank.level for rank in ranks if rank.letters == base]
        if len(levels) > 1 or levels[0] is not None:
            wanted = list(range(len(levels)))[::-1]
            if levels != wanted:
                found = ", ".join(rank.name for rank in ranks if rank.letters == base)
                raise SpecError(
                    f"the parts of {base} in '{text}' are {found}",
                    hint=f"number them down to 0: {' -> '.join(f'{base}{level}' for level in wanted)}",
                )
        for rank in [rank for rank in ranks if rank.letters == base][1:]:
            if not isinstance(rank.rule, Blocks):
                raise SpecError(f"'{rank}' in '{text}' says no size", hint=f"write {rank.name}(H:H) if all H stay")


def axis_letters(ndim: int, axis: int) -> str:
    """The letter of every axis of a tensor; ``?`` for those that have none."""
    behind = BEHIND[: ndim - axis - 1].ljust(ndim - axis - 1, "?")
    return (IN_FRONT[:axis][::-1]).rjust(axis, "?") + "C" + behind


class Tree:
    """How the ranks of a specification lie in tensors of one shape.

    A tensor is reordered to ``view``: first the axes that no rank names, then, rank by rank, its coordinates; a rank with
    `Blocks` has two axes there, its blocks and the coordinates in one.

    Args:
        ranks: highest first.
        shape: of the tensor.
        axis: the axis C.
        tail: for blocks that don't divide a rank.

    Raises:
        SpecError: for a rank whose axis the tensor lacks, and blocks that don't divide where that is refused.
    """

    def __init__(self, ranks: Sequence[Rank], shape: Sequence[int], axis: int, tail: Tail) -> None:
        axis = checked_axis(shape, axis)
        letters = axis_letters(len(shape), axis)
        bases = list(dict.fromkeys(rank.letters for rank in ranks))
        missing = next((letter for base in bases for letter in base if letter not in letters), None)
        if missing is not None:
            raise SpecError(
                f"the pattern names axis {missing}, but a tensor of shape {tuple(shape)} has {', '.join(letters)}",
                hint="C is the axis that products are summed along, R and S the ones behind it, M the one in front",
            )
        free = [i for i, letter in enumerate(letters) if letter == "?" or letter not in "".join(bases)]
        named = [[letters.index(letter) for letter in base] for base in bases]
        self.shape = tuple(int(extent) for extent in shape)
        self.length = self.shape[axis]
        self.order = [*free, *(i for base in named for i in base)]
        free_shape = [self.shape[i] for i in free]
        lengths = [math.prod(self.shape[i] for i in base) for base in named]
        cuts = [
            _cut([rank for rank in ranks if rank.letters == base], n, tail)
            for base, n in zip(bases, lengths, strict=True)
        ]
        self.flat = (*free_shape, *lengths)
        self.covered = (*free_shape, *(math.prod(sizes) for sizes in cuts))
        """Of `flat`, with ranks padded or cut to whole blocks."""
        if math.prod(self.covered) > MOST_PADDING * math.prod(self.flat) + LEAST_ROOM:
            raise SpecError(
                f"a tensor of shape {self.shape} would be padded to {math.prod(self.covered):,} elements",
                hint="choose smaller blocks, or the tail 'keep' or 'refuse'",
            )
        self._inside = tuple(slice(min(a, b)) for a, b in zip(self.covered, self.flat, strict=True))
        self.split = (*free_shape, *(size for sizes in cuts for size in sizes))
        self._swizzle, self.ends = _swizzle(ranks, bases, cuts, len(free))
        self.view = tuple(self.split[i] for i in self._swizzle)
        """Extents in tree order. `ends[i]` is how many axes of it reach down to rank i."""

    @property
    def outside(self) -> int:
        """Elements of the tensor in tails that are kept, so not in `view`."""
        inside = (min(covered, flat) for covered, flat in zip(self.covered, self.flat, strict=True))
        return math.prod(self.flat) - math.prod(inside)

    def arranged(self, values: NDArray[Any]) -> NDArray[Any]:
        """A copy of `values` in tree order, of shape `view`: padded with zeros, tails that are kept left out."""
        inside = values.transpose(self.order).reshape(self.flat)[self._inside]
        if inside.shape != self.covered:
            inside = np.pad(inside, [(0, covered - n) for covered, n in zip(self.covered, inside.shape, strict=True)])
        return np.array(inside.reshape(self.split).transpose(self._swizzle), order="C")

    def restored(self, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Kept places of the tensor from those in tree order; tails that are kept are true."""
        flat = np.ones(self.flat, dtype=np.bool_)
        flat[self._inside] = kept.transpose(np.argsort(self._swizzle)).reshape(self.covered)[self._inside]
        ordered = flat.reshape([self.shape[i] for i in self.order])
        return ordered.transpose(np.argsort(self.order))

    def real(self, end: int) -> int:
        """Coordinates of the rank that ends at axis `end` of `view` that are not padding."""
        coordinates = self.view[:end]
        if all(covered <= flat for covered, flat in zip(self.covered, self.flat, strict=True)):
            return math.prod(coordinates)
        there = self.arranged(np.ones(self.shape, dtype=np.bool_))
        return int(np.count_nonzero(there.reshape(math.prod(coordinates), -1).any(axis=1)))


def _cut(ranks: Sequence[Rank], length: int, tail: Tail) -> list[int]:
    """Extents of one rank's parts: what is left above them, if anything is, and every partition's coordinates."""
    sizes = [rank.rule.of for rank in ranks if isinstance(rank.rule, Blocks)]
    blocks, _ = whole_blocks(length, math.prod(sizes), tail)
    return [blocks, *sizes]


def _swizzle(
    ranks: Sequence[Rank], bases: Sequence[str], cuts: Sequence[Sequence[int]], free: int
) -> tuple[list[int], list[int]]:
    """Axes of the split tensor in the order of `ranks`, and where each rank ends."""
    next_axis, position = {}, free
    for base, sizes in zip(bases, cuts, strict=True):
        next_axis[base] = position
        position += len(sizes)
    order, ends, seen = list(range(free)), [], set()
    for rank in ranks:
        # The highest part of an axis with a G:H rule is two: the blocks, and the coordinates in one.
        taken = 2 if rank.letters not in seen and isinstance(rank.rule, Blocks) else 1
        seen.add(rank.letters)
        order += range(next_axis[rank.letters], next_axis[rank.letters] + taken)
        next_axis[rank.letters] += taken
        ends.append(len(order))
    return order, ends
