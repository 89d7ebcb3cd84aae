"""Surrogate-assisted search: a cheap model of the score proposes what is most likely to improve."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError, nearest, require
from fiberloom.explore.agents._base import GenerationalAgent
from fiberloom.explore.agents._record import Record
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import Point
from fiberloom.explore.trial import Trial

Floats = NDArray[np.float64]

MODELS: Final = ("trees", "gp")
_PROCESS_LIMIT: Final = 400
"""Designs that the Gaussian process is fitted to at most: its time grows with their cube, half a second at 400."""


class Surrogate(GenerationalAgent):
    """The candidates of the greatest expected improvement (Jones, Schonlau & Welch, 1998) under a model of all trials so far.

    ``trees`` are gradient-boosted trees, fitted to several bootstrap samples: their mean predicts, their spread is the doubt. ``gp``
    is a Gaussian process with a Matérn kernel on scaled indices, categories one-hot, fitted to the best and the latest designs.
    Both model penalised scores on a logarithmic scale. Candidates are random designs and neighbours of the best ones, as in SMAC
    (Hutter et al., LION'11); those that were tried are left out.

    Hyper-parameters; all values are ours:
        model: ``trees`` or ``gp``.
        startup: random designs before the first model.
        batch: designs per model.
        candidates: designs that the model judges each time, half of them random, half neighbours of the ten best.
        members: bootstrap samples of ``trees``.
    """

    name = "surrogate"
    summary = "expected improvement under gradient-boosted trees or a Gaussian process (scikit-learn)"

    def __init__(
        self,
        problem: DesignProblem,
        goal: Goal,
        rng: np.random.Generator,
        model: str = "trees",
        startup: int = 20,
        batch: int = 8,
        candidates: int = 400,
        members: int = 4,
    ) -> None:
        super().__init__(problem, goal, rng)
        self.model = model
        self.startup = startup
        self.batch = batch
        self.candidates = candidates
        self.members = members
        if model not in MODELS:
            raise SpecError(f"model of 'surrogate' is {model}", hint=nearest(str(model), MODELS))
        self.whole("startup", 2)
        self.whole("batch", 1, 100_000)
        self.whole("candidates", 2)
        self.whole("members", 2, 1000)
        require("sklearn", "scikit-learn", "learn", f"the agent '{self.name}'")
        self._trials: dict[Point, Trial] = {}
        self._record = Record()

    def propose(self) -> list[Point]:
        if not self._trials or (len(self._trials) < self.startup and not self._exhausted):
            return self.space.sample(self.rng, self.startup)
        candidates = self._candidates()
        if not candidates:
            return self.space.sample(self.rng, self.batch)
        promise = self._improvement(candidates)
        # noise too small to matter deals equal promises at random
        best = np.argsort(-promise - 1e-12 * self.rng.random(len(promise)), kind="stable")[: self.batch]
        return [candidates[int(i)] for i in best]

    def learn(self, trials: Sequence[Trial]) -> None:
        self._record.add(trials)
        self._trials |= {trial.point: trial for trial in trials}

    @property
    def _exhausted(self) -> bool:
        """Fewer designs than the first batch: random draws would never fill it."""
        return self.space.size() <= self.startup

    def _candidates(self) -> list[Point]:
        best = sorted(self._trials.values(), key=lambda t: t.order)[:10]
        half = self.candidates // 2
        made = self.space.sample(self.rng, half)
        for i in range(half):
            point = best[i % len(best)].point if best else made[i]
            for _ in range(int(self.rng.integers(1, 4))):
                point = self.space.neighbour(self.rng, point, step=2)
            made.append(point)
        return [point for point in dict.fromkeys(made) if point not in self._trials]

    def _improvement(self, candidates: Sequence[Point]) -> Floats:
        """``(candidates,)`` expected improvement over the best trial."""
        from threadpoolctl import threadpool_limits

        trials = list(self._trials.values())
        heights = self._record.heights(trials)
        fit = self._process if self.model == "gp" else self._trees
        with threadpool_limits(1):  # the fits are small: threads would wait for one another
            mean, spread = fit(self._features([t.point for t in trials]), heights, self._features(candidates))
        gain = heights.min() - mean
        z = gain / np.maximum(spread, 1e-9)
        normal = NormalDist()
        chance = np.array([normal.cdf(v) for v in z])
        density = np.array([normal.pdf(v) for v in z])
        promise: Floats = gain * chance + spread * density
        return promise

    def _trees(self, known: Floats, heights: Floats, wanted: Floats) -> tuple[Floats, Floats]:
        from sklearn.ensemble import HistGradientBoostingRegressor

        said = []
        for _ in range(self.members):
            rows = self.rng.integers(0, len(known), len(known))
            trees = HistGradientBoostingRegressor(
                max_iter=60, max_leaf_nodes=15, min_samples_leaf=3, learning_rate=0.15, early_stopping=False,
                random_state=int(self.rng.integers(2**31)),
            )  # fmt: skip
            said.append(trees.fit(known[rows], heights[rows]).predict(wanted))
        return np.mean(said, axis=0), np.std(said, axis=0)

    def _process(self, known: Floats, heights: Floats, wanted: Floats) -> tuple[Floats, Floats]:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import Matern, WhiteKernel

        if len(known) > _PROCESS_LIMIT:
            best = np.argsort(heights, kind="stable")[: _PROCESS_LIMIT // 2]
            rows = np.union1d(best, np.arange(len(known) - _PROCESS_LIMIT // 2, len(known)))
            known, heights = known[rows], heights[rows]
        process = GaussianProcessRegressor(
            Matern(0.5 * np.ones(known.shape[1]), (0.05, 20.0), nu=2.5) + WhiteKernel(1e-4, (1e-8, 1e-1)),
            normalize_y=True,
            random_state=int(self.rng.integers(2**31)),
        )
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound: the parameter does not matter
            process.fit(known, heights)
        mean, spread = process.predict(wanted, return_std=True)
        return mean, spread

    def _features(self, points: Sequence[Point]) -> Floats:
        """``(n, features)``: ordered parameters scaled to 0..1, the others one-hot; -1 where a design lacks one."""
        index = np.array(points)
        active = np.array([self.space.active(p) for p in points])
        columns: list[Any] = []
        for i, p in enumerate(self.space.parameters):
            n = len(p.values)
            coded = index[:, [i]] / max(1, n - 1) if p.ordered or n == 1 else np.eye(n)[index[:, i]]
            columns.append(np.where(active[:, [i]], coded, -1.0))
        return np.hstack(columns)
