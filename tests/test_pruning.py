"""Magnitude, Wanda and SparseGPT on arrays."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.representation import read_representation
from fiberloom.representation.calibration import InputStatistics
from fiberloom.representation.formats import number_format
from fiberloom.representation.patterns import read_pattern
from fiberloom.representation.pruning import Method, magnitude, prune, sparsegpt, wanda
from fiberloom.representation.pruning.inverse_factor import inverse_factor


def correlated(rows: int, inputs: int, seed: int = 0) -> np.ndarray:
    """Inputs of very different norms that depend on each other."""
    rng = np.random.default_rng(seed)
    mixing = np.eye(inputs) + rng.standard_normal((inputs, inputs)) / np.sqrt(inputs)
    return (rng.standard_normal((rows, inputs)) @ mixing * np.exp(rng.standard_normal(inputs))).astype(np.float32)


def seen(inputs: np.ndarray, second: bool = True) -> InputStatistics:
    statistics = InputStatistics(inputs.shape[1], second)
    statistics.add(inputs)
    return statistics


def test_magnitude_keeps_n_of_m_along_inputs() -> None:
    weights = np.array([[1.0, -4, 3, 2, 0, 5, -6, 1]], np.float32)
    assert magnitude(weights, read_pattern("1:4")).tolist() == [[0, -4, 0, 0, 0, 0, -6, 0]]


def test_wanda_weighs_magnitudes_with_norms_of_inputs_and_keeps_one_of_four() -> None:
    weights = np.array([[1.0, -4, 3, 2]], np.float32)
    norms = np.array([100.0, 1, 1, 1], np.float32)
    assert wanda(weights, norms, read_pattern("1:4")).tolist() == [[1, 0, 0, 0]]
    assert wanda(weights, norms, read_pattern("3:4")).tolist() == [[1, -4, 3, 0]]


def test_wanda_keeps_an_unstructured_share_of_every_row_not_of_the_tensor() -> None:
    weights = np.random.default_rng(0).standard_normal((8, 64)).astype(np.float32)
    weights[0] *= 1e6
    kept = wanda(weights, np.ones(64), read_pattern("unstructured(0.25)"))
    assert (np.count_nonzero(kept, axis=1) == 16).all()
    assert np.count_nonzero(magnitude(weights, read_pattern("unstructured(0.25)"))[0]) == 64


def test_wanda_by_equal_norms_is_magnitude() -> None:
    weights = np.random.default_rng(0).standard_normal((16, 64)).astype(np.float32)
    for text in ("2:4", "3:8", "2:4+1:8"):
        places = read_representation(text)
        assert np.array_equal(wanda(weights, np.full(64, 7.0), places), magnitude(weights, places))


@pytest.mark.parametrize("size", [1, 5, 256, 300, 700])
def test_inverse_factor_is_the_upper_cholesky_factor_of_the_inverse(size: int) -> None:
    rng = np.random.default_rng(size)
    root = rng.standard_normal((size, size))
    matrix = root @ root.T + size * np.eye(size)
    expected = np.linalg.cholesky(np.linalg.inv(matrix)).T
    assert np.allclose(inverse_factor(matrix.copy()), expected, atol=1e-12)


def exact_elimination(weights: np.ndarray, hessian: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Optimal brain surgeon column by column, with a fresh inverse of what is left of the Hessian each time."""
    damped = hessian + 0.01 * np.diagonal(hessian).mean() * np.eye(len(hessian))
    result = weights.copy()
    for j in range(weights.shape[1]):
        inverse = np.linalg.inv(damped[j:, j:])
        error = np.where(kept[:, j], 0, result[:, j])
        result[:, j:] -= np.outer(error / inverse[0, 0], inverse[0])
        result[:, j] = np.where(kept[:, j], result[:, j], 0)
    return result


def test_sparsegpt_equals_elimination_with_explicit_inverses() -> None:
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((6, 24))
    hessian = seen(correlated(200, 24)).hessian.astype(np.float64)
    found = sparsegpt(weights, hessian, read_pattern("2:4"), columns=8)
    assert np.allclose(found, exact_elimination(weights, hessian, found != 0), atol=1e-9)


def test_sparsegpt_does_not_depend_on_how_columns_are_grouped() -> None:
    weights = np.random.default_rng(1).standard_normal((6, 48))
    hessian = seen(correlated(200, 48)).hessian.astype(np.float64)
    results = [sparsegpt(weights, hessian, read_pattern("2:4"), columns=columns) for columns in (4, 16, 128)]
    assert np.allclose(results[0], results[1]) and np.allclose(results[0], results[2])


def test_sparsegpt_with_unrelated_inputs_only_masks_by_weight_times_input() -> None:
    rng = np.random.default_rng(2)
    weights, scale = rng.standard_normal((8, 32)), np.exp(rng.standard_normal(32))
    found = sparsegpt(weights, np.diag(scale), read_pattern("2:4"), damping=0.0)
    assert np.allclose(found, wanda(weights, np.sqrt(scale), read_pattern("2:4")))


@pytest.mark.parametrize("text", ["2:4", "1:4", "6:8", "2:4+1:8", "C1(3:4)->C0(2:4)"])
def test_sparsegpt_keeps_to_any_pattern(text: str) -> None:
    places = read_representation(text)
    found = prune(
        np.random.default_rng(0).standard_normal((16, 64)).astype(np.float32),
        places,
        "sparsegpt",
        seen(correlated(300, 64)),
    )
    assert np.array_equal(places.project(found), found)
    assert np.count_nonzero(found) == found.size * places.stored_share


@pytest.mark.parametrize("text", ["2:4", "4:8", "1:4"])
def test_output_error_falls_from_magnitude_to_wanda_to_sparsegpt_while_weight_error_rises(text: str) -> None:
    inputs = correlated(2000, 128)
    weights = np.random.default_rng(3).standard_normal((64, 128)).astype(np.float32)
    statistics = seen(inputs)
    pruned = [prune(weights, read_pattern(text), method, statistics) for method in Method]
    output = [np.linalg.norm(inputs @ (p - weights).T) for p in pruned]
    assert output[0] > output[1] > output[2]
    weight = [np.linalg.norm(p - weights) for p in pruned]
    assert weight[0] < min(weight[1:])


@pytest.mark.parametrize("name", ["int4", "int4/v16/e4m3", "fp4/v16/e4m3", "mxfp4", "fp8/v32", "fp16"])
def test_rounding_in_the_same_pass_beats_rounding_afterwards(name: str) -> None:
    inputs = correlated(2000, 128)
    weights = np.random.default_rng(3).standard_normal((64, 128)).astype(np.float32)
    stored = number_format(name)
    found = sparsegpt(weights, seen(inputs).hessian, read_pattern("dense"), stored)
    after = np.linalg.norm(inputs @ (found - weights).T)
    assert after < np.linalg.norm(inputs @ (stored.round(weights) - weights).T)


def test_rounded_in_pass_values_lie_on_the_grid_of_their_row() -> None:
    weights = np.random.default_rng(3).standard_normal((8, 64)).astype(np.float32)
    found = sparsegpt(weights, seen(correlated(300, 64)).hessian, read_pattern("2:4"), number_format("int4"))
    steps = np.abs(weights).max(axis=1, keepdims=True) / 7
    codes = found / steps
    assert np.allclose(codes, np.rint(codes), atol=1e-4) and np.abs(codes).max() <= 7.001
    assert (np.count_nonzero(found.reshape(8, 16, 4), axis=2) <= 2).all()


def test_formats_that_choose_code_books_are_refused_in_the_same_pass() -> None:
    with pytest.raises(UnsupportedError, match="while they are pruned"):
        sparsegpt(np.ones((4, 8)), np.eye(8), read_pattern("2:4"), number_format("int8/asymmetric"))
    with pytest.raises(UnsupportedError, match="ternary"):
        sparsegpt(np.ones((4, 8)), np.eye(8), read_pattern("2:4"), number_format("ternary"))


def test_inputs_that_are_never_used_lose_their_weights_and_leave_the_others_alone() -> None:
    inputs = correlated(300, 32)
    inputs[:, 5] = 0
    weights = np.random.default_rng(0).standard_normal((8, 32)).astype(np.float32)
    found = sparsegpt(weights, seen(inputs).hessian, read_pattern("dense"))
    assert not found[:, 5].any()
    assert np.array_equal(np.delete(found, 5, axis=1), np.delete(weights, 5, axis=1))


def test_nothing_given_is_modified() -> None:
    weights, inputs = np.random.default_rng(0).standard_normal((8, 32)).astype(np.float32), correlated(100, 32)
    statistics = seen(inputs)
    before = weights.copy(), statistics.hessian.copy()
    for method in Method:
        prune(weights, read_pattern("2:4"), method, statistics)
    hessian = statistics.hessian
    sparsegpt(weights, hessian, read_pattern("2:4"))
    assert np.array_equal(weights, before[0]) and np.array_equal(hessian, before[1])


def test_statistics_in_parts_are_statistics_of_the_whole() -> None:
    inputs = correlated(1000, 40)
    whole, parts = seen(inputs), InputStatistics(40, True)
    for part in np.array_split(inputs, 7):
        parts.add(part)
    assert np.allclose(whole.norms, np.sqrt(np.square(inputs).mean(axis=0)), rtol=1e-5)
    assert np.allclose(whole.hessian, 2 / 1000 * inputs.T @ inputs, rtol=1e-3, atol=1e-4)
    assert np.allclose(parts.norms, whole.norms) and np.allclose(parts.hessian, whole.hessian, rtol=1e-4, atol=1e-4)


def test_bad_calibration_is_named() -> None:
    weights = np.ones((4, 8), np.float32)
    with pytest.raises(SpecError, match="needs the layer's inputs"):
        prune(weights, read_pattern("2:4"), "wanda")
    with pytest.raises(SpecError, match="no pruning method is called 'wander'"):
        prune(weights, read_pattern("2:4"), "wander")
    with pytest.raises(SpecError, match="no calibration input"):
        prune(weights, read_pattern("2:4"), "wanda", InputStatistics(8))
    with pytest.raises(SpecError, match="no second moments"):
        prune(weights, read_pattern("2:4"), "sparsegpt", seen(np.ones((3, 8), np.float32), second=False))
    with pytest.raises(SpecError, match="7 inputs"):
        InputStatistics(7).add(np.ones((3, 8)))
    with pytest.raises(SpecError, match="NaN or infinite"):
        InputStatistics(8).add(np.full((3, 8), np.nan))
    with pytest.raises(SpecError, match="4 input norms"):
        wanda(weights, np.ones(4), read_pattern("2:4"))
    with pytest.raises(SpecError, match="not positive definite"):
        sparsegpt(weights, -np.eye(8, dtype=np.float32), read_pattern("2:4"))
    with pytest.raises(SpecError, match="NaN or infinite"):
        prune(np.full((4, 8), np.nan), read_pattern("2:4"))
    with pytest.raises(SpecError, match="no matrix"):
        prune(np.ones((4, 8, 3, 3)), read_pattern("2:4"))


@pytest.mark.parametrize("method", list(Method))
def test_pruning_takes_less_memory_than_three_times_the_layer(method: Method) -> None:
    weights = np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32)
    statistics = seen(np.random.default_rng(1).standard_normal((256, 1024)).astype(np.float32))
    prune(weights[:, :64], read_pattern("2:4"), "magnitude")  # what is loaded and compiled once
    tracemalloc.start()
    prune(weights, read_pattern("2:4"), method, statistics, release=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * weights.nbytes
