"""The upper Cholesky factor of a matrix's inverse, in the memory of the matrix."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_BLOCK: Final = 256
"""Columns worked on at a time: products of such panels run at the speed of the processor, and need little memory."""


def inverse_factor(matrix: NDArray[Any]) -> NDArray[Any]:
    """The upper triangular U with ``Uᵀ U = matrix⁻¹``; it overwrites `matrix`, which is returned.

    With matrix = R Rᵀ, R upper, U is the inverse of R: no inverse of the matrix itself is needed.

    Args:
        matrix: symmetric and positive definite, ``(n, n)``, float32 or float64.

    Raises:
        numpy.linalg.LinAlgError: if it is not positive definite.
    """
    blocks = [slice(start, min(start + _BLOCK, len(matrix))) for start in range(0, len(matrix), _BLOCK)]
    for at in reversed(blocks):
        panel = matrix[: at.stop, at] - matrix[: at.stop, at.stop :] @ matrix[at, at.stop :].T
        corner = np.linalg.cholesky(panel[at][::-1, ::-1])[::-1, ::-1]
        matrix[: at.start, at] = panel[: at.start] @ np.linalg.inv(corner).T
        matrix[at, at] = corner
        matrix[at.stop :, at] = 0
    for at in reversed(blocks):
        corner = np.triu(np.linalg.inv(matrix[at, at]))
        matrix[at, at.stop :] = -corner @ (matrix[at, at.stop :] @ matrix[at.stop :, at.stop :])
        matrix[at, at] = corner
    return matrix
