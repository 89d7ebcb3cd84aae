"""Numbers for actions, kinds and formats that the steps of the kernel share, and how a removed share is rounded."""

from __future__ import annotations

import numpy as np

from fiberloom.model.compiled import kernel

ACTUAL, GATED, SKIPPED = 0, 1, 2
READ, FILL, UPDATE = 0, 1, 2
NONE, GATING, SKIPPING, SPATIAL, POSITION = 0, 1, 2, 3, 4
FORMAT_U, FORMAT_UOP, FORMAT_CP, FORMAT_RLE, FORMAT_B, FORMAT_UB = 0, 1, 2, 3, 4, 5


@kernel
def removed(p, count, probability):
    """Part of `count` that goes: rounded down by the rules of the reference builds."""
    gone = count * probability
    return gone if p.exact else np.floor(gone)
