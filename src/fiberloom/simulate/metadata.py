"""Metadata of tiles of real data: build the fibertree, count the items of every rank.

Items per rank (fibre length s): UOP holds s+1 offsets per non-empty fibre; CP and RLE one item per non-empty coordinate
of non-empty fibres; B one bit per coordinate of non-empty fibres; UB one per coordinate of all fibres. Payloads point
from a rank to the next; those of the innermost rank are the data itself.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fiberloom.architecture.sparse import Format, RankFormat, TensorFormat
from fiberloom.errors import MappingError, UnsupportedError
from fiberloom.simulate.nest import Loop, Nest
from fiberloom.workload.einsum import Tensor


@dataclass(frozen=True)
class Fibertree:
    """How a tile of one tensor at one level unfolds into ranks.

    Attributes:
        ranks: format of each rank, outermost first.
        fibres: fibre length of each rank.
        present: whether each rank exists: a rank that no loop is assigned to does not, but for the end of the list that
            assignment starts from.
        offsets: element numbers relative to the tile's first element, in fibertree order, ``(tile size,)``.
    """

    ranks: tuple[RankFormat, ...]
    fibres: tuple[int, ...]
    present: tuple[bool, ...]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, nest: Nest, tensor: Tensor, level: int, formats: Mapping[tuple[int, str], TensorFormat]) -> Fibertree:
        """Assign the loops that move through a tile of `tensor` at `level` to the ranks of its format there.

        Args:
            formats: formats with metadata by (level, tensor).

        Raises:
            UnsupportedError: where the tile is not a product of its loops (overlapping windows, strides), some tiles are
                partial, or an uncompressed format would fold loops of inner levels.
            MappingError: with more loops than ranks.
        """
        format_ = formats[level, tensor.name]
        relevant = [loop for loop in nest.loops if loop.level >= level and loop.variable in tensor.variables]
        varying = [[t for t in rank if any(lp.variable == t.variable for lp in relevant)] for rank in tensor.ranks]
        terms = [term for rank in varying for term in rank]
        overlapping = any(len(rank) > 1 for rank in varying) or any(abs(term.coefficient) != 1 for term in terms)
        if overlapping or len(terms) != len({loop.variable for loop in relevant}):
            name = nest.architecture.levels[level].name
            raise UnsupportedError(f"level '{name}': no metadata of '{tensor}', whose tiles overlap or have holes")
        if nest.remainders() & set(tensor.variables):
            name = nest.architecture.levels[level].name
            raise UnsupportedError(f"level '{name}': no metadata of '{tensor}', some of whose tiles are partial")
        groups = loops_of_ranks(nest, tensor, level, formats)
        start = len(groups) - 1 if format_.inner_to_outer else 0
        fibres = tuple(math.prod(loop.bound for loop in group) for group in groups)
        shape = nest.workload.tensor_shape(tensor.name)
        stride_of = {t.variable: math.prod(shape[r + 1 :]) for r, rank in enumerate(varying) for t in rank}
        offsets = np.zeros(1, dtype=np.int64)
        for loop in itertools.chain.from_iterable(groups):
            step = loop.stride * stride_of[loop.variable]
            offsets = (offsets[:, None] + step * np.arange(loop.bound)[None, :]).ravel()
        return cls(
            ranks=format_.ranks,
            fibres=fibres,
            present=tuple(length > 1 or i == start for i, length in enumerate(fibres)),
            offsets=offsets,
        )

    def items(self, first_elements: NDArray[np.int64], nonzero: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Metadata and payload items of tiles.

        Args:
            first_elements: number of each tile's lowest element, ``(tiles,)``.
            nonzero: the tensor, flat.

        Returns:
            ``(tiles, ranks, 2)``, outermost rank first.
        """
        tiles = nonzero[first_elements[:, None] + self.offsets[None, :]]
        items = np.zeros((len(tiles), len(self.ranks), 2))
        fibres_in_all = 1
        fibres = tiles.any(axis=1).astype(float)  # non-empty fibres that enter the rank
        for i, (rank, length) in enumerate(zip(self.ranks, self.fibres, strict=True)):
            coordinates_in_all = fibres_in_all * length
            coordinates = tiles.reshape(len(tiles), coordinates_in_all, -1).any(axis=2).sum(axis=1).astype(float)
            if self.present[i]:
                items[:, i] = _rank_items(rank.format, fibres, fibres_in_all, length, coordinates)
            fibres_in_all, fibres = coordinates_in_all, coordinates
        with_items = [i for i, rank in enumerate(self.ranks) if self.present[i] and rank.format is not Format.U]
        if with_items:
            items[:, with_items[-1], 1] = 0
        return items


def _rank_items(
    format_: Format, fibres: NDArray[np.float64], fibres_in_all: int, length: int, coordinates: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``(tiles, 2)``: metadata and payload items of one rank."""
    none = np.zeros_like(fibres)
    if format_ is Format.UOP:
        pair = (none, fibres * (length + 1))
    elif format_ in (Format.CP, Format.RLE):
        pair = (coordinates, coordinates)
    elif format_ is Format.B:
        pair = (fibres * length, coordinates)
    elif format_ is Format.UB:
        pair = (none + fibres_in_all * length, none + fibres_in_all * length)
    else:
        pair = (none, none)
    return np.stack(pair, axis=1)


def loops_of_ranks(
    nest: Nest, tensor: Tensor, level: int, formats: Mapping[tuple[int, str], TensorFormat]
) -> list[list[Loop]]:
    """Loops of each rank of `tensor` at `level`, both outermost first.

    Without a format, the whole tile is one rank. A compressed tile is kept in the pieces that its child will hold: the
    child's ranks are its innermost ones, the loops of this level (and of bypassed levels inside) make the others.
    """
    name = nest.architecture.levels[level].name
    child = next((k for k in nest.keepers(tensor.name) if k > level), nest.compute_cut)
    loops = [loop for loop in nest.loops if loop.level >= level and loop.variable in tensor.variables]
    own, inner = [lp for lp in loops if lp.level < child], [lp for lp in loops if lp.level >= child]
    format_ = formats.get((level, tensor.name))
    if format_ is None:
        return [loops]
    if inner and not format_.compressed:
        raise UnsupportedError(
            f"level '{name}': the simulation does not fold inner loops into the uncompressed format of '{tensor.name}'"
        )
    of_child = loops_of_ranks(nest, tensor, child, formats) if inner else []
    left = len(format_.ranks) - len(of_child)
    if left < 0:
        raise MappingError(
            f"level '{name}': the format of '{tensor.name}' has {len(format_.ranks)} ranks, inside {len(of_child)}",
            hint="a compressed tile is kept in the pieces that its child will hold",
        )
    return (
        _assign(own, list(format_.ranks[:left]), format_.inner_to_outer, f"level '{name}': '{tensor.name}'") + of_child
    )


def _assign(own: list[Loop], ranks: list[RankFormat], inner_to_outer: bool, place: str) -> list[list[Loop]]:
    """Match loops to ranks, one each, or all that follow each other and share a rank by its variables."""
    left = list(own)
    if inner_to_outer:
        ranks, left = ranks[::-1], left[::-1]
    groups: list[list[Loop]] = []
    for rank in ranks:
        group: list[Loop] = []
        while left and (not group if rank.variables is None else left[0].variable in rank.variables):
            group.append(left.pop(0))
        groups.append(group)
    if left:
        raise MappingError(
            f"{place} has {len(own)} loops and {len(ranks)} ranks left for them",
            hint="add ranks to the format, or name the variables that share one",
        )
    return [group[::-1] for group in groups[::-1]] if inner_to_outer else groups
