"""``fiberloom compress``: what it prints and saves for tensors, files, ONNX and networks, and what it refuses."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fiberloom.cli.program import run
from fiberloom.workload.profile.array_archive import write_arrays


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("answers")


@pytest.fixture(scope="module")
def gaussian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tensors") / "w.npy"
    np.save(path, np.random.default_rng(0).standard_normal((256, 512), dtype=np.float32))
    return path


@pytest.fixture
def compressed(capsys: pytest.CaptureFixture[str], cache: Path) -> Any:
    def call(*arguments: object) -> Any:
        code = run(["compress", *map(str, arguments), "--cache", str(cache), "--json"])
        output = capsys.readouterr()
        assert code == 0, output.err
        return json.loads(output.out)

    return call


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = run(["compress", *map(str, arguments)])
    shown = capsys.readouterr()
    assert shown.out == ""
    return code, re.sub(r"[\s│]+", " ", shown.err)


def test_one_series_is_answered_at_the_top(gaussian: Path, compressed: Any) -> None:
    found = compressed("tasd", gaussian, "--series", "2:4+2:8")
    assert found["design"] == "ttc-vegeta-m8"
    assert found["dropped_nonzeros"] == 0.25
    assert found["density"] == 0.75
    assert found["relative_error"] == pytest.approx(0.1377, rel=0.02)
    assert found["throughput"] == {"ideal": pytest.approx(4 / 3), "menu": pytest.approx(4 / 3)}
    assert found["bits_per_weight"] > 12
    assert found["cycles"] == pytest.approx(0.75 * found["designs"][0]["dense"]["cycles"])
    assert found["edp_j_s"] == pytest.approx(found["energy_pj"] * 1e-12 * found["seconds"])
    assert any("int8 on ttc-vegeta-m8" in note for note in found["notes"])


def test_series_that_are_equal_have_equal_errors(gaussian: Path, compressed: Any) -> None:
    both, six = compressed("tasd", gaussian, "--series", "2:4+2:8", "--series", "6:8", "--on", "none")["results"]
    assert both["relative_error"] == pytest.approx(six["relative_error"], rel=1e-6)
    assert both["throughput"]["ideal"] == six["throughput"]["ideal"]


def test_a_core_of_two_of_four_runs_six_of_eight_at_the_dense_rate(gaussian: Path, compressed: Any) -> None:
    found = compressed("tasd", gaussian, "--series", "6:8", "--on", "stc")
    assert found["throughput"] == {"ideal": pytest.approx(4 / 3), "menu": 1.0}
    assert found["results"][0]["versus_dense"]["edp"] == pytest.approx(1.0)


def test_time_on_highlight_follows_the_density_exactly(gaussian: Path, compressed: Any) -> None:
    patterns = [text for pattern in ("C1(4:4)->C0(2:4)", "C1(4:8)->C0(2:4)") for text in ("--pattern", pattern)]
    found = compressed("hss", gaussian, *patterns)
    assert found["designs"][0]["name"] == "highlight"
    dense = found["designs"][0]["dense"]["cycles"]
    assert [point["cycles"] / dense for point in found["results"]] == [0.5, 0.25]


def test_without_a_pattern_all_degrees_of_the_design_are_shown(gaussian: Path, compressed: Any) -> None:
    found = compressed("hss", gaussian, "--on", "highlight", "--degree", "0.5")
    assert {point["density"] for point in found["results"]} == {0.5}
    assert [point["scheme"] for point in found["results"]] == ["C1(4:4)->C0(2:4)", "C1(4:8)->C0(2:2)"]


def test_sdq_has_four_times_the_throughput_and_plain_formats_beside_it(gaussian: Path, compressed: Any) -> None:
    found = compressed("sdq", gaussian, "--on", "none")
    assert found["throughput"]["ideal"] == 4.0
    assert 5.3 < found["bits_per_weight"] < 5.9  # 4 of values, 0.44 of scales, the rest says where they are
    names = [point["scheme"] for point in found["results"]]
    assert names[1:] == ["int8/v16/e4m3", "int4/v16/e4m3", "fp4/v16/e4m3"]
    assert found["results"][3]["bits_per_weight"] == 4.5


def test_a_format_rounds_activations_too_unless_told(gaussian: Path, compressed: Any) -> None:
    rounded = compressed("quantize", gaussian, "--format", "fp4", "--on", "none")
    exact = compressed("quantize", gaussian, "--format", "fp4", "--on", "none", "--activations", "exact")
    assert exact["output_error"] == exact["relative_error"] == rounded["relative_error"]
    assert rounded["output_error"] == pytest.approx(np.sqrt(2) * exact["output_error"], rel=0.1)


def test_calibration_chooses_other_places(gaussian: Path, compressed: Any, tmp_path: Path) -> None:
    rows = np.random.default_rng(1).standard_normal((600, 512)) * np.linspace(0.1, 3, 512)
    np.save(tmp_path / "rows.npy", rows.astype(np.float32))
    options = ("--on", "none", "--beside", "none", "--calibration", tmp_path / "rows.npy", "--activations", "exact")
    errors = {
        method: compressed("sdq", gaussian, "--sparsify", "4:8", "--terms", "4:8 int8", "--method", method, *options)
        for method in ("magnitude", "wanda", "sparsegpt")
    }
    output = {method: found["output_error"] for method, found in errors.items()}
    assert output["sparsegpt"] < output["wanda"] < output["magnitude"]
    assert errors["magnitude"]["relative_error"] < errors["wanda"]["relative_error"]  # no proxy


def test_blocks_run_along_the_axis_that_is_given(compressed: Any, tmp_path: Path) -> None:
    values = np.tile(np.array([[1.0], [1.0], [0.0], [0.0]], np.float32), (4, 16))
    np.save(tmp_path / "columns.npy", values)
    along = compressed("tasd", tmp_path / "columns.npy", "--series", "2:4", "--axis", "0", "--on", "none")
    across = compressed("tasd", tmp_path / "columns.npy", "--series", "2:4", "--on", "none")
    assert along["dropped_nonzeros"] == 0.0
    assert across["dropped_nonzeros"] == 0.5


def test_weights_of_a_convolution_are_cut_along_channels(compressed: Any, tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((8, 4, 3, 3)).astype(np.float32)
    values[:, 2:] = 0
    np.save(tmp_path / "conv.npy", values)
    found = compressed("tasd", tmp_path / "conv.npy", "--series", "2:4", "--on", "none", "-o", tmp_path / "out.npy")
    assert found["relative_error"] == 0
    assert found["results"][0]["layers"][0]["shape"] == [8, 36]
    assert np.array_equal(np.load(tmp_path / "out.npy"), values)


def test_tails_are_kept_when_asked(compressed: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "odd.npy", np.ones((4, 10), np.float32))
    padded = compressed("tasd", tmp_path / "odd.npy", "--series", "1:4", "--on", "none")
    kept = compressed("tasd", tmp_path / "odd.npy", "--series", "1:4", "--on", "none", "--tail", "keep")
    assert (padded["density"], kept["density"]) == (0.3, 0.4)


def test_arrays_may_have_any_name(compressed: Any, tmp_path: Path) -> None:
    arrays = {name: np.ones((4, 8), np.float32) for name in ("file", "allow_pickle", "layers.0/weight")}
    with (tmp_path / "in.npz").open("wb") as file:
        write_arrays(file, arrays)
    compressed("tasd", tmp_path / "in.npz", "--series", "2:4", "--on", "none", "-o", tmp_path / "out.npz")
    saved = np.load(tmp_path / "out.npz")
    assert set(saved.files) == set(arrays)
    assert all(saved[name].sum() == 16 for name in arrays)


def test_the_represented_tensor_and_its_terms_are_saved(gaussian: Path, compressed: Any, tmp_path: Path) -> None:
    before = gaussian.read_bytes()
    out, terms = tmp_path / "out.npz", tmp_path / "terms.npz"
    compressed("tasd", gaussian, "--series", "2:4+2:8", "--on", "none", "-o", out, "--save-terms", terms)
    saved, parts, original = np.load(out)["w"], np.load(terms), np.load(gaussian)
    assert list(parts) == ["w.term1", "w.term2"]
    assert np.array_equal(parts["w.term1"] + parts["w.term2"], saved)
    assert np.count_nonzero(saved) == 0.75 * saved.size
    assert np.array_equal(saved[saved != 0], original[saved != 0])
    assert gaussian.read_bytes() == before


def test_the_input_is_replaced_only_when_asked(
    compressed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "w.npy"
    np.save(path, np.arange(1.0, 17.0, dtype=np.float32).reshape(2, 8))
    arguments = ("tasd", path, "--series", "2:4", "--on", "none", "-o", path)
    code, said = refused(capsys, *arguments)
    assert code == 2 and "is the file that is read" in said and "--overwrite" in said
    assert np.count_nonzero(np.load(path)) == 16
    compressed(*arguments, "--overwrite")
    assert np.count_nonzero(np.load(path)) == 8


def test_a_file_of_tensors_is_a_model(compressed: Any, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    random = np.random.default_rng(0)
    tensors = {
        "a.weight": random.standard_normal((64, 128)).astype(np.float32),
        "a.bias": np.ones(64, np.float32),
        "b.weight": random.standard_normal((32, 64)).astype(np.float16),
        "embeddings.weight": random.standard_normal((50, 64)).astype(np.float32),
    }
    safetensors.save_file(tensors, tmp_path / "m.safetensors")
    found = compressed(
        "quantize", tmp_path / "m.safetensors", "--format", "int4/v16/e4m3", "-o", tmp_path / "o.safetensors"
    )
    assert found["design"] == "dense-tensor-core-45nm"
    first = found["results"][0]
    assert [layer["name"] for layer in first["layers"]] == ["a.weight", "b.weight"]
    assert first["cycles"] == sum(layer["cycles"] for layer in first["layers"])
    assert first["energy_pj"] == pytest.approx(sum(layer["energy_pj"] for layer in first["layers"]))
    assert "looked up" in found["left_out"]["embeddings.weight"]
    saved = safetensors.load_file(tmp_path / "o.safetensors")
    assert saved.keys() == tensors.keys()
    assert np.array_equal(saved["embeddings.weight"], tensors["embeddings.weight"])
    error = np.linalg.norm(saved["a.weight"] - tensors["a.weight"]) / np.linalg.norm(tensors["a.weight"])
    assert error == pytest.approx(first["layers"][0]["relative_error"], rel=1e-5)
    one = compressed("quantize", f"{tmp_path / 'm.safetensors'}:b.weight", "--format", "int4/v16/e4m3", "--on", "none")
    assert one["relative_error"] == pytest.approx(first["layers"][1]["relative_error"])


def test_initialisers_of_an_onnx_file_are_its_weights(compressed: Any, tmp_path: Path) -> None:
    onnx_graphs = pytest.importorskip("onnx_graphs")
    random = np.random.default_rng(0)
    stored = [
        onnx_graphs.numpy_helper.from_array(random.standard_normal((8, 4, 3, 3)).astype(np.float32), "filters"),
        onnx_graphs.numpy_helper.from_array(random.standard_normal((288, 16)).astype(np.float32), "matrix"),
    ]
    nodes = [
        onnx_graphs.node("Conv", ["x", "filters"], ["y"]),
        onnx_graphs.node("Flatten", ["y"], ["z"]),
        onnx_graphs.node("MatMul", ["z", "matrix"], ["o"]),
    ]
    made = onnx_graphs.model(nodes, [onnx_graphs.info("x", (2, 4, 8, 8))], [onnx_graphs.info("o", (2, 16))], stored)
    onnx_graphs.onnx.save(made, tmp_path / "net.onnx")
    found = compressed("tasd", tmp_path / "net.onnx", "--series", "2:4", "--on", "stc")
    layers = {layer["name"]: layer for layer in found["results"][0]["layers"]}
    assert layers["filters"]["shape"] == [8, 36]
    assert layers["matrix"]["shape"] == [16, 288]  # stored (in, out)
    assert layers["matrix"]["macs"] == 2 * 16 * 288
    assert layers["matrix"]["relative_error"] == pytest.approx(0.364, rel=0.1)


def test_random_weights_are_asked_for_and_said(compressed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = refused(capsys, "tasd", "resnet18", "--series", "2:4", "--on", "none")
    assert code == 2 and "has no weights" in said and "--random-weights" in said
    found = compressed(
        "tasd", "resnet18", "--random-weights", "3", "--series", "2:4", "--on", "none", "--layers", "fc.*"
    )
    assert any("random" in note and "seed 3" in note for note in found["notes"])
    assert found["model"]["layers"] == 1
    again = compressed(
        "tasd", "resnet18", "--random-weights", "3", "--series", "2:4", "--on", "none", "--layers", "fc.*"
    )
    assert again["relative_error"] == found["relative_error"]


def test_a_quality_function_gets_the_represented_tensors(gaussian: Path, compressed: Any, tmp_path: Path) -> None:
    (tmp_path / "judge.py").write_text("def zeros(tensors):\n    return float((tensors['w'] == 0).mean())\n")
    options = ("--quality", f"{tmp_path / 'judge.py'}:zeros", "--lower-is-better", "--on", "none")
    found = compressed("tasd", gaussian, "--series", "1:4", *options)
    assert found["quality"] == 0.75
    assert found["quality_of"] == {"name": "zeros", "lower_is_better": True, "original": 0.0}
    assert not any("no proxy" in note for note in found["notes"])


def test_weight_errors_are_said_to_be_no_proxy(gaussian: Path, compressed: Any) -> None:
    assert any(
        "no proxy for accuracy" in note
        for note in compressed("tasd", gaussian, "--series", "2:4", "--on", "none")["notes"]
    )


def test_tables_show_errors_costs_and_notes(gaussian: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "compress",
        "tasd",
        str(gaussian),
        "--series",
        "2:4",
        "--series",
        "6:8",
        "--on",
        "stc",
        "--cache",
        str(cache),
    ]
    assert run(arguments) == 0
    shown = capsys.readouterr().out
    for part in ("256 × 512", "weight error", "50.0%", "EDP", "dense", "512 rows of activations", "no proxy"):
        assert part in shown, part


def test_the_report_is_one_file_that_needs_nothing_else(gaussian: Path, compressed: Any, tmp_path: Path) -> None:
    compressed(
        "tasd", gaussian, "--series", "2:4", "--on", "stc", "--html", tmp_path / "w.html", "--csv", tmp_path / "w.csv"
    )
    page = (tmp_path / "w.html").read_text(encoding="utf-8")
    assert "2:4" in page and "stc" in page and "{{" not in page
    assert not re.search(r'(src|href)="https?://', page)
    assert (tmp_path / "w.csv").read_text().splitlines()[1].startswith("stc,2:4,")


WRONG: list[tuple[list[str], int, str]] = [
    (["tasd", "W", "--series", "2;4"], 2, "neither a pattern nor a number format"),
    (["tasd", "W", "--series", "2:4+"], 2, "a term is empty"),
    (["tasd", "W", "--series", "5:4"], 2, "5:4"),
    (["tasd", "W", "--series", "2:4", "--on", "highlit"], 2, "did you mean 'highlight'?"),
    (["tasd", "W", "--series", "2:4", "--on", "eyeriss"], 2, "does not say which patterns"),
    (["hss", "W", "--on", "dense-tensor-core"], 2, "no hierarchical patterns"),
    (["hss", "W", "--degree", "7"], 2, "the density"),
    (["hss", "W", "--degree", "0.5", "--pattern", "2:4"], 2, "give one of them"),
    (["quantize", "W", "--format", "itn8"], 2, "did you mean 'int8'?"),
    (["sdq", "W", "--method", "wandaa"], 2, "wanda"),
    (["sdq", "W", "--method", "wanda", "--on", "none"], 2, "--calibration"),
    (["sdq", "W", "--calibration", "nothing.npy", "--on", "none"], 2, "no such file"),
    (["sdq", "W", "--scale", "e9m9", "--on", "none"], 2, "e9m9"),
    (["tasd", "nothing.npy", "--series", "2:4"], 2, "there is no file"),
    (["tasd", "no-such-network", "--series", "2:4"], 2, "no network"),
    (["tasd", "W", "--series", "2:4", "--axis", "2", "--on", "none"], 2, "no axis 2"),
    (["tasd", "W", "--series", "2:6", "--tail", "refuse", "--on", "none"], 2, "don't divide"),
    (["tasd", "W", "--series", "2:4", "--tail", "cut", "--on", "none"], 2, "no tail"),
    (["tasd", "W", "--series", "2:4", "--rows", "0", "--on", "none"], 2, "0 rows"),
    (["tasd", "W", "--series", "2:4", "--activations", "int9x", "--on", "none"], 2, "int9x"),
    (["tasd", "W", "--series", "2:4", "--activations-density", "2", "--on", "none"], 2, "share of non-zeros"),
    (["tasd", "W", "--series", "2:4", "--quality", "nothing.py:f", "--on", "none"], 2, "no such file"),
    (["tasd", "W", "--series", "2:4", "--lower-is-better", "--on", "none"], 2, "no quality function"),
    (["tasd", "W", "--series", "2:4", "--layers", "x*", "--on", "none"], 2, "no layer's weights"),
    (["tasd", "W", "--series", "2:4", "--exclude", "w", "--on", "none"], 2, "no layer is left"),
    (["tasd", "W", "--series", "2:4", "--weights", "other.npz", "--on", "none"], 2, "for networks"),
    (["tasd", "W", "--series", "2:4", "--cache", "x", "--no-cache", "--on", "none"], 2, "--cache beside --no-cache"),
    (["tasd", "W", "--series", "2:4", "--time", "-1", "--on", "none"], 2, "seconds above 0"),
    (["tasd", "W", "--series", "2:4", "-o", "/nowhere/w.npy"], 1, "there is no folder"),
    (["tasd", "W", "--series", "2:4", "-o", "w.bin"], 2, "not written"),
    (["tasd", "W", "--series", "2:4", "--series", "4:8", "-o", "w2.npy"], 2, "one file to save"),
    (["tasd", "W", "--series", "2:4", "--html", "/nowhere/w.html"], 1, "there is no folder"),
    (["tasd", "resnet18", "--series", "2:4", "--rows", "3"], 2, "for tensors"),
    (["tasd", "W"], 2, "--series"),
]


@pytest.mark.parametrize(("arguments", "code", "said"), WRONG, ids=[" ".join(case[0]) for case in WRONG])
def test_input_that_makes_no_sense_is_refused(
    arguments: list[str], code: int, said: str, gaussian: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, message = refused(capsys, *(str(gaussian) if word == "W" else word for word in arguments))
    assert (found, said in message) == (code, True), message


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array([[1.0, np.nan], [1.0, 2.0]]), "1 of 4 values are NaN or infinite, the first at [0, 1]"),
        (np.array([[np.inf, 1.0], [1.0, 2.0]]), "NaN or infinite"),
        (np.ones(8), "no matrix to represent"),
        (np.float64(3.0), "no matrix to represent"),
        (np.ones((0, 4)), "no elements"),
        (np.array([["a", "b"]]), "no real numbers"),
        (np.ones((4, 4), complex), "no real numbers"),
    ],
)
def test_tensors_without_meaning_are_refused(
    values: Any, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "bad.npy", values)
    code, message = refused(capsys, "tasd", tmp_path / "bad.npy", "--series", "2:4", "--on", "none")
    assert code == 2 and said in message, message


@pytest.mark.parametrize("kind", ["float16", "int8", "int32", "bool"])
def test_halves_and_integers_are_numbers(kind: str, compressed: Any, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2 if kind == "bool" else 50, (16, 16)).astype(kind)
    np.save(tmp_path / "w.npy", values)
    found = compressed("tasd", tmp_path / "w.npy", "--series", "2:4", "--on", "none")
    assert found["density"] <= 0.5


def test_a_quality_function_that_raises_is_said_to(
    gaussian: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judges = "def raises(m):\n    raise ValueError('no data')\ndef text(m):\n    return 'x'\ndef nan(m):\n    return float('nan')\n"
    (tmp_path / "judge.py").write_text(judges)
    for name, said in (
        ("raises", "no data"),
        ("text", "ValueError"),
        ("nan", "returned nan"),
        ("rises", "did you mean 'raises'?"),
    ):
        code, message = refused(
            capsys, "tasd", gaussian, "--series", "2:4", "--on", "none", "--quality", f"{tmp_path / 'judge.py'}:{name}"
        )
        assert code == 2 and said in message, message


def test_the_page_on_compression_tells_the_truth(
    compressed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "compress.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, flags=re.S)
    namespace: dict[str, Any] = {}
    exec(block, namespace)
    assert namespace["found"].points[0]["bits_per_weight"] == 9.0
    assert [
        link
        for link in re.findall(r"\]\(([a-z0-9-]+\.md)\)", page)
        if not (Path(__file__).parents[1] / "docs" / link).exists()
    ] == []
    monkeypatch.chdir(tmp_path)
    np.save("w.npy", np.random.default_rng(0).standard_normal((64, 128)))
    words = re.search(r"fiberloom compress (tasd w\.npy [^\n]+)", page)
    assert words is not None
    assert compressed(*words[1].split())["dropped_nonzeros"] == 0.25
