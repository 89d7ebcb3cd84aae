"""Hardware together with one mapping per layer, evaluated at once; buffers are as large as the mappings need.

After DiGamma (Kao et al., DATE'22): a design is an array and the loops of every layer, nothing else. Every buffer named under
``derive:`` gets the rows that the largest of the layers' tiles take, and costs what the component library says for that size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Final

import numpy as np

from fiberloom.architecture.levels import Architecture
from fiberloom.errors import MappingError, SpecError, UnsupportedError
from fiberloom.explore.accelerator.designs import design_of
from fiberloom.explore.accelerator.problem import UM2_PER_MM2, AcceleratorProblem, known_metrics
from fiberloom.explore.accelerator.workload import Workload, read_problem
from fiberloom.explore.joint.arrays import LayerArrays
from fiberloom.explore.joint.genes import Array, LayerGenes, slots_of
from fiberloom.explore.joint.hardware import Hardware, Lowering
from fiberloom.explore.joint.space import JointSpace
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import Point, SpaceFile
from fiberloom.explore.trial import Evaluated, Status
from fiberloom.input.field import Field
from fiberloom.mapping.nest import Mapping as LoopNest
from fiberloom.mapping.packed import PackedMappings, unpack
from fiberloom.model.compiled import announced, compile_kernel
from fiberloom.model.evaluate import evaluate
from fiberloom.model.lower import lower
from fiberloom.network_evaluation.cases import layers_of
from fiberloom.network_evaluation.designs import Design
from fiberloom.workload.einsum import Einsum

_FIELDS: Final = ("kind", "workloads", "derive")
_LOOKED_AT: Final = 64  # designs that tell where hardware may have fan-outs
_KEPT: Final = 4096  # lowered arrays; a few KiB each


@dataclass(frozen=True)
class MappedLayer:
    """A layer of a design: `einsum` on `architecture`, both under the layer's names, `count` times."""

    name: str
    einsum: Einsum
    architecture: Architecture
    mapping: LoopNest
    count: int


class JointProblem(DesignProblem):
    """Arrays of a space with a mapping of every layer of the workloads.

    The space is that of the file times a choice of loops per layer (`JointSpace`). Metrics are those of
    `fiberloom.explore.accelerator.AcceleratorProblem`. Takes dense hardware.

    Args:
        workloads: instead of those of the file.
    """

    kind = "joint"
    metrics: ClassVar[Mapping[str, str]] = AcceleratorProblem.metrics

    def __init__(self, file: SpaceFile, workloads: Sequence[Workload] = ()) -> None:
        super().__init__(file)
        self.given = tuple(workloads)
        derived = self._read()
        for workload in self.workloads:
            workload.check()
        self._layers = [(w, layer) for w, load in enumerate(self.workloads) for layer in layers_of(load.sparse())]
        self.lowering = Lowering([layer for _, layer in self._layers], derived)
        self._hardware = lru_cache(maxsize=_KEPT)(self._lowered)
        self._reference: Hardware | None = None
        self._varying: set[str] = set()
        self._space = self._joint_space()
        self._arrays: LayerArrays | None = None

    @property
    def space(self) -> JointSpace:
        return self._space

    @property
    def counts(self) -> Array:
        """How often each layer is computed."""
        return np.array([layer.count for _, layer in self._layers])

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "workloads": [vars(w) | {"dims": dict(w.dims)} for w in self.given]}

    @classmethod
    def options(cls, facts: Mapping[str, Any]) -> dict[str, Any]:
        return AcceleratorProblem.options(facts)

    def prepare(self) -> None:
        with announced():
            compile_kernel()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.file, self.given)

    def measure(self, point: Point) -> Evaluated:
        design, area, depths = self._built(point)
        made = self._made
        made.evaluate()
        energy, cycles = np.zeros(len(self.workloads)), np.zeros(len(self.workloads))
        for (w, layer), pj, steps in zip(self._layers, made.energy_pj, made.cycles, strict=True):
            energy[w] += pj * layer.count
            cycles[w] += steps * layer.count
        detail = {"buffers": depths, "layers": np.stack([made.energy_pj, made.cycles], axis=1).tolist()}
        seconds = cycles * design.architecture.cycle_seconds
        metrics = self._metrics(energy * 1e-12, seconds, design.architecture, area)
        return Evaluated(Status.EVALUATED, metrics, detail=detail)

    def architecture(self, point: Point) -> Architecture:
        return self._built(point)[0].architecture

    def built(self, point: Point) -> tuple[Design, list[MappedLayer]]:
        """A design with its buffers sized, and its mappings."""
        design, _, _ = self._built(point)
        made = self._made
        layers = []
        for j, (_, layer) in enumerate(self._layers):
            einsum, architecture = self.lowering.bound(design, j)
            genes = self.space.layers[j]
            d = len(einsum.shape)
            temporal, spatial, order, across = (
                array[j : j + 1, :, :d] for array in (made.temporal, made.spatial, made.order, made.spatial_order)
            )
            keep = made.keep[j : j + 1, :, : len(einsum.tensors)]
            packed = PackedMappings(
                temporal, spatial, order, across, made.on_x[j : j + 1], keep, genes.multicast, genes.peer_links
            )
            mapping = unpack(einsum, architecture, packed, 0)
            layers.append(MappedLayer(layer.name, einsum, architecture, mapping, layer.count))
        return design, layers

    def confirmed(self, point: Point) -> dict[str, float]:
        """The metrics of a design by `fiberloom.model.evaluate.evaluate` on its sized architecture, layer by layer."""
        design, layers = self.built(point)
        energy, cycles = np.zeros(len(self.workloads)), np.zeros(len(self.workloads))
        for (w, _), layer in zip(self._layers, layers, strict=True):
            found = evaluate(layer.einsum, layer.architecture, layer.mapping)
            energy[w] += found.energy_pj * layer.count
            cycles[w] += found.cycles * layer.count
        seconds = cycles * design.architecture.cycle_seconds
        return self._metrics(energy * 1e-12, seconds, design.architecture, known_metrics(design)["area"] * UM2_PER_MM2)

    def _metrics(self, energy: Any, latency: Any, architecture: Architecture, area_um2: float) -> dict[str, float]:
        shares = np.array([w.weight for w in self.workloads])

        def mean(values: Any) -> float:
            return math.exp(float(np.log(values) @ shares) / float(shares.sum()))

        on_chip = [level for level in architecture.levels if level.capacity_words is not None]
        return {
            "edp": mean(energy * latency),
            "energy": mean(energy),
            "latency": mean(latency),
            "power": mean(energy) / mean(latency),
            "area": area_um2 / UM2_PER_MM2,
            "lanes": float(architecture.compute.instances),
            "capacity": sum((lv.capacity_words or 0) * lv.word_bits * lv.instances for lv in on_chip) / 8192,
        }

    def _built(self, point: Point) -> tuple[Design, float, dict[str, int]]:
        """Write the loops of all layers to the arrays, and size the buffers for them: the design, its area (um2), and rows."""
        chosen, _ = self.space.split(point)
        hardware = self._hardware(chosen)
        made = self._made
        for j, (part, genes) in enumerate(zip(self.space.parts, self.space.layers, strict=True)):
            made.choose(j, genes, point[part])
        records = made.records
        for rows, fields in zip(self.lowering.rows, hardware.fields, strict=True):
            for name in self._varying:
                records[name][rows] = fields[name]
        made.lay_out()
        for words, level in zip(made.words, reversed(hardware.architecture.levels), strict=True):
            room = math.inf if level.capacity_words is None else level.capacity_words
            if words > room and level.name not in self.lowering.derived:
                raise MappingError(
                    f"tiles take up to {words:,.0f} words at '{level.name}', which holds {room:,.0f}",
                    hint="derive it too, or make it larger",
                )
        area, depths = hardware.area_um2, {}
        for index, memory in hardware.derived.items():
            name = memory.level.name
            depths[name] = memory.depth(float(made.words[index]))
            price = memory.price(depths[name])
            records["energy"][:, index, : len(price.energy_pj)] = price.energy_pj
            records["leak"][:, index + 1] = price.leak_pj
            records["capacity"][:, index] = memory.capacity(depths[name])
            area += price.area_um2 * memory.level.instances
        sized = hardware.architecture.model_copy(
            update={
                "levels": tuple(
                    level.model_copy(update={"depth": depths.get(level.name, level.depth)})
                    for level in hardware.architecture.levels
                )
            }
        )
        return replace(hardware.design, architecture=sized), area, depths

    def _read(self) -> tuple[str, ...]:
        """Workloads and derived levels of the ``problem:`` section."""
        section = self.file.sections.get("problem")
        fields = section.mapping() if section is not None else {}
        if section is not None:
            section.refuse_unknown(fields, _FIELDS)
        if section is None or "derive" not in fields or not fields["derive"].items():
            raise SpecError(
                f"the space '{self.file.name}' derives no buffer",
                where=section.where if section is not None else None,
                hint="name levels whose size follows from the mappings: derive: [buffer, registers]",
            )
        for name in ("design", "constraints"):
            if name in self.file.sections:
                raise self.file.sections[name].error(
                    f"a joint search takes no '{name}:' section", "leave it out: all loops are searched"
                )
        source = self.file.template.fill(self.file.space.values(self.file.space.unrank(0)))
        data = {k: v for k, v in source.data["problem"].items() if k != "derive"}
        if self.given:
            data.setdefault("workloads", ["resnet50"])
        workloads, _ = read_problem(Field(data, source, ("problem",)))
        self.workloads = self.given or workloads
        return tuple(name.text() for name in fields["derive"].items())

    def _lowered(self, point: Point) -> Hardware:
        found = self.lowering.hardware(design_of(self.file, point))
        reference = self._reference = self._reference or found
        self._check_levels(found.architecture)
        for mine, usually in zip(found.fields, reference.fields, strict=True):
            self._varying |= {name for name, value in mine.items() if not np.array_equal(value, usually[name])}
        return found

    def _check_levels(self, architecture: Architecture) -> None:
        names, usual = _levels_of(architecture), self._level_names
        if names != usual:
            raise UnsupportedError(
                f"levels are {', '.join(reversed(names))} in one design and {', '.join(reversed(usual))} in another",
                hint="all designs of a joint search have the same levels",
            )

    def _joint_space(self) -> JointSpace:
        """The space, with a spatial slot wherever one of many arrays has a fan-out."""
        space = self.file.space
        last = space.size() - 1
        drawn = sorted({space.unrank(i * last // _LOOKED_AT) for i in range(_LOOKED_AT + 1)})
        looked_at = [p for p in drawn if not space.violated(p)] or space.sample(np.random.default_rng(0), 1)
        architectures = [design_of(self.file, point).architecture for point in looked_at]
        self._level_names = _levels_of(architectures[0])
        fans: Array = np.ones((len(self._level_names), 2), np.int64)
        for architecture in architectures:
            self._check_levels(architecture)
            meshes = np.array([c.mesh for c in (architecture.compute, *reversed(architecture.levels))])
            fans = np.maximum(fans, meshes[:-1] // meshes[1:])
        self.slots = slots_of(self._level_names, fans)
        self._first = looked_at[0]
        hardware = self._hardware(self._first)
        genes = []
        for j in range(len(self._layers)):
            einsum, architecture = self.lowering.bound(hardware.design, j)
            genes.append(LayerGenes.of(f"layer{j}", einsum, architecture, self.slots))
        return JointSpace(space, genes)

    @property
    def _made(self) -> LayerArrays:
        """What every evaluation writes to."""
        if self._arrays is None:
            self.prepare()
            design = self._hardware(self._first).design
            problems = [lower(*self.lowering.bound(design, j)) for j in range(len(self._layers))]
            self._arrays = LayerArrays.of(self.space.layers, self.slots, problems)
        return self._arrays


def _levels_of(architecture: Architecture) -> tuple[str, ...]:
    """Names, innermost first."""
    return tuple(level.name for level in reversed(architecture.levels))
