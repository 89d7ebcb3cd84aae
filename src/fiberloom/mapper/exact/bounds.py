"""The bounds of all levels of a choice of keeps, kept for others that share them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.mapper.exact import sweep
from fiberloom.mapper.exact.template import Sweep, Template
from fiberloom.model.lower import Problem

Array = NDArray[Any]


_NUMBERS: Final = 32_768
"""Numbers of a table that are worked on together, so that they stay in a processor's second cache."""
_STEP: Final = 1_000_000
"""Most crossings bounded between two looks at the clock."""


class Stop(Exception):
    """Time is up."""


class Bounds:
    """Sweeps by what decides on them, in about half of `memory` bytes; `late` says whether time is up."""

    def __init__(self, problem: Problem, memory: float, late: Callable[[], bool]) -> None:
        self.problem, self.memory, self.late = problem, memory, late
        self.sweeps: dict[bytes, Sweep] = {}
        self.scratch = np.empty(0)

    def of(self, template: Template) -> list[Sweep]:
        """The bounds of all levels, the innermost first; choices of keeps share those of levels inside which they do not differ."""
        p, land, base = self.problem.arrays[0], template.land, template.base
        L, T = land.parent.shape[0] - 1, land.parent.shape[1]
        K, V, W, Q = len(base.status), base.sweeps.shape[1], int(base.first[-1]), len(land.asks)
        found: list[Sweep] = []
        inner = np.zeros((1, 1, 1, 1 + Q))
        here = template.contexts
        ways = max(len(s.factors) for s in base.spreads)
        spare = sweep.Spare(
            parts=np.zeros((T * (3 + K + V), 1 + Q)), base=np.zeros(1 + Q), left=np.ones(T * V),
            closed=np.ones(T), rows=np.zeros((ways, land.threshold.shape[1]), np.int64), plain=np.zeros(ways, np.bool_),
            way=np.zeros((ways, 0, 3), np.int64), ways=np.zeros(ways, np.int64),
        )  # fmt: skip
        for level in range(L):
            inside = template.keep if land.sparse else template.keep[:level]
            told = (
                inside, land.boost[: level + 1], land.parent[: level + 1], land.sends[: level + 1], land.copies[: level + 1],
                land.threshold[: level + 1],
                base.sweeps,
                *here.upper[: level + 1], *here.turn[: level + 1],
            )  # fmt: skip
            key = b"".join(a.tobytes() for a in told)
            if key not in self.sweeps:
                while len(self.sweeps) > level and sum(s.nbytes for s in self.sweeps.values()) > self.memory * 0.5:
                    del self.sweeps[next(iter(self.sweeps))]  # the oldest
                n, A, B = (
                    _columns(template, level),
                    int(land.spatial_count[level]),
                    int(land.temporal_count[level]),
                )
                C = len(here.upper[level])
                before, outer = np.empty((C, A, W, n)), np.empty((C, B, W, n))
                turned = np.empty((C, len(base.trails), A, n))
                none, some = self._room(2, A, V * n)
                least, loose, fresh = np.empty((3, A, n))
                step = max(1, min(A, _NUMBERS // (W * n), _STEP // (C * len(base.spreads[level].factors))))
                spare = spare._replace(way=np.zeros((ways, step, 3), np.int64))
                for first in range(0, A, step):
                    sweep.sweep_spatial(
                        p, land, level, inner, before, first, min(A, first + step), base.shares[level], here.upper[level],
                        here.turn[level], spare,
                    )  # fmt: skip
                    if self.late():
                        raise Stop
                for c in range(C):
                    sweep.sweep_temporal(
                        p, land, level, before[c], outer[c], turned[c], none, some, least, loose, fresh
                    )
                    if self.late():
                        raise Stop
                self.sweeps[key] = Sweep(before, outer, turned)
            found.append(self.sweeps[key])
            inner = found[-1].temporal
        template.root = found[-1].temporal[0, -1, 0].copy()
        return found

    def _room(self, *shape: int) -> Array:
        """Memory for what is not needed for long."""
        numbers = math.prod(shape)
        if len(self.scratch) < numbers:
            self.scratch = np.empty(numbers)
        return self.scratch[:numbers].reshape(shape)


def _columns(template: Template, level: int) -> int:
    """Numbers told apart in a state of the level's bounds: lanes still to be filled, and limited bandwidths."""
    return int(np.isfinite(template.land.threshold[level]).sum()) + len(template.land.asks)
