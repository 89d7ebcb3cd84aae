"""Building a network operator by operator: each call adds one step and returns the name of the tensor that it makes.

Shapes: images are (batch, channels, rows, columns), tokens (batch, tokens, width). An operator and its output share a name; a
layer's parameters are named after it (``conv1.weight``). Steps that are not Einsums count scalar operations, one each for an
addition, multiplication, comparison, division, exponential or other function: see `OPERATIONS`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from fiberloom.errors import SpecError, nearest
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.layers import convolution_nd, fully_connected
from fiberloom.workload.network import Kind, Network, NetworkTensor, Operator, Role

BITS: Final[Mapping[str, int]] = {
    "fp64": 64, "fp32": 32, "tf32": 19, "fp16": 16, "bf16": 16, "fp8": 8, "int64": 64, "int32": 32, "int16": 16, "int8": 8, "int4": 4,
}  # fmt: skip
"""Bits of an element by number format."""

OPERATIONS: Final[Mapping[str, int]] = {
    "add": 1,
    "multiply": 1,
    "relu": 1,  # max(x, 0)
    "relu6": 2,  # min(max(x, 0), 6)
    "tanh": 1,
    "gelu_quick": 5,  # x · sigmoid(1.702 x): same as gelu, §2
    "sigmoid": 3,  # 1 / (1 + exp(-x)); the sign goes into the exponential
    "silu": 4,  # x · sigmoid(x): Elfwing et al., arXiv:1702.03118
    "softplus": 3,  # log(1 + exp(x))
    "gelu": 5,  # x/2 · (1 + erf(x/√2)): Hendrycks and Gimpel, arXiv:1606.08415, §2
    "gelu_tanh": 8,  # x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))): same, same
    "scale and mask": 2,
    "scale": 1,
    "rotary": 3,  # x · cos + rotated x · sin: Su et al., arXiv:2104.09864, equation 34
    "batch norm": 2,  # running statistics folded into one scale and one shift per channel
    "layer norm": 7,  # mean, difference, square, variance, division, scale, shift
    "rms norm": 4,  # square, mean, division, scale: Zhang and Sennrich, arXiv:1910.07467, equation 4
    "softmax": 5,  # maximum, difference, exponential, sum, division
}
"""Scalar operations per element."""

PER_ROW: Final[Mapping[str, int]] = {
    "layer norm": 4,  # two divisions by the width, ε, square root
    "rms norm": 3,  # division by the width, ε, square root
}
"""Scalar operations that a normalisation spends once per row, beside `OPERATIONS`."""


class Builder:
    """A network in the making.

    Args:
        number_format: of all tensors, unless a call says otherwise; a key of `BITS`.
        weight_format: of parameters; None: as everything else.

    Raises:
        SpecError: for a number format that is not known.
    """

    def __init__(self, name: str, number_format: str = "fp32", weight_format: str | None = None) -> None:
        self.name = name
        self.number_format = number_format
        self.weight_format = weight_format or number_format
        for given in (self.number_format, self.weight_format):
            _bits(given)
        self._operators: dict[str, Operator] = {}
        self._tensors: dict[str, NetworkTensor] = {}

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Shape of a tensor made so far."""
        return self._tensors[tensor].shape

    def tensor(self, name: str, shape: Sequence[int], role: Role, number_format: str | None = None) -> str:
        """A tensor that no step makes (input, parameter, state), and its name.

        Raises:
            SpecError: if there is a tensor of that name with another shape, or an extent below one.
        """
        chosen = number_format or self.number_format
        made = NetworkTensor(name, tuple(shape), role, chosen, _bits(chosen))
        if any(extent < 1 for extent in made.shape):
            raise SpecError(f"tensor '{name}' would have shape {list(made.shape)}; extents are whole numbers from 1")
        if self._tensors.setdefault(name, made).shape != made.shape:
            raise SpecError(f"tensor '{name}' would have shapes {self._tensors[name].shape} and {made.shape}")
        return name

    def input(self, name: str, *shape: int, number_format: str | None = None) -> str:
        """An input of the network."""
        return self.tensor(name, shape, Role.INPUT, number_format)

    def parameter(self, name: str, *shape: int) -> str:
        """A parameter; the same name again is the same parameter."""
        return self.tensor(name, shape, Role.PARAMETER, self.weight_format)

    def state(self, name: str, *shape: int, number_format: str | None = None) -> str:
        """What is kept from one call to the next."""
        return self.tensor(name, shape, Role.STATE, number_format)

    def step(
        self,
        name: str,
        op: str,
        kind: Kind,
        inputs: Sequence[str],
        shape: Sequence[int],
        *,
        operations: int = 0,
        count: int = 1,
        note: str = "",
        into: str | None = None,
    ) -> str:
        """A step that is not an Einsum; `into` names an existing tensor that it writes (a cache) instead of a new one."""
        output = into if into is not None else self._made(name, shape)
        return self._append(
            Operator(name, op, kind, tuple(inputs), (output,), operations=operations, count=count, note=note), output
        )

    def einsum(
        self,
        name: str,
        op: str,
        einsum: Einsum,
        operands: Mapping[str, str],
        shape: Sequence[int],
        *,
        inputs: Sequence[str] = (),
        count: int = 1,
        note: str = "",
    ) -> str:
        """An Einsum; `operands` names the tensor behind each operand, `inputs` what it reads besides (a bias)."""
        output = self._made(name, shape)
        places = {**operands, einsum.output.name: output}
        reads = tuple(operands[t.name] for t in einsum.inputs) + tuple(inputs)
        return self._append(
            Operator(name, op, Kind.EINSUM, reads, (output,), einsum, places, count=count, note=note), output
        )

    def convolution(
        self,
        name: str,
        x: str,
        outputs: int,
        *,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        bias: bool = False,
    ) -> str:
        """A convolution of images or sequences with `padding` zeros at both ends of every extent."""
        batch, inputs, *extents = self.shape(x)
        made = [(extent + 2 * padding - kernel) // stride + 1 for extent in extents]
        einsum = convolution_nd(
            name, outputs=outputs, inputs=inputs, extents=made, kernel=kernel, stride=stride, groups=groups, batch=batch
        )
        weight = self.parameter(f"{name}.weight", outputs, inputs // groups, *(kernel for _ in extents))
        extra = (self.parameter(f"{name}.bias", outputs),) if bias else ()
        return self.einsum(
            name, "convolution", einsum, {"W": weight, "I": x}, (batch, outputs, *made), inputs=extra
        )  # fmt: skip

    def linear(
        self, name: str, x: str, outputs: int, *, bias: bool = True, weight: str | None = None, op: str = "linear"
    ) -> str:
        """A fully connected layer over the last extent; `weight` names a parameter that another layer has too."""
        *lead, inputs = self.shape(x)
        einsum = fully_connected(name, outputs=outputs, inputs=inputs, batch=math.prod(lead))
        own = weight or self.parameter(f"{name}.weight", outputs, inputs)
        extra = (self.parameter(f"{name}.bias", outputs),) if bias else ()
        return self.einsum(name, op, einsum, {"W": own, "I": x}, (*lead, outputs), inputs=extra)

    def elementwise(self, name: str, function: str, *inputs: str, op: str | None = None) -> str:
        """A function of `OPERATIONS`, element by element; the output is as large as the largest input."""
        shape = max((self.shape(x) for x in inputs), key=math.prod)
        operations = OPERATIONS[function] * math.prod(shape)
        return self.step(name, op or function, Kind.ELEMENTWISE, inputs, shape, operations=operations)

    def batch_norm(self, name: str, x: str) -> str:
        """Batch normalisation at inference (Ioffe and Szegedy, ICML'15)."""
        channels, elements = self.shape(x)[1], math.prod(self.shape(x))
        own = [self.parameter(f"{name}.{part}", channels) for part in ("weight", "bias")]
        operations = OPERATIONS["batch norm"] * elements
        return self.step(name, "batch norm", Kind.NORMALISATION, (x, *own), self.shape(x), operations=operations)

    def norm(self, name: str, x: str, kind: str = "layer norm", *, bias: bool = True, width: int | None = None) -> str:
        """``layer norm`` (with a shift if `bias`) or ``rms norm`` over the last extent, or over pieces `width` of it."""
        shape = self.shape(x)
        width = width or shape[-1]
        parts = ("weight", "bias") if bias and kind == "layer norm" else ("weight",)
        own = [self.parameter(f"{name}.{part}", width) for part in parts]
        elements = math.prod(shape)
        operations = OPERATIONS[kind] * elements + PER_ROW[kind] * (elements // width)
        return self.step(name, kind, Kind.NORMALISATION, (x, *own), shape, operations=operations)

    def softmax(self, name: str, x: str) -> str:
        """Softmax over the last extent."""
        operations = OPERATIONS["softmax"] * math.prod(self.shape(x))
        return self.step(name, "softmax", Kind.SOFTMAX, (x,), self.shape(x), operations=operations)

    def pool(self, name: str, x: str, function: str, *, kernel: int, stride: int, padding: int = 0) -> str:
        """``max`` or ``average`` over windows of an image."""
        batch, channels, *extents = self.shape(x)
        shape = (batch, channels, *((extent + 2 * padding - kernel) // stride + 1 for extent in extents))
        # a maximum of n takes n-1 comparisons, an average n-1 additions and a division
        each = kernel * kernel - (function == "max")
        return self.step(name, f"{function} pool", Kind.POOLING, (x,), shape, operations=each * math.prod(shape))

    def global_average(self, name: str, x: str) -> str:
        """The average of every channel: (batch, channels)."""
        batch, channels, *_ = self.shape(x)
        return self.step(
            name, "global average pool", Kind.POOLING, (x,), (batch, channels), operations=math.prod(self.shape(x))
        )

    def embedding(self, name: str, indices: str, rows: int, width: int, *, table: str | None = None) -> str:
        """Rows of a table of parameters, one per index; `table` names one that is used elsewhere too."""
        own = self.parameter(table or f"{name}.weight", rows, width)
        return self.step(name, "embedding", Kind.LOOKUP, (indices, own), (*self.shape(indices), width))

    def reshape(self, name: str, x: str, *shape: int, op: str = "reshape") -> str:
        """The same elements, or some of them, in another shape."""
        return self.step(name, op, Kind.LAYOUT, (x,), shape)

    def network(self, *outputs: str, source: str, notes: Sequence[str] = ()) -> Network:
        """The finished network."""
        tensors = dict(self._tensors)
        for name in outputs:
            tensors[name] = replace(tensors[name], role=Role.OUTPUT)
        return Network(self.name, tuple(self._operators.values()), tensors, source, tuple(notes))

    def _made(self, name: str, shape: Sequence[int]) -> str:
        return self.tensor(name, shape, Role.ACTIVATION)

    def _append(self, operator: Operator, output: str) -> str:
        if operator.name in self._operators:
            raise SpecError(f"two operators are called '{operator.name}'")
        self._operators[operator.name] = operator
        return output


def _bits(number_format: str) -> int:
    if number_format not in BITS:
        raise SpecError(f"no number format '{number_format}'", hint=nearest(number_format, BITS))
    return BITS[number_format]
