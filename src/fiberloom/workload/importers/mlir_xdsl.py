"""MLIR text through xDSL, which knows the builtin, func, arith, math, memref, tensor, affine, scf and linalg dialects.

Operations that xDSL has no printed form of (many of linalg's named ones, other dialects) are read by
`fiberloom.workload.importers.mlir_text` in place, so that one unknown operation does not stop a file. xDSL: Fehr et al., CGO'25.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fiberloom.errors import Location, MissingExtraError, SpecError
from fiberloom.workload.importers.mlir_affine import affine_map
from fiberloom.workload.importers.mlir_program import Block, Dense, Operation, Program, Value, program, value_type
from fiberloom.workload.importers.mlir_text import TextReader

_DIALECTS: Final = (
    "affine", "arith", "bufferization", "builtin", "cf", "complex", "func", "linalg", "math", "memref", "ml_program", "scf",
    "tensor", "vector",
)  # fmt: skip
"""Dialects that are looked up in xDSL; it has more, but what they do is not known here."""

_LINALG_OF_XDSL: Final = frozenset(("linalg.generic", "linalg.yield", "linalg.index"))
"""Operations of linalg whose printed form xDSL reads; the named ones it knows in part, and some in another form than MLIR's tools."""

_OPERATION: Final = re.compile(r"(?:%[^=\"]*=\s*)?([A-Za-z_][\w$.]*)")
_SMALL: Final = 64
"""Elements up to which a constant's numbers are kept (strides, dilations, paddings)."""


def read_program(text: str, file: str) -> Program:
    """The functions of a file of MLIR text.

    Raises:
        MissingExtraError: without xDSL.
        SpecError: for text that is not MLIR, with the line.
        UnsupportedError: for functions of several blocks.
    """
    if not text.strip():
        raise SpecError("the file is empty", where=Location(file))
    try:
        from xdsl.context import Context
        from xdsl.universe import Universe
        from xdsl.utils.exceptions import ParseError
    except ImportError:
        raise MissingExtraError("xdsl", "mlir", "reading MLIR's linalg and affine dialects") from None
    context = Context(allow_unregistered=True)
    known = Universe.get_multiverse().all_dialects
    for name in _DIALECTS:
        if name in known:
            context.register_dialect(name, known[name])
    text = _without_locations(_without_resources(text))
    _check_strings(text, file)
    parser = _parser_class()(context, text, file)
    try:
        module = parser.parse_module()
        top = [parser.converted(module)]
    except ParseError as error:
        line = text.count("\n", 0, error.span.start) + 1
        raise SpecError(_sentence(error.msg), where=Location(file, line)) from None
    except RecursionError:
        raise SpecError("operations or attributes are nested too deeply", where=Location(file)) from None
    except SpecError:
        raise
    except Exception as error:  # xDSL checks some operations with errors of their own classes, and without a place
        line = text.count("\n", 0, parser.started) + 1
        raise SpecError(
            f"xDSL can't read the operation that begins here: {_sentence(str(error))}", where=Location(file, line)
        ) from None
    return program(file, top)


def _sentence(message: str) -> str:
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    found = lines[-1] if lines else ""
    return "expected an operation" if found in ("", "Could not parse entire input!") else found


def _check_strings(text: str, file: str) -> None:
    """Strings end on their line; xDSL 0.74 does not return from one that never ends."""
    for match in re.finditer(r'//[^\n]*|"(?:[^"\\\n]|\\.)*"|"', text):
        if match.group() == '"':
            line = text.count("\n", 0, match.start()) + 1
            raise SpecError("a string is never closed", where=Location(file, line))


def _without_resources(text: str) -> str:
    """Leave out the file's metadata, which holds the numbers of large constants."""
    match = re.search(r"^\s*\{-#", text, re.MULTILINE)
    return text[: match.start()] if match else text


def _without_locations(text: str) -> str:
    """Blank out debug locations, of which xDSL knows one kind only; positions stay."""
    if "loc(" not in text:
        return text
    pieces, at = [], 0
    for match in re.finditer(r"(?:^[ \t]*#loc\w*[ \t]*=[ \t]*)?(?<![\w$.])loc\(", text, re.MULTILINE):
        if match.start() < at:
            continue
        depth, end = 1, match.end()
        for bracket in re.compile(r'"(?:[^"\\]|\\.)*"|[()]').finditer(text, end):
            depth += {"(": 1, ")": -1}.get(bracket.group(), 0)
            if depth == 0:
                end = bracket.end()
                break
        pieces += [text[at : match.start()], " " * (end - match.start())]
        at = end
    return "".join([*pieces, text[at:]])


def _parser_class() -> Any:
    """A parser of xDSL's that remembers lines and reads operations that xDSL does not know."""
    from xdsl.dialects.builtin import UnregisteredOp
    from xdsl.ir import Operation as XdslOperation
    from xdsl.parser import Parser
    from xdsl.utils.exceptions import ParseError

    class LenientParser(Parser):  # type: ignore[misc,unused-ignore]  # untyped where xDSL is not installed
        ssa_values: Any
        started = 0

        def __init__(self, context: Any, text: str, file: str) -> None:
            super().__init__(context, text, file)
            self._reader = TextReader(text, file, _Visible(self))
            self._reader.read_aliases()
            self._text = text
            self._places: dict[Any, int] = {}
            self._values: dict[Any, Value] = {}
            self._own: dict[Any, Operation] = {}
            self._names: dict[Any, str] = {}
            self._defined: dict[Any, int] = {}

        def parse_operation(self) -> Any:
            start = int(self._current_token.span.start)
            self.started = start
            match = _OPERATION.match(self._text, start)
            if match:
                name = match.group(1)
                known = self.ctx.get_optional_op(name, dialect_stack=self._parser_state.dialect_stack)
                unknown = known is None or issubclass(known, UnregisteredOp)
                named = name.startswith("linalg.") and name not in _LINALG_OF_XDSL
                if unknown and "." not in name:
                    self._reader.fail(f"'{name}' is not an operation", start)
                unprinted = known is not None and known.parse.__func__ is XdslOperation.parse.__func__
                if named or unknown or unprinted:
                    return self._read_here(start)
            general = match is not None and match.group(1) == "linalg.generic"
            visible = dict(self.ssa_values) if general else {}
            try:
                operation = super().parse_operation()
            except ParseError:
                if not general:
                    raise
                self.ssa_values = visible  # several results: MLIR prints them in a way that xDSL does not read
                return self._read_here(start)
            self._places[operation] = start
            return operation

        def _read_here(self, start: int) -> Any:
            self._reader.pos = start
            found = self._reader.operation()
            first = self._current_token.span
            kind: Any = self.ctx.get_optional_op(found.name)
            kind = (
                kind if kind is not None and issubclass(kind, UnregisteredOp) else UnregisteredOp.with_name(found.name)
            )
            types = [
                Parser(self.ctx, v.type.text).parse_type() if v.type.text != "none" else _none() for v in found.results
            ]
            made = kind.create(result_types=types)
            self._own[made] = found
            self._places[made] = start
            at = 0
            for name, values in _by_name(found.results).items():
                results = made.results[at : at + len(values)]
                at += len(values)
                for result, value in zip(results, values, strict=True):
                    self._values[result] = value
                self._register_ssa_definition(name, results, first)
            self._resume_from(self._reader.pos)
            return made

        def _register_ssa_definition(self, name: str, values: Any, span: Any) -> None:
            super()._register_ssa_definition(name, values, span)
            for i, value in enumerate(values):
                self._names[value] = name if len(values) == 1 else f"{name}#{i}"
                self._defined[value] = span.start

        def value(self, ssa: Any) -> Value:
            """The value that xDSL's is."""
            if ssa not in self._values:
                place = self._defined.get(ssa, self.started)
                name = self._names.get(ssa) or f"v{len(self._values)}"
                self._values[ssa] = Value(name, value_type(str(ssa.type)), self._reader.line(place))
            return self._values[ssa]

        def converted(self, operation: Any) -> Operation:
            """An operation of xDSL's as fiberloom's."""
            own = self._own.get(operation)
            if own is not None:
                return own
            attributes = {k: _attribute(v) for k, v in {**operation.attributes, **operation.properties}.items()}
            name = str(attributes.pop("op_name__", operation.name))
            made = Operation(
                name,
                [self.value(v) for v in operation.operands],
                [self.value(v) for v in operation.results],
                self._reader.line(self._places.get(operation, 0)),
                attributes,
            )
            for region in operation.regions:
                made.regions.append(
                    [
                        Block([self.value(v) for v in block.args], [self.converted(o) for o in block.ops])
                        for block in region.blocks
                    ]
                )
            return made

    return LenientParser


class _Visible(Mapping[str, tuple[Value, ...]]):
    """The values that are defined where xDSL's parser stands."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser

    def __getitem__(self, name: str) -> tuple[Value, ...]:
        return tuple(self._parser.value(v) for v in self._parser.ssa_values[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._parser.ssa_values)

    def __len__(self) -> int:
        return len(self._parser.ssa_values)


def _none() -> Any:
    from xdsl.dialects.builtin import NoneType

    return NoneType()


def _by_name(values: list[Value]) -> dict[str, list[Value]]:
    """Results by the name that they have together (``%0:2``)."""
    found: dict[str, list[Value]] = {}
    for value in values:
        found.setdefault(value.name.partition("#")[0], []).append(value)
    return found


def _attribute(attribute: Any) -> Any:
    """An attribute of xDSL's as numbers, text, lists and maps."""
    from xdsl.dialects import builtin

    if isinstance(attribute, builtin.IntegerAttr):
        return int(attribute.value.data)
    if isinstance(attribute, builtin.FloatAttr):
        return float(attribute.value.data)
    if isinstance(attribute, builtin.StringAttr):
        return attribute.data
    if isinstance(attribute, builtin.SymbolRefAttr):
        return "@" + attribute.string_value()
    if isinstance(attribute, builtin.ArrayAttr):
        return [_attribute(a) for a in attribute.data]
    if isinstance(attribute, builtin.DictionaryAttr):
        return {k: _attribute(v) for k, v in attribute.data.items()}
    if isinstance(attribute, builtin.AffineMapAttr):
        return affine_map(str(attribute.data))
    if isinstance(attribute, builtin.DenseArrayBase):
        return list(attribute.get_values())
    if isinstance(attribute, builtin.DenseIntOrFPElementsAttr):
        if attribute.is_splat():
            return Dense(str(attribute.get_values()[0]))
        return Dense(str(list(attribute.get_values()))) if len(attribute) <= _SMALL else Dense("[…]")
    text = str(attribute)
    if match := re.fullmatch(r"#linalg\.iterator_type<(\w+)>", text):
        return match.group(1)
    return Dense("", resource=True) if text.startswith(("dense_resource", "#builtin.dense_resource")) else text
