"""Accelerators that run whole networks, every layer at its best mapping."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from fiberloom.architecture.levels import Architecture
from fiberloom.architecture.library.design import DesignInfo
from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.explore.accelerator.bounds import least
from fiberloom.explore.accelerator.designs import design_of
from fiberloom.explore.accelerator.workload import Search, Workload, read_problem
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import Point, SpaceFile
from fiberloom.explore.trial import Evaluated, Status
from fiberloom.input.field import Field
from fiberloom.model.lower import areas_um2
from fiberloom.network_evaluation.designs import Design
from fiberloom.network_evaluation.mapping_search import DATAFLOW

UM2_PER_MM2: Final = 1e6


class AcceleratorProblem(DesignProblem):
    """Architectures of a space on workloads.

    Designs with a ``menu`` run weights as their menu allows (`fiberloom.codesign.networks`), others as they are
    (`fiberloom.network_evaluation`). Counted are the Einsums of a network, which are what the choices act on. Energy, latency and EDP
    are geometric means over the workloads; power is the mean energy over the mean latency.

    Args:
        workloads: instead of those of the file.
        cache: where layers' mappings are kept for all designs and runs: True for the user's cache folder, a folder, or False.

    Raises:
        SpecError: for a ``problem:`` section that makes no sense, and networks and densities that there are not.
    """

    kind = "accelerator"
    slow = True
    metrics: ClassVar[Mapping[str, str]] = {
        "edp": "J s",
        "energy": "J",
        "latency": "s",
        "power": "W",
        "area": "mm2",
        "lanes": "MACs",
        "capacity": "KiB",
    }

    def __init__(self, file: SpaceFile, workloads: Sequence[Workload] = (), *, cache: bool | str | Path = True) -> None:
        super().__init__(file)
        self.given = tuple(workloads)
        self.cache = cache
        if not workloads and "problem" not in file.sections:
            raise SpecError(f"the space '{file.name}' names no workload", hint="name one: --workload resnet50")
        workloads, search = self.workloads(self.space.unrank(0))
        for workload in workloads:
            workload.check()
        if search.mapper == DATAFLOW and "design" not in file.sections:
            raise file.sections["problem"].error(
                "the mapper is 'dataflow', and the space has none", "add a 'design:' section, or leave the mapper out"
            )

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "workloads": [vars(w) | {"dims": dict(w.dims)} for w in self.given]}

    @classmethod
    def options(cls, facts: Mapping[str, Any]) -> dict[str, Any]:
        return {"workloads": [Workload(**stored) for stored in facts["workloads"]]}

    def prepare(self) -> None:
        from fiberloom.network_evaluation.workers import MappingSearches

        MappingSearches().prepare()

    def design(self, point: Point) -> Design:
        """The accelerator of a point.

        Raises:
            SpecError: with the place in the space's file, for a specification that makes no sense.
        """
        return design_of(self.file, point)

    def architecture(self, point: Point) -> Architecture:
        return self.design(point).architecture

    def workloads(self, point: Point) -> tuple[tuple[Workload, ...], Search]:
        """What a design runs, and how mappings are found."""
        source = self.file.template.fill(self.space.values(point))
        if "problem" not in source.data:
            return self.given, Search()
        section = Field({**source.data["problem"]}, source, ("problem",))
        if self.given:
            section.value.setdefault("workloads", ["resnet50"])
        workloads, search = read_problem(section)
        return self.given or workloads, search

    def measure(self, point: Point) -> Evaluated:
        return self.measure_design(self.design(point), point)

    def measure_design(self, design: Design, like: Point | None = None) -> Evaluated:
        """Metrics of any accelerator, such as one of the library, on the workloads that the design of `like` runs.

        Args:
            like: matters where the ``problem:`` section has choices in it; None: the first design.

        Raises:
            FiberloomError: when it can't run a workload, or the area of a component is not known.
        """
        workloads, search = self.workloads(self.space.unrank(0) if like is None else like)
        found = [self._run(design, workload, search) for workload in workloads]
        shares = [w.weight for w in workloads]
        energy, latency = (_mean([run[key] for run in found], shares) for key in ("energy", "latency"))
        metrics = {
            "edp": _mean([run["energy"] * run["latency"] for run in found], shares),
            "energy": energy,
            "latency": latency,
            "power": energy / latency,
            **known_metrics(design),
        }
        detail = {"workloads": {w.name: run for w, run in zip(workloads, found, strict=True)}}
        return Evaluated(Status.EVALUATED, metrics, detail=detail)

    def bounds(self, point: Point, wanted: Collection[str]) -> Mapping[str, float]:
        design = self.design(point)
        found = known_metrics(design)
        if not {"edp", "energy", "latency"}.isdisjoint(wanted):
            workloads, _ = self.workloads(point)
            costs = [least(design, workload) for workload in workloads]
            shares = [w.weight for w in workloads]
            found["energy"] = _mean([energy for energy, _ in costs], shares)
            found["latency"] = _mean([latency for _, latency in costs], shares)
            found["edp"] = _mean([energy * latency for energy, latency in costs], shares)
        return found

    def _run(self, design: Design, workload: Workload, search: Search) -> dict[str, Any]:
        """Energy (J), latency (s) and certificates of one workload."""
        if design.info is not None and design.info.menu is not None:
            return self._as_menu(design.info, workload, search)
        from fiberloom.network_evaluation import run_network

        sampling = search.mapper not in ("exact", "dataflow")
        result = run_network(
            workload.sparse(),
            [design],
            objective=search.objective,
            mapper=search.mapper,
            seconds=search.seconds,
            seed=0,
            jobs=0,
            cache=self.cache if not sampling else False,
        )
        total = result.total()
        lost = total["left_out"]["not_mapped"]
        if lost:
            raise _unmapped(workload, len(lost), f"{lost[0]['layer']}: {lost[0]['reason']}")
        products, certificate = total["einsums"], total["certificate"]
        return {
            "energy": products["energy_pj"] * 1e-12,
            "latency": products["cycles"] * design.architecture.cycle_seconds,
            "layers": certificate["layers"],
            "proved": certificate["proved"],
        }

    def _as_menu(self, info: DesignInfo, workload: Workload, search: Search) -> dict[str, Any]:
        from fiberloom.codesign.network_cost import Search as HowLong
        from fiberloom.codesign.networks import evaluate_networks

        if search.mapper != "exact":
            raise UnsupportedError(
                f"designs with a menu are mapped exactly, not by '{search.mapper}'", hint="leave the mapper out"
            )
        how = HowLong(search.objective, search.seconds, workers=0, cache=self.cache)
        (cost,) = evaluate_networks(
            workload.read(), [info], {info.name: workload.weights}, workload.activations, search=how
        ).values()
        if cost.left_out:
            name, reason = next(iter(cost.left_out.items()))
            raise _unmapped(workload, len(cost.left_out), f"{name}: {reason}")
        certificates = cost.certificates
        return {
            "energy": cost.energy_pj * 1e-12,
            "latency": cost.seconds,
            "layers": certificates["layers"],
            "proved": certificates["proved"],
        }


def _unmapped(workload: Workload, layers: int, first: str) -> UnsupportedError:
    return UnsupportedError(f"{workload.name}: {layers} layers can't be mapped; the first is {first}")


def known_metrics(design: Design) -> dict[str, float]:
    """What needs no mapping: area (mm2), lanes, capacity on chip (KiB).

    Raises:
        SpecError: for a component whose area is neither given nor known.
    """
    architecture = design.architecture
    areas = areas_um2(architecture)
    components = (*architecture.levels, architecture.compute)
    on_chip = [level for level in architecture.levels if level.capacity_words is not None]
    return {
        "area": sum(areas[c.name] * c.instances for c in components) / UM2_PER_MM2,
        "lanes": float(architecture.compute.instances),
        "capacity": sum((level.capacity_words or 0) * level.word_bits * level.instances for level in on_chip) / 8192,
    }


def _mean(values: Sequence[float], shares: Sequence[float]) -> float:
    """Weighted geometric mean."""
    return math.exp(sum(s * math.log(v) for v, s in zip(values, shares, strict=True)) / sum(shares))
