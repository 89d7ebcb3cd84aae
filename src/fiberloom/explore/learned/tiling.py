"""Loops of all 768 designs for one matrix product, compiled: how a dataflow lays it on an array of clusters.

Factors are made from the inside out, so that the last tile of every loop may be partial but no loop has an empty iteration.
Lanes are spread evenly: 100 rows take 50 of 64 clusters twice, in the same time as 64 and 36.

The tile of the shared buffer is the one that moves the fewest words to and from DRAM, of those that hold a multiple of the
array's tile, all of the reduction or one of two pieces of it, and as many columns as fit beside 1, 2, 4, … times the array's rows.
"""

from __future__ import annotations

import numpy as np

from fiberloom.model.compiled import entry_point, kernel

ROWS, COLUMNS, REDUCED = 0, 1, 2
"""Variables m, n, k of ``O[m,n] = W[m,k] * I[n,k]``, in the order of the arrays."""

REGISTERS, ACCUMULATOR, BUFFER, DRAM = 0, 1, 2, 3
"""Storage levels, innermost first, as the model numbers them."""

DLA, EYE, SHI = 0, 1, 2
"""Dataflows; what each spreads and keeps in place is said in `fiberloom.explore.learned.designs`."""

_PIECE = (
    64  # reduced indices of a buffer tile that does not hold all of them: beyond, words of W and I fill it for nothing
)


@kernel
def _ceil(a, b):
    return (a + b - 1) // b


@kernel
def _even(bound, most):
    """Lanes that share `bound` iterations in the fewest steps, spread evenly over those steps."""
    lanes = min(bound, most)
    return _ceil(bound, _ceil(bound, lanes))


@kernel
def _array_tile(dataflow, bounds, clusters, lanes, accumulators, registers, capacity, temporal, spatial, tile):
    """Spatial loops and the temporal loops inside the buffer; False where the smallest tile does not fit the buffer."""
    over_clusters = ROWS if dataflow == DLA else COLUMNS
    over_lanes = COLUMNS if dataflow == SHI else REDUCED
    streamed = COLUMNS if dataflow == DLA else ROWS
    for d in range(3):
        tile[d] = 1
    # lanes of a cluster first, then the clusters
    inside = _even(bounds[over_lanes], lanes)
    spatial[ACCUMULATOR, over_lanes] = inside
    tile[over_lanes] = inside
    across = _even(_ceil(bounds[over_clusters], tile[over_clusters]), clusters)
    spatial[BUFFER, over_clusters] = across
    tile[over_clusters] *= across
    row = 1
    if dataflow == EYE:  # a lane holds a row of weights and a row of inputs
        row = _even(_ceil(bounds[REDUCED], tile[REDUCED]), registers // 2)
    held = accumulators // (inside if over_lanes == COLUMNS else 1)
    stream = _even(_ceil(bounds[streamed], tile[streamed]), held)
    while True:
        tile[REDUCED] = (inside if over_lanes == REDUCED else 1) * row
        tile[streamed] = (spatial[BUFFER, streamed] * spatial[ACCUMULATOR, streamed]) * stream
        words = tile[ROWS] * tile[REDUCED] + tile[COLUMNS] * tile[REDUCED] + tile[ROWS] * tile[COLUMNS]
        if words <= capacity:
            break
        if stream > 1:
            stream = _ceil(stream, 2)
        elif row > 1:
            row = _ceil(row, 2)
        else:
            return False
    temporal[REGISTERS, REDUCED] = row
    temporal[ACCUMULATOR, streamed] = stream
    return True


@kernel
def _buffer_tile(bounds, capacity, tile, steps, best):
    """Array tiles of the buffer's tile per variable, into `best`; its entry 3 says which of m, n is outermost at DRAM."""
    m, n, k = bounds[ROWS], bounds[COLUMNS], bounds[REDUCED]
    for d in range(3):
        steps[d] = _ceil(bounds[d], tile[d])
    fewest = np.inf
    for pieces in range(3):
        deep = 1 if pieces == 0 else steps[REDUCED]
        if pieces == 1:
            deep = min(deep, _ceil(_PIECE, tile[REDUCED]))
        depth = min(k, deep * tile[REDUCED])
        high = 1
        while True:
            height = high * tile[ROWS]
            room = (capacity - height * depth) // (height + depth)
            wide = min(steps[COLUMNS], room // tile[COLUMNS])
            if wide < 1:
                break
            down, along = _ceil(steps[ROWS], high), _ceil(steps[COLUMNS], wide)
            for outer in range(2):
                weights, inputs = float(m) * k * along, float(n) * k * down
                if deep == steps[REDUCED]:
                    if outer == ROWS:
                        weights = float(m) * k
                        inputs = float(n) * k * (down if along > 1 else 1)
                    else:
                        inputs = float(n) * k
                        weights = float(m) * k * (along if down > 1 else 1)
                if weights + inputs < fewest:
                    fewest = weights + inputs
                    best[ROWS], best[COLUMNS], best[REDUCED], best[3] = high, wide, deep, outer
            if high == steps[ROWS]:
                break
            high = min(2 * high, steps[ROWS])
    return fewest < np.inf


@entry_point
def lay_out(
    dataflow, bounds, clusters, capacities, lanes, accumulators, registers, temporal, spatial, order, same, fits
):
    """Loops of every design ``buffer · len(clusters) + array``.

    Args:
        bounds: ``(3,)`` m, n, k.
        clusters: of each array, ascending.
        capacities: words of each buffer.
        temporal, spatial, order: ``(designs, 4, 3)``, filled with factors and temporal orders, innermost first.
        same: ``(designs,)``; True where the loops are those of the design before, with the same buffer.
        fits: ``(designs,)``; False where not even the smallest tile fits.
    """
    tile = np.zeros(3, np.int64)
    steps = np.zeros(3, np.int64)
    best = np.zeros(4, np.int64)
    streamed = COLUMNS if dataflow == DLA else ROWS
    i = -1
    for capacity in capacities:
        before = -1
        for count in clusters:
            i += 1
            temporal[i] = 1
            spatial[i] = 1
            fits[i] = _array_tile(
                dataflow, bounds, count, lanes, accumulators, registers, capacity, temporal[i], spatial[i], tile
            ) and _buffer_tile(bounds, capacity, tile, steps, best)
            same[i] = False
            if not fits[i]:
                continue
            for d in range(3):
                temporal[i, BUFFER, d] = best[d]
                temporal[i, DRAM, d] = _ceil(steps[d], best[d])
            for level in range(4):
                outer = best[3] if level == DRAM else 1 - streamed
                order[i, level, 0] = REDUCED
                order[i, level, 1] = 1 - outer
                order[i, level, 2] = outer
            across = spatial[i, BUFFER, ROWS] * spatial[i, BUFFER, COLUMNS]
            same[i] = across == before  # the clusters in use decide everything inside
            before = across
