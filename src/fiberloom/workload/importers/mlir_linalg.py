"""Operations of MLIR's linalg dialect: ``linalg.generic``, and the named ones by the loops that they stand for.

MLIR, "linalg" Dialect: a named operation is a ``linalg.generic`` whose maps and body its name gives (``conv_2d_nhwc_hwcf``:
layouts of image and filter).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from fiberloom.errors import SpecError
from fiberloom.workload.importers import mlir_nest as nests
from fiberloom.workload.importers.mlir_body import Body, analyse
from fiberloom.workload.importers.mlir_graph import Generated, Graph
from fiberloom.workload.importers.mlir_program import AffineExpression, AffineMap, Dense, Operation, Value
from fiberloom.workload.network import Kind
from fiberloom.workload.zoo.building import OPERATIONS

_PRODUCTS: Final[Mapping[str, tuple[str, str, str]]] = {
    "matmul": ("mk", "kn", "mn"),
    "matmul_transpose_a": ("km", "kn", "mn"),
    "matmul_transpose_b": ("mk", "nk", "mn"),
    "quantized_matmul": ("mk", "kn", "mn"),
    "batch_matmul": ("bmk", "bkn", "bmn"),
    "batch_matmul_transpose_a": ("bkm", "bkn", "bmn"),
    "batch_matmul_transpose_b": ("bmk", "bnk", "bmn"),
    "quantized_batch_matmul": ("bmk", "bkn", "bmn"),
    "batch_reduce_matmul": ("bmk", "bkn", "mn"),
    "matvec": ("mk", "k", "m"),
    "vecmat": ("k", "kn", "n"),
    "batch_matvec": ("bmk", "bk", "bm"),
    "batch_vecmat": ("bk", "bkn", "bn"),
    "dot": ("k", "k", ""),
    # tiles of m, n and k stand behind the tiles' positions: M K m k, N K n k, M N m n
    "mmt4d": ("MKmk", "NKnk", "MNmn"),
    "batch_mmt4d": ("bMKmk", "bNKnk", "bMNmn"),
}
"""Indices of both operands and of the result."""

_CONVOLUTION: Final = re.compile(
    r"(?P<depthwise>depthwise_)?conv_(?P<dims>\d)d(?:_(?P<image>[a-z]+)_(?P<filter>[a-z]+?))?(?:_q)?"
)
_SPATIAL: Final = "dhw"
_ELEMENTWISE: Final = frozenset((
    "abs", "add", "ceil", "div", "div_unsigned", "erf", "exp", "floor", "log", "max", "min", "mul", "negf", "powf",
    "reciprocal", "round", "rsqrt", "select", "sqrt", "square", "sub", "tanh", "elementwise",
))  # fmt: skip
"""One scalar operation per element of the result."""


def add(graph: Graph, operation: Operation) -> None:
    """Add one operation of linalg.

    Raises:
        SpecError: if shapes, maps and operands do not fit together, with the line.
        UnsupportedError: for dynamic shapes.
    """
    name = operation.short
    ins, outs = operands(graph, operation)
    if operation.results and len(outs) == 1:
        operation.groups["init"] = outs
    if name == "generic":
        _generic(graph, operation, ins, outs)
    elif name == "fill" or name.startswith("fill_"):
        _fill(graph, operation)
    elif name in _PRODUCTS or name == "contract":
        _product(graph, operation, ins, outs)
    elif match := _CONVOLUTION.fullmatch(name):
        _convolution(graph, operation, ins, outs, match)
    elif name.startswith("pooling_"):
        _pooling(graph, operation, ins, outs)
    elif name in ("transpose", "broadcast", "copy", "pack", "unpack"):
        _move(graph, operation, ins, outs)
    elif name in _ELEMENTWISE:
        operations = graph.elements(_result(operation, outs))
        if ins and all(isinstance(graph.bound(v), Generated) for v in ins):
            graph.fold(operation)
            return
        graph.emit(
            operation, Kind.ELEMENTWISE, inputs=ins, outputs=_results(operation, outs), operations=operations,
            exponential=name == "exp" or "exp>" in str(operation.attributes.get("kind", "")),
        )  # fmt: skip
    elif name == "map":
        operations = _body_size(operation) * graph.elements(_result(operation, outs))
        exponential = any("math.exp" in k for k in (*operation.attributes, *(o.name for o in operation.walk())))
        graph.emit(
            operation, Kind.ELEMENTWISE, inputs=ins, outputs=_results(operation, outs), operations=operations,
            exponential=exponential,
        )  # fmt: skip
    elif name == "reduce":
        steps = sum(graph.elements(v) for v in ins[:1]) - graph.elements(_result(operation, outs))
        graph.emit(
            operation, Kind.REDUCTION, inputs=ins, outputs=_results(operation, outs),
            operations=_body_size(operation) * max(0, steps),
        )  # fmt: skip
    elif name == "softmax":
        operations = OPERATIONS["softmax"] * graph.elements(_result(operation, outs))
        graph.emit(operation, Kind.SOFTMAX, inputs=ins, outputs=_results(operation, outs), operations=operations)
    else:
        graph.emit(
            operation, Kind.UNKNOWN, inputs=ins, outputs=_results(operation, outs),
            note=f"line {operation.line}: '{operation.name}' is not known",
        )  # fmt: skip


def operands(graph: Graph, operation: Operation) -> tuple[list[Value], list[Value]]:
    """Inputs and outputs (``ins`` and ``outs``).

    Raises:
        SpecError: if the operation does not say which operands are which.
    """
    if "ins" in operation.groups or "outs" in operation.groups:
        return operation.groups.get("ins", []), operation.groups.get("outs", [])
    segments = operation.attributes.get("operandSegmentSizes", operation.attributes.get("operand_segment_sizes"))
    if isinstance(segments, Dense):
        segments = segments.numbers
    if isinstance(segments, list) and len(segments) == 2 and sum(segments) == len(operation.operands):
        return operation.operands[: segments[0]], operation.operands[segments[0] :]
    if not operation.operands:
        raise SpecError(f"{operation.name} has no operands", where=graph.program.at(operation.line))
    outputs = max(1, len(operation.results))
    return operation.operands[:-outputs], operation.operands[-outputs:]


def _result(operation: Operation, outs: Sequence[Value]) -> Value:
    return operation.results[0] if operation.results else outs[0]


def _results(operation: Operation, outs: Sequence[Value]) -> list[Value]:
    return operation.results or list(outs)


def _fail(graph: Graph, operation: Operation, problem: str) -> SpecError:
    return SpecError(f"{operation.name}: {problem}", where=graph.program.at(operation.line))


def _body_size(operation: Operation) -> int:
    """Arithmetic operations of a body, or one for the short form that names the operation."""
    inside = [o for o in operation.walk() if o is not operation]
    return sum(o.dialect in ("arith", "math", "complex") and o.short != "constant" for o in inside) if inside else 1


def _fill(graph: Graph, operation: Operation) -> None:
    """Accumulators that begin with one number; a machine needs no memory for it."""
    if operation.results:
        graph.fold(operation)
    else:
        graph.folded += 1


def _move(graph: Graph, operation: Operation, ins: list[Value], outs: list[Value]) -> None:
    if operation.results and ins and isinstance(graph.bound(ins[0]), Generated):
        graph.fold(operation)
    else:
        graph.emit(operation, Kind.LAYOUT, inputs=ins, outputs=_results(operation, outs))


def _generic(graph: Graph, operation: Operation, ins: list[Value], outs: list[Value]) -> None:
    maps, kinds = operation.attributes.get("indexing_maps"), operation.attributes.get("iterator_types")
    if not isinstance(maps, list) or not all(isinstance(m, AffineMap) for m in maps):
        raise _fail(graph, operation, "indexing_maps are not a list of affine maps")
    trips = nests.bounds(graph, operation, maps, [*ins, *outs])
    if not isinstance(kinds, list) or len(kinds) != len(trips):
        raise _fail(graph, operation, f"iterator_types {kinds!r} are not one for each of {len(trips)} loops")
    other = [k for k in kinds if k not in ("parallel", "reduction")]
    if other:
        _unknown(
            graph, operation, ins, outs, f"no Einsum: iterator type '{other[0]}' is neither parallel nor reduction"
        )
        return
    block = operation.body
    if block is None or not block.operations or len(block.arguments) != len(ins) + len(outs):
        raise _fail(graph, operation, "the body does not have one argument for each operand and a linalg.yield")
    yielded = block.operations[-1].operands
    if len(outs) != 1 or len(yielded) != 1:
        each = sum(o.dialect in ("arith", "math") for o in block.operations)
        kind = Kind.REDUCTION if "reduction" in kinds else Kind.ELEMENTWISE
        graph.emit(
            operation, kind, inputs=ins, outputs=_results(operation, outs), operations=each * math.prod(trips),
            note=f"line {operation.line}: no Einsum: {len(outs)} outputs",
        )  # fmt: skip
        return
    if not ins and not any("extract" in o.name for o in block.operations):
        _fill(graph, operation)
        return
    if ins and all(isinstance(graph.bound(v), Generated) for v in ins) and "reduction" not in kinds:
        _fill(graph, operation)
        return
    body = analyse(
        block.operations[:-1], yielded[0], _leaf(block.arguments, len(ins), graph, block.operations),
        frozenset(i for i, m in enumerate(maps[: len(ins)]) if not m.results),
    )  # fmt: skip
    accesses = [nests.Access(v, m.results) for v, m in zip([*ins, *outs], maps, strict=True)]
    nest = nests.Nest(trips, tuple(k == "reduction" for k in kinds), tuple(accesses[: len(ins)]), accesses[-1])
    nests.add(graph, operation, nest, body)


def _leaf(
    arguments: list[Value], inputs: int, graph: Graph, inside: list[Operation]
) -> Callable[[Value], int | str | None]:
    made = {v for o in inside if o.name != "arith.constant" for v in o.results}
    places = {v: i for i, v in enumerate(arguments)}

    def leaf(value: Value) -> int | str | None:
        if value in places:
            return places[value] if places[value] < inputs else "out"
        return None if value in made else "constant"

    return leaf


def _unknown(graph: Graph, operation: Operation, ins: list[Value], outs: list[Value], why: str) -> None:
    graph.emit(
        operation, Kind.UNKNOWN, inputs=ins, outputs=_results(operation, outs), note=f"line {operation.line}: {why}"
    )


_MULTIPLY_ADD: Final = Body(factors=(0, 1), accumulates=True, operations=2)


def _named(
    graph: Graph, operation: Operation, ins: list[Value], outs: list[Value], maps: list[AffineMap], note: str = ""
) -> None:
    """A named contraction: two inputs, one output; further inputs are zero points."""
    if len(ins) < 2 or len(outs) != 1:
        raise _fail(graph, operation, f"{len(ins)} inputs and {len(outs)} outputs")
    values = [*ins[:2], *outs]
    trips = nests.bounds(graph, operation, maps, values)
    accesses = [nests.Access(v, m.results) for v, m in zip(values, maps, strict=True)]
    reduces = tuple(d not in accesses[2].dims for d in range(len(trips)))
    body = Body(factors=(0, 1), accumulates=True, operations=2, note=note)
    nests.add(graph, operation, nests.Nest(trips, reduces, tuple(accesses[:2]), accesses[2]), body)


def _product(graph: Graph, operation: Operation, ins: list[Value], outs: list[Value]) -> None:
    given = operation.attributes.get("indexing_maps")
    if isinstance(given, list) and len(given) == 3 and all(isinstance(m, AffineMap) for m in given):
        maps = given
    elif operation.short == "contract":
        raise _fail(graph, operation, "indexing_maps are missing")
    else:
        maps = _maps([list(text) for text in _PRODUCTS[operation.short]])
    note = "zero points are subtracted on the way in" if operation.short.startswith("quantized") else ""
    _named(graph, operation, ins, outs, maps, note)


def _maps(
    indices: Sequence[Sequence[str]], windows: Mapping[str, tuple[int, str, int]] | None = None
) -> list[AffineMap]:
    """Maps from names of indices; a name of `windows` in the first stands for ``stride · name + dilation · place``."""
    windows = windows or {}
    names = list(dict.fromkeys(n for text in indices for n in text)) + [
        place for _, place, _ in windows.values() if not any(place in text for text in indices)
    ]
    at = {n: i for i, n in enumerate(names)}

    def expression(name: str, first: bool) -> AffineExpression:
        if first and name in windows:
            stride, place, dilation = windows[name]
            return AffineExpression(((stride, at[name]), (dilation, at[place])))
        return AffineExpression(((1, at[name]),))

    return [AffineMap(len(names), tuple(expression(n, i == 0) for n in text)) for i, text in enumerate(indices)]


def _convolution(graph: Graph, operation: Operation, ins: list[Value], outs: list[Value], name: re.Match[str]) -> None:
    dims = int(name["dims"])
    spatial = _SPATIAL[3 - dims :] if 1 <= dims <= 3 else ""
    image, kernel = name["image"] or spatial, name["filter"] or spatial
    steps = [_numbers(graph, operation, key, dims) for key in ("strides", "dilations")]
    windows = {s: (steps[0][i], "k" + s, steps[1][i]) for i, s in enumerate(spatial)}
    first = list(image)
    second = ["k" + c if c in spatial else c for c in kernel]
    if name["depthwise"]:
        out = [*first, *(c for c in kernel if c == "m")]
    else:
        out = ["f" if c == "c" else c for c in first]
        if "c" not in first and "f" in kernel:
            out = [*first, "f"]
    _named(graph, operation, ins, outs, _maps([first, second, out], windows))


def _numbers(graph: Graph, operation: Operation, key: str, dims: int) -> list[int]:
    given: Any = operation.attributes.get(key)
    given = given.numbers if isinstance(given, Dense) else given
    if given is None:
        return [1] * dims
    given = given * dims if isinstance(given, list) and len(given) == 1 else given
    if not isinstance(given, list) or len(given) != dims or not all(isinstance(n, int) and n >= 1 for n in given):
        raise _fail(graph, operation, f"{key} {given!r} are not {dims} whole numbers from 1")
    return given


def _pooling(graph: Graph, operation: Operation, ins: list[Value], outs: list[Value]) -> None:
    """A window of n elements takes n-1 comparisons or additions."""
    if len(ins) != 2:
        raise _fail(graph, operation, "pooling has an image and a window as inputs")
    window, made = graph.elements(ins[1]), graph.elements(_result(operation, outs))
    graph.emit(
        operation, Kind.POOLING, inputs=ins[:1], outputs=_results(operation, outs), operations=(window - 1) * made
    )
