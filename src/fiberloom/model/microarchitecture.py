"""Step 3, microarchitecture: do the tiles fit, how many cycles, how much energy.

Knows counts and widths, not densities. Cycles: compute sets the pace, each level's bandwidth may slow it down, and the
slowest level decides (everything overlaps). Skipped traffic takes no bandwidth, gated traffic does.
"""

from __future__ import annotations

import numpy as np

from fiberloom.model.compiled import kernel
from fiberloom.model.occupancy import BLOCKS, MEAN_OCCUPANCY, tile_statistics

ACTUAL, GATED, SKIPPED = 0, 1, 2
READ, FILL, UPDATE = 0, 1, 2

FIRST_MISFIT = 20
"""Statuses from here on say that a mapping does not fit the hardware; smaller ones that it can't be evaluated at all."""
FITS, OVER_CAPACITY, OVER_METADATA, UNDER_USED, OVER_FANOUT, NO_DECOMPRESSION = 0, 20, 21, 22, 23, 24


@kernel
def check_fit(p, m, w):
    """Status of the mapping on the hardware: fan-outs and capacities. 0 when it fits."""
    L, T = p.levels, p.tensors
    for t in range(T):
        compressed_outside = False
        for level in range(L - 1, -1, -1):
            if m.keep[level, t] and w.tile[level, t] > 0:
                if compressed_outside and not p.is_compressed[level, t] and not p.can_decompress[level]:
                    w.failed_level, w.failed_tensor = level, t
                    return NO_DECOMPRESSION
                compressed_outside = p.is_compressed[level, t]
    for level in range(L):
        if p.spatial_entries == 0:
            if w.fanout_xy[level, 0] > p.fan_x[level] or w.fanout_xy[level, 1] > p.fan_y[level]:
                w.failed_level, w.failed_tensor = level, 0
                return OVER_FANOUT
        for t in range(T if p.spatial_entries > 0 else 0):
            # fan-out actually needed: reduced by spatial skipping where every tensor allows it
            x = w.expansion[level, t, 0] / max(1.0, w.expansion[level + 1, t, 0])
            y = w.expansion[level, t, 1] / max(1.0, w.expansion[level + 1, t, 1])
            if np.floor(x) > p.fan_x[level] or np.floor(y) > p.fan_y[level]:
                w.failed_level, w.failed_tensor = level, t
                return OVER_FANOUT
        used = 0.0
        bits = 0.0
        for t in range(T):
            if not m.keep[level, t] or w.tile[level, t] == 0:
                continue
            used += w.max_occupancy[level, t] * p.word_scale[level, t]
            if p.has_metadata[level, t]:
                if p.exact:
                    for r in range(p.format_ranks[level, t]):
                        bits += w.units[level, t, r, 0] * p.metadata_bits[level, t, r]
                        bits += w.units[level, t, r, 1] * p.payload_bits[level, t, r]
                else:
                    bits += w.max_metadata_bits[level, t]
        w.used_words[level] = used
        if used > p.capacity[level] * (1 + 1e-12):
            w.failed_level = level
            return OVER_CAPACITY
        if bits > p.metadata_capacity_bits[level] * (1 + 1e-12):
            w.failed_level = level
            w.failed_amount = bits
            return OVER_METADATA
        if p.min_utilization[level] > 0 and used < p.min_utilization[level] * p.capacity[level]:
            w.failed_level = level
            return UNDER_USED
    return FITS


@kernel
def _block_overhead(p, tab, w, level, t):
    """Vector accesses of a compressed tile over those of the same words in full blocks."""
    block = p.block_of[level, t]
    if block <= 1 or not p.is_compressed[level, t] or w.density[level, t] >= 1.0 or w.density[level, t] <= 0.0:
        return 1.0
    size = w.tile[level, t]
    if not p.exact:
        decile = min(9, max(0, int(np.floor(w.density[level, t] * 10.0 + 1e-9)) - 1))
        if p.block_threshold[level, decile] <= size // block:
            return 1.0
    tile_statistics(p, tab, w, t, w.extent[level + 1], block)
    mean = w.stat[MEAN_OCCUPANCY]
    return w.stat[BLOCKS] / (mean / block) if mean > 0 else 1.0


@kernel
def _metadata_bits(p, w, level, t, action, kind):
    """Bits of metadata moved by one action, floored per rank by the rules of the reference builds."""
    bits = 0.0
    for r in range(p.format_ranks[level, t]):
        part = w.metadata[level, t, r, 0, action, kind] * p.metadata_bits[level, t, r]
        part += w.metadata[level, t, r, 1, action, kind] * p.payload_bits[level, t, r]
        bits += part if p.exact else np.floor(part)
    return bits


@kernel
def cycles_and_energy(p, m, tab, w):
    """Fill `w.level_cycles`, `w.slowdown`, `w.energy[l, t, 6 actions, kind]`; totals to `w.cycles` (cycles) and `[5]` (pJ)."""
    L, T = p.levels, p.tensors
    units = w.busy_units
    busy = w.compute[0] + w.compute[1]
    compute_cycles = np.ceil(busy / units - 1e-9) if units > 0 else 0.0
    if w.remainder:  # lanes with partial tiles wait for the first one
        compute_cycles = np.ceil(w.steps * (busy / w.points) - 1e-9)
    w.compute_cycles = compute_cycles
    total_cycles = compute_cycles
    energy = 0.0
    kinds = 3 if p.entries > 0 else 1  # nothing is gated or skipped without an entry
    for level in range(L):
        read_demand = write_demand = 0.0
        for t in range(T):
            for a in range(6):
                for k in range(kinds):
                    w.energy[level, t, a, k] = 0.0
            if not m.keep[level, t] or w.tile[level, t] == 0:
                continue
            instances = w.instances[level, t]
            whole = w.expansion[level + 1, t, 0] * w.expansion[level + 1, t, 1]
            has_metadata = p.has_metadata[level, t]
            overhead = _block_overhead(p, tab, w, level, t)
            own_kinds = 3 if kinds == 3 and w.saf_kind[level, t] != 0 else 1
            # energy: clusters share one access
            scale = instances
            if p.cluster[level] > 1 and whole > 0:
                scale = instances * np.ceil(whole / p.cluster[level]) / whole
            block = p.values_per_access[level, t]
            for a in range(3):
                for k in range(own_kinds):
                    words = w.count[level, t, a, k]
                    if words > 0:
                        vectors = (words / block if p.exact else np.ceil(words / block - 1e-9)) * overhead
                        pj = vectors * p.energy[level, a, k] * scale
                        w.energy[level, t, a, k] = pj
                        energy += pj
            reads = w.count[level, t, READ, ACTUAL] + w.count[level, t, READ, GATED]
            writes = w.count[level, t, FILL, ACTUAL] + w.count[level, t, UPDATE, ACTUAL]
            writes += w.count[level, t, FILL, GATED] + w.count[level, t, UPDATE, GATED]
            if w.remainder:  # the instance with the most traffic sets the pace
                reads *= w.fullest[level, t, READ]
                writes = (w.count[level, t, FILL, ACTUAL] + w.count[level, t, FILL, GATED]) * w.fullest[level, t, FILL]
                writes += (w.count[level, t, UPDATE, ACTUAL] + w.count[level, t, UPDATE, GATED]) * w.fullest[
                    level, t, UPDATE
                ]
            reads *= p.demand[level, t]
            writes *= p.demand[level, t]
            if has_metadata:
                for a in range(3):
                    for k in range(own_kinds):
                        bits = _metadata_bits(p, w, level, t, a, k)
                        w.moved_bits[a, k] = bits
                        if bits > 0 and p.metadata_width[level] > 0:
                            vectors = bits / p.metadata_width[level]
                            if not p.exact:
                                vectors = np.ceil(vectors - 1e-9)
                            pj = vectors * p.energy[level, 3 + a, k] * scale
                            w.energy[level, t, 3 + a, k] = pj
                            energy += pj
                    if own_kinds == 1:
                        w.moved_bits[a, GATED] = 0.0
                    if w.remainder:
                        w.moved_bits[a, ACTUAL] *= w.fullest[level, t, a]
                        w.moved_bits[a, GATED] *= w.fullest[level, t, a]
                extra = (w.moved_bits[READ, ACTUAL] + w.moved_bits[READ, GATED]) / p.word_bits[level]
                reads += extra if p.exact else np.floor(extra)
                extra = w.moved_bits[FILL, ACTUAL] + w.moved_bits[FILL, GATED]
                extra = (extra + w.moved_bits[UPDATE, ACTUAL] + w.moved_bits[UPDATE, GATED]) / p.word_bits[level]
                writes += extra if p.exact else np.floor(extra)
            if instances != whole:
                share = instances / whole if whole > 0 else 0.0
                reads *= share
                writes *= share
            read_demand += reads if p.exact else np.ceil(reads - 1e-9)
            write_demand += writes if p.exact else np.ceil(writes - 1e-9)
            # conversion between a compressed parent and this level
            parent = level + 1
            while parent < L and not m.keep[parent, t]:
                parent += 1
            if parent < L and p.is_compressed[parent, t] and not p.is_compressed[level, t]:
                converted = w.count[level, t, FILL, ACTUAL] * p.conversion_energy[level, 0] * instances
                if t == p.output:
                    converted += (
                        w.count[parent, t, UPDATE, ACTUAL] * p.conversion_energy[level, 1] * w.instances[parent, t]
                    )
                w.energy[level, t, FILL, ACTUAL] += converted
                energy += converted
        if compute_cycles > 0:
            read_demand /= compute_cycles
            write_demand /= compute_cycles
        else:
            read_demand = write_demand = 0.0
        slow = 1.0
        if read_demand > 0 and p.read_bandwidth[level] < read_demand:
            slow = p.read_bandwidth[level] / read_demand
        if write_demand > 0 and p.write_bandwidth[level] / write_demand < slow:
            slow = p.write_bandwidth[level] / write_demand
        if read_demand + write_demand > 0 and p.shared_bandwidth[level] / (read_demand + write_demand) < slow:
            slow = p.shared_bandwidth[level] / (read_demand + write_demand)
        w.slowdown[level] = slow
        w.level_cycles[level] = np.ceil(compute_cycles / slow - 1e-9)
        total_cycles = max(total_cycles, w.level_cycles[level])
    for k in range(3):
        w.compute_energy[k] = w.compute[k] * p.compute_energy[k]
        energy += w.compute_energy[k]
    for level in range(L):
        w.leakage[level + 1] = p.leak[level + 1] * total_cycles * w.used_instances[level + 1]
        energy += w.leakage[level + 1]
    w.leakage[0] = p.leak[0] * total_cycles * w.used_instances[0]
    energy += w.leakage[0]
    w.cycles = total_cycles
    w.energy_pj = energy
