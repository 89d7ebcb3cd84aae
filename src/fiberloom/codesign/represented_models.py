"""The model that quality functions get: its weights replaced by what is left of them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.codesign.compression import AS_WEIGHTS, EXACT, CompressedLayer, Scheme, representation_of
from fiberloom.codesign.network_weights import NetworkWeights
from fiberloom.errors import SpecError
from fiberloom.representation import Representation, Term, read_representation
from fiberloom.representation.patterns import Dense


def represented_tensors(weights: NetworkWeights, layers: Sequence[CompressedLayer]) -> dict[str, NDArray[Any]]:
    """The represented tensors by name, in the shapes in which they are stored.

    Args:
        layers: of `weights`, with their terms.
    """
    views = {layer.name: layer.view for layer in weights.layers}
    return {layer.name: np.ascontiguousarray(views[layer.name].tensor(total(layer))) for layer in layers}


def total(layer: CompressedLayer) -> NDArray[Any]:
    """The sum of a layer's terms, ``(out, in)``."""
    assert layer.terms is not None
    found = layer.terms[0].copy()
    for term in layer.terms[1:]:
        found += term
    return found


def original_tensors(weights: NetworkWeights) -> dict[str, NDArray[Any]]:
    """The tensors as they are, by name."""
    return {layer.name: np.ascontiguousarray(layer.view.tensor(layer.matrix())) for layer in weights.layers}


def represented_module(
    weights: NetworkWeights, layers: Sequence[CompressedLayer], scheme: Scheme, activations: str | Representation
) -> Any:
    """A copy of the PyTorch module whose layers compute with the terms; the module itself stays as it is.

    Raises:
        SpecError: if a tensor of the network is the weight of no layer of the module that is known here.
    """
    from fiberloom.representation.models._arrays import as_tensor
    from fiberloom.representation.models.compressed_layer import CompressedLayer as Layer
    from fiberloom.representation.models.compressed_layer import Operands
    from fiberloom.representation.models.layers import layers_of, replace

    made = copy.deepcopy(weights.module)
    found = {f"{layer.name}.weight": layer for layer in layers_of(made)[0]}
    inputs = input_representations(scheme, activations)
    for layer in layers:
        own = found.get(layer.name)
        if own is None:
            raise SpecError(
                f"'{layer.name}' is the weight of no linear layer or convolution of the module",
                hint="leave it out with --exclude",
            )
        assert layer.terms is not None
        own_matrix = own.geometry.matrix(own.module.weight)
        addends = [
            Operands(as_tensor(term.reshape(tuple(own_matrix.shape)), own.module.weight), seen)
            for term, seen in zip(layer.terms, inputs, strict=True)
        ]
        replace(made, own.name, Layer(own.geometry, addends, own.module.bias))
    return made.eval()


def input_representations(scheme: Scheme, activations: str | Representation) -> tuple[Representation | None, ...]:
    """How the activations that meet each term are represented; None: as they are."""
    terms = representation_of(scheme).terms
    if activations == EXACT:
        return (None,) * len(terms)
    if activations != AS_WEIGHTS:
        return (read_representation(activations),) * len(terms)
    return tuple(None if t.format is None else Representation((Term(Dense(), t.format),)) for t in terms)
