"""Convolutions, matrix products and attention of ATen as canonical Einsums (`fiberloom.workload.layers`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from fiberloom.errors import UnsupportedError
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.importers.torch_export_values import Call, Value
from fiberloom.workload.layers import (
    attention_scores,
    attention_values,
    batched_product,
    convolution_nd,
    fully_connected,
    transposed_convolution,
)
from fiberloom.workload.network import Kind, Operator
from fiberloom.workload.zoo.building import OPERATIONS

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


def convolution(call: Call) -> list[Operator]:
    """``conv1d`` to ``conv3d``, ``conv_transpose1d`` to ``3d``, ``convolution``, ``_convolution``."""
    image, weight = call.tensor("input"), call.tensor("weight")
    extents = len(weight.shape) - 2
    transposed = bool(call["transposed"]) or call.base.startswith("conv_transpose")
    groups = int(call["groups"] or 1)
    batch = image.shape[0] if len(image.shape) == extents + 2 else 1
    channels = image.shape[-extents - 1]
    outputs = weight.shape[1] * groups if transposed else weight.shape[0]
    steps: dict[str, Any] = {
        "kernel": weight.shape[2:],
        "stride": _each(call["stride"], extents),
        "dilation": _each(call["dilation"], extents),
    }
    make = transposed_convolution if transposed else convolution_nd
    places = (image if transposed else call.output).shape[-extents:]
    einsum = make(call.name, outputs=outputs, inputs=channels, extents=places, groups=groups, batch=batch, **steps)
    operands = {"W": weight, "I": image, "O": call.output}
    return [call.einsum(einsum, operands, besides=_given(call, "bias"))]


def linear(call: Call) -> list[Operator]:
    """``linear``: the weight is stored (outputs, inputs)."""
    x, weight = call.tensor("input"), call.tensor("weight")
    inputs = weight.shape[-1]
    outputs = weight.shape[0] if len(weight.shape) > 1 else 1
    einsum = fully_connected(call.name, outputs=outputs, inputs=inputs, batch=_tokens(x, inputs))
    return [call.einsum(einsum, {"W": weight, "I": x, "O": call.output}, besides=_given(call, "bias"))]


def matrix_product(first: str, second: str, added: str | None = None) -> Callable[[Call], list[Operator]]:
    """``mm``, ``bmm``, ``matmul``, ``addmm``, … whose factors are arguments `first` and `second`."""

    def handle(call: Call) -> list[Operator]:
        a, b = call.tensor(first), call.tensor(second)
        return [_matmul(call, a, b, besides=_given(call, added) if added else ())]

    return handle


def _matmul(call: Call, a: Value, b: Value, *, besides: tuple[Value, ...] = ()) -> Operator:
    """``torch.matmul``: vectors get an axis of one, leading axes are broadcast."""
    grouped = _grouped_heads(call, a, b)
    if grouped is not None:
        return grouped
    left = a.shape if len(a.shape) > 1 else (1, *a.shape)
    right = b.shape if len(b.shape) > 1 else (*b.shape, 1)
    lead = max(len(left), len(right)) - 2
    names = _LETTERS[:lead]
    sizes: dict[str, int] = {}
    labels = []
    for shape, own, spread in ((left, "yx", a.spread), (right, "xz", b.spread)):
        axes = names[lead - (len(shape) - 2) :] + own
        # An axis along which one factor is repeated belongs to the other alone.
        kept = "".join(
            n for i, (n, s) in enumerate(zip(axes, shape, strict=True)) if n in "xyz" or (s > 1 and i >= spread)
        )
        sizes |= {n: s for n, s in zip(axes, shape, strict=True) if n in kept}
        labels.append(kept)
    return contraction(call, (a, labels[0]), (b, labels[1]), names + "yz", sizes, besides=besides)


def contraction(
    call: Call,
    first: tuple[Value, str],
    second: tuple[Value, str],
    output: str,
    sizes: Mapping[str, int],
    *,
    besides: tuple[Value, ...] = (),
) -> Operator:
    """A product of two tensors with one letter per axis.

    Letters of both factors and the output are the batch, of both factors alone the depth; the rest are rows and columns. Letters of a
    kind become one rank. With a parameter and no batch it is a fully connected layer.
    """
    (a, in_a), (b, in_b) = first, second
    where = {n: (n in in_a, n in in_b, n in output) for n in dict.fromkeys(in_a + in_b)}
    if any(not kept and not (left and right) for left, right, kept in where.values()):
        raise UnsupportedError("sums one factor alone before the product")

    def extent(*use: bool) -> int:
        return math.prod(sizes[n] for n, found in where.items() if found == use)

    batch, depth = extent(True, True, True), extent(True, True, False)
    rows, columns = extent(True, False, True), extent(False, True, True)
    if batch == 1 and a.parameter != b.parameter:
        weight, x = (a, b) if a.parameter else (b, a)
        outputs, tokens = (rows, columns) if a.parameter else (columns, rows)
        einsum = fully_connected(call.name, outputs=outputs, inputs=depth, batch=tokens)
        in_weight = in_a if a.parameter else in_b
        summed = [where[n] == (True, True, False) for n in in_weight]
        if summed[0] and summed == sorted(summed, reverse=True):  # stored (inputs, outputs)
            einsum = einsum.with_reversed_ranks("W")
        return call.einsum(einsum, {"W": weight, "I": x, "O": call.output}, besides=besides)
    einsum = batched_product(call.name, rows=rows, columns=columns, depth=depth, batch=batch)
    return call.einsum(einsum, {"A": a, "B": b, "O": call.output}, besides=besides)


def _grouped_heads(call: Call, a: Value, b: Value) -> Operator | None:
    """A product of heads whose second factor is keys or values repeated for each group of queries (Ainslie et al., EMNLP'23)."""
    found = call.repeated.get(b.name)
    if found is None or a.shape[:-2] != b.shape[:-2]:
        return None
    heads, queries = math.prod(a.shape[:-2]), a.shape[-2]
    sizes: dict[str, Any] = {"heads": heads, "groups": heads // found.times, "queries": queries}
    if found.swapped:
        scores = attention_scores(call.name, keys=b.shape[-1], depth=b.shape[-2], **sizes)
        return call.einsum(scores, {"S": call.output, "Q": a, "K": found.base})
    values = attention_values(call.name, keys=b.shape[-2], depth=b.shape[-1], **sizes)
    return call.einsum(values, {"Z": call.output, "S": a, "V": found.base})


def attention(call: Call) -> list[Operator]:
    """``scaled_dot_product_attention`` and the kernels it may become: scores, softmax, values."""
    query, key, value = (call.tensor(name) for name in ("query", "key", "value"))
    *lead, queries, depth = query.shape
    keys, width = key.shape[-2], value.shape[-1]
    heads = math.prod(lead)
    grouped = math.prod(key.shape[:-2])
    repeats = [call.repeated.get(v.name) for v in (key, value)]
    if repeats[0] is not None and repeats[1] is not None and not (repeats[0].swapped or repeats[1].swapped):
        key, value, grouped = repeats[0].base, repeats[1].base, heads // repeats[0].times
    if grouped < 1 or heads % grouped:
        raise UnsupportedError(f"{heads} heads of queries for {grouped} of keys")
    shape = (*lead, queries, keys)
    scores, weights = (call.on_the_way(suffix, shape, query) for suffix in ("scores", "softmax"))
    sizes: dict[str, Any] = {"heads": heads, "groups": grouped, "queries": queries, "keys": keys}
    mask = _given(call, "attn_mask") or _given(call, "attn_bias")
    per_score = OPERATIONS["softmax"] + OPERATIONS["scale" if not mask else "scale and mask"]
    note = "scale and softmax" if not mask else "scale, mask and softmax"
    if call["is_causal"]:
        note += "; causal: later keys are masked, and count"
    made = call.einsum(
        attention_scores(call.name, depth=depth, **sizes), {"S": scores, "Q": query, "K": key}, suffix="scores"
    )
    softmax = call.step(
        Kind.SOFTMAX,
        per_score * scores.elements,
        suffix="softmax",
        inputs=(scores, *mask),
        outputs=(weights,),
        note=note,
    )
    summed = call.einsum(
        attention_values(call.name, depth=width, **sizes), {"Z": call.output, "S": weights, "V": value}, suffix="values"
    )
    return [made, softmax, summed]


def general_einsum(call: Call) -> list[Operator]:
    """``einsum``: two factors as a product, one as a reduction or a transpose, more as one Einsum of all of them."""
    tensors = list(call["tensors"] or ())
    inputs, output, sizes = _letters(str(call["equation"]), [t.shape for t in tensors])
    if any(len(set(letters)) < len(letters) for letters in inputs):
        raise UnsupportedError("a letter twice in one factor (a diagonal)")
    if len(tensors) == 1:
        summed = set(inputs[0]) - set(output)
        return [call.step(Kind.REDUCTION if summed else Kind.LAYOUT, tensors[0].elements if summed else 0)]
    if len(tensors) == 2:
        kept = ["".join(n for n, s in zip(letters, t.shape, strict=True) if s > 1) or letters[:1]
                for letters, t in zip(inputs, tensors, strict=True)]  # fmt: skip
        if set(inputs[0]) == set(inputs[1]) == set(output):
            return [call.step(Kind.ELEMENTWISE, call.output.elements)]
        whole = inputs if any(t.parameter for t in tensors) else kept
        return [contraction(call, (tensors[0], whole[0]), (tensors[1], whole[1]), output, sizes)]
    names = [f"T{i}" for i in range(len(tensors))]
    right = " * ".join(f"{n}[{','.join(letters)}]" for n, letters in zip(names, inputs, strict=True))
    einsum = Einsum.parse(f"O[{','.join(output)}] = {right}", sizes, name=call.name)
    operands = dict(zip(names, tensors, strict=True)) | {"O": call.output}
    return [call.einsum(einsum, operands, note="computed at once, not pair by pair")]


def _letters(equation: str, shapes: Sequence[tuple[int, ...]]) -> tuple[list[str], str, dict[str, int]]:
    """Letters per factor and of the output, with ``...`` written out in capitals, and the extent of each."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    spans = [len(s) - len(t.replace("...", "")) for t, s in zip(terms, shapes, strict=True)]
    longest = max((n for n, t in zip(spans, terms, strict=True) if "..." in t), default=0)
    unused = [c for c in _LETTERS.upper() + _LETTERS if c not in left][:longest]
    if len(unused) < longest:
        raise UnsupportedError("more than 52 letters")
    inputs = [t.replace("...", "".join(unused[longest - n :]) if n else "") for n, t in zip(spans, terms, strict=True)]
    sizes: dict[str, int] = {}
    for letters, shape in zip(inputs, shapes, strict=True):
        for letter, extent in zip(letters, shape, strict=True):
            sizes[letter] = max(extent, sizes.get(letter, 1))
    if arrow:
        return inputs, right.replace("...", "".join(unused)), sizes
    once = sorted(c for c in set(left) - set(".,") if left.count(c) == 1)
    return inputs, "".join(unused) + "".join(once), sizes


def grouped_product(call: Call) -> list[Operator]:
    """``_grouped_mm``: rows sorted by expert, each times its expert's matrix; as even as the rows divide."""
    a, b = [*call.inputs, None, None][:2]
    if a is None or b is None or len(a.shape) != 2 or len(b.shape) != 3:
        raise UnsupportedError("only rows (tokens, width) times one matrix per expert are known")
    experts, depth, columns = b.shape
    each, more = divmod(a.shape[0], experts)
    made = []
    for count, rows, suffix in ((more, each + 1, "fuller"), (experts - more, each, "")):
        if count and rows:
            einsum = fully_connected(call.name, outputs=columns, inputs=depth, batch=rows).with_reversed_ranks("W")
            note = f"{a.shape[0]} rows spread as evenly as {experts} experts allow"
            operands = {"W": b, "I": a, "O": call.output}
            made.append(call.einsum(einsum, operands, suffix=suffix, count=count, note=note))
    return made


def _each(given: Any, extents: int) -> tuple[int, ...]:
    numbers = [given] if isinstance(given, int) else list(given or [1])
    return tuple(int(n) for n in (numbers * extents if len(numbers) == 1 else numbers))


def _given(call: Call, *names: str) -> tuple[Value, ...]:
    return tuple(call[n] for n in names if isinstance(call[n], Value))


def _tokens(x: Value, width: int) -> int:
    return x.elements // width if width else 0


CONTRACTIONS: Final[Mapping[str, Callable[[Call], list[Operator]]]] = {
    **{f"conv{n}d": convolution for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": convolution for n in (1, 2, 3)},
    "convolution": convolution,
    "_convolution": convolution,
    "linear": linear,
    "matmul": matrix_product("self", "other"),
    "mm": matrix_product("self", "mat2"),
    "bmm": matrix_product("self", "mat2"),
    "mv": matrix_product("self", "vec"),
    "dot": matrix_product("self", "tensor"),
    "addmm": matrix_product("mat1", "mat2", "self"),
    "baddbmm": matrix_product("batch1", "batch2", "self"),
    "addmv": matrix_product("mat", "vec", "self"),
    "_int_mm": matrix_product("self", "mat2"),
    "einsum": general_einsum,
    "_grouped_mm": grouped_product,
    "grouped_mm_fallback": grouped_product,
    "scaled_dot_product_attention": attention,
    "_scaled_dot_product_flash_attention_for_cpu": attention,
    "_scaled_dot_product_flash_attention": attention,
    "_scaled_dot_product_efficient_attention": attention,
    "_scaled_dot_product_cudnn_attention": attention,
    "_scaled_dot_product_attention_math": attention,
    "_scaled_dot_product_attention_math_for_mps": attention,
    "_scaled_dot_product_fused_attention_overrideable": attention,
}
"""What makes the operators of a call, by the call's base name."""
