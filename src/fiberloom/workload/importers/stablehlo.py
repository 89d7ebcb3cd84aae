"""StableHLO text, as ``jax.jit(f).lower(…).as_text()`` and other front ends print it, as a network.

Operations mean what the StableHLO specification says (openxla.org/stablehlo/spec); both their generic and their printed form are
read. Calls are followed, and loops whose number of turns the file gives are repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from fiberloom.errors import Location, SpecError, UnsupportedError
from fiberloom.workload.importers.mlir_graph import Generated, Graph, network_of
from fiberloom.workload.importers.mlir_program import Block, Dense, Function, Operation, Program, Value, callee, program
from fiberloom.workload.importers.mlir_text import TextReader
from fiberloom.workload.importers.stablehlo_operators import add
from fiberloom.workload.network import Network

DIALECTS: Final = ("stablehlo", "mhlo", "chlo", "vhlo")
"""Dialects that this importer is for."""


def read(
    path: str | Path, *, dims: Mapping[str, int] | None = None, parameters: Sequence[str | int] | None = None
) -> Network:
    """A network from a file of StableHLO text.

    Args:
        dims: must be empty: MLIR gives dynamic extents no names.
        parameters: arguments that are parameters, by name (``%arg1``) or position. None: those that are used as weights are.

    Raises:
        SpecError: for text that is not MLIR, with file and line.
        UnsupportedError: for dynamic shapes.
    """
    return read_text(read_file(path, dims), str(path), parameters=parameters)


def read_file(path: str | Path, dims: Mapping[str, int] | None) -> str:
    """The text of a file of MLIR.

    Raises:
        SpecError: if it can't be read, is not text, or if `dims` are given.
    """
    where = Location(str(path))
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise SpecError(f"the file can't be read: {error.strerror}", where=where) from None
    if raw.startswith(b"ML\xefR"):
        raise UnsupportedError(
            "this is MLIR bytecode, not text", where=where, hint="print the module as text (as_text(), mlir-opt)"
        )
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise SpecError("this is not text in UTF-8", where=where) from None
    if dims:
        raise SpecError(
            f"extents are given for {', '.join(map(repr, dims))}, but MLIR has no names for extents",
            where=where,
            hint="lower the function for the shapes that it is to run with",
        )
    return text


def read_text(text: str, source: str, *, parameters: Sequence[str | int] | None = None) -> Network:
    """A network from StableHLO text; `source` is the file's name, for messages. Raises as `read`."""
    try:
        found = program(source, TextReader(text, source).file_operations())
        return import_program(found, source, parameters)
    except RecursionError:
        raise SpecError("operations or attributes are nested too deeply", where=Location(source)) from None


def import_program(found: Program, source: str, parameters: Sequence[str | int] | None) -> Network:
    """The network of the functions that no other function calls."""
    return network_of(found, source, parameters, lambda graph, block: _Walk(graph).block(block))


class _Walk:
    """Goes through operations in order, into functions and loops."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def block(self, block: Block) -> list[Value]:
        """Add all operations of a block; what it returns."""
        for operation in block.operations:
            if operation.short == "return":
                return operation.operands
            self.operation(operation)
        return []

    def operation(self, operation: Operation) -> None:
        graph, called = self.graph, callee(operation)
        if called is not None:
            self._call(operation, called)
        elif operation.short == "while":
            self._while(operation)
        elif operation.short in ("if", "case"):
            graph.unknown(operation, "control flow: which branch runs is known at run time only")
        elif operation.short == "constant":
            self._constant(operation)
        elif operation.dialect in DIALECTS:
            add(graph, operation)
        else:
            graph.unknown(operation, f"'{operation.name}' is not of the dialects that are read ({', '.join(DIALECTS)})")

    def _call(self, operation: Operation, called: str) -> None:
        function: Function | None = self.graph.program.functions.get(called)
        if function is None:
            self.graph.unknown(operation, f"the file holds no body of '@{called}'")
            return
        with self.graph.call(operation, function):
            returned = self.block(function.block)
        self.graph.returns(operation, returned)

    def _constant(self, operation: Operation) -> None:
        value = operation.attributes.get("value")
        dense = value if isinstance(value, Dense) else Dense(str(value))
        graph, result = self.graph, operation.results[0] if operation.results else None
        if result is None:
            return
        if dense.splat or graph.elements(result) <= 1:
            numbers = dense.numbers
            graph.bind(result, Generated(numbers[0] if numbers else None))
        else:
            graph.constant(result)

    def _while(self, operation: Operation) -> None:
        graph = self.graph
        if len(operation.regions) != 2 or any(len(r) != 1 for r in operation.regions):
            graph.unknown(operation, "a loop without a condition and a body")
            return
        condition, body = operation.regions[0][0], operation.regions[1][0]
        counter, turns = self._turns(operation, condition, body)
        if turns is None:
            graph.unknown(operation, "control flow: how often this loop turns is not a constant of the file")
            return
        with graph.repeat(turns):
            for i, (inner, outer) in enumerate(zip(body.arguments, operation.operands, strict=True)):
                if i == counter:
                    graph.bind(inner, Generated())
                else:
                    graph.alias(inner, outer)
            returned = self.block(body)
        graph.returns(operation, returned)

    def _turns(self, operation: Operation, condition: Block, body: Block) -> tuple[int, int | None]:
        """Position of the counter, and how often a loop ``while (i < limit) i += step`` turns."""
        compares = [o for o in condition.operations if o.short == "compare"]
        if len(compares) != 1 or len(compares[0].operands) != 2:
            return -1, None
        how = compares[0].attributes.get("comparison_direction", "")
        how = str(how).removeprefix("comparison_direction ").strip() or (compares[0].words or [""])[0]
        left, right = compares[0].operands
        if left not in condition.arguments or how not in ("LT", "LE"):
            return -1, None
        position = condition.arguments.index(left)
        limit = self._number(right, condition, operation.operands)
        start = self._number(operation.operands[position], None, [])
        last = body.operations[-1].operands if body.operations else []
        if limit is None or start is None or len(last) <= position:
            return -1, None
        step = next((o for o in body.operations if last[position] in o.results), None)
        counter = body.arguments[position]
        if step is None or step.short != "add" or counter not in step.operands:
            return -1, None
        other = next((v for v in step.operands if v is not counter), counter)
        by = self._number(other, body, operation.operands)
        if by is None or by < 1:
            return -1, None
        span = limit - start + (how == "LE")
        return position, max(0, -(-span // by))

    def _number(self, value: Value, inside: Block | None, carried: list[Value]) -> int | None:
        """The whole number that a value is, if the file gives it: bound already, or a constant inside the block."""
        for operation in inside.operations if inside else []:
            if value in operation.results:
                found = operation.attributes.get("value")
                numbers = found.numbers if operation.short == "constant" and isinstance(found, Dense) else []
                return numbers[0] if len(numbers) == 1 else None
        if inside is not None and value in inside.arguments:
            return None
        bound = self.graph.bound(value)
        return bound.number if isinstance(bound, Generated) else None


def holds(text: str) -> bool:
    """Whether text has operations of `DIALECTS`."""
    return any(f"{dialect}." in text for dialect in DIALECTS)
