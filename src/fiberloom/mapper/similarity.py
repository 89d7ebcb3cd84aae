"""How alike two layers are, and which variable of one plays the part of which of the other.

Warm start (the mapper study of Kao, Kwon et al., IISWC'22, arXiv 2210.03731) takes the layer with the fewest differing
dimensions. Layers of different kinds (a convolution, a matrix product) name their dimensions differently, so variables are
matched by their role: which tensors they index, and how.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fiberloom.workload.einsum import Einsum, Tensor


@dataclass(frozen=True)
class Correspondence:
    """What in one Einsum plays the part of what in another.

    Attributes:
        tensors: tensor of the first by tensor of the second; empty when they have different numbers of operands.
        variables: variable of the first by variable of the second; those without a counterpart are left out.
    """

    tensors: dict[str, str]
    variables: dict[str, str]


def correspondence(a: Einsum, b: Einsum) -> Correspondence:
    """Match variables by role: which tensors they index, and in a window or alone; then in order of ranks.

    Operands may correspond in any order; the one that leaves the fewest variables without counterpart is taken, the given
    order among equals.
    """
    if len(a.inputs) != len(b.inputs):
        return Correspondence({}, {})
    best: Correspondence | None = None
    for operands in itertools.permutations(a.inputs):
        pairs = list(zip((*operands, a.output), (*b.inputs, b.output), strict=True))
        variables = _matched(a, b, pairs)
        if best is None or len(variables) > len(best.variables):
            best = Correspondence({theirs.name: mine.name for mine, theirs in pairs}, variables)
    assert best is not None
    return best


def _matched(a: Einsum, b: Einsum, pairs: Sequence[tuple[Tensor, Tensor]]) -> dict[str, str]:
    mine, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
    matched: dict[str, str] = {}
    # Exact role first (the same place of the same rank), then whatever indexes the same tensors in the same manner.
    for role in (_place, _manner, _indexed):
        free: dict[Any, list[str]] = {}
        for v in a.shape:
            if v not in matched.values():
                free.setdefault(role(v, mine), []).append(v)
        for v in b.shape:
            same = free.get(role(v, theirs))
            if v not in matched and same:
                matched[v] = same.pop(0)
    return matched


def _indexed(variable: str, tensors: Sequence[Tensor]) -> tuple[bool, ...]:
    return tuple(variable in t.variables for t in tensors)


def _manner(variable: str, tensors: Sequence[Tensor]) -> tuple[int, ...]:
    """Per tensor: how many variables share the rank that the variable indexes (0: it indexes none)."""
    return tuple(next((len(r) for r in t.ranks if variable in _variables(r)), 0) for t in tensors)


def _place(variable: str, tensors: Sequence[Tensor]) -> tuple[tuple[int, int], ...]:
    """Per tensor: rank counted from the last (batches and groups come first), and the variable's term in it."""
    return tuple(
        next(
            ((len(t.ranks) - i, _variables(r).index(variable)) for i, r in enumerate(t.ranks) if variable in _variables(r)),
            (0, 0),
        )
        for t in tensors
    )  # fmt: skip


def _variables(rank: Sequence[Any]) -> list[str]:
    return [term.variable for term in rank]


def differing_dimensions(a: Einsum, b: Einsum) -> float:
    """How many dimensions differ: variables whose bounds or strides are not the same; one without counterpart is of bound 1.

    Infinite for different numbers of operands. This is the study's editing distance of layers.
    """
    found = correspondence(a, b)
    if not found.tensors:
        return math.inf
    count = sum(a.shape[v] > 1 for v in a.shape if v not in found.variables.values())
    for theirs, bound in b.shape.items():
        if theirs not in found.variables:
            count += bound > 1
        else:
            mine = found.variables[theirs]
            count += a.shape[mine] != bound or _coefficients(a, mine) != _coefficients(b, theirs)
    return float(count)


def _coefficients(einsum: Einsum, variable: str) -> list[int]:
    """Strides and dilations, where there is another variable to stride against."""
    terms = (t for tensor in einsum.tensors for rank in tensor.ranks if len(rank) > 1 for t in rank)
    return sorted(t.coefficient for t in terms if t.variable == variable)


def logarithmic_distance(a: Einsum, b: Einsum) -> float:
    """Sum over matched variables of ``|log2(bound / bound)|``; one without counterpart is of bound 1.

    Infinite for different numbers of operands.
    """
    found = correspondence(a, b)
    if not found.tensors:
        return math.inf
    total = sum(math.log2(a.shape[v]) for v in a.shape if v not in found.variables.values())
    for theirs, bound in b.shape.items():
        total += abs(math.log2(bound / (a.shape[found.variables[theirs]] if theirs in found.variables else 1)))
    return total


def similarity(a: Einsum, b: Einsum) -> tuple[float, float]:
    """`differing_dimensions`, and `logarithmic_distance` to decide between equals; lower is more alike."""
    return differing_dimensions(a, b), logarithmic_distance(a, b)
