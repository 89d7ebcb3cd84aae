"""Occupancy statistics of tiles, as the kernel sees them: rows of a hash table.

The kernel never asks a density model: it looks up a row by tensor and tile. Tiles that are not there yet are written to a
list of misses and the mapping is evaluated again after `fiberloom.model.tables` has asked the tensor's density model, a
Python class, for them. A search over a million mappings meets only a few thousand different tiles.
"""

from __future__ import annotations

import numpy as np

from fiberloom.model.compiled import entry_point, kernel
from fiberloom.model.records import TILE_MISSES

P_EMPTY, MAX_OCCUPANCY, MEAN_OCCUPANCY, BLOCKS, MEAN_FILL = 0, 1, 2, 3, 4
"""Columns of a statistics row: probability of no non-zero, most non-zeros, expected non-zeros, expected blocks E⌈k/b⌉,
and mean share of full lanes E[k/(b⌈k/b⌉) | k > 0]."""


@kernel
def _mix(x):
    """SplitMix64 finaliser (Steele, Lea, Flood, OOPSLA'14)."""
    x = np.uint64(x)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@kernel
def combine(key, value):
    """Fold a number into a 64-bit key."""
    return np.int64(_mix(np.uint64(key) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(value) + np.uint64(1)))


@kernel
def find(keys, key):
    """Row of `key` in an open-addressing table (`keys` 0 is free), or −1."""
    mask = keys.shape[0] - 1
    slot = np.int64(np.uint64(key) >> np.uint64(20)) & mask
    while True:
        held = keys[slot]
        if held == key:
            return slot
        if held == 0:
            return np.int64(-1)
        slot = (slot + 1) & mask


@entry_point
def insert(keys, key):
    """Row for `key`, taken if it is new."""
    mask = keys.shape[0] - 1
    slot = np.int64(np.uint64(key) >> np.uint64(20)) & mask
    while keys[slot] != 0 and keys[slot] != key:
        slot = (slot + 1) & mask
    keys[slot] = key
    return slot


@kernel
def tile_statistics(p, tab, w, t, extent, block):
    """Write the statistics of tensor `t`'s tile of `extent` into `w.stat`; False (and a miss noted) when not known yet."""
    size = 1
    for r in range(p.rank_count[t]):
        length = 1
        for k in range(p.term_count[t, r]):
            length += p.term_coefficient[t, r, k] * (extent[p.term_variable[t, r, k]] - 1)
        if p.exact and length > p.tensor_shape[t, r]:
            length = p.tensor_shape[t, r]
        w.lengths[r] = length
        size *= length
    if p.is_dense[t]:
        w.stat[P_EMPTY] = 0.0
        w.stat[MAX_OCCUPANCY] = size
        w.stat[MEAN_OCCUPANCY] = size
        if block > 0:
            blocks = -(-size // block)
            w.stat[BLOCKS] = blocks
            w.stat[MEAN_FILL] = size / (block * blocks)
        return True
    key = np.int64(0)
    if p.by_shape[t]:
        for r in range(p.rank_count[t]):
            key = combine(key, w.lengths[r])
    else:
        key = combine(key, size)
    key = combine(key, t * 4096 + min(block, 4095) if block < 4095 else t + (block << 8))
    row = find(tab.tile_keys, key)
    if row >= 0:
        for c in range(5):
            w.stat[c] = tab.tile_rows[row, c]
        return True
    n = w.miss_count
    if n < TILE_MISSES:
        w.miss_key[n] = key
        w.miss_tile[n, 0] = t
        w.miss_tile[n, 1] = block
        for r in range(p.rank_count[t]):
            w.miss_tile[n, 2 + r] = w.lengths[r]
        w.miss_count = n + 1
    w.stat[P_EMPTY] = 0.0
    w.stat[MAX_OCCUPANCY] = size
    w.stat[MEAN_OCCUPANCY] = size
    w.stat[BLOCKS] = size
    w.stat[MEAN_FILL] = 1.0
    return False
