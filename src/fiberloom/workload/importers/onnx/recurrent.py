"""LSTM, GRU and RNN of ONNX graphs: two products per direction, and what happens to each state in between.

source: ONNX Operators.md, LSTM, GRU, RNN: input X [steps, batch, inputs], W [directions, gates * hidden, inputs],
R [directions, gates * hidden, hidden]. The products with inputs wait for nothing and are one over all steps; those with the hidden
state are one per step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from fiberloom.workload import layers
from fiberloom.workload.importers.onnx.contractions import built
from fiberloom.workload.importers.onnx.graph import Step
from fiberloom.workload.importers.onnx.translation import Translation, Unresolved
from fiberloom.workload.network import Kind

_GATES: Final = {"RNN": 1, "GRU": 3, "LSTM": 4}
# Per hidden element and step, beside the products: adding both products and two biases for each gate (3 per gate), the gates'
# functions, and new states: LSTM c = f*c + i*g, h = o*tanh(c) (5 gate functions with tanh(c), 3 multiplications, 1 addition);
# GRU h = (1-z)*n + z*h with r*(...) (3 functions, 3 multiplications, 1 subtraction, 1 addition); RNN one function.
_STATE_OPERATIONS: Final = {"RNN": 3 + 1, "GRU": 9 + 8, "LSTM": 12 + 9}


def recurrent(t: Translation, step: Step) -> None:
    """Add products with the inputs, products with the state (`count` = steps times directions), and the states' own work."""
    attributes = step.attributes()
    x, w, r = (t.value(n).extents for n in step.inputs[:3])
    steps, batch = (x[1], x[0]) if attributes.get("layout") else (x[0], x[1])
    directions, hidden = w[0], r[2]
    gates = _GATES[step.op]
    if 0 in x or w[1] != gates * hidden:
        raise Unresolved(f"weights of shape {list(w)} for {gates} gates of {hidden}")
    outputs = [n for n in step.outputs if n]
    rows = gates * hidden
    shape = (directions, steps, batch, rows)
    from_inputs = t.intermediate(f"{outputs[0]}/inputs", shape, step.inputs[0])
    from_state = t.intermediate(f"{outputs[0]}/recurrent", (directions, batch, rows), step.inputs[0])
    state = t.intermediate(f"{outputs[0]}/hidden", (directions, batch, hidden), step.inputs[0])
    over_all = built(layers.fully_connected, outputs=rows, inputs=x[2], batch=steps * batch)
    per_step = built(layers.fully_connected, outputs=rows, inputs=hidden, batch=batch)
    note = "both directions" if directions == 2 else ""
    t.add_einsum(
        step, over_all, {"W": t.weight(step.inputs[1]), "I": t.operand(step.inputs[0]), "O": from_inputs},
        suffix="/inputs", count=directions, note=note,
    )  # fmt: skip
    t.add_einsum(
        step, per_step, {"W": t.weight(step.inputs[2]), "I": state, "O": from_state},
        suffix="/recurrent", count=directions * steps, note=f"once per step: {steps} steps" + (f", {note}" if note else ""),
    )  # fmt: skip
    others = t.tensors_of(n for n in step.inputs[3:] if n)
    t.add(
        step, Kind.ELEMENTWISE, _STATE_OPERATIONS[step.op] * directions * steps * batch * hidden,
        inputs=(from_inputs, from_state, *others), outputs=(state, *t.tensors_of(outputs)), suffix="/gates",
    )  # fmt: skip


RECURRENT: Final[Mapping[str, Callable[[Translation, Step], None]]] = dict.fromkeys(_GATES, recurrent)
"""Operators that go through a sequence step by step."""
