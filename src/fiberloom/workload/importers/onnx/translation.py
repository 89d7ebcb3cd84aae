"""From steps whose shapes are known to operators and tensors of a network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from fiberloom.workload.einsum import Einsum
from fiberloom.workload.importers.onnx.elements import PLAIN_INTEGERS, element_type
from fiberloom.workload.importers.onnx.graph import Step
from fiberloom.workload.importers.onnx.known import Value
from fiberloom.workload.importers.onnx.shapes import Inference
from fiberloom.workload.network import Kind, NetworkTensor, Operator, Role

# Kinds of steps that pass scores on to a softmax, or from it, without mixing keys.
_AROUND_SOFTMAX: Final = frozenset(
    {"Mul", "Div", "Add", "Sub", "Where", "Cast", "Max", "Min", "Clip", "Tanh", "Reshape", "Identity", "Dropout",
     "QuantizeLinear", "DequantizeLinear", "IsNaN", "Squeeze", "Unsqueeze"}
)  # fmt: skip
_HOPS: Final = 10


class Unresolved(Exception):
    """A step that can't be translated, with the reason that a reader gets."""


class Translation:
    """Steps on one side; operators and tensors that they become on the other.

    Attributes:
        operators: in the order of the steps.
        tensors: by name.
    """

    def __init__(self, inference: Inference, steps: list[Step], roles: Mapping[str, Role]) -> None:
        self.inference = inference
        self.values = inference.values
        self.steps = steps
        self.roles = roles
        self.operators: list[Operator] = []
        self.tensors: dict[str, NetworkTensor] = {}
        self._named: dict[str, str | None] = {}
        self.makers: dict[str, int] = {}
        self.readers: dict[str, int] = {}
        self.uses: dict[str, int] = {}
        for index, step in enumerate(steps):
            for name in step.outputs:
                self.makers[name] = index
            for name in step.inputs:
                self.readers.setdefault(name, index)
                self.uses[name] = self.uses.get(name, 0) + 1

    def value(self, name: str) -> Value:
        """What is known of a tensor whose shape has to be known.

        Raises:
            Unresolved: if it isn't.
        """
        if not name:
            raise Unresolved("an input that it needs is not given")
        value = self.values[name]
        if not value.known:
            axis = value.shape.index(None) if value.shape is not None else 0
            raise Unresolved(f"{value.why or 'a shape is not known'}; if you know it: dims={{'{name}[{axis}]': …}}")
        return value

    def maker(self, name: str) -> Step | None:
        """The step that makes a tensor in every run."""
        index = self.makers.get(name)
        return None if index is None else self.steps[index]

    def sole_reader(self, name: str) -> Step | None:
        """The only step that reads a tensor, if there is one and the tensor is no output."""
        if self.uses.get(name) != 1 or name in self.roles:
            return None
        return self.steps[self.readers[name]]

    def is_constant(self, name: str) -> bool:
        """Whether a tensor is the same in every run."""
        return self.values[name].constant

    def tensor(self, name: str) -> str | None:
        """The network's tensor for a tensor of the graph; None for a constant number and for shapes that are not known."""
        if name not in self._named:
            self._named[name] = self._made(name) if name else None
        return self._named[name]

    def _made(self, name: str) -> str | None:
        stored = self.inference.stored.get(name)
        value = self.values[name]
        if value.constant and stored is not None and (not value.known or math.prod(stored.shape) == value.elements):
            if not stored.shape:
                return None
            kept = stored.name
            if kept not in self.tensors:
                numbers = element_type(stored.element)
                # Where it is kept as plain integers it is not learned: indices, masks.
                role = Role.PARAMETER if stored.element not in PLAIN_INTEGERS else Role.CONSTANT
                self.tensors[kept] = NetworkTensor(kept, stored.shape, role, *numbers, stored.density)
            return kept
        if not value.known or (value.constant and not value.shape):
            return None
        if name not in self.tensors:
            role = self.roles.get(name, Role.ACTIVATION)
            if value.constant and name not in self.roles:
                learned = name in self.inference.learned and value.element not in PLAIN_INTEGERS
                role = Role.PARAMETER if learned else Role.CONSTANT
            self.tensors[name] = NetworkTensor(name, value.extents, role, *element_type(value.element))
        return name

    def weight(self, name: str) -> str:
        """As `tensor`, of a constant that a product or lookup reads: it is learned whatever its type."""
        made = self.operand(name)
        tensor = self.tensors[made]
        if tensor.role is Role.CONSTANT:
            self.tensors[made] = NetworkTensor(
                made, tensor.shape, Role.PARAMETER, tensor.number_format, tensor.bits, tensor.density
            )
        return made

    def operand(self, name: str) -> str:
        """The tensor that a product reads: the integers themselves where the graph makes floats of them before it."""
        maker = self.maker(name)
        if maker is not None and maker.op == "DequantizeLinear" and self.values[maker.inputs[0]].known:
            name = maker.inputs[0]
        made = self.tensor(name)
        if made is None:
            self.value(name)
            raise Unresolved(f"'{name}' is a single number")
        return made

    def result(self, name: str) -> str:
        """The tensor that a product writes: the integers where the only thing done with it is to round it to them."""
        reader = self.sole_reader(name)
        if reader is not None and reader.op == "QuantizeLinear" and self.values[reader.outputs[0]].known:
            name = reader.outputs[0]
        self.value(name)
        made = self.tensor(name)
        if made is None:
            raise Unresolved(f"'{name}' is a constant number")
        return made

    def intermediate(self, name: str, shape: Iterable[int], like: str) -> str:
        """A tensor that exists inside a fused operator only."""
        numbers = element_type(self.values[like].element)
        while name in self.tensors or name in self.values:
            name += "'"
        self.tensors[name] = NetworkTensor(name, tuple(shape), Role.ACTIVATION, *numbers)
        return name

    def tensors_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """The network's tensors for tensors of the graph, those that there are."""
        return tuple(dict.fromkeys(t for t in map(self.tensor, names) if t is not None))

    def add_einsum(
        self,
        step: Step,
        einsum: Einsum,
        operands: Mapping[str, str],
        *,
        suffix: str = "",
        count: int = 1,
        note: str = "",
    ) -> None:
        """Add an Einsum; `operands` are tensors of the network, the output among them."""
        name = step.name + suffix
        output = einsum.output.name
        self.operators.append(
            Operator(
                name=name,
                op=step.op + suffix.replace("/", " ").replace("_", " "),
                kind=Kind.EINSUM,
                inputs=tuple(dict.fromkeys(t for n, t in operands.items() if n != output)),
                outputs=(operands[output],),
                einsum=einsum.model_copy(update={"name": name}),
                operands=dict(operands),
                count=count,
                note=note,
            )
        )

    def add(
        self,
        step: Step,
        kind: Kind,
        operations: int = 0,
        *,
        inputs: Iterable[str] | None = None,
        outputs: Iterable[str] | None = None,
        suffix: str = "",
        count: int = 1,
        note: str = "",
    ) -> None:
        """Add an operator of any other kind; inputs and outputs are tensors of the network, by default all of the step's."""
        self.operators.append(
            Operator(
                name=step.name + suffix,
                op=(f"{step.domain}." if kind is Kind.UNKNOWN and step.domain else "")
                + step.op
                + suffix.replace("/", " ").replace("_", " "),
                kind=kind,
                inputs=self.tensors_of(step.inputs) if inputs is None else tuple(inputs),
                outputs=self.tensors_of(step.outputs) if outputs is None else tuple(outputs),
                operations=operations,
                count=count,
                note=note,
            )
        )

    def around_softmax(self, step: Step, first: str, output: str) -> str:
        """``scores`` if a product's output goes to a softmax, ``values`` if its first operand comes from one, else empty."""
        name = first
        for _ in range(_HOPS):
            maker = self.maker(name)
            if maker is None:
                break
            if maker.op in {"Softmax", "QLinearSoftmax", "BiasSoftmax"}:
                return "values"
            if maker.op not in _AROUND_SOFTMAX:
                break
            # A Where chooses between a number and what it guards: its third or second input.
            live = [i for i in maker.inputs if i and not self.is_constant(i) and self.values[i].element not in {9}]
            if len(live) != 1:
                break
            name = live[0]
        name = output
        for _ in range(_HOPS):
            if name not in self.readers or name in self.roles:
                break
            reader = self.steps[self.readers[name]]
            if reader.op in {"Softmax", "QLinearSoftmax", "BiasSoftmax"}:
                return "scores"
            if reader.op not in _AROUND_SOFTMAX:
                break
            name = reader.outputs[0]
        return ""
