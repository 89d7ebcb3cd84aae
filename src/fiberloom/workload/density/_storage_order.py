"""Whether two shapes hold the same elements in the same order."""

from __future__ import annotations

import math
from collections.abc import Sequence


def same_order(stored: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether an array of shape `stored` has the elements of a tensor of `shape` in order: axes only split, merged, or of one.

    A grouped convolution's (g·m, c, r, s) is its tensor's (g, m, c, r, s), a depth-wise (c, 1, r, s) is (c, r, s), but (c, m) is
    not (m, c).
    """
    if math.prod(stored) != math.prod(shape):
        return False
    a, b = [s for s in stored if s > 1], [s for s in shape if s > 1]
    while a and b:
        left, right = a.pop(0), b.pop(0)
        parts = [1, 1]
        while left != right:
            if left < right and a:
                left, parts[0] = left * a.pop(0), parts[0] + 1
            elif right < left and b:
                right, parts[1] = right * b.pop(0), parts[1] + 1
            else:
                return False
        if min(parts) > 1:
            return False
    return not a and not b
