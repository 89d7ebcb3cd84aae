"""MLIR's linalg dialect, named and generic: operations become Einsums, and say why where they can't."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from fiberloom.errors import SpecError
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.importers.mlir import read_text
from fiberloom.workload.layers import batched_product, convolution, convolution_nd, fully_connected
from fiberloom.workload.network import Kind, Network, signature
from mlir_programs import STEPS, Shape, named, only, only_einsum, tensor


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


def test_a_string_that_never_ends_is_refused() -> None:
    pytest.importorskip("xdsl")
    with pytest.raises(SpecError, match=r"f\.mlir:2: a string is never closed"):
        read_text(generic().replace('"reduction"]', '"reduction]'), "f.mlir")


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
