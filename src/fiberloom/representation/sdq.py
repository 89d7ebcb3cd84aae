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
from fiberloom.representation.formats import number_format
from fiberloom.representation.notation import read_representation
from fiberloom.representation.patterns import Pattern, read_pattern
from fiberloom.representation.pruning import Method, prune
from fiberloom.representation.term import Representation

VECTOR_SCALES: Final = "v16/e4m3"
"""Scales of formats that name none: one e4m3 number for 16 elements and a float32 one for the tensor (SDQ; VS-Quant,
arXiv:2102.04503, §4)."""
_SLAB: Final = 1 << 18
"""Elements worked on at a time: a few arrays of it fit into a core's cache."""
_ARROWS: Final = ("=>", "⇒")


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
        terms: outliers first; each takes the largest of what is left, and is rounded to its format.
        sparsify: what sparsification leaves; None: nothing is taken away before the split.
        method: how weights to keep are chosen.
        criterion: how outliers are.
    """

    terms: Representation
    sparsify: Pattern | None = None
    method: Method = Method.MAGNITUDE
    criterion: Criterion = Criterion.MAGNITUDE

    def __post_init__(self) -> None:
        if self.sparsify is None and self.method is not Method.MAGNITUDE:
            raise SpecError(
                f"nothing is pruned by {self.method}: '{self.terms}' names no pattern to sparsify to",
                hint=f"write it in front: '7:8 => {self.terms}'",
            )

    @classmethod
    def read(
        cls, text: str, method: str = "magnitude", criterion: str = "magnitude", scales: str | None = VECTOR_SCALES
    ) -> SDQ:
        """What `text` writes: ``7:8 => 1:8 int8 + 6:8 fp4``, or ``1:8 int8 + 7:8 fp4`` without sparsification.

        Args:
            method: ``magnitude``, ``wanda`` or ``sparsegpt``.
            criterion: ``magnitude`` or ``product``.
            scales: words added to formats that say nothing of their scales, see `VECTOR_SCALES`; None adds none.

        Raises:
            SpecError: for what can't be read.
        """
        parts = [part.strip() for part in text.replace(_ARROWS[1], _ARROWS[0]).split(_ARROWS[0])]
        if len(parts) > 2 or not all(parts):
            raise SpecError(f"'{text}' is no SDQ", hint="write '7:8 => 1:8 int8 + 6:8 fp4'")
        terms = read_representation(parts[-1])
        if criterion not in list(Criterion):
            raise SpecError(f"no criterion is called '{criterion}'", hint=nearest(criterion, list(Criterion)))
        return cls(
            terms=with_scales(terms, scales) if scales else terms,
            sparsify=read_pattern(parts[0]) if len(parts) == 2 else None,
            method=Method.read(method),
            criterion=Criterion(criterion),
        )

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
        """Sparsify, split and quantise `weights` ``(out, in)``, which stay as they are; blocks run along `in`.

        Args:
            statistics: of the layer's inputs, for methods and criteria that need them.
            release: see `prune`.

        Raises:
            SpecError: where statistics are needed and not given, or for weights that are not a finite matrix.
        """
        values = checked_values(weights)
        sparse = values if self.sparsify is None else prune(values, self.sparsify, self.method, statistics, release)
        importance = None
        if self.criterion is Criterion.PRODUCT:
            if statistics is None:
                raise SpecError("the product criterion needs the layer's inputs", hint="give calibration data")
            importance = statistics.norms.astype(values.dtype)
        return Decomposition(self, sparse, in_slabs_of_rows(self.terms.with_format(None), sparse, importance))

    def __str__(self) -> str:
        return str(self.terms) if self.sparsify is None else f"{self.sparsify} => {self.terms}"


@dataclass(frozen=True)
class Decomposition:
    """A weight matrix, split.

    Attributes:
        of: what was asked for.
        sparse: the weights after sparsification, ``(out, in)``.
        split: each term's weights before rounding, at disjoint places, ``(out, in)`` each.
    """

    of: SDQ
    sparse: NDArray[Any]
    split: tuple[NDArray[Any], ...]

    @property
    def exact(self) -> bool:
        """Whether the split holds all that sparsification left: its parts add up to `sparse` bit for bit."""
        return bool(np.array_equal(sum(self.split[1:], self.split[0]), self.sparse))

    def term(self, index: int) -> NDArray[Any]:
        """One term's weights as they are stored."""
        stored = self.of.terms.terms[index].format
        return self.split[index] if stored is None else stored.round(self.split[index])

    @property
    def terms(self) -> tuple[NDArray[Any], ...]:
        """All terms' weights as they are stored."""
        return tuple(self.term(i) for i in range(len(self.split)))

    @property
    def represented(self) -> NDArray[Any]:
        """The weights that the hardware computes with: the sum of `terms`."""
        terms = self.terms
        return sum(terms[1:], terms[0])


def in_slabs_of_rows(
    representation: Representation, weights: NDArray[Any], importance: NDArray[Any] | None
) -> tuple[NDArray[Any], ...]:
    """`representation.decompose` along the last axis, a few rows at a time where they don't depend on each other: it needs little
    memory beside the result."""
    if not representation.rowwise:
        return representation.decompose(weights, importance=importance)
    found = tuple(np.empty_like(weights) for _ in representation.terms)
    step = max(1, _SLAB // max(1, weights.shape[1]))
    for start in range(0, len(weights), step):
        at = slice(start, start + step)
        for whole, part in zip(found, representation.decompose(weights[at], importance=importance), strict=True):
            whole[at] = part
    return found


def with_scales(representation: Representation, scales: str) -> Representation:
    """`representation` with `scales` (``v16/e4m3``) for formats whose name says nothing of scales."""
    return Representation(
        tuple(
            term
            if term.format is None
            or "/" in term.format.name
            or not hasattr(term.format, "scaling")
            or _composed(term.format)
            else replace(term, format=number_format(f"{term.format.name}/{scales}"))
            for term in representation.terms
        )
    )


def _composed(number: Any) -> bool:
    return getattr(number, "title", None) is not None
