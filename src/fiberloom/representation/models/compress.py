"""A model whose layers compute with represented weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
from torch import nn

from fiberloom.representation.measurement import Measurement, measure
from fiberloom.representation.models._arrays import as_array, as_tensor
from fiberloom.representation.models.compressed_layer import CompressedLayer, Operands
from fiberloom.representation.models.layers import Layer, Untouched, layers_of, replace
from fiberloom.representation.notation import read_representation
from fiberloom.representation.term import Representation


@dataclass(frozen=True)
class LayerReport:
    name: str
    representation: str
    shape: tuple[int, ...]
    measurement: Measurement


@dataclass(frozen=True)
class Compressed:
    model: nn.Module
    layers: tuple[LayerReport, ...]
    untouched: tuple[Untouched, ...]


def compress(model: nn.Module, representation: str | Representation) -> Compressed:
    """`model` with every layer's weights in `representation`; the original stays as it is."""
    wanted = read_representation(representation)
    result = copy.deepcopy(model)
    layers, untouched = layers_of(result)
    reports = []
    for layer in layers:
        module, report = _compressed(layer, wanted)
        replace(result, layer.name, module)
        reports.append(report)
    return Compressed(result, tuple(reports), tuple(untouched))


def _compressed(layer: Layer, wanted: Representation) -> tuple[CompressedLayer, LayerReport]:
    weight = layer.module.weight
    matrix = as_array(layer.geometry.matrix(weight))
    terms = wanted.decompose(np.ascontiguousarray(matrix))
    report = LayerReport(layer.name, str(wanted), tuple(weight.shape), measure(matrix, wanted))
    addends = [Operands(as_tensor(term, weight)) for term in terms]
    return CompressedLayer(layer.geometry, addends, layer.module.bias), report
