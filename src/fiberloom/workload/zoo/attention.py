"""Attention as steps of a network: scores, softmax, weighted values; rotary positions; the cache of keys and values."""

from __future__ import annotations

import math

from fiberloom.workload.layers import attention_scores, attention_values
from fiberloom.workload.network import Kind
from fiberloom.workload.zoo.building import Builder


def attend(
    b: Builder,
    name: str,
    q: str,
    k: str,
    v: str,
    *,
    heads: int,
    groups: int | None = None,
    depth: int | None = None,
    values: int | None = None,
    window: int | None = None,
    before: str = "scale",
    bias: str | None = None,
) -> str:
    """Scaled dot-product attention (Vaswani et al., NIPS'17, §3.2.1): (batch, queries, heads × width of a value).

    Args:
        q: (batch, queries, heads × depth).
        k, v: (batch, keys, groups × depth).
        groups: heads of keys and values; None: as many as of queries.
        depth, values: width of a head of keys and of values; None: what the tensors' widths give.
        window: keys that a query sees.
        before: what is done to scores before the softmax: ``scale``, ``scale and mask``, or nothing (``""``).
        bias: a tensor that is added to the scores.
    """
    batch, queries, width = b.shape(q)
    groups = heads if groups is None else groups
    depth = depth or width // heads
    values = values or b.shape(v)[2] // groups
    keys, shared = b.shape(k)[1], None if groups == heads else batch * groups
    scores = attention_scores(
        f"{name}.scores", heads=batch * heads, queries=queries, keys=keys, depth=depth, groups=shared, window=window
    )
    seen = (batch, heads, queries, scores.shape["j"])
    x = b.einsum(f"{name}.scores", "attention scores", scores, {"Q": q, "K": k}, seen)
    if before:
        x = b.elementwise(f"{name}.{before.replace(' ', '_')}", before, x)
    if bias is not None:
        x = b.elementwise(f"{name}.bias", "add", x, bias)
    x = b.softmax(f"{name}.softmax", x)
    weighted = attention_values(
        f"{name}.values", heads=batch * heads, queries=queries, keys=keys, depth=values, groups=shared, window=window
    )
    made = (batch, queries, heads * values)
    return b.einsum(f"{name}.values", "attention values", weighted, {"S": x, "V": v}, made)


def rotary(b: Builder, name: str, x: str, angles: str, share: float = 1.0) -> str:
    """Rotary positions on (a `share` of) the elements of queries or keys."""
    operations = 3 * round(share * math.prod(b.shape(x)))  # OPERATIONS["rotary"]
    return b.step(name, "rotary", Kind.ELEMENTWISE, (x, angles), b.shape(x), operations=operations)


def rotary_angles(b: Builder, positions: str, width: int) -> str:
    """Cosine and sine of every position and frequency: (batch, tokens, width)."""
    shape = (*b.shape(positions), width)
    # a product, a cosine and a sine for each of width/2 frequencies
    operations = 3 * math.prod(b.shape(positions)) * (width // 2)
    return b.step("rotary_angles", "rotary angles", Kind.ELEMENTWISE, (positions,), shape, operations=operations)


def cached(b: Builder, name: str, fresh: str, room: int, number_format: str | None) -> str:
    """Appends to a cache that keeps up to `room` tokens per sequence; the cache's name."""
    batch, _, width = b.shape(fresh)
    cache = b.state(name, batch, room, width, number_format=number_format)
    return b.step(f"{name}.append", "append", Kind.LAYOUT, (fresh,), (), into=cache)
