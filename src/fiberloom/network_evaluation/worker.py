"""The program of a worker process: jobs come on standard input, answers go to standard output."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from typing import Any

from fiberloom.network_evaluation.workers import receive, send


def main() -> None:
    """Solve jobs until the parent closes the pipe or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that a library prints may reach the pipe
    jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    while True:
        job = jobs.get()
        send(answers, warm() if job is None else _solved(job))


def _listen(jobs: queue.SimpleQueue[Any]) -> None:
    """Ends the process in the middle of any search when the parent is gone, however it went."""
    try:
        while True:
            jobs.put(receive(sys.stdin.buffer))
    except (EOFError, OSError):
        os._exit(0)


def warm() -> dict[str, Any]:
    """Load the compiled kernel and the exact mapper by a search that is nothing else."""
    from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
    from fiberloom.network_evaluation.mapping_search import MappingJob, solve
    from fiberloom.workload.einsum import Einsum

    energy = {"read": 1.0, "write": 1.0}
    memory = StorageLevel(name="memory", component=ComponentClass.DRAM, energy_pj=energy, area_um2=0.0)
    compute = Compute(name="mac", energy_pj={"compute": 1.0}, area_um2=0.0)
    product = Einsum.parse("Z[m,n] = A[m,k] * B[k,n]", {"m": 2, "n": 2, "k": 2})
    return solve(MappingJob(product, Architecture(levels=(memory,), compute=compute)))


def _solved(job: Any) -> dict[str, Any]:
    from fiberloom.network_evaluation.mapping_search import solve

    try:
        return solve(job)
    except Exception as error:  # a fault of fiberloom must not take the other layers with it
        return {
            "status": "not mappable",
            "reason": f"internal error: {type(error).__name__}: {str(error)[:300]}",
            "hint": "this is a fault of fiberloom, not of your input: please report it",
            "interrupted": True,
            "seconds": 0.0,
        }


if __name__ == "__main__":
    main()
