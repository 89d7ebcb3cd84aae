"""A reader of MLIR text that needs to know no dialect: the generic form, and the forms that dialects print for people.

It takes from a printed operation what all dialects write alike (results, operands, attributes, regions, types) and keeps bare words
as words. A statement ends where the next begins: at a result that is assigned, at a closing brace, at the next operation's name.
MLIR Language Reference, "High-Level Structure" and "Operations".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fiberloom.errors import SpecError
from fiberloom.workload.importers.mlir_attributes import NAME, SYMBOL, AttributeReader
from fiberloom.workload.importers.mlir_program import Block, Operation, Value

_USE: Final = re.compile(r"%([\w$.-]+)(?:#(\d+))?")
_ASSIGNED: Final = re.compile(r"%[\w$.-]+(?:\s*:\s*\d+)?(?:\s*,\s*%[\w$.-]+(?:\s*:\s*\d+)?)*\s*=(?!=)")
_ALIAS: Final = re.compile(r"([#!][\w$.-]+)\s*=(?!=)")
_DICTIONARY: Final = re.compile(r'\{\s*(?:\}|(?:"[^"]*"|[A-Za-z_][\w$.]*)\s*(?:=(?!=)|,|\}))')
_UNDOTTED: Final = frozenset({"return", "call", "module", "func", "yield"})
"""Operations that are printed without their dialect."""
_AFTER_TYPES: Final = frozenset({"reducer", "cond", "do", "else", "loc", "attrs", "attributes", "to", "into"})
"""Words that go on with an operation after its types."""
_DEEPEST: Final = 200
"""Regions inside each other; the reader calls itself for each."""


class TextReader(AttributeReader):
    """Reads operations from text.

    Args:
        file: for messages.
        outer: values that are defined outside the text, by name without ``%``.
    """

    def __init__(self, text: str, file: str, outer: Mapping[str, tuple[Value, ...]] | None = None) -> None:
        super().__init__(text, file)
        self._outer: Mapping[str, tuple[Value, ...]] = outer if outer is not None else {}
        self._scopes: list[dict[str, tuple[Value, ...]]] = [{}]
        self._depth = 0

    # Whole files

    def file_operations(self) -> list[Operation]:
        """All operations of a file.

        Raises:
            SpecError: for text that is not MLIR, with the line.
        """
        self.read_aliases()
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

    def read_aliases(self) -> None:
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
            match = self._match(NAME)
            if not match:
                self._unexpected("an operation")
            operation = Operation(match.group(), [], [], line)
            if operation.name in ("func.func", "func"):
                self._function(operation)
                types = []
            elif operation.name in ("module", "builtin.module"):
                self._module(operation)
                types = []
            elif "." not in operation.name and operation.name not in _UNDOTTED:
                self.fail(f"'{operation.name}' is not an operation", match.start())
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
        for scope in (*reversed(self._scopes), self._outer):
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
            self.fail(
                f"'{operation.name}' branches to other blocks", hint="structured loops with constant bounds are read"
            )
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
        self._check_types(operation.operands, inputs)
        self._trailing_location(operation)
        return operation, outputs or []

    def _module(self, operation: Operation) -> None:
        if match := self._match(SYMBOL):
            operation.attributes["sym_name"] = match.group()
        if self._match(re.compile(r"attributes\b")):
            operation.attributes |= self._dictionary()
        operation.regions.append(self._region([]))
        self._trailing_location(operation)

    def _function(self, operation: Operation) -> None:
        if match := self._match(re.compile(r"(public|private|nested)\b")):
            operation.attributes["sym_visibility"] = match.group()
        match = self._match(SYMBOL)
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
            elif match := NAME.match(self.text, self.pos):
                word = match.group()
                if (newline and ("." in word or word in _UNDOTTED)) or (typed and word not in _AFTER_TYPES):
                    break
                self._word(operation, word, bound)
            elif character in '[#!"-+' or character.isdigit():
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

    def _check_types(self, values: Sequence[Value], types: Sequence[str]) -> None:
        """Values have the types that an operation says they have."""
        if len(values) != len(types):
            self.fail(f"{len(values)} operands have {len(types)} types")
        for value, text in zip(values, types, strict=True):
            said = self._typed(text)
            if (said.shape, said.element) != (value.type.shape, value.type.element) and "none" not in (
                text,
                value.type.text,
            ):
                self.fail(f"%{value.name} is {value.type.text}, but is used as {text}")

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
                    inputs, outputs = self._types()
                    if outputs is not None:
                        self.fail("a ')' is missing before '->'")
                    self._check_types(group, inputs)
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
