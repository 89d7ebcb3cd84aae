"""Recurrent layers of ATen: per layer and direction one product with the whole sequence, and one per step with the state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from fiberloom.errors import UnsupportedError
from fiberloom.workload.importers.torch_export_values import Call, Value
from fiberloom.workload.layers import fully_connected
from fiberloom.workload.network import Kind, Operator
from fiberloom.workload.zoo.building import OPERATIONS

_GATING: Final[Mapping[str, int]] = {
    # per element of the state: activations of the gates, and the products and sums that combine them
    "lstm": 3 * OPERATIONS["sigmoid"] + 2 * OPERATIONS["tanh"] + 4,  # Hochreiter and Schmidhuber, 1997
    "gru": 2 * OPERATIONS["sigmoid"] + OPERATIONS["tanh"] + 5,  # Cho et al., EMNLP'14, equations 5 to 8
    "rnn_tanh": OPERATIONS["tanh"] + 1,
    "rnn_relu": OPERATIONS["relu"] + 1,
}


def recurrent(call: Call) -> list[Operator]:
    """``lstm.input``, ``gru.input``, ``rnn_tanh.input``, ``rnn_relu.input``."""
    if not call.op.endswith(".input"):
        raise UnsupportedError("packed sequences have steps of several lengths")
    sequence, weights = call.tensor("input"), list(call["params"] or ())
    directions = 2 if call["bidirectional"] else 1
    layers = int(call["num_layers"] or 1)
    each = len(weights) // (layers * directions)
    steps_axis = 1 if call["batch_first"] and len(sequence.shape) == 3 else 0
    steps = sequence.shape[steps_axis]
    batch = sequence.elements // (steps * sequence.shape[-1])
    made: list[Operator] = []
    below = sequence
    for layer in range(layers):
        ends = []
        for direction in range(directions):
            own = weights[(layer * directions + direction) * each :][:each]
            last = layer == layers - 1 and directions == 1
            operators, end = _layer(call, f"{layer}.{direction}", below, own, steps, batch, last)
            made += operators
            ends.append(end)
        below = ends[0]
        if directions > 1:
            shape = (*below.shape[:-1], sum(e.shape[-1] for e in ends))
            below = call.output if layer == layers - 1 else call.on_the_way(f"{layer}.both", shape, sequence)
            made.append(call.step(Kind.LAYOUT, suffix=f"{layer}.concatenation", inputs=tuple(ends), outputs=(below,)))
    return made


def _layer(
    call: Call, suffix: str, below: Value, weights: list[Value], steps: int, batch: int, last: bool
) -> tuple[list[Operator], Value]:
    """One layer in one direction, and what it puts out. Weights: input, state, biases, and a projection of the state."""
    of_input, of_state = weights[:2]
    projection = weights[-1] if len(weights) in (3, 5) else None
    rows, inputs = of_input.shape
    lead = below.shape[:-1]
    width = of_state.shape[1]
    hidden = projection.shape[1] if projection else width
    from_input, from_state = (
        call.on_the_way(f"{suffix}.{n}", (*lead, rows), below) for n in ("input gates", "state gates")
    )
    before = call.on_the_way(f"{suffix}.state", (*lead, width), below)
    after = call.output if last else call.on_the_way(f"{suffix}.output", (*lead, width), below)
    cells = call.on_the_way(f"{suffix}.cell output", (*lead, hidden), below) if projection else after
    once = f"once for each of {steps} steps"
    made = [
        call.einsum(
            fully_connected(call.name, outputs=rows, inputs=inputs, batch=steps * batch),
            {"W": of_input, "I": below, "O": from_input}, suffix=f"{suffix}.input", besides=tuple(weights[2:3]),
        ),
        call.einsum(
            fully_connected(call.name, outputs=rows, inputs=width, batch=batch),
            {"W": of_state, "I": before, "O": from_state}, suffix=f"{suffix}.state", count=steps, note=once,
        ),
        call.step(
            Kind.ELEMENTWISE, _GATING[call.base] * steps * batch * hidden, suffix=f"{suffix}.gates",
            inputs=(from_input, from_state), outputs=(cells,),
        ),
    ]  # fmt: skip
    if projection:
        made.append(
            call.einsum(
                fully_connected(call.name, outputs=width, inputs=hidden, batch=batch),
                {"W": projection, "I": cells, "O": after}, suffix=f"{suffix}.projection", count=steps, note=once,
            )
        )  # fmt: skip
    return made, after


RECURRENT: Final[Mapping[str, Callable[[Call], list[Operator]]]] = dict.fromkeys(_GATING, recurrent)
"""What makes the operators of a recurrent layer, by the call's base name."""
