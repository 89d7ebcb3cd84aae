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

from fiberloom.errors import UnsupportedError
from fiberloom.workload.density import (
    ActualDensity,
    BandedDensity,
    DenseDensity,
    FixedStructuredDensity,
    HierarchicalDensity,
    UniformDensity,
    build_density,
)
from fiberloom.workload.einsum import Einsum, Tensor


def draw_tensors(workload: Einsum, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """One random tensor per tensor of the Einsum (the output's is the mask of its non-zero results).

    Raises:
        UnsupportedError: for a distribution that can't be drawn.
    """
    return {t.name: draw_tensor(t, workload.tensor_shape(t.name), rng) for t in workload.tensors}


def draw_tensor(tensor: Tensor, shape: Sequence[int], rng: np.random.Generator) -> NDArray[Any]:
    """A tensor of `shape` with non-zeros as its density model says (see `fiberloom.workload.density`).

    ``uniform``: ⌈density · size⌉ non-zeros, anywhere. ``fixed-structured``: N of every M elements that follow each
    other in row-major order, with N/M the density. ``hierarchical``: G of every H, rank by rank, along its axis. ``banded``
    and ``actual`` leave nothing to chance.

    Raises:
        SpecError: for an unreadable density.
        UnsupportedError: for a distribution that can't be drawn.
    """
    model = build_density(tensor.name, shape, tensor.density)
    if isinstance(model, DenseDensity):
        return np.ones(shape, dtype=np.int8)
    if isinstance(model, UniformDensity):
        return uniform(shape, model.nonzeros, rng)
    if isinstance(model, FixedStructuredDensity):
        return n_of_m(shape, model.share, rng)
    if isinstance(model, HierarchicalDensity):
        return hierarchical(shape, model.ranks, model.axis, rng)
    if isinstance(model, BandedDensity):
        return banded(shape, model.width)
    if isinstance(model, ActualDensity):
        # Tiles of one element, each alone: the model is asked where its non-zeros are.
        places = (model.occupancy_over([1] * len(shape), [[i] for i in at]) for at in np.ndindex(*shape))
        return np.array([tile.counts[-1] for tile in places], dtype=np.int8).reshape(tuple(shape))
    raise UnsupportedError(
        f"tensor '{tensor.name}': a random tensor with distribution '{model.distribution}' can't be drawn",
        hint="pass the tensor's values in `tensors`",
    )


def uniform(shape: Sequence[int], nonzeros: int, rng: np.random.Generator) -> NDArray[Any]:
    """`nonzeros` ones at random places."""
    values = np.zeros(math.prod(shape), dtype=np.int8)
    values[rng.permutation(values.size)[:nonzeros]] = 1
    return values.reshape(shape)


def banded(shape: Sequence[int], width: int) -> NDArray[Any]:
    """Ones within `width` of the diagonal of a matrix, which steps along its longer side."""
    short, long = sorted(shape)
    distance = np.abs((np.arange(short) * long // short)[:, None] - np.arange(long)[None, :])
    values: NDArray[Any] = (distance <= width).astype(np.int8)
    return values if shape[0] <= shape[1] else values.T


def hierarchical(
    shape: Sequence[int], ranks: Sequence[tuple[int, int]], axis: int, rng: np.random.Generator
) -> NDArray[Any]:
    """Ones along `axis` at random places of G of every H groups, rank by rank (outermost first); the last pattern is cut off."""
    patterns = -(-shape[axis] // math.prod(of for _, of in ranks))
    fibres = math.prod(shape) // shape[axis]
    values = np.ones((fibres, patterns), dtype=np.int8)
    for kept, of in ranks:
        chosen = rng.random((*values.shape, of)).argsort(axis=-1) < kept
        values = (values[..., None] * chosen).reshape(fibres, -1).astype(np.int8)
    others = [extent for i, extent in enumerate(shape) if i != axis]
    return np.moveaxis(values[:, : shape[axis]].reshape(*others, shape[axis]), -1, axis)


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
