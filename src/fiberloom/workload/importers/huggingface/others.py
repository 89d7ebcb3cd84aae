"""T5 and Mamba from their configurations."""

from __future__ import annotations

from collections.abc import Callable

from fiberloom.workload.importers.huggingface.decoders import layers, name
from fiberloom.workload.importers.huggingface.fields import FUNCTIONS, Config
from fiberloom.workload.network import Network
from fiberloom.workload.zoo.encoder_decoder import EncoderDecoder, encoder_decoder
from fiberloom.workload.zoo.passes import Pass, of_one_pass
from fiberloom.workload.zoo.state_space import StateSpace, state_space


def t5(config: Config) -> Callable[..., Network]:
    """``model_type: t5`` or ``mt5``."""
    depth = layers(config, ("num_layers", "num_hidden_layers"))
    projection = config.text("feed_forward_proj", "relu")
    function = projection.removeprefix("gated-")
    if function not in FUNCTIONS:
        raise config.error(f"the feed-forward layer '{projection}' is not known", "feed_forward_proj")
    # T5 1.1's "gated-gelu" is the tanh form
    function = "gelu_tanh" if projection == "gated-gelu" else FUNCTIONS[function]
    what = config.architecture
    if not what or what.endswith("ForConditionalGeneration"):
        last = "words"
    elif what.endswith("EncoderModel"):
        last = "encoder"
    else:
        last = "" if what.endswith("Model") else what
    model = EncoderDecoder(
        name(config), config.integer("vocab_size"), depth,
        layers(config, "num_decoder_layers") if config.named("num_decoder_layers") else depth,
        config.integer(("d_model", "hidden_size")), config.integer(("num_heads", "num_attention_heads")),
        config.integer(("d_kv", "head_dim")), config.integer("d_ff"),
        gated=projection.startswith("gated-"), function=function,
        distances=config.integer("relative_attention_num_buckets", 32), tied=config.flag("tie_word_embeddings", True),
        final=last,
    )  # fmt: skip
    standard = config.number_format

    def make(
        *,
        batch: int = 1,
        prompt: int | None = None,
        seq: int | None = None,
        target: int = 1,
        context: int | None = None,
        phase: str | None = None,
        number_format: str = standard,
        weight_format: str | None = None,
        cache_format: str | None = None,
    ) -> Network:
        return encoder_decoder(
            model, batch=batch, prompt=prompt, seq=seq, target=target, context=context, phase=phase,
            number_format=number_format, weight_format=weight_format, cache_format=cache_format,
            source=config.file or "configuration",
        )  # fmt: skip

    return make


def mamba(config: Config) -> Callable[..., Network]:
    """``model_type: mamba``."""
    width = config.integer(("hidden_size", "d_model"))
    inner = config.integer("expand", 2) * width
    if config.integer(("intermediate_size", "d_inner"), inner) != inner:
        raise config.error(
            f"{config.values.get('intermediate_size')} is not expand · hidden_size = {inner}", "intermediate_size"
        )
    automatic = config.values.get("time_step_rank") in (None, "auto")
    what = config.architecture
    causal = not what or what.endswith("ForCausalLM")
    model = StateSpace(
        name(config), config.integer("vocab_size"), layers(config, ("num_hidden_layers", "n_layer")), width, inner,
        state=config.integer("state_size", 16), kernel=config.integer("conv_kernel", 4),
        rank=-(-width // 16) if automatic else config.integer("time_step_rank"),
        bias=config.flag("use_bias", False), kernel_bias=config.flag("use_conv_bias", True),
        function=config.function("hidden_act", "silu"), tied=config.flag("tie_word_embeddings", True),
        final="words" if causal else "" if what.endswith("Model") else what,
    )  # fmt: skip
    standard = config.number_format

    @of_one_pass
    def make(
        this: Pass,
        *,
        number_format: str = standard,
        weight_format: str | None = None,
        cache_format: str | None = None,
    ) -> Network:
        return state_space(
            model, this, number_format=number_format, weight_format=weight_format, cache_format=cache_format,
            source=config.file or "configuration",
        )  # fmt: skip

    return make
