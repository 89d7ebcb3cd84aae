"""The bound of the exact mapper never promises more than what a mapping costs: whole mappings are followed through its stages."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from exact_problems import random_dense, random_lists, random_sparse
from fiberloom.architecture.levels import Architecture
from fiberloom.errors import FiberloomError
from fiberloom.mapper.exact.ground import ground
from fiberloom.mapper.exact.search import ExactSearch
from fiberloom.mapper.exact.template import completed
from fiberloom.mapper.objective import Objective, parse_objective
from fiberloom.mapping.packed import PackedMappings
from fiberloom.mapping.space import MapSpace
from fiberloom.model.lower import lower
from fiberloom.workload.einsum import Einsum

ROUNDING = 1 + 1e-9
ENUMERATED = 3000


class Follower(ExactSearch):
    """A search that only keeps what passes through given tile shapes, and whose incumbent rules nothing out."""

    target: list[int]
    pool: Any = None
    first = 0

    def _kept(self, found: Any, depth: int, beam: int) -> Any:
        kept = super()._kept(found, depth, 0)
        return kept[found["shape"][kept] == self.target[depth]]

    def _leaves(self, template: Any, pool: Any, first: int) -> float:
        self.pool, self.first, self.template = pool, first, template
        return math.inf

    def follow(self, template: Any, target: list[int]) -> None:
        self.target, self.pool, self.found = target, None, 0
        self._layers(template, 0)

    def value(self, rows: Any) -> Any:
        """What the model says of complete labels."""
        result = self.evaluator(completed(self.space, self.template, self.pool, rows))
        return self.objective.value(result.energy_pj, result.cycles)

    def promises(self, row: int) -> list[float]:
        """Bounds of a complete label and of all that it continues."""
        found = []
        while row >= 0:
            found.append(float(self.pool["value"][row]))
            row = int(self.pool["parent"][row])
        return found


def _shapes(search: Follower, base: Any, packed: PackedMappings, i: int) -> list[int]:
    """Numbers of the tile shapes of a mapping, from the outermost loops in."""
    points, levels = base.points, packed.temporal.shape[1]
    extents, numbers = search.space.bounds.copy(), []
    for level in range(levels - 1, -1, -1):
        for factors in (packed.temporal[i, level], packed.spatial[i, level]):
            extents = extents // factors
            digits = [np.searchsorted(points.divisors[d, : points.count[d]], extents[d]) for d in range(len(extents))]
            numbers.append(int((np.array(digits) * points.stride).sum()))
    return numbers


def _picked(space: MapSpace, search: Follower, objective: Objective, most: int) -> tuple[PackedMappings, Any, Any]:
    """Mappings, which of them to follow - the best and some others - and what each costs."""
    rng = np.random.default_rng(0)
    total = space.size()
    packed = space.sample(rng, ENUMERATED) if total > ENUMERATED else space.decode(range(total))
    result = search.evaluator(packed)
    value = objective.value(result.energy_pj, result.cycles)
    fits = np.flatnonzero(np.isfinite(result.energy_pj) & (space.violations(packed) == 0))
    order = fits[np.argsort(value[fits], kind="stable")]
    return packed, [*order[: most // 2], *rng.permutation(order)[: most // 2]], value


Make = Callable[[int], tuple[Einsum, Architecture]]


def _follow(seed: int, make: Make, *, objective: Objective, refined: bool, most: int = 12) -> int:
    """Follow mappings of one random problem; returns how many."""
    workload, architecture = make(seed)
    try:
        problem, space = lower(workload, architecture), MapSpace(workload, architecture)
    except FiberloomError:
        return 0
    search = Follower(problem, space, objective)
    base = ground(search.problem, space)
    packed, picked, value = _picked(space, search, objective, most)
    templates: dict[bytes, Any] = {}
    for i in picked:
        keep = packed.keep[i]
        if keep.tobytes() not in templates:
            template = templates[keep.tobytes()] = search._template(base, keep)
            assert template is not None, (seed, "keeps that hold a valid mapping are given up")
            search.bounds.of(template)
            if refined:
                search._refine(template)
        template = templates[keep.tobytes()]
        search.follow(template, _shapes(search, base, packed, i))
        assert search._root_value(template) <= value[i] * ROUNDING, (seed, "root")
        assert search.pool is not None, (seed, "a valid mapping is lost")
        rows = np.arange(search.first, len(search.pool))
        values = search.value(rows)
        assert search.vague or values.min() <= value[i] * ROUNDING, (seed, "what is kept in its place is worse")
        for row, true in zip(rows, values, strict=True):
            assert max(search.promises(int(row))) <= true * ROUNDING, (seed, "a bound above what the mapping costs")
    return len(picked)


@pytest.mark.parametrize("objective", ["energy", "edp"])
@pytest.mark.parametrize("refined", [False, True])
@pytest.mark.parametrize("make", [random_dense, random_sparse, random_lists])
def test_no_stage_of_a_mapping_is_bounded_above_its_cost(make: Make, refined: bool, objective: str) -> None:
    followed = (_follow(s, make, objective=parse_objective(objective), refined=refined) for s in range(24))
    assert sum(followed) > 120


def test_compute_may_cost_less_than_with_all_loops_outermost() -> None:
    assert _follow(118, random_sparse, objective=parse_objective("energy"), refined=False)


@pytest.mark.slow
@pytest.mark.parametrize("make", [random_dense, random_sparse, random_lists])
def test_no_stage_of_many_mappings_is_bounded_above_its_cost(make: Make) -> None:
    for text in ("energy", "latency", "edp"):
        for refined in (False, True):
            followed = (_follow(s, make, objective=parse_objective(text), refined=refined) for s in range(100, 400))
            assert sum(followed) > 1500
