"""Elements of two or three numbers: ``binary`` and ``ternary``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.representation.formats.element import ElementFormat, stochastic
from fiberloom.representation.formats.integers import Integer


class _Signs(ElementFormat):
    """-1 and 1, perhaps 0: a shared scale is the mean magnitude of what it stands for."""

    @property
    def exponent_bits(self) -> int:
        return 0

    @property
    def significand_bits(self) -> int:
        return 1

    @property
    def fixed_point_bits(self) -> int:
        return 2

    @property
    def largest(self) -> float:
        return 1.0

    @property
    def smallest(self) -> float:
        return 1.0

    @property
    def scale_is_mean(self) -> bool:
        return True

    def working_type(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return dtype


@dataclass(frozen=True)
class Ternary(_Signs):
    """-1, 0 and 1 in two bits of two's complement; a shared scale is the mean magnitude (BitNet b1.58, arXiv:2402.17764, eq. 1–3)."""

    @property
    def symbol(self) -> str:
        return "ternary"

    @property
    def bits(self) -> int:
        return 2

    def snap(self, values: NDArray[Any], rng: np.random.Generator | None = None) -> NDArray[Any]:
        return _TWO_BITS.snap(values, rng)

    def pack(self, snapped: NDArray[Any]) -> NDArray[Any]:
        return _TWO_BITS.pack(snapped)

    def unpack(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        return _TWO_BITS.unpack(codes)

    def significands(self, codes: NDArray[Any], choices: NDArray[Any] | None = None) -> NDArray[np.int64]:
        return _TWO_BITS.significands(codes)


@dataclass(frozen=True)
class Binary(_Signs):
    """-1 (pattern 1) and 1 (pattern 0); a shared scale is the mean magnitude, which is optimal (XNOR-Net, ECCV 2016, eq. 6).

    Zero becomes 1: a pattern of places has to say which elements are absent.
    """

    @property
    def symbol(self) -> str:
        return "binary"

    @property
    def bits(self) -> int:
        return 1

    @property
    def keeps_zero(self) -> bool:
        return False

    def snap(self, values: NDArray[Any], rng: np.random.Generator | None = None) -> NDArray[Any]:
        if rng is not None:  # up with the probability of the distance from -1
            return 2 * stochastic((np.clip(values, -1, 1) + 1) / 2, rng) - 1
        found: NDArray[Any] = np.where(values < 0, values.dtype.type(-1), values.dtype.type(1))
        return found

    def pack(self, snapped: NDArray[Any]) -> NDArray[Any]:
        return (snapped < 0).astype(np.uint8)

    def unpack(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        return self.significands(codes).astype(np.float64)

    def significands(self, codes: NDArray[Any], choices: NDArray[Any] | None = None) -> NDArray[np.int64]:
        return 1 - 2 * codes.astype(np.int64)


_TWO_BITS = Integer(2)
TERNARY = Ternary()
BINARY = Binary()
