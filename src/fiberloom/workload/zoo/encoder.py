"""Transformer encoders: of texts (BERT and its relatives) and of images (ViT and DeiT)."""

from __future__ import annotations

from dataclasses import dataclass

from fiberloom.errors import SpecError
from fiberloom.workload.network import Kind, Network
from fiberloom.workload.zoo.attention import attend
from fiberloom.workload.zoo.building import Builder


@dataclass(frozen=True)
class Encoder:
    """What defines an encoder's layers.

    Attributes:
        width: of a token.
        feed_forward: width inside a feed-forward layer.
        norm_first: normalisation before attention and feed-forward (ViT) instead of after the additions (BERT).
        qkv_bias: queries, keys and values have biases.
    """

    layers: int
    width: int
    heads: int
    feed_forward: int
    function: str = "gelu"
    norm_first: bool = False
    qkv_bias: bool = True


@dataclass(frozen=True)
class TextEncoder:
    """BERT (Devlin et al., NAACL'19, §3) or a relative.

    Attributes:
        positions: rows of the table of positions; `offset` of them, at its start, mark padding (RoBERTa).
        segments: rows of the table of segments; 0: there is none.
        pooled: a fully connected layer with tanh on the first token.
        head: what comes after: ``""``, ``mask`` (masked words), ``pretraining`` (masked words and next sentence),
            ``sequence`` (one class per sequence), ``token`` (one per token), or the name of one that is not known.
        labels: classes of the head.
    """

    name: str
    encoder: Encoder
    vocabulary: int
    positions: int
    offset: int = 0
    segments: int = 2
    pooled: bool = True
    head: str = ""
    labels: int = 2


@dataclass(frozen=True)
class ImageEncoder:
    """ViT (Dosovitskiy et al., ICLR'21, §3.1) or DeiT (Touvron et al., ICML'21).

    Attributes:
        image, patch: rows (and columns) of each.
        distilled: there is a distillation token beside the class token (DeiT, §4).
        pooled: a fully connected layer with tanh on the class token.
        labels: classes; 0: no classifier.
        heads_apart: the distillation token has a classifier of its own, and the two are averaged.
        unknown: name of last layers that are not known.
    """

    name: str
    encoder: Encoder
    image: int = 224
    patch: int = 16
    channels: int = 3
    distilled: bool = False
    pooled: bool = False
    labels: int = 1000
    heads_apart: bool = False
    unknown: str = ""


def encode(b: Builder, shape: Encoder, x: str, prefix: str = "layers") -> str:
    """All layers of an encoder on tokens."""
    for i in range(shape.layers):
        x = _layer(b, shape, f"{prefix}.{i}", x)
    return x


def _layer(b: Builder, shape: Encoder, here: str, x: str) -> str:
    y = b.norm(f"{here}.norm1", x) if shape.norm_first else x
    q, k, v = (b.linear(f"{here}.{part}", y, shape.width, bias=shape.qkv_bias) for part in ("query", "key", "value"))
    y = b.linear(f"{here}.output", attend(b, f"{here}.attention", q, k, v, heads=shape.heads), shape.width)
    x = b.elementwise(f"{here}.add1", "add", x, y)
    x, y = (x, b.norm(f"{here}.norm2", x)) if shape.norm_first else (b.norm(f"{here}.norm1", x),) * 2
    y = b.linear(f"{here}.feed_forward1", y, shape.feed_forward)
    y = b.linear(f"{here}.feed_forward2", b.elementwise(f"{here}.{shape.function}", shape.function, y), shape.width)
    x = b.elementwise(f"{here}.add2", "add", x, y)
    return x if shape.norm_first else b.norm(f"{here}.norm2", x)


def text_encoder(
    model: TextEncoder,
    *,
    batch: int = 1,
    seq: int = 128,
    number_format: str = "fp32",
    weight_format: str | None = None,
    source: str = "",
) -> Network:
    """The network of an encoder of `batch` texts of `seq` tokens.

    Raises:
        SpecError: if it has fewer positions than tokens.
    """
    if seq > model.positions - model.offset:
        raise SpecError(f"{model.name} has {model.positions - model.offset} positions, {seq} tokens are asked for")
    b = Builder(model.name, number_format, weight_format)
    width = model.encoder.width
    x = b.embedding("words", b.input("tokens", batch, seq, number_format="int32"), model.vocabulary, width)
    if model.segments:
        segments = b.input("segments_of_tokens", batch, seq, number_format="int32")
        x = b.elementwise("add_segments", "add", x, b.embedding("segments", segments, model.segments, width))
    places = b.input("positions_of_tokens", 1, seq, number_format="int32")
    x = b.elementwise("add_positions", "add", x, b.embedding("positions", places, model.positions, width))
    x = encode(b, model.encoder, b.norm("embedding_norm", x))
    outputs = [x]
    if model.pooled:
        first = b.reshape("first_token", x, batch, width, op="slice")
        outputs.append(b.elementwise("pooler.tanh", "tanh", b.linear("pooler", first, width)))
    return b.network(*_text_head(b, model, outputs), source=source)


def _text_head(b: Builder, model: TextEncoder, made: list[str]) -> list[str]:
    x, width = made[0], model.encoder.width
    match model.head:
        case "":
            return made
        case "mask" | "pretraining":
            y = b.elementwise("mask_head.function", model.encoder.function, b.linear("mask_head.transform", x, width))
            y = b.norm("mask_head.norm", y)
            y = b.linear("mask_head.words", y, model.vocabulary, weight="words.weight")
            return [y, b.linear("next_sentence", made[1], 2)] if model.head == "pretraining" else [y]
        case "sequence":
            return [b.linear("classifier", made[1], model.labels)]
        case "token":
            return [b.linear("classifier", x, model.labels)]
        case "sequence_roberta":
            y = b.linear("classifier.dense", b.reshape("first_token", x, b.shape(x)[0], width, op="slice"), width)
            return [b.linear("classifier", b.elementwise("classifier.tanh", "tanh", y), model.labels)]
        case _:
            return [unknown_head(b, model.head, x)]


def unknown_head(b: Builder, head: str, x: str) -> str:
    """What stands for the last layers of a network when they are not known."""
    note = f"the layers that '{head}' adds to the network are not known"
    return b.step("head", head, Kind.UNKNOWN, (x,), b.shape(x), note=note)


def image_encoder(
    model: ImageEncoder, *, batch: int = 1, number_format: str = "fp32", weight_format: str | None = None, source: str = ""
) -> Network:  # fmt: skip
    """The network of an encoder of `batch` images.

    Raises:
        SpecError: if patches do not tile the image.
    """
    if model.image % model.patch:
        raise SpecError(f"{model.name}: patches of {model.patch} do not tile an image of {model.image}")
    b = Builder(model.name, number_format, weight_format)
    width, side = model.encoder.width, model.image // model.patch
    x = b.convolution(
        "patches", b.input("image", batch, model.channels, model.image, model.image), width,
        kernel=model.patch, stride=model.patch, bias=True,
    )  # fmt: skip
    x = b.reshape("tokens", x, batch, side * side, width)
    own = [b.parameter("class_token", 1, 1, width)]
    if model.distilled:
        own.append(b.parameter("distillation_token", 1, 1, width))
    tokens = side * side + len(own)
    x = b.step("concatenate", "concatenate", Kind.LAYOUT, (*own, x), (batch, tokens, width))
    x = b.elementwise("add_positions", "add", x, b.parameter("positions", 1, tokens, width))
    x = b.norm("norm", encode(b, model.encoder, x))
    outputs = [unknown_head(b, model.unknown, x)] if model.unknown else [x]
    if model.pooled or model.labels:
        first = b.reshape("first_token", x, batch, width, op="slice")
        if model.pooled:
            outputs.append(b.elementwise("pooler.tanh", "tanh", b.linear("pooler", first, width)))
        if model.labels:
            outputs = [b.linear("classifier", first, model.labels)]
            if model.heads_apart:
                second = b.reshape("second_token", x, batch, width, op="slice")
                both = b.elementwise(
                    "mean", "add", outputs[0], b.linear("distillation_classifier", second, model.labels)
                )
                outputs = [both]
    return b.network(*outputs, source=source)
