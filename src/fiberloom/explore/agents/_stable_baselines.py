"""stable-baselines3's learners as agents: they drive an environment, so they run in a thread that waits for trials."""

from __future__ import annotations

import weakref
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import require
from fiberloom.explore.agents._base import DRAWS, GenerationalAgent
from fiberloom.explore.agents._learner_thread import LearnerThread, Step
from fiberloom.explore.agents._record import Record
from fiberloom.explore.space import Point
from fiberloom.explore.trial import Trial

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

Floats = NDArray[np.float64]

_ENDLESS: Final = 2**40
"""Steps that a learner is told to make; it is stopped before."""


class StableBaselinesAgent(GenerationalAgent):
    """A joint policy over all parameters, learnt by an algorithm of stable-baselines3 (Raffin et al., JMLR 22, 2021).

    One step of the environment is one design, as in ArchGym (ISCA'23): the action is a value of every parameter, the observation the
    last design and its reward, and the reward the share of all designs so far that a design beats. An episode is one step, since no
    design depends on the one before. `batch` environments run side by side. Actions beyond the space's requirements get the
    reward of the worst at once and cost no evaluation.

    The learner and everybody else never run at the same time, and each has its own state of the global generators
    of random numbers (`random`, NumPy, PyTorch), so that proposals depend on the seed alone.

    Subclasses call `start` when their hyper-parameters are checked.
    """

    continuous: ClassVar[bool] = False
    """Whether actions are numbers from 0 to 1 per parameter instead of indices."""

    batch: int

    @abstractmethod
    def learner(self, environment: Any, seed: int) -> BaseAlgorithm:
        """The algorithm on an environment of `batch` designs at a time."""

    def start(self) -> None:
        """Check that everything is installed; the learner itself begins with the first `ask`.

        Raises:
            MissingExtraError: without stable-baselines3.
        """
        require("stable_baselines3", "stable-baselines3", "rl", f"the agent '{self.name}'")
        self._record = Record()
        self._seed = int(self.rng.integers(2**31))
        self._rewards: Floats | None = None
        self._actions: list[Point] = []
        self._valid: list[int] = []
        self._thread: LearnerThread | None = None

    def propose(self) -> list[Point]:
        if self._thread is None:
            self._thread = LearnerThread(self._loop)
            weakref.finalize(self, self._thread.stop)
        for _ in range(DRAWS):
            self._actions = [self._design(action) for action in self._thread.step(self._rewards)]
            self._valid = [i for i, point in enumerate(self._actions) if not self.space.violated(point)]
            self._rewards = np.zeros(len(self._actions))
            if self._valid:
                return [self._actions[i] for i in self._valid]
        return self.space.sample(self.rng, 1)  # what becomes of it is not the learner's doing

    def learn(self, trials: Sequence[Trial]) -> None:
        self._record.add(trials)
        if self._valid and self._rewards is not None:
            self._rewards[self._valid] = self._record.rewards(trials)

    def close(self) -> None:
        if self._thread is not None:
            self._thread.stop()

    def _loop(self, step: Step) -> Callable[[], object]:
        from fiberloom.explore.agents._vector_environment import DesignEnvironments

        made = DesignEnvironments(self.space.shape, self.batch, step, continuous=self.continuous)
        return partial(self.learner(made, self._seed).learn, _ENDLESS)

    def _design(self, action: Any) -> Point:
        shape = np.array(self.space.shape)
        index = np.minimum(np.asarray(action) * shape, shape - 1) if self.continuous else action
        return self.space.canonical([int(i) for i in index])
