"""The layers of a model that a representation can be given to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from torch import nn

from fiberloom.errors import SpecError, UnsupportedError, nearest
from fiberloom.representation.models.compressed_layer import CompressedLayer
from fiberloom.representation.models.geometry import Geometry, geometry_of

Wanted = TypeVar("Wanted")


@dataclass(frozen=True)
class Layer:
    """A layer with weights that can be represented.

    Attributes:
        name: where it stands in the model, ``encoder.0.linear1``.
        module: itself.
        geometry: how it multiplies.
    """

    name: str
    module: Any
    geometry: Geometry

    @property
    def elements(self) -> int:
        """How many weights it has."""
        return int(self.module.weight.numel())


@dataclass(frozen=True)
class Untouched:
    """Parameters that stay as they were.

    Attributes:
        name: of the layer or parameter.
        elements: how many numbers.
        reason: why.
    """

    name: str
    elements: int
    reason: str


def layers_of(model: nn.Module, exclude: Sequence[str] = ()) -> tuple[list[Layer], list[Untouched]]:
    """The layers of `model` in the order in which they are registered, and all parameters outside them.

    Args:
        exclude: names or patterns (``encoder.*``) of layers to leave out.

    Raises:
        SpecError: for an entry of `exclude` that no layer has, and for what is no model, a single layer, or compressed already.
    """
    if not isinstance(model, nn.Module):
        raise SpecError(
            f"no model, but a {type(model).__name__}", hint="give a torch.nn.Module; files go to compress_file"
        )
    if not any(True for _ in model.children()) or isinstance(model, nn.MultiheadAttention):
        raise SpecError(f"the model is a single {type(model).__name__}", hint="write torch.nn.Sequential(model)")
    found: list[Layer] = []
    untouched: list[Untouched] = []
    unused = dict.fromkeys([exclude] if isinstance(exclude, str) else exclude)
    patterns = tuple(unused)
    owners: dict[int, str] = {}
    for name, module in model.named_modules():
        if isinstance(module, CompressedLayer):
            raise SpecError(f"layer '{name}' is compressed already", hint="compress plain(model), or the original")
        own = list(module.named_parameters(recurse=False))
        elements = sum(p.numel() for _, p in own)
        if not own:
            continue
        matching = [pattern for pattern in patterns if fnmatchcase(name, pattern)]
        for pattern in matching:
            unused.pop(pattern, None)
        try:
            geometry = geometry_of(module)
        except UnsupportedError as error:
            untouched.append(Untouched(name, elements, f"not supported: {error.problem}"))
            continue
        if matching:
            untouched.append(Untouched(name, elements, f"excluded by '{matching[0]}'"))
        elif geometry is None:
            untouched.append(Untouched(name, elements, f"no linear layer or convolution: a {type(module).__name__}"))
        elif not module.weight.is_floating_point():
            untouched.append(Untouched(name, elements, f"its weights are {module.weight.dtype}"))
        elif id(module.weight) in owners:
            untouched.append(Untouched(name, elements, f"its weight is that of '{owners[id(module.weight)]}'"))
        else:
            found.append(Layer(name, module, geometry))
        for at, parameter in own:
            owners.setdefault(id(parameter), f"{name}.{at}".lstrip("."))
    if unused:
        wrong = next(iter(unused))
        raise SpecError(f"no layer is named '{wrong}'", hint=nearest(wrong, [layer.name for layer in found]))
    return found, untouched


def chosen(layers: Iterable[Layer], wanted: Wanted | Mapping[str, Wanted], what: str) -> dict[str, Wanted]:
    """What each layer is to get: `wanted` itself, or the entry of a mapping for its name, else for the first pattern that fits.

    Raises:
        SpecError: for a name or pattern that no layer has.
    """
    names = [layer.name for layer in layers]
    if not isinstance(wanted, Mapping):
        return dict.fromkeys(names, wanted)
    found: dict[str, Wanted] = {}
    unused = dict.fromkeys(wanted)
    for name in names:
        matching = [key for key in wanted if key == name] or [key for key in wanted if fnmatchcase(name, key)]
        if matching:
            found[name] = wanted[matching[0]]
        for key in wanted:
            if fnmatchcase(name, key) or key == name:
                unused.pop(key, None)
    if unused:
        wrong = next(iter(unused))
        raise SpecError(f"{what} for '{wrong}', and no layer is named so", hint=nearest(wrong, names))
    return found


def replace(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put `module` where `name` stands in `model`."""
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)
