"""Rigid arrays: each axis of a fan-out runs over one index only, whichever serves best.

A flexible network spreads several indices over one axis (``a`` by 4 and ``b`` by 4 over 16 columns); a rigid one has one loop
per axis. There, an index shorter than the axis leaves lanes idle, and flattening indices first (TTGT, im2col) pays. This is
the setting in which Union (PACT'21, §V) finds contractions better off as GEMMs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from fiberloom.architecture.levels import Architecture
from fiberloom.mapping.constraints import Constraints, LevelConstraints, LoopConstraints
from fiberloom.workload.einsum import Einsum


def one_index_per_axis(workload: Einsum, architecture: Architecture) -> Iterator[Constraints]:
    """Constraints for every choice of one index per axis of every fan-out; the union of their map spaces is the rigid array's.

    There are ``D^A`` of them for `D` indices longer than 1 and `A` axes with more than one child.
    """
    axes = [
        (level.name, axis)
        for level in architecture.levels
        for axis, children in zip("xy", architecture.fanout(level.name), strict=True)
        if children > 1
    ]
    indices = [v for v, bound in workload.shape.items() if bound > 1] or list(workload.shape)[:1]
    for choice in itertools.product(indices, repeat=len(axes)):
        chosen: dict[str, dict[str, tuple[str, ...]]] = {}
        for (name, axis), index in zip(axes, choice, strict=True):
            chosen.setdefault(name, {"x": (), "y": ()})[axis] = (index,)
        yield Constraints(
            levels={
                name: LevelConstraints(spatial=LoopConstraints(x=along["x"], y=along["y"]))
                for name, along in chosen.items()
            }
        )
