"""Values of small tensors that are known before the network runs: shapes, sizes, indices.

Exporters write `x.view(x.shape[0], -1)` as Shape → Gather → Concat → Reshape. With the extents of the inputs bound, all of that is
arithmetic on a few integers, which is done here so that the Reshape is understood. Operators as the ONNX standard defines them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.workload.importers.onnx.elements import BOOL
from fiberloom.workload.importers.onnx.file import KEPT_ELEMENTS, load_onnx

Array = NDArray[Any]
Fold = Callable[[Sequence[Array | None], Mapping[str, Any]], list[Array] | None]


def fold(op: str, inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> list[Array] | None:
    """Outputs of a standard operator on known values, or None if it is not one of those, or its outputs are large.

    Args:
        inputs: None for an optional input that is not given.
    """
    rule = _RULES.get(op)
    if rule is None:
        return None
    try:
        with np.errstate(all="ignore"):
            made = rule(inputs, attributes)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, MemoryError):
        return None  # ill-formed: shape inference names the node
    if made is None or any(a.size > KEPT_ELEMENTS for a in made):
        return None
    return [np.asarray(a) for a in made]


def foldable(op: str) -> bool:
    """Whether `fold` knows an operator."""
    return op in _RULES


def _required(inputs: Sequence[Array | None], index: int = 0) -> Array:
    value: Array | None = inputs[index] if index < len(inputs) else None
    if value is None:
        raise ValueError("an input is missing")
    return value


def _option(inputs: Sequence[Array | None], index: int) -> Array | None:
    return inputs[index] if index < len(inputs) else None


def _unary(function: Callable[[Array], Any]) -> Fold:
    return lambda inputs, _: [np.asarray(function(_required(inputs))).astype(_required(inputs).dtype, copy=False)]


def _test(function: Callable[..., Any]) -> Fold:
    return lambda inputs, _: [np.asarray(function(*(_required(inputs, i) for i in range(len(inputs)))), bool)]


def _arithmetic(function: Callable[[Array, Array], Any]) -> Fold:
    def made(inputs: Sequence[Array | None], _: Mapping[str, Any]) -> list[Array]:
        value = _required(inputs)
        if len(inputs) > 1 and np.broadcast_shapes(*(_required(inputs, i).shape for i in range(len(inputs)))):
            _bounded(np.broadcast_shapes(*(_required(inputs, i).shape for i in range(len(inputs)))))
        for index in range(1, len(inputs)):
            value = np.asarray(function(value, _required(inputs, index)))
        return [value.astype(_required(inputs).dtype, copy=False)]

    return made


def _divided(a: Array, b: Array) -> Array:
    """Integers are divided as in C: towards zero."""
    if np.issubdtype(a.dtype, np.integer):
        if not np.all(b):
            raise ValueError("division by zero")
        return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)))
    return np.asarray(a / b)


def _reduction(function: Callable[..., Any]) -> Fold:
    def made(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> list[Array]:
        value, axes = _required(inputs), _option(inputs, 1)
        if not value.size:
            raise ValueError("nothing to reduce")
        chosen = attributes.get("axes") if axes is None else axes.tolist()
        if not chosen and attributes.get("noop_with_empty_axes"):
            return [value]
        where = tuple(chosen) if chosen else None
        result = function(value, axis=where, keepdims=bool(attributes.get("keepdims", 1)))
        return [np.asarray(result).astype(value.dtype, copy=False)]

    return made


def _bounded(shape: Sequence[int]) -> tuple[int, ...]:
    if math.prod(shape) > KEPT_ELEMENTS:
        raise ValueError("large")
    return tuple(int(n) for n in shape)


def _cast(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> list[Array] | None:
    value, target = _required(inputs), attributes["to"]
    kind = load_onnx(".helper").tensor_dtype_to_np_dtype(target)
    return [(value != 0) if target == BOOL else value.astype(kind)]


def _constant(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> list[Array] | None:
    for key, kind in (("value_int", "int64"), ("value_ints", "int64"), ("value_float", "f4"), ("value_floats", "f4")):
        if key in attributes:
            return [np.asarray(attributes[key], kind)]
    return None


def _constant_of_shape(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> list[Array]:
    given = attributes.get("value")
    value = np.zeros(1, np.float32) if given is None else load_onnx(".numpy_helper").to_array(given)
    return [np.full(_bounded(_required(inputs).tolist()), value.reshape(-1)[0])]


def _range(inputs: Sequence[Array | None], _: Mapping[str, Any]) -> list[Array]:
    start, limit, step = (_required(inputs, i).reshape(()).item() for i in range(3))
    if not step or abs((limit - start) / step) > KEPT_ELEMENTS:
        raise ValueError("large")
    return [np.arange(start, limit, step, dtype=_required(inputs).dtype)]


def _gather(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> list[Array]:
    return [np.take(_required(inputs), _required(inputs, 1), axis=attributes.get("axis", 0))]


def _gather_nd(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> list[Array] | None:
    if attributes.get("batch_dims", 0):
        return None
    index = _required(inputs, 1)
    return [_required(inputs)[tuple(np.moveaxis(index, -1, 0))]]


def _scatter_nd(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> list[Array] | None:
    if attributes.get("reduction", "none") != "none":
        return None
    value = _required(inputs).copy()
    value[tuple(np.moveaxis(_required(inputs, 1), -1, 0))] = _required(inputs, 2)
    return [value]


def _slice(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> list[Array]:
    value = _required(inputs)
    if "starts" in attributes:
        starts, ends, axes, steps = attributes["starts"], attributes["ends"], attributes.get("axes"), None
    else:
        starts, ends = _required(inputs, 1).tolist(), _required(inputs, 2).tolist()
        axes, steps = (None if a is None else a.tolist() for a in (_option(inputs, 3), _option(inputs, 4)))
    where = [slice(None)] * value.ndim
    axes = range(len(starts)) if axes is None else axes
    for axis, start, end, step in zip(axes, starts, ends, steps or [1] * len(starts), strict=True):
        # An end before the first element, going down, is written as a very small number; Python wants None.
        stop = None if step < 0 and end < -value.shape[axis] else end
        where[axis] = slice(start, stop, step)
    return [value[tuple(where)]]


def _concat(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> list[Array]:
    return [np.concatenate([_required(inputs, i) for i in range(len(inputs))], axis=attributes.get("axis", 1))]


def _axes(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> list[int] | None:
    given = _option(inputs, 1)
    axes: list[int] | None = attributes.get("axes") if given is None else given.reshape(-1).tolist()
    return axes


def _squeeze(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> list[Array]:
    axes = _axes(inputs, attributes)
    return [np.squeeze(_required(inputs), axis=None if axes is None else tuple(axes))]


def _unsqueeze(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> list[Array]:
    return [np.expand_dims(_required(inputs), tuple(_axes(inputs, attributes) or ()))]


def _reshape(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> list[Array]:
    value = _required(inputs)
    target = list(attributes["shape"]) if "shape" in attributes else _required(inputs, 1).tolist()
    if not attributes.get("allowzero"):
        target = [value.shape[i] if extent == 0 else extent for i, extent in enumerate(target)]
    return [value.reshape(target)]


def _flatten(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> list[Array]:
    value, axis = _required(inputs), attributes.get("axis", 1)
    return [value.reshape(math.prod(value.shape[:axis]), -1)]


def _transpose(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> list[Array]:
    return [np.transpose(_required(inputs), attributes.get("perm"))]


def _split(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> list[Array] | None:
    sizes = _option(inputs, 1)
    given = attributes.get("split") if sizes is None else sizes.tolist()
    if not given:
        return None
    return np.split(_required(inputs), np.cumsum(given)[:-1], axis=attributes.get("axis", 0))


def _expand(inputs: Sequence[Array | None], _: Mapping[str, Any]) -> list[Array]:
    value = _required(inputs)
    shape = _bounded(np.broadcast_shapes(value.shape, tuple(_required(inputs, 1).tolist())))
    return [np.broadcast_to(value, shape)]


def _tile(inputs: Sequence[Array | None], _: Mapping[str, Any]) -> list[Array]:
    value, repeats = _required(inputs), _required(inputs, 1).tolist()
    _bounded([value.size, *repeats])
    return [np.tile(value, repeats)]


def _where(inputs: Sequence[Array | None], _: Mapping[str, Any]) -> list[Array]:
    chosen = [_required(inputs, i) for i in range(3)]
    _bounded(np.broadcast_shapes(*(a.shape for a in chosen)))
    return [np.where(*chosen)]


def _clip(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> list[Array]:
    value = _required(inputs)
    low, high = (
        attributes.get(k) if _option(inputs, i) is None else _option(inputs, i) for i, k in ((1, "min"), (2, "max"))
    )
    return [value if low is None and high is None else np.clip(value, low, high).astype(value.dtype)]


def _nonzero(inputs: Sequence[Array | None], _: Mapping[str, Any]) -> list[Array]:
    return [np.array(np.nonzero(_required(inputs)), np.int64)]


def _cumulative(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> list[Array] | None:
    if attributes.get("exclusive") or attributes.get("reverse"):
        return None
    value = _required(inputs)
    return [np.cumsum(value, axis=int(_required(inputs, 1).reshape(())), dtype=value.dtype)]


def _triangle(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> list[Array]:
    offset = _option(inputs, 1)
    function = np.triu if attributes.get("upper", 1) else np.tril
    return [function(_required(inputs), 0 if offset is None else int(offset.reshape(())))]


def _modulo(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> list[Array]:
    a, b = _required(inputs), _required(inputs, 1)
    return [np.asarray(np.fmod(a, b) if attributes.get("fmod") else np.mod(a, b)).astype(a.dtype, copy=False)]


_RULES: Final[Mapping[str, Fold]] = {
    "Identity": _unary(lambda a: a), "Abs": _unary(np.abs), "Neg": _unary(np.negative), "Sign": _unary(np.sign),
    "Floor": _unary(np.floor), "Ceil": _unary(np.ceil), "Round": _unary(np.round), "Sqrt": _unary(np.sqrt),
    "Exp": _unary(np.exp), "Log": _unary(np.log), "Reciprocal": _unary(np.reciprocal),
    "Not": _test(np.logical_not), "And": _test(np.logical_and), "Or": _test(np.logical_or),
    "Xor": _test(np.logical_xor), "Equal": _test(np.equal), "Greater": _test(np.greater), "Less": _test(np.less),
    "GreaterOrEqual": _test(np.greater_equal), "LessOrEqual": _test(np.less_equal), "IsNaN": _test(np.isnan),
    "Add": _arithmetic(np.add), "Sub": _arithmetic(np.subtract), "Mul": _arithmetic(np.multiply),
    "Div": _arithmetic(_divided), "Pow": _arithmetic(np.power), "Min": _arithmetic(np.minimum),
    "Max": _arithmetic(np.maximum), "Sum": _arithmetic(np.add), "Mod": _modulo,
    "ReduceSum": _reduction(np.sum), "ReduceProd": _reduction(np.prod), "ReduceMin": _reduction(np.min),
    "ReduceMax": _reduction(np.max), "ReduceMean": _reduction(np.mean),
    "Cast": _cast, "Constant": _constant, "ConstantOfShape": _constant_of_shape, "Range": _range, "Gather": _gather,
    "GatherND": _gather_nd, "ScatterND": _scatter_nd, "Slice": _slice, "Concat": _concat, "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze, "Reshape": _reshape, "Flatten": _flatten, "Transpose": _transpose, "Split": _split,
    "Expand": _expand, "Tile": _tile, "Where": _where, "Clip": _clip, "NonZero": _nonzero, "CumSum": _cumulative,
    "Trilu": _triangle,
}  # fmt: skip
