"""Reading ONNX files: shapes, dynamic axes, control flow, weights elsewhere, and everything that can be wrong with a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.workload.importers import read_network
from fiberloom.workload.importers.onnx import read, tensor_values
from fiberloom.workload.network import Kind, Role
from onnx_graphs import (
    BOOL,
    INT64,
    helper,
    info,
    model,
    network,
    node,
    numpy_helper,
    only,
    onnx,
    step,
    values,
    weights,
    written,
)

CONV = node("Conv", ["x", "w"], ["y"], name="stem")


def dense(**more: Any) -> Any:
    return model(
        [CONV], [info("x", ["batch", 3, "height", "width"])], [info("y", None)], [weights("w", 8, 3, 3, 3)], **more
    )


# Shapes


def test_dynamic_axes_are_bound_by_name(tmp_path: Path) -> None:
    assert network(tmp_path, dense(), {"batch": 2, "height": 10, "width": 12}).macs == 2 * 8 * 3 * 9 * 8 * 10


def test_axes_that_are_not_bound_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match=r"2 dynamic axes are not bound: 'height' \(x\[2\]\), 'width'.*\n.*dims={'height': 1"
    ):
        network(tmp_path, dense(), {"batch": 1})


def test_an_axis_that_the_file_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no dynamic axis 'hieght'\n.*did you mean 'height'"):
        network(tmp_path, dense(), {"batch": 1, "hieght": 10, "height": 10, "width": 10})


def test_the_batch_is_the_first_axis_whatever_that_is_called(tmp_path: Path) -> None:
    made = model([node("MatMul", ["x", "w"], ["y"])], [info("x", ["N", 4])], [info("y", None)], [weights("w", 4, 5)])
    assert network(tmp_path, made, {"batch": 7}).macs == 7 * 20
    fixed = model([node("MatMul", ["x", "w"], ["y"])], [info("x", [2, 4])], [info("y", None)], [weights("w", 4, 5)])
    assert network(tmp_path, fixed, {"batch": 2}).macs == 40
    with pytest.raises(SpecError, match="first axis of its inputs is 2, not a batch of 7"):
        network(tmp_path, fixed, {"batch": 7})


def test_axes_without_a_name_and_inputs_without_a_shape_are_bound_by_place(tmp_path: Path) -> None:
    made = model([CONV], [info("x", [None, 3, 10, 10])], [info("y", None)], [weights("w", 8, 3, 3, 3)])
    with pytest.raises(SpecError, match=r"'x\[0\]'"):
        network(tmp_path, made)
    assert network(tmp_path, made, {"x[0]": 4}).macs == network(tmp_path, made, {"x.0": 4}).macs == 4 * 8 * 3 * 9 * 64
    bare = model([CONV], [info("x", None)], [info("y", None)], [weights("w", 8, 3, 3, 3)])
    with pytest.raises(SpecError, match="inputs without a shape: 'x'"):
        network(tmp_path, bare)
    assert network(tmp_path, bare, {"x[0]": 1, "x[1]": 3, "x[2]": 10, "x[3]": 10}).macs == 8 * 3 * 9 * 64


def test_shapes_that_a_graph_computes_are_followed(tmp_path: Path) -> None:
    """x.view(batch, -1) as exporters write it, then a layer."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["b"]),
        node("Unsqueeze", ["b", "axes"], ["b1"]),
        node("Concat", ["b1", "rest"], ["to"], axis=0),
        node("Reshape", ["x", "to"], ["flat"]),
        node("MatMul", ["flat", "w"], ["y"]),
    ]
    stored = [values("zero", 0), values("axes", [0]), values("rest", [-1]), weights("w", 48, 5)]
    got = network(tmp_path, model(nodes, [info("x", ["n", 3, 4, 4])], [info("y", None)], stored), {"n": 6})
    assert only(got).einsum.shape == {"n": 6, "m": 5, "c": 48}
    assert [o.op for o in got.operators] == ["Reshape", "MatMul"]
    assert "4 nodes (" in got.notes[0]


def test_an_extent_that_depends_on_the_data_can_be_stated(tmp_path: Path) -> None:
    nodes = [
        node("NonZero", ["x"], ["at"], name="pick"),
        node("Cast", ["at"], ["f"], to=1),
        node("MatMul", ["w", "f"], ["y"]),
    ]
    made = model(nodes, [info("x", [4, 4])], [info("y", None)], [weights("w", 8, 2)])
    got = network(tmp_path, made)
    (product,) = (o for o in got.unknown if o.op == "MatMul")
    assert "extent 'at[1]', made by node 'pick' (NonZero), depends on the data" in product.note
    assert network(tmp_path, made, {"at[1]": 5}).macs == 8 * 2 * 5


def test_inputs_that_do_not_fit_name_the_node(tmp_path: Path) -> None:
    made = model(
        [node("MatMul", ["x", "w"], ["y"], name="fc")], [info("x", [2, 5])], [info("y", None)], [weights("w", 6, 7)]
    )
    with pytest.raises(SpecError, match=r"node 'fc' \(MatMul\): its inputs do not fit.*\n.*'x' \[2, 5\], 'w' \[6, 7\]"):
        network(tmp_path, made)


@pytest.mark.parametrize(
    ("op", "inputs", "attributes"),
    [("GatherND", ["x", "i"], {"batch_dims": -1}), ("Split", ["x"], {"num_outputs": 2}), ("Flatten", ["x"], {"axis": 9}),
     ("Relu", ["x"], {"strength": 2})],
)  # fmt: skip
def test_attributes_that_make_no_sense_name_the_node(
    tmp_path: Path, op: str, inputs: list[str], attributes: Any
) -> None:
    made = node(op, inputs, ["y"], name="odd", **attributes)
    with pytest.raises(SpecError, match=f"node 'odd' .{op}.: "):
        network(tmp_path, model([made], [info("x", [4, 4]), info("i", [1, 1], INT64)], [info("y", None)]))


def test_old_operator_sets_are_read(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Reshape", ["c", "to"], ["r"]), node("Gemm", ["r", "v", "b"], ["y"])]
    stored = [weights("w", 4, 3, 3, 3), values("to", [1, -1]), weights("v", 256, 10), weights("b", 10)]
    got = network(tmp_path, model(nodes, [info("x", [1, 3, 10, 10])], [info("y", None)], stored, opset=7))
    assert got.macs == 4 * 3 * 9 * 64 + 2560


# Operators


def test_other_operators_are_counted_as_what_they_are(tmp_path: Path) -> None:
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("MaxPool", ["a"], ["b"], kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", ["b"], ["c"]),
        node("Flatten", ["c"], ["d"]),
        node("LayerNormalization", ["d", "g"], ["e"]),
        node("Softmax", ["e"], ["f"]),
        node("ReduceSum", ["f"], ["y"]),
    ]
    got = network(tmp_path, model(nodes, [info("x", [1, 8, 16, 16])], [info("y", None)], [weights("g", 8)]))
    assert [(o.kind, o.operations) for o in got.operators] == [
        (Kind.ELEMENTWISE, 2048), (Kind.POOLING, 4 * 512), (Kind.POOLING, 512), (Kind.LAYOUT, 0),
        (Kind.NORMALISATION, 6 * 8), (Kind.SOFTMAX, 40), (Kind.REDUCTION, 8),
    ]  # fmt: skip


def test_an_unknown_operator_is_listed_with_its_share(tmp_path: Path) -> None:
    nodes = [node("Relu", ["x"], ["a"]), node("Magic", ["a"], ["b"], domain="mine"), node("Relu", ["b"], ["y"])]
    made = model(nodes, [info("x", [10, 10])], [info("y", None)], value_info=[info("b", [10, 20])])
    got = network(tmp_path, made)
    (magic,) = got.unknown
    assert magic.op == "mine.Magic"
    assert "operator 'Magic' of domain 'mine' is not known; it writes 200 elements, 40.0%" in magic.note


def test_after_an_unknown_operator_products_say_why_they_are_unknown(tmp_path: Path) -> None:
    nodes = [node("Magic", ["x"], ["a"], domain="mine", name="m"), node("MatMul", ["a", "w"], ["y"])]
    got = network(tmp_path, model(nodes, [info("x", [10, 10])], [info("y", None)], [weights("w", 10, 3)]))
    assert len(got.unknown) == 2
    assert "the shape of 'a', made by node 'm' (mine.Magic), is not known" in got.unknown[1].note


def test_nodes_that_no_output_needs_are_left_out_and_noted(tmp_path: Path) -> None:
    nodes = [node("Relu", ["x"], ["y"]), node("MatMul", ["x", "w"], ["z"])]
    got = network(tmp_path, model(nodes, [info("x", [4, 4])], [info("y", None)], [weights("w", 4, 4)]))
    assert got.macs == 0
    assert any("1 node (MatMul 1) left out: no output needs them" in note for note in got.notes)


def test_caches_are_states(tmp_path: Path) -> None:
    nodes = [node("Concat", ["past_key_values.0.key", "x"], ["present.0.key"], axis=1)]
    got = network(tmp_path, model(nodes, [info("past_key_values.0.key", [1, 7, 8]), info("x", [1, 1, 8])],
                                  [info("present.0.key", None)]))  # fmt: skip
    assert {t.name: t.role for t in got.tensors.values()} == {
        "past_key_values.0.key": Role.STATE, "x": Role.INPUT, "present.0.key": Role.STATE,
    }  # fmt: skip


def test_local_functions_are_looked_into(tmp_path: Path) -> None:
    opsets = [helper.make_opsetid("", 18)]
    body = [node("MatMul", ["a", "b"], ["m"]), node("Relu", ["m"], ["c"])]
    function = helper.make_function("mine", "Layer", ["a", "b"], ["c"], body,
                                    opsets)  # fmt: skip
    nodes = [node("Layer", ["x", "w"], ["h"], domain="mine"), node("Layer", ["h", "v"], ["y"], domain="mine")]
    made = model(
        nodes, [info("x", [2, 4])], [info("y", None)], [weights("w", 4, 5), weights("v", 5, 6)], functions=[function]
    )
    assert network(tmp_path, made).macs == 2 * 4 * 5 + 2 * 5 * 6


def test_functions_that_call_themselves_are_refused(tmp_path: Path) -> None:
    opsets = [helper.make_opsetid("mine", 1)]
    function = helper.make_function("mine", "F", ["a"], ["b"], [node("F", ["a"], ["b"], domain="mine")], opsets)
    made = model([node("F", ["x"], ["y"], domain="mine")], [info("x", [2])], [info("y", None)], functions=[function])
    with pytest.raises(SpecError, match="function 'F' calls itself"):
        network(tmp_path, made)


def test_functions_that_stand_for_too_many_nodes_are_refused(tmp_path: Path) -> None:
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]

    def calls(inner: str, domain: str) -> list[Any]:
        return [node(inner, [f"t{i}"], [f"t{i + 1}"], domain=domain) for i in range(10)]

    functions = [helper.make_function("mine", "F0", ["t0"], ["t10"], calls("Relu", ""), opsets)]
    functions += [
        helper.make_function("mine", f"F{n}", ["t0"], ["t10"], calls(f"F{n - 1}", "mine"), opsets) for n in range(1, 30)
    ]
    made = model([node("F29", ["x"], ["y"], domain="mine")], [info("x", [2])], [info("y", None)], functions=functions)
    with pytest.raises(UnsupportedError, match="its functions stand for"):
        network(tmp_path, made)


# Control flow


def branch(name: str, rows: int) -> Any:
    nodes = [node("MatMul", ["x", f"w{rows}"], [f"out_{name}"])]
    return helper.make_graph(nodes, name, [], [info(f"out_{name}", None)])


def choice(condition: list[Any], inputs: list[Any], stored: list[Any]) -> Any:
    made = node("If", ["c"], ["y"], name="fork", then_branch=branch("a", 6), else_branch=branch("b", 9))
    return model([*condition, made], [info("x", [2, 4]), *inputs], [info("y", None)],
                 [weights("w6", 4, 6), weights("w9", 4, 9), *stored])  # fmt: skip


def test_a_branch_whose_condition_follows_from_shapes_is_taken(tmp_path: Path) -> None:
    condition = [node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["n"]), node("Equal", ["n", "two"], ["c"])]
    got = network(tmp_path, choice(condition, [], [values("zero", 0), values("two", 2)]))
    assert got.macs == 2 * 4 * 6
    assert not got.unknown


def test_a_branch_that_depends_on_the_data_is_unknown_with_its_cost(tmp_path: Path) -> None:
    (fork,) = network(tmp_path, choice([], [info("c", [1], BOOL)], [])).unknown
    assert "which branch is taken depends on the data; the larger one has 1 nodes with 72 MACs" in fork.note
    assert set(fork.inputs) == {"c"}


def test_a_loop_is_unknown_with_the_cost_of_a_pass(tmp_path: Path) -> None:
    body = helper.make_graph(
        [node("MatMul", ["state", "w"], ["next"]), node("Identity", ["go"], ["on"])],
        "body",
        [info("i", [], INT64), info("go", [], BOOL), info("state", None)],
        [info("on", [], BOOL), info("next", None)],
    )
    nodes = [node("Loop", ["trips", "", "x"], ["h"], name="loop", body=body), node("MatMul", ["h", "w"], ["y"])]
    got = network(
        tmp_path, model(nodes, [info("x", [2, 4])], [info("y", None)], [weights("w", 4, 4), values("trips", 5)])
    )
    assert "one pass through its body has 2 nodes with 32 MACs and 0 other operations, 5 passes" in got.unknown[0].note
    assert got.macs == 32  # the product behind the loop: the state keeps its shape


def test_a_scan_knows_its_passes(tmp_path: Path) -> None:
    body = helper.make_graph(
        [node("Add", ["state", "row"], ["next"]), node("MatMul", ["next", "w"], ["out"])],
        "body", [info("state", None), info("row", None)], [info("next", None), info("out", None)],
    )  # fmt: skip
    nodes = [node("Scan", ["s", "x"], ["last", "y"], body=body, num_scan_inputs=1)]
    got = network(
        tmp_path, model(nodes, [info("s", [1, 4]), info("x", [7, 1, 4])], [info("y", None)], [weights("w", 4, 3)])
    )
    assert "12 MACs and 4 other operations, 7 passes" in got.unknown[0].note
    assert got.tensors["y"].shape == (7, 1, 3)


def test_deep_nesting_takes_no_longer_per_level(tmp_path: Path) -> None:
    inner = helper.make_graph([node("Relu", ["x"], ["o0"])], "g0", [], [info("o0", None)])
    for level in range(1, 25):
        fork = node("If", ["c"], [f"o{level}"], then_branch=inner, else_branch=helper.make_graph(
            [node("Identity", ["x"], [f"e{level}"])], f"e{level}", [], [info(f"e{level}", None)]))  # fmt: skip
        inner = helper.make_graph([fork], f"g{level}", [], [info(f"o{level}", None)])
    made = model(list(inner.node), [info("x", [4]), info("c", [], BOOL)], [info("o24", None)])
    assert len(network(tmp_path, made).unknown) == 1


# Order of nodes


def test_nodes_out_of_order_are_sorted(tmp_path: Path) -> None:
    made = model([node("Relu", ["a"], ["y"]), node("MatMul", ["x", "w"], ["a"])], [info("x", [2, 4])], [info("y", None)],
                 [weights("w", 4, 4)])  # fmt: skip
    assert [o.op for o in network(tmp_path, made).operators] == ["MatMul", "Relu"]


def test_a_cycle_is_named(tmp_path: Path) -> None:
    nodes = [
        node("Relu", ["c"], ["a"], name="one"),
        node("Relu", ["a"], ["b"], name="two"),
        node("Add", ["b", "x"], ["c"], name="three"),
    ]
    with pytest.raises(SpecError, match=r"3 nodes wait for one another: .*'one' → 'two' → 'three'"):
        network(tmp_path, model(nodes, [info("x", [2])], [info("c", None)]))


def test_names_that_nothing_makes_or_two_nodes_make(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"node 'r' .* its input 'nowhere' is made by no node"):
        network(tmp_path, model([node("Relu", ["nowhere"], ["y"], name="r")], [info("x", [2])], [info("y", None)]))
    twice = [node("Relu", ["x"], ["y"], name="r"), node("Neg", ["x"], ["y"], name="s")]
    with pytest.raises(SpecError, match="'y' is made twice, also by node 'r'"):
        network(tmp_path, model(twice, [info("x", [2])], [info("y", None)]))


# Files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\xff\x00garbage" * 50, "not a whole ONNX model"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"PK\x03\x04" + bytes(50), "zip archive"),
    ],
)
def test_what_is_no_model_is_said_to_be_none(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=message):
        read_network(str(path))


def test_a_file_that_is_cut_off_anywhere_is_refused_or_complete(tmp_path: Path) -> None:
    made = dense()
    whole, dims = written(tmp_path, made), {"batch": 1, "height": 10, "width": 10}
    content = whole.read_bytes()
    complete = read(whole, dims=dims).macs
    for end in range(1, len(content), 7):
        cut = tmp_path / "cut.onnx"
        cut.write_bytes(content[:end])
        try:
            assert read(cut, dims=dims).macs == complete
        except SpecError as error:
            assert "cut.onnx" in str(error)


def test_initializers_of_another_size_than_their_shape_are_refused(tmp_path: Path) -> None:
    made = dense()
    made.graph.initializer[0].raw_data = made.graph.initializer[0].raw_data[:-8]
    with pytest.raises(SpecError, match=r"initializer 'w': 856 bytes of values; shape \[8, 3, 3, 3\] needs 864"):
        network(tmp_path, made)


def external(folder: Path, *, kept: int | None = None) -> Path:
    made = dense()
    path = folder / "model.onnx"
    onnx.save_model(made, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    if kept is not None:
        content = (folder / "weights.bin").read_bytes()
        (folder / "weights.bin").write_bytes(content[:kept])
    return path


def test_weights_in_a_file_of_their_own(tmp_path: Path) -> None:
    dims = {"batch": 1, "height": 10, "width": 10}
    path = external(tmp_path)
    assert not read(path, dims=dims).notes
    assert dict(tensor_values(path))["w"].sum() == 216
    (tmp_path / "weights.bin").unlink()
    got = read(path, dims=dims)
    assert got.macs == 8 * 3 * 9 * 64
    assert got.notes == ("the file of weights 'weights.bin' is missing (1 tensors): shapes are known, values are not",)
    with pytest.raises(SpecError, match=r"initializer 'w': its values are in 'weights.bin', which is missing"):
        dict(tensor_values(path))


def test_a_file_of_weights_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"initializer 'w': its values end at byte .* of 'weights.bin', which has 100"):
        read(external(tmp_path, kept=100), dims={"batch": 1, "height": 10, "width": 10})


def test_weights_outside_the_models_folder_are_not_opened(tmp_path: Path) -> None:
    path = external(tmp_path)
    made = onnx.load_model(str(path), load_external_data=False)
    made.graph.initializer[0].external_data[0].value = "../secrets"
    with pytest.raises(SpecError, match="weights lie in the model's folder"):
        network(tmp_path, made, {"batch": 1, "height": 10, "width": 10})


def test_values_that_are_no_numbers_name_their_tensor(tmp_path: Path) -> None:
    broken = np.ones((8, 3, 3, 3), np.float32)
    broken[0, 0] = np.nan
    made = model([CONV], [info("x", [1, 3, 9, 9])], [info("y", None)], [numpy_helper.from_array(broken, "w")])
    path = written(tmp_path, made)
    assert read(path).macs == 8 * 27 * 49
    with pytest.raises(SpecError, match=r"initializer 'w': 9 of its 216 values are not numbers \(NaN\)"):
        dict(tensor_values(path))


def test_sparse_initializers_bring_their_density(tmp_path: Path) -> None:
    made = model([node("MatMul", ["x", "w"], ["y"])], [info("x", [2, 4])], [info("y", None)])
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("w", 1, [3], [1.0, 2.0, 3.0]), helper.make_tensor("", INT64, [3], [0, 5, 9]), [4, 5]
    )
    made.graph.sparse_initializer.append(sparse)
    got = network(tmp_path, made)
    assert got.tensors["w"].density == 3 / 20
    assert np.count_nonzero(dict(tensor_values(tmp_path / "model.onnx"))["w"]) == 3


def test_a_graph_without_nodes_or_outputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="has no nodes"):
        network(tmp_path, model([], [info("x", [2])], [info("x", [2])]))
    with pytest.raises(SpecError, match="has no outputs"):
        network(tmp_path, model([node("Relu", ["x"], ["y"])], [info("x", [2])], []))


def test_ten_thousand_nodes_report_progress_and_take_little_time(tmp_path: Path) -> None:
    nodes = [node("Relu", [f"t{i}" if i else "x"], [f"t{i + 1}"]) for i in range(20_000)]
    seen: list[tuple[int, int]] = []
    got = read(
        written(tmp_path, model(nodes, [info("x", [4])], [info("t20000", None)])), progress=lambda *at: seen.append(at)
    )
    assert sum(o.operations for o in got.operators) == 80_000
    assert seen == [(0, 20_000), (10_000, 20_000), (20_000, 20_000)]


def test_softmax_reads_its_shape_from_the_input(tmp_path: Path) -> None:
    got = network(tmp_path, model([node("Softmax", ["x"], ["y"])], [info("x", ["n", 10])], [info("y", None)]), {"n": 3})
    assert step(got, "Softmax").operations == 150
