"""What a representation costs on a design, and what it does to a model.

>>> from fiberloom.codesign import evaluate
>>> evaluate((1024, 1024, 1024), "highlight", "C1(4:8)->C0(2:4)", 0.5).cycles
262144.0

`layer/` is one layer on one design; `weights/` the weights of a network and their compression; `assessment` brings both together, and
`tradeoff` ranks designs and representations by quality and energy-delay product.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiberloom.codesign.assessment import assess
    from fiberloom.codesign.layer.evaluation import LayerCost, evaluate, evaluate_all
    from fiberloom.codesign.layer.planning import Task
    from fiberloom.codesign.networks import evaluate_networks
    from fiberloom.codesign.tradeoff import Tradeoff
    from fiberloom.codesign.weights.weight_files import module_weights, read_network_weights

_HOMES = {
    "LayerCost": "layer.evaluation",
    "Task": "layer.planning",
    "Tradeoff": "tradeoff",
    "assess": "assessment",
    "evaluate": "layer.evaluation",
    "evaluate_all": "layer.evaluation",
    "evaluate_networks": "networks",
    "module_weights": "weights.weight_files",
    "read_network_weights": "weights.weight_files",
}

__all__ = [
    "LayerCost",
    "Task",
    "Tradeoff",
    "assess",
    "evaluate",
    "evaluate_all",
    "evaluate_networks",
    "module_weights",
    "read_network_weights",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
