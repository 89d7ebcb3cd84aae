"""Evaluate mappings: one with its full account, or a million with their totals. Both run the same kernel."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.architecture.levels import Architecture
from fiberloom.errors import FiberloomError, MappingError, UnsupportedError
from fiberloom.mapping.nest import Mapping
from fiberloom.mapping.packed import PackedMappings
from fiberloom.model import kernel
from fiberloom.model.account import build_evaluation
from fiberloom.model.compiled import announced, compile_kernel, is_compiled
from fiberloom.model.evaluation import Evaluation
from fiberloom.model.lower import Problem, lower
from fiberloom.model.microarchitecture import FIRST_MISFIT
from fiberloom.model.packing import pack, record
from fiberloom.model.records import MAPPING, WORK
from fiberloom.model.rules import Rules
from fiberloom.model.tables import OccupancyTables
from fiberloom.workload.einsum import Einsum

PARTS = 64
"""Parts that a batch is cut into, so that cores share the work evenly."""


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
    arrays = problem.arrays.copy()
    arrays["evaluate_misfits"] = not check_fit
    works = np.zeros(1, WORK)
    status = int(_run(arrays, packed, OccupancyTables(problem), works, np.arange(1)).status[0])
    scratch, row = works[0], record(packed, 0)[0]
    if status == 0:
        return build_evaluation(problem, mapping, row, scratch, ())
    misfit = explain(problem, status, scratch)
    if check_fit or status < FIRST_MISFIT:
        raise misfit
    return build_evaluation(problem, mapping, row, scratch, (f"the mapping does not fit: {misfit.problem}",))


def account_of(problem: Problem, packed: PackedMappings) -> Any:
    """The kernel's work record of the first of `packed`, whether or not it fits; None where it can't be evaluated."""
    arrays = problem.arrays.copy()
    arrays["evaluate_misfits"] = True
    works = np.zeros(1, WORK)
    status = int(_run(arrays, packed, OccupancyTables(problem), works, np.arange(1)).status[0])
    return works[0] if status == 0 or status >= FIRST_MISFIT else None


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
        return np.asarray(self.status == 0)


class BatchEvaluator:
    """Evaluates batches of packed mappings of one problem; occupancy statistics are kept between batches."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._tables = OccupancyTables(problem)

    def __call__(self, mappings: PackedMappings | Sequence[Mapping]) -> BatchResult:
        """Totals of every mapping.

        Raises:
            MappingError: when unpacked mappings do not fit the Einsum.
        """
        packed = mappings if isinstance(mappings, PackedMappings) else pack(self.problem, mappings)
        n = len(packed)
        works = np.zeros(PARTS if n > PARTS else 1, WORK)
        with announced():
            compile_kernel()
            if n:
                _run(self.problem.arrays, packed, self._tables, works[:1], np.arange(1))
        result = _run(self.problem.arrays, packed, self._tables, works, np.arange(n))
        result.cycles[~result.valid] = np.nan
        result.energy_pj[~result.valid] = np.nan
        return result


def _run(
    problem: Any, packed: PackedMappings, tables: OccupancyTables, works: Any, todo: NDArray[np.int64]
) -> BatchResult:
    """Evaluate the mappings `todo`, again and again until no tile is unknown; parts of them on all cores."""
    n = len(packed)
    result = BatchResult(np.zeros(n), np.zeros(n), np.zeros(n, np.int64))
    rows = np.concatenate([record(packed, 0)] * len(works)) if n else np.zeros(len(works), MAPPING)
    parts = len(works)
    run: Callable[..., None] = kernel.evaluate_part
    if not is_compiled():  # as Python: fields of records as attributes
        problem, rows, works = problem.view(np.recarray), rows.view(np.recarray), works.view(np.recarray)
    # A short first round meets most tiles, so that the long rounds rarely stop for one.
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads, np.errstate(all="ignore"):
        for pending in (todo[:512], todo[512:]):
            while len(pending):
                arguments = (
                    problem, packed.temporal, packed.spatial, packed.temporal_order, packed.spatial_order, packed.on_x,
                    packed.keep, rows, tables.arrays, works, pending, result.status, result.cycles, result.energy_pj,
                )  # fmt: skip
                if parts == 1:
                    run(*arguments, 0, 1)
                else:
                    list(threads.map(lambda part, a=arguments: run(*a, part, parts), range(parts)))
                tables.absorb(works)
                pending = pending[result.status[pending] == -1]
    return result


def _remainder_error(problem: Problem, status: int, scratch: Any) -> FiberloomError:
    """What is wrong with, or not known about, a mapping whose factors do not multiply to the bounds."""
    tensor = problem.tensors[int(scratch["failed_tensor"])]
    variable = problem.variables[int(scratch["failed_variable"])]
    bound = problem.workload.shape[variable]
    hint = f"use factors of '{variable}' that multiply to {bound}"
    match status:
        case 12:
            return MappingError(
                f"the factors of '{variable}' do not cover its bound {bound}, or have iterations beyond it",
                hint="the factors multiply to the bound or more, and every iteration of the outermost loop has work to do",
            )
        case 13:
            return UnsupportedError(
                f"the rule set '{problem.rules.name}' knows no partial tiles, and the factors of '{variable}' do not multiply "
                f"to its bound {bound}",
                hint=f"use the rule set 'fiberloom', or {hint.removeprefix('use ')}",
            )
        case 14:
            kind = "whose windows overlap or have holes"
        case 15:
            kind = "which has a format, gating or skipping"
        case _:
            kind = "which has peer links"
    return UnsupportedError(
        f"the factors of '{variable}' do not multiply to its bound {bound}, and no counts of partial tiles are known for "
        f"'{tensor}', {kind}",
        hint=hint,
    )


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
                f"'{tensor}' at '{name}' has more non-trivial loops than its format has ranks "
                f"({p['format_ranks'][level, t]})",
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
            return MappingError(
                f"'{name}' position-skips '{tensor}', which it does not keep", hint=f"keep '{tensor}' at '{name}'"
            )
        case 12 | 13 | 14 | 15 | 16:
            return _remainder_error(problem, status, scratch)
        case 20:
            used = scratch["used_words"][level]
            parts = ", ".join(
                f"{held} {scratch['max_occupancy'][level, i]:,.0f}"
                for i, held in enumerate(problem.tensors)
                if scratch["tile"][level, i] > 0
            )
            return MappingError(
                f"tiles at '{name}' need {used:,.0f} words ({parts}), but it holds {p['capacity'][level]:,.0f}",
                hint="make the loops at and inside this level smaller, bypass a tensor, or enlarge the level",
            )
        case 21:
            return MappingError(
                f"metadata at '{name}' needs {scratch['failed_amount']:,.0f} bits, "
                f"but it holds {p['metadata_capacity_bits'][level]:,.0f}",
                hint="make the tiles smaller, choose another format, or enlarge the metadata storage",
            )
        case 22:
            return MappingError(
                f"tiles at '{name}' use {scratch['used_words'][level]:,.0f} of {p['capacity'][level]:,.0f} words, "
                f"less than its minimum utilisation of {p['min_utilization'][level]:.0%}"
            )
        case 23:
            fan_x, fan_y = int(p["fan_x"][level]), int(p["fan_y"][level])
            x = scratch["expansion"][level, t, 0] / max(1, scratch["expansion"][level + 1, t, 0])
            y = scratch["expansion"][level, t, 1] / max(1, scratch["expansion"][level + 1, t, 1])
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
