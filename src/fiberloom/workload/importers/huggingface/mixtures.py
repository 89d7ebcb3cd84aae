"""Mixtures of experts from their configurations: Mixtral, Qwen, DeepSeek (with latent attention)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fiberloom.workload.importers.huggingface.decoders import base, layers, made, qwen_windows, windows
from fiberloom.workload.importers.huggingface.fields import Config
from fiberloom.workload.network import Network
from fiberloom.workload.zoo.decoder import Decoder
from fiberloom.workload.zoo.experts import Experts
from fiberloom.workload.zoo.latent_attention import Latent


def mixtral(config: Config) -> Callable[..., Network]:
    """``model_type: mixtral`` (Jiang et al., arXiv:2401.04088); all layers are mixtures."""
    experts = _experts(config, "num_local_experts", 8, chosen=2, width=config.integer("intermediate_size"))
    sparse = frozenset(range(layers(config)))
    return made(config, Decoder(**base(config, groups=8), experts=experts, sparse=sparse, windows=windows(config)))


def qwen2_moe(config: Config) -> Callable[..., Network]:
    """``model_type: qwen2_moe`` (Qwen1.5-MoE, Qwen2-57B-A14B)."""
    experts = _experts(
        config, "num_experts", 60, chosen=4, width=config.integer("moe_intermediate_size", 1408),
        shared=config.integer("shared_expert_intermediate_size", 5632), shared_gate=True,
    )  # fmt: skip
    model = Decoder(
        **base(config, groups=16), qkv_bias=config.flag("qkv_bias", True), experts=experts, sparse=_every(config),
        windows=qwen_windows(config),
    )  # fmt: skip
    return made(config, model)


def qwen3_moe(config: Config) -> Callable[..., Network]:
    """``model_type: qwen3_moe``."""
    bias = config.flag("attention_bias", False)
    experts = _experts(config, "num_experts", 128, chosen=8, width=config.integer("moe_intermediate_size", 768))
    model = Decoder(
        **base(config, groups=4), qkv_bias=bias, output_bias=bias, head_norm=True, experts=experts, sparse=_every(config),
        windows=windows(config) if config.flag("use_sliding_window", False) else (),
    )  # fmt: skip
    return made(config, model)


def deepseek_v2(config: Config) -> Callable[..., Network]:
    """``model_type: deepseek_v2`` (arXiv:2405.04434)."""
    return _deepseek(config, scoring="softmax", first=0, experts=64, shared=2, chosen=None, inside=1407)


def deepseek_v3(config: Config) -> Callable[..., Network]:
    """``model_type: deepseek_v3`` (arXiv:2412.19437), which Kimi K2 shares."""
    return _deepseek(config, scoring="sigmoid", first=3, experts=256, shared=1, chosen=8, inside=2048)


def _deepseek(
    config: Config, *, scoring: str, first: int, experts: int, shared: int, chosen: int | None, inside: int
) -> Callable[..., Network]:
    width = config.integer("moe_intermediate_size", inside)
    of = _experts(
        config, "n_routed_experts", experts, chosen=chosen, width=width,
        shared=config.integer("n_shared_experts", shared, least=0) * width, scoring=scoring,
    )  # fmt: skip
    depth = layers(config)
    dense = config.integer("first_k_dense_replace", first, least=0)
    every = config.integer("moe_layer_freq", 1)
    bias = config.flag("attention_bias", False)
    # A null q_lora_rank means that queries come from the token itself (DeepSeek-V2-Lite); a missing one, the published rank.
    rank = config.optional("q_lora_rank") if "q_lora_rank" in config.values else 1536
    latent = Latent(
        queries=rank,
        keys=config.integer("kv_lora_rank", 512),
        plain=config.integer("qk_nope_head_dim", 128),
        rotary=config.integer("qk_rope_head_dim", 64),
        values=config.integer("v_head_dim", 128),
        bias=bias,
    )
    sizes = base(config, head=latent.plain + latent.rotary, latent=True)
    if config.integer(("num_nextn_predict_layers", "num_mtp_layers"), 0, least=0):
        sizes["notes"] += ("layers that predict further tokens (MTP) are left out, as generation does without",)
    sparse = frozenset(i for i in range(dense, depth) if i % every == 0)
    return made(config, Decoder(**sizes, experts=of, sparse=sparse, latent=latent))


def _experts(config: Config, field: str, total: int, *, chosen: int | None, width: int, **others: Any) -> Experts:
    total = config.integer((field, "num_local_experts", "n_routed_experts", "num_experts"), total)
    chosen = config.integer("num_experts_per_tok", chosen)
    if chosen > total:
        raise config.error(f"{chosen} experts per token of {total}", "num_experts_per_tok")
    return Experts(total, chosen, width, **others)


def _every(config: Config) -> frozenset[int]:
    """Layers that are mixtures: one in ``decoder_sparse_step``, without those of ``mlp_only_layers``."""
    step, plain = config.integer("decoder_sparse_step", 1), config.indices("mlp_only_layers")
    return frozenset(i for i in range(layers(config)) if i not in plain and (i + 1) % step == 0)
