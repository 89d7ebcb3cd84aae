"""Tensors from files: every format, and what is wrong with a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.representation import read_tensor, tensor_names

VALUES = np.random.default_rng(1).standard_normal((6, 10)).astype(np.float32)


def safetensors_file(path: Path, tensors: dict[str, tuple[str, tuple[int, ...], bytes]]) -> Path:
    """A .safetensors file of tensors given as type, shape and bytes."""
    header, data = {}, b""
    for name, (kind, shape, content) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_numpy_files_are_read_as_float32(tmp_path: Path) -> None:
    for dtype in (np.float16, np.float32, np.int8):
        np.save(tmp_path / "w.npy", (VALUES * 10).astype(dtype))
        found = read_tensor(tmp_path / "w.npy")
        assert found.dtype == np.float32
        assert np.array_equal(found, (VALUES * 10).astype(dtype).astype(np.float32))
    np.save(tmp_path / "w.npy", VALUES.astype(np.float64))
    assert read_tensor(tmp_path / "w.npy").dtype == np.float64
    np.savez(tmp_path / "both.npz", first=VALUES, second=VALUES.T)
    assert np.array_equal(read_tensor(f"{tmp_path}/both.npz:second"), VALUES.T)
    assert tensor_names(tmp_path / "both.npz") == ["first", "second"]
    assert tensor_names(tmp_path / "w.npy") == []
    np.savez(tmp_path / "one.npz", VALUES)
    assert np.array_equal(read_tensor(tmp_path / "one.npz"), VALUES)


def test_narrow_floats_of_safetensors_are_decoded(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    bf16 = (VALUES.view(np.uint32) >> 16).astype("<u2")
    e5m2 = np.array([0x00, 0x01, 0x3C, 0x7B, 0xBC, 0x80], np.uint8)
    e4m3 = np.array([0x00, 0x01, 0x08, 0x38, 0x7E, 0xB8], np.uint8)
    path = safetensors_file(
        tmp_path / "m.safetensors",
        {
            "layer.weight": ("BF16", VALUES.shape, bf16.tobytes()),
            "e5m2": ("F8_E5M2", (6,), e5m2.tobytes()),
            "e4m3": ("F8_E4M3", (2, 3), e4m3.tobytes()),
            "half": ("F16", (2,), np.array([1.5, -2], np.float16).tobytes()),
        },
    )
    assert tensor_names(path) == ["e4m3", "e5m2", "half", "layer.weight"]
    expected = (bf16.astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(read_tensor(f"{path}:layer.weight"), expected)
    # Least subnormal 2^-16, one, largest 57344; 2^-9, least normal 2^-6, one, largest 448 (OCP 8-bit floating point, 2023).
    assert read_tensor(f"{path}:e5m2").tolist() == [0, 2**-16, 1, 57344, -1, 0]
    assert read_tensor(f"{path}:e4m3").tolist() == [[0, 2**-9, 2**-6], [1, 448, -1]]
    assert read_tensor(f"{path}:half").tolist() == [1.5, -2]
    nan = safetensors_file(tmp_path / "nan.safetensors", {"w": ("F8_E4M3", (2,), b"\x38\x7f")})
    with pytest.raises(SpecError, match=r"1 of 2 values are NaN"):
        read_tensor(nan)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "bfloat16"])
def test_every_code_point_is_that_of_ml_dtypes(tmp_path: Path, name: str) -> None:
    pytest.importorskip("safetensors")
    dtype = np.dtype(getattr(pytest.importorskip("ml_dtypes"), name))
    codes: NDArray[np.generic] = np.arange(256**dtype.itemsize, dtype=f"<u{dtype.itemsize}")
    codes = codes[np.isfinite(codes.view(dtype).astype(np.float32))]
    kind = {"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "bfloat16": "BF16"}[name]
    path = safetensors_file(tmp_path / "all.safetensors", {"w": (kind, (len(codes),), codes.tobytes())})
    assert np.array_equal(read_tensor(path), codes.view(dtype).astype(np.float32))


def test_sparse_matrix_files_are_read(tmp_path: Path) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    io = pytest.importorskip("scipy.io")
    matrix = sparse.random(20, 30, density=0.1, random_state=1, dtype=np.float32)
    sparse.save_npz(tmp_path / "s.npz", matrix.tocsr())
    io.mmwrite(tmp_path / "s.mtx", matrix)
    assert np.array_equal(read_tensor(tmp_path / "s.npz"), matrix.toarray())
    assert read_tensor(tmp_path / "s.mtx") == pytest.approx(matrix.toarray())


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", VALUES)
    np.savez(tmp_path / "both.npz", first=VALUES, second=VALUES)
    (tmp_path / "w.txt").write_text("1 2 3")
    (tmp_path / "broken.npy").write_bytes(b"not numpy")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not a zip")
    np.save(tmp_path / "objects.npy", np.array([{}, []], dtype=object))
    np.save(tmp_path / "nan.npy", np.array([np.nan]))
    for source, message in (
        ("nowhere.npy", "there is no file"),
        ("nowhere.npz:w", "there is no file"),
        ("w.txt", r"no known format\n.*\.npy"),
        ("w.npy:w", "one tensor without a name"),
        ("both.npz", r"holds 2 tensors\n.*first, second"),
        ("both.npz:frist", r"no tensor 'frist'\n.*did you mean 'first'"),
        ("broken.npy", "can't be read"),
        ("broken.npz", "can't be read"),
        ("objects.npy", "can't be read"),
        ("nan.npy", "NaN"),
    ):
        with pytest.raises(SpecError, match=message) as caught:
            read_tensor(f"{tmp_path}/{source}")
        assert str(tmp_path) in str(caught.value)


def test_a_broken_safetensors_file_is_no_traceback(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    (tmp_path / "m.safetensors").write_bytes(b"\xff" * 30)
    for read in (read_tensor, tensor_names):
        with pytest.raises(SpecError, match="can't be read"):
            read(tmp_path / "m.safetensors")
