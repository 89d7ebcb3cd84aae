"""What a representation does to an array: its error, and what it drops."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.representation.patterns._base import as_rows
from fiberloom.representation.term import Representation, checked_values
from fiberloom.representation.threads import in_slabs


@dataclass(frozen=True)
class Measurement:
    """How a represented tensor differs from the original.

    Attributes:
        relative_error: ‖represented − original‖ / ‖original‖, Frobenius norms; 0 for a tensor of zeros.
        dropped_nonzeros: share of the original's non-zeros that are zero now.
        density: share of non-zeros in the represented tensor.
        original_density: share of non-zeros in the original.
        elements: of the tensor.
    """

    relative_error: float
    dropped_nonzeros: float
    density: float
    original_density: float
    elements: int

    def to_dict(self) -> dict[str, float]:
        """All figures by name."""
        return dict(vars(self))


def measure(
    array: NDArray[Any], representation: Representation, axis: int = -1, importance: NDArray[Any] | None = None
) -> Measurement:
    """Represent `array` and compare; it is worked through in slabs where its rows don't depend on each other.

    Args and errors as `Representation.decompose`.
    """
    values = checked_values(array)
    if not representation.rowwise or importance is not None:
        return _measurement(np.array([_sums(values, representation.project(values, axis, importance))]), values.size)
    rows = as_rows(values, axis)
    sums = in_slabs(lambda at: _sums(rows[at], representation.project(rows[at])), rows)
    return _measurement(np.array(sums), values.size)


def _sums(original: NDArray[Any], represented: NDArray[Any]) -> tuple[float, float, int, int, int]:
    """Squared error, squared norm, non-zeros before, after, and of the former those that are zero now."""
    before, after = original != 0, represented != 0
    squared = float(np.square(original, dtype=np.float64).sum())
    error = float(np.square(represented - original, dtype=np.float64).sum())
    lost = int(np.count_nonzero(before & ~after))
    return error, squared, int(np.count_nonzero(before)), int(np.count_nonzero(after)), lost


def _measurement(sums: NDArray[np.float64], elements: int) -> Measurement:
    error, squared, before, after, lost = sums.sum(axis=0).tolist()
    return Measurement(
        relative_error=math.sqrt(error / squared) if squared else 0.0,
        dropped_nonzeros=lost / before if before else 0.0,
        density=after / elements,
        original_density=before / elements,
        elements=elements,
    )
