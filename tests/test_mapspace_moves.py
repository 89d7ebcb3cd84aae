"""Moves through the map space: each stays inside it, changes what it names, and reaches everything."""

from __future__ import annotations

import numpy as np
import pytest

from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
from fiberloom.errors import SpecError
from fiberloom.mapping.constraints import Constraints, LevelConstraints, LoopConstraints
from fiberloom.mapping.packed import ROWS, PackedMappings
from fiberloom.mapping.space import AXES, MapSpace
from fiberloom.workload.einsum import Einsum

CONV = Einsum.parse(
    "O[n,k,p,q] = I[n,c,p+r,q+s] * W[k,c,r,s]", {"n": 1, "k": 16, "c": 12, "p": 14, "q": 14, "r": 3, "s": 3}
)
DESIGN = Architecture(
    levels=(
        StorageLevel(name="DRAM", component=ComponentClass.DRAM),
        StorageLevel(name="Buffer", depth=4096),
        StorageLevel(name="Registers", component=ComponentClass.REGFILE, instances=16, mesh_x=4, depth=64),
    ),
    compute=Compute(name="MAC", instances=64, mesh_x=16),
)
CONSTRAINED = Constraints(
    levels={
        "DRAM": LevelConstraints(temporal=LoopConstraints(at_most={"r": 1, "s": 1}, outer=("k",))),
        "Buffer": LevelConstraints(
            temporal=LoopConstraints(factors={"c": 2}, inner=("r", "s")),
            spatial=LoopConstraints(at_least={"k": 2}, x=("k", "c"), y=("p", "q", "k"), most_fanout=12, least_fanout=4),
            keep=("I",),
            bypass=("W",),
        ),
        "Registers": LevelConstraints(spatial=LoopConstraints(x=("k", "p")), free=("O",)),
    }
)
SPACES = {"free": MapSpace(CONV, DESIGN), "constrained": MapSpace(CONV, DESIGN, CONSTRAINED)}


@pytest.fixture(params=SPACES)
def space(request: pytest.FixtureRequest) -> MapSpace:
    return SPACES[request.param]


def changed(a: PackedMappings, b: PackedMappings) -> dict[str, np.ndarray]:
    """Per field, which rows differ."""
    return {name: (getattr(a, name) != getattr(b, name)).reshape(len(a), -1).any(axis=1) for name in ROWS}


TOUCHED = {
    "tile": {"temporal", "spatial"},
    "order": {"temporal_order"},
    "parallel": {"temporal", "spatial", "on_x"},
    "bypass": {"keep"},
}


@pytest.mark.parametrize("axis", AXES)
def test_a_mutation_changes_its_axis_alone_and_stays_inside(space: MapSpace, axis: str) -> None:
    rng = np.random.default_rng(0)
    mappings = space.sample(rng, 2000)
    mutants = space.mutate(mappings, rng, axis)
    differ = changed(mappings, mutants)
    assert {name for name, rows in differ.items() if rows.any()} <= TOUCHED[axis]
    assert np.any([differ[name] for name in TOUCHED[axis]], axis=0).mean() > 0.5
    assert not space.breaches(mutants, coupled=False).any()


def test_an_order_or_a_keep_always_changes() -> None:
    space, rng = SPACES["free"], np.random.default_rng(1)
    mappings = space.sample(rng, 2000)
    assert changed(mappings, space.mutate(mappings, rng, "order"))["temporal_order"].all()
    keep = space.mutate(mappings, rng, "bypass").keep
    assert ((keep != mappings.keep).sum(axis=(1, 2)) == 1).all()


def test_a_tile_mutation_moves_one_variable() -> None:
    space, rng = SPACES["free"], np.random.default_rng(2)
    mappings = space.sample(rng, 2000)
    mutants = space.mutate(mappings, rng, "tile")
    moved = ((mappings.temporal != mutants.temporal) | (mappings.spatial != mutants.spatial)).any(axis=1).sum(axis=1)
    assert set(moved) <= {0, 1}


def test_without_an_axis_every_axis_is_tried(space: MapSpace) -> None:
    rng = np.random.default_rng(3)
    mappings = space.sample(rng, 2000)
    differ = changed(mappings, space.mutate(mappings, rng))
    assert all(differ[name].any() for name in ("temporal", "spatial", "temporal_order", "keep"))
    assert (np.sum([differ["temporal_order"], differ["keep"]], axis=0) <= 1).all()


def test_mutations_reach_every_point() -> None:
    workload = Einsum.parse("Z[m] = A[m,k] * B[k]", {"m": 6, "k": 2})
    design = Architecture(
        levels=(
            StorageLevel(name="DRAM", component=ComponentClass.DRAM),
            StorageLevel(name="Registers", instances=4, mesh_x=2),
        ),
        compute=Compute(name="MAC", instances=4, mesh_x=2),
    )
    space, rng = MapSpace(workload, design), np.random.default_rng(4)
    at = space.decode([0] * 400)
    seen: set[int] = set()
    for _ in range(200):
        at = space.mutate(at, rng)
        seen |= set(space.encode(at))
    assert seen == set(range(space.size()))


def test_a_seed_names_a_mutation(space: MapSpace) -> None:
    mappings = space.sample(np.random.default_rng(5), 300)
    one, two = (space.mutate(mappings, np.random.default_rng(6)) for _ in range(2))
    assert not any(rows.any() for rows in changed(one, two).values())


def test_parents_stay_as_they_were(space: MapSpace) -> None:
    rng = np.random.default_rng(7)
    a, b = space.sample(rng, 300), space.sample(rng, 300)
    before = (a.take(slice(None)), b.take(slice(None)))
    for axis in (None, *AXES):
        space.crossover(a, b, rng, axis)
        space.mutate(a, rng, axis)
    assert not any(rows.any() for rows in (*changed(a, before[0]).values(), *changed(b, before[1]).values()))


@pytest.mark.parametrize("axis", AXES)
def test_a_child_has_each_part_from_one_of_its_parents(space: MapSpace, axis: str) -> None:
    rng = np.random.default_rng(8)
    a, b = space.sample(rng, 2000), space.sample(rng, 2000)
    child = space.crossover(a, b, rng, axis)
    assert not space.breaches(child, coupled=False).any()
    for name in set(ROWS) - TOUCHED[axis] - ({"on_x"} if axis == "tile" else set()):
        assert np.array_equal(getattr(child, name), getattr(a, name)), name
    if axis in ("order", "bypass"):
        field = "temporal_order" if axis == "order" else "keep"
        part, first, second = (getattr(m, field) for m in (child, a, b))
        from_a, from_b = (part == first).all(axis=2), (part == second).all(axis=2)
        if axis == "bypass":
            from_a, from_b = part == first, part == second
        assert (from_a | from_b).all() and (~from_a).any() and (~from_b).any()
    if axis == "tile":
        from_a = ((child.temporal == a.temporal) & (child.spatial == a.spatial)).all(axis=1)
        from_b = ((child.temporal == b.temporal) & (child.spatial == b.spatial)).all(axis=1)
        assert (from_a | from_b).all() and (~from_a).any() and (~from_b).any()
    if axis == "parallel":
        from_a, from_b = ((child.spatial == m.spatial).all(axis=1) for m in (a, b))
        assert (from_a | from_b).all() and (~from_a).any() and (~from_b).any()


def test_a_repaired_sample_breaks_nothing(space: MapSpace) -> None:
    mappings = space.sample(np.random.default_rng(9), 5000)
    assert space.violations(mappings).any()
    repaired = space.repair(mappings)
    assert not space.violations(repaired).any()
    assert (repaired.temporal.prod(axis=1) * repaired.spatial.prod(axis=1) == space.bounds).all()


def test_repair_leaves_legal_mappings_as_they_are(space: MapSpace) -> None:
    repaired = space.repair(space.sample(np.random.default_rng(10), 500))
    again = space.repair(repaired)
    assert not any(rows.any() for rows in changed(repaired, again).values())


def test_repair_brings_anything_into_the_space(space: MapSpace) -> None:
    rng = np.random.default_rng(11)
    wild = space.sample(rng, 2000)
    wild.temporal[:] = rng.integers(1, 20, wild.temporal.shape)
    wild.spatial[:] = rng.integers(1, 20, wild.spatial.shape)
    wild.temporal_order[:] = np.argsort(rng.random(wild.temporal_order.shape), axis=2)
    wild.on_x[:] = rng.integers(0, 1 << 7, wild.on_x.shape)
    wild.keep[:] = rng.random(wild.keep.shape) < 0.5
    assert space.violations(wild).all()
    repaired = space.repair(wild)
    assert not space.violations(repaired).any()
    assert space.decode(space.encode(repaired)).temporal.tolist() == repaired.temporal.tolist()


def test_repair_hands_excess_children_to_the_temporal_loop_of_the_same_level() -> None:
    workload = Einsum.parse("Z[m,n] = A[m,k] * B[k,n]", {"m": 8, "n": 8, "k": 8})
    space = MapSpace(workload, DESIGN, Constraints(levels={"Buffer": LevelConstraints(spatial=LoopConstraints(y=()))}))
    mapping = space.sample(np.random.default_rng(0), 1)
    mapping.temporal[0] = [[8, 2, 1], [1, 1, 1], [1, 1, 8]]
    mapping.spatial[0] = [[1, 1, 1], [1, 4, 1], [1, 1, 1]]
    assert space.violations(mapping).tolist() == [0]
    mapping.temporal[0, 0] = [4, 2, 1]
    mapping.spatial[0, 1] = [2, 4, 1]
    assert [v.kind for v in space.explain(mapping, 0)] == ["fanout"]
    repaired = space.repair(mapping)
    assert repaired.spatial[0, 1].tolist() == [1, 4, 1]
    assert repaired.temporal[0, 1].tolist() == [2, 1, 1]
    assert repaired.temporal[0, 0].tolist() == [4, 2, 1]


def test_repair_keeps_a_tensor_somewhere() -> None:
    levels = {"DRAM": LevelConstraints(bypass=("W",)), "Registers": LevelConstraints(free=("W",))}
    space = MapSpace(CONV, DESIGN, Constraints(levels=levels))
    mappings = space.sample(np.random.default_rng(0), 200)
    lost = ~mappings.keep[:, :, 1].any(axis=1)
    assert lost.any() and [v.kind for v in space.explain(mappings, int(lost.argmax())) if v.subject == "W"] == [
        "keeper"
    ]
    assert not space.violations(space.repair(mappings)).any()


def test_a_vector_of_a_point_gives_the_point_back(space: MapSpace) -> None:
    mappings = space.sample(np.random.default_rng(12), 1000)
    vectors = space.vector(mappings)
    assert vectors.shape == (1000, max(part.stop for part in space.layout.values()))
    back = space.unvector(vectors)
    assert not any(rows.any() for rows in changed(mappings, back).values())


def test_small_noise_on_a_vector_gives_the_point_back(space: MapSpace) -> None:
    rng = np.random.default_rng(13)
    mappings = space.sample(rng, 500)
    vectors = space.vector(mappings)
    back = space.unvector(vectors + rng.uniform(-0.02, 0.02, vectors.shape))
    assert not any(rows.any() for rows in changed(mappings, back).values())


def test_any_vector_gives_a_point(space: MapSpace) -> None:
    rng = np.random.default_rng(14)
    width = max(part.stop for part in space.layout.values())
    points = space.unvector(rng.normal(1.0, 3.0, (1000, width)))
    assert not space.breaches(points, coupled=False).any()
    with pytest.raises(SpecError, match=f"\\(n, {width}\\)"):
        space.unvector(np.zeros((3, width + 1)))


def test_the_layout_says_where_each_axis_is() -> None:
    space, rng = SPACES["free"], np.random.default_rng(15)
    mappings = space.sample(rng, 500)
    vectors = space.vector(mappings)
    for axis, moved in (("order", "order"), ("bypass", "bypass"), ("tile", "tile")):
        other = space.vector(space.mutate(mappings, rng, axis))
        differs = (vectors != other).any(axis=0)
        allowed = np.zeros(len(differs), bool)
        for part in (moved, "parallel") if axis == "tile" else (moved,):
            allowed[space.layout[part]] = True
        assert differs.any() and not differs[~allowed].any()
