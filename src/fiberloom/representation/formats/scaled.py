"""Elements that share scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.representation.formats._base import NumberFormat, Stored
from fiberloom.representation.formats._tiles import (
    Tile,
    extremes,
    largest_magnitudes,
    mean_magnitudes,
    over_tiles,
    part_of,
    tiles,
)
from fiberloom.representation.formats.element import ElementFormat, stochastic
from fiberloom.representation.formats.integers import Integer
from fiberloom.representation.formats.minifloats import FP32
from fiberloom.representation.formats.scales import scale_symbol, usual_rule
from fiberloom.representation.formats.scaling import Per, Scales, Scaling, totals, usual_coarse


class SharedScales(NumberFormat):
    """Elements times scales that several share: what follows from the two formats.

    Attributes:
        element: format of an element.
        scaling: layout and format of the scales.
    """

    element: ElementFormat
    scaling: Scaling

    @property
    def bits(self) -> int:
        return self.element.bits

    @property
    def exponent_bits(self) -> int:
        return self.element.exponent_bits

    @property
    def significand_bits(self) -> int:
        return self.element.significand_bits

    @property
    def fixed_point_bits(self) -> int:
        return self.element.fixed_point_bits

    @property
    def block(self) -> int | None:
        return self.scaling.block

    @property
    def block_scale(self) -> NumberFormat | None:
        return self.scaling.scale if self.block is not None else None

    @property
    def rowwise(self) -> bool:
        return self.scaling.rowwise

    @property
    def keeps_zero(self) -> bool:
        return self.element.keeps_zero

    @property
    def bits_beside_scale(self) -> int:
        """Bits that are stored with every scale."""
        return 0

    @property
    def bits_per_element(self) -> float:
        shared = self.scaling.scale.bits + self.bits_beside_scale
        return self.bits + (shared / self.block if self.block else 0.0)

    def storage_bits(self, shape: Sequence[int], axis: int = -1) -> int:
        return super().storage_bits(shape, axis) + self.scaling.storage_bits(shape, axis, self.bits_beside_scale)


@dataclass(frozen=True)
class Scaled(SharedScales):
    """Elements times shared scales.

    Attributes:
        element: format of an element.
        scaling: layout and format of the scales.
        zero_point: unsigned codes shifted by the one that stands for 0, so that a block uses all of them between its
            smallest and its largest value (Jacob et al., CVPR 2018, eq. 1); for integers.
        title: customary name where it is not composed, such as ``nvfp4``.
    """

    element: ElementFormat
    scaling: Scaling
    zero_point: bool = False
    title: str | None = None

    def __post_init__(self) -> None:
        if self.zero_point and not isinstance(self.element, Integer):
            raise SpecError(f"{self.element.symbol} has no zero point", hint="only integers have one: int8/asymmetric")

    @property
    def name(self) -> str:
        words = (
            [self.scaling.rule.value] if self.title and self.scaling.rule else self._words() if not self.title else []
        )
        return "/".join([self.title or self.element.symbol, *words])

    @property
    def bits_beside_scale(self) -> int:
        return self.bits if self.zero_point else 0

    def describe_scales(self) -> str:
        words = self.scaling.describe()
        words += f", {self.bits}-bit zero points" if self.zero_point else ""
        return words + (", mean magnitudes" if self.element.scale_is_mean else "")

    def significands(self, codes: NDArray[Any], choices: NDArray[Any] | None = None) -> NDArray[np.int64]:
        return self._steps.significands(codes)

    def round_rows(self, rows: NDArray[Any], rng: np.random.Generator | None) -> NDArray[Any]:
        scales, zeros = self._fit(rows)
        found = np.empty(rows.shape, rows.dtype)
        divide, factors = scales.divider(rows.dtype, self._steps), totals(scales.numbers, scales.coarse, rows.dtype)

        def tile(at: Tile) -> None:
            numbers = self._snap(divide(at.of(rows), at), zeros, at, rng).astype(rows.dtype, copy=False)
            found[at.rows, at.columns] = (numbers * part_of(factors, at)).reshape(numbers.shape[0], -1)

        over_tiles(tile, tiles(rows.shape, self.block), in_order=rng is not None)
        return found

    def quantize_rows(self, rows: NDArray[Any], rng: np.random.Generator | None) -> Stored:
        scales, zeros = self._fit(rows)
        codes = np.empty(rows.shape, self.element.code_type)
        divide = scales.divider(rows.dtype, self._steps)

        def tile(at: Tile) -> None:
            numbers = self._snap(divide(at.of(rows), at), zeros, at, rng)
            if zeros is not None:
                numbers = numbers + part_of(zeros, at)
            codes[at.rows, at.columns] = self._steps.pack(numbers).reshape(numbers.shape[0], -1)

        over_tiles(tile, tiles(rows.shape, self.block), in_order=rng is not None)
        stored_zeros = None if zeros is None else zeros.astype(self.element.code_type)
        return Stored(codes, scales.codes, scales.coarse, stored_zeros)

    def dequantize_rows(self, stored: Stored, dtype: np.dtype[Any]) -> NDArray[Any]:
        assert stored.scales is not None
        found = np.empty(stored.codes.shape, dtype)
        factors = totals(self.scaling.scale.decode(stored.scales), stored.coarse, dtype)

        def tile(at: Tile) -> None:
            numbers = self._steps.decode(at.of(stored.codes), dtype)
            if stored.zero_points is not None:
                numbers = numbers - part_of(stored.zero_points, at)
            found[at.rows, at.columns] = (numbers * part_of(factors, at)).reshape(numbers.shape[0], -1)

        over_tiles(tile, tiles(stored.codes.shape, self.block))
        return found

    @property
    def _steps(self) -> ElementFormat:
        """The element as codes count: unsigned around a zero point."""
        return Integer(self.bits, signed=False) if self.zero_point else self.element

    def _fit(self, rows: NDArray[Any]) -> tuple[Scales, NDArray[Any] | None]:
        """Scales of all blocks, and zero points where there are any."""
        if self._steps.largest <= 0:
            raise SpecError(f"{self.name} has no positive number to scale", hint="take 'binary'")
        if self.zero_point:
            low, high = extremes(rows, self.block)
            if self.scaling.per is Per.TENSOR:
                low, high = low.min(initial=0).reshape(1, 1), high.max(initial=0).reshape(1, 1)
            scales = self.scaling.fit(high - low, self._steps.largest)
            steps = totals(scales.numbers, scales.coarse, np.dtype(np.float64))
            return scales, np.clip(np.rint(-low / steps), 0, self._steps.largest)
        if self.element.lowest >= 0 and rows.size and rows.min() < 0:
            raise SpecError(
                f"{self.name} has no negative numbers, and {int((rows < 0).sum()):,} of {rows.size:,} values are",
                hint=f"take int{self.bits}, or int{self.bits}/asymmetric",
            )
        if self.element.scale_is_mean:
            extents = mean_magnitudes(rows, self.block, whole=self.scaling.per is Per.TENSOR)
        else:
            extents = largest_magnitudes(rows, self.block)
        return self.scaling.fit(extents, self.element.largest), None

    def _snap(
        self, quotients: NDArray[Any], zeros: NDArray[Any] | None, at: Tile, rng: np.random.Generator | None
    ) -> NDArray[Any]:
        """Nearest numbers of the element, those around a zero point without it."""
        if zeros is None:
            return self.element.snap(quotients, rng)
        zero = part_of(zeros, at).astype(quotients.dtype)
        steps = np.rint(quotients) if rng is None else stochastic(quotients, rng)
        return np.clip(steps, -zero, self._steps.largest - zero, out=steps)

    def _words(self) -> list[str]:
        """What the name says of scales beyond the element's usual ones."""
        s = self.scaling
        if s == Scaling(Per.CHANNEL) and (self.element.usually_scaled or self.zero_point):
            words = []
        else:
            words = [f"v{s.per}" if isinstance(s.per, int) else s.per.value]
            if s.scale != FP32:
                words.append(scale_symbol(s.scale))
            if isinstance(s.per, int) and s.coarse is not usual_coarse(s.scale):
                words.append(s.coarse.value if s.coarse else "single")
            if s.rounding is not usual_rule(s.scale):
                words.append(s.rounding.value)
        return [*words, "asymmetric"] if self.zero_point else words
