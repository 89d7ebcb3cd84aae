"""Mind Mappings: its surrogate (numpy) and the training (PyTorch, where it is installed)."""

from __future__ import annotations

import itertools
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fiberloom.errors import MissingExtraError, SpecError
from fiberloom.mapper.driver import run
from fiberloom.mapper.searchers.mind_mappings import MindMappings
from fiberloom.mapper.searchers.mind_mappings_training import (
    cnn_layer,
    load_torch,
    mttkrp,
    train,
    training_set,
)
from fiberloom.mapper.searchers.surrogate import AlgorithmicMinimum, Surrogate, features
from fiberloom.mapping.space import MapSpace
from fiberloom.model.lower import lower
from map_problems import GEMM, gemm_problem, specification

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")


def untrained(seed: int = 0, hidden: int = 24) -> Surrogate:
    """A network of random weights, of the form that the small matrix product needs."""
    target = gemm_problem()
    rng = np.random.default_rng(seed)
    L, T = len(target.space.level_names), len(target.space.tensors)
    inputs = features(target.space, target.space.vector(target.space.sample(rng, 200)))
    deviation = inputs.std(axis=0)
    widths = [inputs.shape[1], hidden, hidden, L * T + 3 + L]
    layers = list(itertools.pairwise(widths))
    return Surrogate(
        tuple(rng.normal(0, (2 / a) ** 0.5, (a, b)).astype(np.float32) for a, b in layers),
        tuple(rng.normal(0, 0.1, b).astype(np.float32) for _, b in layers),
        inputs.mean(axis=0),
        np.where(deviation > 0, deviation, 1.0),
        rng.normal(size=widths[-1]),
        rng.uniform(0.5, 2, widths[-1]),
        target.space.variables,
        np.ones((1, 2)),
    )


# The surrogate


def test_the_slope_of_the_surrogate_is_that_of_finite_differences() -> None:
    surrogate = untrained()
    rng = np.random.default_rng(1)
    scores, weights = rng.normal(size=(6, len(surrogate.input_mean))), rng.normal(size=len(surrogate.output_mean))
    slope = surrogate.slope(scores, lambda outputs: np.broadcast_to(weights, outputs.shape))

    def loss(at: np.ndarray) -> np.ndarray:
        return np.asarray(surrogate.predict(at * surrogate.input_scale + surrogate.input_mean) @ weights)

    move, h = rng.normal(size=scores.shape), 1e-3
    along = (loss(scores + h * move) - loss(scores - h * move)) / (2 * h)
    np.testing.assert_allclose((slope * move).sum(axis=1), along, rtol=0.02, atol=0.02)


def test_a_saved_surrogate_predicts_the_same(tmp_path: Path) -> None:
    surrogate = untrained()
    surrogate.save(tmp_path / "surrogate.npz")
    again = Surrogate.load(tmp_path / "surrogate.npz")
    inputs = np.random.default_rng(2).normal(size=(5, len(surrogate.input_mean)))
    np.testing.assert_array_equal(again.predict(inputs), surrogate.predict(inputs))
    assert again.variables == surrogate.variables


def test_a_file_that_is_no_surrogate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.npz").write_text("not an archive")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    for name in ("notes.npz", "other.npz", "missing.npz"):
        with pytest.raises(SpecError, match=name):
            Surrogate.load(tmp_path / name)


def test_a_surrogate_of_other_variables_is_refused() -> None:
    target = gemm_problem(
        text=GEMM.replace("[m,k] * B[k,n]", "[m,j] * B[j,n]").replace("k=4", "j=4").replace("k: 4", "j: 4")
    )
    with pytest.raises(SpecError, match="trained on variables m, n, k"):
        MindMappings(target, np.random.default_rng(0), surrogate=untrained())


# The search


def test_a_search_with_a_surrogate_needs_no_torch_and_repeats() -> None:
    curves = []
    for batch in (2048, 7):
        target = gemm_problem()
        searcher = MindMappings(target, np.random.default_rng(5), surrogate=untrained())
        curves.append(run(searcher, target, evaluations=400, batch=batch).curve)
    np.testing.assert_array_equal(curves[0].evaluations, curves[1].evaluations)
    np.testing.assert_array_equal(curves[0].value, curves[1].value)


def test_every_step_is_a_mapping_of_the_space() -> None:
    target = gemm_problem()
    searcher = MindMappings(target, np.random.default_rng(6), surrogate=untrained())
    for _ in range(12):
        packed = searcher.ask(100)
        assert packed is not None
        assert len(packed) == searcher.chains
        assert (target.space.violations(packed) == 0).all()
        searcher.tell(packed, target.evaluate(packed))


def test_steps_lower_the_predicted_loss() -> None:
    target = gemm_problem()
    surrogate = untrained(seed=3)
    searcher = MindMappings(
        target, np.random.default_rng(7), surrogate=surrogate, chains=64, step=0.2, capacity_weight=0.0
    )
    means = []
    for _ in range(searcher.inject_every):
        packed = searcher.ask(1000)
        assert packed is not None
        predicted = surrogate.predict(features(target.space, target.space.vector(packed)))
        L, T = len(target.space.level_names), len(target.space.tensors)
        means.append(predicted[:, L * T + 1 : L * T + 3].sum(axis=1).mean())
        searcher.tell(packed, target.evaluate(packed))
    assert means[-1] < means[0]


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(SpecError, match="objectve"):
        MindMappings(gemm_problem(), np.random.default_rng(0), surrogate=untrained(), loss="objectve")


@pytest.mark.skipif(find_spec("torch") is not None, reason="PyTorch is installed")
def test_training_without_torch_names_the_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"fiberloom\[torch\]"):
        MindMappings(gemm_problem(), np.random.default_rng(0))


# Training sets


def test_training_problems_are_in_the_papers_ranges() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        layer, product = cnn_layer(rng).shape, mttkrp(rng).shape
        assert layer["c"] == 3 or (layer["c"] % 32 == 0 and 32 <= layer["c"] <= 480)
        assert layer["n"] in (1, 2, 4, 8, 16)
        assert layer["r"] == layer["s"] <= 7 <= layer["p"] == layer["q"] <= 223
        assert all(bound % 128 == 0 and 128 <= bound <= 3968 for bound in product.values())


def test_no_mapping_costs_less_than_the_algorithmic_minimum_in_cycles() -> None:
    target = gemm_problem()
    least = AlgorithmicMinimum.of(target.problem)
    found = target.evaluate(target.space.repair(target.space.sample(np.random.default_rng(0), 2000)))
    assert found.valid.sum() > 100
    assert (found.cycles[found.valid] >= least.cycles).all()


def test_half_of_a_training_set_fits_the_hardware() -> None:
    target = gemm_problem()
    samples = training_set([(target.problem, target.space)], np.random.default_rng(0), per_problem=200)
    L = len(target.space.level_names)
    fits = (samples.outputs[:, -L:] <= 1e-9).all(axis=1)
    assert len(samples.inputs) == 200
    assert 100 <= fits.sum() < 200
    assert samples.evaluations >= 200


def test_training_problems_of_different_form_are_refused() -> None:
    einsum, architecture = specification()
    other = einsum.parse("Z[m,n] = A[m,j] * B[j,n]", {"m": 8, "n": 4, "j": 4})
    pairs = [(lower(e, architecture), MapSpace(e, architecture)) for e in (einsum, other)]
    with pytest.raises(SpecError, match="differ in form"):
        training_set(pairs, np.random.default_rng(0), per_problem=10)


# Training


@needs_torch
def test_a_small_surrogate_learns_energy_and_cycles() -> None:
    target = gemm_problem()
    samples = training_set([(target.problem, target.space)], np.random.default_rng(0), per_problem=3000)
    surrogate = train(samples, width_factor=0.05, epochs=15, learning_rate=0.03, threads=1)
    assert surrogate.loss[-1, 1] < 0.6 * surrogate.loss[0, 1]
    fresh = training_set([(target.problem, target.space)], np.random.default_rng(9), per_problem=300)
    predicted = surrogate.predict(fresh.inputs)
    L, T = len(target.space.level_names), len(target.space.tensors)
    for column in (L * T + 1, L * T + 2):
        assert np.corrcoef(predicted[:, column], fresh.outputs[:, column])[0, 1] > 0.7


@needs_torch
def test_numpy_predicts_what_torch_trained() -> None:
    torch = load_torch()
    target = gemm_problem()
    samples = training_set([(target.problem, target.space)], np.random.default_rng(0), per_problem=100)
    surrogate = train(samples, width_factor=0.02, epochs=1, threads=1)
    x = torch.from_numpy(((samples.inputs - surrogate.input_mean) / surrogate.input_scale).astype(np.float32))
    for i, (weight, bias) in enumerate(zip(surrogate.weights, surrogate.biases, strict=True)):
        x = x @ torch.from_numpy(weight) + torch.from_numpy(bias)
        x = torch.relu(x) if i + 1 < len(surrogate.weights) else x
    expected = x.numpy() * surrogate.output_scale + surrogate.output_mean
    np.testing.assert_allclose(surrogate.predict(samples.inputs), expected, rtol=1e-4, atol=1e-4)


@needs_torch
def test_without_a_surrogate_the_search_trains_its_own() -> None:
    target = gemm_problem()
    searcher = MindMappings(target, np.random.default_rng(0), samples=400, epochs=3, width_factor=0.02)
    assert searcher.trained is None
    found = run(searcher, target, evaluations=300)
    assert searcher.trained is not None
    assert found.prepare_seconds > 0
    assert np.isfinite(found.value)
