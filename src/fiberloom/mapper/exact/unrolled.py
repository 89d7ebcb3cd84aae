"""Skipping in space as a wider array: a lane for every place, of which only those with a non-zero cost energy.

Where lanes hold nothing but the compressed operand whose zeros are left out, and all other tensors follow it, skipping in space saves
computations, and lanes for more of them to stand side by side; it moves the same words. The wider array then costs at most as much
as the hardware for every mapping, and for structured zeros on lanes that hold single elements mostly as much. So what is counted on it
bounds the hardware's cost, and an answer that costs the same on both is the optimum of both.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from fiberloom.mapping.space import MapSpace
from fiberloom.model.lower import Problem


def unrolled(problem: Problem, space: MapSpace) -> Problem | None:
    """The problem on a wider array without skipping in space; None where that may cost more than the hardware itself."""
    p = problem.arrays[0]
    leader = _only_leader(p, len(problem.tensors))
    if leader is None:
        return None
    inside = int(p["spatial_level"][0])
    may = (space.fixed_keep | space.free_keep)[:inside]
    alone = not may[:, [t for t in range(len(problem.tensors)) if t != leader]].any() and may[:, leader].sum() <= 1
    if not alone or (p["cluster"][:inside] > 1).any() or not p["is_compressed"][:inside, leader][may[:, leader]].all():
        return None
    arrays = problem.arrays.copy()
    a = arrays[0]
    a["spatial_entries"] = 0
    a["block_of"][:inside, leader] = 1  # lanes in use have fuller blocks than places
    for level in range(int(p["levels"])):
        a["fan_x"][level], a["fan_y"][level] = (int(n) for n in space.lanes[level])
    a["compute_energy"] = _energies(p, leader, len(problem.tensors))
    return replace(problem, arrays=arrays)


def _only_leader(p: Any, tensors: int) -> int | None:
    """The tensor whose zeros a single fan-out leaves out for all others; None where that is not what the hardware does, and all."""
    entries = int(p["spatial_entries"])
    if not p["exact"] or p["position_entries"] or p["entries"] or not entries:
        return None
    leaders, levels = ({int(x) for x in p[name][:entries]} for name in ("spatial_leaders", "spatial_level"))
    found = [t for t in range(tensors) if leaders == {1 << t}]
    if not found or len(levels) > 1 or not p["is_simple"][found[0]]:
        return None
    followers = {int(t) for t in p["spatial_follower"][:entries]}
    return found[0] if followers | {found[0]} == set(range(tensors)) else None


def _energies(p: Any, leader: int, tensors: int) -> list[float]:
    """Energy per computation, so that those on lanes whose leader is zero cost nothing."""
    actual, gated, skipped = (float(pj) for pj in p["compute_energy"])
    led = float(p["element_density"][leader])
    others = [t for t in range(tensors) if t not in (leader, int(p["output"]))]
    other = math.prod(float(p["element_density"][t]) for t in others)
    if p["compute_skipping"]:
        return [actual, 0.0, 0.0]
    if p["compute_gating"]:  # counts as actual only what is not zero, and as gated all others
        idle = 1.0 - led * other
        return [actual, gated * led * (1.0 - other) / idle if idle > 0 else 0.0, skipped]
    return [actual * led, gated, skipped]
