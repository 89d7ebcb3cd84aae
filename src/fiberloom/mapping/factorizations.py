"""Ordered factorisations of a bound over slots, each slot with its own allowed factors: counted, numbered and drawn.

A slot is a place where a variable may have a loop: the temporal loop of a storage level or the spatial loop of a fan-out. A
factorisation gives each slot an allowed factor; the product is the bound. With ``N_s[r]`` the number of ways to fill slots
s, s+1, … with product r, the recurrence ``N_s[r] = Σ_f N_{s+1}[r/f]`` counts them exactly, and walking down its partial sums
turns a number into a factorisation and back. Numbers are 64-bit where every partial sum fits, else Python's integers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

TABLE_ROWS = 1 << 17
"""Largest number of factorisations that are kept as a table (a few MB) instead of being walked to one by one."""
BREACH = 1e6
"""Cost of a limit broken in a projection: far beyond any distance, so that limits come first."""
_CHUNK = 1 << 22
"""Elements of the largest temporary array of a projection (32 MB)."""


def divisors(n: int) -> Array:
    """Divisors of `n` ≥ 1, ascending, int64."""
    found = [1]
    for prime, power in prime_powers(n):
        found = [d * prime**k for d in found for k in range(power + 1)]
    return np.array(sorted(found), np.int64)


@lru_cache(maxsize=4096)
def prime_powers(n: int) -> tuple[tuple[int, int], ...]:
    """``(prime, power)`` pairs of `n` ≥ 1, ascending."""
    pairs, prime = [], 2
    while prime * prime <= n:
        power = 0
        while n % prime == 0:
            n //= prime
            power += 1
        if power:
            pairs.append((prime, power))
        prime += 1 if prime == 2 else 2
    return (*pairs, *(((n, 1),) if n > 1 else ()))


def uniform_below(rng: np.random.Generator, count: int, n: int) -> Array:
    """`n` uniform integers from 0 to ``count − 1``: int64, or objects (Python integers) where `count` is beyond that."""
    if count <= 2**63:
        return rng.integers(0, count, n, dtype=np.int64)
    words = -(-count.bit_length() // 32)
    drawn = np.empty(n, object)
    for i in range(n):
        while True:
            number = 0
            for word in rng.integers(0, 2**32, words, dtype=np.int64):
                number = number << 32 | int(word)
            number >>= 32 * words - count.bit_length()
            if number < count:
                break
        drawn[i] = number
    return drawn


class Factorizations:
    """All ordered factorisations of one bound.

    Attributes:
        bound: what the factors multiply to.
        count: exact number of factorisations; 0 when none is legal.
        choices: per slot, the factors that occur in at least one factorisation, ascending.
        partial: whether factors may multiply to more than the bound (`fiberloom.mapping.coverings`).
    """

    partial = False

    def __init__(self, bound: int, allowed: Sequence[Sequence[int]]) -> None:
        """`allowed`: per slot, its factors; those that do not divide the bound are ignored."""
        self.bound = bound
        self.divisors = divisors(bound)
        states, slots = len(self.divisors), len(allowed)
        whole = states - 1
        # Options of slot s: rows (state, factor, next state), by state and then by factor; `_sums` are the partial sums.
        self._start: list[Array] = [np.zeros(0)] * slots
        self._factor: list[Array] = [np.zeros(0)] * slots
        self._next: list[Array] = [np.zeros(0)] * slots
        self._sums: list[Array] = [np.zeros(0)] * slots
        ways: Array = np.zeros(states, np.int64)
        ways[0] = 1
        by_set: dict[tuple[int, ...], tuple[Array, Array, Array]] = {}
        for s in reversed(range(slots)):
            key = tuple(allowed[s])
            if key not in by_set:
                by_set[key] = self._options(np.array(sorted({f for f in key if bound % f == 0}), np.int64))
            state, factor, following = by_set[key]
            open_ = np.asarray(ways[following] != 0, bool)
            state, factor, following = state[open_], factor[open_], following[open_]
            terms = ways[following]
            if terms.dtype != object and float(terms.sum(dtype=np.float64)) > 2.0**62:
                terms = terms.astype(object)
            sums = np.concatenate([np.zeros(1, terms.dtype), np.cumsum(terms)])
            start = np.searchsorted(state, np.arange(states + 1))
            ways = sums[start[1:]] - sums[start[:-1]]
            self._start[s], self._factor[s], self._next[s], self._sums[s] = start, factor, following, sums
        self.count = int(ways[whole])
        self.choices = self._reachable(whole)

    def _options(self, factors: Array) -> tuple[Array, Array, Array]:
        state, column = np.nonzero(self.divisors[:, None] % factors[None, :] == 0)
        factor = factors[column]
        return state, factor, np.searchsorted(self.divisors, self.divisors[state] // factor)

    def _reachable(self, whole: int) -> tuple[Array, ...]:
        if not self.count:
            return tuple(np.zeros(0, np.int64) for _ in self._factor)
        here = np.zeros(len(self.divisors), bool)
        here[whole] = True
        choices = []
        for start, factor, following in zip(self._start, self._factor, self._next, strict=True):
            used = np.repeat(here, np.diff(start))
            choices.append(np.unique(factor[used]))
            here = np.zeros_like(here)
            here[following[used]] = True
        return tuple(choices)

    @cached_property
    def _table(self) -> Array:
        return self._walk(np.arange(self.count))

    @cached_property
    def allowed(self) -> Array:
        """``(slots, divisors)`` bool: which divisors are choices of which slot."""
        member = np.zeros((len(self.choices), len(self.divisors)), bool)
        for s, factors in enumerate(self.choices):
            member[s, np.searchsorted(self.divisors, factors)] = True
        return member

    @cached_property
    def primes(self) -> Array:
        """Prime factors of the bound with their multiplicity, ascending."""
        return np.array([p for p, power in prime_powers(self.bound) for _ in range(power)], np.int64)

    def is_choice(self, slots: int | Array, factors: Array) -> Array:
        """Whether each factor (any integers from 1; shape broadcast with `slots`) is a choice of its slot."""
        at = np.minimum(np.searchsorted(self.divisors, factors), len(self.divisors) - 1)
        return np.asarray((self.divisors[at] == factors) & self.allowed[slots, at])

    def legal(self, factors: Array) -> Array:
        """Which rows of ``(n, slots)`` factors are factorisations of the bound with allowed factors."""
        allowed = np.ones(len(factors), bool)
        left = np.full(len(factors), self.bound, np.int64)
        for s in range(factors.shape[1]):
            allowed &= self.is_choice(s, factors[:, s])
            divisor = np.where(allowed, factors[:, s], 1)
            allowed &= left % divisor == 0
            left = left // divisor
        return np.asarray(allowed & (left == 1))

    def restricted(self, fixed: Sequence[int | None]) -> Factorizations:
        """Those with given factors in some slots."""
        return Factorizations(
            self.bound,
            [tuple(map(int, c)) if f is None else (f,) for c, f in zip(self.choices, fixed, strict=True)],
        )

    def covers(self, factors: Array) -> Array:
        """Which rows of ``(n, slots)`` factors multiply to the bound."""
        return np.asarray(factors.prod(axis=1) == self.bound)

    def unrank(self, ranks: Array) -> Array:
        """Factorisations ``(n, slots)`` of numbers from 0 to ``count − 1``."""
        if self.count <= TABLE_ROWS:
            return np.asarray(self._table[np.asarray(ranks, np.int64)])
        return self._walk(np.asarray(ranks))

    def _walk(self, ranks: Array) -> Array:
        out = np.empty((len(ranks), len(self._factor)), np.int64)
        state = np.full(len(ranks), len(self.divisors) - 1)
        for s, (start, factor, following, sums) in enumerate(
            zip(self._start, self._factor, self._next, self._sums, strict=True)
        ):
            key = sums[start[state]] + ranks
            option = np.searchsorted(sums, key, side="right") - 1
            ranks = key - sums[option]
            out[:, s] = factor[option]
            state = following[option]
        return out

    def rank(self, factors: Array) -> Array:
        """Numbers of legal factorisations ``(n, slots)``; the inverse of `unrank`."""
        total: Array = np.zeros(len(factors), np.int64)
        state = np.full(len(factors), len(self.divisors) - 1)
        for s, (start, factor, following, sums) in enumerate(
            zip(self._start, self._factor, self._next, self._sums, strict=True)
        ):
            rows = np.repeat(np.arange(len(start) - 1), np.diff(start))
            keys = rows * len(self.divisors) + np.searchsorted(self.divisors, factor)
            wanted = state * len(self.divisors) + np.searchsorted(self.divisors, factors[:, s])
            option = np.searchsorted(keys, wanted)
            total = total + (sums[option] - sums[start[state]])
            state = following[option]
        return total

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """`n` uniform factorisations, ``(n, slots)``."""
        return self.unrank(uniform_below(rng, self.count, n))

    def nearest(
        self, targets: Array, at_most: Array | None = None, at_least: Array | None = None
    ) -> tuple[Array, Array]:
        """The legal factorisation of least total distance ``Σ|log2 f − target|`` to each row of targets.

        Args:
            targets: ``(n, slots)`` wanted base-2 logarithms, any real numbers.
            at_most, at_least: ``(n, slots)`` limits of the factors; a row that can't obey them breaks them as little as it can.

        Returns:
            ``(n, slots)`` factors and ``(n,)`` whether the limits are obeyed.
        """
        most = np.full(targets.shape, self.bound) if at_most is None else at_most
        least = np.ones(targets.shape, np.int64) if at_least is None else at_least
        step = max(1, _CHUNK // max([1, *(len(f) for f in self._factor)]))
        limited = at_most is not None or at_least is not None
        parts = [
            self._nearest(targets[i : i + step], most[i : i + step], least[i : i + step], limited)
            for i in range(0, max(1, len(targets)), step)
        ]
        out = np.concatenate(parts)
        return out, np.asarray(((out <= most) & (out >= least)).all(axis=1))

    def _nearest(self, targets: Array, most: Array, least: Array, limited: bool) -> Array:
        n, slots = targets.shape
        states = len(self.divisors)
        to_go = np.full((n, states), np.inf)
        to_go[:, 0] = 0.0
        values: list[Array] = []
        for s in reversed(range(slots)):
            start, factor, following = self._start[s], self._factor[s], self._next[s]
            logs = np.log2(factor)
            cost = np.abs(logs[None, :] - targets[:, s, None])
            if limited:
                over = np.maximum(logs - np.log2(most[:, s, None]), 0) + np.maximum(
                    np.log2(least[:, s, None]) - logs, 0
                )
                cost += BREACH * ((over > 0) + over)
            cost += to_go[:, following]
            values.append(cost)
            to_go = np.full((n, states), np.inf)
            filled = np.flatnonzero(np.diff(start))
            if len(filled):
                to_go[:, filled] = np.minimum.reduceat(cost, start[filled], axis=1)
        values.reverse()
        out = np.ones((n, slots), np.int64)
        state = np.full(n, states - 1)
        for s in range(slots):
            start, factor, following = self._start[s], self._factor[s], self._next[s]
            for r in np.unique(state):
                rows = np.flatnonzero(state == r)
                option = start[r] + values[s][rows, start[r] : start[r + 1]].argmin(axis=1)
                out[rows, s] = factor[option]
                state[rows] = following[option] + states  # marked as done for this slot
            state -= states
        return out

    # Changing factors

    def moved(self, rng: np.random.Generator, factors: Array, sources: Array, targets: Array) -> tuple[Array, Array]:
        """Move a random prime of each row from one of the slots `sources` to one of `targets`.

        Returns:
            ``(n, slots)`` factors and ``(n,)`` whether they changed.
        """
        out = factors.copy()
        n, S = out.shape
        prime = self.primes[rng.integers(0, len(self.primes), n)][:, None]
        slots = np.arange(S)
        may_give = (out % prime == 0) & np.isin(slots, sources)
        may_give &= self.is_choice(slots, np.where(may_give, out // prime, 1))
        may_take = self.is_choice(slots, out * prime) & np.isin(slots, targets)
        pair = may_give[:, :, None] & may_take[:, None, :] & ~np.eye(S, dtype=bool)
        weight = np.where(pair, rng.random(pair.shape), 0.0).reshape(n, S * S)
        best = weight.argmax(axis=1)
        moved = weight[np.arange(n), best] > 0
        some = np.flatnonzero(moved)
        out[some, best[some] // S] //= prime[some, 0]
        out[some, best[some] % S] *= prime[some, 0]
        return out, moved

    def capped(self, factors: Array, own: int, to: int, most: Array) -> tuple[Array, Array]:
        """Lower slot `own` to the largest choice up to `most` per row whose rest slot `to` may take.

        Returns:
            ``(n, slots)`` factors and ``(n,)`` whether there is such a choice; the other rows stay as they are.
        """
        out, options = factors.copy(), self.choices[own][::-1]
        rest, remainder = np.divmod(out[:, own, None], options)
        fits = (remainder == 0) & (options <= most[:, None])
        fits &= self.is_choice(to, out[:, to, None] * np.where(remainder == 0, rest, 1))
        best = fits.argmax(axis=1)
        done = fits[np.arange(len(out)), best]
        out[done, to] *= rest[done, best[done]]
        out[done, own] = options[best[done]]
        return out, done

    def grown(self, factors: Array, own: int, source: int, step: int) -> tuple[Array, Array]:
        """Move the factor `step` from slot `source` to slot `own`. Returns rows, and which of them are legal."""
        out = factors.copy()
        fits = (out[:, source] % step == 0) & self.is_choice(own, out[:, own] * step)
        fits &= self.is_choice(source, np.where(fits, out[:, source] // step, 1))
        out[fits, source] //= step
        out[fits, own] *= step
        return out, fits


def permutation_rank(permutations: Array) -> Array:
    """Number of each permutation ``(n, k)`` of 0 … k−1 in lexicographic order, int64 (k ≤ 20)."""
    n, k = permutations.shape
    total = np.zeros(n, np.int64)
    for i, j in itertools.product(range(k), range(k)):
        if j > i:
            total += (permutations[:, j] < permutations[:, i]) * math.factorial(k - 1 - i)
    return total


def permutation_unrank(ranks: Array, k: int) -> Array:
    """Permutations ``(n, k)`` of 0 … k−1 by their number in lexicographic order."""
    left = np.asarray(ranks, np.int64).copy()
    digits = np.empty((len(left), k), np.int64)
    for i in range(k):
        digits[:, i], left = np.divmod(left, math.factorial(k - 1 - i))
    for i in reversed(range(k)):
        digits[:, i + 1 :] += digits[:, i + 1 :] >= digits[:, i, None]
    return digits
