"""The spaces of the library that are arrays and buffers: Eyeriss-like, Simba-like, AIRCHITECT's."""

from __future__ import annotations

import numpy as np
import pytest

from fiberloom.errors import SpecError
from fiberloom.explore import Status, make_problem, read_space
from fiberloom.explore.accelerator.problem import AcceleratorProblem
from fiberloom.explore.accelerator.workload import parse_workload
from fiberloom.explore.learned.designs import DesignSpaceModel, areas_mm2, design_id, levels
from fiberloom.explore.learned.workloads import products_of
from fiberloom.explore.space import parse_space
from fiberloom.network_evaluation.cases import layers_of
from fiberloom.network_evaluation.designs import read_design

ARRAYS = ("eyeriss-like", "simba-like")


def _on(name: str, network: str = "alexnet") -> AcceleratorProblem:
    problem = make_problem(name, workloads=[parse_workload(network)], cache=False)
    assert isinstance(problem, AcceleratorProblem)
    problem.prepare()
    return problem


@pytest.mark.parametrize("name", ARRAYS)
def test_a_space_has_a_million_designs(name: str) -> None:
    assert read_space(name).space.size() >= 10**6


@pytest.mark.parametrize(("space", "library"), [("eyeriss-like", "eyeriss"), ("simba-like", "simba-like")])
def test_a_known_design_costs_what_the_library_s_design_costs(space: str, library: str) -> None:
    problem = _on(space)
    ours = problem.evaluate(problem.space.point(problem.file.known[library]))
    theirs = problem.measure_design(read_design(library))
    assert ours.metrics == pytest.approx(theirs.metrics, rel=1e-9)


@pytest.mark.parametrize("name", ARRAYS)
def test_every_random_design_is_evaluated(name: str) -> None:
    problem = _on(name)
    for point in problem.space.sample(np.random.default_rng(1), 6):
        found = problem.evaluate(point)
        assert found.status is Status.EVALUATED, (problem.space.values(point), found.reason)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("network", ["mobilenet_v2", "resnet50"])
def test_fifty_random_designs_are_evaluated_or_refused_for_a_reason(name: str, network: str) -> None:
    problem = _on(name, network)
    for point in problem.space.sample(np.random.default_rng(2), 50):
        found = problem.evaluate(point)
        assert found.status is Status.EVALUATED or (found.status is Status.INVALID and found.reason), found


@pytest.mark.parametrize("name", ARRAYS)
def test_larger_buffers_take_more_area_and_save_latency_or_nothing(name: str) -> None:
    problem = _on(name)
    buffer = "buffer_kib" if name == "eyeriss-like" else "global_kib"
    known = next(iter(problem.file.known.values()))
    sizes = problem.space.parameters[problem.space.index[buffer]].values
    small, large = (problem.evaluate(problem.space.point({**known, buffer: s})).metrics for s in (sizes[0], sizes[-1]))
    assert large["area"] > small["area"]
    assert large["capacity"] > small["capacity"]
    assert large["latency"] <= small["latency"]


def test_the_exact_mapper_is_never_worse_than_the_dataflow_of_a_space() -> None:
    def measured(mapper: str) -> float:
        text = read_space("eyeriss-like").text.replace("mapper: dataflow", f"mapper: {mapper}")
        problem = make_problem(parse_space(text), workloads=[parse_workload("alexnet")], cache=False)
        problem.prepare()
        found = problem.evaluate(problem.space.point(problem.file.known["eyeriss"]))
        assert found.status is Status.EVALUATED, found.reason
        return found.metrics["edp"]

    assert measured("exact") <= measured("dataflow")


CONSTRAINED = """
fiberloom: 1
space: {parameters: {lanes: [16], along: [M, C]}}
problem: {workloads: [alexnet], mapper: random, seconds: 0.05}
constraints:
  buffer: {spatial: {x: "${along}", y: []}}
architecture:
  name: row
  technology: 45nm
  levels:
    - {name: DRAM, component: dram, word_bits: 8, width_bits: 64}
    - {name: buffer, component: sram, word_bits: 8, width_bits: 64, depth: 65536}
    - {name: registers, component: regfile, mesh: "${lanes}x1", word_bits: 8, width_bits: 8, depth: 16}
  compute: {name: MAC, mesh: "${lanes}x1", word_bits: 8}
"""


def test_constraints_of_a_space_bound_every_layer_s_mappings_by_role() -> None:
    problem = make_problem(parse_space(CONSTRAINED), cache=False)
    assert isinstance(problem, AcceleratorProblem)
    for along in ("M", "C"):
        design = problem.design(problem.space.point({"along": along}))
        for einsum in (layer.einsum for layer in layers_of(parse_workload("alexnet").read())):
            bound = design.bound(einsum)
            assert bound.constraints.at("buffer").spatial.x == tuple(v for v in einsum.shape if v == along.lower())


def test_constraints_at_a_level_that_is_not_there_are_refused_with_their_place() -> None:
    problem = make_problem(
        parse_space(CONSTRAINED.replace("  buffer: {spatial", "  bufer: {spatial"), "a.yaml"), cache=False
    )
    found = problem.evaluate(problem.space.unrank(0))
    assert found.status is Status.INVALID
    assert "bufer" in found.reason


def test_airchitect_s_designs_are_those_of_its_recommenders() -> None:
    problem = make_problem("airchitect", workloads=[parse_workload("alexnet")])
    assert problem.space.size() == 768 * 3
    model = DesignSpaceModel()
    for clusters, buffer_kib, dataflow in ((40, 96, "dla"), (7, 16, "shi"), (64, 768, "eye")):
        point = problem.space.point({"clusters": clusters, "buffer_kib": buffer_kib, "dataflow": dataflow})
        found = problem.evaluate(point)
        assert found.metrics["area"] == pytest.approx(areas_mm2()[design_id(clusters, buffer_kib)], rel=1e-9)
        least = 0.0
        for product in products_of(parse_workload("alexnet").read(), dataflow):
            costs = model(product)
            array, buffer = levels(np.arange(768))
            usable = (buffer == levels(design_id(clusters, buffer_kib))[1]) & (array < clusters)
            best = np.flatnonzero(usable)[np.argmin((costs.cycles * costs.energy_pj)[usable])]
            least += costs.energy_pj[best] * product.count * 1e-12
        assert found.metrics["energy"] == pytest.approx(least, rel=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{linear: [1, 64]}", "{linear: [1, 65]}", "never 65"),
        ("[dla, eye, shi]", "[dla, ey]", "never ey"),
        ("    dataflow: [dla, eye, shi]\n", "", "lacks 'dataflow'"),
    ],
)
def test_designs_that_airchitect_s_space_has_not_are_refused(old: str, new: str, said: str) -> None:
    text = read_space("airchitect").text.replace(old, new)
    text = "\n".join(line for line in text.splitlines() if "known" not in line and "largest:" not in line)
    with pytest.raises(SpecError, match=said):
        make_problem(parse_space(text))


def test_a_sparse_workload_is_refused_where_designs_are_dense() -> None:
    with pytest.raises(SpecError, match="sparse"):
        make_problem("airchitect", workloads=[parse_workload("alexnet@0.5")])


@pytest.mark.parametrize(
    ("mapper", "said"),
    [("mapper: nosuch", "not known"), ("mapper: dataflow", "the space has none"), ("objective: edpp", "edpp")],
)
def test_a_search_of_mappings_that_there_is_not_is_told_before_anything_runs(mapper: str, said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        make_problem(parse_space(CONSTRAINED.replace("mapper: random", mapper), "a.yaml"))
    assert caught.value.where is not None


@pytest.mark.parametrize("mapper", ["exact", "random", "genetic"])
def test_the_inner_search_of_a_nested_exploration_may_be_any_mapper(mapper: str) -> None:
    problem = make_problem(parse_space(CONSTRAINED.replace("mapper: random", f"mapper: {mapper}")), cache=False)
    problem.prepare()
    found = problem.evaluate(problem.space.unrank(0))
    assert found.status is Status.EVALUATED, found.reason
