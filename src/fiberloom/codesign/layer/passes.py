"""Which entries of a design's menu a representation runs as: passes over the array, and the throughput that follows."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from fiberloom.architecture.library.menu import Menu
from fiberloom.architecture.library.structure import DENSE, Structure, structure_of
from fiberloom.errors import SpecError, UnsupportedError

if TYPE_CHECKING:
    from fiberloom.representation.formats import NumberFormat


@dataclass(frozen=True)
class StoredTerm:
    """A term of a tensor as hardware keeps it.

    Attributes:
        structure: where its values stand.
        format: of its values; None where the representation leaves them as they are: then they are the design's own.
    """

    structure: Structure
    format: NumberFormat | None = None

    @property
    def rate(self) -> Fraction:
        """Multiplications per cycle of a multiplier that does one of 16-bit operands: T = 16 / bits, rounded to powers of two.

        T(16 bits) = 1, T(8) = 2, T(4) = 4, the counting of SDQ (arXiv:2406.13868, *effective compute throughput*).
        """
        return Fraction(1) if self.format is None else Fraction(16, 1 << math.ceil(math.log2(self.format.bits)))


@dataclass(frozen=True)
class Pass:
    """One run of a tensor's values over the array.

    Attributes:
        entry: the structure that the array runs, of the menu.
        format: the multipliers' number format.
        rate: multiplications per cycle beside 16-bit operands.
        term: which term of the tensor it is.
        share: of the time of a dense pass.
    """

    entry: Structure
    format: str
    rate: Fraction
    term: int
    share: Fraction

    @property
    def time(self) -> Fraction:
        """Share of the time of a dense product of 16-bit operands."""
        return self.share / self.rate


def stored_terms(representation: Any) -> tuple[StoredTerm, ...]:
    """The terms of a `Representation`, of its text (``1:8 int8 + 6:8 fp4``), of a pattern or of a share of non-zeros.

    Raises:
        SpecError: for what is none of these.
    """
    if representation is None or isinstance(representation, (int, float, Fraction, Structure)):
        return (StoredTerm(structure_of(representation)),)
    if isinstance(representation, str) and "+" not in representation and " " not in representation.strip():
        with contextlib.suppress(SpecError):
            return (StoredTerm(structure_of(representation)),)
    if isinstance(representation, str):
        from fiberloom.representation import read_representation

        representation = read_representation(representation)
    terms = getattr(representation, "terms", None)
    if terms is None:
        return (StoredTerm(structure_of(representation)),)
    return tuple(_stored(term) for term in terms)


def _stored(term: Any) -> StoredTerm:
    return StoredTerm(structure_of(term.pattern), term.format)


def ideal_throughput(terms: Sequence[StoredTerm]) -> float:
    """1 / Σ density/T(format): every zero skipped, nothing lost between terms."""
    return float(1 / sum((term.structure.density / term.rate for term in terms), Fraction(0)))


def menu_throughput(passes: Iterable[Pass], terms: Sequence[StoredTerm]) -> float:
    """1 / Σ time/T(format) over the passes: what the menu makes of it.

    Values without a format run in the design's own, and count as those of 16 bits do in `ideal_throughput`.
    """
    times = (p.share / (Fraction(1) if format_of(p, terms) is None else p.rate) for p in passes)
    return float(1 / sum(times, Fraction(0)))


def format_of(run: Pass, terms: Sequence[StoredTerm]) -> NumberFormat | None:
    """Number format of the values of a pass."""
    return terms[run.term].format if run.term < len(terms) else None


def plan_passes(terms: Sequence[StoredTerm], menu: Menu, patterns: Sequence[str]) -> tuple[Pass, ...]:
    """The fastest passes that compute a tensor exactly.

    A term runs as the sparsest entry that holds all its values (``1:8`` on a 2:4 core runs as 2:4, ``6:8`` as dense), or as
    several entries with blocks of one size that together hold them (``6:8`` as 4:8 and 2:8). Where the terms are more than the
    design runs, or slower so, they are added up beforehand and run as one.

    Args:
        patterns: the menu of the operand.

    Raises:
        UnsupportedError: when the design has no number format wide enough.
    """
    entries = [_entry(text) for text in patterns]
    ways = []
    splits = [list(enumerate(terms))]
    if len(terms) > 1:
        widest = max(range(len(terms)), key=lambda i: _bits(terms[i]))
        splits.append([(widest, _sum(terms))])
    for split in splits:
        options = [_ways_of(i, term, entries, menu) for i, term in split]
        for chosen in itertools.product(*options):
            passes = tuple(itertools.chain.from_iterable(chosen))
            if len(passes) <= menu.terms:
                ways.append(passes)
    if not ways:
        raise UnsupportedError(
            f"no entry of the menu holds '{' + '.join(str(t.structure) for t in terms)}'",
            hint=f"the menu is {', '.join(patterns)}, in at most {menu.terms} term{'s' * (menu.terms > 1)}",
        )

    def cost(passes: tuple[Pass, ...]) -> tuple[Fraction, int, Fraction, int, int]:
        time = sum((p.time for p in passes), Fraction(0))
        bits = sum((p.entry.density * _value_bits(p, terms) for p in passes), Fraction(0))
        return time, 0 if menu.stationary else len(passes), bits, len(passes), len(set(passes))

    return min(ways, key=cost)


def _value_bits(run: Pass, terms: Sequence[StoredTerm]) -> Fraction:
    """Bits that a pass stores per value, with its coordinates; values without a format take those of a byte."""
    number = format_of(run, terms)
    return (Fraction(8) if number is None else Fraction(str(number.bits_per_element))) + run.entry.coordinate_bits


def _entry(text: str) -> Structure:
    return structure_of(text)


def _ways_of(index: int, term: StoredTerm, entries: Sequence[Structure], menu: Menu) -> list[tuple[Pass, ...]]:
    format, rate = _format(term, menu)

    def run_as(entry: Structure) -> Pass:
        return Pass(entry, format, rate, index, entry.density if "weights" in menu.skips else Fraction(1))

    ways: list[tuple[Pass, ...]] = []
    for entry in entries:
        run = entry
        if entry.ranks is None:  # anywhere: runs at the term's own density
            run = Structure(None, term.structure.density) if not term.structure.is_dense else DENSE
        elif not term.structure.within(entry):
            continue
        ways.append((run_as(run),))
    pair = term.structure.ranks
    if menu.terms > 1 and pair is not None and len(pair) == 1:
        wanted, block = pair[0]
        sizes = {h for e in entries if e.ranks is not None and len(e.ranks) == 1 for _, h in e.ranks if h > 1}
        for size in sizes:
            need = _in_blocks(wanted, block, size)
            same = [e for e in entries if e.ranks is not None and len(e.ranks) == 1 and e.ranks[0][1] == size]
            for count in range(2, menu.terms + 1):
                for parts in itertools.combinations_with_replacement(same, count):
                    if sum(e.kept for e in parts) >= need:
                        ways.append(tuple(run_as(e) for e in parts))
    return ways


def _in_blocks(kept: int, of: int, size: int) -> int:
    """Most values of a pattern kept:of in aligned blocks of `size`."""
    if size % of == 0:
        return kept * (size // of)
    return min(size, kept) if of % size == 0 else size


def _sum(terms: Sequence[StoredTerm]) -> StoredTerm:
    """The terms added up: of the widest format; the structure is the sum's where blocks are of one size, else dense."""
    widest = max(terms, key=_bits)
    pairs = [term.structure.ranks for term in terms]
    structure = DENSE
    if all(ranks is not None and len(ranks) == 1 for ranks in pairs):
        sizes = [ranks[0][1] for ranks in pairs if ranks is not None]
        block = max(sizes)
        if all(block % size == 0 for size in sizes):
            kept = sum(ranks[0][0] * (block // ranks[0][1]) for ranks in pairs if ranks is not None)
            if kept < block:
                structure = structure_of(f"{kept}:{block}")
    elif all(ranks is None for ranks in pairs):
        structure = structure_of(min(1.0, float(sum(term.structure.density for term in terms))))
    return StoredTerm(structure, widest.format)


def _bits(term: StoredTerm) -> int:
    return 0 if term.format is None else term.format.bits


def _format(term: StoredTerm, menu: Menu) -> tuple[str, Fraction]:
    """The fastest multipliers of the menu that take a term's values as they are."""
    from fiberloom.representation.formats import number_format

    known = {name: Fraction(str(rate)) for name, rate in menu.formats.items()}
    if term.format is None:
        own = next(iter(known))
        return own, known[own]
    wanted = term.format
    fitting = {name: rate for name, rate in known.items() if _holds(number_format(name), wanted)}
    if not fitting:
        raise UnsupportedError(
            f"the design has no multipliers for {wanted.name}",
            hint=f"its formats are {', '.join(known)}; quantise the term, as in '2:4 {next(iter(known))}'",
        )
    best = max(fitting, key=lambda name: fitting[name])
    return best, fitting[best]


def _holds(multiplier: NumberFormat, values: NumberFormat) -> bool:
    """Whether every value of a format is an operand of a multiplier of another; integers also take floats of few exponents."""
    if multiplier.is_float:
        whole = 0 if values.is_float else 1  # the sign of an integer is among its bits
        wide = multiplier.significand_bits >= values.significand_bits - whole
        return wide and multiplier.exponent_bits >= values.exponent_bits
    if not values.is_float:
        return multiplier.bits >= values.bits
    return bool(multiplier.bits >= 2**values.exponent_bits - 2 + values.significand_bits + 1)


def checked_menu(menu: Menu | None, design: str) -> Menu:
    """`menu`, if the design states one.

    Raises:
        SpecError: if not.
    """
    if menu is None:
        raise SpecError(
            f"design '{design}' does not say which patterns it runs",
            hint="add a section 'menu' to it, or take a design that has one (fiberloom designs)",
        )
    return menu
