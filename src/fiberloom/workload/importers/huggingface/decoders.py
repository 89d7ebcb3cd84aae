"""Decoder-only transformers from their configurations: GPT-2, Llama, Mistral, Qwen, Phi-3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fiberloom.workload.importers.huggingface.fields import Config
from fiberloom.workload.network import Network
from fiberloom.workload.zoo.decoder import Decoder
from fiberloom.workload.zoo.language_models import decoder_of

MOST_LAYERS: Final = 2_000
"""The deepest published transformer has 1,000 (DeepNet: Wang et al., arXiv:2203.00555)."""


def gpt2(config: Config) -> Callable[..., Network]:
    """``model_type: gpt2``."""
    width = config.integer(("n_embd", "hidden_size"))
    heads = config.integer(("n_head", "num_attention_heads"))
    if config.flag("add_cross_attention", False):
        raise config.error("cross-attention beside GPT-2's own is not known", "add_cross_attention")
    model = Decoder(
        name(config), vocabulary=config.integer("vocab_size"), layers=layers(config, ("n_layer", "num_hidden_layers")),
        width=width, heads=heads, groups=heads, head=divided(config, width, heads, "n_head"),
        inside=config.integer("n_inner", 4 * width), gated=False,
        function=config.function("activation_function", "gelu_new"), norm="layer norm",
        positions=config.integer(("n_positions", "n_ctx", "max_position_embeddings"), 1024), fused=True,
        qkv_bias=True, output_bias=True, feed_forward_bias=True, tied=config.flag("tie_word_embeddings", True),
        **final(config),
    )  # fmt: skip
    return made(config, model)


def llama(config: Config) -> Callable[..., Network]:
    """``model_type: llama``."""
    bias = config.flag("attention_bias", False)
    own = config.flag("mlp_bias", False)
    return made(config, Decoder(**base(config), qkv_bias=bias, output_bias=bias, feed_forward_bias=own))


def mistral(config: Config) -> Callable[..., Network]:
    """``model_type: mistral``; all layers have the sliding window."""
    return made(config, Decoder(**base(config, groups=8), windows=windows(config)))


def qwen2(config: Config) -> Callable[..., Network]:
    """``model_type: qwen2`` (and Qwen2.5)."""
    return made(config, Decoder(**base(config, groups=32), qkv_bias=True, windows=qwen_windows(config)))


def qwen3(config: Config) -> Callable[..., Network]:
    """``model_type: qwen3``."""
    bias = config.flag("attention_bias", False)
    sizes = base(config, groups=32, head=128)
    return made(config, Decoder(**sizes, qkv_bias=bias, output_bias=bias, head_norm=True, windows=qwen_windows(config)))


def phi3(config: Config) -> Callable[..., Network]:
    """``model_type: phi3`` (Phi-3, Phi-4)."""
    return made(config, Decoder(**base(config), fused=True, fused_gate=True, windows=windows(config)))


def base(config: Config, *, groups: int | None = None, head: int | None = None, latent: bool = False) -> dict[str, Any]:
    """What the families that follow Llama share.

    Args:
        groups, head: heads of keys and values, and the width of a head, when the configuration does not say; None: as many as heads
            of queries, and what the width gives.
        latent: attention is latent, so that heads of keys and values are those of queries and `head` is a head's width, whatever
            the configuration has in their fields.
    """
    width, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    shared = heads if latent else config.integer("num_key_value_heads", groups or heads)
    if heads % shared:
        raise config.error(
            f"{heads} heads of queries do not divide into {shared} of keys and values", "num_key_value_heads"
        )
    own = (
        (None if latent else config.optional("head_dim"))
        or head
        or divided(config, width, heads, "num_attention_heads")
    )
    share = config.number("partial_rotary_factor", 1.0)
    if share > 1:
        raise config.error(f"{share:g} is more than the whole head", "partial_rotary_factor")
    return {
        "name": name(config),
        "vocabulary": config.integer("vocab_size"),
        "layers": layers(config),
        "width": width,
        "heads": heads,
        "groups": shared,
        "head": own,
        "inside": config.integer("intermediate_size"),
        "function": config.function("hidden_act", "silu"),
        "tied": config.flag("tie_word_embeddings", False),
        "rotary": share,
        **final(config),
    }


def final(config: Config) -> dict[str, Any]:
    """What comes after the last layer, by the configuration's ``architectures``."""
    notes = []
    if config.values.get("quantization_config") is not None:
        notes.append("quantization_config is not applied: say weight_format=… for what the weights are kept in")
    what = config.architecture
    if not what or what.endswith(("ForCausalLM", "LMHeadModel")):
        last = "words"
    elif what.endswith("ForSequenceClassification"):
        last = "sequence"
    else:
        last = "" if what.endswith("Model") else what
    return {"final": last, "labels": config.labels if last == "sequence" else 2, "notes": tuple(notes)}


def windows(config: Config) -> tuple[int | None, ...]:
    """The sliding window of every layer, as ``layer_types`` says; without it all have the one of the configuration."""
    window, depth = config.optional("sliding_window"), layers(config)
    kinds = config.strings("layer_types", depth)
    if window is None:
        return ()
    for kind in kinds or ():
        if kind not in ("sliding_attention", "full_attention"):
            raise config.error(f"attention of kind '{kind}' is not known", "layer_types")
    return tuple(window if kind == "sliding_attention" else None for kind in kinds) if kinds else (window,) * depth


def qwen_windows(config: Config) -> tuple[int | None, ...]:
    """The sliding window of every layer: of those from ``max_window_layers`` on, if it is in use at all."""
    if not config.flag("use_sliding_window", False):
        return ()
    if config.values.get("layer_types") is not None:
        return windows(config)
    first = config.integer("max_window_layers", 28, least=0)
    return tuple(w if i >= first else None for i, w in enumerate(windows(config)))


def layers(config: Config, names: str | tuple[str, ...] = "num_hidden_layers") -> int:
    """Layers, of which there are not more than anyone has published."""
    depth = config.integer(names)
    if depth > MOST_LAYERS:
        raise config.error(f"{depth} layers are more than {MOST_LAYERS}", config.named(names))
    return depth


def divided(config: Config, width: int, heads: int, field: str) -> int:
    """Width of a head.

    Raises:
        SpecError: if heads do not divide the width.
    """
    if width % heads:
        raise config.error(f"{heads} heads do not divide a width of {width}", field)
    return width // heads


def name(config: Config) -> str:
    """A name for the network: the configuration's own, or its type's."""
    given = config.values.get("_name_or_path")
    return given if isinstance(given, str) and given else config.text("model_type", "network")


def made(config: Config, model: Decoder) -> Callable[..., Network]:
    """What makes the network at given sizes."""
    return decoder_of(model, config.number_format, config.file or "configuration")
