"""Mappings as arrays: a packed row per mapping, storage level 0 the innermost, loops innermost first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.architecture.levels import Architecture
from fiberloom.mapping.nest import LevelMapping, Mapping
from fiberloom.workload.einsum import Einsum

Array = NDArray[Any]

ROWS = ("temporal", "spatial", "temporal_order", "spatial_order", "on_x", "keep")
"""Fields of `PackedMappings` with one row per mapping."""


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

    def take(self, rows: Any) -> PackedMappings:
        """The mappings `rows`: indices, a slice or a mask. The arrays are copies."""
        chosen = {name: np.array(getattr(self, name)[rows]) for name in ROWS}
        return replace(self, **chosen)

    @staticmethod
    def concatenate(batches: Sequence[PackedMappings]) -> PackedMappings:
        """All mappings of several batches of one problem, in order."""
        rows = {name: np.concatenate([getattr(b, name) for b in batches]) for name in ROWS}
        return replace(batches[0], **rows)


def unpack(workload: Einsum, architecture: Architecture, packed: PackedMappings, i: int) -> Mapping:
    """Mapping `i` as a spec object, with every level, loop order and keep stated."""
    variables = list(workload.shape)
    tensors = [t.name for t in workload.tensors]
    levels: dict[str, LevelMapping] = {}
    for index, level in reversed(list(enumerate(reversed(architecture.levels)))):
        temporal, spatial = packed.temporal[i, index], packed.spatial[i, index]
        along_x = int(packed.on_x[i, index])
        spread = [variables[d] for d in reversed(packed.spatial_order[i, index]) if spatial[d] > 1]
        levels[level.name] = LevelMapping(
            temporal={v: int(f) for v, f in zip(variables, temporal, strict=True) if f > 1},
            spatial={v: int(f) for v, f in zip(variables, spatial, strict=True) if f > 1},
            temporal_order=tuple(variables[d] for d in reversed(packed.temporal_order[i, index])),
            spatial_order=tuple(spread),
            spatial_x=tuple(v for v in spread if along_x >> variables.index(v) & 1) if spread else None,
            keep=tuple(t for t, kept in zip(tensors, packed.keep[i, index], strict=True) if kept),
            multicast={
                t: bool(m) for t, m in zip(tensors, packed.multicast[index], strict=True) if bool(m) != level.multicast
            },
            peer_links={
                t: bool(m)
                for t, m in zip(tensors, packed.peer_links[index], strict=True)
                if bool(m) != level.peer_links
            },
        )
    return Mapping(levels=levels)
