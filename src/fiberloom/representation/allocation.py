"""Which representation each layer gets: least cost within a budget of lost quality, or least loss within a budget of cost.

Costs and losses of layers add up (as energy and cycles do, and as sensitivities are taken to), so this is the multiple-choice
knapsack problem; it is solved exactly. On-chip Hardware-aware Quantization (arXiv:2309.01945, §3.4) allocates bits this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import FiberloomError, MissingExtraError, SpecError

MOST_LABELS: Final = 2_000_000
"""Undominated partial allocations that `front` keeps at most: 2 M take about 100 MB with 50 layers."""
_TOLERANCE: Final = 1e-9
"""Of the solver's budget, relative: HiGHS accepts violations of its feasibility tolerance (1e-7 by default, set to this)."""


@dataclass(frozen=True)
class Allocation:
    """One choice for every layer.

    Attributes:
        choices: index of the candidate of each layer.
        cost: summed over layers.
        loss: summed over layers.
    """

    choices: tuple[int, ...]
    cost: float
    loss: float


def allocate(
    costs: Sequence[Sequence[float]] | NDArray[Any],
    losses: Sequence[Sequence[float]] | NDArray[Any],
    budget: float,
    limit: Literal["loss", "cost"] = "loss",
    solver: Literal["highs", "labels"] = "highs",
) -> Allocation:
    """The allocation of least cost whose losses stay within `budget`, or of least loss whose costs do. It is optimal.

    Args:
        costs: of layer × candidate; infinite where a layer can't have a candidate.
        losses: likewise.
        budget: of what `limit` names.
        limit: ``loss`` or ``cost``.
        solver: ``highs``, integer programming (extra `search`), or ``labels``, the whole front by dynamic programming.

    Raises:
        SpecError: for tables of different shapes or with NaN, and a budget that no allocation meets.
        MissingExtraError: without SciPy, for ``highs``.
    """
    cost, loss = _tables(costs, losses)
    if limit not in ("loss", "cost") or solver not in ("highs", "labels"):
        raise SpecError(f"no limit '{limit}' or solver '{solver}'", hint="limit: loss, cost; solver: highs, labels")
    if np.isnan(budget):
        raise SpecError("the budget is not a number")
    bounded, least = (loss, cost) if limit == "loss" else (cost, loss)
    possible = np.isfinite(cost) & np.isfinite(loss)
    smallest = float(np.where(possible, bounded, np.inf).min(axis=1).sum())
    if smallest > budget:
        raise SpecError(
            f"no allocation keeps the {limit} within {budget:g}: the least possible is {smallest:g}",
            hint="raise the budget, or give layers a candidate that costs less of it",
        )
    if solver == "labels":
        within = [found for found in front(cost, loss) if getattr(found, limit) <= budget]
        return min(within, key=lambda found: (found.cost, found.loss) if limit == "loss" else (found.loss, found.cost))
    return _found(_highs(least, bounded, possible, budget), cost, loss)


def front(
    costs: Sequence[Sequence[float]] | NDArray[Any], losses: Sequence[Sequence[float]] | NDArray[Any]
) -> list[Allocation]:
    """All allocations that no other beats in both cost and loss, by rising cost (Nemhauser & Ullmann, 1969).

    Raises:
        SpecError: for tables that don't go together.
        FiberloomError: if more than `MOST_LABELS` partial allocations stay undominated.
    """
    cost, loss = _tables(costs, losses)
    totals = np.zeros((1, 2))
    history: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
    for layer in range(cost.shape[0]):
        candidates = np.flatnonzero(np.isfinite(cost[layer]) & np.isfinite(loss[layer]))
        added = np.stack([cost[layer, candidates], loss[layer, candidates]], axis=1)
        all_totals = (totals[:, None] + added[None]).reshape(-1, 2)
        order = np.lexsort((all_totals[:, 1], all_totals[:, 0]))
        best = np.minimum.accumulate(all_totals[order, 1])
        kept = order[np.concatenate([[True], all_totals[order[1:], 1] < best[:-1]])]
        if kept.size > MOST_LABELS:
            raise FiberloomError(
                f"after {layer + 1} layers {kept.size:,} allocations are undominated: too many to list",
                hint="allocate with solver='highs', or round costs and losses",
            )
        history.append((kept // candidates.size, candidates[kept % candidates.size]))
        totals = all_totals[kept]
    return [_found(_trace(history, index), cost, loss) for index in range(totals.shape[0])]


def _trace(history: list[tuple[NDArray[np.intp], NDArray[np.intp]]], index: int) -> list[int]:
    choices = []
    for parents, candidates in reversed(history):
        choices.append(int(candidates[index]))
        index = int(parents[index])
    return choices[::-1]


def _highs(least: NDArray[Any], bounded: NDArray[Any], possible: NDArray[np.bool_], budget: float) -> list[int]:
    try:
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import csr_array
    except ImportError:
        raise MissingExtraError("scipy", "search", "allocating by integer programming") from None
    layers, candidates = least.shape
    places = np.arange(layers * candidates)
    one_each = csr_array((np.ones(places.size), (places // candidates, places)), shape=(layers, places.size))
    weights = np.where(possible, bounded, 0.0).ravel()
    scale = float(np.abs(weights).max()) or 1.0
    price = np.where(possible, least, 0.0).ravel()
    unit = float(np.abs(price).max()) or 1.0
    solution = milp(
        price / unit,
        integrality=np.ones(places.size),
        bounds=Bounds(0, possible.ravel().astype(float)),
        constraints=[
            LinearConstraint(one_each, 1, 1),
            LinearConstraint(weights[None] / scale, -np.inf, budget / scale),
        ],
        options={"mip_rel_gap": 0.0},
    )
    if solution.x is None:
        raise FiberloomError(f"the solver found no allocation: {solution.message}")
    choices = solution.x.reshape(layers, candidates).argmax(axis=1)
    used = float(np.take_along_axis(bounded, choices[:, None], axis=1).sum())
    if used > budget + _TOLERANCE * max(abs(budget), scale):
        # the solver's feasibility tolerance let the budget slip: ask for as much less
        return _highs(least, bounded, possible, budget - 2 * (used - budget))
    return [int(choice) for choice in choices]


def _found(choices: list[int], cost: NDArray[Any], loss: NDArray[Any]) -> Allocation:
    layers = np.arange(cost.shape[0])
    return Allocation(tuple(choices), float(cost[layers, choices].sum()), float(loss[layers, choices].sum()))


def _tables(costs: Any, losses: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    try:
        cost, loss = np.asarray(costs, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    except (TypeError, ValueError):
        raise SpecError("costs and losses are tables of numbers, layer × candidate") from None
    if cost.ndim != 2 or cost.shape != loss.shape or 0 in cost.shape:
        raise SpecError(f"costs {cost.shape} and losses {loss.shape} are no tables of the same layers × candidates")
    if np.isnan(cost).any() or np.isnan(loss).any():
        raise SpecError("a cost or loss is NaN", hint="write infinity for a candidate that a layer can't have")
    if (cost == -np.inf).any() or (loss == -np.inf).any():
        raise SpecError("a cost or loss is minus infinity")
    impossible = ~(np.isfinite(cost) & np.isfinite(loss)).any(axis=1)
    if impossible.any():
        raise SpecError(f"layer {int(np.argmax(impossible))} can't have any candidate")
    return cost, loss
