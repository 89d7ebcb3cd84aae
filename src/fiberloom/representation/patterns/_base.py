"""What every pattern answers.

A new pattern is one class in one file of this folder: subclass `Pattern`, read its text, choose what it keeps; then name it in
``__init__``.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.representation.array import checked_axis

if TYPE_CHECKING:
    from fiberloom.workload.density import DensityModel


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
        tail: for blocks that don't divide the axis.
    """

    examples: ClassVar[tuple[str, ...]]
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
    def optimal(self) -> bool:
        """Whether `keep` leaves the least squared error that the pattern allows; otherwise it is greedy."""
        return True

    @property
    def rowwise(self) -> bool:
        """Whether what is kept of a row (all else than the axis fixed) never depends on another row."""
        return True

    @property
    def rigid(self) -> bool:
        """Whether every row stores equally many values, zeros too where it has too few."""
        return False

    @property
    @abstractmethod
    def share(self) -> Fraction | None:
        """Share of places that the pattern keeps, exactly; None where it depends on the tensor."""

    @property
    def density(self) -> float:
        """`share` as a number.

        Raises:
            SpecError: where the pattern fixes none.
        """
        if self.share is None:
            raise SpecError(f"the density of '{self}' depends on the tensor", hint="measure it: keep(array).mean()")
        return float(self.share)

    @property
    def span(self) -> int:
        """Elements along the axis of one complete pattern."""
        return 1

    def stored(self, shape: Sequence[int], axis: int = -1) -> int | None:
        """Values stored for a tensor of `shape`, zeros of a padded last block included; None where the tensor decides.

        A pattern that is not `rigid` stores fewer where a tensor has fewer non-zeros.
        """
        return None if self.share is None else math.ceil(self.share * math.prod(shape))

    @abstractmethod
    def metadata_bits(self, shape: Sequence[int] | None = None, axis: int = -1) -> dict[str, Fraction]:
        """Bits per element of the tensor that say where the kept values are, by format.

        Formats are named as everywhere: ``U`` none needed, ``B`` bitmask, ``CP`` coordinates within a block, ``RLE`` runs of
        zeros, ``UOP-CP`` offsets of rows and coordinates in them (CSR); joined by ``-``, one per rank of a hierarchical
        pattern. ``enumerated`` numbers the possible choices of a block, ⌈log₂ of their number⌉ bits.

        Args:
            shape: of the tensor; None: of one that is large and whose blocks divide it, without the formats that depend on it.
            axis: along which blocks run.

        Raises:
            SpecError: if the shape does not suit the pattern.
        """

    @property
    def ranks_along_axis(self) -> tuple[tuple[int, int], ...] | None:
        """(G, H) per rank, outermost first, where every row by itself is G of every H along the axis, rank by rank; else None."""
        return None

    @abstractmethod
    def density_specification(self, shape: Sequence[int], axis: int = -1) -> dict[str, Any] | DensityModel:
        """The ``density:`` of the workload's tensor that describes the pattern to the hardware model.

        Args:
            shape: of the tensor.
            axis: along which blocks run.

        Raises:
            UnsupportedError: where no statistical model describes it; `density_of` takes the kept places themselves.
        """

    def density_of(self, kept: NDArray[np.bool_]) -> DensityModel:
        """The density model of exactly these kept places, whatever the pattern."""
        from fiberloom.workload.density import ActualDensity

        return ActualDensity.from_array(kept)

    def with_share(self, share: Fraction) -> Pattern:
        """The same pattern where it keeps `share` of the elements, if that depends on the tensor; else itself."""
        return self

    def with_tail(self, tail: Tail) -> Pattern:
        """The same pattern with another tail policy.

        Raises:
            SpecError: if the pattern has no blocks.
        """
        raise SpecError(f"'{self}' has no blocks, so it has no tail '{tail}'", hint=f"write '{self}'")

    @abstractmethod
    def __str__(self) -> str:
        """The pattern as text that `read_pattern` reads."""


def no_density_model(pattern: Pattern) -> UnsupportedError:
    """The error for a pattern that only the places of a real tensor describe."""
    return UnsupportedError(
        f"no statistical density model describes '{pattern}'",
        hint="take the places of a tensor: pattern.density_of(pattern.keep(array)), or 'distribution: actual' with its file",
    )


_TAIL = re.compile(r"(.*\S)\s*/\s*(pad|keep|refuse)", re.DOTALL)


def split_tail(text: str) -> tuple[str, Tail | None]:
    """Pattern and tail policy of ``2:4/keep``; None where none is written."""
    match = _TAIL.fullmatch(text)
    return (match[1], Tail(match[2])) if match else (text, None)


def tail_text(tail: Tail) -> str:
    """What stands behind a pattern with this tail policy; nothing for the usual one."""
    return "" if tail is Tail.PAD else f"/{tail}"


def whole_blocks(length: int, span: int, tail: Tail) -> tuple[int, int]:
    """Blocks of `span` elements that cover `length`, and elements kept outside them.

    Raises:
        SpecError: for blocks that don't divide the axis where that is refused.
    """
    whole, rest = divmod(length, span)
    if rest and tail is Tail.REFUSE:
        raise SpecError(f"blocks of {span} don't divide an axis of {length}", hint="choose the tail 'pad' or 'keep'")
    if tail is Tail.KEEP:
        return whole, rest
    return whole + (rest > 0), 0


def row_lengths(shape: Sequence[int], axis: int) -> tuple[int, int]:
    """Number of rows of a tensor, and their length along `axis`.

    Raises:
        SpecError: for a tensor without elements or that axis.
    """
    size = size_of(shape)
    length = shape[checked_axis(shape, axis)]
    return size // length, length


def size_of(shape: Sequence[int]) -> int:
    """Elements of a tensor of `shape`.

    Raises:
        SpecError: if there are none.
    """
    size = math.prod(shape)
    if size < 1:
        raise SpecError(f"a tensor of shape {tuple(shape)} has no elements")
    return size
