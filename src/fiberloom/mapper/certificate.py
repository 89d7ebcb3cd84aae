"""What a search can prove about its answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Certificate:
    """How far an answer can be from the optimum of its map space.

    Attributes:
        status: ``optimal`` (nothing in the space is below the answer, however that is known; which of several answers with the
            least objective has the least of what breaks ties may be open), ``bound`` (nothing is below `lower_bound`), or
            ``none`` (a search that proves nothing).
        lower_bound: of the objective, in its unit.
        gap: ``(found - lower_bound) / found``, from 0 (proved optimal) to 1 (nothing known).
        objective: name of the objective.
    """

    status: str
    lower_bound: float
    gap: float
    objective: str

    @staticmethod
    def of(found: float, lower_bound: float, objective: str, *, searched: bool = True) -> Certificate:
        """Of an answer with value `found` (infinite when there is none) where nothing can be below `lower_bound`.

        Args:
            searched: whether the bound is a search's own; without, an answer that does not meet it is ``none``.
        """
        bound = max(0.0, min(lower_bound, found))
        gap = 1.0 if found == math.inf else (found - bound) / found if found > 0 else 0.0
        status = "optimal" if bound == found < math.inf else "bound" if searched and bound > 0 else "none"
        return Certificate(status, bound, gap, objective)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def exact_ending(certificate: Certificate, statistics: Mapping[str, Any]) -> str:
    """Why the exact mapper ended: ``proved``, ``seconds``, ``interrupted``, ``memory``, or ``bounded`` (by itself, where the features
    of the hardware allow a bound but no proof).

    Args:
        certificate, statistics: of its answer.
    """
    stopped = statistics.get("stopped")
    if stopped is not None:
        return "seconds" if stopped == "time" else str(stopped)
    if certificate.status == "optimal":
        return "proved"
    return "bounded" if statistics.get("relaxed") else "memory"
