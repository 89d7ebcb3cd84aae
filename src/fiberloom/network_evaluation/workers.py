"""Searches of mappings on several processes (`fiberloom.workers`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fiberloom.network_evaluation.mapping_search import MappingJob, solve
from fiberloom.workers import Lost, WorkerPool, WorkersError


class MappingSearches:
    """The work: a `MappingJob` is a job."""

    def prepare(self) -> None:
        """Load the compiled kernel and the exact mapper by a search that is nothing else."""
        from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
        from fiberloom.workload.einsum import Einsum

        energy = {"read": 1.0, "write": 1.0}
        memory = StorageLevel(name="memory", component=ComponentClass.DRAM, energy_pj=energy, area_um2=0.0)
        compute = Compute(name="mac", energy_pj={"compute": 1.0}, area_um2=0.0)
        product = Einsum.parse("Z[m,n] = A[m,k] * B[k,n]", {"m": 2, "n": 2, "k": 2})
        solve(MappingJob(product, Architecture(levels=(memory,), compute=compute)))

    def do(self, job: MappingJob) -> dict[str, Any]:
        """The answer of one search."""
        return solve(job)


def run_jobs(
    jobs: Sequence[MappingJob],
    workers: int,
    *,
    started: Callable[[int], None] = lambda index: None,
    done: Callable[[int, dict[str, Any]], None],
) -> None:
    """Solve `jobs` in their order on several processes.

    Args:
        workers: most processes at a time; 0: in this one.
        started, done: called in this thread with the job's index, and its answer.
    """
    if not jobs:
        return
    if workers == 0:
        for number, job in enumerate(jobs):
            started(number)
            done(number, solve(job))
        return
    left = set(range(len(jobs)))

    def end(index: int, answer: dict[str, Any] | Lost) -> None:
        left.discard(index)
        done(index, _unanswered(answer.reason) if isinstance(answer, Lost) else answer)

    try:
        with WorkerPool(MappingSearches(), workers) as pool:
            pool.run(jobs, started=started, done=end)
    except WorkersError as error:
        for index in sorted(left):
            end(index, Lost(str(error)))


def _unanswered(reason: str) -> dict[str, Any]:
    """The answer of a search that a fault ended: of its process, or of fiberloom in this layer alone."""
    return {
        "status": "not mappable",
        "reason": f"its mapping was not searched to the end: {reason}",
        "hint": "try fewer --jobs if memory is short; an internal error is a fault of fiberloom: please report it",
        "interrupted": True,
        "seconds": 0.0,
    }
