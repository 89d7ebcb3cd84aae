"""What a design accelerates: the patterns, number formats and terms that its hardware can run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fiberloom.architecture.library.structure import DENSE, Structure, structure_of

if TYPE_CHECKING:
    from fiberloom.input.field import Field

_RANGE: Final = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True)
class Menu:
    """The menu of a design, as its file states it.

    Attributes:
        weights, activations: patterns per operand, as text: ``dense``, ``unstructured``, ``2:4``, ``C1(4:8)->C0(2:4)``.
        terms: most terms of one tensor that run one after the other.
        formats: number formats of the multipliers, the architecture's own first, with their rate beside that of 16-bit
            operands (an 8-bit format doubles it).
        skips: operands whose zeros take no time; zeros of others save storage, traffic and energy only.
        stationary: whether partial sums and the other operand stay in the array while the terms of a tensor stream by (TASD,
            arXiv:2403.07953); otherwise every term is an operation of its own.
        extracts: whether units in front of the array find the terms of activations at run time.
    """

    weights: tuple[str, ...]
    activations: tuple[str, ...]
    terms: int
    formats: Mapping[str, float]
    skips: tuple[str, ...] = ("weights",)
    stationary: bool = False
    extracts: bool = False

    def runs_weights_as(self, structure: Structure) -> Structure:
        """The sparsest entry of `weights` that holds every value of `structure`; dense, where none does.

        An entry for non-zeros anywhere takes the structure as it is.
        """
        held = [entry for entry in map(structure_of, self.weights) if structure.within(entry) or entry.ranks is None]
        if any(entry.ranks is None for entry in held):
            return structure
        return min(held, key=lambda entry: entry.density, default=DENSE)


def read_menu(section: Field) -> Menu:
    """The section ``menu:`` of a design.

    Raises:
        SpecError: for fields that are missing, unknown or make no sense.
    """
    fields = section.mapping()
    known = ("weights", "activations", "terms", "formats", "skips", "stationary", "extracts")
    section.refuse_unknown(fields, known)
    for name in ("weights", "formats"):
        if name not in fields:
            raise section.error(f"the menu has no '{name}'", f"a menu has the fields {', '.join(known)}")
    formats = {name: float(rate.number(minimum=0)) for name, rate in fields["formats"].mapping().items()}
    return Menu(
        weights=expanded_patterns(fields["weights"].names()),
        activations=expanded_patterns(fields["activations"].names()) if "activations" in fields else ("dense",),
        terms=fields["terms"].integer(minimum=1) if "terms" in fields else 1,
        formats=formats,
        skips=tuple(fields["skips"].names()) if "skips" in fields else ("weights",),
        stationary="stationary" in fields and fields["stationary"].boolean(),
        extracts="extracts" in fields and fields["extracts"].boolean(),
    )


def expanded_patterns(patterns: Iterable[str]) -> tuple[str, ...]:
    """Ranges spelled out: ``2:{2..4}`` is 2:2, 2:3 and 2:4."""
    found: dict[str, None] = {}
    for pattern in patterns:
        match = _RANGE.search(pattern)
        if match is None:
            found[pattern] = None
        else:
            each = (
                f"{pattern[: match.start()]}{n}{pattern[match.end() :]}"
                for n in range(int(match[1]), int(match[2]) + 1)
            )
            found |= dict.fromkeys(expanded_patterns(tuple(each)))
    return tuple(found)
