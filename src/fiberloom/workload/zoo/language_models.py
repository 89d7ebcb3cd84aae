"""Language models, from the tables that define them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fiberloom.workload.network import Network
from fiberloom.workload.zoo.decoder import Decoder, decoder
from fiberloom.workload.zoo.encoder import Encoder, TextEncoder, text_encoder
from fiberloom.workload.zoo.passes import Pass, of_one_pass

# Devlin et al., NAACL'19, §3 (layers, width, heads; feed-forward four times as wide); vocabulary and positions of bert-*-uncased.
BERT_BASE: Final = TextEncoder("bert_base", Encoder(12, 768, 12, 3072), vocabulary=30522, positions=512)
BERT_LARGE: Final = TextEncoder("bert_large", Encoder(24, 1024, 16, 4096), vocabulary=30522, positions=512)


def _gpt(name: str, layers: int, width: int, heads: int, positions: int) -> Decoder:
    """GPT-2's architecture (Radford et al., 2019, §2.3), which GPT-3 shares."""
    return Decoder(
        name, vocabulary=50257, layers=layers, width=width, heads=heads, groups=heads, head=width // heads, inside=4 * width,
        gated=False, function="gelu_tanh", norm="layer norm", positions=positions, fused=True,
        qkv_bias=True, output_bias=True, feed_forward_bias=True, tied=True,
    )  # fmt: skip


GPT2: Final = _gpt("gpt2", 12, 768, 12, 1024)
"""Radford et al., 2019, table 2."""
GPT3_6_7B: Final = _gpt("gpt3_6_7b", 32, 4096, 32, 2048)
"""Brown et al., NeurIPS'20, table 2.1; its alternating sparse attention is not modelled: all layers attend to all tokens."""

# Touvron et al., arXiv:2307.09288, §2.2 and table 1; widths as in the models' published configurations.
LLAMA2_7B: Final = Decoder(
    "llama2_7b", vocabulary=32000, layers=32, width=4096, heads=32, groups=32, head=128, inside=11008
)
LLAMA2_70B: Final = Decoder(
    "llama2_70b", vocabulary=32000, layers=80, width=8192, heads=64, groups=8, head=128, inside=28672
)


def encoder_of(model: TextEncoder, number_format: str = "fp32", source: str = "") -> Callable[..., Network]:
    """A function that makes the network of an encoder at given sizes."""

    def make(
        *, batch: int = 1, seq: int = 128, number_format: str = number_format, weight_format: str | None = None
    ) -> Network:
        return text_encoder(
            model, batch=batch, seq=seq, number_format=number_format, weight_format=weight_format,
            source=source or f"zoo: {model.name}",
        )  # fmt: skip

    return make


def decoder_of(model: Decoder, number_format: str, source: str = "") -> Callable[..., Network]:
    """A function that makes the network of one pass of a decoder, by default in its published number format."""

    @of_one_pass
    def make(
        this: Pass,
        *,
        number_format: str = number_format,
        weight_format: str | None = None,
        cache_format: str | None = None,
        form: str | None = None,
    ) -> Network:
        return decoder(
            model, this, number_format=number_format, weight_format=weight_format, cache_format=cache_format, form=form,
            source=source or f"zoo: {model.name}",
        )  # fmt: skip

    return make
