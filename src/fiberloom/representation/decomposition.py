"""Series of N:M terms (TASD, arXiv:2403.07953): when greedy is optimal, the optimum where it is not, what random zeros lose.

A set of places can be written as one part per term, with at most N in every M of that term's part, exactly if it is independent
in the union of the terms' partition matroids (Edmonds' matroid union theorem; Schrijver, *Combinatorial Optimization*, §42). So
the best set is found element by element from the largest, each joining if places can be re-assigned to make room for it.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.representation.array import as_rows, checked_values, from_rows
from fiberloom.representation.patterns import NOfM, Tail
from fiberloom.representation.patterns._base import whole_blocks
from fiberloom.representation.term import Representation
from fiberloom.representation.threads import in_slabs


def greedy_is_optimal(representation: Representation) -> bool:
    """Whether `Representation.decompose` is known to leave the least squared error that the terms' patterns allow.

    True for one term whose pattern's projection is optimal, and for N:M terms each of whose M divides the next one's: then a
    block's N largest can always be given to the first term. Number formats are left out of account: None of the terms may have
    one.
    """
    if representation.pruning is not None or any(term.format is not None for term in representation.terms):
        return False
    if len(representation.terms) == 1:
        return representation.terms[0].pattern.optimal
    patterns = [term.pattern for term in representation.terms]
    sizes = [pattern.m for pattern in patterns if isinstance(pattern, NOfM)]
    return len(sizes) == len(patterns) and _nested(sizes)


def _nested(sizes: list[int]) -> bool:
    return all(coarse % fine == 0 for fine, coarse in pairwise(sizes))


def decompose_optimally(
    array: NDArray[Any], representation: Representation, axis: int = -1
) -> tuple[NDArray[Any], ...]:
    """Terms of a series of N:M patterns whose sum is nearest to `array`, whatever the order of the terms.

    Time grows with the least common multiple of the Ms; 4096 × 4096 under two terms take seconds.

    Args:
        array: real numbers, never modified.
        representation: N:M terms without number formats.
        axis: along which blocks run.

    Returns:
        One array of the shape of `array` per term. No place is in two.

    Raises:
        UnsupportedError: for other terms.
        SpecError: as `Representation.decompose`.
    """
    patterns = _series(representation)
    values = checked_values(array)
    rows = as_rows(values, axis)
    for pattern in patterns:
        whole_blocks(rows.shape[1], pattern.m, pattern.tail)
    n, m = (np.array([getattr(p, name) for p in patterns], dtype=np.int64) for name in "nm")
    keeps_tail = np.array([p.tail is Tail.KEEP for p in patterns])
    block = math.lcm(*(p.m for p in patterns))
    term = np.empty(rows.shape, dtype=np.int8)
    in_slabs(lambda at: _assign(np.abs(rows[at]), n, m, keeps_tail, block, term[at]), rows)
    zero = values.dtype.type(0)
    return tuple(from_rows(np.where(term == t, rows, zero), values.shape, axis) for t in range(len(patterns)))


def expected_dropped_nonzeros(representation: Representation, density: float) -> float:
    """Share of the non-zeros that a series of N:M terms loses when they are anywhere, each place by chance.

    One term: ``E[max(K − n, 0)] / (m·d)`` with K binomial. Of several, a block of the next term holds what its blocks of the
    one before left over, so each M has to be a multiple of the one before.

    Args:
        density: probability of a non-zero, above 0 and up to 1.

    Raises:
        UnsupportedError: for terms that are not N:M, or whose blocks are not nested.
        SpecError: for a density outside 0..1.
    """
    patterns = _series(representation)
    if not _nested([p.m for p in patterns]):
        raise UnsupportedError(
            f"what '{representation}' drops of random non-zeros has no closed form",
            hint="order the terms by M, each dividing the next",
        )
    if not 0 < density <= 1:
        raise SpecError(f"density {density} is not above 0 and up to 1")
    left, size = np.array([1 - density, density]), 1
    for pattern in patterns:
        one = left
        for _ in range(pattern.m // size - 1):
            left = np.convolve(left, one)
        size = pattern.m
        # At most n of a block are taken: k left over become max(k − n, 0).
        left = np.concatenate(([left[: pattern.n + 1].sum()], left[pattern.n + 1 :]))
    return float(np.arange(len(left)) @ left / (size * density))


def _series(representation: Representation) -> list[NOfM]:
    patterns = [term.pattern for term in representation.terms if isinstance(term.pattern, NOfM) and term.format is None]
    if len(patterns) < len(representation.terms) or representation.pruning is not None:
        raise UnsupportedError(
            f"'{representation}' is no series of N:M terms", hint="write N:M terms only, such as 2:4+2:8"
        )
    return patterns


@njit(nogil=True, cache=True)
def _assign(rows: Any, n: Any, m: Any, keeps_tail: Any, block: int, term: Any) -> None:  # pragma: no cover - compiled
    """The term that holds each element, -1 for none, such that the sum of held magnitudes is largest.

    A slot is a block of one term; it has room for n elements. A breadth-first search over slots looks for one with room that
    can be reached by moving elements from slot to slot (an augmenting path).
    """
    terms, length = len(n), rows.shape[1]
    first_slot = np.zeros(terms + 1, dtype=np.int64)
    for t in range(terms):
        first_slot[t + 1] = first_slot[t] + block // m[t]
    slots = first_slot[terms]
    room = np.empty(slots, dtype=np.int64)
    reached_from = np.empty(slots, dtype=np.int64)
    queue = np.empty(slots, dtype=np.int64)
    for r in range(rows.shape[0]):
        term[r, :] = -1
        for start in range(0, length, block):
            end = min(start + block, length)
            for t in range(terms):
                for b in range(block // m[t]):
                    cut = start + (b + 1) * m[t] > end
                    room[first_slot[t] + b] = m[t] if cut and keeps_tail[t] else n[t]
            for element in np.argsort(-rows[r, start:end], kind="mergesort"):
                if rows[r, start + element] == 0:
                    break
                reached_from[:] = -2
                head = tail = 0
                for t in range(terms):
                    slot = first_slot[t] + element // m[t]
                    reached_from[slot] = -1
                    queue[tail] = slot
                    tail += 1
                found = -1
                while head < tail and found < 0:
                    slot = queue[head]
                    head += 1
                    if room[slot] > 0:
                        found = slot
                        break
                    holder = np.searchsorted(first_slot, slot, side="right") - 1
                    begin = (slot - first_slot[holder]) * m[holder]
                    for other in range(begin, min(begin + m[holder], end - start)):
                        if term[r, start + other] != holder:
                            continue
                        for u in range(terms):
                            next_slot = first_slot[u] + other // m[u]
                            if reached_from[next_slot] == -2:
                                reached_from[next_slot] = other
                                queue[tail] = next_slot
                                tail += 1
                if found < 0:
                    continue
                room[found] -= 1
                slot = found
                while True:
                    holder = np.searchsorted(first_slot, slot, side="right") - 1
                    moved = reached_from[slot]
                    if moved < 0:
                        term[r, start + element] = holder
                        break
                    before = term[r, start + moved]
                    term[r, start + moved] = holder
                    slot = first_slot[before] + moved // m[before]
