"""Algorithms: contractions as transposes and a GEMM, convolutions as the GEMM of their im2col; and what they cost."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest

from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
from fiberloom.cli.program import run
from fiberloom.cost_models import SparseModel
from fiberloom.cost_models.algorithms import algorithm_cost, movement_cost, why, winner
from fiberloom.cost_models.flattening import unflattened
from fiberloom.cost_models.rigid_axes import one_index_per_axis
from fiberloom.errors import UnsupportedError
from fiberloom.mapping.nest import LevelMapping, Mapping
from fiberloom.model.evaluate import evaluate_problem
from fiberloom.model.lower import Problem, lower
from fiberloom.workload.algorithms import Movement, algorithms, im2col, native, ttgt
from fiberloom.workload.einsum import Einsum
from problems import Features, random_mapping

CONTRACTIONS = (
    "C[a,b,c,d] = A[d,b,e,a] * B[e,c]",
    "C[a,b,c] = A[a,d,b] * B[d,c]",
    "C[a,b,c,d] = A[a,e,b,f] * B[d,f,c,e]",
    "C[a,b,c,d] = A[a,b,e,f] * B[e,f,c,d]",
    "C[g,a,b] = A[g,a,e] * B[e,g,b]",
    "C[a,b] = A[a,e] * B[e,b]",
)


def contraction(equation: str, size: int = 4) -> Einsum:
    return Einsum.parse(equation, dict.fromkeys(sorted({c for c in equation if c.islower()}), size), name="t")


def convolution(**densities: object) -> Einsum:
    shape = {"m": 8, "c": 4, "p": 6, "q": 6, "r": 3, "s": 3}
    return Einsum.parse("O[m,p,q] = W[m,c,r,s] * I[c,p+r,q+s]", shape, name="conv", densities=densities)


def accelerator(**changes: object) -> Architecture:
    energies = {"read": 2.0, "write": 3.0}
    outer = StorageLevel(
        name="DRAM", component=ComponentClass.DRAM, energy_pj=energies, block_words=4, read_bandwidth=8
    )
    return Architecture(
        levels=(
            outer.model_copy(update=changes),
            StorageLevel(
                name="Buffer", depth=4096, energy_pj={"read": 1.0, "write": 1.0}, block_words=1, write_bandwidth=4
            ),
        ),
        compute=Compute(name="MAC", instances=16, mesh_x=4, energy_pj={"compute": 0.5}),
    )


def at_dram(problem: Problem) -> Mapping:
    """All loops outside, nothing spread."""
    return Mapping(levels={"DRAM": LevelMapping(temporal=dict(problem.workload.shape))})


@pytest.mark.parametrize("equation", CONTRACTIONS)
def test_transposing_multiplying_and_transposing_back_is_the_contraction(equation: str) -> None:
    """The steps are carried out with numpy as they are written, and compared with einsum."""
    einsum = contraction(equation, 3)
    algorithm = ttgt(einsum)
    (gemm,) = algorithm.einsums
    rng = np.random.default_rng(1)
    given = {t.name: rng.integers(-5, 5, einsum.tensor_shape(t.name)) for t in einsum.inputs}
    output = einsum.output

    def letters(einsum: Einsum) -> str:
        return ",".join("".join(t.variables) for t in einsum.inputs) + "->" + "".join(einsum.output.variables)

    def order_of(text: str) -> list[str]:
        return text[text.index("[") + 1 : text.index("]")].split(",")

    wanted = np.einsum(letters(einsum), *given.values())
    layouts = {t.name: list(t.variables) for t in einsum.tensors}
    for step in algorithm.movements:
        before, after = step.what.split(" to ")
        assert step.read_words == step.written_words == math.prod(einsum.tensor_shape(step.tensor))
        if step.tensor == output.name:
            layouts[step.tensor] = order_of(before)
            assert order_of(after) == list(output.variables)
        else:
            assert order_of(before) == layouts[step.tensor]
            given[step.tensor] = given[step.tensor].transpose([order_of(before).index(v) for v in order_of(after)])
            layouts[step.tensor] = order_of(after)
    # Every group of indices has to be one index of the GEMM now, in one order wherever it stands.
    matrices, seen = [], {}
    for tensor in gemm.inputs:
        flat, found = flatten(layouts[tensor.name], einsum, given[tensor.name], tensor.variables)
        matrices.append(flat)
        for kind, names in found.items():
            assert seen.setdefault(kind, names) == names
    product = np.einsum(letters(gemm), *matrices)
    groups = grouped(layouts[output.name], einsum)
    assert all(seen[kind] == names for kind, names in groups.items())
    stored = product.transpose([gemm.output.variables.index(kind) for kind in groups])
    result = stored.reshape([einsum.shape[v] for v in layouts[output.name]])
    back = result.transpose([layouts[output.name].index(v) for v in output.variables])
    assert (back == wanted).all()


def grouped(layout: list[str], einsum: Einsum) -> dict[str, list[str]]:
    """Runs of indices of one group in a layout, by group; fails where a group is torn apart."""
    first, second = einsum.inputs
    kinds = {(True, False, True): "m", (False, True, True): "n", (True, True, False): "k", (True, True, True): "b"}
    found: dict[str, list[str]] = {}
    last = ""
    for index in layout:
        kind = kinds[tuple(index in t.variables for t in (first, second, einsum.output))]
        assert kind == last or kind not in found, f"group {kind} is torn apart in {layout}"
        found.setdefault(kind, []).append(index)
        last = kind
    return found


def flatten(
    layout: list[str], einsum: Einsum, values: np.ndarray, order: tuple[str, ...]
) -> tuple[np.ndarray, dict[str, list[str]]]:
    groups = grouped(layout, einsum)
    flat = values.reshape([math.prod(einsum.shape[v] for v in names) for names in groups.values()])
    return flat.transpose([list(groups).index(kind) for kind in order]), groups


def test_a_gemm_is_not_transposed() -> None:
    algorithm = ttgt(contraction("C[a,b] = A[a,e] * B[e,b]"))
    assert algorithm.movements == () and "nothing is transposed" in algorithm.remark


def test_only_what_is_scattered_is_transposed() -> None:
    assert [m.tensor for m in ttgt(contraction("C[a,b,c] = A[a,d,b] * B[d,c]")).movements] == ["A"]
    assert [m.tensor for m in ttgt(contraction("C[a,b,c,d] = A[a,e,b,f] * B[d,f,c,e]")).movements] == ["A", "B"]
    # the order of the larger tensor wins: the small B follows it
    small = Einsum.parse("C[a,b] = A[a,e,f] * B[f,e,b]", {"a": 64, "b": 2, "e": 4, "f": 4})
    assert [m.tensor for m in ttgt(small).movements] == ["B"]


@pytest.mark.parametrize("seed", range(25))
def test_a_contraction_can_do_whatever_its_gemm_does(seed: int) -> None:
    """So where any number of indices may share an axis, the best native mapping is at least as good as the GEMM's."""
    rng = random.Random(seed)
    einsum = Einsum.parse("C[a,b,c,d] = A[a,e,b,f] * B[d,f,c,e]", {v: rng.choice([2, 4, 6]) for v in "abcdef"})
    algorithm = ttgt(einsum)
    (gemm,) = algorithm.einsums
    mapping = random_mapping(rng, gemm, ("DRAM", "Buffer"), Features(max_lanes=16))
    lanes = Compute(name="MAC", instances=256, mesh_x=16, energy_pj={"compute": 0.5})
    wide = accelerator().model_copy(update={"compute": lanes})
    outside = {v: mapping.at("DRAM").spatial.get(v, 1) * mapping.at("DRAM").temporal.get(v, 1) for v in gemm.shape}
    levels = {
        "DRAM": mapping.at("DRAM").model_copy(
            update={"temporal": outside, "spatial": {}, "spatial_order": (), "spatial_x": None}
        ),
        "Buffer": mapping.at("Buffer"),
    }
    flat = Mapping(levels=levels)
    deep = unflattened(flat, algorithm.groups, einsum.shape)
    for_gemm = evaluate_problem(lower(gemm, wide), flat)
    for_contraction = evaluate_problem(lower(einsum, wide), deep)
    assert for_contraction.cycles == for_gemm.cycles
    assert for_contraction.energy_pj == pytest.approx(for_gemm.energy_pj, rel=1e-12)


@pytest.mark.slow
def test_on_a_flexible_array_transposes_are_all_that_ttgt_loses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "contraction.yaml"
    path.write_text(
        'fiberloom: 1\nworkload: {einsum: "C[a,b,c] = A[a,d,b] * B[d,c]", shape: {a: 8, b: 8, c: 8, d: 8}}\n',
        encoding="utf-8",
    )
    for rigid in ("--flexible", "--rigid"):
        assert run(["algorithms", str(path), "--design", "tpu-like", rigid, "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        (contest,) = answer["contests"]
        direct, rewritten = contest["algorithms"]
        assert answer["unproved_gaps"] == []
        if rigid == "--flexible":
            gemm = rewritten["steps"][-1]
            assert direct["cycles"] * direct["energy_pj"] <= gemm["cycles"] * gemm["energy_pj"] * (1 + 1e-9)


def test_im2col_unrolls_windows_into_columns() -> None:
    algorithm = im2col(convolution())
    (step,), (gemm,) = algorithm.movements, algorithm.einsums
    assert gemm.shape == {"m": 8, "n": 36, "k": 36}
    assert gemm.macs == convolution().macs
    assert (step.read_words, step.written_words) == (4 * 8 * 8, 36 * 36)
    assert im2col(convolution(), explicit=False).movements == ()


def test_groups_and_batches_stay_a_batch_of_gemms() -> None:
    depthwise = Einsum.parse("O[g,p] = W[g,r] * I[g,p+r]", {"g": 4, "p": 5, "r": 3})
    (gemm,) = im2col(depthwise).einsums
    assert gemm.shape == {"b": 4, "m": 1, "n": 5, "k": 3}


def test_algorithms_that_do_not_apply_are_refused_with_the_one_that_does() -> None:
    with pytest.raises(UnsupportedError, match="im2col"):
        ttgt(convolution())
    with pytest.raises(UnsupportedError, match="ttgt"):
        im2col(contraction(CONTRACTIONS[0]))
    with pytest.raises(UnsupportedError, match="one tensor only"):
        ttgt(Einsum.parse("Z[m] = A[m,k] * B[m]", {"m": 4, "k": 4}))
    with pytest.raises(UnsupportedError, match="3 operands"):
        ttgt(Einsum.parse("Z[i,r] = A[i,j,k] * B[j,r] * C[k,r]", {"i": 2, "j": 2, "k": 2, "r": 2}))
    assert [a.name for a in algorithms(convolution())] == ["native", "im2col", "im2col-implicit"]
    assert [a.name for a in algorithms(contraction(CONTRACTIONS[0]))] == ["native", "ttgt"]


def test_densities_are_carried_where_the_layout_does_not_matter() -> None:
    (gemm,) = im2col(convolution(W=0.3, I={"distribution": "uniform", "density": 0.5})).einsums
    assert gemm.tensor("W").density == 0.3
    with pytest.raises(UnsupportedError, match="placed by rank"):
        im2col(convolution(W="2:4"))


def test_a_copy_goes_through_the_next_level_in_blocks() -> None:
    """64 words: 16 accesses of 4 words each way at DRAM, 64 writes and 64 reads in the buffer, which writes 4 a cycle."""
    gemm = contraction("C[a,b] = A[a,e] * B[e,b]", 8)
    problem = lower(gemm, accelerator())
    cycles, energy = movement_cost(problem, Movement("transpose A", "A", 64, 64))
    assert cycles == 64 / 4
    assert energy == 16 * 2.0 + 16 * 3.0 + 64 * 1.0 + 64 * 1.0


def test_a_transpose_without_room_for_a_block_of_blocks_is_written_word_by_word() -> None:
    gemm = contraction("C[a,b] = A[a,e] * B[e,b]", 8)
    problem = lower(gemm, accelerator(block_words=128))
    step = Movement("transpose A", "A", 128, 128)
    _, scattered = movement_cost(problem, step)
    _, straight = movement_cost(problem, Movement("unroll A", "A", 128, 128, transposes=False))
    assert scattered - straight == (128 - 1) * 3.0


def test_an_algorithm_costs_the_sum_of_its_steps() -> None:
    einsum = contraction("C[a,b,c] = A[a,d,b] * B[d,c]")
    cost = algorithm_cost(ttgt(einsum), lambda _: accelerator(), at_dram, SparseModel())
    moved, computed = cost.steps
    assert cost.cycles == moved.cycles + computed.cycles
    assert cost.energy_pj == moved.energy_pj + computed.energy_pj
    assert cost.edp == cost.cycles * cost.energy_pj
    assert cost.moving == (moved.cycles / cost.cycles, moved.energy_pj / cost.energy_pj)
    assert cost.utilization == einsum.macs / (16 * computed.cycles)


def test_the_winner_and_the_reason_are_named() -> None:
    einsum = contraction("C[a,b,c] = A[a,d,b] * B[d,c]")
    costs = [algorithm_cost(a, lambda _: accelerator(), at_dram, SparseModel()) for a in (native(einsum), ttgt(einsum))]
    assert winner(costs).algorithm.name == "native"
    assert "better than ttgt" in why(costs) and "moving words" in why(costs)


def test_a_rigid_axis_runs_over_one_index() -> None:
    einsum = contraction("C[a,b,c] = A[a,d,b] * B[d,c]")
    found = list(one_index_per_axis(einsum, accelerator()))
    assert len(found) == 4**2  # four indices for X, four for Y
    for constraints in found:
        spatial = constraints.at("Buffer").spatial
        assert spatial.x is not None and spatial.y is not None
        assert len(spatial.x) == len(spatial.y) == 1


FILE = """
fiberloom: 1
workload: {name: conv, einsum: "O[m,p,q] = W[m,c,r,s] * I[c,p+r,q+s]", shape: {m: 16, c: 16, p: 14, q: 14, r: 3, s: 3}}
"""


def test_the_command_tells_who_wins_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "conv.yaml"
    path.write_text(FILE, encoding="utf-8")
    command = ["algorithms", str(path), "--design", "eyeriss", "--design", "stc", "--mapping", "dataflow"]
    assert run(command) == 0
    printed = capsys.readouterr().out
    assert "Who wins" in printed and "im2col-implicit" in printed
    assert run([*command, "--json"]) == 0
    eyeriss, tensor_core = json.loads(capsys.readouterr().out)["contests"]
    assert [a["name"] for a in eyeriss["algorithms"]] == ["native", "im2col", "im2col-implicit"]
    assert set(eyeriss["winners"]) == {"cycles", "energy", "edp"}
    assert "matrix products" in tensor_core["declined"]["native"]


def test_wrong_choices_of_the_command_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "conv.yaml"
    path.write_text(FILE, encoding="utf-8")
    assert run(["algorithms", str(path), "--design", "eyeriss", "--objective", "epd"]) == 2
    assert "did you mean 'edp'" in capsys.readouterr().err
    assert run(["algorithms", str(path)]) == 2
    assert "--design" in capsys.readouterr().err
