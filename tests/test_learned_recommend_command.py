"""``fiberloom recommend`` as people type it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fiberloom.cli import program

pytest.importorskip("onnxruntime")


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = program.run(["recommend", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_layer_under_all_dataflows(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capsys, "--workload", "m=512, n=784, k=1152", "--area-cap", "3")
    assert code == 0
    assert out.count("recommended") == out.count("most lanes") == out.count("best of all") == 3


def test_a_network_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capsys, "--workload", "resnet18", "--area-cap", "2", "--dataflow", "dla", "--json")
    assert code == 0
    made = json.loads(out)
    assert made["layers"] > 5
    (given,) = made["dataflows"]
    assert given["regret"] == pytest.approx(given["recommended"]["cost"] / given["best"]["cost"])
    assert given["recommended"]["area_mm2"] <= 2


def test_a_workload_of_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "layer.yaml"
    path.write_text(
        'fiberloom: 1\nworkload:\n  einsum: "O[m,p,q] = W[m,c,r,s] * I[c,p+r,q+s]"\n'
        "  shape: {m: 64, c: 64, p: 56, q: 56, r: 3, s: 3}\n"
    )
    file = _run(capsys, "--workload", str(path), "--area-cap", "2", "--json")
    typed = _run(capsys, "--workload", "m=64,n=3136,k=576", "--area-cap", "2", "--json")
    costs = [[d["recommended"] for d in json.loads(out)["dataflows"]] for _, out, _ in (file, typed)]
    assert costs[0] == costs[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--workload", "m=512,n=784", "--area-cap", "3"), "lacks k"),
        (("--workload", "m=512,n=0,k=3", "--area-cap", "3"), "'n=0'"),
        (("--workload", "m=1,n=1,k=1,k=2", "--area-cap", "3"), "'k=2'"),
        (("--workload", "m=1,n=70000,k=1", "--area-cap", "3"), "trained on bounds"),
        (("--workload", "resnet51", "--area-cap", "3"), "did you mean 'resnet50'?"),
        (("--workload", "m=1,n=1,k=1", "--area-cap", "0.1"), "no design fits 0.1 mm2"),
        (("--workload", "m=1,n=1,k=1", "--area-cap", "nan"), "no design fits nan mm2"),
        (("--workload", "m=1,n=1,k=1", "--area-cap", "1", "--dataflow", "dl"), "did you mean 'dla'?"),
        (("--workload", "m=1,n=1,k=1", "--area-cap", "1", "--dim", "seq=3"), "--dim beside a matrix product"),
        (("--workload", "m=1,n=1,k=1", "--area-cap", "1", "--model", "absent.onnx"), "absent.onnx can't be read"),
    ],
)
def test_bad_input_is_a_sentence(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str) -> None:
    code, out, err = _run(capsys, *arguments)
    assert code == 2
    assert said in " ".join(err.replace("│", " ").split())
    assert out == ""
