"""Map spaces with partial last tiles: exactly the legal factors, every one of them evaluated, and worth it for prime bounds."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
from fiberloom.architecture.sparse import ActionOptimization, Format, LeaderFollower, RankFormat, SafKind, TensorFormat
from fiberloom.cli.program import run as run_program
from fiberloom.errors import MappingError, SpecError
from fiberloom.mapper.driver import run
from fiberloom.mapper.search import SearchProblem, make
from fiberloom.mapping.constraints import Constraints, LevelConstraints, LoopConstraints
from fiberloom.mapping.coverings import LARGEST, Coverings
from fiberloom.mapping.factorizations import Factorizations
from fiberloom.mapping.nest import LevelMapping, Mapping
from fiberloom.mapping.packed import ROWS, PackedMappings, unpack
from fiberloom.mapping.space import AXES, MapSpace
from fiberloom.model.evaluate import BatchEvaluator, evaluate
from fiberloom.model.lower import lower
from fiberloom.model.microarchitecture import FIRST_MISFIT
from fiberloom.workload.einsum import Einsum
from map_problems import GEMM

PRODUCT = "Z[m,n] = A[m,k] * B[k,n]"
PRIMES = Einsum.parse(PRODUCT, {"m": 127, "n": 61, "k": 31}, name="primes")
CONV = Einsum.parse("O[k,p] = I[c,p+r] * W[k,c,r]", {"k": 7, "c": 5, "p": 11, "r": 3}, name="conv")


def design(lanes: int = 4, **register: object) -> Architecture:
    return Architecture(
        levels=(
            StorageLevel(name="DRAM", component=ComponentClass.DRAM, width_bits=64),
            StorageLevel(name="Buffer", depth=1 << 13, width_bits=64, read_bandwidth=16),
            StorageLevel.model_validate(
                {"name": "Registers", "component": "regfile", "instances": lanes**2, "mesh_x": lanes, "depth": 64}
                | register
            ),
        ),
        compute=Compute(name="MAC", instances=lanes**2, mesh_x=lanes),
    )


CONSTRAINED = Constraints(
    levels={
        "DRAM": LevelConstraints(temporal=LoopConstraints(outer=("k",), at_most={"n": 3})),
        "Buffer": LevelConstraints(
            temporal=LoopConstraints(factors={"m": 9}, inner=("k",)),
            spatial=LoopConstraints(at_least={"n": 2}, x=("n", "k"), y=("m", "n"), most_fanout=12, least_fanout=5),
            bypass=("B",),
        ),
        "Registers": LevelConstraints(temporal=LoopConstraints(at_least={"k": 4}), free=("Z",)),
    }
)
SPACES = {
    "free": MapSpace(PRIMES, design(), remainders=True),
    "constrained": MapSpace(PRIMES, design(), CONSTRAINED, remainders=True),
    "conv": MapSpace(CONV, design(), remainders=True),
}


@pytest.fixture(params=SPACES)
def space(request: pytest.FixtureRequest) -> MapSpace:
    return SPACES[request.param]


def check_nests(space: MapSpace, packed: PackedMappings, rows: int = 100) -> None:
    for i in range(min(rows, len(packed))):
        unpack(space.workload, space.architecture, packed, i).check(space.workload, space.architecture)


# Factors of one variable


def is_legal(bound: int, factors: tuple[int, ...]) -> bool:
    """Whether a mapping with these factors, innermost first, passes the check of mappings."""
    names = [f"L{i}" for i in range(len(factors))]
    einsum = Einsum.parse("Z[m] = A[m]", {"m": bound})
    architecture = Architecture(
        levels=tuple(StorageLevel(name=name) for name in reversed(names)), compute=Compute(name="MAC")
    )
    try:
        Mapping(levels={n: LevelMapping(temporal={"m": f}) for n, f in zip(names, factors, strict=True)}).check(
            einsum, architecture
        )
    except MappingError:
        return False
    return True


@pytest.mark.parametrize("bound", [1, 2, 7, 12])
def test_the_factors_are_those_that_the_check_of_mappings_takes(bound: int) -> None:
    allowed = [range(1, bound + 1), range(1, 5), range(2 if bound > 2 else 1, bound + 1)]
    plain = {f for f in itertools.product(*allowed) if is_legal(bound, f)}
    found = Coverings(bound, allowed, (0, 1, 2))
    listed = found.unrank(np.arange(found.count))
    assert found.count == len(plain)
    assert {tuple(map(int, row)) for row in listed} == plain
    assert np.array_equal(found.rank(listed), np.arange(found.count))
    assert found.legal(listed).all()
    assert [set(map(int, c)) for c in found.choices] == [{f[s] for f in plain} for s in range(3)]
    every = np.array(list(itertools.product(range(bound + 2), repeat=3)))
    assert {tuple(map(int, row)) for row in every[found.legal(every)]} == plain


def test_perfect_factors_are_among_them() -> None:
    perfect = Factorizations(60, [range(1, 61)] * 4)
    found = Coverings(60, [range(1, 61)] * 4, range(4))
    assert found.legal(perfect.unrank(np.arange(perfect.count))).all()
    assert found.count > 5 * perfect.count


def test_slots_are_nested_as_told() -> None:
    outward = Coverings(10, [range(1, 11), range(3, 4)], (0, 1))
    inward = Coverings(10, [range(1, 11), range(3, 4)], (1, 0))
    assert outward.unrank(np.arange(outward.count)).tolist() == [[4, 3]]
    assert inward.unrank(np.arange(inward.count)).tolist() == [[4, 3]]
    assert Coverings(10, [range(2, 3), range(1, 11)], (0, 1)).unrank(np.arange(1)).tolist() == [[2, 5]]
    assert Coverings(10, [range(2, 3), range(1, 11)], (1, 0)).choices[1].tolist() == [5, 6, 7, 8, 9]


def test_numbers_of_large_bounds_are_exact() -> None:
    found = Coverings(50_257, [range(1, 50_258)] * 120, range(120))
    assert found.count > 2**63
    ranks = np.array([0, found.count // 3, found.count - 1], object)
    assert list(found.rank(found.unrank(ranks))) == list(ranks)
    assert found.legal(found.sample(np.random.default_rng(0), 100)).all()


def test_the_nearest_factors_are_the_best_of_all() -> None:
    found = Coverings(31, [range(1, 32), range(2, 9), range(1, 5)], (1, 0, 2))
    every = np.log2(found.unrank(np.arange(found.count)))
    targets = np.random.default_rng(1).normal(1.5, 1.5, (200, 3))
    near, _ = found.nearest(targets)
    assert found.legal(near).all()
    least = np.abs(every[None] - targets[:, None]).sum(axis=2).min(axis=1)
    assert np.abs(np.log2(near) - targets).sum(axis=1) == pytest.approx(least)
    assert np.array_equal(found.nearest(every)[0], found.unrank(np.arange(found.count)))


def test_the_nearest_factors_obey_limits_where_any_do() -> None:
    found = Coverings(31, [range(1, 32), range(1, 9), range(1, 5)], range(3))
    every = found.unrank(np.arange(found.count))
    rng = np.random.default_rng(2)
    least = rng.integers(1, 5, (200, 3))
    most = least + rng.integers(0, 6, (200, 3))
    near, fits = found.nearest(rng.normal(1.5, 1.5, (200, 3)), most, least)
    possible = ((every[None] <= most[:, None]) & (every[None] >= least[:, None])).all(axis=2).any(axis=1)
    assert found.legal(near).all() and np.array_equal(fits, possible) and 20 < possible.sum() < 180


# Points of the space


def test_points_are_uniform_over_the_factors() -> None:
    space = MapSpace(Einsum.parse("Z[m] = A[m]", {"m": 5}), design(2), remainders=True)
    drawn = space.sample(np.random.default_rng(0), 40_000)
    found = space.factorizations[0]
    times = np.bincount(found.rank(space.factors(drawn, 0)), minlength=found.count)
    expected = 40_000 / found.count
    assert ((times - expected) ** 2 / expected).sum() < found.count + 6 * np.sqrt(2 * found.count)


def test_every_point_comes_back_and_passes_the_check_of_mappings(space: MapSpace) -> None:
    rng = np.random.default_rng(0)
    drawn = space.sample(rng, 500)
    again = space.decode(space.encode(drawn))
    assert all(np.array_equal(getattr(drawn, name), getattr(again, name)) for name in ROWS)
    assert not space.breaches(drawn, coupled=False).any()
    assert (drawn.temporal.prod(axis=1) * drawn.spatial.prod(axis=1) > space.bounds).any()
    check_nests(space, drawn)
    form = space.canonical(drawn)
    again = space.unvector(space.vector(form))
    assert np.array_equal(form.temporal, again.temporal) and np.array_equal(form.spatial, again.spatial)


@pytest.mark.parametrize("axis", AXES)
def test_moves_stay_inside(space: MapSpace, axis: str) -> None:
    rng = np.random.default_rng(1)
    a, b = space.repair(space.sample(rng, 300)), space.repair(space.sample(rng, 300))
    mutants, children = space.mutate(a, rng, axis), space.crossover(a, b, rng, axis)
    for moved in (mutants, children):
        assert not space.breaches(moved, coupled=False).any()
        check_nests(space, moved, 50)
    if axis in ("tile", "parallel"):
        assert (mutants.temporal != a.temporal).any(axis=(1, 2)).mean() > 0.3
        assert (children.spatial != a.spatial).any(axis=(1, 2)).mean() > 0.3


def test_repair_brings_any_factors_into_the_space(space: MapSpace) -> None:
    rng = np.random.default_rng(2)
    drawn = space.sample(rng, 600)
    drawn.temporal[::2] = rng.integers(1, 40, drawn.temporal[::2].shape)
    drawn.spatial[::3] = rng.integers(1, 9, drawn.spatial[::3].shape)
    repaired = space.repair(drawn)
    assert not space.violations(repaired).any()
    check_nests(space, repaired)
    untouched = np.flatnonzero(space.violations(drawn) == 0)
    assert np.array_equal(repaired.temporal[untouched], drawn.temporal[untouched])


def test_the_space_and_the_check_of_mappings_agree_on_factors() -> None:
    space, rng = SPACES["free"], np.random.default_rng(3)
    drawn = space.sample(rng, 300)
    level, d = rng.integers(0, 3, 300), rng.integers(0, 3, 300)
    drawn.temporal[np.arange(300), level, d] += rng.integers(-1, 2, 300)
    drawn.temporal[:] = np.maximum(drawn.temporal, 1)
    broken = space.breaches(drawn, coupled=False) > 0
    for i in range(300):
        mapping = unpack(space.workload, space.architecture, drawn, i)
        try:
            mapping.check(space.workload, space.architecture)
            refused = False
        except MappingError:
            refused = True
        assert refused == broken[i], space.explain(drawn, i)
    assert 50 < broken.sum() < 250


def test_an_empty_iteration_is_told() -> None:
    space = SPACES["free"]
    packed = space.decode([0])
    space.set_factors(packed, 0, np.array([[127, 2, 1, 1, 1][: len(space.slots)]]))
    (violation,) = space.explain(packed, 0)
    assert violation.kind == "product" and "iterations without work" in violation.problem


def test_constraints_hold() -> None:
    space = SPACES["constrained"]
    points = space.repair(space.sample(np.random.default_rng(4), 500))
    buffer, registers, dram = (space.level_names.index(name) for name in ("Buffer", "Registers", "DRAM"))
    m, n, k = (space.variables.index(v) for v in "mnk")
    assert (points.temporal[:, buffer, m] == 9).all()
    assert (points.temporal[:, dram, n] <= 3).all()
    assert (points.temporal[:, registers, k] >= 4).all()
    working = points.spatial[:, buffer].prod(axis=1)
    assert (points.spatial[:, buffer, n] >= 2).all() and (working >= 5).all() and (working <= 12).all()


def test_what_remains_is_rounded_up() -> None:
    constraints = Constraints(
        levels={
            "DRAM": LevelConstraints(temporal=LoopConstraints(remaining=("m",))),
            "Buffer": LevelConstraints(temporal=LoopConstraints(factors={"m": 20})),
        }
    )
    space = MapSpace(PRIMES, design(), constraints, remainders=True)
    assert space.temporal_choices[space.level_names.index("DRAM")][0].tolist() == [7]
    with pytest.raises(SpecError, match="does not divide"):
        MapSpace(PRIMES, design(), constraints)


def test_constraints_that_nothing_covers_are_refused() -> None:
    levels = {
        name: LevelConstraints(temporal=LoopConstraints(at_most={"m": 2})) for name in ("DRAM", "Buffer", "Registers")
    }
    with pytest.raises(SpecError, match="cover its bound of 127: the largest factors allowed multiply to 32"):
        MapSpace(PRIMES, design(), Constraints(levels=levels), remainders=True)


def test_freezing_keeps_partial_tiles() -> None:
    space, rng = SPACES["free"], np.random.default_rng(5)
    best = space.repair(space.sample(rng, 1))
    frozen = space.freeze("tile", best)
    drawn = frozen.sample(rng, 50)
    assert (drawn.temporal == best.temporal).all() and not space.breaches(drawn, coupled=False).any()


# What the model takes


def test_every_point_is_evaluated_and_one_by_one_alike(space: MapSpace) -> None:
    problem = lower(space.workload, space.architecture)
    packed = space.repair(space.sample(np.random.default_rng(6), 400))
    result = BatchEvaluator(problem)(packed)
    assert ((result.status == 0) | (result.status >= FIRST_MISFIT)).all()
    fits = np.flatnonzero(result.status == 0)
    assert len(fits) >= 8
    for i in fits[:8]:
        one = evaluate(space.workload, space.architecture, unpack(space.workload, space.architecture, packed, i))
        assert one.cycles == pytest.approx(result.cycles[i], rel=1e-12)
        assert one.energy_pj == pytest.approx(result.energy_pj[i], rel=1e-12)


def test_orders_of_one_class_cost_the_same(space: MapSpace) -> None:
    rng = np.random.default_rng(7)
    loose = MapSpace(space.workload, design(depth=1 << 20), remainders=True)
    packed = loose.repair(loose.sample(rng, 2000))
    packed.temporal_order[:] = rng.permuted(packed.temporal_order, axis=2)
    run_batch = BatchEvaluator(lower(loose.workload, loose.architecture))
    before, after = run_batch(packed), run_batch(loose.canonical(packed))
    assert (before.status == after.status).all() and before.valid.sum() > 200
    assert after.cycles[before.valid] == pytest.approx(before.cycles[before.valid], rel=1e-12)
    assert after.energy_pj[before.valid] == pytest.approx(before.energy_pj[before.valid], rel=1e-12)


@pytest.mark.parametrize(
    ("einsum", "shape", "changes", "perfect"),
    [
        (PRODUCT, {"m": 7, "n": 1, "k": 5}, {}, {}),
        ("O[k,p] = I[c,p+r] * W[k,c,r]", {"k": 7, "c": 5, "p": 11, "r": 3}, {}, dict.fromkeys("pr", "summed")),
        ("O[k,p] = I[p+r] * W[k,r]", {"k": 7, "p": 5, "r": 3}, {"peer_links": True}, dict.fromkeys("kpr", "neighbours")),
        ("Z[2*m] = A[m,k]", {"m": 7, "k": 5}, {}, dict.fromkeys("mk", "stride")),
        ("Z[m] = A[m,k]", {"m": LARGEST + 1, "k": 5}, {}, {"m": "largest"}),
        (
            PRODUCT,
            {"m": 7, "n": 5, "k": 3},
            {"formats": {"A": TensorFormat(ranks=(RankFormat(format=Format.CP),))}},
            dict.fromkeys("mk", "has a format"),
        ),
        (
            PRODUCT,
            {"m": 7, "n": 5, "k": 3},
            {"optimizations": (ActionOptimization(kind=SafKind.SKIPPING, options=(LeaderFollower(follower="A", leaders=("B",)),)),)},
            dict.fromkeys("mnk", "takes part in skipping"),
        ),
        (
            PRODUCT,
            {"m": 7, "n": 5, "k": 3},
            {"optimizations": (ActionOptimization(kind=SafKind.POSITION_SKIPPING, options=(LeaderFollower(follower="A"),)),)},
            dict.fromkeys("mnk", "position-skipping"),
        ),
    ],
)  # fmt: skip
def test_variables_that_the_model_takes_whole_stay_perfect_and_say_why(
    einsum: str, shape: dict[str, int], changes: dict[str, object], perfect: dict[str, str]
) -> None:
    workload = Einsum.parse(einsum, shape)
    inner = StorageLevel.model_validate({"name": "Buffer", "instances": 4, "mesh_x": 4, "depth": 1 << 20} | changes)
    outer = StorageLevel(name="DRAM", component=ComponentClass.DRAM, peer_links=inner.peer_links)
    space = MapSpace(
        workload,
        Architecture(levels=(outer, inner), compute=Compute(name="MAC", instances=8, mesh_x=8)),
        remainders=True,
    )
    assert set(space.perfect_variables) == set(perfect)
    for variable, reason in perfect.items():
        assert reason in space.perfect_variables[variable]
    for variable, found in zip(space.variables, space.factorizations, strict=True):
        assert found.partial == (variable not in perfect)
    packed = space.repair(space.sample(np.random.default_rng(0), 100))
    if len(perfect) < len(shape):
        status = BatchEvaluator(lower(workload, space.architecture))(packed).status
        assert ((status == 0) | (status >= FIRST_MISFIT)).all() and (status == 0).any()


def test_a_space_without_remainders_has_none() -> None:
    space = MapSpace(PRIMES, design())
    assert not space.remainders and space.perfect_variables == {}
    assert not any(found.partial for found in space.factorizations)
    assert SPACES["free"].size() > 1000 * space.size()


# What it is good for


@pytest.mark.parametrize("mapper", ["random", "genetic", "annealing"])
def test_prime_bounds_map_better_with_partial_tiles(mapper: str) -> None:
    problem = lower(PRIMES, design())
    best = {}
    for remainders in (False, True):
        space = MapSpace(PRIMES, design(), remainders=remainders)
        target = SearchProblem(problem, space, "edp")
        result = run(make(mapper, target, 0), target, evaluations=3000, seed=0)
        assert result.best is not None
        result.best.check(PRIMES, space.architecture)
        best[remainders] = result.value
        one = evaluate(PRIMES, space.architecture, result.best)
        assert one.cycles * one.energy_pj > 0
    assert best[True] < 0.5 * best[False]


# On the command line

AWKWARD = GEMM.partition("mapping:\n")[0].replace("{m: 8, n: 4, k: 4}", "{m: 7, n: 5, k: 3}")
SUMMED = AWKWARD.replace("A[m,k]", "A[m+k]")


@pytest.fixture
def awkward(tmp_path: Path) -> str:
    path = tmp_path / "awkward.yaml"
    path.write_text(AWKWARD)
    return str(path)


def test_a_sampling_mapper_undercuts_the_best_perfect_mapping(
    awkward: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_program(["map", awkward, "--json"]) == 0
    perfect = json.loads(capsys.readouterr().out)
    saved = str(tmp_path / "best.yaml")
    genetic = ["--remainders", "--mapper", "genetic", "--evaluations", "1000", "-o", saved]
    assert run_program(["map", awkward, *genetic, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["edp_pj_cycles"] < 0.9 * perfect["edp_pj_cycles"]
    assert run_program(["evaluate", saved, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["edp_pj_cycles"] == found["edp_pj_cycles"]


def test_the_exact_mapper_and_reference_rules_refuse_remainders(
    awkward: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_program(["map", awkward, "--remainders", "--json"]) == 3
    error = json.loads(capsys.readouterr().err)["error"]
    assert "exact mapper" in error["problem"] and "--mapper genetic" in error["hint"]
    rules = ["--mapper", "random", "--rules", "timeloop-4"]
    assert run_program(["map", awkward, "--remainders", *rules, "--json"]) == 3
    assert "timeloop-4" in json.loads(capsys.readouterr().err)["error"]["problem"]


def test_variables_that_stay_perfect_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "summed.yaml"
    path.write_text(SUMMED)
    assert run_program(["map", str(path), "--remainders", "--mapper", "random", "--evaluations", "500", "--json"]) == 0
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    assert sum("summed with other variables in the index of 'A'" in w for w in warnings) == 2


def test_the_space_is_described_and_mappers_compared(awkward: str, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = []
    for options in ([], ["--remainders"]):
        assert run_program(["mapspace", awkward, "--samples", "200", *options, "--json"]) == 0
        sizes.append(json.loads(capsys.readouterr().out)["size"])
    assert sizes[1] > 10 * sizes[0]
    assert run_program(["mapspace", awkward, "--samples", "200", "--ablation", "--remainders", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ablation"]["mapper"] == "random"
    compared = ["--mappers", "genetic", "--evaluations", "200", "--seeds", "1"]
    assert run_program(["mappers", "compare", awkward, *compared, "--remainders", "--json"]) == 0
