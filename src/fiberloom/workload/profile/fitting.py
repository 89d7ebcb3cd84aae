"""Which statistical model describes where a tensor is non-zero, and how far off it is.

The misfit of a model is the Wasserstein distance between the number of non-zeros per tile that it predicts and the number that is
measured, over the mean number, averaged over tile shapes: at 0.02 a tile holds 2 % more or fewer non-zeros than predicted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.workload.density import (
    ActualDensity,
    BandedDensity,
    DensityModel,
    FixedStructuredDensity,
    Occupancy,
    UniformDensity,
)
from fiberloom.workload.density.patterns import find_pattern
from fiberloom.workload.profile.document import DensitySpec, TileCheck

_EXTENTS: Final = (4, 16)
"""Extents of tiles, one axis alone and all together, beside whole axes: groups of N:M and small buffers' tiles."""

_FEWEST_TILES: Final = 16
"""A distribution over fewer tiles says little."""

_MOST_SHAPES: Final = 16

_BAND: Final = 0.95
"""Share of the non-zeros that has to lie in a band of as many elements for it to be tried."""


@dataclass(frozen=True)
class Fit:
    """The model that was chosen.

    Attributes:
        density: as a specification has it; None for dense.
        model: its name.
        misfit: see the module; 0 for dense and all-zero tensors.
        tiles: per tile shape, what was measured and predicted.
    """

    density: DensitySpec
    model: str
    misfit: float
    tiles: tuple[TileCheck, ...] = ()


def checked_tiles(shape: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Tile shapes on which models are compared: they divide the tensor, and there are at least 16 of them."""
    found: dict[tuple[int, ...], None] = {}
    for extent in (*_EXTENTS, math.inf):
        for axis, whole in enumerate(shape):
            found[tuple(_divisor(whole, extent) if a == axis else 1 for a in range(len(shape)))] = None
        found[tuple(_divisor(whole, extent) for whole in shape)] = None
    size = math.prod(shape)
    fitting = [t for t in found if math.prod(t) > 1 and size // math.prod(t) >= _FEWEST_TILES]
    return tuple(fitting[:_MOST_SHAPES])


def _divisor(whole: int, most: float) -> int:
    """The largest divisor of `whole` that is at most `most`."""
    return whole if whole <= most else next(d for d in range(int(most), 0, -1) if whole % d == 0)


def fit(nonzero: NDArray[np.bool_]) -> Fit:
    """The model of a tensor at hand: an N:M pattern where one holds, else the model of least misfit.

    Args:
        nonzero: where it is non-zero.
    """
    held = int(np.count_nonzero(nonzero))
    if held == nonzero.size:
        return Fit(None, "dense", 0.0)
    if held == 0 or not nonzero.ndim:
        return Fit(held / nonzero.size, "uniform", 0.0)
    measured = measure(nonzero, checked_tiles(nonzero.shape))
    pattern = find_pattern(nonzero)
    if pattern is not None:
        checks = compare(FixedStructuredDensity(nonzero.shape, pattern.kept / pattern.group), measured)
        return Fit(str(pattern), f"{pattern} along axis {pattern.axis}", _mean(checks), checks)
    candidates = list(_candidates(nonzero, held))
    compared = [(spec, model, compare(model, measured)) for spec, model in candidates]
    spec, model, checks = min(compared, key=lambda c: _mean(c[2]))
    return Fit(spec, model.distribution, _mean(checks), checks)


def fit_share(shape: Sequence[int], share: float, measured: Mapping[tuple[int, ...], Occupancy]) -> Fit:
    """The model of tensors that differ from sample to sample, of which the mean share and occupancies are known."""
    if share == 1.0:
        return Fit(None, "dense", 0.0)
    checks = compare(UniformDensity(shape, share), measured)
    return Fit(share, "uniform", _mean(checks), checks)


def measure(nonzero: NDArray[np.bool_], tiles: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], Occupancy]:
    """Occupancy of all aligned tiles of each shape."""
    actual = ActualDensity(nonzero)
    return {tile: actual.occupancy(tile) for tile in tiles}


def compare(model: DensityModel, measured: Mapping[tuple[int, ...], Occupancy]) -> tuple[TileCheck, ...]:
    """A model's prediction beside what was measured, per tile shape."""
    checks = []
    for tile, found in measured.items():
        predicted = model.occupancy(tile)
        checks.append(
            TileCheck(
                tile, _empty(found), _empty(predicted), distance(found, predicted) / max(_expected(found), 1e-300)
            )
        )
    return tuple(checks)


def distance(a: Occupancy, b: Occupancy) -> float:
    """Wasserstein-1 distance: mean number of non-zeros by which tiles of the one differ from tiles of the other."""
    support = np.union1d(a.counts, b.counts)
    between = np.diff(support)
    below = [
        np.concatenate(([0.0], np.cumsum(o.probabilities)))[np.searchsorted(o.counts, support, side="right")]
        for o in (a, b)
    ]
    return float(np.abs(below[0] - below[1])[:-1] @ between)


def _candidates(nonzero: NDArray[np.bool_], held: int) -> Iterator[tuple[DensitySpec, DensityModel]]:
    shape, share = nonzero.shape, held / nonzero.size
    yield share, UniformDensity(shape, share)
    spec: dict[str, Any] = {"distribution": "fixed-structured", "density": share}
    yield spec, FixedStructuredDensity(shape, share)
    if nonzero.ndim == 2 and min(shape) > 8:
        width = _band_width(nonzero, held)
        if width is not None:
            yield {"distribution": "banded", "width": width}, BandedDensity(shape, width)


def _band_width(nonzero: NDArray[np.bool_], held: int) -> int | None:
    """Width of the band with about as many elements as there are non-zeros, if it holds most of them."""
    rows, columns = nonzero.shape
    low, high = 0, max(rows, columns)
    while low < high:
        middle = (low + high) // 2
        if BandedDensity((rows, columns), middle).density * nonzero.size >= held:
            high = middle
        else:
            low = middle + 1
    tall = rows > columns
    i, j = np.nonzero(nonzero.T if tall else nonzero)
    short, long = sorted((rows, columns))
    inside = np.abs(i * long // short - j) <= low
    band = BandedDensity((rows, columns), low).density * nonzero.size
    return low if inside.sum() >= _BAND * held and held >= _BAND * band else None


def _mean(checks: Sequence[TileCheck]) -> float:
    return sum(c.misfit for c in checks) / len(checks) if checks else 0.0


def _empty(occupancy: Occupancy) -> float:
    return float(occupancy.probabilities[0]) if occupancy.counts[0] == 0 else 0.0


def _expected(occupancy: Occupancy) -> float:
    return float(occupancy.counts @ occupancy.probabilities)
