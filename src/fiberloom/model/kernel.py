"""The batch kernel: every mapping of a batch through the three steps. One mapping is a batch of one."""

from __future__ import annotations

from fiberloom.model.compiled import entry_point
from fiberloom.model.dataflow import build_nest, dense_traffic
from fiberloom.model.filtering import leader_probabilities, surviving_computations
from fiberloom.model.microarchitecture import FIRST_MISFIT, check_fit, cycles_and_energy
from fiberloom.model.records import TILE_MISSES, UNIT_MISSES
from fiberloom.model.remainders import remainder_traffic, remainders
from fiberloom.model.spatial import position_skipping, spatial_skipping
from fiberloom.model.tiles import format_savings, tile_occupancies

_ROOM = 128  # misses that one mapping may add at most


@entry_point
def evaluate_part(
    problems,
    temporal,
    spatial,
    temporal_order,
    spatial_order,
    on_x,
    keep,
    mappings,
    tab,
    works,
    todo,
    status,
    cycles,
    energy,
    part,
    parts,
):
    """Evaluate the mappings listed in part `part` of `todo`; the last one's account stays in ``works[part]``.

    Parts are independent and touch nothing in common but their own entries of `status`, `cycles` and `energy`, so that
    threads may run them side by side. Status −1 marks mappings that met unknown tiles, which are listed in the record.
    """
    p, m, w = problems[0], mappings[part], works[part]
    L, D, T = p.levels, p.variables, p.tensors
    w.miss_count = 0
    w.unit_miss_count = 0
    n = todo.shape[0]
    for q in range(n * part // parts, n * (part + 1) // parts):
        i = todo[q]
        if w.miss_count > TILE_MISSES - _ROOM or w.unit_miss_count > UNIT_MISSES - _ROOM // 2:
            status[i] = -1
            continue
        for level in range(L):
            for d in range(D):
                m.temporal[level, d] = temporal[i, level, d]
                m.temporal_order[level, d] = temporal_order[i, level, d]
            if p.has_fanout[level]:
                for d in range(D):
                    m.spatial[level, d] = spatial[i, level, d]
                    m.spatial_order[level, d] = spatial_order[i, level, d]
                m.on_x[level] = on_x[i, level]
            for t in range(T):
                m.keep[level, t] = keep[i, level, t]
        before = w.miss_count + w.unit_miss_count
        w.clamped = 0
        n_loops = build_nest(p, m, w)
        s = remainders(p, m, w) if w.remainder else 0
        if s == 0:
            s = tile_occupancies(p, m, tab, w, n_loops)
        if s == 0:
            spatial_skipping(p, m, tab, w, n_loops)
            s = check_fit(p, m, w)
        if s == 0 or (p.evaluate_misfits and s >= FIRST_MISFIT):
            if w.remainder:
                remainder_traffic(p, m, w)
            else:
                dense_traffic(p, m, w)
            format_savings(p, m, w)
            stop = leader_probabilities(p, m, tab, w, n_loops)
            if stop == 0:
                stop = position_skipping(p, m, tab, w)
            if stop == 0:
                surviving_computations(p, m, tab, w)
                cycles_and_energy(p, m, tab, w)
            else:
                s = stop
        if w.miss_count + w.unit_miss_count != before:
            s = -1
        status[i] = s
        cycles[i] = w.cycles
        energy[i] = w.energy_pj
