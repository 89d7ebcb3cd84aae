"""A network: a graph of operators on named tensors. Tensor contractions are Einsums; everything else is counted as what it is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from fiberloom.errors import SpecError, nearest
from fiberloom.workload.einsum import Einsum


class Role(StrEnum):
    """What a tensor of a network is."""

    INPUT = "input"
    PARAMETER = "parameter"
    ACTIVATION = "activation"
    STATE = "state"
    """Kept from one call to the next, such as a KV cache."""
    CONSTANT = "constant"
    """Stored with the model and not learned: indices, masks."""
    OUTPUT = "output"


class Kind(StrEnum):
    """What an operator does, as far as its cost goes."""

    EINSUM = "einsum"
    ELEMENTWISE = "elementwise"
    NORMALISATION = "normalisation"
    SOFTMAX = "softmax"
    POOLING = "pooling"
    REDUCTION = "reduction"
    SCAN = "scan"
    """A recurrence along one rank, such as Mamba's."""
    LOOKUP = "lookup"
    """Rows chosen by an index: embeddings, gathers."""
    LAYOUT = "layout"
    """Moves or renames elements and computes nothing: reshapes, transposes, slices, concatenations."""
    UNKNOWN = "unknown"
    """Not understood; what it costs is not in any total."""


@dataclass(frozen=True)
class NetworkTensor:
    """A tensor of a network.

    Attributes:
        shape: elements per rank.
        number_format: such as ``fp32``, ``bf16``, ``int8``.
        bits: of an element.
        density: as in `fiberloom.workload.einsum.Tensor`: a number, a pattern, a mapping, or None for dense.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    number_format: str = "fp32"
    bits: int = 32
    density: float | str | Mapping[str, Any] | None = None

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of all elements, dense."""
        return -(-self.elements * self.bits // 8)


@dataclass(frozen=True)
class Operator:
    """One step of a network.

    Attributes:
        op: what its source calls it (``Conv``, ``aten.linear.default``, ``attention scores``).
        inputs, outputs: names of tensors of the network.
        einsum: for `Kind.EINSUM`: the computation, with tensors named as in the field (W, I, O; Q, K, S; …).
        operands: for `Kind.EINSUM`: tensor of the Einsum → tensor of the network.
        operations: scalar operations (comparisons, exponentials, additions, … one each) of all other kinds.
        count: how often the step is computed, with other data of the same shape (experts, repeated layers).
        note: what a reader should know: an approximation, or why an operator is unknown.
    """

    name: str
    op: str
    kind: Kind
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    einsum: Einsum | None = None
    operands: Mapping[str, str] = field(default_factory=dict)
    operations: int = 0
    count: int = 1
    note: str = ""

    @property
    def macs(self) -> int:
        """Multiply-accumulates, of all its repetitions."""
        return self.einsum.macs * self.count if self.einsum is not None else 0


@dataclass(frozen=True)
class Network:
    """Operators in an order in which they can be computed, and their tensors by name.

    Attributes:
        source: where it comes from, for reports (``zoo: resnet50``, a file's name).
        notes: what holds for the whole of it.
    """

    name: str
    operators: tuple[Operator, ...]
    tensors: Mapping[str, NetworkTensor]
    source: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for operator in self.operators:
            for tensor in (*operator.inputs, *operator.outputs, *operator.operands.values()):
                if tensor not in self.tensors:
                    raise SpecError(
                        f"operator '{operator.name}' uses tensor '{tensor}', which the network does not have",
                        hint=nearest(tensor, self.tensors),
                    )

    @property
    def einsums(self) -> tuple[Operator, ...]:
        """The operators that are Einsums."""
        return tuple(o for o in self.operators if o.einsum is not None)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all Einsums."""
        return sum(o.macs for o in self.operators)

    @cached_property
    def parameters(self) -> int:
        """Elements of all parameters; a parameter used twice counts once."""
        return sum(t.elements for t in self.tensors.values() if t.role is Role.PARAMETER)

    @property
    def unknown(self) -> tuple[Operator, ...]:
        """Operators that no total includes."""
        return tuple(o for o in self.operators if o.kind is Kind.UNKNOWN)

    def bytes(self, role: Role) -> int:
        """Bytes of all tensors of a role."""
        return sum(t.bytes for t in self.tensors.values() if t.role is role)

    def resolved(self, operator: Operator) -> Einsum:
        """The Einsum of an operator with the densities and widths of the network's tensors.

        Raises:
            SpecError: if it is not an Einsum.
        """
        if operator.einsum is None:
            raise SpecError(f"operator '{operator.name}' is {operator.kind}, not an Einsum")
        made = []
        for tensor in operator.einsum.tensors:
            own = self.tensors.get(operator.operands.get(tensor.name, ""))
            if own is None:
                made.append(tensor)
            else:
                density = dict(own.density) if isinstance(own.density, Mapping) else own.density
                made.append(tensor.model_copy(update={"density": density, "word_bits": own.bits}))
        return operator.einsum.model_copy(update={"tensors": tuple(made)})

    def with_tensors(self, changed: Iterable[NetworkTensor]) -> Network:
        """The same network with some tensors replaced, by name."""
        return replace(self, tensors={**self.tensors, **{t.name: t for t in changed}})


def signature(einsum: Einsum) -> tuple[Any, ...]:
    """What makes two Einsums the same computation whatever their variables and operands are called.

    Variables are told apart by bound and by how they index the tensors; variables of bound one are left out.
    """
    where: dict[str, list[Any]] = {v: [] for v, bound in einsum.shape.items() if bound > 1}
    for tensor in einsum.tensors:
        for rank in tensor.ranks:
            live = [term for term in rank if term.variable in where]
            partners = sorted((t.coefficient, einsum.shape[t.variable]) for t in live)
            for term in live:
                where[term.variable].append((tensor.is_output, term.coefficient, tuple(partners)))
    return tuple(sorted((einsum.shape[v], tuple(sorted(uses))) for v, uses in where.items()))
