"""Files of MLIR become networks; what is no MLIR is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fiberloom.errors import MissingExtraError, SpecError, UnsupportedError
from fiberloom.workload.importers import read_network
from fiberloom.workload.importers.mlir import read_text
from fiberloom.workload.importers.mlir_affine import affine_map
from fiberloom.workload.importers.mlir_program import number_format
from fiberloom.workload.network import Kind, Role
from mlir_programs import named


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


@pytest.mark.parametrize("text", ["", "   \n", "hello world", '{"a": 1}', "func.func @f(", "module {", "%0 = "])
def test_text_that_is_not_mlir_is_refused(text: str) -> None:
    pytest.importorskip("xdsl")
    with pytest.raises(SpecError, match=r"^f\.mlir"):
        read_text(text, "f.mlir")


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
