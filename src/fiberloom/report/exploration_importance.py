"""How much each parameter matters: the share of an objective's variance that it explains by itself.

**The method.** Designs are grouped by the parameter's value, and the variance of the logarithm of the objective between the groups is
divided by the whole variance, less what groups of that size explain by chance: Kelley's ε² (*An unbiased correlation ratio measure*,
PNAS 1935), a one-way analysis of variance. It needs no fitted model, and so has nothing that few designs could overfit. Beside
it stands what the same share reaches when the objective's values are dealt to the designs at random (95 % of 200 dealings stay below);
a parameter under that line can't be told from one without any effect.

**What it does not see.** Effects of a parameter that show only together with another one count for neither, so shares need not sum
to one. Agents try some regions more than others: there the share of a parameter includes that of what was chosen along with it. Only
a random run's shares are those of the space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fiberloom.explore.space import DesignSpace, Parameter, Point
from fiberloom.report.exploration_account import value_text

Floats = NDArray[np.float64]

FEWEST: Final = 8
"""Designs below which nothing is said."""
MOST: Final = 4000
"""Designs that are looked at, evenly chosen; more don't change shares by what could be read off a bar."""
GROUPS: Final = 8
"""Groups of neighbouring values that a parameter with more, ordered ones is cut into."""
DEALINGS: Final = 200


@dataclass(frozen=True)
class ValueEffect:
    """Designs with one value (or some neighbouring ones) of a parameter.

    Attributes:
        ratio: geometric mean of the objective over that of all designs that have the parameter (where the objective is not
            positive throughout: the difference of the means).
    """

    label: str
    designs: int
    ratio: float


@dataclass(frozen=True)
class Importance:
    """One parameter.

    Attributes:
        share: of the variance, 0..1.
        chance: what a parameter without effect stays below in 95 % of cases.
        designs: that have the parameter.
    """

    parameter: str
    share: float
    chance: float
    designs: int
    values: tuple[ValueEffect, ...]

    @property
    def shows(self) -> bool:
        """Whether it can be told from chance."""
        return self.share > self.chance


def importance(space: DesignSpace, points: Sequence[Point], objective: ArrayLike) -> list[Importance]:
    """Parameters that have at least two values among the designs, the most important first; nothing for too few designs.

    Args:
        points: n designs, each once.
        objective: ``(n,)``, finite; its logarithm is taken where all of it is positive.
    """
    y: Floats = np.asarray(objective, np.float64)
    if len(y) < FEWEST:
        return []
    if len(y) > MOST:
        chosen = np.linspace(0, len(y) - 1, MOST).astype(int)
        points, y = [points[i] for i in chosen], y[chosen]
    logarithmic = bool((y > 0).all())
    y = np.log(y) if logarithmic else y
    active = np.array([space.active(point) for point in points]).reshape(len(points), len(space.parameters))
    indices = np.array(points).reshape(active.shape)
    found = []
    for i, parameter in enumerate(space.parameters[: len(space.names)]):
        here = active[:, i]
        made = _of(parameter, indices[here, i], y[here], logarithmic)
        if made is not None:
            found.append(made)
    return sorted(found, key=lambda entry: -entry.share)


def _of(parameter: Parameter, chosen: NDArray[np.int64], y: Floats, logarithmic: bool) -> Importance | None:
    group = _groups(parameter, chosen)
    present, inside = np.unique(group, return_inverse=True)
    if len(y) < FEWEST or len(present) < 2 or len(present) >= len(y) or np.ptp(y) == 0:
        return None
    member = np.zeros((len(y), len(present)))
    member[np.arange(len(y)), inside] = 1.0
    rng = np.random.default_rng(0)
    dealt = np.array([rng.permutation(y) for _ in range(DEALINGS)])
    shares = _shares(np.vstack([y, dealt]), member)
    means = (y @ member) / member.sum(0) - y.mean()
    values = [
        ValueEffect(_label(parameter, chosen[inside == k]), int(n), float(np.exp(mean) if logarithmic else mean))
        for k, (n, mean) in enumerate(zip(member.sum(0), means, strict=True))
    ]
    chance = float(np.quantile(shares[1:], 0.95))
    return Importance(parameter.name, float(shares[0]), chance, len(y), tuple(values))


def _shares(y: Floats, member: Floats) -> Floats:
    """ε² of each row of `y` ``(rows, designs)`` for groups ``(designs, groups)``, 0 where chance explains as much."""
    n, k = member.shape
    sizes = member.sum(0)
    centred = y - y.mean(1, keepdims=True)
    whole = (centred**2).sum(1)
    between = ((centred @ member) ** 2 / sizes).sum(1)
    within = np.maximum(whole - between, 0.0)
    found: Floats = np.clip((between - (k - 1) * within / (n - k)) / whole, 0.0, 1.0)
    return found


def _groups(parameter: Parameter, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """The values themselves, or groups of neighbours with about as many values each."""
    if not parameter.ordered or len(parameter.values) <= GROUPS:
        return chosen
    return chosen * GROUPS // len(parameter.values)


def _label(parameter: Parameter, chosen: NDArray[np.int64]) -> str:
    low, high = parameter.values[int(chosen.min())], parameter.values[int(chosen.max())]
    return value_text(low) if low == high else f"{value_text(low)} … {value_text(high)}"
