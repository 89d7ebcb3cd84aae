"""What is known of a tensor of an ONNX graph before the network runs."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

from numpy.typing import NDArray

Shape = tuple[int | None, ...]
Result = tuple[tuple[int, Shape | None], ...]


class Value(NamedTuple):
    """What is known of a tensor.

    Attributes:
        element: ONNX type code; 0 when not known, or not a tensor.
        shape: None when not even the number of axes is known; an extent of None is not known.
        constant: it is the same in every run.
        data: the elements themselves, of small constants.
        why: which axis is not known, and why.
    """

    element: int
    shape: Shape | None
    constant: bool = False
    data: NDArray[Any] | None = None
    why: str = ""

    @property
    def known(self) -> bool:
        """Whether all extents are known."""
        return self.shape is not None and None not in self.shape

    @property
    def extents(self) -> tuple[int, ...]:
        """The shape, when known."""
        return cast(tuple[int, ...], self.shape)

    @property
    def elements(self) -> int:
        """Number of elements, when known."""
        return math.prod(self.extents)


class Stored(NamedTuple):
    """A tensor of a model's file that other constants are computed from, element by element.

    Attributes:
        element: type code of what has to be kept: that of the narrowest step on the way.
        turned: whether the constant is the transpose of this matrix.
    """

    name: str
    shape: tuple[int, ...]
    element: int
    density: float | None = None
    turned: bool = False


def written(value: Value) -> str:
    """A shape for messages."""
    if value.shape is None:
        return "of unknown shape"
    return "[" + ", ".join("?" if n is None else str(n) for n in value.shape) + "]"


def read_type(type_proto: Any) -> tuple[int, Shape | None]:
    """Type code and shape of a ``TypeProto``."""
    if not type_proto.HasField("tensor_type"):
        return 0, None
    tensor = type_proto.tensor_type
    if not tensor.HasField("shape"):
        return tensor.elem_type, None
    return tensor.elem_type, tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
