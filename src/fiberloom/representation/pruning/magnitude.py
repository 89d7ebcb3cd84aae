"""Pruning by magnitude: the largest weights stay."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.representation.pruning.places import Places, kept_places


def magnitude(weights: NDArray[Any], places: Places) -> NDArray[Any]:
    """`weights` ``(out, in)`` with all but the largest magnitudes set to zero (Han et al., NIPS'15); blocks run along `in`."""
    return np.where(kept_places(places, np.abs(weights)), weights, weights.dtype.type(0))
