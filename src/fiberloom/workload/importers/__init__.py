"""Importers: one module per source of networks, each giving a `fiberloom.workload.network.Network`.

`read_network` chooses by the model's name: a file's ending, ``module.py:function``, or a network of the zoo. The module of a
source is imported when a model of that source is read, since most need a package of their own.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from fiberloom.errors import Location, SpecError, nearest
from fiberloom.workload.network import Network

SOURCES: Final[Mapping[str, str]] = {
    ".onnx": "onnx",
    ".pt2": "torch_export",
    ".mlir": "mlir",
    ".stablehlo": "stablehlo",
    ".json": "huggingface",
}
"""Endings of files, and the module here that reads them with ``read(path, dims=…, **options)``."""

_FUNCTION: Final = re.compile(r"(?P<module>.+\.py|[A-Za-z_][\w.]*):(?P<function>[A-Za-z_]\w*)")


Progress = Callable[[int, int], None]
"""Told now and then how many operators are read, and how many there are."""


def read_network(
    model: str, *, dims: Mapping[str, int] | None = None, progress: Progress | None = None, **options: Any
) -> Network:
    """A network by name or from a file.

    Args:
        model: ``resnet50`` (or another network of the zoo), ``x.onnx``, ``config.json`` or a folder that holds one, ``x.mlir``,
            ``x.stablehlo``, ``x.pt2`` (an exported program), ``module.py:function`` (a PyTorch module).
        dims: extents by name: ``batch``, ``seq``, and what else the source's dynamic axes are called.
        progress: listens to sources whose files can be large (ONNX).
        options: of the source's own ``read``.

    Raises:
        SpecError: if there is no such file or network, or the file makes no sense.
        MissingExtraError: if the source needs a package that is not installed.
    """
    dims = _checked(dims or {})
    function = _FUNCTION.fullmatch(model)
    if function:
        return _source("torch_export", model, dims, options, progress)
    path = Path(model)
    if path.is_dir():
        path = path / "config.json"
        if not path.is_file():
            raise SpecError("the folder holds no config.json", where=Location(model), hint="name the file to read")
    if path.suffix.lower() in SOURCES:
        if not path.is_file():
            raise SpecError("there is no such file", where=Location(str(path)))
        return _source(SOURCES[path.suffix.lower()], str(path), dims, options, progress)
    if path.is_file():
        raise SpecError(
            f"files that end in '{path.suffix}' are not known as networks"
            if path.suffix
            else "a file without an ending",
            where=Location(str(path)),
            hint="known: " + ", ".join(SOURCES) + "; a PyTorch module is module.py:function",
        )
    from fiberloom.workload import zoo

    name = zoo.spelled(model)
    if name is None:
        kinds = ", ".join(SOURCES)
        raise SpecError(
            f"there is no network '{model}': it is neither of the zoo nor a file",
            hint=f"{nearest(model.lower(), zoo.MODELS)}\nfiles end in {kinds}; a PyTorch module is module.py:function",
        )
    return zoo.build(name, dims=dims, **options)


def _source(
    name: str, model: str, dims: Mapping[str, int], options: Mapping[str, Any], progress: Progress | None
) -> Network:
    """What a module here reads; an option that is None counts as not given."""
    module = importlib.import_module(f"fiberloom.workload.importers.{name}")
    given = {key: value for key, value in options.items() if value is not None}
    parameters = inspect.signature(module.read).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        takes = [key for key in list(parameters)[1:] if key not in ("dims", "progress")]
        for key in given:
            if key not in takes:
                raise SpecError(
                    f"a model of this kind has no option '{key}'", where=Location(model), hint=nearest(key, takes)
                )
    if progress is not None and "progress" in parameters:
        given["progress"] = progress
    network: Network = module.read(model, dims=dims, **given)
    return network


def _checked(dims: Mapping[str, int]) -> dict[str, int]:
    for name, extent in dims.items():
        if isinstance(extent, bool) or not isinstance(extent, int) or extent < 1:
            raise SpecError(f"'{name}' is {extent!r}; extents are whole numbers from 1")
    return dict(dims)
