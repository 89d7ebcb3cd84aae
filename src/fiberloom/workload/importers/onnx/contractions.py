"""Products of tensors in ONNX graphs as Einsums: convolutions, matrix products, general Einsums, quantised ones alike.

What the operators compute is the ONNX standard's (Operators.md) and, for domain com.microsoft, ONNX Runtime's (ContribOperators.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from fiberloom.errors import SpecError
from fiberloom.workload import layers
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.importers.onnx.graph import Step
from fiberloom.workload.importers.onnx.translation import Translation, Unresolved
from fiberloom.workload.network import Kind, NetworkTensor, Role

_ATTENTION_NAMES: Final = {"scores": "attention scores", "values": "attention values"}


@lru_cache(maxsize=4096)
def _built(builder: Callable[..., Einsum], **sizes: Any) -> Einsum:
    return builder("einsum", **sizes)


@lru_cache(maxsize=4096)
def _parsed(equation: str, shape: tuple[tuple[str, int], ...]) -> Einsum:
    return Einsum.parse(equation, dict(shape))


def built(builder: Callable[..., Einsum], **sizes: Any) -> Einsum:
    """An Einsum of `fiberloom.workload.layers`, made once per sizes.

    Raises:
        Unresolved: if an extent is zero or the sizes do not go together.
    """
    if any(isinstance(n, int) and n < 1 for n in sizes.values()) or 0 in sizes.get("extents", ()):
        raise Unresolved(_EMPTY)
    try:
        return _built(builder, **sizes)
    except SpecError as error:
        raise Unresolved(error.problem) from None


_EMPTY: Final = "a tensor without elements: nothing is computed"


def convolution(
    t: Translation, step: Step, data: int = 0, weights: int = 1, last: bool = False, note: str = ""
) -> None:
    """Conv and its kin: data [batch, channels, extents …], weights [filters, channels / groups, kernel …].

    Args:
        data, weights: which inputs these are.
        last: channels come last in the data and the result.
        note: what a reader should know.
    """
    attributes = step.attributes()
    x, w, y = (t.value(n).extents for n in (step.given(data), step.given(weights), step.outputs[0]))
    spatial = len(w) - 2
    channels, extents = (x[-1], y[1:-1]) if last else (x[1], y[2:])
    sizes = {
        "outputs": w[0],
        "inputs": channels,
        "extents": tuple(extents),
        "kernel": tuple(w[2:]),
        "stride": tuple(attributes.get("strides") or (1,) * spatial),
        "dilation": tuple(attributes.get("dilations") or (1,) * spatial),
        "groups": attributes.get("group", 1),
        "batch": x[0],
    }
    _add_layer(t, step, built(layers.convolution_nd, **sizes), step.given(data), step.given(weights), note=note)


def transposed_convolution(t: Translation, step: Step) -> None:
    """ConvTranspose: data [batch, channels, extents …], weights [channels, filters / groups, kernel …]."""
    attributes = step.attributes()
    x, w = (t.value(n).extents for n in step.inputs[:2])
    t.value(step.outputs[0])
    groups, spatial = attributes.get("group", 1), len(w) - 2
    einsum = built(
        layers.transposed_convolution,
        outputs=w[1] * groups,
        inputs=x[1],
        extents=tuple(x[2:]),
        kernel=tuple(w[2:]),
        stride=tuple(attributes.get("strides") or (1,) * spatial),
        dilation=tuple(attributes.get("dilations") or (1,) * spatial),
        groups=groups,
        batch=x[0],
    )
    _add_layer(t, step, einsum, step.inputs[0], step.inputs[1])


def _add_layer(
    t: Translation, step: Step, einsum: Einsum, data: str, weights: str, *, note: str = "", suffix: str = ""
) -> None:
    constant = t.is_constant(weights)
    operands = {
        "W": t.weight(weights) if constant else t.operand(weights),
        "I": t.operand(data),
        "O": t.result(step.outputs[0]),
    }
    t.add_einsum(step, einsum, operands, suffix=suffix, note=note)


def gemm(t: Translation, step: Step, second: int = 1) -> None:
    """Gemm and its kin: A [rows, depth] times B [depth, columns], either transposed; the third operand is a bias."""
    attributes = step.attributes()
    matrix_product(t, step, second, transposed=(bool(attributes.get("transA")), bool(attributes.get("transB"))))


def matrix_product(
    t: Translation, step: Step, second: int = 1, *, transposed: tuple[bool, bool] = (False, False)
) -> None:
    """MatMul and its kin: A [batch …, rows, depth] times B [batch …, depth, columns], batches broadcast.

    Args:
        second: which input B is.
        transposed: whether A and B have their last two axes the other way round.
    """
    names = (step.given(0), step.given(second))
    a, b = (t.value(n).extents for n in names)
    t.value(step.outputs[0])
    a = (1, *a) if len(a) == 1 else a
    b = (*b, 1) if len(b) == 1 else b
    rows, depth = (a[-1], a[-2]) if transposed[0] else (a[-2], a[-1])
    columns = b[-2] if transposed[1] else b[-1]
    rank = max(len(a), len(b)) - 2
    batches = [((1,) * (rank - len(x) + 2) + x[:-2]) for x in (a, b)]
    shared = math.prod(m for m, n in zip(*batches, strict=True) if m == n)
    only_a = math.prod(m for m, n in zip(*batches, strict=True) if m != n and n == 1)
    only_b = math.prod(n for m, n in zip(*batches, strict=True) if m != n and m == 1)
    inputs_first = (transposed[0], not transposed[1])
    product(t, step, names, (shared, only_a, only_b), rows, columns, depth, inputs_first=inputs_first)


def product(
    t: Translation,
    step: Step,
    names: tuple[str, str],
    batch: tuple[int, int, int],
    rows: int,
    columns: int,
    depth: int,
    *,
    inputs_first: tuple[bool, bool] = (False, False),
) -> None:
    """Add the product of two operands.

    Args:
        names: of the operands in the graph.
        batch: extents that both have, that only the first has, that only the second has.
        rows, columns, depth: of the product.
        inputs_first: whether the operand, as a matrix of weights, is (inputs, outputs) and not (outputs, inputs).
    """
    shared, only_a, only_b = batch
    constants = [t.is_constant(n) for n in names]
    several = (only_a > 1, only_b > 1)
    if shared == 1:
        rows, columns, only_a, only_b = only_a * rows, only_b * columns, 1, 1
    if any(constants) and shared == 1:
        weights, data = (names[1], names[0]) if constants[1] else names
        filters, tokens = (columns, rows) if constants[1] else (rows, columns)
        einsum = built(layers.fully_connected, outputs=filters, inputs=depth, batch=tokens)
        stored, side = t.inference.stored.get(weights), int(constants[1])
        if not several[side] and inputs_first[side] != (stored is not None and stored.turned):
            einsum = einsum.with_reversed_ranks("W")
        _add_layer(t, step, einsum, data, weights)
        return
    role = "" if any(constants) else t.around_softmax(step, names[0], step.outputs[0])
    groups, kept = shared, names[1]
    if role and only_a == only_b == 1 and shared > 1:
        repeated = _repeats(t, names[1])
        if repeated is not None:
            kept, groups = repeated[0], shared // repeated[1]
    if role and only_a == only_b == 1:
        heads = {"heads": shared, "groups": groups}
        if role == "scores":
            einsum = built(layers.attention_scores, queries=rows, keys=columns, depth=depth, **heads)
            letters = ("Q", "K", "S")
        else:
            einsum = built(layers.attention_values, queries=rows, keys=depth, depth=columns, **heads)
            letters = ("S", "V", "Z")
    else:
        letters = ("I", "W", "O") if constants[1] else ("W", "I", "O") if constants[0] else ("A", "B", "O")
        einsum = _batched(letters, shared, only_a, only_b, rows, columns, depth)
    weighted = [t.weight(n) if c else t.operand(n) for n, c in zip((names[0], kept), constants, strict=True)]
    operands = dict(zip(letters, (*weighted, t.result(step.outputs[0])), strict=True))
    t.add_einsum(step, einsum, operands, note=_ATTENTION_NAMES.get(role, ""))


def _batched(
    letters: tuple[str, str, str], shared: int, only_a: int, only_b: int, rows: int, columns: int, depth: int
) -> Einsum:
    sizes = {"b": shared, "h": only_a, "l": only_b, "i": rows, "j": columns, "k": depth}
    if 0 in sizes.values():
        raise Unresolved(_EMPTY)
    shape = {v: n for v, n in sizes.items() if n > 1 or v in "ijk"}
    lead = {side: ",".join((*(v for v in side if v in shape), "")) for side in ("bh", "bl", "bhl")}
    a, b, o = letters
    equation = f"{o}[{lead['bhl']}i,j] = {a}[{lead['bh']}i,k] * {b}[{lead['bl']}k,j]"
    return _parsed(equation, tuple(shape.items()))


def _repeats(t: Translation, name: str) -> tuple[str, int] | None:
    """Keys or values whose heads were repeated for grouped queries: the tensor before that, and how often.

    Found where an Expand along a new axis [batch, groups, *new*, tokens, depth] is reshaped into [batch, heads, tokens, depth],
    or into one axis of batch and heads.
    """
    for _ in range(6):
        maker = t.maker(name)
        if maker is None or not maker.inputs or not all(t.values[n].known for n in (name, maker.inputs[0])):
            return None
        before, after = t.values[maker.inputs[0]].extents, t.values[name].extents
        if maker.op == "Reshape" and len(before) == 5 and len(after) in (3, 4):
            source = t.maker(maker.inputs[0])
            heads = before[1] * before[2]
            together = {(before[0], heads, *before[3:]), (before[0] * heads, *before[3:])}
            if source is None or source.op != "Expand" or after not in together:
                return None
            small = t.values[source.inputs[0]]
            if not small.known or small.extents != (*before[:2], 1, *before[3:]) or before[2] < 2:
                return None
            return source.inputs[0], before[2]
        if maker.op == "Reshape" and before[-2:] != after[-2:]:
            return None  # anything but heads and batch put together or taken apart, whose order stays the same
        if maker.op not in {"Transpose", "Mul", "Cast", "Reshape", "Identity", "DequantizeLinear", "QuantizeLinear"}:
            return None
        name = maker.inputs[0]
    return None


def narrow_product(t: Translation, step: Step) -> None:
    """MatMulNBits, MatMulBnb4: weights [N, K] packed, 4 bits (or `bits`) each."""
    attributes = step.attributes()
    filters, inputs, bits = attributes["N"], attributes["K"], attributes.get("bits", 4)
    name = step.given(1)
    x = t.value(step.given(0)).extents
    if math.prod(x) % inputs:
        raise Unresolved(f"K is {inputs}, the data has shape {list(x)}")
    einsum = built(layers.fully_connected, outputs=filters, inputs=inputs, batch=math.prod(x) // inputs)
    number_format = f"int{bits}" if step.op == "MatMulNBits" else "fp4-e2m1"
    t.tensors[name] = NetworkTensor(name, (filters, inputs), Role.PARAMETER, number_format, bits)
    operands = {"W": name, "I": t.operand(step.given(0)), "O": t.result(step.outputs[0])}
    t.tensors_of(step.inputs[2:])
    note = f"weights of {bits} bits, in blocks of {attributes.get('block_size', '?')} with a scale each"
    t.add_einsum(step, einsum, operands, note=note)


def general(t: Translation, step: Step) -> None:
    """Einsum: any equation. Two operands become the product that they are; more keep the equation's own indices."""
    from fiberloom.workload.importers.onnx.equations import Equation

    equation = Equation.read(step.attributes().get("equation", ""), [t.value(n).extents for n in step.inputs])
    t.value(step.outputs[0])
    if 0 in equation.sizes.values():
        raise Unresolved(_EMPTY)
    if len(step.inputs) == 1:
        total = math.prod(equation.sizes.values())
        moved = len(equation.output) == len(equation.inputs[0])
        t.add(step, Kind.LAYOUT if moved else Kind.REDUCTION, 0 if moved else total)
        return
    if equation.is_elementwise:
        t.add(step, Kind.ELEMENTWISE, (len(step.inputs) - 1) * math.prod(equation.sizes.values()))
        return
    classes = equation.classes() if len(step.inputs) == 2 else None
    if classes is None:
        letters = [*"ABCDEFGHIJKLMN"[: len(step.inputs)]]
        ranks = [f"{name}[{','.join(labels)}]" for name, labels in zip(letters, equation.inputs, strict=True)]
        text = f"O[{','.join(equation.output)}] = {' * '.join(ranks)}"
        operands = dict(zip(letters, (t.operand(n) for n in step.inputs), strict=True))
        try:
            einsum = _parsed(text, tuple(equation.sizes.items()))
        except SpecError as error:
            raise Unresolved(error.problem) from None
        t.add_einsum(step, einsum, operands | {"O": t.result(step.outputs[0])})
        return
    names = (step.inputs[0], step.inputs[1])
    size = {kind: [equation.sizes[label] for label in labels] for kind, labels in classes.items()}
    shared, depth = math.prod(size["shared"]), math.prod(size["summed"])
    only_a, rows = math.prod(size["first"][:-1]), (size["first"] or [1])[-1]
    only_b, columns = math.prod(size["second"][:-1]), (size["second"] or [1])[-1]
    if only_b > 1:
        only_b, columns = 1, only_b * columns
    first, second = (_inputs_first(labels, classes["summed"]) for labels in equation.inputs)
    product(t, step, names, (shared, only_a, only_b), rows, columns, depth, inputs_first=(first, second))


def _inputs_first(labels: Sequence[str], summed: Sequence[str]) -> bool:
    """Whether all summed labels stand before the others."""
    found = [label in summed for label in labels]
    return found[:1] == [True] and found == sorted(found, reverse=True)


def deformable(t: Translation, step: Step) -> None:
    """DeformConv: the products of a convolution; where the data is sampled comes from another input."""
    convolution(t, step, note="samples of its data are interpolated at computed places, which is not counted")


def causal_with_state(t: Translation, step: Step) -> None:
    """CausalConvWithState: a depth-wise convolution over a sequence that starts from what the last one left."""
    x, w = (t.value(n).extents for n in step.inputs[:2])
    einsum = built(
        layers.convolution_nd,
        outputs=w[0],
        inputs=x[1],
        extents=tuple(x[2:]),
        kernel=tuple(w[2:]),
        groups=x[1],
        batch=x[0],
    )
    _add_layer(t, step, einsum, step.inputs[0], step.inputs[1])


CONTRACTIONS: Final[Mapping[str, Callable[[Translation, Step], None]]] = {
    "Conv": convolution,
    "FusedConv": convolution,
    "ConvInteger": convolution,
    "QLinearConv": lambda t, s: convolution(t, s, 0, 3, last=bool(s.attributes().get("channels_last"))),
    "NhwcConv": lambda t, s: convolution(t, s, last=True),
    "DeformConv": deformable,
    "CausalConvWithState": causal_with_state,
    "ConvTranspose": transposed_convolution,
    "Gemm": gemm,
    "FusedGemm": gemm,
    "GemmFastGelu": gemm,
    "QGemm": lambda t, s: gemm(t, s, 3),
    "MatMul": matrix_product,
    "FusedMatMul": gemm,
    "TransposeMatMul": gemm,
    "MatMulInteger": matrix_product,
    "MatMulIntegerToFloat": matrix_product,
    "DynamicQuantizeMatMul": matrix_product,
    "QLinearMatMul": lambda t, s: matrix_product(t, s, 3),
    "MatMulNBits": narrow_product,
    "MatMulBnb4": narrow_product,
    "Einsum": general,
}
"""Operators that are one product each."""
