"""Real layers on several designs, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fiberloom.architecture.features import without_features
from fiberloom.architecture.levels import Architecture
from fiberloom.architecture.library.binding import bind, plan_mapping
from fiberloom.architecture.library.design import DesignInfo, read_design
from fiberloom.mapping.nest import Mapping
from fiberloom.workload.einsum import Einsum

DESIGNS = ("dense-tensor-core", "stc", "dstc", "eyeriss", "scnn", "sparten", "extensor")
"""Designs of the demonstration."""

WEIGHTS_DENSITY = 0.5
ACTIVATIONS_DENSITY = {"ResNet-50": 0.4, "BERT-base": 1.0}
"""Half of the weights kept (2:4 where a design asks for a pattern). ReLU leaves roughly 40 % of a ResNet's activations
non-zero (an assumption in the range that pruning papers report), those that come in and those that go out; GELU leaves
none at zero."""


@dataclass(frozen=True)
class DemoRun:
    """One design on one layer.

    Attributes:
        plain_architecture, plain_mapping: the same hardware without its sparse features, and its mapping.
        note: how the weights are pruned, and whether the layer runs as a GEMM.
    """

    design: str
    workload: Einsum
    architecture: Architecture
    mapping: Mapping
    plain_architecture: Architecture
    plain_mapping: Mapping
    note: str


def demo(designs: tuple[str, ...] = DESIGNS) -> list[tuple[str, list[DemoRun]]]:
    """Layers with the designs that run them: ``(title, runs)``.

    The layers are ResNet-50's res4 3x3 convolution (256 to 256 channels, 14 x 14, batch 1) and BERT-base's first
    feed-forward product (768 to 3072, 512 tokens).
    """
    infos = [read_design(name) for name in designs]
    return [
        (
            "ResNet-50 res4 3x3 convolution, 256→256 channels, 14x14, batch 1; weights 50 %, activations 40 % non-zero",
            [
                _run(info, _convolution(info), "im2col GEMM" if "conv" not in info.computes else "convolution")
                for info in infos
            ],
        ),
        (
            "BERT-base feed-forward, 768→3072, 512 tokens; weights 50 % non-zero, activations dense",
            [_run(info, _feed_forward(info), "GEMM") for info in infos],
        ),
    ]


def _run(info: DesignInfo, workload: Einsum, form: str) -> DemoRun:
    architecture = bind(info, workload)
    weights = f"weights {info.weights_density}" if info.weights_density else "weights unstructured"
    return DemoRun(
        info.name,
        workload,
        architecture,
        plan_mapping(info, workload).mapping,
        without_features(architecture),
        plan_mapping(info, workload, features=False).mapping,
        f"{form}, {weights}",
    )


def _densities(info: DesignInfo, activations: float) -> dict[str, Any]:
    densities: dict[str, Any] = {"W": info.weights_density or WEIGHTS_DENSITY}
    if activations < 1:
        densities |= {"I": activations, "O": activations}
    return densities


def _convolution(info: DesignInfo) -> Einsum:
    densities = _densities(info, ACTIVATIONS_DENSITY["ResNet-50"])
    if "conv" in info.computes:
        shape = {"m": 256, "c": 256, "r": 3, "s": 3, "p": 14, "q": 14}
        return Einsum.parse(
            "O[m,p,q] = W[m,c,r,s] * I[c,p+r,q+s]", shape, name="resnet50-res4-3x3", densities=densities
        )
    shape = {"m": 256, "n": 14 * 14, "k": 256 * 3 * 3}
    return Einsum.parse("O[m,n] = W[m,k] * I[k,n]", shape, name="resnet50-res4-3x3-im2col", densities=densities)


def _feed_forward(info: DesignInfo) -> Einsum:
    densities = _densities(info, ACTIVATIONS_DENSITY["BERT-base"])
    shape = {"m": 3072, "n": 512, "k": 768}
    return Einsum.parse("O[m,n] = W[m,k] * I[k,n]", shape, name="bert-base-ffn", densities=densities)
