"""Ordered factors that cover a bound without dividing it, each slot with its own limits: counted, numbered and drawn.

Walk from the innermost loop outwards and keep what is left to cover, in units of the tile so far: ``r = ⌈bound / product⌉``.
A factor ``f`` leaves ``⌈r / f⌉``, as nested ceilings are those of the product. Factors cover the bound without an empty
iteration of the outermost loop exactly when no factor exceeds what is left and nothing but 1 is left at the end; so one
walk decides legality, and the same recurrence as in `fiberloom.mapping.factorizations` counts, over states that are the
distinct ``⌈bound / p⌉``, at most 2·√bound. Factors with the same successor are a range and are treated as one option, so
nothing of the size of the bound is stored but one row of choices per slot. (Such factors are the imperfect ones of Ruby,
ISPASS'22, there with a remainder per loop.)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from fiberloom.mapping.factorizations import BREACH, Array, Factorizations, prime_powers

LARGEST = 1 << 17
"""Largest bound whose factors are searched (the rows of choices of a map space stay below some 10 MB). Own choice."""
_STEPS = np.array([2, 3, 5, 7, 11, 13], np.int64)
"""Multiples by which factors grow and shrink where a perfect factorisation uses its primes. Own choice."""
_TRIES = 4
"""How often a move is drawn before it counts as impossible. Own choice."""


class Coverings(Factorizations):
    """All legal factors of one bound whose last tiles may be partial; the interface of `Factorizations`.

    A factorisation here is a row of factors of which each is at most ``⌈bound / product of those inside it⌉`` and which
    together leave 1. Factors that multiply to the bound are among them.
    """

    partial = True

    def __init__(self, bound: int, allowed: Sequence[range], nest: Sequence[int]) -> None:
        """
        Args:
            bound: at most `LARGEST`.
            allowed: per slot, its factors as a range with step 1.
            nest: slots from inside out.
        """
        self.bound = bound
        self.divisors = np.unique(-(-bound // np.arange(1, bound + 1)))  # the states
        self._limits = tuple(allowed)
        self._nest = tuple(nest)
        states, slots = len(self.divisors), len(allowed)
        all_states, all_first, all_last, all_next = _transitions(bound)
        self._start: list[Array] = [np.zeros(0)] * slots
        self._factor: list[Array] = [np.zeros(0)] * slots  # least factor of each option
        self._last: list[Array] = [np.zeros(0)] * slots
        self._next: list[Array] = [np.zeros(0)] * slots
        self._ways: list[Array] = [np.zeros(0)] * slots  # completions of one factor of each option
        self._sums: list[Array] = [np.zeros(0)] * slots
        ways: Array = np.zeros(states, np.int64)
        ways[0] = 1
        for s in reversed(self._nest):
            first = np.maximum(all_first, allowed[s].start)
            last = np.minimum(all_last, allowed[s].stop - 1)
            open_ = (first <= last) & np.asarray(ways[all_next] != 0, bool)
            state, first, last, following = all_states[open_], first[open_], last[open_], all_next[open_]
            each, size = ways[following], last - first + 1
            if each.dtype != object and float((each * size.astype(np.float64)).sum()) > 2.0**62:
                each = each.astype(object)
            terms = each * size
            sums = np.concatenate([np.zeros(1, terms.dtype), np.cumsum(terms)])
            start = np.searchsorted(state, np.arange(states + 1))
            ways = sums[start[1:]] - sums[start[:-1]]
            self._start[s], self._factor[s], self._last[s], self._next[s] = start, first, last, following
            self._ways[s], self._sums[s] = each, sums
        self.count = int(ways[-1])
        self.choices = self._reached()
        self.allowed = np.zeros((slots, bound + 1), bool)
        for s, factors in enumerate(self.choices):
            self.allowed[s, factors] = True

    def _reached(self) -> tuple[Array, ...]:
        choices: list[Array] = [np.zeros(0, np.int64)] * len(self._factor)
        here = np.zeros(len(self.divisors), bool)
        here[-1] = self.count > 0
        for s in self._nest:
            used = np.repeat(here, np.diff(self._start[s]))
            marks = np.zeros(self.bound + 2, np.int64)
            np.add.at(marks, self._factor[s][used], 1)
            np.add.at(marks, self._last[s][used] + 1, -1)
            choices[s] = np.flatnonzero(np.cumsum(marks) > 0)
            here = np.zeros_like(here)
            here[self._next[s][used]] = True
        return tuple(choices)

    @property
    def primes(self) -> Array:
        """Small steps, and the primes of the bound with their multiplicity: what factors are moved by."""
        own = [p for p, power in prime_powers(self.bound) for _ in range(power)]
        return np.sort(np.concatenate([np.setdiff1d(_STEPS, own), np.array(own, np.int64)]))

    def restricted(self, fixed: Sequence[int | None]) -> Coverings:
        """Those with given factors in some slots."""
        limits = [r if f is None else range(f, f + 1) for r, f in zip(self._limits, fixed, strict=True)]
        return Coverings(self.bound, limits, self._nest)

    def is_choice(self, slots: int | Array, factors: Array) -> Array:
        """Whether each factor (any integers; shape broadcast with `slots`) is a choice of its slot."""
        inside = (factors >= 1) & (factors <= self.bound)
        return np.asarray(inside & self.allowed[slots, np.where(inside, factors, 0)])

    def covers(self, factors: Array) -> Array:
        """Which rows of ``(n, slots)`` factors cover the bound without an empty iteration."""
        left = np.full(len(factors), self.bound, np.int64)
        fits = np.ones(len(factors), bool)
        for s in self._nest:
            fits &= factors[:, s] <= left
            left = -(-left // np.maximum(factors[:, s], 1))
        return np.asarray(fits & (left == 1))

    def legal(self, factors: Array) -> Array:
        """Which rows of ``(n, slots)`` factors are legal."""
        return self.is_choice(np.arange(factors.shape[1]), factors).all(axis=1) & self.covers(factors)

    def trimmed(self, factors: Array) -> Array:
        """Rows of factors, each lowered to what the factors inside it leave: no iteration without work."""
        out = factors.copy()
        left = np.full(len(factors), self.bound, np.int64)
        for s in self._nest:
            out[:, s] = np.minimum(out[:, s], left)
            left = -(-left // out[:, s])
        return out

    def _walk(self, ranks: Array) -> Array:
        out = np.empty((len(ranks), len(self._factor)), np.int64)
        state = np.full(len(ranks), len(self.divisors) - 1)
        for s in self._nest:
            sums = self._sums[s]
            key = sums[self._start[s][state]] + ranks
            option = np.searchsorted(sums, key, side="right") - 1
            left, ways = key - sums[option], self._ways[s][option]
            out[:, s] = self._factor[s][option] + left // ways
            ranks = left % ways
            state = self._next[s][option]
        return out

    def rank(self, factors: Array) -> Array:
        """Numbers of legal rows ``(n, slots)``; the inverse of `unrank`."""
        total: Array = np.zeros(len(factors), np.int64)
        state = np.full(len(factors), len(self.divisors) - 1)
        for s in self._nest:
            start, sums = self._start[s], self._sums[s]
            rows = np.repeat(np.arange(len(start) - 1), np.diff(start))
            keys = rows * (self.bound + 1) + self._factor[s]
            option = np.searchsorted(keys, state * (self.bound + 1) + factors[:, s], side="right") - 1
            within = (factors[:, s] - self._factor[s][option]) * self._ways[s][option]
            total = total + (sums[option] - sums[start[state]]) + within
            state = self._next[s][option]
        return total

    def _nearest(self, targets: Array, most: Array, least: Array, limited: bool) -> Array:
        n, slots = targets.shape
        to_go = np.full((n, len(self.divisors)), np.inf)
        to_go[:, 0] = 0.0
        values: list[Array] = [np.zeros(0)] * slots
        for s in reversed(self._nest):
            # the logarithm of `_nearest_in` of every option: cutting off commutes with it
            first, last = np.log2(self._factor[s]), np.log2(self._last[s])
            logs = np.log2(_rounded(targets[:, s, None]))
            if not limited:
                cost = np.abs(np.minimum(np.maximum(logs, first), last) - targets[:, s, None])
            else:
                log_most, log_least = np.log2(most[:, s, None]), np.log2(least[:, s, None])
                low = np.clip(log_least, first, last)
                logs = np.minimum(np.maximum(logs, low), np.maximum(np.clip(log_most, first, last), low))
                over = np.maximum(logs - log_most, 0) + np.maximum(log_least - logs, 0)
                cost = np.abs(logs - targets[:, s, None]) + BREACH * ((over > 0) + over)
            cost += to_go[:, self._next[s]]
            values[s] = cost
            to_go = np.full((n, len(self.divisors)), np.inf)
            filled = np.flatnonzero(np.diff(self._start[s]))
            if len(filled):
                to_go[:, filled] = np.minimum.reduceat(cost, self._start[s][filled], axis=1)
        out = np.ones((n, slots), np.int64)
        state = np.full(n, len(self.divisors) - 1)
        for s in self._nest:
            option = np.empty(n, np.int64)
            for r in np.unique(state):
                rows = np.flatnonzero(state == r)
                here = slice(self._start[s][r], self._start[s][r + 1])
                option[rows] = here.start + values[s][rows, here].argmin(axis=1)
            out[:, s] = self._nearest_in(s, option, targets[:, s], most[:, s], least[:, s])
            state = self._next[s][option]
        return out

    def _nearest_in(self, s: int, option: Array, target: Array, most: Array, least: Array) -> Array:
        """Of each option's range, the factor nearest to 2^target within limits, else that which breaks them least."""
        first, last = self._factor[s][option], self._last[s][option]
        low = np.clip(least, first, last)
        return np.asarray(np.clip(_rounded(target), low, np.maximum(np.clip(most, first, last), low)))

    # Changing factors

    def _refilled(self, factors: Array, slot: Array) -> Array:
        """Rows with the factor of one slot each replaced by what the other factors leave to cover, then `trimmed`."""
        out, rows = factors.copy(), np.arange(len(factors))
        out[rows, slot] = 1
        left = np.full(len(out), self.bound, np.int64)
        for s in self._nest:
            left = -(-left // out[:, s])
        out[rows, slot] = left
        return self.trimmed(out)

    def moved(self, rng: np.random.Generator, factors: Array, sources: Array, targets: Array) -> tuple[Array, Array]:
        """Lower a random factor in `sources` and let a random slot of `targets` take over what is missing.

        It becomes one less, a half, a third, or anything below.

        Returns:
            ``(n, slots)`` factors and ``(n,)`` whether they changed.
        """
        out, done = factors.copy(), np.zeros(len(factors), bool)
        S = factors.shape[1]
        lowest = np.array([int(c[0]) for c in self.choices])
        gives = np.isin(np.arange(S), sources) & (factors > lowest)
        takes = np.isin(np.arange(S), targets) & np.array([len(c) > 1 for c in self.choices])
        pair = gives[:, :, None] & takes[None, None, :] & ~np.eye(S, dtype=bool)
        for _ in range(_TRIES):
            rows = np.flatnonzero(~done & pair.any(axis=(1, 2)))
            if not len(rows):
                break
            best = (pair[rows] * rng.random((len(rows), S, S))).reshape(len(rows), S * S).argmax(axis=1)
            source, target = best // S, best % S
            now = factors[rows, source]
            lower = np.stack([now - 1, -(-now // 2), -(-now // 3), 1 + (rng.random(len(rows)) * (now - 1)).astype(int)])
            new = factors[rows].copy()
            new[np.arange(len(rows)), source] = lower[rng.integers(0, 4, len(rows)), np.arange(len(rows))]
            new = self._refilled(new, target)
            fits = self.legal(new) & (new != factors[rows]).any(axis=1)
            out[rows[fits]], done[rows[fits]] = new[fits], True
        return out, done

    def capped(self, factors: Array, own: int, to: int, most: Array) -> tuple[Array, Array]:
        """Lower slot `own` to its largest choice up to `most` per row; slot `to` takes over. Returns rows, and which are legal."""
        new = factors.copy()
        at = np.searchsorted(self.choices[own], most, side="right") - 1
        new[:, own] = np.minimum(new[:, own], self.choices[own][np.maximum(at, 0)])
        new = self._refilled(new, np.full(len(new), to))
        return new, (at >= 0) & (new[:, own] <= most) & self.legal(new)

    def grown(self, factors: Array, own: int, source: int, step: int) -> tuple[Array, Array]:
        """Multiply slot `own` by `step` and lower slot `source` to what is left. Returns rows, and which are legal."""
        new = factors.copy()
        new[:, own] *= step
        new = self._refilled(np.where(new > self.bound, 1, new), np.full(len(new), source))
        return new, (new[:, own] == factors[:, own] * step) & self.legal(new)


def _rounded(logs: Array) -> Array:
    """Of the two integers around each 2^log, from 1, the one that is nearer in logarithms."""
    below = np.maximum(np.exp2(np.clip(logs, 0.0, 32.0)).astype(np.int64), 1)
    return np.asarray(below + (logs - np.log2(below) > np.log2(below + 1.0) - logs))


@lru_cache(maxsize=64)
def _transitions(bound: int) -> tuple[Array, Array, Array, Array]:
    """Options of every state ``r``, ascending in state and factor: state, least and greatest factor, next state (as indices)."""
    states = np.unique(-(-bound // np.arange(1, bound + 1)))
    parts = []
    for i, r in enumerate(states):
        left = -(-r // np.arange(1, r + 1))
        first = np.flatnonzero(np.diff(left, prepend=0)) + 1
        last = np.append(first[1:] - 1, r)
        parts.append((np.full(len(first), i), first, last, np.searchsorted(states, left[first - 1])))
    state, first, last, following = (np.concatenate(column) for column in zip(*parts, strict=True))
    return state, first, last, following
