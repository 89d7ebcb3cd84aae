r"""The hypergeometric distribution: `marked` of `population` elements are non-zero, a tile draws `drawn` of them.

    P(k) = C(marked, k) · C(population − marked, drawn − k) / C(population, drawn)

It is a sum of independent Bernoulli variables (its generating polynomial has real roots; Vatutin and Mikhailov, Theory
Probab. Appl. 27, 1982), so Bernstein's inequality bounds its tails and ``|φ(t)| ≤ exp(−σ²(1 − cos t))`` its
characteristic function. Those two facts say what may be left out below.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NEGLIGIBLE = 1e-18
"""Probabilities below this share of the largest are left out: they vanish in a sum of doubles (2^-53 = 1.1e-16)."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
_CHUNK = 1 << 17  # elements of a work array: a megabyte, so that it stays in cache


def variance(population: int, marked: int, drawn: Ints) -> Floats:
    """Variance of the number of non-zeros drawn; `drawn` of shape ``(n,)``."""
    if population == 1:
        return np.zeros(len(drawn))
    share = marked / population
    return np.asarray(drawn * (share * (1 - share)) * ((population - drawn) / (population - 1)), dtype=np.float64)


def reach(deviation: float) -> int:
    """Distance from the mode beyond which less than `NEGLIGIBLE` lies, by Bernstein's inequality.

    ``2·exp(−t²/2(σ²+t/3)) < 1e-18`` holds from t = 9.2σ + 28; mean and mode differ by less than 1.
    """
    return int(10 * deviation) + 64


def distribution(population: int, marked: int, drawn: int) -> tuple[Ints, Floats]:
    """Counts and probabilities, from ratios of neighbours outwards from the mode; relative error about 1e-15 a step."""
    least, most = max(0, drawn - (population - marked)), min(drawn, marked)
    mode = min(max((drawn + 1) * (marked + 1) // (population + 2), least), most)
    width = reach(math.sqrt(float(variance(population, marked, np.array([drawn]))[0])))
    up = np.arange(mode, min(most, mode + width), dtype=np.int64)
    down = np.arange(mode, max(least, mode - width), -1, dtype=np.int64)
    above = np.cumprod(_ratio_up(population, marked, drawn, up))
    below = np.cumprod(_ratio_down(population, marked, drawn, down))
    counts = np.concatenate((down[::-1] - 1, [mode], up + 1)).astype(np.int64)
    weights = np.concatenate((below[::-1], [1.0], above))
    kept = weights >= NEGLIGIBLE
    return counts[kept], weights[kept] / weights[kept].sum()


def _ratio_up(population: int, marked: int, drawn: Ints | int, k: Ints) -> Floats:
    """P(k+1)/P(k); 0 at the largest count."""
    return np.asarray(
        ((marked - k) / (k + 1)) * ((drawn - k) / (population - marked - drawn + k + 1)), dtype=np.float64
    )


def _ratio_down(population: int, marked: int, drawn: Ints | int, k: Ints) -> Floats:
    """P(k−1)/P(k); 0 at the smallest count."""
    return np.asarray((k / (marked - k + 1)) * ((population - marked - drawn + k) / (drawn - k + 1)), dtype=np.float64)


def probability_none(population: int, marked: int, drawn: Ints) -> Floats:
    """P(0) for every entry of `drawn`, shape ``(n,)``, relative error below 1e-12.

    With m the smaller and s the larger of `marked` and `drawn`, P(0) = Π_{i<m} (1 − s/(population − i)): multiplied
    out when m is small, else the exponential of the summed logarithms by Euler–Maclaurin's midpoint rule.
    """
    less, more = np.minimum(drawn, marked), np.maximum(drawn, marked)
    result = np.zeros(len(drawn))
    # Where even the largest factor to the m-th power underflows, 0 is the nearest double.
    possible = (less == 0) | (less + more <= population)
    logarithm = np.log1p(-np.where(possible & (less > 0), more / population, 0.0))
    possible &= less * logarithm > -746
    # The logarithm's singularity at `more` must be four half-widths away from the middle of the summed range.
    smooth = possible & (less > 64) & (population - more - less / 2 >= 2 * less)
    result[smooth] = np.exp(_log_product(population, less[smooth], more[smooth]))
    direct = np.flatnonzero(possible & ~smooth)
    result[direct] = _product(population, less[direct], more[direct])
    return result


def _product(population: int, factors: Ints, removed: Ints) -> Floats:
    """Π_{i<factors} (population − removed − i)/(population − i), by rows or by factors, whichever are fewer."""
    result = np.ones(len(factors))
    longest = int(factors.max(initial=0))
    if len(factors) < longest:
        index = np.arange(longest)
        bottom = population - index
        for row, (m, s) in enumerate(zip(factors.tolist(), removed.tolist(), strict=True)):
            result[row] = np.prod((bottom[:m] - s) / bottom[:m])
        return result
    order = np.argsort(-factors, kind="stable")
    ordered, left = -factors[order], population - removed[order]
    product = np.ones(len(factors))
    for i in range(longest):
        active = int(np.searchsorted(ordered, -i))  # rows with more than i factors
        product[:active] *= (left[:active] - i) / (population - i)
    result[order] = product
    return result


def _log_product(population: int, factors: Ints, removed: Ints) -> Floats:
    """Σ_{i<factors} log1p(−removed/(population − i)) as an integral with end corrections, shape ``(n,)``.

    Σ f(x) = ∫ f over half a step beyond both ends − f′/24 + 7f‴/5760 at the ends; the next term is below 1e-13 for more
    than 64 factors under the condition of `probability_none`.
    """
    top = population + 0.5
    bottom = top - factors
    middle, half = (top + bottom) / 2, factors / 2
    points = middle[:, None] + half[:, None] * _NODES
    integral = half * (np.log1p(-removed[:, None] / points) @ _WEIGHTS)

    ends = np.array([np.full(len(factors), top), bottom])
    first = 1 / (ends - removed) - 1 / ends
    third = 2 / (ends - removed) ** 3 - 2 / ends**3
    at_top, at_bottom = 7 * third / 5760 - first / 24
    return np.asarray(integral + at_top - at_bottom, dtype=np.float64)


def expected_blocks(population: int, marked: int, drawn: Ints, block: int, none: Floats) -> Floats:
    """E⌈k/block⌉ for every entry of `drawn`, shape ``(n,)``; `none` is P(0) of each.

    ⌈k/b⌉ = (k + (−k mod b))/b. When the distribution is wide, −k mod b is uniform and E = mean/b + (b−1)/2b; the error
    is a sum of values of the characteristic function at multiples of 2π/b, below exp(−σ²(1 − cos 2π/b)).
    """
    mean = drawn * (marked / population)
    most = np.minimum(drawn, marked)
    if block == 1:
        return np.asarray(mean, dtype=np.float64)
    spread = variance(population, marked, drawn)
    result = np.asarray(mean / block + (block - 1) / (2 * block), dtype=np.float64)
    single = most <= block
    result[single] = 1 - none[single]
    # exp(−42) = 6e-19
    narrow = np.flatnonzero(~single & (spread * (1 - math.cos(2 * math.pi / block)) < 42))
    narrow = narrow[np.argsort(spread[narrow], kind="stable")]
    start = 0
    while start < len(narrow):
        # Rows of like width together; the widest of a chunk sets its width.
        rows = max(1, _CHUNK // reach(math.sqrt(spread[narrow[start]])))
        chunk = narrow[start : start + rows]
        result[chunk] = _summed_blocks(population, marked, drawn[chunk], block, reach(math.sqrt(spread[chunk[-1]])))
        start += rows
    return result


def _summed_blocks(population: int, marked: int, drawn: Ints, block: int, width: int) -> Floats:
    """E⌈k/block⌉ by summing `width` counts on both sides of the mode, shape ``(n,)``."""
    width = min(width, int(np.minimum(drawn, marked).max()))
    column = drawn[:, None]
    # In float64: (drawn+1)(marked+1) may pass 2^63. One off the mode is as good a start.
    mode = ((drawn + 1.0) * ((marked + 1) / (population + 2))).astype(np.int64)
    mode = np.clip(mode, np.maximum(0, drawn - (population - marked)), np.minimum(drawn, marked))[:, None]
    steps = np.arange(width, dtype=np.int64)
    up, down = mode + steps, mode - steps
    above = np.cumprod(np.maximum(_ratio_up(population, marked, column, up), 0.0), axis=1)
    below = np.cumprod(np.maximum(_ratio_down(population, marked, column, down), 0.0), axis=1)
    total = 1 + above.sum(axis=1) + below.sum(axis=1)
    blocks = -(-mode[:, 0] // block) + (above * -(-(up + 1) // block)).sum(axis=1)
    blocks = blocks + (below * -(-(down - 1) // block)).sum(axis=1)
    return np.asarray(blocks / total, dtype=np.float64)
