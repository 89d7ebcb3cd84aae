"""MLIR's linalg and affine dialects become a network, and say why where they can't."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from fiberloom.errors import MissingExtraError, SpecError, UnsupportedError
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.importers import read_network
from fiberloom.workload.importers.mlir import read_text
from fiberloom.workload.importers.mlir_affine import affine_map
from fiberloom.workload.importers.mlir_program import number_format
from fiberloom.workload.layers import batched_product, convolution, convolution_nd, fully_connected
from fiberloom.workload.network import Kind, Network, Operator, Role, signature

Shape = tuple[int, ...]


def tensor(shape: Shape, element: str = "f32") -> str:
    return f"tensor<{''.join(f'{e}x' for e in shape)}{element}>"


def named(
    operation: str, inputs: Sequence[Shape], output: Shape, attributes: str = "", element: str = "f32", extra: str = ""
) -> str:
    types = [tensor(s, element) for s in inputs]
    made = tensor(output, element)
    names = [f"%a{i}" for i in range(len(inputs))]
    arguments = ", ".join(f"{n}: {t}" for n, t in zip(names, types, strict=True))
    return (
        f"func.func @main({arguments}, %o: {made}) -> {made} {{\n"
        f"  %r = linalg.{operation} {attributes} ins({', '.join(names)} : {', '.join(types)}) outs(%o : {made}){extra} -> {made}\n"
        f"  return %r : {made}\n}}\n"
    )


def only(text: str) -> Operator:
    pytest.importorskip("xdsl")
    network = read_text(text, "f.mlir")
    assert len(network.operators) == 1
    return network.operators[0]


def only_einsum(text: str) -> Einsum:
    einsum = only(text).einsum
    assert einsum is not None
    return einsum


STEPS = "{dilations = dense<2> : tensor<2xi64>, strides = dense<[2, 1]> : tensor<2xi64>}"
PLAIN = {"outputs": 8, "inputs": 3, "rows": 4, "columns": 5, "kernel": 3, "stride": (2, 1), "dilation": 2}


@pytest.mark.parametrize(
    ("operation", "inputs", "output", "expected"),
    [
        ("matmul", [(4, 8), (8, 16)], (4, 16), fully_connected("m", outputs=16, inputs=8, batch=4)),
        ("matvec", [(4, 8), (8,)], (4,), fully_connected("m", outputs=4, inputs=8)),
        ("vecmat", [(8,), (8, 4)], (4,), fully_connected("m", outputs=4, inputs=8)),
        ("dot", [(8,), (8,)], (), fully_connected("m", outputs=1, inputs=8)),
        ("batch_matmul", [(2, 4, 8), (2, 8, 16)], (2, 4, 16), batched_product("m", rows=4, columns=16, depth=8, batch=2)),
        ("batch_vecmat", [(2, 8), (2, 8, 4)], (2, 4), batched_product("m", rows=1, columns=4, depth=8, batch=2)),
        ("batch_matmul_transpose_b", [(2, 4, 8), (2, 16, 8)], (2, 4, 16), batched_product("m", rows=4, columns=16, depth=8, batch=2)),
        ("conv_2d", [(9, 9), (3, 3)], (7, 7), convolution("m", outputs=1, inputs=1, rows=7, kernel=3)),
        (
            "conv_1d_ncw_fcw", [(2, 3, 9), (8, 3, 3)], (2, 8, 7),
            convolution_nd("m", outputs=8, inputs=3, extents=[7], kernel=3, batch=2),
        ),
        (
            "conv_3d_ndhwc_dhwcf", [(1, 9, 9, 9, 2), (3, 3, 3, 2, 4)], (1, 7, 7, 7, 4),
            convolution_nd("m", outputs=4, inputs=2, extents=[7, 7, 7], kernel=3),
        ),
    ],
)  # fmt: skip
def test_named_contractions_are_the_canonical_einsums(
    operation: str, inputs: list[Shape], output: Shape, expected: Einsum
) -> None:
    assert signature(only_einsum(named(operation, inputs, output))) == signature(expected)


@pytest.mark.parametrize(
    ("layouts", "image", "kernel", "output", "groups"),
    [
        ("nchw_fchw", (2, 3, 11, 9), (8, 3, 3, 3), (2, 8, 4, 5), 1),
        ("nhwc_hwcf", (2, 11, 9, 3), (3, 3, 3, 8), (2, 4, 5, 8), 1),
        ("nhwc_fhwc", (2, 11, 9, 3), (8, 3, 3, 3), (2, 4, 5, 8), 1),
        ("ngchw_fgchw", (2, 2, 3, 11, 9), (8, 2, 3, 3, 3), (2, 2, 8, 4, 5), 2),
        ("ngchw_gfchw", (2, 2, 3, 11, 9), (2, 8, 3, 3, 3), (2, 2, 8, 4, 5), 2),
        ("nhwgc_gfhwc", (2, 11, 9, 2, 3), (2, 8, 3, 3, 3), (2, 4, 5, 2, 8), 2),
    ],
)
def test_layouts_of_convolutions_make_no_difference(
    layouts: str, image: Shape, kernel: Shape, output: Shape, groups: int
) -> None:
    expected = convolution(
        "c", outputs=8 * groups, inputs=3 * groups, rows=4, columns=5, kernel=3, stride=(2, 1), dilation=2, groups=groups, batch=2
    )  # fmt: skip
    assert signature(only_einsum(named(f"conv_2d_{layouts}", [image, kernel], output, STEPS))) == signature(expected)


def test_a_depthwise_convolution_keeps_its_channel_in_all_tensors() -> None:
    made = only_einsum(named("depthwise_conv_2d_nhwc_hwc", [(1, 11, 9, 3), (3, 3, 3)], (1, 4, 5, 3), STEPS))
    assert str(made) == "O[c, p, q] = W[c, r, s] * I[c, 2*p+2*r, q+2*s]"
    multiplied = only_einsum(
        named("depthwise_conv_2d_nhwc_hwcm", [(1, 11, 9, 3), (3, 3, 3, 2)], (1, 4, 5, 3, 2), STEPS)
    )
    assert multiplied.macs == 2 * made.macs


def test_elementwise_pooling_and_softmax_count_their_operations() -> None:
    relu = only(named("max", [(4, 8), (4, 8)], (4, 8)))
    assert (relu.kind, relu.operations) == (Kind.ELEMENTWISE, 32)
    window = "{dilations = dense<1> : tensor<2xi64>, strides = dense<3> : tensor<2xi64>}"
    pool = only(named("pooling_nhwc_max", [(1, 9, 9, 4), (3, 3)], (1, 3, 3, 4), window))
    assert (pool.kind, pool.operations) == (Kind.POOLING, 36 * 8)
    softmax = only(named("softmax", [(4, 8)], (4, 8), "dimension(1)"))
    assert (softmax.kind, softmax.operations) == (Kind.SOFTMAX, 5 * 32)


def test_an_operation_that_is_not_known_is_listed_with_its_line() -> None:
    made = only(named("frobnicate", [(4, 8)], (4, 8)))
    assert made.kind is Kind.UNKNOWN
    assert made.note == "line 2: 'linalg.frobnicate' is not known"


def test_operations_of_unknown_dialects_do_not_stop_the_file() -> None:
    pytest.importorskip("xdsl")
    text = """func.func @main(%a: tensor<4x8xf32>) -> tensor<4x8xf32> {
      %0 = tosa.sin %a : (tensor<4x8xf32>) -> tensor<4x8xf32>
      %1 = mine.op %0, %a {x = 1 : i64} : tensor<4x8xf32>
      %2 = linalg.exp ins(%1 : tensor<4x8xf32>) outs(%a : tensor<4x8xf32>) -> tensor<4x8xf32>
      return %2 : tensor<4x8xf32>
    }"""
    network = read_text(text, "f.mlir")
    assert [(o.op, o.kind) for o in network.operators] == [
        ("tosa.sin", Kind.UNKNOWN), ("mine.op", Kind.UNKNOWN), ("linalg.exp", Kind.ELEMENTWISE),
    ]  # fmt: skip
    assert "lower it to linalg" in network.operators[0].note


# linalg.generic

PRODUCT = named("matmul", [(4, 8), (8, 16)], (4, 16))
MULTIPLY_ADD = "%p = arith.mulf %x, %y : f32\n %s = arith.addf %z, %p : f32\n linalg.yield %s : f32"
MATMUL = ("(m, n, k) -> (m, k)", "(m, n, k) -> (k, n)", "(m, n, k) -> (m, n)")
REDUCE_K = ("parallel", "parallel", "reduction")


def generic(
    maps: Sequence[str] = MATMUL,
    kinds: Sequence[str] = REDUCE_K,
    body: str = MULTIPLY_ADD,
    shapes: Sequence[Shape] = ((4, 8), (8, 16), (4, 16)),
) -> str:
    left, right, out = (tensor(s) for s in shapes)
    traits = ", ".join(f"affine_map<{m}>" for m in maps)
    iterators = ", ".join(f'"{k}"' for k in kinds)
    return (
        f"func.func @main(%a: {left}, %b: {right}, %c: {out}) -> {out} {{\n"
        f"%0 = linalg.generic {{indexing_maps = [{traits}], iterator_types = [{iterators}]}} "
        f"ins(%a, %b : {left}, {right}) outs(%c : {out}) {{\n^bb0(%x: f32, %y: f32, %z: f32):\n {body}\n}} -> {out}\n"
        f"return %0 : {out}\n}}"
    )


def test_a_generic_product_is_fully_connected() -> None:
    assert signature(only_einsum(generic())) == signature(fully_connected("m", outputs=16, inputs=8, batch=4))


def test_loops_that_are_neighbours_in_every_tensor_are_one() -> None:
    maps = ("(b, t, n, k) -> (b, t, k)", "(b, t, n, k) -> (k, n)", "(b, t, n, k) -> (b, t, n)")
    text = generic(maps, ("parallel", *REDUCE_K), shapes=((2, 6, 8), (8, 16), (2, 6, 16)))
    assert only_einsum(text).shape == {"n": 12, "m": 16, "c": 8}


def test_a_tensor_contraction_keeps_its_ranks() -> None:
    maps = ("(a, b, c, d) -> (a, d, b)", "(a, b, c, d) -> (d, c)", "(a, b, c, d) -> (c, a, b)")
    text = generic(maps, ("parallel", "parallel", "parallel", "reduction"), shapes=((3, 5, 4), (5, 7), (7, 3, 4)))
    made = only_einsum(text)
    assert str(made) == "O[d2, d0, d1] = A[d0, d3, d1] * B[d3, d2]"
    assert made.macs == 3 * 4 * 7 * 5


def test_an_affine_window_is_a_convolution() -> None:
    maps = ("(p, m, r, c) -> (p * 2 + r * 3, c)", "(p, m, r, c) -> (r, c, m)", "(p, m, r, c) -> (p, m)")
    kinds = ("parallel", "parallel", "reduction", "reduction")
    text = generic(maps, kinds, shapes=((19, 3), (3, 3, 8), (7, 8)))
    assert str(only_einsum(text)) == "O[m, p] = W[m, c, r] * I[c, 2*p+3*r]"


def test_integers_are_extended_before_they_are_multiplied() -> None:
    text = """func.func @main(%a: tensor<4x8xi8>, %b: tensor<8x16xi8>, %c: tensor<4x16xi32>) -> tensor<4x16xi32> {
      %0 = linalg.generic {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>,
        affine_map<(m, n, k) -> (m, n)>], iterator_types = ["parallel", "parallel", "reduction"]}
        ins(%a, %b : tensor<4x8xi8>, tensor<8x16xi8>) outs(%c : tensor<4x16xi32>) {
      ^bb0(%x: i8, %y: i8, %z: i32):
        %e = arith.extsi %x : i8 to i32
        %f = arith.extsi %y : i8 to i32
        %p = arith.muli %e, %f : i32
        %s = arith.addi %p, %z : i32
        linalg.yield %s : i32
      } -> tensor<4x16xi32>
      return %0 : tensor<4x16xi32>
    }"""
    pytest.importorskip("xdsl")
    network = read_text(text, "f.mlir")
    assert network.macs == 4 * 16 * 8
    assert {n: t.number_format for n, t in network.tensors.items()} == {
        "%a": "int8", "%b": "int8", "%c": "int32", "%0": "int32",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "kind", "why"),
    [
        (
            generic(body="%p = arith.addf %x, %y : f32\n %s = arith.maximumf %z, %p : f32\n linalg.yield %s : f32"),
            Kind.REDUCTION, "it ends in 'arith.maximumf', not in an addition to the output",
        ),
        (
            generic(body="%p = arith.mulf %x, %y : f32\n linalg.yield %p : f32"),
            Kind.REDUCTION, "not in an addition to the output",
        ),
        (
            generic(body="%p = arith.mulf %x, %x : f32\n %s = arith.addf %z, %p : f32\n linalg.yield %s : f32"),
            Kind.REDUCTION, "an input is multiplied by itself",
        ),
        (
            generic(body="%e = math.exp %x : f32\n" + MULTIPLY_ADD.replace("%x", "%e")),
            Kind.REDUCTION, "a factor is computed by 'math.exp'",
        ),
        (
            generic(maps=(MATMUL[0], MATMUL[1], "(m, n, k) -> (m, n floordiv 1)")),
            Kind.REDUCTION, "floordiv, which is no affine index of an Einsum",
        ),
        (generic(kinds=("parallel", "reduction", "reduction")), Kind.REDUCTION, "the output is indexed by d1, which reduces"),
        (generic(kinds=("parallel", "parallel", "window")), Kind.UNKNOWN, "iterator type 'window'"),
        (
            generic(
                body="%t = arith.constant true\n %p = scf.if %t -> (f32) {\n scf.yield %x : f32\n } else {\n scf.yield %y : f32\n }\n"
                " %s = arith.addf %z, %p : f32\n linalg.yield %s : f32"
            ),
            Kind.UNKNOWN, "'scf.if' in the body (line 5) is control flow",
        ),
    ],
)  # fmt: skip
def test_what_does_not_conform_says_why(text: str, kind: Kind, why: str) -> None:
    made = only(text)
    assert made.kind is kind
    assert made.note.startswith("line 2: ")
    assert why in made.note


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (generic(maps=(MATMUL[0], "(m, n, k) -> (k)", MATMUL[2])), "of rank 2; its indexing map gives 1 indices"),
        (generic(maps=(MATMUL[0], "(m, n, k) -> (n, k)", MATMUL[2])), "loop d2 makes 8 turns for one operand and 16 for operand 1"),
        (generic(kinds=("parallel", "parallel")), "are not one for each of 3 loops"),
        (generic(maps=MATMUL[:2]), "2 indexing maps for 3 operands"),
        (named("matmul", [(4, 8), (4, 8)], (4, 16)), "loop d1 makes 8 turns for one operand and 4 for operand 1"),
        (named("conv_2d_nchw_fchw", [(2, 3, 11, 9), (8, 3, 3, 3)], (2, 8, 5, 5), STEPS), "but is indexed up to 12"),
        (PRODUCT.replace("ins(%a0, %a1 : ", "ins(%a0, %a1 : tensor<1xf32>, "), "2 operands have 3 types"),
        (PRODUCT.replace("%a1 :", "%q :"), "%q is used but not defined"),
        (PRODUCT.replace("f32>) -> tensor<4x16xf32>\n", "f32> -> tensor<4x16xf32>\n"), "'\\)' is missing"),
    ],
)  # fmt: skip
def test_operations_that_do_not_fit_together_are_refused_with_the_line(text: str, message: str) -> None:
    pytest.importorskip("xdsl")
    with pytest.raises(SpecError, match=rf"f\.mlir:2: .*{message}"):
        read_text(text, "f.mlir")


@pytest.mark.parametrize("text", ["", "   \n", "hello world", '{"a": 1}', "func.func @f(", "module {", "%0 = "])
def test_text_that_is_not_mlir_is_refused(text: str) -> None:
    pytest.importorskip("xdsl")
    with pytest.raises(SpecError, match=r"^f\.mlir"):
        read_text(text, "f.mlir")


def test_a_string_that_never_ends_is_refused() -> None:
    pytest.importorskip("xdsl")
    with pytest.raises(SpecError, match=r"f\.mlir:2: a string is never closed"):
        read_text(generic().replace('"reduction"]', '"reduction]'), "f.mlir")


def test_numbers_of_large_constants_are_not_read() -> None:
    pytest.importorskip("xdsl")
    text = """func.func @main(%a: tensor<4x8xf32>, %o: tensor<4x2xf32>) -> tensor<4x2xf32> {
      %w = arith.constant dense_resource<weight> : tensor<8x2xf32>
      %0 = linalg.matmul ins(%a, %w : tensor<4x8xf32>, tensor<8x2xf32>) outs(%o : tensor<4x2xf32>) -> tensor<4x2xf32>
      return %0 : tensor<4x2xf32>
    }

    {-#
      dialect_resources: { builtin: { weight: "0x04000000 } }
    #-}"""
    network = read_text(text, "f.mlir")
    assert (network.parameters, network.macs) == (16, 64)


def test_dynamic_shapes_and_branches_are_refused() -> None:
    pytest.importorskip("xdsl")
    with pytest.raises(UnsupportedError, match=r"(?s)f.mlir:1: memref<\?x8xf32> .*run time only.*static extents"):
        read_text("func.func @main(%a: memref<?x8xf32>) {\n return\n}", "f.mlir")
    with pytest.raises(UnsupportedError, match="branches between 2 blocks"):
        read_text("func.func @main(%a: memref<8xf32>) {\n cf.br ^bb1\n^bb1:\n return\n}", "f.mlir")


# Networks

CNN = """
#map = affine_map<(d0, d1) -> (d1)>
#map1 = affine_map<(d0, d1) -> (d0, d1)>
module @net {
  func.func @forward(
    %x: tensor<1x16x16x8xf16>, %w: tensor<3x3x8x4xf16>, %f: tensor<784x10xf16>, %b: tensor<10xf16>
  ) -> tensor<1x10xf16> {
    %zero = arith.constant 0.0 : f16
    %e = tensor.empty() : tensor<1x14x14x4xf16>
    %z = linalg.fill ins(%zero : f16) outs(%e : tensor<1x14x14x4xf16>) -> tensor<1x14x14x4xf16>
    %c = linalg.conv_2d_nhwc_hwcf {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>}
      ins(%x, %w : tensor<1x16x16x8xf16>, tensor<3x3x8x4xf16>) outs(%z : tensor<1x14x14x4xf16>) -> tensor<1x14x14x4xf16>
    %flat = tensor.collapse_shape %c [[0], [1, 2, 3]] : tensor<1x14x14x4xf16> into tensor<1x784xf16>
    %e1 = tensor.empty() : tensor<1x10xf16>
    %bias = linalg.generic {indexing_maps = [#map, #map1], iterator_types = ["parallel", "parallel"]}
      ins(%b : tensor<10xf16>) outs(%e1 : tensor<1x10xf16>) {
    ^bb0(%in: f16, %out: f16):
      linalg.yield %in : f16
    } -> tensor<1x10xf16>
    %m = linalg.matmul ins(%flat, %f : tensor<1x784xf16>, tensor<784x10xf16>) outs(%bias : tensor<1x10xf16>) -> tensor<1x10xf16>
    return %m : tensor<1x10xf16>
  }
}
"""


def test_a_network_of_tensors_in_order() -> None:
    pytest.importorskip("xdsl")
    network = read_text(CNN, "net.mlir")
    assert network.name == "net"
    assert [(o.name, o.kind) for o in network.operators] == [
        ("conv_2d_nhwc_hwcf_c", Kind.EINSUM), ("collapse_shape_flat", Kind.LAYOUT), ("generic_bias", Kind.LAYOUT),
        ("matmul_m", Kind.EINSUM),
    ]  # fmt: skip
    roles = {n: t.role for n, t in network.tensors.items()}
    assert roles["%x"] is Role.INPUT
    assert {n for n, r in roles.items() if r is Role.PARAMETER} == {"%w", "%f", "%b"}
    assert roles["%m"] is Role.OUTPUT
    assert "%bias" in network.operators[-1].inputs
    assert network.tensors["%c"].bits == 16
    assert network.parameters == 3 * 3 * 8 * 4 + 7840 + 10


def test_a_memref_that_is_written_is_the_output() -> None:
    pytest.importorskip("xdsl")
    text = """func.func @main(%a: memref<4x8xf32>, %b: memref<8x16xf32>, %c: memref<4x16xf32>) {
      %z = arith.constant 0.0 : f32
      linalg.fill ins(%z : f32) outs(%c : memref<4x16xf32>)
      linalg.matmul ins(%a, %b : memref<4x8xf32>, memref<8x16xf32>) outs(%c : memref<4x16xf32>)
      return
    }"""
    network = read_text(text, "f.mlir")
    assert network.macs == 512
    assert network.operators[0].outputs == ("%c",)
    assert network.tensors["%c"].role is Role.OUTPUT


def test_functions_that_no_other_calls_make_one_network_together() -> None:
    pytest.importorskip("xdsl")
    text = named("matmul", [(4, 8), (8, 16)], (4, 16))
    both = read_text(text.replace("@main", "@one") + text.replace("@main", "@two"), "f.mlir")
    assert both.macs == 2 * 512
    assert {o.name for o in both.operators} == {"one/matmul_r", "two/matmul_r"}
    assert any("one, two" in note for note in both.notes)


def test_a_file_of_stablehlo_is_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "f.mlir"
    path.write_text(
        "func.func @main(%a: tensor<4x8xf32>) -> tensor<4x8xf32> {\n"
        "  %0 = stablehlo.add %a, %a : tensor<4x8xf32>\n  return %0 : tensor<4x8xf32>\n}"
    )
    assert [o.operations for o in read_network(str(path)).operators] == [32]


def test_without_xdsl_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [m for m in sys.modules if m.partition(".")[0] == "xdsl"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "xdsl", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fiberloom\[mlir\]'"):
        read_text(CNN, "net.mlir")


# Loop nests


def nest(bound: str = "8", index: str = "%i, %k", inside: str = "", loop: str = "affine") -> str:
    body = inside or (
        "%z = affine.load %c[%i, %j] : memref<4x16xf32>\n %p = arith.mulf %x, %y : f32\n %s = arith.addf %p, %z : f32\n"
        " affine.store %s, %c[%i, %j] : memref<4x16xf32>"
    )
    return (
        "func.func @main(%a: memref<4x8xf32>, %b: memref<8x16xf32>, %c: memref<4x16xf32>, %n: index) {\n"
        " %zero = arith.constant 0.0 : f32\n affine.for %i = 0 to 4 {\n  affine.for %j = 0 to 16 {\n"
        "  affine.store %zero, %c[%i, %j] : memref<4x16xf32>\n"
        f"   affine.for %k = 0 to {bound} {{\n %x = affine.load %a[{index}] : memref<4x8xf32>\n"
        f" %y = affine.load %b[%k, %j] : memref<8x16xf32>\n {body}\n   }}\n  }}\n }}\n return\n}}"
    )


def test_an_affine_loop_nest_is_an_einsum() -> None:
    made = only(nest())
    assert made.op == "affine loop nest"
    assert made.einsum is not None
    assert signature(made.einsum) == signature(fully_connected("m", outputs=16, inputs=8, batch=4))
    assert made.outputs == ("%c",)


def test_a_loop_nest_of_scf_with_constant_bounds_is_an_einsum() -> None:
    loops = "".join(f"scf.for %{v} = %c0 to %c{e} step %c1 {{\n" for v, e in (("i", 4), ("j", 16), ("k", 8)))
    constants = "".join(f"%c{n} = arith.constant {n} : index\n" for n in (0, 1, 4, 8, 16))
    text = (
        "func.func @main(%a: memref<4x8xf32>, %b: memref<8x16xf32>, %c: memref<4x16xf32>) {\n" + constants + loops
        + "%x = memref.load %a[%i, %k] : memref<4x8xf32>\n%y = memref.load %b[%k, %j] : memref<8x16xf32>\n"
        "%z = memref.load %c[%i, %j] : memref<4x16xf32>\n%p = arith.mulf %x, %y : f32\n%s = arith.addf %z, %p : f32\n"
        "memref.store %s, %c[%i, %j] : memref<4x16xf32>\n}\n}\n}\nreturn\n}"
    )  # fmt: skip
    assert only_einsum(text).macs == 512


def test_a_loop_nest_with_windows_and_steps_is_a_convolution() -> None:
    text = """func.func @main(%x: memref<19xf32>, %w: memref<3xf32>, %o: memref<9xf32>) {
      affine.for %p = 0 to 9 {
        affine.for %r = 0 to 3 {
          %a = affine.load %x[%p * 2 + %r] : memref<19xf32>
          %b = affine.load %w[%r] : memref<3xf32>
          %c = affine.load %o[%p] : memref<9xf32>
          %d = arith.mulf %a, %b : f32
          %e = arith.addf %c, %d : f32
          affine.store %e, %o[%p] : memref<9xf32>
        }
      }
      return
    }"""
    expected = convolution_nd("c", outputs=1, inputs=1, extents=[9], kernel=3, stride=2)
    assert signature(only_einsum(text)) == signature(expected)
    stepped = text.replace("%p = 0 to 9", "%q = 0 to 18 step 2").replace("%p * 2 + %r", "%q + %r")
    stepped = stepped.replace("[%p]", "[%q floordiv 2]")
    assert "floordiv" in only(stepped).note


@pytest.mark.parametrize(
    ("text", "kind", "why"),
    [
        (nest(bound="%n"), Kind.UNKNOWN, "the bounds of a loop are not constants"),
        (nest(bound="affine_map<(d0) -> (d0)>(%i)"), Kind.UNKNOWN, "the bounds of a loop are not constants"),
        (nest(index="%i mod 3, %k"), Kind.REDUCTION, "mod, which is no affine index"),
        (
            nest(inside="affine.if affine_set<(d0) : (d0 - 1 >= 0)>(%i) {\n affine.store %x, %c[%i, %j] : memref<4x16xf32>\n }"),
            Kind.UNKNOWN, "'affine.if' in a loop is control flow",
        ),
    ],
)  # fmt: skip
def test_a_loop_nest_that_does_not_conform_says_why(text: str, kind: Kind, why: str) -> None:
    made = only(text)
    assert made.kind is kind
    assert why in made.note


def test_a_loop_that_leaves_its_tensor_is_refused() -> None:
    pytest.importorskip("xdsl")
    with pytest.raises(SpecError, match=r"%a is memref<4x8xf32>, but is indexed from 0 to 8"):
        read_text(nest(bound="9"), "f.mlir")


# Parts


def test_affine_maps_are_sums_of_dimensions() -> None:
    read = affine_map("(d0, d1)[s0] -> (d0 * 2 + d1 - 3, -d1, s0 + d0, 7)")
    assert (read.dims, read.symbols) == (2, 1)
    assert [r.terms for r in read.results] == [((2, 0), (1, 1)), ((-1, 1),), ((1, 0), (1, 2)), ()]
    assert [r.offset for r in read.results] == [-3, 0, 0, 7]
    assert "two loop variables" in affine_map("(a, b) -> (a * b)").results[0].problem
    with pytest.raises(ValueError, match="not an affine map"):
        affine_map("d0 -> d0")


def test_element_types_give_number_formats() -> None:
    types = ("f32", "bf16", "f8E4M3FN", "i8", "ui4", "i1", "index", "complex<f32>", "!quant.uniform<i8:f32, 0.5>")
    assert [number_format(t) for t in types] == [
        ("fp32", 32), ("bf16", 16), ("fp8_e4m3", 8), ("int8", 8), ("uint4", 4), ("bool", 8), ("int64", 64),
        ("complex of fp32", 64), ("int8", 8),
    ]  # fmt: skip


def test_the_named_operations_of_mlirs_own_tools_are_their_generic_form() -> None:
    pytest.importorskip("xdsl")
    ir = pytest.importorskip("torch_mlir.ir")
    from torch_mlir.passmanager import PassManager

    cases = [
        named("conv_2d_nhwc_hwcf", [(1, 11, 9, 3), (3, 3, 3, 8)], (1, 4, 5, 8), STEPS),
        named("depthwise_conv_2d_nchw_chw", [(1, 3, 11, 9), (3, 3, 3)], (1, 3, 4, 5), STEPS),
        named("batch_matmul", [(2, 4, 8), (2, 8, 16)], (2, 4, 16)),
        named("mmt4d", [(2, 3, 4, 5), (6, 3, 7, 5)], (2, 6, 4, 7)),
        named("pooling_nchw_sum", [(1, 3, 11, 9), (3, 3)], (1, 3, 4, 5), STEPS),
    ]
    for text in cases:
        with ir.Context(), ir.Location.unknown():
            module = ir.Module.parse(text)
            forms = [str(module), module.operation.get_asm(print_generic_op_form=True)]
            PassManager.parse("builtin.module(func.func(linalg-generalize-named-ops))").run(module.operation)
            forms.append(str(module))
        networks = [read_text(form, "f.mlir") for form in forms]
        assert len({_work(n) for n in networks}) == 1


def _work(network: Network) -> tuple[object, ...]:
    einsums = Counter(signature(o.einsum) for o in network.einsums if o.einsum is not None)
    return (tuple(sorted(einsums.items())), tuple((o.kind, o.operations) for o in network.operators))
