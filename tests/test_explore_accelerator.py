"""Accelerators of a space on whole networks: named designs are those of the library, bounds hold, places are those of the file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from fiberloom.architecture import library
from fiberloom.codesign.network_cost import Search
from fiberloom.codesign.networks import evaluate_networks
from fiberloom.errors import SpecError
from fiberloom.explore import make_problem
from fiberloom.explore.accelerator import AcceleratorProblem
from fiberloom.explore.accelerator.workload import parse_workload
from fiberloom.explore.space import parse_space, read_space
from fiberloom.explore.trial import Status
from fiberloom.workload.importers import read_network


@pytest.fixture(scope="module")
def cores(tmp_path_factory: pytest.TempPathFactory) -> AcceleratorProblem:
    """The tensor cores on AlexNet with 2:4 weights, with time enough to prove every mapping."""
    cache = tmp_path_factory.mktemp("mappings")
    file = parse_space(read_space("tensor-core").text.replace("seconds: 0.5", "seconds: 60"))
    problem = make_problem(file, workloads=[parse_workload("alexnet@2:4")], cache=cache)
    assert isinstance(problem, AcceleratorProblem)
    return problem


@pytest.mark.parametrize("name", ["dense-tensor-core-45nm", "stc", "vegeta-m4", "vegeta-m8", "highlight"])
def test_a_named_tensor_core_costs_what_the_library_s_design_of_that_name_costs(
    cores: AcceleratorProblem, name: str
) -> None:
    found = cores.evaluate(cores.space.point(cores.file.known[name]))
    assert found.status is Status.EVALUATED, found.reason
    own = evaluate_networks(
        read_network("alexnet"), [name], {name: "2:4"}, search=Search(seconds=60, workers=0, cache=cores.cache)
    )[name]
    assert found.metrics["latency"] == pytest.approx(own.seconds, rel=1e-9)
    assert found.metrics["energy"] == pytest.approx(own.energy_pj * 1e-12, rel=1e-9)
    assert found.metrics["area"] == pytest.approx(own.area_um2 * 1e-6, rel=1e-9)


def test_the_dual_side_core_has_the_library_s_hardware(cores: AcceleratorProblem) -> None:
    made = cores.design(cores.space.point(cores.file.known["dstc"])).architecture
    prose = {"name", "description", "sources"}
    assert made.model_dump(exclude=prose) == library.load("dstc").model_dump(exclude=prose)


def test_bounds_are_below_what_is_measured_and_exact_where_no_mapping_matters(cores: AcceleratorProblem) -> None:
    for point in cores.space.sample(np.random.default_rng(5), 6):
        if cores.space.values(point)["sparsity"] == "dual":
            continue
        bounds, found = cores.bounds(point, {"edp"}), cores.evaluate(point)
        assert found.status is Status.EVALUATED, found.reason
        for metric in ("edp", "energy", "latency"):
            assert 0 < bounds[metric] <= found.metrics[metric] * (1 + 1e-9)
        for metric in ("area", "lanes", "capacity"):
            assert bounds[metric] == found.metrics[metric]


def test_metrics_are_weighted_geometric_means_over_workloads(tmp_path: Path) -> None:
    given = [parse_workload("alexnet"), parse_workload("alexnet@2:4")]
    point, found = (), []
    for workloads in (given[:1], given[1:], given):
        problem = make_problem("tensor-core", workloads=workloads, cache=tmp_path)
        point = problem.space.point(problem.file.known["stc"])
        found.append(problem.evaluate(point).metrics)
    one, other, both = found
    for metric in ("edp", "energy", "latency"):
        assert both[metric] == pytest.approx(math.sqrt(one[metric] * other[metric]))
    assert both["power"] == pytest.approx(both["energy"] / both["latency"])


BAD = """
fiberloom: 1
space: {name: bad, parameters: {depth: {choice: [-4, 64]}, widths: {choice: [8, wide]}}}
problem: {kind: accelerator, workloads: [alexnet]}
architecture:
  levels:
    - {name: DRAM, component: dram, width_bits: 64}
    - {name: buffer, component: sram, width_bits: 64, depth: "${depth}"}
  compute: {name: MAC, word_bits: "${widths}"}
"""


def test_a_design_that_makes_no_sense_is_invalid_with_the_place_in_the_space_s_file() -> None:
    problem = make_problem(parse_space(BAD, "bad.yaml"))
    for values, field in (({"depth": -4}, "bad.yaml:8"), ({"depth": 64, "widths": "wide"}, "bad.yaml:9")):
        found = problem.evaluate(problem.space.point(values))
        assert found.status is Status.INVALID
        assert field in found.reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("kind: accelerator", "kind: accelerators"), "accelerator"),
        (("workloads: [alexnet]", "workloads: []"), "no workload"),
        (("workloads: [alexnet]", "workloads: [{net: alexnet}]"), "net"),
    ],
)
def test_a_problem_that_makes_no_sense_is_refused(change: tuple[str, str], said: str) -> None:
    assert change[0] in BAD
    try:
        problem = make_problem(parse_space(BAD.replace(*change), "bad.yaml"))
        reason = problem.evaluate(problem.space.point({"depth": 64})).reason
    except SpecError as error:
        reason = str(error)
    assert said in reason and "bad.yaml" in reason


def test_workloads_of_one_line() -> None:
    made = parse_workload("bert_base@0.3,seq=128")
    assert (made.network, made.weights, dict(made.dims)) == ("bert_base", 0.3, {"seq": 128})
    assert parse_workload("resnet50@2:4").weights == "2:4"
    with pytest.raises(SpecError, match="no extent"):
        parse_workload("resnet50@2:4,batch=x")
