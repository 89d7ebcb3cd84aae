"""Cost models behind one mapping: bounds that hold, counts worked out by hand, and honest refusals."""

from __future__ import annotations

import json
import math
import random
import warnings
from pathlib import Path

import pytest

from fiberloom.architecture import library
from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
from fiberloom.cli.program import run
from fiberloom.cost_models import DataCentricModel, RooflineModel, SparseModel, Words, cost_model, cost_models
from fiberloom.cost_models._base import Checks
from fiberloom.cost_models._loops import read_loops, used_words
from fiberloom.errors import FiberloomError, MappingError, SpecError, UnsupportedError
from fiberloom.mapping.nest import LevelMapping, Mapping
from fiberloom.model.lower import Problem, lower
from fiberloom.workload.einsum import Einsum
from problems import Features, random_problem
from problems import Problem as Question

SPARSE, ROOFLINE, DATA_CENTRIC = SparseModel(), RooflineModel(), DataCentricModel()
ABOVE = 1 + 1e-9


def costly(question: Question, rng: random.Random) -> Problem:
    """The problem with random bandwidths, blocks, energies and leakage, so that any of them can be the bottleneck."""
    levels = []
    for level in question.architecture.levels:
        names = ("read_bandwidth", "write_bandwidth", "shared_bandwidth")
        bandwidths = {name: rng.choice([None, None, 0.5, 1.0, 3.0, 8.0]) for name in names}
        energies = {"read": rng.uniform(0, 9), "write": rng.uniform(0, 9), "leak": rng.choice([0.0, 0.3])}
        blocks = {"block_words": rng.choice([1, 1, 2, 4])}
        levels.append(level.model_copy(update=bandwidths | blocks | {"energy_pj": energies}))
    compute = question.architecture.compute.model_copy(update={"energy_pj": {"compute": 2.5, "leak": 0.01}})
    architecture = question.architecture.model_copy(update={"levels": tuple(levels), "compute": compute})
    return lower(question.workload, architecture)


def check_roofline(seeds: range, features: Features) -> None:
    for seed in seeds:
        rng = random.Random(seed)
        question = random_problem(rng, features)
        problem = costly(question, rng)
        bound, model = (m.evaluate(problem, question.mapping) for m in (ROOFLINE, SPARSE))
        assert bound.cycles <= model.cycles, f"seed {seed}: {bound.cycles} cycles above {model.cycles}\n{question}"
        assert bound.energy_pj <= model.energy_pj * ABOVE, f"seed {seed}: energy above the model's\n{question}"


@pytest.mark.parametrize(
    "features",
    [Features(), Features(multicast_off=True), Features(peer_links=True), Features(sparse=True)],
    ids=["dense", "multicast-off", "peer-links", "sparse"],
)
def test_the_roofline_is_below_the_sparse_model(features: Features) -> None:
    check_roofline(range(60), features)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 2000, 250))
def test_the_roofline_is_below_the_sparse_model_on_thousands_of_problems(first: int) -> None:
    check_roofline(range(first, first + 200), Features(sparse=True))
    check_roofline(range(first + 200, first + 250), Features(multicast_off=True))


@pytest.mark.parametrize("design", library.names())
@pytest.mark.parametrize("density", [1.0, 0.5, 0.1])
def test_the_roofline_is_below_the_sparse_model_on_published_designs(design: str, density: float) -> None:
    densities = {} if density == 1 else {"A": density, "B": density}
    gemm = Einsum.parse("Z[m,n] = A[m,k] * B[k,n]", {"m": 64, "n": 128, "k": 256}, densities=densities)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mapping = library.plan_mapping(design, gemm).mapping
    problem = lower(gemm, library.load(design, gemm))
    bound, model = ROOFLINE.evaluate(problem, mapping), SPARSE.evaluate(problem, mapping)
    assert bound.cycles <= model.cycles
    assert bound.energy_pj <= model.energy_pj * ABOVE


@pytest.mark.parametrize("features", [Features(), Features(multicast_off=True)], ids=["dense", "multicast-off"])
def test_data_centric_counts_are_never_below_the_sparse_model(features: Features) -> None:
    """Both count words, each in its own way. Windows that turn back share nothing in the data-centric one; else they agree."""
    for seed in range(80):
        rng = random.Random(seed)
        question = random_problem(rng, features)
        problem = costly(question, rng)
        ours, theirs, bound = (m.evaluate(problem, question.mapping) for m in (DATA_CENTRIC, SPARSE, ROOFLINE))
        for level, tensors in theirs.words.items():
            for name, words in tensors.items():
                found = ours.words[level][name]
                for action in ("reads", "fills", "updates"):
                    assert getattr(found, action) >= getattr(words, action) - 1e-6, (
                        f"seed {seed}: {level} {name} {action}"
                    )
        assert ours.cycles >= theirs.cycles and ours.energy_pj >= theirs.energy_pj / ABOVE, f"seed {seed}"
        assert ours.cycles >= bound.cycles and ours.energy_pj >= bound.energy_pj / ABOVE, f"seed {seed}"
        if all(len(rank) == 1 for tensor in question.workload.tensors for rank in tensor.ranks):
            assert ours.words == theirs.words, f"seed {seed}"


def test_macs_cycles_and_compulsory_words_are_checked_for_every_data_centric_evaluation() -> None:
    problem, mapping = hand_worked()
    held = {check.what: check for check in DATA_CENTRIC.evaluate(problem, mapping).checks}
    assert held["MACs"].found == held["MACs"].bound == 8 * 4 * 6 and held["MACs"].relation == "="
    assert held["cycles"].bound == 8 * 4 * 6 / 4
    assert {"reads of A at DRAM", "fills of A at Buffer", "reads of B at DRAM", "updates of Z at DRAM"} <= set(held)


def test_a_check_that_fails_is_an_error_and_says_what_it_compared() -> None:
    checks = Checks()
    checks.at_least("cycles", 10.0, 10.0, "work over lanes")
    with pytest.raises(AssertionError, match="MACs -5 = 192"):
        checks.equal("MACs", -5, 192, "points of the iteration space")
    with pytest.raises(AssertionError, match="cycles 9 ≥ 10"):
        checks.at_least("cycles", 9.0, 10.0, "work over lanes")
    assert len(checks.held()) == 1


def hand_worked(*, bandwidth: float | None = None, **changes: object) -> tuple[Problem, Mapping]:
    """GEMM m=8 n=4 k=6: DRAM over m in two halves, one buffer over k and n, four lanes over m."""
    gemm = Einsum.parse("Z[m,n] = A[m,k] * B[k,n]", {"m": 8, "n": 4, "k": 6})
    energies = {"read": 1.0, "write": 1.0}
    architecture = Architecture(
        levels=(
            StorageLevel(
                name="DRAM", component=ComponentClass.DRAM, energy_pj=energies, read_bandwidth=bandwidth, block_words=1
            ),
            StorageLevel(name="Buffer", depth=1000, energy_pj=energies, block_words=1),
        ),
        compute=Compute(name="MAC", instances=4, energy_pj={"compute": 1.0}),
    )
    mapping = Mapping(
        levels={
            "DRAM": LevelMapping(temporal={"m": 2}),
            "Buffer": LevelMapping(temporal={"k": 6, "n": 4}, spatial={"m": 4}, temporal_order=("k", "n")),
        }
    )
    return lower(gemm, architecture.model_copy(update=changes)), mapping


def test_reuse_by_coupling_gives_the_counts_worked_out_by_hand() -> None:
    """DRAM steps over m: A[4,6] arrives twice; B[6,4] is not coupled to m and stays; Z[4,4] leaves twice.

    In the buffer every lane takes one element of A and of B and gives one product in each of 48 steps; B is multicast to
    the four lanes. The first of six passes over k finds no partial sum.
    """
    problem, mapping = hand_worked()
    words = DATA_CENTRIC.evaluate(problem, mapping).words
    assert words["DRAM"] == {"A": Words(48, 0, 0), "B": Words(24, 0, 0), "Z": Words(0, 0, 32)}
    assert words["Buffer"] == {"A": Words(192, 48, 0), "B": Words(48, 24, 0), "Z": Words(192 - 32, 0, 192)}


def test_runtime_sums_the_slowest_of_ingress_compute_and_egress_over_iteration_cases() -> None:
    """With 2 words per cycle, the first half takes 48 words, 24 cycles, as long as it computes; the other 24 words, 12.

    No step can overlap with the very first one's transfers: 24 cycles for A and B and 1 of egress at DRAM, and 1 + 1 before the
    first product leaves the buffer.
    """
    problem, mapping = hand_worked(bandwidth=2.0)
    cost = DATA_CENTRIC.evaluate(problem, mapping)
    assert cost.cycles == 24 + 24 + (24 + 1) + (1 + 1)
    assert SPARSE.evaluate(problem, mapping).cycles == 48
    slow, _ = hand_worked(bandwidth=1.0)
    # ingress of the first half (48 cycles) hides its computation, and the second (24) is level with it
    assert DATA_CENTRIC.evaluate(slow, mapping).cycles == 48 + 24 + (24 + 1) + (1 + 1)


def test_hops_delay_every_transfer() -> None:
    problem, mapping = hand_worked()
    near, far = DataCentricModel(), DataCentricModel(hops=3.0)
    # 48 steps that took 1 cycle now wait 3 for their operands; two starts each wait for both directions
    assert far.evaluate(problem, mapping).cycles - near.evaluate(problem, mapping).cycles > 2 * 48
    assert far.evaluate(problem, mapping).energy_pj == near.evaluate(problem, mapping).energy_pj


def test_a_level_needs_room_for_the_chunks_that_arrive_meanwhile() -> None:
    problem, mapping = hand_worked()
    needs = DATA_CENTRIC.evaluate(problem, mapping).needs_words
    assert needs == {"Buffer": 2 * (4 * 6 + 6 * 4 + 4 * 4)}


def test_a_mapping_reads_as_clusters_and_directives() -> None:
    problem, mapping = hand_worked()
    assert DATA_CENTRIC.directives(problem, mapping) == (
        "DRAM: TemporalMap(4,4) m\nBuffer: TemporalMap(1,1) k; TemporalMap(1,1) n; SpatialMap(1,1) m"
    )


def test_a_window_that_slides_keeps_what_overlaps() -> None:
    """Steps of p move a window of 3 by one: 3 words first, then one each, until c starts over."""
    conv = Einsum.parse("O[p] = I[p+r] * W[r]", {"p": 6, "r": 3})
    architecture = Architecture(
        levels=(
            StorageLevel(name="DRAM", component=ComponentClass.DRAM, energy_pj={"read": 1.0, "write": 1.0}),
            StorageLevel(name="Buffer", depth=99, energy_pj={"read": 1.0, "write": 1.0}),
        ),
        compute=Compute(name="MAC", energy_pj={"compute": 1.0}),
    )
    mapping = Mapping(levels={"DRAM": LevelMapping(temporal={"p": 6}), "Buffer": LevelMapping(temporal={"r": 3})})
    assert DATA_CENTRIC.evaluate(lower(conv, architecture), mapping).words["DRAM"]["I"].reads == 3 + 5


def test_models_say_which_problems_they_do_not_judge_and_why() -> None:
    gemm = Einsum.parse("Z[m,n] = A[m,k] * B[k,n]", {"m": 64, "n": 64, "k": 64}, densities={"A": "2:4", "B": 0.5})
    problem = lower(gemm, library.load("stc", gemm))
    reasons = DATA_CENTRIC.supports(problem)
    assert any("sparse format" in reason for reason in reasons)
    assert any("gates or skips" in reason for reason in reasons)
    assert SPARSE.supports(problem) == () and ROOFLINE.supports(problem) == ()
    with pytest.raises(UnsupportedError, match=r"data-centric.*sparse format"):
        DATA_CENTRIC.evaluate(problem, library.default_mapping("stc", gemm))
    rounded = lower(gemm, library.load("stc", gemm), rule_set="artifact")
    assert any("rounds" in reason for reason in ROOFLINE.supports(rounded))
    strided = Einsum.parse("O[p+q] = A[p] * B[q]", {"p": 4, "q": 4})
    assert "indexed by sums" in DATA_CENTRIC.supports(lower(strided, hand_worked()[0].architecture))[0]


def test_zeros_that_no_part_of_a_design_sees_do_not_matter() -> None:
    problem, mapping = hand_worked()
    thin = problem.workload.model_copy(
        update={
            "tensors": tuple(
                t.model_copy(update={"density": 0.2}) if t.name == "A" else t for t in problem.workload.tensors
            )
        }
    )
    blind = lower(thin, problem.architecture)
    for model in cost_models():
        dense, sparse = model.evaluate(problem, mapping), model.evaluate(blind, mapping)
        assert (dense.cycles, dense.energy_pj) == (sparse.cycles, sparse.energy_pj)
    skipping = hand_worked(compute=problem.architecture.compute.model_copy(update={"skipping": True}))[0].architecture
    assert "zeros of 'A'" in DATA_CENTRIC.supports(lower(thin, skipping))[0]


def test_a_mapping_that_does_not_fit_is_refused_by_every_model() -> None:
    problem, mapping = hand_worked()
    wrong = mapping.model_copy(update={"levels": {**mapping.levels, "DRAM": LevelMapping(temporal={"m": 4})}})
    wide = Mapping(levels={"DRAM": LevelMapping(temporal={"n": 4, "k": 6}), "Buffer": LevelMapping(spatial={"m": 8})})
    for model in cost_models():
        with pytest.raises(MappingError):
            model.evaluate(problem, wrong)
    for model in (SPARSE, DATA_CENTRIC):
        with pytest.raises(MappingError):
            model.evaluate(problem, wide)


def test_used_words_leave_out_the_holes_of_strided_windows() -> None:
    for seed in range(60):
        question = random_problem(random.Random(seed), Features(max_points=400))
        for tensor in question.workload.tensors:
            positions = 1
            for rank in tensor.ranks:
                sums = {0}
                for term in rank:
                    sums = {
                        s + term.coefficient * i for s in sums for i in range(question.workload.shape[term.variable])
                    }
                positions *= len(sums)
            assert used_words(question.workload, tensor) == positions


def test_instances_and_steps_multiply_to_the_iteration_space() -> None:
    for seed in range(40):
        question = random_problem(random.Random(seed))
        loops = read_loops(lower(question.workload, question.architecture), question.mapping)
        assert loops.steps * loops.lanes == math.prod(question.workload.shape.values())
        assert loops.used_instances[-2] == 1


def test_a_mistyped_cost_model_is_named() -> None:
    with pytest.raises(SpecError, match="did you mean 'roofline'"):
        cost_model("rofline")


SPECIFICATION = """
fiberloom: 1
workload: {name: gemm, einsum: "Z[m,n] = A[m,k] * B[k,n]", shape: {m: 8, n: 4, k: 6}}
architecture:
  name: small
  levels:
    - {name: DRAM, component: dram, read_bandwidth: 2}
    - {name: Buffer, depth: 100}
  compute: {name: MAC, instances: 4}
mapping:
  - {level: DRAM, temporal: m=2}
  - {level: Buffer, temporal: k=6 n=4, spatial: m=4}
"""


@pytest.fixture
def specification(tmp_path: Path) -> str:
    path = tmp_path / "gemm.yaml"
    path.write_text(SPECIFICATION, encoding="utf-8")
    return str(path)


def test_the_command_prints_every_model_and_where_they_differ(
    specification: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["cost-models", specification]) == 0
    printed = capsys.readouterr().out
    assert all(model.name in printed for model in cost_models())
    assert "Where the models differ" in printed and "TemporalMap(4,4) m" in printed


def test_the_command_prints_json(specification: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cost-models", specification, "--json"]) == 0
    models = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["models"]}
    assert set(models) == {"sparse", "roofline", "data-centric"}
    assert models["roofline"]["cost"]["cycles"] <= models["sparse"]["cost"]["cycles"]
    assert all(entry["supported"] and not entry["reasons"] for entry in models.values())


def test_every_model_is_pure() -> None:
    question = random_problem(random.Random(7), Features(sparse=True))
    problem = lower(question.workload, question.architecture)
    before = problem.arrays.tobytes()
    for model in cost_models():
        try:
            first, second = (model.evaluate(problem, question.mapping).to_dict() for _ in range(2))
        except FiberloomError:
            assert model.supports(problem)
            continue
        assert first == second
    assert problem.arrays.tobytes() == before
