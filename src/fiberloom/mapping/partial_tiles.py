"""Which variables may have partial tiles, so that the model can count every mapping of a space (docs/limits.md)."""

from __future__ import annotations

from fiberloom.architecture.levels import Architecture
from fiberloom.architecture.sparse import Format, SafKind
from fiberloom.mapping.constraints import Constraints
from fiberloom.mapping.coverings import LARGEST
from fiberloom.workload.einsum import Einsum


def perfect_variables(workload: Einsum, architecture: Architecture, constraints: Constraints) -> dict[str, str]:
    """Variables whose factors must multiply to their bound, each with the reason; those of bound 1 are not listed.

    Only what the model refuses beside partial tiles counts; what it refuses for some mappings of a space alone (peer links
    of windows) is taken as refused for all.
    """
    reasons: dict[str, str] = {}
    everywhere = _refused_everywhere(workload, architecture, constraints)
    for variable, bound in workload.shape.items():
        if bound == 1:
            continue
        reason = everywhere or _refused(workload, architecture, variable)
        if reason is None and bound > LARGEST:
            reason = f"its bound {bound} is above {LARGEST}, the largest whose partial tiles are searched"
        if reason is not None:
            reasons[variable] = reason
    return reasons


def _refused(workload: Einsum, architecture: Architecture, variable: str) -> str | None:
    """Why the tensors that a variable indexes take no partial tiles of it."""
    for tensor in workload.tensors:
        # the rank that it indexes: Einsums with a variable in two ranks of a tensor are refused as such
        rank = next((rank for rank in tensor.ranks if any(term.variable == variable for term in rank)), None)
        if rank is None:
            continue
        if len(rank) > 1:
            return f"it is summed with other variables in the index of '{tensor.name}'"
        if reason := _filtered(architecture, tensor.name):
            return f"it indexes '{tensor.name}', which {reason}"
    return None


def _filtered(architecture: Architecture, tensor: str) -> str | None:
    for level in architecture.levels:
        layout = level.formats.get(tensor)
        if layout is not None and {rank.format for rank in layout.ranks} != {Format.U}:
            return f"has a format at '{level.name}'"
        for entry in level.optimizations:
            for option in entry.options:
                if tensor == option.follower or tensor in option.leaders:
                    return f"takes part in {entry.kind} at '{level.name}'"
    return None


def _refused_everywhere(workload: Einsum, architecture: Architecture, constraints: Constraints) -> str | None:
    """What rules out partial tiles of any variable."""
    for level in architecture.levels:
        for entry in level.optimizations:
            if entry.kind in (SafKind.SPATIAL_SKIPPING, SafKind.POSITION_SKIPPING):
                return f"'{level.name}' has {entry.kind}"
    for tensor in workload.tensors:
        if tensor.is_output and any(rank and rank[0].coefficient != 1 for rank in tensor.ranks):
            return f"the index of output '{tensor.name}' has a stride"
        if all(len(rank) <= 1 for rank in tensor.ranks):
            continue
        if tensor.is_output:
            return f"the index of output '{tensor.name}' sums variables"
        for inside, level in zip(architecture.levels[1:], architecture.levels, strict=False):
            at = constraints.at(level.name)
            linked = at.peer_links.get(tensor.name, level.peer_links)
            if linked and architecture.fanout(level.name) != (1, 1):
                return f"'{inside.name}' passes windows of '{tensor.name}' on to neighbours"
    return None
