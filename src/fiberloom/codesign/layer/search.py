"""Mappings of many problems: from the cache of whole networks, or searched by its workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fiberloom.network_evaluation.cache import ResultCache, default_folder
from fiberloom.network_evaluation.mapping_search import MappingJob
from fiberloom.network_evaluation.workers import run_jobs


def answers(
    jobs: Sequence[MappingJob],
    *,
    workers: int | None = None,
    cache: bool | str | Path = True,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """The answer of every job, equal ones searched once.

    Args:
        workers: most processes; None: one per core; 0: in this one.
        cache: True for the user's cache folder, a folder, or False for none.
        progress: told how many searches are done, and how many there are.
    """
    folder = None if cache is False else default_folder() if cache is True else Path(cache)
    store = ResultCache(folder)
    keys = [job.key() for job in jobs]
    known: dict[str, dict[str, Any]] = {}
    todo: dict[str, MappingJob] = {}
    for key, job in zip(keys, jobs, strict=True):
        found = store.get(key)
        if found is not None and job.settled_by(found):
            known[key] = found
        else:
            todo.setdefault(key, job)
    order = list(todo)

    def done(index: int, answer: dict[str, Any]) -> None:
        known[order[index]] = answer
        if not answer.get("interrupted"):
            store.put(order[index], answer)
        if progress is not None:
            progress(sum(key in known for key in order), len(order))

    if order:
        run_jobs(list(todo.values()), min(_cores() if workers is None else workers, len(order)), done=done)
    return [known[key] for key in keys]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
