"""One layer's mapping as choices: a loop for every prime factor of its bounds, and the order of every level's loops.

Prime factors as in GAMMA for Timeloop (Kao et al., IISWC'22); orders are those that the model can tell apart
(`fiberloom.mapping.orders`). Any choice is a mapping of any array: `lay_out` hands factors that exceed a fan-out to the
temporal loop of the level above it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.architecture.levels import Architecture
from fiberloom.errors import UnsupportedError
from fiberloom.explore.space import Parameter
from fiberloom.mapping.constraints import Constraints
from fiberloom.mapping.space import MapSpace
from fiberloom.workload.einsum import Einsum

Array = NDArray[Any]


@dataclass(frozen=True)
class Slot:
    """Where a prime factor may go.

    Attributes:
        level: storage level, 0 the innermost.
        axis: 0 and 1: spatial, along X or Y of the fan-out below the level; −1: the level's temporal loop.
    """

    name: str
    level: int
    axis: int


def slots_of(names: Sequence[str], fans: Array) -> tuple[Slot, ...]:
    """Temporal loops of all levels, the outermost first (choice 0 leaves everything there), then spatial loops.

    Args:
        names: of levels, innermost first.
        fans: ``(L, 2)`` most children along X and Y below each level.
    """
    temporal = [Slot(name, level, -1) for level, name in enumerate(names)]
    spatial = [
        Slot(f"{name} {'xy'[axis]}", level, axis)
        for level, name in enumerate(names)
        for axis in (0, 1)
        if fans[level, axis] > 1
    ]
    return (*reversed(temporal), *spatial)


@dataclass(frozen=True)
class LayerGenes:
    """The choices of one layer.

    Attributes:
        primes, variables: per prime factor, its value and the variable whose bound it divides.
        orders: per level, the loop orders there are, ``(k, D)``, innermost first.
        parameters: the choices: a slot per prime factor, then an order per level that has several.
        ordered_levels: those levels.
        keep, multicast, peer_links: ``(L, T)``, the same for all mappings.
    """

    primes: Array
    variables: Array
    orders: tuple[Array, ...]
    parameters: tuple[Parameter, ...]
    ordered_levels: tuple[int, ...]
    keep: Array
    multicast: Array
    peer_links: Array

    @classmethod
    def of(cls, name: str, einsum: Einsum, architecture: Architecture, slots: Sequence[Slot]) -> LayerGenes:
        """The choices of `einsum`; parameters are called ``name.…``.

        Raises:
            UnsupportedError: for more than eight loops.
        """
        space = MapSpace(einsum, architecture, Constraints())
        primes = [(p, d) for d, bound in enumerate(space.bounds) for p in prime_factors(int(bound))]
        places = tuple(slot.name for slot in slots)
        parameters = [Parameter(f"{name}.{space.variables[d]}.{k}", places) for k, (_, d) in enumerate(primes)]
        orders = []
        for classed in space.orders:
            if classed is None:
                raise UnsupportedError(
                    f"{len(space.variables)} loops are more than a joint search takes", hint="at most 8"
                )
            orders.append(np.ascontiguousarray(classed))
        several = tuple(level for level, found in enumerate(orders) if len(found) > 1)
        for level in several:
            spelled = tuple(" ".join(space.variables[d] for d in reversed(order)) for order in orders[level])
            parameters.append(Parameter(f"{name}.order.{space.level_names[level]}", spelled))
        return cls(
            np.array([p for p, _ in primes], np.int64),
            np.array([d for _, d in primes], np.int64),
            tuple(orders),
            tuple(parameters),
            several,
            space.fixed_keep | space.free_keep,
            space.multicast,
            space.peer_links,
        )


def prime_factors(number: int) -> list[int]:
    """Prime factors with their multiplicity, the largest first."""
    found = []
    divisor = 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 1
    if number > 1:
        found.append(number)
    return found[::-1]
