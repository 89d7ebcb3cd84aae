"""What a representation does to an array: its error, and what it drops."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.representation.array import as_rows, checked_axis, checked_values
from fiberloom.representation.term import Representation
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
    patterns = [term.pattern for term in representation.terms]
    fixed = [pattern.stored(values.shape, axis) if pattern.rigid else None for pattern in patterns]
    if not representation.rowwise or importance is not None:
        sums = [_sums(values, representation, axis, importance)]
    else:
        rows = as_rows(values, axis)
        sums = in_slabs(lambda at: _sums(rows[at], representation, -1, None), rows)
    error, squared, before, after, lost, *kept = np.array(sums).sum(axis=0).tolist()
    return Measurement(
        relative_error=math.sqrt(error / squared) if squared else 0.0,
        dropped_nonzeros=lost / before if before else 0.0,
        density=after / values.size,
        original_density=before / values.size,
        elements=values.size,
        stored=tuple((k if n is None else n) / values.size for n, k in zip(fixed, kept, strict=True)),
    )


def _sums(
    original: NDArray[Any], representation: Representation, axis: int, importance: NDArray[Any] | None
) -> tuple[float, ...]:
    """Squared error, squared norm, non-zeros before, after, of the former those that are zero now, and places kept per term."""
    represented, kept = None, []
    for places, held in representation.split(original, axis, importance):
        kept.append(int(np.count_nonzero(places)))
        represented = held if represented is None else represented + held
    assert represented is not None
    before, after = original != 0, represented != 0
    squared = float(np.square(original, dtype=np.float64).sum())
    error = float(np.square(represented - original, dtype=np.float64).sum())
    lost = int(np.count_nonzero(before & ~after))
    return error, squared, int(np.count_nonzero(before)), int(np.count_nonzero(after)), lost, *kept
