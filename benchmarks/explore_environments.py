"""Problems on which agents are compared: fast enough for a million evaluations, every number from fiberloom's own models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from fiberloom.errors import SpecError
from fiberloom.explore import DesignProblem, Evaluated, Status, read_space
from fiberloom.explore.dram.problem import DramProblem
from fiberloom.explore.dram.traces import synthetic
from fiberloom.explore.learned.designs import BUFFER_KIB, CLUSTERS, DesignSpaceModel, areas_mm2
from fiberloom.explore.learned.workloads import products_of
from fiberloom.explore.space import Point, parse_space
from fiberloom.workload.importers import read_network

RESULTS = Path(__file__).parent / "results" / "explore"


class Stages(DesignProblem):
    """An accelerator per layer of a network, as ConfuciuX (MICRO'20) assigns them: each has an array and a buffer of its own.

    A layer's cycles and energy on every one of the 768 designs of `fiberloom.explore.learned.designs` are computed by the model
    once; a design of this space picks one of them per layer. Weights stay (dataflow ``dla``).
    """

    kind = "stages"
    metrics: ClassVar[Mapping[str, str]] = {"cycles": "", "energy": "pJ", "edp": "pJ", "area": "mm2"}

    def __init__(self, network: str) -> None:
        layers = products_of(read_network(network), "dla")
        parameters = [
            line
            for i in range(len(layers))
            for line in (
                f"    stage{i}.clusters: {{linear: [{CLUSTERS[0]}, {CLUSTERS[-1]}]}}",
                f"    stage{i}.buffer: {{choice: {list(BUFFER_KIB)}}}",
            )
        ]
        super().__init__(
            parse_space("\n".join(["fiberloom: 1", "space:", "  parameters:", *parameters]), "stages.yaml")
        )
        model = DesignSpaceModel()
        costs = [(layer.count, model(layer)) for layer in layers]
        self._cycles = np.array([count * cost.cycles for count, cost in costs])
        self._energy = np.array([count * cost.energy_pj for count, cost in costs])
        self._areas = areas_mm2()
        self._rows = np.arange(len(layers))

    def measure(self, point: Point) -> Evaluated:
        chosen = np.array(point).reshape(-1, 2) @ (len(BUFFER_KIB), 1)
        cycles = float(self._cycles[self._rows, chosen].sum())
        if not np.isfinite(cycles):
            raise SpecError("a layer does not fit its buffer")
        energy = float(self._energy[self._rows, chosen].sum())
        area = float(self._areas[chosen].sum())
        return Evaluated(Status.EVALUATED, {"cycles": cycles, "energy": energy, "edp": energy * cycles, "area": area})


class RememberedDram(DramProblem):
    """The library's DRAM controllers on a synthetic trace; designs that some run of this process evaluated are not simulated again."""

    def __init__(self, trace: str, requests: int) -> None:
        super().__init__(read_space("dram-controller"), synthetic(trace, requests))
        self._remembered = lru_cache(maxsize=1_000_000)(super().measure)

    def measure(self, point: Point) -> Evaluated:
        return self._remembered(point)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
