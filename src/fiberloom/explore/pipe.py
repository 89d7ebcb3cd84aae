"""Agents in other processes and languages: JSON, a line per message, over a pipe.

`PipeAgent` starts a command and asks *it* for designs. It hears, on its standard input::

    {"fiberloom": 1, "space": {"size": …, "parameters": [{"name": …, "values": […], …}], …}, "goal": {…}, "metrics": {…}, "seed": 7}
    {"ask": 64}
    {"tell": [{"point": […], "design": {…}, "status": "evaluated", "metrics": {…}, "score": …, "feasible": true, …}]}
    {"close": true}

and answers each ``ask``, and only that, on its standard output with one to that many designs, each as numbers of values or as
values by name, or says that it has no more::

    {"designs": [[0, 2, 1], {"Scheduler": "Fifo"}]}
    {"done": "converged"}

Numbers that are not finite are null. What it writes on standard error goes to the terminal.

`serve` is the other way round: whoever holds the other ends of two streams sends ``{"evaluate": [designs]}`` or ``{"sample": n}``.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import IO, Any, Final

import numpy as np

from fiberloom.errors import FiberloomError, SpecError
from fiberloom.explore.agents._base import Agent
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import DesignSpace, Point
from fiberloom.explore.trial import Trial

PROTOCOL: Final = 1

LONGEST_LINE: Final = 16 << 20
"""Bytes of a message."""

TIMEOUT_SECONDS: Final = 600.0
"""That an outside agent may think about one answer, unless told otherwise."""

_LEAVE_SECONDS: Final = 2.0


class JsonProcess:
    """A command that is spoken to in lines of JSON.

    Args:
        command: words as a shell would read them; no shell is started.
        timeout: most seconds per answer.

    Raises:
        SpecError: for a command that can't be started.
    """

    def __init__(self, command: str, timeout: float) -> None:
        self.command = command
        self.timeout = timeout
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise SpecError(f"the command '{command}' can't be read: {error}", hint="close its quotes") from None
        if not words:
            raise SpecError("the outside agent has no command", hint='name one: "python my_agent.py"')
        try:
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            raise SpecError(
                f"'{words[0]}' can't be started: {error.strerror}", hint="check the command of the outside agent"
            ) from None
        self._lines: queue.Queue[bytes] = queue.Queue(maxsize=16)
        self._unsent: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._last_words = ""
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin is not None and stdout is not None and stderr is not None
        self._listener = threading.Thread(target=self._listen, args=(stderr,), daemon=True)
        self._listener.start()
        threading.Thread(target=self._read, args=(stdout,), daemon=True).start()
        threading.Thread(target=self._write, args=(stdin,), daemon=True).start()

    def send(self, message: dict[str, Any]) -> None:
        """Put a message on the way; the other side need not be reading yet."""
        self._unsent.put(json.dumps(message).encode() + b"\n")

    def answer(self) -> dict[str, Any]:
        """The next message of the other side.

        Raises:
            SpecError: if none comes in time, the process ended, or it is no JSON object.
        """
        try:
            line = self._lines.get(timeout=self.timeout)
        except queue.Empty:
            raise SpecError(
                f"the outside agent '{self.command}' gave no answer within {self.timeout:g} s",
                hint="let it flush every line (Python: print(…, flush=True)), or allow more time",
            ) from None
        if not line:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_LEAVE_SECONDS)
            self._listener.join(timeout=_LEAVE_SECONDS)
            raise SpecError(
                f"the outside agent '{self.command}' {self._ended()}",
                hint=f"it last wrote: {self._last_words}" if self._last_words else "it must answer every 'ask'",
            )
        if len(line) > LONGEST_LINE:
            raise SpecError("the outside agent wrote a line without end", hint="end every message by a newline")
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            shown = line.decode(errors="replace").strip()[:80]
            raise SpecError(
                f"the outside agent wrote '{shown}', which is no JSON object",
                hint="write other things than messages to standard error",
            )
        return message

    def close(self) -> None:
        """Say goodbye, and end the process if it does not leave."""
        if self._process.poll() is None:
            self.send({"close": True})
        self._unsent.put(None)
        try:
            self._process.wait(timeout=_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            if hasattr(os, "killpg"):  # with what it started
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(queue.Empty):  # let the reader see the end
            while True:
                self._lines.get_nowait()

    def _ended(self) -> str:
        code = self._process.poll()
        if code is None:
            return "closed its output"
        return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            while True:
                line = stream.readline(LONGEST_LINE + 1)
                self._lines.put(line)
                if not line or len(line) > LONGEST_LINE:
                    return

    def _write(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError), stream:  # if it ended, `answer` says so
            while (line := self._unsent.get()) is not None:
                stream.write(line)
                stream.flush()

    def _listen(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                text = line.decode(errors="replace").rstrip()
                self._last_words = text or self._last_words
                print(text, file=sys.stderr)


class PipeAgent(Agent):
    """An agent in a process of its own; the protocol is that of the module.

    Whatever it does wrong is a `SpecError` from `ask`, which ends an exploration with everything found so far
    (`fiberloom.explore.driver.ExplorationError`).

    Args:
        command: that starts it.
        timeout: most seconds per answer.

    Raises:
        SpecError: for a command that can't be started, or a timeout that is not positive.
    """

    name = "pipe"
    summary = "a process of yours that is asked and told in JSON"
    several = True

    def __init__(
        self,
        problem: DesignProblem,
        goal: Goal,
        rng: np.random.Generator,
        command: str = "",
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        super().__init__(problem, goal, rng)
        self.command = command
        self.timeout = timeout
        self.bounded("timeout", 1e-3, 1e9)
        self._process = JsonProcess(command, timeout)
        self._process.send({**_announced(problem, goal), "seed": int(rng.integers(2**31))})

    def ask(self, n: int) -> list[Point] | None:
        self._process.send({"ask": n})
        answer = self._process.answer()
        if "done" in answer:
            self.finished = f"the outside agent is done: {answer['done']}"
            return None
        given = answer.get("designs")
        if not isinstance(given, list) or not given:
            raise SpecError(
                f"the outside agent answered {_shown(answer)}", hint='write {"designs": […]} or {"done": "why"}'
            )
        if len(given) > n:
            raise SpecError(f"the outside agent gave {len(given)} designs", hint=f"it was asked for at most {n}")
        return [read_design(design, self.space) for design in given]

    def tell(self, trials: Sequence[Trial]) -> None:
        self._process.send({"tell": [trial_to_dict(trial, self.space) for trial in trials]})

    def close(self) -> None:
        self._process.close()


def outside_agent(
    command: str,
    problem: DesignProblem,
    goal: Goal,
    rng: np.random.Generator | int = 0,
    *,
    timeout: float = TIMEOUT_SECONDS,
) -> PipeAgent:
    """The agent that a command starts; `rng` may be a seed. Raises as `PipeAgent`."""
    generator = np.random.default_rng(rng) if isinstance(rng, int) else rng
    return PipeAgent(problem, goal, generator, command, timeout)


def serve(problem: DesignProblem, goal: Goal, incoming: Iterable[str], outgoing: IO[str]) -> None:
    """Evaluate designs for whoever writes to `incoming`, a line of JSON per request, until it ends or says ``{"close": true}``.

    The first line out announces the space. ``{"evaluate": [designs]}`` is answered by ``{"trials": […]}``, ``{"sample": n}`` by
    ``{"designs": […]}`` (uniform, from the seed 0 on), and what makes no sense by ``{"error": …}``, after which it goes on.
    """
    rng = np.random.default_rng(0)

    def say(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=outgoing, flush=True)

    problem.prepare()
    say(_announced(problem, goal))
    for line in incoming:
        if not line.strip():
            continue
        try:
            try:
                request = json.loads(line)
            except (ValueError, RecursionError):
                raise SpecError(f"'{line.strip()[:80]}' is no JSON", hint="write a message per line") from None
            if isinstance(request, dict) and request.get("close"):
                return
            say(_served(request, problem, goal, rng))
        except FiberloomError as error:
            say({"error": str(error)})


def _served(request: Any, problem: DesignProblem, goal: Goal, rng: np.random.Generator) -> dict[str, Any]:
    if isinstance(request, dict) and isinstance(request.get("evaluate"), list):
        points = [read_design(design, problem.space) for design in request["evaluate"]]
        trials = [Trial.of(point, problem.evaluate(point), goal) for point in points]
        return {"trials": [trial_to_dict(trial, problem.space) for trial in trials]}
    if isinstance(request, dict) and type(n := request.get("sample")) is int and 0 < n <= 100_000:
        return {"designs": [list(point) for point in problem.space.sample(rng, n)]}
    raise SpecError(
        f"the request {_shown(request)} is not known", hint='write {"evaluate": [designs]} or {"sample": n}'
    )


def read_design(given: Any, space: DesignSpace) -> Point:
    """A point from its numbers, or from values by parameter.

    Raises:
        SpecError: for what is neither, or a number, parameter or value that there is not.
    """
    if isinstance(given, dict):
        return space.point(given)
    if not isinstance(given, list) or any(type(i) is not int for i in given):
        raise SpecError(f"{_shown(given)} is no design", hint="write the numbers of its values, or {parameter: value}")
    return space.canonical(given)


def trial_to_dict(trial: Trial, space: DesignSpace) -> dict[str, Any]:
    """A trial as plain data; what is not finite is None."""
    return {
        "point": list(trial.point),
        "design": space.values(trial.point),
        "status": trial.evaluated.status.value,
        "metrics": {name: _finite(value) for name, value in trial.evaluated.metrics.items()},
        "values": [_finite(value) for value in trial.values],
        "score": _finite(trial.score),
        "violation": _finite(trial.violation),
        "feasible": trial.feasible,
        "reason": trial.evaluated.reason,
    }


def _announced(problem: DesignProblem, goal: Goal) -> dict[str, Any]:
    return {
        "fiberloom": PROTOCOL,
        "space": problem.space.to_dict(),
        "goal": goal.to_dict(),
        "metrics": dict(problem.metrics),
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:80] + " …"
