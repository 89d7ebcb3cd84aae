"""Gradient descent on relaxed tile factors, rounded to divisors and judged by the model (DOSA, MICRO'23)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fiberloom.mapper.search import GenerationalSearcher, Outcome, SearchProblem
from fiberloom.mapper.searchers.accounts import Accountant, Accounts
from fiberloom.mapper.searchers.relaxed import Correction, RelaxedModel, RelaxedPoints
from fiberloom.mapper.searchers.stationary import with_stationary_orders
from fiberloom.mapping.packed import PackedMappings
from fiberloom.mapping.space import MapSpace

Floats = NDArray[np.float64]

_ADAM = (0.9, 0.999, 1e-8)
"""Decay of the two moments, and the term that avoids division by 0 (Kingma and Ba, ICLR'15, algorithm 1)."""
_ROUNDING_NOISE = 0.5
"""Standard deviation of noisy copies before rounding, in powers of 2: about one divisor away."""
_LEAST_SHARE = 0.02
"""Share of a bound's logarithm that a loop of factor 1 restarts from, so that its gradient does not vanish."""


class GradientSearcher(GenerationalSearcher):
    """DOSA-style descent: real-valued factors through a differentiable model, rounded at intervals (DOSA, MICRO'23).

    Each variable's bound is shared out in logarithms among the loops that may carry it, by a softmax, so that the product of
    factors is the bound at every step. Adam descends the logarithm of the objective plus penalties for capacities and
    fan-outs, on the relaxed model of `fiberloom.mapper.searchers.relaxed`. Every `round_every` steps the points are
    rounded to allowed factors in several ways; the model judges all of them, then the best of each start with every
    combination of stationary loop orders, and the descent goes on from the winner, its relaxed model corrected by
    the winner's true account. After `steps` steps a new round of starts begins.

    Hyper-parameters:
        starts: descents side by side (DOSA: 7).
        steps: gradient steps per start (DOSA: 1490).
        round_every: steps between roundings (DOSA: 500), fewer where the descent stands still.
        patience: steps in which some descent must lower its least loss by 0.1 %; else all are rounded (DOSA: none).
        learning_rate: of Adam, on softmax logits. DOSA's 1e-5 to 7.5e-5 belong to its own parameters; ours is tuned.
        roundings: ways to round each point: the nearest one, and the nearest ones of noisy copies (DOSA: 1).
        candidates: random mappings per start, of which the best by the relaxed model are started from (DOSA starts from
            CoSA's mapping; this costs no evaluations).
        orders: most combinations of stationary orders per rounding (DOSA: weight-, input- and output-stationary).
    """

    name = "gradient"
    summary = "gradient descent on relaxed tile factors through a differentiable model (DOSA)"

    def __init__(
        self,
        target: SearchProblem,
        rng: np.random.Generator,
        *,
        starts: int = 7,
        steps: int = 1490,
        round_every: int = 500,
        learning_rate: float = 0.05,
        roundings: int = 16,
        candidates: int = 64,
        orders: int = 81,
        patience: int = 40,
    ) -> None:
        super().__init__(target, rng)
        self.starts, self.steps, self.round_every = starts, steps, round_every
        self.learning_rate, self.roundings, self.candidates, self.orders = learning_rate, roundings, candidates, orders
        self.patience = patience
        for count in ("starts", "steps", "round_every", "roundings", "candidates", "orders", "patience"):
            self.bounded(count, 1)
        self.bounded("learning_rate", 1e-9)
        self._accountant = Accountant(target.problem)
        self._factors = FactorShares(self.space)
        self._model: RelaxedModel | None = None
        self._descent: _Descent | None = None
        self._stage = "start"

    def propose(self) -> PackedMappings | None:
        """Starts, roundings, or loop orders, in turn."""
        if self._stage == "start":
            return self._begin()
        assert self._descent is not None
        if self._stage == "round":
            self._run(self._descent)
            return self._rounded(self._descent)
        return self._ordered(self._descent)

    def learn(self, packed: PackedMappings, outcome: Outcome) -> None:
        """Keeps each start's best; after its loop orders are judged, the descent goes on from there."""
        descent = self._descent
        assert descent is not None
        for start in range(self.starts):
            rows = np.flatnonzero(descent.owner == start)
            if len(rows) == 0:
                continue
            best = rows[int(np.argmin(outcome.objective[rows]))]
            if np.isfinite(outcome.objective[best]):
                descent.judged[start] = packed.take([best])
        if self._stage == "start":
            self._adopt(descent)
            self._stage = "round"
        elif self._stage == "round":
            self._stage = "order" if any(j is not None for j in descent.judged) else "round"
        else:
            self._adopt(descent)
            self._stage = "round"
        if self._stage == "round" and descent.step >= self.steps:
            self._stage = "start"

    def _begin(self) -> PackedMappings:
        """The best of random mappings by the relaxed model."""
        pool = self.space.repair(self.space.sample(self.rng, self.starts * self.candidates))
        if self._model is None:
            self._model = RelaxedModel(self.target.problem, pool.multicast)
        cost = self._model(RelaxedPoints.of(pool), self._model.neutral(len(pool)))
        objective = self.target.objective
        loss = objective.energy_power * np.log(cost.energy_pj) + objective.latency_power * np.log(cost.cycles)
        chosen = np.argsort(loss + self._model.penalty_weight * cost.penalty, kind="stable")[: self.starts]
        packed = pool.take(chosen)
        self._descent = _Descent(
            packed,
            RelaxedPoints.of(packed),
            self._factors.logits(packed),
            self._model.neutral(self.starts),
            np.arange(self.starts),
            [None] * self.starts,
        )
        return packed

    def _adopt(self, descent: _Descent) -> None:
        """Restart each descent from its best judged mapping, corrected by that mapping's account."""
        rows = [i for i, judged in enumerate(descent.judged) if judged is not None]
        if not rows:
            return
        packed = PackedMappings.concatenate([descent.judged[i] or descent.packed.take([i]) for i in range(self.starts)])
        assert self._model is not None
        points = RelaxedPoints.of(packed)
        accounts: Accounts = self._accountant(packed)
        descent.correction = self._model.correction(points, accounts, descent.correction)
        fresh = self._factors.logits(packed)
        descent.logits[rows] = fresh[rows]
        descent.packed, descent.points = packed, points
        descent.judged = [None] * self.starts

    def _run(self, descent: _Descent) -> None:
        """Adam on the logits, until the next rounding."""
        assert self._model is not None
        objective = self.target.objective
        powers = (
            np.full(self.starts, objective.energy_power),
            np.full(self.starts, objective.latency_power),
        )
        first, second, tiny = _ADAM
        mean, square = np.zeros_like(descent.logits), np.zeros_like(descent.logits)
        least, last = np.full(self.starts, np.inf), 0
        steps = min(self.round_every, self.steps - descent.step)
        descent.step += steps
        for k in range(1, steps + 1):
            x = self._factors.logarithms(descent.logits)
            cost = self._model(descent.points.at(x[:, 0], x[:, 1]), descent.correction, powers)
            loss = powers[0] * np.log(cost.energy_pj) + powers[1] * np.log(cost.cycles)
            loss += self._model.penalty_weight * cost.penalty
            if (loss < least - 1e-3).any():
                least, last = np.minimum(least, loss), k
            elif k - last >= self.patience:
                break
            slope = np.stack([cost.temporal_gradient, cost.spatial_gradient], axis=1)
            gradient = self._factors.gradient(descent.logits, slope + self._factors.excess(x))
            mean = first * mean + (1 - first) * gradient
            square = second * square + (1 - second) * gradient**2
            step = (mean / (1 - first**k)) / (np.sqrt(square / (1 - second**k)) + tiny)
            descent.logits = descent.logits - self.learning_rate * step

    def _rounded(self, descent: _Descent) -> PackedMappings:
        x = self._factors.logarithms(descent.logits)
        copies = np.repeat(np.arange(self.starts), self.roundings)
        noise = self.rng.normal(0.0, _ROUNDING_NOISE, (len(copies), *x.shape[1:]))
        noise[:: self.roundings] = 0.0
        wanted = x[copies] / np.log(2) + noise
        packed = descent.packed.take(copies)
        for d, factorizations in enumerate(self.space.factorizations):
            slots = np.stack([wanted[:, int(spatial), level, d] for level, spatial in self.space.slots], axis=1)
            self.space.set_factors(packed, d, factorizations.nearest(slots)[0])
        descent.owner = copies
        return self.space.repair(packed)

    def _ordered(self, descent: _Descent) -> PackedMappings:
        assert self._model is not None
        parts, owner = [], []
        for start, judged in enumerate(descent.judged):
            if judged is None:
                continue
            part = with_stationary_orders(judged, self.space.orders, self._model.relevant, most=self.orders)
            parts.append(part)
            owner += [start] * len(part)
        descent.owner = np.array(owner)
        return PackedMappings.concatenate(parts)


@dataclass
class _Descent:
    """One round of starts under way: logits ``(B, 2, L, D)``, and whose mapping each row of the generation is."""

    packed: PackedMappings
    points: RelaxedPoints
    logits: Floats
    correction: Correction
    owner: NDArray[np.int64]
    judged: list[PackedMappings | None]
    step: int = 0


class FactorShares:
    """Factors as shares of each bound's logarithm: a softmax over the loops that a space leaves open.

    Arrays are ``(B, 2, L, D)``: temporal and spatial loops of every level and variable.
    """

    def __init__(self, space: MapSpace) -> None:
        L, D = len(space.level_names), len(space.variables)
        self._choices: list[list[list[NDArray[np.int64]]]] = [
            [[np.asarray(kind[level][d]) for d in range(D)] for level in range(L)]
            for kind in (space.temporal_choices, space.spatial_choices)
        ]
        self._open = np.array([[[len(c) > 1 for c in row] for row in kind] for kind in self._choices])
        self._fixed = np.array(
            [[[int(c[0]) if len(c) == 1 else 1 for c in row] for row in kind] for kind in self._choices]
        )
        self._most = np.log(np.array([[[float(c[-1]) for c in row] for row in kind] for kind in self._choices]))
        self._bounds = np.asarray(space.bounds, np.int64)
        self._rest = self._bounds // self._fixed.prod(axis=(0, 1))
        self._budget = np.log(np.maximum(self._rest, 1).astype(float))

    def logits(self, packed: PackedMappings) -> Floats:
        """Logits whose factors are near those of the mappings (no share is 0)."""
        x = np.log(np.stack([packed.temporal, packed.spatial], axis=1).astype(float))
        with np.errstate(all="ignore"):
            share = np.where(self._budget > 0, x / self._budget, 0.0)
        return np.asarray(np.log(np.maximum(share, _LEAST_SHARE)))

    def shares(self, logits: Floats) -> Floats:
        """Softmax over the open loops of each variable."""
        masked = np.where(self._open, logits, -np.inf)
        top = masked.max(axis=(1, 2), keepdims=True)
        weight = np.where(self._open, np.exp(masked - np.where(np.isfinite(top), top, 0.0)), 0.0)
        total = weight.sum(axis=(1, 2), keepdims=True)
        return np.asarray(weight / np.where(total > 0, total, 1.0))

    def logarithms(self, logits: Floats) -> Floats:
        """Logarithms of the factors."""
        return np.asarray(np.log(self._fixed) + self.shares(logits) * self._budget)

    def gradient(self, logits: Floats, slope: Floats) -> Floats:
        """Gradient with respect to the logits from the one with respect to the logarithms."""
        share = self.shares(logits)
        weighted = slope * self._budget
        return np.asarray(share * (weighted - (share * weighted).sum(axis=(1, 2), keepdims=True)))

    def excess(self, x: Floats) -> Floats:
        """Gradient of the squared excess over the largest allowed factor of each loop."""
        return np.asarray(2.0 * np.maximum(0.0, x - self._most) * self._open)
