"""Models whose layers compute with represented weights and inputs."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.representation import read_representation
from fiberloom.representation.formats import number_format

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from fiberloom.representation.models import Accumulator, compress, compress_file, finetune, plain  # noqa: E402


def small(seed: int = 0) -> nn.Sequential:
    """A grouped, a strided and a plain convolution, and a linear layer."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(8, 16, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(32, 8, 1, bias=False),
        nn.Flatten(),
        nn.Linear(128, 10),
    ).eval()


def images(count: int = 6, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 8, 10, 10, generator=torch.Generator().manual_seed(seed))


def encoder(**options: object) -> nn.TransformerEncoder:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.0, **options)  # type: ignore[arg-type]
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()


def run(model: nn.Module, *inputs: object, **named: object) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model(*inputs, **named)
    return result


def test_dense_layers_compute_what_the_original_does() -> None:
    model, x = small(), images()
    assert torch.allclose(run(compress(model, "dense").model, x), run(model, x), atol=1e-6)


@pytest.mark.parametrize("text", ["2:4", "2:8+1:8", "4:8 int8", "7:8 => 1:8 int8 + 6:8 fp4"])
def test_weights_are_the_projection_along_channels_of_every_window(text: str) -> None:
    model = small()
    found = compress(model, text)
    weight = model[2].weight.detach().numpy()
    flat = np.moveaxis(weight, 1, -1).reshape(32, -1)
    held = found.model[2].weight.detach().numpy()
    if "=>" not in text:
        expected = np.moveaxis(read_representation(text).project(flat).reshape(32, 3, 3, 16), -1, 1)
        assert np.allclose(held, expected)
    assert found.layers[1].weight_error == pytest.approx(
        np.linalg.norm(held - weight) / np.linalg.norm(weight), rel=1e-4
    )
    assert found.layers[1].density == np.count_nonzero(held) / held.size


def test_groups_of_a_convolution_are_represented_apart() -> None:
    model = small()
    found = compress(model, "1:2 int4/tensor").model[0].weight.detach().numpy()
    weight = model[0].weight.detach().numpy()
    for half in (slice(0, 8), slice(8, 16)):
        rows = np.moveaxis(weight[half], 1, -1).reshape(8, -1)
        expected = read_representation("1:2 int4/tensor").project(rows).reshape(8, 3, 3, 4)
        assert np.allclose(np.moveaxis(found[half], 1, -1), expected)


@pytest.mark.parametrize("activations", ["int8/tensor", "int8/v8", "int8", "mxfp4", "2:4", "2:8+1:8", "fp16"])
def test_a_convolution_of_represented_inputs_is_the_product_of_represented_windows(activations: str) -> None:
    torch.manual_seed(0)
    layer, x = nn.Conv2d(16, 8, 3, padding=1, groups=2), images().repeat(1, 2, 1, 1)
    found = run(compress(nn.Sequential(layer), "dense", activations=activations).model, x)
    windows = nn.functional.unfold(x, 3, padding=1).reshape(6, 2, 8, 9, 100).permute(1, 0, 4, 3, 2).reshape(2, 600, 72)
    held = torch.from_numpy(read_representation(activations).project(windows.numpy()))
    weights = layer.weight.detach().movedim(1, -1).reshape(2, 4, 72)
    expected = (held @ weights.mT).reshape(2, 6, 100, 4).permute(1, 0, 3, 2).reshape(6, 8, 10, 10)
    assert torch.allclose(found, expected + layer.bias.detach().reshape(-1, 1, 1), atol=1e-5)


def test_each_term_meets_inputs_in_its_own_format() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 16), torch.randn(5, 64)
    found = compress(nn.Sequential(layer), "1:8 int8/v16 + 7:8 int4/v16", activations="terms").model
    terms = read_representation("1:8 int8/v16 + 7:8 int4/v16").decompose(layer.weight.detach().numpy())
    expected = sum(
        number_format(name).round(x.numpy()) @ term.T
        for name, term in zip(("int8/v16", "int4/v16"), terms, strict=True)
    )
    assert np.allclose(run(found, x).numpy(), expected + layer.bias.detach().numpy(), atol=1e-5)


def test_terms_that_meet_the_same_inputs_are_one_matrix() -> None:
    layer = nn.Sequential(nn.Linear(64, 16))
    assert len(compress(layer, "2:4+2:8").model[0].matrices) == 1
    assert len(compress(layer, "2:4 int8 + 2:8 int4", activations="terms").model[0].matrices) == 2


def test_the_original_is_not_modified_and_shares_nothing_with_the_result() -> None:
    model, x = small(), images()
    before = copy.deepcopy(model.state_dict())
    found = compress(model, {"2": "2:4", "6": "2:4"}, "sparsegpt", [x])
    with torch.no_grad():
        for parameter in found.model.parameters():
            parameter.zero_()
    assert type(model[2]) is nn.Conv2d
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert not model.training and not any(module._forward_pre_hooks for module in model.modules())


def test_in_place_changes_the_model_itself() -> None:
    model = small()
    found = compress(model, "2:4", in_place=True)
    assert found.model is model and hasattr(model[2], "matrices")


def test_attention_is_opened_and_computes_the_same() -> None:
    model, x = encoder(), torch.randn(5, 9, 32)
    found = compress(model, "dense")
    assert [layer.name for layer in found.layers][:4] == [
        f"layers.0.self_attn.{p}_proj" for p in ("q", "k", "v", "out")
    ]
    assert torch.allclose(run(found.model, x), run(model, x), atol=1e-5)
    padding = torch.zeros(5, 9, dtype=torch.bool)
    padding[:, 6:] = True
    masked = [run(m, x, src_key_padding_mask=padding)[:, :6] for m in (found.model, model)]
    assert torch.allclose(*masked, atol=1e-5)
    causal = nn.Transformer.generate_square_subsequent_mask(9)
    assert torch.allclose(run(found.model, x, mask=causal), run(model, x, mask=causal), atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"kdim": 24, "vdim": 40}, {"bias": False}])
@pytest.mark.parametrize("batch_first", [True, False])
def test_cross_attention_with_other_widths_is_opened(options: dict[str, int], batch_first: bool) -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(32, 4, batch_first=batch_first, **options).eval()

    class Cross(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = attention

        def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            result: tuple[torch.Tensor, torch.Tensor] = self.attention(q, k, v)
            return result

    model = Cross()
    inputs = (
        torch.randn(3, 5, 32),
        torch.randn(3, 5, options.get("kdim", 32)),
        torch.randn(3, 5, options.get("vdim", 32)),
    )
    with torch.no_grad():
        for found, wanted in zip(compress(model, "dense").model(*inputs), model(*inputs), strict=True):
            assert torch.allclose(found, wanted, atol=1e-5)


def test_projections_of_attention_are_calibrated_though_fused_kernels_would_bypass_them() -> None:
    model, x = encoder(), torch.randn(40, 9, 32)
    errors = {}
    for method in ("magnitude", "wanda", "sparsegpt"):
        found = compress(model, "2:4", method, [x])
        errors[method] = float((run(found.model, x) - run(model, x)).norm())
        assert all(layer.output_error for layer in found.layers)
    assert errors["sparsegpt"] < errors["magnitude"]


def test_every_layer_is_calibrated_with_what_comes_through_those_before_it() -> None:
    torch.manual_seed(0)
    model, batches = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32)).eval(), list(torch.randn(3, 50, 32))
    found = compress(model, "2:4", "sparsegpt", batches)
    first = compress(model, {"0": "2:4"}, "sparsegpt", batches).model
    second = compress(nn.Sequential(copy.deepcopy(model[2])), "2:4", "sparsegpt", [run(first[:2], b) for b in batches])
    assert torch.allclose(found.model[2].weight, second.model[0].weight, atol=1e-6)
    apart = compress(model, "2:4", "sparsegpt", batches, sequential=False)
    alone = compress(nn.Sequential(copy.deepcopy(model[2])), "2:4", "sparsegpt", [run(model[:2], b) for b in batches])
    assert torch.allclose(apart.model[2].weight, alone.model[0].weight, atol=1e-6)
    assert not torch.allclose(found.model[2].weight, apart.model[2].weight)


def test_a_layer_that_is_used_twice_is_calibrated_with_all_its_inputs() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(16, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.layer(self.layer(x))
            return result

    torch.manual_seed(0)
    model, x = Twice().eval(), torch.randn(64, 16)
    both = torch.cat([x, run(model.layer, x)])
    expected = compress(nn.Sequential(copy.deepcopy(model.layer)), "2:4", "sparsegpt", [both]).model[0].weight
    assert torch.allclose(compress(model, "2:4", "sparsegpt", [x]).model.layer.weight, expected, atol=1e-5)


def test_gpt2_style_layers_are_taken_along_their_inputs() -> None:
    class Conv1D(nn.Module):
        """As transformers' ``Conv1D``: weights ``(in, out)``."""

        def __init__(self, nf: int, nx: int) -> None:
            super().__init__()
            self.nf, self.nx = nf, nx
            self.weight, self.bias = nn.Parameter(torch.randn(nx, nf)), nn.Parameter(torch.zeros(nf))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight + self.bias

    model, x = nn.Sequential(Conv1D(24, 16)), torch.randn(3, 16)
    found = compress(model, "2:4")
    weight = found.model[0].weight
    assert weight.shape == (16, 24)
    assert (np.count_nonzero(weight.detach().numpy().T.reshape(24, 4, 4), axis=2) == 2).all()
    assert torch.allclose(run(found.model, x), x @ weight.detach(), atol=1e-5)
    assert torch.allclose(run(plain(found.model), x), run(found.model, x), atol=1e-5)


def test_what_is_not_touched_is_reported_with_its_reason() -> None:
    model = nn.ModuleDict(
        {
            "words": nn.Embedding(10, 8),
            "first": nn.Linear(8, 8),
            "second": nn.Linear(8, 8),
            "head": nn.Linear(8, 10, bias=False),
            "norm": nn.LayerNorm(8),
            "up": nn.ConvTranspose2d(4, 4, 2),
            "round": nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
            "attend": nn.MultiheadAttention(8, 2, add_bias_kv=True),
        }
    )
    model["head"].weight = model["words"].weight
    found = compress(model, {"first": "2:4"}, exclude=["second"])
    reasons = {rest.name: rest.reason for rest in found.untouched}
    assert [layer.name for layer in found.layers] == ["first"]
    assert reasons["second"] == "excluded by 'second'"
    assert reasons["words"] == "no linear layer or convolution: a Embedding"
    assert reasons["head"] == "its weight is that of 'words.weight'"
    assert reasons["up"] == "not supported: a ConvTranspose2d"
    assert "circular" in reasons["round"]
    assert "bias_k" in reasons["attend"]
    touched, rest = 64, sum(u.elements for u in found.untouched)
    assert found.share_touched == touched / (touched + rest)


def test_names_patterns_and_formats_that_do_not_exist_are_named() -> None:
    model, x = small(), images()
    with pytest.raises(SpecError, match="no layer is named so"):
        compress(model, {"conv*": "2:4"})
    with pytest.raises(SpecError, match="no layer is named 'heads'"):
        compress(model, "2:4", exclude=["heads"])
    with pytest.raises(SpecError, match="int9000x"):
        compress(model, "2:4 int9000x")
    with pytest.raises(SpecError, match="needs calibration data"):
        compress(model, "2:4", "wanda")
    with pytest.raises(SpecError, match="a list of batches"):
        compress(model, "2:4", "wanda", x)
    with pytest.raises(SpecError, match="holds no batch"):
        compress(model, "2:4", "wanda", [])
    with pytest.raises(SpecError, match="does not run on the calibration data"):
        compress(model, "2:4", "wanda", [torch.randn(3, 7)])
    with pytest.raises(SpecError, match=r"NaN or infinite"):
        compress(model, "2:4", "wanda", [x * torch.nan])
    with pytest.raises(SpecError, match="no layer to compress"):
        compress(nn.Sequential(nn.ReLU()), "2:4")
    with pytest.raises(SpecError, match="compressed already"):
        compress(compress(model, "2:4").model, "2:4")


def test_what_is_no_model_of_layers_is_refused() -> None:
    with pytest.raises(SpecError, match="no model, but a str"):
        compress("model.pt", "2:4")  # type: ignore[arg-type]
    for single in (nn.Linear(8, 4), nn.MultiheadAttention(8, 2)):
        with pytest.raises(SpecError, match="is a single"):
            compress(single, "2:4")


@pytest.mark.parametrize("how", [{}, {"activations": "int8"}, {"activations": "2:4"}, {"accumulator": "fp32"}])
def test_a_single_image_or_signal_without_batch_is_taken_as_torch_takes_it(how: dict[str, str]) -> None:
    torch.manual_seed(0)
    for layer, x in ((nn.Conv2d(8, 4, 3), torch.randn(8, 6, 6)), (nn.Conv1d(8, 4, 3), torch.randn(8, 6))):
        found = compress(nn.Sequential(layer), "dense", calibration=[x], **how).model  # type: ignore[arg-type]
        assert torch.allclose(run(found, x), run(found, x[None])[0], atol=1e-6)
        assert run(found, x).shape == run(layer, x).shape


def test_weights_that_are_not_finite_are_refused_by_the_layer_s_name() -> None:
    model = small()
    with torch.no_grad():
        model[6].weight[0, 0] = torch.nan
    with pytest.raises(SpecError, match=r"layer '6'.*NaN"):
        compress(model, "2:4")


def test_a_failed_calibration_leaves_a_model_that_is_compressed_in_place_whole() -> None:
    model, x = small(), images()
    before = run(model, x)
    with pytest.raises(SpecError):
        compress(model, "2:4", "wanda", [x, x * torch.inf], in_place=True)
    assert type(model[0]) is nn.Conv2d and torch.equal(run(model, x), before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_half_and_double_weights_keep_their_type(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(32, 8)).to(dtype)
    found = compress(model, "2:4").model
    assert found[0].weight.dtype == dtype
    assert run(found, torch.ones(2, 32, dtype=dtype)).dtype == dtype


def test_an_int32_accumulator_sums_integer_codes_exactly() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(96, 8, bias=False), torch.randn(5, 96)
    found = (
        run(compress(nn.Sequential(layer), "int8", activations="int8", accumulator="int32").model, x).double().numpy()
    )
    int8 = number_format("int8")
    codes = [int8.quantize(t.detach().numpy()).codes.view(np.int8).astype(np.int64) for t in (x, layer.weight)]
    steps = [np.abs(t.detach().numpy()).max(axis=1).astype(np.float64) / 127 for t in (x, layer.weight)]
    assert np.allclose(found, codes[0] @ codes[1].T * np.outer(*steps), rtol=1e-5)


def test_a_narrow_integer_accumulator_saturates() -> None:
    layer = nn.Linear(64, 1, bias=False)
    nn.init.ones_(layer.weight)
    x = torch.cat([torch.ones(1, 64), -torch.ones(1, 64)])
    found = run(compress(nn.Sequential(layer), "int8", activations="int8", accumulator="int16/1").model, x)
    assert torch.allclose(found, torch.tensor([[32767.0], [-32768.0]]) / 127**2)
    wide = run(compress(nn.Sequential(layer), "int8", activations="int8", accumulator="int24/1").model, x)
    assert torch.allclose(wide, torch.tensor([[64.0], [-64.0]]))


@pytest.mark.parametrize("chunk", [1, 4, 32])
def test_an_fp16_accumulator_rounds_after_every_chunk_and_goes_on_over_terms(chunk: int) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(32, 4, bias=False), torch.randn(3, 32)
    found = run(compress(nn.Sequential(layer), "2:4+2:4", accumulator=f"fp16/{chunk}").model, x).numpy()
    expected = np.zeros((3, 4))
    for term in read_representation("2:4+2:4").decompose(layer.weight.detach().numpy()):
        for start in range(0, 32, chunk):
            at = slice(start, start + chunk)
            expected = (
                (expected + x.numpy()[:, at].astype(float) @ term[:, at].T.astype(float))
                .astype(np.float16)
                .astype(float)
            )
    assert np.array_equal(found, expected.astype(np.float32))


def test_accumulators_that_do_not_go_with_formats_are_refused() -> None:
    model = nn.Sequential(nn.Linear(32, 4))
    with pytest.raises(UnsupportedError, match="activations that are not integers"):
        compress(model, "int8", accumulator="int32")
    with pytest.raises(UnsupportedError, match="fp4"):
        compress(model, "fp4", activations="terms", accumulator="int32")
    with pytest.raises(UnsupportedError, match="stored values"):
        compress(model, "2:4 int8/v16", activations="int8/v16", accumulator="int32")
    with pytest.raises(SpecError, match="is no accumulator"):
        Accumulator.read("fp-16/")
    assert Accumulator.read("fp22").register.bits == 22  # type: ignore[union-attr]


def test_fine_tuning_keeps_zeros_exactly_and_lowers_the_loss() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)), torch.randn(128, 16)
    wanted = run(model, x)
    pruned = compress(model, "1:4").model
    zeros = [layer.weight == 0 for layer in (pruned[0], pruned[2])]

    def loss(candidate: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return nn.functional.mse_loss(candidate(batch[0]), batch[1])

    def optimiser(parameters: object) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1)  # type: ignore[arg-type]

    before = run(pruned, x).clone()
    tuned = finetune(pruned, [(x, wanted)], loss, 30, optimiser)
    for layer, zero in zip((tuned[0], tuned[2]), zeros, strict=True):
        assert not layer.weight[zero].any() and layer.weight[~zero].all()
    assert float(loss(tuned, (x, wanted)).detach()) < 0.5 * float(loss(pruned, (x, wanted)).detach())
    assert torch.equal(run(pruned, x), before)
    again = compress(plain(tuned), "1:4 int8").model
    assert torch.equal(again[0].weight == 0, (tuned[0].weight == 0) | (again[0].weight == 0))
    with pytest.raises(UnsupportedError, match="can't be fine-tuned"):
        finetune(compress(model, "int8").model, [(x, wanted)], loss)
    with pytest.raises(SpecError, match="the loss is nan"):
        finetune(pruned, [(x * torch.nan, wanted)], loss)


def test_plain_gives_ordinary_layers_back() -> None:
    model, x = small(), images()
    found = compress(model, "2:4").model
    again = plain(found)
    assert [type(m) for m in again] == [type(m) for m in model]
    assert torch.allclose(run(again, x), run(found, x), atol=1e-6)
    assert set(again.state_dict()) == set(model.state_dict())


def test_a_safetensors_file_is_rewritten_tensor_by_tensor(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    torch.manual_seed(0)
    state = {
        "embed.weight": torch.randn(12, 8),
        "layer.weight": torch.randn(6, 16),
        "layer.bias": torch.randn(6),
        "half.weight": torch.randn(4, 8).half(),
        "brain.weight": torch.randn(4, 8).bfloat16(),
        "turned.weight": torch.randn(8, 4),
        "conv.weight": torch.randn(4, 8, 3, 3),
        "steps": torch.arange(6).reshape(2, 3),
    }
    source, target = tmp_path / "model.safetensors", tmp_path / "small.safetensors"
    safetensors.save_file(state, source, {"format": "pt"})
    before = source.read_bytes()
    report = compress_file(source, target, "2:4", exclude=["half.*"], transposed=["turned.*"])
    found = safetensors.load_file(target)
    assert source.read_bytes() == before and not list(tmp_path.glob("*.part"))
    series = read_representation("2:4")
    for name in ("layer.weight", "brain.weight"):
        assert np.array_equal(found[name].float().numpy(), series.project(state[name].float().numpy()))
    assert np.array_equal(found["turned.weight"].numpy(), series.project(state["turned.weight"].numpy(), axis=0))
    flat = state["conv.weight"].movedim(1, -1).reshape(4, -1).numpy()
    assert np.array_equal(found["conv.weight"].movedim(1, -1).reshape(4, -1).numpy(), series.project(flat))
    for name in ("embed.weight", "layer.bias", "half.weight", "steps"):
        assert torch.equal(found[name], state[name])
    assert {rest.name: rest.reason for rest in report.untouched} == {
        "embed.weight": "an embedding, by its name",
        "layer.bias": "no matrix",
        "half.weight": "excluded by 'half.*'",
        "steps": "its numbers are I64",
    }
    assert report.tensors["layer.weight"].density == 0.5


def test_bad_safetensors_files_are_named(tmp_path: Path) -> None:
    source, target = tmp_path / "model.safetensors", tmp_path / "small.safetensors"
    with pytest.raises(SpecError, match="can't be read"):
        compress_file(source, target, "2:4")
    for content in (b"", b"x" * 100, (10**6).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"[]"):
        source.write_bytes(content)
        with pytest.raises(SpecError, match="no safetensors file"):
            compress_file(source, target, "2:4")
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file({"a.weight": torch.full((4, 4), torch.nan)}, source)
    with pytest.raises(SpecError, match=r"a\.weight.*NaN"):
        compress_file(source, target, "2:4")
    assert not target.exists()
    with pytest.raises(SpecError, match="no tensor is named 'b"):
        compress_file(source, target, {"b*": "2:4"})
    with pytest.raises(SpecError, match="overwrite"):
        compress_file(source, source, "2:4")
