"""Fused attention operators of ONNX graphs, taken apart into what they compute: projections, scores, softmax, values.

Attention of the standard (Operators.md, since operator set 23) and Attention, QAttention, MultiHeadAttention, GroupQueryAttention of
ONNX Runtime (ContribOperators.md). Scores that a mask removes count, as they do for attention that is written out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from fiberloom.workload import layers
from fiberloom.workload.importers.onnx.contractions import built
from fiberloom.workload.importers.onnx.graph import Step
from fiberloom.workload.importers.onnx.kinds import SOFTMAX_OPERATIONS
from fiberloom.workload.importers.onnx.onnx_runtime_shapes import MICROSOFT
from fiberloom.workload.importers.onnx.translation import Translation, Unresolved
from fiberloom.workload.network import Kind


class Heads(NamedTuple):
    """Sizes of an attention: query heads and key-value heads of one sequence, tokens, width of a head."""

    batch: int
    heads: int
    groups: int
    queries: int
    keys: int
    depth: int
    value_depth: int


def _expand(
    t: Translation, step: Step, sizes: Heads, operands: tuple[str, str, str], *, scored: int = 1, note: str = ""
) -> None:
    """Add scores, softmax and values.

    Args:
        operands: tensors of the network: queries, keys, values.
        scored: operations per score between the product and the softmax (scale, mask).
    """
    queries, keys, values = operands
    if sizes.groups < 1 or sizes.heads % sizes.groups:
        raise Unresolved(f"{sizes.heads} heads of queries and {sizes.groups} of keys and values")
    many = {"heads": sizes.batch * sizes.heads, "groups": sizes.batch * sizes.groups}
    tokens = {"queries": sizes.queries, "keys": sizes.keys}
    first = built(layers.attention_scores, depth=sizes.depth, **many, **tokens)
    second = built(layers.attention_values, depth=sizes.value_depth, **many, **tokens)
    shape = (sizes.batch, sizes.heads, sizes.queries, sizes.keys)
    output = t.result(step.outputs[0])
    scores = t.intermediate(f"{step.outputs[0]}/scores", shape, step.inputs[0])
    weights = t.intermediate(f"{step.outputs[0]}/softmax", shape, step.inputs[0])
    elements = t.tensors[scores].elements
    t.add_einsum(step, first, {"Q": queries, "K": keys, "S": scores}, suffix="/scores", note=note)
    t.add(
        step, Kind.SOFTMAX, (SOFTMAX_OPERATIONS + scored) * elements,
        inputs=(scores,), outputs=(weights,), suffix="/softmax", note="scaled, masked" if scored > 1 else "scaled",
    )  # fmt: skip
    t.add_einsum(step, second, {"S": weights, "V": values, "Z": output}, suffix="/values")


def attention(t: Translation, step: Step) -> None:
    """Attention: of the standard, or ONNX Runtime's with its projection."""
    if step.domain == MICROSOFT:
        projected(t, step)
    else:
        standard(t, step)


def standard(t: Translation, step: Step) -> None:
    """Attention of the standard: Q, K, V [batch, heads, tokens, depth] or [batch, tokens, width], mask, past keys, past values."""
    attributes = step.attributes()
    q, k, v = (t.value(n).extents for n in step.inputs[:3])
    if len(q) == 3:
        heads, groups = attributes["q_num_heads"], attributes["kv_num_heads"]
        q, k, v = ((x[0], n, x[1], x[2] // n) for x, n in ((q, heads), (k, groups), (v, groups)))
    past, inside = step.given(4), step.given(6)
    keys = k[2] + (t.value(past).extents[2] if past else 0)
    _kept(t, step, ((4, 1), (5, 2)))
    if inside:
        t.tensor(inside)
    operands = (t.operand(step.inputs[0]), _all_keys(t, step, 4, 1, 1), _all_keys(t, step, 5, 2, 2))
    scored = 1 + bool(step.given(3)) + bool(attributes.get("softcap")) + bool(attributes.get("is_causal"))
    _expand(t, step, Heads(q[0], q[1], k[1], q[2], keys, q[3], v[3]), operands, scored=scored)


def _kept(t: Translation, step: Step, pairs: tuple[tuple[int, int], ...]) -> None:
    """Add the step that puts new keys and values behind past ones, if there are any."""
    inputs = [n for pair in pairs for i in pair if (n := step.given(i))]
    outputs = [n for n in step.outputs[1 : 1 + len(pairs)] if n]
    if any(step.given(past) for past, _ in pairs) or outputs:
        t.add(
            step, Kind.LAYOUT, inputs=t.tensors_of(inputs), outputs=t.tensors_of(outputs), suffix="/cache",
            note="new keys and values are put behind the past ones",
        )  # fmt: skip


def _all_keys(t: Translation, step: Step, past: int, new: int, output: int) -> str:
    """The tensor that holds past and new keys (or values): the one that is given back, if any, else what there is."""
    if len(step.outputs) > output and step.outputs[output] and t.values[step.outputs[output]].known:
        made = t.tensor(step.outputs[output])
        if made is not None:
            return made
    return t.operand(step.given(new) or step.given(past))


def projected(t: Translation, step: Step) -> None:
    """Attention, QAttention: input [batch, tokens, width], weights [width, query + key + value widths], then heads as in BERT."""
    attributes = step.attributes()
    batch, tokens, width = t.value(step.inputs[0]).extents
    columns = t.value(step.inputs[1]).extents[1]
    heads = attributes["num_heads"]
    widths = attributes.get("qkv_hidden_sizes") or [columns // 3] * 3
    einsum = built(layers.fully_connected, outputs=columns, inputs=width, batch=batch * tokens)
    einsum = einsum.with_reversed_ranks("W")  # weights are (inputs, outputs)
    made = t.intermediate(f"{step.outputs[0]}/projected", (batch, tokens, columns), step.inputs[0])
    operands = {"W": t.weight(step.inputs[1]), "I": t.operand(step.inputs[0]), "O": made}
    t.add_einsum(step, einsum, operands, suffix="/projection")
    past = step.given(8 if step.op == "QAttention" else 4)
    keys = tokens + (t.value(past).extents[3] if past else 0)
    state = t.tensors_of((past, *step.outputs[1:2]))
    if state:
        t.add(step, Kind.LAYOUT, inputs=(made, *state[:1]), outputs=state[-1:], suffix="/cache")
    masked = bool(step.given(5 if step.op == "QAttention" else 3)) or bool(attributes.get("unidirectional"))
    sizes = Heads(batch, heads, heads, tokens, keys, widths[0] // heads, widths[2] // heads)
    _expand(t, step, sizes, (made, state[-1] if state else made, state[-1] if state else made), scored=1 + masked)


def multi_head(t: Translation, step: Step) -> None:
    """MultiHeadAttention: query, key, value [batch, tokens, width] (or packed, or with heads in front), bias, masks, past."""
    attributes = step.attributes()
    heads = attributes["num_heads"]
    q = t.value(step.inputs[0]).extents
    given = [step.given(i) for i in (1, 2)]
    if len(q) == 5:
        batch, queries, _, _, depth = q
        keys, value_depth, packed = queries, depth, t.operand(step.inputs[0])
        operands = (packed, packed, packed)
    else:
        batch, queries, depth = q[0], q[1], q[2] // heads
        k = t.value(given[0]).extents
        if len(k) == 5:
            keys, value_depth = k[1], k[4]
            operands = (t.operand(step.inputs[0]), t.operand(given[0]), t.operand(given[0]))
        else:
            v = t.value(given[1]).extents
            keys, value_depth = (k[2], v[3]) if len(k) == 4 else (k[1], v[2] // heads)
            operands = (t.operand(step.inputs[0]), t.operand(given[0]), t.operand(given[1]))
    past = step.given(6)
    if past:
        keys += t.value(past).extents[2]
    _kept(t, step, ((6, 1), (7, 2)))
    if len(q) != 5 and past:
        operands = (operands[0], _all_keys(t, step, 6, 1, 1), _all_keys(t, step, 7, 2, 2))
    masked = bool(step.given(4)) + bool(step.given(5)) + bool(attributes.get("unidirectional"))
    sizes = Heads(batch, heads, heads, queries, keys, depth, value_depth)
    _expand(t, step, sizes, operands, scored=1 + masked)


def grouped_query(t: Translation, step: Step) -> None:
    """GroupQueryAttention: query, key, value [batch, tokens, width] (or all in query), past keys and values [batch, groups, past,
    depth], lengths, rotary tables.
    """
    attributes = step.attributes()
    heads, groups = attributes["num_heads"], attributes["kv_num_heads"]
    batch, queries, width = t.value(step.inputs[0]).extents
    packed = not step.given(1)
    depth = width // (heads + 2 * groups if packed else heads)
    past = step.given(3)
    keys = queries + (t.value(past).extents[2] if past else 0)
    _kept(t, step, ((3, 1), (4, 2)) if not packed else ((3, 0), (4, 0)))
    if attributes.get("do_rotary"):
        rotated = batch * queries * (heads + groups) * depth
        inputs = t.tensors_of((step.inputs[0], step.given(1), step.given(7), step.given(8)))
        t.add(step, Kind.ELEMENTWISE, 3 * rotated, inputs=inputs, outputs=(), suffix="/rotary", note="in place")
    operands = (
        t.operand(step.inputs[0]),
        _all_keys(t, step, 3, 0 if packed else 1, 1),
        _all_keys(t, step, 4, 0 if packed else 2, 2),
    )
    note = "keys: the past and the new tokens"
    window: Any = attributes.get("local_window_size", -1)
    if window > 0:
        keys, note = min(keys, window + queries - 1), f"a query sees {window} keys"
    _expand(t, step, Heads(batch, heads, groups, queries, keys, depth, depth), operands, scored=2, note=note)


ATTENTION: Final[Mapping[str, Callable[[Translation, Step], None]]] = {
    "Attention": attention,
    "QAttention": projected,
    "MultiHeadAttention": multi_head,
    "GroupQueryAttention": grouped_query,
}
"""Operators that are attention as a whole."""
