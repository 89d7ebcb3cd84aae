"""The account of one mapped layer as plain data: what `fiberloom network --json` holds, caches keep and reports show.

Counts are those of **all instances** of a level, in words of the tensor, for one computation of the layer.
"""

from __future__ import annotations

from typing import Any, Final

from fiberloom.model.evaluation import Evaluation, LevelAccount, MetadataCounts, TensorAccount
from fiberloom.model.lower import Problem

_ACTIONS: Final = {"read": "reads", "fill": "fills", "update": "updates"}


def account(problem: Problem, evaluation: Evaluation) -> dict[str, Any]:
    """Cycles, energy, traffic and occupancy of an evaluation of `problem`, by level, tensor and action."""
    compute = evaluation.compute
    return {
        "cycles": number(evaluation.cycles),
        "energy_pj": number(evaluation.energy_pj),
        "utilization": number(evaluation.utilization),
        "bottleneck": evaluation.bottleneck,
        "energy_by_component_pj": {k: number(v) for k, v in evaluation.energy_by_component_pj.items()},
        "energy_by_tensor_pj": _by_tensor(evaluation),
        "cycles_by_component": {
            **{level.name: number(level.cycles) for level in evaluation.levels},
            compute.name: number(compute.cycles),
        },
        "compute": compute.to_dict(),
        "levels": [_level(problem, level) for level in evaluation.levels],
        "loop_nest": evaluation.loop_nest.splitlines(),
        "warnings": list(evaluation.warnings),
        "provenance": dict(evaluation.provenance),
        "area_um2": number(evaluation.area_um2),
        "area_by_component_um2": {
            **{level.name: number(level.area_um2) for level in evaluation.levels},
            compute.name: number(compute.area_um2),
        },
    }


def _by_tensor(evaluation: Evaluation) -> dict[str, float]:
    parts: dict[str, float] = {}
    for level in evaluation.levels:
        for name, tensor in level.tensors.items():
            parts[name] = parts.get(name, 0.0) + tensor.energy_pj
    return {name: number(pj) for name, pj in parts.items()}


def _level(problem: Problem, level: LevelAccount) -> dict[str, Any]:
    return {
        "name": level.name,
        "cycles": number(level.cycles),
        "energy_pj": number(level.energy_pj),
        "leakage_pj": number(level.leakage_pj),
        "instances": number(level.instances),
        "word_bits": int(problem.arrays[0]["word_bits"][problem.level_names.index(level.name)]),
        "used_words": number(level.used_words),
        "capacity_words": None if level.capacity_words is None else number(level.capacity_words),
        "occupancy": None if not level.capacity_words else number(level.used_words / level.capacity_words),
        "metadata_pj": number(sum(_metadata_pj(t) for t in level.tensors.values())),
        "tensors": {name: _tensor(problem, level.name, tensor) for name, tensor in level.tensors.items()},
    }


def _tensor(problem: Problem, level: str, tensor: TensorAccount) -> dict[str, Any]:
    traffic = {}
    for action, plural in _ACTIONS.items():
        counts, dense = getattr(tensor, plural), getattr(tensor, f"dense_{plural}")
        whole = {**counts.to_dict(), "dense": dense}
        if any(whole.values()):
            traffic[action] = {kind: number(words * tensor.instances) for kind, words in whole.items()}
    metadata = {
        action: number(_bits(problem, level, tensor.tensor, getattr(tensor, f"metadata_{plural}")) * tensor.instances)
        for action, plural in _ACTIONS.items()
    }
    return {
        "energy_pj": number(tensor.energy_pj),
        "metadata_pj": number(_metadata_pj(tensor)),
        "energy_by_action_pj": {k: number(v) for k, v in tensor.energy_by_action_pj.items()},
        "instances": number(tensor.instances),
        "word_bits": number(_word_bits(problem, level, tensor.tensor)),
        "tile_words": number(tensor.tile_words),
        "occupied_words": number(tensor.occupied_words),
        "traffic": traffic,
        "metadata_bits": {action: bits for action, bits in metadata.items() if bits},
        "eliminated_share": number(tensor.elimination_probability),
    }


def _word_bits(problem: Problem, level: str, tensor: str) -> float:
    """Bits of one value of a tensor at a level."""
    p, at, t = problem.arrays[0], problem.level_names.index(level), problem.tensors.index(tensor)
    return float(p["word_bits"][at] * p["word_scale"][at, t])


def _bits(problem: Problem, level: str, tensor: str, counts: MetadataCounts) -> float:
    """Bits of metadata that one instance moves, skipped ones apart."""
    p, at, t = problem.arrays[0], problem.level_names.index(level), problem.tensors.index(tensor)
    return sum(
        items * float(p["metadata_bits"][at, t, rank]) + payloads * float(p["payload_bits"][at, t, rank])
        for moved in (counts.actual, counts.gated)
        for rank, (items, payloads) in enumerate(moved)
    )


def _metadata_pj(tensor: TensorAccount) -> float:
    return sum(pj for action, pj in tensor.energy_by_action_pj.items() if action.startswith("metadata"))


def number(value: float) -> float | int:
    """Whole numbers as integers, so that counts print as counts."""
    value = float(value)
    return int(value) if value.is_integer() and abs(value) < 2**62 else value
