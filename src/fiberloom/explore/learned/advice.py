"""One design for a layer or a whole network: the one-shot answer beside the simplest baseline and the exhaustive optimum."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fiberloom.explore.learned.baselines import rank_by_lanes
from fiberloom.explore.learned.designs import (
    BUFFER_KIB,
    CLUSTERS,
    LANES,
    DesignCosts,
    DesignSpaceModel,
    MatrixProduct,
    areas_mm2,
    levels,
)
from fiberloom.explore.learned.labelling import best_designs
from fiberloom.explore.learned.recommender import OneShot
from fiberloom.explore.learned.workloads import LARGEST_CAP_MM2, check_cap

Floats = NDArray[np.float64]


def total_costs(space: DesignSpaceModel, products: Sequence[MatrixProduct], objective: str) -> Floats:
    """What all products with their counts cost on every design, one after the other, ``(768,)``.

    For latency each product may leave a part of the design idle (see `DesignCosts.objective`); for the energy–delay product
    energies and delays are added up first, and all products leave the same part idle.
    """
    each = [space(product) for product in products]
    counts = np.array([product.count for product in products], float)
    if objective == "latency":
        return np.asarray(counts @ np.array([costs.objective(objective) for costs in each]))
    cycles, energy = (counts @ np.array([getattr(costs, name) for costs in each]) for name in ("cycles", "energy_pj"))
    return DesignCosts(cycles, energy).objective(objective)


def best_answer(designs: Sequence[int] | NDArray[np.int64], costs: Floats) -> int:
    """Of the designs foretold for a network's layers, the one that is cheapest for the whole network; of equal ones the smallest.

    Args:
        costs: of the network on every design, ``(768,)``; only those of `designs` are looked at.
    """
    answers = np.unique(designs)
    return int(answers[np.lexsort((areas_mm2()[answers], costs[answers]))[0]])


@dataclass(frozen=True)
class Choice:
    """A design and what it costs.

    Attributes:
        cost: cycles, or pJ·cycles, of the workload, evaluated.
    """

    clusters: int
    buffer_kib: int
    area_mm2: float
    cost: float

    @property
    def lanes(self) -> int:
        """Multipliers."""
        return self.clusters * LANES

    @classmethod
    def of(cls, design: int, costs: Floats) -> Choice:
        """Design number `design`."""
        array, buffer = levels(design)
        return cls(CLUSTERS[array], BUFFER_KIB[buffer], float(areas_mm2()[design]), float(costs[design]))


@dataclass(frozen=True)
class Advice:
    """The answer for one workload under one dataflow.

    Attributes:
        recommended: by the model, in one shot.
        baseline: the most lanes under the cap, with the largest buffer beside them.
        best: of all designs under the cap, each evaluated.
        foretold: cost of the best design as the model foretells it, summed over the layers; None where it can't be summed.
        answers: different designs that the model gave for the layers; `recommended` is the best of them for all.
        moved: layers whose answer was over the cap and was moved to the nearest design within.
        one_shot_seconds, exhaustive_seconds: that the answer and the evaluation of all designs took.
    """

    dataflow: str
    recommended: Choice
    baseline: Choice
    best: Choice
    foretold: float | None
    answers: int
    moved: int
    one_shot_seconds: float
    exhaustive_seconds: float

    @property
    def regret(self) -> float:
        """Cost of the recommended design over the best one's."""
        return self.recommended.cost / self.best.cost

    @property
    def baseline_regret(self) -> float:
        """The same of the baseline."""
        return self.baseline.cost / self.best.cost


def advise(model: OneShot, products: Sequence[MatrixProduct], area_cap_mm2: float) -> Advice:
    """Ask the model for every product, and evaluate its answers, the baseline and all other designs.

    Args:
        products: of one dataflow.

    Raises:
        SpecError: for a cap that no design meets, and for bounds or a smaller cap than the model was trained on.
    """
    check_cap(area_cap_mm2)
    caps = np.full(len(products), min(float(area_cap_mm2), LARGEST_CAP_MM2))  # beyond, every design fits
    space = DesignSpaceModel()
    begun = time.perf_counter()
    answer = model(products, caps.tolist())
    answered = time.perf_counter()
    objective = model.card.objective
    costs = total_costs(space, products, objective)
    evaluated = time.perf_counter()
    counts = np.array([product.count for product in products], float)
    summed = float(counts @ answer.cost) if objective == "latency" or (len(products) == 1 and counts[0] == 1) else None
    return Advice(
        dataflow=products[0].dataflow,
        recommended=Choice.of(best_answer(answer.design, costs), costs),
        baseline=Choice.of(int(rank_by_lanes(caps[:1])[0]), costs),
        best=Choice.of(int(best_designs(costs, caps[:1])[0]), costs),
        foretold=summed,
        answers=len(np.unique(answer.design)),
        moved=int((answer.design != answer.foretold).sum()),
        one_shot_seconds=answered - begun,
        exhaustive_seconds=evaluated - answered,
    )
