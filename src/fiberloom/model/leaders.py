"""Leader–follower: how likely a leader's box is empty when a follower's granule is about to be moved.

The granule that a gating or skipping entry decides on is what the follower's level sends to the next keeper inside in one
go, or one element where compute comes next. The leader's box is everything of the leader that meets the granule while it
stays put, for all receivers of a multicast (docs/model.md, *Leaders and followers*).
"""

from __future__ import annotations

from fiberloom.model.compiled import kernel
from fiberloom.model.dataflow import tile_size
from fiberloom.model.occupancy import P_EMPTY, tile_statistics


@kernel
def follower_level(m, level, t, levels):
    """The level that an entry at `level` works on: the nearest one, from there outwards, that keeps the follower; −1: none."""
    for at in range(level, levels):
        if m.keep[at, t]:
            return at
    return -1


@kernel
def child_keeper(m, level, t):
    """Next level inside `level` that keeps `t`; −1 is compute."""
    for at in range(level - 1, -1, -1):
        if m.keep[at, t]:
            return at
    return -1


@kernel
def exact_leader_boxes(p, tab, w, source, child, follower, leaders):
    """As `leader_boxes`, with boxes as the schedule has them.

    What meets a granule of the follower while it stays put: the loops inside the child's tile; the lanes that share it
    (spatial loops from `source` down to the child that do not index the follower); and, for a child that holds it, the
    temporal loops above, at whatever level, up to the first that moves the follower on. Where a block of the source is
    larger than the granule, the box grows along the follower's innermost moving loop.
    """
    D = p.variables
    for d in range(D):
        w.leader_extent[d] = w.extent[child + 1, d]
    moving = -1
    block = p.block_of[source, follower]
    staying = child >= 0
    for i in range(w.active_start[child + 1], w.active_count):
        level = w.active_level[i]
        d, b = w.active_variable[i], w.active_bound[i]
        if p.is_relevant[follower, d]:
            if moving < 0 and level <= source:
                moving = d
            if w.active_axis[i] == 0:
                staying = False
            continue
        if w.active_axis[i] != 0:
            if level <= source:
                w.leader_extent[d] *= b
        elif staying:
            w.leader_extent[d] *= b
    if moving >= 0 and block > 1:
        granule = tile_size(p, follower, w.extent[child + 1])
        w.leader_extent[moving] = min(p.bounds[moving], w.leader_extent[moving] * ((block + granule - 1) // granule))
    effectual = 1.0
    for leader in range(p.tensors):
        w.leader_empty[leader] = 0.0
        if (leaders >> leader) & 1:
            tile_statistics(p, tab, w, leader, w.leader_extent, 0)
            w.leader_empty[leader] = w.stat[P_EMPTY]
            effectual *= 1.0 - w.stat[P_EMPTY]
    return 1.0 - effectual


@kernel
def leader_boxes(p, tab, w, source, child, follower, leaders, n_loops):
    """Probability that at least one leader's box is empty, by the reference builds; each leader's goes to `w.leader_empty`.

    `source` is the level that sends the follower, `child` the next keeper inside (−1: compute), `leaders` a bit set.
    """
    D = p.variables
    T = p.tensors
    # the anchor loop
    anchor = -1
    one_element = False
    top = -1
    for i in range(n_loops):
        at = w.loop_level[i]
        if at <= child:
            continue
        if at > source:
            break
        top = i
        relevant = w.loop_bound[i] > 1 and p.is_relevant[follower, w.loop_variable[i]]
        if child >= 0:
            if relevant:
                anchor = i
                break
        else:
            block_ends = i + 1 >= n_loops or w.loop_level[i + 1] != at
            if block_ends or w.loop_axis[i + 1] == 0:
                anchor = i
                one_element = w.loop_axis[i] == 0
                break
            if relevant:
                anchor = i
                break
    if anchor < 0:
        anchor = top
    # follower box: all loops up to the anchor
    for d in range(D):
        w.follower_extent[d] = 1
    if not one_element:
        for i in range(anchor + 1):
            w.follower_extent[w.loop_variable[i]] *= w.loop_bound[i]
    # leader box before sharing: spatial loops above the anchor, and temporal ones while a spatial granule stays put
    spatial_anchor = w.loop_axis[anchor] != 0
    for d in range(D):
        w.leader_extent[d] = w.follower_extent[d]
    n_related = 0
    w.related[0] = anchor
    n_related = 1
    waiting = spatial_anchor
    for i in range(anchor + 1, n_loops):
        if w.loop_level[i] > source:
            break
        if w.loop_bound[i] == 1:
            continue
        is_spatial = w.loop_axis[i] != 0
        relevant = p.is_relevant[follower, w.loop_variable[i]]
        if is_spatial or (waiting and child >= 0 and not relevant):
            w.leader_extent[w.loop_variable[i]] *= w.loop_bound[i]
            w.related[n_related] = i
            n_related += 1
        if spatial_anchor and not is_spatial and (child < 0 or relevant):
            waiting = False
    granule = tile_size(p, follower, w.follower_extent)
    effectual = 1.0
    for leader in range(T):
        w.leader_empty[leader] = 0.0
        if not (leaders >> leader) & 1:
            continue
        for d in range(D):
            w.shared_factor[d] = 1.0
            w.is_shared[d] = False
        shared_product = 1.0
        met_shared = False
        ineffective = False
        if not one_element:
            for k in range(n_related):
                i = w.related[k]
                d = w.loop_variable[i]
                if spatial_anchor and met_shared and p.is_relevant[leader, d]:
                    ineffective = True
                    break
                if p.is_relevant[follower, d] and p.is_relevant[leader, d]:
                    w.shared_factor[d] *= w.loop_bound[i]
                    w.is_shared[d] = True
                    shared_product *= w.loop_bound[i]
                    met_shared = True
        if ineffective:
            continue
        for d in range(D):
            w.box_extent[d] = w.leader_extent[d]
        ratio = p.block[source] / (granule / shared_product)
        scale = float(int(ratio))
        if scale < ratio:
            scale += 1.0
        for d in range(D):
            if w.is_shared[d]:
                divisor = w.shared_factor[d] / scale
                quotient = w.box_extent[d] / divisor
                whole = int(quotient)
                w.box_extent[d] = whole + 1 if whole < quotient else whole
                scale = scale / w.shared_factor[d]
        if scale > 1:
            w.box_extent[w.loop_variable[anchor]] = int(w.box_extent[w.loop_variable[anchor]] * scale)
        tile_statistics(p, tab, w, leader, w.box_extent, 0)
        w.leader_empty[leader] = w.stat[P_EMPTY]
        effectual *= 1.0 - w.stat[P_EMPTY]
    return 1.0 - effectual
