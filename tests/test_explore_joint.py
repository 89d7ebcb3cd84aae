"""Joint search: arrays with mappings, buffers that follow from them, and DiGamma's operators."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.explore import (
    ExplorationStore,
    Goal,
    Status,
    explore,
    make_agent,
    make_problem,
    read_space,
)
from fiberloom.explore.accelerator.workload import parse_workload
from fiberloom.explore.joint import JointProblem
from fiberloom.explore.joint.genes import prime_factors
from fiberloom.explore.problems import stored_problem
from fiberloom.explore.space import Point, parse_space
from fiberloom.explore.sweep import compare
from fiberloom.model.evaluate import evaluate
from fiberloom.model.lower import lower
from fiberloom.model.records import PROBLEM

TEXT = read_space("digamma-like").text.replace("[1, 64]", "[1, 16]")


def _on(*networks: str, text: str = TEXT) -> JointProblem:
    problem = make_problem(parse_space(text), workloads=[parse_workload(n) for n in networks])
    assert isinstance(problem, JointProblem)
    return problem


@pytest.fixture(scope="module")
def alexnet() -> JointProblem:
    problem = _on("alexnet")
    problem.prepare()
    return problem


def _drawn(problem: JointProblem, count: int, seed: int = 0) -> list[Point]:
    return problem.space.sample(np.random.default_rng(seed), count)


@pytest.mark.parametrize("number", [1, 2, 12, 97, 1000, 2**10 * 3**2 * 7])
def test_prime_factors_multiply_to_their_number(number: int) -> None:
    assert np.prod([1, *prime_factors(number)]) == number


def test_designs_cost_what_evaluate_says_of_the_sized_hardware(alexnet: JointProblem) -> None:
    for point in _drawn(alexnet, 10):
        found = alexnet.evaluate(point)
        assert found.status is Status.EVALUATED, found.reason
        assert found.metrics == pytest.approx(alexnet.confirmed(point), rel=1e-12)


def test_several_networks_with_other_tensors_cost_what_evaluate_says() -> None:
    problem = _on("alexnet", "bert_base@seq=64")
    for point in _drawn(problem, 3):
        assert problem.evaluate(point).metrics == pytest.approx(problem.confirmed(point), rel=1e-12)


def test_hardware_lowered_once_for_alike_layers_is_that_of_every_layer() -> None:
    problem = _on("mobilenet_v2")
    for point in _drawn(problem, 3):
        problem.evaluate(point)
        records = problem._made.records
        _, layers = problem.built(point)
        for j in range(0, len(layers), 5):
            alone = lower(layers[j].einsum, layers[j].architecture).arrays[0]
            assert [n for n in PROBLEM.names or () if not np.array_equal(records[j][n], alone[n])] == []


def test_buffers_hold_the_largest_tiles_and_no_row_more(alexnet: JointProblem) -> None:
    for point in _drawn(alexnet, 5):
        design, layers = alexnet.built(point)
        for name in ("buffer", "scratchpad"):
            capacity = design.architecture.level(name).capacity_words
            row = design.architecture.level(name).words_per_access
            assert capacity is not None
            used = [
                sum(t.tile_words for t in level.tensors.values())
                for layer in layers
                for level in evaluate(layer.einsum, layer.architecture, layer.mapping).levels
                if level.name == name
            ]
            assert capacity - row < max(used) <= capacity


def test_loops_cover_every_bound_and_stay_within_the_array(alexnet: JointProblem) -> None:
    for point in _drawn(alexnet, 5):
        design, layers = alexnet.built(point)
        columns, rows = design.architecture.compute.mesh
        for layer in layers:
            for variable, bound in layer.einsum.shape.items():
                levels = layer.mapping.levels.values()
                assert np.prod([lv.temporal.get(variable, 1) * lv.spatial.get(variable, 1) for lv in levels]) == bound
            spread = layer.mapping.levels["buffer"]
            along_x = [f for v, f in spread.spatial.items() if v in (spread.spatial_x or ())]
            along_y = [f for v, f in spread.spatial.items() if v not in (spread.spatial_x or ())]
            assert np.prod([1, *along_x]) <= columns
            assert np.prod([1, *along_y]) <= rows


def test_every_design_has_a_number_and_comes_back_from_it(alexnet: JointProblem) -> None:
    space = alexnet.space
    for point in _drawn(alexnet, 20):
        assert space.unrank(space.rank(point)) == point
        assert space.canonical(point) == point
    assert space.rank(space.unrank(space.size() - 1)) == space.size() - 1
    with pytest.raises(SpecError):
        space.unrank(space.size())


def test_a_point_that_is_none_is_refused(alexnet: JointProblem) -> None:
    (point,) = _drawn(alexnet, 1)
    for wrong in (point[:-1], (*point[:-1], 99), (-1, *point[1:])):
        with pytest.raises(SpecError):
            alexnet.space.canonical(wrong)


def test_an_evaluation_does_not_depend_on_those_before_it(alexnet: JointProblem) -> None:
    first, second = _drawn(alexnet, 2)
    alone = alexnet.evaluate(first).metrics
    alexnet.evaluate(second)
    assert alexnet.evaluate(first).metrics == alone
    assert pickle.loads(pickle.dumps(alexnet)).evaluate(first).metrics == alone


@pytest.mark.parametrize("name", ["random", "genetic", "annealing", "digamma"])
def test_agents_search_mappings_too(alexnet: JointProblem, name: str) -> None:
    goal = Goal.parse(["edp"], ["area <= 3"], alexnet.metrics)
    found = explore(alexnet, make_agent(name, alexnet, goal, 0), evaluations=120)
    assert len(found.trials) == 120
    assert {t.evaluated.status for t in found.trials} == {Status.EVALUATED}


def test_digamma_finds_better_designs_than_random_with_every_seed(alexnet: JointProblem) -> None:
    goal = Goal.parse(["edp"], ["area <= 3"], alexnet.metrics)

    def best(name: str, seed: int) -> float:
        found = explore(alexnet, make_agent(name, alexnet, goal, seed), evaluations=400).best
        return found.score if found is not None else np.inf

    assert max(best("digamma", seed) for seed in range(2)) < min(best("random", seed) for seed in range(2))


def test_digamma_s_trials_are_determined_by_its_seed(alexnet: JointProblem) -> None:
    goal = Goal.parse(["edp", "area"], [], alexnet.metrics)
    runs = [explore(alexnet, make_agent("digamma", alexnet, goal, 3), evaluations=100) for _ in range(2)]
    assert [t.point for t in runs[0].trials] == [t.point for t in runs[1].trials]


def test_a_joint_run_is_stored_and_goes_on(tmp_path: Path, alexnet: JointProblem) -> None:
    goal = Goal.parse(["edp"], ["area <= 3"], alexnet.metrics)
    whole = explore(alexnet, make_agent("digamma", alexnet, goal, 1), evaluations=150)
    store = ExplorationStore(tmp_path / "run.db")
    explore(alexnet, make_agent("digamma", alexnet, goal, 1), evaluations=70, seed=1, store=store)
    again = stored_problem(store)
    rest = explore(again, make_agent("digamma", again, goal, 1), evaluations=150, seed=1, store=store, resume=True)
    store.close()
    assert [t.point for t in rest.trials] == [t.point for t in whole.trials]
    assert rest.resumed == 70
    assert rest.evaluated <= 80


def test_digamma_refuses_designs_without_mappings_of_their_own() -> None:
    problem = make_problem("dram-controller")
    goal = Goal.parse(["power_mw"], [], problem.metrics)
    with pytest.raises(UnsupportedError, match="breeds mappings"):
        make_agent("digamma", problem, goal, 0)


def test_a_comparison_of_all_agents_leaves_digamma_out_where_it_can_t_run() -> None:
    problem = make_problem("dram-controller")
    goal = Goal.parse(["power_mw"], [], problem.metrics)
    found = compare(problem, goal, [("grid", {}), ("digamma", {})], evaluations=5, seeds=1, skip_missing=True)
    assert "breeds mappings" in found.left_out["digamma"]
    assert len(found.contestants) == 2


@pytest.mark.parametrize(
    ("old", "new", "error", "said"),
    [
        ("  derive: [buffer, scratchpad]\n", "", SpecError, "derives no buffer"),
        ("[buffer, scratchpad]", "[bufer]", SpecError, "no level"),
        ("[buffer, scratchpad]", "[DRAM]", SpecError, "is a dram"),
        ("derive:", "mapper: exact\n  derive:", SpecError, "mapper"),
        ("component: sram,", "component: sram, area_um2: 5,", SpecError, "one size"),
        ("compute: {name: MAC,", "compute: {name: MAC, gating: true,", UnsupportedError, "dense hardware"),
        ("architecture:\n", "constraints: {buffer: {keep: [W]}}\narchitecture:\n", SpecError, "no 'constraints:'"),
        ("architecture:\n", "design: {computes: [conv]}\narchitecture:\n", SpecError, "no 'design:'"),
    ],
)
def test_what_can_t_be_searched_jointly_is_told(old: str, new: str, error: type[Exception], said: str) -> None:
    assert old in TEXT
    with pytest.raises(error, match=said):
        _on("alexnet", text=TEXT.replace(old, new, 1))


def test_mappings_that_a_memory_of_fixed_size_can_t_hold_are_invalid() -> None:
    text = TEXT.replace(", scratchpad]", "]").replace("{name: scratchpad,", "{name: scratchpad, depth: 40,")
    problem = _on("alexnet", text=text)
    goal = Goal.parse(["edp"], [], problem.metrics)
    found = explore(problem, make_agent("digamma", problem, goal, 0), evaluations=120)
    assert {t.evaluated.status for t in found.trials} == {Status.EVALUATED, Status.INVALID}
    assert all("holds 40" in t.evaluated.reason for t in found.trials if t.evaluated.status is Status.INVALID)
    assert found.best is not None
    assert found.best.evaluated.metrics == pytest.approx(problem.confirmed(found.best.point), rel=1e-12)


def test_levels_that_come_and_go_are_refused() -> None:
    spare = "{when: rows == 1, name: spare, component: sram, depth: 64, width_bits: 64}"
    with pytest.raises(UnsupportedError, match="spare"):
        _on("alexnet", text=TEXT.replace("{name: buffer,", f"{spare}\n    - {{name: buffer,"))


def test_the_page_on_joint_search_says_what_is_so() -> None:
    page = (Path(__file__).parents[1] / "docs" / "explore-joint.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    exec(compile(code, "explore-joint.md", "exec"), {})
    (written,) = re.findall(r"^```yaml\n(problem:\n  kind: joint.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert written in read_space("digamma-like").text
    for name in ("eyeriss-like", "simba-like"):
        assert f"`{name}` ({read_space(name).space.size():,}" in page
