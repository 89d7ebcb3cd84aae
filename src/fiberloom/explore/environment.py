"""Any design problem as a Gymnasium environment, for agents from outside.

>>> import gymnasium
>>> env = gymnasium.make("fiberloom.explore.environment:fiberloom/DramController-v0")
>>> observation, info = env.reset(seed=0)
>>> observation, reward, terminated, truncated, info = env.step(env.action_space.sample())

One step is one design, all its parameters at once, as in ArchGym (ISCA'23).

**Reward.** ArchGym's ``target / |target - observed|`` is without bound near the target and pays for staying there. Here the *loss*
of a design is ``log(score / reference score)`` if it keeps the limits, and otherwise a number above every such loss that grows
with how far off the limits it is. ``reward="improvement"`` pays by how much a design's loss is below the least of the episode so
far, else nothing: the sum over an episode is what the search gained, and nothing else can be gained. ``reward="loss"`` pays the
negated loss of every design, which suits agents that look at single steps.

**Observation.** Every metric of the last design as ``sign(m) log(1 + |m| / |reference|)`` in the order of `DesignProblem.metrics`,
its loss, the least loss of the episode so far, and each parameter's choice from 0 to 1. The reference is the first of random
designs from the seed 0 that can be evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import MissingExtraError, SpecError, nearest
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.problems import make_problem
from fiberloom.explore.space import Point, SpaceFile
from fiberloom.explore.trial import Trial

try:
    import gymnasium
except ModuleNotFoundError as missing:
    raise MissingExtraError("gymnasium", "gymnasium", "fiberloom.explore.environment") from missing

REWARDS: Final = ("improvement", "loss")

FEASIBLE_LOSS: Final = 10.0
"""Losses of feasible designs lie within ± this (a factor of 22,000), those of others above, up to twice this."""

_FARTHEST: Final = 50.0
"""Bound of an observed metric: e⁵⁰ times the reference."""

_TRIES: Final = 200
_REMEMBERED: Final = 16_384

Observation = NDArray[np.float32]
Action = NDArray[np.int64]


class DesignEnvironment(gymnasium.Env[Observation, Action]):
    """Designs of a space as actions, a `MultiDiscrete` with the number of values of every parameter.

    Choices of parameters that a design does not have are ignored. Episodes don't end by themselves; `gymnasium.make` cuts them
    after ``max_episode_steps``. ``info`` has the ``design`` (values by parameter), its ``metrics``, ``status``, ``reason``, ``score``,
    ``violation`` and whether it is ``feasible``.

    Args:
        problem: or a space, of the library by name or of a file.
        objectives, limits: as `Goal.parse` reads them; a `Goal` may be given instead of the former.
        reward: one of `REWARDS`.
        options: of `make_problem`, such as ``workloads``.

    Raises:
        SpecError: for a space, goal or reward that makes no sense, and where no design can be evaluated.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - as in the base class; its checker wants a rate

    def __init__(
        self,
        problem: DesignProblem | SpaceFile | str | Path,
        objectives: Goal | Sequence[str],
        limits: Sequence[str] = (),
        *,
        reward: str = "improvement",
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if reward not in REWARDS:
            raise SpecError(f"there is no reward '{reward}'", hint=nearest(reward, REWARDS))
        if render_mode not in (None, "ansi"):
            raise SpecError(f"there is no render mode '{render_mode}'", hint=nearest(render_mode, ["ansi"]))
        self.problem = problem if isinstance(problem, DesignProblem) else make_problem(problem, **options)
        self.goal = objectives if isinstance(objectives, Goal) else Goal.parse(objectives, limits, self.problem.metrics)
        self.reward = reward
        self.render_mode = render_mode
        space = self.problem.space
        self.action_space = gymnasium.spaces.MultiDiscrete(list(space.shape))
        metrics = len(self.problem.metrics)
        low = [-_FARTHEST] * metrics + [-FEASIBLE_LOSS] * 2 + [0.0] * len(space.shape)
        high = [_FARTHEST] * metrics + [2 * FEASIBLE_LOSS] * 2 + [1.0] * len(space.shape)
        self.observation_space = gymnasium.spaces.Box(
            np.array(low, np.float32), np.array(high, np.float32), dtype=np.float32
        )
        self._trial_of = lru_cache(maxsize=_REMEMBERED)(self._try)
        self.problem.prepare()
        self._reference = self._first(np.random.default_rng(0))
        self._last: Trial | None = None
        self._best = math.inf

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode at a random design that can be evaluated.

        Args:
            options: ``design``, a point to begin at instead.

        Raises:
            SpecError: for a design that the space does not have.
        """
        super().reset(seed=seed)
        given = (options or {}).get("design")
        trial = self._first(self.np_random) if given is None else self._trial_of(self._point(given))
        self._last = trial
        self._best = self.loss(trial)
        return self._observe(trial), self._info(trial)

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Evaluate a design.

        Raises:
            SpecError: before `reset`, and for an action that is no design of the space.
        """
        if self._last is None:
            raise SpecError("the environment has not been reset", hint="call reset() before step()")
        trial = self._trial_of(self._point(action))
        loss = self.loss(trial)
        reward = max(0.0, self._best - loss) if self.reward == "improvement" else -loss
        self._last = trial
        self._best = min(self._best, loss)
        return self._observe(trial), reward, False, False, self._info(trial)

    def render(self) -> str | None:
        """The last design in a line of text, in the mode ``ansi``."""
        if self.render_mode is None or self._last is None:
            return None
        values = self.problem.space.values(self._last.point)
        chosen = ", ".join(f"{name}={value}" for name, value in values.items() if value is not None)
        scored = f"score {self._last.score:.6g}" if self._last.feasible else "not feasible"
        return f"{chosen}: {scored}"

    def loss(self, trial: Trial) -> float:
        """What the reward is made of; see above. From -`FEASIBLE_LOSS` to twice that."""
        if not math.isfinite(trial.violation):
            return 2 * FEASIBLE_LOSS
        if trial.violation:
            return min(2 * FEASIBLE_LOSS, FEASIBLE_LOSS + math.log1p(trial.violation))
        size = math.log(max(trial.score, 1e-300)) - math.log(max(self._reference.score, 1e-300))
        return min(max(size, -FEASIBLE_LOSS), FEASIBLE_LOSS)

    def _try(self, point: Point) -> Trial:
        return Trial.of(point, self.problem.evaluate(point), self.goal)

    def _first(self, rng: np.random.Generator) -> Trial:
        """The first random design that can be evaluated."""
        reason = ""
        for _ in range(_TRIES):
            trial = self._trial_of(self.problem.space.sample(rng, 1)[0])
            if trial.evaluated.metrics:
                return trial
            reason = trial.evaluated.reason
        raise SpecError(f"none of {_TRIES} random designs can be evaluated: {reason}", hint="look at the space")

    def _point(self, action: Any) -> Point:
        chosen = np.asarray(action)
        if chosen.shape != self.action_space.shape or not np.issubdtype(chosen.dtype, np.integer):
            raise SpecError(
                f"an action of type {chosen.dtype} and shape {chosen.shape}",
                hint=f"{len(self.problem.space.shape)} whole numbers, one per parameter",
            )
        return self.problem.space.canonical(chosen.tolist())

    def _observe(self, trial: Trial) -> Observation:
        metrics, references = trial.evaluated.metrics, self._reference.evaluated.metrics
        seen = []
        for name in self.problem.metrics:
            value, scale = metrics.get(name, 0.0), abs(references.get(name, 0.0)) or 1.0
            size = math.log1p(abs(value) / scale) if math.isfinite(value) else _FARTHEST
            seen.append(math.copysign(min(size, _FARTHEST), value))
        parts = [i / max(n - 1, 1) for i, n in zip(trial.point, self.problem.space.shape, strict=True)]
        return np.array([*seen, self.loss(trial), self._best, *parts], dtype=np.float32)

    def _info(self, trial: Trial) -> dict[str, Any]:
        return {
            "design": self.problem.space.values(trial.point),
            "metrics": dict(trial.evaluated.metrics),
            "status": trial.evaluated.status.value,
            "reason": trial.evaluated.reason,
            "score": trial.score,
            "violation": trial.violation,
            "feasible": trial.feasible,
        }


gymnasium.register(
    "fiberloom/DramController-v0",
    entry_point="fiberloom.explore.environment:DesignEnvironment",
    max_episode_steps=100,
    kwargs={
        "problem": "dram-controller",
        "objectives": ("latency_ns * power_mw",),
        "limits": ("missed_refreshes <= 0",),
    },
)
gymnasium.register(
    "fiberloom/Accelerator-v0",
    entry_point="fiberloom.explore.environment:DesignEnvironment",
    max_episode_steps=100,
    kwargs={"problem": "eyeriss-like", "objectives": ("edp",)},
)
