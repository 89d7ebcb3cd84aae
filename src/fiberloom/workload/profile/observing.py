"""Statistics of a tensor's non-zeros over several samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.workload.density import Occupancy
from fiberloom.workload.profile.document import TensorProfile
from fiberloom.workload.profile.fitting import checked_tiles, fit_share, measure

_BINS: Final = 32
"""Bins of channels that a profile keeps: as many as fit on a line."""

_TILE_SAMPLES: Final = 8
"""Samples of which tiles are counted; shares are counted of all. Tiles of one sample are thousands of draws already."""


class Observed:
    """Collects the non-zeros of one tensor, sample by sample.

    Args:
        name: for messages.
        threshold: magnitudes up to this count as zero.
    """

    def __init__(self, name: str, threshold: float = 0.0) -> None:
        self.name = name
        self.samples = 0
        self.shape: tuple[int, ...] | None = None
        self._threshold = threshold
        self._shares: list[float] = []
        self._channels: NDArray[np.float64] | None = None
        self._tiles: dict[tuple[int, ...], list[Occupancy]] = {}

    def add(self, values: NDArray[Any]) -> None:
        """One sample.

        Raises:
            SpecError: if it holds NaN, or its shape is not that of the first.
        """
        if values.dtype.kind in "fc" and np.isnan(values).any():
            raise SpecError(
                f"'{self.name}' holds NaN in calibration sample {self.samples}",
                hint="look at that sample, or at the model",
            )
        if self.shape is None:
            self.shape = values.shape
        elif self.shape != values.shape:
            raise SpecError(
                f"'{self.name}' has shape {list(self.shape)} in one calibration sample and {list(values.shape)} in another"
            )
        nonzero = magnitude_above(values, self._threshold)
        self._shares.append(np.count_nonzero(nonzero) / max(1, nonzero.size))
        channels = channel_shares(nonzero, channel_axis(nonzero.shape, parameter=False))
        self._channels = channels if self._channels is None else self._channels + channels
        if self.samples < _TILE_SAMPLES and nonzero.size and self._shares[-1] < 1:
            for tile, found in measure(nonzero, checked_tiles(nonzero.shape)).items():
                self._tiles.setdefault(tile, []).append(found)
        self.samples += 1

    def profile(self, role: str) -> TensorProfile:
        """What was seen."""
        assert self.shape is not None and self._channels is not None
        share = float(np.mean(self._shares))
        chosen = fit_share(self.shape, share, {tile: _mixed(found) for tile, found in self._tiles.items()})
        if chosen.model == "dense":
            return TensorProfile(None, role, self.shape, 1.0, samples=self.samples, model="dense")
        channels = self._channels / self.samples
        return TensorProfile(
            chosen.density,
            role,
            self.shape,
            share,
            float(np.std(self._shares)) if self.samples > 1 else None,
            self.samples,
            chosen.model,
            chosen.misfit,
            chosen.tiles,
            binned(channels),
            int(np.count_nonzero(channels == 0)),
        )


def magnitude_above(values: NDArray[Any], threshold: float) -> NDArray[np.bool_]:
    """Where values count as non-zero."""
    return np.asarray(values != 0 if threshold == 0 else np.abs(values) > threshold)


def channel_axis(shape: Sequence[int], *, parameter: bool) -> int | None:
    """The axis of channels: of filters for parameters; the second of images and sequences of channels, the last of tokens."""
    if not shape:
        return None
    if parameter:
        return 0
    return 1 if len(shape) >= 4 else len(shape) - 1


def channel_shares(nonzero: NDArray[np.bool_], axis: int | None) -> NDArray[np.float64]:
    """Share of non-zeros of every channel."""
    if axis is None:
        return np.array([float(nonzero.any())])
    others = tuple(a for a in range(nonzero.ndim) if a != axis)
    return np.asarray(nonzero.mean(axis=others) if others else nonzero.astype(np.float64), dtype=np.float64)


def binned(channels: NDArray[np.float64]) -> tuple[float, ...]:
    """Means of successive channels, in as many bins as a profile keeps."""
    parts = np.array_split(channels, min(_BINS, len(channels)))
    return tuple(float(p.mean()) for p in parts)


def _mixed(found: Sequence[Occupancy]) -> Occupancy:
    """The distribution over the tiles of several samples."""
    counts = np.unique(np.concatenate([o.counts for o in found]))
    probabilities = np.zeros(len(counts))
    for o in found:
        probabilities[np.searchsorted(counts, o.counts)] += o.probabilities / len(found)
    return Occupancy(counts, probabilities)
