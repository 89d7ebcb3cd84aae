"""Convolution kernels that take one of a few shapes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.representation.array import checked_axis
from fiberloom.representation.patterns._base import Pattern, no_density_model, size_of
from fiberloom.representation.patterns._largest import largest_of_blocks, squarable
from fiberloom.representation.patterns._metadata import bits_for

_LEARNED: Final = re.compile(r"kernel\s*\(\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*\)", re.IGNORECASE)
_GIVEN: Final = re.compile(r"kernel\s*\(\s*([01]+(?:\s*,\s*[01]+)*)\s*\)", re.IGNORECASE)
_KIND: Final = re.compile(r"kernel\s*\(.*\)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class KernelPatterns(Pattern):
    """Every r × s kernel of a convolution keeps the places of one of a few masks (Ma et al., PCONV, AAAI'20, arXiv:1909.05073).

    ``kernel(4:9, 8)``: 4 of 9 places, 8 masks, learned from the tensor: those that are most often the 4 largest magnitudes of a
    kernel (Niu et al., PatDNN, ASPLOS'20, arXiv:2001.00138). ``kernel(010111010, 110110000)``: these masks, row by row. Each
    kernel takes the mask that keeps most of its energy: optimal for given masks, while the learned set is greedy.

    Attributes:
        masks: r·s places each, row by row; None: learned.
        entries: places that a learned mask keeps, of how many.
        count: masks that are learned at most.
    """

    masks: tuple[tuple[bool, ...], ...] | None = None
    entries: tuple[int, int] | None = None
    count: int = 0

    examples = ("kernel(4:9, 8)", "kernel(010111010, 110110000)")

    def __post_init__(self) -> None:
        if self.masks is not None:
            if len({len(mask) for mask in self.masks}) != 1 or not all(any(mask) for mask in self.masks):
                raise SpecError(f"'{self}' has masks that are empty or of different lengths")
        elif self.entries is None or not 1 <= self.entries[0] <= self.entries[1] or self.count < 1:
            raise SpecError(
                "a learned kernel pattern keeps N of r·s places with at least one mask", hint="write kernel(4:9, 8)"
            )

    @classmethod
    def from_text(cls, text: str) -> KernelPatterns | None:
        if match := _LEARNED.fullmatch(text):
            return cls(entries=(int(match[1]), int(match[2])), count=int(match[3]))
        if match := _GIVEN.fullmatch(text):
            return cls(tuple(tuple(place == "1" for place in mask.strip()) for mask in match[1].split(",")))
        if _KIND.fullmatch(text):
            raise SpecError(
                f"'{text}' is no kernel pattern", hint="write kernel(4:9, 8) or masks: kernel(010111010, 110110000)"
            )
        return None

    def keep(self, values: NDArray[Any], axis: int = -1) -> NDArray[np.bool_]:
        kernels = self._kernels(values, axis)
        masks = np.array(self.masks if self.masks is not None else self._learn(kernels), dtype=np.bool_)
        energy = np.square(kernels, dtype=np.float64) @ masks.T.astype(np.float64)
        kept = masks[energy.argmax(axis=1)]
        return np.asarray(kept.reshape(values.shape))

    def learned(self, values: NDArray[Any], axis: int = -1) -> KernelPatterns:
        """The same with the masks that `values` suggest, for this and other tensors; itself where they are given."""
        if self.masks is not None:
            return self
        masks = self._learn(self._kernels(values, axis))
        return KernelPatterns(tuple(tuple(bool(place) for place in mask) for mask in masks))

    def _learn(self, kernels: NDArray[Any]) -> NDArray[np.bool_]:
        """The masks that are most often a kernel's largest places; of equally frequent ones, the first in binary order."""
        assert self.entries is not None
        shapes, times = np.unique(largest_of_blocks(kernels, *self.entries), axis=0, return_counts=True)
        return np.asarray(shapes[np.argsort(-times, kind="stable")[: self.count]])

    def _kernels(self, values: NDArray[Any], axis: int) -> NDArray[Any]:
        """`values` as ``(kernels, r·s)``."""
        return squarable(values.reshape(-1, self._check(values.shape, axis)))

    def _check(self, shape: Sequence[int], axis: int) -> int:
        """Places of a kernel.

        Raises:
            SpecError: for a tensor without kernels behind the axis, or of another size.
        """
        places = math.prod(shape[checked_axis(shape, axis) + 1 :])
        wanted = self._places
        if places != wanted:
            raise SpecError(
                f"'{self}' is for kernels of {wanted} places; a tensor of shape {tuple(shape)} has {places} behind axis {axis}",
                hint="give the axis of the input channels, 1 for (out, in, r, s)",
            )
        size_of(shape)
        return places

    @property
    def _places(self) -> int:
        return len(self.masks[0]) if self.masks is not None else (self.entries or (0, 0))[1]

    @property
    def optimal(self) -> bool:
        return self.masks is not None

    @property
    def rowwise(self) -> bool:
        return False

    @property
    def share(self) -> Fraction | None:
        kept = {self.entries[0]} if self.masks is None and self.entries else {sum(mask) for mask in self.masks or ()}
        return Fraction(kept.pop(), self._places) if len(kept) == 1 else None

    def stored(self, shape: Sequence[int], axis: int = -1) -> int | None:
        self._check(shape, axis)
        return super().stored(shape, axis)

    def metadata_bits(self, shape: Sequence[int] | None = None, axis: int = -1) -> dict[str, Fraction]:
        """``enumerated``: which mask, per kernel; the masks themselves are few and not counted. ``B`` and ``CP`` per kernel."""
        if shape is not None:
            self._check(shape, axis)
        masks = self.count if self.masks is None else len(self.masks)
        found = {"index": Fraction(bits_for(masks), self._places), "B": Fraction(1)}
        if self.share is not None:
            found["CP"] = self.share * bits_for(self._places)
        return found

    def density_specification(self, shape: Sequence[int], axis: int = -1) -> dict[str, Any]:
        """Whole kernels hold their share exactly; inside one, places count as those of N:M do."""
        self._check(shape, axis)
        if self.share is None:
            raise no_density_model(self)
        return {"distribution": "fixed-structured", "density": f"{self.share.numerator}:{self.share.denominator}"}

    def __str__(self) -> str:
        if self.masks is not None:
            return f"kernel({', '.join(''.join('01'[place] for place in mask) for mask in self.masks)})"
        kept, of = self.entries or (0, 0)
        return f"kernel({kept}:{of}, {self.count})"
