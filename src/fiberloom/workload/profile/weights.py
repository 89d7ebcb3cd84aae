"""Values of a model's weights: safetensors (also several files with an index), NumPy archives, PyTorch state dicts, ONNX files."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import FiberloomError, Location, MissingExtraError, SpecError

SUFFIXES: Final = (".safetensors", ".index.json", ".npz", ".pt", ".pth", ".bin", ".onnx")


class Weights(NamedTuple):
    """One tensor of a file of weights.

    Attributes:
        values: as stored, or as float32 where NumPy has no such number format.
        file: where ``distribution: actual`` finds it, if it can read that format.
        array: its name there.
    """

    name: str
    values: NDArray[Any]
    file: Path | None = None
    array: str | None = None


def read_weights(path: Path) -> Iterator[Weights]:
    """The tensors of a file, one at a time.

    Raises:
        SpecError: if the file is missing, cut off, of no known format, or holds NaN.
        MissingExtraError: if its format needs a package that is not installed.
    """
    name = path.name.lower()
    reader = next((r for suffix, r in _READERS.items() if name.endswith(suffix)), None)
    if reader is None:
        hint = "known: " + ", ".join(SUFFIXES)
        raise SpecError(
            f"weights in files that end in '{path.suffix}' are not known", where=Location(str(path)), hint=hint
        )
    if not path.is_file():
        raise SpecError("there is no such file", where=Location(str(path)))
    try:
        for found in reader(path):
            refuse_nan(found.name, found.values, str(path))
            yield found
    except FiberloomError:
        raise
    except Exception as error:  # whatever a reader makes of a broken file
        first = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise SpecError(f"can't be read: {first}", where=Location(str(path)), hint="is it complete?") from None


def refuse_nan(name: str, values: NDArray[Any], file: str | None = None) -> None:
    """Raise if weights are not numbers.

    Raises:
        SpecError: naming the tensor.
    """
    if values.dtype.kind in "fc" and (wrong := int(np.count_nonzero(np.isnan(values)))):
        raise SpecError(
            f"{wrong:,} of the {values.size:,} values of '{name}' are not numbers (NaN)",
            where=Location(file) if file else None,
            hint="NaN is neither zero nor a value: repair the checkpoint",
        )


def _safetensors(path: Path) -> Iterator[Weights]:
    try:
        safe_open = importlib.import_module("safetensors").safe_open
    except ImportError:
        raise MissingExtraError("safetensors", "data", f"reading {path.name}") from None
    with safe_open(path, "np") as tensors:
        narrow = {n: tensors.get_slice(n).get_dtype() for n in sorted(tensors.keys())}
        for name, number_format in narrow.items():
            values = _narrow(path, name, number_format) if number_format in _DECODERS else tensors.get_tensor(name)
            yield Weights(name, values, path, name)


def _narrow(path: Path, name: str, number_format: str) -> NDArray[np.float32]:
    """Values of a number format that NumPy lacks.

    The header is its length (8 bytes, little-endian) and a JSON object with every tensor's place (safetensors format description).
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(length))[name]
        begin, end = entry["data_offsets"]
        file.seek(8 + length + begin)
        content = file.read(end - begin)
    values: NDArray[np.float32] = _DECODERS[number_format](content).reshape(entry["shape"])
    return values


def _bf16(content: bytes) -> NDArray[np.float32]:
    """bfloat16 is the upper half of float32."""
    return (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)


def _fp8(exponent_bits: int, bias: int, *, infinities: bool) -> NDArray[np.float32]:
    """Value of every 8-bit float (Micikevicius et al., arXiv:2209.05433, table 1)."""
    codes = np.arange(256)
    mantissa_bits = 7 - exponent_bits
    exponent = (codes >> mantissa_bits) & (2**exponent_bits - 1)
    fraction = (codes & (2**mantissa_bits - 1)) / 2**mantissa_bits
    values = np.where(exponent > 0, (1 + fraction) * 2.0 ** (exponent - bias), fraction * 2.0 ** (1 - bias))
    magnitude = codes & 0x7F
    if infinities:
        values = np.where(exponent == 2**exponent_bits - 1, np.where(fraction == 0, np.inf, np.nan), values)
    else:
        values = np.where(magnitude == 0x7F, np.nan, values)
    return np.where(codes > 127, -values, values).astype(np.float32)


_E4M3 = _fp8(4, 7, infinities=False)
_E5M2 = _fp8(5, 15, infinities=True)

_DECODERS: Final[dict[str, Any]] = {
    "BF16": _bf16,
    "F8_E4M3": lambda content: _E4M3[np.frombuffer(content, np.uint8)],
    "F8_E5M2": lambda content: _E5M2[np.frombuffer(content, np.uint8)],
}


def _index(path: Path) -> Iterator[Weights]:
    """The files that an index names; the last tensors come from the last file."""
    try:
        files = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SpecError("not an index of weights: no 'weight_map'", where=Location(str(path))) from None
    for name in files:
        if Path(name).name != name:
            raise SpecError(f"it names '{name}'", where=Location(str(path)), hint="weights lie in the index's folder")
        yield from read_weights(path.parent / name)


def _archive(path: Path) -> Iterator[Weights]:
    with np.load(path, allow_pickle=False) as archive:
        for name in archive.files:
            yield Weights(name, archive[name], path, name)


def _state_dict(path: Path) -> Iterator[Weights]:
    from fiberloom.workload.importers.torch_export import load_torch

    torch = load_torch()
    # Only tensors and plain containers are unpickled.
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict):
        raise SpecError(
            "not a state dict", where=Location(str(path)), hint="torch.save(module.state_dict(), 'x.pt') writes one"
        )
    for name, value in loaded.items():
        if isinstance(value, torch.Tensor):
            yield Weights(str(name), as_numpy(value))


def as_numpy(value: Any) -> NDArray[Any]:
    """A PyTorch tensor's values; as float32 where NumPy has no such number format."""
    value = value.detach().cpu()
    if value.is_quantized:
        value = value.int_repr().to_dense()
    if str(value.layout) != "torch.strided":
        value = value.to_dense()
    if "bfloat16" in str(value.dtype) or "float8" in str(value.dtype):
        value = value.float()
    array: NDArray[Any] = value.numpy()
    return array


def _onnx(path: Path) -> Iterator[Weights]:
    from fiberloom.workload.importers.onnx import tensor_values

    for name, values in tensor_values(path):
        yield Weights(name, values.astype(np.float32) if values.dtype.kind == "V" else values)


_READERS: Final[dict[str, Any]] = {
    ".safetensors": _safetensors,
    ".index.json": _index,
    ".npz": _archive,
    ".pt": _state_dict,
    ".pth": _state_dict,
    ".bin": _state_dict,
    ".onnx": _onnx,
}
