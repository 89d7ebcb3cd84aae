"""The map space: its points are counted, numbered, drawn and told from what lies outside."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
from fiberloom.errors import SpecError
from fiberloom.mapping.constraints import Constraints, LevelConstraints, LoopConstraints
from fiberloom.mapping.factorizations import Factorizations, permutation_rank, permutation_unrank
from fiberloom.mapping.nest import Mapping
from fiberloom.mapping.packed import ROWS, PackedMappings, unpack
from fiberloom.mapping.space import AXES, MapSpace
from fiberloom.workload.einsum import Einsum

GEMM = Einsum.parse("Z[m,n] = A[m,k] * B[k,n]", {"m": 4, "n": 6, "k": 2}, name="gemm")
CONV = Einsum.parse(
    "O[n,k,p,q] = I[n,c,p+r,q+s] * W[k,c,r,s]", {"n": 2, "k": 8, "c": 8, "p": 6, "q": 6, "r": 3, "s": 3}, name="conv"
)


def design(mesh: tuple[int, int] = (4, 2), **register: object) -> Architecture:
    x, y = mesh
    return Architecture(
        levels=(
            StorageLevel(name="DRAM", component=ComponentClass.DRAM),
            StorageLevel(name="Buffer", depth=1 << 20),
            StorageLevel.model_validate(
                {"name": "Registers", "component": "regfile", "instances": x * y, "mesh_x": x, "depth": 1 << 16}
                | register
            ),
        ),
        compute=Compute(name="MAC", instances=x * y, mesh_x=x),
    )


def temporal(level: str, **loops: object) -> Constraints:
    return Constraints(levels={level: LevelConstraints(temporal=LoopConstraints.model_validate(loops))})


def spatial(level: str, **loops: object) -> Constraints:
    return Constraints(levels={level: LevelConstraints(spatial=LoopConstraints.model_validate(loops))})


def same(a: PackedMappings, b: PackedMappings) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ROWS)


# Factorisations


@pytest.mark.parametrize("bound", [1, 7, 12, 36])
def test_factorisations_are_those_of_a_plain_search(bound: int) -> None:
    allowed = [tuple(range(1, bound + 1)), (1, 2, 3, 12), tuple(range(1, bound + 1)), (1, 3, 4)]
    plain = {f for f in itertools.product(*allowed) if math.prod(f) == bound}
    found = Factorizations(bound, allowed)
    listed = found.unrank(np.arange(found.count))
    assert found.count == len(plain)
    assert {tuple(map(int, row)) for row in listed} == plain
    assert np.array_equal(found.rank(listed), np.arange(found.count))
    assert [set(map(int, c)) for c in found.choices] == [{f[s] for f in plain} for s in range(4)]


def test_a_count_beyond_64_bits_is_exact() -> None:
    exponents = {2: 30, 3: 10}
    bound = math.prod(p**e for p, e in exponents.items())
    slots = 24
    found = Factorizations(bound, [tuple(int(d) for d in Factorizations(bound, [(bound,)]).divisors)] * slots)
    assert found.count == math.prod(math.comb(e + slots - 1, slots - 1) for e in exponents.values()) > 2**63
    ranks = np.array([0, 1, found.count // 3, found.count - 1], object)
    rows = found.unrank(ranks)
    assert all(math.prod(map(int, row)) == bound for row in rows)
    assert list(found.rank(rows)) == list(ranks)
    assert found.legal(found.sample(np.random.default_rng(0), 20)).all()


def test_the_nearest_factorisation_is_the_best_of_all() -> None:
    found = Factorizations(24, [(1, 2, 3, 4, 6, 8, 12, 24), (1, 2, 4), (1, 2, 3, 6)])
    every = np.log2(found.unrank(np.arange(found.count)))
    targets = np.random.default_rng(1).normal(1.5, 1.5, (200, 3))
    near, _ = found.nearest(targets)
    least = np.abs(every[None] - targets[:, None]).sum(axis=2).min(axis=1)
    assert np.abs(np.log2(near) - targets).sum(axis=1) == pytest.approx(least)


def test_the_nearest_factorisation_obeys_limits_where_any_does() -> None:
    found = Factorizations(24, [(1, 2, 4, 8), (1, 3, 24)])
    near, fits = found.nearest(np.log2([[8, 3], [8, 3]]), np.array([[8, 24], [1, 24]]))
    assert near.tolist() == [[8, 3], [1, 24]] and fits.all()
    near, fits = found.nearest(np.log2([[8, 3]]), np.array([[1, 3]]))
    assert not fits.any() and found.legal(near).all()


def test_permutations_are_numbered_in_lexicographic_order() -> None:
    every = np.array(list(itertools.permutations(range(5))))
    assert np.array_equal(permutation_rank(every), np.arange(120))
    assert np.array_equal(permutation_unrank(np.arange(120), 5), every)


# Counting and numbering


def test_every_number_is_a_different_point_and_comes_back() -> None:
    space = MapSpace(GEMM, design((2, 2)), temporal("Buffer", factors={"m": 1, "k": 1}))
    size = space.size()
    assert size == math.prod(space.size_by_axis().values()) < 2e6
    ids = np.random.default_rng(0).permutation(size)[:50_000]
    points = space.decode(ids)
    assert space.encode(points) == list(ids)
    assert not space.breaches(points, coupled=False).any()


def test_the_size_is_the_number_of_points_that_a_plain_search_finds() -> None:
    workload = Einsum.parse("Z[m] = A[m,k] * B[k]", {"m": 4, "k": 2})
    architecture = design((2, 2), keep=("A",))
    space = MapSpace(workload, architecture)
    points = space.decode(range(space.size()))
    spatial_m = [f for f in itertools.product((1, 2, 4), repeat=5) if math.prod(f) == 4 and max(f[3:]) <= 2]
    spatial_k = [f for f in itertools.product((1, 2), repeat=5) if math.prod(f) == 2 and max(f[3:]) <= 2]
    seen = {
        tuple(int(f) for f in (*row[:, 0], *spread[:, 0])) for row, spread in zip(points.temporal, points.spatial, strict=True)
    }  # fmt: skip
    # a fan-out below Buffer alone: registers have as many instances as there are MACs
    assert len(seen) == sum(f[4] == 1 for f in spatial_m)
    assert space.size_by_axis()["tile"] == len(seen) * sum(f[4] == 1 for f in spatial_k)
    assert space.size_by_axis()["parallel"] == 4 and space.size_by_axis()["bypass"] == 8
    assert len(np.unique(np.array(space.encode(points)))) == space.size()


def test_numbers_beyond_128_bits_come_back() -> None:
    shape = dict.fromkeys("abcdef", 2**7 * 3**2)
    workload = Einsum.parse("Z[a,b] = A[a,c,d] * B[b,c,d,e,f]", shape)
    levels = [
        StorageLevel(name=f"L{i}", component=ComponentClass.DRAM if i == 0 else ComponentClass.SRAM) for i in range(6)
    ]
    levels += [StorageLevel(name="L6", instances=16, mesh_x=4)]
    space = MapSpace(workload, Architecture(levels=tuple(levels), compute=Compute(name="MAC", instances=64, mesh_x=8)))
    size = space.size()
    assert size > 2**128
    ids = [0, size - 1, size // 7, 2**128 + 12345]
    assert space.encode(space.decode(ids)) == ids
    drawn = space.sample(np.random.default_rng(0), 50)
    assert same(space.decode(space.encode(drawn)), drawn)


def test_a_number_outside_the_space_is_refused() -> None:
    space = MapSpace(GEMM, design())
    with pytest.raises(SpecError, match="no mapping"):
        space.decode([space.size()])


def test_samples_are_uniform_over_the_points() -> None:
    workload = Einsum.parse("Z[m] = A[m,k] * B[k]", {"m": 6, "k": 2})
    space = MapSpace(workload, design((2, 1), keep=("A", "B", "Z")), temporal("Buffer", factors={"k": 1}))
    size = space.size()
    counts = Counter(space.encode(space.sample(np.random.default_rng(3), 20 * size)))
    assert len(counts) == size
    statistic = sum((counts[i] - 20) ** 2 / 20 for i in range(size))
    assert abs(statistic - (size - 1)) < 5 * math.sqrt(2 * (size - 1))  # five standard deviations of chi-square


def test_a_seed_names_a_sample() -> None:
    space = MapSpace(CONV, design())
    assert same(space.sample(np.random.default_rng(5), 100), space.sample(np.random.default_rng(5), 100))


def test_a_sampled_mapping_is_a_mapping_of_the_workload() -> None:
    space = MapSpace(CONV, design())
    packed = space.sample(np.random.default_rng(0), 20)
    for i in range(20):
        mapping = unpack(CONV, space.architecture, packed, i)
        assert isinstance(mapping, Mapping)
        mapping.check(CONV, space.architecture)


# What is open and what is fixed


def test_the_outermost_level_keeps_everything_and_others_are_free() -> None:
    space = MapSpace(GEMM, design())
    assert space.fixed_keep[-1].all() and not space.free_keep[-1].any()
    assert space.free_keep[:-1].all()


def test_stated_keeps_are_fixed_until_they_are_freed() -> None:
    architecture = design(keep=("A",))
    stated = MapSpace(GEMM, architecture)
    freed = MapSpace(GEMM, architecture, Constraints(levels={"Registers": LevelConstraints(free=("B",))}))
    assert stated.fixed_keep[0].tolist() == [True, False, False] and not stated.free_keep[0].any()
    assert freed.free_keep[0].tolist() == [False, True, False]


def test_a_level_without_capacity_keeps_nothing() -> None:
    space = MapSpace(GEMM, design(depth=0))
    assert not space.fixed_keep[0].any() and not space.free_keep[0].any()
    with pytest.raises(SpecError, match="holds 0 words"):
        MapSpace(GEMM, design(depth=0), Constraints(levels={"Registers": LevelConstraints(keep=("A",))}))


def test_a_fixed_factor_shrinks_the_choices_elsewhere() -> None:
    space = MapSpace(GEMM, design(), temporal("Buffer", factors={"n": 3}))
    assert space.temporal_choices[1][1].tolist() == [3]
    assert space.temporal_choices[0][1].tolist() == [1, 2]
    assert space.temporal_choices[2][1].tolist() == [1, 2]


def test_what_remains_goes_to_one_place() -> None:
    constraints = Constraints(
        levels={
            "Registers": LevelConstraints(temporal=LoopConstraints(factors={"n": 2})),
            "DRAM": LevelConstraints(temporal=LoopConstraints(remaining=("n",))),
        }
    )
    space = MapSpace(GEMM, design(), constraints)
    assert [space.temporal_choices[level][1].tolist() for level in range(3)] == [[2], [1], [3]]


def test_limits_hold_for_every_sample() -> None:
    space = MapSpace(CONV, design(), temporal("Buffer", at_least={"k": 2}, at_most={"k": 4, "c": 2}))
    packed = space.sample(np.random.default_rng(0), 500)
    assert set(packed.temporal[:, 1, 1]) == {2, 4}
    assert set(packed.temporal[:, 1, 2]) == {1, 2}


def test_axes_follow_the_constraints() -> None:
    space = MapSpace(GEMM, design(), spatial("Buffer", x=("m",), y=("n",)))
    packed = space.sample(np.random.default_rng(0), 500)
    assert (packed.spatial[:, 1, 2] == 1).all()
    assert (packed.on_x[:, 1] & 1 == 1).all() and (packed.on_x[:, 1] & 2 == 0).all()
    assert set(packed.spatial[:, 1, 0]) == {1, 2, 4} and set(packed.spatial[:, 1, 1]) == {1, 2}
    assert space.size_by_axis()["parallel"] == 1


def test_orders_follow_the_constraints() -> None:
    space = MapSpace(CONV, design(), temporal("Buffer", inner=("r", "s"), outer=("k",)))
    packed = space.sample(np.random.default_rng(0), 300)
    order = packed.temporal_order[:, 1]
    assert (order[:, 0] == 6).all() and (order[:, 1] == 5).all()
    present = packed.temporal[:, 1, 1] > 1
    others = order[np.arange(300), -1]
    assert (others[present] == 1).all()
    packed.temporal_order[:, 1] = order[:, ::-1]
    broken = space.explain(packed, int(np.flatnonzero((packed.temporal[:, 1] > 1).sum(axis=1) > 5)[0]))
    assert [v.kind for v in broken if v.kind == "order"]


# What is outside


def test_violations_are_counted_and_explained() -> None:
    space = MapSpace(GEMM, design((4, 2)))
    packed = space.sample(np.random.default_rng(0), 1)
    packed.temporal[0] = [[4, 6, 2], [1, 1, 1], [1, 1, 1]]
    packed.spatial[0] = 1
    assert space.violations(packed).tolist() == [0] and not space.explain(packed, 0)
    packed.temporal[0, 0, 1] = 5
    packed.keep[0, 2, 0] = False
    problems = [v.problem for v in space.explain(packed, 0)]
    assert problems == [
        "'Registers' temporal n=5; allowed are 1, 2, 3, 6",
        "the factors of n multiply to 5, but its bound is 6",
        "'DRAM' bypasses 'A', but it is to keep it",
    ]
    assert space.violations(packed).tolist() == [3]


def test_too_many_children_are_a_violation_though_the_point_has_a_number() -> None:
    space = MapSpace(GEMM, design((4, 2)))
    packed = space.sample(np.random.default_rng(0), 1)
    packed.temporal[0] = [[1, 6, 1], [1, 1, 1], [1, 1, 1]]
    packed.spatial[0] = [[1, 1, 1], [4, 1, 2], [1, 1, 1]]
    packed.on_x[0, 1] = 0b101
    assert [v.problem for v in space.explain(packed, 0)] == [
        "the spatial loops below 'Buffer' need 8 children along X; there are 4"
    ]
    assert len(space.encode(packed)) == 1
    packed.on_x[0, 1] = 0b001
    assert space.violations(packed).tolist() == [0]


def test_utilisation_limits_are_violations() -> None:
    space = MapSpace(GEMM, design((4, 2)), spatial("Buffer", least_fanout=8))
    packed = space.sample(np.random.default_rng(0), 400)
    used = packed.spatial[:, 1].prod(axis=1)
    assert (space.violations(packed)[used < 8] > 0).all()
    repaired = space.repair(packed)
    assert not space.violations(repaired).any()
    assert (repaired.spatial[:, 1].prod(axis=1) == 8).all()


def test_a_mapping_outside_has_no_number() -> None:
    space = MapSpace(GEMM, design())
    packed = space.sample(np.random.default_rng(0), 3)
    packed.temporal[1, 0, 0] = 5
    with pytest.raises(SpecError, match=r"mapping 1 of the batch is not in the map space: .*temporal m=5"):
        space.encode(packed)


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        (temporal("Buffer", factors={"n": 4}), "n=4 does not divide"),
        (temporal("Bufer", factors={"n": 2}), "did you mean 'Buffer'"),
        (temporal("Buffer", at_least={"n": 3}, at_most={"n": 2}), "at least 3"),
        (spatial("Registers", factors={"n": 2}), "n=2"),
        (spatial("Buffer", factors={"m": 4, "n": 3}), "12"),
        (spatial("Buffer", remaining=("n",)), "takes what remains of 6, which is 6, but the fan-out below 'Buffer' is 4 x 2"),
        (Constraints(levels={n: LevelConstraints(bypass=("A",)) for n in ("DRAM", "Buffer", "Registers")}), "'A'"),
    ],
)  # fmt: skip
def test_an_empty_space_says_what_empties_it(constraints: Constraints, message: str) -> None:
    with pytest.raises(SpecError) as error:
        MapSpace(GEMM, design((4, 2)), constraints)
    assert message in str(error.value)


def test_limits_that_leave_no_factorisation_are_named_with_their_reach() -> None:
    most = LevelConstraints(temporal=LoopConstraints(at_most={"n": 1}), spatial=LoopConstraints(at_most={"n": 1}))
    constraints = Constraints(
        levels={
            "Registers": most,
            "Buffer": most,
            "DRAM": LevelConstraints(temporal=LoopConstraints(at_most={"n": 3})),
        },
        where={"DRAM.temporal.at_most.n": "limits.yaml:12", "Registers.temporal.at_most.n": "limits.yaml:4"},
    )
    with pytest.raises(SpecError) as error:
        MapSpace(GEMM, design((4, 2)), constraints)
    assert str(error.value).startswith("limits.yaml:4: no factors of n ")
    assert "the largest factors allowed multiply to 3" in str(error.value)
    assert "'DRAM' temporal 1 … 3" in str(error.value)


def test_a_utilisation_that_no_factors_reach_empties_the_space() -> None:
    with pytest.raises(SpecError) as error:
        MapSpace(GEMM, design((5, 1)), spatial("Buffer", least_fanout=5))
    assert "fit the 5 x 1 fan-out below 'Buffer' with at least 5 working children" in str(error.value)


def test_a_tensor_that_no_level_may_keep_empties_the_space() -> None:
    constraints = Constraints(
        levels={"DRAM": LevelConstraints(bypass=("A",)), "Buffer": LevelConstraints(bypass=("A",))}
    )
    with pytest.raises(SpecError, match="no level may keep 'A'"):
        MapSpace(GEMM, design(depth=0), constraints)


def test_spatial_skipping_of_structured_zeros_folds_loops_onto_the_fan_out() -> None:
    skip = {"kind": "spatial-skipping", "options": [{"follower": "B", "leaders": ["A"]}]}
    half = Einsum.parse("Z[m,n] = A[m,k] * B[k,n]", {"m": 4, "n": 6, "k": 8}, densities={"A": "2:4"})
    levels = design((4, 1)).levels
    buffer = StorageLevel.model_validate({"name": "Buffer", "optimizations": [skip]})
    folding = Architecture(levels=(levels[0], buffer, levels[2]), compute=Compute(name="MAC", instances=4))
    assert MapSpace(half, folding).spatial_choices[1][2].tolist() == [1, 2, 4, 8]
    assert MapSpace(half, design((4, 1))).spatial_choices[1][2].tolist() == [1, 2, 4]


# Frozen axes


@pytest.mark.parametrize("axis", AXES)
def test_a_frozen_axis_stays_as_it_is(axis: str) -> None:
    space = MapSpace(CONV, design())
    rng = np.random.default_rng(0)
    mapping = space.sample(rng, 1)
    frozen = space.freeze(axis, mapping)
    drawn = frozen.sample(rng, 200)
    held = {"tile": "temporal", "order": "temporal_order", "parallel": "spatial", "bypass": "keep"}[axis]
    assert (getattr(drawn, held) == getattr(mapping, held)).all()
    assert frozen.encode(mapping)[0] in range(frozen.size())
    assert frozen.size_by_axis()["parallel" if axis == "parallel" else axis] < space.size_by_axis()[axis]
    assert space.size() == MapSpace(CONV, design()).size()
    if axis == "parallel":
        assert (drawn.on_x == mapping.on_x)[(mapping.spatial > 1).any(axis=2).repeat(200, axis=0)].all()


def test_freezing_every_axis_leaves_one_point() -> None:
    space = MapSpace(CONV, design())
    mapping = space.sample(np.random.default_rng(0), 1)
    for axis in AXES:
        space = space.freeze(axis, mapping)
    assert space.size() == 1
    assert same(space.decode([0]), mapping)


def test_a_mistyped_axis_names_the_right_one() -> None:
    space = MapSpace(GEMM, design())
    with pytest.raises(SpecError, match="did you mean 'order'"):
        space.freeze("ordre", space.sample(np.random.default_rng(0), 1))
