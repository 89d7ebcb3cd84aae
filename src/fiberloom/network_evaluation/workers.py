"""Worker processes that search mappings: each runs one search at a time and dies with the process that started it.

They are plain child processes that read jobs from their standard input, so that a script needs no ``__main__`` guard. The first
compiles or loads the kernel before the others start, so that it is compiled once. Ctrl-C reaches only the parent, which ends them.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Final

from fiberloom.network_evaluation.mapping_search import MappingJob, solve

_LENGTH: Final = struct.Struct("<Q")
_ONE_THREAD: Final = (
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "PYTHON_CPU_COUNT",
)
"""Variables that keep the libraries of a worker to one thread: the workers are the parallelism."""


def send(stream: IO[bytes], message: Any) -> None:
    """One message, whole."""
    content = pickle.dumps(message)
    stream.write(_LENGTH.pack(len(content)) + content)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """The next message.

    Raises:
        EOFError: when the other side is gone.
    """
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return pickle.loads(content)


class _Worker:
    """A child process and the thread that listens to it."""

    def __init__(self, number: int, news: queue.SimpleQueue[tuple[_Worker, Any]]) -> None:
        self.number = number
        self.job: int | None = None
        environment = {**os.environ, **dict.fromkeys(_ONE_THREAD, "1")}
        root = str(Path(__file__).parent.parent.parent)
        environment["PYTHONPATH"] = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH", "")) if p)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fiberloom.network_evaluation.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C in the terminal is the parent's business
        )
        self._listener = threading.Thread(target=self._listen, args=(news,), daemon=True)
        self._listener.start()

    def give(self, index: int | None, job: MappingJob | None) -> None:
        """A job, or None to warm up."""
        self.job = index
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # a dead worker is reported by its listener
            send(self.process.stdin, job)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self.process.wait()

    def _listen(self, news: queue.SimpleQueue[tuple[_Worker, Any]]) -> None:
        stream = self.process.stdout
        assert stream is not None
        try:
            while True:
                news.put((self, receive(stream)))
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            news.put((self, None))


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
    waiting = deque(range(len(jobs)))
    if not waiting:
        return
    if workers == 0:
        for number, job in enumerate(jobs):
            started(number)
            done(number, solve(job))
        return
    news: queue.SimpleQueue[tuple[_Worker, Any]] = queue.SimpleQueue()
    running: list[_Worker] = []
    left = len(jobs)
    deaths = 0

    def start() -> None:
        worker = _Worker(len(running), news)
        running.append(worker)
        worker.give(None, None)

    def feed(worker: _Worker) -> None:
        if waiting:
            index = waiting.popleft()
            worker.give(index, jobs[index])
            started(index)

    try:
        start()
        warm = False
        while left:
            worker, answer = news.get()
            if answer is None:  # the process died: of memory, most likely, or it could not start
                deaths += 1
                index, worker.job = worker.job, None
                running.remove(worker)
                worker.end()
                if index is not None:
                    left -= 1
                    done(index, _died(worker.process.returncode))
                elif deaths > workers:
                    for index in waiting:
                        done(index, _died(worker.process.returncode))
                    return
                if waiting:
                    start()
                continue
            index, worker.job = worker.job, None
            if index is not None:
                left -= 1
                done(index, answer)
            elif not warm:
                warm = True
                for _ in range(min(workers, len(jobs)) - 1):
                    start()
            feed(worker)
    finally:
        for worker in running:
            worker.end()


def _died(code: int | None) -> dict[str, Any]:
    why = f"by signal {-code}" if code is not None and code < 0 else f"with code {code}"
    return {
        "status": "not mappable",
        "reason": f"the process that searched its mapping ended {why}",
        "hint": "perhaps the machine ran out of memory; try fewer --jobs",
        "interrupted": True,
        "seconds": 0.0,
    }
