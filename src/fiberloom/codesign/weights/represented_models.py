"""The model that quality functions get: its weights replaced by what is left of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.codesign.weights.compression import CompressedLayer, Scheme, representation_of
from fiberloom.codesign.weights.network_weights import LayerWeights, NetworkWeights
from fiberloom.errors import SpecError
from fiberloom.representation import Measurement, Representation


def represented_tensors(weights: NetworkWeights, layers: Sequence[CompressedLayer]) -> dict[str, NDArray[Any]]:
    """The represented tensors by name, in the shapes in which they are stored.

    Args:
        layers: of `weights`, with their terms.
    """
    views = {layer.name: layer.view for layer in weights.layers}
    return {layer.name: np.ascontiguousarray(views[layer.name].tensor(total(layer))) for layer in layers}


def terms_by_name(weights: NetworkWeights, layers: Sequence[CompressedLayer]) -> dict[str, NDArray[Any]]:
    """Every term for itself, ``NAME.term1`` …, in the shapes in which the tensors are stored.

    Args:
        layers: of `weights`, with their terms.
    """
    views = {layer.name: layer.view for layer in weights.layers}
    return {
        f"{layer.name}.term{number}": np.ascontiguousarray(views[layer.name].tensor(term))
        for layer in layers
        for number, term in enumerate(layer.terms or (), start=1)
    }


def total(layer: CompressedLayer) -> NDArray[Any]:
    """The sum of a layer's terms, ``(out, in)``."""
    assert layer.terms is not None
    found = layer.terms[0].copy()
    for term in layer.terms[1:]:
        found += term
    return found


def original_tensors(weights: NetworkWeights) -> dict[str, NDArray[Any]]:
    """The tensors as they are, by name."""
    return {layer.name: np.array(layer.view.tensor(layer.matrix())) for layer in weights.layers}


def represented_module(
    weights: NetworkWeights, scheme: Scheme, activations: str | Representation | None, batches: Iterable[Any] | None
) -> tuple[Any, tuple[CompressedLayer, ...]]:
    """A copy of the PyTorch module whose chosen layers compute with the terms, and what became of each.

    Args:
        activations: None, ``terms`` or a representation (`fiberloom.representation.models.compress`).
        batches: of calibration inputs.

    Raises:
        SpecError: if a tensor of the network is the weight of no layer of the module that is known there, and as `compress`.
    """
    from fiberloom.representation.models import compress
    from fiberloom.representation.models.layers import layers_of

    wanted = {_layer_name(layer): layer for layer in weights.layers}
    known = [layer.name for layer in layers_of(weights.module)[0]]
    missing = [layer.name for name, layer in wanted.items() if name not in known]
    if missing:
        raise SpecError(
            f"'{missing[0]}' is the weight of no linear layer or convolution of the module",
            hint=f"leave it out: --exclude {missing[0]}",
        )
    excluded = [name for name in known if name not in wanted]
    made = compress(weights.module, scheme, calibration=batches, activations=activations, exclude=excluded)
    layers = tuple(_layer(wanted[report.name], report, scheme) for report in made.layers)
    return made.model.eval(), layers


def represented_state(module: Any, weights: NetworkWeights) -> dict[str, NDArray[Any]]:
    """Parameters and buffers of the original module, those of represented layers as `represented_module` has them.

    Args:
        module: of `represented_module`.
    """
    from fiberloom.workload.profile.weights import as_numpy

    found = {name: as_numpy(value) for name, value in weights.module.state_dict().items()}
    for layer in weights.layers:
        found[layer.name] = np.ascontiguousarray(as_numpy(module.get_submodule(_layer_name(layer)).weight))
    return found


def _layer_name(layer: LayerWeights) -> str:
    return layer.name.removesuffix(".weight")


def _layer(layer: LayerWeights, report: Any, scheme: Scheme) -> CompressedLayer:
    """What the module's account of a layer says, in the words of `compress_layers`."""
    representation = representation_of(scheme)
    matrix = layer.matrix()
    shares = representation.shares(matrix.shape)
    stored = tuple(float(report.density if share is None else share) for share in shares)
    return CompressedLayer(
        name=layer.name,
        shape=layer.view.shape,
        norm=float(np.linalg.norm(matrix)),
        scheme=str(scheme),
        measurement=Measurement(
            relative_error=report.weight_error,
            dropped_nonzeros=report.dropped_nonzeros,
            density=report.density,
            original_density=int(np.count_nonzero(matrix)) / matrix.size,
            elements=matrix.size,
            stored=stored,
        ),
        storage=representation.storage(matrix.shape, stored=stored if None in shares else None),
        ideal_throughput=representation.ideal_throughput(stored if None in shares else None),
        output_error=report.weight_error if report.output_error is None else report.output_error,
    )
