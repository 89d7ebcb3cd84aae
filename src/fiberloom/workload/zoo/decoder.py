"""Decoder-only transformers: GPT-2 and GPT-3, Llama and its relatives, mixtures of experts, latent attention."""

from __future__ import annotations

from dataclasses import dataclass

from fiberloom.errors import SpecError
from fiberloom.workload.network import Network
from fiberloom.workload.zoo.attention import attend, cached, rotary, rotary_angles
from fiberloom.workload.zoo.building import BITS, Builder
from fiberloom.workload.zoo.encoder import unknown_head
from fiberloom.workload.zoo.experts import Experts, feed_forward, mixture
from fiberloom.workload.zoo.latent_attention import Latent, latent_attention
from fiberloom.workload.zoo.passes import Pass


@dataclass(frozen=True)
class Decoder:
    """What defines a decoder-only transformer.

    Attributes:
        width: of a token.
        groups: heads of keys and values.
        head: width of a head.
        inside: width inside a feed-forward layer.
        gated: the feed-forward layer has a gate.
        function: of the feed-forward layer.
        norm: ``layer norm`` or ``rms norm``.
        positions: rows of a learned table of positions; None: rotary positions.
        rotary: share of a head's elements that rotary positions turn.
        fused: queries, keys and values come from one product; `fused_gate`: so do a gate and what it multiplies.
        tied: logits come from the table of words.
        head_norm: queries and keys are normalised head by head (Qwen3).
        windows: keys that a token sees, per layer; None for all. Empty: all layers see all keys.
        experts: mixture of experts in the layers of `sparse`.
        latent: latent attention instead of heads of keys and values.
        final: ``""`` for none, ``words`` for logits, ``sequence`` for `labels` classes, or the name of last layers not known.
    """

    name: str
    vocabulary: int
    layers: int
    width: int
    heads: int
    groups: int
    head: int
    inside: int
    gated: bool = True
    function: str = "silu"
    norm: str = "rms norm"
    positions: int | None = None
    rotary: float = 1.0
    fused: bool = False
    fused_gate: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    feed_forward_bias: bool = False
    tied: bool = False
    head_norm: bool = False
    windows: tuple[int | None, ...] = ()
    experts: Experts | None = None
    sparse: frozenset[int] = frozenset()
    latent: Latent | None = None
    final: str = "words"
    labels: int = 2
    notes: tuple[str, ...] = ()

    @property
    def cached_elements(self) -> int:
        """Elements that the cache keeps per token, of all layers."""
        return self.layers * (self.latent.keys + self.latent.rotary if self.latent else 2 * self.groups * self.head)


def decoder(
    model: Decoder,
    this: Pass,
    *,
    number_format: str = "fp32",
    weight_format: str | None = None,
    cache_format: str | None = None,
    form: str | None = None,
    source: str = "",
) -> Network:
    """The network of one pass.

    Args:
        weight_format, cache_format: number formats of parameters and of the cache; None: as everything else.
        form: of latent attention, see `latent_attention`.

    Raises:
        SpecError: if there are fewer learned positions than tokens, or a form where attention is not latent.
    """
    if model.positions is not None and this.context > model.positions:
        raise SpecError(f"{model.name} has {model.positions} positions; {this.context} tokens are asked for")
    if form is not None and model.latent is None:
        raise SpecError(f"{model.name} has no latent attention, of which to choose the form", hint="leave it out")
    b = Builder(model.name, number_format, weight_format)
    x = b.embedding(
        "words", b.input("tokens", this.batch, this.tokens, number_format="int32"), model.vocabulary, model.width
    )
    places = b.input("positions_of_tokens", 1, this.tokens, number_format="int32")
    angles = ""
    if model.positions is not None:
        x = b.elementwise("add_positions", "add", x, b.embedding("positions", places, model.positions, model.width))
    elif model.rotary:
        turned = model.latent.rotary if model.latent else round(model.head * model.rotary)
        angles = rotary_angles(b, places, turned)
    for i in range(model.layers):
        here = f"layers.{i}"
        y = b.norm(f"{here}.norm1", x, model.norm)
        if model.latent:
            y = latent_attention(
                b, here, y, angles, this, model.latent, heads=model.heads, form=form, cache_format=cache_format
            )
        else:
            y = _attention(b, here, y, angles, this, model, i, cache_format)
        x = b.elementwise(f"{here}.add1", "add", x, y)
        y = b.norm(f"{here}.norm2", x, model.norm)
        if model.experts and i in model.sparse:
            y = mixture(b, here, y, model.experts, model.function)
        else:
            y = feed_forward(
                b, here, y, model.inside, gated=model.gated, function=model.function, bias=model.feed_forward_bias,
                fused=model.fused_gate,
            )  # fmt: skip
        x = b.elementwise(f"{here}.add2", "add", x, y)
    x = b.norm("norm", x, model.norm)
    if this.last_only and this.tokens > 1:
        x = b.reshape("last_token", x, this.batch, 1, model.width, op="slice")
    if model.final == "words":
        x = b.linear("logits", x, model.vocabulary, bias=False, weight="words.weight" if model.tied else None)
    elif model.final == "sequence":
        x = b.linear("classifier", x, model.labels, bias=False)
    elif model.final:
        x = unknown_head(b, model.final, x)
    cache = model.cached_elements * BITS[cache_format or number_format] // 8
    return b.network(x, source=source, notes=_notes(model, this, cache))


def _attention(
    b: Builder, here: str, x: str, angles: str, this: Pass, model: Decoder, layer: int, cache_format: str | None
) -> str:
    width, shared = model.heads * model.head, model.groups * model.head
    if model.fused:
        made = b.linear(f"{here}.qkv", x, width + 2 * shared, bias=model.qkv_bias)
        lead = b.shape(x)[:-1]
        parts = (("query", width), ("key", shared), ("value", shared))
        q, k, v = (b.reshape(f"{here}.{part}", made, *lead, size, op="slice") for part, size in parts)
    else:
        q = b.linear(f"{here}.query", x, width, bias=model.qkv_bias)
        k, v = (b.linear(f"{here}.{part}", x, shared, bias=model.qkv_bias) for part in ("key", "value"))
    if model.head_norm:
        q, k = (
            b.norm(f"{here}.{part}.norm", y, model.norm, bias=False, width=model.head)
            for part, y in (("query", q), ("key", k))
        )
    if angles:
        q = rotary(b, f"{here}.query.rotary", q, angles, model.rotary)
        k = rotary(b, f"{here}.key.rotary", k, angles, model.rotary)
    window = model.windows[layer] if model.windows else None
    room = min(this.context, window or this.context)
    kept = [cached(b, f"{here}.{part}s", y, room, cache_format) for part, y in (("key", k), ("value", v))]
    k, v = kept if this.decodes else (k, v)
    before = "scale" if this.tokens == 1 else "scale and mask"
    z = attend(b, f"{here}.attention", q, k, v, heads=model.heads, groups=model.groups, window=window, before=before)
    return b.linear(f"{here}.output", z, model.width, bias=model.output_bias)


def _notes(model: Decoder, this: Pass, cache: int) -> tuple[str, ...]:
    notes = [
        f"decodes one token per sequence with {this.keys} tokens in the cache, itself among them"
        if this.decodes
        else f"computes {this.tokens} tokens per sequence; masked scores count, as in published figures"
    ]
    notes.append(f"the cache takes {cache:,} bytes per token")
    if any(w is not None and w < this.keys for w in model.windows):
        notes.append("the first tokens of a sliding window see fewer keys than are counted")
    if model.experts:
        notes.append("experts: as many as a router that chooses evenly is expected to hit, with even loads")
    return (*notes, *model.notes)
