"""Reading where a tensor in a file is non-zero: .npy, .npz, SciPy sparse .npz, .safetensors, Matrix Market.

Nothing is ever unpickled.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import MissingExtraError, SpecError, nearest
from fiberloom.workload.density._spec import Parameters
from fiberloom.workload.density._tile_counts import Coordinates

Nonzeros = NDArray[np.bool_] | Coordinates

SUFFIXES = (".npy", ".npz", ".safetensors", ".mtx")


def read_nonzeros(path: Path, array: str | None, parameters: Parameters) -> Nonzeros:
    """Where the tensor in `path` is non-zero; NaN counts as non-zero, a stored zero does not.

    Args:
        path: the file; its suffix says the format (``.mtx`` also as ``.mtx.gz``).
        array: name of the array in a file of several; None where there is one.

    Raises:
        SpecError: for a file that is missing, not readable, of another format, or without that array.
        MissingExtraError: when the format needs a package that is not installed.
    """
    if not path.is_file():
        raise parameters.error(f"there is no file {path}", name="file")
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    try:
        if suffix == ".npy":
            _no_name(array, path, parameters)
            return _mask(np.load(path, mmap_mode="r", allow_pickle=False), path, parameters)
        if suffix == ".npz":
            return _read_npz(path, array, parameters)
        if suffix == ".safetensors":
            return _read_safetensors(path, array, parameters)
        if suffix == ".mtx":
            _no_name(array, path, parameters)
            return _read_matrix_market(path, parameters)
    except (SpecError, MissingExtraError):
        raise
    except Exception as error:  # whatever a reader makes of a broken file
        raise _unreadable(path, error, parameters) from None
    raise parameters.error(f"{path.name} is of no known format", name="file", hint=f"known: {', '.join(SUFFIXES)}")


def _unreadable(path: Path, error: Exception, parameters: Parameters) -> SpecError:
    first_line = (str(error).splitlines() or [type(error).__name__])[0]
    return parameters.error(f"{path} can't be read: {first_line}", name="file")


def _no_name(array: str | None, path: Path, parameters: Parameters) -> None:
    if array is not None:
        raise parameters.error(f"{path.name} holds one array without a name", name="array", hint="leave 'array' out")


def _chosen(array: str | None, names: list[str], path: Path, parameters: Parameters) -> str:
    """The array to read: the one named, or the only one."""
    if array is None:
        if len(names) == 1:
            return names[0]
        raise parameters.error(
            f"{path.name} holds {len(names)} arrays", name="array", hint=f"say which with 'array'; {nearest('', names)}"
        )
    if array not in names:
        raise parameters.error(f"{path.name} holds no array '{array}'", name="array", hint=nearest(array, names))
    return array


def _mask(values: NDArray[Any], path: Path, parameters: Parameters) -> NDArray[np.bool_]:
    if values.dtype.kind not in "biufc":
        raise parameters.error(f"{path.name} holds values of type {values.dtype}, not numbers", name="file")
    return np.asarray(values != 0)


def _read_npz(path: Path, array: str | None, parameters: Parameters) -> Nonzeros:
    with path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise parameters.error(f"{path.name} holds one array, not an archive", name="file", hint="name it .npy")
        # SciPy's sparse matrices: the arrays of the compressed form beside 'format' and 'shape'.
        if array is None and {"format", "shape", "data"} <= set(archive.files):
            return _read_sparse_npz(path, parameters)
        return _mask(archive[_chosen(array, archive.files, path, parameters)], path, parameters)


def _read_sparse_npz(path: Path, parameters: Parameters) -> Coordinates:
    try:
        from scipy import sparse
    except ImportError:
        raise MissingExtraError("scipy", "data", f"reading the sparse matrix {path.name}") from None
    return _coordinates(sparse.load_npz(path), path, parameters)


def _read_matrix_market(path: Path, parameters: Parameters) -> Nonzeros:
    try:
        from scipy.io import mmread
    except ImportError:
        raise MissingExtraError("scipy", "data", f"reading the matrix {path.name}") from None
    matrix = mmread(path)
    return _mask(matrix, path, parameters) if isinstance(matrix, np.ndarray) else _coordinates(matrix, path, parameters)


def _coordinates(matrix: Any, path: Path, parameters: Parameters) -> Coordinates:
    """Coordinates of a SciPy sparse matrix: duplicates added up, stored zeros dropped."""
    _mask(np.empty(0, dtype=matrix.dtype), path, parameters)
    if hasattr(matrix, "check_format"):
        matrix.check_format(full_check=True)
    merged = matrix.tocsr() if matrix.ndim == 2 else matrix.tocoo()
    merged.sum_duplicates()
    merged.eliminate_zeros()
    found = merged.tocoo()
    return Coordinates(tuple(int(s) for s in found.shape), tuple(np.asarray(rank) for rank in found.coords))


def _read_safetensors(path: Path, array: str | None, parameters: Parameters) -> NDArray[np.bool_]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise MissingExtraError("safetensors", "data", f"reading the tensor in {path.name}") from None
    try:
        with safe_open(path, "np") as tensors:
            name = _chosen(array, sorted(tensors.keys()), path, parameters)
            width = _NARROW_FLOATS.get(tensors.get_slice(name).get_dtype())
            if width is None:
                return _mask(tensors.get_tensor(name), path, parameters)
    except SafetensorError as error:
        raise _unreadable(path, error, parameters) from None
    bits = narrow_float_bits(path, name, width)
    # Both zeros have no bit but perhaps the sign's.
    return np.asarray((bits << 1) & (256**width - 1) != 0)


_NARROW_FLOATS = {"BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
"""Bytes of the number formats with a sign bit and a signed zero that NumPy lacks."""


def narrow_float_bits(path: Path, name: str, width: int) -> NDArray[Any]:
    """Bit patterns of a tensor of `width` bytes per element in a .safetensors file, whatever its number format.

    The header of such a file is its length (8 bytes, little-endian) and a JSON object with the place of every tensor
    behind it (safetensors format description); the file has been checked by `safe_open`.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(length))[name]
        file.seek(8 + length + entry["data_offsets"][0])
        elements = (entry["data_offsets"][1] - entry["data_offsets"][0]) // width
        bits = np.fromfile(file, dtype=f"<u{width}", count=elements)
    return bits.reshape(entry["shape"])
