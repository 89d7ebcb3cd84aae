"""What the exact mapper answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fiberloom.mapper.certificate import Certificate
from fiberloom.mapping.nest import Mapping


@dataclass(frozen=True)
class Optimum:
    """What the exact mapper found.

    Attributes:
        mappings: the best mapping, or the Pareto front by rising cycles.
        energy_pj, cycles: of each.
        certificate: what is proved about it.
        seconds: of the whole search.
        statistics: labels kept, mappings evaluated, choices of keeps; `relaxed` where labels may cost less than mappings do.
    """

    mappings: tuple[Mapping, ...]
    energy_pj: tuple[float, ...]
    cycles: tuple[float, ...]
    certificate: Certificate
    seconds: float
    statistics: dict[str, Any] = field(default_factory=dict)
