"""Unified ordinal vectors: a level as buckets that it has passed, and how far it is into the last one.

AIRCHITECT v2 (DATE'25) predicts the number of PEs and the buffer size with such vectors instead of one class per level. The
pair here is a pair of inverses: ``decode(encode(x)) == x`` for every level, whatever the number of buckets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OrdinalCode:
    """Levels ``0 … levels − 1`` as vectors of `buckets` numbers in 0..1.

    Bucket i begins at ``r_i = i · width`` with ``width = levels / buckets``, the first one at the lowest level. A level x that
    has reached bucket i shows there as ``o_i = 1 − exp(−(x − r_i + ½)/width)``, else as 0: near 1 in buckets long passed, and
    telling the place in the last one. One bucket is a regression, as many as levels a chain of yes-or-no questions.

    Raises:
        SpecError: unless there are 1 to `levels` buckets.
    """

    levels: int
    buckets: int

    def __post_init__(self) -> None:
        if not 1 <= self.buckets <= self.levels:
            raise SpecError(f"{self.buckets} buckets for {self.levels} levels", hint="1 to as many buckets as levels")

    @property
    def width(self) -> float:
        """Levels per bucket."""
        return self.levels / self.buckets

    @property
    def boundaries(self) -> Floats:
        """Where each bucket begins, ``(buckets,)``; rounded up to a level, so that a level is before it or has reached it."""
        return np.asarray(np.ceil(np.arange(self.buckets) * self.width - 1e-9))

    def encode(self, levels: Any) -> Floats:
        """Vectors ``(n, buckets)`` of levels ``(n,)``.

        Raises:
            SpecError: for a level that is out of range.
        """
        x = np.asarray(levels, float)
        if x.size and not (x.min() >= 0 and x.max() <= self.levels - 1):
            raise SpecError(f"levels from {x.min():g} to {x.max():g}", hint=f"levels are 0 to {self.levels - 1}")
        beyond = x[:, None] - self.boundaries + 0.5
        return np.asarray(np.where(beyond > 0, -np.expm1(-beyond / self.width), 0.0))

    def decode(self, vectors: Any) -> NDArray[np.int64]:
        """Levels ``(n,)`` of vectors ``(n, buckets)`` in 0..1, such as sigmoids of a model's outputs.

        The level whose own vector is nearest in the sum of squares, so that all buckets have a say; the lowest of equally near ones.
        """
        o = np.asarray(vectors, float)
        own = self.encode(np.arange(self.levels))
        # |o − v|² less |o|², which is the same for all levels
        return np.asarray(((own**2).sum(axis=1) - 2 * o @ own.T).argmin(axis=1))
