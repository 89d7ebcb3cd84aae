"""Answers to the kernel's misses: ask the density models, fill the hash tables."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import UnsupportedError
from fiberloom.model.lower import Problem
from fiberloom.model.occupancy import insert
from fiberloom.model.records import MAX_FORMAT_RANKS
from fiberloom.workload.density import BandedDensity, DensityModel, UniformDensity
from fiberloom.workload.density._hypergeometric import probability_none

Array = NDArray[Any]

_CEILING_SLACK = 1e-9


class Tables(NamedTuple):
    """Open-addressing hash tables: keys (0 is free) and rows (see `fiberloom.model.occupancy`)."""

    tile_keys: Array
    tile_rows: Array
    unit_keys: Array
    unit_rows: Array


def tile_rows(problem: Problem, t: int, tiles: Array, block: int = 1) -> Array:
    """Probability of being empty, largest and mean occupancy and blocks, ``(n, 4)``, of tiles ``(n, R)`` of tensor `t`."""
    model = problem.densities[t]
    return np.asarray(model.tile_statistics(_asked(model, tiles), block))


def _asked(model: DensityModel, tiles: Array) -> Array:
    """Tiles as a density model is asked for them."""
    if model.shape_dependent:
        return tiles
    # by size alone: one rank more than the tensor has, so that nothing is clipped rank by rank
    sizes = tiles.prod(axis=1, keepdims=True)
    return np.concatenate([sizes, np.ones(tiles.shape, np.int64)], axis=1)


class OccupancyTables:
    """Occupancy statistics of a problem's tiles, filled as mappings meet them and kept for all later ones."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._format_ranks = MAX_FORMAT_RANKS
        self.arrays = Tables(
            np.zeros(1024, np.int64),
            np.zeros((1024, 5)),
            np.zeros(256, np.int64),
            np.zeros((256, self._format_ranks + 1, 2)),
        )
        self._tiles = 0
        self._units = 0

    def absorb(self, works: Array) -> bool:
        """Answer the misses noted in `works` (``WORK`` records); False when there were none."""
        tiles, units = works["miss_count"], works["unit_miss_count"]
        if tiles.any():
            self.add_tiles(
                np.concatenate([works["miss_key"][c, :k] for c, k in enumerate(tiles)]),
                np.concatenate([works["miss_tile"][c, :k] for c, k in enumerate(tiles)]),
            )
        if units.any():
            self.add_units(
                np.concatenate([works["unit_miss_key"][c, :k] for c, k in enumerate(units)]),
                np.concatenate([works["unit_miss"][c, :k] for c, k in enumerate(units)]),
                np.concatenate([works["unit_miss_extent"][c, :k] for c, k in enumerate(units)]),
            )
        return bool(tiles.any() or units.any())

    def add_tiles(self, keys: Array, tiles: Array) -> None:
        """Fill in tiles that were missing: `keys` ``(n,)``; `tiles` ``(n, 2 + R)`` with tensor, block and extents."""
        keys, first = np.unique(keys, return_index=True)
        tiles = tiles[first]
        rows = np.zeros((len(keys), 5))
        for t in np.unique(tiles[:, 0]):
            model = self.problem.densities[t]
            ranks = len(model.shape)
            for block in np.unique(tiles[tiles[:, 0] == t, 1]):
                chosen = np.flatnonzero((tiles[:, 0] == t) & (tiles[:, 1] == block))
                extents = tiles[chosen, 2 : 2 + ranks]
                extents = _asked(model, extents)
                rows[chosen, :4] = model.tile_statistics(extents, max(1, int(block)))
                if block > 0:
                    rows[chosen, 4] = [_mean_fill(model, tile, int(block)) for tile in extents]
        self._tiles += len(keys)
        if 2 * self._tiles > len(self.arrays.tile_keys):
            self._grow()
        for key, row in zip(keys, rows, strict=True):
            self.arrays.tile_rows[insert(self.arrays.tile_keys, key)] = row

    def add_units(self, keys: Array, fibres: Array, extents: Array) -> None:
        """Fill in metadata per tile that was missing (rules of the reference builds)."""
        keys, first = np.unique(keys, return_index=True)
        self._units += len(keys)
        if 2 * self._units > len(self.arrays.unit_keys):
            self._grow()
        for key, i in zip(keys, first, strict=True):
            slot = insert(self.arrays.unit_keys, key)
            self.arrays.unit_rows[slot] = self._metadata_units(fibres[i], extents[i])

    def _grow(self) -> None:
        old = self.arrays
        tiles, units = len(old.tile_keys), len(old.unit_keys)
        while tiles < 4 * self._tiles:
            tiles *= 2
        while units < 4 * self._units:
            units *= 2
        new = Tables(
            np.zeros(tiles, np.int64),
            np.zeros((tiles, 5)),
            np.zeros(units, np.int64),
            np.zeros((units, self._format_ranks + 1, 2)),
        )
        for i in np.flatnonzero(old.tile_keys):
            new.tile_rows[insert(new.tile_keys, old.tile_keys[i])] = old.tile_rows[i]
        for i in np.flatnonzero(old.unit_keys):
            new.unit_rows[insert(new.unit_keys, old.unit_keys[i])] = old.unit_rows[i]
        self.arrays = new

    def _metadata_units(self, fibres: Array, extents: Array) -> Array:
        """Expected items per rank, ``(F + 1, 2)``; the last row holds the bits at the largest occupancy.

        The reference builds average over the occupancies of the tile, with a ceiling on coordinates per fibre for each.
        """
        problem, p = self.problem, self.problem.arrays[0]
        level, t, parent_knows = int(fibres[0]), int(fibres[1]), bool(fibres[2])
        model = problem.densities[t]
        ranks = int(p["format_ranks"][level, t])
        einsum = problem.workload
        tensor = einsum.tensors[t]
        shapes = [
            tensor.tile_shape(dict(zip(einsum.shape, (int(x) for x in e[: len(einsum.shape)]), strict=True)))
            for e in extents[: ranks + 2]
        ]
        whole = shapes[ranks + 1]
        counts, probabilities = model.occupancy(whole)
        weights = np.asarray(probabilities, np.float64).copy()
        if parent_knows and counts[0] == 0:
            filled = 1.0 - weights[0]
            weights = weights / filled if filled > 0 else weights * 0
            weights[0] = 0.0
        occupancies = np.append(counts, model.max_occupancy(whole))
        empty = [_probability_empty_given(model, whole, shape, occupancies) for shape in shapes[: ranks + 1]]
        # A stray 1e-12 before a ceiling moves a count by one. Structured densities follow the reference tool's doubles to
        # the bit, so that they round as it does; other probabilities are better known here than there.
        slack = 0.0 if model.distribution == "fixed-structured" else _CEILING_SLACK
        # the tile that enters the outermost rank is the whole tile
        entering = (occupancies == 0).astype(np.float64)
        out = np.zeros((self._format_ranks + 1, 2))
        bits = 0.0
        outer = 1.0
        items: list[tuple[Array, Array]] = [(np.zeros(len(occupancies)), np.zeros(len(occupancies)))] * ranks
        for r in range(ranks - 1, -1, -1):
            length = int(fibres[3 + r])
            trivial = length == 1 and r != (0 if p["inner_to_outer"][level, t] else ranks - 1)
            below = empty[r]
            if not trivial:
                present = outer * (1.0 - entering)
                expected = length * (1.0 - below)
                coordinates = np.ceil(expected - slack)
                zero = np.zeros(len(occupancies))
                match int(p["format_kind"][level, t, r]):
                    case 1:  # UOP
                        items[r] = (zero, present * (length + 1))
                    case 2:  # CP
                        listed = coordinates if self.problem.rules.whole_coordinates else expected
                        items[r] = (present * listed, present * listed)
                    case 3:  # RLE
                        items[r] = (present * expected, present * expected)
                    case 4:  # B
                        items[r] = (present * length, present * coordinates)
                    case 5:  # UB
                        items[r] = (zero + outer * length, zero + outer * length)
                    case _:
                        items[r] = (zero, zero)
            entering = below
            outer *= length
        data_rank = next((r for r in range(ranks) if items[r][0].any() or items[r][1].any()), -1)
        for r in range(ranks):
            metadata, payload = items[r]
            if r == data_rank:
                payload = payload * 0
            out[r] = metadata[:-1] @ weights, payload[:-1] @ weights
            bits += metadata[-1] * p["metadata_bits"][level, t, r] + payload[-1] * p["payload_bits"][level, t, r]
        out[self._format_ranks, 0] = bits
        return out


def _mean_fill(model: DensityModel, tile: Array, lanes: int) -> float:
    """E[k / (lanes·⌈k/lanes⌉) | k > 0]: mean share of lanes that the last pass over k non-zeros leaves filled."""
    counts, probabilities = model.occupancy([int(x) for x in tile])
    held = counts > 0
    k, weight = counts[held], probabilities[held]
    if not weight.sum():
        return 1.0
    return float((k / (lanes * -(-k // lanes))) @ weight / weight.sum())


def _probability_empty_given(
    model: DensityModel, whole: tuple[int, ...], part: tuple[int, ...], occupied: Array
) -> Array:
    """P(a sub-tile is empty | the tile holds k non-zeros) for every k in `occupied`."""
    size, inside = int(np.prod(whole)), int(np.prod(part))
    out = np.empty(len(occupied))
    if model.distribution == "dense":
        return np.where(occupied > 0, 0.0, 1.0)
    if model.distribution == "fixed-structured":
        expected = inside * (occupied / size)
        return np.asarray(np.where(expected < 1.0, 1.0 - (expected - np.floor(expected)), 0.0), dtype=np.float64)
    if isinstance(model, BandedDensity) and len(model.shape) == 2:
        return model.parts_empty_given(whole, part, occupied)
    if isinstance(model, UniformDensity):  # symmetric in what is marked and what is drawn
        return probability_none(size, min(inside, size), np.asarray(occupied, np.int64))
    for i, k in enumerate(occupied):
        if k == 0:
            out[i] = 1.0
        elif inside >= size:
            out[i] = 0.0
        else:
            try:
                out[i] = model.given(size, int(k)).probability_empty((inside,))
            except UnsupportedError:
                # no closed form: emptiness independent of how full the enclosing non-empty tile is
                filled = 1.0 - model.probability_empty(whole)
                out[i] = 1.0 - (1.0 - model.probability_empty(part)) / filled if filled > 0 else 1.0
    return out
