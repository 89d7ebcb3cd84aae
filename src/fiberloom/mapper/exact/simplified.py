"""The same problem without what changes nothing in it, so that the search can tell fewer things apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fiberloom.model.lower import Problem


def simplified(problem: Problem) -> Problem:
    """A problem that costs the same for every mapping.

    Left out are gating and skipping where every operand is dense, since they never find a zero, and variables of bound one
    beside others that step without gaps: a 1×1 convolution has no windows. Reference rule sets are left as they are.
    """
    p = problem.arrays[0]
    if not p["exact"]:
        return problem
    arrays = problem.arrays.copy()
    D, T = int(p["variables"]), int(p["tensors"])
    if all(p["is_dense"][t] for t in range(T) if t != int(p["output"])):
        for name in ("entries", "spatial_entries", "position_entries"):
            arrays[0][name] = 0
    steps = np.abs(p["coefficient"][:T, :, :D])
    moves = p["bounds"][:D] > 1
    unit = np.where(moves, steps, 0).max(axis=2) <= 1  # (T, R)
    counted = (steps != 0) & (~unit[:, :, None] | moves)
    alone = counted & (counted.sum(axis=2) == 1)[:, :, None]
    arrays[0]["is_lone"][:T, :D] = alone.any(axis=1)
    arrays[0]["is_simple"][:T] = (counted.sum(axis=2) <= 1).all(axis=1) & (counted.sum(axis=1) <= 1).all(axis=1)
    return replace(problem, arrays=arrays)
