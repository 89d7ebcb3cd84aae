"""A layer as the matrix product ``Z[g,m,n] = A[g,m,k] * B[g,n,k]`` that a design computes: A are its weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral

from fiberloom.architecture.library.design import DesignInfo
from fiberloom.architecture.library.roles import find_roles
from fiberloom.errors import SpecError
from fiberloom.network_evaluation.matrix_product import as_matrix_product
from fiberloom.workload.einsum import Einsum, IndexTerm, Tensor

Gemm = Sequence[int]


def matrix_product(layer: Einsum | Gemm, info: DesignInfo) -> tuple[Einsum, tuple[str, ...]]:
    """The product under the design's names for its tensors, without densities and widths, and what was changed.

    Args:
        layer: an Einsum of two operands (a convolution becomes the product of its im2col), or (m, n, k).

    Raises:
        SpecError: for numbers that are no product.
        UnsupportedError: for an Einsum that is none.
    """
    if not isinstance(layer, Einsum):
        sizes = list(layer) if isinstance(layer, Iterable) else []
        if len(sizes) != 3 or any(isinstance(s, bool) or not isinstance(s, Integral) or s < 1 for s in sizes):
            raise SpecError(
                f"{layer!r} is no matrix product", hint="give (m, n, k): rows of weights, columns, reduced length"
            )
        return _named(dict(zip("mnk", map(int, sizes), strict=True)), info), ()
    roles = find_roles(layer, {"W": "weights", "I": "activations"}, "O").tensors
    flat, notes = as_matrix_product(layer)
    swapped = "m" in flat.shape and "m" not in flat.tensor(roles["W"]).variables
    swapped = swapped or ("n" in flat.shape and "n" not in flat.tensor(roles["I"]).variables)
    letters = {"m": "n", "n": "m"} if swapped else {}
    shape = {letters.get(v, v): bound for v, bound in flat.shape.items()}
    return _named({v: shape.get(v, 1) for v in "gmnk" if v in shape or v != "g"}, info), notes


def transposed(product: Einsum, info: DesignInfo) -> Einsum:
    """The same product with the operands' places exchanged: what was activations is on the side of the design's weights."""
    turned = {"m": product.shape["n"], "n": product.shape["m"]}
    return _named({v: turned.get(v, bound) for v, bound in product.shape.items()}, info)


def with_terms(product: Einsum, weights: str, terms: int) -> Einsum:
    """``Z[m,n] = A[t,m,k] * B[n,k]``: terms of one pattern, summed over; only the weights tell them apart."""

    def extended(tensor: Tensor) -> Tensor:
        if tensor.name != weights:
            return tensor
        return tensor.model_copy(update={"ranks": ((IndexTerm(1, "t"),), *tensor.ranks)})

    tensors = tuple(extended(t) for t in product.tensors)
    return product.model_copy(update={"shape": {"t": terms, **product.shape}, "tensors": tensors})


def _named(shape: Mapping[str, int], info: DesignInfo) -> Einsum:
    first, second = info.operands
    shape = {v: shape[v] for v in "gmnk" if v in shape}

    def tensor(name: str, letters: str, output: bool = False) -> Tensor:
        return Tensor(name=name, ranks=tuple((IndexTerm(1, v),) for v in letters if v in shape), is_output=output)

    tensors = (tensor(first, "gmk"), tensor(second, "gnk"), tensor(info.output, "gmn", True))
    return Einsum(name="layer", shape=dict(shape), tensors=tensors)
