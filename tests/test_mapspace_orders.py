"""Loop orders in classes: what stands for a class costs the same as all that it stands for, and no order is left out."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
from fiberloom.mapping.constraints import Constraints, LevelConstraints, LoopConstraints
from fiberloom.mapping.packed import PackedMappings
from fiberloom.mapping.space import MapSpace
from fiberloom.model.evaluate import BatchEvaluator
from fiberloom.model.lower import lower
from fiberloom.workload.einsum import Einsum
from problems import Features, random_problem

GEMM = ("Z[m,n] = A[m,k] * B[k,n]", {"m": 16, "n": 16, "k": 16})
BATCHED = ("Z[b,m,n] = A[b,m,k] * B[b,k,n]", {"b": 4, "m": 8, "n": 8, "k": 8})
MTTKRP = ("Z[i,r] = A[i,j,k] * B[j,r] * C[k,r]", {"i": 8, "j": 8, "k": 8, "r": 8})
DEPTHWISE = ("O[n,c,p,q] = I[n,c,p+r,q+s] * W[c,r,s]", {"n": 2, "c": 8, "p": 8, "q": 8, "r": 3, "s": 3})
CONV = (
    "O[n,k,p,q] = I[n,c,p+r,q+s] * W[k,c,r,s]",
    {"n": 2, "k": 8, "c": 8, "p": 8, "q": 8, "r": 3, "s": 3},
)


def space(kernel: tuple[str, dict[str, int]], constraints: Constraints | None = None, **outer: object) -> MapSpace:
    levels = (
        StorageLevel(name="DRAM", component=ComponentClass.DRAM),
        StorageLevel.model_validate({"name": "Buffer", "depth": 1 << 16} | outer),
        StorageLevel(name="Registers", component=ComponentClass.REGFILE, instances=8, mesh_x=4, depth=1 << 12),
    )
    architecture = Architecture(levels=levels, compute=Compute(name="MAC", instances=8, mesh_x=4))
    return MapSpace(Einsum.parse(*kernel), architecture, constraints)


def shuffled(mappings: PackedMappings, rng: np.random.Generator) -> PackedMappings:
    out = mappings.take(slice(None))
    out.temporal_order[:] = np.argsort(rng.random(out.temporal_order.shape), axis=2)
    return out


def assert_canonical_orders_cost_the_same(space: MapSpace, mappings: PackedMappings) -> int:
    """Returns how many of the mappings fit."""
    form = space.canonical(mappings)
    for level, classes in enumerate(space.level_orders):
        assert (classes.rank(form.temporal_order[:, level]) >= 0).all(), "an order has no class"
    evaluator = BatchEvaluator(lower(space.workload, space.architecture))
    given, canonical = evaluator(mappings), evaluator(form)
    assert np.array_equal(given.status, canonical.status)
    np.testing.assert_allclose(canonical.cycles, given.cycles, rtol=1e-12)
    np.testing.assert_allclose(canonical.energy_pj, given.energy_pj, rtol=1e-11)
    return int(given.valid.sum())


def test_a_matrix_product_has_three_classes_per_level_outside_the_innermost() -> None:
    # one per tensor that stays; the innermost level's own loops move nothing into it
    assert [len(orders) for orders in space(GEMM).orders if orders is not None] == [1, 3, 3]


def test_a_window_of_one_tap_is_no_window() -> None:
    pointwise = (CONV[0], {**CONV[1], "r": 1, "s": 1})
    plain = ("O[n,k,p,q] = I[n,c,p,q] * W[k,c]", {v: CONV[1][v] for v in "nkcpq"})
    assert [space(pointwise).order_count(level) for level in range(3)] == [
        space(plain).order_count(level) for level in range(3)
    ]


def test_a_format_with_ranks_sees_every_order_of_its_tensor() -> None:
    a = {"ranks": [{"format": "UOP"}, {"format": "CP"}]}
    classes = {}
    for keep in (("A", "B", "Z"), ("B", "Z")):
        levels = space(GEMM, formats={"A": a}).architecture.levels
        registers = levels[2].model_copy(update={"keep": keep})
        architecture = Architecture(levels=(*levels[:2], registers), compute=Compute(name="MAC", instances=8, mesh_x=4))
        built = MapSpace(Einsum.parse(*GEMM), architecture)
        classes[keep] = [built.order_count(level) for level in range(3)]
    # where registers keep A, their loops are no part of how the buffer's tile of A is read
    assert classes["A", "B", "Z"] == [1, 4, 3]
    assert classes["B", "Z"][0] == 2


@pytest.mark.parametrize(
    "kernel", [GEMM, BATCHED, MTTKRP, DEPTHWISE, CONV], ids=["gemm", "batched", "mttkrp", "depthwise", "conv"]
)
def test_every_order_of_any_loops_has_a_class(kernel: tuple[str, dict[str, int]]) -> None:
    built = space(kernel)
    variables = range(len(kernel[1]))
    orders = np.array(list(itertools.permutations(variables)))
    rng = np.random.default_rng(0)
    if len(orders) > 1000:
        orders = orders[rng.choice(len(orders), 1000, replace=False)]
    for mask in range(1 << len(variables)):
        found = built.level_orders[1].equivalent(orders, np.full(len(orders), mask))
        assert (found >= 0).all(), f"loops {mask:b}"


@pytest.mark.parametrize("inner", [("k",), ("m", "k")])
@pytest.mark.parametrize("kernel", [BATCHED, ("O[m,p] = I[k,p+r] * W[m,k,r]", {"m": 4, "k": 4, "p": 8, "r": 3})])
def test_no_order_is_lost_behind_a_loop_that_constraints_put_innermost(
    kernel: tuple[str, dict[str, int]], inner: tuple[str, ...]
) -> None:
    loops = LoopConstraints(inner=inner)
    built = space(kernel, Constraints(levels={"Buffer": LevelConstraints(temporal=loops)}))
    classes = built.level_orders[1]
    orders = np.array(list(itertools.permutations(range(len(kernel[1])))))
    for mask in range(1 << len(kernel[1])):
        active = np.full(len(orders), mask)
        legal = classes.obeys(orders, active)
        assert legal.any() and (classes.equivalent(orders[legal], active[legal]) >= 0).all(), f"loops {mask:b}"


@pytest.mark.parametrize("kernel", [GEMM, MTTKRP, CONV], ids=["gemm", "mttkrp", "conv"])
def test_orders_of_one_class_cost_the_same(kernel: tuple[str, dict[str, int]]) -> None:
    built = space(kernel)
    rng = np.random.default_rng(1)
    mappings = shuffled(built.repair(built.sample(rng, 3000)), rng)
    assert assert_canonical_orders_cost_the_same(built, mappings) == 3000


def test_orders_of_different_classes_can_cost_differently() -> None:
    built = space(GEMM)
    evaluator = BatchEvaluator(lower(built.workload, built.architecture))
    base = built.repair(built.sample(np.random.default_rng(2), 400))
    for level in (1, 2):
        energies = []
        for order in built.orders[level]:  # type: ignore[union-attr]
            tried = base.take(slice(None))
            tried.temporal_order[:, level] = order
            energies.append(evaluator(tried).energy_pj)
        for one, other in itertools.combinations(energies, 2):
            assert (np.abs(one - other) > 1e-6 * one).any()


@pytest.mark.parametrize("seed", range(16))
def test_orders_of_one_class_cost_the_same_on_random_designs(seed: int) -> None:
    check_random_design(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(16, 400))
def test_orders_of_one_class_cost_the_same_on_many_random_designs(seed: int) -> None:
    check_random_design(seed)


def check_random_design(seed: int) -> None:
    features = (
        Features(),
        Features(sparse=True),
        Features(peer_links=True, multicast_off=True),
        Features(sparse=True, peer_links=True, multicast_off=True),
    )[seed % 4]
    problem = random_problem(random.Random(seed), features)
    built = MapSpace(problem.workload, problem.architecture)
    rng = np.random.default_rng(seed)
    mappings = built.repair(built.sample(rng, 300))
    assert not built.violations(mappings).any()
    assert_canonical_orders_cost_the_same(built, shuffled(mappings, rng))


def test_equal_nests_have_equal_arrays() -> None:
    built = space(CONV)
    rng = np.random.default_rng(3)
    mappings = built.sample(rng, 200)
    other = mappings.take(slice(None))
    # what loops of bound 1 leave open
    unit = (mappings.spatial == 1) << np.arange(7)
    other.on_x[:] ^= unit.sum(axis=2) & rng.integers(0, 1 << 7, other.on_x.shape)
    for i, level in itertools.product(range(200), range(3)):
        order = other.temporal_order[i, level]
        present = [d for d in order if mappings.temporal[i, level, d] > 1]
        absent = [d for d in order if mappings.temporal[i, level, d] == 1]
        rng.shuffle(absent)
        other.temporal_order[i, level] = [*absent, *present]
    assert not np.array_equal(mappings.temporal_order, other.temporal_order)
    one, two = built.canonical(mappings), built.canonical(other)
    for name in ("temporal", "spatial", "temporal_order", "spatial_order", "on_x", "keep"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name
    both = PackedMappings.concatenate([mappings, other])
    assert np.array_equal(built.distinct(both), built.distinct(mappings))
    assert built.encode(one) == built.encode(two)


def test_a_canonical_form_is_its_own() -> None:
    built = space(CONV)
    once = built.canonical(built.sample(np.random.default_rng(4), 500))
    twice = built.canonical(once)
    assert np.array_equal(once.temporal_order, twice.temporal_order) and np.array_equal(once.on_x, twice.on_x)
    assert not built.breaches(once, coupled=False).any()


def test_above_eight_loops_every_order_counts() -> None:
    wide = ("Z[a,b,c] = A[a,d,e,f] * B[b,c,d,e,f,g,h,i]", dict.fromkeys("abcdefghi", 2))
    built = space(wide)
    assert built.orders[2] is None and built.order_count(2) == 362_880
    mappings = built.sample(np.random.default_rng(5), 200)
    assert built.decode(built.encode(mappings)).temporal_order.tolist() == mappings.temporal_order.tolist()
    assert not built.breaches(built.mutate(mappings, np.random.default_rng(6), "order"), coupled=False).any()
