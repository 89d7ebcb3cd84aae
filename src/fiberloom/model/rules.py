"""Rule sets: the places where released builds of the reference tool disagree, and what fiberloom does by default.

`artifact`, `timeloop-3.0.3` and `timeloop-4` reproduce the builds behind published numbers (the differences D1–D4 that
docs/model.md lists). `fiberloom`, the default, is the set that stays closest to the oracle `simulate`:

* halos: what consecutive tiles of the *real* schedule share is not refetched, whichever loop turned;
* the first visit of an output element needs neither a read nor a fill;
* expectations are kept as real numbers: nothing is rounded between the steps;
* metadata of a tile is its expectation (linear in the probability that a coordinate is empty), without a ceiling per tile;
* vector accesses of compressed tiles always pay for partly filled blocks;
* energy names and leakage are those of the newest build.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from fiberloom.errors import SpecError, nearest


class DeltaRule(IntEnum):
    """What two consecutive tiles share (docs/model.md, *Tiles that move*)."""

    OLD = 0
    """Shared only while the same loop steps; a tile that stands still forgets the direction (builds up to 3.0.3)."""
    NEW = 1
    """As OLD, but a tile that stands still keeps the direction (build 4)."""
    EXACT = 2
    """Whatever two consecutive tiles of the schedule have in common."""


class EnergyNames(IntEnum):
    """Which action names of an energy table serve an action, in order."""

    OLD = 0
    NEW = 1


@dataclass(frozen=True)
class Rules:
    """One rule set.

    Attributes:
        delta: see `DeltaRule` (D2).
        first_visit_fills: True where the first visit of an output element is still filled (D1: the artifact's build).
        energy_names: see `EnergyNames` (D3).
        leakage: whether leakage is counted (D4).
        exact: True for real-valued expectations; False follows the reference tool's order of rounding, its conditional
            occupancies and its metadata per tile.
        whole_coordinates: whether rounded rules round the listed coordinates of a CP fibre up (the artifact's build does
            not: its Fig. 1 outputs hold the expected number).
    """

    name: str
    delta: DeltaRule
    first_visit_fills: bool
    energy_names: EnergyNames
    leakage: bool
    exact: bool
    whole_coordinates: bool = True


class RuleSet(StrEnum):
    """Names for ``--rules``."""

    FIBERLOOM = "fiberloom"
    ARTIFACT = "artifact"
    TIMELOOP_3_0_3 = "timeloop-3.0.3"
    TIMELOOP_4 = "timeloop-4"


_RULES: Final = {
    RuleSet.FIBERLOOM: Rules("fiberloom", DeltaRule.EXACT, False, EnergyNames.NEW, True, True),
    RuleSet.ARTIFACT: Rules("artifact", DeltaRule.OLD, True, EnergyNames.OLD, False, False, False),
    RuleSet.TIMELOOP_3_0_3: Rules("timeloop-3.0.3", DeltaRule.OLD, False, EnergyNames.OLD, False, False),
    RuleSet.TIMELOOP_4: Rules("timeloop-4", DeltaRule.OLD, False, EnergyNames.NEW, True, False),
}


def rules(name: str | Rules) -> Rules:
    """The rule set called `name`.

    Raises:
        SpecError: if there is none.
    """
    if isinstance(name, Rules):
        return name
    try:
        return _RULES[RuleSet(name)]
    except ValueError:
        raise SpecError(f"no rule set '{name}'", hint=nearest(name, list(RuleSet))) from None
