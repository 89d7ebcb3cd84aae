"""MLIR text as a network: functions of linalg operations (on tensors or memrefs) and affine loop nests.

The entry that Union takes (Jeong et al., PACT'21, §III): an operation or a loop nest that conforms to an Einsum becomes one, and
one that does not says why. StableHLO text has an importer of its own, to which files that hold StableHLO are passed on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from fiberloom.workload.importers import mlir_linalg, mlir_loops, stablehlo
from fiberloom.workload.importers.mlir_graph import Generated, Graph, network_of
from fiberloom.workload.importers.mlir_program import Block, Dense, Operation, Value, callee
from fiberloom.workload.importers.mlir_xdsl import read_program
from fiberloom.workload.network import Kind, Network

_NOTHING: Final = frozenset((
    "tensor.empty", "memref.dealloc", "tensor.dim", "memref.dim", "cf.assert", "memref.assume_alignment", "bufferization.dealloc",
    "bufferization.dealloc_tensor", "arith.index_cast", "affine.apply", "ub.poison",
))  # fmt: skip
"""Operations that name memory or compute indices."""

_SAME: Final = frozenset((
    "memref.cast", "tensor.cast", "bufferization.to_tensor", "bufferization.to_memref", "bufferization.to_buffer",
    "builtin.unrealized_conversion_cast", "memref.memory_space_cast", "bufferization.materialize_in_destination",
))  # fmt: skip
"""Operations whose result is their operand."""

_LAYOUT: Final = frozenset((
    "tensor.collapse_shape", "tensor.expand_shape", "tensor.reshape", "tensor.pad", "tensor.extract_slice", "tensor.insert_slice",
    "tensor.concat", "tensor.pack", "tensor.unpack", "tensor.splat", "tensor.from_elements", "tensor.bitcast",
    "tensor.parallel_insert_slice", "memref.collapse_shape", "memref.expand_shape", "memref.reshape", "memref.subview",
    "memref.reinterpret_cast", "memref.copy", "memref.transpose", "memref.view", "bufferization.clone",
    "linalg.pack", "linalg.unpack",
))  # fmt: skip
_LOOKUP: Final = frozenset(("tensor.gather", "tensor.scatter"))


def read(
    path: str | Path, *, dims: Mapping[str, int] | None = None, parameters: Sequence[str | int] | None = None
) -> Network:
    """A network from a file of MLIR text.

    Args:
        dims: must be empty: MLIR gives dynamic extents no names.
        parameters: arguments that are parameters, by name (``%arg1``) or position. None: those that are used as weights are.

    Raises:
        MissingExtraError: without xDSL (files of StableHLO need none).
        SpecError: for text that is not MLIR or does not fit together, with file and line.
        UnsupportedError: for dynamic shapes, and functions that branch.
    """
    return read_text(stablehlo.read_file(path, dims), str(path), parameters=parameters)


def read_text(text: str, source: str, *, parameters: Sequence[str | int] | None = None) -> Network:
    """A network from MLIR text; `source` is the file's name, for messages. Raises as `read`."""
    if stablehlo.holds(text):
        return stablehlo.read_text(text, source, parameters=parameters)
    program = read_program(text, source)
    return network_of(program, source, parameters, lambda graph, block: _Walk(graph).block(block))


class _Walk:
    """Goes through the operations of a function in order, into the functions that it calls."""

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
        graph, name = self.graph, operation.name
        if callee(operation) is not None:
            self._call(operation)
        elif name == "arith.constant":
            self._constant(operation)
        elif name in _NOTHING:
            graph.fold(operation)
        elif name in _SAME and len(operation.operands) >= len(operation.results):
            for result, value in zip(operation.results, operation.operands, strict=False):
                graph.alias(result, value)
        elif name in ("memref.alloc", "memref.alloca", "bufferization.alloc_tensor"):
            for result in operation.results:
                graph.define(result)
        elif name in (
            "memref.get_global",
            "ml_program.global_load_const",
            "ml_program.global_load",
            "util.global.load",
        ):
            for result in operation.results:
                graph.constant(result)
        elif operation.dialect == "linalg" and name not in _LAYOUT:
            mlir_linalg.add(graph, operation)
        elif name in _LAYOUT:
            self._layout(operation)
        elif name in _LOOKUP:
            graph.emit(operation, Kind.LOOKUP)
        elif name in mlir_loops.LOOPS:
            mlir_loops.add(graph, operation)
        elif operation.dialect in ("arith", "math"):
            self._arithmetic(operation)
        elif operation.dialect in ("scf", "cf"):
            graph.unknown(operation, f"'{name}' is control flow: what runs is known at run time only")
        else:
            hint = "; lower it to linalg" if operation.dialect in ("tosa", "torch", "onnx") else ""
            graph.unknown(operation, f"'{name}' is not known{hint}")

    def _call(self, operation: Operation) -> None:
        function = self.graph.program.functions.get(callee(operation) or "")
        if function is None:
            self.graph.unknown(operation, f"the file holds no body of '@{callee(operation)}'")
            return
        with self.graph.call(operation, function):
            returned = self.block(function.block)
        self.graph.returns(operation, returned)

    def _constant(self, operation: Operation) -> None:
        value = operation.attributes.get("value")
        for result in operation.results:
            if isinstance(value, Dense) and not value.splat and self.graph.elements(result) > 1:
                self.graph.constant(result)
            else:
                self.graph.bind(result, Generated(value if isinstance(value, int) else None))

    def _layout(self, operation: Operation) -> None:
        graph = self.graph
        if operation.name == "memref.copy" and len(operation.operands) == 2:
            graph.emit(operation, Kind.LAYOUT, inputs=operation.operands[:1], outputs=operation.operands[1:])
        elif operation.operands and all(isinstance(graph.bound(v), Generated) for v in operation.operands):
            graph.fold(operation)
        else:
            graph.emit(operation, Kind.LAYOUT)

    def _arithmetic(self, operation: Operation) -> None:
        graph = self.graph
        if any(v.type.ranked for v in operation.results):
            elements = graph.elements(operation.results[0])
            graph.emit(
                operation,
                Kind.ELEMENTWISE,
                operations=elements,
                exponential=operation.name in ("math.exp", "math.exp2"),
            )
        else:
            graph.fold(operation)
