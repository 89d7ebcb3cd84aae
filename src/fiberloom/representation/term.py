"""A tensor's representation: a sum of terms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.representation.array import as_rows, checked_axis, checked_values, from_rows
from fiberloom.representation.passes import masked
from fiberloom.representation.patterns import Pattern
from fiberloom.representation.storage import UNQUANTIZED_BITS, TermStorage, term_storage, throughput
from fiberloom.representation.threads import in_slabs

if TYPE_CHECKING:
    from fiberloom.representation.formats import NumberFormat

T = TypeVar("T")


@dataclass(frozen=True)
class Term:
    """One addend of a representation.

    Attributes:
        pattern: which places it keeps.
        format: how its values are kept, scales included; None leaves them as they are.
    """

    pattern: Pattern
    format: NumberFormat | None = None

    @property
    def rowwise(self) -> bool:
        """Whether rows (all else than the axis fixed) are represented one by one."""
        return self.pattern.rowwise and (self.format is None or self.format.rowwise)

    def of(self, residual: NDArray[Any], importance: NDArray[Any] | None = None, axis: int = -1) -> NDArray[Any]:
        """The part of `residual` that the term holds, as real numbers of its shape and type.

        Args:
            importance: multiplies magnitudes when places are chosen, such as the norm of the inputs that a weight meets
                (Sun et al., Wanda, ICLR'24); of any shape that broadcasts.
        """
        weights = None if importance is None else checked_importance(importance, residual.shape)
        return self.rounded(residual, self.pattern.keep(_weighted(residual, weights), axis), axis)

    def rounded(self, values: NDArray[Any], kept: NDArray[np.bool_], axis: int = -1) -> NDArray[Any]:
        """`values` where `kept`, as the term's number format stores them; zero elsewhere.

        A rigid pattern (`Pattern.rigid`) stores the kept values of a row packed, so blocks that share a scale are blocks of
        stored values; with another pattern they are blocks of places.

        Args:
            kept: places that the pattern allows, of the shape of `values`.
        """
        if self.format is None or not self.pattern.rigid or kept.all():
            held = masked(values, kept)
            if self.format is None:
                return held
            held = self.format.round(held, axis)
            return held if self.format.keeps_zero else masked(held, kept)
        rows, places = as_rows(values, axis), as_rows(kept, axis)
        packed = _packed_round(self.format, rows, places)
        held = np.zeros_like(rows)
        held[places] = packed
        return from_rows(held, values.shape, axis)

    def __str__(self) -> str:
        return str(self.pattern) if self.format is None else f"{self.pattern} {self.format}"


def _packed_round(number_format: NumberFormat, rows: NDArray[Any], places: NDArray[np.bool_]) -> NDArray[Any]:
    """The values at `places` rounded with those of a row side by side, in row order; short rows end with zeros."""
    counts = np.count_nonzero(places, axis=1)
    width = int(counts.max())
    if counts.min() == width:
        return np.asarray(number_format.round(rows[places].reshape(-1, width), -1).reshape(-1))
    filled = np.arange(width) < counts[:, None]
    packed = np.zeros((len(rows), width), dtype=rows.dtype)
    packed[filled] = rows[places]
    rounded = number_format.round(packed, -1)
    return np.asarray(rounded[filled])


@dataclass(frozen=True)
class Representation:
    """A tensor as a sum of terms, each taken greedily from what those before it leave over.

    One term is a sparse, quantised or dense tensor; several `N:M` terms are a structured decomposition (TASD,
    arXiv:2403.07953); a pruning step and then outliers in one format beside inliers in another are SDQ (arXiv:2406.13868).

    What a term leaves over is exact: the error of its number format goes to the terms behind it, which may hold it if their
    patterns have a place left.

    Attributes:
        terms: in the order in which they are taken.
        pruning: to which the tensor is pruned before it is split; None: not at all.
    """

    terms: tuple[Term, ...]
    pruning: Pattern | None = None

    def __post_init__(self) -> None:
        if not self.terms:
            raise SpecError("a representation has at least one term", hint="write 'dense', '2:4', '2:4+2:8' …")

    @property
    def rowwise(self) -> bool:
        """Whether rows (all else than the axis fixed) are represented one by one."""
        return all(term.rowwise for term in self.terms) and (self.pruning is None or self.pruning.rowwise)

    @property
    def stored_share(self) -> Fraction | None:
        """Stored values per element, over all terms; None where the tensor decides."""
        shares = [term.pattern.share for term in self.terms]
        return sum((s for s in shares if s is not None), Fraction(0)) if None not in shares else None

    def decompose(
        self, array: NDArray[Any], axis: int = -1, importance: NDArray[Any] | None = None
    ) -> tuple[NDArray[Any], ...]:
        """The terms' values: arrays of the shape of `array`, whose sum is the represented tensor.

        Args:
            array: real numbers, never modified; integers and halves are taken as float32 (see `checked_values`).
            axis: along which blocks and scales run.
            importance: see `Term.of`.

        Raises:
            SpecError: for values that are not finite real numbers, or a shape that a pattern refuses.
        """
        values = checked_values(array)
        axis = checked_axis(values.shape, axis)
        found = [self._empty(values, axis) for _ in self.terms]

        def fill(at: slice, part: NDArray[Any], weights: NDArray[Any] | None, along: int) -> None:
            for term, (_, held) in zip(found, self.split(part, along, weights), strict=True):
                term[at] = held

        self.over_rows(fill, values, axis, importance)
        return tuple(from_rows(term, values.shape, axis) if self.rowwise else term for term in found)

    def project(self, array: NDArray[Any], axis: int = -1, importance: NDArray[Any] | None = None) -> NDArray[Any]:
        """The represented tensor: the sum of the terms. Arguments and errors as `decompose`."""
        values = checked_values(array)
        axis = checked_axis(values.shape, axis)
        found = self._empty(values, axis)

        def fill(at: slice, part: NDArray[Any], weights: NDArray[Any] | None, along: int) -> None:
            found[at] = 0
            for _, held in self.split(part, along, weights):
                found[at] += held
                del held  # before the next term takes its memory

        self.over_rows(fill, values, axis, importance)
        return from_rows(found, values.shape, axis) if self.rowwise else found

    def split(
        self, values: NDArray[Any], axis: int, importance: NDArray[Any] | None
    ) -> Iterator[tuple[NDArray[np.bool_], NDArray[Any]]]:
        """Per term, the places that it keeps and its values there.

        Args:
            values: checked (see `checked_values`), never modified.
            axis: along which blocks and scales run.
            importance: of the shape of `values`.
        """
        residual = (
            values if self.pruning is None else masked(values, self.pruning.keep(_weighted(values, importance), axis))
        )
        for number, term in enumerate(self.terms, start=1):
            kept = term.pattern.keep(_weighted(residual, importance), axis)
            held = term.rounded(residual, kept, axis)
            if number < len(self.terms):
                residual = np.subtract(residual, held, out=None if residual is values else residual)
            yield kept, held
            del kept, held

    def over_rows(
        self,
        work: Callable[[slice, NDArray[Any], NDArray[Any] | None, int], T],
        values: NDArray[Any],
        axis: int,
        importance: NDArray[Any] | None = None,
    ) -> list[T]:
        """The results of `work` on every slab of rows, or on the whole tensor where rows depend on each other.

        Args:
            work: takes which rows, their values ``(rows, length)`` and importance, and the axis of blocks; or all of the tensor
                in its own shape.
            values: checked (see `checked_values`), never modified.
            axis, importance: as for `decompose`.
        """
        axis = checked_axis(values.shape, axis)
        weights = None if importance is None else checked_importance(importance, values.shape)
        if not self.rowwise:
            return [work(slice(None), values, weights, axis)]
        rows = as_rows(values, axis)
        weighing = None if weights is None else as_rows(weights, axis)
        return in_slabs(lambda at: work(at, rows[at], None if weighing is None else weighing[at], -1), rows)

    def _empty(self, values: NDArray[Any], axis: int) -> NDArray[Any]:
        """Room for what `over_rows` works out."""
        length = values.shape[axis]
        return np.empty((values.size // length, length) if self.rowwise else values.shape, dtype=values.dtype)

    def with_format(self, number_format: NumberFormat | None) -> Representation:
        """The same patterns with values in `number_format`."""
        return replace(self, terms=tuple(replace(term, format=number_format) for term in self.terms))

    def shares(self, shape: Sequence[int] | None = None, axis: int = -1) -> tuple[Fraction | None, ...]:
        """Per term, the share of elements that it stores: padding and tails of a tensor of `shape` included where it is given."""
        if shape is None:
            return tuple(term.pattern.share for term in self.terms)
        size = int(np.prod(shape))
        stored = [term.pattern.stored(shape, axis) for term in self.terms]
        return tuple(None if n is None else Fraction(n, size) for n in stored)

    def storage(
        self,
        shape: Sequence[int] | None = None,
        axis: int = -1,
        *,
        metadata: str | None = None,
        stored: Sequence[float] | None = None,
        unquantized_bits: int = UNQUANTIZED_BITS,
    ) -> tuple[TermStorage, ...]:
        """Bits per element of the tensor that each term takes.

        Args:
            shape: of the tensor; None: of one that is large and whose blocks divide it.
            axis: along which blocks run.
            metadata: format of the metadata (see `Pattern.metadata_bits`), such as ``B`` or ``CP``; ``smallest`` of all; None:
                the smallest but for ``enumerated``, which takes a table to read.
            stored: share of elements that each term stores, as measured; None: as the patterns say.
            unquantized_bits: of a value without a number format.

        Raises:
            SpecError: for metadata that a pattern can't have, or a pattern whose share depends on the tensor without `stored`.
        """
        shares = self._known_shares(shape, axis, stored)
        return tuple(
            term_storage(term, share, metadata, shape, axis, unquantized_bits)
            for term, share in zip(self.terms, shares, strict=True)
        )

    def bits_per_weight(
        self,
        shape: Sequence[int] | None = None,
        axis: int = -1,
        *,
        metadata: str | None = None,
        stored: Sequence[float] | None = None,
        unquantized_bits: int = UNQUANTIZED_BITS,
    ) -> float:
        """All bits of the represented tensor per element: values, scales, metadata. Arguments and errors as `storage`."""
        found = self.storage(shape, axis, metadata=metadata, stored=stored, unquantized_bits=unquantized_bits)
        return sum(term.total for term in found)

    def ideal_throughput(self, stored: Sequence[float] | None = None) -> float:
        """Multiples of dense 16-bit throughput when hardware skips whatever is not stored (see `storage.throughput`).

        Args:
            stored: share of elements that each term stores, as measured; None: as the patterns say.

        Raises:
            SpecError: for a pattern whose share depends on the tensor without `stored`.
        """
        return throughput(self, self._known_shares(None, -1, stored))

    def _known_shares(
        self, shape: Sequence[int] | None, axis: int, stored: Sequence[float] | None
    ) -> Sequence[Fraction | float]:
        if stored is not None:
            return stored
        shares = self.shares(shape, axis)
        known = [share for share in shares if share is not None]
        if len(known) < len(shares):
            raise SpecError(
                f"how much '{self}' stores depends on the tensor",
                hint="measure it: measure(array, representation).stored",
            )
        return known

    def __str__(self) -> str:
        written = " + ".join(str(term) for term in self.terms)
        return written if self.pruning is None else f"{self.pruning} => {written}"


def checked_importance(importance: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    """`importance` seen in `shape`.

    Raises:
        SpecError: for importance that is not finite, or does not broadcast to the tensor.
    """
    weights = checked_values(importance)
    try:
        return np.broadcast_to(weights, tuple(shape))
    except ValueError:
        raise SpecError(
            f"importance of shape {weights.shape} does not go with a tensor of shape {tuple(shape)}"
        ) from None


def _weighted(values: NDArray[Any], importance: NDArray[Any] | None) -> NDArray[Any]:
    """What places are chosen by."""
    return values if importance is None else np.asarray(values * importance)
