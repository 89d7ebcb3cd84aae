"""The mixed-integer mapper: its program's solutions are mappings, and good ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fiberloom.architecture import library
from fiberloom.errors import SpecError
from fiberloom.mapper.driver import run
from fiberloom.mapper.search import SearchProblem
from fiberloom.mapper.searchers.random_search import RandomSearch
from fiberloom.mapping.constraints import Constraints, LevelConstraints, LoopConstraints
from fiberloom.mapping.packed import PackedMappings
from fiberloom.mapping.space import MapSpace
from fiberloom.model.lower import lower
from fiberloom.workload.einsum import Einsum
from map_problems import gemm_problem

pytest.importorskip("scipy")

from fiberloom.mapper.searchers.milp import MilpSearcher
from fiberloom.mapper.searchers.milp_model import MappingProgram, Weights

GEMM = Einsum.parse("Z[m,n] = A[m,k] * B[k,n]", {"m": 64, "n": 96, "k": 48})
CONV = Einsum.parse("O[m,p,q] = W[m,c,r,s] * I[c,p+r,q+s]", {"m": 32, "c": 16, "p": 14, "q": 14, "r": 3, "s": 3})


def on_eyeriss(einsum: Einsum, constraints: Constraints | None = None) -> SearchProblem:
    problem = lower(einsum, library.load("eyeriss", einsum))
    return SearchProblem(problem, MapSpace(einsum, problem.architecture, constraints), "edp")


def proposals(target: SearchProblem, **hyper: object) -> list[PackedMappings]:
    searcher = MilpSearcher(target, np.random.default_rng(0), **hyper)  # type: ignore[arg-type]
    found = []
    while (packed := searcher.ask(1000)) is not None:
        found.append(packed)
        searcher.tell(packed, target.evaluate(packed))
    return found


@pytest.mark.parametrize("einsum", [GEMM, CONV])
def test_solutions_are_mappings_that_fit(einsum: Einsum) -> None:
    target = on_eyeriss(einsum)
    for packed in proposals(target, alternatives=1):
        assert target.evaluate(packed).valid.all()


def test_a_few_solutions_beat_many_random_mappings() -> None:
    target = on_eyeriss(CONV)
    best = min(target.evaluate(packed).objective.min() for packed in proposals(target, alternatives=1))
    assert best < run(RandomSearch(target, np.random.default_rng(0)), target, evaluations=5000).value


def test_every_alternative_has_other_factors() -> None:
    found = proposals(on_eyeriss(GEMM), alternatives=3)
    assert len(found) == 4
    seen = {(p.temporal[0].tobytes(), p.spatial[0].tobytes(), p.on_x[0].tobytes()) for p in found}
    assert len(seen) == 4


def test_alternatives_end_when_there_is_no_other_mapping() -> None:
    target = gemm_problem()
    fixed = target.space.sample(np.random.default_rng(1), 500)
    fixed = fixed.take(np.flatnonzero(target.evaluate(fixed).valid)[:1])
    space = target.space.freeze("tile", fixed).freeze("parallel", fixed)
    assert len(proposals(SearchProblem(target.problem, space, "edp"), alternatives=5)) == 1


def test_compute_weight_fills_the_array() -> None:
    target = on_eyeriss(GEMM)
    fast = proposals(target, alternatives=0, compute=100.0)[0]
    slow = proposals(target, alternatives=0, compute=0.0, traffic=0.0, utilization=0.0)[0]
    lanes = [math.prod(int(f) for f in packed.spatial[0].ravel()) for packed in (fast, slow)]
    assert lanes[0] >= 0.5 * 168
    assert lanes[0] >= lanes[1]


def test_constraints_hold() -> None:
    glb = LevelConstraints(temporal=LoopConstraints(factors={"n": 8}), spatial=LoopConstraints(factors={"m": 2}))
    target = on_eyeriss(GEMM, Constraints(levels={"shared_glb": glb}))
    level, n, m = target.space.level_names.index("shared_glb"), 1, 0
    packed = proposals(target, alternatives=0)[0]
    assert (packed.temporal[:, level, n] == 8).all()
    assert (packed.spatial[:, level, m] == 2).all()
    assert (target.space.violations(packed) == 0).all()


def test_the_decided_order_keeps_loops_that_index_nothing_of_a_tensor_inside() -> None:
    """With all weight on traffic, no order of the same factors moves fewer words by the program's own measure."""
    target = on_eyeriss(GEMM)
    space, level = target.space, target.space.level_names.index("shared_glb")
    relevant = np.array(target.problem.arrays["is_relevant"][0][:3, :3], bool)
    program = MappingProgram(
        target.problem,
        space,
        space.fixed_keep,
        level=level,
        capacity_share=np.full((6, 3), 0.5),
        weights=Weights(0, 10, 1),
    )
    solution = program.solve(seconds=30)
    assert solution is not None
    assert solution.proved

    def repeats(order: tuple[int, ...]) -> float:
        total = 0.0
        for t in range(3):
            inside = [i for i in range(level) if space.fixed_keep[i, t]]
            between = solution.temporal[inside[-1] + 1 if inside else 0 : level]
            moved = bool((between[:, relevant[t]] > 1).any())
            for d in order:
                moved = moved or bool(relevant[t, d] and solution.temporal[level, d] > 1)
                total += math.log2(solution.temporal[level, d]) * moved
        return total

    import itertools

    best = min(repeats(order) for order in itertools.permutations(range(3)))
    assert repeats(tuple(int(d) for d in solution.order)) == pytest.approx(best)


def test_a_level_that_does_not_exist_is_named_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="Buffer"):
        MilpSearcher(gemm_problem(), np.random.default_rng(0), level="Bufer")
