"""Evaluation on the machines of a Ray cluster (Moritz et al., OSDI'18)."""

from __future__ import annotations

import hashlib
import math
import pickle
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final

from fiberloom.errors import MissingExtraError, SpecError
from fiberloom.explore.executors._base import Executor
from fiberloom.explore.executors.processes import TRIES, Evaluations
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.pruning import Screen
from fiberloom.explore.space import Point
from fiberloom.explore.trial import Evaluated, Status
from fiberloom.workers import ONE_THREAD, cores

TASK_SECONDS: Final = 0.05
"""Cheap designs are sent together until a task takes about so long: a task alone costs some milliseconds (docs/explore-scale.md)."""

_prepared: dict[str, Evaluations] = {}
"""In a process of the cluster: what it has prepared for, by the hash of its pickle."""


class Ray(Executor):
    """Tasks of a Ray cluster, one core each; the problem's files must be found on every machine under the same names.

    An evaluation whose process or machine is lost is begun once more, elsewhere if need be.

    Args:
        workers: most tasks at a time; None: as many as the cluster has cores, machines that join or leave included.
        seconds: most time for an evaluation; it has failed then.
        address: of a cluster (``host:port``, ``auto``); None: one is started on this machine and ended with the exploration.

    Raises:
        MissingExtraError: without ray.
        SpecError: for fewer workers than 1, a cluster that can't be reached, or a problem that can't be sent.
    """

    name = "ray"

    def __init__(
        self,
        problem: DesignProblem,
        workers: int | None = None,
        seconds: float | None = None,
        address: str | None = None,
    ) -> None:
        super().__init__(problem)
        try:
            ray: Any = import_module("ray")
        except ImportError:
            raise MissingExtraError("ray", "ray", "the executor 'ray'") from None
        if workers is not None and workers < 1:
            raise SpecError(f"{workers} workers", hint="at least 1; or evaluate serially, in this process")
        self._ray = ray
        self._given = workers
        self.seconds = seconds
        self._connected_here = not ray.is_initialized()
        if self._connected_here:
            self._connect(address)
        try:
            pickled = self._pickled()
        except Exception as error:
            self.close()
            raise SpecError(f"{type(problem).__name__} can't be sent to other machines: {error}") from None
        self._work = (hashlib.sha256(pickled).hexdigest(), ray.put(pickled))
        self._task = ray.remote(num_cpus=1, max_retries=0)(_evaluated)
        self._lately = TASK_SECONDS

    def _pickled(self) -> bytes:
        """The problem; a class that is not of fiberloom travels along, so that its module need not be on every machine."""
        pickler = self._ray.cloudpickle
        module = sys.modules[type(self.problem).__module__]
        foreign = module.__name__.partition(".")[0] not in ("fiberloom", "__main__")
        if foreign:
            pickler.register_pickle_by_value(module)
        try:
            pickled: bytes = pickler.dumps(Evaluations(self.problem))
        finally:
            if foreign:
                pickler.unregister_pickle_by_value(module)
        return pickled

    def _connect(self, address: str | None) -> None:
        _refuse_unreachable(address)
        alone = {"num_cpus": self._given or cores(), "include_dashboard": False} if address is None else {}
        try:
            self._ray.init(
                address=address or "local",
                log_to_driver=False,  # what a library prints on other machines is not part of the answer
                logging_level="ERROR",
                runtime_env={"env_vars": dict.fromkeys(ONE_THREAD, "1")},
                **alone,
            )
        except (ConnectionError, RuntimeError, ValueError, self._ray.exceptions.RayError) as error:
            raise _unreachable(address or "this machine", str(error)) from None

    @property
    def workers(self) -> int:  # type: ignore[override]  # a number elsewhere; nobody sets it
        """Tasks at a time, as the cluster is now."""
        return self._given or max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def evaluate(
        self,
        points: Sequence[Point],
        done: Callable[[int, Evaluated], None],
        wanted: Callable[[int], bool] = lambda index: True,
        screen: Screen | None = None,
    ) -> None:
        waiting = deque(range(len(points)))
        again: deque[int] = deque()
        begun: dict[int, int] = {}
        under_way: dict[Any, tuple[list[int], float]] = {}
        try:
            while True:
                while len(under_way) < self.workers and (again or waiting):
                    chunk = [again.popleft()] if again else self._chunk(waiting, wanted)
                    if chunk:
                        task = self._task.remote(*self._work, [(points[i], screen) for i in chunk], self.seconds)
                        under_way[task] = (chunk, time.monotonic())
                if not under_way:
                    return
                (task,), _ = self._ray.wait(list(under_way), num_returns=1)
                chunk, since = under_way.pop(task)
                answers = self._answers(task)
                if isinstance(answers, list):
                    for index, answer in zip(chunk, answers, strict=True):
                        done(index, answer)
                    continue
                if len(chunk) > 1:  # nobody knows which of them it was: each on its own
                    again.extend(chunk)
                    continue
                (index,) = chunk
                begun[index] = begun.get(index, 0) + 1
                if self.seconds is not None and time.monotonic() - since >= self.seconds:
                    done(index, Evaluated(Status.FAILED, reason=f"it took longer than the {self.seconds:g} s allowed"))
                elif begun[index] < TRIES:
                    again.append(index)
                else:
                    done(index, Evaluated(Status.FAILED, reason=answers))
        finally:
            for task in under_way:
                self._ray.cancel(task, force=True)

    def close(self) -> None:
        if self._connected_here:
            self._ray.shutdown()

    def _answers(self, task: Any) -> list[Evaluated] | str:
        """Of a task that has ended; or how its process was lost.

        Raises:
            SpecError: when a machine can't load or prepare the problem.
        """
        errors = self._ray.exceptions
        try:
            answers: list[Evaluated] = self._ray.get(task)
        except errors.RayTaskError as error:
            raise SpecError(
                f"a machine of the cluster can't evaluate {type(self.problem).__name__}: {error.cause!r}"[:600],
                hint="fiberloom of this version and the files of the problem must be on every machine",
            ) from None
        except errors.RayError as error:
            return f"its process or machine was lost ({type(error).__name__}) again"
        slowest = max(answer.seconds for answer in answers)
        self._lately = 0.5 * (self._lately + max(slowest, TASK_SECONDS / 1000))
        return answers

    def _chunk(self, waiting: deque[int], wanted: Callable[[int], bool]) -> list[int]:
        """The next designs that are worth a task of their own, and that are wanted."""
        share = math.ceil(len(waiting) / self.workers)
        most = max(1, min(share, int(TASK_SECONDS / self._lately)))
        chunk: list[int] = []
        while waiting and len(chunk) < most:
            index = waiting.popleft()
            if wanted(index):
                chunk.append(index)
        return chunk


def _refuse_unreachable(address: str | None) -> None:
    """Ray itself waits for minutes, and says nothing, before it gives up on an address where nobody answers."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if address in (None, "auto", "local"):
        return
    if not host or not port.isdigit():
        raise _unreachable(str(address), "that is no address")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(str(address), str(error)) from None


def _unreachable(address: str, why: str) -> SpecError:
    return SpecError(
        f"no Ray cluster can be reached at '{address}': {why.splitlines()[0] if why else 'no answer'}",
        hint="start one with 'ray start --head', and name its address: host:6379, or auto on its own machine",
    )


def _evaluated(digest: str, pickled: bytes, jobs: Sequence[Any], seconds: float | None) -> list[Evaluated]:
    """The task: designs one after the other, in a process that prepares once.

    The time limit is the system's alarm, which ends the process: compiled code that never returns to Python hears no other.
    """
    if digest not in _prepared:
        work = pickle.loads(pickled)
        work.prepare()
        _prepared[digest] = work
    answers = []
    for job in jobs:
        if seconds is not None:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, seconds)
        answers.append(_prepared[digest].do(job))
        signal.setitimer(signal.ITIMER_REAL, 0)
    return answers
