"""How a layer's weights become the matrix of a matrix product, and its input the rows of the other operand."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from fiberloom.errors import UnsupportedError


class Geometry(ABC):
    """A layer as the product ``y[rows, out] = x[rows, in] · W[out, in]ᵀ``, `groups` of them side by side.

    Attributes:
        kind: what the layer is, in a word.
        groups: independent products; the rows of the weight matrix belong to them in equal shares, in order.
    """

    kind: str
    groups: int = 1

    @abstractmethod
    def matrix(self, weight: Tensor) -> Tensor:
        """The layer's weight as ``(out, in)``: a view where the layout allows it. `in` is the axis summed over."""

    @abstractmethod
    def weight(self, matrix: Tensor) -> Tensor:
        """The inverse of `matrix`."""

    @abstractmethod
    def rows(self, inputs: Tensor) -> Tensor:
        """The layer's input as ``(groups, rows, in)``."""

    @abstractmethod
    def outputs(self, rows: Tensor, inputs: Tensor) -> Tensor:
        """Results ``(groups, rows, out/groups)`` as the layer gives them for `inputs`."""

    @abstractmethod
    def multiply(self, inputs: Tensor, matrix: Tensor) -> Tensor:
        """The layer's output for a weight matrix, without bias, in the arithmetic of torch."""

    @abstractmethod
    def add_bias(self, outputs: Tensor, bias: Tensor) -> Tensor:
        """`outputs` plus the bias of every output channel."""


@dataclass(frozen=True)
class Linear(Geometry):
    """``y = x·Wᵀ`` over the last axis; `transposed` for weights kept as ``(in, out)``, as GPT-2's are."""

    transposed: bool = False
    kind = "linear"

    def matrix(self, weight: Tensor) -> Tensor:
        return weight.t() if self.transposed else weight

    def weight(self, matrix: Tensor) -> Tensor:
        return matrix.t().contiguous() if self.transposed else matrix

    def rows(self, inputs: Tensor) -> Tensor:
        return inputs.reshape(1, -1, inputs.shape[-1])

    def outputs(self, rows: Tensor, inputs: Tensor) -> Tensor:
        return rows.reshape(*inputs.shape[:-1], rows.shape[-1])

    def multiply(self, inputs: Tensor, matrix: Tensor) -> Tensor:
        return F.linear(inputs, matrix)

    def add_bias(self, outputs: Tensor, bias: Tensor) -> Tensor:
        return outputs + bias


@dataclass(frozen=True)
class Convolution(Geometry):
    """A one- or two-dimensional convolution as the product of its windows, channels innermost: ``in = r·s·c``.

    A window is what one output needs; channels innermost is the order in which `N:M` groups run along channels.
    """

    channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    kind = "convolution"

    def matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(1, -1).reshape(weight.shape[0], -1)

    def weight(self, matrix: Tensor) -> Tensor:
        unfolded = matrix.reshape(matrix.shape[0], *self.kernel, self.channels // self.groups)
        return unfolded.movedim(-1, 1).contiguous()

    def rows(self, inputs: Tensor) -> Tensor:
        inputs = inputs if inputs.dim() == len(self.kernel) + 2 else inputs.unsqueeze(0)
        planes = inputs if len(self.kernel) == 2 else inputs.unsqueeze(-2)
        one = (1,) * (2 - len(self.kernel))
        none = (0,) * (2 - len(self.kernel))
        windows = F.unfold(
            planes, one + self.kernel, one + self.dilation, none + self.padding, one + self.stride
        )  # (batch, c·r·s, places)
        batch, _, places = windows.shape
        split = windows.reshape(batch, self.groups, self.channels // self.groups, math.prod(self.kernel), places)
        return split.permute(1, 0, 4, 3, 2).reshape(self.groups, batch * places, -1)

    def outputs(self, rows: Tensor, inputs: Tensor) -> Tensor:
        spatial = [
            (size + 2 * p - d * (k - 1) - 1) // s + 1
            for size, k, s, p, d in zip(
                inputs.shape[2:], self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        ]
        batched = rows.reshape(self.groups, inputs.shape[0], math.prod(spatial), rows.shape[-1])
        return batched.permute(1, 0, 3, 2).reshape(inputs.shape[0], -1, *spatial)

    def multiply(self, inputs: Tensor, matrix: Tensor) -> Tensor:
        convolve: Any = F.conv2d if len(self.kernel) == 2 else F.conv1d
        return convolve(inputs, self.weight(matrix), None, self.stride, self.padding, self.dilation, self.groups)

    def add_bias(self, outputs: Tensor, bias: Tensor) -> Tensor:
        return outputs + bias.reshape(-1, *(1 for _ in self.kernel))


def geometry_of(module: nn.Module) -> Geometry | None:
    """How `module` multiplies by its weight; None where it is no layer with weights that is known here.

    Raises:
        UnsupportedError: for a layer of a known kind in a variant that is not supported.
    """
    if isinstance(module, nn.Linear):
        return Linear()
    if type(module).__name__ == "Conv1D" and hasattr(
        module, "nf"
    ):  # transformers.pytorch_utils.Conv1D, weight (in, out)
        return Linear(transposed=True)
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        if module.padding_mode != "zeros":
            raise UnsupportedError(f"a convolution that pads with '{module.padding_mode}'")
        return Convolution(
            channels=module.in_channels,
            kernel=tuple(module.kernel_size),
            stride=tuple(module.stride),
            padding=_padding(module),
            dilation=tuple(module.dilation),
            groups=module.groups,
        )
    if isinstance(module, nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d | nn.Bilinear):
        raise UnsupportedError(f"a {type(module).__name__}")
    return None


def _padding(module: nn.Conv1d | nn.Conv2d) -> tuple[int, ...]:
    if module.padding == "valid":
        return (0,) * len(module.kernel_size)
    if module.padding == "same":
        total = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        if any(t % 2 for t in total):
            raise UnsupportedError("a convolution whose padding 'same' is uneven")
        return tuple(t // 2 for t in total)
    return tuple(int(p) for p in module.padding)
