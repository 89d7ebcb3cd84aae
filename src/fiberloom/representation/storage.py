"""Bits that a represented tensor takes: values, their scales, and where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from fiberloom.errors import SpecError

if TYPE_CHECKING:
    from fiberloom.representation.term import Representation, Term

UNQUANTIZED_BITS: Final = 16
"""Bits of a value without a number format: the fp16 that published comparisons start from."""

ENUMERATED: Final = "enumerated"


@dataclass(frozen=True)
class TermStorage:
    """Bits per element of the tensor that one term takes.

    Attributes:
        values: of the stored values.
        scales: of their scales.
        metadata: that say where they are.
        metadata_format: how (see `Pattern.metadata_bits`).
    """

    values: float
    scales: float
    metadata: float
    metadata_format: str

    @property
    def total(self) -> float:
        """All three."""
        return self.values + self.scales + self.metadata


def term_storage(
    term: Term,
    share: Fraction | float,
    metadata: str | None,
    shape: Sequence[int] | None,
    axis: int,
    unquantized_bits: int,
) -> TermStorage:
    """Bits of `term`, of which a `share` of all elements is stored.

    Rigid patterns keep scales for blocks of stored values, others for blocks of places. What stores nothing takes no bits.
    """
    if share == 0:
        return TermStorage(0.0, 0.0, 0.0, "U")
    bits = unquantized_bits if term.format is None else term.format.bits
    scale = 0.0 if term.format is None else term.format.bits_per_element - term.format.bits
    pattern = term.pattern.with_share(Fraction(share))
    name, found = _chosen(term, pattern.metadata_bits(shape, axis), metadata)
    return TermStorage(
        values=float(share * bits),
        scales=float(share) * scale if term.pattern.rigid else scale,
        metadata=float(found),
        metadata_format=name,
    )


def _chosen(term: Term, known: Mapping[str, Fraction], metadata: str | None) -> tuple[str, Fraction]:
    """The metadata format asked for, or the cheapest that hardware reads without a table."""
    if metadata is None:
        known = {name: bits for name, bits in known.items() if ENUMERATED not in name} or known
    elif metadata != "smallest":
        chosen = {
            name: bits for name, bits in known.items() if {*name.split("-")} <= {metadata, "U"} or name == metadata
        }
        if not chosen:
            raise SpecError(
                f"'{term.pattern}' can't be kept as '{metadata}'", hint=f"known: {', '.join(known)}, smallest"
            )
        known = chosen
    name = min(known, key=lambda key: known[key])
    return name, known[name]


def throughput(representation: Representation, shares: Sequence[Fraction | float]) -> float:
    """Multiples of dense 16-bit throughput if every place not stored is skipped: 1 / Σ share · bits/16 over the terms.

    The rate of a number format is inverse to its width: 16 bits 1, 8 bits 2, 4 bits 4.
    """
    cost: Fraction | float = Fraction(0)
    for term, share in zip(representation.terms, shares, strict=True):
        bits = UNQUANTIZED_BITS if term.format is None else term.format.bits
        cost += share * Fraction(bits, UNQUANTIZED_BITS)
    return float(1 / cost) if cost else float("inf")
