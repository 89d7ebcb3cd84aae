"""Representations of the weights in a safetensors file, one tensor in memory at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import Location, SpecError, nearest
from fiberloom.representation.measurement import Measurement, measure
from fiberloom.representation.models.layers import Untouched
from fiberloom.representation.notation import read_representation
from fiberloom.representation.term import Representation

_TYPES: Final = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}
_LONGEST_HEADER: Final = 100_000_000
"""Bytes that the safetensors library accepts as a header."""
_COPIED: Final = 1 << 24
"""Bytes copied at a time."""


@dataclass(frozen=True)
class FileReport:
    """What became of a file's tensors.

    Attributes:
        tensors: how each represented tensor differs from the original, by name.
        representations: of each, as text.
        untouched: tensors that were copied, each with the reason.
    """

    tensors: dict[str, Measurement]
    representations: dict[str, str]
    untouched: tuple[Untouched, ...]


def compress_file(
    source: str | Path,
    target: str | Path,
    representation: str | Representation | Mapping[str, str | Representation],
    *,
    exclude: Sequence[str] = (),
    transposed: Sequence[str] = (),
) -> FileReport:
    """Write a copy of a safetensors file in which weights are replaced by what their representation leaves of them.

    Matrices are taken as ``(out, in)``, tensors of three and more dimensions as convolutions ``(out, channels, …)``; blocks run
    along inputs, channels innermost. The file says nothing of inputs, so places are chosen by magnitude; for Wanda, SparseGPT
    and what needs calibration, `compress` the model. Numbers are written in the type that the file has for the tensor. Memory:
    about three times the largest tensor.

    Args:
        target: another file; an existing one is replaced.
        representation: of all weights, or by name or pattern of names; the first that fits counts. Names with ``embed``
            stay as they are unless a mapping names them: their rows are looked up, not multiplied.
        exclude: names or patterns of tensors that stay as they are.
        transposed: names or patterns of matrices that are ``(in, out)``, as GPT-2's are.

    Raises:
        SpecError: for what is no safetensors file, values that are not finite, and names that no tensor has.
    """
    source, target = Path(source), Path(target)
    if target.exists() and source.exists() and target.samefile(source):
        raise SpecError("the result would overwrite the original", hint="give another target file")
    wanted = representation if isinstance(representation, Mapping) else {"*": representation}
    read = {pattern: read_representation(what) for pattern, what in wanted.items()}
    with _opened(source) as original:
        raw, header = _header(original, source)
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        for pattern in [*(read if isinstance(representation, Mapping) else ()), *exclude, *transposed]:
            if not any(fnmatchcase(name, pattern) for name in tensors):
                raise SpecError(
                    f"no tensor is named '{pattern}'", where=Location(str(source)), hint=nearest(pattern, tensors)
                )
        measured: dict[str, Measurement] = {}
        texts: dict[str, str] = {}
        untouched: list[Untouched] = []
        unfinished = target.with_name(target.name + ".part")
        try:
            with unfinished.open("wb") as result:
                result.write(raw)
                for name, entry in sorted(tensors.items(), key=lambda item: item[1]["data_offsets"]):
                    start, stop = entry["data_offsets"]
                    original.seek(len(raw) + start)
                    fitting = [what for pattern, what in read.items() if fnmatchcase(name, pattern)]
                    by_name = isinstance(representation, Mapping)
                    reason = (
                        _left_alone(name, entry, exclude, by_name) if fitting else "no representation is given for it"
                    )
                    if reason is not None:
                        untouched.append(Untouched(name, int(np.prod(entry["shape"])), reason))
                        _copy(original, result, stop - start)
                        continue
                    turned = any(fnmatchcase(name, pattern) for pattern in transposed)
                    try:
                        values, measured[name] = _represented(original.read(stop - start), entry, fitting[0], turned)
                    except SpecError as error:
                        raise SpecError(
                            error.problem, where=Location(str(source), field=name), hint=error.hint
                        ) from None
                    texts[name] = str(fitting[0])
                    result.write(values)
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
    return FileReport(measured, texts, tuple(untouched))


def _left_alone(name: str, entry: Mapping[str, Any], exclude: Sequence[str], by_name: bool) -> str | None:
    """Why a tensor is copied; None if it is represented."""
    for pattern in exclude:
        if fnmatchcase(name, pattern):
            return f"excluded by '{pattern}'"
    if len(entry["shape"]) < 2:
        return "no matrix"
    if entry["dtype"] not in _TYPES:
        return f"its numbers are {entry['dtype']}"
    if 0 in entry["shape"]:
        return "it is empty"
    if "embed" in name.lower() and not by_name:
        return "an embedding, by its name"
    return None


def _represented(
    data: bytes, entry: Mapping[str, Any], representation: Representation, transposed: bool
) -> tuple[bytes, Measurement]:
    stored = np.frombuffer(data, _TYPES[entry["dtype"]]).reshape(entry["shape"])
    wide = (stored.astype(np.uint32) << 16).view(np.float32) if entry["dtype"] == "BF16" else stored
    values = wide.astype(np.float32) if wide.dtype == np.float16 else wide
    matrix = values.T if transposed else np.moveaxis(values, 1, -1)
    flat = np.ascontiguousarray(matrix).reshape(matrix.shape[0], -1)
    found = representation.project(flat).reshape(matrix.shape)
    back = np.ascontiguousarray(found.T if transposed else np.moveaxis(found, -1, 1))
    return _narrowed(back, entry["dtype"]).tobytes(), measure(flat, representation)


def _narrowed(values: NDArray[Any], name: str) -> NDArray[Any]:
    if name != "BF16":
        return values.astype(_TYPES[name], copy=False)
    bits = values.astype(np.float32, copy=False).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)  # to nearest, ties to even


def _opened(source: Path) -> BinaryIO:
    try:
        return source.open("rb")
    except OSError as error:
        raise SpecError(f"can't be read: {error.strerror}", where=Location(str(source))) from None


def _header(file: BinaryIO, source: Path) -> tuple[bytes, dict[str, Any]]:
    """The file's header as it stands, and what it says (safetensors: 8 bytes of length, then JSON)."""
    length = file.read(8)
    size = int.from_bytes(length, "little")
    try:
        if len(length) < 8 or size > _LONGEST_HEADER:
            raise ValueError
        text = file.read(size)
        if len(text) < size:
            raise ValueError
        header = json.loads(text)
        end = file.seek(0, 2) - 8 - size
        for name, entry in header.items():
            if name != "__metadata__":
                start, stop = entry["data_offsets"]
                numbers = int(np.prod(entry["shape"], dtype=np.int64))
                width = np.dtype(_TYPES[entry["dtype"]]).itemsize if entry["dtype"] in _TYPES else None
                if not 0 <= start <= stop <= end or (width is not None and stop - start != numbers * width):
                    raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SpecError(
            "is no safetensors file", where=Location(str(source)), hint="save the model's state with safetensors first"
        ) from None
    return length + text, header


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> None:
    while size:
        data = source.read(min(size, _COPIED))
        target.write(data)
        size -= len(data)
