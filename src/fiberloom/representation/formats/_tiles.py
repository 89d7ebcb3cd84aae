"""Rows in tiles that fit a core's cache, worked through on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

TILE_ELEMENTS: Final = 1 << 16
"""Elements of a tile: the few arrays that rounding needs of it lie in a core's cache."""


class Tile(NamedTuple):
    """A part of an array of shape ``(rows, length)``: whole blocks of some rows, or a piece of one row's only block."""

    rows: slice
    columns: slice
    blocks: slice

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """The part of ``(rows, length)`` as ``(rows, blocks, elements)``, side by side in memory."""
        part = np.ascontiguousarray(array[self.rows, self.columns])
        return part.reshape(part.shape[0], self.blocks.stop - self.blocks.start, -1)


def tiles(shape: tuple[int, ...], block: int | None = None) -> list[Tile]:
    """Tiles that cover `shape`, ``(rows, length)``; the last, partial block of each row lies in a tile of its own.

    Args:
        block: elements of a block; None: a row is one block, whose elements may come in several tiles.
    """
    rows, length = shape
    if rows == 0 or length == 0:
        return []
    if block is None or block >= length:
        cut = length if block is not None else min(length, TILE_ELEMENTS)
        return [
            Tile(at, slice(left, min(left + cut, length)), slice(0, 1))
            for at in _slices(rows, max(1, TILE_ELEMENTS // cut))
            for left in range(0, length, cut)
        ]
    whole = length // block
    wide = max(1, TILE_ELEMENTS // block)  # blocks of a tile
    found = [
        Tile(at, slice(blocks.start * block, blocks.stop * block), blocks)
        for at in _slices(rows, max(1, wide // whole))
        for blocks in _slices(whole, wide)
    ]
    if whole * block < length:
        tail = slice(whole * block, length)
        found += [Tile(at, tail, slice(whole, whole + 1)) for at in _slices(rows, wide)]
    return found


def over_tiles(work: Callable[[Tile], Any], parts: list[Tile], *, in_order: bool = False) -> list[Any]:
    """`work` on every tile, in threads where there are several, or one after the other; the results in order."""
    workers = 1 if in_order else min(len(parts), _cores())
    if workers <= 1:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, parts))


def part_of(blocks: NDArray[Any], at: Tile) -> NDArray[Any]:
    """Figures of blocks ``(rows, blocks)``, ``(rows, 1)`` or ``(1, 1)`` that belong to a tile, for its elements."""
    rows = at.rows if blocks.shape[0] > 1 else slice(None)
    columns = at.blocks if blocks.shape[1] > 1 else slice(None)
    return blocks[rows, columns, None]


def reduced(
    rows: NDArray[Any], block: int | None, work: Callable[[NDArray[Any]], NDArray[Any]], combine: np.ufunc, start: float
) -> NDArray[Any]:
    """A figure of every block, ``(rows, blocks)``: sums in float64, others in the type of `rows`.

    Args:
        work: gives ``(rows, blocks)`` for values of shape ``(rows, blocks, elements)``.
        combine: joins the figures of a row's only block that came in several tiles.
        start: figure of a block without elements.
    """
    count, length = rows.shape
    blocks = 1 if block is None else max(1, -(-length // block))
    found = np.full((count, blocks), start, np.float64 if combine is np.add else rows.dtype)
    parts = tiles(rows.shape, block)
    for part, figures in zip(parts, over_tiles(lambda part: work(part.of(rows)), parts), strict=True):
        combine(found[part.rows, part.blocks], figures, out=found[part.rows, part.blocks])
    return found


def largest_magnitudes(rows: NDArray[Any], block: int | None) -> NDArray[Any]:
    """Largest magnitude of every block, ``(rows, blocks)``."""
    return reduced(rows, block, lambda values: _largest(np.abs(values)), np.maximum, 0.0)


def extremes(rows: NDArray[Any], block: int | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Smallest and largest value of every block, 0 included, each ``(rows, blocks)``."""
    low = reduced(rows, block, lambda values: values.min(axis=-1), np.minimum, 0.0)
    return low, reduced(rows, block, lambda values: values.max(axis=-1), np.maximum, 0.0)


def mean_magnitudes(rows: NDArray[Any], block: int | None, *, whole: bool = False) -> NDArray[Any]:
    """Mean magnitude of the non-zero values of every block, ``(rows, blocks)``, or of all, ``(1, 1)``; 0 without any."""
    total = reduced(rows, block, lambda values: np.abs(values).sum(axis=-1), np.add, 0.0)
    count = reduced(rows, block, lambda values: np.count_nonzero(values, axis=-1), np.add, 0.0)
    if whole:
        total, count = (figures.sum(dtype=np.float64).reshape(1, 1) for figures in (total, count))
    means: NDArray[Any] = (total / np.maximum(count, 1)).astype(rows.dtype)
    return means


def _largest(values: NDArray[Any]) -> NDArray[Any]:
    """Largest along the last axis, by halves: reductions of a few elements are slow one by one."""
    while values.shape[-1] % 2 == 0:
        half = values.shape[-1] // 2
        values = np.maximum(values[..., :half], values[..., half:])
    result: NDArray[Any] = values.max(axis=-1)
    return result


def _slices(count: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
