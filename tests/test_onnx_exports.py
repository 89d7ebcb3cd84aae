"""Networks that PyTorch exports to ONNX are those of the zoo, and their products those that PyTorch counts itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from fiberloom.workload.importers import read_network  # noqa: E402
from fiberloom.workload.network import Network, signature  # noqa: E402

pytestmark = pytest.mark.slow


class Outputs(torch.nn.Module):  # type: ignore[misc, name-defined]
    """A model of transformers that returns tensors."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, given: Any) -> Any:
        return tuple(v for v in self.model(given).to_tuple() if isinstance(v, torch.Tensor))


def exported(folder: Path, model: Any, given: Any) -> tuple[Network, int]:
    """The network in the ONNX file of a model, and the multiply-accumulates that PyTorch counts when it runs."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    module = Outputs(model.eval())
    with torch.no_grad():
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            module(given)
        torch.onnx.export(module, (given,), str(folder / "m.onnx"), dynamo=False, opset_version=17)
    return read_network(str(folder / "m.onnx")), counter.get_total_flops() // 2


def products(network: Network) -> Counter[Any]:
    found: Counter[Any] = Counter()
    for operator in network.einsums:
        assert operator.einsum is not None
        found[signature(operator.einsum)] += operator.count
    return found


def image() -> Any:
    return torch.zeros(1, 3, 224, 224)


def tokens(length: int) -> Any:
    return torch.zeros(1, length, dtype=torch.long)


@pytest.mark.parametrize(
    ("name", "dims", "model", "given"),
    [
        ("resnet50", {}, lambda: transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=1000)), image),
        ("bert-base", {"seq": 512}, lambda: transformers.BertModel(transformers.BertConfig()), lambda: tokens(512)),
        ("vit-b/16", {}, lambda: transformers.ViTForImageClassification(transformers.ViTConfig(num_labels=1000)), image),
        ("mobilenetv2", {},
         lambda: transformers.MobileNetV2ForImageClassification(transformers.MobileNetV2Config(num_labels=1000)), image),
    ],
)  # fmt: skip
def test_an_exported_network_has_the_einsums_of_the_zoo(
    tmp_path: Path, name: str, dims: dict[str, int], model: Callable[[], Any], given: Callable[[], Any]
) -> None:
    network, counted = exported(tmp_path, model(), given())
    assert products(network) == products(read_network(name, dims=dims))
    assert network.macs == counted
    assert not network.unknown


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (lambda: transformers.ConvNextForImageClassification(transformers.ConvNextConfig()), image),
        (lambda: transformers.SwinForImageClassification(transformers.SwinConfig()), image),
        (lambda: transformers.EfficientNetForImageClassification(
            transformers.EfficientNetConfig(width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280)), image),
        (lambda: transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig()), image),
        (lambda: transformers.models.whisper.modeling_whisper.WhisperEncoder(transformers.WhisperConfig()),
         lambda: torch.zeros(1, 80, 3000)),
    ],
    ids=["convnext", "swin", "efficientnet", "segformer", "whisper"],
)  # fmt: skip
def test_products_of_other_exports_are_those_that_pytorch_counts(
    tmp_path: Path, model: Callable[[], Any], given: Callable[[], Any]
) -> None:
    network, counted = exported(tmp_path, model(), given())
    assert network.macs == counted
    assert not network.unknown
