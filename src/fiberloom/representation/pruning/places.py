"""Which places a pattern, or several taken one after the other, keep by given scores."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.representation.patterns import Pattern
from fiberloom.representation.term import Representation

_SLAB: Final = 1 << 18
"""Elements worked on at a time: a few arrays of it fit into a core's cache."""

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


def masked(weights: NDArray[Any], norms: NDArray[Any] | None, places: Places, rows: int | None) -> NDArray[Any]:
    """`weights` ``(out, in)`` where ``|weights| · norms`` is largest, zero elsewhere; a few rows are worked on at a time.

    Args:
        norms: ``(in,)``; None: all alike.
        rows: compared with each other where places are chosen across rows; None: all.
    """
    result = np.zeros_like(weights)
    if all(pattern.rowwise for pattern in patterns_of(places)):
        rows = max(1, _SLAB // max(1, weights.shape[1]))
    step = rows or max(1, len(weights))
    for start in range(0, len(weights), step):
        at = slice(start, start + step)
        scores = np.abs(weights[at]) if norms is None else np.abs(weights[at]) * norms
        np.copyto(result[at], weights[at], where=kept_places(places, scores))
    return result


def patterns_of(places: Places) -> list[Pattern]:
    """The pattern, or the patterns of all terms."""
    return [places] if isinstance(places, Pattern) else [term.pattern for term in places.terms]


def span_of(places: Places) -> int:
    """Elements along the axis after which every pattern begins anew."""
    return int(np.lcm.reduce([pattern.span for pattern in patterns_of(places)]))
