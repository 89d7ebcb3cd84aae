"""T5 (Raffel et al., JMLR'20, §2.1) and T5 1.1: an encoder, and a decoder that also attends to what the encoder made."""

from __future__ import annotations

from dataclasses import dataclass

from fiberloom.errors import SpecError, nearest
from fiberloom.workload.network import Kind, Network
from fiberloom.workload.zoo.attention import attend, cached
from fiberloom.workload.zoo.building import Builder
from fiberloom.workload.zoo.encoder import unknown_head
from fiberloom.workload.zoo.experts import feed_forward
from fiberloom.workload.zoo.passes import PHASES, PROMPT


@dataclass(frozen=True)
class EncoderDecoder:
    """What defines a T5.

    Attributes:
        head: width of a head; heads together may be wider or narrower than a token.
        distances: rows of the table of relative positions, one for each range of distances.
        tied: logits come from the table of words, after a scaling.
        final: ``words`` for logits, ``""`` for none, ``encoder`` for the encoder alone, or the name of last layers not known.
    """

    name: str
    vocabulary: int
    encoder_layers: int
    decoder_layers: int
    width: int
    heads: int
    head: int
    inside: int
    gated: bool
    function: str
    distances: int = 32
    tied: bool = True
    final: str = "words"


def encoder_decoder(
    model: EncoderDecoder,
    *,
    batch: int = 1,
    prompt: int | None = None,
    seq: int | None = None,
    target: int = 1,
    context: int | None = None,
    phase: str | None = None,
    number_format: str = "fp32",
    weight_format: str | None = None,
    cache_format: str | None = None,
    source: str = "",
) -> Network:
    """The network of one pass.

    Args:
        prompt: tokens that the encoder reads; `seq` is another name for it.
        target: tokens that the decoder computes in prefill.
        context: tokens of the answer in the decoder's cache, the one being decoded among them; for prefill, its room.
        phase: ``prefill`` (the encoder, what the cache keeps of it, and `target` tokens of the answer) or ``decode`` (one token of
            it); None: decode if there is a context.

    Raises:
        SpecError: if these contradict one another.
    """
    if seq is not None and prompt is not None and seq != prompt:
        raise SpecError(f"'seq' is {seq} and 'prompt' is {prompt}, which are two names for one number")
    prompt = prompt or seq or PROMPT
    phase = phase or ("decode" if context is not None else "prefill")
    if phase not in PHASES:
        raise SpecError(f"there is no phase '{phase}'", hint=nearest(phase, PHASES))
    decodes = phase == "decode"
    tokens = 1 if decodes else target
    room = context or tokens
    if room < tokens:
        raise SpecError(f"a context of {room} tokens has no room for a target of {tokens}")
    b = Builder(model.name, number_format, weight_format)
    encoded = ""
    if not decodes:
        x = b.embedding("words", b.input("tokens", batch, prompt, number_format="int32"), model.vocabulary, model.width)
        encoded = _stack(b, model, "encoder", x)
        if model.final == "encoder":
            return b.network(encoded, source=source)
    elif model.final == "encoder":
        raise SpecError(f"{model.name} is an encoder, which decodes no tokens")
    answer = b.input("answer_tokens", batch, tokens, number_format="int32")
    x = b.embedding("answer_words", answer, model.vocabulary, model.width, table="words.weight")
    x = _stack(b, model, "decoder", x, encoded=encoded, prompt=prompt, room=room, cache_format=cache_format)
    if model.final == "words":
        x = b.elementwise("scale", "scale", x) if model.tied else x
        x = b.linear("logits", x, model.vocabulary, bias=False, weight="words.weight" if model.tied else None)
    elif model.final:
        x = unknown_head(b, model.final, x)
    notes = (
        f"decodes one token per sequence with {room} tokens in the decoder's cache and {prompt} in the encoder's",
        "parameters are those that this pass uses: the encoder's are not among them",
    )
    return b.network(x, source=source, notes=notes if decodes else ())


def _stack(
    b: Builder,
    model: EncoderDecoder,
    stack: str,
    x: str,
    *,
    encoded: str = "",
    prompt: int = 0,
    room: int = 0,
    cache_format: str | None = None,
) -> str:
    """All layers of the encoder or decoder; the decoder (that has `room`) reads `encoded`, or the cache of it when that is empty."""
    _, tokens, width = b.shape(x)
    inner = model.heads * model.head
    decodes = bool(room) and not encoded
    keys = room if decodes else tokens
    distances = b.parameter(f"{stack}.distances.weight", model.distances, model.heads)
    bias = b.step(f"{stack}.distances", "relative positions", Kind.LOOKUP, (distances,), (1, model.heads, tokens, keys))
    layers = model.decoder_layers if room else model.encoder_layers
    for i in range(layers):
        here = f"{stack}.layers.{i}"
        y = b.norm(f"{here}.norm1", x, "rms norm")
        q, k, v = (b.linear(f"{here}.{part}", y, inner, bias=False) for part in ("query", "key", "value"))
        if room:
            kept = [cached(b, f"{here}.{part}s", y, room, cache_format) for part, y in (("key", k), ("value", v))]
            k, v = kept if decodes else (k, v)
        y = attend(b, f"{here}.attention", q, k, v, heads=model.heads, before="", bias=bias)
        x = b.elementwise(f"{here}.add1", "add", x, b.linear(f"{here}.output", y, width, bias=False))
        if room:
            x = _cross(b, model, here, x, encoded, prompt, cache_format)
        y = b.norm(f"{here}.norm2", x, "rms norm")
        y = feed_forward(b, here, y, model.inside, gated=model.gated, function=model.function, bias=False)
        x = b.elementwise(f"{here}.add2", "add", x, y)
    return b.norm(f"{stack}.norm", x, "rms norm")


def _cross(
    b: Builder, model: EncoderDecoder, here: str, x: str, encoded: str, prompt: int, cache_format: str | None
) -> str:
    """Attention to the encoder's tokens; their keys and values are made once and kept."""
    batch, _, width = b.shape(x)
    inner = model.heads * model.head
    y = b.norm(f"{here}.cross.norm", x, "rms norm")
    q = b.linear(f"{here}.cross.query", y, inner, bias=False)
    if encoded:
        k, v = (b.linear(f"{here}.cross.{part}", encoded, inner, bias=False) for part in ("key", "value"))
        for part, made in (("key", k), ("value", v)):
            cached(b, f"{here}.cross.{part}s", made, prompt, cache_format)
    else:
        k, v = (
            b.state(f"{here}.cross.{part}s", batch, prompt, inner, number_format=cache_format)
            for part in ("key", "value")
        )
    y = attend(b, f"{here}.cross.attention", q, k, v, heads=model.heads, before="")
    return b.elementwise(f"{here}.cross.add", "add", x, b.linear(f"{here}.cross.output", y, width, bias=False))
