"""Which places of a tensor a term keeps: one pattern per file, all of them read from text by `read_pattern`."""

from fiberloom.representation.patterns._base import Pattern, Tail
from fiberloom.representation.patterns.dense import Dense
from fiberloom.representation.patterns.n_of_m import NOfM

__all__ = ["Dense", "NOfM", "Pattern", "Tail", "read_pattern"]

_READ: tuple[type[Pattern], ...] = (Dense, NOfM)


def read_pattern(text: str) -> Pattern:
    """The pattern written as `text`: ``dense``, ``2:4``, ….

    Raises:
        SpecError: if no pattern is written so, or its numbers make no sense.
    """
    from fiberloom.errors import SpecError, nearest

    for kind in _READ:
        found = kind.from_text(text.strip())
        if found is not None:
            return found
    raise SpecError(
        f"'{text}' is no pattern", hint=nearest(text, [example for kind in _READ for example in kind.examples])
    )
