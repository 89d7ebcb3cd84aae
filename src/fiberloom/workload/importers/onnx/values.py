"""Values of an ONNX file's weights, read when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import Location, SpecError, nearest
from fiberloom.workload.importers.onnx.file import EXTERNAL, external_place, load_onnx, stored_bytes


def tensor_values(path: str | Path, names: list[str] | None = None) -> Iterator[tuple[str, NDArray[Any]]]:
    """Values of parameters by the names that they have in the network that `read` makes of the file, one at a time.

    4-bit and narrower numbers, bfloat16 and 8-bit floats come as numpy arrays of ``ml_dtypes``; packed weights of MatMulNBits as
    the bytes that are stored.

    Args:
        names: which; by default all that the file holds.

    Raises:
        SpecError: if a tensor is not in the file, its file of weights is missing or cut off, or a value is not a number (NaN).
        MissingExtraError: if `onnx` is not installed.
    """
    onnx = load_onnx()
    path = Path(path)
    where = Location(str(path))
    try:
        model = onnx.ModelProto.FromString(path.read_bytes())
    except OSError as error:
        raise SpecError(f"the file can't be read: {error.strerror}", where=where) from None
    except Exception:
        raise SpecError("this is not a whole ONNX model", where=where) from None
    tensors = {t.name: t for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.output:
            tensors.update((node.output[0], a.t) for a in node.attribute if a.HasField("t"))
    sparse = {s.values.name: s for s in model.graph.sparse_initializer}
    for name in [*tensors, *sparse] if names is None else names:
        if name in sparse:
            yield name, _checked(_dense(sparse[name]), name, path)
        elif name in tensors:
            yield name, _checked(_array(tensors[name], path), name, path)
        else:
            raise SpecError(f"it holds no tensor '{name}'", where=where, hint=nearest(name, tensors))


def _array(tensor: Any, path: Path) -> NDArray[Any]:
    where = Location(str(path), field=f"initializer '{tensor.name}'")
    if tensor.data_location == EXTERNAL:
        place, offset, length = external_place(tensor, path)
        needed = stored_bytes(tensor)
        if not place.is_file():
            raise SpecError(
                f"its values are in '{place.name}', which is missing",
                where=where,
                hint=f"put that file beside the model: {place.parent}",
            )
        with place.open("rb") as stream:
            stream.seek(offset)
            content = stream.read(length or needed)
        if len(content) < needed:
            raise SpecError(f"'{place.name}' is cut off: {len(content):,} of {needed:,} bytes", where=where)
        whole = type(tensor)()
        whole.CopyFrom(tensor)
        whole.ClearField("external_data")
        whole.data_location = 0
        whole.raw_data = content
        tensor = whole
    try:
        return np.asarray(load_onnx(".numpy_helper").to_array(tensor))
    except (ValueError, TypeError, KeyError):
        raise SpecError(
            f"its values do not fit shape {list(tensor.dims)}", where=where, hint="the file is damaged"
        ) from None


def _dense(sparse: Any) -> NDArray[Any]:
    to_array = load_onnx(".numpy_helper").to_array
    values, indices = to_array(sparse.values), to_array(sparse.indices)
    dense = np.zeros(math.prod(sparse.dims), values.dtype)
    flat = np.ravel_multi_index(tuple(indices.T), tuple(sparse.dims)) if indices.ndim > 1 else indices
    dense[flat] = values
    return dense.reshape(tuple(sparse.dims))


def _checked(values: NDArray[Any], name: str, path: Path) -> NDArray[Any]:
    if values.dtype.kind in "fcV" and values.size:
        plain = values.astype(np.float32) if values.dtype.kind == "V" else values
        wrong = int(np.count_nonzero(np.isnan(plain)))
        if wrong:
            raise SpecError(
                f"{wrong:,} of its {values.size:,} values are not numbers (NaN)",
                where=Location(str(path), field=f"initializer '{name}'"),
                hint="densities and products of such weights mean nothing; export the model again",
            )
    return values
