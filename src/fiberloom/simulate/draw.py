"""Random tensors with the density that a workload states.

Only where the non-zeros stand matters to the counts, so values are 1 and 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.workload.einsum import Einsum, Tensor


def draw_tensors(workload: Einsum, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """One random tensor per tensor of the Einsum (the output's is the mask of its non-zero results).

    Raises:
        UnsupportedError: for a distribution that can't be drawn.
    """
    return {t.name: draw_tensor(t, workload.tensor_shape(t.name), rng) for t in workload.tensors}


def draw_tensor(tensor: Tensor, shape: Sequence[int], rng: np.random.Generator) -> NDArray[Any]:
    """A tensor of `shape` with non-zeros as its density says.

    ``uniform``: exactly ⌈density · size⌉ non-zeros, anywhere. A number or ``fixed-structured``: N of every M elements
    that follow each other in row-major order, with N/M the density.

    Raises:
        SpecError: for an unreadable density.
        UnsupportedError: for a distribution that can't be drawn.
    """
    if tensor.density is None:
        return np.ones(shape, dtype=np.int8)
    given: dict[str, Any] = tensor.density if isinstance(tensor.density, dict) else {"density": tensor.density}
    distribution = str(given.get("distribution", "fixed-structured")).replace("_", "-")
    if distribution in ("uniform", "hypergeometric"):
        return uniform(shape, _number(tensor, given), rng)
    if distribution in ("fixed-structured", "structured", "fixed"):
        return n_of_m(shape, Fraction(_number(tensor, given)).limit_denominator(1024), rng)
    return _drawn_by_density_model(tensor, shape, distribution)


def uniform(shape: Sequence[int], density: float, rng: np.random.Generator) -> NDArray[Any]:
    """Exactly ⌈density · size⌉ ones at random places; a product that is whole but for rounding is not raised."""
    size = math.prod(shape)
    ones = min(size, math.ceil(density * size - 1e-9))
    values = np.zeros(size, dtype=np.int8)
    values[rng.permutation(size)[:ones]] = 1
    return values.reshape(shape)


def n_of_m(shape: Sequence[int], density: Fraction, rng: np.random.Generator) -> NDArray[Any]:
    """N ones at random places of every M elements, N/M = `density`; a rest shorter than M holds its share, rounded."""
    size, n, m = math.prod(shape), density.numerator, density.denominator
    blocks = -(-size // m)
    order = rng.random((blocks, m)).argsort(axis=1)
    values = (order < n).astype(np.int8).ravel()
    rest = size % m
    if rest:
        share = rest * n / m
        ones = math.floor(share) + int(rng.random() < share - math.floor(share))
        values[size - rest :] = 0
        values[size - rest + rng.permutation(rest)[:ones]] = 1
    return values[:size].reshape(shape)


def _number(tensor: Tensor, given: dict[str, Any]) -> float:
    if "density" not in given:
        raise SpecError(f"the density of '{tensor.name}' has no number", hint="write density: 0.25")
    return float(given["density"])


def _drawn_by_density_model(tensor: Tensor, shape: Sequence[int], distribution: str) -> NDArray[Any]:
    """Distributions that fix every position (``actual``, ``banded``): ask the density model for its mask."""
    from fiberloom.workload.density import density_model

    model = density_model(tensor.density, shape)
    mask = getattr(model, "mask", None)
    if mask is None:
        raise UnsupportedError(
            f"tensor '{tensor.name}': can't draw a random tensor with distribution '{distribution}'",
            hint="pass the tensor's values in `tensors`",
        )
    return np.asarray(mask() if callable(mask) else mask).reshape(tuple(shape))
