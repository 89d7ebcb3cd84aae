"""Facts of the oracle that can be worked by hand."""

from __future__ import annotations

import itertools
import math
import random
from collections import defaultdict

import numpy as np
import pytest

from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
from fiberloom.architecture.sparse import (
    ActionOptimization,
    Format,
    LeaderFollower,
    RankFormat,
    SafKind,
    TensorFormat,
)
from fiberloom.errors import FiberloomError, MappingError, SpecError, UnsupportedError
from fiberloom.mapping.nest import LevelMapping, Mapping
from fiberloom.simulate import Simulation, Simulator, draw_tensor, simulate
from fiberloom.workload.einsum import Einsum
from problems import Features, Problem, random_problem

GEMM = "Z[m,n] = A[m,k] * B[k,n]"
DOT = "Z[] = A[k] * B[k]"


def fmt(*ranks: str) -> TensorFormat:
    return TensorFormat(ranks=tuple(RankFormat(format=Format(r)) for r in ranks))


def saf(kind: str, follower: str, *leaders: str) -> ActionOptimization:
    return ActionOptimization(kind=SafKind(kind), options=(LeaderFollower(follower=follower, leaders=leaders),))


def two_levels(
    *,
    lanes: int = 1,
    outer_formats: dict[str, TensorFormat] | None = None,
    inner_formats: dict[str, TensorFormat] | None = None,
    outer: tuple[ActionOptimization, ...] = (),
    inner: tuple[ActionOptimization, ...] = (),
    multicast: bool = True,
    gating: bool = False,
    skipping: bool = False,
    buffers: int = 1,
) -> Architecture:
    return Architecture(
        levels=(
            StorageLevel(
                name="DRAM",
                component=ComponentClass.DRAM,
                formats=outer_formats or {},
                optimizations=outer,
                multicast=multicast,
            ),
            StorageLevel(
                name="Buffer", instances=buffers, formats=inner_formats or {}, optimizations=inner, multicast=multicast
            ),
        ),
        compute=Compute(name="MAC", instances=lanes * buffers, gating=gating, skipping=skipping),
    )


def counts(simulation: Simulation, level: str, tensor: str) -> tuple[float, float, float]:
    account = simulation.level(level).tensors[tensor]
    return account.reads.actual, account.fills.actual, account.updates.actual


class TestDense:
    def test_stationary_tensor_is_fetched_once(self) -> None:
        workload = Einsum.parse(GEMM, {"m": 4, "n": 3, "k": 2})
        mapping = Mapping(
            levels={"DRAM": LevelMapping(temporal={"m": 4, "n": 3, "k": 2}, temporal_order=("k", "n", "m"))}
        )
        result = simulate(workload, two_levels(), mapping)
        # m is innermost: B stays put, A and Z change every step.
        assert counts(result, "DRAM", "B") == (6, 0, 0)
        assert counts(result, "DRAM", "A") == (24, 0, 0)
        assert counts(result, "Buffer", "B") == (24, 6, 0)
        assert counts(result, "Buffer", "A") == (24, 24, 0)
        # Z comes back for the second k: 12 of 24 visits are first visits.
        assert counts(result, "DRAM", "Z") == (12, 0, 24)
        assert counts(result, "Buffer", "Z") == (12, 12, 24)
        assert result.cycles == 24

    def test_results_that_stay_until_done_are_never_read_back(self) -> None:
        workload = Einsum.parse(GEMM, {"m": 4, "n": 3, "k": 5})
        mapping = Mapping(
            levels={
                "DRAM": LevelMapping(temporal={"m": 4, "n": 3}),
                "Buffer": LevelMapping(temporal={"k": 5}),
            }
        )
        result = simulate(workload, two_levels(), mapping)
        assert counts(result, "DRAM", "Z") == (0, 0, 12)
        # Five partial sums each; the first starts from zero.
        assert counts(result, "Buffer", "Z") == (48, 0, 60)

    def test_neighbouring_windows_share_their_halo(self) -> None:
        workload = Einsum.parse("Z[p] = I[p+r] * W[r]", {"p": 6, "r": 3})
        mapping = Mapping(levels={"DRAM": LevelMapping(temporal={"p": 6}), "Buffer": LevelMapping(temporal={"r": 3})})
        result = simulate(workload, two_levels(), mapping)
        # The first window has three elements, each further one brings one.
        assert counts(result, "DRAM", "I") == (3 + 5, 0, 0)
        assert counts(result, "Buffer", "I") == (18, 8, 0)
        assert counts(result, "DRAM", "W") == (3, 0, 0)

    def test_halo_is_lost_when_another_loop_turns(self) -> None:
        workload = Einsum.parse("Z[k,p] = I[p+r] * W[k,r]", {"p": 6, "r": 3, "k": 2})
        mapping = Mapping(
            levels={
                "DRAM": LevelMapping(temporal={"p": 6, "k": 2}, temporal_order=("k", "p")),
                "Buffer": LevelMapping(temporal={"r": 3}),
            }
        )
        # From the last window (5..7) back to the first (0..2): nothing in common.
        assert counts(simulate(workload, two_levels(), mapping), "DRAM", "I") == (8 + 8, 0, 0)

    def test_holes_of_a_dilated_window_are_fetched_with_it(self) -> None:
        workload = Einsum.parse("Z[p] = I[p+2*r] * W[r]", {"p": 1, "r": 3})
        mapping = Mapping(levels={"Buffer": LevelMapping(temporal={"r": 3})})
        result = simulate(workload, two_levels(), mapping)
        assert counts(result, "DRAM", "I") == (5, 0, 0)
        assert counts(result, "Buffer", "I") == (3, 5, 0)

    def test_one_multicast_read_serves_all_buffers(self) -> None:
        workload = Einsum.parse(GEMM, {"m": 4, "n": 3, "k": 2})
        mapping = Mapping(
            levels={"DRAM": LevelMapping(spatial={"n": 3}), "Buffer": LevelMapping(temporal={"m": 4, "k": 2})}
        )
        shared = simulate(workload, two_levels(buffers=3), mapping)
        assert counts(shared, "DRAM", "A") == (8, 0, 0)
        assert counts(shared, "Buffer", "A") == (8, 8, 0)
        assert counts(shared, "DRAM", "B") == (6, 0, 0)
        assert shared.level("Buffer").instances == 3
        alone = simulate(workload, two_levels(buffers=3, multicast=False), mapping)
        assert counts(alone, "DRAM", "A") == (24, 0, 0)

    def test_neighbours_pass_windows_on(self) -> None:
        workload = Einsum.parse("Z[p] = I[p+r] * W[r]", {"p": 6, "r": 3})
        mapping = Mapping(
            levels={
                "DRAM": LevelMapping(temporal={"p": 2}, spatial={"r": 3}, peer_links={"I": True}),
                "Buffer": LevelMapping(temporal={"p": 3}),
            }
        )
        # Step 0: windows 0..2, 1..3, 2..4; step 1: 3..5, 4..6, 5..7. Nobody held such a window before.
        assert counts(simulate(workload, two_levels(buffers=3), mapping), "DRAM", "I") == (18, 0, 0)
        by_element = Mapping(levels={"DRAM": LevelMapping(temporal={"p": 6}, spatial={"r": 3}, peer_links={"I": True})})
        # Buffer r needs I[p+r]: what buffer r+1 was sent one step before. Only the last buffer reads anew.
        result = simulate(workload, two_levels(buffers=3), by_element)
        assert counts(result, "DRAM", "I") == (3 + 5, 0, 0)
        assert counts(result, "Buffer", "I") == (6 + 10 / 3, 6, 0)

    def test_partial_sums_of_lanes_are_reduced_before_the_update(self) -> None:
        workload = Einsum.parse(GEMM, {"m": 4, "n": 3, "k": 2})
        mapping = Mapping(levels={"Buffer": LevelMapping(temporal={"m": 4, "n": 3}, spatial={"k": 2})})
        result = simulate(workload, two_levels(lanes=2), mapping)
        assert counts(result, "Buffer", "Z") == (0, 0, 12)
        assert counts(result, "Buffer", "A") == (24, 8, 0)
        assert result.cycles == 12

    def test_a_bypassed_level_passes_every_use_on(self) -> None:
        workload = Einsum.parse(GEMM, {"m": 4, "n": 3, "k": 2})
        mapping = Mapping(
            levels={
                "Buffer": LevelMapping(temporal={"m": 4, "n": 3, "k": 2}, temporal_order=("n", "m", "k"), keep=("Z",))
            }
        )
        result = simulate(workload, two_levels(), mapping)
        assert counts(result, "DRAM", "A") == (24, 0, 0)
        assert "A" not in result.level("Buffer").tensors

    def test_loops_left_out_of_an_order_stand_outside_it(self) -> None:
        workload = Einsum.parse(GEMM, {"m": 4, "n": 3, "k": 2})
        factors = {"m": 4, "n": 3, "k": 2}
        short = Mapping(levels={"DRAM": LevelMapping(temporal=factors, temporal_order=("n",))})
        full = Mapping(levels={"DRAM": LevelMapping(temporal=factors, temporal_order=("k", "m", "n"))})
        assert simulate(workload, two_levels(), short).to_dict() == simulate(workload, two_levels(), full).to_dict()

    @pytest.mark.parametrize("seed", range(40))
    def test_counts_equal_those_of_a_literal_walk(self, seed: int) -> None:
        problem = random_problem(random.Random(seed), Features(max_points=400))
        oracle = simulate(problem.workload, problem.architecture, problem.mapping)
        for (level, tensor), words in literal_walk(problem).items():
            account = oracle.level(level).tensors[tensor]
            total = [account.instances * count for count in counts(oracle, level, tensor)]
            assert total == pytest.approx([words["reads"], words["fills"], words["updates"]]), (level, tensor)


class TestSparse:
    def test_a_format_leaves_only_nonzeros_to_move(self) -> None:
        workload = Einsum.parse("Z[k] = A[k] * B[k]", {"k": 8})
        mapping = Mapping(levels={"Buffer": LevelMapping(temporal={"k": 8})})
        architecture = two_levels(outer_formats={"A": fmt("CP")}, inner_formats={"A": fmt("CP")})
        result = simulate(workload, architecture, mapping, {"A": np.array([0, 1, 0, 2, 0, 0, 3, 0]), "B": np.ones(8)})
        assert counts(result, "DRAM", "A") == (3, 0, 0)
        assert counts(result, "Buffer", "A") == (3, 3, 0)
        assert counts(result, "Buffer", "B") == (8, 8, 0)
        assert result.level("DRAM").tensors["A"].metadata_reads.actual == ((3, 0),)

    def test_fibertree_items_of_a_tile(self) -> None:
        workload = Einsum.parse("Z[i] = A[i,k] * B[k]", {"i": 3, "k": 4})
        mapping = Mapping(
            levels={"Buffer": LevelMapping(temporal={"i": 3, "k": 4}, temporal_order=("i", "k"), keep=("B", "Z"))}
        )
        a = np.array([[1, 0, 0, 2], [0, 0, 0, 0], [0, 3, 0, 0]])
        expected = {  # innermost rank first: (metadata, payload)
            ("UOP", "CP"): ((3, 0), (0, 4)),
            ("CP", "CP"): ((3, 0), (2, 2)),
            ("B", "B"): ((2 * 4, 0), (3, 2)),
            ("UB", "RLE"): ((3, 0), (3, 3)),
            ("U", "B"): ((2 * 4, 0), (0, 0)),
        }
        for ranks, items in expected.items():
            result = simulate(workload, two_levels(outer_formats={"A": fmt(*ranks)}), mapping, {"A": a})
            assert result.level("DRAM").tensors["A"].metadata_reads.actual == items, ranks

    def test_a_flattened_rank_takes_both_loops(self) -> None:
        workload = Einsum.parse("Z[i] = A[i,k] * B[k]", {"i": 3, "k": 4})
        mapping = Mapping(
            levels={"Buffer": LevelMapping(temporal={"i": 3, "k": 4}, temporal_order=("i", "k"), keep=("B", "Z"))}
        )
        flat = TensorFormat(ranks=(RankFormat(format=Format.B, variables=("i", "k")),))
        result = simulate(workload, two_levels(outer_formats={"A": flat}), mapping)
        assert result.level("DRAM").tensors["A"].metadata_reads.actual == ((12, 0),)

    def test_more_loops_than_ranks_are_refused(self) -> None:
        workload = Einsum.parse("Z[i] = A[i,k] * B[k]", {"i": 3, "k": 4})
        mapping = Mapping(levels={"Buffer": LevelMapping(temporal={"i": 3, "k": 4})})
        with pytest.raises(MappingError, match="2 loops and 1 ranks"):
            simulate(workload, two_levels(inner_formats={"A": fmt("CP")}), mapping)

    def test_a_compressed_tile_is_kept_in_the_pieces_its_child_will_hold(self) -> None:
        workload = Einsum.parse("Z[i] = A[i,k] * B[k]", {"i": 3, "k": 4})
        mapping = Mapping(
            levels={"DRAM": LevelMapping(temporal={"i": 3, "k": 2}), "Buffer": LevelMapping(temporal={"k": 2})}
        )
        a = np.array([[1, 0, 0, 2], [0, 0, 0, 0], [0, 3, 0, 0]])
        # Loops of the level, outermost first: k (pairs of columns), i; then the piece of two elements as one rank.
        dram = fmt("UOP", "CP", "B")
        result = simulate(workload, two_levels(outer_formats={"A": dram}), mapping, {"A": a})
        assert result.level("DRAM").tensors["A"].metadata_reads.actual == ((2 * 3, 0), (3, 3), (0, 3))

    def test_a_tile_of_zeros_is_not_sent_by_a_parent_that_knows(self) -> None:
        workload = Einsum.parse("Z[i] = A[i,k] * B[k]", {"i": 3, "k": 4})
        mapping = Mapping(levels={"DRAM": LevelMapping(temporal={"i": 3}), "Buffer": LevelMapping(temporal={"k": 4})})
        a = np.array([[1, 0, 0, 2], [0, 0, 0, 0], [0, 3, 0, 0]])
        result = simulate(workload, two_levels(outer_formats={"A": fmt("UOP", "CP")}), mapping, {"A": a})
        assert counts(result, "DRAM", "A") == (3, 0, 0)
        assert counts(result, "Buffer", "A") == (8, 8, 0)

    @pytest.mark.parametrize("kind", ["gating", "skipping"])
    def test_follower_is_dropped_where_its_leader_is_zero(self, kind: str) -> None:
        workload = Einsum.parse("Z[k] = A[k] * B[k]", {"k": 4})
        mapping = Mapping(levels={"Buffer": LevelMapping(temporal={"k": 4})})
        result = simulate(
            workload, two_levels(inner=(saf(kind, "B", "A"),)), mapping, {"A": np.array([1, 0, 0, 1]), "B": np.ones(4)}
        )
        reads = result.level("Buffer").tensors["B"].reads
        assert (reads.actual, getattr(reads, "gated" if kind == "gating" else "skipped")) == (2, 2)
        assert counts(result, "Buffer", "B")[1] == 4
        assert counts(result, "Buffer", "A") == (4, 4, 0)
        # a gated operand still costs its cycle, a skipped one does not
        gone = result.compute.gated if kind == "gating" else result.compute.eliminated
        assert (result.compute.actual, gone) == (2, 2)

    def test_granule_goes_only_if_its_leader_is_zero_all_through_its_stay(self) -> None:
        workload = Einsum.parse(GEMM, {"m": 2, "n": 1, "k": 2})
        # B[k] is held for both m; A[:,0] has a non-zero, A[:,1] has none.
        mapping = Mapping(
            levels={
                "DRAM": LevelMapping(temporal={"m": 2, "k": 2}, temporal_order=("k", "m")),
                "Buffer": LevelMapping(),
            }
        )
        tensors = {"A": np.array([[0, 0], [1, 0]]), "B": np.ones((2, 1))}
        result = simulate(workload, two_levels(outer=(saf("skipping", "B", "A"),)), mapping, tensors)
        dram = result.level("DRAM").tensors["B"].reads
        assert (dram.actual, dram.skipped) == (1, 1)
        assert counts(result, "Buffer", "B") == (2, 1, 0)
        assert (result.compute.actual, result.compute.eliminated) == (2, 2)

    def test_a_multicast_word_is_needed_if_any_receiver_needs_it(self) -> None:
        workload = Einsum.parse(GEMM, {"m": 2, "n": 1, "k": 2})
        mapping = Mapping(levels={"Buffer": LevelMapping(temporal={"k": 2}, spatial={"m": 2})})
        tensors = {"A": np.array([[0, 0], [1, 0]]), "B": np.ones((2, 1))}
        result = simulate(workload, two_levels(lanes=2, inner=(saf("skipping", "B", "A"),)), mapping, tensors)
        reads = result.level("Buffer").tensors["B"].reads
        assert (reads.actual, reads.skipped) == (1, 1)
        assert result.lockstep_cycles == 1
        assert result.cycles == 1

    def test_result_follower_saves_its_update_and_its_read(self) -> None:
        workload = Einsum.parse("Z[m] = A[m,k] * B[k]", {"m": 1, "k": 4})
        mapping = Mapping(levels={"Buffer": LevelMapping(temporal={"k": 4})})
        architecture = two_levels(inner=(saf("skipping", "Z", "A", "B"),))
        result = simulate(workload, architecture, mapping, {"A": np.array([[1, 0, 1, 1]]), "B": np.array([1, 1, 0, 1])})
        z = result.level("Buffer").tensors["Z"]
        assert (z.updates.actual, z.updates.skipped) == (2, 2)
        # The first visit needs no read: of the other three, one happens.
        assert (z.reads.actual, z.reads.skipped) == (1, 2)
        assert result.compute.actual == 4

    @pytest.mark.parametrize(
        ("gating", "skipping", "compressed", "expected"),
        [
            (False, False, False, (4, 0, 0, 0)),
            (True, False, False, (1, 3, 0, 0)),
            (False, True, True, (1, 0, 2, 1)),
            (True, False, True, (1, 2, 0, 1)),
            (True, True, True, (1, 0, 2, 1)),
            (False, False, True, (3, 0, 0, 1)),
        ],
    )
    def test_operand_states_decide_what_compute_does(
        self, gating: bool, skipping: bool, compressed: bool, expected: tuple[int, ...]
    ) -> None:
        workload = Einsum.parse("Z[k] = A[k] * B[k]", {"k": 4})
        mapping = Mapping(levels={"Buffer": LevelMapping(temporal={"k": 4})})
        formats = {"A": fmt("CP"), "B": fmt("CP")} if compressed else {}
        architecture = two_levels(inner_formats=formats, gating=gating, skipping=skipping)
        result = simulate(workload, architecture, mapping, {"A": np.array([1, 1, 0, 0]), "B": np.array([1, 0, 1, 0])})
        c = result.compute
        assert (c.actual, c.gated, c.skipped, c.eliminated) == expected
        assert c.cycles == c.actual + c.gated

    def test_worked_example_of_double_sided_intersection(self) -> None:
        """Two compressed operands, three skipping entries, innermost M: expectations of a published exercise's output.

        The exercise's backing store moves blocks of four, which widens the first leader; these are words.
        """
        workload = Einsum.parse(
            "Z[m,n] = A[m,k] * B[n,k]",
            {"m": 8, "n": 8, "k": 8},
            densities={
                "A": {"distribution": "uniform", "density": 0.25},
                "B": {"distribution": "uniform", "density": 0.5},
            },
        )
        formats = {"A": fmt("UOP", "CP"), "B": fmt("UOP", "CP")}
        architecture = two_levels(
            outer_formats=formats,
            inner_formats=formats,
            inner=(saf("skipping", "A", "B"), saf("skipping", "B", "A"), saf("skipping", "Z", "A", "B")),
        )
        inner = LevelMapping(temporal={"m": 8, "n": 8, "k": 8}, temporal_order=("k", "n", "m"), keep=("B", "Z"))
        simulator = Simulator(workload, architecture, Mapping(levels={"Buffer": inner}))
        runs = [simulator.run(seed=seed) for seed in range(300)]

        def mean(level: str, tensor: str, action: str, fate: str) -> float:
            return float(np.mean([getattr(getattr(r.level(level).tensors[tensor], action), fate) for r in runs]))

        assert mean("DRAM", "B", "reads", "actual") == 32
        assert mean("Buffer", "B", "fills", "actual") == 32
        assert mean("DRAM", "A", "reads", "actual") == pytest.approx(64, rel=0.02)
        assert mean("DRAM", "A", "reads", "skipped") == pytest.approx(64, rel=0.02)
        assert mean("Buffer", "B", "reads", "actual") == pytest.approx(64, rel=0.02)
        assert mean("Buffer", "B", "reads", "skipped") == pytest.approx(192, rel=0.02)
        assert mean("Buffer", "Z", "updates", "actual") == pytest.approx(64, rel=0.02)
        assert mean("Buffer", "Z", "reads", "actual") == pytest.approx(56, rel=0.02)
        assert np.mean([r.compute.actual for r in runs]) == pytest.approx(64, rel=0.02)
        b = [r.level("Buffer").tensors["B"] for r in runs]
        assert np.mean([x.metadata_reads.actual for x in b], axis=0)[:, 0] == pytest.approx([64, 0], rel=0.02)
        assert np.mean([x.metadata_reads.actual for x in b], axis=0)[1, 1] == pytest.approx(18, rel=0.02)
        assert b[0].metadata_fills.actual == ((32, 0), (0, 9))

    @pytest.mark.parametrize("seed", range(40))
    def test_every_computation_has_one_fate(self, seed: int) -> None:
        problem = random_problem(random.Random(seed), Features(max_points=400, sparse=True))
        result = simulate(problem.workload, problem.architecture, problem.mapping, seed=seed)
        c = result.compute
        assert c.actual + c.gated + c.skipped + c.eliminated == c.algorithmic == problem.workload.macs
        assert result.cycles <= result.lockstep_cycles <= problem.workload.macs


class TestInputs:
    def test_uniform_tensors_hold_exactly_their_nonzeros(self) -> None:
        workload = Einsum.parse(DOT, {"k": 10}, densities={"A": {"distribution": "uniform", "density": 0.25}})
        draws = [draw_tensor(workload.tensor("A"), (10,), np.random.default_rng(seed)) for seed in range(5)]
        assert [int(d.sum()) for d in draws] == [3] * 5
        assert len({d.tobytes() for d in draws}) > 1

    def test_structured_tensors_hold_n_of_every_m(self) -> None:
        density = {"distribution": "fixed-structured", "density": 0.5}
        workload = Einsum.parse(DOT, {"k": 12}, densities={"A": density})
        drawn = draw_tensor(workload.tensor("A"), (12,), np.random.default_rng(0))
        assert drawn.reshape(-1, 2).sum(axis=1).tolist() == [1] * 6

    def test_too_large_a_nest_is_refused_with_both_numbers(self) -> None:
        workload = Einsum.parse(GEMM, {"m": 200, "n": 200, "k": 200})
        with pytest.raises(FiberloomError, match="8000000 points, and a simulation walks at most 2000000"):
            simulate(
                workload, two_levels(), Mapping(levels={"DRAM": LevelMapping(temporal={"m": 200, "n": 200, "k": 200})})
            )

    def test_a_tensor_of_the_wrong_shape_is_refused(self) -> None:
        workload = Einsum.parse(GEMM, {"m": 2, "n": 2, "k": 2})
        mapping = Mapping(levels={"DRAM": LevelMapping(temporal={"m": 2, "n": 2, "k": 2})})
        with pytest.raises(SpecError, match=r"shape \(2, 3\)"):
            simulate(workload, two_levels(), mapping, {"A": np.ones((2, 3))})
        with pytest.raises(SpecError, match="'AA', which is no tensor"):
            simulate(workload, two_levels(), mapping, {"AA": np.ones((2, 2))})

    def test_skipping_over_space_is_refused_by_name(self) -> None:
        workload = Einsum.parse(GEMM, {"m": 2, "n": 2, "k": 2})
        mapping = Mapping(levels={"DRAM": LevelMapping(temporal={"m": 2, "n": 2, "k": 2})})
        with pytest.raises(UnsupportedError, match="spatial-skipping"):
            simulate(workload, two_levels(inner=(saf("spatial-skipping", "A", "B"),)), mapping)

    def test_the_same_seed_gives_the_same_counts(self) -> None:
        problem = random_problem(random.Random(5), Features(sparse=True))
        parts = (problem.workload, problem.architecture, problem.mapping)
        assert simulate(*parts, seed=3).to_dict() == simulate(*parts, seed=3).to_dict()


def literal_walk(problem: Problem) -> dict[tuple[str, str], dict[str, float]]:
    """Dense counts over all instances from plain nested loops and Python sets: no arrays, nothing clever."""
    workload, mapping = problem.workload, problem.mapping
    names = [level.name for level in problem.architecture.levels]
    loops: list[tuple[int, bool, str, int]] = []  # level, spatial, variable, bound
    for i, name in enumerate(names):
        here = mapping.at(name)
        for spatial, factors, order in (
            (False, here.temporal, here.temporal_order),
            (True, here.spatial, here.spatial_order),
        ):
            missing = [v for v in reversed(workload.shape) if v not in order]
            loops += [(i, spatial, v, factors[v]) for v in [*missing, *order] if factors.get(v, 1) > 1]

    def values(index: tuple[int, ...], chosen: list[tuple[int, bool, str, int]]) -> dict[str, int]:
        """Iteration of every variable when the loops in `chosen` stand at `index` and all others at 0."""
        where = dict(zip(chosen, index, strict=True))
        result = dict.fromkeys(workload.shape, 0)
        for loop in loops:
            result[loop[2]] = result[loop[2]] * loop[3] + where.get(loop, 0)
        return result

    words: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: {"reads": 0, "fills": 0, "updates": 0})
    for tensor in workload.tensors:
        keepers = [i for i, name in enumerate(names) if tensor.name in (mapping.at(name).keep or ())]
        for parent, child in itertools.pairwise([*keepers, len(names)]):
            to_compute = child == len(names)
            inside = [loop for loop in loops if loop[0] >= child]
            extents = {v: math.prod(loop[3] for loop in inside if loop[2] == v) for v in workload.shape}
            steps = [loop for loop in loops if loop[0] < child and not loop[1]]
            fan = [loop for loop in loops if loop[0] < child and loop[1]]
            held: dict[tuple[int, ...], frozenset[tuple[int, ...]]] = {}
            seen: dict[tuple[int, ...], set[tuple[int, ...]]] = defaultdict(set)
            for step in itertools.product(*(range(loop[3]) for loop in steps)):
                sent: dict[tuple[int, ...], set[tuple[frozenset, frozenset]]] = defaultdict(set)
                first_seen: dict[tuple[int, ...], set[tuple[int, ...]]] = defaultdict(set)
                for who in itertools.product(*(range(loop[3]) for loop in fan)):
                    start = values((*step, *who), [*steps, *fan])
                    ranges = []
                    for rank in tensor.ranks:
                        ends = [[c * start[v], c * (start[v] + extents[v] - 1)] for c, v in rank]
                        ranges.append(range(sum(map(min, ends)), sum(map(max, ends)) + 1))
                    tile = frozenset(itertools.product(*ranges))
                    fetch = tile if to_compute else tile - held.get(who, frozenset())
                    held[who] = tile
                    if not fetch:
                        continue
                    owner = tuple(i for i, loop in zip(who, fan, strict=True) if loop[0] < parent)
                    collector = owner if to_compute else who
                    again = frozenset(fetch & seen[collector]) if tensor.is_output else fetch
                    first_seen[collector] |= fetch
                    sent[owner].add((fetch, again))
                    if not to_compute:
                        words[names[child], tensor.name]["fills"] += len(again)
                for collector, elements in first_seen.items():
                    seen[collector] |= elements
                for deliveries in sent.values():
                    for fetch, again in deliveries:
                        words[names[parent], tensor.name]["reads"] += len(again)
                        words[names[parent], tensor.name]["updates"] += len(fetch) if tensor.is_output else 0
    return dict(words)
