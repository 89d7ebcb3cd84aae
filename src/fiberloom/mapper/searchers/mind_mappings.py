"""Mind Mappings: projected gradient descent on a learned surrogate of the model (Hegde et al., ASPLOS'21)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError, nearest
from fiberloom.mapper.search import GenerationalSearcher, SearchProblem
from fiberloom.mapper.searchers.mind_mappings_training import load_torch, train, training_set
from fiberloom.mapper.searchers.surrogate import Surrogate, features
from fiberloom.mapping.packed import PackedMappings

Floats = NDArray[np.float64]

LOSSES = ("objective", "sum")


class MindMappings(GenerationalSearcher):
    """Descends the surrogate's prediction from random mappings; what the model says of the trials is never used.

    Per step and chain: gradient of the predicted loss with respect to the mapping's vector, a step against it, projection to
    the nearest mapping of the space. While the projection stays where it was, the step doubles. Every `inject_every` steps
    a chain starts anew from a random mapping. The paper looks up the true cost of every step only to report it;
    here each step's mapping is a trial.

    Hyper-parameters:
        surrogate: a `Surrogate`, or the file of one; None trains one on mappings of this very problem in `prepare`.
        samples: valid random mappings to train on, when there is no surrogate (paper: 10 million over 20,000 problems).
        epochs: of that training (paper: 100).
        width_factor: hidden widths of that surrogate over the paper's.
        chains: descents side by side (paper: 1).
        inject_every: steps between random mappings (paper: 10 for CNN layers, 25 for MTTKRP).
        step: first step length, in z-scores of the inputs (paper: 1).
        growth: of the step while the projection does not move (paper: 2).
        retries: most growths per step (paper: 100).
        keep_continuous: descend from the unprojected point (paper: True for CNN layers, False for MTTKRP).
        loss: ``objective``: predicted energy and cycles, weighted by the objective's powers; ``sum``: all predicted
            meta-statistics (the released code).
        capacity_weight: of the predicted excess of tiles over capacities, in powers of 2; ours (paper: 0, tiles need not fit there).
    """

    name = "mind-mappings"
    summary = "projected gradient descent on a learned surrogate of the model (Mind Mappings)"

    def __init__(
        self,
        target: SearchProblem,
        rng: np.random.Generator,
        *,
        surrogate: str | Path | Surrogate | None = None,
        samples: int = 20_000,
        epochs: int = 30,
        width_factor: float = 0.25,
        chains: int = 16,
        inject_every: int = 10,
        step: float = 1.0,
        growth: float = 2.0,
        retries: int = 100,
        keep_continuous: bool = True,
        loss: str = "objective",
        capacity_weight: float = 0.5,
    ) -> None:
        super().__init__(target, rng)
        self.samples, self.epochs, self.width_factor, self.chains = samples, epochs, width_factor, chains
        self.inject_every, self.step, self.growth, self.retries = inject_every, step, growth, retries
        self.keep_continuous, self.loss = keep_continuous, loss
        for count in ("samples", "epochs", "chains", "inject_every"):
            self.bounded(count, 1)
        self.bounded("step", 1e-9)
        self.capacity_weight = capacity_weight
        self.bounded("capacity_weight", 0.0)
        self.bounded("growth", 1.0)
        self.bounded("retries", 0)
        self.bounded("width_factor", 1e-3, 4.0)
        if loss not in LOSSES:
            raise SpecError(f"loss of '{self.name}' is '{loss}'", hint=nearest(loss, LOSSES))
        self._surrogate: Surrogate | None = None
        self.surrogate: str | None = None
        if isinstance(surrogate, Surrogate):
            self._surrogate, self.surrogate = surrogate, surrogate.label
        elif surrogate is not None:
            self._surrogate, self.surrogate = Surrogate.load(surrogate), str(surrogate)
        else:
            load_torch()  # say so now rather than after the budget has begun
        if self._surrogate is not None:
            self._surrogate.check(self.space)
        self._steps = 0
        self._point: Floats = np.zeros((0, 0))  # z-scores of the mappings' vectors, (chains, V)
        self._alpha: Floats = np.full(chains, step)
        self._current: PackedMappings | None = None

    @property
    def trained(self) -> Surrogate | None:
        """The surrogate in use, for saving; None before `prepare` has trained it."""
        return self._surrogate

    def prepare(self) -> None:
        """Train the surrogate on random mappings of the problem, unless one was given."""
        if self._surrogate is None:
            samples = training_set([(self.target.problem, self.space)], self.rng, per_problem=self.samples)
            self._surrogate = train(
                samples, width_factor=self.width_factor, epochs=self.epochs, seed=int(self.rng.integers(2**31))
            )

    def propose(self) -> PackedMappings:
        """One step of every chain."""
        if self._surrogate is None:
            self.prepare()
        assert self._surrogate is not None
        if self._current is None or self._steps % self.inject_every == 0:
            self._current = self.space.repair(self.space.sample(self.rng, self.chains))
            self._point = self._scores(self._current)
            self._alpha = np.full(self.chains, self.step)
        else:
            self._descend(self._surrogate, self._current)
        self._steps += 1
        return self._current

    def _descend(self, surrogate: Surrogate, current: PackedMappings) -> None:
        D = len(self.space.bounds)
        fixed = ((np.log2(self.space.bounds) - surrogate.input_mean[:D]) / surrogate.input_scale[:D])[None]
        scores = np.concatenate([np.repeat(fixed, self.chains, axis=0), self._point], axis=1)
        gradient = surrogate.slope(scores, self._weigh)[:, D:]
        waiting = np.flatnonzero(np.abs(gradient).max(axis=1) > 0)
        before = self.space.vector(current)
        wanted, vectors = self._point.copy(), before.copy()
        for _ in range(int(self.retries) + 1):
            if len(waiting) == 0:
                break
            wanted[waiting] = self._point[waiting] - self._alpha[waiting, None] * gradient[waiting]
            # beyond 20 deviations a point has left every bound; doubling further says nothing new
            np.clip(wanted, -20.0, 20.0, out=wanted)
            projected = self._project(surrogate, wanted[waiting])
            vectors[waiting] = self.space.vector(projected)
            same = (vectors[waiting] == before[waiting]).all(axis=1)
            waiting = waiting[same]
            self._alpha[waiting] *= self.growth
        self._current = self.space.unvector(vectors)
        self._point = wanted if self.keep_continuous else self._scores(self._current)

    def _weigh(self, outputs: Floats) -> Floats:
        """Gradient of the loss with respect to the predicted meta-statistics ``(n, O)``."""
        assert self._surrogate is not None
        L, T = len(self.space.level_names), len(self.space.tensors)
        weights = np.zeros_like(outputs)
        if self.loss == "sum":
            weights[:, : L * T + 3] = 1 / self._surrogate.output_scale[: L * T + 3]
        else:
            weights[:, L * T + 1] = self.target.objective.energy_power
            weights[:, L * T + 2] = self.target.objective.latency_power
        weights[:, L * T + 3 :] = self.capacity_weight * (outputs[:, L * T + 3 :] > 0)
        return weights

    def _scores(self, packed: PackedMappings) -> Floats:
        assert self._surrogate is not None
        D = len(self.space.bounds)
        inputs = features(self.space, self.space.vector(packed))
        return np.asarray(((inputs - self._surrogate.input_mean) / self._surrogate.input_scale)[:, D:])

    def _project(self, surrogate: Surrogate, scores: Floats) -> PackedMappings:
        D = len(self.space.bounds)
        vectors = scores * surrogate.input_scale[D:] + surrogate.input_mean[D:]
        return self.space.repair(self.space.unvector(vectors))
