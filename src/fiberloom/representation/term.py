"""A tensor's representation: a sum of terms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.representation.patterns import Pattern

if TYPE_CHECKING:
    from fiberloom.representation.formats import NumberFormat


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
        kept = self.pattern.keep(residual if importance is None else residual * importance, axis)
        held = np.where(kept, residual, residual.dtype.type(0))
        return held if self.format is None else self.format.round(held, axis)

    def __str__(self) -> str:
        return str(self.pattern) if self.format is None else f"{self.pattern} {self.format}"


@dataclass(frozen=True)
class Representation:
    """A tensor as a sum of terms, each taken greedily from what those before it leave over.

    One term is a sparse, quantised or dense tensor; several `N:M` terms are a structured decomposition (TASD,
    arXiv:2403.07953); outliers in one format beside inliers in another are SDQ (arXiv:2406.13868).
    """

    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        if not self.terms:
            raise SpecError("a representation has at least one term", hint="write 'dense', '2:4', '2:4+2:8' …")

    @property
    def rowwise(self) -> bool:
        """Whether rows (all else than the axis fixed) are represented one by one."""
        return all(term.rowwise for term in self.terms)

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
            array: real numbers, never modified; integers and halves are taken as float32.
            axis: along which blocks and scales run.
            importance: see `Term.of`.

        Raises:
            SpecError: for values that are not finite real numbers, or a shape that a pattern refuses.
        """
        residual = checked_values(array).copy()
        found = []
        for term in self.terms:
            found.append(term.of(residual, importance, axis))
            residual -= found[-1]
        return tuple(found)

    def project(self, array: NDArray[Any], axis: int = -1, importance: NDArray[Any] | None = None) -> NDArray[Any]:
        """The represented tensor: the sum of the terms. Arguments and errors as `decompose`."""
        terms = self.decompose(array, axis, importance)
        total = terms[0]
        for term in terms[1:]:
            total += term
        return total

    def with_format(self, number_format: NumberFormat | None) -> Representation:
        """The same patterns with values in `number_format`."""
        return Representation(tuple(replace(term, format=number_format) for term in self.terms))

    def __str__(self) -> str:
        return " + ".join(str(term) for term in self.terms)


def checked_values(array: Any) -> NDArray[Any]:
    """`array` as float32 or float64 numbers, itself where it is that already.

    Raises:
        SpecError: for what is not an array of finite real numbers.
    """
    values = np.asarray(array)
    if values.dtype.kind not in "fiub" and values.dtype.name not in ("bfloat16",):
        raise SpecError(f"a tensor of type {values.dtype} holds no real numbers")
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float32 if values.dtype.itemsize <= 2 or values.dtype.kind == "f" else np.float64)
    if values.size == 0:
        raise SpecError(f"a tensor of shape {values.shape} has no elements")
    finite = np.isfinite(values)
    if not finite.all():
        bad = int(values.size - np.count_nonzero(finite))
        first = tuple(int(i) for i in np.unravel_index(int(np.argmin(finite)), values.shape))
        raise SpecError(
            f"{bad} of {values.size} values are NaN or infinite, the first at {list(first)}",
            hint="mend the tensor first: no pattern or number format has a meaning for them",
        )
    return values
