"""Skipping in space as a wider array: a lane for every place, of which only those with a non-zero cost energy.

Where lanes hold nothing but the compressed operand whose zeros are left out, skipping in space saves computations, and lanes
for more of them to stand side by side; it moves the same words. The wider array costs at most as much as
the hardware for every mapping, and exactly as much where each lane's tile is a single element. So labels that are counted on it bound
the hardware's, and an answer whose cost is the same on both is the optimum of both.
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
    if not p["exact"] or p["position_entries"] or p["entries"] or not p["spatial_entries"]:
        return None
    entries = int(p["spatial_entries"])
    if len({int(found) for found in p["spatial_leaders"][:entries]}) > 1:
        return None
    leaders = int(p["spatial_leaders"][0])
    if leaders & (leaders - 1):  # several tensors: the lanes that each saves are not known apart
        return None
    for s in range(entries):
        for level in range(int(p["spatial_level"][s])):
            for t in range(len(problem.tensors)):
                held = space.fixed_keep[level, t] or space.free_keep[level, t]
                if held and not (p["is_compressed"][level, t] and leaders >> t & 1):
                    return None
    arrays = problem.arrays.copy()
    a = arrays[0]
    a["spatial_entries"] = 0
    for level in range(int(p["levels"])):
        a["fan_x"][level], a["fan_y"][level] = (int(n) for n in space.lanes[level])
    a["compute_energy"] = _energies(p, leaders, len(problem.tensors))
    return replace(problem, arrays=arrays)


def _energies(p: Any, leaders: int, tensors: int) -> list[float]:
    """Energy per computation, so that those on lanes whose leader is zero cost nothing."""
    inputs = [t for t in range(tensors) if t != int(p["output"])]
    actual, gated, skipped = (float(pj) for pj in p["compute_energy"])
    led = math.prod(float(p["element_density"][t]) for t in inputs if leaders >> t & 1)
    other = math.prod(float(p["element_density"][t]) for t in inputs if not leaders >> t & 1)
    if p["compute_skipping"]:
        return [actual, 0.0, 0.0]
    if p["compute_gating"]:  # counts as actual only what is not zero, and as gated all others
        idle = 1.0 - led * other
        return [actual, gated * led * (1.0 - other) / idle if idle > 0 else 0.0, skipped]
    return [actual * led, gated, skipped]
