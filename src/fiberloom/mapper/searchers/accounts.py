"""What every level spends on every tensor, for batches of mappings: the model's own account, as arrays.

The batch evaluator returns totals alone. Searchers that learn from the model (Mind Mappings) or correct a simpler one by it
(gradient) need the parts. A mapping costs some ten microseconds more than in `BatchEvaluator`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fiberloom.mapping.packed import PackedMappings
from fiberloom.model import kernel
from fiberloom.model.compiled import announced, compile_kernel
from fiberloom.model.lower import Problem
from fiberloom.model.microarchitecture import FIRST_MISFIT
from fiberloom.model.packing import record
from fiberloom.model.records import WORK
from fiberloom.model.tables import OccupancyTables

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Accounts:
    """Accounts of ``n`` mappings; rows of mappings that can't be evaluated, or do not fit when that counts, are NaN.

    Attributes:
        storage_pj: ``(n, L, T)`` energy that storage level l (0 innermost) spends on tensor t, metadata included.
        compute_pj, leakage_pj: ``(n,)``.
        busy: ``(n,)`` computations that take a lane's cycle (actual and gated).
        utilization: ``(n,)`` actual computations over (all lanes x cycles), 0..1.
        occupied: ``(n, L, T)`` words that the fullest tile of each kept tensor takes, compressed where it is.
        cycles, energy_pj: ``(n,)`` totals.
        status: ``(n,)`` 0 where the mapping fits.
    """

    storage_pj: Floats
    compute_pj: Floats
    leakage_pj: Floats
    busy: Floats
    utilization: Floats
    occupied: Floats
    cycles: Floats
    energy_pj: Floats
    status: NDArray[np.int64]


class Accountant:
    """Accounts batches of packed mappings of one problem; occupancy statistics are kept between batches.

    Args:
        misfits: account mappings that do not fit the hardware, too; `Accounts.status` still says so.
    """

    def __init__(self, problem: Problem, *, misfits: bool = False) -> None:
        self.problem = problem
        self.misfits = misfits
        self._arrays = problem.arrays.copy()
        self._arrays["evaluate_misfits"] = misfits
        self._tables = OccupancyTables(problem)
        self._work = np.zeros(1, WORK)

    def __call__(self, packed: PackedMappings) -> Accounts:
        """The account of every mapping."""
        n, L, T = len(packed), len(self.problem.level_names), len(self.problem.tensors)
        lanes = self.problem.architecture.compute.instances
        unknown = np.full((6, n), np.nan)
        out = Accounts(
            storage_pj=np.full((n, L, T), np.nan),
            compute_pj=unknown[0],
            leakage_pj=unknown[1],
            busy=unknown[2],
            utilization=unknown[3],
            occupied=np.full((n, L, T), np.nan),
            cycles=unknown[4],
            energy_pj=unknown[5],
            status=np.zeros(n, np.int64),
        )
        if n == 0:
            return out
        with announced():
            compile_kernel()
        works, work, row = self._work, self._work[0], record(packed, 0)
        arrays = (
            packed.temporal,
            packed.spatial,
            packed.temporal_order,
            packed.spatial_order,
            packed.on_x,
            packed.keep,
        )
        status, cycles, energy = out.status, np.zeros(n), np.zeros(n)
        with np.errstate(all="ignore"):
            for i in range(n):
                todo = np.array([i])
                while True:
                    kernel.evaluate_part(
                        self.problem.arrays,
                        *arrays,
                        row,
                        self._tables.arrays,
                        works,
                        todo,
                        status,
                        cycles,
                        energy,
                        0,
                        1,
                    )
                    if status[i] != -1:
                        break
                    self._tables.absorb(works)
                self._tables.absorb(works)
                if status[i] != 0 and not (self.misfits and status[i] >= FIRST_MISFIT):
                    continue
                kept = packed.keep[i] & (work["tile"][:L, :T] > 0)
                out.storage_pj[i] = np.where(kept, work["energy"][:L, :T].sum(axis=(2, 3)), 0.0)
                out.occupied[i] = np.where(kept, work["max_occupancy"][:L, :T], 0.0)
                out.compute_pj[i] = work["compute_energy"].sum()
                out.leakage_pj[i] = work["leakage"][: L + 1].sum()
                out.busy[i] = work["compute"][0] + work["compute"][1]
                out.cycles[i], out.energy_pj[i] = cycles[i], energy[i]
                out.utilization[i] = work["compute"][0] / (lanes * cycles[i]) if cycles[i] > 0 else 0.0
        return out
