"""Whole networks on designs: what is mapped once, what is summed, what is left out and said."""

import itertools
import json
import math
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from fiberloom.architecture import library
from fiberloom.errors import SpecError
from fiberloom.input.specification import parse
from fiberloom.network_evaluation import Case, NetworkResult, run_network, with_densities
from fiberloom.network_evaluation.cache import ResultCache
from fiberloom.network_evaluation.designs import read_design
from fiberloom.network_evaluation.fusion import fused, streamed
from fiberloom.network_evaluation.mapping_search import MappingJob, solve
from fiberloom.report.html.content import content
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.importers import read_network
from fiberloom.workload.network import Kind, Network, NetworkTensor, Operator, Role

DESIGN = """\
fiberloom: 1
architecture:
  name: small
  levels:
  - {name: DRAM, component: dram, word_bits: 8, read_bandwidth: 4, write_bandwidth: 4, energy_pj: {read: 100, write: 120}, area_um2: 0}
  - {name: Buffer, component: sram, depth: 512, word_bits: 8, energy_pj: {read: 2, write: 3}, area_um2: 50}
  compute: {name: MAC, mesh: 4x1, word_bits: 8, energy_pj: {compute: 1}, area_um2: 2}
"""


def product(m: int, c: int, n: int = 1) -> Einsum:
    lead, shape = ("n,", {"n": n}) if n > 1 else ("", {})
    return Einsum.parse(f"O[{lead}m] = W[m,c] * I[{lead}c]", {**shape, "m": m, "c": c})


def perceptron(widths: tuple[int, ...] = (16, 8, 8, 8), batch: int = 1, unknown: bool = False) -> Network:
    """Fully connected layers with ReLUs between them."""
    lead = (batch,) if batch > 1 else ()
    tensors = {"x0": NetworkTensor("x0", (*lead, widths[0]), Role.INPUT, "int8", 8)}
    operators = []
    for i, (c, m) in enumerate(itertools.pairwise(widths), 1):
        last = i == len(widths) - 1
        tensors[f"w{i}"] = NetworkTensor(f"w{i}", (m, c), Role.PARAMETER, "int8", 8)
        for name in (f"h{i}", f"x{i}"):
            tensors[name] = NetworkTensor(name, (*lead, m), Role.OUTPUT if last else Role.ACTIVATION, "int8", 8)
        operands = {"W": f"w{i}", "I": f"x{i - 1}", "O": f"h{i}"}
        inputs = (f"x{i - 1}", f"w{i}")
        operators.append(Operator(f"fc{i}", "linear", Kind.EINSUM, inputs, (f"h{i}",), product(m, c, batch), operands))
        elements = math.prod((*lead, m))
        operators.append(Operator(f"relu{i}", "relu", Kind.ELEMENTWISE, (f"h{i}",), (f"x{i}",), operations=elements))
    if unknown:
        operators.append(
            Operator("odd", "Mystery", Kind.UNKNOWN, (f"x{len(widths) - 1}",), ("y",), note="no rule for Mystery")
        )
        tensors["y"] = replace(tensors[f"x{len(widths) - 1}"], name="y", role=Role.OUTPUT)
    return Network("perceptron", tuple(operators), tensors)


@pytest.fixture(scope="module")
def small() -> object:
    return parse(DESIGN).architecture


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("answers")


@pytest.fixture(scope="module")
def result(small: object, folder: Path) -> NetworkResult:
    return run_network(perceptron(unknown=True), [small], cache=folder, jobs=2)


def test_equal_layers_are_mapped_once_and_counted_as_often_as_they_are_computed(result: NetworkResult) -> None:
    assert [(e["layer"], e["count"], e["operators"]) for e in result.layers] == [
        ("fc1", 1, ["fc1"]),
        ("fc2", 2, ["fc2", "fc3"]),
    ]


def test_totals_are_the_sums_of_all_layers_and_operators(result: NetworkResult) -> None:
    entries = [*result.layers, *result.content["operators"]]
    total = result.total()
    for field in ("cycles", "energy_pj"):
        assert total[field] == pytest.approx(sum(e[field] * e["count"] for e in entries))
    assert sum(total["energy_by_component_pj"].values()) == pytest.approx(total["energy_pj"])
    assert sum(total["cycles_by_bottleneck"].values()) == total["cycles"]
    assert total["macs"] == 16 * 8 + 8 * 8 + 8 * 8
    by_action = sum(pj for actions in total["energy_by_action_pj"].values() for pj in actions.values())
    assert by_action == pytest.approx(total["einsums"]["energy_pj"])


def test_exact_mappings_carry_their_proof(result: NetworkResult) -> None:
    assert {e["certificate"]["status"] for e in result.layers} == {"optimal"}
    assert result.total()["certificate"]["proved"] == 2
    assert all(e["loop_nest"][0].startswith("DRAM") for e in result.layers)


def test_an_operator_that_is_no_einsum_moves_its_tensors_and_computes_on_the_lanes(result: NetworkResult) -> None:
    relu = next(e for e in result.content["operators"] if e["op"] == "relu")
    assert (relu["count"], relu["read_bytes"], relu["written_bytes"]) == (3, 8, 8)
    assert relu["energy_by_component_pj"] == {"DRAM": 8 * 100 + 8 * 120, "MAC": 8}
    assert relu["cycles"] == 2  # 8 words at 4 per cycle, reading and writing side by side; 8 operations on 4 lanes
    assert result.total()["other_operators"]["by_kind"]["elementwise"]["computed"] == 3


def test_what_is_not_understood_is_named_with_its_share_and_costs_nothing(result: NetworkResult) -> None:
    (unknown,) = result.total()["left_out"]["unknown"]
    assert unknown["operators"] == ["odd"] and unknown["reason"] == "no rule for Mystery"
    layers, relus = (16 + 128 + 8) + 2 * (8 + 64 + 8), 3 * (8 + 8)
    assert unknown["share_of_bytes"] == pytest.approx((8 + 8) / (layers + relus + 8 + 8))
    odd = next(e for e in result.content["operators"] if e["op"] == "Mystery")
    assert odd["cycles"] == odd["energy_pj"] == 0


def test_a_second_run_searches_nothing_and_says_the_same(result: NetworkResult, small: object, folder: Path) -> None:
    searches = []
    again = run_network(
        perceptron(unknown=True), [small], cache=folder, progress=lambda news: searches.append(news.searches)
    )
    assert set(searches) == {0}
    assert all(e["cached"] for e in again.layers)
    assert json.dumps(again.totals) == json.dumps(result.totals)


def test_a_damaged_answer_is_computed_again(result: NetworkResult, small: object, folder: Path, tmp_path: Path) -> None:
    run_network(perceptron(), [small], cache=tmp_path)
    files = sorted(tmp_path.rglob("*.json"))
    assert len(files) == 2
    files[0].write_bytes(files[0].read_bytes()[:-40])  # half-written
    files[1].write_bytes(files[1].read_bytes().replace(b'"cycles"', b'"cycIes"', 1))  # a flipped bit
    again = run_network(perceptron(), [small], cache=tmp_path)
    assert not any(e["cached"] for e in again.layers)
    assert "2 damaged entries of the cache were computed again" in again.content["notes"]
    assert all(e["cached"] for e in run_network(perceptron(), [small], cache=tmp_path).layers)


def test_a_cache_that_cannot_be_written_is_a_warning_and_the_answer_stands(small: object, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    without = run_network(perceptron((4, 4)), [small], cache=blocked)
    assert without.total()["cycles"] > 0
    assert any("results are not cached" in note for note in without.content["notes"])


def test_a_full_disk_leaves_no_half_written_answer(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    cache = ResultCache(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))  # writing beyond fails as on a full disk
    try:
        cache.put("ab" * 32, {"status": "mapped", "text": "x" * 500})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert cache.get("ab" * 32) is None
    assert len(cache.warnings) == 1
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(DESIGN)
    script = (
        "import sys; sys.path.insert(0, {tests!r})\n"
        "from test_network_evaluation import perceptron\n"
        "from fiberloom.network_evaluation import run_network\n"
        "def tell(news):\n    print(news.done, flush=True)\n"
        "run_network(perceptron((64, 96, 72, 60, 48, 36, 24, 18, 12)), [{arch!r}], cache={cache!r}, jobs=1, progress=tell)\n"
    ).format(tests=str(Path(__file__).parent), arch=str(tmp_path / "small.yaml"), cache=str(tmp_path / "answers"))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 2:
            process.kill()
            break
    process.wait()
    kept = len(list((tmp_path / "answers").rglob("*.json")))
    assert kept >= 2
    searches: list[int] = []
    whole = run_network(
        perceptron((64, 96, 72, 60, 48, 36, 24, 18, 12)),
        [str(tmp_path / "small.yaml")],
        cache=tmp_path / "answers",
        progress=lambda news: searches.append(news.searches),
    )
    assert searches[0] == 8 - kept
    assert whole.total()["certificate"]["proved"] == 8


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from fiberloom.network_evaluation.workers import MappingSearches\n"
        "from fiberloom.workers.pool import WorkerPool\n"
        "pool = WorkerPool(MappingSearches(), 1)\n"
        "pool._start()\n"
        "print(pool._running[0].process.pid, flush=True)\n"
        "import time; time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.kill()
    process.wait()
    for _ in range(100):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.1)
    raise AssertionError("the worker lives on")


def test_densities_make_a_difference_only_to_designs_that_see_them(folder: Path) -> None:
    network = perceptron((32, 32))
    cases = [Case("dense", network), Case("half", with_densities(network, "2:4", None))]
    searches = []
    both = run_network(
        cases,
        ["dense-tensor-core"],
        cache=folder,
        progress=lambda news: searches.append((news.searches, news.cached)),
    )
    assert searches[0] in ((1, 0), (0, 1))
    dense, half = both.totals
    assert dense["cycles"] == half["cycles"]
    assert half["effectual_macs"] == dense["effectual_macs"] / 2


def test_a_layer_that_a_design_cannot_take_is_listed_with_the_reason(small: object, folder: Path) -> None:
    three = Einsum.parse("Z[i] = A[i,j] * B[j] * C[j]", {"i": 4, "j": 4})
    network = perceptron()
    tensors = {name: NetworkTensor(name, (4, 4) if name == "a" else (4,), Role.INPUT) for name in "abcz"}
    operator = Operator(
        "odd", "product of three", Kind.EINSUM, ("a", "b", "c"), ("z",), three, {n: n.lower() for n in "ABCZ"}
    )
    network = replace(network, operators=(*network.operators, operator), tensors={**network.tensors, **tensors})
    found = run_network(network, ["tpu-like"], cache=folder)
    (missing,) = found.total()["left_out"]["not_mapped"]
    assert missing["layer"] == "odd" and "multiplies two tensors" in missing["reason"]
    assert missing["share_of_macs"] == pytest.approx(16 / network.macs)
    assert found.total()["macs"] == network.macs - 16


def test_constraints_that_do_not_fit_a_layer_are_told_and_the_others_are_mapped(tmp_path: Path, folder: Path) -> None:
    file = tmp_path / "tied.yaml"
    file.write_text(DESIGN + "constraints:\n  Buffer: {temporal: {factors: {m: 8, c: 16}}}\n")
    found = run_network(perceptron(), [str(file)], cache=folder)
    assert [(e["layer"], e["status"]) for e in found.layers] == [("fc1", "mapped"), ("fc2", "not mappable")]
    assert "16" in found.layers[1]["reason"]


def test_designs_are_compared_with_the_first_by_the_geometric_mean_over_layers(folder: Path) -> None:
    found = run_network(perceptron((64, 64, 32)), ["dense-tensor-core", "tpu-like"], cache=folder, seconds=20)
    first, second = found.content["comparison"]
    assert first["geomean_edp_ratio"] == 1
    edps = {(e["design"], e["layer"]): e["edp_j_s"] for e in found.layers}
    ratios = [edps["tpu-like", name] / edps["dense-tensor-core", name] for name in ("fc1", "fc2")]
    assert second["geomean_edp_ratio"] == pytest.approx(math.sqrt(ratios[0] * ratios[1]))


def test_tensors_kept_on_chip_leave_out_their_trips_to_memory_and_nothing_else(small: object, folder: Path) -> None:
    plain = run_network(perceptron(), [small], cache=folder)
    held = run_network(perceptron(), [small], cache=folder, keep_on_chip=True)
    kept = held.total()["kept_on_chip"]
    assert kept["level"] == "Buffer"
    assert [t["names"] for t in kept["tensors"]] == [["h1"], ["x1"], ["h2"], ["x2"]]
    assert kept["most_bytes"] <= kept["capacity_bytes"] == 512
    saved = plain.total()["energy_by_component_pj"]["DRAM"] - held.total()["energy_by_component_pj"]["DRAM"]
    # h1, x1, h2 and x2 are written once and read once each, 8 words, by a fully connected layer and a ReLU in turn.
    assert saved == pytest.approx(4 * 8 * (100 + 120))
    assert held.total()["cycles"] <= plain.total()["cycles"]
    for e in held.layers:
        if "kept_on_chip" in e:
            assert sum(e["energy_by_component_pj"].values()) == pytest.approx(e["energy_pj"])


def test_a_fused_relu_costs_its_operations_and_no_trip_to_memory(small: object, folder: Path) -> None:
    plain = run_network(perceptron(), [small], cache=folder)
    found = run_network(perceptron(), [small], cache=folder, fuse=True)
    (alone,), (inside, last) = (
        [o for o in r.content["operators"] if o["kind"] == "elementwise"] for r in (plain, found)
    )
    assert (inside["fused"], inside["count"], last["fused"], last["count"]) == (True, 2, False, 1)  # h3 is an output
    assert (inside["read_bytes"], inside["written_bytes"]) == (0, 0)
    assert (last["read_bytes"], last["written_bytes"]) == (alone["read_bytes"], alone["written_bytes"]) == (8, 8)
    assert inside["operations"] == alone["operations"] == 8
    assert inside["energy_by_component_pj"]["MAC"] == alone["energy_by_component_pj"]["MAC"]
    saved = plain.total()["energy_pj"] - found.total()["energy_pj"]
    assert saved == pytest.approx(2 * alone["energy_by_component_pj"]["DRAM"])


def test_what_is_fused_is_held_on_chip_as_one_tensor(small: object, folder: Path) -> None:
    found = run_network(perceptron(), [small], cache=folder, keep_on_chip=True, fuse=True)
    assert [t["names"] for t in found.total()["kept_on_chip"]["tensors"]] == [["h1", "x1"], ["h2", "x2"]]


def test_a_residual_is_read_and_a_tensor_that_others_need_is_not_fused() -> None:
    network = read_network("resnet50", dims={"batch": 1})
    fusion = fused(network)
    operators = network.operators
    assert {o.op for i, o in enumerate(operators) if i in fusion} == {"batch norm", "relu", "add"}
    uses = Counter(name for o in operators for name in o.inputs)
    assert all(uses[name] == 1 for name in fusion.values())
    adds = [i for i, o in enumerate(operators) if o.op == "add"]
    assert len(adds) == 16 and set(adds) <= set(fusion)
    for i in adds:
        assert len(set(operators[i].inputs) - streamed(network, fusion, i)) == 1
    pooled = [i for i, o in enumerate(operators) if o.kind.value == "pooling"]
    assert pooled and not set(pooled) & set(fusion)


def test_a_tensor_that_does_not_fit_beside_the_tiles_is_not_kept(folder: Path) -> None:
    tight = parse(DESIGN.replace("depth: 512", "depth: 20")).architecture
    assert tight is not None
    held = run_network(perceptron((16, 64, 16)), [tight], cache=folder, keep_on_chip=True)
    assert held.total()["kept_on_chip"]["tensors"] == []


def test_a_design_with_half_the_clock_has_twice_the_energy_delay_product(small: object, folder: Path) -> None:
    slow = parse(DESIGN.replace("name: small", "name: slow\n  cycle_seconds: 2.0e-9")).architecture
    assert slow is not None
    found = run_network(perceptron(), [small, slow], cache=folder)
    ratios = ("cycles_ratio", "seconds_ratio", "energy_ratio", "edp_ratio", "geomean_edp_ratio")
    assert [found.content["comparison"][1][r] for r in ratios] == pytest.approx([1, 2, 1, 2, 2])
    first, second = found.totals
    assert second["edp_j_s"] == pytest.approx(second["energy_pj"] * 1e-12 * second["cycles"] * 2e-9)
    assert second["edp_j_s"] == pytest.approx(2 * first["edp_j_s"])
    assert content(found.to_dict())["cases"][0]["geomean"][0][1] == pytest.approx(1 / 2)


def test_designs_that_hold_different_tensors_are_compared_operator_by_operator(small: object, folder: Path) -> None:
    tight = parse(DESIGN.replace("name: small", "name: tight").replace("depth: 512", "depth: 4")).architecture
    assert tight is not None
    found = run_network(perceptron((16, 8, 8, 8, 8)), [small, tight], cache=folder, keep_on_chip=True)
    layers = {d: [e for e in found.layers if e["design"] == d] for d in ("small", "tight")}
    split = {d: [e["operators"] for e in entries] for d, entries in layers.items()}
    assert split["small"] != split["tight"] == [["fc1"], ["fc2", "fc3", "fc4"]]
    edps = {(d, o): e["edp_j_s"] for d, entries in layers.items() for e in entries for o in e["operators"]}
    names = ("fc1", "fc2", "fc3", "fc4")
    mean = math.prod(edps["tight", name] / edps["small", name] for name in names) ** (1 / len(names))
    compared = found.content["comparison"][1]
    assert compared["layers"] == len(names)
    assert compared["geomean_edp_ratio"] == pytest.approx(mean)
    assert content(found.to_dict())["cases"][0]["geomean"][0][1] == pytest.approx(1 / mean)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"architectures": ["stk"]}, "did you mean 'stc'"),
        ({"architectures": []}, "at least one"),
        ({"jobs": -1}, "-1 jobs"),
        ({"mapper": "exakt"}, "did you mean 'exact'"),
        ({"objective": "edb"}, "not an objective"),
        ({"seconds": -1.0}, "positive"),
        ({"widths": "wide"}, "no choice of widths"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], said: str) -> None:
    arguments = {"architectures": ["stc"], "cache": False, **options}
    with pytest.raises(SpecError) as error:
        run_network(perceptron(), arguments.pop("architectures"), **arguments)  # type: ignore[arg-type]
    assert said in str(error.value)


@pytest.mark.slow
def test_a_sparse_tensor_core_halves_compute_bound_cycles_at_2_4_and_saves_less_where_memory_bounds(
    tmp_path: Path,
) -> None:
    tensors = {
        "w": NetworkTensor("w", (64, 147), Role.PARAMETER, "int8", 8),
        "i": NetworkTensor("i", (12544, 147), Role.INPUT, "int8", 8),
        "o": NetworkTensor("o", (12544, 64), Role.ACTIVATION, "int8", 8),
        "v": NetworkTensor("v", (1024, 1024), Role.PARAMETER, "int8", 8),
        "j": NetworkTensor("j", (1024,), Role.INPUT, "int8", 8),
        "p": NetworkTensor("p", (1024,), Role.OUTPUT, "int8", 8),
    }
    operators = (
        Operator(
            "filters", "conv", Kind.EINSUM, ("w", "i"), ("o",), product(64, 147, 12544), {"W": "w", "I": "i", "O": "o"}
        ),
        Operator(
            "vector", "linear", Kind.EINSUM, ("v", "j"), ("p",), product(1024, 1024), {"W": "v", "I": "j", "O": "p"}
        ),
    )
    network = Network("two layers", operators, tensors)
    pruned = with_densities(network, "2:4", None)
    found = run_network(
        [Case("dense", network), Case("2:4", pruned)], ["stc", "dense-tensor-core"], cache=tmp_path, seconds=20
    )
    cycles = {(e["case"], e["design"], e["layer"]): e["cycles"] for e in found.layers}
    assert cycles["dense", "stc", "filters"] / cycles["2:4", "stc", "filters"] == pytest.approx(2.0, rel=0.01)
    against_dense = cycles["2:4", "dense-tensor-core", "vector"] / cycles["2:4", "stc", "vector"]
    assert 1.2 < against_dense < 1.75


def test_library_designs_are_bound_by_role_whatever_their_tensors_are_called() -> None:
    from fiberloom.network_evaluation.designs import read_design

    for name in library.names():
        bound = read_design(name).bound(product(16, 16, 4))
        named = {t for level in bound.architecture.levels for t in (*(level.keep or ()), *level.formats)}
        assert named <= {"W", "I", "O"}, name


def test_weights_that_a_design_does_not_skip_run_as_the_next_pattern_of_its_menu() -> None:
    def bound(design: str, weights: object) -> tuple[object, str | None]:
        layer = Einsum.parse("O[n,m] = W[m,c] * I[n,c]", {"n": 64, "m": 64, "c": 64}, densities={"W": weights})
        made = read_design(design).bound(layer)
        return made.einsum.tensor("W").density, made.within_menu

    assert bound("stc", "2:4") == ("2:4", None)
    assert bound("stc", "1:4") == ("2:4", "stc runs weights that are 1:4 as 2:4")
    assert bound("stc", 0.3) == (None, "stc runs weights that are unstructured(0.3) as dense")
    assert bound("stc", {"distribution": "fixed-structured", "density": "2:4"})[1] is None
    assert bound("vegeta-m8", "1:4") == ("1:4", None)  # 2:8 is as dense
    assert bound("dstc", 0.3) == (0.3, None)
    assert bound("eyeriss", 0.3) == (0.3, None)
    assert bound("highlight", {"distribution": "hierarchical", "pattern": "C1(4:8)->C0(2:4)", "axis": 1})[1] is None


def test_hierarchical_weights_of_a_convolution_keep_their_pattern_as_a_matrix_product() -> None:
    layer = Einsum.parse("O[m,p] = W[m,c,r] * I[c,p+r]", {"m": 64, "c": 64, "r": 1, "p": 64})
    cycles = {}
    for weights in (None, "C1(4:8)->C0(2:4)"):
        tensors = tuple(t.model_copy(update={"density": weights}) if t.name == "W" else t for t in layer.tensors)
        bound = read_design("highlight").bound(layer.model_copy(update={"tensors": tensors}))
        job = MappingJob(bound.einsum, bound.architecture, bound.constraints, objective="latency", seconds=20)
        cycles[weights] = solve(job)["cycles_by_component"]["MAC"]
    assert cycles["C1(4:8)->C0(2:4)"] * 4 == cycles[None]


def test_a_network_says_which_weights_a_design_could_not_skip(folder: Path) -> None:
    found = run_network([Case("pruned", with_densities(perceptron(), 0.3, None))], ["stc"], cache=folder, seconds=5)
    assert (
        "stc runs weights that are unstructured(0.3) as dense (its menu has no sparser pattern that holds them): 2 layers"
        in (found.content["notes"])
    )
    assert found.layers[0]["effectual_macs"] == pytest.approx(0.3 * found.layers[0]["macs"])
