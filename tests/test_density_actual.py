"""Actual density: tile occupancies of given tensors equal scanning, however they are counted and stored."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberloom.errors import FiberloomError, SpecError, UnsupportedError
from fiberloom.workload.density import ActualDensity, build_density
from fiberloom.workload.density._tile_counts import CoordinateCounter, Coordinates, IntegralImage, tile_counter
from fiberloom.workload.density._windows import window_starts


def tally(mask: np.ndarray, tile: tuple[int, ...], strides: tuple[int, ...]) -> dict[int, float]:
    """Share of tiles by occupancy, by cutting every tile out."""
    starts = []
    for extent, t, s in zip(mask.shape, tile, strides, strict=True):
        of_rank = [0]
        while of_rank[-1] + t < extent and of_rank[-1] + s < extent:
            of_rank.append(of_rank[-1] + s)
        starts.append(of_rank)
    held = [
        int(mask[tuple(slice(a, a + t) for a, t in zip(place, tile, strict=True))].sum())
        for place in itertools.product(*starts)
    ]
    return {k: held.count(k) / len(held) for k in sorted(set(held))}


def shares(model: ActualDensity, tile: tuple[int, ...], strides: tuple[int, ...] | None = None) -> dict[int, float]:
    counts, probabilities = model.occupancy(tile) if strides is None else model.occupancy_at(tile, strides)
    return dict(zip(counts.tolist(), probabilities.tolist(), strict=True))


@st.composite
def _masks(draw: st.DrawFn) -> np.ndarray:
    shape = tuple(draw(st.lists(st.integers(1, 7), min_size=1, max_size=4)))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return random.random(shape) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))


@given(_masks(), st.data())
@settings(max_examples=200)
def test_occupancies_equal_scanning_for_both_counters(mask: np.ndarray, data: st.DataObject) -> None:
    tile = data.draw(st.tuples(*(st.integers(1, s) for s in mask.shape)))
    strides = data.draw(st.one_of(st.just(tile), st.tuples(*(st.integers(1, 4) for _ in mask.shape))))
    model = ActualDensity(mask)
    truth = tally(mask, tile, strides)
    assert shares(model, tile, strides) == pytest.approx(truth)
    starts = [window_starts(*rank) for rank in zip(mask.shape, tile, strides, strict=True)]
    for counter in (IntegralImage(mask), CoordinateCounter(Coordinates(mask.shape, mask.nonzero()))):
        counts, probabilities = counter.occupancy(tile, starts)
        assert dict(zip(counts.tolist(), probabilities.tolist(), strict=True)) == pytest.approx(truth)


@given(_masks())
def test_partition_conserves_nonzeros(mask: np.ndarray) -> None:
    model = ActualDensity(mask)
    assert model.density == pytest.approx(mask.mean())
    for cut in (1, 2, 3):
        tile = tuple(-(-s // cut) for s in mask.shape)
        tiles = np.prod([-(-s // t) for s, t in zip(mask.shape, tile, strict=True)])
        assert model.mean_occupancy(tile) * tiles == pytest.approx(mask.sum())


def test_answers_follow_from_the_tiles() -> None:
    matrix = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 3], [0, 0, 0, 0]])
    model = ActualDensity.from_array(matrix)
    assert shares(model, (2, 2)) == {0: 0.5, 1: 0.25, 4: 0.25}
    assert model.probability_empty((2, 2)) == 0.5
    assert model.max_occupancy((2, 2)) == 4
    assert model.max_occupancy((2, 2), 0.75) == 1
    assert model.expected_blocks((2, 2), 3) == pytest.approx(0.25 + 0.5)
    assert model.tile_statistics([(2, 2), (4, 4)], 4).tolist() == [[0.5, 4, 1.25, 0.5], [0, 5, 5, 2]]
    assert shares(model, (1, 1)) == {0: 11 / 16, 1: 5 / 16}


def test_windows_that_overlap_are_counted_each() -> None:
    row = np.array([1, 0, 0, 0, 1, 1, 0])
    model = ActualDensity.from_array(row)
    # I[2p+r], r < 3: windows at 0, 2, 4
    assert shares(model, (3,), (2,)) == pytest.approx({1: 2 / 3, 2: 1 / 3})
    # Only every other element is touched: 0, 2, 4, 6
    assert shares(model, (1,), (2,)) == {0: 0.5, 1: 0.5}
    counts, probabilities = model.occupancy_over((2,), [[4, 0, 1]])
    assert (counts.tolist(), probabilities.tolist()) == ([0, 1, 2], pytest.approx([1 / 3] * 3))
    with pytest.raises(SpecError, match="starts"):
        model.occupancy_over((2,), [[7]])


@pytest.mark.parametrize(("value", "held"), [(0, 0), (1, 4)])
def test_empty_and_full_tensors_are_certain(value: int, held: int) -> None:
    model = ActualDensity.from_array(np.full((4, 6), value))
    assert shares(model, (2, 2)) == {held: 1.0}
    assert shares(model, (1, 1)) == {value: 1.0}
    assert model.density == value
    assert model.given(4, held).occupancy((2,)).counts.tolist() == [held // 2]


def test_scalar_tensor_is_one_tile() -> None:
    assert shares(ActualDensity.from_array(3.0), ()) == {1: 1.0}


def test_partly_filled_tile_does_not_say_where() -> None:
    with pytest.raises(UnsupportedError, match="actual"):
        ActualDensity.from_array(np.eye(4)).given(4, 2)


def test_nan_is_nonzero_and_negative_zero_is_not() -> None:
    assert ActualDensity.from_array([np.nan, -0.0, 0.0, np.inf]).density == 0.5


def test_known_tile_shapes_cost_nothing() -> None:
    model = ActualDensity.from_array(np.random.default_rng(0).random((512, 512)) < 0.1)
    first = model.occupancy((2, 2))
    assert model.occupancy((2, 2)) is first
    with pytest.raises(ValueError, match="read-only"):
        first.counts[0] = 1


def test_huge_sparse_matrix_is_never_densified(tmp_path: Path) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    random = np.random.default_rng(1)
    rows, columns = random.integers(0, 100_000, (2, 50_000))
    matrix = sparse.coo_array((np.ones(50_000), (rows, columns)), shape=(100_000, 100_000))
    sparse.save_npz(tmp_path / "huge.npz", matrix)
    model = build_density(
        "A", (100_000, 100_000), {"distribution": "actual", "file": "huge.npz"}, base_directory=tmp_path
    )
    started = time.perf_counter()
    counts, probabilities = model.occupancy((1000, 333))
    assert time.perf_counter() - started < 1
    held = np.zeros((100, 301), dtype=int)
    unique = np.unique(rows * 100_000 + columns)
    np.add.at(held, (unique // 100_000 // 1000, unique % 100_000 // 333), 1)
    assert dict(zip(counts.tolist(), probabilities.tolist(), strict=True)) == pytest.approx(
        {int(k): n / held.size for k, n in zip(*np.unique(held, return_counts=True), strict=True)}
    )
    assert model.probability_empty((1, 1)) == pytest.approx(1 - len(unique) / 1e10)


def test_few_nonzeros_stay_coordinates_and_many_become_an_image() -> None:
    few = Coordinates((3000, 3000), (np.arange(10), np.arange(10)))
    many = Coordinates((30, 30), (np.arange(10), np.arange(10)))
    assert isinstance(tile_counter(few), CoordinateCounter)
    assert isinstance(tile_counter(many), IntegralImage)


# Files


@pytest.fixture
def tensor() -> np.ndarray:
    random = np.random.default_rng(3)
    return np.where(random.random((6, 9)) < 0.4, random.normal(size=(6, 9)), 0).astype(np.float32)


def read(path: Path, shape: tuple[int, ...] = (6, 9), **fields: str) -> ActualDensity:
    spec = {"distribution": "actual", "file": path.name, **fields}
    model = build_density("W", shape, spec, base_directory=path.parent)
    assert isinstance(model, ActualDensity)
    return model


def test_every_format_gives_the_same_occupancies(tensor: np.ndarray, tmp_path: Path) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    from safetensors.numpy import save_file
    from scipy.io import mmwrite

    np.save(tmp_path / "a.npy", tensor)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(tensor))
    np.savez(tmp_path / "one.npz", tensor)
    np.savez_compressed(tmp_path / "two.npz", w=tensor, other=np.zeros(3))
    sparse.save_npz(tmp_path / "csr.npz", sparse.csr_array(tensor))
    sparse.save_npz(tmp_path / "coo.npz", sparse.coo_matrix(tensor))
    mmwrite(tmp_path / "sparse.mtx", sparse.coo_array(tensor))
    mmwrite(tmp_path / "dense.mtx", tensor)
    save_file({"w": tensor, "b": np.zeros(2)}, tmp_path / "m.safetensors")
    truth = tally(tensor != 0, (4, 2), (4, 2))
    assert shares(read(tmp_path / "two.npz", array="w"), (4, 2)) == pytest.approx(truth)
    assert shares(read(tmp_path / "m.safetensors", array="w"), (4, 2)) == pytest.approx(truth)
    for name in ("a.npy", "fortran.npy", "one.npz", "csr.npz", "coo.npz", "sparse.mtx", "dense.mtx"):
        assert shares(read(tmp_path / name), (4, 2)) == pytest.approx(truth), name


def test_stored_zeros_and_duplicates_are_no_nonzeros(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    (tmp_path / "z.mtx").write_text(
        "%%MatrixMarket matrix coordinate real general\n2 2 4\n1 1 0\n2 2 5\n1 2 1\n1 2 1\n", encoding="ascii"
    )
    assert read(tmp_path / "z.mtx", (2, 2)).density == 0.5


def test_symmetric_matrix_market_fills_both_triangles(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    (tmp_path / "s.mtx").write_text(
        "%%MatrixMarket matrix coordinate pattern symmetric\n3 3 2\n2 1\n3 3\n", encoding="ascii"
    )
    assert read(tmp_path / "s.mtx", (3, 3)).density == pytest.approx(3 / 9)


@pytest.mark.parametrize(("kind", "width", "zeros"), [("BF16", 2, (0, 0x8000)), ("F8_E4M3", 1, (0, 0x80))])
def test_narrow_floats_of_safetensors_have_two_zeros(
    tmp_path: Path, kind: str, width: int, zeros: tuple[int, int]
) -> None:
    import json

    bits = np.array([zeros[0], zeros[1], 1, 0x71, zeros[1] | 1, 0], dtype=f"<u{width}")
    header = json.dumps(
        {
            "pad": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
            "w": {"dtype": kind, "shape": [2, 3], "data_offsets": [4, 4 + bits.nbytes]},
        }
    ).encode()
    path = tmp_path / "n.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4) + bits.tobytes())
    model = read(path, (2, 3), array="w")
    assert model.density == 0.5
    assert shares(model, (1, 3)) == {1: 0.5, 2: 0.5}


def test_wrong_shape_names_both(tensor: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", tensor)
    with pytest.raises(SpecError, match=r"\(6, 9\).*\(9, 6\)") as error:
        read(tmp_path / "a.npy", (9, 6))
    assert "transpose" in str(error.value)


def test_files_that_can_not_serve_say_why(tensor: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "object.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    np.savez(tmp_path / "two.npz", weights=tensor, other=tensor)
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY nothing")
    (tmp_path / "plain.npz").write_bytes((tmp_path / "text.npy").read_bytes())
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 nothing")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing at all here")
    (tmp_path / "broken.mtx").write_text(
        "%%MatrixMarket matrix coordinate real general\n2 2 9\n1 1\n", encoding="ascii"
    )
    (tmp_path / "a.csv").write_text("1,2\n", encoding="ascii")
    np.save(tmp_path / "a.npy", tensor)
    for name, fields, problem in (
        ("absent.npy", {}, "there is no file"),
        ("object.npy", {}, "can't be read"),
        ("text.npy", {}, "not numbers"),
        ("two.npz", {}, "holds 2 arrays"),
        ("two.npz", {"array": "weigths"}, "did you mean 'weights'"),
        ("a.npy", {"array": "w"}, "without a name"),
        ("broken.npy", {}, "can't be read"),
        ("broken.npz", {}, "can't be read"),
        ("plain.npz", {}, "not an archive"),
        ("broken.safetensors", {"array": "w"}, "can't be read"),
        ("broken.mtx", {}, "can't be read"),
        ("a.csv", {}, "no known format"),
    ):
        with pytest.raises(SpecError) as error:
            read(tmp_path / name, **fields)
        assert problem in str(error.value), name
        assert "'W'" in str(error.value), name


def test_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    (tmp_path / "m.mtx").write_text("", encoding="ascii")
    (tmp_path / "m.safetensors").write_text("", encoding="ascii")
    for module in ("scipy", "scipy.io", "scipy.sparse", "safetensors"):
        monkeypatch.setitem(sys.modules, module, None)
    for name, package in (("m.mtx", "scipy"), ("m.safetensors", "safetensors")):
        with pytest.raises(FiberloomError, match=package) as error:
            read(tmp_path / name)
        assert "fiberloom[data]" in str(error.value)
