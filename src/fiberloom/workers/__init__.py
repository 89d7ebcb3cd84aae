"""Worker processes for anything that can be pickled: searches of mappings, evaluations of designs."""

from fiberloom.workers.pool import Lost, Work, WorkerPool, WorkersError, cores

__all__ = ["Lost", "Work", "WorkerPool", "WorkersError", "cores"]
