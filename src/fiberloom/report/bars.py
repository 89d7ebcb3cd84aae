"""Bars of characters: alone and stacked; told apart by shade where there is no colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.text import Text

PALETTE: Final = (("█", "blue"), ("▓", "magenta"), ("▒", "cyan"), ("░", "green"), ("▚", "yellow"), ("·", "white"))
"""Character and colour of the parts of a stacked bar, in order; repeats after the last."""

_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


def bar(value: float, largest: float, width: int, style: str = "blue") -> Text:
    """A bar of `width` characters at `largest`, in steps of an eighth of a character."""
    if largest <= 0 or value <= 0 or width <= 0:
        return Text("")
    eighths = round(min(1.0, value / largest) * width * 8)
    whole, rest = divmod(max(1, eighths), 8)
    return Text("█" * whole + (_EIGHTHS[rest] if rest else ""), style=style)


def stacked_bar(parts: Sequence[float], largest: float, width: int) -> Text:
    """The parts one after the other; their sum is `width` characters long at `largest`, and no longer above.

    Lengths are rounded on running sums, so that the whole bar is as long as its total says.
    """
    text = Text()
    if largest <= 0:
        return text
    total, drawn = 0.0, 0
    for i, part in enumerate(parts):
        total += max(0.0, part)
        end = round(min(1.0, total / largest) * width)
        character, style = PALETTE[i % len(PALETTE)]
        text.append(character * (end - drawn), style=style)
        drawn = end
    return text


def legend(names: Sequence[str]) -> Text:
    """The parts of stacked bars by character and colour."""
    text = Text()
    for i, name in enumerate(names):
        character, style = PALETTE[i % len(PALETTE)]
        text.append("   " if i else "")
        text.append(character * 2, style=style)
        text.append(f" {name}")
    return text
