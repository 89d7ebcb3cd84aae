"""Non-zeros in a band around the diagonal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.representation.patterns._base import Pattern, size_of

_TEXT: Final = re.compile(r"band(?:ed)?\s*\(\s*(\d+)\s*\)", re.IGNORECASE)


@dataclass(frozen=True)
class Banded(Pattern):
    """Elements of a matrix within `width` of the scaled diagonal: ``banded(8)``.

    Of M × N elements with M ≤ N, (i, j) is kept if ``|⌊i·N/M⌋ − j| ≤ width``; with M > N the transpose. So the density model
    ``banded`` has it. Nothing is stored about the places, since width and shape say them.
    """

    width: int

    examples = ("banded(8)",)

    @classmethod
    def from_text(cls, text: str) -> Banded | None:
        match = _TEXT.fullmatch(text)
        return cls(int(match[1])) if match else None

    def keep(self, values: NDArray[Any], axis: int = -1) -> NDArray[np.bool_]:
        first, last, transposed = self._band(values.shape)
        columns = np.arange(max(values.shape))
        kept = (columns >= first[:, None]) & (columns < last[:, None])
        return kept.T if transposed else kept

    @property
    def rowwise(self) -> bool:
        """What is kept of a row depends on where it stands."""
        return False

    @property
    def share(self) -> None:
        """It depends on the shape: see `stored`."""
        return None

    def stored(self, shape: Sequence[int], axis: int = -1) -> int:
        first, last, _ = self._band(shape)
        return int((last - first).sum())

    def metadata_bits(self, shape: Sequence[int] | None = None, axis: int = -1) -> dict[str, Fraction]:
        return {"U": Fraction(0)}

    def density_specification(self, shape: Sequence[int], axis: int = -1) -> dict[str, Any]:
        self._band(shape)
        return {"distribution": "banded", "width": self.width}

    def _band(self, shape: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
        """First and one past the last column of every row of the matrix or, if that has more rows than columns, its transpose.

        Raises:
            SpecError: unless there are two ranks.
        """
        if len(shape) != 2:
            raise SpecError(f"'{self}' is for matrices; this tensor has shape {tuple(shape)}")
        size_of(shape)
        rows, columns = sorted(int(extent) for extent in shape)
        centre = np.arange(rows, dtype=np.int64) * columns // rows
        width = min(self.width, columns)
        return np.maximum(centre - width, 0), np.minimum(centre + width + 1, columns), shape[0] > shape[1]

    def __str__(self) -> str:
        return f"banded({self.width})"
