"""BitMoD: every group of elements chooses which number its redundant negative zero stands for.

Chen et al., HPCA 2025, arXiv:2411.11745, §III: a float of 3 or 4 bits wastes a pattern on negative zero. A group gives it
to one of four numbers, two inside the range (extra resolution) and two outside (extra asymmetry); a 2-bit selector says
which. The authors name a patent application of Cornell University.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import UnsupportedError
from fiberloom.representation.formats._base import Stored
from fiberloom.representation.formats._tiles import Tile, extremes, over_tiles, part_of, tiles
from fiberloom.representation.formats.integers import Integer
from fiberloom.representation.formats.minifloats import FP4_E2M1, Minifloat
from fiberloom.representation.formats.scaled import SharedScales
from fiberloom.representation.formats.scaling import Per, Scales, Scaling, totals

SELECTOR_BITS = 2
GROUP = 128
"""Elements of a group in the paper's results."""


_SCALING = Scaling(GROUP, Integer(8, signed=False), Per.CHANNEL)


@dataclass(frozen=True)
class BitMod(SharedScales):
    """A minifloat with one number more, chosen by every group for the least squared error.

    Attributes:
        element: the minifloat; its negative zero is the pattern that is given away.
        specials: the four numbers to choose from, in the order of the selector.
        scaling: an 8-bit integer scale for each group and a float32 scale for each row above them, as in the paper.
    """

    element: Minifloat
    specials: tuple[float, float, float, float]
    scaling: Scaling = _SCALING

    @property
    def name(self) -> str:
        group = "" if self.scaling.per == GROUP else f"/v{self.scaling.per}"
        return f"bitmod-fp{self.bits}{group}"

    @property
    def significand_bits(self) -> int:
        """Of the special numbers: 3 and 5 have more digits than the element's own."""
        return max(int(abs(s)).bit_length() for s in self.specials if int(s) % 2)

    @property
    def fixed_point_bits(self) -> int:
        quanta = self.element.smallest / (1 << self.element.fraction)
        return max(self.element.fixed_point_bits, *(int(abs(s) / quanta).bit_length() + 1 for s in self.specials))

    @property
    def bits_beside_scale(self) -> int:
        return SELECTOR_BITS

    def describe_scales(self) -> str:
        return f"{self.scaling.describe()}; {SELECTOR_BITS}-bit choice of a code book"

    def significands(self, codes: NDArray[Any], choices: NDArray[Any] | None = None) -> NDArray[np.int64]:
        quanta = self.element.smallest / (1 << self.element.fraction)
        found: NDArray[np.int64] = (self._numbers(codes, choices) / quanta).astype(np.int64)
        return found

    def round_rows(self, rows: NDArray[Any], rng: np.random.Generator | None) -> NDArray[Any]:
        return self.dequantize_rows(self.quantize_rows(rows, rng), rows.dtype)

    def quantize_rows(self, rows: NDArray[Any], rng: np.random.Generator | None) -> Stored:
        if rng is not None:
            raise UnsupportedError(f"{self.name} chooses numbers by nearest rounding", hint="give no rng")
        candidates, coarse = self._fit(rows)
        codes = np.empty(rows.shape, self.element.code_type)
        choices = np.zeros(candidates[0].codes.shape, np.uint8)
        dividers = [found.divider(rows.dtype, self.element) for found in candidates]
        squares = [np.square(totals(found.numbers, coarse, np.dtype(np.float64))) for found in candidates]
        nearer = [self._nearer(special) for special in self.specials]
        negative_zero = codes.dtype.type(1 << (self.bits - 1))

        def tile(at: Tile) -> None:
            values = at.of(rows)
            shape = (*values.shape[:2], 1)
            least, chosen = np.full(shape, np.inf), np.zeros(shape, np.uint8)
            best = np.empty(values.shape, rows.dtype)
            for choice, special in enumerate(self.specials):
                quotients = dividers[choice](values, at)
                numbers = self.element.snap(quotients)
                low, high = nearer[choice]
                np.copyto(numbers, special, where=(quotients > low) & (quotients < high))
                quotients -= numbers
                error = np.einsum("rbe,rbe->rb", quotients, quotients)[..., None] * part_of(squares[choice], at)
                better = error < least
                np.copyto(best, numbers, where=better)
                np.copyto(least, error, where=better)
                chosen[better] = choice
            own = np.asarray(self.specials, rows.dtype)[chosen]
            # neither a special number nor negative zero has a pattern of its own
            patterns = np.where(best == own, negative_zero, self.element.pack(np.where(best == 0, 0, best)))
            codes[at.rows, at.columns] = patterns.reshape(values.shape[0], -1)
            choices[at.rows, at.blocks] = chosen[..., 0]

        over_tiles(tile, tiles(rows.shape, self.block))
        scales = np.choose(choices, [found.codes for found in candidates])
        return Stored(codes, scales, coarse, choices=choices)

    def dequantize_rows(self, stored: Stored, dtype: np.dtype[Any]) -> NDArray[Any]:
        assert stored.scales is not None and stored.choices is not None
        found = np.empty(stored.codes.shape, dtype)
        factors = totals(self.scaling.scale.decode(stored.scales), stored.coarse, dtype)
        choices = stored.choices

        def tile(at: Tile) -> None:
            numbers = self._numbers(at.of(stored.codes), part_of(choices, at)).astype(dtype)
            found[at.rows, at.columns] = (numbers * part_of(factors, at)).reshape(numbers.shape[0], -1)

        over_tiles(tile, tiles(stored.codes.shape, self.block))
        return found

    def _fit(self, rows: NDArray[Any]) -> tuple[list[Scales], NDArray[np.float32] | None]:
        """Scales of every group under each choice, with which neither of its ends is cut off."""
        low, high = extremes(rows, self.block)
        largest = self.element.largest
        coarse = self.scaling.fit_coarse(np.maximum(high, -low), largest)
        found = []
        for special in self.specials:
            top, bottom = max(largest, special), max(largest, -special)
            extents = np.maximum(high * rows.dtype.type(largest / top), -low * rows.dtype.type(largest / bottom))
            found.append(self.scaling.fit(extents, largest, coarse))
        return found, coarse

    def _nearer(self, special: float) -> tuple[float, float]:
        """Between which numbers `special` is nearer than any of the element's."""
        own = self.element.values
        below, above = own[own < special], own[own > special]
        low = (below.max() + special) / 2 if below.size else -np.inf
        return float(low), float((above.min() + special) / 2 if above.size else np.inf)

    def _numbers(self, codes: NDArray[Any], choices: NDArray[Any] | None) -> NDArray[np.float64]:
        """Numbers of patterns; `choices` broadcasts against them."""
        numbers = self.element.decode(codes)
        special = np.asarray(self.specials)[0 if choices is None else choices]
        found: NDArray[np.float64] = np.where(codes == 1 << (self.bits - 1), special, numbers)
        return found


FP3_E2M0 = Minifloat(2, 0)
BITMOD_FP3 = BitMod(FP3_E2M0, (3.0, -3.0, 6.0, -6.0))
BITMOD_FP4 = BitMod(FP4_E2M1, (5.0, -5.0, 8.0, -8.0))
