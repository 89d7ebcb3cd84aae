"""Mappings of earlier layers become legal seeds of a search, and the search is otherwise the same."""

import math

import numpy as np
import pytest

from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
from fiberloom.errors import SpecError
from fiberloom.mapper.driver import run
from fiberloom.mapper.search import SearchProblem, make
from fiberloom.mapper.similarity import correspondence, differing_dimensions, logarithmic_distance, similarity
from fiberloom.mapper.transfer import RESCALINGS, transfer
from fiberloom.mapper.warm_start import Solved, WarmStart, nearest_layers
from fiberloom.mapping.constraints import Constraints, LevelConstraints, LoopConstraints
from fiberloom.mapping.space import MapSpace
from fiberloom.model.lower import lower
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.layers import bert_base, convolution, depthwise, fully_connected, mind_mappings, resnet50

ARCHITECTURE = Architecture(
    name="array",
    levels=(
        StorageLevel(name="DRAM", component=ComponentClass.DRAM),
        StorageLevel(name="Buffer", depth=65536),
        StorageLevel(name="Local", depth=512, instances=64, mesh_x=8),
    ),
    compute=Compute(name="MAC", instances=64, mesh_x=8),
)


def space(einsum: Einsum, constraints: Constraints | None = None) -> MapSpace:
    return MapSpace(einsum, ARCHITECTURE, constraints)


def target(einsum: Einsum) -> SearchProblem:
    return SearchProblem(lower(einsum, ARCHITECTURE), space(einsum), "edp")


SMALL = convolution("small", outputs=32, inputs=16, rows=28, kernel=3)
LARGE = convolution("large", outputs=64, inputs=32, rows=14, kernel=3)


# Similarity


def test_a_layer_is_like_itself() -> None:
    for layer in (*resnet50(), *bert_base(), *mind_mappings()):
        assert similarity(layer.einsum, layer.einsum) == (0.0, 0.0)
        assert correspondence(layer.einsum, layer.einsum).variables == {v: v for v in layer.einsum.shape}


def test_distances_are_symmetric() -> None:
    layers = [layer.einsum for layer in (*resnet50()[:5], *bert_base())]
    for a in layers:
        for b in layers:
            assert differing_dimensions(a, b) == differing_dimensions(b, a)
            assert logarithmic_distance(a, b) == pytest.approx(logarithmic_distance(b, a))


def test_dimensions_that_differ_are_counted() -> None:
    # 32 → 64 output channels, 16 → 32 input channels, rows and columns 28 → 14
    assert differing_dimensions(SMALL, LARGE) == 4
    assert logarithmic_distance(SMALL, LARGE) == 4


def test_a_stride_is_a_difference() -> None:
    strided = convolution("strided", outputs=32, inputs=16, rows=28, kernel=3, stride=2)
    assert differing_dimensions(SMALL, strided) == 2
    assert logarithmic_distance(SMALL, strided) == 0


def test_variables_correspond_by_role_and_not_by_name() -> None:
    product = Einsum.parse("Z[x,y] = A[x,z] * B[z,y]", {"x": 8, "y": 8, "z": 8})
    renamed = Einsum.parse("O[m,p] = W[m,c] * I[c,p]", {"c": 8, "p": 8, "m": 8})
    assert correspondence(product, renamed).variables == {"m": "x", "p": "y", "c": "z"}
    assert similarity(product, renamed) == (0, 0)


def test_operands_correspond_in_the_order_that_matches_more() -> None:
    weights_first = Einsum.parse("O[m,p] = W[m,c] * I[c,p+r]", {"m": 4, "c": 4, "p": 8, "r": 3})
    weights_last = Einsum.parse("O[m,p] = I[c,p+r] * W[m,c]", {"m": 4, "c": 4, "p": 8, "r": 3})
    found = correspondence(weights_first, weights_last)
    assert found.tensors == {"I": "I", "W": "W", "O": "O"}
    assert found.variables == {v: v for v in "mcpr"}


def test_channels_of_a_depthwise_layer_are_nothing_in_a_convolution() -> None:
    alone = depthwise("depthwise", channels=32, rows=28, kernel=3)
    assert correspondence(SMALL, alone).variables == {"p": "p", "q": "q", "r": "r", "s": "s"}
    # the convolution's two kinds of channels and the depth-wise ones
    assert differing_dimensions(SMALL, alone) == 3


def test_layers_with_other_numbers_of_operands_never_correspond() -> None:
    mttkrp = mind_mappings()[-1].einsum
    assert differing_dimensions(SMALL, mttkrp) == math.inf
    with pytest.raises(SpecError, match="2 operands against 3"):
        transfer(space(SMALL), space(SMALL).decode([0]), space(mttkrp))


# Transfer


def test_to_its_own_space_a_mapping_is_transferred_unchanged_where_no_child_idles() -> None:
    here = space(SMALL)
    drawn = here.repair(here.sample(np.random.default_rng(1), 3000))
    busy = drawn.take(here.occupied(drawn, 1).prod(axis=1) == 64)
    assert len(busy) > 5
    for rescale in RESCALINGS:
        moved = transfer(here, busy, here, rescale)
        assert here.encode(moved) == here.encode(busy)


@pytest.mark.parametrize("rescale", RESCALINGS)
def test_transferred_mappings_are_legal(rescale: str) -> None:
    rng = np.random.default_rng(2)
    layers = [layer.einsum for layer in (*resnet50()[:4], *bert_base()[:2])] + [
        depthwise("d", channels=24, rows=7, kernel=3)
    ]
    for a in layers:
        drawn = space(a).repair(space(a).sample(rng, 5))
        for b in layers:
            moved = transfer(space(a), drawn, space(b), rescale)
            assert len(moved) == 5
            assert not space(b).violations(moved).any()  # fmt: skip


def test_tiles_inside_stay_and_the_outermost_loop_takes_the_rest() -> None:
    a = space(fully_connected("a", outputs=64, inputs=64, batch=64))
    b = space(fully_connected("b", outputs=256, inputs=64, batch=64))
    drawn = a.repair(a.sample(np.random.default_rng(3), 400))
    drawn = drawn.take(a.occupied(drawn, 1).prod(axis=1) == 64)
    moved = transfer(a, drawn, b, "inner")
    m = b.variables.index("m")
    np.testing.assert_array_equal(moved.temporal[:, :2], drawn.temporal[:, :2])
    np.testing.assert_array_equal(moved.spatial, drawn.spatial)
    np.testing.assert_array_equal(moved.temporal[:, 2, m], 4 * drawn.temporal[:, 2, m])


def test_proportional_rescaling_squares_factors_when_the_bound_is_squared() -> None:
    one = Architecture(
        name="flat", levels=(StorageLevel(name="DRAM", component=ComponentClass.DRAM), StorageLevel(name="Buffer")),
        compute=Compute(name="MAC"),
    )  # fmt: skip
    a, b = (MapSpace(fully_connected("x", outputs=m, inputs=4, batch=4), one) for m in (16, 256))
    drawn = a.sample(np.random.default_rng(4), 20)
    moved = transfer(a, drawn, b, "proportional")
    m = a.variables.index("m")
    np.testing.assert_array_equal(moved.temporal[:, :, m], drawn.temporal[:, :, m] ** 2)


def test_orders_and_keeps_are_inherited_by_role() -> None:
    # The same computation under other names, so that ids mean the same.
    a = Einsum.parse("Z[x,y] = A[x,z] * B[z,y]", {"x": 16, "y": 16, "z": 16})
    b = Einsum.parse("O[m,p] = W[m,c] * I[c,p]", {"c": 16, "p": 16, "m": 16})
    here, there = space(a), space(b)
    drawn = here.repair(here.sample(np.random.default_rng(5), 2000))
    drawn = drawn.take(here.occupied(drawn, 1).prod(axis=1) == 64)
    moved = transfer(here, drawn, there)
    back = transfer(there, moved, here)
    assert here.encode(here.canonical(back)) == here.encode(here.canonical(drawn))
    energies = [target(e).evaluate(p) for e, p in ((a, drawn), (b, moved))]
    np.testing.assert_array_equal(energies[0].energy_pj, energies[1].energy_pj)
    np.testing.assert_array_equal(energies[0].cycles, energies[1].cycles)


def test_idle_children_get_loops_that_the_source_had_in_time() -> None:
    a = fully_connected("wide", outputs=64, inputs=64, batch=16)
    b = fully_connected("narrow", outputs=2, inputs=64, batch=16)
    only_rows = Constraints(levels={"Buffer": LevelConstraints(spatial=LoopConstraints(factors={"m": 8}))})
    here, there = space(a, only_rows), space(b)
    drawn = here.repair(here.sample(np.random.default_rng(6), 50))
    moved = transfer(here, drawn, there)
    working = there.occupied(moved, 1).prod(axis=1)
    # two of m's eight loops are left, so that one axis would idle to three quarters; some mappings keep it so
    assert (working >= 16).all()
    assert np.median(working) == 64


def test_constraints_of_the_new_layer_hold() -> None:
    held = Constraints(levels={"Buffer": LevelConstraints(temporal=LoopConstraints(factors={"m": 1}, inner=("c",)))})
    here, there = space(SMALL), space(LARGE, held)
    moved = transfer(here, here.repair(here.sample(np.random.default_rng(7), 30)), there)
    assert not there.violations(moved).any()
    assert (moved.temporal[:, 1, there.variables.index("m")] == 1).all()


def test_mappings_can_not_be_transferred_between_architectures_without_a_common_level() -> None:
    other = ARCHITECTURE.model_copy(
        update={"levels": tuple(x.model_copy(update={"name": f"other {x.name}"}) for x in ARCHITECTURE.levels)}
    )
    with pytest.raises(SpecError, match="no level of the same name"):
        transfer(space(SMALL), space(SMALL).decode([0]), MapSpace(LARGE, other))


def test_an_unknown_rescaling_is_refused() -> None:
    with pytest.raises(SpecError, match="no way to rescale"):
        transfer(space(SMALL), space(SMALL).decode([0]), space(LARGE), "outer")


# The wrapper


def solved(einsum: Einsum, evaluations: int = 3000) -> Solved:
    found = run(make("random", target(einsum), 0), target(einsum), evaluations=evaluations)
    assert found.best_packed is not None
    return Solved(space(einsum), found.best_packed)


def test_the_most_similar_layer_comes_first_and_the_later_of_equals() -> None:
    layers = [convolution(f"layer {i}", outputs=m, inputs=16, rows=28, kernel=3) for i, m in enumerate((32, 64, 64))]
    far = depthwise("far", channels=3, rows=5, kernel=5)
    earlier = [Solved(space(e), space(e).decode([0])) for e in (*layers, far, mind_mappings()[-1].einsum)]
    new = convolution("new", outputs=64, inputs=16, rows=28, kernel=3)
    assert [s.space.workload.name for s in nearest_layers(new, earlier)] == ["layer 2", "layer 1", "layer 0", "far"]


def test_a_search_begins_with_the_seeds_and_spends_no_more() -> None:
    problem = target(LARGE)
    warm = WarmStart(make("random", problem, 0), [solved(SMALL)])
    assert warm.seeds is not None
    first = problem.evaluate(warm.seeds)
    found = run(warm, problem, evaluations=500)
    assert found.evaluations == 500
    assert found.value <= first.objective.min()
    assert found.curve.at_evaluations([len(warm.seeds)])[0] == first.objective.min()


def test_seeds_are_asked_in_order_however_small_the_batches() -> None:
    problem = target(LARGE)
    here = space(SMALL)
    many = Solved(here, here.repair(here.sample(np.random.default_rng(0), 10)))
    warm = WarmStart(make("random", problem, 0), [many], mutants=0)
    assert warm.seeds is not None
    asked = []
    for _ in range(12):
        batch = warm.ask(3)
        assert batch is not None
        warm.tell(batch, problem.evaluate(batch))
        asked += problem.space.encode(batch)
    assert asked[: len(warm.seeds)] == problem.space.encode(warm.seeds)
    cold = make("random", problem, 0).ask(36)
    assert cold is not None
    assert asked[len(warm.seeds) :] == problem.space.encode(cold)[len(warm.seeds) :]


def test_without_an_earlier_layer_the_search_is_the_inner_one() -> None:
    problem = target(SMALL)
    cold = run(make("random", problem, 7), problem, evaluations=400)
    warm = run(WarmStart(make("random", problem, 7), []), problem, evaluations=400)
    np.testing.assert_array_equal(cold.curve.value, warm.curve.value)


def test_a_good_mapping_of_the_same_shape_is_as_good_as_it_was() -> None:
    again = SMALL.model_copy(update={"name": "again"})
    problem = target(again)
    before = solved(SMALL)
    known = target(SMALL).evaluate(before.packed).objective[0]
    found = run(WarmStart(make("random", problem, 1), [before]), problem, evaluations=2)
    assert found.value <= known * (1 + 1e-12)


def test_mutants_of_the_seeds_are_legal_seeds_too_and_come_after_them() -> None:
    problem = target(LARGE)
    before = solved(SMALL)
    alone = WarmStart(make("random", problem, 0), [before], mutants=0).seeds
    seeds = WarmStart(make("random", problem, 0), [before], mutants=50).seeds
    assert alone is not None
    assert seeds is not None
    assert len(alone) + 25 < len(seeds) <= len(alone) + 50
    ids = problem.space.encode(seeds)
    assert len(set(ids)) == len(ids)
    assert ids[: len(alone)] == problem.space.encode(alone)
    assert not problem.space.violations(seeds).any()


def test_a_genetic_search_breeds_from_the_seeds() -> None:
    problem = target(LARGE)
    before = solved(SMALL, 20000)
    warm = WarmStart(make("genetic", problem, 3, population=40), [before])
    cold = run(make("genetic", problem, 3, population=40), problem, evaluations=40)
    found = run(warm, problem, evaluations=400)
    assert warm.seeds is not None
    seeds = problem.evaluate(warm.seeds).objective.min()
    assert seeds < cold.value
    assert found.value < seeds


def test_an_enumeration_judges_seeds_first_and_misses_no_mapping() -> None:
    tiny = fully_connected("tiny", outputs=2, inputs=2, batch=2)
    flat = Architecture(
        name="flat",
        levels=(
            StorageLevel(name="DRAM", component=ComponentClass.DRAM, keep=("W", "I", "O")),
            StorageLevel(name="Buffer", depth=64, keep=("W", "I", "O")),
        ),
        compute=Compute(name="MAC"),
    )
    here = MapSpace(tiny, flat)
    problem = SearchProblem(lower(tiny, flat), here, "energy")
    cold = run(make("exhaustive", problem, 0), problem)
    warm = run(WarmStart(make("exhaustive", problem, 0), [Solved(here, here.decode([5]))], mutants=0), problem)
    assert cold.stopped == warm.stopped == "exhausted"
    assert warm.evaluations == cold.evaluations + 1
    assert warm.value == cold.value
