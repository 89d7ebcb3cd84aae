"""Sparsity profiles: reading, stating, fitting and applying densities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fiberloom.errors import FiberloomError, SpecError
from fiberloom.workload.density import ActualDensity, BandedDensity, UniformDensity, build_density
from fiberloom.workload.density.patterns import Pattern, find_pattern
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.layers import convolution, fully_connected
from fiberloom.workload.network import Kind, Network, NetworkTensor, Operator, Role
from fiberloom.workload.profile import SparsityProfile, TensorProfile, TileCheck, make_profile
from fiberloom.workload.profile.fitting import checked_tiles, compare, distance, fit, measure
from fiberloom.workload.profile.observing import Observed


def network() -> Network:
    """A grouped convolution and a fully connected layer."""
    conv = convolution("conv", outputs=64, inputs=32, groups=2, rows=6, kernel=3)
    dense = fully_connected("fc", outputs=128, inputs=64)
    shapes = {
        "x": ((1, 32, 8, 8), Role.INPUT), "conv.weight": ((64, 16, 3, 3), Role.PARAMETER),
        "conv": ((1, 64, 6, 6), Role.ACTIVATION), "flat": ((1, 64), Role.ACTIVATION),
        "fc.weight": ((128, 64), Role.PARAMETER), "fc": ((1, 128), Role.OUTPUT),
    }  # fmt: skip

    def step(einsum: Einsum, weight: str, x: str) -> Operator:
        operands = {"W": weight, "I": x, "O": einsum.name}
        return Operator(einsum.name, "layer", Kind.EINSUM, (x, weight), (einsum.name,), einsum, operands)

    steps = (step(conv, "conv.weight", "x"), step(dense, "fc.weight", "flat"))
    return Network("small", steps, {n: NetworkTensor(n, s, r) for n, (s, r) in shapes.items()})


def masks() -> dict[str, NDArray[np.bool_]]:
    """Weights of `network`: 30 % at random, and 2:4 along the inputs."""
    random = np.random.default_rng(0)
    structured = np.zeros((128 * 16, 4), bool)
    for row in structured:
        row[random.choice(4, 2, replace=False)] = True
    return {"conv.weight": random.random((64, 16, 3, 3)) < 0.3, "fc.weight": structured.reshape(128, 64)}


def written(path: Path, tensors: str) -> SparsityProfile:
    """A hand-written profile."""
    path.write_text(f"tensors:\n{tensors}")
    return SparsityProfile.read(path)


def test_random_zeros_are_uniform_and_fit_within_the_noise() -> None:
    found = fit(np.random.default_rng(1).random((128, 256)) < 0.3)
    assert found.model == "uniform"
    assert found.misfit < 0.02


def test_empty_rows_are_far_from_uniform() -> None:
    nonzero = np.ones((120, 128), bool)
    nonzero[::3] = False
    found = fit(nonzero)
    assert found.misfit > 0.1
    by_row = next(t for t in found.tiles if t.tile == (1, 128))
    assert by_row.empty == pytest.approx(1 / 3)
    assert by_row.predicted_empty < 1e-9


def test_a_band_is_found_with_its_width() -> None:
    i = np.arange(128)
    found = fit(np.abs(i[:, None] - i) <= 5)
    assert found.density == {"distribution": "banded", "width": 5}
    assert found.misfit == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("axis", [0, 1])
def test_an_n_m_pattern_is_found_along_either_axis(axis: int) -> None:
    weights = masks()["fc.weight"]
    assert find_pattern(weights if axis else weights.T) == Pattern(2, 4, axis)
    assert fit(weights if axis else weights.T).density == "2:4"


def test_one_group_with_too_many_non_zeros_is_no_pattern() -> None:
    weights = masks()["fc.weight"]
    weights[3, :4] = True
    assert find_pattern(weights) is None


def test_no_pattern_is_seen_in_random_zeros() -> None:
    random = np.random.default_rng(2)
    assert not any(find_pattern(random.random((64, 64)) < d) for d in (0.02, 0.25, 0.5, 0.9))


def test_a_dense_and_an_empty_tensor_need_no_model() -> None:
    assert fit(np.ones((8, 8), bool)).density is None
    assert fit(np.zeros((8, 8), bool)).density == 0.0


def test_the_misfit_is_how_many_non_zeros_a_tile_is_off() -> None:
    halves = np.zeros((64, 64), bool)
    halves[:32] = True
    model = UniformDensity(halves.shape, 0.5)
    (check,) = compare(model, measure(halves, [(1, 64)]))
    counts, probabilities = model.occupancy((1, 64))
    # Rows hold 64 or 0, the model about 32: each quantile is off by its distance to one of them.
    expected = np.sum(probabilities * np.where(counts < 32, counts, 64 - counts)) / 32
    assert check.misfit == pytest.approx(expected, rel=1e-3)
    assert distance(model.occupancy((4, 4)), model.occupancy((4, 4))) == 0


def test_tiles_divide_the_tensor_and_leave_enough_of_them() -> None:
    for shape in ((64, 16, 3, 3), (197, 768), (1, 7), (30522, 768)):
        for tile in checked_tiles(shape):
            assert all(s % t == 0 for s, t in zip(shape, tile, strict=True))
            assert np.prod(shape) // np.prod(tile) >= 16


def test_samples_are_averaged_and_their_spread_is_kept() -> None:
    observed = Observed("relu")
    for share in (0.25, 0.75):
        observed.add((np.arange(400).reshape(1, 4, 10, 10) % 4 < 4 * share).astype(np.float32))
    found = observed.profile("activation")
    assert (found.nonzero, found.spread, found.samples) == (0.5, 0.25, 2)
    assert found.channels == (0.5, 0.5, 0.5, 0.5)


def test_nan_in_an_activation_is_refused_with_its_sample() -> None:
    observed = Observed("relu")
    observed.add(np.zeros((1, 4)))
    with pytest.raises(SpecError, match="'relu' holds NaN in calibration sample 1"):
        observed.add(np.full((1, 4), np.nan))


def test_a_name_counts_more_than_a_pattern(tmp_path: Path) -> None:
    profile = written(tmp_path / "p.yaml", '  fc.weight: 0.25\n  "*.weight": 2:4\n  flat: 0.4\n')
    tensors = profile.apply(network()).tensors
    assert (tensors["fc.weight"].density, tensors["conv.weight"].density, tensors["flat"].density) == (0.25, "2:4", 0.4)
    assert tensors["x"].density is None


def test_a_name_can_be_dense_again_where_a_pattern_is_not(tmp_path: Path) -> None:
    tensors = written(tmp_path / "p.yaml", '  "*.weight": 2:4\n  conv.weight: dense\n').apply(network()).tensors
    assert (tensors["fc.weight"].density, tensors["conv.weight"].density) == ("2:4", None)


def test_densities_reach_the_einsums(tmp_path: Path) -> None:
    dense = network()
    applied = written(tmp_path / "p.yaml", '  "conv*weight": {distribution: fixed_structured, density: 0.5}\n').apply(
        dense
    )
    einsum = applied.resolved(applied.einsums[0])
    weight = einsum.tensor("W")
    assert build_density("W", einsum.tensor_shape("W"), weight.density).density == 0.5
    assert dense.tensors["conv.weight"].density is None


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ("  fc.weights: 0.3\n", r"p\.yaml:2: tensors\.fc\.weights: small has no tensor 'fc\.weights'\n.*did you mean 'fc\.weight'"),
        ('  "*.weigth": 0.3\n', r"no tensor of small matches '\*\.weigth'\n.*did you mean"),
        ("  *.weight: 0.3\n", "quote patterns"),
        ("  fc.weight: 30\n", "not per cent"),
        ("  fc.weight: yes\n", "not a density"),
        ("  fc.weight: true\n", "not a density"),
        ("  fc.weight: [1, 2]\n", "not a density"),
        ("  fc.weight: .nan\n", "not a density"),
        ("  fc.weight: 4:2\n", "keeps 4 of 2"),
        ("  fc.weight: {distribution: unifrom, density: 0.3}\n", "did you mean 'uniform'"),
        ("  fc.weight: {density: 0.3, shape: [3, 4]}\n", r"shape \[3, 4\] in the profile and \[128, 64\] in small"),
        ("  fc.weight: {density: 0.3, shapes: [3, 4]}\n", "did you mean 'shape'"),
        ("  fc.weight: {density: 0.3, samples: many}\n", "measured value can't be read"),
        ("  conv.weight: {distribution: banded, width: 3}\n", "two ranks"),
        ("  fc.weight: {distribution: actual, file: none.npz}\n", "there is no file"),
        ("  fc.weight: 0.3\n  fc.weight: 0.4\n", r"p\.yaml:3: 'fc\.weight' stands here twice"),
        ("  fc.weight: &a 0.3\n  flat: *a\n", "aliases"),
        ("  - 0.3\n", "not a mapping"),
    ],
)  # fmt: skip
def test_a_profile_that_does_not_fit_is_refused(tmp_path: Path, tensors: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        written(tmp_path / "p.yaml", tensors).apply(network())


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"tensor: {}\n", b"[1, 2]", b"tensors: {a: {b", b"a: " + b"[" * 5000]
)
def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=r"p\.yaml"):
        SparsityProfile.read(path)


def measured_profile() -> SparsityProfile:
    """A profile with every field."""
    entry = TensorProfile(
        "2:4", "parameter", (128, 64), 0.5, 0.125, 3, "2:4 along axis 1", 0.0625, (TileCheck((4, 1), 0.25, 0.5, 0.75),),
        (0.5, 0.25), 2, "a note",
    )  # fmt: skip
    activation = TensorProfile(0.375, "activation", (1, 64), 0.375)
    return SparsityProfile({"fc.weight": entry, "flat": activation}, "small", ("made by hand",))


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    profile, path = measured_profile(), tmp_path / "p.yaml"
    profile.save(path)
    found = SparsityProfile.read(path)
    assert (found.tensors, found.network, found.notes) == (profile.tensors, profile.network, profile.notes)
    assert list(tmp_path.iterdir()) == [path]


def test_every_cut_of_a_saved_profile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    measured_profile().save(path)
    content = path.read_bytes().rstrip()
    first = content.index(b"  flat:")
    for end in range(10, first + 4, 7):
        path.write_bytes(content[:end])
        with pytest.raises(SpecError):
            SparsityProfile.read(path)


def test_a_folder_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FiberloomError, match="can't write"):
        measured_profile().save(tmp_path / "none" / "p.yaml")


def test_the_share_of_an_activation_holds_for_another_batch_but_not_for_another_image(tmp_path: Path) -> None:
    written(tmp_path / "p.yaml", "  conv: {density: 0.4, shape: [8, 64, 6, 6]}\n").apply(network())
    with pytest.raises(SpecError, match="image size"):
        written(tmp_path / "p.yaml", "  conv: {density: 0.4, shape: [1, 64, 7, 7]}\n").apply(network())


def test_weights_themselves_are_laid_out_as_the_einsum_has_them(tmp_path: Path) -> None:
    weights = masks()
    np.savez(tmp_path / "w.npz", **weights)  # type: ignore[arg-type]
    tensors = "".join(f"  {n}: {{distribution: actual, file: w.npz, array: {n}}}\n" for n in weights)
    applied = written(tmp_path / "p.yaml", tensors).apply(network())
    einsum = applied.resolved(applied.einsums[0])
    model = build_density("W", einsum.tensor_shape("W"), einsum.tensor("W").density)
    expected = ActualDensity.from_array(weights["conv.weight"].reshape(2, 32, 16, 3, 3))
    assert model.shape == (2, 32, 16, 3, 3)
    np.testing.assert_array_equal(
        model.occupancy((1, 32, 1, 3, 1)).probabilities, expected.occupancy((1, 32, 1, 3, 1)).probabilities
    )


def test_a_transposed_matrix_is_not_taken_for_the_einsums(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", masks()["fc.weight"].T)
    with pytest.raises(SpecError, match="transpose"):
        build_density("W", (128, 64), {"distribution": "actual", "file": str(tmp_path / "w.npy")})


@pytest.mark.parametrize(("stored", "shape"), [((4, 6), (6, 4)), ((6, 4), (3, 8)), ((2, 3, 5), (3, 2, 5))])
def test_axes_are_split_and_merged_but_never_mixed(tmp_path: Path, stored: Any, shape: Any) -> None:
    np.save(tmp_path / "w.npy", np.ones(stored))
    with pytest.raises(SpecError, match="holds a tensor of shape"):
        build_density("W", shape, {"distribution": "actual", "file": str(tmp_path / "w.npy")})


def test_a_file_of_weights_is_a_model_without_a_network(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", bias=np.zeros(128), **{n: m.astype(np.float32) for n, m in masks().items()})
    profile, found = make_profile(str(tmp_path / "w.npz"))
    assert found is None
    assert {n: t.density for n, t in profile.tensors.items()} == {
        "conv.weight": pytest.approx(0.3, abs=0.02),
        "fc.weight": "2:4",
    }


def test_auto_keeps_weights_only_where_no_model_fits(tmp_path: Path) -> None:
    weights = {n: m.astype(np.float32) for n, m in masks().items()}
    weights["rows.weight"] = np.ones((64, 64), np.float32)
    weights["rows.weight"][::3] = 0
    np.savez(tmp_path / "w.npz", **weights)  # type: ignore[arg-type]
    profile, _ = make_profile(str(tmp_path / "w.npz"), densities="auto", values_file=tmp_path / "p.npz")
    assert profile.tensors["conv.weight"].model == "uniform"
    assert profile.tensors["fc.weight"].density == "2:4"
    assert profile.tensors["rows.weight"].density == {"distribution": "actual", "file": "w.npz", "array": "rows.weight"}


def test_small_weights_count_as_zero_below_a_threshold(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", w=np.linspace(-1, 1, 1000).reshape(10, 100))
    profile, _ = make_profile(
        str(tmp_path / "w.npz"), threshold=0.25, densities="actual", values_file=tmp_path / "p.npz"
    )
    assert profile.tensors["w"].nonzero == pytest.approx(0.75, abs=0.01)
    # The file itself holds no zeros, so what counts is written beside the profile.
    assert profile.tensors["w"].density == {"distribution": "actual", "file": "p.npz", "array": "w"}
    kept = build_density("w", (10, 100), {**profile.tensors["w"].density, "file": str(tmp_path / "p.npz")})  # type: ignore[dict-item]
    assert kept.density == profile.tensors["w"].nonzero


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": -1.0}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"densities": "fited"}, "did you mean 'fitted'"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "w.npz", w=np.ones((4, 4)))
    with pytest.raises(SpecError, match=message):
        make_profile(str(tmp_path / "w.npz"), **options)


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_of_weights_that_is_cut_off_is_refused(tmp_path: Path, ending: str, share: float) -> None:
    path = tmp_path / f"w{ending}"
    if ending == ".npz":
        np.savez(path, w=np.ones((40, 40)))
    else:
        pytest.importorskip("safetensors.numpy").save_file({"w": np.ones((40, 40))}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(SpecError, match="can't be read"):
        make_profile(str(path))


def test_nan_in_weights_is_refused_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", good=np.ones((4, 4)), bad=np.array([[1.0, np.nan]]))
    with pytest.raises(SpecError, match="1 of the 2 values of 'bad' are not numbers"):
        make_profile(str(tmp_path / "w.npz"))


def test_narrow_floats_are_read_with_their_values(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    # 1.0, -0.0, 0.5, -2.0 in bfloat16; 1.0, -0.0, 448 (the largest), 2^-9 (the smallest) in E4M3.
    parts = {
        "bf16": ("BF16", np.array([0x3F80, 0x8000, 0x3F00, 0xC000], "<u2").tobytes()),
        "fp8": ("F8_E4M3", bytes([0x38, 0x80, 0x7E, 1])),
    }
    header, content = {}, b""
    for name, (number_format, data) in parts.items():
        header[name] = {
            "dtype": number_format,
            "shape": [2, 2],
            "data_offsets": [len(content), len(content) + len(data)],
        }
        content += data
    text = json.dumps(header).encode()
    (tmp_path / "w.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + content)
    from fiberloom.workload.profile.weights import read_weights

    found = {w.name: w.values.tolist() for w in read_weights(tmp_path / "w.safetensors")}
    assert found["bf16"] == [[1.0, -0.0], [0.5, -2.0]]
    assert found["fp8"] == [[1.0, -0.0], [448.0, 2.0**-9]]
    assert make_profile(str(tmp_path / "w.safetensors"))[0].tensors["fp8"].nonzero == 0.75


def test_weights_in_several_files_are_found_by_their_index(tmp_path: Path) -> None:
    save = pytest.importorskip("safetensors.numpy").save_file
    save({"a": np.eye(8, dtype=np.float32)}, tmp_path / "m-1.safetensors")
    save({"b": np.ones((8, 8), np.float32)}, tmp_path / "m-2.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}')
    assert make_profile(str(index))[0].tensors["a"].nonzero == 0.125
    index.write_text('{"weight_map": {"a": "../elsewhere.safetensors"}}')
    with pytest.raises(SpecError, match="index's folder"):
        make_profile(str(index))


def test_a_network_of_the_zoo_takes_weights_by_name(tmp_path: Path) -> None:
    from fiberloom.workload.importers import read_network

    weights = {
        t.name: np.random.default_rng(0).random(t.shape) < 0.25
        for t in read_network("alexnet").tensors.values()
        if t.role is Role.PARAMETER and len(t.shape) == 4
    }
    np.savez(tmp_path / "w.npz", **{f"module.{n}": w.astype(np.float32) for n, w in weights.items()})
    profile, found = make_profile("alexnet", weights=tmp_path / "w.npz")
    assert found is not None and set(profile.tensors) == set(weights)
    assert all(t.density == pytest.approx(0.25, abs=0.02) for t in profile.tensors.values())
    assert any("stay dense" in note for note in profile.notes)
    assert profile.apply(found).macs == found.macs


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", other=np.ones((4, 4)))
    with pytest.raises(SpecError, match="none of the 1 tensors"):
        make_profile("alexnet", weights=tmp_path / "w.npz")
    with pytest.raises(SpecError, match="nothing to measure"):
        make_profile("alexnet")


def test_a_band_in_the_profile_is_the_band_of_the_einsum(tmp_path: Path) -> None:
    applied = written(tmp_path / "p.yaml", "  fc.weight: {distribution: banded, width: 4}\n").apply(network())
    einsum = applied.resolved(applied.einsums[1])
    model = build_density("W", einsum.tensor_shape("W"), einsum.tensor("W").density)
    assert isinstance(model, BandedDensity) and model.width == 4
