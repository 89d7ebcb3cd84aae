"""Training of the Mind Mappings surrogate on our model (Hegde et al., ASPLOS'21, §4.1). Needs the extra ``torch``."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import MissingExtraError, SpecError
from fiberloom.mapper.searchers.accounts import Accountant
from fiberloom.mapper.searchers.surrogate import Surrogate, features, meta_statistics
from fiberloom.mapping.packed import PackedMappings
from fiberloom.mapping.space import MapSpace
from fiberloom.model.evaluate import BatchEvaluator
from fiberloom.model.lower import Problem
from fiberloom.workload.einsum import Einsum

Floats = NDArray[np.float64]

WIDTHS = (64, 256, 1024, 2048, 2048, 1024, 256, 64)
"""Hidden layers of the paper's network (released code; about 9 million parameters)."""
PER_PROBLEM = 500
"""Random valid mappings per training problem (released code)."""

_NARROWEST = 64
"""Narrowest scaled layer: narrower ones (16 inputs to a stack of ReLU layers) die in training and predict the mean."""
_CHUNK = 4096


@dataclass(frozen=True)
class TrainingSet:
    """Inputs ``(n, D + V)`` and meta-statistics ``(n, O)`` of mappings; `evaluations` counts those that were tried to get them."""

    inputs: Floats
    outputs: Floats
    variables: tuple[str, ...]
    evaluations: int


def cnn_layer(rng: np.random.Generator) -> Einsum:
    """A random convolution from the paper's ranges for training: N to 16, C and K to 480, 1x1 to 7x7, maps of 7 to 223."""
    side, kernel = int(rng.integers(7, 224)), int(rng.choice([1, 3, 5, 7]))
    shape = {
        "n": int(rng.choice([1, 2, 4, 8, 16])),
        "k": 32 * int(rng.integers(1, 16)),
        "c": int(rng.choice([3, *range(32, 481, 32)])),
        "p": side,
        "q": side,
        "r": kernel,
        "s": kernel,
    }
    return Einsum.parse("O[n,k,p,q] = W[k,c,r,s] * I[n,c,p+r,q+s]", shape, name="cnn-layer")


def mttkrp(rng: np.random.Generator) -> Einsum:
    """A random matricised tensor times Khatri-Rao product from the paper's ranges: every bound a multiple of 128 to 3968."""
    shape = {v: 128 * int(rng.integers(1, 32)) for v in "ijkl"}
    return Einsum.parse("A[i,j] = B[i,k,l] * C[k,j] * D[l,j]", shape, name="mttkrp")


def training_set(
    problems: Iterable[tuple[Problem, MapSpace]], rng: np.random.Generator, *, per_problem: int = PER_PROBLEM
) -> TrainingSet:
    """Random mappings of every problem with their meta-statistics.

    Mappings are uniform over the space, brought into the fan-outs by `MapSpace.repair`. Half of them fit their levels; the
    others may not, so that the surrogate learns where capacity ends (the paper draws valid ones only).

    Args:
        problems: with the same variables, levels and tensors; problems where nothing valid is found in
            200 x `per_problem` draws are left out.

    Raises:
        SpecError: when no problem has a valid mapping, or their encodings differ.
    """
    inputs: list[Floats] = []
    outputs: list[Floats] = []
    variables: tuple[str, ...] = ()
    evaluations = 0
    for problem, space in problems:
        valid, judged = _valid_mappings(problem, space, rng, max(1, per_problem - per_problem // 2))
        evaluations += judged
        if valid is None:
            continue
        drawn = valid
        if per_problem > 1:
            drawn = PackedMappings.concatenate([valid, space.repair(space.sample(rng, per_problem // 2))])
            evaluations += per_problem // 2
        accounts = Accountant(problem, misfits=True)(drawn)
        known = np.isfinite(accounts.energy_pj) & np.isfinite(accounts.cycles)
        inputs.append(features(space, space.vector(drawn))[known])
        outputs.append(meta_statistics(problem, accounts)[known])
        variables = variables or space.variables
        if inputs[-1].shape[1] != inputs[0].shape[1] or variables != space.variables:
            raise SpecError(
                f"training problems differ in form: {', '.join(variables)} and {', '.join(space.variables)}",
                hint="one surrogate serves Einsums of one form on one architecture with one set of constraints",
            )
    if not inputs:
        raise SpecError("no valid mapping was found to train on", hint="loosen the constraints or enlarge the levels")
    return TrainingSet(np.concatenate(inputs), np.concatenate(outputs), variables, evaluations)


def _valid_mappings(
    problem: Problem, space: MapSpace, rng: np.random.Generator, wanted: int
) -> tuple[PackedMappings | None, int]:
    judge = BatchEvaluator(problem)
    found: list[PackedMappings] = []
    judged = have = 0
    while have < wanted and judged < 200 * wanted:
        batch = space.repair(space.sample(rng, min(_CHUNK, max(256, 4 * wanted))))
        judged += len(batch)
        good = judge(batch).valid & (space.violations(batch) == 0)
        if good.any():
            found.append(batch.take(good))
            have += int(good.sum())
    return (PackedMappings.concatenate(found).take(slice(0, wanted)), judged) if found else (None, judged)


def train(
    samples: TrainingSet,
    *,
    width_factor: float = 0.25,
    epochs: int = 100,
    batch: int = 32,
    learning_rate: float = 1e-2,
    momentum: float = 0.9,
    validation: float = 0.1,
    decay_every: int = 20,
    seed: int = 0,
    threads: int | None = None,
    progress: Callable[[int, float, float], None] | None = None,
) -> Surrogate:
    """Fit the perceptron: Huber loss on z-scores, SGD with momentum, learning rate x 0.1 at intervals.

    Args:
        width_factor: hidden widths over the paper's (`WIDTHS`), of which none is made narrower than 64; 1 is the paper's network.
        epochs, learning_rate, momentum, validation: the paper's values (released code) are the defaults.
        decay_every: epochs after which the learning rate falls to a tenth (the paper's 20).
        batch: samples per step (the paper's 256 go with its 10 million samples; thousands need more steps per epoch).
        threads: of PyTorch while training; None takes half of the cores, because its threads wait for each other busily.
        progress: called with epoch, training loss and validation loss.

    Raises:
        MissingExtraError: without PyTorch.
        SpecError: for fewer than 3 samples.
    """
    torch = load_torch()
    before = torch.get_num_threads()
    torch.set_num_threads(threads if threads is not None else max(1, (os.cpu_count() or 1) // 2))
    try:
        return _fit(
            torch,
            samples,
            width_factor,
            epochs,
            batch,
            learning_rate,
            momentum,
            validation,
            decay_every,
            seed,
            progress,
        )
    finally:
        torch.set_num_threads(before)


def _fit(
    torch: ModuleType,
    samples: TrainingSet,
    width_factor: float,
    epochs: int,
    batch: int,
    learning_rate: float,
    momentum: float,
    validation: float,
    decay_every: int,
    seed: int,
    progress: Callable[[int, float, float], None] | None,
) -> Surrogate:
    n = len(samples.inputs)
    held = max(1, round(validation * n))
    if n - held < 2:
        raise SpecError(f"{n} samples to train on", hint="draw more mappings per problem")
    torch.manual_seed(seed)
    shuffled = np.random.default_rng(seed).permutation(n)
    x, input_mean, input_scale = _scores(samples.inputs, shuffled[held:])
    y, output_mean, output_scale = _scores(samples.outputs, shuffled[held:])
    inputs, targets = (torch.from_numpy(a[shuffled].astype(np.float32)) for a in (x, y))
    widths = [x.shape[1], *(max(min(w, _NARROWEST), round(w * width_factor)) for w in WIDTHS), y.shape[1]]
    linear = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
    for layer in linear:  # keeps the variance through ReLU layers (He et al., ICCV'15); PyTorch's default loses it
        torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        torch.nn.init.zeros_(layer.bias)
    stack: list[object] = [linear[0]]
    for layer in linear[1:]:
        stack += [torch.nn.ReLU(), layer]
    network = torch.nn.Sequential(*stack)
    huber = torch.nn.SmoothL1Loss()
    optimizer = torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=momentum)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=decay_every, gamma=0.1)
    losses = []
    for epoch in range(epochs):
        network.train()
        order = held + torch.randperm(n - held)
        total = 0.0
        for start in range(0, n - held, batch):
            rows = order[start : start + batch]
            optimizer.zero_grad()
            loss = huber(network(inputs[rows]), targets[rows])
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(rows)
        schedule.step()
        with torch.no_grad():
            network.eval()
            check = float(huber(network(inputs[:held]), targets[:held]))
        losses.append((total / (n - held), check))
        if progress is not None:
            progress(epoch, *losses[-1])
    return Surrogate(
        tuple(layer.weight.detach().numpy().T.copy() for layer in linear),
        tuple(layer.bias.detach().numpy().copy() for layer in linear),
        input_mean,
        input_scale,
        output_mean,
        output_scale,
        samples.variables,
        np.array(losses),
        samples.evaluations,
    )


def _scores(values: Floats, rows: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    """z-scores by the mean and deviation of `rows`; columns that never vary are left at 0."""
    mean, deviation = values[rows].mean(axis=0), values[rows].std(axis=0)
    scale = np.where(deviation > 1e-9, deviation, 1.0)
    return (values - mean) / scale, mean, scale


def load_torch() -> ModuleType:
    """PyTorch.

    Raises:
        MissingExtraError: when it is not installed.
    """
    try:
        return import_module("torch")
    except ImportError:
        raise MissingExtraError("torch", "torch", "training the surrogate of Mind Mappings") from None
