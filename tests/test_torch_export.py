"""Networks from PyTorch modules, through torch.export."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from fiberloom.errors import SpecError, UnsupportedError  # noqa: E402
from fiberloom.workload.importers import read_network  # noqa: E402
from fiberloom.workload.importers.torch_export import read  # noqa: E402
from fiberloom.workload.layers import (  # noqa: E402
    attention_scores,
    attention_values,
    convolution_nd,
    fully_connected,
    transposed_convolution,
)
from fiberloom.workload.network import Kind, Network, Operator, Role, signature  # noqa: E402
from torch_models import Attending, Branching, Transforming, attention_inputs, pruned  # noqa: E402

HERE = Path(__file__).parent


def only(network: Network) -> Operator:
    """The single Einsum of a network of one layer."""
    (operator,) = network.einsums
    return operator


def computations(network: Network) -> Counter[Any]:
    """How often each computation occurs, whatever it is called."""
    return sum((Counter({signature(o.einsum): o.count}) for o in network.einsums if o.einsum), Counter())


@pytest.mark.parametrize(
    ("module", "shape", "expected"),
    [
        (
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            (2, 8, 9, 11),
            {"kernel": 3, "stride": 2, "extents": (5, 6), "batch": 2},
        ),
        (
            nn.Conv2d(8, 16, (3, 1), dilation=(2, 1)),
            (1, 8, 9, 9),
            {"kernel": (3, 1), "dilation": (2, 1), "extents": (5, 9)},
        ),
        (nn.Conv2d(8, 16, 3, groups=4, padding="same"), (1, 8, 7, 7), {"kernel": 3, "groups": 4, "extents": (7, 7)}),
        (nn.Conv1d(8, 16, 5), (3, 8, 20), {"kernel": 5, "extents": (16,), "batch": 3}),
        (nn.Conv3d(8, 16, 2), (1, 8, 4, 5, 6), {"kernel": 2, "extents": (3, 4, 5)}),
        (nn.Conv2d(8, 16, 1), (8, 6, 6), {"extents": (6, 6)}),
    ],
)
def test_a_convolution_is_the_canonical_einsum(
    module: nn.Module, shape: tuple[int, ...], expected: dict[str, Any]
) -> None:
    found = only(read(module, example_inputs=torch.randn(shape)))
    assert found.einsum is not None
    assert str(found.einsum) == str(convolution_nd("", outputs=16, inputs=8, **expected))
    assert found.einsum.shape == convolution_nd("", outputs=16, inputs=8, **expected).shape
    assert found.operands["W"] == "weight"


def test_a_depthwise_convolution_keeps_c_in_all_tensors() -> None:
    found = only(read(nn.Conv2d(8, 8, 3, groups=8), example_inputs=torch.randn(1, 8, 6, 6)))
    assert str(found.einsum) == "O[c, p, q] = W[c, r, s] * I[c, p+r, q+s]"


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_spreads_every_input_over_a_window(groups: int) -> None:
    module = nn.ConvTranspose2d(8, 16, 3, stride=2, groups=groups)
    found = only(read(module, example_inputs=torch.randn(1, 8, 5, 7)))
    expected = transposed_convolution("", outputs=16, inputs=8, extents=(5, 7), kernel=3, stride=2, groups=groups)
    assert found.einsum is not None
    assert (str(found.einsum), found.einsum.shape) == (str(expected), expected.shape)


class Multiplied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stored = nn.Parameter(torch.randn(24, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.stored


def test_weights_are_indexed_in_the_order_in_which_they_are_stored() -> None:
    by_columns = only(read(Multiplied(), example_inputs=torch.randn(3, 5, 24)))
    by_rows = only(read(nn.Linear(24, 10), example_inputs=torch.randn(3, 5, 24)))
    assert by_columns.einsum is not None and by_rows.einsum is not None
    assert str(by_columns.einsum) == "O[n, m] = W[c, m] * I[n, c]"
    assert str(by_rows.einsum) == "O[n, m] = W[m, c] * I[n, c]"
    assert by_columns.einsum.tensor_shape("W") == (24, 10)
    assert signature(by_columns.einsum) == signature(by_rows.einsum)


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("bhid,bhjd->bhij", [(2, 4, 8, 16), (2, 4, 8, 16)], 2 * 4 * 8 * 8 * 16),
        ("...ij,jk->...ik", [(3, 5, 4), (4, 6)], 3 * 5 * 4 * 6),
        ("i,j->ij", [(5,), (7,)], 35),
        ("ab,bc,cd->ad", [(2, 3), (3, 4), (4, 5)], 2 * 3 * 4 * 5),
    ],
)
def test_einsum_counts_every_combination_of_its_letters(
    equation: str, shapes: list[tuple[int, ...]], macs: int
) -> None:
    class Summed(nn.Module):
        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            return torch.einsum(equation, *tensors)

    assert read(Summed(), example_inputs=tuple(torch.randn(s) for s in shapes)).macs == macs


def test_an_einsum_of_one_tensor_is_a_reduction_or_a_transpose() -> None:
    class One(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.einsum("ij->i", x), torch.einsum("ij->ji", x)

    network = read(One(), example_inputs=torch.randn(3, 4))
    assert not network.einsums and not network.unknown


@pytest.mark.parametrize("how", ["flag", "expand", "interleave", "products"])
def test_grouped_queries_share_their_keys_and_values(how: str) -> None:
    network = read(Attending(how), example_inputs=attention_inputs())
    sizes = {"heads": 8, "groups": 2, "queries": 16, "keys": 16, "depth": 32}
    expected = [attention_scores("", **sizes), attention_values("", **sizes)]  # type: ignore[arg-type]
    assert [str(o.einsum) for o in network.einsums] == [str(e) for e in expected]
    assert {network.tensors[o.operands[t]].shape for o, t in zip(network.einsums, "KV", strict=True)} == {
        (1, 2, 16, 32)
    }
    assert [o.kind for o in network.operators].count(Kind.SOFTMAX) == 1


@pytest.mark.parametrize(("layer", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_a_recurrent_layer_multiplies_the_sequence_at_once_and_the_state_step_by_step(layer: Any, gates: int) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer(32, 64, num_layers=2, bidirectional=True, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)[0]  # type: ignore[no-any-return]

    network = read(Recurrent(), example_inputs=torch.randn(5, 10, 32))
    assert network.parameters == sum(p.numel() for p in Recurrent().parameters())
    rows, steps, batch = gates * 64, 10, 5
    assert network.macs == 2 * steps * batch * rows * ((32 + 64) + (128 + 64))
    assert {o.count for o in network.einsums} == {1, steps}
    assert not network.unknown


def test_experts_share_the_rows_evenly() -> None:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.Parameter(torch.randn(4, 16, 24, dtype=torch.bfloat16))

        def forward(self, x: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
            return torch._grouped_mm(x, self.weights, offs=ends)

    inputs = (torch.randn(22, 16, dtype=torch.bfloat16), torch.tensor([6, 12, 17, 22], dtype=torch.int32))
    network = read(Experts(), example_inputs=inputs)
    assert sorted((o.count, o.einsum.shape["n"]) for o in network.einsums if o.einsum) == [(2, 5), (2, 6)]
    assert network.macs == 22 * 16 * 24


def test_everything_else_is_counted_as_what_it_is() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.norm = nn.Embedding(50, 32), nn.LayerNorm(32)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            x = self.norm(self.table(tokens))
            x = nn.functional.gelu(x).transpose(1, 2)
            return torch.softmax(nn.functional.max_pool1d(x, 2), -1).sum(1)

    network = read(Block(), example_inputs=torch.zeros(2, 8, dtype=torch.long))
    assert [o.kind for o in network.operators] == [
        Kind.LOOKUP, Kind.NORMALISATION, Kind.ELEMENTWISE, Kind.LAYOUT, Kind.POOLING, Kind.SOFTMAX, Kind.REDUCTION,
    ]  # fmt: skip
    assert network.operators[0].name == "table" and network.operators[1].name == "norm"
    assert network.operators[2].operations == 5 * 2 * 8 * 32
    assert network.operators[4].operations == 2 * (2 * 32 * 4)


def test_dropout_and_views_of_weights_are_no_operators() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.drop = nn.Embedding(50, 32), nn.Dropout(0.5)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.drop(self.table(tokens)) @ self.table.weight.t()

    module = Tied().train()
    network = read(module, example_inputs=torch.zeros(1, 8, dtype=torch.long))
    assert [o.kind for o in network.operators] == [Kind.LOOKUP, Kind.EINSUM]
    assert network.einsums[0].operands["W"] == "table.weight"
    assert network.parameters == 50 * 32
    assert module.training and module.drop.training


def test_an_operator_that_is_not_understood_is_listed() -> None:
    network = read(Transforming(), example_inputs=torch.randn(4, 8))
    (unknown,) = network.unknown
    assert unknown.op == "aten.fft_rfft.default" and unknown.note
    assert network.macs == 4 * 5 * 2


def test_parameters_bring_their_density_and_number_format() -> None:
    model, inputs = pruned()
    tensors = read(model, example_inputs=inputs).tensors
    kept = int(model.mid.weight.count_nonzero()) / model.mid.weight.numel()  # type: ignore[union-attr]
    assert tensors["mid.weight"].density == kept
    assert tensors["fc.weight"].density == "2:4"
    assert tensors["stem.weight"].density is None
    assert (tensors["stem.weight"].number_format, tensors["stem.weight"].bits) == ("fp32", 32)
    half = read(model.bfloat16(), example_inputs=tuple(t.bfloat16() for t in inputs)).tensors
    assert (half["stem.weight"].number_format, half["stem.weight"].bits) == ("bf16", 16)


def test_running_statistics_are_constants_and_no_parameters() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    network = read(module, example_inputs=torch.randn(1, 3, 8, 8))
    assert network.parameters == sum(p.numel() for p in module.parameters())
    assert network.tensors["1.running_mean"].role is Role.CONSTANT


def test_quantised_weights_kept_as_buffers_are_parameters_of_eight_bits() -> None:
    class Quantised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weight", torch.randint(1, 9, (10, 24), dtype=torch.int8))
            self.register_buffer("scale", torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(x, self.weight.to(x.dtype)) * self.scale  # type: ignore[operator]

    network = read(Quantised(), example_inputs=torch.randn(1, 24))
    weight = network.tensors[only(network).operands["W"]]
    assert (weight.name, weight.role, weight.number_format, weight.bits) == ("weight", Role.PARAMETER, "int8", 8)


def test_parameters_that_hold_nan_are_refused_by_name() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with torch.no_grad():
        module[1].weight[2, 3] = float("nan")
    with pytest.raises(SpecError, match=r"NaN: '1\.weight'"):
        read(module, example_inputs=torch.randn(1, 4))


def test_infinite_parameters_are_no_nan() -> None:
    module = nn.Linear(4, 4)
    with torch.no_grad():
        module.weight[0, 0], module.weight[0, 1] = float("inf"), -float("inf")
    assert read(module, example_inputs=torch.randn(1, 4)).macs == 16


def test_control_flow_that_depends_on_data_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnsupportedError, match="control flow depends on data"):
        read(Branching(), example_inputs=torch.randn(3))
    assert capfd.readouterr() == ("", "")


def test_a_choice_inside_the_graph_is_listed_as_unknown() -> None:
    class Choosing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cond(x.sum() > 0, lambda x: self.layer(x).relu(), self.layer, (x,))

    (unknown,) = read(Choosing(), example_inputs=torch.randn(3, 3)).unknown
    assert "control flow" in unknown.note


def test_extents_that_depend_on_data_are_refused() -> None:
    class Selecting(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[x.nonzero()[:, 0]] @ x.T

    with pytest.raises(UnsupportedError, match="depends on data"):
        read(Selecting(), example_inputs=torch.randn(3, 3))


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported program with a dynamic batch and a dynamic height of at least eight."""
    path = tmp_path_factory.mktemp("programs") / "dynamic.pt2"
    axes = {"input": {0: torch.export.Dim("batch"), 2: torch.export.Dim("height", min=8)}}
    program = torch.export.export(nn.Conv2d(3, 8, 3, stride=2), (torch.randn(2, 3, 32, 32),), dynamic_shapes=axes)
    torch.export.save(program, path)
    return path


def test_dynamic_axes_are_bound_by_name(dynamic: Path) -> None:
    bound = read_network(str(dynamic), dims={"batch": 4, "input.2": 65})
    einsum = only(bound).einsum
    assert einsum is not None
    assert (einsum.shape["n"], einsum.shape["p"], einsum.shape["q"]) == (4, 32, 15)
    assert not bound.notes


def test_dynamic_axes_that_are_not_bound_are_those_of_the_example_and_said_so(dynamic: Path) -> None:
    network = read(dynamic)
    assert only(network).macs == 2 * 8 * 3 * 9 * 15 * 15
    assert any("batch is 2, as in the example inputs" in note for note in network.notes)


@pytest.mark.parametrize(
    ("dims", "message"), [({"bath": 1}, "no dynamic axis 'bath'"), ({"input.2": 4}, "exported for 8 to")]
)
def test_a_wrong_dynamic_axis_is_refused(dynamic: Path, dims: dict[str, int], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read(dynamic, dims=dims)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_program_that_is_cut_off_is_refused(dynamic: Path, tmp_path: Path, share: float) -> None:
    content = dynamic.read_bytes()
    broken = tmp_path / "broken.pt2"
    broken.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(SpecError, match="not an exported program, or a damaged one"):
        read(broken)


def test_a_function_makes_the_module() -> None:
    network = read_network(f"{HERE / 'torch_models.py'}:pruned", dims={"batch": 3})
    assert network.tensors["x"].shape == (3, 3, 16, 16)
    assert network.source.endswith("torch_models.py:pruned")


@pytest.mark.parametrize(
    ("function", "dims", "message"),
    [
        ("prune", {}, "did you mean 'pruned'"),
        ("pruned", {"bach": 1}, "takes no 'bach'"),
        ("attention_inputs", {}, "return \\(module, example_inputs\\)"),
    ],
)
def test_a_function_that_does_not_fit_is_refused(function: str, dims: dict[str, int], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_network(f"{HERE / 'torch_models.py'}:{function}", dims=dims)


def test_a_module_that_raises_is_reported_with_its_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def make():\n    return {}['weights']\n")
    with pytest.raises(SpecError, match="raised KeyError"):
        read(f"{path}:make")
    path.write_text("import no_such_package\n")
    with pytest.raises(SpecError, match="raised ModuleNotFoundError"):
        read(f"{path}:make")


def test_example_inputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SpecError, match="shapes and types of the example inputs"):
        read(nn.Linear(4, 4), example_inputs=torch.randn(1, 5))
    with pytest.raises(SpecError, match="needs example inputs"):
        read(nn.Linear(4, 4))


def test_a_program_after_decomposition_is_the_same_network() -> None:
    module = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), 1).eval()
    program = torch.export.export(module, (torch.randn(2, 10, 64),), strict=False)
    assert computations(read(program)) == computations(read(program.run_decompositions()))


@pytest.mark.slow
def test_models_of_transformers_equal_those_of_the_zoo() -> None:
    transformers = pytest.importorskip("transformers")
    tokens = {"input_ids": torch.zeros(1, 128, dtype=torch.long)}
    image = torch.randn(1, 3, 224, 224)
    gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config(use_cache=False))
    cases = [
        (transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=1000)), image, "resnet50", {}),
        (transformers.BertModel(transformers.BertConfig()), tokens, "bert_base", {"seq": 128}),
        (transformers.BertModel(transformers.BertConfig(attn_implementation="eager")), tokens, "bert_base", {"seq": 128}),
        (transformers.ViTForImageClassification(transformers.ViTConfig(num_labels=1000)), image, "vit_b_16", {}),
        (transformers.MobileNetV2ForImageClassification(transformers.MobileNetV2Config(num_labels=1000)), image, "mobilenet_v2", {}),
        (gpt2, tokens, "gpt2", {"prompt": 128}),
    ]  # fmt: skip
    for module, inputs, name, dims in cases:
        imported, built = read(module, example_inputs=inputs), read_network(name, dims=dims)
        assert computations(imported) == computations(built), name
        assert (imported.macs, imported.parameters) == (built.macs, built.parameters), name
        assert not imported.unknown, name


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "ConvNext", "Swin", "EfficientNet", "ViT", "Whisper", "RegNet", "Segformer", "CLIP", "Wav2Vec2", "Cvt", "PoolFormer",
        "Llama", "T5",
    ],
)  # fmt: skip
def test_macs_are_those_of_pytorchs_own_counter(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    config = getattr(transformers, f"{name}Config")
    small = {
        "num_hidden_layers": 2,
        "hidden_size": 256,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "intermediate_size": 512,
    }
    module = getattr(transformers, f"{name}Model")(config(**small) if name == "Llama" else config()).eval()
    image, tokens = torch.randn(1, 3, 224, 224), torch.zeros(1, 32, dtype=torch.long)
    inputs: dict[str, Any] = {
        "Whisper": {"input_features": torch.randn(1, 80, 3000), "decoder_input_ids": tokens, "use_cache": False},
        "CLIP": {"input_ids": tokens, "pixel_values": image},
        "Wav2Vec2": {"input_values": torch.randn(1, 16000)},
        "Llama": {"input_ids": tokens, "use_cache": False},
        "T5": {"input_ids": tokens, "decoder_input_ids": tokens, "use_cache": False},
    }.get(name, {"pixel_values": image})
    network = read(module, example_inputs=inputs)
    # Products only: the counter does not know PyTorch's fused attention on CPUs.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        module(**inputs)
    assert network.macs == pytest.approx(counter.get_total_flops() / 2, rel=1e-3)
    assert network.parameters == sum(p.numel() for p in module.parameters())
    assert not network.unknown


def test_fully_connected_layers_flatten_tokens_and_batch() -> None:
    found = only(read(nn.Linear(24, 10), example_inputs=torch.randn(3, 5, 24))).einsum
    assert found is not None
    assert signature(found) == signature(fully_connected("", outputs=10, inputs=24, batch=15))
