"""What is published about the networks of the zoo: figures to compare with, each with its source and the digits it is given in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

PARAMETERS: Final = "parameters"
MACS: Final = "MACs"


@dataclass(frozen=True)
class Published:
    """A published figure.

    Attributes:
        quantity: `PARAMETERS` or `MACS`.
        value: as published.
        unit: of its last digit: 1 for an exact count, 1e6 for "4.089 G".
        source: who publishes it.
        dims: sizes of the network that it is about.
    """

    quantity: str
    value: int
    unit: int
    source: str
    dims: Mapping[str, int] = field(default_factory=dict)

    def agrees(self, ours: int) -> bool:
        """Whether a count, rounded to the published digits, is the published value."""
        return abs(ours - self.value) * 2 <= (self.unit if self.unit > 1 else 0)


def _torchvision(parameters: int, operations: float) -> tuple[Published, ...]:
    """torchvision's documentation gives parameters exactly and operations (as multiply-adds) in GFLOPS with three digits."""
    return (
        Published(PARAMETERS, parameters, 1, "torchvision, num_params"),
        Published(MACS, round(operations * 1000) * 10**6, 10**6, "torchvision, GFLOPS"),
    )


def _megatron(layers: int, width: int, *, vocabulary: int = 0, pooler: bool = False, tokens: int = 128) -> Published:
    """Half of the floating-point operations by which Megatron-LM is measured, forward only: ``24·s·l·h²·(1 + s/6h) + 2·s·h·V``.

    A pooler adds ``h²`` multiply-adds, which the formula has no term for.
    """
    products = 12 * tokens * layers * width**2 + 2 * tokens**2 * layers * width + tokens * width * vocabulary
    source = "Narayanan et al., SC'21, §5.1, formula" + (" + pooler" if pooler else "")
    return Published(MACS, products + pooler * width**2, 1, source, {"batch": 1, "seq": tokens})


def _palm(layers: int, heads: int, head: int, *, multiplied: int, tokens: int = 128) -> Published:
    """Half of PaLM's operations per token, forward only: ``2·N + 4·L·H·Q·T``, N the parameters that are multiplied by."""
    value = tokens * (multiplied + 2 * layers * heads * head * tokens)
    source = "Chowdhery et al., JMLR'23, appendix B, formula"
    return Published(MACS, value, 1, source, {"batch": 1, "seq": tokens})


_KERAS: Final = "KerasHub, {}"

PUBLISHED: Final[Mapping[str, tuple[Published, ...]]] = {
    "alexnet": _torchvision(61_100_840, 0.714),
    "vgg16": _torchvision(138_357_544, 15.470),
    "resnet18": _torchvision(11_689_512, 1.814),
    "resnet50": _torchvision(25_557_032, 4.089),
    "mobilenet_v2": _torchvision(3_504_872, 0.301),
    "vit_b_16": _torchvision(86_567_656, 17.564),
    "deit_s": (
        Published(PARAMETERS, 22 * 10**6, 10**6, "Touvron et al., ICML'21, table 1"),
        Published(MACS, 46 * 10**8, 10**8, "Liu et al., ICCV'21, table 1"),
    ),
    "bert_base": (
        Published(PARAMETERS, 109_482_240, 1, _KERAS.format("bert_base_en_uncased")),
        Published(PARAMETERS, 110 * 10**6, 10**7, "Devlin et al., NAACL'19, §3"),
        _megatron(12, 768, pooler=True),
    ),
    "bert_large": (
        Published(PARAMETERS, 335_141_888, 1, _KERAS.format("bert_large_en_uncased")),
        Published(PARAMETERS, 340 * 10**6, 10**7, "Devlin et al., NAACL'19, §3"),
        _megatron(24, 1024, pooler=True),
    ),
    "gpt2": (
        Published(PARAMETERS, 124_439_808, 1, _KERAS.format("gpt2_base_en")),
        _megatron(12, 768, vocabulary=50257),
    ),
    "gpt3_6_7b": (
        Published(PARAMETERS, 6_660 * 10**6, 10**7, "Brown et al., NeurIPS'20, table D.1"),
        Published(PARAMETERS, 67 * 10**8, 10**8, "Brown et al., NeurIPS'20, table 2.1"),
        _megatron(32, 4096, vocabulary=50257),
    ),
    "llama2_7b": (
        Published(PARAMETERS, 6_738_415_616, 1, "Llama-2-7b-hf, weights"),
        Published(MACS, 850 * 10**9, 10**7, "calflops, README, table: 850", {"batch": 1, "prompt": 128}),
    ),
    "llama2_70b": (
        Published(PARAMETERS, 68_976_648_192, 1, "Llama-2-70b-hf, weights"),
        _palm(80, 64, 128, multiplied=68_976_648_192 - 32_000 * 8192 - 161 * 8192),
    ),
}
"""Figures by network, the most exact of a quantity first."""
