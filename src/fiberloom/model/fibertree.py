"""Ranks from loops: which loops make the fibres of each rank of a compressed tile.

Ranks are numbered from the innermost, 0. `w.fibre[l, t, r]` is the number of coordinates of a fibre of rank `r`;
`w.subtile[l, t, r]` are the extents of the tile below one coordinate of rank `r`, and `w.subtile[l, t, n]` those of the
tile that enters the outermost rank.
"""

from __future__ import annotations

from fiberloom.model.compiled import kernel
from fiberloom.model.dataflow import tile_size

OK, TOO_FEW_RANKS, PRETILING = 0, 1, 2


@kernel
def _shift(w, level, t, first, count):
    """Make room for one rank at index `first` among `count` ranks already there."""
    for r in range(count, first, -1):
        w.fibre[level, t, r] = w.fibre[level, t, r - 1]
    for r in range(count + 1, first + 1, -1):
        w.subtile[level, t, r] = w.subtile[level, t, r - 1]


@kernel
def ranks_from_loops(p, w, t, level, child, n_loops):
    """Assign the loops of tensor `t` at `level` to its ranks; `child` is the next keeper inside (−1: compute).

    Exact rules flatten surplus loops into the last rank that took one; the reference builds fail. Returns OK,
    TOO_FEW_RANKS (loops are left over) or PRETILING (the child holds more ranks than this level).
    """
    D = p.variables
    has_metadata = p.has_metadata[level, t]
    ranks = p.format_ranks[level, t] if has_metadata else 1
    inner_level = child + 1
    pretiled = p.is_compressed[level, t] and child >= 0 and w.tile[child, t] > 1
    child_ranks = 0
    if pretiled:
        child_ranks = p.format_ranks[child, t] if p.has_metadata[child, t] else 1
        if child_ranks > ranks:
            if not p.exact:
                return PRETILING
            pretiled = False  # the tile is partitioned as it is read
            child_ranks = 0
    # own loops (with those of bypassed levels inside), innermost first, with the extents at their top
    count = 0
    for d in range(D):
        w.running[d] = w.extent[inner_level, d]
        w.inner_bound[d] = 1 if pretiled else w.extent[inner_level, d]
    # Loops of bound 1 matter only where they take over the bounds of what lies inside, and to the reference builds.
    only_active = p.exact and (pretiled or inner_level == 0)
    for i in range(w.active_count if only_active else n_loops):
        at = w.active_level[i] if only_active else w.loop_level[i]
        if at < inner_level:
            continue
        if at > level:
            break
        d = w.active_variable[i] if only_active else w.loop_variable[i]
        bound = w.active_bound[i] if only_active else w.loop_bound[i]
        w.running[d] *= bound
        if not p.is_relevant[t, d]:
            continue
        w.rank_loop_variable[count] = d
        w.rank_loop_bound[count] = bound * w.inner_bound[d]
        w.inner_bound[d] = 1
        for e in range(D):
            w.rank_loop_extent[count, e] = w.running[e]
        count += 1
    own = 0  # ranks placed so far; kept innermost first in rows child_ranks, child_ranks + 1, …
    base = child_ranks
    exact = p.exact
    failed = False
    if not (has_metadata and p.inner_to_outer[level, t]):
        rank = ranks
        i = count - 1
        while rank > child_ranks and i >= 0:
            while i >= 0 and w.rank_loop_bound[i] == 1:
                i -= 1
            if i < 0:
                break
            rank -= 1
            rule = p.format_rule[level, t, rank] if has_metadata else -1
            if rule > 0 and not (rule >> w.rank_loop_variable[i]) & 1:
                # no loop of this rank's variables comes next: a trivial rank
                if exact:
                    _shift(w, level, t, base, base + own)
                    w.fibre[level, t, base] = 1
                    for d in range(D):
                        w.subtile[level, t, base + 1, d] = w.rank_loop_extent[i, d]
                else:  # the reference tool appends it at the outer end
                    w.fibre[level, t, base + own] = 1
                    for d in range(D):
                        w.subtile[level, t, base + own + 1, d] = w.rank_loop_extent[0, d]
                own += 1
                continue
            for d in range(D):
                w.rank_bound[d] = 1
            _shift(w, level, t, base, base + own)
            for d in range(D):
                w.subtile[level, t, base + 1, d] = w.rank_loop_extent[i, d]
            w.rank_bound[w.rank_loop_variable[i]] *= w.rank_loop_bound[i]
            i -= 1
            if rule != 0:
                while i >= 0 and (rule < 0 or w.rank_loop_bound[i] == 1 or (rule >> w.rank_loop_variable[i]) & 1):
                    w.rank_bound[w.rank_loop_variable[i]] *= w.rank_loop_bound[i]
                    i -= 1
            w.fibre[level, t, base] = tile_size(p, t, w.rank_bound)
            own += 1
        while rank > child_ranks:
            rank -= 1
            _shift(w, level, t, base, base + own)
            w.fibre[level, t, base] = 1
            for d in range(D):
                if exact or count == 0:
                    w.subtile[level, t, base + 1, d] = w.extent[inner_level, d] if pretiled or child < 0 else 1
                else:
                    w.subtile[level, t, base + 1, d] = w.rank_loop_extent[0, d]
            own += 1
        surplus = False
        while i >= 0:
            if w.rank_loop_bound[i] > 1:
                if own == 0 or not p.exact:
                    failed = True
                elif not surplus:
                    for d in range(D):
                        w.rank_bound[d] = 1
                    surplus = True
                w.rank_bound[w.rank_loop_variable[i]] *= w.rank_loop_bound[i]
            i -= 1
        if surplus:  # surplus loops are flattened into the innermost rank
            w.fibre[level, t, base] *= tile_size(p, t, w.rank_bound)
    else:
        rank = child_ranks - 1
        i = 0
        while rank < ranks - 1 and i < count:
            while i < count and w.rank_loop_bound[i] == 1:
                i += 1
            if i >= count:
                break
            rank += 1
            rule = p.format_rule[level, t, rank]
            at = base + own
            if rule > 0 and not (rule >> w.rank_loop_variable[i]) & 1:
                w.fibre[level, t, at] = 1
                for d in range(D):
                    if not exact:
                        w.subtile[level, t, at + 1, d] = 1
                    elif own > 0:
                        w.subtile[level, t, at + 1, d] = w.subtile[level, t, at, d]
                    else:
                        w.subtile[level, t, at + 1, d] = w.extent[inner_level, d] if pretiled else 1
                own += 1
                continue
            for d in range(D):
                w.rank_bound[d] = 1
            top = i
            w.rank_bound[w.rank_loop_variable[i]] *= w.rank_loop_bound[i]
            i += 1
            if rule != 0:
                while i < count and (w.rank_loop_bound[i] == 1 or (rule >> w.rank_loop_variable[i]) & 1):
                    w.rank_bound[w.rank_loop_variable[i]] *= w.rank_loop_bound[i]
                    if w.rank_loop_bound[i] > 1 and exact:
                        top = i  # the reference tool keeps the extents of the innermost flattened loop
                    i += 1
            w.fibre[level, t, at] = tile_size(p, t, w.rank_bound)
            for d in range(D):
                w.subtile[level, t, at + 1, d] = w.rank_loop_extent[top, d]
            own += 1
        while rank < ranks - 1:
            rank += 1
            at = base + own
            w.fibre[level, t, at] = 1
            for d in range(D):
                if exact:
                    w.subtile[level, t, at + 1, d] = w.extent[level + 1, d]
                else:
                    w.subtile[level, t, at + 1, d] = w.rank_loop_extent[0, d]
            own += 1
        surplus = False
        while i < count:
            if w.rank_loop_bound[i] > 1:
                if own == 0 or not p.exact:
                    failed = True
                elif not surplus:
                    for d in range(D):
                        w.rank_bound[d] = 1
                    surplus = True
                w.rank_bound[w.rank_loop_variable[i]] *= w.rank_loop_bound[i]
            i += 1
        if surplus:  # surplus loops are flattened into the outermost rank
            w.fibre[level, t, base + own - 1] *= tile_size(p, t, w.rank_bound)
            for d in range(D):
                w.subtile[level, t, base + own, d] = w.extent[level + 1, d]
    if failed:
        return TOO_FEW_RANKS
    w.child_ranks[level, t] = child_ranks if pretiled else 0
    if pretiled:
        for r in range(child_ranks):
            w.fibre[level, t, r] = w.fibre[child, t, r]
        for r in range(child_ranks + 1):
            for d in range(D):
                w.subtile[level, t, r, d] = w.subtile[child, t, r, d]
    else:
        for d in range(D):
            w.subtile[level, t, 0, d] = 1
    return OK
