"""Which weights can go: by magnitude, by the inputs that they meet (Wanda), or with the others making up for them (SparseGPT)."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from numpy.typing import NDArray

from fiberloom.errors import SpecError, nearest
from fiberloom.representation.array import checked_values
from fiberloom.representation.calibration import InputStatistics
from fiberloom.representation.pruning.magnitude import magnitude
from fiberloom.representation.pruning.places import Places, kept_places
from fiberloom.representation.pruning.sparsegpt import sparsegpt
from fiberloom.representation.pruning.wanda import wanda

__all__ = ["Method", "Places", "kept_places", "magnitude", "prune", "sparsegpt", "wanda"]


class Method(StrEnum):
    """How weights to keep are chosen."""

    MAGNITUDE = "magnitude"
    WANDA = "wanda"
    SPARSEGPT = "sparsegpt"

    @classmethod
    def read(cls, name: str) -> Method:
        """The method called `name`.

        Raises:
            SpecError: if there is none.
        """
        try:
            return cls(str(name).lower())
        except ValueError:
            raise SpecError(f"no pruning method is called '{name}'", hint=nearest(name, list(cls))) from None

    @property
    def needs_calibration(self) -> bool:
        """Whether inputs of the layer must be known."""
        return self is not Method.MAGNITUDE

    @property
    def needs_second_moments(self) -> bool:
        """Whether the inputs' second moments must be known."""
        return self is Method.SPARSEGPT


def prune(
    weights: NDArray[Any],
    places: Places,
    method: Method | str = Method.MAGNITUDE,
    statistics: InputStatistics | None = None,
    release: bool = False,
) -> NDArray[Any]:
    """`weights` ``(out, in)``, never modified, with only `places` other than zero; blocks run along `in`.

    Args:
        places: a pattern, or a representation whose terms' patterns are filled in order.
        method: how places are chosen; SparseGPT changes what stays, too.
        statistics: of the layer's inputs, for methods that need them.
        release: whether the statistics' second moments may be overwritten, to save memory.

    Raises:
        SpecError: if the method needs statistics that are not given, or for weights that are not a finite matrix.
    """
    method = Method.read(method)
    values = checked_values(weights)
    if values.ndim != 2:
        raise SpecError(
            f"weights of shape {values.shape} are no matrix",
            hint="flatten them to (outputs, inputs), channels innermost",
        )
    if method is Method.MAGNITUDE:
        return magnitude(values, places)
    if statistics is None:
        raise SpecError(f"{method} needs the layer's inputs", hint="give calibration data, or prune by magnitude")
    if method is Method.WANDA:
        return wanda(values, statistics.norms, places)
    hessian = statistics.take_hessian() if release else statistics.hessian
    return sparsegpt(values, hessian, places, overwrite=True)
