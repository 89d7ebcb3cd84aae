"""Factors that do not divide the bounds: the model's counts equal the oracle's, which skips what lies outside the bounds."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
from fiberloom.architecture.sparse import Format, RankFormat, TensorFormat
from fiberloom.errors import MappingError, UnsupportedError
from fiberloom.mapping.nest import LevelMapping, Mapping
from fiberloom.model.evaluate import evaluate
from fiberloom.simulate import simulate
from fiberloom.workload.einsum import Einsum
from problems import Features, random_problem
from test_oracle_dense import disagreements

PRODUCT = "Z[m,n] = A[m,k] * B[k,n]"


def is_partial(problem) -> bool:
    """Whether some variable's factors multiply to more than its bound."""
    return any(problem.mapping.product(v) != bound for v, bound in problem.workload.shape.items())


def check_seeds(seeds: range, features: Features) -> tuple[int, int]:
    """Compares all that the model takes; returns how many mappings with partial tiles it took and refused."""
    taken = refused = 0
    for seed in seeds:
        problem = random_problem(random.Random(seed), features)
        try:
            found = disagreements(problem)
        except UnsupportedError:
            refused += 1
            continue
        taken += is_partial(problem)
        assert not found, f"seed {seed}\n{problem}\n" + "\n".join(found)
    return taken, refused


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_counts_and_cycles_of_partial_tiles_equal_the_oracle(first: int) -> None:
    taken, refused = check_seeds(range(first, first + 50), Features(max_points=1000, halos=False, remainders=True))
    assert taken >= 20
    assert refused == 0


@pytest.mark.parametrize("first", range(1000, 1200, 50))
def test_counts_of_partial_tiles_beside_whole_windows_equal_the_oracle(first: int) -> None:
    features = Features(max_points=1000, remainders=True, multicast_off=True)
    taken, _ = check_seeds(range(first, first + 50), features)
    assert taken >= 10


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_counts_of_partial_tiles_equal_the_oracle_on_drawn_problems(rng: random.Random) -> None:
    problem = random_problem(rng, Features(max_points=300, halos=False, remainders=True))
    found = disagreements(problem)
    assert not found, f"{problem}\n" + "\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(2000, 6000, 200))
def test_counts_of_partial_tiles_equal_the_oracle_on_many_problems(first: int) -> None:
    check_seeds(range(first, first + 200), Features(remainders=True, multicast_off=bool(first % 400)))


def machine(lanes: int = 1, **buffer) -> Architecture:
    """DRAM over a buffer per lane over one unit each."""
    return Architecture(
        levels=(
            StorageLevel(name="DRAM", component=ComponentClass.DRAM, energy_pj={"read": 1.0, "write": 1.0}),
            StorageLevel(
                name="Buffer",
                instances=lanes,
                mesh_x=lanes,
                energy_pj={"read": 1.0, "write": 1.0},
                area_um2=0.0,
                **buffer,
            ),
        ),
        compute=Compute(name="MAC", instances=lanes, mesh_x=lanes, energy_pj={"compute": 1.0}, area_um2=0.0),
    )


def mapping(dram: dict[str, int], buffer: dict[str, int], spatial: dict[str, int] | None = None) -> Mapping:
    """Loops per level, outermost first."""
    return Mapping(
        levels={
            "DRAM": LevelMapping(temporal=dram, temporal_order=tuple(dram), spatial=spatial or {}),
            "Buffer": LevelMapping(temporal=buffer, temporal_order=tuple(buffer)),
        }
    )


def test_a_bound_of_100_in_tiles_of_32_makes_three_whole_tiles_and_one_of_4() -> None:
    einsum = Einsum.parse("Z[m] = A[m] * B[m]", {"m": 100})
    result = evaluate(einsum, machine(), mapping({"m": 4}, {"m": 32}))
    assert result.cycles == 100
    assert result.level("Buffer").tensors["A"].tile_words == 32
    assert result.level("Buffer").tensors["A"].fills.actual == 100
    assert result.level("DRAM").tensors["A"].tile_words == 100
    assert "for m in 0..32 (last 0..4)" in result.loop_nest


def test_lanes_with_a_partial_tile_wait_for_the_first() -> None:
    """Ten elements on four lanes: 3, 3, 3 and 1 of them, in three cycles."""
    einsum = Einsum.parse("Z[m] = A[m] * B[m]", {"m": 10})
    result = evaluate(einsum, machine(4), mapping({}, {"m": 3}, {"m": 4}))
    assert result.cycles == 3
    assert result.compute.actual == 10
    assert result.utilization == pytest.approx(10 / 12)
    assert result.level("Buffer").tensors["A"].fills.actual == pytest.approx(10 / 4)
    assert sum(result.level("Buffer").tensors["A"].energy_by_action_pj.values()) == pytest.approx(10 + 10)


def test_the_fullest_instance_sets_the_bandwidth_that_is_needed() -> None:
    """The first of two lanes takes four words per tensor and writes four, in four cycles; the other one only one."""
    einsum = Einsum.parse("Z[m] = A[m] * B[m]", {"m": 5})
    loops = mapping({}, {"m": 4}, {"m": 2})
    assert evaluate(einsum, machine(2, read_bandwidth=2.0), loops).cycles == 4
    assert evaluate(einsum, machine(2, read_bandwidth=1.0), loops).cycles == 8


def test_a_tile_alone_in_its_sweep_stays_while_an_outer_loop_steps() -> None:
    """Of five rows in tiles of two under a loop of two, the last is the only one of its sweep: n re-reads the other two."""
    einsum = Einsum.parse(PRODUCT, {"m": 5, "n": 3, "k": 1})
    loops = Mapping(
        levels={
            "DRAM": LevelMapping(temporal={"m": 2}),
            "Middle": LevelMapping(temporal={"n": 3, "m": 2}, temporal_order=("n", "m")),
            "Buffer": LevelMapping(temporal={"m": 2}),
        }
    )
    levels = tuple(
        StorageLevel(name=name, component=ComponentClass.SRAM, energy_pj={"read": 1.0}, area_um2=0.0)
        for name in ("DRAM", "Middle", "Buffer")
    )
    architecture = Architecture(levels=levels, compute=Compute(name="MAC", energy_pj={"compute": 1.0}, area_um2=0.0))
    result = evaluate(einsum, architecture, loops)
    assert result.level("Buffer").tensors["A"].fills.actual == 3 * 4 + 1
    assert simulate(einsum, architecture, loops).level("Buffer").tensors["A"].fills.actual == 13


@pytest.mark.parametrize(
    ("dram", "buffer", "message"),
    [
        (3, 32, "multiply to 96, but its bound is 100"),
        (5, 32, "iterates 5 times over tiles of 32, of which 4 cover the bound"),
        (2, 100, "multiply to the bound or more already"),
    ],
)
def test_factors_that_leave_something_out_or_iterate_over_nothing_are_refused(
    dram: int, buffer: int, message: str
) -> None:
    einsum = Einsum.parse("Z[m] = A[m] * B[m]", {"m": 100})
    with pytest.raises(MappingError, match=message):
        mapping({"m": dram}, {"m": buffer}).check(einsum, machine())


def test_partial_tiles_of_windows_are_refused_by_name() -> None:
    einsum = Einsum.parse("Z[p] = A[p+r] * B[r]", {"p": 7, "r": 3})
    with pytest.raises(UnsupportedError, match="'A', whose windows overlap"):
        evaluate(einsum, machine(), mapping({"p": 2}, {"p": 4, "r": 3}))


def test_partial_tiles_of_compressed_tensors_are_refused_by_name() -> None:
    compressed = {"A": TensorFormat(ranks=(RankFormat(format=Format.CP), RankFormat(format=Format.CP)))}
    einsum = Einsum.parse(PRODUCT, {"m": 7, "n": 5, "k": 3}, densities={"A": 0.5})
    architecture = machine(formats=compressed)
    with pytest.raises(UnsupportedError, match="'A', which has a format"):
        evaluate(einsum, architecture, mapping({"m": 2}, {"m": 4, "n": 5, "k": 3}))


def test_partial_tiles_of_other_tensors_leave_a_compressed_one_alone() -> None:
    """n does not index A, whose tiles are whole: both sides agree on the metadata, too, when A is full of non-zeros."""
    compressed = {"A": TensorFormat(ranks=(RankFormat(format=Format.UOP), RankFormat(format=Format.CP)))}
    einsum = Einsum.parse(PRODUCT, {"m": 6, "n": 5, "k": 3}, densities={"A": 1.0})
    architecture, loops = machine(formats=compressed), mapping({"n": 3, "m": 2}, {"m": 3, "n": 2, "k": 3})
    ours = evaluate(einsum, architecture, loops).level("Buffer").tensors["A"]
    theirs = simulate(einsum, architecture, loops).level("Buffer").tensors["A"]
    assert ours.fills == theirs.fills
    assert ours.metadata_fills == theirs.metadata_fills
    assert ours.reads == theirs.reads


@pytest.mark.parametrize("rules", ["artifact", "timeloop-3.0.3", "timeloop-4"])
def test_the_rules_of_the_reference_builds_refuse_partial_tiles_by_name(rules: str) -> None:
    einsum = Einsum.parse("Z[m] = A[m] * B[m]", {"m": 100})
    with pytest.raises(UnsupportedError, match=f"'{rules}' knows no partial tiles"):
        evaluate(einsum, machine(), mapping({"m": 4}, {"m": 32}), rules=rules)
