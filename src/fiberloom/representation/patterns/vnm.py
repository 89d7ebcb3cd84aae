"""V:N:M: rows that share a choice of columns, of which each row keeps its own."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.representation.patterns._base import Pattern, Tail, no_density_model, tail_text
from fiberloom.representation.patterns._fibertree import Blocks, Rank, Tree
from fiberloom.representation.patterns._largest import largest_of_blocks, squarable
from fiberloom.representation.patterns._metadata import bits_of_block, bits_of_ranks, bits_of_rows, per_element
from fiberloom.representation.threads import in_slabs

_TEXT: Final = re.compile(r"(\d+)\s*:\s*(\d+)\s*:\s*(\d+)(\s*/\s*exact)?")

COLUMNS: Final = 4
"""Columns that a block of rows shares: those of a 2:4 unit (Castro et al., VENOM, SC'23, arXiv:2310.02065, §3)."""

MOST_CHOICES: Final = 100_000
"""Choices of columns that the exact projection tries per block; M = 32 has 35,960, where a block of 16 rows takes about 10 ms."""


@dataclass(frozen=True)
class VNM(Pattern):
    """In blocks of V rows and M columns, 4 columns are chosen for all rows, and each row keeps N of those: ``16:2:8``.

    So any N:M runs on 2:4 hardware (Castro et al., VENOM, SC'23, arXiv:2310.02065). Rows are the outputs (axis M of a
    fibertree). The projection chooses the columns of largest L2 norm, then each row's largest magnitudes in them: greedy,
    because the columns that are best as a whole are not those of which each row keeps the best. ``16:2:8/exact`` tries every
    choice of columns and is optimal.

    Attributes:
        v: rows that share columns.
        n: values that a row keeps.
        m: columns of a block, at least 4.
        exact: whether every choice of columns is tried.
    """

    v: int
    n: int
    m: int
    exact: bool = False
    tail: Tail = Tail.PAD

    examples = ("16:2:8", "16:2:8/exact")

    def __post_init__(self) -> None:
        if self.v < 1 or not 1 <= self.n <= COLUMNS <= self.m:
            raise SpecError(
                f"'{self}' is no V:N:M pattern", hint=f"V ≥ 1 rows, 1 ≤ N ≤ {COLUMNS} values, M ≥ {COLUMNS} columns"
            )

    @classmethod
    def from_text(cls, text: str) -> VNM | None:
        match = _TEXT.fullmatch(text)
        return cls(int(match[1]), int(match[2]), int(match[3]), match[4] is not None) if match else None

    def keep(self, values: NDArray[Any], axis: int = -1) -> NDArray[np.bool_]:
        tree = self._tree(values.shape, axis)
        if 0 in tree.view:
            return np.ones(values.shape, dtype=np.bool_)
        blocks = squarable(tree.arranged(values)).reshape(-1, self.v, self.m)
        columns = self._best_columns(blocks) if self.exact else self._largest_columns(blocks)
        kept = np.zeros(blocks.shape, dtype=np.bool_)
        in_slabs(lambda at: _keep_in(blocks[at], self.n, columns[at], kept[at]), blocks)
        return tree.restored(kept.reshape(tree.view))

    def _largest_columns(self, blocks: NDArray[Any]) -> NDArray[np.int64]:
        norms = np.einsum("bvm,bvm->bm", blocks, blocks, dtype=np.float64)
        return np.nonzero(largest_of_blocks(norms, COLUMNS, self.m))[1].reshape(-1, COLUMNS)

    def _best_columns(self, blocks: NDArray[Any]) -> NDArray[np.int64]:
        if math.comb(self.m, COLUMNS) > MOST_CHOICES:
            raise UnsupportedError(
                f"'{self}' has {math.comb(self.m, COLUMNS):,} choices of columns per block, too many to try",
                hint=f"write '{replace(self, exact=False)}'",
            )
        choices = np.array(list(combinations(range(self.m), COLUMNS)), dtype=np.int64)
        best = np.empty((len(blocks), COLUMNS), dtype=np.int64)
        in_slabs(lambda at: _best_choice(blocks[at], self.n, choices, best[at]), blocks)
        return best

    @property
    def optimal(self) -> bool:
        return self.exact or self.m == COLUMNS

    @property
    def rowwise(self) -> bool:
        return self.v == 1

    @property
    def rigid(self) -> bool:
        return True

    @property
    def share(self) -> Fraction:
        return Fraction(self.n, self.m)

    @property
    def span(self) -> int:
        return self.m

    @property
    def ranks_along_axis(self) -> tuple[tuple[int, int], ...]:
        return ((self.n, self.m),)

    def stored(self, shape: Sequence[int], axis: int = -1) -> int:
        tree = self._tree(shape, axis)
        return math.prod(tree.view) // self.m * self.n + tree.outside

    def metadata_bits(self, shape: Sequence[int] | None = None, axis: int = -1) -> dict[str, Fraction]:
        """Formats of the shared columns and of each row's places in them: ``CP-CP``."""
        tree = self._tree((self.v, self.m) if shape is None else shape, axis)
        size, blocks = math.prod(tree.shape), math.prod(tree.view) // (self.v * self.m)
        own = {name: self.v * bits for name, bits in bits_of_block(self.n, COLUMNS).items()}
        found = per_element(bits_of_ranks([bits_of_block(COLUMNS, self.m), own]), blocks, size)
        if shape is not None:
            rows = size // tree.length
            found["UOP-CP"] = Fraction(bits_of_rows(self.stored(shape, axis), rows, tree.length), size)
        return found

    def density_specification(self, shape: Sequence[int], axis: int = -1) -> dict[str, Any]:
        raise no_density_model(self)

    def with_tail(self, tail: Tail) -> VNM:
        return replace(self, tail=tail)

    def _tree(self, shape: Sequence[int], axis: int) -> Tree:
        ranks = (
            Rank("M", 1, None),
            Rank("C", 1, None),
            Rank("M", 0, Blocks(self.v, self.v)),
            Rank("C", 0, Blocks(self.m, self.m)),
        )
        return Tree(ranks, shape, axis, self.tail)

    def __str__(self) -> str:
        return f"{self.v}:{self.n}:{self.m}{'/exact' if self.exact else ''}{tail_text(self.tail)}"


@njit(nogil=True, cache=True, boundscheck=False)
def _is_kept(row: Any, columns: Any, i: int, n: int) -> Any:  # pragma: no cover - compiled
    """Whether the i-th of `columns` is among the `n` largest of the row in them."""
    value, rank = abs(row[columns[i]]), 0
    for j in range(len(columns)):
        other = abs(row[columns[j]])
        rank += (other > value) | ((other == value) & (j < i))
    return rank < n


@njit(nogil=True, cache=True, boundscheck=False)
def _keep_in(blocks: Any, n: int, columns: Any, kept: Any) -> None:  # pragma: no cover - compiled
    """Mark the `n` largest of every row of every block, ``(V, M)``, within the block's columns."""
    for b in range(blocks.shape[0]):
        for r in range(blocks.shape[1]):
            for i in range(columns.shape[1]):
                kept[b, r, columns[b, i]] = _is_kept(blocks[b, r], columns[b], i, n)


@njit(nogil=True, cache=True, boundscheck=False)
def _best_choice(blocks: Any, n: int, choices: Any, best: Any) -> None:  # pragma: no cover - compiled
    """Per block, ``(V, M)``, the columns in which the `n` largest of every row have most energy together."""
    for b in range(blocks.shape[0]):
        most = -1.0
        for c in range(choices.shape[0]):
            total = 0.0
            for r in range(blocks.shape[1]):
                for i in range(choices.shape[1]):
                    if _is_kept(blocks[b, r], choices[c], i, n):
                        total += float(blocks[b, r, choices[c, i]]) ** 2
            if total > most:
                most = total
                best[b] = choices[c]
