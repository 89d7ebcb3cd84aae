"""A pool of worker processes: each does one job at a time and dies with the process that started it.

They are plain child processes that read jobs from their standard input, so that a script needs no ``__main__`` guard. The first
prepares (compiles a kernel, say) before the others start, so that it is done once. Ctrl-C reaches only the parent, which ends them.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from fiberloom.workers.messages import receive, send, send_pickled

ONE_THREAD: Final = (
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "PYTHON_CPU_COUNT",
)
"""Variables that keep the libraries of a worker to one thread: the workers are the parallelism."""


class Work(Protocol):
    """What workers do; it is pickled, and every worker has its own."""

    def prepare(self) -> None:
        """What is worth doing once per process, before the first job."""

    def do(self, job: Any) -> Any:
        """The answer of one job."""


@dataclass(frozen=True)
class Lost:
    """Stands for the answer of a job that has none.

    Attributes:
        reason: in words: ``its process ended by signal 9``.
    """

    reason: str


class WorkersError(Exception):
    """Workers can't begin: the work can't be pickled, can't be prepared, or their processes end before they are ready."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class WorkerPool:
    """Processes that do jobs; they start when they are needed and stay until `close`.

    Args:
        workers: most processes at a time, at least 1.
        tries: how often a job is begun whose process ends in the middle of it.
        seconds: most time for a job; its process is ended then, and the job not tried again.
    """

    def __init__(self, work: Work, workers: int, *, tries: int = 1, seconds: float | None = None) -> None:
        self.workers = workers
        self.tries = tries
        self.seconds = seconds
        self._work = work
        self._pickled: bytes | None = None
        self._running: list[_Worker] = []
        self._news: queue.SimpleQueue[tuple[_Worker, Any]] = queue.SimpleQueue()
        self._warm = False
        self._stillborn = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, in the middle of their jobs if need be."""
        for worker in self._running:
            worker.end()
        self._running.clear()

    def run(
        self,
        jobs: Sequence[Any],
        *,
        wanted: Callable[[int], bool] = lambda index: True,
        started: Callable[[int], None] = lambda index: None,
        done: Callable[[int, Any], None],
    ) -> None:
        """Do `jobs`, begun in their order.

        Args:
            wanted: asked with the index of a job right before it is begun; where False, the job is left out.
            started, done: called in this thread with the job's index, and its answer or `Lost`.

        Raises:
            WorkersError: see there; answers that came before are `done`.
        """
        turn = _Turn(self, jobs, wanted, started, done)
        try:
            turn.finish()
        except BaseException:
            self.close()  # jobs under way belong to nobody now
            self._news = queue.SimpleQueue()
            raise

    def _start(self) -> None:
        if self._pickled is None:
            try:
                self._pickled = pickle.dumps(self._work)
            except Exception as error:
                raise WorkersError(f"it can't be sent to another process ({error})") from None
        self._running.append(_Worker(self._news, self._pickled))

    def _ended(self, worker: _Worker) -> str:
        """Bury a worker; says how it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):  # its pipe may close a moment before it ends
            worker.process.wait(1)
        worker.end()
        self._running.remove(worker)
        code = worker.process.returncode
        why = f"by signal {-code}" if code is not None and code < 0 else f"with code {code}"
        if code == -9:  # SIGKILL, which not every system has by name
            why += " (perhaps the machine ran out of memory)"
        if not worker.ready:
            self._stillborn += 1
            if self._stillborn > self.workers:
                raise WorkersError(f"a process ended {why} before it was ready")
        return f"its process ended {why}"


class _Turn:
    """One `WorkerPool.run`."""

    def __init__(
        self,
        pool: WorkerPool,
        jobs: Sequence[Any],
        wanted: Callable[[int], bool],
        started: Callable[[int], None],
        done: Callable[[int, Any], None],
    ) -> None:
        self.pool = pool
        self.jobs = jobs
        self.wanted = wanted
        self.started = started
        self.done = done
        self.waiting = deque(range(len(jobs)))
        self.begun: dict[int, int] = {}
        """How often each job was begun."""

    def finish(self) -> None:
        pool = self.pool
        while True:
            for worker in pool._running:
                if worker.ready and worker.job is None and not worker.late:
                    self._feed(worker)
            busy = any(worker.job is not None for worker in pool._running)
            if not self.waiting and not busy:
                return
            if not pool._running:
                pool._start()
            unready = sum(not worker.ready for worker in pool._running)
            while pool._warm and len(pool._running) < pool.workers and unready < len(self.waiting):
                pool._start()
                unready += 1
            self._hear()

    def _feed(self, worker: _Worker) -> None:
        while self.waiting:
            index = self.waiting.popleft()
            if index in self.begun or self.wanted(index):
                self.begun[index] = self.begun.get(index, 0) + 1
                worker.give(index, self.jobs[index])
                self.started(index)
                return

    def _hear(self) -> None:
        """Wait for one worker to say something, or to overrun its time."""
        pool = self.pool
        wait = None
        if pool.seconds is not None:
            ends = [worker.begun + pool.seconds for worker in pool._running if worker.job is not None]
            wait = max(0.0, min(ends) - time.monotonic()) if ends else None
        try:
            worker, answer = pool._news.get(timeout=wait)
        except queue.Empty:
            for worker in pool._running:
                overrun = time.monotonic() - worker.begun >= (pool.seconds or 0.0)
                if worker.job is not None and overrun and not worker.late:
                    worker.late = True
                    worker.kill()
            if any(worker.late for worker in pool._running):
                self._handle(*pool._news.get())
            return
        self._handle(worker, answer)

    def _handle(self, worker: _Worker, answer: Any) -> None:
        pool = self.pool
        if worker not in pool._running:
            return
        index = worker.job
        if answer is None:
            reason = pool._ended(worker)
            if index is None:
                return
            if worker.late:
                self.done(index, Lost(f"it took longer than the {pool.seconds:g} s allowed"))
            elif self.begun[index] < pool.tries:
                self.waiting.appendleft(index)
            else:
                self.done(index, Lost(f"{reason} again" if pool.tries > 1 else reason))
            return
        kind, content = answer
        if kind == "unable":
            raise WorkersError(content)
        worker.job = None
        if kind == "ready":
            worker.ready = pool._warm = True
            pool._stillborn = 0
        elif index is not None:
            self.done(index, content if kind == "done" else Lost(content))


class _Worker:
    """A child process and the thread that listens to it."""

    def __init__(self, news: queue.SimpleQueue[tuple[_Worker, Any]], work: bytes) -> None:
        self.job: int | None = None
        self.ready = False
        self.late = False
        self.begun = 0.0
        environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1")}
        path = [entry for entry in sys.path if entry] + [os.environ.get("PYTHONPATH", "")]
        root = str(Path(__file__).parent.parent.parent)
        environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(p for p in (root, *path) if p))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fiberloom.workers.program"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C in the terminal is the parent's business
        )
        threading.Thread(target=self._listen, args=(news,), daemon=True).start()
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # a dead worker is reported by its listener
            send_pickled(self.process.stdin, work)

    def give(self, index: int, job: Any) -> None:
        self.job = index
        self.begun = time.monotonic()
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            send(self.process.stdin, job)

    def kill(self) -> None:
        """With the processes that it started."""
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()

    def end(self) -> None:
        self.kill()
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
        except Exception:  # the end of the pipe, or an answer that makes no sense
            news.put((self, None))
