"""``fiberloom compress`` on PyTorch modules: represented copies, quality functions, calibration data, saved state."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fiberloom.cli.program import run

torch = pytest.importorskip("torch")

MODEL = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.fc = nn.Linear(256, 32)
        self.out = nn.Linear(32, 10)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.norm(self.conv(x))), 2)
        return self.out(torch.relu(self.fc(x.flatten(1))))


def net():
    torch.manual_seed(0)
    return Net(), (torch.zeros(2, 4, 8, 8),)


def agreement(model):
    original = net()[0].eval()
    torch.manual_seed(1)
    x = torch.randn(128, 4, 8, 8)
    with torch.no_grad():
        return float((model(x).argmax(1) == original(x).argmax(1)).float().mean())


def vandal(model):
    for parameter in model.parameters():
        parameter.data.zero_()
    return 0.5
"""


@pytest.fixture
def module(tmp_path: Path) -> str:
    (tmp_path / "small.py").write_text(MODEL)
    return f"{tmp_path / 'small.py'}:net"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    path = tmp_path / "images.npy"
    np.save(path, np.random.default_rng(0).standard_normal((96, 4, 8, 8)).astype(np.float32))
    return path


@pytest.fixture
def compressed(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: object) -> Any:
        code = run(["compress", *map(str, arguments), "--on", "none", "--json"])
        output = capsys.readouterr()
        assert code == 0, output.err
        return json.loads(output.out)

    return call


def test_quality_falls_with_what_is_left_out(module: str, compressed: Any) -> None:
    judge = module.replace(":net", ":agreement")
    found = compressed("tasd", module, "--series", "7:8", "--series", "1:8", "--quality", judge)
    assert found["quality_of"] == {"name": "agreement", "lower_is_better": False, "original": 1.0}
    first, last = (point["quality"] for point in found["results"])
    assert last < first <= 1.0
    assert [layer["name"] for layer in found["results"][0]["layers"]] == ["conv.weight", "fc.weight", "out.weight"]


def test_errors_are_those_of_the_weights_themselves(module: str, compressed: Any) -> None:
    judge = module.replace(":net", ":agreement")
    through = compressed("tasd", module, "--series", "2:4+1:4", "--quality", judge)
    apart = compressed("tasd", module, "--series", "2:4+1:4")
    for a, b in zip(through["results"][0]["layers"], apart["results"][0]["layers"], strict=True):
        for field in ("shape", "relative_error", "dropped_nonzeros", "density", "bits_per_weight"):
            assert a[field] == pytest.approx(b[field], rel=1e-5), (a["name"], field)


def test_a_quality_function_that_changes_its_model_changes_a_copy(module: str, compressed: Any) -> None:
    spoiled = compressed("tasd", module, "--series", "2:4", "--quality", module.replace(":net", ":vandal"))
    assert spoiled["relative_error"] == pytest.approx(compressed("tasd", module, "--series", "2:4")["relative_error"])


def test_layers_that_are_excluded_stay(module: str, compressed: Any) -> None:
    found = compressed(
        "tasd", module, "--series", "1:8", "--exclude", "conv*", "--quality", module.replace(":net", ":agreement")
    )
    assert found["left_out"]["conv.weight"] == "excluded"
    assert [layer["name"] for layer in found["results"][0]["layers"]] == ["fc.weight", "out.weight"]


def test_inputs_of_layers_come_from_calibration_data(module: str, images: Path, compressed: Any) -> None:
    options = (
        "--beside",
        "none",
        "--calibration",
        images,
        "--activations",
        "exact",
        "--sparsify",
        "2:8",
        "--terms",
        "2:8 int8",
    )
    plain = compressed("sdq", module, *options)
    found = compressed("sdq", module, "--method", "sparsegpt", *options)
    assert found["output_error"] < plain["output_error"]
    assert found["relative_error"] > plain["relative_error"]


def test_the_state_that_is_saved_is_the_represented_one(
    module: str, images: Path, compressed: Any, tmp_path: Path
) -> None:
    out = tmp_path / "state.npz"
    compressed("sdq", module, "--method", "wanda", "--beside", "none", "--calibration", images, "-o", out)
    saved = np.load(out)
    namespace: dict[str, Any] = {}
    exec(compile(MODEL, "small.py", "exec"), namespace)
    original = namespace["net"]()[0]
    assert set(saved) == set(original.state_dict())
    model = copy.deepcopy(original)
    model.load_state_dict({name: torch.from_numpy(saved[name].copy()) for name in saved})
    assert torch.equal(model.norm.running_var, original.norm.running_var)
    kept = [int((model.get_parameter(f"{n}.weight") != 0).sum()) for n in ("fc", "out")]
    assert all(
        n <= 7 / 8 * original.get_parameter(f"{m}.weight").numel() for n, m in zip(kept, ("fc", "out"), strict=True)
    )
    error = (model.fc.weight - original.fc.weight).detach().norm() / original.fc.weight.detach().norm()
    assert 0.02 < float(error) < 0.3


def test_an_exported_program_has_weights_but_no_module_to_judge(module: str, compressed: Any, tmp_path: Path) -> None:
    namespace: dict[str, Any] = {}
    exec(compile(MODEL, "small.py", "exec"), namespace)
    made, inputs = namespace["net"]()
    torch.export.save(torch.export.export(made.eval(), inputs), tmp_path / "net.pt2")
    (tmp_path / "judge.py").write_text(
        "def count(tensors):\n    return float(sum((v != 0).sum() for v in tensors.values()))\n"
    )
    found = compressed("tasd", tmp_path / "net.pt2", "--series", "2:4", "--quality", f"{tmp_path / 'judge.py'}:count")
    assert found["quality"] == 0.5 * (16 * 36 + 32 * 256 + 10 * 32)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--calibration", "rows.npz"], 2, "samples"),
        (["--calibration", "words.npy"], 2, "no numbers"),
        (["--calibration", "wide.npy"], 2, "does not run on the calibration data"),
        (["--method", "wanda"], 2, "needs the inputs of"),
    ],
)
def test_calibration_data_that_does_not_fit_is_refused(
    arguments: list[str], code: int, said: str, module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "rows.npz", a=np.zeros((3, 4, 8, 8)), b=np.zeros((2, 4, 8, 8)))
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    np.save(tmp_path / "wide.npy", np.zeros((4, 5, 8, 8), np.float32))
    words = [str(tmp_path / word) if word.endswith((".npy", ".npz")) else word for word in arguments]
    method = [] if "--method" in words else ["--method", "wanda"]
    assert run(["compress", "sdq", module, "--on", "none", *method, *words]) == code
    message = re.sub(r"[\s│]+", " ", capsys.readouterr().err)
    assert said in message, message
