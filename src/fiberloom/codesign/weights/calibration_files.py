"""Calibration data from files: rows that meet tensors, or batches of a module's inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.codesign.weights.network_weights import NetworkWeights
from fiberloom.errors import Location, SpecError, UnsupportedError, nearest
from fiberloom.representation.array import checked_values

BATCH: Final = 64
"""Samples that a module is run on at a time."""


def read_calibration(
    path: Path, weights: NetworkWeights
) -> tuple[dict[str, NDArray[Any]] | None, list[tuple[Any, ...]] | None]:
    """Rows by tensor where the model is a file of tensors, batches of inputs where it is a module; the other is None.

    Args:
        path: ``.npy``, or ``.npz`` with one array per tensor (for a module: per input, in order).

    Raises:
        SpecError: for a file that can't be read or does not fit.
        UnsupportedError: for a model that can't be run here.
    """
    arrays = _arrays(path)
    if weights.module is not None:
        return None, _batches(arrays, path)
    if not all(layer.name in weights.network.tensors and layer.operators == (layer.name,) for layer in weights.layers):
        raise UnsupportedError(
            f"calibration data for '{weights.network.name}', which is not run here",
            hint="calibrate module.py:function, or a tensor with the rows that meet it",
        )
    if list(arrays) == [""]:
        if len(weights.layers) > 1:
            raise SpecError(
                f"one array for {len(weights.layers)} tensors",
                where=Location(str(path)),
                hint="give .npz, one array per tensor",
            )
        arrays = {weights.layers[0].name: arrays[""]}
    names = [layer.name for layer in weights.layers]
    if len(names) == 1 and len(arrays) == 1 and names[0] not in arrays:
        arrays = {names[0]: next(iter(arrays.values()))}
    for name in names:
        if name not in arrays:
            raise SpecError(f"it has no inputs of '{name}'", where=Location(str(path)), hint=nearest(name, arrays))
    return {name: _rows(arrays[name], name, path) for name in names}, None


def _rows(array: NDArray[Any], name: str, path: Path) -> NDArray[Any]:
    try:
        values = checked_values(array)
    except SpecError as error:
        raise SpecError(f"inputs of '{name}': {error.problem}", where=Location(str(path)), hint=error.hint) from None
    if values.ndim < 2:
        raise SpecError(
            f"inputs of '{name}' of shape {values.shape}", where=Location(str(path)), hint="give (rows, in)"
        )
    return values.reshape(-1, values.shape[-1])


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """By name; a lone array without one is called ''."""
    if not path.is_file():
        raise SpecError("there is no such file", where=Location(str(path)))
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.lib.npyio.NpzFile):
            with found:
                return {name: found[name] for name in found.files}
    except Exception as error:  # whatever numpy makes of a broken file
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise SpecError(f"can't be read: {first}", where=Location(str(path)), hint="give .npy or .npz") from None
    return {"": found}


def _batches(arrays: dict[str, NDArray[Any]], path: Path) -> list[tuple[Any, ...]]:
    import torch

    samples = {len(array) if array.ndim else 0 for array in arrays.values()}
    if len(samples) != 1 or 0 in samples:
        raise SpecError(
            f"inputs with {sorted(samples)} samples",
            where=Location(str(path)),
            hint="samples lie along the first axis of all",
        )
    try:
        inputs = [
            torch.from_numpy(array.astype(np.float32) if array.dtype == np.float64 else array)
            for array in arrays.values()
        ]
    except TypeError:
        raise SpecError("inputs that are no numbers", where=Location(str(path))) from None
    return [tuple(part[start : start + BATCH] for part in inputs) for start in range(0, samples.pop(), BATCH)]
