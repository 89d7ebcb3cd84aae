"""The arrays that every evaluation of a joint search writes to, one entry per layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fiberloom.explore.joint.genes import Array, LayerGenes, Slot
from fiberloom.explore.joint.layout import lay_out
from fiberloom.model import kernel
from fiberloom.model.lower import Problem
from fiberloom.model.records import MAPPING, WORK
from fiberloom.model.tables import OccupancyTables


@dataclass(frozen=True)
class LayerArrays:
    """J layers of at most K prime factors, D loops and T tensors on L levels, as the batch kernel takes them.

    Attributes:
        records: ``(J,)`` layers lowered on the hardware of the moment.
        primes, variables, chosen: ``(J, K)`` prime factors (1: no more), their variables and the slots chosen for them.
        slot_level, slot_axis: of every slot.
        temporal, spatial, order, spatial_order: ``(J, L, D)`` factors and orders; ``on_x``: ``(J, L)``.
        keep: ``(J, L, T)``; ``rows``: ``(J,)`` what is the same for all mappings of a layer.
        words: ``(L,)`` most words that a level's tiles take, over the layers.
        status, cycles, energy_pj: ``(J,)`` of each layer, computed once.
    """

    records: Array
    primes: Array
    variables: Array
    chosen: Array
    slot_level: Array
    slot_axis: Array
    temporal: Array
    spatial: Array
    order: Array
    spatial_order: Array
    on_x: Array
    keep: Array
    rows: Array
    words: Array
    status: Array
    cycles: Array
    energy_pj: Array
    _tables: Any
    _work: Array
    _alone: list[Array]

    @classmethod
    def of(cls, genes: Sequence[LayerGenes], slots: Sequence[Slot], problems: Sequence[Problem]) -> LayerArrays:
        """Arrays for layers with these choices, lowered on some hardware."""
        records = np.concatenate([problem.arrays for problem in problems])
        J, L = len(genes), len(genes[0].orders)
        D, T, K = int(records["variables"].max()), int(records["tensors"].max()), max(len(g.primes) for g in genes)
        primes, variables = np.ones((J, K), np.int64), np.zeros((J, K), np.int64)
        keep, rows = np.zeros((J, L, T), np.bool_), np.zeros(J, MAPPING)
        order = np.tile(np.arange(D), (J, L, 1))
        for j, g in enumerate(genes):
            primes[j, : len(g.primes)], variables[j, : len(g.primes)] = g.primes, g.variables
            tensors = g.keep.shape[1]
            keep[j, :, :tensors] = g.keep
            rows["multicast"][j, :L, :tensors], rows["peer_links"][j, :L, :tensors] = g.multicast, g.peer_links
            for level, found in enumerate(g.orders):
                order[j, level, : found.shape[1]] = found[0]
        return cls(
            records=records,
            primes=primes,
            variables=variables,
            chosen=np.zeros((J, K), np.int64),
            slot_level=np.array([s.level for s in slots]),
            slot_axis=np.array([s.axis for s in slots]),
            temporal=np.ones((J, L, D), np.int64),
            spatial=np.ones((J, L, D), np.int64),
            order=order,
            spatial_order=np.tile(np.arange(D), (J, L, 1)),
            on_x=np.zeros((J, L), np.int64),
            keep=keep,
            rows=rows,
            words=np.zeros(L),
            status=np.zeros(J, np.int64),
            cycles=np.zeros(J),
            energy_pj=np.zeros(J),
            _tables=OccupancyTables(problems[0]).arrays,
            _work=np.zeros(1, WORK),
            _alone=[np.array([j]) for j in range(J)],
        )

    def choose(self, j: int, genes: LayerGenes, own: Sequence[int]) -> None:
        """Note the choices of layer `j`."""
        primes = len(genes.primes)
        self.chosen[j, :primes] = own[:primes]
        for level, which in zip(genes.ordered_levels, own[primes:], strict=True):
            order = genes.orders[level][which]
            self.order[j, level, : len(order)] = order

    def lay_out(self) -> None:
        """Loops from the choices, and `words`."""
        lay_out(
            self.records, self.primes, self.variables, self.chosen, self.slot_level, self.slot_axis, self.keep,
            self.temporal, self.spatial, self.on_x, self.words,
        )  # fmt: skip

    def evaluate(self) -> None:
        """Cycles and energy of every layer."""
        for j, alone in enumerate(self._alone):
            kernel.evaluate_part(
                self.records[j : j + 1], self.temporal, self.spatial, self.order, self.spatial_order, self.on_x, self.keep,
                self.rows[j : j + 1], self._tables, self._work, alone, self.status, self.cycles, self.energy_pj, 0, 1,
            )  # fmt: skip
        if self.status.any():
            raise AssertionError(f"the kernel refuses layers: statuses {sorted(set(self.status.tolist()))}")
