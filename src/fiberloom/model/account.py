"""From the kernel's scratch to an `Evaluation`: names, units, invariants."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fiberloom.mapping.nest import Mapping
from fiberloom.mapping.printing import loop_nest
from fiberloom.model.actions import STORAGE_ACTIONS
from fiberloom.model.evaluation import (
    ComputeAccount,
    Counts,
    Evaluation,
    LevelAccount,
    MetadataCounts,
    NetworkAccount,
    TensorAccount,
)
from fiberloom.model.lower import Problem

if TYPE_CHECKING:
    from numpy import void as Record

_READ, _FILL, _UPDATE = 0, 1, 2


def build_evaluation(
    problem: Problem, mapping: Mapping, row: Record, w: Record, warnings: tuple[str, ...]
) -> Evaluation:
    """The account of the mapping that `w` holds.

    Raises:
        AssertionError: when an invariant of the model does not hold (a fault of fiberloom, not of the input).
    """
    p, architecture = problem.arrays[0], problem.architecture
    levels = []
    for level in reversed(range(len(problem.level_names))):
        spec = architecture.level(problem.level_names[level])
        tensors = {
            name: _tensor_account(problem, w, level, t, name)
            for t, name in enumerate(problem.tensors)
            if row["keep"][level, t] and w["tile"][level, t] > 0
        }
        levels.append(
            LevelAccount(
                name=spec.name,
                cycles=float(w["level_cycles"][level]),
                slowdown=float(w["slowdown"][level]),
                used_words=float(w["used_words"][level]),
                capacity_words=None if math.isinf(p["capacity"][level]) else float(p["capacity"][level]),
                instances=float(w["used_instances"][level + 1]),
                tensors=tensors,
                leakage_pj=float(w["leakage"][level + 1]),
                area_um2=problem.areas_um2[spec.name] * spec.instances,
            )
        )
    unit = architecture.compute
    algorithmic = float(w["points"])
    actual, gated, skipped = (float(x) for x in w["compute"])
    compute = ComputeAccount(
        name=unit.name,
        algorithmic=algorithmic,
        actual=actual,
        gated=gated,
        skipped=skipped,
        eliminated=max(0.0, algorithmic - actual - gated - skipped),
        instances=float(w["used_instances"][0]),
        cycles=float(w["compute_cycles"]),
        energy_pj=float(w["compute_energy"].sum()),
        leakage_pj=float(w["leakage"][0]),
        area_um2=problem.areas_um2[unit.name] * unit.instances,
    )
    cycles = float(w["cycles"])
    slowest = max(levels, key=lambda account: account.cycles)
    notes = [*problem.warnings, *warnings]
    if w["clamped"]:
        notes.append(
            "an inner gating or skipping entry is weaker than an outer one on the same tensor; it removes nothing more "
            "(the reference tool's counts wrap around here)"
        )
    notes += _faults_of_the_reference(problem, w)
    evaluation = Evaluation(
        cycles=cycles,
        energy_pj=float(w["energy_pj"]),
        area_um2=sum(level.area_um2 for level in levels) + compute.area_um2,
        utilization=actual / (unit.instances * cycles) if cycles > 0 else 0.0,
        bottleneck=compute.name if slowest.cycles <= compute.cycles else slowest.name,
        compute=compute,
        levels=tuple(levels),
        networks=_networks(problem, levels, compute),
        warnings=tuple(notes),
        provenance=problem.provenance,
        rules=problem.rules.name,
        workload=str(problem.workload),
        architecture=architecture.name,
        loop_nest=loop_nest(problem.workload, architecture, mapping),
        cycle_seconds=architecture.cycle_seconds,
    )
    _check_invariants(problem, evaluation)
    return evaluation


def _tensor_account(problem: Problem, w: Record, level: int, t: int, name: str) -> TensorAccount:
    p = problem.arrays[0]
    counts = [Counts(*(float(x) for x in w["count"][level, t, a])) for a in range(3)]
    ranks = int(p["format_ranks"][level, t]) if p["has_metadata"][level, t] else 0
    metadata = [
        MetadataCounts(
            *(
                tuple(
                    (float(w["metadata"][level, t, r, 0, a, k]), float(w["metadata"][level, t, r, 1, a, k]))
                    for r in range(ranks)
                )
                for k in range(3)
            )
        )
        for a in range(3)
    ]
    energy = {action: float(w["energy"][level, t, a].sum()) for a, action in enumerate(STORAGE_ACTIONS)}
    return TensorAccount(
        tensor=name,
        tile_words=float(w["tile"][level, t]),
        occupied_words=float(w["max_occupancy"][level, t]),
        instances=float(w["instances"][level, t]),
        reads=counts[_READ],
        fills=counts[_FILL],
        updates=counts[_UPDATE],
        metadata_reads=metadata[_READ],
        metadata_fills=metadata[_FILL],
        metadata_updates=metadata[_UPDATE],
        energy_by_action_pj={k: v for k, v in energy.items() if v},
        dense_reads=float(w["dense"][level, t, _READ]),
        dense_fills=float(w["dense"][level, t, _FILL]),
        dense_updates=float(w["dense"][level, t, _UPDATE]),
        peer_words=float(w["peer"][level, t]),
        elimination_probability=float(w["elimination"][level, t])
        if problem.rules.exact
        else float(w["saf_p"][level, t]),
    )


def _networks(problem: Problem, levels: list[LevelAccount], compute: ComputeAccount) -> tuple[NetworkAccount, ...]:
    """Words that cross between neighbouring keepers of each tensor, as they arrive; moving them costs nothing (docs/limits.md)."""
    words: dict[str, dict[str, float]] = {}
    for operand in problem.workload.tensors:
        keepers = [level for level in levels if operand.name in level.tensors]
        for outer, inner in zip(keepers, [*keepers[1:], None], strict=True):
            above = outer.tensors[operand.name]
            if inner is None:
                arriving = above.reads.actual * above.instances
            else:
                arriving = inner.tensors[operand.name].fills.actual * inner.tensors[operand.name].instances
            if operand.is_output:
                arriving += above.updates.actual * above.instances
            link = f"{outer.name} <==> {compute.name if inner is None else inner.name}"
            words.setdefault(link, {})[operand.name] = arriving
    return tuple(NetworkAccount(name, moved, 0.0) for name, moved in words.items())


def _faults_of_the_reference(problem: Problem, w: Record) -> list[str]:
    """Where a reference build, asked by its own rules, loses the likeliest occupancy of a tile that is never empty."""
    if problem.rules.exact:
        return []
    notes = []
    for level, t in np.argwhere(w["parent_metadata"] & (w["tile"] > 0)):
        model = problem.densities[t]
        extents = dict(zip(problem.variables, (int(x) for x in w["extent"][level + 1]), strict=False))
        tile = problem.workload.tensors[t].tile_shape(extents)
        whole = model.distribution == "uniform" and math.prod(tile) >= model.size
        if model.distribution in ("uniform", "banded") and not whole and model.min_occupancy(tile) > 0:
            notes.append(
                f"'{problem.level_names[level]}': tiles of '{problem.tensors[t]}' are never empty; the reference tool drops one "
                "of their occupancies here and prints too small counts or energies"
            )
    return notes


def _check_invariants(problem: Problem, e: Evaluation) -> None:
    """What must hold for every evaluation, whatever the input (design: *One model, batch first*)."""
    slack = 1e-6
    c = e.compute
    assert c.algorithmic == problem.workload.macs, f"MACs are not conserved: {c.algorithmic} of {problem.workload.macs}"
    total = c.actual + c.gated + c.skipped + c.eliminated
    assert abs(total - c.algorithmic) <= slack * c.algorithmic, (
        "actual + gated + skipped + eliminated is not algorithmic"
    )
    assert min(c.actual, c.gated, c.skipped, c.eliminated) >= 0, "a count of computations is negative"
    lanes = c.instances
    assert e.cycles >= (c.actual + c.gated) / lanes - 1 - slack * e.cycles, "fewer cycles than work over lanes"
    assert math.isfinite(e.energy_pj) and e.energy_pj >= 0, f"energy is {e.energy_pj}"
    output = problem.workload.output.name
    for level in e.levels:
        for name, tensor in level.tensors.items():
            for action in ("reads", "fills", "updates"):
                counts: Counts = getattr(tensor, action)
                dense = getattr(tensor, f"dense_{action}")
                kinds = (counts.actual, counts.gated, counts.skipped)
                assert all(np.isfinite(kinds)) and min(kinds) >= -slack, f"{level.name}.{name}.{action}: {kinds}"
                assert sum(kinds) <= dense * (1 + slack) + 1, (
                    f"{level.name}.{name}.{action}: {kinds} above dense {dense}"
                )
    # compulsory traffic: the outermost keeper of a tensor moves every element that is used at least once
    for operand in problem.workload.tensors:
        home = next(level for level in e.levels if operand.name in level.tensors)
        account = home.tensors[operand.name]
        moved = account.dense_updates if operand.name == output else account.dense_reads
        if all(len(rank) == 1 for rank in operand.ranks) and account.peer_words == 0:
            used = math.prod([problem.workload.shape[v] for v in operand.variables])
            assert moved * home.instances >= used * (1 - slack), (
                f"{home.name}.{operand.name}: {moved} words moved of {used}"
            )
