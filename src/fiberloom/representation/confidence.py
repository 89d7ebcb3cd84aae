"""How sure a comparison of two models on the same examples is: bounds on the change of quality.

A search that picks what looks best on few examples picks luck as well; stopping at the lower bound guards against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError

RESAMPLES: Final = 2000
"""Of a bootstrap; its error on a 5 % quantile is then about half a percentage point of confidence (Efron & Tibshirani,
*An Introduction to the Bootstrap*, §13.4 advise 1000 and more)."""
_CHUNK: Final = 1 << 22
"""Numbers of a bootstrap held at once."""

Quality = Callable[[NDArray[Any]], NDArray[Any]]
"""From the mean scores of examples, an array of any shape, to quality figures; higher is better."""


def wilson(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """One-sided lower and upper bounds on a share, each holding with `confidence` (Wilson, 1927).

    Raises:
        SpecError: without trials, or for a confidence outside 0.5 … 1.
    """
    if trials < 1:
        raise SpecError("no examples were judged")
    z = NormalDist().inv_cdf(checked_confidence(confidence))
    share = successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, middle - half), min(1.0, middle + half)


def paired_share_change(before: NDArray[Any], after: NDArray[Any], confidence: float) -> float:
    """Lower bound on the change of a share of successes, judged on the same examples (Newcombe, Stat. Med. 17, 1998, method 10).

    Args:
        before: 0 or 1 of every example.
        after: the same for the other model.
    """
    n = before.size
    both = int(np.count_nonzero((before == 1) & (after == 1)))
    lost = int(np.count_nonzero((before == 1) & (after == 0)))
    won = int(np.count_nonzero((before == 0) & (after == 1)))
    neither = n - both - lost - won
    p_after, p_before = (both + won) / n, (both + lost) / n
    low, _ = wilson(both + won, n, confidence)
    _, high = wilson(both + lost, n, confidence)
    spread = math.sqrt((both + won) * (lost + neither) * (both + lost) * (won + neither))
    product = both * neither - won * lost
    correlation = (max(product - n / 2, 0) if product > 0 else product) / spread if spread else 0.0
    down, up = p_after - low, high - p_before
    return p_after - p_before - math.sqrt(max(0.0, down * down - 2 * correlation * down * up + up * up))


def ratio_bound(
    before: NDArray[Any],
    after: NDArray[Any],
    confidence: float,
    quality: Quality,
    seed: int = 0,
) -> float:
    """Lower bound, holding with `confidence`, on the quality after a change as a share of the quality before.

    Shares of successes (scores 0 or 1 whose mean is the quality) by `paired_share_change`, other scores by a paired
    percentile bootstrap over examples.

    Args:
        before: score of every example under the original model.
        after: the same under the changed model.
        quality: from mean score to quality.
        seed: of the bootstrap.

    Raises:
        SpecError: for scores of other examples, fewer than two, or a confidence outside 0.5 … 1.
    """
    checked_confidence(confidence)
    if before.shape != after.shape or before.ndim != 1:
        raise SpecError(f"scores of {before.shape} and {after.shape} examples can't be paired")
    if before.size < 2:
        raise SpecError("a bound needs the scores of several examples", hint="return one score for each example")
    base = float(quality(np.asarray(before.mean())))
    if _binary(before) and _binary(after) and float(quality(np.asarray(0.5))) == 0.5:
        return (base + paired_share_change(before, after, confidence)) / base if base > 0 else 0.0
    generator = np.random.default_rng(seed)
    ratios: list[NDArray[Any]] = []
    step = max(1, _CHUNK // before.size)
    for start in range(0, RESAMPLES, step):
        drawn = generator.integers(before.size, size=(min(step, RESAMPLES - start), before.size))
        ratios.append(quality(after[drawn].mean(axis=1)) / quality(before[drawn].mean(axis=1)))
    return float(np.quantile(np.concatenate(ratios), 1 - confidence))


def checked_confidence(confidence: float) -> float:
    """`confidence`, if it is one.

    Raises:
        SpecError: outside 0.5 … 1.
    """
    if not 0.5 <= confidence < 1:
        raise SpecError(f"a confidence of {confidence:g}", hint="between 0.5 and 1, such as 0.95")
    return confidence


def _binary(scores: NDArray[Any]) -> bool:
    return bool(np.isin(scores, (0, 1)).all())
