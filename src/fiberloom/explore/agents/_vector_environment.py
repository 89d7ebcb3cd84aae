"""Designs as an environment of stable-baselines3: one step is one design."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from fiberloom.explore.agents._learner_thread import Step


class DesignEnvironments(VecEnv):
    """Environments side by side whose episodes are single designs.

    Observations are the last design, every index scaled to 0..1, and its reward.

    Args:
        shape: number of values of every parameter.
        count: environments.
        step: gives the rewards of actions.
        continuous: actions are numbers from 0 to 1 per parameter, not indices.
    """

    render_mode = None

    def __init__(self, shape: Sequence[int], count: int, step: Step, *, continuous: bool) -> None:
        n = len(shape)
        action = spaces.Box(0.0, 1.0, (n,), np.float32) if continuous else spaces.MultiDiscrete(list(shape))
        super().__init__(count, spaces.Box(0.0, 1.0, (n + 1,), np.float32), action)
        self._scale = np.ones(n) if continuous else np.maximum(np.array(shape) - 1, 1)
        self._step = step
        self._actions: NDArray[Any] = np.zeros((count, n))
        self._seen = np.zeros((count, n + 1), np.float32)

    def reset(self) -> Any:
        return self._seen.copy()

    def step_async(self, actions: NDArray[Any]) -> None:
        self._actions = np.array(actions)

    def step_wait(self) -> Any:
        rewards = self._step(self._actions)
        self._seen[:, :-1] = self._actions / self._scale
        self._seen[:, -1] = rewards
        ended: list[dict[str, Any]] = [{"terminal_observation": seen.copy()} for seen in self._seen]
        return self._seen.copy(), rewards.astype(np.float32), np.ones(self.num_envs, bool), ended

    def close(self) -> None:
        """Holds nothing."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        return [getattr(self, method_name)(*method_args, **method_kwargs)] * self.num_envs

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        return [False] * self.num_envs
