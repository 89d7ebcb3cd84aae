"""Sparsity profiles of PyTorch modules and ONNX files: activations from runs, and ``fiberloom profile``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fiberloom.cli.program import run
from fiberloom.errors import SpecError
from fiberloom.workload.density import build_density
from fiberloom.workload.importers import read_network
from fiberloom.workload.profile import SparsityProfile, make_profile

HERE = Path(__file__).parent
PRUNED = f"{HERE / 'torch_models.py'}:pruned"


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Five samples."""
    path = tmp_path / "inputs.npz"
    np.savez(path, x=np.random.default_rng(0).standard_normal((5, 3, 16, 16)).astype(np.float32))
    return path


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of the outputs of its first layer are negative, and the second layer's weights are stored (inputs, outputs)."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    random = np.random.default_rng(3)
    stored = {
        "conv.weight": random.standard_normal((32, 8, 3, 3)).astype(np.float32),
        "fc.weight": (random.random((32, 32)) < 0.5).astype(np.float32),
    }
    stored["fc.weight"][::4] = 0  # a quarter of the inputs is not used
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight"], ["conv"], pads=[1, 1, 1, 1], group=2),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("MatMul", ["flat", "fc.weight"], ["y"]),
    ]
    sides = [helper.make_tensor_value_info(n, 1, s) for n, s in (("x", ["batch", 16, 8, 8]), ("y", ["batch", 32]))]
    initializers = [numpy_helper.from_array(v, n) for n, v in stored.items()]
    graph = helper.make_graph(nodes, "small", sides[:1], sides[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path_factory.mktemp("onnx") / "small.onnx"
    onnx.save(model, path)
    return path


def test_activations_of_a_module_are_those_of_its_hooks(inputs: Path) -> None:
    torch = pytest.importorskip("torch")
    from torch_models import pruned

    profile, network = make_profile(PRUNED, calibration=inputs)
    assert network is not None
    model, _ = pruned()
    shares: dict[int, list[float]] = {}
    calls: list[int] = []
    model.relu.register_forward_hook(lambda *_: calls.append(1))
    model.relu.register_forward_hook(
        lambda _m, _i, out: shares.setdefault((len(calls) - 1) % 5, []).append(float((out != 0).float().mean()))
    )
    with torch.no_grad():
        for sample in np.load(inputs)["x"]:
            model(torch.from_numpy(sample[None]))
    for call, name in enumerate(("relu", "relu.2")):
        assert profile.tensors[name].nonzero == pytest.approx(np.mean(shares[call]), abs=1e-6)
        assert profile.tensors[name].spread == pytest.approx(np.std(shares[call]), abs=1e-6)
    assert profile.tensors["relu"].samples == 5
    assert profile.tensors["x"].density is None


def test_causal_attention_has_half_of_its_weights(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from fiberloom.workload.network import Kind
    from torch_models import Attending, attention_inputs

    given = attention_inputs()
    path = tmp_path / "inputs.npz"
    np.savez(path, **{n: torch.randn(t.shape).numpy() for n, t in zip("qkv", given, strict=True)})
    for how in ("flag", "expand"):
        profile, network = make_profile(Attending(how), example_inputs=given, calibration=path)
        assert network is not None
        (softmax,) = (o for o in network.operators if o.kind is Kind.SOFTMAX)
        assert profile.tensors[softmax.outputs[0]].nonzero == pytest.approx(17 / 32)


def test_activations_of_an_onnx_file_are_measured(onnx_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "inputs.npz"
    x = np.random.default_rng(0).standard_normal((3, 16, 8, 8)).astype(np.float32)
    x[:, ::2] = 0
    np.savez(path, x=x)
    profile, network = make_profile(onnx_file, dims={"batch": 1}, calibration=path)
    assert network is not None
    assert profile.tensors["x"].nonzero == pytest.approx(0.5)
    assert profile.tensors["x"].empty_channels == 8
    assert profile.tensors["x"].samples == 3
    assert {"conv", "flat"} & set(profile.tensors)
    assert profile.apply(network).tensors["x"].density == pytest.approx(0.5)


def test_weights_that_are_stored_transposed_are_turned(onnx_file: Path, tmp_path: Path) -> None:
    profile, network = make_profile(onnx_file, dims={"batch": 1}, densities="actual", values_file=tmp_path / "p.npz")
    assert network is not None
    operator = next(o for o in network.einsums if o.operands.get("W") == "fc.weight")
    einsum = profile.apply(network).resolved(operator)
    model = build_density("W", (32, 32), einsum.tensor("W").density)
    inputs_axis = [r[0].variable for r in einsum.tensor("W").ranks].index("c")
    column = (32, 1) if inputs_axis == 1 else (1, 32)
    assert model.probability_empty(column) == 0.25


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": (1, 3, 16, 16)}, "no array for input 'x'"),
        ({"x": (1, 3, 32, 32)}, r"shape \[1, 3, 32, 32\], the network's input \[1, 3, 16, 16\]"),
        ({"x": (0, 3, 16, 16)}, "the network's input"),
        ({"x": (1, 3, 16, 16), "z": (1,)}, "'z' is not an input of Pruned"),
    ],
)
def test_calibration_inputs_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    pytest.importorskip("torch")
    np.savez(tmp_path / "c.npz", **{n: np.zeros(s, np.float32) for n, s in arrays.items()})
    with pytest.raises(SpecError, match=message):
        make_profile(PRUNED, calibration=tmp_path / "c.npz")


def test_calibration_inputs_with_nan_or_cut_off_are_refused(inputs: Path) -> None:
    pytest.importorskip("torch")
    content = inputs.read_bytes()
    inputs.write_bytes(content[: len(content) // 2])
    with pytest.raises(SpecError, match="not an archive"):
        make_profile(PRUNED, calibration=inputs)
    np.savez(inputs, x=np.full((1, 3, 16, 16), np.nan, np.float32))
    with pytest.raises(SpecError, match="'x' holds NaN"):
        make_profile(PRUNED, calibration=inputs)


def test_a_model_that_overflows_is_refused_by_tensor_and_sample(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Softmax(-1), torch.nn.Linear(4, 4))
    np.savez(tmp_path / "c.npz", input=np.array([[1, 1, 1, 1], [np.inf, 1, 1, 1]], np.float32))
    with pytest.raises(SpecError, match="holds NaN in calibration sample 1"):
        make_profile(module, example_inputs=torch.randn(1, 4), calibration=tmp_path / "c.npz")


def test_weights_of_a_checkpoint_replace_the_models_own(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from torch_models import pruned

    model, _ = pruned()
    with torch.no_grad():
        model.stem.weight[:8] = 0
    torch.save({"state_dict": {f"module.{n}": t for n, t in model.state_dict().items()}}, tmp_path / "w.pt")
    profile, _ = make_profile(PRUNED, weights=tmp_path / "w.pt")
    assert profile.tensors["stem.weight"].nonzero == 0.75
    assert profile.tensors["stem.weight"].empty_channels == 8


def test_the_command_prints_saves_and_draws(inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    saved, drawn = tmp_path / "p.yaml", tmp_path / "p.html"
    assert run(["profile", PRUNED, "--calibration", str(inputs), "-o", str(saved), "--heat-map", str(drawn)]) == 0
    out = capsys.readouterr().out
    for part in (
        "mid.weight",
        "64×16×3×3",
        "2:4 along axis 1",
        "banded",
        "Non-zeros by channel",
        "rows.weight: tiles are",
    ):
        assert part in out
    assert "fc.weight" in drawn.read_text(encoding="utf-8") and "http" not in drawn.read_text(encoding="utf-8")
    applied = SparsityProfile.read(saved).apply(read_network(PRUNED))
    assert applied.tensors["fc.weight"].density == "2:4"
    assert 0.3 < float(applied.tensors["relu"].density) < 0.7  # type: ignore[arg-type]


def test_the_command_gives_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    assert run(["profile", PRUNED, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tensors"]["band.weight"]["density"] == {"distribution": "banded", "width": 5}
    assert found["tensors"]["mid.weight"]["tiles"][0]["tile"] == [4, 1, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--densities", "actual"], "-o profile.yaml"),
        (["--dim", "batch"], "--dim batch=1"),
        (["-o", "/no/such/folder/p.yaml"], "there is no folder"),
    ],
)
def test_the_command_refuses_early(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profile", "alexnet", *arguments]) != 0
    assert message in " ".join(capsys.readouterr().err.split())
