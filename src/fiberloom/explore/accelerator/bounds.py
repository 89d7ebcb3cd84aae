"""What a design costs at least on a workload, before any mapping is searched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from fiberloom.explore.accelerator.workload import Workload
from fiberloom.mapper.exact.compulsory import compulsory
from fiberloom.mapping.space import MapSpace
from fiberloom.model.lower import lower
from fiberloom.network_evaluation.cases import Widths, fitted, layers_of
from fiberloom.network_evaluation.designs import Design
from fiberloom.network_evaluation.mapping_search import MappingJob, seen_by
from fiberloom.workload.einsum import Einsum


def least(design: Design, workload: Workload) -> tuple[float, float]:
    """Least energy (J) and latency (s): the exact mapper's first bounds, summed over the layers.

    Raises:
        FiberloomError: for a layer that the design can't run.
    """
    energy = cycles = 0.0
    known: dict[str, tuple[float, float]] = {}
    for count, identity, jobs in _layers(design, workload):
        if identity not in known:
            costs = [(_compulsory(job), step) for job, step in jobs()]
            known[identity] = sum(e for (e, _), _ in costs), sum(c * step for (_, c), step in costs)
        energy += known[identity][0] * count
        cycles += known[identity][1] * count
    return energy * 1e-12, cycles * design.architecture.cycle_seconds


def _compulsory(job: MappingJob) -> tuple[float, float]:
    space = MapSpace(job.einsum, job.architecture, job.constraints)
    return compulsory(lower(job.einsum, job.architecture), space)


def _layers(
    design: Design, workload: Workload
) -> Iterator[tuple[int, str, Callable[[], list[tuple[MappingJob, int]]]]]:
    """How often each layer is computed, what tells it from others, and its searches with the design's cycles in one of theirs."""
    if design.info is not None and design.info.menu is not None:
        from fiberloom.codesign.layer.planning import Task, plan
        from fiberloom.codesign.networks import tasks_of

        def planned(task: Task) -> list[tuple[MappingJob, int]]:
            return [(run.job, run.cycles_per_step) for run in plan(task).runs]

        for operator, _, task in tasks_of(workload.read(), design.info, workload.weights, workload.activations):
            yield operator.count, task.identity, partial(planned, task)
        return

    def placed(einsum: Einsum) -> list[tuple[MappingJob, int]]:
        bound = design.bound(fitted(einsum, Widths.FIT, design.architecture.compute.word_bits))
        seen = seen_by(bound.architecture, bound.einsum)
        return [(MappingJob(seen, bound.architecture, bound.constraints), 1)]

    for layer in layers_of(workload.sparse()):
        yield layer.count, layer.name, partial(placed, layer.einsum)
