"""A layer that computes with represented weights and inputs: ``y = Σ_t Q_t(x) · W_t + b``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fiberloom.representation.models._arrays import as_array, as_tensor
from fiberloom.representation.models.geometry import Convolution, Geometry
from fiberloom.representation.term import Representation


@dataclass(frozen=True)
class Operands:
    """One addend of a layer.

    Attributes:
        matrix: its weights, ``(out, in)``.
        inputs: how the inputs that meet it are represented; None: as they are.
    """

    matrix: Tensor
    inputs: Representation | None = None


class CompressedLayer(nn.Module):
    """Stands in the place of a linear layer or convolution. Addends that take the same inputs are kept as one matrix.

    Attributes:
        geometry: how inputs and weights become operands of a matrix product.
        inputs: of each matrix, how the inputs that meet it are represented; None: as they are.
        matrices: one parameter ``(out, in)`` for every entry of `inputs`.
        bias: the layer's, or None.
    """

    def __init__(self, geometry: Geometry, addends: list[Operands], bias: Tensor | None) -> None:
        super().__init__()
        self.geometry = geometry
        merged: dict[Representation | None, Tensor] = {}
        for addend in addends:
            known = merged.get(addend.inputs)
            merged[addend.inputs] = addend.matrix if known is None else known + addend.matrix
        self.inputs = tuple(merged)
        self.matrices = nn.ParameterList(nn.Parameter(matrix.contiguous()) for matrix in merged.values())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())

    @property
    def matrix(self) -> Tensor:
        """All weights in one matrix ``(out, in)``: the sum over all terms."""
        total: Tensor = torch.stack(list(self.matrices)).sum(0) if len(self.matrices) > 1 else self.matrices[0]
        return total

    @property
    def weight(self) -> Tensor:
        """All weights, in the layout of the layer that this one stands for."""
        return self.geometry.weight(self.matrix)

    def forward(self, inputs: Tensor) -> Tensor:
        """The layer's output; inputs as of the original layer."""
        total: Tensor | None = None
        for representation, matrix in zip(self.inputs, self.matrices, strict=True):
            part = multiply(self.geometry, inputs, matrix, representation)
            total = part if total is None else total + part
        assert total is not None
        return total if self.bias is None else self.geometry.add_bias(total, self.bias)

    def extra_repr(self) -> str:
        return f"{self.geometry.kind}, inputs={[str(r) if r else 'as they are' for r in self.inputs]}"


def multiply(geometry: Geometry, inputs: Tensor, matrix: Tensor, representation: Representation | None) -> Tensor:
    """Represented `inputs` times `matrix`."""
    if representation is None:
        return geometry.multiply(inputs, matrix)
    if isinstance(geometry, Convolution):
        rows = geometry.rows(inputs)
        held = represent(rows, representation)
        return geometry.outputs(held @ matrix.reshape(geometry.groups, -1, matrix.shape[-1]).mT, inputs)
    return geometry.multiply(represent(inputs, representation), matrix)


def represent(values: Tensor, representation: Representation) -> Tensor:
    """The values that are left of activations ``(…, in)`` when they are kept so; the gradient passes straight through."""
    held = as_tensor(representation.project(as_array(values)), values)
    return values + (held - values).detach() if values.requires_grad else held
