"""The networks that AIRCHITECT's predictors are judged by: nothing of them is trained on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fiberloom.explore.learned.designs import DATAFLOWS, MatrixProduct
from fiberloom.explore.learned.labelling import Labels, label
from fiberloom.explore.learned.workloads import products_of
from fiberloom.workload.zoo import build

NETWORK_CAPS_MM2 = (0.75, 1.5, 3.0, 6.0)


@dataclass(frozen=True)
class HeldOut:
    """A network of the zoo at given sizes.

    Attributes:
        family: ``language`` or ``vision``.
    """

    name: str
    model: str
    family: str
    dims: dict[str, int] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def products(self, dataflow: str) -> list[MatrixProduct]:
        """Its layers, equal ones once."""
        return products_of(build(self.model, dims=self.dims, **self.options), dataflow)


HELD_OUT = (
    HeldOut("Llama-2 7B, prefill of 2048", "llama2_7b", "language", {"prompt": 2048}),
    HeldOut("Llama-2 7B, decode at 2048", "llama2_7b", "language", {"context": 2048}, {"phase": "decode"}),
    HeldOut("Llama-2 70B, prefill of 2048", "llama2_70b", "language", {"prompt": 2048}),
    HeldOut("Llama-2 70B, decode of 16", "llama2_70b", "language", {"context": 2048, "batch": 16}, {"phase": "decode"}),
    HeldOut("GPT-3 6.7B, prefill of 2048", "gpt3_6_7b", "language", {"prompt": 2048}),
    HeldOut("GPT-2, prefill of 128", "gpt2", "language", {"prompt": 128}),
    HeldOut("BERT-large, 128", "bert_large", "language", {"seq": 128}),
    HeldOut("ResNet-50", "resnet50", "vision"),
    HeldOut("MobileNetV2", "mobilenet_v2", "vision"),
    HeldOut("ViT-B/16", "vit_b_16", "vision"),
)


def held_out_bounds() -> frozenset[tuple[int, int, int]]:
    """Bounds of all their layers, to be left out of training."""
    return frozenset(product.bounds for network in HELD_OUT for product in network.products(DATAFLOWS[0]))


def layer_labels(family: str, objective: str) -> Labels:
    """Labels of the different layers of a family, under every dataflow and cap."""
    products: dict[tuple[Any, ...], MatrixProduct] = {}
    for network in HELD_OUT:
        if network.family == family:
            for dataflow in DATAFLOWS:
                products |= {(p.bounds, dataflow): p for p in network.products(dataflow)}
    made = list(products.values())
    caps = np.tile(NETWORK_CAPS_MM2, (len(made), 1))
    return label(made, caps, objective=objective, keep_costs=True)
