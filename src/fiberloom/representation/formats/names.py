"""Number formats written as text: an element, then words about its scales, ``int4/v16/e4m3``."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import Final

from fiberloom.errors import Location, SpecError, nearest
from fiberloom.representation.formats._base import NumberFormat
from fiberloom.representation.formats.bitmod import BITMOD_FP3, BITMOD_FP4, BitMod
from fiberloom.representation.formats.element import ElementFormat
from fiberloom.representation.formats.few_levels import BINARY, TERNARY
from fiberloom.representation.formats.hadamard import Hadamard
from fiberloom.representation.formats.integers import Integer
from fiberloom.representation.formats.minifloats import (
    BF16,
    FP4_E2M1,
    FP6_E2M3,
    FP6_E3M2,
    FP8_E4M3,
    FP8_E5M2,
    FP16,
    FP32,
    FP64,
    TF32,
    Minifloat,
    Specials,
)
from fiberloom.representation.formats.scaled import Scaled
from fiberloom.representation.formats.scales import E8M0, SCALE_FORMATS, UE5M3, Rule, usual_rule
from fiberloom.representation.formats.scaling import Per, Scaling, usual_coarse

_ELEMENTS: Final[dict[str, ElementFormat]] = {
    "fp64": FP64,
    "fp32": FP32,
    "tf32": TF32,
    "bf16": BF16,
    "fp16": FP16,
    "fp8-e4m3": FP8_E4M3,
    "fp8-e5m2": FP8_E5M2,
    "fp6-e2m3": FP6_E2M3,
    "fp6-e3m2": FP6_E3M2,
    "fp4-e2m1": FP4_E2M1,
    "ternary": TERNARY,
    "binary": BINARY,
    "e8m0": E8M0,
    "ue5m3": UE5M3,
}
_ALIASES: Final = {
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
    "mxfp8": "mxfp8-e4m3",
    "mxfp6": "mxfp6-e2m3",
    "mxfp4-e2m1": "mxfp4",
}
_MX = Scaling(32, E8M0)  # OCP Microscaling formats 1.0, §5.1
_NV = Scaling(16, FP8_E4M3, Per.TENSOR)  # NVIDIA Blackwell; two-level scaling as in arXiv:2509.25149, §2


def _mx_integer(bits: int) -> Integer:
    return Integer(bits, point=bits - 2)


_COMPOSED: Final[dict[str, Scaled]] = {
    composed.name: composed
    for composed in (
        Scaled(_mx_integer(8), _MX, title="mxint8"),
        Scaled(_mx_integer(6), _MX, title="mxint6"),
        Scaled(_mx_integer(4), _MX, title="mxint4"),
        Scaled(FP8_E4M3, _MX, title="mxfp8-e4m3"),
        Scaled(FP8_E5M2, _MX, title="mxfp8-e5m2"),
        Scaled(FP6_E2M3, _MX, title="mxfp6-e2m3"),
        Scaled(FP6_E3M2, _MX, title="mxfp6-e3m2"),
        Scaled(FP4_E2M1, _MX, title="mxfp4"),
        Scaled(FP4_E2M1, _NV, title="nvfp4"),
        Scaled(Integer(4), _NV, title="nvint4"),
    )
}
_BITMOD: Final[dict[str, BitMod]] = {"bitmod-fp3": BITMOD_FP3, "bitmod-fp4": BITMOD_FP4}
_HADAMARD = re.compile(r"hadamard([0-9]{0,7})\((.+)\)")
_MINIFLOAT = re.compile(
    r"(?:(?:fp|float)(?P<bits>[0-9]{1,3})-?)?e(?P<exponent>[0-9]{1,2})m(?P<fraction>[0-9]{1,3})"
    r"(?:-?b(?P<early>[0-9]{1,4}))?(?:-?(?P<specials>ieee|fnuz|fn|finite))?(?:-?b(?P<bias>[0-9]{1,4}))?"
)
_BLOCK = "v([0-9]{1,9})"
_COARSE: Final = {"tensor": Per.TENSOR, "channel": Per.CHANNEL, "single": None}
_WORDS: Final = ("unscaled", "channel", "tensor", "single", "floor", "nearest", "ceil", "asymmetric")

EXAMPLES: Final = (
    *("int8", "int4", "uint8", "int8/asymmetric", "int4/v16/e4m3", "int4/v16/uint4", "ternary", "binary/v128"),
    *("fp64", "fp32", "tf32", "bf16", "fp16", "fp8-e4m3", "fp8-e5m2", "fp6-e2m3", "fp6-e3m2", "fp4-e2m1"),
    *("fp4-e2m1/v16/e4m3", "fp4-e2m1/v16/ue5m3"),
    *(*_COMPOSED, "mxfp4/ceil", *_BITMOD, "hadamard(nvint4)"),
)
"""Names that show every family."""


def number_format(name: str | NumberFormat, *, where: Location | None = None) -> NumberFormat:
    """The format called `name`: ``int8``, ``fp16``, ``fp8-e4m3``, any ``fpN-eXmY``, ``mxfp4``, ``int4/v16/e4m3`` ….

    Words after the element, in any order: ``v16`` (a scale for 16 elements), ``channel`` or ``tensor`` (for a row or all;
    after ``v16``, what has a scale of scales), ``unscaled``; a scale's format; ``floor``, ``nearest`` or ``ceil`` (how it
    is rounded); ``asymmetric`` (integers with a zero point). Integers and floats of 8 bits and fewer have a float32 scale
    for each row if no word says otherwise.

    Raises:
        SpecError: for a name that is not a format, or whose words make no sense together; it names the nearest.
    """
    if isinstance(name, NumberFormat):
        return name
    try:
        return _read(str(name).strip().lower().replace("_", "-"))
    except SpecError as error:
        if where is None:
            raise
        raise SpecError(error.problem, where=where, hint=error.hint) from None


@lru_cache(maxsize=1024)
def _read(text: str) -> NumberFormat:
    if rotation := _HADAMARD.fullmatch(text):
        return Hadamard(_read(rotation[2]), int(rotation[1]) if rotation[1] else None)
    head, *words = text.split("/")
    head = _ALIASES.get(head, head)
    if head in _COMPOSED:
        return _with_rule(text, _COMPOSED[head], words)
    if head in _BITMOD:
        return _with_group(text, _BITMOD[head], words)
    element = _read_element(head)
    if element is None:
        known = [*EXAMPLES, *_ALIASES]
        raise SpecError(f"unknown number format '{text}'", hint=nearest(text if words else head, known))
    if words == ["unscaled"] or (not words and not element.usually_scaled):
        return replace(element, symmetric=False) if isinstance(element, Integer) else element
    return _scaled(text, element, words)


def _read_element(head: str) -> ElementFormat | None:
    if head in _ELEMENTS:
        return _ELEMENTS[head]
    if match := re.fullmatch(r"(u?)int([0-9]{1,3})", head):
        return Integer(int(match[2]), signed=not match[1])
    if not (match := _MINIFLOAT.fullmatch(head)):
        return None
    exponent, fraction = int(match["exponent"]), int(match["fraction"])
    bits = 1 + exponent + fraction
    if match["bits"] is not None and int(match["bits"]) != bits:
        raise SpecError(
            f"number format '{head}': sign, {exponent} exponent and {fraction} fraction bits make {bits} bits, "
            f"not {match['bits']}",
            hint=f"write 'fp{bits}-e{exponent}m{fraction}'",
        )
    bias = match["bias"] or match["early"]
    specials = Specials(match["specials"]) if match["specials"] else None
    found = Minifloat(exponent, fraction, None if bias is None else int(bias), specials)
    return next((e for e in _ELEMENTS.values() if isinstance(e, Minifloat) and _same_numbers(e, found)), found)


def _same_numbers(a: Minifloat, b: Minifloat) -> bool:
    return all(
        getattr(a, field) == getattr(b, field) for field in ("exponent", "fraction", "offset", "policy", "signed")
    )


def _with_rule(text: str, base: Scaled, words: list[str]) -> NumberFormat:
    """A format of a customary name, with another rule for its scales."""
    if not words:
        return base
    if len(words) > 1 or words[0] not in tuple(Rule):
        composed = replace(base, title=None).name
        raise SpecError(
            f"number format '{text}': '{base.title}' goes with {', '.join(Rule)} alone",
            hint=f"spell it out: '{composed}' is what '{base.title}' means",
        )
    rule = _unusual(Rule(words[0]), base.scaling.scale)
    return replace(base, scaling=replace(base.scaling, rule=rule))


def _with_group(text: str, base: BitMod, words: list[str]) -> NumberFormat:
    """A BitMoD format with groups of another size."""
    if not words:
        return base
    group = re.fullmatch(_BLOCK, words[0]) if len(words) == 1 else None
    if group is None:
        raise SpecError(
            f"number format '{text}': '{base.name}' goes with the size of its groups alone", hint="such as v64"
        )
    return replace(base, scaling=replace(base.scaling, per=int(group[1])))


def _unusual(rule: Rule, scale: ElementFormat) -> Rule | None:
    """None for the rule that goes without saying, so that equal formats are equal however they are written."""
    return None if rule is usual_rule(scale) else rule


def _scaled(text: str, element: ElementFormat, words: list[str]) -> NumberFormat:
    """`element` with the scales that words ask for."""
    found: dict[str, str] = {}
    for word in sorted(words, key=lambda word: not re.fullmatch(_BLOCK, word)):
        kind = _kind_of(word, blocks="per" in found)
        if kind is None:
            known = [*_WORDS, *SCALE_FORMATS, "v16", "v32", "v64", "v128", "uint4"]
            raise SpecError(f"number format '{text}': '{word}' says nothing about scales", hint=nearest(word, known))
        if kind in found:
            raise SpecError(f"number format '{text}': '{word}' and '{found[kind]}' exclude each other")
        found[kind] = word
    block = re.fullmatch(_BLOCK, found.get("per", "channel"))
    scale = FP32 if "scale" not in found else SCALE_FORMATS.get(found["scale"]) or _read_element(found["scale"])
    assert scale is not None
    coarse = (usual_coarse(scale) if block else None) if "coarse" not in found else _COARSE[found["coarse"]]
    per: int | Per = int(block[1]) if block else Per(found.get("per", "channel"))
    rule = _unusual(Rule(found["rule"]), scale) if "rule" in found else None
    zero_point = "zero" in found
    if isinstance(element, Integer) and zero_point:
        element = replace(element, signed=True)
    elif isinstance(element, Integer) and scale == E8M0 and element.signed and element.width > 1:
        element = _mx_integer(element.width)
    try:
        return Scaled(element, Scaling(per, scale, coarse, rule), zero_point)
    except SpecError as error:
        raise SpecError(f"number format '{text}': {error.problem}", hint=error.hint) from None


def _kind_of(word: str, *, blocks: bool) -> str | None:
    """What a word speaks of; ``tensor`` and ``channel`` speak of scales of scales where there are blocks."""
    if re.fullmatch(_BLOCK, word):
        return "per"
    if word in ("tensor", "channel"):
        return "coarse" if blocks else "per"
    if word in SCALE_FORMATS or re.fullmatch(r"uint[0-9]{1,2}", word):
        return "scale"
    if word in tuple(Rule):
        return "rule"
    return {"single": "coarse", "asymmetric": "zero"}.get(word)
