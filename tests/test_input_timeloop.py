"""Timeloop and Sparseloop inputs."""

import pytest

from fiberloom.architecture.levels import ComponentClass
from fiberloom.architecture.sparse import Format, SafKind
from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.input.specification import parse
from input_examples import TIMELOOP, bent


@pytest.fixture(scope="module")
def spec():
    return parse(TIMELOOP, file="in.yaml")


def level(old, new, name="Buffer"):
    return parse(bent(TIMELOOP, old, new)).architecture.level(name)


def test_the_problem_becomes_an_einsum(spec):
    assert str(spec.workload) == "O[P] = I[C, 2*P+R] * W[C, R]"
    assert spec.workload.shape == {"P": 8, "R": 3, "C": 4}
    assert spec.workload.tensor("I").density == {"distribution": "fixed-structured", "density": 0.5}
    assert spec.workload.tensor("W").density == {"distribution": "uniform", "density": 0.25}
    assert spec.workload.tensor("O").density is None


def test_ranges_multiply_down_the_tree(spec):
    assert [(lv.name, lv.instances, lv.mesh) for lv in spec.architecture.levels] == [
        ("DRAM", 1, (1, 1)),
        ("Buffer", 4, (2, 2)),
    ]
    assert (spec.architecture.compute.instances, spec.architecture.compute.mesh) == (8, (4, 2))
    assert spec.architecture.technology == "45nm"


def test_defaults_are_those_of_timeloop(spec):
    dram, buffer = spec.architecture.levels
    assert dram.component is ComponentClass.DRAM
    assert (dram.can_accumulate, buffer.can_accumulate) == (False, True)
    assert not (dram.decompress or dram.compress or buffer.decompress or buffer.compress)
    assert (dram.words_per_access, buffer.words_per_access, buffer.cluster_size) == (4, 2, 1)
    assert (dram.read_bandwidth, dram.write_bandwidth) == (8, None)
    assert buffer.capacity_words == 128
    assert (dram.metadata_word_bits, dram.metadata_width_bits, dram.metadata_depth) == (0, None, None)
    assert buffer.attributes == {"n_banks": 2}
    assert all(lv.peer_links for lv in spec.architecture.levels)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("width: 32", {"words_per_access": 2, "cluster_size": 1}),
        ("width: 32, block_size: 1", {"words_per_access": 1, "cluster_size": 2}),
        ("width: 64, cluster-size: 2", {"words_per_access": 2, "cluster_size": 2}),
        ("data_storage_width: 64, block-size: 2, cluster_size: 2", {"words_per_access": 2, "cluster_size": 2}),
        ("memory_width: 32, word_bits: 8", {"words_per_access": 4, "word_bits": 8}),
        ("width: 32, depth: null, entries: 10", {"depth": 5, "capacity_words": 10}),
        ("width: 32, depth: null, sizeKB: 1", {"depth": 256, "capacity_words": 512}),
        ("width: 32, depth: null, memory_depth: 3", {"depth": 3}),
        ("width: 32, multiple-buffering: 2.0", {"capacity_words": 64}),
        ("width: 32, bandwidth: 4", {"read_bandwidth": 2, "write_bandwidth": 2}),
        ("width: 32, shared_bandwidth: 4", {"shared_bandwidth": 4}),
        ("width: datawidth * 4", {"words_per_access": 4}),
        ("width: 32, reduction_supported: false", {"can_accumulate": False}),
        ("width: 32, decompression_supported: True", {"decompress": True, "compress": False}),
    ],
)
def test_attributes_have_many_names(attributes, expected):
    old = "depth: 64, width: 32, datawidth: 16"
    new = attributes if "word_bits" in attributes else f"datawidth: 16, {attributes}"
    if "depth" not in attributes:
        new = f"depth: 64, {new}"
    found = level(old, new.replace("depth: null, ", ""))
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("kind", "component"),
    [
        ("class: storage\n        subclass: regfile_metadata", ComponentClass.REGFILE),
        ("class: smartbuffer_RF", ComponentClass.REGFILE),
        ("class: SRAM", ComponentClass.SRAM),
        ("class: LPDDR_DRAM", ComponentClass.DRAM),
        ("class: dummy_storage", ComponentClass.DUMMY),
    ],
)
def test_component_classes(kind, component):
    assert level("class: storage\n        subclass: SRAM", kind).component is component


def test_energy_is_the_maximum_over_argument_variants(spec):
    dram, buffer = spec.architecture.levels
    assert dram.energy_pj == {"read": 200}
    assert buffer.energy_pj == {"read": 2.5}
    assert spec.architecture.compute.energy_pj is None
    assert spec.architecture.compute.area_um2 == 300


def test_permutations_are_innermost_first_and_completed(spec):
    dram, buffer = spec.mapping.at("DRAM"), spec.mapping.at("Buffer")
    assert dram.temporal_order == ("C", "R", "P")
    assert buffer.temporal_order == ("P", "R", "C")
    assert dram.temporal == {"P": 2}
    assert buffer.spatial_order == ("C", "R", "P")
    assert buffer.spatial_x is None


def test_split_counts_positions_from_the_innermost(spec):
    dram = spec.mapping.at("DRAM")
    assert dram.spatial_order == ("C", "P", "R")
    assert dram.spatial_x == ("R",)


def test_factor_zero_is_the_whole_dimension(spec):
    assert spec.mapping.at("Buffer").temporal == {"R": 3, "C": 2}
    assert any("factor 0" in w and "R=3" in w for w in spec.warnings)


@pytest.mark.parametrize(
    "factors", ["R3, C2", "R=3,C=2", "[R=3, C=2]", "{R: 3, C: 2}", "'R 3 C=2 # rest'", "'R=3,3 C=2'"]
)
def test_factors_have_many_spellings(factors):
    if "," in factors and factors[0] not in "[{'":
        factors = f"'{factors}'"
    spec = parse(bent(TIMELOOP, "factors: R=0 C=2", f"factors: {factors}"))
    assert spec.mapping.at("Buffer").temporal == {"R": 3, "C": 2}


def test_keeps_and_bypasses_of_several_directives_add_up(spec):
    assert spec.mapping.at("Buffer").keep == ("I", "O")
    assert spec.mapping.at("DRAM").keep == ("I", "W", "O")


def test_link_transfer_is_on_unless_it_is_turned_off(spec):
    assert spec.mapping.at("DRAM").peer_links == {"W": False}
    assert spec.mapping.at("Buffer").peer_links == {}


def test_multicast_can_be_turned_off():
    spec = parse(bent(TIMELOOP, "no_link_transfer: [W]", "no_multicast_no_reduction: [W, I]"))
    assert spec.mapping.at("DRAM").multicast == {"W": False, "I": False}


def test_formats(spec):
    found = spec.architecture.level("DRAM").formats["I"]
    assert found.inner_to_outer
    assert [(r.format, r.variables, r.payload_word_bits) for r in found.ranks] == [
        (Format.UOP, None, 0),
        (Format.CP, ("P", "R"), None),
    ]


def test_metadata_items_are_widened_until_they_divide_a_row(spec):
    assert spec.architecture.level("Buffer").formats["W"].ranks[0].metadata_word_bits == 6


def test_the_underscore_spelling_of_flattening_counts_in_v04_only(spec):
    assert any("flattened_rankIDs" in w for w in spec.warnings)
    text = bent(TIMELOOP, "flattened-rankIDs: [[P, R]], flattened_rankIDs: [[C]]", "flattened_rankIDs: [[C]]")
    assert parse(text).architecture.level("DRAM").formats["I"].ranks[1].variables is None
    newer = bent(text, "architecture:\n  version: 0.3", "architecture:\n  version: 0.4")
    assert parse(newer).dialect == "timeloop-0.4"
    assert parse(newer).architecture.level("DRAM").formats["I"].ranks[1].variables == ("C",)


def test_gating_and_skipping(spec):
    entries = spec.architecture.level("Buffer").optimizations
    assert [str(e) for e in entries] == ["skipping I ← W", "gating O ← I, W | O ← W"]
    assert spec.architecture.compute.gating
    assert not spec.architecture.compute.skipping


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("skipping-spatial", SafKind.SPATIAL_SKIPPING),
        ("skipping_spatial", SafKind.SPATIAL_SKIPPING),
        ("gating", SafKind.GATING),
    ],
)
def test_kinds_of_action_optimization(name, kind):
    found = level("type: skipping, target: I", f"type: {name}, target: I")
    assert found.optimizations[0].kind is kind


def test_position_skipping_has_no_leaders():
    found = level(
        "type: skipping, target: I, condition-on: [W]", "type: position-skipping, target: I, condition-on: []"
    )
    assert found.optimizations[0].kind is SafKind.POSITION_SKIPPING
    assert found.optimizations[0].options[0].leaders == ()


def test_unknown_instance_keys_are_ignored_with_a_warning(spec):
    assert any("in.yaml:" in w and "'W' is neither" in w for w in spec.warnings)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("0.5", {"distribution": "fixed-structured", "density": 0.5}),
        (
            "{distribution: fixed_structured, density: 0.5, band_width: 0}",
            {"distribution": "fixed-structured", "density": 0.5},
        ),
        ("{distribution: uniform, density: 1}", {"distribution": "uniform", "density": 1.0}),
        ("{distribution: banded, band_width: 2}", {"distribution": "banded", "band_width": 2}),
        ("{distribution: real-data, data_file_path: PATH}", {"distribution": "actual", "file": "PATH"}),
    ],
)
def test_densities(given, read):
    spec = parse(bent(TIMELOOP, "I: 0.5", f"I: {given}"))
    assert spec.workload.tensor("I").density == read


def test_a_common_density_is_that_of_every_tensor():
    text = (
        TIMELOOP[: TIMELOOP.index(", densities")] + ", commonDensity: 0.5}\n" + TIMELOOP[TIMELOOP.index("mapping:") :]
    )
    assert {t.density["density"] for t in parse(text).workload.tensors} == {0.5}


def test_well_known_shapes_are_known_by_name():
    problem = parse(
        "problem: {shape: cnn-layer, instance: {R: 3, S: 3, P: 4, Q: 4, C: 2, K: 2, N: 1, Wstride: 2}}"
    ).workload
    assert problem.tensor_shape("Inputs") == (1, 2, 9, 6)
    assert problem.output.name == "Outputs"


def test_underscores_and_hyphens_mean_the_same():
    text = (
        TIMELOOP.replace("data-spaces", "data_spaces")
        .replace("read-write", "read_write")
        .replace("condition-on", "condition_on")
    )
    assert parse(text).workload == parse(TIMELOOP).workload


def test_node_lists_of_v04_become_levels_with_fan_outs():
    text = """\
architecture:
  version: 0.4
  nodes:
  - !Container
    name: system
    attributes: {technology: "32nm", global_cycle_seconds: 2e-9, datawidth: 8}
  - !Component
    name: DRAM
    class: DRAM
    attributes: {width: 64}
  - !Container
    name: PE
    spatial: {meshX: 4, meshY: 2}
  - !Component
    name: Buffer
    class: SRAM
    attributes: {depth: 16, width: datawidth * 2}
    sparse_optimizations:
      action_optimization: [{type: gating, target: B, condition_on: [A]}]
  - !Component
    name: mac
    class: intmac
problem:
  shape:
    dimensions: [M, K]
    data_spaces:
    - {name: A, projection: [[[M]], [[K]]]}
    - {name: B, projection: [[[K]]]}
    - {name: Z, projection: [[[M]]], read_write: true}
  instance: {M: 8, K: 2}
mapping:
- {target: PE, type: spatial, factors: M=4 K=2, permutation: MK, split: 1}
- {target: Buffer, type: temporal, factors: M=2}
"""
    spec = parse(text)
    assert [(lv.name, lv.instances, lv.mesh) for lv in spec.architecture.levels] == [
        ("DRAM", 1, (1, 1)),
        ("inter_PE_spatial", 1, (1, 1)),
        ("Buffer", 8, (4, 2)),
    ]
    assert spec.architecture.compute.instances == 8
    assert spec.architecture.cycle_seconds == 2e-9
    assert spec.architecture.level("Buffer").words_per_access == 2
    assert spec.architecture.level("Buffer").word_bits == 8
    assert spec.mapping.at("inter_PE_spatial").spatial == {"M": 4, "K": 2}
    assert spec.mapping.at("inter_PE_spatial").spatial_x == ("M",)
    assert spec.mapping.at("inter_PE_spatial").keep == ()
    assert spec.mapping.at("Buffer").keep == ("A", "B", "Z")
    assert str(spec.architecture.level("Buffer").optimizations[0]) == "gating B ← A"
    spec.mapping.check(spec.workload, spec.architecture)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("depth: 64,", "depth: 64, allow_overbooking: true,", "allow_overbooking"),
        ("depth: 64,", "depth: 64, has_power_gating: true,", "has_power_gating"),
        ("depth: 64,", "depth: 64, power_gated_at: PE,", "power_gated_at"),
        ("depth: 64,", "depth: 64, network_fill_latency: 3,", "network_fill_latency"),
        ("depth: 64,", "depth: 64, network-attributes: {width: 3},", "network-attributes"),
        ("depth: 64,", "depth: 64, vector-access-energy: 3,", "vector-access-energy"),
        ("class: intmac", "class: ReductionTree", "ReductionTree"),
        ("class: storage", "class: intmac", "second compute"),
        ("factors: R=0 C=2,", "factors: R=0 C=2, no_temporal_reuse: [I],", "no_temporal_reuse"),
        ("factors: R=0 C=2,", "factors: R=0 C=2, rmw_first_update: [O],", "rmw_first_update"),
        ("{target: Buffer, type: datatype, keep: [O]}", "{target: Buffer, type: skew, modulo: 2}", "skew"),
        ("dimensions: [P, R, C]", "dimensions: [P, R, C]\n    flatten: [{name: X, dimensions: [P, R]}]", "flatten"),
        ("ART:", "layout: []\nART:", "layout"),
        ("name: system.DRAM", "name: system.wire", "wire"),
    ],
)
def test_what_changes_numbers_and_is_not_modelled_is_refused_by_name(old, new, key):
    with pytest.raises(UnsupportedError) as caught:
        parse(bent(TIMELOOP, old, new), file="in.yaml")
    assert key in str(caught.value)
    assert "in.yaml:" in str(caught.value)
    assert caught.value.exit_code == 3


def test_residual_factors_are_the_iterations_of_the_last_run():
    twice = bent(TIMELOOP, "factors: P=2 R=1", "factors: P=2 R=2")
    spec = parse(bent(twice, "R=0 C=2", "'R=2,1 C=2'"))
    spec.mapping.check(spec.workload, spec.architecture)
    assert spec.mapping.at("Buffer").temporal == {"R": 2, "C": 2}
    with pytest.raises(SpecError, match=r"in.yaml:.*residual of 'R' is 2, but .* the last run has 1 iteration"):
        parse(bent(twice, "R=0 C=2", "'R=2,2 C=2'"), file="in.yaml")


def test_what_is_turned_off_is_not_refused():
    parse(
        bent(
            TIMELOOP,
            "depth: 64,",
            "depth: 64, allow_overbooking: false, power_gated_at: null, network_fill_latency: 0,",
        )
    )


def test_attributes_that_look_mistyped_are_reported():
    spec = parse(bent(TIMELOOP, "read_bandwidth: 8", "read_bandwith: 8"))
    assert any("did you mean 'read_bandwidth'" in w for w in spec.warnings)


def test_sections_that_steer_searches_are_skipped():
    text = TIMELOOP + "mapper: {algorithm: hybrid}\nglobals: {version: 0.4}\narchitecture_constraints: {targets: []}\n"
    assert parse(text).architecture == parse(TIMELOOP).architecture
