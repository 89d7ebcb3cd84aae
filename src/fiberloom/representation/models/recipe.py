"""What is done to one layer, and doing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.representation.array import checked_values
from fiberloom.representation.calibration import InputStatistics
from fiberloom.representation.formats import Integer
from fiberloom.representation.models._arrays import as_array, as_tensor
from fiberloom.representation.models.accumulator import Accumulator, integer_format, steps_of
from fiberloom.representation.models.compressed_layer import Addend, CompressedLayer
from fiberloom.representation.models.layers import Layer
from fiberloom.representation.notation import read_representation
from fiberloom.representation.patterns import Dense
from fiberloom.representation.pruning import Method, prune
from fiberloom.representation.sdq import SDQ
from fiberloom.representation.term import Representation, Term


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
        if isinstance(weights, str) and ("=>" in weights or "⇒" in weights):
            weights = SDQ.read(weights, how, criterion)
        found = weights if isinstance(weights, SDQ) else read_representation(weights)
        terms = (found.terms if isinstance(found, SDQ) else found).terms
        inputs: tuple[Representation | None, ...] = (None,) * len(terms)
        if activations == "terms":
            inputs = tuple(Representation((Term(Dense(), t.format),)) if t.format is not None else None for t in terms)
        elif activations is not None:
            inputs = (read_representation(activations),) * len(terms)
        return cls(found, how, inputs)

    @property
    def terms(self) -> tuple[Term, ...]:
        """Of the weights."""
        return (self.weights.terms if isinstance(self.weights, SDQ) else self.weights).terms

    @property
    def name(self) -> str:
        """The weights' representation as text."""
        return str(self.weights)

    @property
    def needs_calibration(self) -> bool:
        """Whether the layer's inputs must be known."""
        return self.weights.needs_calibration if isinstance(self.weights, SDQ) else self.method.needs_calibration

    @property
    def needs_second_moments(self) -> bool:
        """Whether the inputs' second moments must be known."""
        return self.weights.needs_second_moments if isinstance(self.weights, SDQ) else self.method.needs_second_moments

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
        groups = layer.geometry.groups
        try:
            original = checked_values(as_array(layer.geometry.matrix(weight)))
        except SpecError as error:
            raise SpecError(f"layer '{layer.name}': {error.problem}", hint=error.hint) from None
        integers = self.accumulator is not None and isinstance(self.accumulator.register, Integer)
        per_group = [
            self._terms(part, None if statistics is None else statistics[i])
            for i, part in enumerate(np.split(original, groups))
        ]
        addends, total = [], np.zeros_like(original)
        for index, (term, inputs) in enumerate(zip(self.terms, self.inputs, strict=True)):
            before = np.concatenate([group[index] for group in per_group]) if groups > 1 else per_group[0][index]
            for group in per_group:
                group[index] = before[:0]  # frees it
            held = before if term.format is None or not isinstance(self.weights, SDQ) else term.format.round(before)
            steps = None
            if integers:
                steps = steps_of(integer_format(Representation((term,)), "weights"), before)
                integer_format(inputs, "activations")
            total += held
            addends.append(Addend(as_tensor(held, weight), inputs, steps))
        quantised = any(term.format is not None for term in self.terms)
        module = CompressedLayer(layer.module, layer.geometry, addends, self.accumulator, quantised)
        return module, _figures(original, total)

    def _terms(self, values: NDArray[Any], statistics: InputStatistics | None) -> list[NDArray[Any]]:
        """Each term's weights; of an SDQ before they are rounded."""
        if isinstance(self.weights, SDQ):
            return list(self.weights.decompose(values, statistics).split)
        if self.method is Method.SPARSEGPT:
            values = prune(values, self.weights, self.method, statistics)
        importance = None
        if self.method is Method.WANDA:
            assert statistics is not None
            importance = statistics.norms.astype(values.dtype)
        return list(self.weights.decompose(values, importance=importance))


def _figures(original: NDArray[Any], represented: NDArray[Any]) -> dict[str, float]:
    norm = float(np.linalg.norm(original))
    nonzeros = int(np.count_nonzero(original))
    lost = int(np.count_nonzero((original != 0) & (represented == 0)))
    return {
        "weight_error": float(np.linalg.norm(represented - original)) / norm if norm else 0.0,
        "dropped_nonzeros": lost / nonzeros if nonzeros else 0.0,
        "density": int(np.count_nonzero(represented)) / original.size,
    }
