"""Numbers as people read them: engineering prefixes, few digits, no noise."""

from __future__ import annotations

import math
from typing import Final

_PREFIXES: Final = (
    (1e18, "E"),
    (1e15, "P"),
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "µ"),
    (1e-9, "n"),
    (1e-12, "p"),
)


def engineering(value: float, unit: str) -> str:
    """``1.234e-6, "J"`` → ``1.23 µJ``; three significant digits.

    Args:
        value: in base units.
        unit: symbol of the base unit.
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}".rstrip()
    for scale, prefix in _PREFIXES:
        if abs(value) >= scale * 0.9995:
            return f"{significant(value / scale)} {prefix}{unit}".rstrip()
    return f"{value:.3g} {unit}"


def energy(picojoules: float) -> str:
    """``6.27e6`` → ``6.27 µJ``."""
    return engineering(picojoules * 1e-12, "J")


def area(square_micrometres: float) -> str:
    """In mm² from a thousandth of one upwards, in µm² below."""
    if square_micrometres >= 1000:
        return f"{significant(square_micrometres * 1e-6)} mm²"
    return f"{significant(square_micrometres)} µm²"


def significant(value: float) -> str:
    """Three significant digits without an exponent, for values up to some thousands."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value)) + 1e-4))
    return f"{value:,.{digits}f}"


def count(value: float) -> str:
    """A count: whole with separators, two decimals when it is a small expectation, an exponent from 10^13."""
    if value == 0:
        return "0"
    if abs(value) >= 1e13:
        return f"{value:.4g}"
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 0.005:
        return f"{value:.1e}"
    return f"{value:,.2f}"


def share(part: float, whole: float) -> str:
    """``part / whole`` in percent; empty without a whole."""
    return f"{part / whole:.1%}" if whole else ""


def ratio(value: float) -> str:
    """``1.5`` → ``1.50×``, ``0.00417`` → ``0.0042×``."""
    if not math.isfinite(value):
        return "∞"
    if 0 < value < 0.1:
        return f"{value:.2g}×"
    return f"{value:,.2f}×" if value < 100 else f"{value:,.0f}×"
