"""Which ranks a design's fan-outs spread: its wiring, which mappings don't choose."""

from __future__ import annotations

from collections.abc import Mapping

from fiberloom.architecture.levels import Architecture
from fiberloom.architecture.library.design import DesignInfo
from fiberloom.architecture.library.roles import Binding
from fiberloom.codesign.array import reduction_lanes
from fiberloom.mapping.constraints import Constraints, LevelConstraints, LoopConstraints


def wiring(info: DesignInfo, binding: Binding, architecture: Architecture, shape: Mapping[str, int]) -> Constraints:
    """Spatial loops as the design's dataflow has them; temporal loops, tiles and orders stay free.

    Levels whose dataflow has no tile stand for units that hold one step's operands, and have no loops. A fan-out that spreads one rank along an axis takes the largest factor of its bound that fits, innermost fan-out first;
    where the dataflow names several, the mapping chooses among them.

    Args:
        binding: the layer's variables by role.
        architecture: with the lanes that there are.
        shape: bounds of the layer's variables.
    """
    left = dict(shape)
    levels = {}
    for entry in reversed(info.dataflow):
        fans = architecture.fanout(entry.level)
        if fans == (1, 1):
            continue
        along = [tuple(v for growth in growths for v in binding.of_role(growth.role)) for growths in (entry.x, entry.y)]
        factors = {}
        for variables, fan in zip(along, fans, strict=True):
            if len(variables) == 1:
                (variable,) = variables
                factors[variable] = max(d for d in range(1, fan + 1) if left[variable] % d == 0)
                left[variable] //= factors[variable]
        idle = [v for v in shape if v not in (*along[0], *along[1])]
        factors |= dict.fromkeys(idle, 1)
        levels[entry.level] = LevelConstraints(spatial=LoopConstraints(factors=factors, x=along[0], y=along[1]))
    for entry in info.dataflow[1:]:
        still = () if entry.tile else tuple(shape)
        level = architecture.level(entry.level)
        if not still and reduction_lanes(info) is not None and level.capacity_words == 1:
            still = (
                *binding.of_role("M"),
                *binding.of_role("K"),
            )  # a multiplier holds a value, not one for every place
        if still:
            at = levels.get(level.name, LevelConstraints())
            once = LoopConstraints(factors=dict.fromkeys(still, 1))
            levels[level.name] = at.model_copy(update={"temporal": once})
    return Constraints(levels=levels)
