"""AIRCHITECT's space as a problem to explore: the designs, loops and costs that recommenders are taught and judged by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.architecture.levels import Architecture
from fiberloom.errors import SpecError, UnsupportedError, nearest
from fiberloom.explore.accelerator.problem import AcceleratorProblem, known_metrics
from fiberloom.explore.accelerator.workload import Workload, read_problem
from fiberloom.explore.learned.designs import (
    BUFFER_KIB,
    CLUSTERS,
    DATAFLOWS,
    DesignSpaceModel,
    architecture,
    design_id,
)
from fiberloom.explore.learned.workloads import products_of
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import Point, SpaceFile
from fiberloom.explore.trial import Evaluated, Status
from fiberloom.network_evaluation.designs import Design

_LEGAL: Final[Mapping[str, tuple[Any, ...]]] = {"clusters": CLUSTERS, "buffer_kib": BUFFER_KIB, "dataflow": DATAFLOWS}


class AirchitectProblem(DesignProblem):
    """Arrays of 1 to 64 clusters and 12 buffers on networks, under one of three dataflows (`fiberloom.explore.learned.designs`).

    A layer keeps idle the clusters that its EDP is better without. All layers are dense. Metrics are those of
    `fiberloom.explore.accelerator.AcceleratorProblem`.

    Args:
        workloads: instead of those of the file.

    Raises:
        SpecError: for a space without these three parameters, or with values that no design has.
    """

    kind = "airchitect"
    metrics: ClassVar[Mapping[str, str]] = AcceleratorProblem.metrics

    def __init__(self, file: SpaceFile, workloads: Sequence[Workload] = ()) -> None:
        super().__init__(file)
        self.given = tuple(workloads)
        for p in self.space.parameters:
            if p.name not in _LEGAL:
                raise p.error(f"a design has no parameter '{p.name}'", nearest(p.name, _LEGAL))
            for value in p.values:
                if value not in _LEGAL[p.name]:
                    raise p.error(f"'{p.name}' is never {value}", f"one of {', '.join(map(str, _LEGAL[p.name]))}")
        for name in _LEGAL:
            if name not in self.space.index:
                raise SpecError(f"the space '{file.name}' lacks '{name}'", hint=f"parameters are {', '.join(_LEGAL)}")
        self.workloads = self.given or _read(file)
        for workload in self.workloads:
            workload.check()
            if workload.weights is not None or workload.activations is not None:
                raise SpecError(f"'{workload.name}' is sparse, and these designs are dense", hint="leave densities out")
        self._costs = lru_cache(maxsize=None)(self._totals)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.file, self.given)

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "workloads": [vars(w) | {"dims": dict(w.dims)} for w in self.given]}

    @classmethod
    def options(cls, facts: Mapping[str, Any]) -> dict[str, Any]:
        return AcceleratorProblem.options(facts)

    def prepare(self) -> None:
        DesignSpaceModel()

    def design(self, point: Point) -> Design:
        """The accelerator of a point, without the dataflow."""
        values = self.space.values(point)
        made = architecture(values["clusters"], values["buffer_kib"])
        return Design(f"{self.file.name}-{self.space.rank(point)}", made.name, "space", made)

    def architecture(self, point: Point) -> Architecture:
        return self.design(point).architecture

    def measure(self, point: Point) -> Evaluated:
        values = self.space.values(point)
        design = self.design(point)
        energy, cycles = self._costs(values["dataflow"])[:, :, design_id(values["clusters"], values["buffer_kib"])]
        if not np.isfinite(cycles).all():
            raise UnsupportedError(f"not every layer fits '{values['dataflow']}' on {design.title}")
        joules, seconds = energy * 1e-12, cycles * design.architecture.cycle_seconds
        metrics = {
            "edp": self._mean(joules * seconds),
            "energy": self._mean(joules),
            "latency": self._mean(seconds),
            "power": self._mean(joules) / self._mean(seconds),
            **known_metrics(design),
        }
        return Evaluated(Status.EVALUATED, metrics)

    def _totals(self, dataflow: str) -> NDArray[np.float64]:
        """pJ and cycles of every workload on every design, ``(2, workloads, 768)``."""
        model = DesignSpaceModel()
        totals = np.zeros((2, len(self.workloads), len(CLUSTERS) * len(BUFFER_KIB)))
        for w, workload in enumerate(self.workloads):
            for product in products_of(workload.read(), dataflow):
                costs = model(product)
                used = _clusters_used(costs.objective("edp"), costs.cycles * costs.energy_pj)
                totals[0, w] += costs.energy_pj[used] * product.count
                totals[1, w] += costs.cycles[used] * product.count
        return totals

    def _mean(self, values: NDArray[np.float64]) -> float:
        shares = np.array([w.weight for w in self.workloads])
        return math.exp(float(np.log(values) @ shares / shares.sum()))


def _clusters_used(best: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.int64]:
    """For every design, the one of the same buffer and at most its clusters that has the `best` EDP."""
    grid = (-1, len(BUFFER_KIB))
    first = np.where(own == best, np.arange(len(own)), 0).reshape(grid)
    return np.maximum.accumulate(first, axis=0).reshape(-1)


def _read(file: SpaceFile) -> tuple[Workload, ...]:
    if "problem" not in file.sections:
        raise SpecError(f"the space '{file.name}' names no workload", hint="name one: --workload resnet50")
    section = file.sections["problem"]
    section.refuse_unknown(section.mapping(), ("kind", "workloads"))
    workloads, _ = read_problem(section)
    return workloads
