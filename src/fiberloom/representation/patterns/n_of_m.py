"""At most N non-zeros in every M neighbours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.representation.array import as_rows, from_rows
from fiberloom.representation.patterns._base import Pattern, Tail, row_lengths, tail_text, whole_blocks
from fiberloom.representation.patterns._metadata import bits_of_block, bits_of_rows, per_element

_TEXT = re.compile(r"(\d+)\s*:\s*(\d+)")


@dataclass(frozen=True)
class NOfM(Pattern):
    """Of every M neighbours along the axis, the N of largest magnitude stay (Mishra et al., arXiv:2104.08378, for 2:4).

    Equal magnitudes: the one that stands first stays. The projection is optimal, because blocks don't share elements.
    """

    n: int
    m: int
    tail: Tail = Tail.PAD

    examples = ("2:4", "4:8", "1:8")

    def __post_init__(self) -> None:
        if not 1 <= self.n <= self.m:
            raise SpecError(f"'{self.n}:{self.m}' keeps {self.n} of {self.m} elements", hint="write N:M with 1 ≤ N ≤ M")

    @classmethod
    def from_text(cls, text: str) -> NOfM | None:
        match = _TEXT.fullmatch(text)
        return cls(int(match[1]), int(match[2])) if match else None

    def keep(self, values: NDArray[Any], axis: int = -1) -> NDArray[np.bool_]:
        from fiberloom.representation.patterns._largest import largest_of_blocks

        rows = as_rows(values, axis)
        _, rest = whole_blocks(rows.shape[1], self.m, self.tail)
        kept = largest_of_blocks(rows, self.n, self.m)
        if rest:
            kept[:, -rest:] = True
        return from_rows(kept, values.shape, axis)

    @property
    def rigid(self) -> bool:
        return True

    @property
    def share(self) -> Fraction:
        return Fraction(self.n, self.m)

    @property
    def span(self) -> int:
        return self.m

    def stored(self, shape: Sequence[int], axis: int = -1) -> int:
        rows, length = row_lengths(shape, axis)
        blocks, rest = whole_blocks(length, self.m, self.tail)
        return rows * (blocks * self.n + rest)

    def metadata_bits(self, shape: Sequence[int] | None = None, axis: int = -1) -> dict[str, Fraction]:
        block = bits_of_block(self.n, self.m)
        if shape is None:
            return per_element(block, 1, self.m)
        rows, length = row_lengths(shape, axis)
        blocks, _ = whole_blocks(length, self.m, self.tail)
        found = per_element(block, rows * blocks, rows * length)
        if self.n < self.m:
            found["UOP-CP"] = Fraction(bits_of_rows(self.stored(shape, axis), rows, length), rows * length)
        return found

    @property
    def ranks_along_axis(self) -> tuple[tuple[int, int], ...]:
        return ((self.n, self.m),)

    def density_specification(self, shape: Sequence[int], axis: int = -1) -> dict[str, Any]:
        return {"distribution": "fixed-structured", "density": f"{self.n}:{self.m}"}

    def with_tail(self, tail: Tail) -> NOfM:
        return replace(self, tail=tail)

    def __str__(self) -> str:
        return f"{self.n}:{self.m}{tail_text(self.tail)}"
