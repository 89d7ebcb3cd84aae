"""The matrix product of a convolution's im2col, for designs that multiply matrices only.

Chellapilla, Puri, Simard, *High Performance Convolutional Neural Networks for Document Processing*, IWFHR'06, §2: the
inputs of every window become a column of a matrix, so that the convolution is its product with the filters. Multiplications
are the same; the matrix of inputs is larger than the inputs, as every window has its own copy.
"""

from __future__ import annotations

import math
from typing import Any

from fiberloom.errors import UnsupportedError
from fiberloom.workload.einsum import Einsum, IndexTerm, Tensor


def slides(einsum: Einsum) -> bool:
    """Whether a rank of a tensor is a window: an expression of several variables, or of one with a stride."""
    return any(len(rank) > 1 or any(term.coefficient != 1 for term in rank) for t in einsum.tensors for rank in t.ranks)


def as_matrix_product(einsum: Einsum) -> tuple[Einsum, tuple[str, ...]]:
    """The same multiplications as ``O[g,m,n] = W[g,m,k] * I[g,n,k]``, and what that changes.

    Variables are gathered by the tensors that they index: all three → g, the first operand and the output → m, the second
    and the output → n, both operands → k. Indices that are left with one value are dropped.

    Raises:
        UnsupportedError: for an Einsum of other than two operands, or a variable of one tensor only.
    """
    if len(einsum.inputs) != 2:
        raise UnsupportedError(
            f"'{einsum}' has {len(einsum.inputs)} operands, and the design multiplies two matrices",
            hint="split the Einsum into products of two tensors",
        )
    operands = einsum.inputs
    windows = [i for i, t in enumerate(operands) if any(len(rank) > 1 for rank in t.ranks)]
    first, second = (operands[1], operands[0]) if windows == [0] else operands
    output = einsum.output
    groups: dict[str, list[str]] = {"g": [], "m": [], "n": [], "k": []}
    for variable in einsum.shape:
        uses = (variable in first.variables, variable in second.variables, variable in output.variables)
        letter = {(True,) * 3: "g", (True, False, True): "m", (False, True, True): "n", (True, True, False): "k"}.get(
            uses
        )
        if letter is None:
            raise UnsupportedError(
                f"'{variable}' of '{einsum}' indexes one tensor alone, which a matrix product can't do",
                hint="sum it away first, or leave it out",
            )
        groups[letter].append(variable)
    bounds = {letter: math.prod(einsum.shape[v] for v in variables) for letter, variables in groups.items()}
    shape = {letter: bound for letter, bound in bounds.items() if bound > 1} or {"k": 1}
    notes = []
    if any(len([t for t in rank if einsum.shape[t.variable] > 1]) > 1 for t in operands for rank in t.ranks):
        notes.append("as the matrix product of its im2col: every window of the inputs is a column of its own")
    if any(len([t for t in rank if einsum.shape[t.variable] > 1]) > 1 for rank in output.ranks):
        notes.append(
            "as a matrix product whose overlapping outputs are added afterwards; those additions are not counted"
        )

    def flat(tensor: Tensor, letters: str) -> Tensor:
        kept = [letter for letter in letters if letter in shape]
        density, changed = _flat_density(tensor, einsum, kept.index("k") if "k" in kept else None)
        if changed:
            notes.append(changed)
        ranks = tuple((IndexTerm(1, letter),) for letter in letters if letter in shape)
        return tensor.model_copy(update={"ranks": ranks, "density": density})

    made = {first.name: flat(first, "gmk"), second.name: flat(second, "gnk"), output.name: flat(output, "gmn")}
    tensors = tuple(made[t.name] for t in einsum.tensors)
    return Einsum(name=einsum.name, shape=shape, tensors=tensors), tuple(notes)


def _flat_density(tensor: Tensor, einsum: Einsum, reduced: int | None) -> tuple[Any, str]:
    """The density of the flattened tensor: a number or a pattern stays, other statistics keep only their mean.

    Args:
        reduced: place of the reduced rank in the flattened tensor. A hierarchical pattern of weights lies along it: channels stand
            innermost there.
    """
    density = tensor.density
    if isinstance(density, str) and "(" in density:
        density = {"distribution": "hierarchical", "pattern": density}
    if density is None or isinstance(density, (int, float, str)):
        return density, ""
    if reduced is not None and str(density.get("distribution")) in ("hierarchical", "hss"):
        return {**density, "axis": reduced}, ""
    if str(density.get("distribution")).replace("_", "-") in ("uniform", "fixed-structured", "dense"):
        return density, ""
    from fiberloom.workload.density import build_density

    mean = build_density(tensor.name, tensor.tile_shape(einsum.shape), density).density
    return float(
        mean
    ), f"of the non-zeros of {tensor.name} only their share, {mean:.3g}, is used: the tensor is reshaped"
