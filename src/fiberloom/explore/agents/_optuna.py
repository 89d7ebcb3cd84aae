"""Optuna's samplers as agents: Optuna proposes, fiberloom evaluates."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from fiberloom.errors import MissingExtraError
from fiberloom.explore.agents._base import DRAWS, GenerationalAgent
from fiberloom.explore.scale import decades
from fiberloom.explore.space import Point
from fiberloom.explore.trial import Trial

if TYPE_CHECKING:
    import optuna


class OptunaAgent(GenerationalAgent):
    """A study of Optuna (Akiba et al., KDD'19) through its ask-and-tell interface.

    Ordered parameters are integers to Optuna, the others categories; those of one value are no parameters. Objectives go to it
    on the scale of `decades` (its models of values gain by it, and ranks stay). Limits go as a constraint, to samplers that know
    constraints; the others see `Trial.penalised`. A design without metrics is told as the worst values so far, beyond the limits.
    One that does not meet the requirements is told as such at once and another is asked for; it costs no evaluation.

    Subclasses call `start` when their hyper-parameters are checked.
    """

    constrained: ClassVar[bool] = True
    """Whether the sampler takes constraints."""

    conditional: ClassVar[bool] = False
    """Whether the sampler does better when parameters that a design lacks are not suggested at all."""

    categories: ClassVar[bool] = True
    """Whether the sampler treats categories as such; else they are integers, too."""

    batch: int

    @abstractmethod
    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """The sampler of Optuna."""

    def start(self) -> None:
        """Make the study.

        Raises:
            MissingExtraError: without Optuna.
        """
        try:
            import optuna
            from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
        except ImportError:
            raise MissingExtraError("optuna", "explore", f"the agent '{self.name}'") from None
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # a line per trial is not for our users
        seed = int(self.rng.integers(2**31))
        count = len(self.goal.aims) if self.several else 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = self.sampler(seed)
        self.study = optuna.create_study(sampler=sampler, directions=["minimize"] * count)
        self._distributions: dict[str, BaseDistribution] = {
            p.name: IntDistribution(0, len(p.values) - 1)
            if p.ordered or not self.categories
            else CategoricalDistribution(range(len(p.values)))
            for p in self.space.parameters
            if len(p.values) > 1
        }
        self._whole = IntDistribution
        self._asked: list[optuna.Trial] = []
        self._worst = [0.0] * count
        self._farthest = 1.0

    def propose(self) -> list[Point]:
        made = [self._one() for _ in range(self.batch)]
        self._asked = [trial for trial, _ in made]
        return [point for _, point in made]

    def learn(self, trials: Sequence[Trial]) -> None:
        for asked, trial in zip(self._asked, trials, strict=True):
            if not trial.evaluated.metrics:
                self._tell(asked, self._worst, self._farthest)
                continue
            seen = trial.values if self.several else (trial.score if self.constrained else trial.penalised,)
            values = [
                decades(value) if math.isfinite(value) else worst
                for value, worst in zip(seen, self._worst, strict=True)
            ]
            self._worst = [max(pair) for pair in zip(self._worst, values, strict=True)]
            self._farthest = max(self._farthest, trial.violation)
            self._tell(asked, values, trial.violation)

    def _one(self) -> tuple[optuna.Trial, Point]:
        """A trial of Optuna and its design, which meets the requirements unless many others before did not."""
        for left in range(DRAWS, -1, -1):
            trial, point = self._suggested()
            if not left or not self.space.violated(point):
                break
            self._tell(trial, self._worst, self._farthest)
        return trial, point

    def _suggested(self) -> tuple[optuna.Trial, Point]:
        trial = self.study.ask({} if self.conditional else self._distributions)
        point: list[int] = []
        for p in self.space.parameters:
            point.append(0)
            if p.name not in self._distributions or (self.conditional and p.when and not self.space.active(point)[-1]):
                continue
            if isinstance(self._distributions[p.name], self._whole):
                point[-1] = trial.suggest_int(p.name, 0, len(p.values) - 1)
            else:
                point[-1] = trial.suggest_categorical(p.name, range(len(p.values)))
        return trial, self.space.canonical(point)

    def _tell(self, asked: optuna.Trial, values: Sequence[float], violation: float) -> None:
        if self.constrained:
            asked.set_constraint("limits", violation)
        self.study.tell(asked, list(values))
