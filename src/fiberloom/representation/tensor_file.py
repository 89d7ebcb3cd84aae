"""Reading a tensor's values from a file: ``w.npy``, ``weights.npz:name``, ``model.safetensors:layer.weight``.

Where a tensor in a file is merely non-zero, `fiberloom.workload.density` reads. Nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import Location, MissingExtraError, SpecError, nearest
from fiberloom.representation.array import checked_values
from fiberloom.workload.density._tensor_file import narrow_float_bits

SUFFIXES: Final = (".npy", ".npz", ".safetensors", ".mtx")


def read_tensor(source: str | Path) -> NDArray[Any]:
    """The tensor that `source` names, as float32 (float64 where the file has that or wide integers).

    Args:
        source: a file, and behind a colon the tensor's name where the file holds several. Formats: NumPy's .npy and
            .npz, SciPy's sparse .npz, .safetensors (bfloat16 and both 8-bit floats too), Matrix Market's .mtx.

    Raises:
        SpecError: for a file that is missing, not readable or of another format, a tensor that it does not hold, and
            values that are not finite real numbers.
        MissingExtraError: when the format needs a package that is not installed.
    """
    path, name = _split(str(source))
    if not path.is_file():
        raise _error(f"there is no file {path}", path)
    read = _READERS.get(path.suffix)
    if read is None:
        raise _error(f"{path.name} is of no known format", path, f"known: {', '.join(SUFFIXES)}")
    try:
        return checked_values(read(path, name))
    except MissingExtraError:
        raise
    except SpecError as error:
        raise error if error.where is not None else _error(error.problem, path, error.hint) from None
    except Exception as error:  # whatever a reader makes of a broken file
        raise _error(f"this can't be read: {(str(error).splitlines() or [type(error).__name__])[0]}", path) from None


def tensor_names(path: str | Path) -> list[str]:
    """Names of the tensors in an .npz or .safetensors file, in alphabetical order; none for files of one tensor.

    Raises:
        SpecError, MissingExtraError: as `read_tensor`.
    """
    path = Path(path)
    if not path.is_file():
        raise _error(f"there is no file {path}", path)
    try:
        if path.suffix == ".safetensors":
            with _safe_open(path) as tensors:
                return sorted(tensors.keys())
        if path.suffix == ".npz":
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return [] if _is_scipy(archive) else sorted(archive.files)
    except MissingExtraError:
        raise
    except Exception as error:  # whatever a reader makes of a broken file
        raise _error(f"this can't be read: {(str(error).splitlines() or [type(error).__name__])[0]}", path) from None
    return []


def _split(source: str) -> tuple[Path, str | None]:
    """File and tensor name: the colon is the one behind a known suffix, so that drive letters are none."""
    if Path(source).is_file():
        return Path(source), None
    ends = [source.find(suffix + ":") + len(suffix) for suffix in SUFFIXES if suffix + ":" in source]
    if not ends:
        return Path(source), None
    return Path(source[: min(ends)]), source[min(ends) + 1 :] or None


def _error(problem: str, path: Path, hint: str | None = None) -> SpecError:
    return SpecError(problem, where=Location(file=str(path)), hint=hint)


def _chosen(name: str | None, names: list[str], path: Path) -> str:
    """The tensor to read: the one named, or the only one."""
    if name is None:
        if len(names) == 1:
            return names[0]
        shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
        raise _error(f"the file holds {len(names)} tensors", path, f"write {path.name}:NAME, one of {shown}")
    if name not in names:
        raise _error(f"the file holds no tensor '{name}'", path, nearest(name, names))
    return name


def _no_name(name: str | None, path: Path) -> None:
    if name is not None:
        raise _error(f"the file holds one tensor without a name, not '{name}'", path, f"write {path.name}")


def _read_npy(path: Path, name: str | None) -> Any:
    _no_name(name, path)
    return np.load(path, allow_pickle=False)


def _read_npz(path: Path, name: str | None) -> Any:
    with path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise _error("the file holds one array, not an archive", path, "name it .npy")
        if name is None and _is_scipy(archive):
            try:
                from scipy import sparse
            except ImportError:
                raise MissingExtraError("scipy", "data", f"reading the sparse matrix {path.name}") from None
            return sparse.load_npz(path)
        return archive[_chosen(name, archive.files, path)]


def _is_scipy(archive: Any) -> bool:
    """Whether an .npz holds one of SciPy's sparse matrices: the arrays of the compressed form beside their names."""
    return {"format", "shape", "data"} <= set(archive.files)


def _read_matrix_market(path: Path, name: str | None) -> Any:
    _no_name(name, path)
    try:
        from scipy.io import mmread
    except ImportError:
        raise MissingExtraError("scipy", "data", f"reading the matrix {path.name}") from None
    return mmread(path)


def _safe_open(path: Path) -> Any:
    try:
        from safetensors import safe_open
    except ImportError:
        raise MissingExtraError("safetensors", "data", f"reading the tensor in {path.name}") from None
    return safe_open(path, "np")


def _read_safetensors(path: Path, name: str | None) -> Any:
    with _safe_open(path) as tensors:
        chosen = _chosen(name, sorted(tensors.keys()), path)
        kind = tensors.get_slice(chosen).get_dtype()
        if kind not in _DECODED:
            return tensors.get_tensor(chosen)
    width, decode = _DECODED[kind]
    return decode(narrow_float_bits(path, chosen, width))


def _from_bfloat16(bits: NDArray[Any]) -> NDArray[np.float32]:
    """The upper half of a float32."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _from_minifloat(name: str) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    def decoded(bits: NDArray[Any]) -> NDArray[np.float32]:
        from fiberloom.representation.formats import ElementFormat, number_format

        element = number_format(name)
        assert isinstance(element, ElementFormat)
        return element.decode(bits, np.float32)

    return decoded


_DECODED: Final[dict[str, tuple[int, Callable[[NDArray[Any]], NDArray[np.float32]]]]] = {
    "BF16": (2, _from_bfloat16),
    "F8_E5M2": (1, _from_minifloat("fp8-e5m2/unscaled")),
    "F8_E4M3": (1, _from_minifloat("fp8-e4m3/unscaled")),
}
"""Bytes and decoder of the number formats that NumPy lacks, by their name in .safetensors files."""

_READERS: Final[dict[str, Callable[[Path, str | None], Any]]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
    ".mtx": _read_matrix_market,
}
