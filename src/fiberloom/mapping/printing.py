"""The loop nest as architects print it: levels from outside in, loops indented, spatial ones marked."""

from __future__ import annotations

from fiberloom.architecture.levels import Architecture
from fiberloom.mapping.nest import Mapping
from fiberloom.workload.einsum import Einsum


def loop_nest(workload: Einsum, architecture: Architecture, mapping: Mapping) -> str:
    """Text of a mapping's loop nest; loops of bound 1 are left out.

    A loop that iterates less often in the last of its enclosing tiles says so: ``for m in 0..4 (last 0..3)``.
    """
    lines: list[str] = []
    depth = 0
    names = [level.name for level in architecture.levels]
    last = {v: mapping.last_iterations(v, bound, names) for v, bound in workload.shape.items()}
    for level in architecture.levels:
        at = mapping.at(level.name)
        kept = at.keep if at.keep is not None else level.keep
        held = [t.name for t in workload.tensors if kept is None or t.name in kept]
        lines.append(f"{level.name} [{', '.join(held) or 'nothing'}]")
        variables = list(workload.shape)
        for factors, order, spatial in ((at.temporal, at.temporal_order, False), (at.spatial, at.spatial_order, True)):
            outer = [v for v in reversed(variables) if v not in order]
            for variable in (*outer, *order):
                bound = factors.get(variable, 1)
                if bound > 1:
                    axis = "" if not spatial else " X" if at.spatial_x is None or variable in at.spatial_x else " Y"
                    word = f"parallel-for{axis}" if spatial else "for"
                    left = last[variable][level.name, spatial]
                    cut = f" (last 0..{left})" if left != bound else ""
                    lines.append("  " * (depth + 1) + f"{word} {variable} in 0..{bound}{cut}")
                    depth += 1
    lines.append("  " * (depth + 1) + str(workload))
    return "\n".join(lines)
