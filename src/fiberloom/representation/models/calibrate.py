"""Running calibration data through a model, and what it shows of the inputs of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
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
def evaluating(model: nn.Module) -> Any:
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
    model: nn.Module,
    layers: Sequence[Layer],
    batches: Sequence[Batch],
    see: Callable[[Layer, Tensor], None],
    calls: Mapping[str, int] | None = None,
) -> None:
    """Run `batches` and show `see` what enters each of `layers`.

    Args:
        calls: how often a batch reaches each layer, to stop a run once they all were; None: runs are complete.
    """
    with evaluating(model), ExitStack() as hooks:
        left: dict[str, int] = {}

        def hook_of(layer: Layer) -> Callable[..., None]:
            def hook(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
                see(layer, arguments[0] if arguments else next(iter(named.values())))
                if calls is not None:
                    left[layer.name] -= 1
                    if not any(left.values()):
                        raise _Enough

            return hook

        for layer in layers:
            handle = layer.module.register_forward_pre_hook(hook_of(layer), with_kwargs=True)
            hooks.callback(handle.remove)
        for batch in batches:
            if calls is not None:
                left.update({layer.name: calls[layer.name] for layer in layers})
                if not any(left.values()):
                    return
            try:
                call(model, batch)
            except _Enough:
                continue


def gather(
    model: nn.Module,
    layers: Sequence[Layer],
    batches: Sequence[Batch],
    second_moments: bool,
    calls: Mapping[str, int] | None = None,
) -> dict[str, list[InputStatistics]]:
    """Statistics of the inputs of each layer, one for each of its groups.

    Raises:
        SpecError: for inputs that are not finite.
    """
    found: dict[str, list[InputStatistics]] = {}

    def see(layer: Layer, inputs: Tensor) -> None:
        rows = layer.geometry.rows(inputs)
        mine = found.setdefault(
            layer.name, [InputStatistics(rows.shape[-1], second_moments) for _ in range(layer.geometry.groups)]
        )
        for statistics, group in zip(mine, rows, strict=True):
            try:
                statistics.add(as_array(group))
            except SpecError as error:
                raise SpecError(f"layer '{layer.name}': {error.problem}", hint=error.hint) from None

    observe(model, layers, batches, see, calls)
    return found


def use_of_layers(model: nn.Module, layers: Sequence[Layer], batch: Batch) -> dict[str, tuple[int, int]]:
    """How often a batch reaches each layer, and the multiplications of the layer for it (dense); layers in the order of first use."""
    found: dict[str, tuple[int, int]] = {}

    def see(layer: Layer, inputs: Tensor) -> None:
        rows = layer.geometry.rows(inputs)
        matrix = layer.geometry.matrix(layer.module.weight)
        calls, products = found.get(layer.name, (0, 0))
        found[layer.name] = (calls + 1, products + rows.shape[1] * matrix.numel())

    observe(model, layers, [batch], see)
    return found


class _Enough(Exception):
    """All that was to be observed of a batch was."""
