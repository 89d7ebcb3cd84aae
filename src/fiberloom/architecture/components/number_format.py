"""Number formats, as far as hardware cost needs them: kind, exponent bits and significand bits."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fiberloom.errors import Location, SpecError, nearest

_MAX_BITS = 128


@dataclass(frozen=True)
class NumberFormat:
    """A format of operands.

    Attributes:
        name: canonical name.
        bits: bits of one value.
        exponent_bits: 0 for integers.
        significand_bits: width of the multiplier's input: hidden bit included for floats, all bits for integers.
        block_scaled: whether a scale is shared by a block of values (MX, NV); its arithmetic is not charged.
    """

    name: str
    bits: int
    exponent_bits: int
    significand_bits: int
    block_scaled: bool = False

    @property
    def is_float(self) -> bool:
        """Whether the format has an exponent."""
        return self.exponent_bits > 0


def integer(bits: int) -> NumberFormat:
    """A fixed-point format of `bits` bits."""
    return NumberFormat(f"int{bits}", bits, 0, bits)


def floating(bits: int, exponent_bits: int, name: str | None = None) -> NumberFormat:
    """A float with sign, `exponent_bits`, and the rest of `bits` as fraction."""
    significand_bits = bits - exponent_bits  # fraction and hidden bit; the sign is the bit that is left
    return NumberFormat(
        name or f"fp{bits}-e{exponent_bits}m{significand_bits - 1}", bits, exponent_bits, significand_bits
    )


# source: IEEE 754-2019; bfloat16 (Google), TF32 (NVIDIA); OCP 8-bit floating point 1.0; OCP Microscaling formats 1.0.
_NAMED = {
    "fp64": floating(64, 11, "fp64"),
    "fp32": floating(32, 8, "fp32"),
    "tf32": floating(19, 8, "tf32"),
    "bf16": floating(16, 8, "bf16"),
    "fp16": floating(16, 5, "fp16"),
    "fp8-e4m3": floating(8, 4),
    "fp8-e5m2": floating(8, 5),
    "fp6-e2m3": floating(6, 2),
    "fp6-e3m2": floating(6, 3),
    "fp4-e2m1": floating(4, 2),
}
_ALIASES = {
    "bfloat16": "bf16",
    "float16": "fp16",
    "float32": "fp32",
    "float64": "fp64",
    "half": "fp16",
    "float": "fp32",
    "double": "fp64",
    "fp8": "fp8-e4m3",
    "fp6": "fp6-e2m3",
    "fp4": "fp4-e2m1",
}
_BLOCK_SCALED = {
    "mxint8": integer(8),
    "mxfp8": _NAMED["fp8-e4m3"],
    "mxfp6": _NAMED["fp6-e2m3"],
    "mxfp4": _NAMED["fp4-e2m1"],
    "nvfp4": _NAMED["fp4-e2m1"],
    "nvint4": integer(4),
}
_KNOWN = ("int4", "int8", "int16", "int32", *_NAMED, *_ALIASES, *_BLOCK_SCALED)


def number_format(name: str | NumberFormat, *, where: Location | None = None) -> NumberFormat:
    """The format called `name`: ``int8``, ``uint4``, ``fp16``, ``bf16``, ``fp8-e4m3``, any ``fpN-eXmY``, ``mxfp4`` ….

    Raises:
        SpecError: for a name that is not a format, or whose bits do not add up.
    """
    if isinstance(name, NumberFormat):
        return name
    key = str(name).strip().lower().replace("_", "-")
    key = _ALIASES.get(key, key)
    if key in _NAMED:
        return _NAMED[key]
    if key in _BLOCK_SCALED:
        element = _BLOCK_SCALED[key]
        return NumberFormat(key, element.bits, element.exponent_bits, element.significand_bits, block_scaled=True)
    if match := re.fullmatch(r"u?int([0-9]{1,3})", key):
        bits = int(match[1])
        if 1 <= bits <= _MAX_BITS:
            return integer(bits)
        hint = f"integers have 1 to {_MAX_BITS} bits"
        raise SpecError(f"number format '{name}' has {bits} bits", where=where, hint=hint)
    if match := re.fullmatch(r"(?:fp([0-9]{1,3})-?)?e([0-9]{1,2})m([0-9]{1,3})", key):
        exponent, fraction = int(match[2]), int(match[3])
        bits = 1 + exponent + fraction
        if match[1] is not None and int(match[1]) != bits:
            raise SpecError(
                f"number format '{name}': sign, {exponent} exponent and {fraction} fraction bits make {bits} bits, "
                f"not {match[1]}",
                where=where,
                hint=f"write 'fp{bits}-e{exponent}m{fraction}'",
            )
        if exponent >= 1 and bits <= _MAX_BITS:
            return floating(bits, exponent)
    raise SpecError(f"unknown number format '{name}'", where=where, hint=nearest(key, _KNOWN))
