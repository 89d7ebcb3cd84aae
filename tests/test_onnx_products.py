"""Products in ONNX files become the Einsums of the field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fiberloom.workload import layers
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.network import Kind, Network, Role, signature
from onnx_graphs import INT8, INT64, UINT8, info, model, network, node, only, step, values, weights


def one(
    folder: Path, op: str, shapes: dict[str, Any], stored: list[Any], *, out: Any = None, **attributes: Any
) -> Network:
    names = [*shapes, *(t.name for t in stored)]
    domain = attributes.pop("domain", "")
    made = node(op, names, ["y"], name="it", domain=domain, **attributes)
    return network(folder, model([made], [info(n, s) for n, s in shapes.items()], [info("y", out)], stored))


def test_a_convolution_has_stride_and_dilation_and_its_weights_are_parameters(tmp_path: Path) -> None:
    read = one(tmp_path, "Conv", {"x": [2, 8, 32, 30]}, [weights("w", 16, 8, 3, 5), weights("b", 16)],
               strides=[2, 1], dilations=[1, 2], pads=[1, 4, 1, 4])  # fmt: skip
    einsum = layers.convolution_nd("", outputs=16, inputs=8, extents=(16, 30), kernel=(3, 5), stride=(2, 1),
                                   dilation=(1, 2), batch=2)  # fmt: skip
    assert signature(only(read).einsum) == signature(einsum)
    assert only(read).operands == {"W": "w", "I": "x", "O": "y"}
    assert read.macs == 2 * 16 * 8 * 16 * 30 * 15
    assert read.tensors["w"].role is Role.PARAMETER
    assert read.parameters == 16 * 8 * 15


@pytest.mark.parametrize(("pad", "rows"), [("SAME_UPPER", 16), ("SAME_LOWER", 16), ("VALID", 15)])
def test_automatic_padding_decides_about_the_output(tmp_path: Path, pad: str, rows: int) -> None:
    read = one(tmp_path, "Conv", {"x": [1, 3, 32, 32]}, [weights("w", 4, 3, 3, 3)], auto_pad=pad, strides=[2, 2])
    assert read.macs == 4 * 3 * 9 * rows * rows


def test_a_depthwise_convolution_has_no_filters_of_its_own(tmp_path: Path) -> None:
    read = one(tmp_path, "Conv", {"x": [1, 8, 16, 16]}, [weights("w", 8, 1, 3, 3)], group=8)
    assert only(read).einsum.shape == {"c": 8, "p": 14, "q": 14, "r": 3, "s": 3}


def test_a_grouped_convolution_has_g_in_all_tensors(tmp_path: Path) -> None:
    read = one(tmp_path, "Conv", {"x": [1, 8, 16, 16]}, [weights("w", 12, 2, 1, 1)], group=4)
    assert all("g" in t.variables for t in only(read).einsum.tensors)
    assert only(read).einsum.shape | {} == {"g": 4, "m": 3, "c": 2, "p": 16, "q": 16, "r": 1, "s": 1}


def test_convolutions_of_sequences_and_volumes(tmp_path: Path) -> None:
    assert one(tmp_path, "Conv", {"x": [1, 4, 100]}, [weights("w", 6, 4, 5)]).macs == 6 * 4 * 96 * 5
    assert one(tmp_path, "Conv", {"x": [1, 4, 8, 8, 8]}, [weights("w", 6, 4, 3, 3, 3)]).macs == 6 * 4 * 6**3 * 27


def test_a_transposed_convolution_counts_every_input_element_once_per_weight(tmp_path: Path) -> None:
    read = one(tmp_path, "ConvTranspose", {"x": [1, 8, 10, 10]}, [weights("w", 8, 4, 4, 4)], strides=[2, 2])
    einsum = layers.transposed_convolution("", outputs=4, inputs=8, extents=(10, 10), kernel=4, stride=2)
    assert signature(only(read).einsum) == signature(einsum)
    assert read.tensors["y"].shape == (1, 4, 22, 22)


def test_a_product_by_constant_weights_is_a_fully_connected_layer_over_all_tokens(tmp_path: Path) -> None:
    read = one(tmp_path, "MatMul", {"x": [2, 7, 64]}, [weights("w", 64, 32)])
    assert str(only(read).einsum) == "O[n, m] = W[c, m] * I[n, c]"
    assert only(read).einsum.shape == {"n": 14, "m": 32, "c": 64}


def test_weights_on_the_left_are_weights(tmp_path: Path) -> None:
    made = model([node("MatMul", ["w", "x"], ["y"])], [info("x", [64, 5])], [info("y", None)], [weights("w", 32, 64)])
    operator = only(network(tmp_path, made))
    assert operator.einsum.shape == {"n": 5, "m": 32, "c": 64}
    assert operator.operands == {"W": "w", "I": "x", "O": "y"}


@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm_with_weights_either_way_round(tmp_path: Path, transposed: int) -> None:
    shape = (10, 64) if transposed else (64, 10)
    read = one(tmp_path, "Gemm", {"x": [4, 64]}, [weights("w", *shape), weights("b", 10)], transB=transposed)
    assert only(read).einsum.shape == {"n": 4, "m": 10, "c": 64}
    assert only(read).einsum.tensor_shape("W") == shape


@pytest.mark.parametrize("turns", [0, 1, 2])
@pytest.mark.parametrize("op", ["MatMul", "Gemm", "Einsum"])
def test_square_weights_keep_the_order_in_which_they_are_stored(tmp_path: Path, op: str, turns: int) -> None:
    nodes = [node("Transpose", [f"w{i}"], [f"w{i + 1}"]) for i in range(turns)]
    attributes = {"MatMul": {}, "Gemm": {"transB": 1}, "Einsum": {"equation": "nc,mc->nm"}}[op]
    nodes.append(node(op, ["x", f"w{turns}"], ["y"], **attributes))
    read = network(tmp_path, model(nodes, [info("x", [3, 64])], [info("y", None)], [weights("w0", 64, 64)]))
    inputs_first = (op == "MatMul") != (turns == 1)
    assert only(read).operands["W"] == "w0"
    assert str(only(read).einsum.tensor("W")) == ("W[c, m]" if inputs_first else "W[m, c]")


def test_weights_that_a_graph_transposes_are_the_stored_ones(tmp_path: Path) -> None:
    nodes = [node("Transpose", ["w"], ["wt"], perm=[1, 0]), node("MatMul", ["x", "wt"], ["y"])]
    read = network(tmp_path, model(nodes, [info("x", [3, 64])], [info("y", None)], [weights("w", 10, 64)]))
    assert only(read).operands["W"] == "w"
    assert read.tensors["w"].shape == (10, 64)
    assert [o.op for o in read.operators] == ["MatMul"]
    assert "1 node (Transpose 1) computed before any run" in read.notes[0]


def test_a_product_of_activations_has_one_batch(tmp_path: Path) -> None:
    read = one(tmp_path, "MatMul", {"a": [2, 3, 5, 7], "b": [2, 3, 7, 4]}, [])
    assert str(only(read).einsum) == "O[b, i, j] = A[b, i, k] * B[b, k, j]"
    assert only(read).einsum.shape == {"b": 6, "i": 5, "j": 4, "k": 7}


def test_a_batch_that_one_operand_lacks_is_more_rows(tmp_path: Path) -> None:
    assert only(one(tmp_path, "MatMul", {"a": [6, 5, 7], "b": [7, 4]}, [])).einsum.shape == {"i": 30, "j": 4, "k": 7}
    both = one(tmp_path, "MatMul", {"a": [2, 3, 5, 7], "b": [2, 1, 7, 4]}, [])
    assert both.macs == 2 * 3 * 5 * 7 * 4
    assert only(both).einsum.tensor_shape("B") == (2, 7, 4)


def test_vectors_are_matrices_of_one_row_or_column(tmp_path: Path) -> None:
    assert one(tmp_path, "MatMul", {"a": [7], "b": [3, 7, 4]}, []).macs == 3 * 7 * 4
    assert one(tmp_path, "MatMul", {"a": [5, 7], "b": [7]}, []).macs == 35


@pytest.mark.parametrize(
    ("equation", "shapes", "same"),
    [
        ("ij,jk->ik", [(3, 4), (4, 5)], "O[i,j] = A[i,k] * B[k,j]"),
        ("bhid,bhjd->bhij", [(2, 3, 5, 7), (2, 3, 6, 7)], "S[h,i,j] = Q[h,i,d] * K[h,j,d]"),
        ("...id,...jd->...ij", [(2, 3, 5, 7), (2, 3, 6, 7)], "S[h,i,j] = Q[h,i,d] * K[h,j,d]"),
        ("bghid,bgjd->bghij", [(2, 3, 4, 5, 7), (2, 3, 6, 7)], "S[g,h,i,j] = Q[g,h,i,d] * K[g,j,d]"),
        ("ij,jk", [(3, 4), (4, 5)], "O[i,j] = A[i,k] * B[k,j]"),
        ("ikl,kj,lj->ij", [(3, 4, 5), (4, 6), (5, 6)], "A[i,j] = B[i,k,l] * C[k,j] * D[l,j]"),
    ],
)
def test_equations(tmp_path: Path, equation: str, shapes: list[tuple[int, ...]], same: str) -> None:
    names = [f"x{i}" for i in range(len(shapes))]
    made = model(
        [node("Einsum", names, ["y"], equation=equation)],
        [info(n, s) for n, s in zip(names, shapes, strict=True)],
        [info("y", None)],
    )
    operator = only(network(tmp_path, made))
    sizes = {"i": 5, "j": 6, "d": 7} | ({"h": 6} if "g" not in same else {"g": 6, "h": 4})
    if "d" not in same:
        sizes = {"i": 3, "k": 4, "j": 5} if "l" not in same else {"i": 3, "k": 4, "l": 5, "j": 6}
    assert signature(operator.einsum) == signature(Einsum.parse(same, sizes))


def test_an_equation_that_only_moves_or_sums_is_not_a_product(tmp_path: Path) -> None:
    def kind(equation: str, *shapes: tuple[int, ...]) -> tuple[Kind, int]:
        names = [f"x{i}" for i in range(len(shapes))]
        inputs = [info(n, s) for n, s in zip(names, shapes, strict=True)]
        read = network(tmp_path, model([node("Einsum", names, ["y"], equation=equation)], inputs, [info("y", None)]))
        return read.operators[0].kind, read.operators[0].operations

    assert kind("ij->ji", (3, 4)) == (Kind.LAYOUT, 0)
    assert kind("ij->i", (3, 4)) == (Kind.REDUCTION, 12)
    assert kind("ij,ij->ij", (3, 4), (3, 4)) == (Kind.ELEMENTWISE, 12)


def test_a_diagonal_is_unknown_with_the_reason(tmp_path: Path) -> None:
    made = model([node("Einsum", ["x"], ["y"], equation="ii->i")], [info("x", [4, 4])], [info("y", [4])])
    (operator,) = network(tmp_path, made).unknown
    assert "diagonal" in operator.note


def test_a_quantised_convolution_brings_its_integers(tmp_path: Path) -> None:
    scale = [values(n, 0.1, np.float32) for n in ("xs", "ws", "ys")]
    zeros = [values("xz", 0, np.uint8), values("wz", 0, np.int8), values("yz", 0, np.uint8)]
    stored = [*scale, *zeros, weights("w", 16, 8, 3, 3, kind=np.int8), weights("b", 16, kind=np.int32)]
    made = node("QLinearConv", ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["y"], pads=[1, 1, 1, 1])
    read = network(tmp_path, model([made], [info("x", [1, 8, 14, 14], UINT8)], [info("y", None, UINT8)], stored))
    operator = only(read)
    assert operator.macs == 16 * 8 * 9 * 14 * 14
    assert {t.name: t.word_bits for t in read.resolved(operator).tensors} == {"W": 8, "I": 8, "O": 8}
    assert read.tensors["w"].number_format == "int8"
    assert read.tensors["w"].role is Role.PARAMETER


def test_a_product_between_dequantisations_takes_the_integers(tmp_path: Path) -> None:
    stored = [values("s", 0.1, np.float32), values("z", 0, np.int8), weights("w", 64, 32, kind=np.int8)]
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        node("DequantizeLinear", ["xq", "s", "z"], ["xf"]),
        node("DequantizeLinear", ["w", "s", "z"], ["wf"]),
        node("MatMul", ["xf", "wf"], ["yf"]),
        node("QuantizeLinear", ["yf", "s", "z"], ["y"]),
    ]
    read = network(tmp_path, model(nodes, [info("x", [4, 64])], [info("y", None, INT8)], stored))
    assert only(read).operands == {"W": "w", "I": "xq", "O": "y"}
    assert {t.word_bits for t in read.resolved(only(read)).tensors} == {8}
    assert sum(o.operations for o in read.operators if o.op == "DequantizeLinear") == 0


def test_weights_that_are_quantised_and_back_are_kept_as_integers(tmp_path: Path) -> None:
    stored = [values("s", 0.1, np.float32), values("z", 0, np.int8), weights("w", 300, 300)]
    nodes = [
        node("QuantizeLinear", ["w", "s", "z"], ["wq"]),
        node("DequantizeLinear", ["wq", "s", "z"], ["wf"]),
        node("MatMul", ["x", "wf"], ["y"]),
    ]
    read = network(tmp_path, model(nodes, [info("x", [4, 300])], [info("y", None)], stored))
    assert (read.tensors["w"].number_format, read.tensors["w"].bits) == ("int8", 8)


@pytest.mark.parametrize("op", ["MatMulInteger", "QLinearMatMul"])
def test_integer_products(tmp_path: Path, op: str) -> None:
    stored = [values(n, 0.1, np.float32) for n in "spq"] + [values("z", 0, np.int8), weights("w", 64, 32, kind=np.int8)]
    names = ["x", "w"] if op == "MatMulInteger" else ["x", "s", "z", "w", "p", "z", "q", "z"]
    read = network(
        tmp_path, model([node(op, names, ["y"])], [info("x", [4, 64], INT8)], [info("y", None, INT8)], stored)
    )
    assert read.macs == 4 * 64 * 32
    assert read.tensors["y"].number_format == ("int32" if op == "MatMulInteger" else "int8")


def test_four_bit_weights_have_four_bits(tmp_path: Path) -> None:
    stored = [weights("w", 32, 2, 16, kind=np.uint8), weights("s", 64)]
    made = node("MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", K=64, N=32, bits=4, block_size=32)
    read = network(tmp_path, model([made], [info("x", [1, 5, 64])], [info("y", None)], stored))
    assert only(read).einsum.shape == {"n": 5, "m": 32, "c": 64}
    assert (read.tensors["w"].shape, read.tensors["w"].bits) == ((32, 64), 4)
    assert read.tensors["y"].shape == (1, 5, 32)


def test_a_recurrent_layer_is_a_product_over_all_steps_and_one_per_step(tmp_path: Path) -> None:
    stored = [weights("w", 2, 64, 10), weights("r", 2, 64, 16)]
    made = node("LSTM", ["x", "w", "r"], ["y"], name="lstm", hidden_size=16, direction="bidirectional")
    read = network(tmp_path, model([made], [info("x", [7, 3, 10])], [info("y", None)], stored))
    first, second = read.einsums
    assert (first.einsum.shape, first.count) == ({"n": 21, "m": 64, "c": 10}, 2)
    assert (second.einsum.shape, second.count) == ({"n": 3, "m": 64, "c": 16}, 14)
    assert read.macs == 2 * 7 * 3 * 64 * (10 + 16)
    assert step(read, "LSTM gates").operations == 21 * 2 * 7 * 3 * 16


def test_an_empty_operand_computes_nothing(tmp_path: Path) -> None:
    read = one(tmp_path, "MatMul", {"a": [0, 7], "b": [7, 4]}, [])
    assert read.macs == 0
    assert read.operators[0].kind is Kind.LAYOUT
    assert "without elements" in read.operators[0].note


def test_constants_of_plain_integers_are_not_parameters(tmp_path: Path) -> None:
    stored = [values("rows", [[0, 1, 2]]), weights("table", 10, 4)]
    made = model([node("Gather", ["table", "rows"], ["e"]), node("Add", ["e", "x"], ["y"])],
                 [info("x", [1, 3, 4])], [info("y", None)], stored)  # fmt: skip
    read = network(tmp_path, made)
    assert read.parameters == 40
    assert read.tensors["rows"].role is Role.CONSTANT
    assert [o.kind for o in read.operators] == [Kind.LOOKUP, Kind.ELEMENTWISE]
    ids = model([node("Gather", ["table", "x"], ["y"])], [info("x", [1, 3], INT64)], [info("y", None)], stored)
    assert network(tmp_path, ids).operators[0].kind is Kind.LOOKUP
    assert network(tmp_path, ids).parameters == 40
