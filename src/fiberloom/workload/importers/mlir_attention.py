"""Attention in a graph of products and element-wise steps: which products make scores and which weigh values.

A product of two computed matrices whose result reaches an exponential by element-wise steps makes scores (softmax follows); the next
product on that way weighs the values. Vaswani et al., NeurIPS'17, equation 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fiberloom.workload.layers import attention_scores, attention_values
from fiberloom.workload.network import Kind, Operator


@dataclass(frozen=True)
class Product:
    """A product of two computed matrices, `batch` times: extents, and the pieces that rows and columns are made of."""

    batch: int
    rows: int
    columns: int
    depth: int
    row_extents: tuple[int, ...] = ()
    column_extents: tuple[int, ...] = ()


def with_attention(
    operators: tuple[Operator, ...], products: Mapping[str, Product], exponentials: set[str]
) -> tuple[Operator, ...]:
    """The same operators, with attention's products as the Einsums that all importers use for them.

    Args:
        products: by operator: products of computed matrices, ``O = A * B``.
        exponentials: operators that compute exponentials.
    """
    readers: dict[str, list[Operator]] = {}
    for operator in operators:
        for tensor in operator.inputs:
            readers.setdefault(tensor, []).append(operator)
    changed: dict[str, Operator] = {}
    for operator in operators:
        if operator.name not in products or operator.name in changed:
            continue
        softmax = _reached(operator, readers, exponentials)
        values = _reached(softmax, readers, set(products)) if softmax is not None else None
        if softmax is None or values is None or values.name in changed or values is operator:
            continue
        weights = _weights(operator, values, readers)
        if weights is None:
            continue
        changed[operator.name] = _scores(operator, products[operator.name], products[values.name].depth)
        changed[values.name] = _values(values, products[values.name], weights)
    return tuple(changed.get(o.name, o) for o in operators)


def _reached(start: Operator, readers: Mapping[str, list[Operator]], wanted: set[str]) -> Operator | None:
    """The first operator of `wanted` behind an operator, with nothing but element-wise steps and rearrangements between."""
    pending, seen = list(start.outputs), set(start.outputs)
    while pending:
        for operator in readers.get(pending.pop(0), []):
            if operator.name in wanted and operator is not start:
                return operator
            if operator.kind in (Kind.ELEMENTWISE, Kind.LAYOUT, Kind.SOFTMAX):
                new = [t for t in operator.outputs if t not in seen]
                pending += new
                seen.update(new)
    return None


def _weights(scores: Operator, values: Operator, readers: Mapping[str, list[Operator]]) -> str | None:
    """Which operand of the second product, A or B, comes from the first."""
    seen, pending = set(scores.outputs), list(scores.outputs)
    while pending:
        for operator in readers.get(pending.pop(), []):
            if operator.kind in (Kind.ELEMENTWISE, Kind.LAYOUT, Kind.SOFTMAX):
                new = [t for t in operator.outputs if t not in seen]
                pending += new
                seen.update(new)
    both = [name for name in ("A", "B") if values.operands.get(name) in seen]
    return both[0] if len(both) == 1 else None


def _scores(operator: Operator, product: Product, keys: int) -> Operator:
    """Scores, from whichever side the queries stand on: the other side is as long as what the second product sums over."""
    pieces = [sum(e > 1 for e in extents) for extents in (product.row_extents, product.column_extents)]
    turned = product.rows == keys and (product.columns != keys or pieces[1] > max(1, pieces[0]))
    rows, extents = (product.columns, product.column_extents) if turned else (product.rows, product.row_extents)
    heads, queries = _heads(rows, extents)
    einsum = attention_scores(
        operator.name, heads=product.batch * heads, groups=product.batch, queries=queries,
        keys=product.rows if turned else product.columns, depth=product.depth,
    )  # fmt: skip
    own = operator.operands
    left, right = ("K", "Q") if turned else ("Q", "K")
    return replace(operator, einsum=einsum, operands={left: own["A"], right: own["B"], "S": own["O"]})


def _values(operator: Operator, product: Product, weights: str) -> Operator:
    left = weights == "A"
    rows, extents = (product.rows, product.row_extents) if left else (product.columns, product.column_extents)
    heads, queries = _heads(rows, extents)
    einsum = attention_values(
        operator.name, heads=product.batch * heads, groups=product.batch, queries=queries, keys=product.depth,
        depth=product.columns if left else product.rows,
    )  # fmt: skip
    own = operator.operands
    return replace(operator, einsum=einsum, operands={"S": own[weights], "V": own["B" if left else "A"], "Z": own["O"]})


def _heads(rows: int, extents: tuple[int, ...]) -> tuple[int, int]:
    """Query heads that share a head of keys, and queries: the largest of the pieces is taken as the queries."""
    live = [e for e in extents if e > 1]
    if len(live) < 2:
        return 1, rows
    queries = max(live)
    return rows // queries, queries
