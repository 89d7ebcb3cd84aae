"""What a search can prove about its answer."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Certificate:
    """How far an answer can be from the optimum of its map space.

    Attributes:
        status: ``optimal`` (proved), ``bound`` (stopped early: nothing in the space is below `lower_bound`), or ``none``
            (a search that proves nothing).
        lower_bound: of the objective, in its unit.
        gap: ``(found - lower_bound) / found``, from 0 (proved optimal) to 1 (nothing known).
        objective: name of the objective.
    """

    status: str
    lower_bound: float
    gap: float
    objective: str

    @staticmethod
    def of(found: float, lower_bound: float, objective: str) -> Certificate:
        """Of an answer with value `found` (infinite when there is none) where nothing can be below `lower_bound`."""
        bound = max(0.0, min(lower_bound, found))
        gap = 1.0 if found == math.inf else (found - bound) / found if found > 0 else 0.0
        status = "optimal" if bound == found < math.inf else "bound" if bound > 0 else "none"
        return Certificate(status, bound, gap, objective)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
