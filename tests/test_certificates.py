"""What is said to be proved about a mapping, and on what grounds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fiberloom.architecture import library
from fiberloom.mapper.certificate import Certificate, exact_ending
from fiberloom.mapper.driver import run
from fiberloom.mapper.floor import certified, floor
from fiberloom.mapper.objective import parse_objective
from fiberloom.mapper.search import SearchProblem, make
from fiberloom.mapping.space import MapSpace
from fiberloom.model.lower import lower
from fiberloom.network_evaluation.mapping_search import MappingJob, solve
from fiberloom.report.mapping_search import SearchFacts, certificate_sentence
from fiberloom.workload.einsum import Einsum
from map_problems import gemm_problem


def product(n: int = 64, densities: dict[str, object] | None = None) -> Einsum:
    return Einsum.parse("Z[M,N] = A[M,K] * B[K,N]", dict.fromkeys("MNK", n), densities=densities)


def test_a_certificate_says_optimal_only_where_the_bound_meets_what_was_found() -> None:
    assert Certificate.of(10.0, 10.0, "edp").to_dict() == {
        "status": "optimal",
        "lower_bound": 10.0,
        "gap": 0.0,
        "objective": "edp",
    }
    assert (Certificate.of(10.0, 8.0, "edp").status, Certificate.of(10.0, 8.0, "edp").gap) == ("bound", 0.2)
    assert (Certificate.of(10.0, 0.0, "edp").status, Certificate.of(10.0, 0.0, "edp").gap) == ("none", 1.0)
    assert Certificate.of(math.inf, 8.0, "edp").gap == 1.0
    assert Certificate.of(10.0, 8.0, "edp", searched=False).status == "none"
    assert Certificate.of(10.0, 10.0, "edp", searched=False).status == "optimal"


def test_a_sampler_proves_its_answer_only_where_nothing_can_be_faster() -> None:
    target = gemm_problem("latency")
    lanes = floor(target)
    for evaluations in (1, 10_000):
        searcher = make("random", target, 0)
        result = run(searcher, target, evaluations=evaluations)
        found = certified(target, searcher, result)
        assert found.lower_bound == lanes
        assert (found.status == "optimal") == (result.value == lanes) == (found.gap == 0)
    assert found.status == "optimal"


def test_only_a_search_that_tried_every_mapping_proves_by_being_exhausted() -> None:
    assert not make("random-pruned", gemm_problem(), 0).exhaustive
    assert make("exhaustive", gemm_problem(), 0).exhaustive


@pytest.mark.parametrize("design", ["stc", "dstc", "scnn", "highlight", "eyeriss", "gamma-like"])
def test_no_mapping_is_faster_than_the_floor(design: str) -> None:
    densities: dict[str, object] = {"A": 0.3, "B": 0.5} if design != "stc" else {"A": "2:4"}
    einsum = product(64, densities)
    if design in ("scnn", "eyeriss"):
        shape = {"m": 16, "c": 16, "p": 8, "q": 8, "r": 3, "s": 3}
        einsum = Einsum.parse("O[m,p,q] = W[m,c,r,s] * I[c,p+r,q+s]", shape, densities={"W": 0.3, "I": 0.5})
    architecture = library.load(design, einsum)
    target = SearchProblem(lower(einsum, architecture), MapSpace(einsum, architecture), "latency")
    least = floor(target)
    assert least is not None
    values = target.evaluate(target.space.sample(np.random.default_rng(0), 4096)).objective
    assert np.isfinite(values).any()
    assert values.min() >= least * (1 - 1e-9)


def test_a_dataflow_that_meets_the_bound_of_a_stopped_search_is_proved() -> None:
    einsum = product(512)
    job = MappingJob(einsum, library.load("dstc", einsum), objective="latency", seconds=0.5, design="dstc")
    answer = solve(job)
    certificate = answer["certificate"]
    assert answer["search"]["stopped"] == "seconds"
    assert answer["search"]["found_by"] == "dataflow of the design"
    assert (certificate["status"], certificate["gap"]) == ("optimal", 0)
    assert answer["cycles"] == certificate["lower_bound"]


@pytest.mark.parametrize(
    ("status", "statistics", "ending"),
    [
        ("optimal", {}, "proved"),
        ("optimal", {"stopped": "time"}, "seconds"),
        ("bound", {"stopped": "interrupted"}, "interrupted"),
        ("bound", {}, "memory"),
        ("bound", {"relaxed": True}, "bounded"),
        ("bound", {"relaxed": True, "stopped": "time"}, "seconds"),
    ],
)
def test_why_the_exact_mapper_ended(status: str, statistics: dict[str, object], ending: str) -> None:
    assert exact_ending(Certificate(status, 1.0, 0.0, "edp"), statistics) == ending


@pytest.mark.parametrize(
    ("objective", "bound", "stopped", "said"),
    [
        ("latency", 10.0, "proved", "proved optimal: no mapping of the map space has a lower latency"),
        ("latency", 10.0, "seconds", "has a lower latency; one of the same latency may take less energy"),
        ("edp", 10.0, "memory", "has a lower edp; one of the same edp may take fewer cycles"),
        ("edp", 8.0, "seconds", "stopped early, but at most 25.0 % above the optimum"),
        ("edp", 8.0, "bounded", "bounded, not proved: at most 25.0 % above the optimum"),
    ],
)
def test_the_sentence_says_what_is_open(objective: str, bound: float, stopped: str, said: str) -> None:
    facts = SearchFacts("exact", parse_objective(objective), 10.0, 100, 1.0, stopped)
    assert said in certificate_sentence(Certificate.of(10.0, bound, objective), facts)
