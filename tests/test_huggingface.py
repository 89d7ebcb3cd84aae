"""Hugging Face configurations give the networks that the published models are."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fiberloom.cli.program import run
from fiberloom.errors import FiberloomError, SpecError, UnsupportedError
from fiberloom.workload import zoo
from fiberloom.workload.importers import read_network
from fiberloom.workload.importers.huggingface import FAMILIES, read
from fiberloom.workload.network import Kind, Network, Role, signature

# Sizes of the models, from their published configurations.
LLAMA2_7B = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "intermediate_size": 11008,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32000,
    "torch_dtype": "bfloat16",
}  # fmt: skip
LLAMA31_405B = LLAMA2_7B | {
    "hidden_size": 16384, "intermediate_size": 53248, "num_hidden_layers": 126, "num_attention_heads": 128,
    "num_key_value_heads": 8, "vocab_size": 128256,
}  # fmt: skip
QWEN25_72B = {
    "model_type": "qwen2", "hidden_size": 8192, "intermediate_size": 29568, "num_hidden_layers": 80,
    "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 152064, "torch_dtype": "bfloat16",
    "use_sliding_window": False, "sliding_window": 131072,
}  # fmt: skip
MISTRAL_7B = {
    "model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000, "sliding_window": 4096,
    "torch_dtype": "bfloat16",
}  # fmt: skip
MIXTRAL_8X7B = MISTRAL_7B | {
    "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": None,
}  # fmt: skip
DEEPSEEK_V3 = {
    "model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "hidden_size": 7168,
    "intermediate_size": 18432, "moe_intermediate_size": 2048, "num_hidden_layers": 61, "num_attention_heads": 128,
    "num_key_value_heads": 128, "n_shared_experts": 1, "n_routed_experts": 256, "num_experts_per_tok": 8,
    "first_k_dense_replace": 3, "moe_layer_freq": 1, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "v_head_dim": 128, "vocab_size": 129280, "torch_dtype": "bfloat16",
    "num_nextn_predict_layers": 1, "quantization_config": {"quant_method": "fp8"},
}  # fmt: skip
QWEN3_30B = {
    "model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 48,
    "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 151936, "num_experts": 128,
    "num_experts_per_tok": 8, "moe_intermediate_size": 768, "torch_dtype": "bfloat16",
}  # fmt: skip
GPT2 = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024, "vocab_size": 50257}
BERT_BASE = {
    "model_type": "bert", "architectures": ["BertModel"], "hidden_size": 768, "intermediate_size": 3072,
    "num_hidden_layers": 12, "num_attention_heads": 12, "vocab_size": 30522, "max_position_embeddings": 512,
    "type_vocab_size": 2,
}  # fmt: skip
ROBERTA_BASE = BERT_BASE | {
    "model_type": "roberta", "architectures": ["RobertaModel"], "vocab_size": 50265, "max_position_embeddings": 514,
    "type_vocab_size": 1,
}  # fmt: skip
VIT_B_16 = {
    "model_type": "vit", "architectures": ["ViTForImageClassification"], "hidden_size": 768, "intermediate_size": 3072,
    "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": 224, "patch_size": 16, "num_labels": 1000,
}  # fmt: skip
DEIT_S = VIT_B_16 | {
    "model_type": "deit", "architectures": ["DeiTForImageClassificationWithTeacher"], "hidden_size": 384,
    "intermediate_size": 1536, "num_attention_heads": 6,
}  # fmt: skip
T5_SMALL = {
    "model_type": "t5", "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8, "vocab_size": 32128,
}  # fmt: skip
FLAN_T5_BASE = T5_SMALL | {
    "d_model": 768, "num_layers": 12, "num_heads": 12, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False,
}  # fmt: skip
MAMBA_130M = {
    "model_type": "mamba", "hidden_size": 768, "num_hidden_layers": 24, "state_size": 16, "vocab_size": 50280,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (LLAMA2_7B, 6_738_415_616),
        (LLAMA31_405B, 405_853_388_800),
        (QWEN25_72B, 72_706_203_648),
        (MISTRAL_7B, 7_241_732_096),
        (MIXTRAL_8X7B, 46_702_792_704),
        (DEEPSEEK_V3, 671_026_404_352),
        (QWEN3_30B, 30_532_122_624),
        (GPT2, 124_439_808),
        (BERT_BASE, 109_482_240),
        (BERT_BASE | {"architectures": ["BertForMaskedLM"]}, 109_514_298),
        (ROBERTA_BASE, 124_645_632),
        (VIT_B_16, 86_567_656),
        (DEIT_S, 22_436_432),
        (T5_SMALL, 60_506_624),
        (FLAN_T5_BASE, 247_577_856),
        (MAMBA_130M, 129_135_360),
    ],
)
def test_parameters_are_those_published(config: dict[str, Any], parameters: int) -> None:
    assert read(config).parameters == parameters


def kept_per_token(config: dict[str, Any], **options: Any) -> float:
    return read(config, dims={"context": 1000}, **options).bytes(Role.STATE) / 1000


def test_bytes_of_the_cache_per_token_are_those_published_with_deepseek_v3() -> None:
    # DeepSeek-AI, ISCA'25, table 1
    assert kept_per_token(DEEPSEEK_V3) == 70_272
    assert kept_per_token(LLAMA31_405B) == 516_096
    assert kept_per_token(QWEN25_72B) == 327_680


def test_both_forms_of_latent_attention_keep_the_same_and_have_the_same_parameters() -> None:
    naive, absorbed = (read(DEEPSEEK_V3, dims={"context": 500}, form=form) for form in ("naive", "absorbed"))
    assert naive.bytes(Role.STATE) == absorbed.bytes(Role.STATE)
    assert naive.parameters == absorbed.parameters
    # making keys and values of all 500 tokens anew costs more than attending in the wider space
    assert absorbed.macs < naive.macs
    scores = next(o.einsum for o in absorbed.einsums if o.op == "attention scores")
    assert str(scores) == "S[h, i, j] = Q[h, i, d] * K[j, d]"
    assert scores is not None
    assert scores.shape == {"h": 128, "i": 1, "j": 500, "d": 576}


def test_latent_attention_is_naive_for_prompts_and_absorbed_for_tokens() -> None:
    assert any(o.op == "absorbed keys" for o in read(DEEPSEEK_V3).operators) is False
    assert any(o.op == "absorbed keys" for o in read(DEEPSEEK_V3, dims={"context": 9}).operators)


def test_a_token_of_deepseek_v3_uses_8_of_256_experts_and_the_shared_one() -> None:
    network = read(DEEPSEEK_V3, dims={"context": 2})
    experts = [o for o in network.einsums if o.name.startswith("layers.3.experts")]
    assert {o.count for o in experts} == {8}
    assert sum(o.macs for o in experts) == 8 * 3 * 7168 * 2048
    assert network.tensors["layers.3.experts.up.weight"].shape == (256, 2048, 7168)
    assert any(o.name == "layers.3.shared.up" for o in network.einsums)
    assert not any(o.op == "router" for o in network.operators if o.name.startswith("layers.2."))
    # arXiv:2412.19437, abstract: 37 billion of 671 billion parameters are active for a token; the table of words is looked up in
    weights = sum(o.macs for o in network.einsums if "attention" not in o.op)
    assert weights + 129280 * 7168 == pytest.approx(37.55e9, rel=0.01)


def test_a_batch_of_tokens_hits_more_experts_with_fewer_tokens_each() -> None:
    network = read(MIXTRAL_8X7B, dims={"prompt": 64})
    experts = [o for o in network.einsums if o.name.startswith("layers.0.experts") and o.name.endswith("up")]
    assert sum(o.count for o in experts) == 8
    assert sum(o.macs for o in experts) == 64 * 2 * 4096 * 14336
    few = read(MIXTRAL_8X7B, dims={"batch": 2, "context": 10})
    # 8 · (1 - (6/8)²) = 3.5 experts, rounded to an even number
    hit = [o for o in few.einsums if o.name.startswith("layers.0.experts") and o.name.endswith("up")]
    assert sum(o.count for o in hit) == 4


def test_what_is_left_out_of_deepseek_v3_is_said() -> None:
    notes = " ".join(read(DEEPSEEK_V3).notes)
    assert "MTP" in notes
    assert "weight_format" in notes


def test_a_sliding_window_bounds_the_cache_and_the_scores() -> None:
    network = read(MISTRAL_7B, dims={"context": 10_000})
    assert network.bytes(Role.STATE) == 32 * 2 * 1024 * 2 * 4096
    prefill = read(MISTRAL_7B, dims={"prompt": 8192})
    scores = next(o.einsum for o in prefill.einsums if o.op == "attention scores")
    assert scores is not None
    assert scores.shape["j"] == 4096
    assert "i+j" in str(scores)
    assert (
        read(MISTRAL_7B, dims={"prompt": 64}).macs
        == read(MISTRAL_7B | {"sliding_window": None}, dims={"prompt": 64}).macs
    )


def test_a_window_of_some_layers_leaves_the_others_whole() -> None:
    config = QWEN25_72B | {"use_sliding_window": True, "sliding_window": 100, "max_window_layers": 70}
    assert kept_per_token(config) == 327_680 * (70 + 10 * 0.1) / 80
    kinds = ["full_attention", "sliding_attention"] * 40
    assert kept_per_token(config | {"layer_types": kinds}) == 327_680 * (40 + 40 * 0.1) / 80


def einsums(network: Network) -> Counter[tuple[Any, ...]]:
    found: Counter[tuple[Any, ...]] = Counter()
    for operator in network.einsums:
        assert operator.einsum is not None
        found[signature(operator.einsum)] += operator.count
    return found


@pytest.mark.parametrize(
    ("config", "name", "dims"),
    [
        (LLAMA2_7B, "llama2_7b", {"batch": 2, "prompt": 32}),
        (LLAMA2_7B, "llama2_7b", {"context": 32}),
        (GPT2, "gpt2", {"seq": 32}),
        (BERT_BASE, "bert_base", {"batch": 3, "seq": 32}),
        (VIT_B_16, "vit_b_16", {"batch": 2}),
    ],
)
def test_configurations_give_the_einsums_of_the_zoo(config: dict[str, Any], name: str, dims: dict[str, int]) -> None:
    assert einsums(read(config, dims=dims)) == einsums(zoo.build(name, dims=dims))


def test_t5_decodes_against_its_own_cache_and_the_encoders() -> None:
    prefill = read(T5_SMALL, dims={"prompt": 100, "target": 5, "context": 20})
    decode = read(T5_SMALL, dims={"prompt": 100, "context": 20})
    # 6 layers, keys and values, 512 wide, 4 bytes: 20 tokens of the answer and 100 of the prompt
    assert prefill.bytes(Role.STATE) == decode.bytes(Role.STATE) == 6 * 2 * 512 * 4 * (20 + 100)
    cross = [o.einsum for o in decode.einsums if ".cross.attention.scores" in o.name]
    assert all(e is not None and e.shape == {"h": 8, "i": 1, "j": 100, "d": 64} for e in cross)
    assert not any(name.startswith("encoder") for name in decode.tensors)
    assert any("encoder's are not among them" in note for note in decode.notes)


def test_mambas_state_does_not_grow_with_the_context() -> None:
    short, long = (read(MAMBA_130M, dims={"context": n}) for n in (10, 10_000))
    # 24 layers, 1536 channels, 16 elements of the recurrence and 4 inputs of the convolution, 4 bytes
    assert short.bytes(Role.STATE) == long.bytes(Role.STATE) == 24 * 1536 * (16 + 4) * 4
    assert short.macs == long.macs
    scan = next(o for o in read(MAMBA_130M, dims={"prompt": 7}).operators if o.kind is Kind.SCAN)
    assert scan.operations == 7 * 1536 * (8 * 16 + 2)


def test_last_layers_that_are_not_known_are_an_unknown_operator() -> None:
    network = read(LLAMA2_7B | {"architectures": ["LlamaForQuestionAnswering"]})
    assert [o.op for o in network.unknown] == ["LlamaForQuestionAnswering"]
    assert read(VIT_B_16 | {"architectures": ["ViTForMaskedImageModeling"]}).unknown


def test_the_number_format_is_the_configurations_or_the_callers() -> None:
    assert read(LLAMA2_7B).tensors["words.weight"].bits == 16
    assert read(LLAMA2_7B, number_format="int8").tensors["words.weight"].bits == 8
    assert read(GPT2).tensors["words.weight"].number_format == "fp32"


def written(folder: Path, config: dict[str, Any]) -> str:
    file = folder / "config.json"
    file.write_text(json.dumps(config, indent=2))
    return str(file)


def test_a_file_or_its_folder_is_read_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, QWEN25_72B)
    for model in (file, str(tmp_path)):
        assert run(["models", model, "--context", "1000"]) == 0
        out = capsys.readouterr().out
        assert "72,706,203,648" in out
        assert "327,680 bytes per token" in out
    assert read_network(file).source == file


@pytest.mark.parametrize(
    ("change", "field", "problem"),
    [
        ({"hidden_size": None}, "", "'hidden_size' is missing"),
        ({"hidden_size": "4096"}, "hidden_size", "not a whole number"),
        ({"hidden_size": -4096}, "hidden_size", "-4096"),
        ({"hidden_size": 4096.5}, "hidden_size", "4096.5"),
        ({"hidden_size": True}, "hidden_size", "true"),
        ({"hidden_size": 4097}, "num_attention_heads", "32 heads do not divide a width of 4097"),
        ({"num_key_value_heads": 5}, "num_key_value_heads", "do not divide into 5"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers", "layers are more than"),
        ({"vocab_size": 10**30}, "vocab_size", "not in"),
        ({"hidden_act": "slu"}, "hidden_act", "silu"),
        ({"torch_dtype": "bfloat61"}, "torch_dtype", "bfloat16"),
        ({"attention_bias": "no"}, "attention_bias", "neither true nor false"),
        ({"architectures": "LlamaForCausalLM"}, "architectures", "list of strings"),
        ({"partial_rotary_factor": 2}, "partial_rotary_factor", "more than the whole head"),
    ],
)
def test_a_field_that_makes_no_sense_is_named_with_file_and_line(
    change: dict[str, Any], field: str, problem: str, tmp_path: Path
) -> None:
    file = written(tmp_path, {k: v for k, v in (LLAMA2_7B | change).items() if v is not None})
    with pytest.raises(SpecError) as error:
        read_network(file)
    assert problem in str(error.value)
    where = error.value.where
    assert where is not None
    assert where.file == file
    if field:
        assert where.field == field
        if field in (LLAMA2_7B | change):
            assert where.line is not None
            assert field in Path(file).read_text().splitlines()[where.line - 1]


def test_a_mistyped_field_is_answered_with_the_one_that_is_there() -> None:
    config = LLAMA2_7B | {"hiden_size": 4096}
    del config["hidden_size"]
    with pytest.raises(SpecError, match="did you mean 'hiden_size'"):
        read(config)


def test_an_unknown_model_type_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnsupportedError, match="llama"):
        read({"model_type": "lama"})
    with pytest.raises(UnsupportedError, match=r"module\.py:function"):
        read({"model_type": "whisper"})
    with pytest.raises(SpecError, match="'model_type' is missing"):
        read({"hidden_size": 3})


def test_more_experts_per_token_than_there_are_is_refused() -> None:
    with pytest.raises(SpecError, match="num_experts_per_tok: 9 experts per token of 8"):
        read(MIXTRAL_8X7B | {"num_experts_per_tok": 9})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"\xff\xfe\x00",
        b'{"model_type": }',
        b"[" * 100_000,
        b'{"model_type": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_file_that_is_no_configuration_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content)
    with pytest.raises(SpecError) as error:
        read_network(str(file))
    assert error.value.where is not None
    assert error.value.where.file == str(file)


SMALL = {
    "llama": LLAMA2_7B, "mistral": MISTRAL_7B, "qwen2": QWEN25_72B, "mixtral": MIXTRAL_8X7B, "deepseek_v3": DEEPSEEK_V3,
    "qwen3_moe": QWEN3_30B, "gpt2": GPT2, "bert": BERT_BASE, "roberta": ROBERTA_BASE, "vit": VIT_B_16, "deit": DEIT_S,
    "t5": T5_SMALL, "mamba": MAMBA_130M,
}  # fmt: skip


@pytest.mark.parametrize("kind", SMALL)
def test_no_value_of_any_field_leads_to_a_traceback(kind: str) -> None:
    depths = {"num_hidden_layers", "n_layer", "num_layers"}
    config = {k: 2 if k in depths else v for k, v in SMALL[kind].items()}
    for field in [
        *config,
        "head_dim",
        "layer_types",
        "sliding_window",
        "mlp_only_layers",
        "decoder_sparse_step",
        "id2label",
    ]:
        for value in (
            None,
            0,
            1,
            7,
            -1,
            2.5,
            1e30,
            math.nan,
            math.inf,
            10**30,
            True,
            "x",
            "",
            [],
            [1, 2],
            ["a"],
            {},
            {"a": 1},
        ):
            try:
                network = read(config | {field: value})
            except FiberloomError as error:
                assert str(error)
            else:
                assert network.macs > 0


def test_every_family_is_read_with_nothing_but_its_sizes() -> None:
    sizes = {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 32, "vocab_size": 100,
        "num_experts_per_tok": 2, "n_embd": 64, "n_layer": 2, "n_head": 4, "d_model": 64, "d_kv": 16, "d_ff": 128,
        "num_layers": 2, "num_heads": 4,
    }  # fmt: skip
    for kind in FAMILIES:
        network = read(sizes | {"model_type": kind})
        assert network.macs > 0
        assert not network.unknown


def common(**more: Any) -> dict[str, Any]:
    return {
        "hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 8, "intermediate_size": 200, "vocab_size": 300,
        **more,
    }  # fmt: skip


MOE = {"num_key_value_heads": 2, "num_experts_per_tok": 2, "moe_intermediate_size": 48}
LATENT = {
    "n_routed_experts": 16, "num_experts_per_tok": 4, "n_shared_experts": 2, "moe_intermediate_size": 40,
    "first_k_dense_replace": 1, "kv_lora_rank": 16, "qk_nope_head_dim": 12, "qk_rope_head_dim": 8, "v_head_dim": 10,
    "n_group": 4, "topk_group": 2, "num_key_value_heads": 8,
}  # fmt: skip
MODELS = [
    ("BertModel", common(max_position_embeddings=64)),
    ("BertForMaskedLM", common(max_position_embeddings=64)),
    ("BertForPreTraining", common(max_position_embeddings=64)),
    ("BertForSequenceClassification", common(max_position_embeddings=64, num_labels=5)),
    ("BertForTokenClassification", common(max_position_embeddings=64, num_labels=5)),
    ("BertForQuestionAnswering", common(max_position_embeddings=64)),
    ("RobertaModel", common(max_position_embeddings=64, type_vocab_size=1)),
    ("RobertaForMaskedLM", common(max_position_embeddings=64, type_vocab_size=1)),
    ("RobertaForSequenceClassification", common(max_position_embeddings=64, num_labels=3)),
    ("ViTModel", common(image_size=32, patch_size=8)),
    ("ViTForImageClassification", common(image_size=32, patch_size=8, num_labels=7, qkv_bias=False)),
    ("DeiTForImageClassification", common(image_size=32, patch_size=8, num_labels=7)),
    ("DeiTForImageClassificationWithTeacher", common(image_size=32, patch_size=8, num_labels=7)),
    ("GPT2LMHeadModel", {"n_embd": 64, "n_layer": 3, "n_head": 4, "vocab_size": 300, "n_positions": 128, "n_inner": 100}),
    ("LlamaForCausalLM", common(num_key_value_heads=2)),
    ("LlamaForCausalLM", common(attention_bias=True, mlp_bias=True, tie_word_embeddings=True, head_dim=24)),
    ("LlamaForSequenceClassification", common(num_labels=4, pad_token_id=0)),
    ("MistralForCausalLM", common(num_key_value_heads=1, sliding_window=None)),
    ("Qwen2ForCausalLM", common(num_key_value_heads=2)),
    ("Qwen3ForCausalLM", common(num_key_value_heads=2, head_dim=32)),
    ("Phi3ForCausalLM", common(num_key_value_heads=2, pad_token_id=0)),
    ("MixtralForCausalLM", common(num_key_value_heads=2, num_local_experts=4)),
    ("Qwen2MoeForCausalLM", common(num_experts=8, shared_expert_intermediate_size=80, decoder_sparse_step=2, **MOE)),
    ("Qwen3MoeForCausalLM", common(num_experts=8, mlp_only_layers=[0], head_dim=16, **MOE)),
    ("DeepseekV2ForCausalLM", common(q_lora_rank=None, **LATENT)),
    ("DeepseekV3ForCausalLM", common(q_lora_rank=24, attention_bias=True, **LATENT)),
    ("T5ForConditionalGeneration", {"d_model": 64, "d_kv": 16, "d_ff": 100, "num_layers": 2, "num_decoder_layers": 3,
                                    "num_heads": 8, "vocab_size": 200, "feed_forward_proj": "gated-gelu"}),
    ("T5EncoderModel", {"d_model": 64, "d_kv": 8, "d_ff": 100, "num_layers": 2, "num_heads": 4, "vocab_size": 200}),
    ("MambaForCausalLM", {"hidden_size": 40, "num_hidden_layers": 2, "state_size": 8, "vocab_size": 100, "use_bias": True}),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "sizes"), MODELS)
def test_parameters_and_macs_are_those_of_the_transformers_package(architecture: str, sizes: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    counter = pytest.importorskip("torch.utils.flop_counter").FlopCounterMode(display=False)
    build = getattr(transformers, architecture)
    config = build.config_class(**sizes)
    config.architectures = [architecture]
    config._attn_implementation = config._experts_implementation = "eager"
    model = build(config).eval()
    batch, tokens = 2, 16
    dims = {"batch": batch, "seq": tokens}
    words = torch.randint(2, 90, (batch, tokens))
    inputs: dict[str, Any] = {"input_ids": words}
    if hasattr(config, "image_size"):
        inputs = {"pixel_values": torch.zeros(batch, 3, config.image_size, config.image_size)}
        dims = {"batch": batch}
    elif architecture == "T5ForConditionalGeneration":
        inputs["decoder_input_ids"] = words[:, :5]
        dims["target"] = 5
    with counter, torch.no_grad():
        model(**inputs)
    network = read(json.loads(config.to_json_string()), dims=dims)
    assert network.parameters == sum(p.numel() for p in model.parameters())
    macs = counter.get_total_flops() // 2
    if config.model_type == "mamba":
        # the package computes kernel - 1 positions that it drops, and the recurrence's outputs as matrix products
        inner, layers = config.intermediate_size, config.num_hidden_layers
        macs -= batch * layers * inner * (config.conv_kernel * (config.conv_kernel - 1) + tokens * config.state_size)
    assert network.macs == macs
