"""Moves on the map space from mappings already found: a quick way to a better incumbent."""

from __future__ import annotations

import math
import time
from typing import Any, Final

import numpy as np

from fiberloom.mapper.objective import Objective
from fiberloom.mapping.packed import PackedMappings
from fiberloom.mapping.space import MapSpace
from fiberloom.model.evaluate import BatchEvaluator

CHILDREN: Final = 4096
"""Mappings tried in a round."""
_PARENTS: Final = 64
_STALE: Final = 12
"""Rounds of moves without an improvement before they end."""


def judged(evaluate: BatchEvaluator, space: MapSpace, rows: PackedMappings) -> tuple[Any, Any]:
    """Energies and cycles, NaN where a mapping is outside the space or does not fit."""
    result = evaluate(rows)
    outside = np.asarray(space.violations(rows)) > 0
    return np.where(outside, np.nan, result.energy_pj), np.where(outside, np.nan, result.cycles)


def improved(
    evaluate: BatchEvaluator,
    space: MapSpace,
    objective: Objective,
    rows: PackedMappings,
    energy: Any,
    cycles: Any,
    limit: float,
    children_per_round: int = CHILDREN,
) -> tuple[PackedMappings, Any, Any]:
    """Moves from the best mappings until they stop paying, or for `limit` seconds."""
    rng = np.random.default_rng(0)
    until = time.perf_counter() + limit
    stale = 0
    while stale < _STALE and time.perf_counter() < until:
        best = np.argsort(objective.value(energy, cycles), kind="stable")[:_PARENTS]
        rows, energy, cycles = rows.take(best), energy[best], cycles[best]
        before = objective.value(energy, cycles).min(initial=math.inf)
        children = rows.take(rng.integers(0, len(rows), children_per_round))
        for _ in range(int(rng.integers(1, 4))):
            children = space.mutate(children, rng)
        children = space.repair(children)
        more = judged(evaluate, space, children)
        rows = PackedMappings.concatenate([rows, children])
        energy, cycles = np.concatenate([energy, more[0]]), np.concatenate([cycles, more[1]])
        stale = 0 if objective.value(energy, cycles).min() < before else stale + 1
    return rows, energy, cycles
