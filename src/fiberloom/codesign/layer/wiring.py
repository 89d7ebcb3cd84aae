"""Which ranks a design's fan-outs spread: its wiring, which mappings don't choose."""

from __future__ import annotations

from collections.abc import Mapping

from fiberloom.architecture.levels import Architecture
from fiberloom.architecture.library.design import DesignInfo
from fiberloom.architecture.library.roles import Binding
from fiberloom.codesign.layer.array import reduction_lanes
from fiberloom.mapping.constraints import Constraints, LevelConstraints, LoopConstraints


def wiring(info: DesignInfo, binding: Binding, architecture: Architecture, shape: Mapping[str, int]) -> Constraints:
    """Spatial loops as the design's dataflow has them; temporal loops, tiles and orders stay free.

    Levels whose dataflow has no tile stand for units that hold one step's operands, and have no loops. A fan-out that spreads
    one rank along an axis takes the largest factor of its bound that fits, innermost fan-out first; where the dataflow names
    several, the mapping chooses among them.

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
        for growths, variables, fan in zip((entry.x, entry.y), along, fans, strict=True):
            if len(variables) == 1 or all(growth.at_most for growth in growths):
                for growth in growths:
                    for variable in binding.of_role(growth.role):
                        most = min(growth.at_most or fan, fan)
                        factors[variable] = max(d for d in range(1, most + 1) if left[variable] % d == 0)
                        left[variable] //= factors[variable]
        idle = [v for v in shape if v not in (*along[0], *along[1])]
        factors |= dict.fromkeys(idle, 1)
        levels[entry.level] = LevelConstraints(spatial=LoopConstraints(factors=factors, x=along[0], y=along[1]))
    for entry in info.dataflow[1:]:
        level = architecture.level(entry.level)
        still = () if entry.tile else tuple(shape)
        if not still and reduction_lanes(info) is not None and level.capacity_words == 1:
            still = (
                *binding.of_role("M"),
                *binding.of_role("K"),
            )  # a multiplier holds a value, not one for every place
        if still:
            at = levels.get(level.name, LevelConstraints())
            once = LoopConstraints(factors=dict.fromkeys(still, 1))
            levels[level.name] = at.model_copy(update={"temporal": once})
    if "t" in shape:  # terms stream just outside the innermost level: sums and the other operand stay
        for level in (*architecture.levels[:-2], architecture.levels[-1]):
            at = levels.get(level.name, LevelConstraints())
            temporal = at.temporal.model_copy(update={"factors": {**at.temporal.factors, "t": 1}})
            levels[level.name] = at.model_copy(update={"temporal": temporal})
    return Constraints(levels=levels)
