"""How a tensor is kept: a sum of terms, each a pattern of places, a number format and its scales.

The same object projects real arrays, counts stored bits, and tells the hardware model what it has to run.

Names are loaded when they are first used: patterns bring numba along, and hardware asks for number formats alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiberloom.representation.decomposition import decompose_optimally, expected_dropped_nonzeros, greedy_is_optimal
    from fiberloom.representation.families import distinct_densities, read_family
    from fiberloom.representation.measurement import Measurement, compare, measure
    from fiberloom.representation.notation import read_representation
    from fiberloom.representation.storage import TermStorage
    from fiberloom.representation.tensor_file import read_tensor, tensor_names
    from fiberloom.representation.term import Representation, Term

_HOMES = {
    "Measurement": "measurement",
    "Representation": "term",
    "Term": "term",
    "TermStorage": "storage",
    "compare": "measurement",
    "decompose_optimally": "decomposition",
    "distinct_densities": "families",
    "expected_dropped_nonzeros": "decomposition",
    "greedy_is_optimal": "decomposition",
    "measure": "measurement",
    "read_family": "families",
    "read_representation": "notation",
    "read_tensor": "tensor_file",
    "tensor_names": "tensor_file",
}

__all__ = [
    "Measurement",
    "Representation",
    "Term",
    "TermStorage",
    "compare",
    "decompose_optimally",
    "distinct_densities",
    "expected_dropped_nonzeros",
    "greedy_is_optimal",
    "measure",
    "read_family",
    "read_representation",
    "read_tensor",
    "tensor_names",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
