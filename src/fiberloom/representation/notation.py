"""Representations written as text: ``2:4+2:8``, ``7:8 => 1:8 int8 + 6:8 fp4``, ``C1(4:8)->C0(2:4)``."""

from __future__ import annotations

from fiberloom.errors import SpecError, nearest
from fiberloom.representation.patterns import find_pattern, pattern_examples, read_pattern
from fiberloom.representation.term import Representation, Term


def read_representation(text: str | Representation) -> Representation:
    """The representation that `text` writes.

    Terms are joined by ``+``; each is a pattern and, after a space, a number format. A term without pattern is dense: ``int8`` is
    ``dense int8``. A pattern and ``=>`` in front prune the tensor before it is split.

    Raises:
        SpecError: for what can't be read, with the nearest that can.
    """
    if isinstance(text, Representation):
        return text
    if "{" in text:
        raise SpecError(
            f"'{text}' stands for several representations", hint="read_family reads families; here write one member"
        )
    pruning, arrow, rest = text.replace("⇒", "=>").rpartition("=>")
    parts = [part.strip() for part in _split(rest, "+")]
    if not all(parts):
        raise SpecError(
            f"'{text}' is no representation: a term is empty", hint="write '2:4+2:8' or '1:8 int8 + 6:8 fp4'"
        )
    return Representation(tuple(_read_term(part) for part in parts), read_pattern(pruning) if arrow else None)


def _read_term(text: str) -> Term:
    from fiberloom.representation.formats import EXAMPLES, number_format

    *words, last = [word for word in _split(text, " ") if word]
    if words:
        try:
            found = number_format(last)
        except SpecError:
            pattern = find_pattern(text)
            if pattern is not None:
                return Term(pattern)
            read_pattern(" ".join(words))
            raise
        return Term(read_pattern(" ".join(words)), found)
    pattern = find_pattern(text)
    if pattern is not None:
        return Term(pattern)
    try:
        return Term(read_pattern("dense"), number_format(text))
    except SpecError:
        raise SpecError(
            f"'{text}' is neither a pattern nor a number format", hint=nearest(text, [*pattern_examples(), *EXAMPLES])
        ) from None


def _split(text: str, separator: str) -> list[str]:
    """`text` at every `separator` outside brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
