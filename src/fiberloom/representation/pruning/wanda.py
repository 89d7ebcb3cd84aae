"""Wanda: weights matter by their magnitude times the norm of the inputs that they meet.

Sun, Liu, Bair, Kolter: *A Simple and Effective Pruning Approach for Large Language Models*, ICLR'24, arXiv:2306.11695.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.representation.pruning.places import Places, masked


def wanda(weights: NDArray[Any], input_norms: NDArray[Any], places: Places) -> NDArray[Any]:
    """`weights` with the places of least ``|W_ij| · ‖x_j‖`` set to zero. Compared are weights of one output row only.

    Args:
        weights: ``(out, in)``, never modified.
        input_norms: ``(in,)``, up to a common factor; see `InputStatistics.norms`.
        places: what stays, blocks along `in`. `N:M` keeps N of M (the published code's ``prune_n`` counts what goes). An
            unstructured share is kept of every row, not of the whole tensor.

    Raises:
        SpecError: when there is not one norm for each input.
    """
    norms = np.asarray(input_norms, dtype=weights.dtype)
    if norms.shape != weights.shape[1:]:
        raise SpecError(f"{norms.size} input norms for a weight matrix {weights.shape}: there is one for each input")
    return masked(weights, norms, places, rows=1)
