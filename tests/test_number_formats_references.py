"""Number formats bit for bit against other implementations: ml_dtypes, torchao."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fiberloom.representation.formats import ElementFormat, Integer, number_format
from fiberloom.representation.formats.scales import E8M0

ML_DTYPES = {
    "fp4-e2m1": "float4_e2m1fn",
    "fp6-e2m3": "float6_e2m3fn",
    "fp6-e3m2": "float6_e3m2fn",
    "fp8-e3m4": "float8_e3m4",
    "fp8-e4m3-ieee": "float8_e4m3",
    "fp8-e4m3": "float8_e4m3fn",
    "fp8-e4m3-fnuz": "float8_e4m3fnuz",
    "fp8-e4m3-fnuz-b11": "float8_e4m3b11fnuz",
    "fp8-e5m2": "float8_e5m2",
    "fp8-e5m2-fnuz": "float8_e5m2fnuz",
    "bf16": "bfloat16",
    "fp16": "float16",
    "int2": "int2",
    "int4": "int4",
    "uint2": "uint2",
    "uint4": "uint4",
}
DRAWS = 1_000_000


def unscaled(name: str) -> ElementFormat:
    found = number_format(name if name in ("bf16", "fp16") else f"{name}/unscaled")
    assert isinstance(found, ElementFormat)
    return found


def reference(name: str) -> Any:
    return (
        np.dtype("float16") if name == "fp16" else np.dtype(getattr(pytest.importorskip("ml_dtypes"), ML_DTYPES[name]))
    )


def patterns(array: NDArray[Any]) -> NDArray[Any]:
    """Bit patterns of an array of one of ml_dtypes' types."""
    return array.view(np.uint16 if array.dtype.itemsize == 2 else np.uint8)


@pytest.mark.parametrize("name", ML_DTYPES)
def test_every_pattern_stands_for_the_number_that_ml_dtypes_says(name: str) -> None:
    ours, theirs = unscaled(name), reference(name)
    codes = np.arange(2**ours.bits, dtype=ours.code_type)
    numbers, expected = ours.decode(codes, np.float32), codes.view(theirs).astype(np.float32)
    assert np.array_equal(numbers, expected, equal_nan=True)
    finite = np.isfinite(expected)
    assert np.array_equal(np.signbit(numbers[finite]), np.signbit(expected[finite]))


@pytest.mark.parametrize("name", ML_DTYPES)
def test_a_million_numbers_and_every_tie_round_as_in_ml_dtypes(name: str) -> None:
    ours, theirs = unscaled(name), reference(name)
    own = np.unique(ours.values[np.isfinite(ours.values)])
    ties = ((own[1:] + own[:-1]) / 2).astype(np.float32)
    rng = np.random.default_rng(0)
    values = np.concatenate([
        rng.standard_normal(DRAWS).astype(np.float32) * np.exp2(rng.uniform(-20, 20, DRAWS)).astype(np.float32),
        *(np.nextafter(ties, np.float32(end)) for end in (-np.inf, np.inf)),
        ties, own.astype(np.float32), np.array([0.0, -0.0], np.float32),
    ])  # fmt: skip
    if isinstance(ours, Integer):  # ml_dtypes cuts fractions and high bits off: whole numbers in range compare
        values = np.clip(np.rint(values), ours.lowest, ours.largest)
    with np.errstate(over="ignore"):
        expected = patterns(values.astype(theirs)) & (2**ours.bits - 1)
    assert np.array_equal(ours.encode(values, saturate=False), expected)


@pytest.mark.parametrize("name", [n for n in ML_DTYPES if "fp8" in n or n in ("bf16", "fp16")])
def test_infinities_and_nan_become_what_they_become_in_ml_dtypes(name: str) -> None:
    values = np.array([np.inf, -np.inf, np.nan], np.float32)
    ours, theirs = unscaled(name), reference(name)
    assert np.array_equal(ours.encode(values, saturate=False), patterns(values.astype(theirs)))


def test_powers_of_two_are_those_of_ml_dtypes() -> None:
    theirs = np.dtype(pytest.importorskip("ml_dtypes").float8_e8m0fnu)
    codes = np.arange(256, dtype=np.uint8)
    assert np.array_equal(E8M0.decode(codes), codes.view(theirs).astype(np.float64), equal_nan=True)
    rng = np.random.default_rng(0)
    values = np.exp2(rng.uniform(-126, 127, DRAWS)).astype(np.float32)
    values = np.concatenate([values, (1.5 * np.exp2(np.arange(-120.0, 120))).astype(np.float32)])
    assert np.array_equal(E8M0.encode(values), patterns(values.astype(theirs)))


@pytest.mark.parametrize(
    ("name", "element"),
    [
        ("mxfp4", "float4_e2m1fn_x2"),
        ("mxfp6-e2m3", "fp6_e2m3"),
        ("mxfp6-e3m2", "fp6_e3m2"),
        ("mxfp8-e4m3", "float8_e4m3fn"),
        ("mxfp8-e5m2", "float8_e5m2"),
    ],
)
@pytest.mark.parametrize("rule", ["floor", "ceil"])
@pytest.mark.parametrize("spread", [0.0, 8.0])
def test_mx_formats_store_what_torchao_stores(name: str, element: str, rule: str, spread: float) -> None:
    torch = pytest.importorskip("torch")
    mx = pytest.importorskip("torchao.prototype.mx_formats.mx_tensor")
    rng = np.random.default_rng(0)
    blocks = np.exp2(rng.normal(0, spread, (512, 64, 1)))
    array = (rng.standard_normal((512, 64, 32)) * blocks).reshape(512, 2048).astype(np.float32)
    array[:3] = 0
    array[3, ::7] = 0
    mode = {"floor": mx.ScaleCalculationMode.FLOOR, "ceil": mx.ScaleCalculationMode.RCEIL}[rule]
    dtype = getattr(torch, element, element if element.startswith("fp6") else None)
    if element.startswith("fp6"):
        dtype = getattr(pytest.importorskip("torchao.prototype.mx_formats.constants"), f"DTYPE_{element.upper()}")
    scales, data = mx.to_mx(torch.from_numpy(array), dtype, 32, mode)
    codes = data.view(torch.uint8).numpy()
    if element.startswith("float4"):
        codes = np.stack([codes & 15, codes >> 4], axis=-1).reshape(array.shape)
    quantized = number_format(f"{name}/{rule}").quantize(array)
    assert quantized.scales is not None
    assert np.array_equal(quantized.scales, scales.view(torch.uint8).numpy())
    assert np.array_equal(quantized.codes, codes.reshape(array.shape))


@pytest.mark.parametrize("two_level", [True, False])
@pytest.mark.parametrize("magnitude", [1.0, 1e-3, 50.0])
def test_nvfp4_stores_what_torchao_stores(two_level: bool, magnitude: float) -> None:
    torch = pytest.importorskip("torch")
    nvfp4 = pytest.importorskip("torchao.prototype.mx_formats.nvfp4_tensor")
    rng = np.random.default_rng(1)
    array = (magnitude * rng.standard_normal((512, 2048)) * np.exp2(rng.normal(0, 2, (512, 1)))).astype(np.float32)
    array[0] = 0
    tensor = torch.from_numpy(array)
    coarse = nvfp4.per_tensor_amax_to_scale(tensor.abs().max()) if two_level else None
    scales, data = nvfp4.nvfp4_quantize(tensor, 16, coarse)
    packed = data.view(torch.uint8).numpy()
    codes = np.stack([packed & 15, packed >> 4], axis=-1).reshape(array.shape)
    quantized = number_format("nvfp4" if two_level else "fp4/v16/e4m3/single").quantize(array)
    assert quantized.scales is not None
    assert np.array_equal(quantized.scales, scales.view(torch.uint8).numpy().reshape(quantized.scales.shape))
    assert np.array_equal(quantized.codes, codes)
    if coarse is not None:
        assert quantized.stored.coarse is not None and quantized.stored.coarse.item() == coarse.item()
