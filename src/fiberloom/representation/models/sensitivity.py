"""How much a model suffers when one layer is compressed, and what each layer is given by these figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from fiberloom.errors import SpecError, nearest
from fiberloom.representation.allocation import Allocation, allocate
from fiberloom.representation.models.attention import open_attention
from fiberloom.representation.models.calibrate import Batch, call, checked_batches, evaluating
from fiberloom.representation.models.compress import Compressed, Wanted, compress, copied
from fiberloom.representation.models.layers import replace
from fiberloom.representation.models.quality import tensor_of

Measure = Literal["layer", "output", "kl"]
_MEASURES = ("layer", "output", "kl")


@dataclass(frozen=True)
class Sensitivity:
    """What compressing single layers costs in quality.

    Attributes:
        layers: names.
        candidates: representations as text.
        losses: ``(layers, candidates)``.
        measure: what the losses are: ``layer``, the squared relative error of the layer's own output; ``output``, that of the
            model's; ``kl``, the mean Kullback-Leibler divergence, in nats, of the softmax of the model's output.
    """

    layers: tuple[str, ...]
    candidates: tuple[str, ...]
    losses: NDArray[np.float64]
    measure: str


@dataclass(frozen=True)
class Mixed:
    """A model with a representation of its own for every layer.

    Attributes:
        compressed: the model.
        choices: by layer.
        allocation: its total cost and its total predicted loss.
        sensitivity: that it was found by.
    """

    compressed: Compressed
    choices: dict[str, str]
    allocation: Allocation
    sensitivity: Sensitivity


def sensitivities(
    model: nn.Module,
    candidates: Sequence[Wanted],
    calibration: Iterable[Batch],
    measure: Measure = "kl",
    **how: Any,
) -> Sensitivity:
    """Compress each layer alone to each candidate, and compare with the original on calibration data.

    Args:
        measure: see `Sensitivity`. ``layer`` needs one run for each candidate, the others one for each layer as well.
        how: further arguments of `compress`, such as ``method`` and ``activations``; inputs are the original's.

    Raises:
        SpecError: as `compress`; and for an unknown measure.
    """
    if measure not in _MEASURES:
        raise SpecError(f"no sensitivity is called '{measure}'", hint=nearest(measure, _MEASURES))
    batches = checked_batches(calibration)
    names: tuple[str, ...] = ()
    columns: list[NDArray[np.float64]] = []
    for candidate in candidates:
        whole = compress(model, candidate, calibration=batches, sequential=False, **how)
        names = tuple(layer.name for layer in whole.layers if layer.output_error is not None)
        if measure == "layer":
            errors = {layer.name: layer.output_error for layer in whole.layers}
            columns.append(np.array([(errors[name] or 0.0) ** 2 for name in names]))
        else:
            columns.append(_one_by_one(model, whole, names, batches, measure))
    if not columns or not names:
        raise SpecError("no layer or no candidate to measure")
    return Sensitivity(names, tuple(str(c) for c in candidates), np.stack(columns, axis=1), measure)


def allocate_representations(
    model: nn.Module,
    candidates: Sequence[Wanted],
    costs: Mapping[str, Sequence[float]],
    calibration: Iterable[Batch],
    budget: float,
    limit: Literal["loss", "cost"] = "loss",
    measure: Measure = "kl",
    solver: Literal["highs", "labels"] = "highs",
    **how: Any,
) -> Mixed:
    """A representation for every layer such that the total cost is least within a budget of summed sensitivities, or the reverse.

    Args:
        candidates: for every layer.
        costs: of each layer, by name, one figure for each candidate: energy, cycles, bits.
        budget: of what `limit` names: the sum of losses, or of costs.
        measure: see `Sensitivity`.
        solver: see `allocate`.
        how: further arguments of `compress`.

    Raises:
        SpecError: for layers without costs, and as `sensitivities` and `allocate`.
    """
    batches = checked_batches(calibration)
    found = sensitivities(model, candidates, batches, measure, **how)
    missing = [name for name in found.layers if name not in costs]
    unknown = [name for name in costs if name not in found.layers]
    if missing or unknown:
        wrong = (missing or unknown)[0]
        problem = f"layer '{wrong}' has no costs" if missing else f"costs for '{wrong}', which is no layer of the model"
        raise SpecError(problem, hint=nearest(wrong, costs if missing else found.layers))
    table = [list(costs[name]) for name in found.layers]
    allocation = allocate(table, found.losses, budget, limit, solver)
    chosen = {name: candidates[i] for name, i in zip(found.layers, allocation.choices, strict=True)}
    compressed = compress(model, chosen, calibration=batches, **how)
    return Mixed(compressed, {name: str(c) for name, c in chosen.items()}, allocation, found)


def _one_by_one(
    model: nn.Module, whole: Compressed, names: Sequence[str], batches: list[Batch], measure: str
) -> NDArray[np.float64]:
    """Loss of the model with one layer at a time as in `whole`; attention is opened in the model as it is there."""
    trial = copied(model)
    open_attention(trial)
    wanted = _outputs(trial, batches)
    losses = []
    for name in names:
        original = trial.get_submodule(name)
        replace(trial, name, whole.model.get_submodule(name))
        losses.append(_difference(_outputs(trial, batches), wanted, measure))
        replace(trial, name, original)
    return np.array(losses)


def _outputs(model: nn.Module, batches: list[Batch]) -> list[Tensor]:
    with evaluating(model):
        return [tensor_of(call(model, batch)).double() for batch in batches]


def _difference(found: list[Tensor], wanted: list[Tensor], measure: str) -> float:
    if measure == "output":
        error = sum(float((a - b).square().sum()) for a, b in zip(found, wanted, strict=True))
        return error / (sum(float(b.square().sum()) for b in wanted) or 1.0)
    total, count = 0.0, 0
    for a, b in zip(found, wanted, strict=True):
        classes = b.shape[-1]
        expected, given = (F.log_softmax(t.reshape(-1, classes), dim=-1) for t in (b, a))
        total += float(F.kl_div(given, expected, log_target=True, reduction="sum"))
        count += expected.shape[0]
    return max(0.0, total / count)  # rounding can leave a little less than nothing
