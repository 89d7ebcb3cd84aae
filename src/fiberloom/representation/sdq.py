"""SDQ: sparsify, split into outliers and inliers, quantise each for itself.

Jeong, Tsai, Keckler, Krishna: *SDQ: Sparse Decomposed Quantization for LLM Inference*, arXiv:2406.13868.

A representation as such is greedy: every term takes from what those before it leave over, rounding errors included. SDQ
first splits, exactly: terms take disjoint places, and where the split holds all that sparsification left, they add up to
it bit for bit. Only then is each term rounded to its format, so that no term spends a place on another's rounding error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError, nearest
from fiberloom.representation.array import checked_values
from fiberloom.representation.calibration import InputStatistics
from fiberloom.representation.formats import Scaled, number_format
from fiberloom.representation.notation import read_representation
from fiberloom.representation.pruning import Method, prune
from fiberloom.representation.term import Representation, Term

VECTOR_SCALES: Final = "v16/e4m3"
"""Scales of formats that name none: one e4m3 number for 16 elements and a float32 one for the tensor (SDQ; VS-Quant,
arXiv:2102.04503, §4)."""
_SLAB: Final = 1 << 18
"""Elements worked on at a time: a few arrays of it fit into a core's cache."""


class Criterion(StrEnum):
    """What makes a weight an outlier."""

    MAGNITUDE = "magnitude"
    """Its magnitude."""
    PRODUCT = "product"
    """Its magnitude times the norm of the inputs that it meets, as in Wanda."""


@dataclass(frozen=True)
class SDQ:
    """What is done to a layer's weights.

    Attributes:
        representation: terms, outliers first, each of which takes the largest of what is left, and before ``=>`` the pattern
            that sparsification leaves.
        method: how weights to keep are chosen.
        criterion: how outliers are.

    Raises:
        SpecError: for a method, and no pattern to sparsify to.
    """

    representation: Representation
    method: Method = Method.MAGNITUDE
    criterion: Criterion = Criterion.MAGNITUDE

    def __post_init__(self) -> None:
        if self.representation.pruning is None and self.method is not Method.MAGNITUDE:
            raise SpecError(
                f"nothing is pruned by {self.method}: '{self}' names no pattern to sparsify to",
                hint=f"write it in front: '7:8 => {self}'",
            )

    @classmethod
    def read(
        cls,
        text: str | Representation,
        method: str = "magnitude",
        criterion: str = "magnitude",
        scales: str | None = VECTOR_SCALES,
    ) -> SDQ:
        """What `text` writes: ``7:8 => 1:8 int8 + 6:8 fp4``, or ``1:8 int8 + 7:8 fp4`` without sparsification.

        Args:
            method: ``magnitude``, ``wanda`` or ``sparsegpt``.
            criterion: ``magnitude`` or ``product``.
            scales: words added to formats that say nothing of their scales, see `VECTOR_SCALES`; None adds none.

        Raises:
            SpecError: for what can't be read.
        """
        representation = read_representation(text)
        if criterion not in list(Criterion):
            raise SpecError(f"no criterion is called '{criterion}'", hint=nearest(criterion, list(Criterion)))
        return cls(
            with_scales(representation, scales) if scales else representation,
            Method.read(method),
            Criterion(criterion),
        )

    @property
    def terms(self) -> tuple[Term, ...]:
        """Outliers first."""
        return self.representation.terms

    @property
    def needs_calibration(self) -> bool:
        """Whether the layer's inputs must be known."""
        return self.criterion is Criterion.PRODUCT or self.method.needs_calibration

    @property
    def needs_second_moments(self) -> bool:
        """Whether the inputs' second moments must be known."""
        return self.method.needs_second_moments

    def decompose(
        self, weights: NDArray[Any], statistics: InputStatistics | None = None, release: bool = False
    ) -> Decomposition:
        """Sparsify and split `weights` ``(out, in)``, which stay as they are; blocks run along `in`.

        Args:
            statistics: of the layer's inputs, for methods and criteria that need them.
            release: see `prune`.

        Raises:
            SpecError: where statistics are needed and not given, or for weights that are not a finite matrix.
        """
        values = checked_values(weights)
        pruning = self.representation.pruning
        sparse = values if pruning is None else prune(values, pruning, self.method, statistics, release)
        norms = None
        if self.criterion is Criterion.PRODUCT:
            if statistics is None:
                raise SpecError("the product criterion needs the layer's inputs", hint="give calibration data")
            norms = statistics.norms.astype(values.dtype)
        return Decomposition(self, sparse, self._places(sparse, norms))

    def _places(self, sparse: NDArray[Any], norms: NDArray[Any] | None) -> tuple[NDArray[np.bool_], ...]:
        """The places that each term takes, those included that are zero by then."""
        found = tuple(np.empty(sparse.shape, np.bool_) for _ in self.terms)
        rows = (
            max(1, _SLAB // max(1, sparse.shape[-1]))
            if all(term.pattern.rowwise for term in self.terms)
            else len(sparse)
        )
        for start in range(0, len(sparse), max(1, rows)):
            at = slice(start, start + rows)
            scores = np.abs(sparse[at]) if norms is None else np.abs(sparse[at]) * norms
            for term, places in zip(self.terms, found, strict=True):
                places[at] = term.pattern.keep(scores)
                scores[places[at]] = 0
        return found

    def __str__(self) -> str:
        return str(self.representation)


@dataclass(frozen=True)
class Decomposition:
    """A weight matrix, split.

    Attributes:
        of: what was asked for.
        sparse: the weights after sparsification, ``(out, in)``.
        places: that each term takes; a place of several belongs to the first, and is zero in the others.
    """

    of: SDQ
    sparse: NDArray[Any]
    places: tuple[NDArray[np.bool_], ...]

    def split(self, index: int) -> NDArray[Any]:
        """One term's weights before they are rounded."""
        mine = self.places[index].copy()
        for earlier in self.places[:index]:
            mine &= ~earlier
        return np.where(mine, self.sparse, self.sparse.dtype.type(0))

    @property
    def exact(self) -> bool:
        """Whether the split holds all that sparsification left: its parts add up to `sparse` bit for bit."""
        return bool((np.logical_or.reduce(self.places) | (self.sparse == 0)).all())

    def term(self, index: int) -> NDArray[Any]:
        """One term's weights as they are stored."""
        return self.of.terms[index].rounded(self.split(index), self.places[index])

    @property
    def terms(self) -> tuple[NDArray[Any], ...]:
        """All terms' weights as they are stored."""
        return tuple(self.term(i) for i in range(len(self.places)))

    @property
    def represented(self) -> NDArray[Any]:
        """The weights that the hardware computes with: the sum of `terms`."""
        total = self.term(0)
        for index in range(1, len(self.places)):
            total += self.term(index)
        return total


def with_scales(representation: Representation, scales: str) -> Representation:
    """`representation` with `scales` (``v16/e4m3``) for formats whose name says nothing of scales."""

    def scaled(term: Term) -> Term:
        bare = isinstance(term.format, Scaled) and term.format.title is None and "/" not in term.format.name
        return replace(term, format=number_format(f"{term.format}/{scales}")) if bare else term

    return replace(representation, terms=tuple(scaled(term) for term in representation.terms))
