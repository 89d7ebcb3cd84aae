"""Training on with the places of zeros fixed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.representation.models.compressed_layer import CompressedLayer

Example = TypeVar("Example")


def finetune(
    model: nn.Module,
    batches: Callable[[], Iterable[Example]] | Iterable[Example],
    loss: Callable[[nn.Module, Example], Tensor],
    epochs: int = 1,
    optimiser: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] | None = None,
    *,
    in_place: bool = False,
) -> nn.Module:
    """`model` trained on; weights of compressed layers that are zero stay exactly zero, all other parameters learn.

    For a fair comparison give the dense model as many epochs of the same: `finetune` takes any module, and only compressed
    layers have fixed places.

    Args:
        model: stays as it is unless `in_place`.
        batches: of one epoch; a function that gives them anew for every epoch (to shuffle), or a list.
        loss: of a model on a batch.
        epochs: passes over the batches.
        optimiser: makes one for parameters; None: Adam with a learning rate of 1e-4 (a tenth of its default, as for weights
            that are trained already).

    Raises:
        SpecError: when a loss is not finite.
        UnsupportedError: for weights kept in a number format, which training would leave: prune, fine-tune, then quantise.
    """
    trained = model if in_place else copy.deepcopy(model)
    layers = [module for module in trained.modules() if isinstance(module, CompressedLayer)]
    if any(layer.quantised for layer in layers):
        raise UnsupportedError(
            "weights in a number format can't be fine-tuned",
            hint="compress to patterns alone, fine-tune, then compress plain(model) with the formats",
        )
    zeros = [(matrix, matrix.detach() == 0) for layer in layers for matrix in layer.matrices]
    chosen = optimiser or (lambda parameters: torch.optim.Adam(parameters, lr=1e-4))
    steps = chosen([p for p in trained.parameters() if p.requires_grad])
    modes = {module: module.training for module in trained.modules()}
    trained.train()
    for epoch in range(epochs):
        for batch in _epoch(batches):
            steps.zero_grad()
            value = loss(trained, batch)
            if not torch.isfinite(value):
                raise SpecError(
                    f"the loss is {float(value.detach())} in epoch {epoch + 1}", hint="lower the learning rate"
                )
            value.backward()
            steps.step()
            with torch.no_grad():
                for matrix, zero in zeros:
                    matrix.masked_fill_(zero, 0)
    for module, mode in modes.items():
        module.training = mode
    return trained


def plain(model: nn.Module) -> nn.Module:
    """A copy of `model` with ordinary layers in the place of compressed ones, which hold the represented weights.

    It computes what the weights alone amount to: representations of activations and accumulators are gone.
    """
    result = copy.deepcopy(model)
    for name, module in list(result.named_modules()):
        if isinstance(module, CompressedLayer):
            if not name:
                return module.plain()
            parent, _, last = name.rpartition(".")
            setattr(result.get_submodule(parent), last, module.plain())
    return result


def _epoch(batches: Any) -> Iterable[Any]:
    return batches() if callable(batches) else batches
