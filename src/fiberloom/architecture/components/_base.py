"""What all estimators share: the estimate they return, fitted curves, and reading of a component's attributes."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass

from fiberloom.architecture.levels import Component
from fiberloom.errors import Location, SpecError

ATTRIBUTES = (
    "number_format",
    "multiplier_format_a",
    "multiplier_format_b",
    "accumulator_bits",
    "dram",
    "banks",
    "ports",
    "latch",
)
"""Attributes of a component that the library reads; others are left alone."""

# source: Sparseloop, MICRO 2022, released artifact: a gated MAC costs 3 % of a working one at 45 nm (clock and idle).
# trust: one design's ratio; applied to storage too, where it is an assumption.
GATED_SHARE = 0.03
"""Cost of an action that is gated (unit idle for the cycle), as a share of the action."""

# source: order of 10 nW/um2 in general-purpose 40-45 nm standard cells (NanGate 45 cell library; the 40 nm functional
# units of Aladdin, ISCA 2014, lie at 8 to 12). trust: order of magnitude; threshold voltage and heat move it 10-fold.
LOGIC_LEAKAGE_NW_PER_UM2 = 10.0
# source: ITRS 2009, low-operating-power class, about 5 nA per um of gate width, 2 to 3 leaking devices of 0.1 um in a
# cell. trust: order of magnitude.
SRAM_LEAKAGE_NW_PER_BIT = 1.0


@dataclass(frozen=True)
class Estimate:
    """What one instance of a component costs.

    Attributes:
        energy_pj: pJ per action, by name; ``leak`` is pJ per cycle.
        area_um2: area of one instance.
        provenance: one line: source, anchors, scaling, what is extrapolated.
    """

    energy_pj: Mapping[str, float]
    area_um2: float
    provenance: str


@dataclass(frozen=True)
class PowerLaw:
    """``y = scale * x ** exponent``: positive, and rising with x when the exponent is."""

    scale: float
    exponent: float

    @classmethod
    def through(cls, first: tuple[float, float], second: tuple[float, float]) -> PowerLaw:
        """The law that meets two anchors ``(x, y)`` exactly."""
        (x1, y1), (x2, y2) = first, second
        exponent = math.log(y2 / y1) / math.log(x2 / x1)
        return cls(y1 / x1**exponent, exponent)

    def __call__(self, x: float) -> float:
        return float(self.scale * x**self.exponent) if x > 0 else 0.0


def leakage_pj_per_cycle(nanowatts: float, cycle_seconds: float) -> float:
    """Energy that leaks in one cycle."""
    return nanowatts * 1e-9 * cycle_seconds * 1e12


def attribute_location(component: Component, name: str) -> Location:
    """Where an attribute of a component stands."""
    return Location(field=f"{component.name}.attributes.{name}")


def count_attribute(component: Component, name: str, default: int = 1) -> int:
    """A whole number from 1 among the attributes.

    Raises:
        SpecError: for anything else.
    """
    value = component.attributes.get(name, default)
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or value < 1:
        raise SpecError(
            f"{name} is {value!r}", where=attribute_location(component, name), hint=f"{name} is a whole number from 1"
        )
    return int(value)


def flag_attribute(component: Component, name: str) -> bool:
    """A yes or no among the attributes; no when absent.

    Raises:
        SpecError: for anything else.
    """
    value = component.attributes.get(name, False)
    if not isinstance(value, bool):
        where = attribute_location(component, name)
        raise SpecError(f"{name} is {value!r}", where=where, hint=f"{name} is true or false")
    return value


def check_attributes(component: Component) -> None:
    """Refuse attributes that look like mistyped ones of `ATTRIBUTES`; any other name belongs to somebody else.

    Raises:
        SpecError: naming the attribute that was probably meant.
    """
    for name in component.attributes:
        if any(known in name for known in ATTRIBUTES):  # "nbanks" is another tool's name, not a slip
            continue
        close = difflib.get_close_matches(name, ATTRIBUTES, n=1, cutoff=0.85)
        if close:
            raise SpecError(
                f"unknown attribute '{name}'",
                where=attribute_location(component, name),
                hint=f"did you mean '{close[0]}'?",
            )
