"""Bounds rounded up to what an array can hold whole: mappings factor bounds, hardware leaves lanes idle instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fiberloom.architecture.library.design import DesignInfo
from fiberloom.workload.einsum import Einsum

_SMOOTH: Final = (2, 3, 5, 7)
_STEP: Final = 8


def lanes_by_role(info: DesignInfo) -> dict[str, int]:
    """Lanes along which each role is spread first by the design's dataflow: up to its limit, or all that are left of the axis."""
    lanes: dict[str, int] = {}
    for entry in info.dataflow:
        for growths, fan in zip((entry.x, entry.y), info.architecture.fanout(entry.level), strict=True):
            left = fan
            for growth in growths:
                taken = min(growth.at_most or left, left)
                lanes[growth.role] = lanes.get(growth.role, 1) * taken
                left //= taken
    return lanes


def padded(product: Einsum, lanes: Mapping[str, int]) -> Einsum:
    """A matrix product with bounds rounded up.

    A bound that is spread over `lanes` becomes a multiple of them, or of the largest power of two below that it reaches; one
    that is not spread becomes a multiple of 8 where its factors are large (197 tokens become 200). What is padded counts as work.

    Args:
        lanes: by variable (m, n, k).
    """
    shape = {v: _rounded(bound, lanes.get(v, 1)) for v, bound in product.shape.items()}
    return product.model_copy(update={"shape": shape})


def _rounded(bound: int, lanes: int) -> int:
    if lanes > 1:
        step = lanes
        while step > bound and step % 2 == 0:
            step //= 2
        return -(-bound // step) * step
    rest = bound
    for factor in _SMOOTH:
        while rest % factor == 0:
            rest //= factor
    return bound if rest == 1 or bound <= _STEP else -(-bound // _STEP) * _STEP
