"""Rounding column by column with scales that were set before: what an algorithm needs that quantises while it prunes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import UnsupportedError
from fiberloom.representation.formats import ElementFormat, NumberFormat, Per, Scaled
from fiberloom.representation.formats.scales import rounded_scales


class FixedScales:
    """The scales of a weight matrix ``(out, in)`` while its columns are worked through.

    Scales of rows or of the tensor, and scales of scales, are those of the whole matrix at the start; scales of blocks
    are set anew when a block begins.

    Args:
        number_format: of the weights.
        weights: ``(out, in)``.

    Raises:
        UnsupportedError: for formats that choose more than a scale for each block, or whose scales are means.
    """

    def __init__(self, number_format: NumberFormat, weights: NDArray[Any]) -> None:
        scaled = number_format.element if isinstance(number_format, Scaled) else number_format
        if not isinstance(scaled, ElementFormat) or getattr(number_format, "zero_point", False) or scaled.scale_is_mean:
            raise UnsupportedError(
                f"weights can't be rounded to '{number_format}' while they are pruned",
                hint="prune without a format, then quantise",
            )
        self._format = number_format
        self._element = scaled
        self._coarse: NDArray[Any] | None = None
        self._scales: NDArray[Any] | None = None
        if isinstance(number_format, Scaled):
            scaling = number_format.scaling
            top = np.abs(weights).max(axis=1, keepdims=True)
            if scaling.coarse is not None:
                top = top if scaling.coarse is Per.CHANNEL else top.max(keepdims=True)
                self._coarse = (top / (self._element.largest * scaling.scale.largest)).astype(np.float32)
                self._coarse[self._coarse == 0] = 1
            elif scaling.block is None:
                self._set(top if scaling.per is Per.CHANNEL else top.max(keepdims=True))

    @property
    def block(self) -> int | None:
        """Columns that share a scale; None where scales are those of whole rows."""
        return self._format.block

    def set(self, columns: NDArray[Any]) -> None:
        """Begin the next columns, ``(out, columns)``, whose values now are these."""
        if self.block is not None:
            starts = np.arange(0, columns.shape[1], self.block)
            self._set(np.maximum.reduceat(np.abs(columns), starts, axis=1))

    def round(self, column: NDArray[Any], index: int) -> NDArray[Any]:
        """One column, ``(out,)``, the `index`-th since `set`, rounded."""
        if self._scales is None:
            return self._element.snap(column.astype(np.float64)).astype(column.dtype)
        scale = self._scales[:, index // self.block if self.block is not None else 0]
        rounded: NDArray[Any] = (self._element.snap(column / scale) * scale).astype(column.dtype)
        return rounded

    def _set(self, extents: NDArray[Any]) -> None:
        assert isinstance(self._format, Scaled)
        scaling = self._format.scaling
        numbers = rounded_scales(extents, self._element.largest, scaling.scale, scaling.rounding, self._coarse)
        scales = numbers if self._coarse is None else numbers * self._coarse.astype(np.float64)
        self._scales = np.where(extents == 0, 1.0, scales)
