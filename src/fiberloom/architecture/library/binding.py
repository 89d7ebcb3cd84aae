"""A design on a workload: its architecture under the workload's names, and the mapping of its dataflow."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping

from fiberloom.architecture.features import without_features
from fiberloom.architecture.levels import Architecture
from fiberloom.architecture.library.design import DesignInfo, read_design
from fiberloom.architecture.library.roles import ROLES, SHORTHANDS, Binding, find_roles, rename
from fiberloom.errors import UnsupportedError
from fiberloom.mapping.dataflow import Growth, LevelDataflow, Plan, plan
from fiberloom.mapping.nest import Mapping as LoopNest
from fiberloom.workload.einsum import Einsum


class UtilizationWarning(UserWarning):
    """A dataflow leaves most lanes idle on a workload."""


def roles_of(design: str | DesignInfo, workload: Einsum, roles: Mapping[str, str] | None = None) -> Binding:
    """What the workload's tensors and variables are to the design.

    Args:
        roles: workload tensor by tensor role, to decide it by hand.

    Raises:
        SpecError: for an unknown design, role or tensor.
        UnsupportedError: if the workload has not two operands, or is a convolution and the design runs GEMMs only.
    """
    info = read_design(design) if isinstance(design, str) else design
    binding = find_roles(workload, info.operands, info.output, roles)
    if "conv" not in info.computes and (binding.variables["R"] or binding.variables["S"]):
        raise UnsupportedError(
            f"design '{info.name}' runs matrix products; '{workload}' is a convolution",
            hint="write it as the GEMM of its im2col: reduced channels times window against output pixels",
        )
    return binding


def bind(design: str | DesignInfo, workload: Einsum, roles: Mapping[str, str] | None = None) -> Architecture:
    """The design's architecture with the workload's names for its tensors and variables.

    Args:
        roles: workload tensor by tensor role, e.g. ``{"W": "B"}``; None finds them (see `roles.find_roles`).

    Raises:
        SpecError, UnsupportedError: as `roles_of`.
    """
    info = read_design(design) if isinstance(design, str) else design
    return rename(info.architecture, roles_of(info, workload, roles))


def plan_mapping(
    design: str | DesignInfo, workload: Einsum, roles: Mapping[str, str] | None = None, *, features: bool = True
) -> Plan:
    """The mapping that the design's dataflow gives the workload, with the share of busy lanes and warnings.

    Args:
        features: False maps onto the hardware without its sparse features.

    Raises:
        SpecError, UnsupportedError: as `roles_of`.
        MappingError: if a level can't hold even one element of what it keeps.
    """
    info = read_design(design) if isinstance(design, str) else design
    binding = roles_of(info, workload, roles)
    architecture = rename(info.architecture, binding)
    if not features:
        architecture = without_features(architecture)
    variables = {role: binding.of_role(role) for role in (*ROLES, *SHORTHANDS)}
    return plan(workload, architecture, [_bound(entry, binding) for entry in info.dataflow], variables)


def default_mapping(
    design: str | DesignInfo, workload: Einsum, roles: Mapping[str, str] | None = None, *, features: bool = True
) -> LoopNest:
    """As `plan_mapping`, the mapping alone; its warnings are issued as `UtilizationWarning`."""
    planned = plan_mapping(design, workload, roles, features=features)
    for message in planned.warnings:
        warnings.warn(message, UtilizationWarning, stacklevel=2)
    return planned.mapping


def _bound(entry: LevelDataflow, binding: Binding) -> LevelDataflow:
    def bound(growths: tuple[Growth, ...]) -> tuple[Growth, ...]:
        return tuple(
            growth
            if growth.nonzeros_of is None
            else dataclasses.replace(growth, nonzeros_of=binding.tensors[growth.nonzeros_of])
            for growth in growths
        )

    return dataclasses.replace(entry, x=bound(entry.x), y=bound(entry.y), tile=bound(entry.tile))
