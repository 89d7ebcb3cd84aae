"""What counts as a tensor of values, and how it is seen as rows along one axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError

MOST_DENSE_ELEMENTS: Final = 1 << 31
"""Sparse matrices up to this many places are written out (8 GiB as float32); SciPy would only fail for want of memory."""

_EXACT_WHOLE: Final = 2**53
"""Whole numbers up to here are exact in float64 (IEEE 754, 53 significand bits)."""


def checked_values(array: Any) -> NDArray[Any]:
    """`array` as float32 or float64 numbers, itself where it is that already.

    Halves, bfloat16, the 4- to 8-bit types of ml_dtypes and integers of up to 16 bits become float32, other integers
    float64. SciPy's sparse matrices are written out, tensors of PyTorch are taken from their graph and device.

    Raises:
        SpecError: for what is not an array of finite real numbers, is empty, or holds integers beyond 2^53.
    """
    values = _as_array(array)
    if values.dtype.kind in "bui":
        if values.dtype.itemsize == 8 and values.size and max(abs(int(values.min())), int(values.max())) > _EXACT_WHOLE:
            raise SpecError("integers beyond 2^53 have no exact floating value", hint="give floating-point numbers")
        values = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
    elif values.dtype not in (np.float32, np.float64):
        narrow = values.dtype == np.float16 or (values.dtype.kind == "V" and values.dtype.name.lstrip("u")[0] in "bfi")
        if not narrow and values.dtype.kind != "f":
            raise SpecError(f"a tensor of type {values.dtype} holds no real numbers")
        values = values.astype(np.float32 if narrow else np.float64)
    if values.size == 0:
        raise SpecError(f"a tensor of shape {values.shape} has no elements")
    finite = np.isfinite(values)
    if not finite.all():
        bad = int(values.size - np.count_nonzero(finite))
        first = [int(i) for i in np.unravel_index(int(np.argmin(finite)), values.shape)]
        raise SpecError(
            f"{bad:,} of {values.size:,} values are NaN or infinite, the first at {first}",
            hint="mend the tensor first: no pattern or number format has a meaning for them",
        )
    return values


def _as_array(array: Any) -> NDArray[Any]:
    if hasattr(array, "toarray"):  # SciPy's sparse matrices and arrays
        size = math.prod(array.shape)
        if size > MOST_DENSE_ELEMENTS:
            raise SpecError(f"a sparse tensor of shape {tuple(array.shape)} is too large to write out: {size:,} places")
        array = array.toarray()
    elif hasattr(array, "detach") and hasattr(array, "layout"):  # PyTorch's tensors
        array = _from_torch(array)
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise SpecError("some values of the array are masked out", hint="say what stands there: array.filled(0)")
    try:
        return np.asarray(array)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SpecError(f"this is no array of numbers: {(str(error).splitlines() or [''])[0][:200]}") from None


def _from_torch(tensor: Any) -> Any:
    if str(tensor.layout) != "torch.strided":
        tensor = tensor.to_dense()
    if str(tensor.dtype).removeprefix("torch.").startswith(("bfloat", "float8", "float4")):
        tensor = tensor.float()
    return tensor.detach().cpu().numpy()


def as_rows(values: NDArray[Any], axis: int) -> NDArray[Any]:
    """`values` with `axis` last, flattened to ``(rows, length)``; a single number is one row of one.

    Raises:
        SpecError: for an array without that axis.
    """
    shape = rows_and_length(values.shape, axis)
    return (values if values.ndim == 0 else np.moveaxis(values, axis, -1)).reshape(shape)


def from_rows(rows: NDArray[Any], shape: Sequence[int], axis: int) -> NDArray[Any]:
    """The inverse of `as_rows` for a tensor of `shape`."""
    if not shape:
        return rows.reshape(())
    moved = [*shape]
    moved.append(moved.pop(axis))
    return np.moveaxis(rows.reshape(moved), -1, axis)


def rows_and_length(shape: Sequence[int], axis: int) -> tuple[int, int]:
    """How many rows a tensor has, and their length along `axis`.

    Raises:
        SpecError: for an axis that it does not have.
    """
    if not shape:
        return 1, 1
    others = list(shape)
    length = others.pop(checked_axis(shape, axis))
    return math.prod(others), length


def checked_axis(shape: Sequence[int], axis: int) -> int:
    """`axis` counted from 0.

    Raises:
        SpecError: for a tensor without that axis.
    """
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)) or not -len(shape) <= axis < len(shape):
        raise SpecError(
            f"a tensor of shape {tuple(shape)} has no axis {axis}",
            hint=f"axes count from 0 to {len(shape) - 1}, or from -1 backwards"
            if len(shape)
            else "a single number has none",
        )
    return int(axis) % len(shape)
