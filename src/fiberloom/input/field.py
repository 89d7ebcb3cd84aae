"""A value of an input file with its place: typed access; errors name file, line, field and what is right."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from fiberloom.errors import Location, SpecError, UnsupportedError, nearest
from fiberloom.input.expressions import Number, evaluate
from fiberloom.input.yaml_source import FieldPath, Source

_YES = frozenset({"true", "yes", "y", "on"})
_NO = frozenset({"false", "no", "n", "off"})


class Field:
    """One value of a `Source`, at a path.

    Args:
        value: the plain value.
        source: the document it stands in.
        path: the fields that lead to it.
        scope: names that arithmetic expressions in it may use; handed on to the fields inside.
    """

    __slots__ = ("path", "scope", "source", "value")

    def __init__(
        self, value: Any, source: Source, path: FieldPath = (), scope: Mapping[str, Number] | None = None
    ) -> None:
        self.value = value
        self.source = source
        self.path = path
        self.scope: Mapping[str, Number] = scope or {}

    @property
    def where(self) -> Location:
        return self.source.where(self.path)

    @property
    def tag(self) -> str | None:
        """The application tag (``!Component``) that stands before the value."""
        return self.source.tags.get(self.path)

    @property
    def name(self) -> str:
        """The last part of the path, as written."""
        return str(self.path[-1]) if self.path else "the file"

    def error(self, problem: str, hint: str | None = None) -> SpecError:
        return SpecError(problem, where=self.where, hint=hint)

    def unsupported(self, problem: str, hint: str | None = None) -> UnsupportedError:
        return UnsupportedError(problem, where=self.where, hint=hint or "remove it, or use a tool that models it")

    def wrong(self, expected: str) -> SpecError:
        return self.error(f"{_shown(self.value)} is not {expected}", f"'{self.name}' takes {expected}")

    def child(self, key: str | int) -> Field:
        return Field(self.value[key], self.source, (*self.path, key), self.scope)

    def in_scope(self, scope: Mapping[str, Number]) -> Field:
        return Field(self.value, self.source, self.path, scope)

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.value, dict)

    @property
    def is_list(self) -> bool:
        return isinstance(self.value, list)

    @property
    def is_text(self) -> bool:
        return isinstance(self.value, str)

    @property
    def is_number(self) -> bool:
        return isinstance(self.value, (int, float)) and not isinstance(self.value, bool)

    def mapping(self, *, hyphens: bool = False) -> dict[str, Field]:
        """Fields by name; nothing for null.

        Args:
            hyphens: read ``a-b`` as ``a_b``.

        Raises:
            SpecError: if this is not a mapping, or it has both ``a-b`` and ``a_b``.
        """
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            raise self.wrong("a mapping of fields ('name: value')")
        fields: dict[str, Field] = {}
        for key in self.value:
            known_as = key.replace("-", "_") if hyphens else key
            if known_as in fields:
                raise self.child(key).error(
                    f"'{key}' says the same as '{fields[known_as].name}' in line {fields[known_as].where.line}",
                    "keep one of them",
                )
            fields[known_as] = self.child(key)
        return fields

    def items(self) -> list[Field]:
        """Items of a list; nothing for null.

        Raises:
            SpecError: if this is not a list.
        """
        if self.value is None:
            return []
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        return [self.child(i) for i in range(len(self.value))]

    def text(self) -> str:
        if isinstance(self.value, str) and self.value.strip():
            return self.value.strip()
        if self.is_number:
            return str(self.value)
        raise self.wrong("a word")

    def number(
        self, *, minimum: float | None = None, above: float | None = None, maximum: float | None = None
    ) -> Number:
        """A finite number, or the value of an arithmetic expression.

        Raises:
            SpecError: if it is neither, or out of range.
        """
        value = self.value
        if isinstance(value, str):
            value = evaluate(value, self.scope, where=self.where)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.wrong("a finite number")
        if minimum is not None and value < minimum:
            raise self.wrong(f"a number from {minimum}")
        if above is not None and value <= above:
            raise self.wrong(f"a number above {above}")
        if maximum is not None and value > maximum:
            raise self.wrong(f"a number up to {maximum}")
        return value

    def integer(self, *, minimum: int | None = None, maximum: int = 2**62) -> int:
        """A whole number, or an expression whose value is one.

        Raises:
            SpecError: if it is neither, or out of range.
        """
        value = self.number()
        if int(value) != value:
            raise self.wrong("a whole number")
        if (minimum is not None and value < minimum) or abs(value) > maximum:
            least = "" if minimum is None else f" from {minimum}"
            raise self.wrong(f"a whole number{least} up to {maximum}" if value > maximum else f"a whole number{least}")
        return int(value)

    def boolean(self) -> bool:
        if isinstance(self.value, bool):
            return self.value
        if self.value in (0, 1) and isinstance(self.value, int):
            return bool(self.value)
        if isinstance(self.value, str) and self.value.lower() in _YES | _NO:
            return self.value.lower() in _YES
        raise self.wrong("true or false")

    def names(self) -> list[str]:
        """A list of words, also written as one string with blanks or commas; nothing for null."""
        if self.value is None:
            return []
        if isinstance(self.value, str):
            return [part for part in re.split(r"[\s,]+", self.value) if part]
        return [item.text() for item in self.items()]

    def one_of(self, names: Iterable[str], what: str) -> str:
        """The text, checked against known names.

        Raises:
            SpecError: with the nearest name.
        """
        known = list(names)
        text = self.text()
        if text not in known:
            raise self.error(f"{what} '{text}' is not known", nearest(text, known))
        return text

    def refuse_unknown(self, fields: Mapping[str, Field], known: Iterable[str], what: str = "field") -> None:
        """Raise for the first of `fields` that is not among `known`.

        Raises:
            SpecError: with the nearest known name.
        """
        names = set(known)
        for key, value in fields.items():
            if key not in names:
                raise value.error(f"unknown {what} '{value.name}'", nearest(key, sorted(names)))


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
