"""A layer that computes with represented weights and inputs: ``y = Σ_t Q_t(x) · W_t + b``."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from fiberloom.representation.formats import ElementFormat, NumberFormat, Per, Scaled
from fiberloom.representation.models._arrays import as_array, as_tensor
from fiberloom.representation.models.accumulator import Accumulator, Steps, integer_format, steps_of
from fiberloom.representation.models.geometry import Convolution, Geometry
from fiberloom.representation.term import Representation


@dataclass(frozen=True)
class Addend:
    """One of the products that make up a layer.

    Attributes:
        matrix: its weights, ``(out, in)``.
        inputs: how the inputs that meet it are represented; None: as they are.
        steps: what a code of its weights counts, ``(out, blocks)``, for integer accumulators; else None.
    """

    matrix: Tensor
    inputs: Representation | None = None
    steps: NDArray[np.float64] | None = None


class CompressedLayer(nn.Module):
    """Stands in the place of a linear layer or convolution.

    A convolution is the product of its windows, channels innermost: blocks of activations run along the same axis as those
    of weights. Without accumulator, addends that meet the same inputs are kept and computed as one matrix, in torch's own
    arithmetic.

    Attributes:
        geometry: how inputs and weights become operands of a matrix product.
        inputs: of each matrix, how the inputs that meet it are represented; None: as they are.
        matrices: one parameter ``(out, in)`` for every entry of `inputs`.
        bias: the layer's, or None.
        quantised: whether weights are kept in a number format.
        accumulator: in what sums are kept; None: as torch does.
    """

    def __init__(
        self,
        original: nn.Module,
        geometry: Geometry,
        addends: list[Addend],
        accumulator: Accumulator | None = None,
        quantised: bool = False,
    ) -> None:
        super().__init__()
        self.geometry = geometry
        self.accumulator = accumulator
        self.quantised = quantised
        self.training = original.training
        addends = _merged(addends) if accumulator is None else addends
        self.inputs = tuple(addend.inputs for addend in addends)
        self.matrices = nn.ParameterList(nn.Parameter(addend.matrix.contiguous()) for addend in addends)
        self._steps = tuple(addend.steps for addend in addends)
        bias = getattr(original, "bias", None)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        self.__dict__["_shell"] = _without_parameters(original)  # last: `__getattr__` answers from it

    def plain(self) -> nn.Module:
        """A layer of the original's type with the represented weights."""
        layer = copy.copy(self._shell)
        layer._parameters = {"weight": nn.Parameter(self.weight.detach().clone()), "bias": self.bias}
        return layer.train(self.training)

    def __getattr__(self, name: str) -> Any:
        """What the original layer is asked for besides its parameters, such as ``in_features``."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("_") or "_shell" not in self.__dict__:
                raise
            return getattr(self.__dict__["_shell"], name)

    @property
    def matrix(self) -> Tensor:
        """All weights in one matrix ``(out, in)``: the sum over all terms."""
        total: Tensor = self.matrices[0]
        for matrix in list(self.matrices)[1:]:
            total = total + matrix
        return total

    @property
    def weight(self) -> Tensor:
        """All weights, in the layout of the layer that this one stands for."""
        return self.geometry.weight(self.matrix)

    def forward(self, inputs: Tensor) -> Tensor:
        """The layer's output; inputs as of the original layer."""
        if isinstance(self.geometry, Convolution) and inputs.dim() == len(self.geometry.kernel) + 1:
            alone: Tensor = self(inputs.unsqueeze(0)).squeeze(0)
            return alone
        if self.accumulator is not None:
            total = self._accumulated(self.accumulator, inputs)
        else:
            parts = zip(self.inputs, self.matrices, strict=True)
            total = sum(multiply(self.geometry, inputs, matrix, held) for held, matrix in parts)
        return total if self.bias is None else self.geometry.add_bias(total, self.bias)

    def _accumulated(self, accumulator: Accumulator, inputs: Tensor) -> Tensor:
        groups = self.geometry.groups
        rows = self.geometry.rows(inputs)
        operands = []
        for representation, matrix, weight_steps in zip(self.inputs, self.matrices, self._steps, strict=True):
            held = rows if representation is None else represent(rows, representation)
            steps = None
            if weight_steps is not None:
                number = integer_format(representation, "activations")
                counted = np.stack([steps_of(number, as_array(group)) for group in rows])
                steps = Steps(counted, weight_steps.reshape(groups, -1, weight_steps.shape[-1]), number.block)
            operands.append((held, matrix.reshape(groups, -1, matrix.shape[-1]), steps))
        return self.geometry.outputs(accumulator.sum(operands), inputs)

    def extra_repr(self) -> str:
        held = [str(r) if r else "as they are" for r in self.inputs]
        return f"{self.geometry.kind}, inputs={held}, accumulator={self.accumulator or 'torch'}"


def multiply(geometry: Geometry, inputs: Tensor, matrix: Tensor, representation: Representation | None) -> Tensor:
    """Represented `inputs` times `matrix`, in torch's arithmetic."""
    if representation is None:
        return geometry.multiply(inputs, matrix)
    if not isinstance(geometry, Convolution):
        return geometry.multiply(represent(inputs, representation), matrix)
    channels = geometry.channels // geometry.groups
    if _same_on_pixels(representation, channels):
        split = inputs.unflatten(1, (geometry.groups, channels)).movedim(2, -1)
        held = represent(split, representation).movedim(-1, 2).flatten(1, 2)
        return geometry.multiply(held, matrix)
    held = represent(geometry.rows(inputs), representation)
    return geometry.outputs(held @ matrix.reshape(geometry.groups, -1, matrix.shape[-1]).mT, inputs)


def represent(values: Tensor, representation: Representation) -> Tensor:
    """The values that are left of activations ``(…, in)`` when they are kept so; a gradient passes straight through."""
    held = as_tensor(representation.project(as_array(values)), values)
    return values + (held - values).detach() if values.requires_grad else held


def _without_parameters(module: nn.Module) -> nn.Module:
    shell = copy.copy(module)
    shell._parameters = dict.fromkeys(module._parameters)
    shell._forward_pre_hooks, shell._forward_hooks = OrderedDict(), OrderedDict()
    shell._forward_pre_hooks_with_kwargs = OrderedDict()
    return shell


def _merged(addends: list[Addend]) -> list[Addend]:
    """Addends that meet the same inputs as one."""
    merged: dict[Representation | None, Tensor] = {}
    for addend in addends:
        known = merged.get(addend.inputs)
        merged[addend.inputs] = addend.matrix if known is None else known + addend.matrix
    return [Addend(matrix, inputs) for inputs, matrix in merged.items()]


def _same_on_pixels(representation: Representation, channels: int) -> bool:
    """Whether representing every pixel's channels once is the same as representing windows: the former is far less work."""
    return all(
        channels % term.pattern.span == 0 and _blocks_divide(term.format, channels) and term.pattern.rowwise
        for term in representation.terms
    )


def _blocks_divide(number: NumberFormat | None, channels: int) -> bool:
    if number is None or isinstance(number, ElementFormat):
        return True
    if not isinstance(number, Scaled):
        return False
    scaling: Any = number.scaling
    if scaling.coarse is Per.CHANNEL:
        return False
    return scaling.per is Per.TENSOR or (scaling.block is not None and channels % scaling.block == 0)
