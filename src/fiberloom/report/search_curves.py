"""Best-so-far curves of mappers as one self-contained SVG picture: medians as steps, quartiles as bands, both axes logarithmic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from fiberloom.mapper.comparison import MapperComparison, runs_along
from fiberloom.report.mapper_comparison import AXES, axes_of, measure

Floats = NDArray[np.float64]

COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3c8d", "#555555")
"""Told apart with any colour vision (Okabe, Ito, *Color Universal Design*, 2008), and two dark ones."""
DASHES: Final = ("", "7 3", "2 3")
"""After the last colour they start again with another dash."""

WIDTH: Final = 890
PANEL: Final = 330
LEFT, RIGHT, TOP, BOTTOM = 70, 220, 34, 46
POINTS: Final = 240
"""Places along an axis where curves are drawn."""
FAR: Final = 3.0
"""How many times worse than the baseline a mapper may end and still be in the frame."""
LARGEST_RATIO: Final = 1e4
"""Ratios above are cut off; the first random mapping may be any factor away."""


@dataclass(frozen=True)
class _Scale:
    """A logarithmic axis from data to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = math.log(min(max(value, self.low), self.high) / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round numbers, as many as read well."""
        decades = math.log10(self.high / self.low)
        steps = (
            (1, 2, 5)
            if decades > 1
            else (1, 1.5, 2, 3, 5, 7)
            if decades > 0.5
            else tuple(i / 10 for i in range(10, 100))
        )
        steps = (1,) if decades > 3 else steps
        exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        found = [step * 10.0**e for e in exponents for step in steps]
        inside = [t for t in found if self.low * 0.999 <= t <= self.high * 1.001]
        return inside[:: max(1, math.ceil(len(inside) / 9))]


def curves_svg(comparison: MapperComparison, title: str) -> str:
    """The picture as text: one panel per budget, over its evaluations or seconds.

    Args:
        title: what was searched.
    """
    axes = axes_of(comparison)
    shown = axes if len(axes) > 1 else ["evaluations", "seconds"]
    height = 40 + PANEL * len(shown)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for i, axis in enumerate(shown):
        lines += [f'<g transform="translate(0 {36 + i * PANEL})">', *_panel(comparison, axis, i), "</g>"]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _panel(comparison: MapperComparison, axis: str, number: int) -> Iterator[str]:
    end = comparison.budget(axis)
    start = 1.0 if axis == "evaluations" else _first_moment(comparison, end)
    places = np.geomspace(start, end, POINTS) if end > start else np.array([start])
    values = [comparison.quartiles(c, axis, list(places)) for c in comparison.contestants]
    x = _Scale(start, max(end, start * 1.01), LEFT, WIDTH - RIGHT)
    y = _vertical(values)
    yield f'<text x="{LEFT}" y="18" fill="#333">{escape(measure(comparison))}; median and quartiles of '
    yield f"{comparison.seeds} seeds</text>"
    yield from _frame(x, y, AXES[axis])
    yield f'<clipPath id="inside{number}"><rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" '
    yield f'height="{PANEL - TOP - BOTTOM}"/></clipPath><g clip-path="url(#inside{number})">'
    for i, quartiles in enumerate(values):
        yield from _curve(places, quartiles, x, y, i)
    yield "</g>"
    yield from _legend(comparison, values)


def _first_moment(comparison: MapperComparison, end: float) -> float:
    """Where time begins on the axis: shortly before the first improvement of any run."""
    first = [
        float(r.curve.seconds[0])
        for c in comparison.contestants
        for r in runs_along(c, "seconds")
        if len(r.curve.seconds)
    ]
    earliest = min((t for t in first if t > 0), default=end / 1000)
    return float(min(max(earliest, 1e-4), end / 2))


def _vertical(values: Sequence[Floats]) -> _Scale:
    """From the least value up to where mappers stand after half of the axis, the baseline first.

    Those that end far worse than the baseline leave the frame, so that they do not press the others flat; the legend has
    their value.
    """
    finite = np.concatenate([v[np.isfinite(v)] for v in values])
    low = float(finite.min()) if len(finite) else 1.0
    low = min(low, 1.0) if low < 1.2 else low
    worst = FAR * float(values[0][1, -1])
    settled = np.concatenate([v[1, len(v[1]) // 2 :] for v in values if v[1, -1] <= worst])
    settled = settled[np.isfinite(settled)]
    high = float(settled.max()) if len(settled) else 2.0 * low
    return _Scale(low, max(min(high * 1.15, LARGEST_RATIO * low), low * 1.2), PANEL - BOTTOM, TOP)


def _frame(x: _Scale, y: _Scale, unit: str) -> Iterator[str]:
    right, bottom = WIDTH - RIGHT, PANEL - BOTTOM
    for tick in y.ticks():
        at = y(tick)
        yield f'<line x1="{LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e4e4e4"/>'
        yield f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end" fill="#333">{_label(tick)}×</text>'
    for tick in x.ticks():
        at = x(tick)
        yield f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{bottom}" y2="{bottom + 5}" stroke="#333"/>'
        yield f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle" fill="#333">{_label(tick)}</text>'
    if y.low <= 1 <= y.high:
        yield f'<line x1="{LEFT}" x2="{right}" y1="{y(1):.1f}" y2="{y(1):.1f}" stroke="#333" stroke-dasharray="1 3"/>'
    yield f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#333"/>'
    yield f'<text x="{(LEFT + right) / 2:.0f}" y="{bottom + 36}" text-anchor="middle" fill="#333">{unit}</text>'


def _curve(places: Floats, quartiles: Floats, x: _Scale, y: _Scale, i: int) -> Iterator[str]:
    colour, dash = _style(i)
    for part in _stretches(quartiles[1]):
        median = _steps(places[part], quartiles[1, part], x, y)
        # A third quartile that is still infinite is drawn at the upper edge.
        upper = _steps(places[part], np.minimum(quartiles[2, part], y.high * 2), x, y)
        lower = _steps(places[part], quartiles[0, part], x, y)
        band = " ".join([*upper, *reversed(lower)])
        yield f'<polygon points="{band}" fill="{colour}" fill-opacity="0.13"/>'
        yield f'<polyline points="{" ".join(median)}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'


def _stretches(values: Floats) -> list[slice]:
    """Where a median is finite: from some place on, as best-so-far only falls."""
    finite = np.flatnonzero(np.isfinite(values))
    return [slice(int(finite[0]), len(values))] if len(finite) else []


def _steps(places: Floats, values: Floats, x: _Scale, y: _Scale) -> list[str]:
    """Corners of a staircase that falls at each place."""
    corners = [f"{x(places[0]):.1f},{_beyond(values[0], y):.1f}"]
    for place, before, value in zip(places[1:], values[:-1], values[1:], strict=True):
        if value != before:
            corners += [f"{x(place):.1f},{_beyond(before, y):.1f}", f"{x(place):.1f},{_beyond(value, y):.1f}"]
    return [*corners, f"{x(places[-1]):.1f},{_beyond(values[-1], y):.1f}"]


def _beyond(value: float, y: _Scale) -> float:
    """Pixels of a value; above the axis where it is above its end, so that the clip cuts it."""
    return y(value) if value <= y.high else y.end - 20


def _legend(comparison: MapperComparison, values: Sequence[Floats]) -> Iterator[str]:
    """Mappers by their last median, the best on top."""
    order = sorted(range(len(values)), key=lambda i: float(values[i][1, -1]))
    left = WIDTH - RIGHT + 14
    for row, i in enumerate(order):
        colour, dash = _style(i)
        at = TOP + 10 + 17 * row
        last = float(values[i][1, -1])
        text = f"{last:.3f}×" if last < 10 else f"{last:.3g}×" if math.isfinite(last) else "none valid"
        yield f'<line x1="{left}" x2="{left + 20}" y1="{at}" y2="{at}" stroke="{colour}" stroke-width="2.5"{dash}/>'
        yield f'<text x="{left + 26}" y="{at + 4}">{escape(comparison.contestants[i].name)} <tspan fill="#666">{text}</tspan></text>'


def _style(i: int) -> tuple[str, str]:
    dash = DASHES[i // len(COLOURS) % len(DASHES)]
    return COLOURS[i % len(COLOURS)], f' stroke-dasharray="{dash}"' if dash else ""


def _label(value: float) -> str:
    if value >= 1e5 or value < 1e-3:
        exponent = math.floor(math.log10(value) + 1e-9)
        lead = value / 10**exponent
        return f"{'' if abs(lead - 1) < 1e-6 else f'{lead:g}·'}10^{exponent}"
    return f"{value:,.6g}"
