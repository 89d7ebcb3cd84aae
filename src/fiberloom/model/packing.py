"""Mappings as arrays: a packed row per mapping, storage level 0 the innermost, loops innermost first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import MappingError, SpecError, nearest
from fiberloom.mapping.nest import Mapping
from fiberloom.model import records
from fiberloom.model.lower import Problem

Array = NDArray[Any]


@dataclass(frozen=True)
class PackedMappings:
    """Mappings as arrays: ``(n, L, D)`` factors and orders (innermost first), ``(n, L)`` bit
    sets of the variables whose spatial loop runs along X, ``(n, L, T)`` keep.

    `multicast` and `peer_links`, ``(L, T)``, hold for the whole batch.
    """

    temporal: Array
    spatial: Array
    temporal_order: Array
    spatial_order: Array
    on_x: Array
    keep: Array
    multicast: Array
    peer_links: Array

    def __len__(self) -> int:
        return int(self.temporal.shape[0])

    def record(self, i: int) -> Array:
        """Mapping `i` as a `MAPPING` record of shape ``(1,)``."""
        row = np.zeros(1, records.MAPPING)
        _, L, D = self.temporal.shape
        T = self.keep.shape[2]
        for name in ("temporal", "spatial", "temporal_order", "spatial_order"):
            row[name][0, :L, :D] = getattr(self, name)[i]
        row["on_x"][0, :L] = self.on_x[i]
        row["keep"][0, :L, :T] = self.keep[i]
        row["multicast"][0, :L, :T] = self.multicast
        row["peer_links"][0, :L, :T] = self.peer_links
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
