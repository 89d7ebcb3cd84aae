"""Operations of StableHLO as operators: contractions as Einsums, everything else as what it is.

Section names are those of the StableHLO specification (openxla.org/stablehlo/spec).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from fiberloom.errors import SpecError
from fiberloom.workload.importers import mlir_contraction as contraction
from fiberloom.workload.importers.mlir_graph import Generated, Graph
from fiberloom.workload.importers.mlir_program import Dense, Operation, Value
from fiberloom.workload.network import Kind
from fiberloom.workload.zoo.building import OPERATIONS

_EACH_ONCE: Final = (
    "abs", "add", "and", "atan2", "cbrt", "ceil", "compare", "complex", "convert", "cosine", "count_leading_zeros",
    "divide", "exponential", "exponential_minus_one", "floor", "imag", "is_finite", "log", "log_plus_one", "maximum",
    "minimum", "multiply", "negate", "not", "or", "popcnt", "power", "real", "reduce_precision", "remainder",
    "round_nearest_afz", "round_nearest_even", "rsqrt", "select", "shift_left", "shift_right_arithmetic",
    "shift_right_logical", "sign", "sine", "sqrt", "subtract", "tan", "tanh", "xor", "map", "erf", "erfc", "erf_inv",
    "square", "acos", "acosh", "asin", "asinh", "atan", "atanh", "cosh", "sinh", "lgamma", "digamma", "next_after", "conj",
    "is_inf", "is_neg_inf", "is_pos_inf", "polygamma", "zeta", "bessel_i1e", "asin_acos_kernel", "constant_like",
    "broadcast_add", "broadcast_subtract", "broadcast_multiply", "broadcast_divide", "broadcast_maximum",
    "broadcast_minimum", "broadcast_power", "broadcast_compare", "broadcast_select", "broadcast_and", "broadcast_or",
    "broadcast_xor", "broadcast_remainder", "broadcast_atan2",
)  # fmt: skip
_ELEMENTWISE: Final[Mapping[str, int]] = dict.fromkeys(_EACH_ONCE, 1) | {
    "logistic": OPERATIONS["sigmoid"],
    "clamp": 2,
    "uniform_quantize": 5,  # division, rounding, zero point, two limits
    "uniform_dequantize": 2,  # zero point, scale
}
"""Scalar operations per element of the result."""

_LAYOUT: Final = frozenset((
    "broadcast", "broadcast_in_dim", "bitcast_convert", "concatenate", "copy", "dynamic_broadcast_in_dim", "dynamic_iota",
    "dynamic_pad", "dynamic_reshape", "dynamic_slice", "dynamic_update_slice", "pad", "real_dynamic_slice", "reshape",
    "reverse", "slice", "transpose", "get_tuple_element", "tuple", "set_dimension_size", "get_dimension_size",
))  # fmt: skip
"""Elements are moved or renamed."""

_REARRANGES_ONE_NUMBER: Final = frozenset((
    "broadcast", "broadcast_in_dim", "reshape", "transpose", "convert", "reverse", "slice", "copy",
))  # fmt: skip
"""Of one number everywhere, these make one number everywhere."""

_LOOKUP: Final = frozenset(("gather", "dynamic_gather", "torch_index_select"))

_PLACEMENTS: Final = frozenset((
    "Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape", "annotate_device_placement", "LayoutConstraint",
    "xla.sdy.FuncResultSharding",
))  # fmt: skip
"""Custom calls that say where a tensor lives and compute nothing."""

_COMMUNICATION: Final = (
    "all_gather", "all_reduce", "all_to_all", "collective_broadcast", "collective_permute", "reduce_scatter",
    "partition_id", "replica_id", "send", "recv", "infeed", "outfeed",
)  # fmt: skip
_NOT_MODELLED: Final[Mapping[str, str]] = {
    **dict.fromkeys(_COMMUNICATION, "it communicates with other devices or the host"),
    **dict.fromkeys(("sort", "top_k"), "the number of comparisons of a sort depends on its method"),
    **dict.fromkeys(("rng", "rng_bit_generator"), "the cost of random numbers depends on their method"),
    **dict.fromkeys(("cholesky", "triangular_solve", "fft"), "a recursion over its own results is no Einsum"),
}


def add(graph: Graph, operation: Operation) -> None:
    """Add one operation to the graph.

    Raises:
        SpecError: if shapes do not fit together, with the line.
        UnsupportedError: for dynamic shapes.
    """
    name = operation.short
    special = _SPECIAL.get(name)
    if special is not None:
        special(graph, operation)
    elif name in _REARRANGES_ONE_NUMBER and operation.operands and _needs_no_memory(graph, operation.operands[:1]):
        bound = graph.bound(operation.operands[0])
        graph.fold(operation, bound.number if isinstance(bound, Generated) else None)
    elif name in _ELEMENTWISE:
        _elementwise(graph, operation, _ELEMENTWISE[name])
    elif name in _LAYOUT:
        graph.emit(operation, Kind.LAYOUT)
    elif name in _LOOKUP:
        _lookup(graph, operation)
    else:
        graph.unknown(operation, _NOT_MODELLED.get(name, f"'{operation.name}' is not known"))


def _fail(graph: Graph, operation: Operation, problem: str) -> NoReturn:
    raise SpecError(f"{operation.name}: {problem}", where=graph.program.at(operation.line))


def _operands(graph: Graph, operation: Operation, number: int) -> list[Value]:
    if len(operation.operands) < number or not operation.results:
        _fail(graph, operation, f"{len(operation.operands)} operands and {len(operation.results)} results")
    return operation.operands


def _needs_no_memory(graph: Graph, values: list[Value]) -> bool:
    return all(isinstance(graph.bound(v), Generated) for v in values)


def _elementwise(graph: Graph, operation: Operation, each: int) -> None:
    if operation.operands and _needs_no_memory(graph, operation.operands):
        graph.fold(operation)
        return
    if not operation.results:
        _fail(graph, operation, "no result")
    result = operation.results[0]
    for value in operation.operands:
        if graph.is_repeated(value) and value.type.is_float:
            graph.take_as_parameter(value)
    graph.emit(
        operation,
        Kind.ELEMENTWISE,
        operations=each * graph.elements(result),
        exponential=operation.short == "exponential",
    )
    if operation.short == "convert" and operation.operands:
        graph.derive(result, operation.operands[0])


def _lookup(graph: Graph, operation: Operation) -> None:
    table = _operands(graph, operation, 2)[0]
    if table.type.is_float:
        graph.take_as_parameter(table)
    graph.emit(operation, Kind.LOOKUP)


def _scatter(graph: Graph, operation: Operation) -> None:
    """ "scatter": the update computation is done for every element of the updates."""
    values = _operands(graph, operation, 3)
    body = operation.body
    arithmetic = len(body.operations) - 1 if body is not None else 0
    graph.emit(operation, Kind.LOOKUP, operations=arithmetic * graph.elements(values[-1]))


def _reduce(graph: Graph, operation: Operation) -> None:
    """ "reduce": one computation for every element but the first of each result."""
    values = _operands(graph, operation, 2)
    arithmetic = len(operation.body.operations) - 1 if operation.body is not None else 1
    steps = graph.elements(values[0]) - graph.elements(operation.results[0])
    if steps < 0:
        _fail(graph, operation, "the result has more elements than the operand")
    if _needs_no_memory(graph, values):
        graph.fold(operation)
    else:
        graph.emit(operation, Kind.REDUCTION, operations=max(0, arithmetic) * steps)


def _reduce_window(graph: Graph, operation: Operation) -> None:
    """ "reduce_window": a window of n elements takes n-1 computations."""
    _operands(graph, operation, 2)
    window = operation.attributes.get("window_dimensions")
    sizes = window.numbers if isinstance(window, Dense) else window
    if not isinstance(sizes, list) or not all(isinstance(s, int) and s >= 1 for s in sizes):
        _fail(graph, operation, "window_dimensions are not whole numbers from 1")
    arithmetic = len(operation.body.operations) - 1 if operation.body is not None else 1
    each = max(0, arithmetic) * (math.prod(sizes) - 1)
    graph.emit(operation, Kind.POOLING, operations=each * graph.elements(operation.results[0]))


def _select_and_scatter(graph: Graph, operation: Operation) -> None:
    """ "select_and_scatter" (the gradient of a maximum pool): a window of comparisons and one addition for each source element."""
    values = _operands(graph, operation, 3)
    window = operation.attributes.get("window_dimensions")
    sizes = window.numbers if isinstance(window, Dense) else window
    each = math.prod(s for s in sizes if isinstance(s, int)) if isinstance(sizes, list) else 1
    graph.emit(operation, Kind.POOLING, operations=each * graph.elements(values[1]))


def _batch_norm(graph: Graph, operation: Operation) -> None:
    values = _operands(graph, operation, 3)
    for value in values[1:]:
        graph.take_as_parameter(value)
    each = OPERATIONS["batch norm" if operation.short.endswith("inference") else "layer norm"]
    graph.emit(operation, Kind.NORMALISATION, operations=each * graph.elements(values[0]))


def _iota(graph: Graph, operation: Operation) -> None:
    graph.fold(operation)


def _pass(graph: Graph, operation: Operation) -> None:
    """Results are the operands."""
    if len(operation.results) != len(operation.operands):
        _fail(graph, operation, f"{len(operation.operands)} operands and {len(operation.results)} results")
    for result, value in zip(operation.results, operation.operands, strict=True):
        graph.alias(result, value)


def _custom_call(graph: Graph, operation: Operation) -> None:
    target = operation.attributes.get("call_target_name") or next(
        (w for w in operation.words if w.startswith("@")), "?"
    )
    target = str(target).lstrip("@").strip('"')
    if target in _PLACEMENTS and len(operation.results) == len(operation.operands):
        _pass(graph, operation)
    else:
        graph.unknown(operation, f"a call of '{target}', which is outside the file")


def _ignore(graph: Graph, operation: Operation) -> None:
    graph.fold(operation)


def _whole_numbers(graph: Graph, operation: Operation, name: str, given: Any, rank: int) -> list[int]:
    if not isinstance(given, list) or not all(isinstance(d, int) and not isinstance(d, bool) for d in given):
        _fail(graph, operation, f"{name} {given!r} is not a list of dimensions")
    if len(set(given)) != len(given) or not all(0 <= d < rank for d in given):
        _fail(graph, operation, f"{name} {given} are not different dimensions of a tensor of rank {rank}")
    return given


def _dot(graph: Graph, operation: Operation) -> None:
    """ "dot_general", and "dot" of older files, which contracts the last dimension of the left with the first of the right."""
    left, right = _operands(graph, operation, 2)[:2]
    a, b, out = graph.shape(left), graph.shape(right), graph.shape(operation.results[0])
    numbers = operation.attributes.get("dot_dimension_numbers", {})
    if operation.short == "dot":
        batching: list[Any] = [[], []]
        contracting: list[Any] = [[len(a) - 1], [0]]
    elif isinstance(numbers, dict) and numbers:
        batching = [numbers.get(f"{side}_batching_dimensions", []) for side in ("lhs", "rhs")]
        contracting = [numbers.get(f"{side}_contracting_dimensions", []) for side in ("lhs", "rhs")]
    else:
        batching = operation.attributes.get("batching_dims", [[], []])
        contracting = operation.attributes.get("contracting_dims", [[], []])
    if (
        not isinstance(batching, list)
        or not isinstance(contracting, list)
        or not len(batching) == len(contracting) == 2
    ):
        _fail(graph, operation, "dimension numbers are not given for both operands")
    bl, cl = (_whole_numbers(graph, operation, "lhs dimensions", d[0], len(a)) for d in (batching, contracting))
    br, cr = (_whole_numbers(graph, operation, "rhs dimensions", d[1], len(b)) for d in (batching, contracting))
    for mine, other, what in ((bl, br, "batching"), (cl, cr, "contracting")):
        if [a[d] for d in mine] != [b[d] for d in other]:
            _fail(graph, operation, f"{what} extents {[a[d] for d in mine]} and {[b[d] for d in other]} differ")
    free_left = [e for d, e in enumerate(a) if d not in bl and d not in cl]
    free_right = [e for d, e in enumerate(b) if d not in br and d not in cr]
    expected = (*(a[d] for d in bl), *free_left, *free_right)
    if out != expected:
        _fail(graph, operation, f"the result is {list(out)}; the operands make {list(expected)}")
    contraction.product(
        graph, operation, left, right, operation.results[0],
        batch=math.prod(a[d] for d in bl), rows=math.prod(free_left), columns=math.prod(free_right),
        depth=math.prod(a[d] for d in cl), row_extents=free_left, column_extents=free_right,
    )  # fmt: skip


def _convolution(graph: Graph, operation: Operation) -> None:
    """ "convolution"."""
    image, kernel = _operands(graph, operation, 2)[:2]
    result = operation.results[0]
    own = operation.attributes
    x, w, y = graph.shape(image), graph.shape(kernel), graph.shape(result)
    numbers: Any = own.get("dim_numbers", own.get("dimension_numbers"))
    lists = isinstance(numbers, list) and len(numbers) == 3 and all(isinstance(n, list) for n in numbers)
    if not lists or any(len(n) != len(t) for n, t in zip(numbers, (x, w, y), strict=True)):
        _fail(graph, operation, f"dimension numbers {numbers!r} do not fit shapes {list(x)}, {list(w)}, {list(y)}")
    places = range(len(x) - 2)
    try:
        batch, channels, positions = (
            x[numbers[0].index("b")],
            x[numbers[0].index("f")],
            [x[numbers[0].index(d)] for d in places],
        )
        ins, outs, window = w[numbers[1].index("i")], w[numbers[1].index("o")], [w[numbers[1].index(d)] for d in places]
        results = [y[numbers[2].index(d)] for d in places]
        made = (y[numbers[2].index("b")], y[numbers[2].index("f")])
    except ValueError:
        _fail(graph, operation, f"dimension numbers {numbers!r} do not name every dimension")
    given = own.get("window", {})
    given = given if isinstance(given, dict) else {}

    def each(printed: str, generic: str) -> list[int]:
        found = given.get(printed, own.get(generic))
        found = found.numbers if isinstance(found, Dense) else found
        found = [1] * len(places) if found is None else found
        if isinstance(found, list) and len(found) == 1:
            found = found * len(places)  # a splat
        numbers = isinstance(found, list) and all(isinstance(f, int) and f >= 1 for f in found)
        if not numbers or len(found) != len(places):
            _fail(graph, operation, f"{generic} {found!r} are not {len(places)} whole numbers from 1")
        return list(found)

    stride, spread = each("stride", "window_strides"), each("lhs_dilate", "lhs_dilation")
    dilation, padding = each("rhs_dilate", "rhs_dilation"), given.get("pad", own.get("padding"))
    groups, batches = own.get("feature_group_count", 1), own.get("batch_group_count", 1)
    if not isinstance(groups, int) or not isinstance(batches, int) or min(groups, batches) < 1 or batch % batches:
        _fail(graph, operation, f"{groups} feature groups and {batches} batch groups")
    if channels != ins * groups or outs % (groups * batches) or made != (batch // batches, outs):
        _fail(
            graph, operation,
            f"{channels} input channels, {ins} of the kernel, {outs} output channels, {groups} groups do not fit together",
        )  # fmt: skip
    pads = _padding(padding, len(places))
    for d in places if pads is not None else ():
        size = spread[d] * (positions[d] - 1) + 1 + sum(pads[d]) - ((window[d] - 1) * dilation[d] + 1) if pads else 0
        if max(0, size // stride[d] + 1) != results[d]:
            _fail(
                graph,
                operation,
                f"the result has {results[d]} positions in dimension {d}; the window makes {size // stride[d] + 1}",
            )
    contraction.convolution(
        graph, operation, image, kernel, result,
        batch=batch // batches, outputs=outs, inputs=ins * groups * batches, extents=positions, results=results, window=window,
        stride=stride, dilation=dilation, spread=spread, groups=groups * batches,
    )  # fmt: skip


def _padding(given: Any, places: int) -> list[list[int]] | None:
    """(low, high) of every dimension; None if it can't be read."""
    if given is None:
        return [[0, 0]] * places
    if isinstance(given, Dense):
        numbers = given.numbers
        if len(numbers) == 1:
            return [[numbers[0]] * 2] * places
        given = [numbers[i : i + 2] for i in range(0, len(numbers), 2)]
    fits = (
        isinstance(given, list)
        and len(given) == places
        and all(isinstance(p, list) and len(p) == 2 and all(isinstance(n, int) for n in p) for p in given)
    )
    return given if fits else None


_SPECIAL: Final[Mapping[str, Callable[[Graph, Operation], None]]] = {
    "dot_general": _dot,
    "dot": _dot,
    "convolution": _convolution,
    "reduce": _reduce,
    "reduce_window": _reduce_window,
    "select_and_scatter": _select_and_scatter,
    "scatter": _scatter,
    "batch_norm_inference": _batch_norm,
    "batch_norm_training": _batch_norm,
    "batch_norm_grad": _batch_norm,
    "iota": _iota,
    "create_token": _ignore,
    "after_all": _ignore,
    "optimization_barrier": _pass,
    "custom_call": _custom_call,
}
