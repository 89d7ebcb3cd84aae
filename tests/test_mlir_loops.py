"""MLIR's loop nests become Einsums, and say why where they can't."""

from __future__ import annotations

import pytest

from fiberloom.errors import SpecError
from fiberloom.workload.importers.mlir import read_text
from fiberloom.workload.layers import convolution_nd, fully_connected
from fiberloom.workload.network import Kind, signature
from mlir_programs import only, only_einsum


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
