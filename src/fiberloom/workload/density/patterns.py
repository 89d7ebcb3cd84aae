"""Finding N:M structure in where a tensor is non-zero."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

GROUPS: Final = (4, 8, 16, 2)
"""Elements of a group that are tried, most usual first: 2:4 (Mishra et al., arXiv:2104.08378), 1:8 to 4:8 and N:16 (Zhou et al.,
ICLR'21, arXiv:2102.04010)."""

_FEWEST_GROUPS: Final = 64
"""Below this a pattern may hold by chance: at density 1/2 every second group of two keeps exactly one."""

_SLACK: Final = 0.01
"""Share of the N places of a group that may be zero besides, as trained values sometimes are."""


class Pattern(NamedTuple):
    """At most `kept` of every `group` neighbours along an axis are non-zero, and hardly ever fewer."""

    kept: int
    group: int
    axis: int

    def __str__(self) -> str:
        return f"{self.kept}:{self.group}"


def find_pattern(nonzero: NDArray[np.bool_]) -> Pattern | None:
    """The N:M pattern that holds along some axis for every group, if there is one.

    Axis 1 (what a filter or a row of weights is multiplied with) is tried first.

    Args:
        nonzero: of any number of ranks.
    """
    held = int(np.count_nonzero(nonzero))
    if held in (0, nonzero.size):
        return None
    axes = sorted(range(nonzero.ndim), key=lambda axis: (axis != 1, axis))
    for axis in axes:
        along = np.moveaxis(nonzero, axis, -1)
        for group in GROUPS:
            if along.shape[-1] % group or nonzero.size // group < _FEWEST_GROUPS:
                continue
            # A block of groups refuses most tensors without a look at the rest.
            first = along.reshape(-1, along.shape[-1])[:64].reshape(-1, group).sum(axis=1)
            if first.max() == group:
                continue
            kept = int(along.reshape(-1, group).sum(axis=1).max())
            places = nonzero.size // group * kept
            if 0 < kept < group and held >= places * (1 - _SLACK):
                return Pattern(kept, group, axis)
    return None
