"""A whole network with represented weights on a design: the layers' costs and their sum."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fiberloom.codesign.layer.evaluation import SECONDS, LayerCost, evaluate_all
from fiberloom.codesign.layer.planning import Task, plan
from fiberloom.codesign.weights.network_weights import NetworkWeights
from fiberloom.errors import FiberloomError
from fiberloom.network_evaluation.cases import density_of
from fiberloom.representation import Representation
from fiberloom.workload.network import Operator, Role


@dataclass(frozen=True)
class Search:
    """How mappings are searched.

    Attributes:
        objective: ``edp``, ``energy`` or ``latency``.
        seconds: most time per mapping.
        workers: processes; None: one per core.
        cache: True for the user's cache folder, a folder, or False for none.
    """

    objective: str = "edp"
    seconds: float = SECONDS
    workers: int | None = None
    cache: bool | str | Path = True


@dataclass(frozen=True)
class OperatorCost:
    """An operator of the network on the design; `cost` is of one computation of it.

    Attributes:
        tensor: the represented weights that it multiplies; None: it multiplies others.
        count: how often the network computes it.
    """

    operator: str
    tensor: str | None
    count: int
    cost: LayerCost


@dataclass(frozen=True)
class NetworkCost:
    """What the products of a network cost, one after the other.

    Attributes:
        left_out: operators that no total holds → why.
    """

    design: str
    operators: tuple[OperatorCost, ...]
    left_out: Mapping[str, str]

    @property
    def cycles(self) -> float:
        """Of all products."""
        return math.fsum(o.cost.cycles * o.count for o in self.operators)

    @property
    def seconds(self) -> float:
        """Of all products."""
        return math.fsum(o.cost.seconds * o.count for o in self.operators)

    @property
    def energy_pj(self) -> float:
        """Of all products."""
        return math.fsum(o.cost.energy_pj * o.count for o in self.operators)

    @property
    def edp_j_s(self) -> float:
        """Energy times time, of the whole."""
        return self.energy_pj * 1e-12 * self.seconds

    @property
    def area_um2(self) -> float:
        """Of the design."""
        return max((o.cost.area_um2 for o in self.operators), default=0.0)

    @property
    def energy_by_component_pj(self) -> dict[str, float]:
        """By level and compute."""
        found: dict[str, float] = {}
        for o in self.operators:
            for name, pj in o.cost.energy_by_component_pj.items():
                found[name] = found.get(name, 0.0) + pj * o.count
        return found

    @property
    def menu_throughput(self) -> float:
        """Multiples of dense 16-bit throughput as the menu runs the represented weights, over all their multiplications."""
        mine = [o for o in self.operators if o.tensor is not None]
        time = math.fsum(o.count * o.cost.macs / o.cost.menu_throughput for o in mine)
        return sum(o.count * o.cost.macs for o in mine) / time if time else 1.0

    @property
    def certificates(self) -> dict[str, Any]:
        """How many mappings are proved optimal, and the largest gap of the others."""
        gaps = [o.cost.certificate.get("gap", 1.0) for o in self.operators]
        proved = sum(o.cost.certificate.get("status") == "optimal" for o in self.operators)
        return {"layers": len(gaps), "proved": proved, "largest_gap": max(gaps, default=0.0)}


@dataclass(frozen=True)
class _Asked:
    """The tasks of one representation on a design.

    Attributes:
        entries: operator, the represented tensor that it multiplies (None: another), task.
    """

    design: str
    entries: tuple[tuple[Operator, str | None, Task], ...]


def network_cost(
    weights: NetworkWeights, design: str, representation: Representation | None, **how: Any
) -> NetworkCost:
    """Every product of the network on `design`, the chosen weights in `representation` (None: dense).

    Args:
        how: as `network_costs`.

    Raises:
        SpecError, UnsupportedError: when the design can't run the represented weights.
    """
    (found,) = network_costs(weights, [(design, representation)], **how)
    if isinstance(found, FiberloomError):
        raise found
    return found


def network_costs(
    weights: NetworkWeights,
    wanted: Sequence[tuple[str, Representation | None]],
    *,
    activations: Any = None,
    search: Search | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[NetworkCost | FiberloomError]:
    """`network_cost` of several designs and representations, mappings searched side by side; an error where one can't run.

    Products of other operands that a design can't take are left out.

    Args:
        wanted: design and representation, in the order of the answers.
        activations: what structure the activations have (see `fiberloom.codesign.layer.planning.Task`); None: the share of non-zeros
            that the network states for them.
        progress: told how many mappings are searched, and how many there are.
    """
    search = search or Search()
    asked: list[_Asked | FiberloomError] = []
    for design, representation in wanted:
        try:
            asked.append(_asked(weights, design, representation, activations))
        except FiberloomError as error:
            asked.append(error)
    runnable = [entry for entry in asked if isinstance(entry, _Asked)]
    found: Iterator[NetworkCost | FiberloomError]
    try:
        costs = iter(_evaluated([task for entry in runnable for _, _, task in entry.entries], search, progress))
        found = iter([_together(entry, [next(costs) for _ in entry.entries], {}) for entry in runnable])
    except FiberloomError:  # one of them can't be mapped; what is searched by now is not searched again
        found = iter([_apart(entry, search, progress) for entry in runnable])
    return [entry if isinstance(entry, FiberloomError) else next(found) for entry in asked]


def _asked(weights: NetworkWeights, design: str, representation: Representation | None, activations: Any) -> _Asked:
    chosen = {layer.name for layer in weights.layers}
    entries = []
    for operator in weights.network.einsums:
        tensor = next((name for name in operator.operands.values() if name in chosen), None)
        task = _task(weights, operator, design, representation if tensor is not None else None, activations)
        if tensor is not None:
            plan(task)  # refused here, before anything is searched
        entries.append((operator, tensor, task))
    return _Asked(design, tuple(entries))


def _apart(asked: _Asked, search: Search, progress: Callable[[int, int], None] | None) -> NetworkCost | FiberloomError:
    """Represented weights all or not at all; other products that can't be mapped are left out."""
    mine = [entry for entry in asked.entries if entry[1] is not None]
    try:
        costs = _evaluated([task for _, _, task in mine], search, progress)
    except FiberloomError as error:
        return error
    left_out: dict[str, str] = {}
    for operator, tensor, task in asked.entries:
        if tensor is None:
            try:
                costs += _evaluated([task], search, None)
                mine.append((operator, tensor, task))
            except FiberloomError as error:
                left_out[operator.name] = error.problem
    return _together(replace(asked, entries=tuple(mine)), costs, left_out)


def _together(asked: _Asked, costs: Sequence[LayerCost], left_out: Mapping[str, str]) -> NetworkCost:
    operators = [
        OperatorCost(operator.name, tensor, operator.count, cost)
        for (operator, tensor, _), cost in zip(asked.entries, costs, strict=True)
    ]
    operators.sort(key=lambda o: o.tensor is None)  # stable: the represented ones first
    return NetworkCost(asked.design, tuple(operators), left_out)


def _evaluated(tasks: list[Task], search: Search, progress: Callable[[int, int], None] | None) -> list[LayerCost]:
    return evaluate_all(
        tasks,
        objective=search.objective,
        seconds=search.seconds,
        workers=search.workers,
        cache=search.cache,
        progress=progress,
    )


def _task(
    weights: NetworkWeights, operator: Operator, design: str, representation: Representation | None, activations: Any
) -> Task:
    einsum = weights.network.resolved(operator)
    if activations is None:
        operands = {t.name: weights.network.tensors.get(operator.operands.get(t.name, "")) for t in einsum.inputs}
        moving = [name for name, own in operands.items() if own is None or own.role is not Role.PARAMETER]
        activations = min((density_of(einsum, name) for name in moving), default=1.0)
    return Task(einsum, design, representation, activations, name=operator.name)
