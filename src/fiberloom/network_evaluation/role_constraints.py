"""Constraints that speak of roles (``M``, ``C``, ``P`` …), under the names of a layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fiberloom.architecture.library.roles import ROLES, SHORTHANDS, Binding
from fiberloom.errors import SpecError
from fiberloom.mapping.constraints import Constraints, LevelConstraints, LoopConstraints

_NUMBERS: Final = ("factors", "at_least", "at_most")
_LISTS: Final = ("remaining", "inner", "outer", "x", "y")


def variables_of(constraints: Constraints) -> set[str]:
    """Variables, or roles, that loops are constrained by."""
    return {
        name
        for at in constraints.levels.values()
        for loops in (at.temporal, at.spatial)
        for field in (*_NUMBERS, *_LISTS)
        for name in getattr(loops, field) or ()
    }


def speaks_of_roles(constraints: Constraints) -> bool:
    """Whether all constrained variables are roles."""
    named = variables_of(constraints)
    return bool(named) and named <= {*ROLES, *SHORTHANDS}


def in_variables(constraints: Constraints, binding: Binding) -> Constraints:
    """`constraints` with a layer's variables for roles. What a layer has no variable for falls away.

    Raises:
        SpecError: for a number that is given to a role with several variables in this layer.
    """
    levels = {
        name: at.model_copy(update={"temporal": _loops(at.temporal, binding), "spatial": _loops(at.spatial, binding)})
        for name, at in constraints.levels.items()
    }
    return constraints.model_copy(update={"levels": levels})


def _loops(loops: LoopConstraints, binding: Binding) -> LoopConstraints:
    changed: dict[str, Any] = {field: _numbers(getattr(loops, field), binding) for field in _NUMBERS}
    for field in _LISTS:
        named = getattr(loops, field)
        if named is not None:
            changed[field] = tuple(dict.fromkeys(v for role in named for v in binding.of_role(role)))
    return loops.model_copy(update=changed)


def _numbers(by_role: Mapping[str, int], binding: Binding) -> dict[str, int]:
    found: dict[str, int] = {}
    for role, number in by_role.items():
        variables = binding.of_role(role)
        if len(variables) > 1:
            raise SpecError(
                f"constraints give '{role}' the number {number}, and here it is {' and '.join(variables)}",
                hint="name roles that are one variable each",
            )
        found |= dict.fromkeys(variables, number)
    return found


def renamed(constraints: Constraints, tensors: Mapping[str, str]) -> Constraints:
    """`constraints` with a layer's tensors for those that the design names."""

    def at(level: LevelConstraints) -> LevelConstraints:
        return level.model_copy(
            update={
                "keep": tuple(tensors[t] for t in level.keep),
                "bypass": tuple(tensors[t] for t in level.bypass),
                "free": tuple(tensors[t] for t in level.free),
                "multicast": {tensors[t]: on for t, on in level.multicast.items()},
                "peer_links": {tensors[t]: on for t, on in level.peer_links.items()},
            }
        )

    return constraints.model_copy(update={"levels": {name: at(level) for name, level in constraints.levels.items()}})
