"""Problems that the shortest path only stands in for: reference rule sets, spatial and position skipping, alternatives, peer links.

What a mapping costs there does not follow from its steps one by one. So the search solves a stand-in - the same hardware under
the default rules, without those features - and judges every complete mapping that it meets by the model itself; the
best of them are then improved by moves on the map space. The answer comes with a bound, not with a proof.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np

from fiberloom.errors import MappingError
from fiberloom.mapper.certificate import Certificate
from fiberloom.mapper.exact.answer import Optimum
from fiberloom.mapper.exact.compulsory import compulsory
from fiberloom.mapper.exact.ground import passes_on
from fiberloom.mapper.exact.moves import CHILDREN, improved, judged
from fiberloom.mapper.exact.search import ExactSearch
from fiberloom.mapper.exact.sparsity import is_sparse
from fiberloom.mapper.exact.unrolled import unrolled
from fiberloom.mapper.objective import Objective
from fiberloom.mapping.packed import PackedMappings, unpack
from fiberloom.mapping.space import MapSpace
from fiberloom.model.evaluate import BatchEvaluator
from fiberloom.model.lower import Problem
from fiberloom.model.rules import DeltaRule, rules

_ROUNDING: Final = 1e-6
"""The reference rule sets round counts down; bounds leave room for it."""
_DRAWN: Final = 50_000
"""Mappings drawn at random beside those that the stand-in's search met."""
_SECONDS: Final = 20.0
"""Most time for moves unless the caller gives one."""


def needs_stand_in(problem: Problem, space: MapSpace) -> bool:
    """Whether the problem has features that steps can't account for exactly."""
    p = problem.arrays[0]
    several = bool((p["saf_options"][: int(p["entries"])] > 1).any())
    odd = bool(p["spatial_entries"]) or bool(p["position_entries"])
    return not p["exact"] or odd or several or _links_matter(problem, space)


def _links_matter(problem: Problem, space: MapSpace) -> bool:
    """Whether words that children pass on meet features whose effect is only known further in."""
    p = problem.arrays[0]
    followers = {
        int(p["option_follower"][o])
        for s in range(int(p["entries"]))
        for o in range(int(p["saf_first"][s]), int(p["saf_first"][s]) + int(p["saf_options"][s]))
    }
    return any(
        t in followers or t == int(p["output"]) or bool(p["has_metadata"][level - 1, t])
        for level, t in np.argwhere(passes_on(problem, space))
    )


def stand_in(problem: Problem) -> Problem:
    """The same problem under the default rules, without spatial and position skipping; every alternative acts."""
    arrays = problem.arrays.copy()
    p = arrays[0]
    p["exact"], p["delta_rule"], p["first_visit_fills"] = True, int(DeltaRule.EXACT), False
    p["spatial_entries"] = p["position_entries"] = 0
    entries = [
        (int(p["saf_kind"][s]), int(p["saf_level"][s]), o)
        for s in range(int(p["entries"]))
        for o in range(int(p["saf_first"][s]), int(p["saf_first"][s]) + int(p["saf_options"][s]))
    ]
    entries = entries[: len(p["saf_kind"])]
    p["entries"] = len(entries)
    for s, (kind, level, option) in enumerate(entries):
        p["saf_kind"][s], p["saf_level"][s], p["saf_first"][s], p["saf_options"][s] = kind, level, option, 1
    return replace(problem, arrays=arrays, rules=rules("fiberloom"))


def nearly(
    problem: Problem,
    space: MapSpace,
    objective: Objective,
    *,
    seconds: float | None,
    memory_mb: float,
    progress: Callable[[dict[str, Any]], None] | None,
    front: bool,
) -> Optimum:
    """The best mapping found through the stand-in, with a bound; arguments as `fiberloom.mapper.exact.find_optimum`.

    Raises:
        MappingError: when nothing that was met fits.
    """
    started = time.perf_counter()
    wide = None if front or _links_matter(problem, space) else unrolled(problem, space)
    if wide is not None:
        search = ExactSearch(
            wide, space, objective, seconds=seconds, memory_mb=memory_mb, progress=progress, judge=problem
        )
        try:
            return search.run()
        except MappingError:
            if "stopped" in search.statistics:
                raise  # else what fits the wider array alone has hidden what fits the hardware
    plain = _without_links(space)
    share = None if seconds is None else 0.6 * seconds
    search = ExactSearch(
        stand_in(problem), plain, objective, seconds=share, memory_mb=memory_mb, progress=progress, collect=CHILDREN
    )
    bound = 0.0
    try:
        bound = search.run().certificate.lower_bound
    except MappingError:
        if not search.complete and "stopped" in search.statistics:
            raise
    evaluate = BatchEvaluator(problem)
    # the stand-in may lead astray, so that mappings drawn at random stand beside what it met
    seen = [
        *(_as_in(rows, space) for rows in search.complete),
        space.repair(space.sample(np.random.default_rng(0), _DRAWN)),
    ]
    rows = PackedMappings.concatenate(seen)
    energy, cycles = judged(evaluate, space, rows)
    limit = _SECONDS if seconds is None else seconds - (time.perf_counter() - started)
    rows, energy, cycles = improved(evaluate, space, objective, rows, energy, cycles, limit)
    chosen = _front(energy, cycles) if front else [objective.best(energy, cycles)]
    if not len(chosen) or chosen[0] is None:
        raise MappingError("no mapping that the search met fits the hardware")
    kept = [int(i) for i in chosen if i is not None]
    found = float(objective.value(energy[kept], cycles[kept]).min())
    windows = not problem.arrays[0]["is_simple"][: len(problem.tensors)].all()
    dense = not is_sparse(problem.arrays[0]) and not windows and not space.peer_links.any()
    least = bound if dense else float(objective.value(*compulsory(problem, space)))
    powers = objective.energy_power + objective.latency_power
    certificate = Certificate.of(found, min(found * (1 - 1e-9), least * (1 - _ROUNDING) ** powers), objective.name)
    return Optimum(
        tuple(unpack(space.workload, space.architecture, rows, i) for i in kept),
        tuple(float(energy[i]) for i in kept),
        tuple(float(cycles[i]) for i in kept),
        certificate,
        time.perf_counter() - started,
        {**search.statistics, "relaxed": True},
    )


def _without_links(space: MapSpace) -> MapSpace:
    if not space.peer_links.any():
        return space
    plain = MapSpace(space.workload, space.architecture, space.constraints)
    plain.peer_links = np.zeros_like(space.peer_links)
    return plain


def _as_in(rows: PackedMappings, space: MapSpace) -> PackedMappings:
    return replace(rows, multicast=space.multicast, peer_links=space.peer_links)


def _front(energy: Any, cycles: Any) -> list[int]:
    """Indices of the Pareto front, by rising cycles."""
    order = np.lexsort((energy, cycles))
    out: list[int] = []
    for i in order:
        if not math.isnan(energy[i]) and (not out or energy[i] < energy[out[-1]]):
            out.append(int(i))
    return out
