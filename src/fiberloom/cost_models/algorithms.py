"""What an algorithm costs on a design: the best mapping of each Einsum, the copies between, and who wins why."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fiberloom.architecture.levels import Architecture
from fiberloom.cost_models._base import Cost, CostModel
from fiberloom.cost_models.flattening import unflattened
from fiberloom.errors import UnsupportedError
from fiberloom.mapping.nest import Mapping
from fiberloom.model.lower import Problem, lower
from fiberloom.workload.algorithms import Algorithm, Movement, Step, native
from fiberloom.workload.einsum import Einsum

FindMapping = Callable[[Problem], Mapping]
"""How the mapping of an Einsum is found: a mapper, or a design's dataflow."""

OBJECTIVES = ("cycles", "energy", "edp")


@dataclass(frozen=True)
class StepCost:
    """One step of an algorithm.

    Attributes:
        cost: what the model says of the step's mapping; None for a movement.
        utilization: MACs per lane of the chip and cycle; None for a movement.
        mapping: what was found for the step; None for a movement.
    """

    step: Step
    cycles: float
    energy_pj: float
    cost: Cost | None = None
    utilization: float | None = None
    mapping: Mapping | None = None


@dataclass(frozen=True)
class AlgorithmCost:
    """An algorithm on a design; its steps run one after the other."""

    algorithm: Algorithm
    design: str
    steps: tuple[StepCost, ...]

    @property
    def cycles(self) -> float:
        return sum(step.cycles for step in self.steps)

    @property
    def energy_pj(self) -> float:
        return sum(step.energy_pj for step in self.steps)

    @property
    def edp(self) -> float:
        """Energy–delay product in pJ · cycles."""
        return self.cycles * self.energy_pj

    def value(self, objective: str) -> float:
        """Cycles, energy (pJ) or EDP (pJ · cycles)."""
        return {"cycles": self.cycles, "energy": self.energy_pj, "edp": self.edp}[objective]

    @property
    def moving(self) -> tuple[float, float]:
        """Shares of cycles and energy that go into movements between layouts."""
        moved = [step for step in self.steps if isinstance(step.step, Movement)]
        return (
            sum(step.cycles for step in moved) / self.cycles if self.cycles else 0.0,
            sum(step.energy_pj for step in moved) / self.energy_pj if self.energy_pj else 0.0,
        )

    @property
    def utilization(self) -> float:
        """MACs per lane and cycle while the algorithm computes."""
        busy = [step for step in self.steps if step.utilization is not None]
        cycles = sum(step.cycles for step in busy)
        return sum((step.utilization or 0.0) * step.cycles for step in busy) / cycles if cycles else 0.0


def algorithm_cost(
    algorithm: Algorithm,
    architecture_for: Callable[[Einsum], Architecture],
    find_mapping: FindMapping,
    model: CostModel,
) -> AlgorithmCost:
    """Cost of an algorithm: every Einsum under the mapping that is found for it, movements as copies.

    Args:
        architecture_for: the design under an Einsum's names.

    Raises:
        UnsupportedError: if the design can't run a step, the model can't judge it, or a movement would have to unpack a
            compressed tensor.
        MappingError: if no mapping fits.
    """
    problems = [lower(einsum, architecture_for(einsum)) for einsum in algorithm.einsums]
    by_name = {problem.workload.name: problem for problem in problems}
    steps = []
    for step in algorithm.steps:
        if isinstance(step, Movement):
            steps.append(StepCost(step, *movement_cost(problems[0], step)))
            continue
        problem = by_name[step.name]
        steps.append(_computed(problem, step, find_mapping(problem), model))
    return AlgorithmCost(algorithm, problems[0].architecture.name, tuple(steps))


def _computed(problem: Problem, einsum: Einsum, mapping: Mapping, model: CostModel) -> StepCost:
    cost = model.evaluate(problem, mapping)
    work = problem.architecture.compute.instances * cost.cycles
    return StepCost(einsum, cost.cycles, cost.energy_pj, cost, einsum.macs / work if work else 0.0, mapping)


def natively_as_gemm(
    rewritten: AlgorithmCost, einsum: Einsum, architecture_for: Callable[[Einsum], Architecture], model: CostModel
) -> AlgorithmCost:
    """The contraction natively, under the mapping that the GEMM of its `ttgt` got (see `flattening`).

    Raises:
        UnsupportedError, MappingError: as `algorithm_cost`.
    """
    (gemm,) = (step for step in rewritten.steps if step.mapping is not None)
    assert gemm.mapping is not None
    problem = lower(einsum, architecture_for(einsum))
    mapping = unflattened(gemm.mapping, rewritten.algorithm.groups, einsum.shape)
    return AlgorithmCost(native(einsum), problem.architecture.name, (_computed(problem, einsum, mapping, model),))


def movement_cost(problem: Problem, movement: Movement) -> tuple[float, float]:
    """Cycles and energy (pJ) of a copy from the outermost memory through the next level and back.

    Words cross both levels once in each direction, in whole blocks, both ways at the same time; the slowest port decides. A
    transpose needs a block of blocks in the next level; where that is smaller, it is written word by word. The whole chip
    waits and leaks.

    Args:
        problem: any Einsum with the tensor on the design.

    Raises:
        UnsupportedError: if the outermost memory compresses the tensor.
    """
    p, t = problem.arrays[0], problem.tensors.index(movement.tensor)
    outer = len(problem.level_names) - 1
    if p["is_compressed"][outer, t]:
        raise UnsupportedError(
            f"'{problem.level_names[outer]}' compresses '{movement.tensor}': {movement.what} would have to unpack it",
            hint="compare algorithms on the design without its formats",
        )
    stage = max(0, outer - 1)
    block = float(p["values_per_access"][outer, t])
    staged = stage == outer or not movement.transposes or float(p["capacity"][stage]) >= block * block
    reads, writes = movement.read_words, movement.written_words
    energy = reads / block * float(p["energy"][outer, 0, 0])
    energy += (writes / block if staged else writes) * float(p["energy"][outer, 2, 0])
    cycles = _port_cycles(problem, outer, t, reads, writes)
    if stage != outer:
        inner_block = float(p["values_per_access"][stage, t])
        energy += reads / inner_block * float(p["energy"][stage, 1, 0])
        energy += writes / inner_block * float(p["energy"][stage, 0, 0])
        cycles = max(cycles, _port_cycles(problem, stage, t, writes, reads))
    cycles = math.ceil(cycles - 1e-9)
    chip = (problem.architecture.compute, *reversed(problem.architecture.levels))
    energy += sum(float(leak) * unit.instances for leak, unit in zip(p["leak"], chip, strict=False)) * cycles
    return float(cycles), energy


def _port_cycles(problem: Problem, level: int, t: int, reads: int, writes: int) -> float:
    p = problem.arrays[0]
    demand = float(p["demand"][level, t])
    instances = problem.architecture.level(problem.level_names[level]).instances
    return (
        max(
            reads / float(p["read_bandwidth"][level]),
            writes / float(p["write_bandwidth"][level]),
            (reads + writes) / float(p["shared_bandwidth"][level]),
        )
        * demand
        / instances
    )


def winner(costs: Sequence[AlgorithmCost], objective: str = "edp") -> AlgorithmCost:
    """The cheapest algorithm; the first of equals.

    Args:
        objective: one of `OBJECTIVES`.
    """
    return min(costs, key=lambda cost: cost.value(objective))


def why(costs: Sequence[AlgorithmCost], objective: str = "edp") -> str:
    """In one line, what separates the cheapest algorithm from the next one."""
    best = winner(costs, objective)
    others = [cost for cost in costs if cost is not best]
    if not others:
        return "no other algorithm applies"
    second = winner(others, objective)
    factor = second.value(objective) / best.value(objective) if best.value(objective) else math.inf
    reasons = []
    if max(best.utilization, second.utilization) > 1.1 * min(best.utilization, second.utilization):
        reasons.append(
            f"keeps {best.utilization:.2g} of the lanes busy, {second.algorithm.name} {second.utilization:.2g}"
        )
    for cost, verb in ((second, "spends"), (best, "though it spends")):
        cycles, energy = cost.moving
        if max(cycles, energy) > 0.005:
            subject = f"{cost.algorithm.name} {verb}" if cost is second else verb
            reasons.append(f"{subject} {cycles:.0%} of its cycles and {energy:.0%} of its energy on moving words")
    if not reasons and factor > 1.001:
        reasons.append("its loops leave more of the data where it is")
    return (
        f"{factor:.2f}× better than {second.algorithm.name}" if factor > 1.001 else f"equal to {second.algorithm.name}"
    ) + (f": {'; '.join(reasons)}" if reasons else "")
