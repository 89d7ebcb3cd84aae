"""The surrogate of Mind Mappings: a multi-layer perceptron from (problem, mapping) to meta-statistics of its cost.

Trained by `fiberloom.mapper.searchers.mind_mappings_training` (which needs PyTorch); used, saved and loaded by numpy alone.
Source: Hegde et al., *Mind Mappings*, ASPLOS'21, §4.1 and the released code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import Location, SpecError
from fiberloom.mapper.searchers.accounts import Accounts
from fiberloom.mapping.space import MapSpace
from fiberloom.model.lower import Problem

Floats = NDArray[np.float64]

VERSION = 1

_STATISTICS = ("input_mean", "input_scale", "output_mean", "output_scale", "loss")


def features(space: MapSpace, vectors: Floats) -> Floats:
    """Inputs ``(n, D + V)``: base-2 logarithms of the bounds, then the mappings as `MapSpace.vector` writes them.

    The paper feeds bounds and tile factors as they are.
    """
    bounds = np.log2(np.asarray(space.bounds, float))
    return np.concatenate([np.broadcast_to(bounds, (len(vectors), len(bounds))), vectors], axis=1)


@dataclass(frozen=True)
class AlgorithmicMinimum:
    """What no mapping can go below: every level touches every tensor once, all lanes are busy (Mind Mappings, §5.1).

    Attributes:
        storage_pj: ``(L, T)``; 1 where a level spends nothing on reads.
        energy_pj, cycles: totals.
    """

    storage_pj: Floats
    energy_pj: float
    cycles: float

    @classmethod
    def of(cls, problem: Problem) -> AlgorithmicMinimum:
        """Of a dense run of the problem."""
        p = problem.arrays[0]
        L, T = len(problem.level_names), len(problem.tensors)
        words = np.array([float(p["tensor_shape"][t, : p["rank_count"][t]].prod()) for t in range(T)])
        storage = p["energy"][:L, 0, 0][:, None] / p["values_per_access"][:L, :T] * words
        macs = float(problem.workload.macs)
        energy = float(storage.sum() + macs * p["compute_energy"][0])
        lanes = problem.architecture.compute.instances
        return cls(np.where(storage > 0, storage, 1.0), energy if energy > 0 else 1.0, macs / lanes)


def meta_statistics(problem: Problem, accounts: Accounts) -> Floats:
    """Targets ``(n, L·T + 3 + L)``: energy of every level and tensor, utilisation, energy and cycles in total, fill of every level.

    Energies and cycles are divided by the algorithmic minimum and written as ``log2(1 + x)``: costs of random mappings
    span orders of magnitude (the paper takes x itself). The fill is ``log2(words used / capacity)``, 0 where a level is
    unbounded or empty; the paper has none, and its mappings need not fit.
    """
    least = AlgorithmicMinimum.of(problem)
    parts = np.log2(1 + accounts.storage_pj / least.storage_pj).reshape(len(accounts.status), -1)
    totals = [
        accounts.utilization,
        np.log2(1 + accounts.energy_pj / least.energy_pj),
        np.log2(1 + accounts.cycles / least.cycles),
    ]
    p = problem.arrays[0]
    L, T = accounts.storage_pj.shape[1:]
    used = (accounts.occupied * p["word_scale"][:L, :T]).sum(axis=2)
    with np.errstate(divide="ignore"):
        fill = np.where((used > 0) & np.isfinite(p["capacity"][:L]), np.log2(used / p["capacity"][:L]), 0.0)
    return np.concatenate([parts, np.stack(totals, axis=1), np.maximum(fill, -_EMPTY)], axis=1)


_EMPTY = 10.0
"""Fills below 2^-10 count as that: their logarithm says nothing more."""


@dataclass(frozen=True)
class Surrogate:
    """A trained perceptron with ReLU between layers.

    Attributes:
        weights, biases: per layer ``(in, out)`` and ``(out,)``, float32.
        input_mean, input_scale: ``(D + V,)``; inputs enter as z-scores.
        output_mean, output_scale: ``(O,)``; likewise.
        variables: of the Einsums it was trained on.
        loss: Huber loss per epoch, training and validation, ``(epochs, 2)``.
        evaluations: mappings judged by the model to make the training set, invalid ones included.
    """

    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    input_mean: Floats
    input_scale: Floats
    output_mean: Floats
    output_scale: Floats
    variables: tuple[str, ...]
    loss: Floats
    evaluations: int = 0

    @property
    def label(self) -> str:
        """Short description: layer widths and final validation loss."""
        widths = [len(self.input_mean), *(len(b) for b in self.biases)]
        return "-".join(map(str, widths)) + f" (loss {self.loss[-1, 1]:.4g})"

    def check(self, space: MapSpace) -> None:
        """Whether the surrogate speaks of the mappings of `space`.

        Raises:
            SpecError: for other variables or another encoding.
        """
        width = max(part.stop for part in space.layout.values()) + len(space.bounds)
        if self.variables != space.variables or width != len(self.input_mean):
            raise SpecError(
                f"the surrogate was trained on variables {', '.join(self.variables)} and {len(self.input_mean)} inputs; this map "
                f"space has {', '.join(space.variables)} and {width}",
                hint="train it on Einsums of this form, on this architecture and with these constraints",
            )
        L, T = len(space.level_names), len(space.tensors)
        if len(self.output_mean) != L * T + 3 + L:
            raise SpecError(
                f"the surrogate predicts {len(self.output_mean)} figures; {L} levels and {T} tensors have {L * T + 3 + L}",
                hint="train it on this architecture",
            )

    def predict(self, inputs: Floats) -> Floats:
        """Meta-statistics ``(n, O)`` of inputs ``(n, D + V)``, not normalised."""
        return np.asarray(
            self._forward((inputs - self.input_mean) / self.input_scale)[-1] * self.output_scale + self.output_mean
        )

    def slope(self, scores: Floats, weigh: Callable[[Floats], Floats]) -> Floats:
        """Gradient of a loss with respect to normalised inputs `scores` ``(n, D + V)``.

        Args:
            weigh: from outputs ``(n, O)``, not normalised, to the loss's gradient with respect to them.
        """
        layers = self._forward(scores)
        outputs = layers[-1] * self.output_scale + self.output_mean
        gradient = (weigh(outputs) * self.output_scale).astype(np.float32)
        for i in range(len(self.weights) - 1, -1, -1):
            gradient = gradient @ self.weights[i].T
            if i:
                gradient = gradient * (layers[i] > 0)
        return gradient.astype(np.float64)

    def _forward(self, scores: Floats) -> list[NDArray[np.float32]]:
        layers = [scores.astype(np.float32)]
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            out = layers[-1] @ weight + bias
            layers.append(np.maximum(out, 0.0) if i + 1 < len(self.weights) else out)
        return layers

    def save(self, path: str | Path) -> None:
        """Write to one file in numpy's ``.npz`` format (no pickled objects)."""
        arrays: dict[str, Any] = {name: getattr(self, name) for name in _STATISTICS}
        arrays |= {f"weight{i}": w for i, w in enumerate(self.weights)} | {
            f"bias{i}": b for i, b in enumerate(self.biases)
        }
        with Path(path).open("wb") as file:
            np.savez_compressed(
                file,
                version=np.array(VERSION),
                variables=np.array(self.variables),
                evaluations=np.array(self.evaluations),
                **arrays,
            )

    @classmethod
    def load(cls, path: str | Path) -> Surrogate:
        """Read what `save` wrote.

        Raises:
            SpecError: when there is no such file, or it is not a surrogate.
        """
        where = Location(file=str(path))
        try:
            with np.load(Path(path), allow_pickle=False) as stored:
                if int(stored["version"]) != VERSION:
                    raise SpecError(
                        f"a surrogate of version {int(stored['version'])}", where=where, hint="train it again"
                    )
                depth = sum(name.startswith("weight") for name in stored.files)
                statistics: dict[str, Any] = {name: stored[name] for name in _STATISTICS}
                return cls(
                    weights=tuple(stored[f"weight{i}"] for i in range(depth)),
                    biases=tuple(stored[f"bias{i}"] for i in range(depth)),
                    variables=tuple(str(v) for v in stored["variables"]),
                    evaluations=int(stored["evaluations"]),
                    **statistics,
                )
        except OSError as error:
            raise SpecError(f"the surrogate can't be read: {error.strerror or error}", where=where) from None
        except (ValueError, KeyError, BadZipFile):
            raise SpecError("the file is not a surrogate", where=where, hint="write one with Surrogate.save") from None
