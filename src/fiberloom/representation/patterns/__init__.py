"""Which places of a tensor a term keeps: one pattern per file, all of them read from text by `read_pattern`."""

from fiberloom.errors import SpecError, nearest
from fiberloom.representation.patterns._base import Pattern, Tail, split_tail
from fiberloom.representation.patterns._metadata import bits_of_mask
from fiberloom.representation.patterns.banded import Banded
from fiberloom.representation.patterns.block import Block
from fiberloom.representation.patterns.dense import Dense
from fiberloom.representation.patterns.hss import HSS
from fiberloom.representation.patterns.kernel import KernelPatterns
from fiberloom.representation.patterns.mask import Mask
from fiberloom.representation.patterns.n_of_m import NOfM
from fiberloom.representation.patterns.unstructured import Scope, Unstructured
from fiberloom.representation.patterns.vnm import VNM

__all__ = [
    "HSS",
    "VNM",
    "Banded",
    "Block",
    "Dense",
    "KernelPatterns",
    "Mask",
    "NOfM",
    "Pattern",
    "Scope",
    "Tail",
    "Unstructured",
    "bits_of_mask",
    "find_pattern",
    "pattern_examples",
    "read_pattern",
]

_KINDS: tuple[type[Pattern], ...] = (Dense, NOfM, Unstructured, Block, VNM, KernelPatterns, Banded, Mask, HSS)


def read_pattern(text: str) -> Pattern:
    """The pattern written as `text`: ``dense``, ``2:4``, ``2:4/keep`` (with a tail policy), ``C1(4:8)->C0(2:4)``, ….

    Raises:
        SpecError: if no pattern is written so, or its numbers make no sense.
    """
    found = find_pattern(text)
    if found is None:
        raise SpecError(f"'{text.strip()}' is no pattern", hint=nearest(text, pattern_examples()))
    return found


def find_pattern(text: str) -> Pattern | None:
    """The pattern written as `text`; None if no kind of pattern is written so.

    Raises:
        SpecError: if it looks like one and its numbers make no sense.
    """
    bare, tail = split_tail(text.strip())
    for kind in _KINDS:
        found = kind.from_text(bare)
        if found is not None:
            return found if tail is None else found.with_tail(tail)
    return None


def pattern_examples() -> list[str]:
    """How patterns are written."""
    return [example for kind in _KINDS for example in kind.examples]
