"""What operators other than products do, and how many scalar operations that takes.

An operation is one addition, multiplication, division, comparison, exponential or other function of an element. Functions such as
GELU or a sigmoid count as one per element, as hardware looks them up or computes them in one unit. Work that is done once for a
whole row (the square root of a variance) is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from fiberloom.workload.importers.onnx.graph import Step
from fiberloom.workload.importers.onnx.translation import Translation
from fiberloom.workload.network import Kind

Rule = Callable[[Translation, Step], None]

SOFTMAX_OPERATIONS: Final = 5
"""Of each element: compare for the maximum, subtract it, exponential, add to the sum, divide."""

_PER_OUTPUT: Final[Mapping[str, int]] = {
    **dict.fromkeys(
        ("Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BitShift", "BitwiseAnd", "BitwiseNot",
         "BitwiseOr", "BitwiseXor", "Ceil", "Cos", "Cosh", "Div", "Equal", "Erf", "Exp", "Floor", "Greater",
         "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Log", "Mod", "Mul", "Neg", "Not", "Or", "Pow",
         "Reciprocal", "Round", "Sign", "Sin", "Sinh", "Sqrt", "Sub", "Tan", "Tanh", "Xor", "Relu", "LeakyRelu", "PRelu",
         "Elu", "Selu", "Celu", "Sigmoid", "HardSigmoid", "HardSwish", "Softplus", "Softsign", "Mish", "Gelu", "Swish",
         "ThresholdedRelu", "Shrink", "FastGelu", "QuickGelu", "Where", "Bernoulli", "RandomNormal", "RandomUniform",
         "RandomNormalLike", "RandomUniformLike", "Multinomial", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearAdd",
         "QLinearMul", "BiasAdd"), 1
    ),
    "Clip": 2,  # two comparisons
    "BiasGelu": 2,
    "BiasSplitGelu": 3,
    "SwiGLU": 2,
    "RotaryEmbedding": 3,  # two multiplications and an addition
    "QuantizeLinear": 3,  # divide, round, clip
    "DynamicQuantizeLinear": 5,  # minimum and maximum before that
    "DequantizeLinear": 2,  # subtract the zero point, multiply
    "BatchNormalization": 2,  # in inference: one scale and one shift
}  # fmt: skip

_NORMALISATION: Final[Mapping[str, int]] = {
    # sum, subtract the mean, square, sum, multiply by the inverse deviation, scale, shift
    "LayerNormalization": 7,
    "GroupNormalization": 7,
    "GroupNorm": 7,
    "InstanceNormalization": 7,
    "MeanVarianceNormalization": 5,
    "SkipLayerNormalization": 8,
    "SkipGroupNorm": 8,
    "EmbedLayerNormalization": 9,
    # square, sum, multiply by the inverse root, scale
    "RMSNormalization": 4,
    "SimplifiedLayerNormalization": 4,
    "SkipSimplifiedLayerNormalization": 5,
    "LpNormalization": 3,
    "BatchNormalization": 2,
}

_LAYOUT: Final = frozenset(
    {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Concat", "Split", "Slice", "Expand", "Tile", "Pad",
     "Identity", "Cast", "CastLike", "BitCast", "DepthToSpace", "SpaceToDepth", "CenterCropPad", "ReverseSequence",
     "Dropout", "Shape", "Size", "Constant", "ConstantOfShape", "Range", "EyeLike", "Trilu", "QLinearConcat",
     "Optional", "OptionalGetElement", "OptionalHasElement", "SequenceConstruct", "SequenceAt", "SequenceEmpty",
     "SequenceErase", "SequenceInsert", "SequenceLength", "SplitToSequence", "ConcatFromSequence", "BitmaskDropout",
     "HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix"}
)  # fmt: skip
_LOOKUP: Final = frozenset(
    {"Gather", "GatherElements", "GatherND", "Scatter", "ScatterElements", "ScatterND", "OneHot", "Compress", "NonZero",
     "TensorScatter", "MaxUnpool", "GatherBlockQuantized"}
)  # fmt: skip
_REDUCTIONS: Final = frozenset({"ArgMax", "ArgMin", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceMean", "ReduceProd"})
_TWO_STEP_REDUCTIONS: Final = frozenset(
    {"ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp", "QLinearReduceMean"}
)
_POOLING: Final = frozenset({"MaxPool", "AveragePool", "LpPool", "NhwcMaxPool", "QLinearAveragePool"})
_GLOBAL_POOLING: Final = frozenset({"GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "QLinearGlobalAveragePool"})
_NARY: Final = frozenset({"Max", "Min", "Sum", "Mean"})


def _written(t: Translation, step: Step) -> int:
    return t.value(step.outputs[0]).elements


def _read(t: Translation, step: Step) -> int:
    return t.value(step.inputs[0]).elements


def elementwise(t: Translation, step: Step) -> None:
    """One operator whose work is in proportion to its output."""
    each = len(step.inputs) - 1 if step.op in _NARY else _PER_OUTPUT[step.op]
    t.add(step, Kind.ELEMENTWISE, each * _written(t, step))


def dequantised(t: Translation, step: Step) -> None:
    """DequantizeLinear: nothing, where products take the integers."""
    from fiberloom.workload.importers.onnx.contractions import CONTRACTIONS

    reader = t.sole_reader(step.outputs[0])
    if reader is not None and reader.op in CONTRACTIONS:
        t.add(step, Kind.ELEMENTWISE, 0, note=f"'{reader.name}' takes the integers")
        return
    elementwise(t, step)


def normalisation(t: Translation, step: Step) -> None:
    """A normalisation; without scale and shift there are fewer operations."""
    each = _NORMALISATION[step.op]
    if step.op in {"LayerNormalization", "GroupNormalization"} and not step.given(2):
        each -= 1
    t.add(step, Kind.NORMALISATION, each * _written(t, step))


def local_normalisation(t: Translation, step: Step) -> None:
    """LRN: squares summed over `size` channels, then scale, power, divide."""
    t.add(step, Kind.NORMALISATION, (step.attributes()["size"] + 4) * _written(t, step))


def softmax(t: Translation, step: Step) -> None:
    """Softmax and its kin."""
    t.add(step, Kind.SOFTMAX, SOFTMAX_OPERATIONS * _written(t, step))


def pooling(t: Translation, step: Step) -> None:
    """A window per output element; what of a window lies outside the data on both sides is not counted."""
    window = step.attributes().get("kernel_shape", ())
    extents = t.value(step.inputs[0]).extents
    extents = extents[1:-1] if step.op == "NhwcMaxPool" else extents[2:]
    inside = math.prod(min(k, n) for k, n in zip(window, extents, strict=False))
    t.add(step, Kind.POOLING, inside * _written(t, step))


def global_pooling(t: Translation, step: Step) -> None:
    """Every input element once."""
    t.add(step, Kind.POOLING, _read(t, step))


def region_pooling(t: Translation, step: Step) -> None:
    """MaxRoiPool, RoiAlign: RoiAlign interpolates `sampling_ratio`² points of four neighbours per output element."""
    points = step.attributes().get("sampling_ratio", 0) or 2
    each = 8 * points * points if step.op == "RoiAlign" else 1
    note = (
        "two points per axis assumed" if step.op == "RoiAlign" and not step.attributes().get("sampling_ratio") else ""
    )
    t.add(step, Kind.POOLING, each * _written(t, step), note=note or ("" if each > 1 else "size of regions not known"))


def reduction(t: Translation, step: Step) -> None:
    """Every input element once, or twice where it is squared or made positive first."""
    t.add(step, Kind.REDUCTION, (2 if step.op in _TWO_STEP_REDUCTIONS else 1) * _read(t, step))


def choice(t: Translation, step: Step) -> None:
    """TopK, Unique: compared along an axis; about log2 of its length comparisons per element."""
    value = t.value(step.inputs[0])
    axis = step.attributes().get("axis", -1)
    length = value.extents[axis] if value.extents else 1
    t.add(step, Kind.REDUCTION, value.elements * max(1, math.ceil(math.log2(max(2, length)))), note="as a sort")


def resize(t: Translation, step: Step) -> None:
    """Resize, Upsample: nearest moves elements; linear and cubic weigh 2 or 4 neighbours along each axis that changes."""
    mode = step.attributes().get("mode", "nearest")
    before, after = t.value(step.inputs[0]).extents, t.value(step.outputs[0]).extents
    axes = sum(a != b for a, b in zip(before, after, strict=True))
    if mode == "nearest" or not axes:
        t.add(step, Kind.LAYOUT)
        return
    neighbours = (4 if mode == "cubic" else 2) ** axes
    t.add(step, Kind.ELEMENTWISE, 2 * neighbours * _written(t, step), note=f"{mode} interpolation")


def sampled(t: Translation, step: Step) -> None:
    """GridSample: each output element weighs its neighbours at a computed place."""
    linear = "near" not in step.attributes().get("mode", "linear")
    spatial = len(t.value(step.outputs[0]).extents) - 2
    t.add(step, Kind.LOOKUP, (2 * 2**spatial if linear else 0) * _written(t, step))


def scan(t: Translation, step: Step) -> None:
    """CumSum, CumProd: one operation per element, each after the one before."""
    t.add(step, Kind.SCAN, _written(t, step))


def folded_columns(t: Translation, step: Step) -> None:
    """Col2Im: overlapping columns are added up."""
    t.add(step, Kind.ELEMENTWISE, _read(t, step))


def transform(t: Translation, step: Step) -> None:
    """DFT, STFT: as a fast Fourier transform, 5 n log2 n operations for n points (Cooley and Tukey, 1965: n/2 log2 n butterflies
    of ten real operations).
    """
    value = t.value(step.outputs[0])
    points = max(2, value.extents[-2] if len(value.extents) > 1 else 2)
    t.add(
        step, Kind.REDUCTION, 5 * value.elements // 2 * math.ceil(math.log2(points)), note="as a fast Fourier transform"
    )


def layout(t: Translation, step: Step) -> None:
    """Moves elements."""
    t.add(step, Kind.LAYOUT)


def lookup(t: Translation, step: Step) -> None:
    """Chooses elements by index; a constant table is a parameter."""
    if (
        step.op.startswith("Gather")
        and t.is_constant(step.inputs[0])
        and t.values[step.inputs[0]].element in {2, 3, 21, 22}
    ):
        t.weight(step.inputs[0])
    t.add(step, Kind.LOOKUP)


KINDS: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(_PER_OUTPUT, elementwise),
    **dict.fromkeys(_NARY, elementwise),
    "DequantizeLinear": dequantised,
    **dict.fromkeys(_NORMALISATION, normalisation),
    "LRN": local_normalisation,
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "QLinearSoftmax", "BiasSoftmax"), softmax),
    **dict.fromkeys(_POOLING, pooling),
    **dict.fromkeys(_GLOBAL_POOLING, global_pooling),
    **dict.fromkeys(("RoiAlign", "MaxRoiPool"), region_pooling),
    **dict.fromkeys((*_REDUCTIONS, *_TWO_STEP_REDUCTIONS), reduction),
    **dict.fromkeys(("TopK", "Unique"), choice),
    **dict.fromkeys(("Resize", "Upsample"), resize),
    "GridSample": sampled,
    **dict.fromkeys(("CumSum", "CumProd"), scan),
    "Col2Im": folded_columns,
    **dict.fromkeys(("DFT", "STFT"), transform),
    **dict.fromkeys(_LAYOUT, layout),
    **dict.fromkeys(_LOOKUP, lookup),
}
"""Operators that are not products, and how each becomes an operator of a network."""
