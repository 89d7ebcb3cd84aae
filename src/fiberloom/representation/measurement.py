"""What a representation does to an array: its error, and what it drops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.representation.array import checked_axis, checked_values
from fiberloom.representation.passes import difference
from fiberloom.representation.term import Representation


@dataclass(frozen=True)
class Measurement:
    """How a represented tensor differs from the original.

    Attributes:
        relative_error: ‖represented − original‖ / ‖original‖, Frobenius norms; 0 for a tensor of zeros.
        dropped_nonzeros: share of the original's non-zeros that are zero now.
        density: share of non-zeros in the represented tensor.
        original_density: share of non-zeros in the original.
        elements: of the tensor.
        stored: per term, share of elements that it stores: zeros that a pattern keeps or a last block is padded with included.
    """

    relative_error: float
    dropped_nonzeros: float
    density: float
    original_density: float
    elements: int
    stored: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """All figures by name, as JSON has them."""
        return dict(vars(self)) | {"stored": list(self.stored)}


def measure(
    array: NDArray[Any], representation: Representation, axis: int = -1, importance: NDArray[Any] | None = None
) -> Measurement:
    """Represent `array` and compare; it is worked through in slabs where its rows don't depend on each other.

    Args and errors as `Representation.decompose`.
    """
    values = checked_values(array)
    axis = checked_axis(values.shape, axis)
    unit = _unit(values)
    patterns = [term.pattern for term in representation.terms]

    def sums(at: slice, part: NDArray[Any], weights: NDArray[Any] | None, along: int) -> tuple[float, ...]:
        represented, kept = None, []
        for places, held in representation.split(part, along, weights):
            kept.append(int(np.count_nonzero(places)))
            represented = held if represented is None else np.add(represented, held, out=represented)
            del places, held  # before the next term takes its memory
        assert represented is not None
        return *difference(part, represented, unit), *kept

    totals = np.array(representation.over_rows(sums, values, axis, importance)).sum(axis=0).tolist()
    fixed = [pattern.stored(values.shape, axis) if pattern.rigid else None for pattern in patterns]
    kept = zip(fixed, totals[_COMPARED:], strict=True)
    return _measurement(totals, values.size, tuple((k if n is None else n) / values.size for n, k in kept))


def compare(original: NDArray[Any], represented: NDArray[Any]) -> Measurement:
    """How `represented`, however it came about, differs from `original`; its `stored` is empty.

    Raises:
        SpecError: for values that are not finite real numbers, or shapes that differ.
    """
    before, after = checked_values(original), checked_values(represented)
    if before.shape != after.shape:
        raise SpecError(f"a tensor of shape {before.shape} can't be compared with one of shape {after.shape}")
    return _measurement(difference(before, after, _unit(before)), before.size, ())


_COMPARED: Final = 5
"""Figures of `difference`."""


def _unit(values: NDArray[Any]) -> float:
    """What squares are taken of multiples of, so that they neither overflow nor vanish: float32 is squared in float64 anyway."""
    return 1.0 if values.dtype == np.float32 else float(max(values.max(), -values.min())) or 1.0


def _measurement(sums: Sequence[float], elements: int, stored: tuple[float, ...]) -> Measurement:
    error, squared, before, after, lost = sums[:_COMPARED]
    return Measurement(
        relative_error=math.sqrt(error / squared) if squared else 0.0,
        dropped_nonzeros=lost / before if before else 0.0,
        density=after / elements,
        original_density=before / elements,
        elements=elements,
        stored=stored,
    )
