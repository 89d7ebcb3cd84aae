"""What a file of MLIR says, whatever its dialect and however it was read: functions of operations on typed values.

MLIR: Lattner et al., CGO'21, §3 (operations, regions, blocks, values, attributes).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Final

from fiberloom.errors import Location, SpecError, UnsupportedError

_FLOATS: Final = {
    "f64": ("fp64", 64),
    "f32": ("fp32", 32),
    "tf32": ("tf32", 19),
    "f16": ("fp16", 16),
    "bf16": ("bf16", 16),
    "index": ("int64", 64),
}
"""Element types of MLIR's builtin dialect: format and bits. An ``index`` is as wide as an address of the host."""


@dataclass(frozen=True)
class ValueType:
    """The type of a value.

    Attributes:
        text: as written.
        shape: extents (None for a dynamic one), empty for scalars; None if it is neither a tensor, a memref nor a scalar.
        element: type of an element, as written.
        ranked: whether it is a tensor or a memref, and not a scalar.
    """

    text: str
    shape: tuple[int | None, ...] | None
    element: str
    ranked: bool

    @property
    def number_format(self) -> tuple[str, int]:
        """Name of the format and bits of an element; a type without a width (a token) has none."""
        return number_format(self.element)

    @property
    def is_float(self) -> bool:
        """Whether elements are floating-point numbers."""
        return self.number_format[0].startswith(("fp", "bf", "tf"))


@lru_cache(maxsize=4096)
def value_type(text: str) -> ValueType:
    """Read a type such as ``tensor<4x?xf32>``, ``memref<8xi8, strided<[2]>>``, ``f32``."""
    text = text.strip()
    match = re.fullmatch(r"(tensor|memref|vector)<(.*)>", text, re.DOTALL)
    if not match:
        scalar = re.fullmatch(r"f\d+\w*|bf16|tf32|[su]?i\d+|index", text) is not None
        return ValueType(text, () if scalar else None, text, ranked=False)
    body = match.group(2).strip()
    if body.startswith("*"):
        return ValueType(text, None, body.removeprefix("*x"), ranked=True)
    extents = re.match(r"(?:(?:\?|\d+)\s*x\s*)*", body)
    dims = re.findall(r"\?|\d+", extents.group()) if extents else []
    element = _until_comma(body[extents.end() if extents else 0 :])
    return ValueType(text, tuple(None if d == "?" else int(d) for d in dims), element, ranked=True)


def number_format(element: str) -> tuple[str, int]:
    """Format and bits of an element type: ``f32`` → (``fp32``, 32), ``f8E4M3FN`` → (``fp8_e4m3``, 8), ``ui8`` → (``uint8``, 8)."""
    element = element.strip()
    if element in _FLOATS:
        return _FLOATS[element]
    if element == "i1":
        return "bool", 8  # a byte in memory
    if match := re.fullmatch(r"(u|s)?i(\d+)", element):
        return ("uint" if match[1] == "u" else "int") + match[2], max(1, int(match[2]))
    if match := re.fullmatch(r"f(\d+)E(\d+)M(\d+)\w*", element):
        return f"fp{match[1]}_e{match[2]}m{match[3]}", int(match[1])
    if match := re.fullmatch(r"complex<(.*)>", element):
        name, bits = number_format(match[1])
        return f"complex of {name}", 2 * bits
    if match := re.match(r"!quant\.\w+<\s*(\w+)", element):
        return number_format(match[1])
    if match := re.fullmatch(r"vector<(.*)>", element):
        inner = value_type(element)
        name, bits = number_format(inner.element)
        lanes = 1
        for extent in inner.shape or ():
            lanes *= extent or 1
        return name, bits * lanes
    return element, 0


def _until_comma(text: str) -> str:
    depth = 0
    for i, character in enumerate(text):
        depth += {"<": 1, "[": 1, "(": 1, ">": -1, "]": -1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            return text[:i].strip()
    return text.strip()


@dataclass(eq=False)
class Value:
    """A value: an argument or a result. `name` has no ``%``."""

    name: str
    type: ValueType
    line: int


@dataclass(frozen=True)
class Dense:
    """A constant: `text` is what stands between ``dense<`` and ``>``; `resource` when the data is elsewhere in the file."""

    text: str
    resource: bool = False

    @property
    def splat(self) -> bool:
        """Whether all elements are one number."""
        return not self.resource and not self.text.startswith(("[", '"0x'))

    @cached_property
    def numbers(self) -> list[int]:
        """All elements of a (small) constant of whole numbers, flat; none if it can't be read."""
        if self.resource or self.text.startswith('"'):
            return []
        found = re.findall(r"[^\s,\[\]]+", self.text)
        return [int(n) for n in found] if all(re.fullmatch(r"-?\d+", n) for n in found) else []


@dataclass(frozen=True)
class AffineExpression:
    """``Σ coefficient · d_i + offset``; `problem` says why an expression is not of this form."""

    terms: tuple[tuple[int, int], ...]
    """(coefficient, dimension), each dimension once, no coefficient zero."""
    offset: int = 0
    problem: str = ""


@dataclass(frozen=True)
class AffineMap:
    """A map from `dims` loop variables, and `symbols` behind them, to index expressions."""

    dims: int
    results: tuple[AffineExpression, ...]
    symbols: int = 0


@dataclass(eq=False)
class Block:
    """Operations in order, with the block's arguments."""

    arguments: list[Value]
    operations: list[Operation]


@dataclass(eq=False)
class Operation:
    """An operation.

    Attributes:
        name: with its dialect (``stablehlo.add``).
        regions: each a list of blocks.
        line: where it stands, from 1.
        words: bare words and symbols of its printed form, in order (``LT``, ``@relu``).
        groups: operands by the word before their brackets (``ins``, ``outs``).
        location: name that the file's debug information gives, or empty.
    """

    name: str
    operands: list[Value]
    results: list[Value]
    line: int
    attributes: dict[str, Any] = field(default_factory=dict)
    regions: list[list[Block]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    groups: dict[str, list[Value]] = field(default_factory=dict)
    location: str = ""

    @property
    def short(self) -> str:
        """Name without its dialect."""
        return self.name.partition(".")[2] or self.name

    @property
    def dialect(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]

    @property
    def body(self) -> Block | None:
        """The only block of the only region, if so."""
        if len(self.regions) == 1 and len(self.regions[0]) == 1:
            return self.regions[0][0]
        return None

    def walk(self) -> Iterator[Operation]:
        """This operation and all inside it."""
        yield self
        for region in self.regions:
            for block in region:
                for operation in block.operations:
                    yield from operation.walk()


@dataclass(eq=False)
class Function:
    """A function with one block."""

    name: str
    block: Block
    private: bool
    line: int


@dataclass(frozen=True)
class Program:
    """The functions of a file, and the types of its global constants, by name."""

    file: str
    functions: dict[str, Function]
    constants: dict[str, ValueType]
    name: str = ""

    def at(self, line: int) -> Location:
        """A place in the file."""
        return Location(self.file, line)

    def roots(self) -> list[Function]:
        """The function ``main`` or ``forward`` if there is one, otherwise all public functions that no other calls."""
        for name in ("main", "forward"):
            if name in self.functions:
                return [self.functions[name]]
        called = {
            callee(op)
            for function in self.functions.values()
            for outer in function.block.operations
            for op in outer.walk()
        }
        free = [f for f in self.functions.values() if f.name not in called]
        return [f for f in free if not f.private] or free


def callee(operation: Operation) -> str | None:
    """The function that a call or a composite operation computes."""
    named = operation.attributes.get("decomposition" if operation.short == "composite" else "callee")
    if isinstance(named, str):
        return named.lstrip("@").strip('"')
    if operation.name in ("call", "func.call"):
        return next((w.lstrip("@").strip('"') for w in operation.words if w.startswith("@")), None)
    return None


def program(file: str, top: list[Operation], name: str = "") -> Program:
    """Functions and global constants of the operations of a file.

    Raises:
        SpecError: if there is no function with a body.
        UnsupportedError: if a function has several blocks (control flow).
    """
    functions: dict[str, Function] = {}
    constants: dict[str, ValueType] = {}
    pending = list(top)
    while pending:
        operation = pending.pop(0)
        symbol = str(operation.attributes.get("sym_name", "")).lstrip("@").strip('"')
        if operation.name in ("module", "builtin.module"):
            name = name or symbol
            pending = [o for region in operation.regions for block in region for o in block.operations] + pending
        elif operation.name in ("func.func", "func"):
            blocks = operation.regions[0] if operation.regions else []
            if len(blocks) > 1:
                raise UnsupportedError(
                    f"function '@{symbol}' branches between {len(blocks)} blocks; how often each runs is not known",
                    where=Location(file, operation.line),
                    hint="give a function of one block (structured loops with constant bounds are read)",
                )
            if blocks:
                private = operation.attributes.get("sym_visibility") == "private"
                functions[symbol] = Function(symbol, blocks[0], private, operation.line)
        elif operation.short in ("global", "global_memref") and "type" in operation.attributes:
            constants[symbol] = value_type(str(operation.attributes["type"]))
    if not functions:
        raise SpecError("the file holds no function with a body", where=Location(file), hint="a func.func @main(...)")
    return Program(file, functions, constants, name)
