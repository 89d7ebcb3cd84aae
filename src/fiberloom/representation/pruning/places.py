"""Which places a pattern, or several taken one after the other, keep by given scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.representation.patterns import Pattern
from fiberloom.representation.term import Representation

Places = Pattern | Representation
"""A pattern, or a representation whose terms' patterns are filled in order."""


def kept_places(places: Places, scores: NDArray[Any]) -> NDArray[np.bool_]:
    """The places that are kept where larger scores go first.

    Args:
        scores: not negative, of the tensor's shape, never modified; blocks run along the last axis.
    """
    if isinstance(places, Pattern):
        return places.keep(scores)
    patterns = [term.pattern for term in places.terms]
    kept = patterns[0].keep(scores)
    for pattern in patterns[1:]:
        kept |= pattern.keep(np.where(kept, scores.dtype.type(0), scores))
    return kept


def span_of(places: Places) -> int:
    """Elements along the axis after which every pattern begins anew."""
    patterns = [places] if isinstance(places, Pattern) else [term.pattern for term in places.terms]
    return int(np.lcm.reduce([pattern.span for pattern in patterns]))
