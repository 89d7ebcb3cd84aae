"""Published designs, ready to evaluate.

>>> from fiberloom.architecture import library
>>> import fiberloom as fl
>>> gemm = fl.Einsum.parse("Z[m,n] = A[m,k] * B[k,n]", {"m": 256, "n": 256, "k": 256}, densities={"A": "2:4"})
>>> evaluation = fl.evaluate(gemm, library.load("stc", gemm), library.default_mapping("stc", gemm))

Each design is one YAML file of this folder; docs/designs.md lists them and says how to add one.
"""

from __future__ import annotations

from collections.abc import Mapping

from fiberloom.architecture.levels import Architecture
from fiberloom.architecture.library.binding import (
    UtilizationWarning,
    bind,
    default_mapping,
    plan_mapping,
    roles_of,
)
from fiberloom.architecture.library.demonstration import DemoRun, demo
from fiberloom.architecture.library.design import (
    DesignInfo,
    Parameter,
    Status,
    TensorTreatment,
    design_names,
    read_design,
)
from fiberloom.architecture.library.drawing import draw
from fiberloom.workload.einsum import Einsum

__all__ = [
    "DemoRun",
    "DesignInfo",
    "Parameter",
    "Status",
    "TensorTreatment",
    "UtilizationWarning",
    "bind",
    "default_mapping",
    "demo",
    "describe",
    "draw",
    "load",
    "names",
    "plan_mapping",
    "roles_of",
]


def names() -> tuple[str, ...]:
    """Names of all designs, sorted."""
    return design_names()


def describe(name: str, settings: Mapping[str, float] | None = None) -> DesignInfo:
    """A design with its paper, parameters, taxonomy placement, dataflow and architecture.

    Args:
        settings: other values for the design's own variables (`DesignInfo.settings`).

    Raises:
        SpecError: if there is none of that name, with the nearest one.
    """
    return read_design(name, settings)


def load(
    name: str,
    workload: Einsum | None = None,
    roles: Mapping[str, str] | None = None,
    settings: Mapping[str, float] | None = None,
) -> Architecture:
    """A design's architecture.

    Args:
        workload: whose names its tensors and variables take; None keeps the design's role names.
        roles: workload tensor by tensor role, where it can't be found (see `bind`).
        settings: other values for the design's own variables.

    Raises:
        SpecError: if there is none of that name, with the nearest one.
        UnsupportedError: if the design can't run the workload.
    """
    info = read_design(name, settings)
    return info.architecture if workload is None else bind(info, workload, roles)
