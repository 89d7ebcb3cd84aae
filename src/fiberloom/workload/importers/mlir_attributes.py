"""Tokens, types and attributes of MLIR text, of any dialect.

MLIR Language Reference, "Notation", "Type System" and "Attributes".
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Any, Final, NoReturn

from fiberloom.errors import Location, SpecError
from fiberloom.workload.importers.mlir_affine import affine_map
from fiberloom.workload.importers.mlir_program import Dense, Operation, Value, ValueType, value_type

_SPACE: Final = re.compile(r"(?:\s+|//[^\n]*)*")
NAME: Final = re.compile(r"[A-Za-z_][\w$.]*")
_STRING: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_NUMBER: Final = re.compile(r"[+-]?(?:0x[0-9A-Fa-f]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)")
SYMBOL: Final = re.compile(r'@(?:[\w$.-]+|"(?:[^"\\]|\\.)*")(?:::@(?:[\w$.-]+|"[^"]*"))*')
_BRACKETS: Final = re.compile(r'->|>=|<=|"(?:[^"\\]|\\.)*"|[<>]')


class AttributeReader:
    """Reads tokens, types and attributes from text.

    Attributes:
        pos: where the next token begins.
        aliases: what ``#name`` and ``!name`` stand for.
    """

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.pos = 0
        self.aliases: dict[str, Any] = {}
        self._used: list[Value] = []
        self._lines = [m.start() for m in re.finditer("\n", text)]

    def _use(self) -> Value:
        """A value, where an attribute has one (dynamic sizes)."""
        self._unexpected("an attribute")

    # Places

    def line(self, pos: int | None = None) -> int:
        """Line of a position, from 1."""
        return bisect_right(self._lines, (self.pos if pos is None else pos) - 1) + 1

    def fail(self, problem: str, pos: int | None = None, hint: str | None = None) -> NoReturn:
        """Raise a `SpecError` at a position."""
        raise SpecError(problem, where=Location(self.file, self.line(pos)), hint=hint)

    def _unexpected(self, wanted: str) -> NoReturn:
        self._skip()
        found = self.text[self.pos : self.pos + 24].split("\n")[0]
        self.fail(f"expected {wanted}, found " + (f"'{found}'" if self.pos < len(self.text) else "the end of the file"))

    # Tokens

    def _skip(self) -> bool:
        """Skip blanks and comments; whether a line ended."""
        match = _SPACE.match(self.text, self.pos)
        start, self.pos = self.pos, match.end() if match else self.pos
        return "\n" in self.text[start : self.pos]

    def _next(self) -> str:
        self._skip()
        return self.text[self.pos : self.pos + 1]

    def _accept(self, literal: str) -> bool:
        self._skip()
        if self.text.startswith(literal, self.pos):
            self.pos += len(literal)
            return True
        return False

    def _expect(self, literal: str) -> None:
        if not self._accept(literal):
            self._unexpected(f"'{literal}'")

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self._skip()
        match = pattern.match(self.text, self.pos)
        if match:
            self.pos = match.end()
        return match

    def _angle(self) -> str:
        """What stands between ``<`` and its ``>``; the position is at the ``<``."""
        start, depth = self.pos, 0
        for match in _BRACKETS.finditer(self.text, self.pos):
            depth += {"<": 1, ">": -1}.get(match.group(), 0)
            if depth == 0 and match.group() == ">":
                self.pos = match.end()
                return self.text[start + 1 : match.start()]
        self.fail("'<' is never closed", start)

    # Types

    def _types(self) -> tuple[list[str], list[str] | None]:
        """``(a, b) -> c``, ``a, b``, ``a -> b``, ``a to b``."""
        if self._next() == "(":
            inputs = self._type_list()
        else:
            inputs = [self._type()]
            while self._accept(","):
                inputs.append(self._type())
        if self._accept("->"):
            return inputs, self._result_types()
        if self._match(re.compile(r"(to|into)\b")):
            return inputs, [self._type()]
        return inputs, None

    def _result_types(self) -> list[str]:
        return self._type_list() if self._next() == "(" else [self._type()]

    def _type_list(self) -> list[str]:
        self._expect("(")
        found = []
        while self._next() not in (")", ""):
            found.append(self._type())
            if self._next() == "{":
                self._dictionary()
            if not self._accept(","):
                break
        self._expect(")")
        return found

    def _typed(self, text: str) -> ValueType:
        alias = self.aliases.get(text) if text.startswith("!") else None
        return value_type(alias if isinstance(alias, str) and alias else text)

    def _type(self) -> str:
        self._skip()
        start = self.pos
        if self._next() == "(":
            self._type_list()
            self._expect("->")
            self._result_types()
            return self.text[start : self.pos]
        match = self._match(re.compile(r"!?[A-Za-z_][\w$.]*"))
        if not match:
            self._unexpected("a type")
        if self.text.startswith("<", self.pos):
            self._angle()
        return self.text[start : self.pos]

    # Attributes

    def _string(self) -> str:
        match = self._match(_STRING)
        if not match:
            self.fail("a string is never closed")
        return match.group(1)

    def _symbol(self) -> str:
        match = self._match(SYMBOL)
        if not match:
            self._unexpected("a symbol")
        return match.group()

    def _dictionary(self) -> dict[str, Any]:
        self._expect("{")
        found: dict[str, Any] = {}
        while self._next() not in ("}", ""):
            key = self._string() if self._next() == '"' else ""
            if not key:
                match = self._match(NAME)
                if not match:
                    self._unexpected("the name of an attribute")
                key = match.group()
            found[key] = self._value(typed=True) if self._accept("=") else True
            if not self._accept(","):
                break
        self._expect("}")
        return found

    def _value(self, *, typed: bool) -> Any:
        """An attribute; `typed`: a ``: type`` may follow (at the end of an operation it is the operation's)."""
        found = self._bare_value()
        if typed and not isinstance(found, list) and self._next() == ":" and not self.text.startswith("::", self.pos):
            self.pos += 1
            if self._match(_NUMBER):  # start:limit:stride of a slice
                while self._accept(":"):
                    self._match(_NUMBER)
            else:
                self._type()
        return found

    def _bare_value(self) -> Any:
        character = self._next()
        if character == "[":
            parts = [self._list()]
            while self._match(re.compile(r"x\s*(?=\[)|->\s*(?=\[)")):
                parts.append(self._list())
            return parts if len(parts) > 1 else parts[0]
        if character == "{":
            return self._dictionary()
        if character == '"':
            return self._string()
        if character == "@":
            return self._symbol()
        if character == "%":
            value = self._use()
            self._used.append(value)
            return value
        if character == "(":
            return self._type()
        if character == "<":
            return self._angle()
        if character == "#":
            return self._dialect_attribute()
        if character == "!":
            return self._type()
        if character == "?":
            self.pos += 1
            return None
        if match := self._match(_NUMBER):
            text = match.group()
            return int(text, 0) if re.fullmatch(r"[+-]?(0x[0-9A-Fa-f]+|0|[1-9]\d*)", text) else float(text)
        match = self._match(NAME)
        if not match:
            self._unexpected("an attribute")
        return self._named_value(match.group(), match.start())

    def _named_value(self, word: str, start: int) -> Any:
        if word in ("true", "false"):
            return word == "true"
        if not self.text.startswith("<", self.pos):
            return word
        if word in ("dense", "dense_resource", "sparse"):
            return Dense(self._constant(), resource=word != "dense")
        inner = self._angle()
        if word == "array":
            numbers = inner.partition(":")[2]
            return [_scalar(n) for n in re.findall(r"[^\s,]+", numbers)]
        if word == "affine_map":
            try:
                return affine_map(inner)
            except ValueError as error:
                self.fail(str(error), start)
        return self.text[start : self.pos]

    def _constant(self) -> str:
        """What stands inside ``dense<…>``, which may be many megabytes of numbers."""
        start = self.pos + 1
        opening = _SPACE.match(self.text, start)
        begin = opening.end() if opening else start
        if self.text.startswith('"', begin):
            end = self.text.find('"', begin + 1)
            end = self.text.find(">", end) if end > 0 else -1
        else:
            end = self.text.find(">", begin)
        if end < 0:
            self.fail("'dense<' is never closed", start)
        self.pos = end + 1
        return self.text[begin:end].strip()

    def _list(self) -> list[Any]:
        self._expect("[")
        found = []
        while self._next() not in ("]", ""):
            found.append(self._value(typed=True))
            if not self._accept(","):
                break
        self._expect("]")
        return found

    def _dialect_attribute(self) -> Any:
        """``#alias``, or ``#dialect.kind<…>`` with fields (a dictionary), a list, or anything else (text)."""
        match = self._match(re.compile(r"#[\w$.-]+"))
        if not match:
            self._unexpected("an attribute")
        if not self.text.startswith("<", self.pos):
            return self.aliases.get(match.group(), match.group())
        start = self.pos
        inner = self._angle()
        end, self.pos = self.pos, start + 1
        found: Any = inner
        try:
            if re.match(r"\s*\w+\s*=", inner):
                fields: dict[str, Any] = {}
                while key := self._match(re.compile(r"(\w+)\s*=")):
                    fields[key.group(1)] = self._value(typed=False)
                    self._accept(",")
                found = fields
            elif inner.lstrip().startswith("["):
                found = self._bare_value()
        except SpecError:
            found = inner
        self.pos = end
        return found

    # Locations

    def _location(self) -> str:
        """The name in a ``(…)`` after ``loc``."""
        start, depth = self.pos, 0
        for match in re.compile(r'"(?:[^"\\]|\\.)*"|[()]').finditer(self.text, self.pos):
            depth += {"(": 1, ")": -1}.get(match.group(), 0)
            if depth == 0:
                self.pos = match.end()
                break
        else:
            self.fail("'loc(' is never closed", start)
        inner = self.text[start + 1 : self.pos - 1].strip()
        if alias := re.fullmatch(r"#[\w$.-]+", inner):
            found = self.aliases.get(alias.group(), "")
            return found if isinstance(found, str) else ""
        named = re.match(r'(?:fused(?:<[^>]*>)?\[)?"((?:[^"\\]|\\.)*)"(?!:\d)', inner)
        return named.group(1) if named else ""

    def _trailing_location(self, operation: Operation | None) -> None:
        self._skip()
        if self.text.startswith("loc(", self.pos):
            self.pos += 3
            found = self._location()
            if operation is not None:
                operation.location = found


def _scalar(text: str) -> int | float | str | bool:
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text
