"""From mappings to the arrays that the kernel reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import MappingError, SpecError, nearest
from fiberloom.mapping.nest import Mapping
from fiberloom.mapping.packed import PackedMappings
from fiberloom.model import records
from fiberloom.model.lower import Problem

Array = NDArray[Any]


def record(packed: PackedMappings, i: int) -> Array:
    """Mapping `i` of a batch as a `MAPPING` record of shape ``(1,)``."""
    row = np.zeros(1, records.MAPPING)
    _, L, D = packed.temporal.shape
    T = packed.keep.shape[2]
    for name in ("temporal", "spatial", "temporal_order", "spatial_order"):
        row[name][0, :L, :D] = getattr(packed, name)[i]
    row["on_x"][0, :L] = packed.on_x[i]
    row["keep"][0, :L, :T] = packed.keep[i]
    row["multicast"][0, :L, :T] = packed.multicast
    row["peer_links"][0, :L, :T] = packed.peer_links
    return row


def pack(problem: Problem, mappings: Sequence[Mapping]) -> PackedMappings:
    """Pack mappings of a problem.

    Raises:
        MappingError: when one does not fit the Einsum or the hardware's fan-outs (see `Mapping.check`).
    """
    variables, tensors = list(problem.variables), list(problem.tensors)
    n, L, D, T = len(mappings), len(problem.level_names), len(problem.variables), len(problem.tensors)
    temporal = np.ones((n, L, D), np.int64)
    spatial = np.ones((n, L, D), np.int64)
    temporal_order = np.zeros((n, L, D), np.int64)
    spatial_order = np.zeros((n, L, D), np.int64)
    on_x = np.zeros((n, L), np.int64)
    keep = np.ones((n, L, T), np.bool_)
    multicast = np.ones((L, T), np.bool_)
    peer_links = np.zeros((L, T), np.bool_)
    for i, mapping in enumerate(mappings):
        mapping.check(problem.workload, problem.architecture)
        for level_index, name in enumerate(problem.level_names):
            level, spec = mapping.at(name), problem.architecture.level(name)
            for variable, factor in level.temporal.items():
                temporal[i, level_index, variables.index(variable)] = factor
            for variable, factor in level.spatial.items():
                if factor > 1 and not problem.arrays["has_fanout"][0, level_index]:
                    raise MappingError(
                        f"level '{name}' has no fan-out below it, but the mapping spreads {variable}={factor} over it",
                        hint="give the level inside more instances, or make the loop temporal",
                    )
                spatial[i, level_index, variables.index(variable)] = factor
            temporal_order[i, level_index] = _order(level.temporal_order, variables)
            spatial_order[i, level_index] = _order(level.spatial_order, variables)
            along_x = variables if level.spatial_x is None else level.spatial_x
            on_x[i, level_index] = sum(1 << variables.index(v) for v in along_x)
            kept = level.keep if level.keep is not None else spec.keep
            if kept is not None:
                for tensor in kept:
                    if tensor not in tensors:
                        raise SpecError(
                            f"level '{name}' keeps unknown tensor '{tensor}'", hint=nearest(tensor, tensors)
                        )
                keep[i, level_index] = [t in kept for t in tensors]
            for t, tensor in enumerate(tensors):
                multicast[level_index, t] = level.multicast.get(tensor, spec.multicast)
                peer_links[level_index, t] = level.peer_links.get(tensor, spec.peer_links)
        for t, tensor in enumerate(tensors):
            if not keep[i, :, t].any():
                raise MappingError(
                    f"no level keeps tensor '{tensor}'", hint="every tensor is kept at one level at least"
                )
    return PackedMappings(temporal, spatial, temporal_order, spatial_order, on_x, keep, multicast, peer_links)


def _order(listed: Sequence[str], variables: list[str]) -> list[int]:
    """Variable indices innermost first: the listed ones reversed, then those left out in declaration order."""
    inner = [variables.index(v) for v in reversed(listed)]
    return inner + [d for d in range(len(variables)) if d not in inner]
