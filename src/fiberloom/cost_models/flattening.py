"""A GEMM's mapping as a mapping of the contraction that it flattens, at the same cost.

A flattened index has the product of its parts' bounds, so the primes of its factors can be dealt to the parts, level by level;
loops of the parts then stand where the flattened loop stood. Tiles, reuse and lanes are the same, so cycles and energy are.
Hence, where any number of indices may share an axis, the best mapping of a contraction is at least as good as its GEMM's, and
TTGT can only lose by what its transposes cost.
"""

from __future__ import annotations

from collections.abc import Mapping as ByName
from collections.abc import Sequence

from fiberloom.mapping.nest import LevelMapping, Mapping


def unflattened(mapping: Mapping, groups: ByName[str, Sequence[str]], shape: ByName[str, int]) -> Mapping:
    """The contraction's mapping that does what `mapping` does with the GEMM.

    Args:
        groups: indices of the contraction by index of the GEMM.
        shape: bounds of the contraction's indices.
    """
    left = {v: bound for v, bound in shape.items()}

    def deal(factors: ByName[str, int]) -> dict[str, int]:
        dealt: dict[str, int] = {}
        for flat, factor in factors.items():
            for prime in _primes(factor):
                part = next(v for v in groups[flat] if left[v] % prime == 0)
                left[part] //= prime
                dealt[part] = dealt.get(part, 1) * prime
        return dealt

    def spelled(order: Sequence[str]) -> tuple[str, ...]:
        return tuple(v for flat in order for v in groups.get(flat, ()))

    levels = {}
    for name, here in mapping.levels.items():
        levels[name] = LevelMapping(
            temporal=deal(here.temporal),
            spatial=deal(here.spatial),
            temporal_order=spelled(here.temporal_order),
            spatial_order=spelled(here.spatial_order),
            spatial_x=None if here.spatial_x is None else spelled(here.spatial_x),
            keep=here.keep,
            multicast=here.multicast,
            peer_links=here.peer_links,
        )
    return Mapping(levels=levels)


def _primes(number: int) -> list[int]:
    primes, p = [], 2
    while number > 1:
        while number % p == 0:
            primes.append(p)
            number //= p
        p += 1
    return primes
