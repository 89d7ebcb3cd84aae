"""StableHLO text becomes a network: contractions as canonical Einsums, everything else as what it is."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.workload.importers import read_network
from fiberloom.workload.importers.stablehlo import read_text
from fiberloom.workload.layers import convolution, fully_connected, transposed_convolution
from fiberloom.workload.network import Kind, Network, Role, signature


def function(arguments: str, body: str, result: str) -> str:
    return f"func.func public @main({arguments}) -> {result} {{\n{body}\n}}\n"


def convolve(
    image: str, kernel: str, result: str, window: str = "", groups: int = 1, batches: int = 1,
    numbers: str = "[b, f, 0, 1]x[o, i, 0, 1]->[b, f, 0, 1]",
) -> Network:  # fmt: skip
    body = (
        f"  %0 = stablehlo.convolution(%arg0, %arg1) dim_numbers = {numbers}, window = {{{window}}} "
        f"{{batch_group_count = {batches} : i64, feature_group_count = {groups} : i64}} : ({image}, {kernel}) -> {result}\n"
        f"  return %0 : {result}"
    )
    return read_text(function(f"%arg0: {image}, %arg1: {kernel}", body, result), "conv.mlir")


def dot(left: str, right: str, result: str, contracting: str, batching: str = "") -> Network:
    between = f"batching_dims = {batching}, " if batching else ""
    body = (
        f"  %0 = stablehlo.dot_general %arg0, %arg1, {between}contracting_dims = {contracting} : ({left}, {right}) -> {result}\n"
        f"  return %0 : {result}"
    )
    return read_text(function(f"%arg0: {left}, %arg1: {right}", body, result), "dot.mlir")


def only(network: Network) -> object:
    assert len(network.operators) == 1
    return network.operators[0].einsum


def same(network: Network, expected: object) -> bool:
    return signature(only(network)) == signature(expected)  # type: ignore[arg-type]


def einsums(network: Network) -> Counter[object]:
    found: Counter[object] = Counter()
    for operator in network.einsums:
        assert operator.einsum is not None
        found[signature(operator.einsum)] += operator.count
    return found


def test_a_product_with_an_argument_on_the_right_is_fully_connected_with_tokens_flattened() -> None:
    network = dot("tensor<2x16x64xbf16>", "tensor<64x4x32xbf16>", "tensor<2x16x4x32xbf16>", "[2] x [0]")
    assert str(only(network)) == "O[n, m] = W[m, c] * I[n, c]"
    assert same(network, fully_connected("fc", outputs=128, inputs=64, batch=32))
    assert network.tensors["%arg1"].role is Role.PARAMETER
    assert network.tensors["%arg0"].role is Role.INPUT
    assert (network.tensors["%0"].number_format, network.tensors["%0"].bits) == ("bf16", 16)
    assert network.parameters == 64 * 128


def test_batching_dimensions_anywhere_become_one_batch() -> None:
    network = dot(
        "tensor<2x16x4x8xf32>", "tensor<2x10x4x8xf32>", "tensor<2x4x16x10xf32>", "[3] x [3]", "[0, 2] x [0, 2]"
    )
    assert only(network).shape == {"b": 8, "i": 16, "j": 10, "k": 8}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("stride", "dilation", "groups"),
    [((2, 2), (1, 1), 1), ((1, 1), (2, 3), 1), ((2, 1), (1, 2), 4), ((1, 1), (1, 1), 8)],
)
def test_a_convolution_with_stride_dilation_and_groups(
    stride: tuple[int, int], dilation: tuple[int, int], groups: int
) -> None:
    rows, columns = ((14 - 2 * d - 1) // s + 1 for s, d in zip(stride, dilation, strict=True))
    window = f"stride = {list(stride)}, pad = [[0, 0], [0, 0]], rhs_dilate = {list(dilation)}"
    network = convolve(
        "tensor<3x8x14x14xi8>", f"tensor<16x{8 // groups}x3x3xi8>", f"tensor<3x16x{rows}x{columns}xi32>", window, groups
    )
    expected = convolution(
        "conv", outputs=16, inputs=8, rows=rows, columns=columns, kernel=3, stride=stride, dilation=dilation,
        groups=groups, batch=3,
    )  # fmt: skip
    assert same(network, expected)
    assert network.macs == expected.macs
    assert network.tensors["%arg0"].number_format == "int8"


def test_a_depthwise_convolution_keeps_its_channel_in_all_tensors() -> None:
    network = convolve("tensor<1x8x6x6xf32>", "tensor<8x1x3x3xf32>", "tensor<1x8x4x4xf32>", groups=8)
    assert str(only(network)) == "O[c, p, q] = W[c, r, s] * I[c, p+r, q+s]"


def test_dimension_numbers_say_where_everything_is() -> None:
    network = convolve(
        "tensor<6x5x2x3xf32>", "tensor<3x2x3x8xf32>", "tensor<4x2x8x4xf32>",
        numbers="[0, 1, b, f]x[0, 1, i, o]->[0, b, f, 1]",
    )  # fmt: skip
    assert same(network, convolution("conv", outputs=8, inputs=3, rows=4, columns=4, kernel=(3, 2), batch=2))


def test_a_convolution_of_a_spread_out_input_is_transposed() -> None:
    network = convolve(
        "tensor<1x4x5x5xf32>", "tensor<6x4x3x3xf32>", "tensor<1x6x11x11xf32>",
        "pad = [[2, 2], [2, 2]], lhs_dilate = [2, 2]",
    )  # fmt: skip
    expected = transposed_convolution("up", outputs=6, inputs=4, extents=(5, 5), kernel=3, stride=2)
    assert same(network, expected)


def test_batch_groups_are_groups_of_the_output() -> None:
    network = convolve("tensor<6x4x5x5xf32>", "tensor<8x4x3x3xf32>", "tensor<3x8x3x3xf32>", batches=2)
    assert network.macs == 3 * 8 * 4 * 9 * 9
    assert same(network, convolution("conv", outputs=8, inputs=8, rows=3, kernel=3, groups=2, batch=3))


def test_a_stride_of_a_spread_out_input_is_unknown_with_the_reason() -> None:
    network = convolve(
        "tensor<1x4x5x5xf32>", "tensor<6x4x3x3xf32>", "tensor<1x6x3x3xf32>", "stride = [3, 3], lhs_dilate = [2, 2]"
    )
    assert network.operators[0].kind is Kind.UNKNOWN
    assert "spread out" in network.operators[0].note


GENERIC = """
"builtin.module"() <{sym_name = "m"}> ({
  "func.func"() <{function_type = (tensor<4x8xf16>, tensor<8x16xf16>) -> tensor<4x16xf16>, sym_name = "main"}> ({
  ^bb0(%arg0: tensor<4x8xf16>, %arg1: tensor<8x16xf16>):
    %0 = "stablehlo.dot_general"(%arg0, %arg1) <{dot_dimension_numbers = #stablehlo.dot<
        lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0]>}> : (tensor<4x8xf16>, tensor<8x16xf16>) -> tensor<4x16xf16>
    %1 = "stablehlo.reduce_window"(%0, %0) <{window_dimensions = array<i64: 2, 2>, window_strides = array<i64: 2, 2>}> ({
    ^bb0(%a: tensor<f16>, %b: tensor<f16>):
      %2 = "stablehlo.maximum"(%a, %b) : (tensor<f16>, tensor<f16>) -> tensor<f16>
      "stablehlo.return"(%2) : (tensor<f16>) -> ()
    }) : (tensor<4x16xf16>, tensor<4x16xf16>) -> tensor<2x8xf16>
    "func.return"(%1) : (tensor<2x8xf16>) -> ()
  }) : () -> ()
}) : () -> ()
"""


def test_the_generic_form_is_read_as_well() -> None:
    network = read_text(GENERIC, "g.mlir")
    assert network.name == "m"
    assert [o.kind for o in network.operators] == [Kind.EINSUM, Kind.POOLING]
    assert network.macs == 4 * 8 * 16
    assert network.operators[1].operations == 16 * (2 * 2 - 1)


STEPS = """
module @steps {
  func.func public @main(%arg0: tensor<2x6xf32>, %arg1: tensor<6xf32>, %arg2: tensor<100x6xf32>,
      %arg3: tensor<2xi32>) -> tensor<2x6xf32> {
    %cst = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %0 = stablehlo.broadcast_in_dim %cst, dims = [] : (tensor<f32>) -> tensor<2x6xf32>
    %1 = call @relu(%arg0) : (tensor<2x6xf32>) -> tensor<2x6xf32>
    %2 = stablehlo.broadcast_in_dim %arg1, dims = [1] : (tensor<6xf32>) -> tensor<2x6xf32>
    %3 = stablehlo.add %1, %2 : tensor<2x6xf32>
    %4 = stablehlo.reduce(%3 init: %cst) applies stablehlo.add across dimensions = [1]
      : (tensor<2x6xf32>, tensor<f32>) -> tensor<2xf32>
    %5 = "stablehlo.gather"(%arg2, %arg3) <{dimension_numbers = #stablehlo.gather<offset_dims = [1],
      collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 6>}>
      : (tensor<100x6xf32>, tensor<2xi32>) -> tensor<2x6xf32>
    %6 = stablehlo.custom_call @mystery(%5) : (tensor<2x6xf32>) -> tensor<2x6xf32>
    %7:2 = "stablehlo.case"(%arg3) ({
      stablehlo.return %6, %4 : tensor<2x6xf32>, tensor<2xf32>
    }) : (tensor<2xi32>) -> (tensor<2x6xf32>, tensor<2xf32>)
    return %7#0 : tensor<2x6xf32>
  }
  func.func private @relu(%arg0: tensor<2x6xf32>) -> tensor<2x6xf32> {
    %cst = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %0 = stablehlo.broadcast_in_dim %cst, dims = [] : (tensor<f32>) -> tensor<2x6xf32>
    %1 = stablehlo.maximum %arg0, %0 : tensor<2x6xf32>
    return %1 : tensor<2x6xf32>
  }
}
"""


def test_every_operation_is_there_as_what_it_is() -> None:
    network = read_text(STEPS, "steps.mlir")
    found = [(o.op, o.kind, o.operations) for o in network.operators]
    assert found == [
        ("stablehlo.maximum", Kind.ELEMENTWISE, 12),
        ("stablehlo.broadcast_in_dim", Kind.LAYOUT, 0),
        ("stablehlo.add", Kind.ELEMENTWISE, 12),
        ("stablehlo.reduce", Kind.REDUCTION, 10),
        ("stablehlo.gather", Kind.LOOKUP, 0),
        ("stablehlo.custom_call", Kind.UNKNOWN, 0),
        ("stablehlo.case", Kind.UNKNOWN, 0),
    ]
    assert network.operators[0].name == "relu/maximum_1"
    assert "'mystery'" in network.operators[5].note
    assert "control flow" in network.operators[6].note


def test_broadcast_arguments_and_looked_up_tables_are_parameters() -> None:
    network = read_text(STEPS, "steps.mlir")
    roles = {name: network.tensors[name].role for name in ("%arg0", "%arg1", "%arg2", "%arg3")}
    assert roles == {"%arg0": Role.INPUT, "%arg1": Role.PARAMETER, "%arg2": Role.PARAMETER, "%arg3": Role.INPUT}


def test_parameters_can_be_named() -> None:
    network = read_text(STEPS, "steps.mlir", parameters=["arg0", 1])
    assert {n for n, t in network.tensors.items() if t.role is Role.PARAMETER} == {"%arg0", "%arg1"}
    with pytest.raises(SpecError, match="no argument 'arg9'"):
        read_text(STEPS, "steps.mlir", parameters=["arg9"])


def test_one_number_everywhere_is_no_tensor() -> None:
    network = read_text(STEPS, "steps.mlir")
    assert network.operators[0].inputs == ("%arg0",)
    assert any("one number everywhere" in note for note in network.notes)


LOOP = """
func.func public @main(%arg0: tensor<4x8xf32>, %arg1: tensor<3x8x8xf32>) -> tensor<4x8xf32> {
  %c = stablehlo.constant dense<0> : tensor<i32>
  %0:3 = stablehlo.while(%iterArg = %arg1, %iterArg_0 = %c, %iterArg_1 = %arg0) : tensor<3x8x8xf32>, tensor<i32>, tensor<4x8xf32>
  cond {
    %c_2 = stablehlo.constant dense<LIMIT> : tensor<i32>
    %1 = stablehlo.compare LT, %iterArg_0, %c_2, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  } do {
    %c_2 = stablehlo.constant dense<0> : tensor<i32>
    %1 = stablehlo.dynamic_slice %iterArg, %iterArg_0, %c_2, %c_2, sizes = [1, 8, 8]
      : (tensor<3x8x8xf32>, tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<1x8x8xf32>
    %2 = stablehlo.reshape %1 : (tensor<1x8x8xf32>) -> tensor<8x8xf32>
    %3 = stablehlo.dot_general %iterArg_1, %2, contracting_dims = [1] x [0] : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
    %c_3 = stablehlo.constant dense<1> : tensor<i32>
    %4 = stablehlo.add %iterArg_0, %c_3 : tensor<i32>
    stablehlo.return %iterArg, %4, %3 : tensor<3x8x8xf32>, tensor<i32>, tensor<4x8xf32>
  }
  return %0#2 : tensor<4x8xf32>
}
"""


def test_a_loop_with_a_constant_number_of_turns_repeats_its_body() -> None:
    network = read_text(LOOP.replace("LIMIT", "3"), "loop.mlir")
    assert [o.count for o in network.einsums] == [3]
    assert network.macs == 3 * 4 * 8 * 8
    assert network.parameters == 3 * 8 * 8
    assert network.unknown == ()


def test_a_loop_whose_turns_depend_on_data_is_unknown() -> None:
    text = LOOP.replace(
        "stablehlo.constant dense<LIMIT> : tensor<i32>", "stablehlo.add %iterArg_0, %iterArg_0 : tensor<i32>"
    )
    network = read_text(text, "loop.mlir")
    assert [o.kind for o in network.operators] == [Kind.UNKNOWN]
    assert "how often this loop turns" in network.operators[0].note


HEAD = "func.func @main(%a: tensor<4x8xf32>, %b: tensor<8x16xf32>) -> tensor<4x16xf32> {\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "  %0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0 :\n}", r"f.mlir:3: expected a type, found '}'"),
        (HEAD + "  %0 = stablehlo.add %a, %c : tensor<4x8xf32>\n}", r"f.mlir:2: %c is used but not defined"),
        (HEAD + "  %0 = stablehlo.add %a, %a : tensor<4x8xf32", r"f.mlir:2: '<' is never closed"),
        (HEAD + "  %0 = stablehlo.add %a, %a : tensor<4x8xf32>\n", r"f.mlir:1: '{' is never closed"),
        (HEAD + "  %0 = nonsense\n}", r"f.mlir:2: 'nonsense' is not an operation"),
        ("", "no function with a body"),
        ("module {" * 1000, "regions inside each other"),
        (HEAD + "%0 = stablehlo.foo " + "[" * 100_000, "nested too deeply"),
        (
            HEAD + '  %0 = "stablehlo.add"(%a, %b) : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>\n}',
            r"f.mlir:2: %b is tensor<8x16xf32>, but is used as tensor<4x8xf32>",
        ),
        (
            HEAD + "%0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [1] "
            ": (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x8xf32>\n}",
            r"f.mlir:2: .*contracting extents \[8\] and \[16\] differ",
        ),
        (
            HEAD + "%0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0] "
            ": (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<5x16xf32>\n}",
            r"f.mlir:2: .*the result is \[5, 16\]; the operands make \[4, 16\]",
        ),
        (
            HEAD + "%0 = stablehlo.dot_general %a, %b, contracting_dims = [7] x [0] "
            ": (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>\n}",
            r"f.mlir:2: .*\[7\] are not different dimensions of a tensor of rank 2",
        ),
    ],
)  # fmt: skip
def test_bad_text_is_refused_with_file_and_line(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_text(text, "f.mlir")


def test_a_convolution_that_makes_another_size_is_refused() -> None:
    with pytest.raises(SpecError, match="the result has 5 positions in dimension 0; the window makes 4"):
        convolve("tensor<1x8x6x6xf32>", "tensor<4x8x3x3xf32>", "tensor<1x4x5x4xf32>")


def test_dynamic_shapes_are_refused_with_the_way_out() -> None:
    text = function("%a: tensor<?x8xf32>", "  return %a : tensor<?x8xf32>", "tensor<?x8xf32>")
    with pytest.raises(UnsupportedError, match=r"(?s)f.mlir:1: .*run time only.*static extents"):
        read_text(text, "f.mlir")


def test_a_function_that_calls_itself_is_refused() -> None:
    body = "  %0 = call @main(%a) : (tensor<4xf32>) -> tensor<4xf32>\n  return %0 : tensor<4xf32>"
    with pytest.raises(UnsupportedError, match="calls itself"):
        read_text(function("%a: tensor<4xf32>", body, "tensor<4xf32>"), "f.mlir")


def test_bytecode_and_binary_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.stablehlo"
    path.write_bytes(b"ML\xefR\x01")
    with pytest.raises(UnsupportedError, match="bytecode"):
        read_network(str(path))
    path.write_bytes(bytes(range(256)))
    with pytest.raises(SpecError, match="not text"):
        read_network(str(path))


def test_extents_by_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.stablehlo"
    path.write_text(LOOP.replace("LIMIT", "3"))
    assert read_network(str(path)).macs == 768
    with pytest.raises(SpecError, match="MLIR has no names for extents"):
        read_network(str(path), dims={"batch": 2})


# Text of the real tool


def macs_of_jaxpr(jaxpr: object) -> int:
    """An independent count: from jax's own equations, before StableHLO."""
    total = 0
    for equation in jaxpr.eqns:  # type: ignore[attr-defined]
        name, parameters = equation.primitive.name, equation.params
        shapes = [v.aval.shape for v in equation.invars]
        if name == "dot_general":
            (contracting, _), _ = parameters["dimension_numbers"]
            total += math.prod(equation.outvars[0].aval.shape) * math.prod(shapes[0][d] for d in contracting)
        elif name == "conv_general_dilated":
            spec = parameters["dimension_numbers"]
            kernel = math.prod(shapes[1][d] for d in (spec.rhs_spec[1], *spec.rhs_spec[2:]))
            if any(d > 1 for d in parameters["lhs_dilation"]):
                window = math.prod(shapes[1][d] for d in spec.rhs_spec[2:])
                total += (
                    math.prod(shapes[0]) * window * shapes[1][spec.rhs_spec[0]] // parameters["feature_group_count"]
                )
            else:
                total += math.prod(equation.outvars[0].aval.shape) * kernel
        for value in parameters.values():
            inner = getattr(value, "jaxpr", None)
            if inner is not None:
                total += macs_of_jaxpr(getattr(inner, "jaxpr", inner)) * (parameters["length"] if name == "scan" else 1)
    return total


def test_what_jax_prints_of_a_cnn_has_the_macs_of_its_equations() -> None:
    jax = pytest.importorskip("jax")
    from jax import lax

    def cnn(x, first, depthwise, grouped, up, last, bias):  # type: ignore[no-untyped-def]
        layout = ("NHWC", "HWIO", "NHWC")
        y = jax.nn.relu(lax.conv_general_dilated(x, first, (2, 2), "SAME", dimension_numbers=layout))
        y = lax.conv_general_dilated(y, depthwise, (1, 1), "SAME", dimension_numbers=layout, feature_group_count=16)
        y = lax.conv_general_dilated(
            y, grouped, (1, 1), "SAME", rhs_dilation=(2, 2), dimension_numbers=layout, feature_group_count=4
        )
        y = lax.reduce_window(y, -float("inf"), lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        y = lax.conv_transpose(y, up, (2, 2), "SAME", dimension_numbers=layout)
        return y.mean((1, 2)) @ last + bias

    shapes = [(1, 32, 32, 3), (3, 3, 3, 16), (3, 3, 1, 16), (3, 3, 4, 16), (3, 3, 16, 8), (8, 10), (10,)]
    arguments = [jax.ShapeDtypeStruct(s, "float32") for s in shapes]
    lowered = jax.jit(cnn).lower(*arguments)
    network = read_text(lowered.as_text(), "cnn.mlir")
    assert network.macs == macs_of_jaxpr(jax.make_jaxpr(cnn)(*arguments).jaxpr)
    assert network.unknown == ()
    assert network.parameters == sum(math.prod(s) for s in shapes[1:])
    generic = lowered.compiler_ir("stablehlo").operation.get_asm(print_generic_op_form=True)
    assert einsums(read_text(generic, "cnn.mlir")) == einsums(network)


def test_what_jax_prints_of_attention_is_attention() -> None:
    jax = pytest.importorskip("jax")
    np = jax.numpy

    def block(x, queries, keys, values, output):  # type: ignore[no-untyped-def]
        q = np.einsum("btd,dgrk->btgrk", x, queries)
        k, v = (np.einsum("btd,dgk->btgk", x, w) for w in (keys, values))
        a = jax.nn.softmax(np.einsum("btgrk,bsgk->bgrts", q, k) / 4.0)
        return np.einsum("bgrts,bsgk,grkd->btd", a, v, output, optimize=[(0, 1), (0, 1)])

    shapes = [(2, 16, 64), (64, 2, 3, 8), (64, 2, 8), (64, 2, 8), (2, 3, 8, 64)]
    lowered = jax.jit(block).lower(*(jax.ShapeDtypeStruct(s, "bfloat16") for s in shapes))
    network = read_text(lowered.as_text(), "block.mlir")
    assert [str(o.einsum) for o in network.einsums] == [
        *["O[n, m] = W[m, c] * I[n, c]"] * 3,
        "S[g, h, i, j] = Q[g, h, i, d] * K[g, j, d]",
        "Z[g, h, i, d] = S[g, h, i, j] * V[g, j, d]",
        "O[n, m] = W[m, c] * I[n, c]",
    ]
    scores = network.einsums[3].einsum
    assert scores is not None and scores.shape == {"g": 4, "h": 3, "i": 16, "j": 16, "d": 8}
    debug = read_text(lowered.as_text(debug_info=True), "block.mlir")
    assert einsums(debug) == einsums(network)
    assert "btgrk,bsgk->bgrts/dot_general" in {o.name for o in debug.operators}


def test_resnet50_written_in_jax_has_the_einsums_of_the_zoo() -> None:
    jax = pytest.importorskip("jax")
    from jax import lax

    shapes: list[tuple[int, ...]] = []

    def convolution_of(kernel: int, inputs: int, outputs: int) -> None:
        shapes.extend([(kernel, kernel, inputs, outputs), (outputs,), (outputs,)])

    convolution_of(7, 3, 64)
    channels = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for block in range(blocks):
            convolution_of(1, channels, width)
            convolution_of(3, width, width)
            convolution_of(1, width, 4 * width)
            if block == 0:
                convolution_of(1, channels, 4 * width)
            channels = 4 * width
    shapes += [(2048, 1000), (1000,)]

    def resnet(x, parameters):  # type: ignore[no-untyped-def]
        left = iter(parameters)

        def layer(x, stride=1):  # type: ignore[no-untyped-def]
            kernel, scale, shift = next(left), next(left), next(left)
            pad = (kernel.shape[0] - 1) // 2
            numbers = ("NHWC", "HWIO", "NHWC")
            y = lax.conv_general_dilated(x, kernel, (stride, stride), [(pad, pad)] * 2, dimension_numbers=numbers)
            return y * scale + shift

        x = jax.nn.relu(layer(x, 2))
        pads = [(0, 0), (1, 1), (1, 1), (0, 0)]
        x = lax.reduce_window(x, -float("inf"), lax.max, (1, 3, 3, 1), (1, 2, 2, 1), pads)
        for stage, blocks in enumerate((3, 4, 6, 3)):
            for block in range(blocks):
                stride = 2 if block == 0 and stage > 0 else 1
                y = layer(jax.nn.relu(layer(jax.nn.relu(layer(x)), stride)))
                x = jax.nn.relu((layer(x, stride) if block == 0 else x) + y)
        return x.mean((1, 2)) @ next(left) + next(left)

    structs = [jax.ShapeDtypeStruct(s, "float32") for s in ((1, 224, 224, 3), *shapes)]
    network = read_text(jax.jit(resnet).lower(structs[0], structs[1:]).as_text(), "resnet.mlir")
    zoo = read_network("resnet50")
    assert einsums(network) == einsums(zoo)
    assert (network.macs, network.parameters) == (4_089_184_256, 25_557_032)
    assert network.unknown == ()
