"""Worker processes for anything that can be pickled: searches of mappings, evaluations of designs."""

from fiberloom.workers.pool import ONE_THREAD, Lost, Work, WorkerPool, WorkersError, cores

__all__ = ["ONE_THREAD", "Lost", "Work", "WorkerPool", "WorkersError", "cores"]
