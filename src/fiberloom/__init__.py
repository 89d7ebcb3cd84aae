"""fiberloom: model, map and co-design sparse tensor accelerators.

>>> import fiberloom as fl
>>> gemm = fl.Einsum.parse("Z[m,n] = A[m,k] * B[k,n]", {"m": 64, "n": 64, "k": 64}, densities={"A": 0.3})

Names are loaded when they are first used, so that importing the package costs little.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiberloom.architecture.levels import Architecture, Compute, StorageLevel
    from fiberloom.errors import FiberloomError, MappingError, SpecError, UnsupportedError
    from fiberloom.input.specification import Specification, parse, read
    from fiberloom.mapping.nest import LevelMapping, Mapping
    from fiberloom.model.evaluate import BatchEvaluator, evaluate
    from fiberloom.model.evaluation import Evaluation
    from fiberloom.network_evaluation import NetworkResult, run_network
    from fiberloom.workload.einsum import Einsum, Tensor

__version__ = "0.1.0"

_HOMES = {
    "Architecture": "fiberloom.architecture.levels",
    "Compute": "fiberloom.architecture.levels",
    "StorageLevel": "fiberloom.architecture.levels",
    "FiberloomError": "fiberloom.errors",
    "MappingError": "fiberloom.errors",
    "SpecError": "fiberloom.errors",
    "UnsupportedError": "fiberloom.errors",
    "Specification": "fiberloom.input.specification",
    "parse": "fiberloom.input.specification",
    "read": "fiberloom.input.specification",
    "LevelMapping": "fiberloom.mapping.nest",
    "Mapping": "fiberloom.mapping.nest",
    "BatchEvaluator": "fiberloom.model.evaluate",
    "evaluate": "fiberloom.model.evaluate",
    "Evaluation": "fiberloom.model.evaluation",
    "Einsum": "fiberloom.workload.einsum",
    "Tensor": "fiberloom.workload.einsum",
    "NetworkResult": "fiberloom.network_evaluation",
    "run_network": "fiberloom.network_evaluation",
}

__all__ = [
    "Architecture",
    "BatchEvaluator",
    "Compute",
    "Einsum",
    "Evaluation",
    "FiberloomError",
    "LevelMapping",
    "Mapping",
    "MappingError",
    "NetworkResult",
    "SpecError",
    "Specification",
    "StorageLevel",
    "Tensor",
    "UnsupportedError",
    "__version__",
    "evaluate",
    "parse",
    "read",
    "run_network",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fiberloom' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
