"""Attention in ONNX files comes out as scores, softmax and values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fiberloom.workload import layers
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.network import Kind, Network, Role, signature
from onnx_graphs import info, model, network, node, step, values, weights

HEADS, GROUPS, TOKENS, DEPTH = 8, 2, 16, 32


def expected(heads: int, groups: int, queries: int, keys: int) -> list[Any]:
    sizes = {"heads": heads, "groups": groups, "queries": queries, "keys": keys, "depth": DEPTH}
    return [signature(layers.attention_scores("", **sizes)), signature(layers.attention_values("", **sizes))]


def found(read: Network) -> list[Any]:
    return [signature(o.einsum) for o in read.einsums if o.einsum is not None]


def fused(
    folder: Path, op: str, inputs: dict[str, Any], outputs: list[str], *, domain: str = "", **attributes: Any
) -> Network:
    names = [n if s is not None else "" for n, s in inputs.items()]
    made = node(op, names, outputs, name="attention", domain=domain, **attributes)
    given = [info(n, s) for n, s in inputs.items() if s is not None]
    return network(folder, model([made], given, [info(o, None) for o in outputs], opset=23))


def written_out(folder: Path, *, repeats: int) -> Network:
    """Attention of products and a softmax; with repeats, keys and values are expanded to as many heads as queries."""
    groups = HEADS // repeats
    nodes: list[Any] = []
    kept = {"k": "k", "v": "v"}
    if repeats > 1:
        for name in "kv":
            nodes += [
                node("Unsqueeze", [name, "two"], [f"{name}1"]),
                node("Expand", [f"{name}1", "expanded"], [f"{name}2"]),
                node("Reshape", [f"{name}2", "heads"], [f"{name}3"]),
            ]
            kept[name] = f"{name}3"
    nodes += [
        node("Transpose", [kept["k"]], ["kt"], perm=[0, 1, 3, 2]),
        node("MatMul", ["q", "kt"], ["s"], name="qk"),
        node("Mul", ["s", "scale"], ["scaled"]),
        node("Add", ["scaled", "mask"], ["masked"]),
        node("Softmax", ["masked"], ["p"], axis=-1),
        node("MatMul", ["p", kept["v"]], ["z"], name="pv"),
    ]
    stored = [
        values("two", [2]),
        values("expanded", [1, groups, repeats, TOKENS, DEPTH]),
        values("heads", [1, HEADS, TOKENS, DEPTH]),
        values("scale", 0.1, np.float32),
        weights("mask", 1, 1, TOKENS, TOKENS),
    ]
    inputs = [info("q", [1, HEADS, TOKENS, DEPTH]), *(info(n, [1, groups, TOKENS, DEPTH]) for n in "kv")]
    return network(folder, model(nodes, inputs, [info("z", None)], stored))


def test_attention_that_is_written_out_is_recognised_around_its_softmax(tmp_path: Path) -> None:
    read = written_out(tmp_path, repeats=1)
    assert found(read) == expected(HEADS, HEADS, TOKENS, TOKENS)
    assert [str(o.einsum) for o in read.einsums] == [
        "S[h, i, j] = Q[h, i, d] * K[h, j, d]",
        "Z[h, i, d] = S[h, i, j] * V[h, j, d]",
    ]
    assert step(read, "Softmax").kind is Kind.SOFTMAX


def test_repeated_heads_are_grouped_queries_that_read_keys_once(tmp_path: Path) -> None:
    read = written_out(tmp_path, repeats=HEADS // GROUPS)
    assert found(read) == expected(HEADS, GROUPS, TOKENS, TOKENS)
    assert read.einsums[0].operands["K"] == "k1"
    assert read.tensors["k1"].elements == GROUPS * TOKENS * DEPTH


def test_standard_attention_with_heads_in_the_width(tmp_path: Path) -> None:
    shapes = {"q": [2, TOKENS, HEADS * DEPTH], "k": [2, 20, GROUPS * DEPTH], "v": [2, 20, GROUPS * DEPTH]}
    read = fused(tmp_path, "Attention", shapes, ["y"], q_num_heads=HEADS, kv_num_heads=GROUPS)
    assert found(read) == expected(2 * HEADS, 2 * GROUPS, TOKENS, 20)
    assert step(read, "Attention softmax").operations == 6 * 2 * HEADS * TOKENS * 20


def test_standard_attention_with_past_keys_and_values(tmp_path: Path) -> None:
    shapes = {"q": [1, HEADS, 1, DEPTH], "k": [1, GROUPS, 1, DEPTH], "v": [1, GROUPS, 1, DEPTH], "m": None,
              "past_k": [1, GROUPS, 99, DEPTH], "past_v": [1, GROUPS, 99, DEPTH]}  # fmt: skip
    read = fused(tmp_path, "Attention", shapes, ["y", "present_k", "present_v"])
    assert found(read) == expected(HEADS, GROUPS, 1, 100)
    assert read.einsums[0].operands["K"] == "present_k"
    assert read.tensors["past_k"].role is read.tensors["present_k"].role is Role.STATE
    assert read.bytes(Role.STATE) == 2 * 4 * GROUPS * DEPTH * (99 + 100)


def test_attention_with_its_projection(tmp_path: Path) -> None:
    width = HEADS * DEPTH
    made = node("Attention", ["x", "w", "b"], ["y"], name="a", domain="com.microsoft", num_heads=HEADS)
    stored = [weights("w", width, 3 * width), weights("b", 3 * width)]
    read = network(tmp_path, model([made], [info("x", [2, TOKENS, width])], [info("y", None)], stored))
    projection = layers.fully_connected("", outputs=3 * width, inputs=width, batch=2 * TOKENS)
    assert found(read) == [signature(projection), *expected(2 * HEADS, 2 * HEADS, TOKENS, TOKENS)]
    assert read.tensors["y"].shape == (2, TOKENS, width)
    assert read.parameters == 3 * width * width


def test_multi_head_attention_across_two_sequences(tmp_path: Path) -> None:
    shapes = {"q": [1, TOKENS, HEADS * DEPTH], "k": [1, 20, HEADS * DEPTH], "v": [1, 20, HEADS * DEPTH]}
    read = fused(tmp_path, "MultiHeadAttention", shapes, ["y"], domain="com.microsoft", num_heads=HEADS)
    assert found(read) == expected(HEADS, HEADS, TOKENS, 20)


@pytest.mark.parametrize("packed", [False, True])
def test_grouped_query_attention_on_a_cache(tmp_path: Path, packed: bool) -> None:
    width = (HEADS + 2 * GROUPS) * DEPTH if packed else HEADS * DEPTH
    own = None if packed else [1, 1, GROUPS * DEPTH]
    shapes = {"q": [1, 1, width], "k": own, "v": own, "past_k": [1, GROUPS, 63, DEPTH], "past_v": [1, GROUPS, 63, DEPTH],
              "lengths": [1], "total": []}  # fmt: skip
    read = fused(tmp_path, "GroupQueryAttention", shapes, ["y", "present_k", "present_v"], domain="com.microsoft",
                 num_heads=HEADS, kv_num_heads=GROUPS, do_rotary=1)  # fmt: skip
    assert found(read) == expected(HEADS, GROUPS, 1, 64)
    assert read.tensors["y"].shape == (1, 1, HEADS * DEPTH)
    assert step(read, "GroupQueryAttention rotary").operations == 3 * (HEADS + GROUPS) * DEPTH


def test_products_elsewhere_are_not_called_attention(tmp_path: Path) -> None:
    made = model([node("MatMul", ["a", "b"], ["y"])], [info("a", [2, 3, 4]), info("b", [2, 4, 5])], [info("y", None)])
    (operator,) = network(tmp_path, made).einsums
    assert operator.einsum == Einsum.parse(
        "O[b,i,j] = A[b,i,k] * B[b,k,j]", {"b": 2, "i": 3, "j": 5, "k": 4}, name=operator.name
    )
