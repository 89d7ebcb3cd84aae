"""Exactly these places."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.representation.patterns._base import Pattern
from fiberloom.representation.patterns._metadata import bits_of_mask

if TYPE_CHECKING:
    from fiberloom.workload.density import DensityModel

_TEXT: Final = re.compile(r"mask\s*\((.*)\)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, eq=False)
class Mask(Pattern):
    """The places where a given array is true, or not zero: ``mask(kept.npy)``, ``mask(masks.npz:layer1)``.

    Attributes:
        kept: of the tensor's shape; a copy is kept.
        name: what it is called: the file it was read from.
    """

    kept: NDArray[np.bool_]
    name: str = "…"

    examples = ("mask(kept.npy)",)

    def __post_init__(self) -> None:
        places = np.array(np.asarray(self.kept) != 0)
        if places.size == 0:
            raise SpecError(f"a mask of shape {places.shape} has no elements")
        places.flags.writeable = False
        object.__setattr__(self, "kept", places)

    @classmethod
    def from_text(cls, text: str) -> Mask | None:
        match = _TEXT.fullmatch(text)
        if match is None:
            return None
        from fiberloom.representation.tensor_file import read_tensor

        source = match[1].strip()
        return cls(read_tensor(source) != 0, source)

    def keep(self, values: NDArray[Any], axis: int = -1) -> NDArray[np.bool_]:
        self._check(values.shape)
        return self.kept.copy()

    @property
    def rowwise(self) -> bool:
        """What is kept of a row depends on where it stands."""
        return False

    @property
    def share(self) -> Fraction:
        return Fraction(int(np.count_nonzero(self.kept)), self.kept.size)

    def stored(self, shape: Sequence[int], axis: int = -1) -> int:
        self._check(shape)
        return int(np.count_nonzero(self.kept))

    def metadata_bits(self, shape: Sequence[int] | None = None, axis: int = -1) -> dict[str, Fraction]:
        """Of this very mask, whose rows run along `axis`."""
        if shape is not None:
            self._check(shape)
        return bits_of_mask(self.kept, axis)

    def density_specification(self, shape: Sequence[int], axis: int = -1) -> DensityModel:
        """The model of these very places."""
        self._check(shape)
        return self.density_of(self.kept)

    def _check(self, shape: Sequence[int]) -> None:
        if tuple(shape) != self.kept.shape:
            raise SpecError(f"the mask '{self.name}' has shape {self.kept.shape}, the tensor {tuple(shape)}")

    def __str__(self) -> str:
        return f"mask({self.name})"
