"""Mappings as Timeloop v0.3 writes them: one directive per level for temporal loops, spatial loops and keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fiberloom.architecture.levels import Architecture, StorageLevel
from fiberloom.input.yaml_text import Inline, InlineList, yaml_text
from fiberloom.mapping.nest import LevelMapping, Mapping
from fiberloom.workload.einsum import Einsum


def mapping_yaml(workload: Einsum, architecture: Architecture, mapping: Mapping) -> str:
    """The mapping as the ``mapping`` section of Timeloop v0.3, every level, loop and keep stated.

    Orders are innermost first, and the first `split` spatial loops run along X. Where a spatial loop along X stands
    outside one along Y, the loops along X move inside: Timeloop can't say it otherwise. Timeloop itself reads
    permutations of single-letter dimensions only; longer names are written with commas.

    Args:
        workload: names the loops, in the order of declaration.
        architecture: its levels; those with a fan-out get a spatial directive.
        mapping: what to write.

    Raises:
        MappingError: if the mapping does not fit the workload or names what the architecture has not.
    """
    mapping.check(workload, architecture)
    variables, tensors = list(workload.shape), [t.name for t in workload.tensors]
    directives: list[Inline] = []
    for level in architecture.levels:
        loops = mapping.at(level.name)
        order = _innermost_first(loops.temporal_order, variables)
        directives.append(_directive(level.name, "temporal", order, loops.temporal))
        if architecture.fanout(level.name) != (1, 1) or any(f > 1 for f in loops.spatial.values()):
            directives.append(_spatial(level, loops, variables, tensors))
    for level in architecture.levels:
        kept = mapping.at(level.name).keep
        kept = level.keep if kept is None else kept
        held = tensors if kept is None else [t for t in tensors if t in kept]
        bypassed = [t for t in tensors if t not in held]
        directives.append(
            Inline(target=level.name, type="bypass", keep=InlineList(held), bypass=InlineList(bypassed)),
        )
    return yaml_text({"mapping": directives})


def _spatial(level: StorageLevel, loops: LevelMapping, variables: list[str], tensors: list[str]) -> Inline:
    order = _innermost_first(loops.spatial_order, variables)
    spread = [v for v in order if loops.spatial.get(v, 1) > 1]
    along_x = [v for v in spread if loops.spatial_x is None or v in loops.spatial_x]
    if spread[: len(along_x)] != along_x:
        order = [*along_x, *(v for v in order if v not in along_x)]
    split = len(variables)
    if len(along_x) < len(spread):
        split = order.index(along_x[-1]) + 1 if along_x else 0
    directive = _directive(level.name, "spatial", order, loops.spatial)
    directive["split"] = split
    apart = [t for t in tensors if not loops.peer_links.get(t, level.peer_links)]
    alone = [t for t in tensors if not loops.multicast.get(t, level.multicast)]
    if apart:
        directive["no_link_transfer"] = InlineList(apart)
    if alone:
        directive["no_multicast_no_reduction"] = InlineList(alone)
    return directive


def _innermost_first(listed: Sequence[str], variables: Sequence[str]) -> list[str]:
    """All variables: the listed ones reversed, then those left out, in order of declaration."""
    return [*reversed(listed), *(v for v in variables if v not in listed)]


def _directive(level: str, kind: str, order: Sequence[str], factors: dict[str, int]) -> Inline:
    text: Any = "".join(order) if all(len(v) == 1 for v in order) else ",".join(order)
    loops = " ".join(f"{v}={factors.get(v, 1)}" for v in order)
    return Inline(target=level, type=kind, factors=loops, permutation=text)
