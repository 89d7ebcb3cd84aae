"""Mappings of one layer as mappings of another: orders, parallelism and keeps inherited, tiles rescaled and repaired."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from fiberloom.errors import SpecError
from fiberloom.mapper.similarity import correspondence
from fiberloom.mapping.factorizations import Array
from fiberloom.mapping.packed import PackedMappings
from fiberloom.mapping.space import MapSpace

RESCALINGS: Final = ("inner", "proportional")
"""How factors become those of another bound, see `transfer`."""


def transfer(
    space_from: MapSpace, mapping: PackedMappings, space_to: MapSpace, rescale: str = "inner"
) -> PackedMappings:
    """Mappings of one space as mappings of another: all of `mapping`, row by row, repaired.

    Levels correspond by name, tensors and variables by role. Loop orders, axes and keeps are inherited; loops of variables
    without counterpart stand outermost.

    Args:
        rescale: ``inner``: tiles and spatial factors stay, or shrink to the nearest divisor, and the outermost loop takes the
            rest: what fitted still fits. ``proportional``: every factor grows or shrinks by the same power, so that shares
            of the bound (in logarithms) stay. Children that idle then get loops from outside (`fill_fanouts`).

    Raises:
        SpecError: if no level has the same name, the operands differ in number, or for an unknown `rescale`.
    """
    if rescale not in RESCALINGS:
        raise SpecError(f"'{rescale}' is no way to rescale factors", hint=f"one of {', '.join(RESCALINGS)}")
    found = correspondence(space_from.workload, space_to.workload)
    levels = {
        to: space_from.level_names.index(name)
        for to, name in enumerate(space_to.level_names)
        if name in space_from.level_names
    }
    if not found.tensors:
        raise SpecError(
            f"mappings of '{space_from.workload.name}' can't become mappings of '{space_to.workload.name}': "
            f"{len(space_from.workload.inputs)} operands against {len(space_to.workload.inputs)}"
        )
    if not levels:
        raise SpecError(
            f"'{space_from.architecture.name}' and '{space_to.architecture.name}' have no level of the same name"
        )
    variables = {
        d: space_from.variables.index(found.variables[v])
        for d, v in enumerate(space_to.variables)
        if v in found.variables
    }
    out = space_to.decode(np.zeros(len(mapping), np.int64))
    for d, bound in enumerate(space_to.bounds):
        source = _slots(space_from, space_to, mapping, levels, variables.get(d))
        logs = np.log2(source)
        if rescale == "proportional":
            had = int(space_from.bounds[variables[d]]) if d in variables else 1
            scale = math.log2(int(bound)) / math.log2(had) if had > 1 else 0.0
            factors, _ = space_to.factorizations[d].nearest(logs * scale)
        else:
            outermost = max(s for s, spatial in enumerate(space_to.slot_spatial) if not spatial)
            at_most = source.copy()
            at_most[:, outermost] = int(bound)
            inside = np.delete(logs, outermost, axis=1).sum(axis=1)
            logs[:, outermost] = np.maximum(math.log2(int(bound)) - inside, 0.0)
            factors, _ = space_to.factorizations[d].nearest(logs, at_most)
        space_to.set_factors(out, d, factors)
    tensors = [space_from.tensors.index(found.tensors[t]) for t in space_to.tensors]
    for to, level in levels.items():
        out.temporal_order[:, to] = _orders(mapping.temporal_order[:, level], variables, len(space_to.variables))
        along_x = mapping.on_x[:, level]
        for d, counterpart in variables.items():
            bit = (along_x >> counterpart & 1) << d
            out.on_x[:, to] = out.on_x[:, to] & ~(1 << d) | bit
        kept = mapping.keep[:, level][:, tensors]
        out.keep[:, to] = np.where(space_to.free_keep[to], kept, space_to.fixed_keep[to])
    out = space_to.repair(out)
    fill_fanouts(space_to, out)
    return out


def fill_fanouts(space: MapSpace, packed: PackedMappings) -> None:
    """Move prime factors of temporal loops into space while children idle, in place; outermost loops give first.

    A layer with few channels can't inherit parallelism over channels; here other loops take their place. Along each axis
    the loops that are spread already grow before others are spread, long ones first.
    """
    fanouts = [(s, level) for s, (level, spatial) in enumerate(space.slots) if spatial]
    for i in range(len(packed)):
        for slot, level in fanouts:
            for axis in (0, 1):
                length = packed.temporal[i].prod(axis=0)
                for d in np.lexsort((-length, packed.spatial[i, level] == 1)):
                    if _may_grow(space, packed, i, level, int(d), axis):
                        _grow(space, packed, i, slot, level, int(d), axis)


def _may_grow(space: MapSpace, packed: PackedMappings, i: int, level: int, d: int, axis: int) -> bool:
    """Whether a loop runs along the axis (0 is X), or does not exist yet and may."""
    if space.open_axis[level, d] and packed.spatial[i, level, d] == 1:
        return True
    return bool(packed.on_x[i, level] >> d & 1) is (axis == 0)


def _grow(space: MapSpace, packed: PackedMappings, i: int, slot: int, level: int, d: int, axis: int) -> None:
    """Spread as many primes of a variable along an axis as there is room for, large ones first."""
    found, bit = space.factorizations[d], 1 << d
    along_x = packed.on_x[i, level] >> np.arange(len(space.variables)) & 1 != 0
    along_x[d] = axis == 0
    used = int(packed.spatial[i, level, along_x == (axis == 0)].prod())
    room = min(
        int(space.lanes[level, axis]) // used, int(space.most[level]) // int(packed.spatial[i, level].prod())
    )  # fmt: skip
    for giver in reversed(np.flatnonzero(~space.slot_spatial)):
        source = space.slots[giver][0]
        for prime in map(int, found.primes[::-1]):
            given, taken = int(packed.temporal[i, source, d]), int(packed.spatial[i, level, d])
            legal = (
                given % prime == 0
                and found.is_choice(np.array([giver, slot]), np.array([given // prime, taken * prime])).all()
            )
            if legal and prime <= room:
                packed.temporal[i, source, d] = given // prime
                packed.spatial[i, level, d] = taken * prime
                room //= prime
                if space.open_axis[level, d]:
                    packed.on_x[i, level] = packed.on_x[i, level] & ~bit | (bit if axis == 0 else 0)


def _slots(
    space_from: MapSpace, space_to: MapSpace, mapping: PackedMappings, levels: dict[int, int], counterpart: int | None
) -> Array:
    """``(n, slots of space_to)`` factors that a variable's counterpart has at the same places; 1 where there is none."""
    factors = np.ones((len(mapping), len(space_to.slots)), np.int64)
    for s, (to, spatial) in enumerate(space_to.slots):
        if counterpart is not None and to in levels:
            factors[:, s] = (mapping.spatial if spatial else mapping.temporal)[:, levels[to], counterpart]
    return factors


def _orders(orders: Array, variables: dict[int, int], width: int) -> Array:
    """Orders ``(n, D)`` of the source as orders ``(n, width)`` of the target's variables, innermost first."""
    place = np.argsort(orders, axis=1)
    key = np.full((len(orders), width), float(orders.shape[1]))
    for d, counterpart in variables.items():
        key[:, d] = place[:, counterpart]
    return np.argsort(key, axis=1, kind="stable")
