"""How far a stored tensor is from the original, and what in the original makes it so."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.representation.array import as_rows
from fiberloom.representation.formats._base import values_and_type
from fiberloom.representation.formats._tiles import Tile, largest_magnitudes, over_tiles, reduced, tiles


@dataclass(frozen=True)
class Fidelity:
    """What storing left of a tensor.

    Attributes:
        qsnr_db: signal over quantisation noise, ``10 log10(Σ x² / Σ (x - q)²)``; infinite without error, and for a tensor
            of zeros.
        relative_error: ``‖x - q‖ / ‖x‖``, Frobenius norms; 0 for a tensor of zeros that stays one.
        max_error: largest ``|x - q|``.
    """

    qsnr_db: float
    relative_error: float
    max_error: float


def fidelity(original: Any, rounded: NDArray[Any]) -> Fidelity:
    """Compare a tensor with what is left of it.

    Args:
        original: real numbers.
        rounded: of the same shape, as `NumberFormat.round` gives it.

    Raises:
        SpecError: if the original is not finite real numbers.
    """
    before, after = as_rows(values_and_type(original)[0], -1), as_rows(np.asarray(rounded), -1)

    def tile(at: Tile) -> tuple[float, float, float]:
        values = before[at.rows, at.columns].astype(np.float64)
        error = values - after[at.rows, at.columns]
        return float(np.square(values).sum()), float(np.square(error).sum()), float(np.abs(error).max())

    figures = over_tiles(tile, tiles(before.shape))
    signal, noise = math.fsum(f[0] for f in figures), math.fsum(f[1] for f in figures)
    return Fidelity(
        qsnr_db=10 * math.log10(signal / noise) if signal and noise else -math.inf if noise else math.inf,
        relative_error=math.sqrt(noise / signal) if signal else math.inf if noise else 0.0,
        max_error=max((f[2] for f in figures), default=0.0),
    )


def crest_factor(array: Any, block: int | None = None, axis: int = -1) -> float:
    """Largest magnitude over root mean square; with `block`, the mean of it over the blocks along `axis` that are not zero.

    It says how far a format must reach beyond what a tensor's values usually are: 1 for numbers of one magnitude, 3 or so
    for blocks of Gaussian ones, and at most the square root of a block's elements. 0 for a tensor of zeros.

    Raises:
        SpecError: if the array is not finite real numbers, or has no such axis.
    """
    values, _ = values_and_type(array)
    rows = as_rows(values, axis)
    peaks = largest_magnitudes(rows, block).astype(np.float64)
    squares = reduced(rows, block, lambda part: np.square(part, dtype=np.float64).sum(axis=-1), np.add, 0.0)
    if block is None:
        mean = float(squares.sum()) / max(1, rows.size)
        return float(peaks.max(initial=0)) / math.sqrt(mean) if mean else 0.0
    sizes = np.full(squares.shape[1], block, np.float64)
    sizes[-1] = rows.shape[1] - block * (squares.shape[1] - 1)
    used = squares > 0
    ratios = peaks[used] / np.sqrt((squares.astype(np.float64) / sizes)[used])
    return float(ratios.mean()) if used.any() else 0.0
