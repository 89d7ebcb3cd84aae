"""A model's weights under representations: error, what is dropped, stored bits, and the error of the layers' outputs."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.codesign.weights.network_weights import LayerWeights
from fiberloom.errors import SpecError
from fiberloom.representation import Measurement, Representation, TermStorage, measure, read_representation
from fiberloom.representation.calibration import InputStatistics
from fiberloom.representation.sdq import SDQ

Scheme = Representation | SDQ
"""What can be done to a layer's weights."""

EXACT: Final = "exact"
"""Activations stay as they are."""
TERMS: Final = "terms"
"""Activations that meet a term of the weights are rounded to the term's number format (SDQ, arXiv:2406.13868)."""

_DRAWN_ROWS: Final = 128
"""Gaussian rows that an output error is measured on where activations are represented too; its spread is then about 1 %."""


@dataclass(frozen=True)
class CompressedLayer:
    """A layer's weights under one scheme.

    Attributes:
        name: of the tensor.
        shape: of the matrix, ``(out, in)``.
        norm: of the weights (Frobenius).
        scheme: as text.
        measurement: of the weights.
        storage: bits per weight of every term.
        ideal_throughput: multiples of dense 16-bit throughput when everything not stored is skipped.
        output_error: ‖represented output − output‖ / ‖output‖ of the layer's product.
        terms: the terms' values, ``(out, in)`` each, where they were asked for.
    """

    name: str
    shape: tuple[int, int]
    norm: float
    scheme: str
    measurement: Measurement
    storage: tuple[TermStorage, ...]
    ideal_throughput: float
    output_error: float
    terms: tuple[NDArray[Any], ...] | None = None

    @property
    def bits_per_weight(self) -> float:
        """Values, scales and metadata of all terms."""
        return math.fsum(term.total for term in self.storage)


def representation_of(scheme: Scheme) -> Representation:
    """What hardware runs: the terms that the weights become."""
    return scheme.representation if isinstance(scheme, SDQ) else scheme


def compress_layers(
    layers: Sequence[LayerWeights],
    scheme: Scheme,
    *,
    inputs: Mapping[str, NDArray[Any]] | None = None,
    activations: str | Representation = EXACT,
    keep_terms: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Iterator[CompressedLayer]:
    """Every layer under a scheme, one at a time: memory is that of one layer, and of the terms that are kept.

    The output error is that of the product with the rows of `inputs`, or the expected one on Gaussian inputs, which for
    activations that stay as they are is the relative error of the weights: E‖ΔW·x‖² = ‖ΔW‖².

    Args:
        inputs: tensor → rows ``(rows, in)`` that meet it, from calibration data.
        activations: how they are represented: `EXACT`, `TERMS`, or a representation.
        keep_terms: whether results hold the terms' values.
        progress: told which layer is worked on.

    Raises:
        SpecError: for weights that are no finite numbers, a scheme that needs inputs when there are none, inputs of another width.
    """
    held = activations if activations in (EXACT, TERMS) else read_representation(activations)
    for layer in layers:
        if progress is not None:
            progress(layer.name)
        matrix = layer.matrix()
        rows = _rows(layer, inputs)
        yield _compressed(layer, matrix, scheme, rows, _statistics(layer, scheme, rows), held, keep_terms)


def _rows(layer: LayerWeights, inputs: Mapping[str, NDArray[Any]] | None) -> NDArray[Any] | None:
    rows = None if inputs is None else inputs.get(layer.name)
    if rows is None:
        return None
    if rows.ndim != 2 or rows.shape[1] != layer.view.shape[1] or not len(rows):
        raise SpecError(
            f"calibration inputs of shape {rows.shape} for '{layer.name}', which sums over {layer.view.shape[1]} inputs",
            hint="give rows: (samples, in)",
        )
    return rows.astype(np.float32, copy=False)


def _statistics(layer: LayerWeights, scheme: Scheme, rows: NDArray[Any] | None) -> InputStatistics | None:
    if not isinstance(scheme, SDQ) or not scheme.needs_calibration:
        return None
    if rows is None:
        raise SpecError(
            f"'{scheme}' by {scheme.method} and {scheme.criterion} needs the inputs of '{layer.name}'",
            hint="give --calibration, or choose --method magnitude --criterion magnitude",
        )
    statistics = InputStatistics(layer.view.shape[1], scheme.needs_second_moments)
    statistics.add(rows)
    return statistics


def _compressed(
    layer: LayerWeights,
    matrix: NDArray[Any],
    scheme: Scheme,
    rows: NDArray[Any] | None,
    statistics: InputStatistics | None,
    activations: str | Representation,
    keep_terms: bool,
) -> CompressedLayer:
    representation = representation_of(scheme)
    terms: tuple[NDArray[Any], ...] | None = None
    quantised = activations != EXACT and not (activations == TERMS and not _formats(representation))
    if isinstance(scheme, SDQ):
        terms = scheme.decompose(matrix, statistics).terms
        measurement = measured_terms(matrix, representation, terms)
    else:
        measurement = measure(matrix, scheme)
        if keep_terms or rows is not None or quantised:
            terms = scheme.decompose(matrix)
    output_error = measurement.relative_error
    if rows is not None or quantised:
        assert terms is not None
        met = rows if rows is not None else _gaussian(layer)
        output_error = _output_error(met, matrix, representation, terms, activations)
    shares = representation.shares(matrix.shape)
    stored = None if None not in shares else measurement.stored
    return CompressedLayer(
        name=layer.name,
        shape=layer.view.shape,
        norm=float(np.linalg.norm(matrix)),
        scheme=str(scheme),
        measurement=measurement,
        storage=representation.storage(matrix.shape, stored=stored),
        ideal_throughput=representation.ideal_throughput(stored),
        output_error=output_error,
        terms=terms if keep_terms else None,
    )


def _formats(representation: Representation) -> bool:
    return any(term.format is not None for term in representation.terms)


def measured_terms(matrix: NDArray[Any], representation: Representation, terms: Sequence[NDArray[Any]]) -> Measurement:
    """As `fiberloom.representation.measure`, of terms that are there already."""
    total = terms[0].copy()
    for term in terms[1:]:
        total += term
    before, after = matrix != 0, total != 0
    nonzeros = int(np.count_nonzero(before))
    norm = float(np.linalg.norm(matrix))
    nominal = [term.pattern.stored(matrix.shape, -1) for term in representation.terms]
    held = [int(np.count_nonzero(t)) if n is None else n for n, t in zip(nominal, terms, strict=True)]
    total -= matrix
    return Measurement(
        relative_error=float(np.linalg.norm(total)) / norm if norm else 0.0,
        dropped_nonzeros=int(np.count_nonzero(before & ~after)) / nonzeros if nonzeros else 0.0,
        density=int(np.count_nonzero(after)) / matrix.size,
        original_density=nonzeros / matrix.size,
        elements=matrix.size,
        stored=tuple(n / matrix.size for n in held),
    )


def _gaussian(layer: LayerWeights) -> NDArray[np.float32]:
    generator = np.random.default_rng(zlib.crc32(layer.name.encode()))
    return generator.standard_normal((_DRAWN_ROWS, layer.view.shape[1]), dtype=np.float32)


def _output_error(
    rows: NDArray[Any],
    matrix: NDArray[Any],
    representation: Representation,
    terms: Sequence[NDArray[Any]],
    activations: str | Representation,
) -> float:
    """Relative error of ``Σ_t Q_t(x)·W_tᵀ`` against ``x·Wᵀ``; of grouped layers, every group meets the same rows."""
    exact = rows @ matrix.T
    norm = float(np.linalg.norm(exact))
    for seen, term in zip(_seen(rows, representation, activations), terms, strict=True):
        exact -= seen @ term.T
    return float(np.linalg.norm(exact)) / norm if norm else 0.0


def _seen(
    rows: NDArray[Any], representation: Representation, activations: str | Representation
) -> Iterator[NDArray[Any]]:
    """The activations that every term meets."""
    if isinstance(activations, Representation):
        rows = activations.project(rows)
    for term in representation.terms:
        yield rows if activations != TERMS or term.format is None else term.format.round(rows)


def mean_output_error(layers: Sequence[CompressedLayer]) -> float:
    """Root of the mean square of the layers' relative output errors, every layer counting the same."""
    errors = [layer.output_error for layer in layers]
    return math.sqrt(math.fsum(e * e for e in errors) / len(errors)) if errors else 0.0
