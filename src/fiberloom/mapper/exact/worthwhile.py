"""Lanes and speeds below which nothing can be better than what was found already."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.mapper.exact.ground import Ground
from fiberloom.mapper.exact.template import Template

Array = NDArray[Any]
Beats = Callable[[float, float], bool]

_TRIED: Final = 400
"""Speeds tried."""


def wanted(base: Ground, energy: float, busy: float, beats: Beats) -> tuple[float, list[Array]]:
    """Fewest lanes that can be better than the incumbent, when nothing takes less than `energy`; by level, the spreads that may be
    part of as many.

    Args:
        busy: least computations that take a cycle.
        beats: whether an energy and cycles are better than the incumbent.
    """
    every = base.reach[-1]
    enough = every[np.array([beats(energy, float(np.ceil(busy / lanes - 1e-9))) for lanes in every], bool)]
    least = float(enough[0]) if len(enough) else 1.0
    most = [int(ways.lanes.max(initial=1)) for ways in base.spreads]
    all_ = math.prod(most)
    return least, [ways.lanes * (all_ // one) >= least for ways, one in zip(base.spreads, most, strict=True)]


def slowest(template: Template, energy: float, beats: Beats) -> float:
    """Least product of lanes over the share of computations left that can be better than the incumbent; arguments as `wanted`."""
    found = 1.0
    for speed in np.geomspace(1.0, template.base.reach[-1][-1] * template.land.boost[-1], _TRIED):
        if beats(energy, float(math.ceil(template.start / speed - 1e-9))):
            break
        found = float(speed)
    return found
