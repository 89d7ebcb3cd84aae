"""The layers of a model that a representation can be given to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from fiberloom.errors import SpecError, UnsupportedError, nearest
from fiberloom.representation.models.geometry import Geometry, geometry_of


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
    """The layers of `model` in the order in which they are registered, and the parameters outside them.

    Args:
        exclude: names or patterns (``encoder.*``) of layers to leave out.

    Raises:
        SpecError: for an entry of `exclude` that no layer has.
    """
    found: list[Layer] = []
    untouched: list[Untouched] = []
    unused = dict.fromkeys(exclude)
    named = list(model.named_modules())
    owners: dict[int, str] = {}
    for name, module in named:
        own = list(module.parameters(recurse=False))
        if not own:
            continue
        elements = sum(p.numel() for p in own)
        try:
            geometry = geometry_of(module)
        except UnsupportedError as error:
            untouched.append(Untouched(name, elements, f"not supported: {error.problem}"))
            continue
        if geometry is None:
            untouched.append(Untouched(name, elements, f"a {type(module).__name__}"))
            continue
        weight = module.weight
        matching = [pattern for pattern in exclude if fnmatchcase(name, pattern)]
        if matching:
            for pattern in matching:
                unused.pop(pattern, None)
            untouched.append(Untouched(name, elements, f"excluded by '{matching[0]}'"))
        elif id(weight) in owners:
            untouched.append(Untouched(name, elements, f"shares its weight with '{owners[id(weight)]}'"))
        else:
            owners[id(weight)] = name
            found.append(Layer(name, module, geometry))
    if unused:
        names = [layer.name for layer in found]
        wrong = next(iter(unused))
        raise SpecError(f"no layer is named '{wrong}'", hint=nearest(wrong, names))
    return found, untouched


def replace(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put `module` where `name` stands in `model`."""
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)


def named(layers: Sequence[Layer]) -> Iterator[str]:
    """Names, in order."""
    return (layer.name for layer in layers)
