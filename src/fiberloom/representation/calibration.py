"""What a layer's inputs look like, gathered from calibration data batch by batch: little is kept, whatever was seen."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError

_BLOCK_ROWS: Final = 256
"""Rows summed at a time, so that a large batch needs no second copy of itself."""
_BLOCK_COLUMNS: Final = 256
"""Columns of second moments summed at a time, so that they need no second copy of themselves."""


class InputStatistics:
    """Norms of a layer's inputs and, where asked for, their second moments.

    Memory: ``width`` numbers, and ``width²`` float32 ones for the second moments.

    Args:
        width: inputs of the layer, the length of the axis that it sums over.
        second_moments: whether `hessian` will be asked for.
    """

    def __init__(self, width: int, second_moments: bool = False) -> None:
        self.width = width
        self.rows = 0
        self._squares = np.zeros(width)
        self._products = np.zeros((width, width), np.float32) if second_moments else None

    def add(self, rows: NDArray[Any]) -> None:
        """Take in more inputs, ``(rows, width)``.

        Raises:
            SpecError: for inputs of another width, or that are not finite.
        """
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise SpecError(f"inputs of shape {rows.shape} for a layer that takes {self.width} inputs a row")
        for start in range(0, rows.shape[0], _BLOCK_ROWS):
            block = rows[start : start + _BLOCK_ROWS].astype(np.float32, copy=False)
            squares = np.square(block, dtype=np.float64).sum(axis=0)
            if not np.isfinite(squares).all():
                raise SpecError(
                    f"calibration inputs are NaN or infinite, first input {int(np.argmin(np.isfinite(squares)))}",
                    hint="mend the calibration data, or the model that leads to this layer",
                )
            self._squares += squares
            if self._products is not None:
                for left in range(0, self.width, _BLOCK_COLUMNS):
                    at = slice(left, left + _BLOCK_COLUMNS)
                    self._products[:, at] += block.T @ block[:, at]
            self.rows += block.shape[0]

    @property
    def norms(self) -> NDArray[np.float32]:
        """Root of the mean square of every input, ``(width,)``.

        Proportional to the norms ‖x_j‖ that Wanda and the product criterion multiply weights with.

        Raises:
            SpecError: before anything was taken in.
        """
        self._require_rows()
        return np.sqrt(self._squares / self.rows).astype(np.float32)

    @property
    def hessian(self) -> NDArray[np.float32]:
        """Second derivatives of the squared output error, ``2/n · Σ x xᵀ``, ``(width, width)`` (Frantar & Alistarh, SparseGPT, §3).

        Raises:
            SpecError: before anything was taken in, or when second moments were not asked for.
        """
        return self._second_moments() * np.float32(2 / self.rows)

    def take_hessian(self) -> NDArray[np.float32]:
        """`hessian` in the memory of the second moments, which are gone afterwards."""
        taken = self._second_moments()
        self._products = None
        taken *= np.float32(2 / self.rows)
        return taken

    def _second_moments(self) -> NDArray[np.float32]:
        self._require_rows()
        if self._products is None:
            raise SpecError("these statistics hold no second moments", hint="gather them with second_moments=True")
        return self._products

    def _require_rows(self) -> None:
        if self.rows == 0:
            raise SpecError("no calibration input has reached this layer", hint="give calibration data that uses it")
