"""Choices → loops and the words that every buffer holds, compiled."""

from __future__ import annotations

import numpy as np

from fiberloom.model.compiled import entry_point
from fiberloom.model.dataflow import tile_size


@entry_point
def lay_out(problems, primes, variables, chosen, slot_level, slot_axis, keep, temporal, spatial, on_x, words):
    """Loops of every layer, and the most words that a level's tiles take together over the layers.

    A prime factor goes to its loop; where the fan-out has no room for it along the axis, it goes along the other one, or else
    to the temporal loop of the same level. A variable runs along one axis of a fan-out only.

    Args:
        problems: ``(J,)`` layers on the hardware, whose fan-outs count.
        primes, variables, chosen: ``(J, K)`` prime factors (1: no more), their variables and their slots.
        slot_level, slot_axis: of every slot; axis −1 is temporal.
        keep: ``(J, L, T)``.
        temporal, spatial, on_x: ``(J, L, D)``, ``(J, L, D)`` and ``(J, L)``, filled.
        words: ``(L,)``, filled.
    """
    words[:] = 0
    J, K = primes.shape
    L = words.shape[0]
    lanes = np.ones((L, 2), np.int64)
    fan = np.ones((L, 2), np.int64)
    extent = np.ones(temporal.shape[2], np.int64)
    temporal[:] = 1
    spatial[:] = 1
    on_x[:] = 0
    for j in range(J):
        p = problems[j]
        lanes[:] = 1
        for level in range(L):
            fan[level, 0], fan[level, 1] = p.fan_x[level], p.fan_y[level]
        for k in range(K):
            prime = primes[j, k]
            if prime == 1:
                break
            d, level, axis = variables[j, k], slot_level[chosen[j, k]], slot_axis[chosen[j, k]]
            if axis >= 0:
                begun = spatial[j, level, d] > 1
                if begun:
                    axis = 0 if on_x[j, level] >> d & 1 else 1
                elif lanes[level, axis] * prime > fan[level, axis]:
                    axis = 1 - axis
                if lanes[level, axis] * prime <= fan[level, axis]:
                    lanes[level, axis] *= prime
                    spatial[j, level, d] *= prime
                    if axis == 0:
                        on_x[j, level] |= 1 << d
                    continue
            temporal[j, level, d] *= prime
        extent[:] = 1
        for level in range(L):
            held = 0.0
            for d in range(p.variables):
                extent[d] *= temporal[j, level, d] * spatial[j, level, d]
            for t in range(p.tensors):
                if keep[j, level, t]:
                    held += tile_size(p, t, extent) * p.word_scale[level, t]
            words[level] = max(words[level], held)
