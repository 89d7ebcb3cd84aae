"""``fiberloom formats``: what it prints, as a table and as JSON, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fiberloom.architecture.components import bit_serial_energy, multiplier_energy
from fiberloom.cli.program import run
from fiberloom.report.number_formats import USUAL, compare_formats
from fiberloom.representation.formats import EXAMPLES, crest_factor, fidelity, mean_digits, number_format


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["formats", *arguments]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    assert run(["formats", *arguments]) == code
    return " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "w.npy"
    np.save(path, np.random.default_rng(0).standard_normal((48, 100)).astype(np.float32))
    return path


def test_comparison_prints_what_the_library_computes(capsys: pytest.CaptureFixture[str], weights: Path) -> None:
    array = np.load(weights)
    names = ["int8", "mxfp4", "nvfp4", "hadamard64(nvint4)", "bitmod-fp4", "fp32"]
    for axis in (-1, 0):
        options = (
            "--formats",
            ",".join(names),
            "--axis",
            str(axis),
            "--technology",
            "7nm",
            "--beside",
            "int8",
            "--json",
        )
        told = json.loads(printed(capsys, "compare", str(weights), *options))
        assert told["version"] == 1 and told["shape"] == [48, 100] and told["technology"] == "7nm"
        assert told["crest_factor"] == pytest.approx(crest_factor(array))
        assert told["block_crest_factors"]["32"] == pytest.approx(crest_factor(array, 32, axis))
        assert [row["name"] for row in told["formats"]] == names
        for row in told["formats"]:
            found = number_format(row["name"])
            left = fidelity(array, found.round(array, axis))
            assert row["bits_per_element"] == found.storage_bits(array.shape, axis) / array.size
            assert row["qsnr_db"] == (None if row["name"] == "fp32" else pytest.approx(left.qsnr_db))
            assert (row["relative_error"], row["max_error"]) == pytest.approx((left.relative_error, left.max_error))
            digits = mean_digits(found.quantize(array, axis))
            assert row["nonzero_digits"] == pytest.approx(
                {"ones": digits.ones, "csd": digits.csd, "booth": digits.booth}
            )
            assert row["serial_multiply_pj"] == pytest.approx(bit_serial_energy(found, "int8", digits.csd, "7nm"))
            assert row["mac_energy_pj"] > multiplier_energy(found, "int8", "7nm")
            assert "x int8" in row["provenance"] or row["name"] == "int8"


def test_the_usual_formats_are_compared_and_their_order_is_kept(
    capsys: pytest.CaptureFixture[str], weights: Path
) -> None:
    table = printed(capsys, "compare", str(weights))
    assert re.findall(r"^ ([a-z][a-z0-9/()-]+) +[0-9]", table, flags=re.M) == list(USUAL)
    assert "crest factor" in table and "48×100" in table


def test_drawn_values_depend_on_their_seed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    def errors(tensor: str, *options: str) -> list[float]:
        told = json.loads(printed(capsys, "compare", tensor, "--formats", "int4,fp4", "--json", *options))
        return [row["relative_error"] for row in told["formats"]]

    assert errors("gaussian(64,64)") == errors("gaussian(64, 64)") != errors("gaussian(64,64)", "--seed", "1")
    named = {name: errors(f"{name}(64,64)") for name in ("gaussian", "laplace", "uniform", "student")}
    assert named["uniform"][0] < named["gaussian"][0] < named["laplace"][0] < named["student"][0]  # int4
    assert named["student"][1] < named["student"][0]  # fp4 bears outliers better


def test_a_format_that_refuses_the_tensor_says_why_beside_the_others(
    capsys: pytest.CaptureFixture[str], weights: Path
) -> None:
    told = json.loads(printed(capsys, "compare", str(weights), "--formats", "uint8,int8", "--json"))
    unsigned, signed = told["formats"]
    assert "negative" in unsigned["refused"] and unsigned["qsnr_db"] is None
    assert signed["refused"] is None and signed["qsnr_db"] > 30
    assert "uint8 has no negative numbers" in printed(capsys, "compare", str(weights), "--formats", "uint8,int8")
    assert "int8/asymmetric" in refused(capsys, "compare", str(weights), "--formats", "uint8")


def test_tensors_of_archives_are_named_behind_a_colon(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=np.ones((4, 4)), b=np.arange(5))
    told = json.loads(printed(capsys, "compare", f"{tmp_path}/two.npz:b", "--formats", "int8", "--json"))
    assert told["shape"] == [5]
    assert "one of a, b" in refused(capsys, "compare", f"{tmp_path}/two.npz")


def bad(tmp_path: Path, values: Any) -> str:
    np.save(tmp_path / "bad.npy", values)
    return str(tmp_path / "bad.npy")


def test_bad_tensors_and_options_are_refused_with_what_would_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, weights: Path
) -> None:
    cases = [
        ((bad(tmp_path, np.array([1, np.nan, np.inf])),), "2 of 3 values are NaN or infinite"),
        (("nowhere.npy",), "no file"),
        (("gauss(3,4)",), "'gaussian'"),
        (("gaussian(0,4)",), "no values"),
        (("gaussian(99999,99999)",), "are drawn"),
        ((str(weights), "--formats", "mxpf4"), "'mxfp4'"),
        ((str(weights), "--formats", ","), "names none"),
        ((str(weights), "--axis", "2"), "no axis 2"),
        ((str(weights), "--technology", "3nm"), "5nm"),
        ((str(weights), "--beside", "int300"), "1 to 128 bits"),
    ]
    for arguments, hint in cases:
        assert hint in refused(capsys, "compare", *arguments)
    assert "rounded" in refused(capsys, "compare", str(weights), "--formats", "int64", code=3)
    for values, hint in (
        (np.zeros((0, 4)), "no elements"),
        (np.array(["x"]), "no real numbers"),
        (np.array([1j]), "no real"),
    ):
        assert hint in refused(capsys, "compare", bad(tmp_path, values))


def test_the_list_names_every_family(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(printed(capsys, "list", "--json"))
    assert [entry["name"] for entry in told["formats"]] == [number_format(name).name for name in EXAMPLES]
    by_name = {entry["name"]: entry for entry in told["formats"]}
    assert by_name["nvfp4"]["bits_per_element"] == 4.5 and by_name["nvfp4"]["largest"] == 6
    assert by_name["nvfp4"]["scales"] == "e4m3 for 16, fp32 for the tensor"
    assert "mxfp4/ceil" in printed(capsys, "list") and "mxfp4/ceil" in printed(capsys)


def test_the_array_is_not_modified(weights: Path) -> None:
    array = np.load(weights)
    before = array.copy()
    compare_formats(array)
    assert np.array_equal(array, before)


def test_a_tensor_of_safetensors_in_half_precision_is_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    array = np.random.default_rng(0).standard_normal((32, 64)).astype(np.float16)
    safetensors.save_file({"layer.weight": array}, tmp_path / "m.safetensors")
    told = json.loads(
        printed(capsys, "compare", f"{tmp_path}/m.safetensors:layer.weight", "--formats", "fp16,int8", "--json")
    )
    assert told["formats"][0]["qsnr_db"] is None  # fp16 is exact
    assert told["formats"][1]["qsnr_db"] > 35
