"""Work on large arrays in slabs of rows, on all cores: little memory beside the array."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from numpy.typing import NDArray

SLAB_ELEMENTS: Final = 1 << 18
"""Elements of a slab: a few arrays of it fit into a core's cache."""


def slabs(rows: NDArray[Any]) -> list[slice]:
    """Slices of the first axis of `rows`, each about `SLAB_ELEMENTS` elements."""
    per_row = max(1, rows.size // max(1, rows.shape[0]))
    step = max(1, SLAB_ELEMENTS // per_row)
    return [slice(start, min(start + step, rows.shape[0])) for start in range(0, rows.shape[0], step)]


def in_slabs(work: Callable[[slice], Any], rows: NDArray[Any]) -> list[Any]:
    """`work` on every slab of `rows`, in threads where there are several; the results in order."""
    parts = slabs(rows)
    workers = min(len(parts), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    if workers <= 1:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, parts))
