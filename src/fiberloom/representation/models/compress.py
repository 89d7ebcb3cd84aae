"""A model whose layers compute with represented weights and inputs."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from fiberloom.errors import SpecError, nearest
from fiberloom.representation.calibration import InputStatistics
from fiberloom.representation.models import layers as found_layers
from fiberloom.representation.models.accumulator import Accumulator
from fiberloom.representation.models.attention import open_attention
from fiberloom.representation.models.calibrate import Batch, checked_batches, gather, use_of_layers
from fiberloom.representation.models.compressed_layer import CompressedLayer
from fiberloom.representation.models.layers import Layer, Untouched, chosen, layers_of
from fiberloom.representation.models.recipe import Recipe
from fiberloom.representation.sdq import SDQ
from fiberloom.representation.term import Representation

Wanted = str | Representation | SDQ
Sequential = Literal["block", "layer", "none"]


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
    sequential: Sequential = "block",
    in_place: bool = False,
) -> Compressed:
    """Give layers a representation; they then compute ``y = Σ_t Q_t(x) · W_t + b``.

    Memory beside the model and its copy: about three times the largest layer, for each accumulating SparseGPT layer a
    square of its inputs more, and the activations of one batch.

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
        sequential: with calibration: after which steps inputs are computed anew, through what is compressed by then. Wanda's
            and SparseGPT's released code does so after every ``block`` (layers whose names agree up to their first number);
            ``layer`` after each layer; ``none`` shows every layer the original's inputs.
        in_place: change `model` itself, which saves a copy of what is not compressed.

    Raises:
        SpecError: for what can't be read, names that no layer has, calibration data that is missing or does not fit, and
            weights or inputs that are not finite.
        UnsupportedError: for an accumulator that does not go with the formats.
    """
    batches = checked_batches(calibration)
    if sequential not in ("block", "layer", "none"):
        raise SpecError(f"no order is called '{sequential}'", hint=nearest(sequential, ["block", "layer", "none"]))
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
    needing = [layer for layer in layers if recipes[layer.name].needs_calibration]
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
    for stage in _stages(layers, use, sequential if needing else "none"):
        reports |= _compress_stage(result, stage, recipes, batches, use)
    return Compressed(result, tuple(reports[layer.name] for layer in layers), tuple(untouched))


def _compress_stage(
    model: nn.Module,
    stage: list[Layer],
    recipes: Mapping[str, Recipe],
    batches: list[Batch],
    use: Mapping[str, tuple[int, int]],
) -> dict[str, LayerReport]:
    """Compress the layers of a stage, all of which see what the model computes before it."""
    seen = [layer for layer in stage if layer.name in use]
    calls = {name: calls for name, (calls, _) in use.items()}
    second = any(recipes[layer.name].needs_second_moments for layer in stage)
    statistics: dict[str, list[InputStatistics]] = {}
    if any(recipes[layer.name].needs_calibration for layer in stage):
        statistics = gather(model, seen, batches, second, calls)
    samples = _samples(model, seen, batches, calls)
    reports = {}
    for layer in stage:
        original = layer.module
        module, figures = recipes[layer.name].apply(layer, statistics.pop(layer.name, None))
        module.train(original.training)
        found_layers.replace(model, layer.name, module)
        reports[layer.name] = LayerReport(
            name=layer.name,
            kind=layer.geometry.kind,
            representation=recipes[layer.name].name,
            inputs=tuple(str(r) if r is not None else "as they are" for r in module.inputs),
            shape=tuple(original.weight.shape),
            output_error=_output_error(layer, module, samples.pop(layer.name, None)),
            products=use[layer.name][1] if layer.name in use else None,
            **figures,
        )
    return reports


def _samples(
    model: nn.Module, layers: Sequence[Layer], batches: list[Batch], calls: Mapping[str, int]
) -> dict[str, Tensor]:
    """The inputs of each layer in its first call for the first batch."""
    from fiberloom.representation.models.calibrate import observe

    found: dict[str, Tensor] = {}
    if batches:
        observe(model, layers, batches[:1], lambda layer, inputs: found.setdefault(layer.name, inputs.detach()), calls)
    return found


def _output_error(layer: Layer, module: CompressedLayer, inputs: Tensor | None) -> float | None:
    import torch

    if inputs is None:
        return None
    with torch.no_grad():
        wanted = layer.geometry.multiply(inputs, layer.geometry.matrix(layer.module.weight))
        if module.bias is not None:
            wanted = layer.geometry.add_bias(wanted, module.bias)
        found = module(inputs)
        size = float(wanted.norm())
        return float((found - wanted).norm()) / size if size else 0.0


def _stages(layers: list[Layer], use: Mapping[str, tuple[int, int]], sequential: Sequential) -> list[list[Layer]]:
    """Layers that are compressed at once, in the order in which the model uses them; those that it does not use come last."""
    order = {name: index for index, name in enumerate(use)}
    ordered = sorted(layers, key=lambda layer: order.get(layer.name, len(order)))
    if sequential == "none":
        return [ordered]
    stages: dict[str, list[Layer]] = {}
    for layer in ordered:
        stages.setdefault(layer.name if sequential == "layer" else _block(layer.name), []).append(layer)
    return list(stages.values())


def _block(name: str) -> str:
    """The part of a name up to its first number: ``encoder.layer.3`` of ``encoder.layer.3.output.dense``."""
    words = name.split(".")
    first = next((i for i, word in enumerate(words) if word.isdigit()), len(words) - 1)
    return ".".join(words[: first + 1])


def _recipes(
    layers: list[Layer],
    representation: Wanted | Mapping[str, Wanted],
    method: str,
    criterion: str,
    activations: str | Representation | Mapping[str, str | Representation] | None,
    accumulator: Accumulator | None,
) -> dict[str, Recipe]:
    wanted = chosen(layers, representation, "a representation")
    inputs = chosen(layers, activations, "activations") if activations is not None else {}
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
    """A copy of `model` that shares the weights of layers, which are replaced and never written to."""
    layers, _ = layers_of(model)
    shared: dict[int, Any] = {id(layer.module.weight): layer.module.weight for layer in layers}
    return copy.deepcopy(model, shared)
