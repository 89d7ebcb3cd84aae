"""A model whose layers compute with represented weights and inputs."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fiberloom.errors import SpecError
from fiberloom.representation.calibration import InputStatistics
from fiberloom.representation.models import layers as found_layers
from fiberloom.representation.models.accumulator import Accumulator
from fiberloom.representation.models.attention import open_attention
from fiberloom.representation.models.calibrate import Batch, checked_batches, gather, use_of_layers
from fiberloom.representation.models.compressed_layer import CompressedLayer
from fiberloom.representation.models.layers import Layer, Untouched, chosen, layers_of
from fiberloom.representation.models.recipe import Recipe
from fiberloom.representation.models.sweep import Need, sweep
from fiberloom.representation.sdq import SDQ
from fiberloom.representation.term import Representation

Wanted = str | Representation | SDQ


@dataclass(frozen=True)
class LayerReport:
    """What became of a layer.

    Attributes:
        name: of the layer in the model.
        kind: ``linear`` or ``convolution``.
        representation: of its weights.
        inputs: of its inputs, for each matrix that the layer keeps; ``as they are`` where nothing is done to them.
        shape: of its weights, as the model has them.
        weight_error: ‖represented − original‖ / ‖original‖ of its weights. No measure of quality.
        output_error: the same of its outputs on calibration data, inputs represented too; None without calibration data.
        dropped_nonzeros: share of its non-zero weights that are zero now.
        density: share of its weights that are not zero now.
        products: multiplications for the first batch of calibration data if nothing were left out; None without data.
    """

    name: str
    kind: str
    representation: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    weight_error: float
    output_error: float | None
    dropped_nonzeros: float
    density: float
    products: int | None

    def to_dict(self) -> dict[str, Any]:
        """All fields by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class Compressed:
    """A compressed model.

    Attributes:
        model: computes as the hardware would; it is called as the original is.
        layers: what became of each layer.
        untouched: parameters that stay as they were, each with the reason.
    """

    model: nn.Module
    layers: tuple[LayerReport, ...]
    untouched: tuple[Untouched, ...]

    @property
    def share_touched(self) -> float:
        """Share of the model's parameters that are represented; biases of represented layers not counted."""
        touched = sum(int(np.prod(layer.shape)) for layer in self.layers)
        return touched / (touched + sum(rest.elements for rest in self.untouched))

    def to_dict(self) -> dict[str, Any]:
        """The account of layers and of what was not touched."""
        return {
            "layers": [layer.to_dict() for layer in self.layers],
            "untouched": [dict(vars(rest)) for rest in self.untouched],
            "share_touched": self.share_touched,
        }


def compress(
    model: nn.Module,
    representation: Wanted | Mapping[str, Wanted],
    method: str = "magnitude",
    calibration: Iterable[Batch] | None = None,
    *,
    criterion: str = "magnitude",
    activations: str | Representation | Mapping[str, str | Representation] | None = None,
    accumulator: str | Accumulator | None = None,
    exclude: Sequence[str] = (),
    sequential: bool = True,
    in_place: bool = False,
) -> Compressed:
    """Give layers a representation; they then compute ``y = Σ_t Q_t(x) · W_t + b``.

    Memory beside the model and the result: about three times the layer at hand and, with calibration, what all batches
    need to go on from there; SparseGPT takes three squares of the layer's inputs more.

    Args:
        model: any module. It stays as it is unless `in_place`. ``torch.nn.MultiheadAttention`` is opened into its four
            projections, ``q_proj``, ``k_proj``, ``v_proj`` and ``out_proj``.
        representation: of the weights: one for all layers, or by name or pattern of names (``{"encoder.*": "2:4"}``; layers
            that none fits stay as they are). Text with ``=>`` is read as an SDQ, with vector scales.
        method: how weights to keep are chosen: ``magnitude``, ``wanda`` or ``sparsegpt``; an SDQ object brings its own.
        calibration: batches of inputs, which are a tensor, a tuple of positional or a mapping of named arguments.
        criterion: of an SDQ written as text: what makes an outlier, ``magnitude`` or ``product``.
        activations: how the inputs of layers are represented while the model runs: None, as they are; ``terms``: for each
            term in the format of its weights, as SDQ does; or a representation, ``int8`` or ``2:8+1:8``. Or by name.
        accumulator: in what products are summed, see `Accumulator.read`; None: in torch's own arithmetic.
        exclude: names or patterns of layers that stay as they are.
        sequential: whether a layer is calibrated with inputs that come through what was compressed before it, as Wanda and
            SparseGPT do (their released code renews inputs after every transformer block, this after every layer); otherwise
            with the original's.
        in_place: change `model` itself, which saves a copy of what is not compressed.

    Raises:
        SpecError: for what can't be read, names that no layer has, calibration data that is missing or does not fit, and
            weights or inputs that are not finite.
        UnsupportedError: for an accumulator that does not go with the formats.
    """
    batches = checked_batches(calibration)
    result = model if in_place else copied(model)
    refused = open_attention(result)
    layers, untouched = layers_of(result, exclude)
    untouched = _with_reasons(untouched, refused)
    layers = [layer for layer in layers if not any(layer.name.startswith(f"{name}.") for name in refused)]
    if not layers:
        raise SpecError("the model has no layer to compress", hint="layers are linear layers and convolutions")
    recipes = _recipes(layers, representation, method, criterion, activations, Accumulator.read(accumulator))
    untouched += [
        Untouched(layer.name, layer.elements, "no representation is given for it")
        for layer in layers
        if layer.name not in recipes
    ]
    layers = [layer for layer in layers if layer.name in recipes]
    needing = [layer for layer in layers if recipes[layer.name].need is not Need.NOTHING]
    if needing and not batches:
        raise SpecError(
            f"'{recipes[needing[0].name]}' needs calibration data, and none is given",
            hint="give calibration=[batch, …], or choose places by magnitude",
        )
    use = use_of_layers(result, layers, batches[0]) if batches else {}
    unreached = [layer.name for layer in needing if layer.name not in use]
    if unreached:
        raise SpecError(
            f"the calibration data does not reach layer '{unreached[0]}'",
            hint=f"exclude it: exclude={unreached[:4]}, or choose places by magnitude",
        )
    reports: dict[str, LayerReport] = {}

    earlier: dict[str, list[InputStatistics]] = {}

    def done(layer: Layer, statistics: list[InputStatistics] | None, sample: Tensor | None) -> nn.Module:
        recipe = recipes[layer.name]
        module, figures = recipe.apply(layer, statistics or earlier.pop(layer.name, None))
        reports[layer.name] = LayerReport(
            name=layer.name,
            kind=layer.geometry.kind,
            representation=recipe.name,
            inputs=tuple(str(r) if r is not None else "as they are" for r in module.inputs),
            shape=tuple(layer.module.weight.shape),
            output_error=None if sample is None else _output_error(layer, module, sample),
            products=use[layer.name].products if layer.name in use else None,
            **figures,
        )
        return module

    if use:
        met = [layer for layer in layers if layer.name in use]
        several = [layer for layer in met if use[layer.name].calls > 1 and recipes[layer.name].need is not Need.NOTHING]
        second = any(recipes[layer.name].need is Need.SECOND_MOMENTS for layer in several)
        earlier.update(gather(result, several, batches, second) if several else {})
        needs = {layer.name: Need.NOTHING if layer in several else recipes[layer.name].need for layer in met}
        through = sequential and any(needs.values())
        sweep(result, met, needs, batches if any(needs.values()) else batches[:1], done, through)
    for layer in layers:
        if layer.name not in reports:
            found_layers.replace(result, layer.name, done(layer, None, None))
    if not in_place:
        make_own(result, model)
    return Compressed(result, tuple(reports[layer.name] for layer in layers), tuple(untouched))


def _output_error(layer: Layer, module: CompressedLayer, inputs: Tensor | None) -> float | None:
    if inputs is None:
        return None
    with torch.no_grad():
        wanted = layer.geometry.multiply(inputs, layer.geometry.matrix(layer.module.weight))
        if module.bias is not None:
            wanted = layer.geometry.add_bias(wanted, module.bias)
        found = module(inputs)
        size = float(wanted.norm())
        return float((found - wanted).norm()) / size if size else 0.0


def _recipes(
    layers: list[Layer],
    representation: Wanted | Mapping[str, Wanted],
    method: str,
    criterion: str,
    activations: str | Representation | Mapping[str, str | Representation] | None,
    accumulator: Accumulator | None,
) -> dict[str, Recipe]:
    wanted: dict[str, Wanted] = chosen(layers, representation, "a representation")
    inputs: dict[str, str | Representation] = (
        chosen(layers, activations, "activations") if activations is not None else {}
    )
    cache: dict[Any, Recipe] = {}
    found = {}
    for name, what in wanted.items():
        key = (what, inputs.get(name))
        if key not in cache:
            cache[key] = replace(Recipe.read(what, method, criterion, inputs.get(name)), accumulator=accumulator)
        found[name] = cache[key]
    return found


def _with_reasons(untouched: list[Untouched], refused: Mapping[str, str]) -> list[Untouched]:
    return [
        replace(rest, reason=f"not supported: {refused[rest.name]}") if rest.name in refused else rest
        for rest in untouched
    ]


def copied(model: nn.Module) -> nn.Module:
    """A copy of `model` that shares the weights of layers, to be replaced and never written to; `make_own` for the rest."""
    layers, _ = layers_of(model)
    shared: dict[int, Any] = {id(layer.module.weight): layer.module.weight for layer in layers}
    return copy.deepcopy(model, shared)


def make_own(result: nn.Module, model: nn.Module) -> None:
    """Copy the parameters that `result` still shares with `model`."""
    originals = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    own: dict[int, nn.Parameter] = {}
    for module in result.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.untyped_storage().data_ptr() in originals:
                fresh = own.setdefault(
                    id(parameter), nn.Parameter(parameter.detach().clone(), requires_grad=parameter.requires_grad)
                )
                module._parameters[name] = fresh
