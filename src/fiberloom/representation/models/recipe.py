"""What is done to one layer, and doing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.representation.array import checked_values
from fiberloom.representation.calibration import InputStatistics
from fiberloom.representation.formats import Integer
from fiberloom.representation.models._arrays import as_array, as_tensor
from fiberloom.representation.models.accumulator import Accumulator, integer_format, steps_of
from fiberloom.representation.models.compressed_layer import Addend, CompressedLayer
from fiberloom.representation.models.layers import Layer
from fiberloom.representation.models.sweep import Need
from fiberloom.representation.notation import read_representation
from fiberloom.representation.patterns import Dense
from fiberloom.representation.pruning import Method, prune
from fiberloom.representation.sdq import SDQ, VECTOR_SCALES, Decomposition
from fiberloom.representation.term import Representation, Term

_ROWS: Final = 64
"""Rows compared at a time, to save memory."""


@dataclass(frozen=True)
class Recipe:
    """Weights, inputs and sums of a layer.

    Attributes:
        weights: a representation, filled greedily, or an SDQ, split first.
        method: how the places of a representation are chosen; an SDQ brings its own.
        inputs: for each term, how inputs that meet it are represented; None: as they are.
        accumulator: in what products are summed; None: in torch's arithmetic.
    """

    weights: Representation | SDQ
    method: Method
    inputs: tuple[Representation | None, ...]
    accumulator: Accumulator | None = None

    @classmethod
    def read(
        cls,
        weights: str | Representation | SDQ,
        method: str,
        criterion: str = "magnitude",
        activations: str | Representation | None = None,
    ) -> Recipe:
        """What text or objects say; see `compress`.

        Raises:
            SpecError: for what can't be read.
        """
        how = Method.read(method)
        found: Representation | SDQ = weights if isinstance(weights, SDQ) else read_representation(weights)
        if isinstance(found, Representation) and found.pruning is not None:
            found = SDQ.read(found, how, criterion, VECTOR_SCALES if isinstance(weights, str) else None)
        terms = found.terms
        inputs: tuple[Representation | None, ...] = (None,) * len(terms)
        if activations == "terms":
            inputs = tuple(Representation((Term(Dense(), t.format),)) if t.format is not None else None for t in terms)
        elif activations is not None:
            inputs = (read_representation(activations),) * len(terms)
        return cls(found, how, inputs)

    @property
    def terms(self) -> tuple[Term, ...]:
        """Of the weights."""
        return self.weights.terms

    @property
    def name(self) -> str:
        """The weights' representation as text."""
        return str(self.weights)

    @property
    def need(self) -> Need:
        """What has to be known of the layer's inputs."""
        how = self.weights if isinstance(self.weights, SDQ) else self.method
        if how.needs_second_moments:
            return Need.SECOND_MOMENTS
        return Need.NORMS if how.needs_calibration else Need.NOTHING

    def __str__(self) -> str:
        if not isinstance(self.weights, SDQ):
            return f"{self.weights} by {self.method}"
        return f"{self.weights} by {self.weights.method}, outliers by {self.weights.criterion}"

    def apply(
        self, layer: Layer, statistics: Sequence[InputStatistics] | None
    ) -> tuple[CompressedLayer, dict[str, float]]:
        """The layer that takes its place, and how its weights differ from the original's.

        Args:
            statistics: of its inputs, one for each of its groups, where needed.

        Raises:
            SpecError: for weights that are not finite.
            UnsupportedError: for formats that the accumulator can't take.
        """
        weight = layer.module.weight
        try:
            original = checked_values(as_array(layer.geometry.matrix(weight)))
        except SpecError as error:
            raise SpecError(f"layer '{layer.name}': {error.problem}", hint=error.hint) from None
        addends = [
            Addend(as_tensor(held, weight), inputs, steps)
            for (held, steps), inputs in zip(
                self._terms(original, layer.geometry.groups, statistics), self.inputs, strict=True
            )
        ]
        quantised = any(term.format is not None for term in self.terms)
        module = CompressedLayer(layer.module, layer.geometry, addends, self.accumulator, quantised)
        return module, _figures(original, module)

    def _terms(
        self, original: NDArray[Any], groups: int, statistics: Sequence[InputStatistics] | None
    ) -> list[tuple[NDArray[Any], NDArray[np.float64] | None]]:
        """Each term's weights ``(out, in)``, and where sums are integers what their codes count."""
        parts = [
            self._split(part, None if statistics is None else statistics[i])
            for i, part in enumerate(np.split(original, groups))
        ]
        found: list[tuple[NDArray[Any], NDArray[np.float64] | None]] = []
        for index, term in enumerate(self.terms):
            steps = None
            if self.accumulator is not None and isinstance(self.accumulator.register, Integer):
                integer_format(self.inputs[index], "activations")
                steps = np.concatenate([_steps(term, part, index) for part in parts])
            held = [part.term(index) if isinstance(part, Decomposition) else part[index] for part in parts]
            found.append((held[0] if groups == 1 else np.concatenate(held), steps))
        return found

    def _split(
        self, values: NDArray[Any], statistics: InputStatistics | None
    ) -> Decomposition | tuple[NDArray[Any], ...]:
        if isinstance(self.weights, SDQ):
            return self.weights.decompose(values, statistics, release=True)
        if self.method is Method.SPARSEGPT:
            values = prune(values, self.weights, self.method, statistics, release=True)
        importance = None
        if self.method is Method.WANDA:
            assert statistics is not None
            importance = statistics.norms.astype(values.dtype)
        return self.weights.decompose(values, importance=importance)


def _steps(term: Term, part: Decomposition | tuple[NDArray[Any], ...], index: int) -> NDArray[np.float64]:
    """What a code of a term's weights counts, ``(out, blocks)``."""
    number = integer_format(Representation((term,)), "weights")
    if number.block is not None and term.pattern.rigid:
        raise UnsupportedError(
            f"an integer accumulator for '{term}', whose blocks of one scale are blocks of stored values",
            hint="give rows or tensors a scale, or take a float accumulator",
        )
    before = part.split(index) if isinstance(part, Decomposition) else part[index]
    return steps_of(number, before)


def _figures(original: NDArray[Any], module: CompressedLayer) -> dict[str, float]:
    """How a layer's weights differ from the original's."""
    error = norm = 0.0
    before = after = lost = 0
    for row in range(0, len(original), _ROWS):
        old = original[row : row + _ROWS]
        new = sum(as_array(matrix[row : row + _ROWS]) for matrix in module.matrices)
        error += float(np.square(new - old, dtype=np.float64).sum())
        norm += float(np.square(old, dtype=np.float64).sum())
        before += int(np.count_nonzero(old))
        after += int(np.count_nonzero(new))
        lost += int(np.count_nonzero((old != 0) & (new == 0)))
    return {
        "weight_error": (error / norm) ** 0.5 if norm else 0.0,
        "dropped_nonzeros": lost / before if before else 0.0,
        "density": after / original.size,
    }
