"""Partial sums of several terms: within a step of several cycles, and from one product to the next.

The model's outputs start at zero: their first visit reads nothing. Where terms stream in the cycles of one step, only the first of
these cycles reads nothing. Where sums do not stay, a product that adds to what is there reads every element once more from the
outermost memory, and writes it into the level that accumulates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fiberloom.architecture.components import estimate
from fiberloom.architecture.levels import StorageLevel
from fiberloom.network_evaluation.mapping_search import MappingJob


def resumed(job: MappingJob, answer: Mapping[str, Any], output: str) -> tuple[float, dict[str, float]]:
    """Cycles and pJ by component of a mapped product that starts from the sums in memory.

    Args:
        answer: of `job`, as `fiberloom.network_evaluation.mapping_search.solve` gives it.
        output: the tensor of sums.
    """
    words = math.prod(job.einsum.tensor_shape(output))
    holding = [level for level in answer["levels"] if output in level["tensors"]]
    memory = job.architecture.levels[0]
    energy = dict(answer["energy_by_component_pj"])
    energy[memory.name] += words / memory.words_per_access * _access(job, memory, "read")
    for found in holding[1:]:
        level = job.architecture.level(found["name"])
        energy[level.name] += words / level.words_per_access * _access(job, level, "write")
    cycles = float(answer["cycles"])
    if memory.read_bandwidth is not None:
        read = sum(t["traffic"].get("read", {}).get("actual", 0.0) for t in answer["levels"][0]["tensors"].values())
        cycles = max(cycles, (read + words) / (memory.read_bandwidth * memory.instances))
    return cycles, energy


def later_cycles(job: MappingJob, cycles_per_step: int, output: str) -> dict[str, float]:
    """pJ by component of the reads of sums in the second to last cycle of every output's first step.

    Energies of `job` are per step (`fiberloom.codesign.layer.array.running`): a first step counts no reads at all.
    """
    words = math.prod(job.einsum.tensor_shape(output))
    found = {}
    for level in job.architecture.levels:
        if level.keep == (output,) and cycles_per_step > 1:
            per_cycle = _access(job, level, "read") / cycles_per_step
            found[level.name] = words / level.words_per_access * per_cycle * (cycles_per_step - 1)
    return found


def _access(job: MappingJob, level: StorageLevel, action: str) -> float:
    """pJ of one row access."""
    if level.energy_pj is not None and action in level.energy_pj:
        return level.energy_pj[action]
    architecture = job.architecture
    made = estimate(level, technology=architecture.technology, cycle_seconds=architecture.cycle_seconds)
    return made.energy_pj[action]
