"""The batch kernel: every mapping of a batch through the three steps, chunks of it on all cores."""

from __future__ import annotations

from numba import njit, prange

from fiberloom.model.compiled import OPTIONS
from fiberloom.model.dataflow import dense_traffic
from fiberloom.model.filtering import filter_traffic
from fiberloom.model.microarchitecture import check_fit, cycles_and_energy
from fiberloom.model.records import TILE_MISSES, UNIT_MISSES

_ROOM = 128  # misses that one mapping may add at most


@njit(**OPTIONS)
def evaluate_one(p, m, tab, w):
    """One mapping through the three steps; results stay in `w`. Returns a status: 0, or why it can't run."""
    w.failed_level = 0
    w.failed_tensor = 0
    w.clamped = False
    n_loops = dense_traffic(p, m, w)
    status = filter_traffic(p, m, tab, w, n_loops)
    if status != 0:
        return status
    status = check_fit(p, m, w)
    if status != 0 and not p.evaluate_misfits:
        return status
    cycles_and_energy(p, m, tab, w)
    return status


@njit(**OPTIONS)
def evaluate_single(problems, mappings, tab, works):
    """`evaluate_one` on arrays of one record each."""
    return evaluate_one(problems[0], mappings[0], tab, works[0])


@njit(parallel=True, **OPTIONS)
def evaluate_batch(problems, temporal, spatial, temporal_order, spatial_order, split, keep, mappings, tab, works,
                   todo, status, cycles, energy):
    """Evaluate the mappings listed in `todo`, one contiguous part per entry of `works` (and of `mappings`).

    Status −1 marks those that met unknown tiles, which are then listed in that part's record.
    """
    parts = works.shape[0]
    n = todo.shape[0]
    for c in prange(parts):
        p, m, w = problems[0], mappings[c], works[c]
        L, D, T = p.levels, p.variables, p.tensors
        w.miss_count = 0
        w.unit_miss_count = 0
        for q in range(n * c // parts, n * (c + 1) // parts):
            i = todo[q]
            if w.miss_count > TILE_MISSES - _ROOM or w.unit_miss_count > UNIT_MISSES - _ROOM // 2:
                status[i] = -1
                continue
            for level in range(L):
                for d in range(D):
                    m.temporal[level, d] = temporal[i, level, d]
                    m.spatial[level, d] = spatial[i, level, d]
                    m.temporal_order[level, d] = temporal_order[i, level, d]
                    m.spatial_order[level, d] = spatial_order[i, level, d]
                m.split[level] = split[i, level]
                for t in range(T):
                    m.keep[level, t] = keep[i, level, t]
            before = w.miss_count + w.unit_miss_count
            s = evaluate_one(p, m, tab, w)
            if w.miss_count + w.unit_miss_count != before:
                status[i] = -1
                continue
            status[i] = s
            cycles[i] = w.cycles
            energy[i] = w.energy_pj
