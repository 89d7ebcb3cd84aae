"""The Pareto front of two quantities that should be small."""

from __future__ import annotations

import math
from collections.abc import Sequence


def dominators(costs: Sequence[float | None], losses: Sequence[float | None]) -> list[int | None]:
    """For every point, one that is no worse in both quantities and better in one; None for points on the front.

    Of several the one of least cost, so that it is on the front itself. Equal points don't dominate each other. Points without a
    finite number in both are on no front and dominate none: they get None as well.

    Args:
        costs, losses: per point, both to be minimised.
    """
    points = [
        (cost, loss, i)
        for i, (cost, loss) in enumerate(zip(costs, losses, strict=True))
        if cost is not None and loss is not None and math.isfinite(cost) and math.isfinite(loss)
    ]
    found: list[int | None] = [None] * len(costs)
    front: list[tuple[float, float, int]] = []
    for cost, loss, i in sorted(points):
        if not front or loss < front[-1][1]:
            front.append((cost, loss, i))
        elif (cost, loss) != front[-1][:2]:
            found[i] = next(other for _, least, other in front if least <= loss)
    return found
