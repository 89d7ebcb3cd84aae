"""A network's weights as the matrices that representations are given to: ``(out, in)``, `in` being what a product sums over."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError, UnsupportedError, nearest
from fiberloom.representation.array import checked_values
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.network import Network, Operator, Role


@dataclass(frozen=True)
class MatrixView:
    """How the weights of an Einsum are the matrix ``(out, in)`` of a matrix product.

    `out` gathers the ranks that the output has too, `in` those that are summed over: places of a window outside, channels inside,
    the order in which blocks of a pattern run along channels.

    Attributes:
        stored: shape of the tensor as it is kept.
        ranks: shape of the tensor in the Einsum; the elements are in the same order.
        order: of the Einsum's ranks, those of `out` first.
        rows: elements of `out`.
    """

    stored: tuple[int, ...]
    ranks: tuple[int, ...]
    order: tuple[int, ...]
    rows: int

    @property
    def shape(self) -> tuple[int, int]:
        """``(out, in)``."""
        return self.rows, math.prod(self.stored) // self.rows

    def matrix(self, values: NDArray[Any]) -> NDArray[Any]:
        """The matrix of a tensor of shape `stored`; a view where the layout allows it."""
        return values.reshape(self.ranks).transpose(self.order).reshape(self.shape)

    def tensor(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """The inverse of `matrix`."""
        turned = matrix.reshape([self.ranks[axis] for axis in self.order])
        return turned.transpose(np.argsort(self.order)).reshape(self.stored)


@dataclass(frozen=True)
class LayerWeights:
    """The weights of a layer, or of several that share them.

    Attributes:
        name: of the tensor in the network.
        view: of the tensor as a matrix.
        operators: that multiply them.
        read: the tensor as it is stored; called whenever its values are needed, so that a large model need not be held.
    """

    name: str
    view: MatrixView
    operators: tuple[str, ...]
    read: Callable[[], Any] = field(repr=False)

    def matrix(self) -> NDArray[Any]:
        """Values ``(out, in)``, float32 or float64.

        Raises:
            SpecError: naming the tensor, for values that are not finite real numbers, or another shape than the network's.
        """
        try:
            values = checked_values(self.read())
        except SpecError as error:
            raise SpecError(f"'{self.name}': {error.problem}", where=error.where, hint=error.hint) from None
        if values.shape != self.view.stored:
            raise SpecError(f"'{self.name}' has the shape {values.shape}, and the network expects {self.view.stored}")
        return self.view.matrix(values)


@dataclass(frozen=True)
class NetworkWeights:
    """A network with the values of its weights.

    Attributes:
        network: what is computed; its tensors are dense, as their representation says what is left of them.
        layers: the weights that can be represented, in order of first use.
        left_out: tensor → why it stays as it is.
        notes: what a reader should know, such as that values are random.
        module: the PyTorch module that the network was read from, if any.
    """

    network: Network
    layers: tuple[LayerWeights, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    module: Any = None

    def chosen(self, only: Iterable[str] = (), exclude: Iterable[str] = ()) -> NetworkWeights:
        """The same with fewer layers to represent.

        Args:
            only, exclude: names of tensors, or patterns such as ``encoder.*``.

        Raises:
            SpecError: for an entry that matches nothing, or when nothing is left.
        """
        only, exclude = tuple(only), tuple(exclude)
        names = [layer.name for layer in self.layers]
        for pattern in (*only, *exclude):
            if not any(fnmatchcase(name, pattern) for name in names):
                raise SpecError(f"no layer's weights are called '{pattern}'", hint=nearest(pattern, names))
        left_out = dict(self.left_out)
        kept = []
        for layer in self.layers:
            if any(fnmatchcase(layer.name, pattern) for pattern in exclude):
                left_out[layer.name] = "excluded"
            elif only and not any(fnmatchcase(layer.name, pattern) for pattern in only):
                left_out[layer.name] = "not chosen"
            else:
                kept.append(layer)
        if not kept:
            raise SpecError("no layer is left to represent", hint="choose fewer to leave out")
        return replace(self, layers=tuple(kept), left_out=left_out)


def network_weights(
    network: Network, read: Callable[[str], Any], *, notes: Iterable[str] = (), module: Any = None
) -> NetworkWeights:
    """The weights that the Einsums of `network` multiply.

    Args:
        read: values of a tensor of the network by name, as they are stored.

    Raises:
        SpecError: if no Einsum multiplies weights.
    """
    users: dict[str, list[tuple[Operator, str]]] = {}
    for operator in network.einsums:
        for operand, name in operator.operands.items():
            if network.tensors[name].role is Role.PARAMETER:
                users.setdefault(name, []).append((operator, operand))
    layers, left_out = [], {}
    for name, uses in users.items():
        stored = network.tensors[name].shape
        try:
            views = {matrix_view(network.resolved(operator), operand, stored) for operator, operand in uses}
        except UnsupportedError as error:
            left_out[name] = error.problem
            continue
        if len(views) > 1:
            left_out[name] = "operators sum over different axes of it"
            continue
        operators = tuple(operator.name for operator, _ in uses)
        layers.append(LayerWeights(name, views.pop(), operators, partial(read, name)))
    others = [n for n, t in network.tensors.items() if t.role is Role.PARAMETER and n not in users and len(t.shape) > 1]
    left_out |= dict.fromkeys(others, "no product reads it")
    if not layers:
        reason = next(iter(left_out.values()), "there are none")
        raise SpecError(f"'{network.name}' has no weights that a product multiplies: {reason}")
    dense = [replace(network.tensors[layer.name], density=None) for layer in layers]
    return NetworkWeights(network.with_tensors(dense), tuple(layers), left_out, tuple(notes), module)


def matrix_view(einsum: Einsum, operand: str, stored: tuple[int, ...]) -> MatrixView:
    """How the tensor of an operand is a matrix.

    Args:
        stored: its shape as it is kept.

    Raises:
        UnsupportedError: if the operand is no tensor of weights that a matrix product could take.
    """
    from fiberloom.workload.density._storage_order import same_order

    tensor = einsum.tensor(operand)
    if any(len(rank) != 1 or rank[0].coefficient != 1 for rank in tensor.ranks):
        raise UnsupportedError(f"its indices overlap: {tensor}")
    variables = [rank[0].variable for rank in tensor.ranks]
    ranks = tuple(einsum.shape[v] for v in variables)
    if not same_order(stored, ranks):
        if tuple(s for s in stored if s > 1) != tuple(r for r in ranks[::-1] if r > 1):
            raise UnsupportedError(f"it is stored as {stored}, in another order than {ranks}")
        tensor_order = range(len(ranks))[::-1]  # a matrix that is kept the other way round
        variables, ranks = [variables[i] for i in tensor_order], ranks[::-1]
    outer = [v for v in variables if v in einsum.output.variables]
    inner = [v for v in variables if v not in einsum.output.variables]
    if not inner or all(einsum.shape[v] == 1 for v in inner):
        raise UnsupportedError("no axis of it is summed over")
    windows = {term.variable for t in einsum.inputs for rank in t.ranks if len(rank) > 1 for term in rank}
    inner.sort(key=lambda v: v not in windows)  # stable: channels innermost
    order = tuple(variables.index(v) for v in (*outer, *inner))
    return MatrixView(stored, ranks, order, math.prod(einsum.shape[v] for v in outer))
