"""The library of published designs: all load, draw, bind, map and evaluate; features save what they should."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import pytest

from fiberloom.architecture import library
from fiberloom.architecture.features import without_features
from fiberloom.architecture.levels import Architecture, Compute, StorageLevel
from fiberloom.errors import MappingError, SpecError, UnsupportedError
from fiberloom.mapping.dataflow import Growth, LevelDataflow, plan
from fiberloom.model.evaluate import evaluate
from fiberloom.model.evaluation import Evaluation
from fiberloom.workload.einsum import Einsum

DESIGNS = library.names()
CONVOLUTIONAL = tuple(name for name in DESIGNS if "conv" in library.describe(name).computes)
SPARSE = tuple(name for name in DESIGNS if any(t.skipping for t in library.describe(name).treatments))
DOCUMENT = Path(__file__).parent.parent / "docs" / "designs.md"


def gemm(m: int = 64, n: int = 128, k: int = 256, **densities: Any) -> Einsum:
    return Einsum.parse("Z[m,n] = A[m,k] * B[k,n]", {"m": m, "n": n, "k": k}, densities=densities)


def convolution(**densities: Any) -> Einsum:
    shape = {"n": 1, "m": 64, "c": 32, "p": 14, "q": 14, "r": 3, "s": 3}
    return Einsum.parse("O[n,m,p,q] = W[m,c,r,s] * I[n,c,p+r,q+s]", shape, densities=densities)


def run(name: str, workload: Einsum, *, features: bool = True) -> Evaluation:
    architecture = library.load(name, workload)
    if not features:
        architecture = without_features(architecture)
    return evaluate(workload, architecture, library.plan_mapping(name, workload, features=features).mapping)


def weights(name: str) -> Any:
    """Half of the weights, in the pattern that the design is made for."""
    return library.describe(name).weights_density or 0.5


def assert_conserves(result: Evaluation) -> None:
    compute = result.compute
    parts = compute.actual + compute.gated + compute.skipped + compute.eliminated
    assert parts == pytest.approx(compute.algorithmic, rel=1e-6)
    assert result.cycles * compute.instances >= 0.999 * (compute.actual + compute.gated)
    assert result.energy_pj == pytest.approx(sum(result.energy_by_component_pj.values()))
    assert math.isfinite(result.energy_pj) and result.energy_pj > 0


def test_the_library_has_the_designs_that_the_field_compares() -> None:
    assert set(DESIGNS) >= {
        "eyeriss", "eyeriss-v2-pe", "scnn", "cnvlutin", "extensor", "dstc", "dense-tensor-core", "stc", "flexible-stc",
        "flexible-stc-dual", "s2ta", "sparten", "outerspace", "gamma-like", "sigma", "simba-like", "tpu-like",
    }  # fmt: skip


@pytest.mark.parametrize("name", DESIGNS)
def test_every_parameter_has_a_source(name: str) -> None:
    info = library.describe(name)
    assert len(info.parameters) >= 4
    assert all(p.what and p.value and p.source for p in info.parameters)
    assert 2010 <= info.year <= 2030
    assert info.architecture.name == name
    assert info.architecture.sources


@pytest.mark.parametrize("name", DESIGNS)
def test_drawings_show_every_level_within_a_hundred_columns(name: str) -> None:
    drawing = library.draw(name)
    assert max(map(len, drawing.splitlines())) <= 100
    architecture = library.describe(name).architecture
    for component in (*architecture.levels, architecture.compute):
        assert component.name in drawing
    assert drawing.count("fan-out") == sum(math.prod(architecture.fanout(lv.name)) > 1 for lv in architecture.levels)


def test_drawings_show_the_sparse_features() -> None:
    assert "gates W ← I" in library.draw("eyeriss")
    assert "skips in space B ← A" in library.draw("stc")
    assert "packs lanes with non-zeros of A" in library.draw("dstc")
    assert "A CP(2 bit)" in library.draw("stc")


@pytest.mark.parametrize("name", DESIGNS)
def test_every_design_runs_a_gemm(name: str) -> None:
    workload = gemm(A=weights(name), B=0.4)
    sparse, plain = run(name, workload), run(name, workload, features=False)
    assert_conserves(sparse)
    assert_conserves(plain)
    assert plain.compute.actual == plain.compute.algorithmic
    assert sparse.cycles <= plain.cycles


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_convolutional_designs_run_a_convolution(name: str) -> None:
    workload = convolution(W=weights(name), I=0.4)
    sparse, plain = run(name, workload), run(name, workload, features=False)
    assert_conserves(sparse)
    assert_conserves(plain)
    assert plain.compute.actual == plain.compute.algorithmic
    assert sparse.cycles <= plain.cycles


@pytest.mark.parametrize("name", sorted(set(DESIGNS) - set(CONVOLUTIONAL)))
def test_gemm_designs_refuse_a_convolution_and_say_what_to_do(name: str) -> None:
    with pytest.raises(UnsupportedError, match="im2col"):
        library.load(name, convolution())


AWKWARD = (
    gemm(m=7, n=13, k=31),
    gemm(m=1, n=1, k=1000),
    gemm(m=1, n=1, k=1),
    Einsum.parse("Z[b,m,n] = A[b,m,k] * B[b,k,n]", {"b": 3, "m": 20, "n": 30, "k": 40}, densities={"A": 0.3, "B": 0.3}),
    Einsum.parse("y[m] = A[m,k] * x[k]", {"m": 100, "k": 60}, densities={"A": 0.1}),
)
AWKWARD_CONVOLUTIONS = (
    Einsum.parse("O[m,p] = W[m,c,r] * I[c,2*p+r]", {"m": 6, "c": 5, "p": 11, "r": 4}),
    Einsum.parse("O[c,p,q] = W[c,r,s] * I[c,p+r,q+s]", {"c": 24, "p": 7, "q": 7, "r": 3, "s": 3}, densities={"I": 0.5}),
    Einsum.parse(
        "O[g,m,p,q] = W[g,m,c,r,s] * I[g,c,2*p+r,2*q+s]", {"g": 2, "m": 8, "c": 4, "p": 5, "q": 5, "r": 5, "s": 5}
    ),
    Einsum.parse("O[m,p,q] = W[m,c] * I[c,p,q]", {"m": 12, "c": 10, "p": 9, "q": 10}, densities={"W": 0.5, "I": 0.5}),
)


@pytest.mark.parametrize("name", DESIGNS)
def test_dataflows_map_awkward_layers_too(name: str) -> None:
    for workload in (*AWKWARD, *(AWKWARD_CONVOLUTIONS if name in CONVOLUTIONAL else ())):
        assert_conserves(run(name, workload))


@pytest.mark.parametrize("name", DESIGNS)
def test_mappings_are_deterministic(name: str) -> None:
    workload = gemm(A=weights(name))
    assert library.plan_mapping(name, workload) == library.plan_mapping(name, workload)


@pytest.mark.parametrize(("m", "n", "k"), [(128, 1024, 1152), (512, 1024, 128), (3072, 512, 768)])
def test_two_of_four_weights_halve_the_cycles_exactly(m: int, n: int, k: int) -> None:
    dense = run("dense-tensor-core", gemm(m, n, k))
    sparse = run("stc", gemm(m, n, k, A="2:4"))
    assert dense.compute.instances == 1024
    assert dense.cycles == m * n * k / 1024  # bound by compute
    assert dense.cycles / sparse.cycles == 2.0


@pytest.mark.parametrize(("pattern", "k", "speedup"), [("2:4", 1152, 2), ("2:6", 1152, 3), ("2:8", 1152, 4)])
def test_flexible_tensor_core_gains_what_the_pattern_leaves_out(pattern: str, k: int, speedup: int) -> None:
    dense = run("flexible-stc", gemm(128, 1024, k))
    sparse = run("flexible-stc", gemm(128, 1024, k, A=pattern))
    assert dense.compute.cycles == pytest.approx(speedup * sparse.compute.cycles, rel=1e-6)


def test_two_of_four_hardware_gains_nothing_from_unstructured_weights() -> None:
    assert run("stc", gemm(A=0.5)).compute.cycles == run("stc", gemm()).compute.cycles


def test_compressed_activations_do_not_change_the_flexible_tensor_cores_lanes() -> None:
    workload = gemm(128, 1024, 1152, A="2:4", B=0.44)
    assert run("flexible-stc-dual", workload).compute.cycles == run("flexible-stc", workload).compute.cycles


@pytest.mark.parametrize("name", SPARSE)
def test_skipping_beats_dense_hardware_at_low_density(name: str) -> None:
    densities = {"A": "1:4" if library.describe(name).weights_density else 0.1, "B": 0.1}
    workload = gemm(128, 256, 512, **densities)
    sparse, plain = run(name, workload), run(name, workload, features=False)
    assert sparse.compute.cycles < 0.6 * plain.compute.cycles
    assert sparse.energy_pj < plain.energy_pj


@pytest.mark.parametrize(
    ("name", "share"),
    [("cnvlutin", 0.4), ("s2ta", 0.4), ("eyeriss-v2-pe", 0.2), ("sparten", 0.2), ("extensor", 0.2)],
)
def test_element_skipping_leaves_the_share_of_work_that_its_leaders_leave(name: str, share: float) -> None:
    """One-sided designs follow the activations (0.4), two-sided ones the product of both densities (0.5 x 0.4)."""
    workload = gemm(A=weights(name), B=0.4)
    sparse, plain = run(name, workload), run(name, workload, features=False)
    assert sparse.compute.cycles / plain.compute.cycles == pytest.approx(share, rel=0.01)


def test_packed_lanes_lose_a_little_to_part_filled_vectors() -> None:
    workload = gemm(256, 256, 512, A=0.5, B=0.4)
    for name in ("dstc", "scnn"):
        share = run(name, workload).compute.cycles / run(name, workload, features=False).compute.cycles
        assert 0.5 * 0.4 < share < 0.5


def test_compute_gating_saves_energy_and_no_cycles() -> None:
    workload = gemm(B=0.5)
    architecture = library.load("sigma", workload)
    mapping = library.default_mapping("sigma", workload)
    ungated = architecture.model_copy(update={"compute": architecture.compute.model_copy(update={"gating": False})})
    gating, plain = evaluate(workload, architecture, mapping), evaluate(workload, ungated, mapping)
    assert gating.compute.gated > 0
    assert gating.cycles == plain.cycles
    assert gating.compute.energy_pj < plain.compute.energy_pj


def test_gating_at_a_scratchpad_saves_energy_and_no_cycles() -> None:
    workload = convolution(I=0.4)
    gating, plain = run("eyeriss", workload), run("eyeriss", workload, features=False)
    assert gating.compute.energy_pj < plain.compute.energy_pj
    assert gating.cycles == plain.cycles


def test_compression_alone_saves_traffic() -> None:
    workload = convolution(I=0.3, O=0.3)
    sparse, plain = run("eyeriss", workload), run("eyeriss", workload, features=False)
    before, after = (r.level("DRAM").tensors["I"].reads.actual for r in (plain, sparse))
    assert after == pytest.approx(0.3 * before, rel=0.01)


def test_the_tensor_core_family_shares_its_hardware() -> None:
    """Sparseloop, MICRO'22, Fig. 15."""
    for name in ("dense-tensor-core", "stc", "flexible-stc", "flexible-stc-dual", "dstc"):
        architecture = library.load(name)
        assert architecture.compute.instances == 1024
        assert architecture.level("RF").instances == 4
        assert architecture.level("SMEM").capacity_words == 256 * 1024
        assert architecture.level("SMEM").read_bandwidth == 42
        assert architecture.level("DRAM").read_bandwidth == 32
        assert [level.name for level in architecture.levels] == ["DRAM", "SMEM", "RF", "LRF"]


def test_eyeriss_is_the_published_chip() -> None:
    architecture = library.load("eyeriss")
    assert architecture.compute.mesh == (14, 12)
    capacities = {lv.name: lv.capacity_words for lv in architecture.levels}
    assert capacities["ifmap_spad"] == 12 and capacities["weights_spad"] == 224 and capacities["psum_spad"] == 24


def test_row_stationary_puts_filter_rows_and_output_rows_on_the_array() -> None:
    mapping = library.default_mapping("eyeriss", convolution())
    assert mapping.at("shared_glb").spatial == {"q": 14}
    assert mapping.at("columns").spatial == {"s": 3, "m": 4}
    assert mapping.at("weights_spad").temporal["r"] == 3


def test_roles_are_found_under_any_names() -> None:
    usual = library.load("stc", gemm(A="2:4"))
    renamed = Einsum.parse(
        "Y[tokens,features] = X[tokens,hidden] * Weights[hidden,features]",
        {"tokens": 128, "features": 64, "hidden": 256},
        densities={"Weights": "2:4"},
    )
    bound = library.load("stc", renamed)
    assert bound.level("LRF").keep == ("Weights",)
    assert list(bound.level("SMEM").formats) == ["Weights"]
    assert len(bound.level("RF").optimizations) == len(usual.level("RF").optimizations)
    assert run("stc", renamed).cycles == run("stc", gemm(64, 128, 256, A="2:4")).cycles


def test_the_windowed_operand_is_the_activations() -> None:
    workload = Einsum.parse("C[m,p] = A[c,p+r] * B[m,c,r]", {"m": 4, "c": 4, "p": 8, "r": 3})
    binding = library.roles_of("eyeriss", workload)
    assert binding.tensors == {"W": "B", "I": "A", "O": "C"}
    assert binding.variables["M"] == ("m",)
    assert binding.variables["R"] == ("r",)
    assert binding.variables["P"] == ("p",)
    assert binding.of_role("K") == ("c", "r")


def test_roles_can_be_given_by_hand() -> None:
    workload = gemm(B="2:4")
    assert library.load("stc", workload, {"A": "B"}).level("LRF").keep == ("B",)
    with pytest.raises(SpecError, match="no tensor role 'W'"):
        library.load("stc", workload, {"W": "B"})
    with pytest.raises(SpecError, match="not an operand"):
        library.load("stc", workload, {"A": "Weights"})


def test_formats_name_the_workloads_variables() -> None:
    formats = library.load("dstc", gemm()).level("LRF").formats
    assert formats["A"].ranks[0].variables == ("m",)
    assert formats["B"].ranks[0].variables == ("n",)
    assert library.load("dstc").level("LRF").formats["A"].ranks[0].variables == ("M",)


def test_products_of_three_tensors_are_refused() -> None:
    mttkrp = Einsum.parse("M[i,r] = T[i,j,k] * B[j,r] * C[k,r]", {"i": 4, "j": 4, "k": 4, "r": 4})
    with pytest.raises(UnsupportedError, match="two tensors"):
        library.load("extensor", mttkrp)


def test_mistyped_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean 'sparten'"):
        library.load("spartan")
    with pytest.raises(SpecError, match="has no setting 'runbits'"):
        library.load("flexible-stc", settings={"runbits": 2})


def test_settings_change_a_design() -> None:
    three, two = (library.load("flexible-stc", settings={"run_bits": bits}) for bits in (3, 2))
    assert three == library.load("flexible-stc")
    assert [a.level("SMEM").formats["A"].ranks[-1].metadata_word_bits for a in (three, two)] == [3, 2]


def test_features_of_one_tensor_can_be_taken_away() -> None:
    architecture = library.load("sparten", convolution())
    plain = without_features(architecture, {"W"})
    entries = [str(entry) for entry in plain.level("unit_buffer").optimizations]
    assert entries == ["skipping W ← I", "skipping O ← I"]
    assert list(plain.level("unit_buffer").formats) == ["I"]
    assert without_features(architecture, set()).levels == architecture.levels


def test_low_utilization_warns() -> None:
    with pytest.warns(library.UtilizationWarning, match="lanes busy"):
        library.default_mapping("tpu-like", gemm(7, 7, 7))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        library.default_mapping("tpu-like", gemm(512, 512, 512))


def test_demo_compares_designs_on_two_layers() -> None:
    layers = library.demo()
    assert ["ResNet-50" in title for title, _ in layers] == [True, False]
    for _, runs in layers:
        results = {r.design: evaluate(r.workload, r.architecture, r.mapping) for r in runs}
        plain = {r.design: evaluate(r.workload, r.plain_architecture, r.plain_mapping) for r in runs}
        assert len(results) >= 6
        assert all(results[name].cycles <= plain[name].cycles for name in results)
        assert len({r.workload.macs for r in runs}) == 1


def two_levels(depth: int) -> Architecture:
    outer = StorageLevel(name="outer", component="dram")
    inner = StorageLevel(name="inner", depth=depth, instances=6, mesh_x=6)
    return Architecture(levels=(outer, inner), compute=Compute(name="mac", instances=6, mesh_x=6))


def test_spatial_loops_take_the_largest_divisor_that_fits() -> None:
    flow = [LevelDataflow("outer", x=(Growth("M"), Growth("N"))), LevelDataflow("inner", tile=(Growth("K"),))]
    roles = {"M": ("m",), "N": ("n",), "K": ("k",)}
    planned = plan(gemm(8, 9, 10), two_levels(12), flow, roles)
    assert planned.mapping.at("outer").spatial == {"m": 4}  # 8 does not fit 6 lanes; 9 has no divisor left for 1
    assert planned.mapping.at("inner").temporal == {"k": 5}  # 5 of A, 5 of B, 1 of Z in 12 words
    assert planned.mapping.at("outer").temporal == {"m": 2, "n": 9, "k": 2}
    assert planned.lanes_used == pytest.approx(4 / 6)


def test_several_variables_of_a_role_share_a_fanout_as_widely_as_they_can() -> None:
    workload = Einsum.parse("Z[a,b] = A[a,k] * B[b,k]", {"a": 4, "b": 9, "k": 2})
    flow = [LevelDataflow("outer", x=(Growth("N"),))]
    planned = plan(workload, two_levels(100), flow, {"N": ("b", "a"), "K": ("k",)})
    assert planned.mapping.at("outer").spatial == {"a": 2, "b": 3}  # 4 alone would leave two lanes idle


def test_a_level_too_small_for_one_element_is_named() -> None:
    with pytest.raises(MappingError, match="'inner' can't hold one element"):
        plan(gemm(), two_levels(2), [], {})
    with pytest.raises(MappingError, match="did you mean 'inner'"):
        plan(gemm(), two_levels(9), [LevelDataflow("iner")], {})


def design_table() -> str:
    """The table of docs/designs.md, from the library."""
    lines = ["| design | paper | runs | compressed | gating | skipping |", "| --- | --- | --- | --- | --- | --- |"]
    for name in DESIGNS:
        info = library.describe(name)
        formats = [f"{t.role}: {', '.join(t.formats)}" for t in info.treatments if t.formats]
        gating = [entry for t in info.treatments for entry in t.gating]
        skipping = [entry for t in info.treatments for entry in t.skipping]
        compute = info.architecture.compute
        gating += [f"at {compute.name}"] if compute.gating else []
        skipping += [f"at {compute.name}"] if compute.skipping else []
        cells = [f"`{name}`", f"{info.title}; {info.venue} {info.year}", ", ".join(info.computes)]
        cells += ["<br>".join(parts) or "–" for parts in (formats, gating, skipping)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def test_the_documented_example_runs() -> None:
    code = DOCUMENT.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    exec(compile(code, str(DOCUMENT), "exec"), {})


def test_the_documented_table_is_true() -> None:
    assert design_table() in DOCUMENT.read_text(encoding="utf-8"), f"paste this:\n{design_table()}"


if __name__ == "__main__":
    print(design_table())
