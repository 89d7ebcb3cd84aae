"""The sparse model: `fiberloom.model`, the one that mappers search with (docs/model.md)."""

from __future__ import annotations

from typing import ClassVar

from fiberloom.cost_models._base import Checks, Cost, CostModel, Words
from fiberloom.cost_models._loops import read_loops, used_words
from fiberloom.mapping.nest import Mapping
from fiberloom.model.evaluate import evaluate_problem
from fiberloom.model.lower import Problem


class SparseModel(CostModel):
    """Dense traffic, sparse filtering, microarchitecture: Sparseloop's three steps, as fiberloom computes them."""

    name: ClassVar[str] = "sparse"
    summary: ClassVar[str] = "fiberloom's own model: formats, gating and skipping, bandwidth, everything overlaps"

    def supports(self, problem: Problem) -> tuple[str, ...]:
        """Nothing speaks against a problem that could be lowered."""
        return ()

    def _cost(self, problem: Problem, mapping: Mapping) -> Cost:
        evaluation = evaluate_problem(problem, mapping)
        workload, compute = problem.workload, evaluation.compute
        loops, checks = read_loops(problem, mapping), Checks()
        checks.equal("MACs", compute.algorithmic, workload.macs, "points of the iteration space")
        checks.at_least(
            "cycles",
            evaluation.cycles,
            (compute.actual + compute.gated) / loops.lanes,
            "computations over lanes in use",
        )
        for tensor in workload.tensors:
            home = max(loops.keepers(tensor.name))
            account = evaluation.level(problem.level_names[home]).tensors[tensor.name]
            moved = account.dense_updates if tensor.is_output else account.dense_reads
            checks.at_least(
                f"dense {'updates' if tensor.is_output else 'reads'} of {tensor.name} at {problem.level_names[home]}",
                moved * loops.used_instances[home],
                used_words(workload, tensor),
                "words that are used at all",
            )
        cycles = {level.name: level.cycles for level in evaluation.levels}
        cycles[compute.name] = compute.cycles
        return Cost(
            model=self.name,
            cycles=evaluation.cycles,
            energy_pj=evaluation.energy_pj,
            cycles_by_component=cycles,
            energy_by_component_pj=evaluation.energy_by_component_pj,
            bottleneck=evaluation.bottleneck,
            words={
                level.name: {
                    name: Words(
                        account.reads.actual * account.instances,
                        account.fills.actual * account.instances,
                        account.updates.actual * account.instances,
                    )
                    for name, account in level.tensors.items()
                }
                for level in evaluation.levels
            },
            needs_words={level.name: level.used_words for level in evaluation.levels},
            checks=checks.held(),
            notes=evaluation.warnings,
        )
