"""Element types of ONNX tensors: their number formats and widths."""

from __future__ import annotations

from typing import Final, NamedTuple


class ElementType(NamedTuple):
    """A number format by the name that architectures use, and the bits of an element."""

    number_format: str
    bits: int


# source: onnx.proto, TensorProto.DataType. A bool is stored in a byte; E8M0 holds exponents of block scales only.
_TYPES: Final = {
    1: ElementType("fp32", 32),
    2: ElementType("uint8", 8),
    3: ElementType("int8", 8),
    4: ElementType("uint16", 16),
    5: ElementType("int16", 16),
    6: ElementType("int32", 32),
    7: ElementType("int64", 64),
    8: ElementType("string", 8),
    9: ElementType("bool", 8),
    10: ElementType("fp16", 16),
    11: ElementType("fp64", 64),
    12: ElementType("uint32", 32),
    13: ElementType("uint64", 64),
    14: ElementType("complex64", 64),
    15: ElementType("complex128", 128),
    16: ElementType("bf16", 16),
    17: ElementType("fp8-e4m3", 8),
    18: ElementType("fp8-e4m3", 8),
    19: ElementType("fp8-e5m2", 8),
    20: ElementType("fp8-e5m2", 8),
    21: ElementType("uint4", 4),
    22: ElementType("int4", 4),
    23: ElementType("fp4-e2m1", 4),
    24: ElementType("e8m0", 8),
    25: ElementType("uint2", 2),
    26: ElementType("int2", 2),
    27: ElementType("fp6-e2m3", 6),
    28: ElementType("fp6-e3m2", 6),
}

FLOAT: Final = 1
INT8: Final = 3
INT32: Final = 6
INT64: Final = 7
BOOL: Final = 9
UINT8: Final = 2

PLAIN_INTEGERS: Final = frozenset({4, 5, 6, 7, 8, 9, 12, 13})
"""Types of indices, masks and sizes: constants of these are stored with a model and not learned."""


def element_type(code: int) -> ElementType:
    """Format and width of an ONNX type code; 32 bits of unknown format for a code that this table does not have."""
    return _TYPES.get(code, ElementType(f"onnx-type-{code}", 32))
