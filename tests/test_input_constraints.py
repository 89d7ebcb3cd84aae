"""Constraints of the map space: fiberloom's own YAML, Timeloop's, and what contradicts itself."""

import json
import os
from pathlib import Path

import pytest

from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.input import native_constraints, native_schema
from fiberloom.input.native_dump import dump
from fiberloom.input.specification import parse, read
from fiberloom.mapping.constraints import Constraints, LevelConstraints, LoopConstraints
from input_examples import NATIVE, TIMELOOP

PROBLEMS = Path(os.environ.get("FIBERLOOM_PROBLEMS", Path(__file__).parents[2] / "shared" / "mapper-problems"))

OURS = """\
constraints:
  DRAM:
    temporal: {factors: n=1, at_most: {m: 2 * rows}, inner: [m, k]}
    spatial: {x: [m], y: [n, k], least_fanout: 2}
    keep: [A, B, Z]
  Buffer:
    temporal: {order: [k, m, n], remaining: k}
    spatial: {factors: {m: 2}, at_least: {n: 2}, most_fanout: 4}
    bypass: [Z]
    free: B
    multicast: {A: false}
"""


def native(constraints: str):
    return parse(NATIVE + constraints, file="in.yaml")


def timeloop(constraints: str, *, mapping: bool = False):
    """The example without its mapping, with a section of constraints."""
    head, _, tail = TIMELOOP.partition("mapping:\n")
    rest = tail[tail.index("sparse_optimizations:") :]
    return parse(TIMELOOP + constraints if mapping else head + rest + constraints, file="in.yaml")


def target(**fields: object) -> str:
    return "architecture_constraints:\n  targets:\n  - " + json.dumps(fields) + "\n"


# --- fiberloom's own YAML


def test_levels_say_what_is_fixed():
    spec = native(OURS)
    dram, buffer = spec.constraints.levels["DRAM"], spec.constraints.levels["Buffer"]
    assert dram == LevelConstraints(
        temporal=LoopConstraints(factors={"n": 1}, at_most={"m": 8}, inner=("m", "k")),
        spatial=LoopConstraints(x=("m",), y=("n", "k"), least_fanout=2),
        keep=("A", "B", "Z"),
    )
    assert buffer == LevelConstraints(
        temporal=LoopConstraints(inner=("k", "m", "n"), remaining=("k",)),
        spatial=LoopConstraints(factors={"m": 2}, at_least={"n": 2}, most_fanout=4),
        bypass=("Z",),
        free=("B",),
        multicast={"A": False},
    )
    assert spec.constraints.at("elsewhere") == LevelConstraints()


def test_each_constraint_knows_its_line():
    where = native(OURS).constraints.where
    first = NATIVE.count("\n") + 1
    assert where["DRAM.temporal.at_most.m"] == f"in.yaml:{first + 2}"
    assert where["DRAM.spatial.least_fanout"] == f"in.yaml:{first + 3}"
    assert where["Buffer.bypass"] == f"in.yaml:{first + 8}"


def test_written_constraints_read_back():
    spec = native(OURS)
    assert parse(dump(spec)).constraints.levels == spec.constraints.levels
    assert "order: [k, m, n]" in dump(spec)


def test_the_example_of_the_manual_is_read():
    manual = (Path(__file__).parents[1] / "docs" / "yaml.md").read_text(encoding="utf-8")
    example = manual.partition("## constraints")[2].partition("```yaml\n")[2].partition("```")[0]
    levels = parse("fiberloom: 1\n" + example).constraints.levels
    assert levels["GlobalBuffer"].temporal.at_most == {"C": 64}
    assert levels["Registers"].temporal.inner == ("C", "M", "N", "P", "Q", "R", "S")


def test_a_specification_without_constraints_writes_none():
    assert "constraints" not in dump(parse(NATIVE))
    assert parse(NATIVE).constraints == Constraints()


def test_the_schema_names_every_field():
    properties = native_schema.json_schema()["$defs"]["constraints_of_level"]["properties"]
    assert tuple(properties) == native_constraints.LEVEL_FIELDS
    assert tuple(properties["temporal"]["properties"]) == native_constraints.TEMPORAL_FIELDS
    assert tuple(properties["spatial"]["properties"]) == native_constraints.SPATIAL_FIELDS


@pytest.mark.parametrize(
    ("constraints", "message", "hint"),
    [
        ("{Bufer: {keep: [A]}}", "'Bufer' is not a storage level", "did you mean 'Buffer'?"),
        ("{Buffer: {keeps: [A]}}", "unknown field 'keeps'", "did you mean 'keep'?"),
        ("{Buffer: {keep: [C]}}", "'C' is not a tensor of the workload", "known: A, B, Z"),
        ("{Buffer: {temporal: {factor: m=1}}}", "unknown field 'factor'", "did you mean 'factors'?"),
        ("{Buffer: {temporal: {x: [m]}}}", "unknown field 'x'", "known: "),
        ("{Buffer: {temporal: {factors: j=1}}}", "'j' is not an iteration variable", "known: m, n, k"),
        ("{Buffer: {temporal: {factors: m}}}", "'m' is not a loop", "write m=2 n=4"),
        ("{Buffer: {temporal: {factors: {m: 0}}}}", "0 is not a whole number from 1", "takes"),
        ("{Buffer: {temporal: {inner: [j]}}}", "'j' is not an iteration variable", "known: m, n, k"),
        ("{Buffer: {temporal: {order: [m, n]}}}", "'order' leaves out k", "list all loops"),
        ("{Buffer: {temporal: {order: [m, n, k], inner: [m]}}}", "'inner' beside 'order'", "give one of them"),
        ("{Buffer: {spatial: {least_fanout: few}}}", "few", "names"),
        ("[Buffer]", "a list is not a mapping", "takes a mapping"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(constraints, message, hint):
    with pytest.raises(SpecError) as raised:
        native(f"constraints: {constraints}\n")
    assert message in raised.value.problem
    assert hint in (raised.value.hint or "") or hint == "names"
    assert (raised.value.where.file, raised.value.where.line) == ("in.yaml", NATIVE.count("\n") + 1)
    assert raised.value.where.field.startswith("constraints")


# --- contradictions. DRAM feeds 2 x 2 buffers, each 2 x 2 MACs; m=16, n=8, k=16.


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ("{Buffer: {keep: [A], bypass: [A]}}", "'A' is both in 'keep' and in 'bypass'"),
        ("{Buffer: {keep: [A], free: [A]}}", "'A' is both in 'keep' and in 'free'"),
        ("{Buffer: {bypass: [Z]}, DRAM: {bypass: [Z]}}", "'Z' is bypassed at every level"),
        ("{Buffer: {temporal: {factors: m=3}}}", "m=3 does not divide the bound 16"),
        ("{Buffer: {temporal: {factors: m=8, at_most: m=4}}}", "m=8, but at most 4"),
        ("{Buffer: {temporal: {factors: m=2, at_least: m=4}}}", "m=2, but at least 4"),
        ("{Buffer: {temporal: {at_least: m=4, at_most: m=2}}}", "m is at least 4, but at most 2"),
        ("{Buffer: {temporal: {at_least: m=32}}}", "m is at least 32, but its bound 16"),
        ("{Buffer: {temporal: {at_least: m=5, at_most: m=7}}}", "no divisor of m's bound 16 is between 5 and 7"),
        ("{Buffer: {temporal: {remaining: [m], factors: m=2}}}", "'m' has a factor and is in 'remaining'"),
        ("{Buffer: {temporal: {remaining: [m]}}, DRAM: {temporal: {remaining: [m]}}}", "'m' is 'remaining' at"),
        ("{Buffer: {temporal: {inner: [m, m]}}}", "'m' stands twice"),
        ("{Buffer: {temporal: {inner: [m], outer: [m]}}}", "'m' stands both innermost and outermost"),
        ("{Buffer: {temporal: {factors: m=8}}, DRAM: {temporal: {factors: m=4}}}", "multiply to 32"),
        (
            "{Buffer: {temporal: {at_least: m=8}}, DRAM: {temporal: {at_least: m=4}}}",
            "multiply to 32, above its bound 16",
        ),
        (
            "{Buffer: {temporal: {factors: n=2}, spatial: {factors: n=1}}, "
            "DRAM: {temporal: {factors: n=1}, spatial: {factors: n=1}}}",
            "all factors of 'n' are fixed and multiply to 2, but its bound is 8",
        ),
        ("{Buffer: {spatial: {factors: m=4}}}", "m=4 does not fit the fan-out below 'Buffer', 2 x 2"),
        ("{Buffer: {spatial: {factors: m=2, x: [n], y: []}}}", "m=2 may run along neither axis"),
        ("{Buffer: {spatial: {factors: m=2 n=2, x: [m, n], y: []}}}", "factors along X multiply to 4"),
        ("{Buffer: {spatial: {factors: m=2 n=2 k=2}}}", "spatial factors multiply to 8"),
        ("{Buffer: {spatial: {least_fanout: 5}}}", "at least 5 children are to work, there are only 4"),
        ("{Buffer: {spatial: {least_fanout: 4, most_fanout: 2}}}", "at least 4 children are to work, at most 2"),
        ("{Buffer: {spatial: {factors: m=2 n=2, most_fanout: 2}}}", "spatial factors multiply to 4, at most 2"),
    ],
)
def test_contradictions_are_refused_at_their_line(constraints, message):
    with pytest.raises(SpecError) as raised:
        native(f"constraints:\n  {constraints}\n")
    assert message in raised.value.problem
    assert (raised.value.where.file, raised.value.where.line) == ("in.yaml", NATIVE.count("\n") + 2)
    assert raised.value.where.field.split(".")[0] in ("Buffer", "DRAM")
    assert raised.value.hint


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ({"Bufer": LevelConstraints()}, "'Bufer', which is not a storage level"),
        ({"Buffer": LevelConstraints(free=("C",))}, "'C' is not a tensor"),
        ({"Buffer": LevelConstraints(temporal=LoopConstraints(at_most={"j": 1}))}, "'j' is not an iteration variable"),
        ({"Buffer": LevelConstraints(temporal=LoopConstraints(factors={"m": 0}))}, "m=0"),
        ({"Buffer": LevelConstraints(temporal=LoopConstraints(x=("m",)))}, "axes of temporal loops"),
        ({"Buffer": LevelConstraints(temporal=LoopConstraints(most_fanout=1))}, "a fan-out of temporal loops"),
    ],
)
def test_constraints_made_in_python_are_checked_too(level, message):
    spec = parse(NATIVE)
    with pytest.raises(SpecError, match=message.replace("(", r"\(")):
        Constraints(levels=level).check(spec.workload, spec.architecture)


def test_what_a_mapping_can_meet_is_no_contradiction():
    native(OURS)
    native(
        "constraints: {Buffer: {temporal: {factors: m=16}}, DRAM: {temporal: {factors: m=1}, spatial: {factors: m=1}}}\n"
    )
    native("constraints: {Buffer: {spatial: {factors: m=2 n=2, least_fanout: 4, most_fanout: 4}}}\n")


# --- Timeloop. DRAM feeds 2 x 2 Buffers, each 2 MACs; P=8, R=3, C=4.


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ("P=2 R=1", {"factors": {"P": 2, "R": 1}}),
        ("P2,R1", {"factors": {"P": 2, "R": 1}}),
        (["P=2", "R=1"], {"factors": {"P": 2, "R": 1}}),
        ({"P": 2, "R": 1}, {"factors": {"P": 2, "R": 1}}),
        ("P<=4 C>=2 R=1", {"factors": {"R": 1}, "at_most": {"P": 4}, "at_least": {"C": 2}}),
        ({"P": "<=4"}, {"at_most": {"P": 4}}),
        ("P=0 C=1", {"factors": {"C": 1}, "remaining": ("P",)}),
        ("P=2 # the rest", {"factors": {"P": 2}}),
    ],
)
def test_factors_in_all_notations(factors, expected):
    spec = timeloop(target(target="Buffer", type="temporal", factors=factors))
    assert spec.constraints.at("Buffer").temporal == LoopConstraints(**expected)


@pytest.mark.parametrize(
    ("permutation", "inner", "outer"),
    [
        ("PRC", ("C", "R", "P"), ()),
        ("P,R,C", ("C", "R", "P"), ()),
        (["P", "R", "C"], ("C", "R", "P"), ()),
        ("RP", ("P", "R"), ()),
        ("R_P", ("R",), ("P",)),
        ("_CP", (), ("P", "C")),
    ],
)
def test_permutations_are_innermost_first_and_fix_that_end(permutation, inner, outer):
    found = (
        timeloop(target(target="Buffer", type="temporal", permutation=permutation)).constraints.at("Buffer").temporal
    )
    assert (found.inner, found.outer) == (inner, outer)


@pytest.mark.parametrize(
    ("permutation", "split", "x", "y"),
    [
        ("PRC", 0, (), None),
        ("PRC", 1, ("P",), ("C", "R")),
        ("PRC", 3, None, ()),
        ("PRC", 999, None, ()),
        ("P", 1, ("P",), ("C", "R")),
        ("_C", 2, ("R", "P"), ("C",)),
        (None, 0, (), None),
    ],
)
def test_the_first_loops_of_a_split_run_along_x(permutation, split, x, y):
    found = timeloop(target(target="DRAM", type="spatial", permutation=permutation, split=split)).constraints.at("DRAM")
    assert (found.spatial.x, found.spatial.y) == (x, y)


def test_a_split_among_free_loops_is_not_guessed():
    with pytest.raises(UnsupportedError, match="split 2 falls among loops whose order is free"):
        timeloop(target(target="DRAM", type="spatial", permutation="P", split=2))


def test_keeps_and_bypasses_bind_and_the_rest_is_free():
    constraints = timeloop(target(target="Buffer", type="bypass", keep=["I"], bypass=["W"])).constraints
    assert (constraints.at("Buffer").keep, constraints.at("Buffer").bypass) == (("I",), ("W",))


def test_the_outermost_level_keeps_all_unless_it_is_told():
    assert timeloop("").constraints.at("DRAM").keep == ("I", "W", "O")
    told = timeloop(target(target="DRAM", type="datatype", bypass=["W"])).constraints.at("DRAM")
    assert (told.keep, told.bypass) == (("I", "O"), ("W",))


def test_switches_of_the_network_carry_over():
    found = timeloop(target(target="DRAM", type="spatial", no_link_transfer=["W"], no_reuse=["I"])).constraints.at(
        "DRAM"
    )
    assert (found.peer_links, found.multicast) == ({"W": False}, {"I": False})


def test_all_sections_hold_together():
    spec = timeloop(
        "architecture_constraints: {targets: [{target: Buffer, type: temporal, factors: R=1}]}\n"
        "mapspace: {template: uber, constraints: [{target: Buffer, type: temporal, factors: R=1 P=2}]}\n"
        "constraints: [{name: 'Buffer[0..3]', constraints: [{type: temporal, attributes: {permutation: C}}]}]\n"
    )
    assert spec.constraints.at("Buffer").temporal == LoopConstraints(factors={"R": 1, "P": 2}, inner=("C",))


def test_sections_that_differ_are_refused():
    with pytest.raises(SpecError, match=r"'P' is given as 4, but as 2 at in\.yaml:\d+"):
        timeloop(
            "architecture_constraints: {targets: [{target: Buffer, type: temporal, factors: P=2}]}\n"
            "mapspace_constraints: [{target: Buffer, type: temporal, factors: P=4}]\n"
        )


def test_factors_that_cannot_divide_are_left_free_with_a_warning():
    spec = timeloop(target(target="Buffer", type="temporal", factors="P=16 R=2 C=2"))
    assert spec.constraints.at("Buffer").temporal == LoopConstraints(factors={"C": 2})
    assert [w for w in spec.warnings if "P=16 is above the dimension's bound 8; ignored" in w]
    assert [w for w in spec.warnings if "R=2 is left free: 2 does not divide the bound 3" in w]


def test_only_one_place_takes_what_remains():
    spec = timeloop(
        "architecture_constraints: [{target: DRAM, type: temporal, factors: P=0}, "
        "{target: Buffer, type: temporal, factors: P=0}]\n"
    )
    assert spec.constraints.at("Buffer").temporal.remaining == ("P",)
    assert spec.constraints.at("DRAM").temporal.remaining == ()


def test_utilization_is_of_the_fan_out():
    assert timeloop(target(target="Buffer", type="utilization", min=1)).constraints.at("DRAM").spatial.least_fanout == 4
    with pytest.raises(UnsupportedError, match="2 fan-outs together"):
        timeloop(target(target="Buffer", type="parallelism", min=0.5))
    with pytest.raises(SpecError, match="utilization is constrained at 'DRAM'"):
        timeloop(target(target="DRAM", type="utilization", min=0.5))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": "Bufer", "type": "temporal"}, "'Bufer' is not a storage level"),
        ({"target": "Buffer", "type": "temporary"}, "constraint type 'temporary' is not known"),
        ({"target": "Buffer"}, "a constraint needs a type"),
        ({"type": "temporal"}, "a constraint needs a target"),
        ({"target": "Buffer", "type": "temporal", "permutations": "P"}, "unknown constraint 'permutations'"),
        ({"target": "Buffer", "type": "temporal", "factors": "K=1"}, "'K' is not a dimension"),
        ({"target": "Buffer", "type": "temporal", "factors": "P<4"}, "is not a factor"),
        ({"target": "Buffer", "type": "temporal", "factors": "P<=0"}, "a limit of 0"),
        ({"target": "Buffer", "type": "temporal", "factors": "P=0 P=2"}, "'P' has two factors here"),
        ({"target": "Buffer", "type": "temporal", "permutation": "PK"}, "'K' is not a dimension"),
        ({"target": "Buffer", "type": "temporal", "permutation": "PP"}, "'P' stands twice"),
        ({"target": "Buffer", "type": "bypass", "keep": ["X"]}, "'X' is not a data space"),
        ({"target": "Buffer", "type": "bypass", "keep": ["I"], "bypass": ["I"]}, "'I' is both kept and bypassed"),
        ({"target": "Buffer", "type": "temporal", "remainders": 2}, "imperfect factors are not supported"),
        ({"target": "Buffer", "type": "temporal", "no_reuse": ["I"]}, "without reuse are not supported"),
        ({"target": "Buffer", "type": "max_overbooked_proportion", "proportion": 0.1}, "overbooking is not supported"),
    ],
)
def test_what_timeloop_files_get_wrong_is_named_with_its_line(fields, message):
    with pytest.raises(SpecError) as raised:
        timeloop(target(**fields))
    assert message in raised.value.problem
    assert (raised.value.where.file, raised.value.where.field.split(".")[0]) == ("in.yaml", "architecture_constraints")


def test_imperfect_factors_are_refused():
    with pytest.raises(UnsupportedError, match="template 'ruby' is not supported"):
        timeloop("mapspace: {template: ruby}\n")


def test_a_given_mapping_is_evaluated_whatever_the_constraints_say():
    spec = timeloop(target(target="Bufer", type="temporal"), mapping=True)
    assert spec.mapping is not None
    assert [w for w in spec.warnings if "what steers a search is ignored: 'Bufer' is not a storage level" in w]


# --- v0.4: constraints inside nodes

NODES = """\
architecture:
  version: 0.4
  nodes:
  - !Container {name: system, attributes: {technology: 45nm}}
  - !Component
    name: DRAM
    class: DRAM
    attributes: {width: 64, datawidth: 16}
    constraints: {temporal: {permutation: [P], factors_only: [C=2, R=3]}}
  - !Container
    name: PE
    spatial: {meshX: 4}
    constraints: {spatial: {factors: [R=1, P<=2], permutation: [P, C, R], split: 3}, temporal: {factors: [P=2]}}
  - !Component
    name: Buffer
    class: SRAM
    attributes: {depth: 64, width: 32, datawidth: 16}
    constraints:
      dataspace: {keep_only: [I]}
      temporal: {no_iteration_over_dataspaces: [W], default_max_factor: 4}
  - !Component
    name: MAC
    class: intmac
    attributes: {datawidth: 16}
"""


@pytest.fixture(scope="module")
def nodes():
    problem = TIMELOOP[TIMELOOP.index("problem:") : TIMELOOP.index("mapping:\n")]
    return parse(NODES + problem + "mapper: {version: 0.4, optimization_metrics: [delay, energy], timeout: 100}\n")


def test_nodes_constrain_their_own_level(nodes):
    assert nodes.constraints.at("DRAM").temporal == LoopConstraints(factors={"C": 2, "R": 3, "P": 1}, inner=("P",))
    assert (nodes.constraints.at("Buffer").keep, nodes.constraints.at("Buffer").bypass) == (("I",), ("W", "O"))
    buffer = nodes.constraints.at("Buffer").temporal
    assert (buffer.factors, buffer.at_most) == ({"C": 1, "R": 1}, {"P": 4, "R": 4, "C": 4})


def test_containers_constrain_the_fan_out_that_they_open(nodes):
    fan_out = nodes.constraints.at("inter_PE_spatial")
    assert fan_out.spatial == LoopConstraints(factors={"R": 1}, at_most={"P": 2}, inner=("R", "C", "P"), y=())
    assert fan_out.temporal.factors == {"P": 1, "R": 1, "C": 1}
    assert [w for w in nodes.warnings if "'PE' is a container; its temporal constraints are ignored" in w]


def test_the_first_metric_is_the_objective(nodes):
    assert nodes.objective == "latency"
    assert [w for w in nodes.warnings if "only the first metric counts; ignored: energy" in w]
    assert [w for w in nodes.warnings if "settings of another search are ignored: timeout" in w]


@pytest.mark.parametrize(
    ("metrics", "objective"),
    [("[edp]", "edp"), ("energy", "energy"), ("[]", None), ("[last-level-accesses]", None)],
)
def test_objectives_have_our_names(metrics, objective):
    assert timeloop(f"mapper: {{optimization-metrics: {metrics}}}\n").objective == objective


# --- complete inputs of searches

beside = pytest.mark.skipif(not PROBLEMS.is_dir(), reason="no mapper problems beside the repository")


@beside
@pytest.mark.parametrize("file", sorted(PROBLEMS.glob("*.yaml")), ids=lambda file: file.stem)
def test_search_inputs_are_read_and_come_back(file):
    spec = read([file])
    assert len(spec.constraints.levels) > 3
    spec.constraints.check(spec.workload, spec.architecture)
    assert parse(dump(spec)).constraints.levels == spec.constraints.levels


@beside
def test_spatial_targets_name_the_level_above_the_fan_out():
    spec = read([PROBLEMS / "resnet50_conv3x3__eyeriss__dense.yaml"])
    columns, rows = spec.constraints.at("shared_glb").spatial, spec.constraints.at("DummyBuffer").spatial
    assert spec.architecture.fanout("shared_glb") == (14, 1)
    assert spec.architecture.fanout("DummyBuffer") == (1, 12)
    assert (columns.x, columns.y) == (None, ())
    assert rows.y == ("M", "C", "S")
    assert rows.remaining == ("S",)
    assert spec.constraints.at("weights_spad").temporal.inner == ("R", "C", "S", "Q", "P", "M", "N")
