"""Encoders from their configurations: BERT and RoBERTa, ViT and DeiT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fiberloom.workload.importers.huggingface.decoders import divided, layers, name
from fiberloom.workload.importers.huggingface.fields import Config
from fiberloom.workload.network import Network
from fiberloom.workload.zoo.encoder import Encoder, ImageEncoder, TextEncoder, image_encoder
from fiberloom.workload.zoo.language_models import encoder_of

_HEADS = {
    "Model": (True, ""),
    "ForPreTraining": (True, "pretraining"),
    "ForMaskedLM": (False, "mask"),
    "LMHeadModel": (False, "mask"),
    "ForSequenceClassification": (True, "sequence"),
    "ForMultipleChoice": (True, "sequence"),
    "ForTokenClassification": (False, "token"),
    "ForQuestionAnswering": (False, "token"),
}
"""Ends of class names: whether there is a pooler, and the last layers."""


def bert(config: Config) -> Callable[..., Network]:
    """``model_type: bert``."""
    if config.flag("is_decoder", False) or config.flag("add_cross_attention", False):
        field = "is_decoder" if config.values.get("is_decoder") else "add_cross_attention"
        raise config.error("BERT as a decoder is not known", field)
    return encoder_of(
        _text(config, "Bert", positions=512, segments=2), config.number_format, config.file or "configuration"
    )


def roberta(config: Config) -> Callable[..., Network]:
    """``model_type: roberta`` (Liu et al., arXiv:1907.11692) and its relatives: positions begin behind the padding's."""
    offset = config.integer("pad_token_id", 1, least=0) + 1
    model = replace(_text(config, config.architecture.split("For")[0], positions=514, segments=1), offset=offset)
    if model.head == "sequence":
        model = replace(model, pooled=False, head="sequence_roberta")
    return encoder_of(model, config.number_format, config.file or "configuration")


def _text(config: Config, prefix: str, *, positions: int, segments: int) -> TextEncoder:
    what = config.architecture.removeprefix(prefix).removeprefix("Roberta")
    pooled, head = _HEADS.get(what or "Model", (False, config.architecture))
    labels = 1 if what == "ForMultipleChoice" else config.labels
    return TextEncoder(
        name(config), _encoder(config), config.integer("vocab_size"),
        positions=config.integer("max_position_embeddings", positions),
        segments=config.integer("type_vocab_size", segments), pooled=pooled, head=head, labels=labels,
    )  # fmt: skip


def vit(config: Config) -> Callable[..., Network]:
    """``model_type: vit``."""
    return _image(config, distilled=False)


def deit(config: Config) -> Callable[..., Network]:
    """``model_type: deit``, which has a distillation token in any case."""
    return _image(config, distilled=True)


def _image(config: Config, *, distilled: bool) -> Callable[..., Network]:
    what = config.architecture
    classifies = "ForImageClassification" in what
    known = classifies or not what or what.endswith("Model")
    image, patch = (_side(config, field, size) for field, size in (("image_size", 224), ("patch_size", 16)))
    if image % patch:
        raise config.error(f"patches of {patch} do not tile an image of {image}", "patch_size")
    model = ImageEncoder(
        name(config), replace(_encoder(config), norm_first=True, qkv_bias=config.flag("qkv_bias", True)),
        image=image, patch=patch, channels=config.integer("num_channels", 3), distilled=distilled,
        pooled=not classifies and known, labels=config.labels if classifies else 0,
        heads_apart=what.endswith("WithTeacher"), unknown="" if known else what,
    )  # fmt: skip
    standard = config.number_format

    def make(*, batch: int = 1, number_format: str = standard, weight_format: str | None = None) -> Network:
        source = config.file or "configuration"
        return image_encoder(
            model, batch=batch, number_format=number_format, weight_format=weight_format, source=source
        )

    return make


def _encoder(config: Config) -> Encoder:
    width, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    divided(config, width, heads, "num_attention_heads")
    inside = config.integer("intermediate_size")
    return Encoder(layers(config), width, heads, inside, config.function("hidden_act", "gelu"))


def _side(config: Config, field: str, default: int) -> int:
    """Rows of an image or patch, which may be written as rows and columns."""
    value = config.values.get(field)
    if isinstance(value, (list, tuple)):
        if len(value) != 2 or value[0] != value[1]:
            raise config.error(f"{list(value)}: images and patches are square", field)
        return Config({field: value[0]}, config.file).integer(field)
    return config.integer(field, default)
