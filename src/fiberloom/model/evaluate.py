"""Evaluate mappings: one with its full account, or a million with their totals. Both run the same kernel."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.architecture.levels import Architecture
from fiberloom.errors import FiberloomError, MappingError
from fiberloom.mapping.nest import Mapping
from fiberloom.model.evaluation import Evaluation
from fiberloom.model.lower import PackedMappings, Problem, lower, pack
from fiberloom.model.records import MAPPING, WORK
from fiberloom.model.rules import Rules
from fiberloom.workload.einsum import Einsum

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTS = 64
"""Parts that a batch is cut into, so that cores share the work evenly."""

_NOTICE_SECONDS = 2.0
_warm = False


@contextmanager
def _announce_compilation() -> Iterator[None]:
    """Say what takes so long when the kernel is compiled for the first time on this machine."""
    global _warm  # noqa: PLW0603 - one process compiles once
    if _warm:
        yield
        return
    notice = threading.Timer(
        _NOTICE_SECONDS,
        lambda: print("fiberloom: compiling its model for this machine (once, about 15 s) …", file=sys.stderr, flush=True),
    )
    notice.daemon = True
    notice.start()
    try:
        yield
    finally:
        notice.cancel()
        _warm = True


def evaluate(
    workload: Einsum,
    architecture: Architecture,
    mapping: Mapping,
    *,
    rules: str | Rules = "fiberloom",
    base_directory: Path | None = None,
    check_fit: bool = True,
) -> Evaluation:
    """Cycles, energy, area and the full account of one mapping.

    Args:
        rules: name of a rule set (see `fiberloom.model.rules`).
        base_directory: where relative paths of density files start.
        check_fit: raise when tiles do not fit; False evaluates them all the same, with a warning.

    Raises:
        SpecError: for sparse features, densities or components that make no sense.
        MappingError: when the mapping does not fit the Einsum or the hardware.
    """
    problem = lower(workload, architecture, rule_set=rules, base_directory=base_directory)
    return evaluate_problem(problem, mapping, check_fit=check_fit)


def evaluate_problem(problem: Problem, mapping: Mapping, *, check_fit: bool = True) -> Evaluation:
    """As `evaluate`, for a problem that is lowered already."""
    packed = pack(problem, [mapping])
    with _announce_compilation():
        from fiberloom.model.account import build_evaluation
        from fiberloom.model.kernel import evaluate_single
        from fiberloom.model.tables import OccupancyTables

        arrays = problem.arrays.copy()
        arrays["evaluate_misfits"] = not check_fit
        tables = OccupancyTables(problem)
        row = packed.record(0)
        works = np.zeros(1, WORK)
        while True:
            works["miss_count"] = works["unit_miss_count"] = 0
            status = evaluate_single(arrays, row, tables.arrays, works)
            if not tables.absorb(works):
                break
        scratch = works[0]
        if status != 0:
            misfit = explain(problem, int(status), scratch)
            if check_fit or int(status) < 20:
                raise misfit
            return build_evaluation(problem, mapping, row[0], scratch, (f"the mapping does not fit: {misfit.problem}",))
        return build_evaluation(problem, mapping, row[0], scratch, ())


@dataclass(frozen=True)
class BatchResult:
    """Totals of a batch, one entry per mapping.

    Attributes:
        cycles, energy_pj: NaN where the mapping does not fit.
        status: 0 where it fits, else the reason (see `explain`).
    """

    cycles: NDArray[np.float64]
    energy_pj: NDArray[np.float64]
    status: NDArray[np.int64]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Mappings that fit."""
        return self.status == 0


class BatchEvaluator:
    """Evaluates batches of packed mappings of one problem; occupancy statistics are kept between batches."""

    def __init__(self, problem: Problem) -> None:
        from fiberloom.model.tables import OccupancyTables

        self.problem = problem
        self._tables = OccupancyTables(problem)

    def __call__(self, mappings: PackedMappings | Sequence[Mapping]) -> BatchResult:
        """Totals of every mapping.

        Raises:
            MappingError: when unpacked mappings do not fit the Einsum.
        """
        from fiberloom.model.kernel import evaluate_batch

        packed = mappings if isinstance(mappings, PackedMappings) else pack(self.problem, mappings)
        p = self.problem.arrays
        n = len(packed)
        status = np.zeros(n, np.int64)
        cycles = np.full(n, np.nan)
        energy = np.full(n, np.nan)
        workers = PARTS if n >= 256 else 1
        works = np.zeros(workers, WORK)
        rows = np.concatenate([packed.record(0)] * workers) if n else np.zeros(0, MAPPING)
        todo = np.arange(n)
        with _announce_compilation():
            # A short first round meets most tiles, so that the long rounds rarely stop for one.
            for pending in (todo[:512], todo[512:]):
                while len(pending):
                    evaluate_batch(
                        p, packed.temporal, packed.spatial, packed.temporal_order, packed.spatial_order, packed.split,
                        packed.keep, rows, self._tables.arrays, works, pending, status, cycles, energy,
                    )  # fmt: skip
                    self._tables.absorb(works)
                    pending = pending[status[pending] == -1]
        bad = status != 0
        cycles[bad] = np.nan
        energy[bad] = np.nan
        return BatchResult(cycles, energy, status)


def explain(problem: Problem, status: int, scratch: Any) -> FiberloomError:
    """The error that a kernel status stands for, with the numbers that show it."""
    p = problem.arrays[0]
    level = int(scratch["failed_level"])
    name = problem.level_names[level]
    t = int(scratch["failed_tensor"])
    tensor = problem.tensors[t]
    match status:
        case 1:
            return MappingError(
                f"'{tensor}' at '{name}' has more non-trivial loops than its format has ranks ({p['format_ranks'][level, t]})",
                hint="add ranks to the format, or flatten several loops into one rank (variables: [...])",
            )
        case 2:
            return MappingError(
                f"'{tensor}' is compressed at '{name}' with fewer ranks than at the level inside it",
                hint="a compressed level repeats the ranks of its child inside its own",
            )
        case 10:
            return MappingError(
                f"'{name}' gates or skips '{tensor}', which neither it nor a level outside it keeps",
                hint=f"keep '{tensor}' at '{name}' or further out",
            )
        case 11:
            return MappingError(f"'{name}' position-skips '{tensor}', which it does not keep", hint=f"keep '{tensor}' at '{name}'")
        case 20:
            used = scratch['used_words'][level]
            parts = ", ".join(
                f"{held} {scratch['max_occupancy'][level, i]:,.0f}"
                for i, held in enumerate(problem.tensors)
                if scratch['tile'][level, i] > 0
            )
            return MappingError(
                f"tiles at '{name}' need {used:,.0f} words ({parts}), but it holds {p['capacity'][level]:,.0f}",
                hint="make the loops at and inside this level smaller, bypass a tensor, or enlarge the level",
            )
        case 21:
            return MappingError(
                f"metadata at '{name}' needs {scratch['failed_amount']:,.0f} bits, but it holds {p['metadata_capacity_bits'][level]:,.0f}",
                hint="make the tiles smaller, choose another format, or enlarge the metadata storage",
            )
        case 22:
            return MappingError(
                f"tiles at '{name}' use {scratch['used_words'][level]:,.0f} of {p['capacity'][level]:,.0f} words, "
                f"less than its minimum utilisation of {p['min_utilization'][level]:.0%}"
            )
        case 23:
            fan_x, fan_y = int(p['fan_x'][level]), int(p['fan_y'][level])
            x = scratch['expansion'][level, t, 0] / max(1, scratch['expansion'][level + 1, t, 0])
            y = scratch['expansion'][level, t, 1] / max(1, scratch['expansion'][level + 1, t, 1])
            return MappingError(
                f"the spatial loops below '{name}' need {x:.0f} x {y:.0f} children, but it has {fan_x} x {fan_y}",
                hint="make spatial factors smaller, or move loops between X and Y",
            )
        case 24:
            return MappingError(
                f"'{name}' keeps '{tensor}' uncompressed under a compressed level, but can't decompress",
                hint="set decompress: true there, or give it a compressed format",
            )
    return FiberloomError(f"the mapping can't be evaluated (status {status})")
