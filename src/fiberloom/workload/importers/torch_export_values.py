"""What the importer of exported PyTorch programs knows of the tensors and calls of a graph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from fiberloom.errors import UnsupportedError
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.network import Kind, NetworkTensor, Operator, Role

NUMBER_FORMATS: Final[Mapping[str, tuple[str, int]]] = {
    "float64": ("fp64", 64),
    "float32": ("fp32", 32),
    "float16": ("fp16", 16),
    "bfloat16": ("bf16", 16),
    "float8_e4m3fn": ("fp8_e4m3", 8),
    "float8_e4m3fnuz": ("fp8_e4m3", 8),
    "float8_e5m2": ("fp8_e5m2", 8),
    "float8_e5m2fnuz": ("fp8_e5m2", 8),
    "complex64": ("complex64", 64),
    "complex128": ("complex128", 128),
    "int64": ("int64", 64),
    "int32": ("int32", 32),
    "int16": ("int16", 16),
    "int8": ("int8", 8),
    "uint8": ("uint8", 8),
    "int4": ("int4", 4),
    "uint4": ("uint4", 4),
    "qint8": ("int8", 8),
    "quint8": ("uint8", 8),
    "bool": ("bool", 8),
}
"""Number format and bits of an element by PyTorch's name of the type."""


def number_format(dtype: Any) -> tuple[str, int]:
    """Number format and bits of a ``torch.dtype``."""
    name = str(dtype).removeprefix("torch.")
    return NUMBER_FORMATS.get(name) or (name, 8 * int(getattr(dtype, "itemsize", 4)))


@dataclass(frozen=True)
class Value:
    """A tensor where it is used.

    Attributes:
        name: of the network's tensor that it is, or is a view of.
        shape: as seen here.
        parameter: whether it is a parameter (or another constant) or a view of one.
        axes: for a parameter with its axes in another order: which axis of the parameter each axis here is; None in its own order.
        spread: leading axes along which a parameter is repeated; `axes` leaves them out.
    """

    name: str
    shape: tuple[int, ...]
    parameter: bool = False
    axes: tuple[int, ...] | None = None
    spread: int = 0

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def permuted(self, order: tuple[int, ...]) -> Value:
        """The view with axis ``order[i]`` as its axis i."""
        axes = self.axes or tuple(range(len(self.shape)))
        return replace(self, shape=tuple(self.shape[a] for a in order), axes=tuple(axes[a] for a in order))


class Repeated(NamedTuple):
    """A tensor whose heads are those of `base`, `times` in a row each."""

    base: Value
    times: int
    swapped: bool = False
    """Whether the last two axes are `base`'s the other way round."""


@dataclass(frozen=True)
class Call:
    """One call of an operator.

    Attributes:
        name: of the operator in the network.
        op: as PyTorch writes it: ``aten.conv2d.default``.
        base: without name space, overload, and the underscore of in-place variants: ``conv2d``.
        arguments: by the schema's names; tensors as `Value`, lists of tensors as lists of `Value`.
        outputs: tensors that it makes.
        scratch: takes tensors that a call makes on the way, such as attention scores.
        formats: number format and bits by tensor.
        repeated: the tensors whose heads repeat those of another (grouped queries).
        tags: PyTorch's, such as ``pointwise``.
        view: whether it returns a view of its first argument.
    """

    name: str
    op: str
    base: str
    arguments: Mapping[str, Any]
    outputs: tuple[Value, ...]
    scratch: dict[str, NetworkTensor]
    formats: Mapping[str, tuple[str, int]]
    repeated: Mapping[str, Repeated] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    view: bool = False

    def __getitem__(self, argument: str) -> Any:
        return self.arguments.get(argument)

    def tensor(self, argument: str) -> Value:
        """The tensor given as `argument`.

        Raises:
            UnsupportedError: if none is given.
        """
        value = self.arguments.get(argument)
        if not isinstance(value, Value):
            raise UnsupportedError(f"{self.op} without a tensor '{argument}'")
        return value

    @property
    def inputs(self) -> tuple[Value, ...]:
        """All tensors given, in order."""
        found: list[Value] = []
        for value in self.arguments.values():
            found += [v for v in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(v, Value)]
        return tuple(found)

    @property
    def output(self) -> Value:
        """The first tensor that it makes.

        Raises:
            UnsupportedError: if it makes none.
        """
        if not self.outputs:
            raise UnsupportedError(f"{self.op} makes no tensor")
        return self.outputs[0]

    def on_the_way(self, suffix: str, shape: tuple[int, ...], like: Value) -> Value:
        """A new tensor inside the call, in the number format of `like`."""
        name = f"{self.name}.{suffix}"
        written, bits = self.formats.get(like.name, ("fp32", 32))
        self.scratch[name] = NetworkTensor(name, shape, Role.ACTIVATION, written, bits)
        return Value(name, shape)

    def step(
        self, kind: Kind, operations: int = 0, *, suffix: str = "", inputs: tuple[Value, ...] | None = None,
        outputs: tuple[Value, ...] | None = None, note: str = "",
    ) -> Operator:  # fmt: skip
        """An operator that is not an Einsum."""
        read = self.inputs if inputs is None else inputs
        made = self.outputs if outputs is None else outputs
        return Operator(
            f"{self.name}.{suffix}" if suffix else self.name, self.op, kind, tuple(v.name for v in read),
            tuple(v.name for v in made), operations=operations, note=note,
        )  # fmt: skip

    def einsum(
        self, einsum: Einsum, operands: Mapping[str, Value], *, suffix: str = "", besides: tuple[Value, ...] = (),
        count: int = 1, note: str = "",
    ) -> Operator:  # fmt: skip
        """An Einsum; `operands` says what its tensors are, `besides` what else it reads (a bias).

        Parameters are indexed in the order in which they are stored.
        """
        name = f"{self.name}.{suffix}" if suffix else self.name
        tensors = tuple(
            t.model_copy(update={"ranks": _stored(t.ranks, operands[t.name])}) if t.name in operands else t
            for t in einsum.tensors
        )
        written = einsum.model_copy(update={"name": name, "tensors": tensors})
        reads = [operands[t.name].name for t in einsum.inputs] + [v.name for v in besides]
        return Operator(
            name, self.op, Kind.EINSUM, tuple(dict.fromkeys(reads)), (operands[einsum.output.name].name,), written,
            {t: v.name for t, v in operands.items()}, count=count, note=note,
        )  # fmt: skip


def _stored(ranks: tuple[Any, ...], value: Value) -> tuple[Any, ...]:
    """`ranks`, one per axis of `value`, in the order of the parameter that `value` is a view of."""
    if value.axes is None or len(value.axes) != len(ranks) or sorted(value.axes) != list(range(len(ranks))):
        return ranks
    return tuple(ranks[value.axes.index(axis)] for axis in range(len(ranks)))
