"""Families of representations: ``C1(4:{4..8})->C0(2:{2..4})`` stands for fifteen."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from itertools import product
from typing import Final

from fiberloom.errors import SpecError
from fiberloom.representation.notation import read_representation
from fiberloom.representation.term import Representation

_CHOICE: Final = re.compile(r"\{([^{}]*)\}")
_RANGE: Final = re.compile(r"\s*(\d+)\s*\.\.\s*(\d+)\s*")

MOST_MEMBERS: Final = 10_000
"""A family larger than this is taken for a mistake."""


def read_family(text: str) -> tuple[Representation, ...]:
    """All representations that `text` stands for; braces hold a range ``{2..8}`` or a list ``{2, 4}`` of what may stand there.

    The last brace changes fastest. Text without braces is a family of one.

    Raises:
        SpecError: for braces that hold neither, and for a member that can't be read.
    """
    parts = _CHOICE.split(text)
    fixed, choices = parts[::2], [_choices(inside, text) for inside in parts[1::2]]
    if any("{" in part or "}" in part for part in fixed):
        raise SpecError(f"a brace in '{text}' is not closed", hint="write {2..8} or {2, 4}")
    members = 1
    for options in choices:
        members *= len(options)
    if members > MOST_MEMBERS:
        raise SpecError(f"'{text}' stands for {members:,} representations", hint=f"at most {MOST_MEMBERS:,} are read")
    texts = (
        fixed[0] + "".join(option + after for option, after in zip(chosen, fixed[1:], strict=True))
        for chosen in product(*choices)
    )
    return tuple(read_representation(member) for member in texts)


def _choices(inside: str, text: str) -> list[str]:
    if match := _RANGE.fullmatch(inside):
        first, last = int(match[1]), int(match[2])
        if first > last:
            raise SpecError(f"'{{{inside}}}' in '{text}' is empty", hint=f"write {{{last}..{first}}}")
        return [str(number) for number in range(first, min(last, first + MOST_MEMBERS) + 1)]
    options = [option.strip() for option in inside.split(",")]
    if not all(options) or any(".." in option for option in options):
        raise SpecError(f"'{{{inside}}}' in '{text}' is no choice", hint="write a range {2..8} or a list {2, 4}")
    return options


def distinct_densities(family: Iterable[Representation]) -> tuple[Fraction, ...]:
    """The different shares of stored values of the members, from the densest.

    Raises:
        SpecError: for a member whose share depends on the tensor.
    """
    shares = set()
    for member in family:
        if member.stored_share is None:
            raise SpecError(f"how much '{member}' stores depends on the tensor")
        shares.add(member.stored_share)
    return tuple(sorted(shares, reverse=True))
