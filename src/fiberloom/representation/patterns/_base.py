"""What every pattern answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError


class Tail(StrEnum):
    """What becomes of the elements behind the last whole block when blocks don't divide the axis."""

    PAD = "pad"
    """The last block is filled up with zeros, which are kept last."""
    KEEP = "keep"
    """Elements outside whole blocks are all kept."""
    REFUSE = "refuse"
    """An axis that blocks don't divide is an error."""


class Pattern(ABC):
    """A rule that says which places of a tensor may be non-zero.

    Attributes:
        examples: how it is written.
        optimal: whether `keep` leaves the least squared error that the pattern allows; otherwise it is greedy.
        rowwise: whether one row (all else than the axis fixed) never depends on another.
        tail: for blocks that don't divide the axis.
    """

    examples: ClassVar[tuple[str, ...]]
    optimal: ClassVar[bool] = True
    rowwise: ClassVar[bool] = True
    tail: Tail = Tail.PAD

    @classmethod
    @abstractmethod
    def from_text(cls, text: str) -> Pattern | None:
        """The pattern that `text` writes; None if it is of another kind.

        Raises:
            SpecError: if it is of this kind and its numbers make no sense.
        """

    @abstractmethod
    def keep(self, values: NDArray[Any], axis: int = -1) -> NDArray[np.bool_]:
        """Which elements the pattern keeps, those of largest magnitude as far as it may.

        Args:
            values: real numbers of any shape, never modified; scores that are not negative do as well.
            axis: along which blocks run.

        Returns:
            Of the shape of `values`.

        Raises:
            SpecError: if the shape does not suit the pattern.
        """

    @property
    @abstractmethod
    def share(self) -> Fraction | None:
        """Share of places that the pattern keeps, exactly; None where it depends on the values."""

    @property
    @abstractmethod
    def span(self) -> int:
        """Elements along the axis of one complete pattern."""

    @abstractmethod
    def density_specification(self, axis: int, ranks: Sequence[str]) -> dict[str, Any]:
        """The ``density:`` fields of the workload that describe the pattern to the hardware model."""

    @property
    def density(self) -> float:
        """`share` as a number.

        Raises:
            SpecError: where the pattern fixes none.
        """
        if self.share is None:
            raise SpecError(f"the density of '{self}' depends on the tensor")
        return float(self.share)


def as_rows(values: NDArray[Any], axis: int) -> NDArray[Any]:
    """`values` with `axis` last, flattened to ``(rows, length)``.

    Raises:
        SpecError: for an array without that axis.
    """
    if values.ndim == 0 or not -values.ndim <= axis < values.ndim:
        raise SpecError(f"a tensor of shape {values.shape} has no axis {axis}")
    moved = np.moveaxis(values, axis, -1)
    return moved.reshape(-1, moved.shape[-1])


def from_rows(rows: NDArray[Any], shape: Sequence[int], axis: int) -> NDArray[Any]:
    """The inverse of `as_rows` for a tensor of `shape`."""
    moved = [*shape]
    moved.append(moved.pop(axis))
    return np.moveaxis(rows.reshape(moved), -1, axis)
