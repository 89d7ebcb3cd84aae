"""What a search minimises: energy, latency, their product, or any monotone product of powers of them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fiberloom.errors import SpecError, nearest

Floats = NDArray[np.float64]

MOST_POWER: Final = 8.0
"""Powers beyond this overflow double precision for problems of ordinary size (1e20 pJ, 1e15 cycles)."""

NAMED: Final = {"energy": (1.0, 0.0), "latency": (0.0, 1.0), "edp": (1.0, 1.0)}
"""Objectives with a name of their own, as (power of energy, power of latency)."""

_FACTORS: Final = {
    "energy": (1.0, 0.0),
    "energy_pj": (1.0, 0.0),
    "latency": (0.0, 1.0),
    "cycles": (0.0, 1.0),
    "delay": (0.0, 1.0),
    "edp": (1.0, 1.0),
}
_FACTOR: Final = re.compile(r"(?P<name>[a-z_]+)(?:(?:\^|\*\*)(?P<power>.+))?")


@dataclass(frozen=True)
class Objective:
    """``energy_pj ** energy_power * cycles ** latency_power``: lower is better, and never worse when either falls.

    Equal values are compared by a second quantity: the energy where the objective does not see it (the least energy
    among the fastest), else the cycles.
    """

    energy_power: float = 1.0
    latency_power: float = 1.0

    def __post_init__(self) -> None:
        powers = (self.energy_power, self.latency_power)
        if not all(math.isfinite(p) and 0 <= p <= MOST_POWER for p in powers) or not any(powers):
            raise SpecError(
                f"an objective needs powers from 0 to {MOST_POWER:g}, one of them above 0; "
                f"found energy^{self.energy_power:g} * latency^{self.latency_power:g}",
                hint="for example: energy, latency, edp, energy*latency^2",
            )

    @property
    def name(self) -> str:
        """As `parse_objective` reads it."""
        for name, powers in NAMED.items():
            if powers == (self.energy_power, self.latency_power):
                return name
        parts = (("energy", self.energy_power), ("latency", self.latency_power))
        return "*".join(f"{n}^{p:g}" if p != 1 else n for n, p in parts if p)

    @property
    def unit(self) -> str:
        """Unit of `value`, for tables."""
        parts = (("pJ", self.energy_power), ("cycles", self.latency_power))
        return "·".join(f"{n}^{p:g}" if p != 1 else n for n, p in parts if p)

    def __str__(self) -> str:
        return self.name

    def value(self, energy_pj: ArrayLike, cycles: ArrayLike) -> Floats:
        """The objective, of the shape of its arguments; infinite where either is NaN (the mapping does not fit)."""
        energy, latency = np.asarray(energy_pj, np.float64), np.asarray(cycles, np.float64)
        missing = np.isnan(energy) | np.isnan(latency)
        return np.where(missing, np.inf, _power(energy, self.energy_power) * _power(latency, self.latency_power))

    def tie(self, energy_pj: ArrayLike, cycles: ArrayLike) -> Floats:
        """What decides between equal values, of the shape of its arguments; infinite where either is NaN."""
        energy, latency = np.asarray(energy_pj, np.float64), np.asarray(cycles, np.float64)
        missing = np.isnan(energy) | np.isnan(latency)
        return np.where(missing, np.inf, latency if self.energy_power else energy)

    def beats(self, energy_pj: ArrayLike, cycles: ArrayLike, other_pj: ArrayLike, other_cycles: ArrayLike) -> Any:
        """Where the first is strictly better than the other: less objective, or as much and less of what breaks ties.

        Shapes broadcast; a mapping that does not fit (NaN) beats nothing, and anything that fits beats it.
        """
        mine, theirs = self.value(energy_pj, cycles), self.value(other_pj, other_cycles)
        return (mine < theirs) | ((mine == theirs) & (self.tie(energy_pj, cycles) < self.tie(other_pj, other_cycles)))

    def best(self, energy_pj: ArrayLike, cycles: ArrayLike) -> int | None:
        """Index of the best of ``(n,)`` outcomes, the first of equals; None when none fits."""
        value = self.value(energy_pj, cycles)
        if not len(value) or not np.isfinite(value.min()):
            return None
        least = np.flatnonzero(value == value.min())
        ties = self.tie(np.asarray(energy_pj)[least], np.asarray(cycles)[least])
        return int(least[int(np.argmin(ties))])


def _power(x: Floats, power: float) -> Floats | float:
    """``x ** power``, where the powers 0 and 1 change no digit."""
    if power == 0:
        return 1.0
    return x if power == 1 else x**power


def parse_objective(text: str | Objective) -> Objective:
    """The objective that `text` names: a name of `NAMED`, or a product such as ``energy^2*latency`` with powers from 0 to 8.

    Factors are energy, latency (also cycles, delay) and edp; a factor that appears twice counts twice.

    Raises:
        SpecError: for anything else, with the nearest name.
    """
    if isinstance(text, Objective):
        return text
    energy = latency = 0.0
    # '**' is a power, so it must not part two factors.
    for part in str(text).lower().replace(" ", "").replace("**", "^").replace("·", "*").split("*"):
        match = _FACTOR.fullmatch(part)
        if match is None or match["name"] not in _FACTORS:
            name = match["name"] if match else part
            raise SpecError(f"'{text}' is not an objective: {_found(name)}", hint=_right(name))
        power = _number(match["power"], str(text))
        energy += power * _FACTORS[match["name"]][0]
        latency += power * _FACTORS[match["name"]][1]
    return Objective(energy, latency)


def _found(name: str) -> str:
    return f"'{name}' is not a quantity" if name else "a factor is empty"


def _right(name: str) -> str:
    return nearest(name, (*NAMED, "cycles", "delay", "energy_pj")) + "; a product of powers, such as energy*latency^2"


def _number(power: str | None, text: str) -> float:
    if power is None:
        return 1.0
    try:
        value = float(power)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MOST_POWER:
        raise SpecError(
            f"'{text}' is not an objective: the power '{power}' is not a number from 0 to {MOST_POWER:g}",
            hint="more energy or latency can't be better, so powers are not negative",
        )
    return value
