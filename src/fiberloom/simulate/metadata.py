"""Metadata of tiles of real data: build the fibertree, count the items of every rank.

Items per rank (fibre length s): UOP holds s+1 offsets per non-empty fibre; CP and RLE one item per non-empty coordinate
of non-empty fibres; B one bit per coordinate of non-empty fibres; UB one per coordinate of all fibres. Payloads point
from a rank to the next; those of the innermost rank are the data itself.
"""

from __future__ import annotations

import math
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
    def of(cls, nest: Nest, tensor: Tensor, level: int, format_: TensorFormat) -> Fibertree:
        """Assign the loops that move through a tile of `tensor` at `level` to the ranks of its format.

        Raises:
            UnsupportedError: where the tile is not a product of its loops (overlapping windows, strides), or an
                uncompressed format would fold loops of inner levels.
            MappingError: with more loops than ranks.
        """
        inside = [loop for loop in nest.loops if loop.level >= level]
        relevant = [loop for loop in inside if loop.variable in tensor.variables]
        name = nest.architecture.levels[level].name
        varying = [[t for t in rank if any(lp.variable == t.variable for lp in inside)] for rank in tensor.ranks]
        if any(len(terms) > 1 or any(abs(t.coefficient) != 1 for t in terms) for terms in varying) or sum(
            map(len, varying)
        ) != len({lp.variable for lp in relevant}):
            raise UnsupportedError(f"level '{name}': no metadata of '{tensor}', whose tiles overlap or have holes")
        if not format_.compressed:
            child = next((k for k in nest.keepers(tensor.name) if k > level), nest.compute_cut)
            if any(loop.level >= child for loop in relevant):
                raise UnsupportedError(
                    f"level '{name}': the simulation does not fold inner loops into the uncompressed format "
                    f"of '{tensor.name}'"
                )
        groups = _assign(relevant, format_, name, tensor.name)
        start = len(groups) - 1 if format_.inner_to_outer else 0
        shape = nest.workload.tensor_shape(tensor.name)
        stride_of = {t.variable: math.prod(shape[r + 1 :]) for r, terms in enumerate(varying) for t in terms}
        offsets = np.zeros(1, dtype=np.int64)
        for loop in relevant:
            step = loop.stride * stride_of[loop.variable]
            offsets = (offsets[:, None] + step * np.arange(loop.bound)[None, :]).ravel()
        return cls(
            ranks=format_.ranks,
            fibres=tuple(math.prod(loop.bound for loop in group) for group in groups),
            present=tuple(bool(group) or i == start for i, group in enumerate(groups)),
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


def _assign(loops: list[Loop], format_: TensorFormat, level: str, tensor: str) -> list[list[Loop]]:
    """Loops of each rank, both outermost first."""
    inward = not format_.inner_to_outer
    ranks = list(format_.ranks) if inward else list(reversed(format_.ranks))
    left = list(loops) if inward else list(reversed(loops))
    groups: list[list[Loop]] = []
    for rank in ranks:
        group: list[Loop] = []
        while left and (not group if rank.variables is None else left[0].variable in rank.variables):
            group.append(left.pop(0))
        groups.append(group)
    if left:
        raise MappingError(
            f"level '{level}': the tile of '{tensor}' has {len(loops)} loops, its format {len(ranks)} ranks",
            hint="add ranks to the format, or name the variables that share one",
        )
    return groups if inward else list(reversed(groups))
