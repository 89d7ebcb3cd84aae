"""Networks from Hugging Face configurations (``config.json``): no weights, no package.

A configuration says which architecture it is of (``model_type``) and its sizes. The networks are those that the families' papers
define, as the ``transformers`` package builds them, with the same parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from fiberloom.errors import Location, UnsupportedError, nearest
from fiberloom.workload import zoo
from fiberloom.workload.importers.huggingface import decoders, encoders, mixtures, others
from fiberloom.workload.importers.huggingface.fields import Config, load
from fiberloom.workload.network import Network

FAMILIES: Final[Mapping[str, Callable[[Config], Callable[..., Network]]]] = {
    "bert": encoders.bert,
    "roberta": encoders.roberta,
    "xlm-roberta": encoders.roberta,
    "camembert": encoders.roberta,
    "vit": encoders.vit,
    "deit": encoders.deit,
    "gpt2": decoders.gpt2,
    "llama": decoders.llama,
    "mistral": decoders.mistral,
    "qwen2": decoders.qwen2,
    "qwen3": decoders.qwen3,
    "phi3": decoders.phi3,
    "mixtral": mixtures.mixtral,
    "qwen2_moe": mixtures.qwen2_moe,
    "qwen3_moe": mixtures.qwen3_moe,
    "deepseek_v2": mixtures.deepseek_v2,
    "deepseek_v3": mixtures.deepseek_v3,
    "kimi_k2": mixtures.deepseek_v3,
    "t5": others.t5,
    "mt5": others.t5,
    "mamba": others.mamba,
}
"""Readers by ``model_type``: from a configuration to a function that makes the network at given sizes."""


def read(config: str | Mapping[str, Any], *, dims: Mapping[str, int] | None = None, **options: Any) -> Network:
    """The network of a configuration.

    Args:
        config: a file, or what such a file holds.
        dims: ``batch``; ``seq`` for encoders; ``prompt`` and ``context`` for decoders (see `fiberloom.workload.zoo.passes`), and
            ``target`` for T5.
        options: ``number_format`` (the configuration's, by default), ``weight_format``, ``cache_format``; ``phase`` (prefill or
            decode), ``logits`` (all or last), ``form`` (of latent attention: naive or absorbed).

    Raises:
        SpecError: if the file is no configuration, a field is missing or makes no sense, or sizes do not fit the network.
        UnsupportedError: for a ``model_type`` that is not known.
    """
    own = load(config) if isinstance(config, str) else Config(config)
    kind = own.text("model_type", "")
    if not kind:
        raise own.missing("model_type")
    if kind not in FAMILIES:
        raise UnsupportedError(
            f"the model type '{kind}' is not known",
            where=Location(own.file, None, "model_type"),
            hint=f"{nearest(kind, FAMILIES)}\na PyTorch module is read through module.py:function instead",
        )
    return zoo.sized(f"a network of type {kind}", FAMILIES[kind](own), dims or {}, options)
