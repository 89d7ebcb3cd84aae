"""Opening an ONNX file: what can be wrong with one is found here, before anything is computed from it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

from fiberloom.errors import Location, MissingExtraError, SpecError, UnsupportedError
from fiberloom.workload.importers.onnx.elements import element_type

EXTERNAL: Final = 1
"""``TensorProto.DataLocation.EXTERNAL``."""

KEPT_ELEMENTS: Final = 1 << 16
"""Constants up to this size keep their values while a graph is read (they may be shapes); larger ones are weights."""

_MAX_NODES: Final = 20_000_000
"""Functions that call functions can stand for more nodes than fit anywhere; this many are taken at most."""


class OnnxFile(NamedTuple):
    """A model and what was noted while it was opened. Large initializers have given up their values."""

    path: str
    model: Any
    notes: tuple[str, ...]


@cache
def load_onnx(submodule: str = "") -> ModuleType:
    """The package `onnx`, or a module of it.

    Raises:
        MissingExtraError: when it is not installed.
    """
    try:
        return import_module("onnx" + submodule)
    except ImportError:
        raise MissingExtraError("onnx", "onnx", "reading ONNX files") from None


def open_model(path: str | Path) -> OnnxFile:
    """The model in a file, functions inlined, its structure checked.

    Raises:
        SpecError: if the file can't be read, is cut off, is not ONNX, or its weights' files are cut off.
        UnsupportedError: for ONNX Runtime's own format.
        MissingExtraError: if `onnx` is not installed.
    """
    onnx = load_onnx()
    path = Path(path)
    where = Location(str(path))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SpecError(f"the file can't be read: {error.strerror}", where=where) from None
    _recognised(content, where)
    try:
        model = onnx.ModelProto.FromString(content)
    except import_module("google.protobuf.message").DecodeError:
        raise SpecError(
            f"this is not a whole ONNX model ({len(content):,} bytes)",
            where=where,
            hint="the file is cut off, damaged, or of another format; fetch or export it again",
        ) from None
    size = len(content)
    del content
    if not model.ir_version or not model.HasField("graph"):
        raise SpecError(f"there is no ONNX graph in it ({size:,} bytes)", where=where, hint="export the model again")
    if not model.opset_import and not model.functions:
        raise SpecError("no operator set is named (opset_import)", where=where, hint="the file may be cut off")
    if not model.graph.node:
        raise SpecError(f"graph '{model.graph.name}' has no nodes", where=where)
    if not model.graph.output:
        raise SpecError(f"graph '{model.graph.name}' has no outputs", where=where)
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        require_text((value.name, *(d.dim_param for d in value.type.tensor_type.shape.dim)), str(path))
    require_text((o.domain for o in model.opset_import), str(path))
    notes = _release_weights(model, path)
    if model.functions:
        model = _inlined(model, where)
    return OnnxFile(str(path), model, notes)


def _recognised(content: bytes, where: Location) -> None:
    """Refuse what people mistake for a model."""
    if not content:
        raise SpecError("the file is empty", where=where)
    if content.startswith(b"version https://git-lfs"):
        raise SpecError("this is a Git LFS pointer, not the model", where=where, hint="fetch the file: git lfs pull")
    if content[:64].lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise SpecError("this is a web page, not a model", where=where, hint="download the file itself ('raw')")
    if content.startswith(b"PK\x03\x04"):
        raise SpecError(
            "this is a zip archive, not an ONNX model",
            where=where,
            hint="unpack it; a PyTorch exported program is called .pt2",
        )
    if content[4:8] == b"ORTM":
        raise UnsupportedError(
            "this is ONNX Runtime's own format (.ort)", where=where, hint="give the .onnx it is from"
        )


def _release_weights(model: Any, path: Path) -> tuple[str, ...]:
    """Check every initializer's size and drop large values; a 2-GB model is then small enough to be handed around."""
    missing: dict[str, int] = {}
    for tensor in model.graph.initializer:
        require_text((tensor.name,), str(path))
        where = Location(str(path), field=f"initializer '{tensor.name}'")
        if any(extent < 0 for extent in tensor.dims):
            raise SpecError(f"its shape {list(tensor.dims)} has a negative extent", where=where)
        needed = stored_bytes(tensor)
        if tensor.data_location == EXTERNAL:
            place, offset, length = external_place(tensor, path)
            if not place.is_file():
                missing[place.name] = missing.get(place.name, 0) + 1
                continue
            size = place.stat().st_size
            if length not in (0, needed):
                raise SpecError(f"{length:,} bytes are kept for it in '{place.name}'; it has {needed:,}", where=where)
            if offset + needed > size:
                raise SpecError(
                    f"its values end at byte {offset + needed:,} of '{place.name}', which has {size:,}",
                    where=where,
                    hint="the file of weights is cut off; fetch it again",
                )
        elif tensor.HasField("raw_data"):
            if len(tensor.raw_data) != needed:
                raise SpecError(
                    f"{len(tensor.raw_data):,} bytes of values; shape {list(tensor.dims)} needs {needed:,}",
                    where=where,
                    hint="the file is damaged",
                )
            if math.prod(tensor.dims) > KEPT_ELEMENTS:
                tensor.ClearField("raw_data")
    return tuple(
        f"the file of weights '{name}' is missing ({count} tensors): shapes are known, values are not"
        for name, count in missing.items()
    )


def require_text(names: Iterable[Any], file: str) -> None:
    """Refuse names that are not text; a file with such names is damaged.

    Raises:
        SpecError: if one is not.
    """
    for name in names:
        if not isinstance(name, str):
            raise SpecError(
                f"a name in it is not UTF-8 text: {name!r}", where=Location(file), hint="the file is damaged"
            )


def stored_bytes(tensor: Any) -> int:
    """Bytes that a tensor's values take in a file; narrow elements are packed."""
    elements: int = math.prod(tensor.dims)
    return -(-elements * element_type(tensor.data_type).bits // 8)


def external_place(tensor: Any, path: Path) -> tuple[Path, int, int]:
    """File, first byte and number of bytes (0: not stated) of values that are kept outside the model.

    Raises:
        SpecError: if the place is not in the model's folder or makes no sense.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    require_text((*entries, *entries.values()), str(path))
    where = Location(str(path), field=f"initializer '{tensor.name}'")
    location = entries.get("location", "")
    folder = path.resolve().parent
    place = (folder / location).resolve()
    if not location or not place.is_relative_to(folder):
        raise SpecError(
            f"its values are said to be in '{location}'", where=where, hint="weights lie in the model's folder"
        )
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", 0))
    except ValueError:
        raise SpecError("offset and length of its values are not numbers", where=where) from None
    if offset < 0 or length < 0:
        raise SpecError("offset or length of its values is negative", where=where)
    return place, offset, length


def _inlined(model: Any, where: Location) -> Any:
    """The model without local functions."""
    bodies = {(f.domain, f.name): f for f in model.functions}
    nodes = sum(_expanded(model.graph.node, bodies, {}, where, ()))
    if nodes > _MAX_NODES:
        raise UnsupportedError(
            f"its functions stand for {nodes:,} nodes", where=where, hint=f"at most {_MAX_NODES:,} are read"
        )
    return load_onnx(".inliner").inline_local_functions(model)


def _expanded(
    nodes: Any,
    bodies: dict[tuple[str, str], Any],
    known: dict[tuple[str, str], int],
    where: Location,
    calling: tuple[tuple[str, str], ...],
) -> Iterator[int]:
    """Nodes that each node stands for."""
    for node in nodes:
        yield 1
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _expanded(attribute.g.node, bodies, known, where, calling)
        key = (node.domain, node.op_type)
        if key not in bodies:
            continue
        if key in calling:
            raise SpecError(f"function '{node.op_type}' calls itself", where=where)
        if len(calling) > 100:
            raise UnsupportedError("functions call functions more than 100 deep", where=where)
        if key not in known:
            known[key] = sum(_expanded(bodies[key].node, bodies, known, where, (*calling, key)))
        yield known[key]
