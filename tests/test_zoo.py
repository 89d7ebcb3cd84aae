"""Networks of the zoo have the multiply-accumulates and parameters that are published about them."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from fiberloom.cli.program import run
from fiberloom.errors import FiberloomError, SpecError
from fiberloom.workload import layers, zoo
from fiberloom.workload.importers import read_network
from fiberloom.workload.network import Kind, Network, Role, signature
from fiberloom.workload.zoo.experts import Experts
from fiberloom.workload.zoo.published import MACS, PARAMETERS, PUBLISHED


@pytest.mark.parametrize("name", zoo.MODELS)
def test_every_published_figure_is_met_in_all_its_digits(name: str) -> None:
    model = zoo.MODELS[name]
    quantities = set()
    for figure in model.published:
        network = model.make(**figure.dims)
        ours = network.macs if figure.quantity == MACS else network.parameters
        assert figure.agrees(ours), (figure, ours)
        quantities.add(figure.quantity)
    assert quantities == {MACS, PARAMETERS}


@pytest.mark.parametrize(
    ("name", "macs", "parameters"),
    [
        ("resnet50", 4.09e9, 25_557_032),
        ("mobilenet_v2", 300.8e6, 3_504_872),
        ("resnet18", 1.814e9, 11_689_512),
        ("alexnet", 714.2e6, 61_100_840),
        ("vgg16", 15.47e9, 138_357_544),
        ("vit_b_16", 17.56e9, 86_567_656),
        ("deit_s", 4.60e9, 22_050_664),
    ],
)
def test_image_networks_at_224(name: str, macs: float, parameters: int) -> None:
    network = zoo.build(name)
    assert network.parameters == parameters
    assert network.macs == pytest.approx(macs, rel=5e-4)


def test_a_figure_that_is_off_in_its_last_digit_does_not_agree() -> None:
    exact, rounded = PUBLISHED["resnet50"]
    assert not exact.agrees(exact.value + 1)
    assert rounded.agrees(4_089_499_999)
    assert not rounded.agrees(4_089_600_000)


@pytest.mark.parametrize(
    ("name", "listed"),
    [("resnet50", layers.resnet50), ("vgg16", layers.vgg16), ("mobilenet_v2", layers.mobilenet_v2)],
)
@pytest.mark.parametrize("batch", [1, 4])
def test_networks_have_the_layers_of_the_layer_lists(
    name: str, listed: Callable[..., tuple[layers.Layer, ...]], batch: int
) -> None:
    ours = Counter(signature(o.einsum) for o in zoo.build(name, dims={"batch": batch}).einsums if o.einsum)
    theirs: Counter[tuple[object, ...]] = Counter()
    for layer in listed(batch):
        theirs[signature(layer.einsum)] += layer.count
    assert ours == theirs


def test_resnet50_with_the_stride_of_the_paper_computes_less() -> None:
    paper, trained = zoo.build("resnet50", stride_in="1x1"), zoo.build("resnet50")
    assert paper.parameters == trained.parameters
    assert paper.macs == pytest.approx(3.86e9, rel=0.002)


def test_a_batch_multiplies_everything_but_parameters() -> None:
    for name in ("resnet18", "bert_base", "gpt2", "deit_s"):
        one, four = zoo.build(name), zoo.build(name, dims={"batch": 4})
        assert four.parameters == one.parameters
        assert four.macs == 4 * one.macs


def test_networks_have_their_other_operators_too() -> None:
    network = zoo.build("resnet50")
    kinds = Counter(o.kind for o in network.operators)
    assert kinds[Kind.NORMALISATION] == 53
    assert kinds[Kind.POOLING] == 2
    assert sum(o.op == "relu" for o in network.operators) == 49
    assert sum(o.op == "add" for o in network.operators) == 16
    assert not network.unknown
    relu = next(o for o in network.operators if o.name == "conv1.relu")
    assert relu.operations == 64 * 112 * 112


def test_a_layer_norm_counts_seven_operations_per_element_and_four_per_token() -> None:
    network = zoo.build("bert_base", dims={"seq": 8})
    norm = next(o for o in network.operators if o.name == "layers.0.norm1")
    assert norm.operations == 8 * (7 * 768 + 4)


def test_every_operator_reads_what_an_earlier_one_made() -> None:
    for model in zoo.MODELS.values():
        network = model.make()
        made = {name for name, t in network.tensors.items() if t.role in (Role.INPUT, Role.PARAMETER, Role.STATE)}
        for operator in network.operators:
            assert made.issuperset(operator.inputs), (model.name, operator.name)
            made.update(operator.outputs)
        assert any(network.tensors[x].role is Role.OUTPUT for x in network.operators[-1].outputs)


def test_einsums_and_the_tensors_behind_them_have_the_same_sizes() -> None:
    for name in ("bert_base", "llama2_70b", "gpt2"):
        network = zoo.build(name, dims={"batch": 2, "seq": 8})
        for operator in network.einsums:
            assert operator.einsum is not None
            for operand, tensor in operator.operands.items():
                extents = operator.einsum.tensor_shape(operand)
                elements = 1
                for extent in extents:
                    elements *= extent
                # a fused product of queries, keys and values is cut before attention
                assert elements == network.tensors[tensor].elements, (name, operator.name, operand)


def llama(**dims: int) -> Network:
    return read_network("llama2-7b", dims=dims)


def test_llama_2_7b_has_12852_mib_of_weights_and_12602_without_the_input_embedding() -> None:
    network = llama(prompt=2048, context=2304)
    assert network.bytes(Role.PARAMETER) // 2**20 == 12_852
    assert (network.bytes(Role.PARAMETER) - network.tensors["words.weight"].bytes) // 2**20 == 12_602
    assert network.tensors["words.weight"].number_format == "bf16"


def test_llama_2_7b_keeps_1152_mib_of_keys_and_values_for_2048_and_256_tokens() -> None:
    for network in (llama(prompt=2048, context=2304), llama(context=2304)):
        assert network.bytes(Role.STATE) == 1152 * 2**20
    assert llama(batch=3, context=2304).bytes(Role.STATE) == 3 * 1152 * 2**20


def test_grouped_queries_keep_an_eighth() -> None:
    network = zoo.build("llama2_70b", dims={"context": 1000})
    # 80 layers, keys and values, 8 heads of 128, two bytes
    assert network.bytes(Role.STATE) == 80 * 2 * 8 * 128 * 2 * 1000
    scores = next(o for o in network.einsums if o.op == "attention scores")
    assert str(scores.einsum) == "S[g, h, i, j] = Q[g, h, i, d] * K[g, j, d]"
    assert scores.einsum is not None
    assert scores.einsum.shape == {"g": 8, "h": 8, "i": 1, "j": 1000, "d": 128}


def test_decoding_computes_one_token_against_the_whole_cache() -> None:
    prefill, decode = llama(prompt=512), llama(context=512)
    products = sum(o.macs for o in prefill.einsums if "attention" not in o.op)
    assert sum(o.macs for o in decode.einsums if "attention" not in o.op) * 512 == products
    attention = sum(o.macs for o in prefill.einsums if "attention" in o.op)
    assert sum(o.macs for o in decode.einsums if "attention" in o.op) * 512 == attention
    assert decode.parameters == prefill.parameters


def test_a_prompt_of_one_token_attends_to_itself_alone() -> None:
    scores = [o.einsum for o in llama(prompt=1, context=100).einsums if o.op == "attention scores"]
    assert all(e is not None and e.shape["j"] == 1 for e in scores)


def test_logits_of_the_last_token_save_the_others() -> None:
    every, last = (zoo.build("gpt2", dims={"prompt": 64}, logits=which) for which in ("all", "last"))
    assert every.macs - last.macs == 63 * 768 * 50257


def test_the_cache_may_have_a_format_of_its_own() -> None:
    plain = zoo.build("llama2_7b", dims={"context": 64})
    narrow = zoo.build("llama2_7b", dims={"context": 64}, cache_format="fp8", weight_format="int4")
    assert narrow.bytes(Role.STATE) * 2 == plain.bytes(Role.STATE)
    assert narrow.bytes(Role.PARAMETER) * 4 == plain.bytes(Role.PARAMETER)


@pytest.mark.parametrize(
    ("dims", "options", "problem"),
    [
        ({"prompt": 2048, "context": 1024}, {}, "no room for a prompt"),
        ({"prompt": 64, "context": 64}, {"phase": "decode"}, "no room for a token"),
        ({"prompt": 64, "seq": 32}, {}, "two names"),
        ({}, {"phase": "prefil"}, "no phase 'prefil'"),
        ({"image": 224}, {}, "has no 'image'"),
        ({}, {"number_format": "fp31"}, "fp32"),
        ({"prompt": 0}, {}, "whole numbers from 1"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(dims: dict[str, int], options: dict[str, str], problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        read_network("llama2_7b", dims=dims, **options)


def test_more_tokens_than_positions_are_refused() -> None:
    for name in ("bert_base", "gpt2", "gpt3_6_7b"):
        with pytest.raises(SpecError, match="positions"):
            zoo.build(name, dims={"seq": 4096})


def test_fully_connected_layers_fix_the_size_of_the_image() -> None:
    assert zoo.build("resnet18", dims={"image": 448}).macs > 4 * 1.8e9
    with pytest.raises(SpecError, match="224"):
        zoo.build("vgg16", dims={"image": 448})


@pytest.mark.parametrize("spelling", ["resnet50", "ResNet-50", "RESNET_50"])
def test_networks_are_found_in_any_spelling(spelling: str) -> None:
    assert read_network(spelling).name == "resnet50"


def test_an_unknown_network_is_answered_with_the_nearest_and_the_kinds_of_files() -> None:
    with pytest.raises(SpecError) as error:
        read_network("resnet5")
    assert "resnet50" in str(error.value)
    assert ".onnx" in str(error.value)


@pytest.mark.parametrize("model", ["missing.onnx", "missing/config.json", "missing.mlir", "missing.pt2"])
def test_a_file_that_is_not_there_is_named(model: str) -> None:
    with pytest.raises(FiberloomError, match="missing"):
        read_network(model)


def test_experts_hit_are_those_expected_of_an_even_router() -> None:
    experts = Experts(total=256, chosen=8, width=1)
    assert experts.hit(1) == 8
    # 256 · (1 - (1 - 8/256)^64)
    assert experts.hit(64) == 222
    assert experts.hit(10_000) == 256
    for tokens in (1, 2, 17, 64, 1000):
        loads = experts.loads(tokens)
        assert sum(count * each for count, each in loads) == tokens * 8
        assert sum(count for count, _ in loads) == experts.hit(tokens)


def test_the_command_lists_the_zoo_with_published_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models"]) == 0
    out = capsys.readouterr().out
    assert "25,557,032" in out
    assert "6,738,415,616" in out
    assert "%" not in out  # no difference
    assert run(["models", "--json"]) == 0
    listed = {m["name"]: m for m in json.loads(capsys.readouterr().out)["models"]}
    assert set(listed) == set(zoo.MODELS)
    assert all(figure["agrees"] for m in listed.values() for figure in m["published"])
    assert listed["resnet50"]["macs"] == 4_089_184_256


def test_the_command_shows_the_operators_of_one_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "llama-2-7b", "--context", "2304"]) == 0
    out = capsys.readouterr().out
    for shown in ("6,738,415,616", "12,852.5 MiB", "12,602.5 MiB", "1,152.0 MiB", "attention scores", "softmax"):
        assert shown in out
    assert run(["models", "gpt2", "--seq", "16", "--json"]) == 0
    network = json.loads(capsys.readouterr().out)["network"]
    assert network["macs"] == zoo.build("gpt2", dims={"seq": 16}).macs
    assert len(network["operators"]) == len(zoo.build("gpt2").operators)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["models", "resnet5"], "resnet50"),
        (["models", "resnet50", "--seq", "4"], "has no 'seq'"),
        (["models", "--batch", "4"], "one network"),
        (["models", "gpt2", "--dim", "seq"], "NAME=VALUE"),
        (["models", "gpt2", "--dim", "seq=many"], "whole numbers"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_the_documentation_lists_the_zoo_as_it_is() -> None:
    text = (Path(__file__).parent.parent / "docs" / "models.md").read_text()
    rows = [line.split("|")[1:5] for line in text.splitlines() if line.endswith(("224 × 224 |", "128 tokens |"))]
    documented = {name.split("`")[1]: (macs.split(), int(count.replace(",", ""))) for name, macs, count, _ in rows}
    assert set(documented) == set(zoo.MODELS)
    for name, ((digits, prefix), parameters) in documented.items():
        network = zoo.build(name)
        assert network.parameters == parameters
        scale = {"M": 10**6, "G": 10**9, "T": 10**12}[prefix]
        assert f"{network.macs / scale:.{len(digits.partition('.')[2])}f}" == digits, name
