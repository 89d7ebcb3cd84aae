"""SparseGPT: prune column by column, and let the columns still to come make up for what was lost.

Frantar, Alistarh: *SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot*, ICML'23, arXiv:2301.00774.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.representation.formats import NumberFormat
from fiberloom.representation.patterns import Dense
from fiberloom.representation.pruning.fixed_scales import FixedScales
from fiberloom.representation.pruning.inverse_factor import inverse_factor
from fiberloom.representation.pruning.places import Places, kept_places, span_of

DAMPING: Final = 0.01
"""Share of the Hessian's mean diagonal that is added to it (SparseGPT, released code: ``percdamp``)."""
COLUMNS: Final = 128
"""Columns after which errors are passed on to the rest of the matrix, and over which unstructured shares are chosen
(SparseGPT, §3.4; released code: ``blocksize``)."""

_PASSED_ON: Final = 512
"""Columns to which errors are passed on at a time, to save memory."""


def sparsegpt(
    weights: NDArray[Any],
    hessian: NDArray[Any],
    places: Places,
    number_format: NumberFormat | None = None,
    damping: float = DAMPING,
    columns: int = COLUMNS,
    overwrite: bool = False,
) -> NDArray[Any]:
    """Weights that need only `places`, chosen and changed such that the layer's outputs change little.

    Places are chosen by ``w² / U_ii²`` when their first column is reached, with U the upper Cholesky factor of the inverse
    Hessian; what a column loses, ``(w − q) / U_ii``, is passed on along its row of U. Memory: the
    result, and a matrix ``(in, in)`` beside the Hessian unless that is overwritten.

    Args:
        weights: ``(out, in)``, float32 or float64, never modified.
        hessian: ``(in, in)``, see `InputStatistics.hessian`; not modified unless `overwrite`.
        places: what stays. `N:M` keeps N of M (the released code's ``prunen`` counts what goes); unstructured shares are kept
            of every `columns` columns of all rows.
        number_format: rounds kept weights in the same pass, so that columns still to come make up for rounding as well. Scales
            are set when the first column that shares them is reached; places are then chosen for as many columns.
        damping: see `DAMPING`.
        columns: see `COLUMNS`; rounded to whole patterns.
        overwrite: compute in the memory of `hessian`, which is lost.

    Raises:
        SpecError: for a Hessian of another size, not finite, or not positive definite after damping.
    """
    inputs = weights.shape[1]
    if hessian.shape != (inputs, inputs):
        raise SpecError(f"a Hessian of shape {hessian.shape} for a layer of {inputs} inputs")
    if not np.isfinite(np.diagonal(hessian)).all():
        raise SpecError("the Hessian of a layer is not finite", hint="mend the calibration data")
    own = hessian if overwrite and hessian.dtype == weights.dtype else hessian.astype(weights.dtype)
    factor, unused = _factor(own, damping)
    result = weights.copy()
    result[:, unused] = 0
    scales = FixedScales(number_format, result) if number_format is not None else None
    step = span_of(places) if not isinstance(places, Dense) else 1
    if scales is not None and scales.block is not None:
        step = int(np.lcm(step, scales.block))
    stride = max(1, round(columns / step)) * step if step <= columns else step
    group = step if step > 1 else stride
    for start in range(0, inputs, stride):
        stop = min(start + stride, inputs)
        result[:, start:stop], errors = _block(
            np.ascontiguousarray(result[:, start:stop].T), factor[start:stop, start:stop], places, group, scales
        )
        for left in range(stop, inputs, _PASSED_ON):
            right = min(left + _PASSED_ON, inputs)
            result[:, left:right] -= errors.T @ factor[start:stop, left:right]
    return result


def _block(
    columns: NDArray[Any], factor: NDArray[Any], places: Places, group: int, scales: FixedScales | None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Columns ``(columns, out)`` done, as ``(out, columns)``, and the errors ``(columns, out)`` to pass on."""
    count = columns.shape[0]
    errors = np.empty_like(columns)
    diagonal = np.diagonal(factor)
    kept = np.empty(columns.shape, dtype=np.bool_)
    for j in range(count):
        if j % group == 0:
            here = slice(j, min(j + group, count))
            scores = np.square(columns[here] / diagonal[here, None])
            kept[here] = kept_places(places, np.ascontiguousarray(scores.T)).T
            if scales is not None:
                scales.set(np.where(kept[here], columns[here], 0).T)
        value = np.where(kept[j], columns[j], columns.dtype.type(0))
        if scales is not None:
            value = scales.round(value, j % group)
        errors[j] = (columns[j] - value) / diagonal[j]
        columns[j] = value
        columns[j + 1 :] -= np.multiply.outer(factor[j, j + 1 :], errors[j])
    return columns.T, errors


def _factor(hessian: NDArray[Any], damping: float) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The upper Cholesky factor of the inverse of `hessian`, which is overwritten, and which inputs were never other than zero."""
    diagonal = np.diagonal(hessian).copy()
    unused = diagonal == 0
    places = np.diag_indices_from(hessian)
    hessian[places] = diagonal + np.where(unused, 1, 0) + damping * diagonal.mean()
    try:
        factor = inverse_factor(hessian)
    except np.linalg.LinAlgError:
        factor = None
    if factor is None or not np.isfinite(factor[places]).all():
        raise SpecError(
            f"the Hessian of a layer is not positive definite with a damping of {damping:g}",
            hint="raise the damping, or calibrate with more data",
        )
    return factor, unused
