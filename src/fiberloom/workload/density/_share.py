"""Densities as exact fractions, so that 0.07 of 100 elements is 7 and not 8.

Rounding up a product of floats turns noise of 1e-16 into a whole non-zero; fractions have no noise.
"""

from __future__ import annotations

import math
from fractions import Fraction


def exact_share(density: float | Fraction) -> Fraction:
    """The simplest fraction that reads as `density` (1/3 for 0.333…, 7/100 for 0.07), else its shortest decimal."""
    if isinstance(density, Fraction):
        return density
    simple = Fraction(density).limit_denominator(1_000_000)
    return simple if float(simple) == density else Fraction(repr(float(density)))


def nonzeros_of(density: float | Fraction, size: int) -> int:
    """⌈density · size⌉, exactly."""
    return math.ceil(exact_share(density) * size)
