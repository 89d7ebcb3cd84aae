"""A network given by its shapes on designs: every layer with its representation, and the sums."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fiberloom.architecture.library.design import DesignInfo
from fiberloom.codesign.layer.evaluation import evaluate_all
from fiberloom.codesign.layer.planning import Task, plan
from fiberloom.codesign.network_cost import NetworkCost, OperatorCost, Search
from fiberloom.errors import FiberloomError, SpecError, nearest
from fiberloom.workload.network import Network, Operator, Role

Given = Any | Mapping[str, Any]
"""One representation for all layers, or one by name of operator, with `None` under the others' (dense)."""


def evaluate_networks(
    network: Network | str,
    designs: Sequence[str | DesignInfo],
    weights: Mapping[str, Given] | Callable[[str], Given],
    activations: Given = None,
    *,
    search: Search | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, NetworkCost]:
    """What the products of a network cost on each design, one after the other.

    Products of two activations (attention) run dense in both. Operators that are no Einsums are not in the sums.

    Args:
        network: a network, or what `fiberloom.workload.importers.read_network` takes.
        designs: names of the library, or designs; names of the answers.
        weights: what the weights are on each design: a representation, or one by name of operator.
        activations: of products with weights, the same way.
        progress: told how many mappings are searched, and how many there are.

    Raises:
        SpecError: for names of operators that the network does not have, and representations that make no sense.
    """
    if isinstance(network, str):
        from fiberloom.workload.importers import read_network

        network = read_network(network)
    search = search or Search()
    tasks: list[tuple[str, Operator, str | None, Task]] = []
    named = {design if isinstance(design, str) else design.name: design for design in designs}
    left_out: dict[str, dict[str, str]] = {design: {} for design in named}
    for design, described in named.items():
        given = weights(design) if callable(weights) else weights[design]
        refused: dict[str, str | None] = {}
        for operator, tensor, task in tasks_of(network, described, given, activations):
            if task.identity not in refused:
                refused[task.identity] = _refusal(task)
            if (reason := refused[task.identity]) is not None:
                left_out[design][operator.name] = reason
                continue
            tasks.append((design, operator, tensor, task))
    costs = evaluate_all(
        [made for *_, made in tasks],
        objective=search.objective,
        seconds=search.seconds,
        workers=search.workers,
        cache=search.cache,
        progress=progress,
    )
    found: dict[str, list[OperatorCost]] = {design: [] for design in named}
    for (design, operator, tensor, _), cost in zip(tasks, costs, strict=True):
        found[design].append(OperatorCost(operator.name, tensor, operator.count, cost))
    return {design: NetworkCost(design, tuple(found[design]), left_out[design]) for design in named}


def tasks_of(
    network: Network, design: str | DesignInfo, weights: Given, activations: Given
) -> Iterator[tuple[Operator, str | None, Task]]:
    """Every product of the network on a design, and the name of its weights (None: a product of activations).

    Args:
        weights, activations: as in `evaluate_networks`, for this design.
    """
    for operator in network.einsums:
        tensor = next((n for n in operator.operands.values() if network.tensors[n].role is Role.PARAMETER), None)
        task = Task(
            network.resolved(operator).model_copy(update={"name": operator.name}),
            design,
            None if tensor is None else _of(weights, operator, network),
            None if tensor is None else _of(activations, operator, network),
            name=operator.name,
        )
        yield operator, tensor, task


def _refusal(task: Task) -> str | None:
    """Why a design can't run a task; None: it can."""
    try:
        plan(task)
    except FiberloomError as error:
        return error.problem
    return None


def _of(given: Given, operator: Operator, network: Network) -> Any:
    """What is given for one operator."""
    if not isinstance(given, Mapping):
        return given
    names = [o.name for o in network.einsums]
    for name in given:
        if name not in names:
            raise SpecError(f"'{network.name}' has no operator '{name}'", hint=nearest(name, names))
    return given.get(operator.name)
