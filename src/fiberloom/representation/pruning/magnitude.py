"""Pruning by magnitude: the largest weights stay."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from fiberloom.representation.pruning.places import Places, masked


def magnitude(weights: NDArray[Any], places: Places) -> NDArray[Any]:
    """`weights` ``(out, in)`` with all but the largest magnitudes set to zero (Han et al., NIPS'15); blocks run along `in`."""
    return masked(weights, None, places, rows=None)
