"""Every place is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.representation.patterns._base import Pattern


@dataclass(frozen=True)
class Dense(Pattern):
    """No place is left out."""

    examples = ("dense",)

    @classmethod
    def from_text(cls, text: str) -> Dense | None:
        return cls() if text.lower() == "dense" else None

    def keep(self, values: NDArray[Any], axis: int = -1) -> NDArray[np.bool_]:
        return np.ones(values.shape, dtype=np.bool_)

    @property
    def rigid(self) -> bool:
        return True

    @property
    def share(self) -> Fraction:
        return Fraction(1)

    def metadata_bits(self, shape: Sequence[int] | None = None, axis: int = -1) -> dict[str, Fraction]:
        return {"U": Fraction(0)}

    @property
    def ranks_along_axis(self) -> tuple[tuple[int, int], ...]:
        return ()

    def density_specification(self, shape: Sequence[int], axis: int = -1) -> dict[str, Any]:
        return {"distribution": "dense"}

    def __str__(self) -> str:
        return "dense"
