"""Which places of a tensor a term keeps: one pattern per file, all of them read from text by `read_pattern`."""

from fiberloom.errors import SpecError, nearest
from fiberloom.representation.patterns._base import Pattern, Tail, split_tail
from fiberloom.representation.patterns.dense import Dense
from fiberloom.representation.patterns.n_of_m import NOfM

__all__ = ["Dense", "NOfM", "Pattern", "Tail", "find_pattern", "pattern_examples", "read_pattern"]

_READ: tuple[type[Pattern], ...] = (Dense, NOfM)


def read_pattern(text: str) -> Pattern:
    """The pattern written as `text`: ``dense``, ``2:4``, ``2:4/keep`` (with a tail policy), ….

    Raises:
        SpecError: if no pattern is written so, or its numbers make no sense.
    """
    found = find_pattern(text)
    if found is None:
        raise SpecError(
            f"'{text.strip()}' is no pattern",
            hint=nearest(text, pattern_examples()),
        )
    return found


def find_pattern(text: str) -> Pattern | None:
    """The pattern written as `text`; None if no kind of pattern is written so.

    Raises:
        SpecError: if it looks like one and its numbers make no sense.
    """
    bare, tail = split_tail(text.strip())
    for kind in _READ:
        found = kind.from_text(bare)
        if found is not None:
            return found if tail is None else found.with_tail(tail)
    return None


def pattern_examples() -> list[str]:
    """How patterns are written."""
    return [example for kind in _READ for example in kind.examples]
