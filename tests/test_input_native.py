"""fiberloom's own YAML."""

import json
from pathlib import Path

import pytest

from fiberloom.architecture.levels import ComponentClass
from fiberloom.architecture.sparse import Format, SafKind
from fiberloom.errors import SpecError
from fiberloom.input import native, native_schema
from fiberloom.input.native_dump import dump
from fiberloom.input.specification import parse, read
from fiberloom.mapping.nest import LevelMapping, Mapping
from input_examples import NATIVE, bent


def test_a_whole_specification_is_read():
    spec = parse(NATIVE)
    assert spec.dialect == "fiberloom"
    assert str(spec.workload) == "Z[m, n] = A[m, k] * B[k, n]"
    assert spec.workload.shape == {"m": 16, "n": 8, "k": 16}
    assert spec.workload.tensor("A").word_bits == 8
    assert spec.workload.tensor("A").density == {"distribution": "fixed-structured", "density": "2:4"}
    assert spec.workload.tensor("B").density == 0.3
    dram, buffer = spec.architecture.levels
    assert dram.component is ComponentClass.DRAM
    assert (buffer.instances, buffer.mesh, buffer.depth, buffer.read_bandwidth) == (4, (2, 2), 65536, 4.0)
    assert spec.architecture.compute.mesh == (4, 4)
    assert spec.architecture.compute.gating
    spec.mapping.check(spec.workload, spec.architecture)


def test_loops_are_written_outermost_first():
    mapping = parse(NATIVE).mapping
    dram, buffer = mapping.at("DRAM"), mapping.at("Buffer")
    assert dram.temporal == {"m": 2, "n": 8}
    assert dram.temporal_order == ("m", "n")
    assert dram.spatial == {"m": 2, "k": 2}
    assert (dram.spatial_order, dram.spatial_x) == (("k", "m"), ("m",))
    assert (buffer.temporal, buffer.temporal_order) == ({"k": 4, "m": 2}, ("k", "m", "n"))
    assert (buffer.spatial_order, buffer.spatial_x) == (("m", "k"), ("m",))
    assert buffer.keep is None
    assert dram.keep == ("A", "B", "Z")


def test_axes_called_x_and_y_are_not_variables_called_x_and_y():
    text = """\
fiberloom: 1
workload: {einsum: "O[y,x] = I[y,x]", shape: {x: 4, y: 4}}
mapping:
- {level: A, spatial: {x: 4, y: 2}}
- {level: B, spatial: {x: y=2}}
"""
    mapping = parse(text).mapping
    assert mapping.at("A").spatial == {"x": 4, "y": 2}
    assert mapping.at("A").spatial_x is None
    assert (mapping.at("B").spatial, mapping.at("B").spatial_x) == ({"y": 2}, ("y",))


@pytest.mark.parametrize(
    ("text", "ranks"),
    [
        ("CSR", ["UOP", "CP"]),
        ("csc", ["UOP", "CP"]),
        ("bitmask", ["B"]),
        ("RLE", ["RLE"]),
        ("UOP-UOP CP", ["UOP", "UOP", "CP"]),
        ("[UOP, {format: RLE}]", ["UOP", "RLE"]),
        ("{ranks: [CP]}", ["CP"]),
        ("U", ["U"]),
    ],
)
def test_formats_have_short_notations(text, ranks):
    formats = parse(bent(NATIVE, "A: CSR", f"A: {text}")).architecture.level("DRAM").formats
    assert [rank.format for rank in formats["A"].ranks] == [Format(rank) for rank in ranks]


def test_coo_flattens_all_variables_of_the_tensor():
    formats = parse(bent(NATIVE, "A: CSR", "A: COO")).architecture.level("DRAM").formats
    assert [(rank.format, rank.variables) for rank in formats["A"].ranks] == [(Format.CP, ("m", "k"))]


def test_double_sided_skipping_is_two_entries():
    entries = parse(NATIVE).architecture.level("Buffer").optimizations
    assert [str(entry) for entry in entries] == [
        "skipping A ← B",
        "skipping B ← A",
        "skipping Z ← A, B",
        "gating B ← A | B ← Z",
    ]


def test_position_skipping_names_tensors_only():
    text = bent(NATIVE, 'gate: ["B <- A | B <- Z"]', "skip_position: [A, B]")
    entries = parse(text).architecture.level("Buffer").optimizations
    assert [
        (e.kind, e.options[0].follower, e.options[0].leaders) for e in entries if e.kind is SafKind.POSITION_SKIPPING
    ] == [
        (SafKind.POSITION_SKIPPING, "A", ()),
        (SafKind.POSITION_SKIPPING, "B", ()),
    ]


def test_constants_are_strides():
    text = """\
fiberloom: 1
workload:
  einsum: O[p] = I[stride*p + r] * W[r]
  shape: {p: 4 * stride, r: 3}
  constants: {stride: 2}
"""
    workload = parse(text).workload
    assert workload.tensor_shape("I") == (17,)


def test_sections_may_stand_in_several_files(tmp_path):
    head, tail = NATIVE.split("architecture:\n", 1)
    (tmp_path / "a.yaml").write_text(head)
    (tmp_path / "b.yaml").write_text("fiberloom: 1\narchitecture:\n" + tail)
    spec = read([tmp_path / "a.yaml", tmp_path / "b.yaml"])
    whole = parse(NATIVE)
    assert (spec.workload, spec.architecture, spec.mapping) == (whole.workload, whole.architecture, whole.mapping)
    assert spec.base_directory == tmp_path


def test_sections_that_disagree_are_refused(tmp_path):
    (tmp_path / "a.yaml").write_text(NATIVE)
    (tmp_path / "b.yaml").write_text("workload: {einsum: 'Z[m] = A[m]', shape: {m: 4}}\n")
    with pytest.raises(SpecError, match="given twice") as caught:
        read([tmp_path / "a.yaml", tmp_path / "b.yaml"])
    assert "a.yaml:3" in str(caught.value)
    assert "b.yaml:1" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("fiberloom", "fiberloom"),
        ('gate: ["B <- A | B <- Z"]', "skip_position: [A, B]"),
        ('gate: ["B <- A | B <- Z"]', "skip_spatial: [B <- A]"),
        ("A: CSR", "A: COO"),
        ("n_banks: 2", "n_banks: 2, kind: 'no', more: [1, {x: 2.5}], word: '12'"),
        ("keep: [A, B, Z]", "keep: []"),
        ("spatial: {x: m=2, y: k=2}", "spatial: {y: m=2 k=2}"),
        (
            "cycle_seconds: 1e-9",
            "cycle_seconds: 3.3333333333333335e-10\n  description: 'a: b # c'\n  sources: ['x, 2022']",
        ),
        ("B: 0.3", "B: {distribution: banded, width: 2}"),
        ("einsum: Z[m,n] = A[m,k] * B[k,n]", "einsum: Z[m,n] = A[m+2*k-1*n] * B[k,n]"),
    ],
)
def test_a_dump_reads_back_as_equal_objects(old, new):
    spec = parse(NATIVE.replace(old, new, 1))
    text = dump(spec)
    again = parse(text, file="dumped.yaml")
    assert again.workload == spec.workload
    assert again.architecture == spec.architecture
    assert again.mapping == spec.mapping
    assert dump(again) == text


def test_interleaved_optimizations_keep_their_order():
    text = bent(
        NATIVE,
        'gate: ["B <- A | B <- Z"]',
        "optimizations: [{kind: gating, options: [{follower: B, leaders: [A]}]},"
        " {kind: skipping, options: [{follower: B, leaders: [A]}]}]",
    )
    spec = parse(text)
    assert [e.kind.value for e in spec.architecture.level("Buffer").optimizations][-2:] == ["gating", "skipping"]
    assert parse(dump(spec)).architecture == spec.architecture


def test_a_dump_of_a_mapping_made_in_python_writes_its_default_order():
    spec = parse(NATIVE)
    made = Mapping(levels={"DRAM": LevelMapping(temporal={"m": 2, "k": 4}, temporal_order=("m",))})
    text = dump(type(spec)(spec.workload, None, made))
    assert "temporal: k=4 m=2" in text


def test_a_dump_is_written_for_people():
    text = dump(parse(NATIVE))
    assert "einsum: Z[m, n] = A[m, k] * B[k, n]" in text
    assert "shape: {m: 16, n: 8, k: 16}" in text
    assert "A: UOP CP" in text
    assert "- Z <- A, B" in text
    assert "mesh: 4x4" in text
    assert "&" not in text


def test_the_schema_names_what_the_reader_takes():
    schema = json.loads(json.dumps(native_schema.json_schema()))
    assert tuple(schema["properties"]) == native.SECTIONS
    assert tuple(schema["properties"]["workload"]["properties"]) == native.WORKLOAD_FIELDS
    assert tuple(schema["$defs"]["loops_of_level"]["properties"]) == native.MAPPING_FIELDS
    level = schema["$defs"]["level"]
    for field in ("name", "mesh", "depth", "formats", *native.FEATURES):
        assert field in level["properties"]
    assert level["additionalProperties"] is False
    assert {"type": "integer", "minimum": 0} in level["properties"]["depth"]["anyOf"]


def test_the_schema_has_no_dangling_references():
    text = json.dumps(native_schema.json_schema())
    definitions = json.loads(text)["$defs"]
    for reference in set(text.split('"#/$defs/')[1:]):
        assert reference.split('"')[0] in definitions


DOCUMENTATION = Path(__file__).parents[1] / "docs" / "yaml.md"


def documented_blocks():
    return [block.split("```")[0] for block in DOCUMENTATION.read_text().split("```yaml\n")[1:]]


def test_the_documented_example_is_a_legal_specification():
    spec = parse(documented_blocks()[0])
    spec.mapping.check(spec.workload, spec.architecture)
    assert parse(dump(spec)).architecture == spec.architecture


def test_the_documented_formats_are_read():
    example = """\
fiberloom: 1
workload: {einsum: "Z[m] = A[m,k] * B[k] * C[k] * D[k] * E[m,k] * F[k]", shape: {m: 2, k: 2}}
architecture:
  levels:
  - name: DRAM
"""
    formats = "".join(f"    {line}\n" for line in documented_blocks()[1].splitlines())
    found = parse(example + formats + "  compute: {name: MAC}\n").architecture.level("DRAM").formats
    assert {name: "-".join(rank.format for rank in f.ranks) for name, f in found.items()} == {
        "A": "UOP-CP",
        "B": "UOP-UOP-CP",
        "C": "CP",
        "D": "B",
        "E": "UOP-CP",
        "F": "UOP-CP",
    }


def test_the_documented_features_are_read():
    for line in documented_blocks()[2].splitlines():
        text = f"fiberloom: 1\narchitecture:\n  levels:\n  - name: L\n    {line}\n  compute: {{name: MAC}}\n"
        assert parse(text).architecture.level("L").optimizations
