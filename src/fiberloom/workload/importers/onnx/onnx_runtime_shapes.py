"""Output shapes of operators that the ONNX standard's inference does not cover: ONNX Runtime's own (domain com.microsoft).

source: ONNX Runtime's ContribOperators.md, which states inputs, outputs and their shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from fiberloom.workload.importers.onnx.elements import FLOAT, UINT8
from fiberloom.workload.importers.onnx.graph import Step

if TYPE_CHECKING:
    from fiberloom.workload.importers.onnx.known import Result, Shape, Value

    Given = Sequence[Value | None]
    Rule = Callable[[Step, Given, dict[str, Any]], Result]

MICROSOFT: Final = "com.microsoft"

_LIKE_FIRST: Final = frozenset(
    {"FastGelu", "Gelu", "BiasGelu", "QuickGelu", "SimplifiedLayerNormalization", "LayerNormalization",
     "RotaryEmbedding", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "GroupNorm", "BiasAdd", "BiasSoftmax",
     "BiasDropout", "BitmaskDropout", "MoE", "QMoE", "Trilu", "Inverse", "SkipLayerNormalization",
     "SkipSimplifiedLayerNormalization", "SkipGroupNorm", "MeanVarianceNormalization", "GemmFloat8Like",
     "LinearAttention"}
)  # fmt: skip


def infer(step: Step, given: Given) -> Result:
    """Types and shapes of a node's outputs; unknown ones for an operator that has no rule."""
    if step.domain not in {"", MICROSOFT}:
        return tuple((0, None) for _ in step.outputs)
    rule = _RULES.get(step.op)
    if rule is not None and given and given[0] is not None:
        try:
            made = rule(step, given, step.attributes())
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
            made = ()
    else:
        made = ()
    made = (*made, *((0, None),) * (len(step.outputs) - len(made)))
    return completed(step, given, made[: len(step.outputs)])


def completed(step: Step, given: Given, made: Result) -> Result:
    """What inference found, with the shape of the first input where that is the operator's rule and none was found."""
    if step.op not in _LIKE_FIRST or not made or made[0][1] is not None or not given or given[0] is None:
        return made
    first = (given[0].element, given[0].shape)
    skipped = step.op.startswith("Skip")
    return (first, *((first if skipped and i == 2 else other) for i, other in enumerate(made[1:])))


def _like(index: int, element_of: int | None = None) -> Rule:
    def made(_: Step, given: Given, __: dict[str, Any]) -> Result:
        value = _at(given, index)
        return ((value.element if element_of is None else _at(given, element_of).element, value.shape),)

    return made


def _at(given: Given, index: int) -> Value:
    value = given[index]
    if value is None:
        raise ValueError("an input is missing")
    return value


def _shape(given: Given, index: int) -> Shape:
    shape = _at(given, index).shape
    if shape is None:
        raise ValueError("a shape is not known")
    return shape


def _broadcast(*shapes: Shape) -> Shape:
    rank = max(len(s) for s in shapes)
    made: list[int | None] = []
    for axis in range(-rank, 0):
        extents = {s[axis] for s in shapes if len(s) >= -axis} - {1}
        made.append(1 if not extents else extents.pop() if len(extents) == 1 else None)
    return tuple(made)


def _elementwise(second: int, element_of: int | None = None) -> Rule:
    def made(_: Step, given: Given, __: dict[str, Any]) -> Result:
        element = _at(given, 0 if element_of is None else element_of).element
        return ((element, _broadcast(_shape(given, 0), _shape(given, second))),)

    return made


def _product(second: int, element: int | None = None, element_of: int = 0) -> Rule:
    """A matrix product of inputs 0 and `second`."""

    def made(_: Step, given: Given, attributes: dict[str, Any]) -> Result:
        a, b = list(_shape(given, 0)), list(_shape(given, second))
        if attributes.get("transA"):
            a[-1], a[-2] = a[-2], a[-1]
        if attributes.get("transB"):
            b[-1], b[-2] = b[-2], b[-1]
        shape = (*_broadcast(tuple(a[:-2]), tuple(b[:-2])), a[-2], b[-1]) if len(a) > 1 else tuple(b[-1:])
        return ((_at(given, element_of).element if element is None else element, shape),)

    return made


def _narrow_product(_: Step, given: Given, attributes: dict[str, Any]) -> Result:
    first = _at(given, 0)
    return ((first.element, (*_shape(given, 0)[:-1], attributes["N"])),)


def _attention(step: Step, given: Given, attributes: dict[str, Any]) -> Result:
    """Attention, QAttention: input [batch, tokens, width], weights [width, 3 * width]."""
    batch, tokens, _ = _shape(given, 0)
    widths = attributes.get("qkv_hidden_sizes")
    columns = _shape(given, 1)[1]
    width = widths[2] if widths else columns // 3 if columns is not None else None
    element = FLOAT if step.op == "QAttention" else _at(given, 0).element
    heads = attributes["num_heads"]
    past = _shape(given, 4)[3] if len(given) > 4 and given[4] is not None else 0
    total = None if past is None or tokens is None else past + tokens
    return (element, (batch, tokens, width)), (
        element,
        (2, batch, heads, total, None if width is None else width // heads),
    )


def _multi_head(_: Step, given: Given, attributes: dict[str, Any]) -> Result:
    """MultiHeadAttention: query [batch, tokens, width], or [batch, tokens, heads, 3, depth] with keys and values inside."""
    query, heads = _shape(given, 0), attributes["num_heads"]
    element = _at(given, 0).element
    if len(query) == 5:
        return ((element, (query[0], query[1], heads * (query[4] or 0) or None)),)
    key, value = (_shape(given, i) if len(given) > i and given[i] is not None else () for i in (1, 2))
    width = heads * value[3] if len(value) == 4 and value[3] else value[2] if len(value) == 3 else query[2]
    tokens = key[1] if len(key) in (3, 5) else key[2] if len(key) == 4 else None
    past = _shape(given, 6)[2] if len(given) > 6 and given[6] is not None else 0
    total = None if past is None or tokens is None else past + tokens
    kept = (element, (query[0], heads, total, None if width is None else width // heads))
    return (element, (query[0], query[1], width)), kept, kept


def _grouped_query(_: Step, given: Given, attributes: dict[str, Any]) -> Result:
    """GroupQueryAttention: query [batch, tokens, width] (with keys and values behind, when those are not given)."""
    query = _shape(given, 0)
    heads, groups = attributes["num_heads"], attributes["kv_num_heads"]
    packed = len(given) < 2 or given[1] is None
    width = query[2]
    if packed and width is not None:
        width = width * heads // (heads + 2 * groups)
    kept = _at(given, 3).shape if len(given) > 3 and given[3] is not None else None
    if kept is not None and kept[2] is not None and query[1] is not None:
        kept = (kept[0], kept[1], kept[2] + query[1], kept[3])
    state = (_at(given, 0).element, kept)
    return (_at(given, 0).element, (query[0], query[1], width)), state, state


def _embedding(_: Step, given: Given, __: dict[str, Any]) -> Result:
    ids, table = _shape(given, 0), _at(given, 2)
    return (table.element, (*ids, _shape(given, 2)[-1])), (6, ids[:1]), (table.element, (*ids, _shape(given, 2)[-1]))


def _global_pool(_: Step, given: Given, attributes: dict[str, Any]) -> Result:
    shape = _shape(given, 0)
    ones = (1,) * (len(shape) - 2)
    return (
        (
            _at(given, 0).element,
            (shape[0], *ones, shape[-1]) if attributes.get("channels_last") else (*shape[:2], *ones),
        ),
    )


def _concatenated(_: Step, given: Given, attributes: dict[str, Any]) -> Result:
    """QLinearConcat: scale and zero point of the output, then (tensor, scale, zero point) of each input."""
    shapes = [_shape(given, i) for i in range(2, len(given), 3)]
    axis = attributes["axis"] % len(shapes[0])
    extents = [s[axis] for s in shapes]
    total = None if None in extents else sum(n for n in extents if n is not None)
    return ((_at(given, 2).element, (*shapes[0][:axis], total, *shapes[0][axis + 1 :])),)


def _gathered(_: Step, given: Given, attributes: dict[str, Any]) -> Result:
    """GatherBlockQuantized: rows of a packed table; two 4-bit elements to a byte."""
    table, ids = _shape(given, 0), _shape(given, 1)
    axis = attributes.get("gather_axis", 0)
    last = table[-1]
    if _at(given, 0).element == UINT8 and last is not None:
        last *= 8 // attributes.get("bits", 4)
    whole = (*table[:-1], last)
    return ((_at(given, 2).element, (*whole[:axis], *ids, *whole[axis + 1 :])),)


_RULES: Final[dict[str, Any]] = {
    "QLinearAdd": _elementwise(3),
    "QLinearMul": _elementwise(3),
    "QLinearGlobalAveragePool": _global_pool,
    "QLinearConcat": _concatenated,
    "FusedMatMul": _product(1),
    "TransposeMatMul": _product(1),
    "FusedGemm": _product(1),
    "GemmFastGelu": _product(1),
    "QGemm": _product(3, FLOAT),
    "MatMulIntegerToFloat": _product(1, element_of=2),
    "DynamicQuantizeMatMul": _product(1, FLOAT),
    "MatMulNBits": _narrow_product,
    "MatMulBnb4": _narrow_product,
    "Attention": _attention,
    "QAttention": _attention,
    "MultiHeadAttention": _multi_head,
    "GroupQueryAttention": _grouped_query,
    "EmbedLayerNormalization": _embedding,
    "GatherBlockQuantized": _gathered,
    "DequantizeLinear": _like(0, element_of=1),
    "QuantizeLinear": _like(0, element_of=2),
}
