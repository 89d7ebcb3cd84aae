"""Non-zeros anywhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.representation.array import as_rows, checked_axis, from_rows
from fiberloom.representation.patterns._base import Pattern, row_lengths, size_of
from fiberloom.representation.patterns._largest import largest, largest_of_rows
from fiberloom.representation.patterns._metadata import bits_of_random

_TEXT = re.compile(r"unstructured(?:\s*\((?P<inside>.*)\)|\s+(?P<bare>[\d.]\S*))?", re.IGNORECASE)
_ROW = re.compile(r"(.*?)\s*/\s*row")


class Scope(StrEnum):
    """Over what a share of the elements is taken."""

    TENSOR = "tensor"
    ROW = "row"


@dataclass(frozen=True)
class Unstructured(Pattern):
    """A share of the elements stays, those of largest magnitude, wherever they are.

    ``unstructured(0.3)`` keeps ⌈0.3 · size⌉ of the tensor, ``unstructured(0.3/row)`` ⌈0.3 · length⌉ of every row;
    ``unstructured`` keeps whatever is not zero. Zeros are never kept. Of equal magnitudes the first stays. Optimal.

    Attributes:
        kept: share that stays, above 0 and up to 1; None: all non-zeros.
        scope: over what the share is taken.
    """

    kept: Fraction | None = None
    scope: Scope = Scope.TENSOR

    examples = ("unstructured", "unstructured(0.3)", "unstructured(0.3/row)")

    def __post_init__(self) -> None:
        if self.kept is not None and not 0 < self.kept <= 1:
            raise SpecError(
                f"'{self}' keeps a share of {float(self.kept):g}", hint="give the share of non-zeros, 0 to 1"
            )

    @classmethod
    def from_text(cls, text: str) -> Unstructured | None:
        match = _TEXT.fullmatch(text)
        if match is None:
            return None
        inside = match["inside"] if match["inside"] is not None else match["bare"]
        if inside is None:
            return cls()
        by_row = _ROW.fullmatch(inside.strip())
        return cls(read_share(by_row[1] if by_row else inside, text), Scope.ROW if by_row else Scope.TENSOR)

    def keep(self, values: NDArray[Any], axis: int = -1) -> NDArray[np.bool_]:
        if self.kept is None:
            return np.asarray(values != 0)
        if self.scope is Scope.TENSOR:
            return largest(values, count_of(self.kept, values.size))
        rows = as_rows(values, axis)
        return from_rows(largest_of_rows(rows, count_of(self.kept, rows.shape[1])), values.shape, axis)

    @property
    def rowwise(self) -> bool:
        return self.kept is None or self.scope is Scope.ROW

    @property
    def share(self) -> Fraction | None:
        return self.kept

    def stored(self, shape: Sequence[int], axis: int = -1) -> int | None:
        if self.kept is None or self.scope is Scope.TENSOR:
            return None if self.kept is None else count_of(self.kept, size_of(shape))
        rows, length = row_lengths(shape, axis)
        return rows * count_of(self.kept, length)

    def metadata_bits(self, shape: Sequence[int] | None = None, axis: int = -1) -> dict[str, Fraction]:
        if self.kept is None:
            raise SpecError("the metadata of 'unstructured' depends on the tensor", hint="write 'unstructured(0.3)'")
        return bits_of_random(self.kept, shape, axis)

    def density_specification(self, shape: Sequence[int], axis: int = -1) -> dict[str, Any]:
        """Hypergeometric over the tensor, or, row by row, over each row."""
        if self.kept is None:
            raise SpecError("the density of 'unstructured' depends on the tensor", hint="write 'unstructured(0.3)'")
        if self.scope is Scope.TENSOR:
            return {
                "distribution": "uniform",
                "density": float(Fraction(count_of(self.kept, size_of(shape)), size_of(shape))),
            }
        _, length = row_lengths(shape, axis)
        pattern = f"C0({count_of(self.kept, length)}:{length})"
        return {"distribution": "hierarchical", "pattern": pattern, "axis": checked_axis(shape, axis)}

    def with_share(self, share: Fraction) -> Unstructured:
        return self if self.kept is not None else replace(self, kept=share)

    def __str__(self) -> str:
        if self.kept is None:
            return "unstructured"
        return f"unstructured({share_text(self.kept)}{'/row' if self.scope is Scope.ROW else ''})"


def read_share(text: str, where: str) -> Fraction:
    """The share of elements written as ``0.3``, ``3/10`` or ``30%``.

    Raises:
        SpecError: if `text` is none, or not above 0 and up to 1; `where` is what it is part of.
    """
    stripped = text.strip()
    try:
        share = Fraction(stripped.removesuffix("%")) / (100 if stripped.endswith("%") else 1)
    except (ValueError, ZeroDivisionError):
        raise SpecError(f"'{text}' in '{where}' is no share of elements", hint="write 0.3, 3/10 or 30%") from None
    if not 0 < share <= 1:
        raise SpecError(f"'{text}' in '{where}' is no share of elements", hint="it is above 0 and at most 1")
    return share


def share_text(share: Fraction) -> str:
    """`share` as a decimal number where that is exact, else as a fraction."""
    decimal = f"{float(share):.12g}"
    return decimal if Fraction(decimal) == share else str(share)


def count_of(share: Fraction, size: int) -> int:
    """⌈share · size⌉, as the hardware model's densities count."""
    return -(-share.numerator * size // share.denominator)
