"""A design problem: a space, the metrics of a design, and how they are computed."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from fiberloom.errors import FiberloomError, SpecError
from fiberloom.explore.space import DesignSpace, Point, SpaceFile
from fiberloom.explore.trial import Evaluated, Status

if TYPE_CHECKING:
    from fiberloom.architecture.levels import Architecture


class DesignProblem(ABC):
    """What is explored. Instances can be pickled: processes and machines each get their own.

    Attributes:
        kind: name in the ``problem:`` section of a space file.
        file: the space as its file says it.
        metrics: unit by metric.
        slow: whether an evaluation takes so long (0.1 s or more) that worker processes pay for themselves.
    """

    kind: ClassVar[str]
    metrics: ClassVar[Mapping[str, str]]
    slow: ClassVar[bool] = False

    def __init__(self, file: SpaceFile) -> None:
        self.file = file

    @property
    def space(self) -> DesignSpace:
        return self.file.space

    @abstractmethod
    def measure(self, point: Point) -> Evaluated:
        """Metrics of a canonical point that meets the space's requirements.

        Raises:
            FiberloomError: for a design that makes no sense.
        """

    def bounds(self, point: Point, wanted: Collection[str]) -> Mapping[str, float]:
        """Lower bounds on metrics among `wanted` that cost far less than `measure`, exact values included.

        A metric that is missing is not bounded.

        Raises:
            FiberloomError: as `measure`.
        """
        return {}

    def facts(self) -> dict[str, Any]:
        """Everything that evaluations depend on, as plain data: the same facts, the same metrics."""
        return {"kind": self.kind, "space": self.file.text}

    @classmethod
    def options(cls, facts: Mapping[str, Any]) -> dict[str, Any]:
        """The constructor's options that `facts` came from, so that a problem can be made again from them."""
        return {}

    def architecture(self, point: Point) -> Architecture | None:
        """The hierarchy of a design, to be drawn; None where designs have none.

        Raises:
            FiberloomError: as `measure`.
        """
        return None

    def prepare(self) -> None:  # noqa: B027 - most problems have nothing to prepare
        """What is worth doing once per process, such as loading compiled code."""

    def evaluate(self, point: Point) -> Evaluated:
        """`measure`, timed, with its errors as a status."""
        begun = time.perf_counter()
        try:
            for requirement in self.space.violated(point):
                raise SpecError(f"it does not meet '{requirement.text}'")
            made = self.measure(point)
        except FiberloomError as error:
            made = Evaluated(Status.INVALID, reason=str(error))
        except MemoryError:
            made = Evaluated(Status.FAILED, reason="the evaluation ran out of memory")
        except Exception as error:  # a fault of ours in one design must not end the exploration
            made = Evaluated(Status.FAILED, reason=f"internal error: {type(error).__name__}: {str(error)[:300]}")
        return replace(made, seconds=time.perf_counter() - begun)
