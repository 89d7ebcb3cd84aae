"""The exact mapper against enumeration of the whole map space, and what it says when it can't prove its answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from exact_problems import enumerated, random_core, random_dense, random_lists, random_problem, random_sparse
from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
from fiberloom.architecture.sparse import Format, RankFormat, TensorFormat
from fiberloom.errors import FiberloomError, MappingError
from fiberloom.input.specification import parse
from fiberloom.mapper.certificate import exact_ending
from fiberloom.mapper.exact import find_optimum
from fiberloom.mapper.exact.sparsity import lists_by_idle_loops
from fiberloom.mapper.exact.unrolled import unrolled
from fiberloom.mapper.objective import parse_objective
from fiberloom.mapping.space import MapSpace
from fiberloom.model.evaluate import BatchEvaluator, evaluate
from fiberloom.model.lower import lower
from fiberloom.workload.einsum import Einsum

OBJECTIVES = [parse_objective(text) for text in ("energy", "latency", "edp", "energy^2*latency")]
LARGEST = 300_000


def _compare(seeds: range, make: Callable[[int], tuple[Einsum, Architecture]]) -> int:
    """Problems on which optimum and enumeration were compared, for every objective."""
    compared = 0
    for seed in seeds:
        workload, architecture = make(seed)
        try:
            problem = lower(workload, architecture)
            space = MapSpace(workload, architecture)
        except FiberloomError:
            continue
        if space.size() > LARGEST:
            continue
        every = enumerated(problem, space, OBJECTIVES)
        for objective, best in zip(OBJECTIVES, every, strict=True):
            if best is None:
                with pytest.raises(MappingError):
                    find_optimum(problem, space, objective)
                continue
            found = find_optimum(problem, space, objective)
            energy, cycles = found.energy_pj[0], found.cycles[0]
            if lists_by_idle_loops(problem, space):
                assert found.certificate.lower_bound <= best[0] * (1 + 1e-11), (seed, objective.name)
                continue
            assert float(objective.value(energy, cycles)) == pytest.approx(best[0], rel=1e-11), (seed, objective.name)
            assert float(objective.tie(energy, cycles)) == pytest.approx(best[1], rel=1e-11), (seed, objective.name)
            assert found.certificate.status == "optimal"
        compared += any(best is not None for best in every)
    return compared


def test_dense_optima_equal_enumeration() -> None:
    assert _compare(range(30), random_dense) >= 20


def test_sparse_optima_equal_enumeration() -> None:
    assert _compare(range(30), random_sparse) >= 15


def test_optima_with_lists_of_few_non_zeros_equal_enumeration() -> None:
    assert _compare(range(40), random_lists) >= 20


def test_an_answer_is_a_bound_where_loops_of_one_iteration_decide_on_metadata() -> None:
    workload, architecture = random_lists(350)
    problem, space = lower(workload, architecture), MapSpace(workload, architecture)
    assert lists_by_idle_loops(problem, space)
    for objective, best in zip(OBJECTIVES, enumerated(problem, space, OBJECTIVES), strict=True):
        assert best is not None
        found = find_optimum(problem, space, objective)
        value = float(objective.value(found.energy_pj[0], found.cycles[0]))
        assert 0 < found.certificate.lower_bound <= best[0] * (1 + 1e-11) <= value * (1 + 2e-11)
        assert (found.certificate.status == "optimal") == (objective.name == "latency")
        assert exact_ending(found.certificate, found.statistics) in ("proved", "bounded")


@pytest.mark.slow
def test_many_optima_with_lists_of_few_non_zeros_equal_enumeration() -> None:
    assert _compare(range(100, 500), random_lists) >= 200


@pytest.mark.slow
def test_many_dense_optima_equal_enumeration() -> None:
    assert _compare(range(100, 330), random_dense) >= 150


@pytest.mark.slow
def test_many_sparse_optima_equal_enumeration() -> None:
    assert _compare(range(100, 350), random_sparse) >= 120


def _compare_cores(seeds: range, *, odd: bool = False) -> tuple[int, int]:
    """Cores whose optima were compared with enumeration, for every objective, and how many answers were proved."""
    compared = proved = 0
    for seed in seeds:
        workload, architecture = random_core(seed, odd=odd)
        problem, space = lower(workload, architecture), MapSpace(workload, architecture)
        assert problem.arrays[0]["spatial_entries"]
        if space.size() > LARGEST:
            continue
        for objective, best in zip(OBJECTIVES, enumerated(problem, space, OBJECTIVES), strict=True):
            if best is None:
                continue
            found = find_optimum(problem, space, objective, seconds=3 if odd else None)
            value = float(objective.value(found.energy_pj[0], found.cycles[0]))
            certificate = found.certificate
            assert certificate.lower_bound <= best[0] * (1 + 1e-11), (seed, objective.name)
            assert value >= best[0] * (1 - 1e-11), (seed, objective.name, "a mapping outside the space")
            if certificate.status == "optimal":
                assert value == pytest.approx(best[0], rel=1e-11), (seed, objective.name)
                proved += 1
        compared += 1
    return compared, proved


def test_a_wider_array_costs_at_most_as_much_as_skipping_in_space() -> None:
    usable = equal = 0
    for seed in range(150):
        workload, architecture = random_core(seed, odd=seed >= 50)
        problem, space = lower(workload, architecture), MapSpace(workload, architecture)
        wide = unrolled(problem, space)
        if wide is None:
            continue
        rows = space.sample(np.random.default_rng(seed), 3000)
        true, least = BatchEvaluator(problem)(rows), BatchEvaluator(wide)(rows)
        fits = true.valid
        assert least.valid[fits].all(), seed
        assert (least.energy_pj[fits] <= true.energy_pj[fits] * (1 + 1e-9)).all(), seed
        assert (least.cycles[fits] <= true.cycles[fits] * (1 + 1e-9)).all(), seed
        usable += 1
        equal += bool(np.isclose(least.energy_pj[fits], true.energy_pj[fits], rtol=1e-9).any())
    assert usable > 50 and equal > 40


def test_optima_of_cores_that_leave_zeros_out_in_space_equal_enumeration() -> None:
    compared, proved = _compare_cores(range(20))
    assert compared >= 12 and proved >= 0.7 * compared * len(OBJECTIVES)


@pytest.mark.slow
def test_many_optima_of_cores_that_leave_zeros_out_in_space_equal_enumeration() -> None:
    compared, proved = _compare_cores(range(100, 250))
    assert compared >= 90 and proved >= 0.7 * compared * len(OBJECTIVES)
    assert _compare_cores(range(250, 300), odd=True)[0] >= 30


def test_tiles_that_list_what_they_share_with_others_ask_for_its_cycles() -> None:
    """Run lengths of sliding tiles through a narrow port: of two mappings that move as many words one may list more of them."""
    for seed in range(16):
        rng = np.random.default_rng(seed)
        p, m, c = (int(rng.choice(sizes)) for sizes in ((4, 6, 8), (2, 4), (2, 4)))
        workload = Einsum.parse(
            "O[m,p] = I[c,p+r] * W[m,c,r]", {"m": m, "p": p, "c": c, "r": 3}, densities={"I": 0.5, "W": 0.4}
        )
        ranks = (
            RankFormat(format=Format.UOP, payload_word_bits=0, metadata_word_bits=0),
            RankFormat(format=Format.RLE, variables=tuple("mpcr"), metadata_word_bits=4),
        )
        levels = (
            StorageLevel(
                name="DRAM", component=ComponentClass.DRAM, word_bits=8, energy_pj={"read": 8, "write": 8, "metadata_read": 8},
                shared_bandwidth=float(rng.choice([0.2, 0.5, 1])), metadata_word_bits=4, metadata_width_bits=8,
                formats={t: TensorFormat(ranks=ranks) for t in "IW"},
            ),
            StorageLevel(name="Buffer", word_bits=8, depth=int(rng.integers(12, 60)), energy_pj={"read": 1, "write": 1}),
        )  # fmt: skip
        architecture = Architecture(levels=levels, compute=Compute(name="mac", energy_pj={"compute": 1}))
        problem, space = lower(workload, architecture), MapSpace(workload, architecture)
        assert space.size() <= LARGEST
        for objective, best in zip(OBJECTIVES, enumerated(problem, space, OBJECTIVES), strict=True):
            assert best is not None
            found = find_optimum(problem, space, objective)
            value = float(objective.value(found.energy_pj[0], found.cycles[0]))
            assert value == pytest.approx(best[0], rel=1e-11), (seed, objective.name)


def _gemm(m: int, k: int, n: int) -> Einsum:
    text = f'{{fiberloom: 1, workload: {{einsum: "Z[m,n] = A[m,k] * B[k,n]", shape: {{m: {m}, k: {k}, n: {n}}}}}}}'
    workload = parse(text).workload
    assert workload is not None
    return workload


def _accelerator(depth: int = 64) -> Architecture:
    dram = StorageLevel(name="DRAM", component="dram", energy_pj={"read": 100, "write": 100}, read_bandwidth=1)  # type: ignore[arg-type]
    buffer = StorageLevel(name="Buffer", depth=depth, energy_pj={"read": 6, "write": 7})
    return Architecture(levels=(dram, buffer), compute=Compute(name="MAC", instances=4, energy_pj={"compute": 0.5}))


def test_the_front_is_what_enumeration_leaves_undominated() -> None:
    longest = 0
    for seed in range(12):
        workload, architecture = random_problem(seed, sparse=False)
        problem, space = lower(workload, architecture), MapSpace(workload, architecture)
        if space.size() > LARGEST // 10:
            continue
        rows = space.decode(range(space.size()))
        result = BatchEvaluator(problem)(rows.take(space.violations(rows) == 0))
        fits = result.valid
        front: list[tuple[float, float]] = []
        for cycles, energy in sorted(zip(result.cycles[fits], result.energy_pj[fits], strict=True)):
            if not front or energy < front[-1][1] * (1 - 1e-9):
                front.append((cycles, energy))
        if not front:
            continue
        found = find_optimum(problem, space, parse_objective("edp"), front=True)
        assert list(zip(found.cycles, found.energy_pj, strict=True)) == [pytest.approx(p) for p in front]
        assert len(found.mappings) == len(front)
        longest = max(longest, len(front))
    assert longest > 1


def test_the_mapping_returned_costs_what_was_promised() -> None:
    workload, architecture = _gemm(32, 32, 32), _accelerator()
    problem, space = lower(workload, architecture), MapSpace(workload, architecture)
    found = find_optimum(problem, space, parse_objective("energy"))
    result = evaluate(workload, architecture, found.mappings[0])
    assert (result.energy_pj, result.cycles) == (pytest.approx(found.energy_pj[0]), found.cycles[0])


def test_without_time_there_is_a_bound_or_an_error_that_says_so() -> None:
    workload, architecture = _gemm(720, 720, 720), _accelerator(4096)
    problem, space = lower(workload, architecture), MapSpace(workload, architecture)
    best = find_optimum(problem, space, parse_objective("edp"))
    try:
        hurried = find_optimum(problem, space, parse_objective("edp"), seconds=0.0)
    except MappingError as error:
        assert "stopped" in error.problem
    else:
        assert hurried.certificate.lower_bound <= best.certificate.lower_bound * (1 + 1e-9)


def test_little_memory_costs_the_proof_but_not_the_bound() -> None:
    workload, architecture = _gemm(720, 720, 720), _accelerator(4096)
    problem, space = lower(workload, architecture), MapSpace(workload, architecture)
    best = find_optimum(problem, space, parse_objective("energy"))
    narrow = find_optimum(problem, space, parse_objective("energy"), memory_mb=1)
    assert narrow.certificate.lower_bound <= best.energy_pj[0] * (1 + 1e-9)
    assert narrow.energy_pj[0] >= best.energy_pj[0] * (1 - 1e-9)


def test_an_empty_space_is_an_error() -> None:
    workload, architecture = _gemm(4, 4, 4), _accelerator(2)
    kept = architecture.levels[1].model_copy(update={"keep": ("A", "B", "Z")})
    architecture = architecture.model_copy(update={"levels": (architecture.levels[0], kept)})
    with pytest.raises(MappingError, match="fits"):
        find_optimum(lower(workload, architecture), MapSpace(workload, architecture), parse_objective("edp"))


@pytest.mark.parametrize("rules", ["timeloop-3.0.3", "timeloop-4", "artifact"])
def test_reference_rule_sets_get_a_valid_bound(rules: str) -> None:
    for seed in range(12):
        workload, architecture = random_problem(seed, sparse=bool(seed % 2))
        try:
            problem, space = lower(workload, architecture, rule_set=rules), MapSpace(workload, architecture)
        except FiberloomError:
            continue
        if space.size() > LARGEST // 10:
            continue
        (best,) = enumerated(problem, space, OBJECTIVES[2:3])
        if best is None:
            continue
        found = find_optimum(problem, space, OBJECTIVES[2], seconds=1.0)
        value = float(OBJECTIVES[2].value(found.energy_pj[0], found.cycles[0]))
        assert found.certificate.lower_bound <= best[0] * (1 + 1e-9), seed
        assert best[0] * (1 - 1e-9) <= value <= best[0] * 1.5, seed
