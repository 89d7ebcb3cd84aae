"""Operators of ATen that are not Einsums: their kind, and how many scalar operations they are.

Tables hold what PyTorch's own marks do not say: an operator marked ``pointwise`` or ``reduction`` needs no entry, and one that
returns a view of its argument moves elements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from fiberloom.workload.importers.torch_export_values import Call
from fiberloom.workload.network import Kind, Operator
from fiberloom.workload.zoo.building import OPERATIONS, PER_ROW

_PER_ELEMENT: Final[Mapping[str, int]] = {
    "sigmoid": OPERATIONS["sigmoid"],
    "silu": OPERATIONS["silu"],
    "gelu": OPERATIONS["gelu"],
    "softplus": OPERATIONS["softplus"],
    "relu6": OPERATIONS["relu6"],
    "hardtanh": OPERATIONS["relu6"],
    "clamp": 2,
    "hardsigmoid": 4,  # relu6(x + 3) / 6: Howard et al., ICCV'19, §5.2
    "hardswish": 5,  # x · relu6(x + 3) / 6: same, same
    "mish": 5,  # x · tanh(log(1 + exp(x))): Misra, BMVC'20
    "leaky_relu": 2,
    "prelu": 2,
    "elu": 3,
    "selu": 4,
    "celu": 4,
    "glu": OPERATIONS["sigmoid"] + 1,  # a · sigmoid(b): Dauphin et al., ICML'17, equation 1
    "addcmul": 3,
    "addcdiv": 3,
    "lerp": 3,
    "where": 1,
    "fake_quantize_per_tensor_affine": 6,
    "fake_quantize_per_channel_affine": 6,
    "quantize_per_tensor": 5,  # division, rounding, zero point, two limits
    "quantize_per_channel": 5,
    "dequantize_per_tensor": 2,  # zero point, scale
    "dequantize_per_channel": 2,
    "dequantize_affine": 2,
    "quantize_affine": 5,
    **dict.fromkeys(
        ("diff", "floor_divide", "clip", "true_divide", "multiply", "subtract", "divide", "rsub", "square", "isclose"),
        1,
    ),
    "_weight_norm": 5,  # square, sum, root, division, scale: Salimans and Kingma, NIPS'16, equation 2
    "weight_norm": 5,
    "_weight_norm_interface": 5,
    "tril": 0,
    "triu": 0,
}
"""Scalar operations per element of the output; pointwise operators that are not here: one."""

_INTERPOLATION: Final[Mapping[str, int]] = {
    # per element: taps, as many weights, and the sums between them
    "upsample_linear1d": 3,
    "upsample_bilinear2d": 7,
    "_upsample_bilinear2d_aa": 7,
    "upsample_trilinear3d": 15,
    "upsample_bicubic2d": 31,
    "_upsample_bicubic2d_aa": 31,
}

_NORMS: Final[Mapping[str, str]] = {
    "batch_norm": "batch norm",
    "_native_batch_norm_legit_no_training": "batch norm",
    "_native_batch_norm_legit": "batch norm",
    "native_batch_norm": "batch norm",
    "layer_norm": "layer norm",
    "native_layer_norm": "layer norm",
    "group_norm": "layer norm",
    "native_group_norm": "layer norm",
    "instance_norm": "layer norm",
    "rms_norm": "rms norm",
    "_fused_rms_norm": "rms norm",
}

_SOFTMAX: Final = frozenset({"softmax", "_softmax", "_safe_softmax", "log_softmax", "_log_softmax"})

_POOLING: Final = frozenset(
    {f"{how}{n}d" for how in ("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool") for n in (1, 2, 3)}
    | {f"max_pool{n}d_with_indices" for n in (2, 3)}
    | {f"_adaptive_avg_pool{n}d" for n in (2, 3)}
)

_LOOKUPS: Final = frozenset({
    "embedding", "index", "gather", "index_select", "take", "take_along_dim", "index_put", "scatter", "index_copy",
    "grid_sampler", "grid_sampler_2d", "_unsafe_index", "masked_select", "nonzero", "searchsorted", "bucketize", "one_hot",
})  # fmt: skip

_ADDING_LOOKUPS: Final = frozenset({"embedding_bag", "scatter_add", "scatter_reduce", "index_add"})
"""Lookups that add what they find: one operation per element of what they read."""

_LAYOUT: Final = frozenset({
    "cat", "stack", "clone", "copy", "constant_pad_nd", "pad", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d",
    "replication_pad1d", "replication_pad2d", "replication_pad3d", "roll", "repeat", "repeat_interleave", "tile", "flip", "im2col",
    "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle", "slice_scatter", "select_scatter",
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "tril", "triu", "rot90", "concat", "concatenate",
    "hstack", "vstack", "_unsafe_view", "contiguous", "_reshape_copy", "combinations", "meshgrid", "as_strided_copy",
    "_reshape_alias", "view_copy", "permute_copy", "transpose_copy", "unsqueeze_copy", "expand_copy", "slice_copy", "t_copy",
    "split", "split_with_sizes", "chunk", "unbind", "unsafe_split", "unsafe_chunk", "tensor_split", "split_with_sizes_copy",
    "narrow", "fill", "zero", "broadcast_tensors", "movedim", "unfold", "atleast_1d", "reshape", "view_as_real",
    "view_as_complex", "pad_sequence", "lift_fresh_copy", "dropout", "alpha_dropout", "feature_dropout", "cartesian_prod",
})  # fmt: skip

_MADE: Final = frozenset({
    "arange", "zeros", "ones", "full", "empty", "zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones",
    "new_full", "new_empty", "scalar_tensor", "eye", "linspace", "tril_indices", "triu_indices", "rand", "randn", "rand_like",
    "randn_like", "lift_fresh", "_tensor_constant", "empty_strided", "new_empty_strided", "empty_permuted", "hann_window",
})  # fmt: skip
"""Constants, made when needed."""

_REDUCTIONS: Final = frozenset(
    {"logsumexp", "linalg_vector_norm", "norm", "count_nonzero", "histc", "bincount", "std_mean", "var_mean"}
)

_BITWISE: Final = frozenset(f"__{name}__" for name in ("and", "or", "xor", "lshift", "rshift"))

_SORTING: Final = frozenset({"sort", "topk", "argsort", "kthvalue", "median", "unique_consecutive"})

_SCANS: Final = frozenset({"cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"})


def other_operator(call: Call) -> Operator | None:
    """The operator of a call that is not an Einsum, or None if it is not known."""
    base, made = call.base, sum(v.elements for v in call.outputs)
    if base in _NORMS:
        return call.step(Kind.NORMALISATION, _normalisation(call, _NORMS[base]), outputs=call.outputs[:1])
    if base in _SOFTMAX:
        return call.step(Kind.SOFTMAX, OPERATIONS["softmax"] * call.output.elements)
    if base in _POOLING:
        return call.step(Kind.POOLING, _pooling(call), outputs=call.outputs[:1])
    if base in _INTERPOLATION:
        return call.step(Kind.ELEMENTWISE, _INTERPOLATION[base] * made)
    if base in _PER_ELEMENT:
        each = OPERATIONS["gelu_tanh"] if base == "gelu" and call["approximate"] == "tanh" else _PER_ELEMENT[base]
        return call.step(Kind.ELEMENTWISE if each else Kind.LAYOUT, each * made)
    if base in _LOOKUPS:
        return call.step(Kind.LOOKUP)
    if base in _ADDING_LOOKUPS:
        return call.step(Kind.LOOKUP, max((v.elements for v in call.inputs[1:]), default=made))
    if base in _LAYOUT or base in _MADE:
        return call.step(Kind.LAYOUT)
    if base in _SORTING:
        extent = max((v.elements for v in call.inputs), default=0)
        return call.step(
            Kind.REDUCTION, extent * max(1, math.ceil(math.log2(max(2, extent)))), note="n·log₂ n comparisons"
        )
    if base in _SCANS:
        return call.step(Kind.SCAN, made)
    if base in _REDUCTIONS or "reduction" in call.tags:
        return call.step(Kind.REDUCTION, max((v.elements for v in call.inputs), default=0))
    if base in ("to", "_to_copy", "type_as", "convert_element_type"):
        return call.step(Kind.ELEMENTWISE, made, note="conversion of the number format")
    if "pointwise" in call.tags or base in _BITWISE:
        return call.step(Kind.ELEMENTWISE, made)
    if call.view:
        return call.step(Kind.LAYOUT)
    return None


def _normalisation(call: Call, which: str) -> int:
    x = call.inputs[0]
    rows = 0
    if which in PER_ROW:
        shape: Any = call["normalized_shape"]
        if isinstance(shape, (list, tuple)):
            width = math.prod(int(s) for s in shape)
        else:  # one mean per image and group of channels
            groups = int(call["num_groups"] or call["group"] or (x.shape[1] if len(x.shape) > 1 else 1))
            width = max(1, x.elements // (x.shape[0] * groups))
        rows = x.elements // max(1, width)
    return OPERATIONS[which] * x.elements + PER_ROW.get(which, 0) * rows


def _pooling(call: Call) -> int:
    """Comparisons or additions: one per element of every window."""
    out, image = call.output, call.inputs[0]
    kernel = call["kernel_size"]
    if kernel is None:  # adaptive: windows cover the image once
        return max(image.elements, out.elements)
    extents = 1 if call.base.endswith("1d") else 3 if "3d" in call.base else 2
    sizes = [kernel] if isinstance(kernel, int) else list(kernel)
    return out.elements * math.prod(int(s) for s in (sizes * extents if len(sizes) == 1 else sizes))
