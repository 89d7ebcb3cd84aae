"""Running calibration data through a model, and what it shows of the inputs of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fiberloom.errors import SpecError
from fiberloom.representation.calibration import InputStatistics
from fiberloom.representation.models._arrays import as_array
from fiberloom.representation.models.layers import Layer

Batch = Any
"""Inputs of one call of the model: a tensor, a tuple of positional or a mapping of named arguments."""


def checked_batches(batches: Iterable[Batch] | Tensor | None) -> list[Batch]:
    """Calibration data as a list of batches, to be run more than once.

    Raises:
        SpecError: for a single tensor, which could be a batch or hold several, and for nothing.
    """
    if batches is None:
        return []
    if isinstance(batches, Tensor | Mapping):
        raise SpecError(
            "calibration data is a list of batches, and this is a single one", hint="write [batch], or split it"
        )
    found = list(batches)
    if not found:
        raise SpecError("calibration data holds no batch")
    return found


def call(model: nn.Module, batch: Batch) -> Any:
    """The model's output for one batch.

    Raises:
        SpecError: when the model does not run on it.
    """
    try:
        if isinstance(batch, Mapping):
            return model(**batch)
        return model(*batch) if isinstance(batch, tuple | list) else model(batch)
    except (RuntimeError, TypeError, ValueError, IndexError, KeyError) as error:
        raise SpecError(
            f"the model does not run on the calibration data: {str(error).splitlines()[0][:300]}",
            hint="a batch is a tensor, a tuple of positional or a mapping of named arguments",
        ) from error


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """`model` in evaluation mode and without gradients; as it was afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield model
    finally:
        for module, mode in modes.items():
            module.training = mode


def observe(
    model: nn.Module, layers: Sequence[Layer], batches: Sequence[Batch], see: Callable[[Layer, Tensor], None]
) -> None:
    """Run `batches` and show `see` what enters each of `layers`."""
    with evaluating(model), ExitStack() as hooks:
        for layer in layers:

            def hook(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], layer: Layer = layer) -> None:
                see(layer, arguments[0] if arguments else next(iter(named.values())))

            hooks.callback(layer.module.register_forward_pre_hook(hook, with_kwargs=True).remove)
        for batch in batches:
            call(model, batch)


def gather(
    model: nn.Module, layers: Sequence[Layer], batches: Sequence[Batch], second_moments: bool
) -> dict[str, list[InputStatistics]]:
    """Statistics of the inputs of each layer over all its calls, one for each of its groups.

    Raises:
        SpecError: for inputs that are not finite.
    """
    found: dict[str, list[InputStatistics]] = {}

    def see(layer: Layer, inputs: Tensor) -> None:
        if layer.name not in found:
            found[layer.name] = statistics_for(layer, second_moments)
        add(layer, inputs, found[layer.name])

    observe(model, layers, batches, see)
    return found


def statistics_for(layer: Layer, second_moments: bool) -> list[InputStatistics]:
    """Empty statistics for each of a layer's groups."""
    width = layer.geometry.matrix(layer.module.weight).shape[-1]
    return [InputStatistics(width, second_moments) for _ in range(layer.geometry.groups)]


def add(layer: Layer, inputs: Tensor, statistics: Sequence[InputStatistics]) -> None:
    """Take a layer's inputs into its statistics.

    Raises:
        SpecError: for inputs that are not finite.
    """
    for mine, group in zip(statistics, layer.geometry.rows(inputs), strict=True):
        try:
            mine.add(as_array(group))
        except SpecError as error:
            raise SpecError(f"layer '{layer.name}': {error.problem}", hint=error.hint) from None


@dataclass(frozen=True)
class Use:
    """What a batch does with a layer.

    Attributes:
        calls: how often it comes by.
        products: multiplications, none left out.
    """

    calls: int
    products: int


def use_of_layers(model: nn.Module, layers: Sequence[Layer], batch: Batch) -> dict[str, Use]:
    """The use that a batch makes of layers, in the order of first use; layers that it does not meet are left out."""
    found: dict[str, Use] = {}

    def see(layer: Layer, inputs: Tensor) -> None:
        rows = layer.geometry.rows(inputs).shape[1]
        before = found.get(layer.name, Use(0, 0))
        products = before.products + rows * layer.geometry.matrix(layer.module.weight).numel()
        found[layer.name] = Use(before.calls + 1, products)

    observe(model, layers, [batch], see)
    return found
