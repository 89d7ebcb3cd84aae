"""A reader of MLIR text that needs to know no dialect: the generic form, and the forms that dialects print for people.

It takes from a printed operation what all dialects write alike (results, operands, attributes, regions, types) and keeps bare words
as words. A statement ends where the next begins: at a result that is assigned, at a closing brace, at the next operation's name.
MLIR Language Reference, "High-Level Structure" and "Operations".
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Any, Final, NoReturn

from fiberloom.errors import Location, SpecError
from fiberloom.workload.importers.mlir_affine import affine_map
from fiberloom.workload.importers.mlir_program import Block, Dense, Operation, Value, ValueType, value_type

_SPACE: Final = re.compile(r"(?:\s+|//[^\n]*)*")
_NAME: Final = re.compile(r"[A-Za-z_][\w$.]*")
_STRING: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_USE: Final = re.compile(r"%([\w$.-]+)(?:#(\d+))?")
_NUMBER: Final = re.compile(r"[+-]?(?:0x[0-9A-Fa-f]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)")
_ASSIGNED: Final = re.compile(r"%[\w$.-]+(?:\s*:\s*\d+)?(?:\s*,\s*%[\w$.-]+(?:\s*:\s*\d+)?)*\s*=(?!=)")
_ALIAS: Final = re.compile(r"([#!][\w$.-]+)\s*=(?!=)")
_SYMBOL: Final = re.compile(r'@(?:[\w$.-]+|"(?:[^"\\]|\\.)*")(?:::@(?:[\w$.-]+|"[^"]*"))*')
_DICTIONARY: Final = re.compile(r'\{\s*(?:\}|(?:"[^"]*"|[A-Za-z_][\w$.]*)\s*(?:=(?!=)|,|\}))')
_BRACKETS: Final = re.compile(r'->|>=|<=|"(?:[^"\\]|\\.)*"|[<>]')
_UNDOTTED: Final = frozenset({"return", "call", "module", "func", "yield"})
"""Operations that are printed without their dialect."""
_AFTER_TYPES: Final = frozenset({"reducer", "cond", "do", "else", "loc", "attrs", "attributes", "to", "into"})
"""Words that go on with an operation after its types."""
_DEEPEST: Final = 200
"""Regions inside each other; the reader calls itself for each."""


class TextReader:
    """Reads operations from text.

    Args:
        file: for messages.
        outer: values that are defined outside the text, by name without ``%``.
    """

    def __init__(self, text: str, file: str, outer: dict[str, tuple[Value, ...]] | None = None) -> None:
        self.text = text
        self.file = file
        self.pos = 0
        self.aliases: dict[str, Any] = {}
        self._scopes: list[dict[str, tuple[Value, ...]]] = [outer if outer is not None else {}]
        self._lines = [m.start() for m in re.finditer("\n", text)]
        self._used: list[Value] = []
        self._depth = 0

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

    # Whole files

    def file_operations(self) -> list[Operation]:
        """All operations of a file.

        Raises:
            SpecError: for text that is not MLIR, with the line.
        """
        self._read_aliases()
        found = []
        while self._next():
            if self._accept("{-#"):
                end = self.text.find("#-}", self.pos)
                self.pos = len(self.text) if end < 0 else end + 3
            elif match := _ALIAS.match(self.text, self.pos):
                self.pos = match.end()
                self._alias_value(match.group(1))
            else:
                found.append(self.operation())
        return found

    def _read_aliases(self) -> None:
        """Aliases may be used before they are defined (locations are printed last), so they are read first."""
        for match in re.finditer(r"^[ \t]*([#!][\w$.-]+)[ \t]*=(?!=)", self.text, re.MULTILINE):
            self.pos = match.end()
            try:
                self.aliases[match.group(1)] = self._alias_value(match.group(1))
            except SpecError:
                self.aliases[match.group(1)] = ""
        self.pos = 0

    def _alias_value(self, name: str) -> Any:
        if name.startswith("!"):
            return self._type()
        if self._next() == "l" and self.text.startswith("loc", self.pos):
            self.pos += 3
            return self._location()
        return self._value(typed=True)

    # Operations

    def operation(self) -> Operation:
        """The operation at the position, which then is behind it."""
        self._skip()
        start = self.pos
        names = self._result_names()
        line = self.line(start)
        if self._next() == '"':
            operation, types = self._generic(line)
        else:
            match = self._match(_NAME)
            if not match:
                self._unexpected("an operation")
            operation = Operation(match.group(), [], [], line)
            if operation.name in ("func.func", "func"):
                self._function(operation)
                types = []
            elif operation.name in ("module", "builtin.module"):
                self._module(operation)
                types = []
            else:
                types = self._printed(operation, sum(n for _, n in names))
        total = sum(n for _, n in names)
        if names and len(types) != total:
            self.fail(f"'{operation.name}' has {len(types)} results, but {total} are named", start)
        made = iter(types)
        for name, number in names:
            values = tuple(
                Value(name if number == 1 else f"{name}#{i}", self._typed(next(made)), line) for i in range(number)
            )
            self._scopes[-1][name] = values
            operation.results.extend(values)
        return operation

    def _typed(self, text: str) -> ValueType:
        alias = self.aliases.get(text) if text.startswith("!") else None
        return value_type(alias if isinstance(alias, str) and alias else text)

    def _result_names(self) -> list[tuple[str, int]]:
        if self._next() != "%":
            return []
        names = []
        while match := self._match(re.compile(r"%([\w$.-]+)(?:\s*:\s*(\d+))?")):
            names.append((match.group(1), int(match.group(2) or 1)))
            if not self._accept(","):
                break
        self._expect("=")
        return names

    def _use(self) -> Value:
        match = self._match(_USE)
        if not match:
            self._unexpected("a value")
        for scope in reversed(self._scopes):
            if match.group(1) in scope:
                values, index = scope[match.group(1)], int(match.group(2) or 0)
                if index >= len(values):
                    self.fail(f"%{match.group(1)} has {len(values)} results; there is no #{index}", match.start())
                return values[index]
        self.fail(f"%{match.group(1)} is used but not defined above", match.start())

    def _generic(self, line: int) -> tuple[Operation, list[str]]:
        operation = Operation(self._string(), [], [], line)
        self._expect("(")
        while self._next() != ")":
            operation.operands.append(self._use())
            if not self._accept(","):
                break
        self._expect(")")
        if self._next() == "[":
            self.fail(f"'{operation.name}' branches to other blocks", hint="structured loops with constant bounds are read")
        if self._accept("<"):
            operation.attributes |= self._dictionary()
            self._expect(">")
        if self._accept("("):
            while self._next() == "{":
                operation.regions.append(self._region([]))
                if not self._accept(","):
                    break
            self._expect(")")
        if self._next() == "{":
            operation.attributes |= self._dictionary()
        self._expect(":")
        inputs, outputs = self._types()
        if len(inputs) != len(operation.operands):
            self.fail(f"'{operation.name}' has {len(operation.operands)} operands and {len(inputs)} operand types")
        self._trailing_location(operation)
        return operation, outputs or []

    def _module(self, operation: Operation) -> None:
        if match := self._match(_SYMBOL):
            operation.attributes["sym_name"] = match.group()
        if self._match(re.compile(r"attributes\b")):
            operation.attributes |= self._dictionary()
        operation.regions.append(self._region([]))
        self._trailing_location(operation)

    def _function(self, operation: Operation) -> None:
        if match := self._match(re.compile(r"(public|private|nested)\b")):
            operation.attributes["sym_visibility"] = match.group()
        match = self._match(_SYMBOL)
        if not match:
            self._unexpected("the function's @name")
        operation.attributes["sym_name"] = match.group()
        arguments: list[Value] = []
        self._expect("(")
        while self._next() not in (")", ""):
            named = self._match(_USE)
            if named:
                self._expect(":")
            kind = self._type()
            arguments.append(Value(named.group(1) if named else "", self._typed(kind), self.line()))
            if self._next() == "{":
                self._dictionary()
            self._trailing_location(None)
            if not self._accept(","):
                break
        self._expect(")")
        if self._accept("->"):
            if self._accept("("):
                while self._next() not in (")", ""):
                    self._type()
                    if self._next() == "{":
                        self._dictionary()
                    if not self._accept(","):
                        break
                self._expect(")")
            else:
                self._type()
        if self._match(re.compile(r"attributes\b")):
            operation.attributes |= self._dictionary()
        if self._next() == "{":
            operation.regions.append(self._region(arguments))
        self._trailing_location(operation)

    def _printed(self, operation: Operation, results: int) -> list[str]:
        """The rest of an operation in its dialect's own form; returns the types of its results."""
        outer, self._used = self._used, operation.operands
        inputs: list[str] = []
        outputs: list[str] | None = None
        bound: list[Value] = []
        typed = False
        while True:
            newline = self._skip()
            character = self.text[self.pos : self.pos + 1]
            if character in ("", "}", "^", ")", "]") or (character == '"' and newline):
                break
            if character == "%":
                if _ASSIGNED.match(self.text, self.pos) or typed:
                    break
                operation.operands.append(self._use())
            elif self.text.startswith("->", self.pos):
                self.pos += 2
                outputs, typed = self._result_types(), True
            elif character == ":":
                self.pos += 1
                inputs, outputs = self._types()
                typed = True
            elif character == "(":
                self._group(operation, "", bound)
            elif character == "{":
                if _DICTIONARY.match(self.text, self.pos) and not bound:
                    operation.attributes |= self._dictionary()
                else:
                    operation.regions.append(self._region([Value(v.name, v.type, v.line) for v in bound]))
            elif character in ",=*":
                self.pos += 1
            elif self.text.startswith("<{", self.pos):
                self.pos += 1
                operation.attributes |= self._dictionary()
                self._expect(">")
            elif character == "<":
                self._angle()
            elif character == "@":
                operation.words.append(self._symbol())
            elif character in "#!" and newline and _ALIAS.match(self.text, self.pos):
                break
            elif match := _NAME.match(self.text, self.pos):
                word = match.group()
                if (newline and ("." in word or word in _UNDOTTED)) or (typed and word not in _AFTER_TYPES):
                    break
                self._word(operation, word, bound)
            elif character in "[#!\"-+" or character.isdigit():
                operation.attributes.setdefault("values", []).append(self._value(typed=False))
            else:
                self._unexpected("an operand, an attribute or a type")
        self._used = outer
        if outputs is not None:
            return outputs
        if not inputs and results:
            outs = operation.groups.get("outs", [])
            return [v.type.text for v in outs] or ["none"] * results
        return inputs if len(inputs) == results else inputs[-1:] * results

    def _word(self, operation: Operation, word: str, bound: list[Value]) -> None:
        start = self.pos
        self.pos += len(word)
        after = self.text[self.pos : self.pos + 1]
        if word == "loc" and after == "(":
            operation.location = self._location()
        elif word in ("dense", "dense_resource", "affine_map", "array", "true", "false"):
            self.pos = start
            operation.attributes.setdefault("value", self._value(typed=False))
        elif self._next() == "=" and not self.text.startswith("==", self.pos):
            self.pos += 1
            operation.attributes[word] = self._value(typed=False)
        elif after == "(":
            self.pos = start + len(word)
            self._group(operation, word, bound)
        elif after == "[":
            self.pos = start + len(word)
            operation.attributes[word] = self._value(typed=False)
        else:
            operation.words.append(word)

    def _group(self, operation: Operation, word: str, bound: list[Value]) -> None:
        """A bracket of operands, with their types or without; of block arguments (``%a: type``, ``%a = %b``); of numbers."""
        self._expect("(")
        group = operation.groups.setdefault(word, [])
        while self._next() not in (")", ""):
            if self._next() == "%":
                match = _USE.match(self.text, self.pos)
                defines = word == "reducer" or re.compile(r"%[\w$.-]+\s*=").match(self.text, self.pos)
                if match and defines:
                    self.pos = match.end()
                    if self._accept("="):
                        value = self._use()
                        operation.operands.append(value)
                        kind = value.type
                    else:
                        self._expect(":")
                        kind = self._typed(self._type())
                        self._trailing_location(None)
                    bound.append(Value(match.group(1), kind, self.line()))
                else:
                    value = self._use()
                    group.append(value)
                    operation.operands.append(value)
            elif self._accept(":"):
                if self._next() != "%":
                    self._types()
            elif self._accept(","):
                pass
            elif self._next() == "(":
                self._group(operation, word, bound)
            elif match := self._match(re.compile(r"(init|dims|sizes)\b(?!\s*=)")):
                operation.words.append(match.group())
            elif match := self._match(re.compile(r"(\w+)\s*=(?!=)")):
                operation.attributes[match.group(1)] = self._value(typed=True)
            else:
                operation.attributes.setdefault(word or "values", []).append(self._value(typed=True))
        self._expect(")")

    def _region(self, arguments: list[Value]) -> list[Block]:
        start = self.pos
        self._expect("{")
        self._depth += 1
        if self._depth > _DEEPEST:
            self.fail(f"more than {_DEEPEST} regions inside each other", start)
        self._scopes.append({v.name: (v,) for v in arguments})
        blocks = [Block(list(arguments), [])]
        while self._next() != "}":
            if not self._next():
                self.fail("'{' is never closed", start)
            if self._accept("^"):
                block = self._block_header()
                if blocks[-1].operations or blocks[-1].arguments or len(blocks) > 1:
                    blocks.append(block)
                else:
                    blocks = [block]
            else:
                blocks[-1].operations.append(self.operation())
        self._expect("}")
        self._scopes.pop()
        self._depth -= 1
        return blocks

    def _block_header(self) -> Block:
        self._match(re.compile(r"[\w$.-]+"))
        block = Block([], [])
        if self._accept("("):
            while match := self._match(_USE):
                self._expect(":")
                value = Value(match.group(1), self._typed(self._type()), self.line())
                self._trailing_location(None)
                block.arguments.append(value)
                self._scopes[-1][value.name] = (value,)
                if not self._accept(","):
                    break
            self._expect(")")
        self._expect(":")
        return block

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
        match = self._match(_SYMBOL)
        if not match:
            self._unexpected("a symbol")
        return match.group()

    def _dictionary(self) -> dict[str, Any]:
        self._expect("{")
        found: dict[str, Any] = {}
        while self._next() not in ("}", ""):
            key = self._string() if self._next() == '"' else ""
            if not key:
                match = self._match(_NAME)
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
        match = self._match(_NAME)
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
