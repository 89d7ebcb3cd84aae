"""Contractions of MLIR as Einsums in the shapes that all importers use (`fiberloom.workload.layers`)."""

from __future__ import annotations

from collections.abc import Sequence

from fiberloom.errors import FiberloomError
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.importers.mlir_attention import Product
from fiberloom.workload.importers.mlir_graph import Graph
from fiberloom.workload.importers.mlir_program import Operation, Value
from fiberloom.workload.layers import batched_product, convolution_nd, fully_connected, transposed_convolution
from fiberloom.workload.network import Kind


def product(
    graph: Graph,
    operation: Operation,
    left: Value,
    right: Value,
    output: Value,
    *,
    batch: int,
    rows: int,
    columns: int,
    depth: int,
    row_extents: Sequence[int] = (),
    column_extents: Sequence[int] = (),
    note: str = "",
    op: str = "",
) -> None:
    """A product of matrices, `rows` × `depth` times `depth` × `columns`, `batch` times.

    With weights on one side it is a fully connected layer. An argument (or constant) that is the right operand of a product without
    a batch is taken as weights, and so is one on the left if the right one is computed or a vector.

    Args:
        row_extents, column_extents: the pieces that rows and columns are made of, if of several.
    """
    if batch == 1:
        matrix_times_vector = columns == 1 < rows and graph.origin(left) is not None
        if graph.origin(right) is not None and not matrix_times_vector:
            graph.take_as_parameter(right)
        elif graph.origin(left) is not None:
            graph.take_as_parameter(left)
    if graph.is_weight(right) and batch == 1:
        einsum = fully_connected("product", outputs=columns, inputs=depth, batch=rows)
        operands = {"W": right, "I": left, "O": output}
    elif graph.is_weight(left) and batch == 1:
        einsum = fully_connected("product", outputs=rows, inputs=depth, batch=columns)
        operands = {"W": left, "I": right, "O": output}
    elif graph.is_weight(right) or graph.is_weight(left):
        weights, activations, m, n = (
            (right, left, columns, rows) if graph.is_weight(right) else (left, right, rows, columns)
        )
        shape = {"g": batch, "n": n, "m": m, "c": depth}
        einsum = Einsum.parse("O[g,n,m] = W[g,m,c] * I[g,n,c]", shape)
        operands = {"W": weights, "I": activations, "O": output}
    else:
        einsum = batched_product("product", rows=rows, columns=columns, depth=depth, batch=batch)
        operands = {"A": left, "B": right, "O": output}
    emit_einsum(graph, operation, einsum, operands, note, op)
    if einsum.output.name == "O" and "A" in operands:
        graph.products[graph.last] = Product(batch, rows, columns, depth, tuple(row_extents), tuple(column_extents))


def emit_einsum(
    graph: Graph, operation: Operation, einsum: Einsum, operands: dict[str, Value], note: str = "", op: str = ""
) -> None:
    """Add an Einsum; `operands` has the value of each of its tensors."""
    graph.emit(
        operation,
        Kind.EINSUM,
        inputs=[operands[t.name] for t in einsum.inputs],
        outputs=[operands[einsum.output.name]],
        einsum=einsum,
        operands=operands,
        note=note,
        op=op,
    )


def convolution(
    graph: Graph,
    operation: Operation,
    image: Value,
    kernel: Value,
    output: Value,
    *,
    batch: int,
    outputs: int,
    inputs: int,
    extents: Sequence[int],
    results: Sequence[int],
    window: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    spread: Sequence[int],
    groups: int,
    note: str = "",
    op: str = "",
) -> None:
    """A convolution, or a transposed one where the input is spread out.

    Args:
        extents, results: of the input and of the output, one for each spatial dimension.
        spread: distance of neighbouring input elements (``lhs_dilation``); 1 for an ordinary convolution.
    """
    graph.take_as_parameter(kernel)
    # Where there is one position, or one element, the distance to the next says nothing.
    stride = [s if o > 1 else 1 for s, o in zip(stride, results, strict=True)]
    spread = [s if e > 1 else 1 for s, e in zip(spread, extents, strict=True)]
    dilation = [d if k > 1 else 1 for d, k in zip(dilation, window, strict=True)]
    operands = {"W": kernel, "I": image, "O": output}
    try:
        if not extents:
            einsum = fully_connected("convolution", outputs=outputs, inputs=inputs, batch=batch)
        elif any(s > 1 for s in spread):
            if any(s > 1 for s in stride):
                graph.unknown(
                    operation, "a convolution with a stride of an input that is itself spread out is no Einsum"
                )
                return
            einsum = transposed_convolution(
                "convolution", outputs=outputs, inputs=inputs, extents=extents, kernel=window, stride=spread,
                dilation=dilation, groups=groups, batch=batch,
            )  # fmt: skip
        else:
            einsum = convolution_nd(
                "convolution", outputs=outputs, inputs=inputs, extents=results, kernel=window, stride=stride,
                dilation=dilation, groups=groups, batch=batch,
            )  # fmt: skip
    except FiberloomError as error:
        graph.unknown(operation, error.problem)
        return
    emit_einsum(graph, operation, einsum, operands, note, op)
