"""Numbers of any sign on a logarithmic scale: objectives of designs span decades."""

from __future__ import annotations

import math
from typing import Final

_LEAST: Final = math.log(1e-300)
"""Sizes below count as 0; the scale passes through 0 there."""


def decades(value: float) -> float:
    """A number that rises with `value`; for two positive values it differs by the logarithm of their ratio.

    Negative values mirror positive ones; infinite ones stay.
    """
    if not math.isfinite(value):
        return value
    size = math.log(max(abs(value), 1e-300)) - _LEAST
    return math.copysign(size, value)
