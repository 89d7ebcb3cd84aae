"""A learner that drives an environment, in a thread that runs only while somebody waits for its next actions."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Step = Callable[[NDArray[Any]], Floats]
"""Actions of all environments in, their rewards out."""


class _Stopped(BaseException):
    """Ends the thread from within the learner's own loop."""


class LearnerThread:
    """Runs ``make(step)()``: `make` gets the step to call with actions, and gives the learner's endless loop.

    Either this thread or the one that calls `step` runs, never both, and the learner has its own state of the global generators
    of `random`, NumPy and PyTorch, and one core: its networks are small, and sums don't depend on the machine. What the learner
    raises, `step` raises.
    """

    def __init__(self, make: Callable[[Step], Callable[[], object]]) -> None:
        self._make: Callable[[Step], Callable[[], object]] | None = make
        self._actions: SimpleQueue[NDArray[Any] | BaseException] = SimpleQueue()
        self._rewards: SimpleQueue[Floats | None] = SimpleQueue()
        self._inside: _Globals | None = None
        self._thread = threading.Thread(target=self._run, name="learner", daemon=True)

    def step(self, rewards: Floats | None) -> NDArray[Any]:
        """The learner's next actions, given the rewards of its last ones; None the first time."""
        outside = _Globals()
        self._enter()
        try:
            if rewards is None:
                self._thread.start()
            else:
                self._rewards.put(rewards)
            news = self._actions.get()
        finally:
            self._inside = _Globals()
            outside.put_back()
        if isinstance(news, BaseException):
            raise news
        return news

    def stop(self) -> None:
        """End the thread; it is over when this returns."""
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._rewards.put(None)
            self._thread.join()

    def _enter(self) -> None:
        if self._inside is not None:
            self._inside.put_back()
            return
        import torch

        torch.set_num_threads(1)

    def _run(self) -> None:
        make, self._make = self._make, None  # whoever made it must not live as long as this thread
        try:
            assert make is not None
            loop = make(self._exchange)
            del make
            loop()
        except _Stopped:
            pass
        except BaseException as error:
            self._actions.put(error)

    def _exchange(self, actions: NDArray[Any]) -> Floats:
        self._actions.put(actions)
        rewards = self._rewards.get()
        if rewards is None:
            raise _Stopped
        return rewards


class _Globals:
    """What PyTorch, NumPy and `random` keep for the whole process."""

    def __init__(self) -> None:
        import torch

        self._python = random.getstate()
        self._numpy = np.random.get_state()
        self._torch = torch.get_rng_state()
        self._threads = torch.get_num_threads()

    def put_back(self) -> None:
        """Make them what they were."""
        import torch

        random.setstate(self._python)
        np.random.set_state(self._numpy)
        torch.set_rng_state(self._torch)
        torch.set_num_threads(self._threads)
