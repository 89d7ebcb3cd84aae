"""The exact mapper: the shortest path over tile shapes, with a certificate.

Three passes share one incumbent. A narrow beam over every promising choice of keeps finds a good mapping at once; a wider one
improves it; the last pass keeps every label that the bound does not rule out, so that what it returns is proved
optimal. Whatever time or memory cut off is remembered by its bound, which is then the certificate's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import MappingError
from fiberloom.mapper.certificate import Certificate
from fiberloom.mapper.exact import labels, sweep
from fiberloom.mapper.exact.labels import LABEL, Scratch, Table
from fiberloom.mapper.exact.lattice import subsets
from fiberloom.mapper.exact.sweep import Terrain
from fiberloom.mapper.exact.terrain import Ground, ground, terrain
from fiberloom.mapper.objective import Objective
from fiberloom.mapping.nest import Mapping
from fiberloom.mapping.packed import PackedMappings, unpack
from fiberloom.mapping.space import MapSpace
from fiberloom.model.compiled import announced, compile_kernel
from fiberloom.model.evaluate import BatchEvaluator
from fiberloom.model.lower import Problem
from fiberloom.model.records import MAPPING, WORK

Array = NDArray[Any]

_BEAMS: Final = (64, 1024)
_CHUNK: Final = 128
_LEAVES: Final = 4096


@dataclass(frozen=True)
class Optimum:
    """What the exact mapper found.

    Attributes:
        mappings: the best mapping, or the Pareto front by rising cycles.
        energy_pj, cycles: of each.
        certificate: what is proved about it.
        seconds: of the whole search.
        statistics: labels kept, mappings evaluated, choices of keeps, passes.
    """

    mappings: tuple[Mapping, ...]
    energy_pj: tuple[float, ...]
    cycles: tuple[float, ...]
    certificate: Certificate
    seconds: float
    statistics: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Template:
    """One choice of keeps: its tables, its bounds by stage (None until asked for), the bound of everything."""

    keep: Array
    land: Terrain
    orders: Array
    order_first: Array
    temporal: list[Array]
    spatial: list[Array]
    value: float


class _Stop(Exception):
    """Time is up."""


class ExactSearch:
    """One search; `run` does it. State: the incumbents, and the least bound of whatever was cut off."""

    def __init__(
        self,
        problem: Problem,
        space: MapSpace,
        objective: Objective,
        *,
        seconds: float | None,
        memory_mb: float,
        progress: Callable[[dict[str, Any]], None] | None,
        front: bool,
    ) -> None:
        self.started = time.perf_counter()
        self.problem, self.space, self.objective = problem, space, objective
        self.seconds, self.progress, self.front = seconds, progress, front
        self.capacity = max(10_000, int(memory_mb * 1e6 / (LABEL.itemsize * 2 + 64)))
        self.evaluator = BatchEvaluator(problem)
        tie = (0.0, 1.0) if objective.energy_power else (1.0, 0.0)
        self.rule = np.array([objective.energy_power, objective.latency_power, *tie, float(front)])
        self.best = np.zeros((4096 if front else 1, 2))
        self.found = 0
        self.rows: list[PackedMappings] = []
        self.cut = math.inf
        self.statistics: dict[str, Any] = {"labels": 0, "mappings": 0, "keeps": 0}

    def run(self) -> Optimum:
        """Search.

        Raises:
            MappingError: when no mapping of the space fits the hardware.
        """
        with announced():
            compile_kernel()
            base = ground(self.problem, self.space)
            self.works = np.zeros(1, WORK)
            self.mappings = np.zeros(1, MAPPING)
            L, T = self.space.multicast.shape
            self.mappings["multicast"][0, :L, :T] = self.space.multicast
            self.started = time.perf_counter()
            templates = self._templates(base)
        pending = math.inf
        try:
            for beam in (*_BEAMS, 0):
                for i, template in enumerate(templates):
                    if beam and i >= 8:
                        break
                    if self._hopeless(template):
                        continue
                    pending = min(t.value for t in templates[i:]) if not beam else min(t.value for t in templates)
                    self._layers(base, template, beam)
                pending = math.inf
        except (_Stop, KeyboardInterrupt):
            self.cut = min(self.cut, pending)
            self.statistics["stopped"] = "time" if self._late() else "interrupted"
        return self._answer(base)

    def _late(self) -> bool:
        return self.seconds is not None and time.perf_counter() - self.started > self.seconds

    def _templates(self, base: Ground) -> list[_Template]:
        out = []
        for chosen in subsets(self.space.free_keep):
            keep = self.space.fixed_keep | chosen
            land = terrain(base, keep)
            if land is None or not land.fits[-1, -1]:
                continue
            out.append(self._bounds(base, keep, land))
        self.statistics["keeps"] = len(out)
        out = [t for t in out if t.value < math.inf]
        return sorted(out, key=lambda t: t.value)

    def _bounds(self, base: Ground, keep: Array, land: Terrain) -> _Template:
        p = self.problem.arrays
        L = land.parent.shape[0] - 1
        S, K, J = base.points.size, len(base.status), base.threshold.shape[1]
        temporal, spatial = [], []
        inner = np.zeros((1, 1, 1))
        scratch = [np.empty((S, J)) for _ in range(3)]
        rows = np.zeros(J, np.int64)
        for level in range(L):
            before = np.empty((S, K, J))
            sweep.sweep_spatial(p[0], land, level, inner, before, rows, base.shares[level])
            spatial.append(before)
            outer = np.empty((S, K, J))
            sweep.sweep_temporal(p[0], land, level, before, outer, *scratch)
            temporal.append(outer)
            inner = outer
        template = _Template(keep, land, *base.orders_for(keep), temporal, spatial, 0.0)
        template.value = self._root_value(template)
        return template

    def _cost(self) -> Array:
        """Busy cycles of one lane, energy of compute, and leakage of what lies inside each level (see `labels.bound`)."""
        p = self.problem.arrays[0]
        L = int(p["levels"])
        work = float(np.prod(self.space.bounds.astype(float)))
        leak = p["leak"][: L + 1]
        inside = np.concatenate([leak[:1], np.cumsum(leak)[: L]])
        return np.array([work, work * float(p["compute_energy"][0]), *inside])

    def _root(self, template: _Template) -> Any:
        root = np.zeros(1, LABEL)
        L = template.land.parent.shape[0] - 1
        root["parent"], root["lanes"] = -1, 1.0
        root["shape"] = len(template.land.extents) - 1
        root["power"] = self.problem.arrays[0]["leak"][L]
        return root

    def _root_value(self, template: _Template) -> float:
        p = self.problem.arrays[0]
        L = int(p["levels"])
        rest = template.temporal[-1][-1, 0]
        return float(
            labels.bound(0.0, 0.0, 1.0, float(p["leak"][L]), L - 1, rest, template.land, self._cost(), self.rule,
                         self.best, self.found)
        )  # fmt: skip

    def _hopeless(self, template: _Template) -> bool:
        return self._root_value(template) == math.inf

    def _layers(self, base: Ground, template: _Template, beam: int) -> None:
        """Labels of all stages, one after the other; at most `beam` go on from each (0: all)."""
        p, land = self.problem.arrays[0], template.land
        L = int(p["levels"])
        cost = self._cost()
        K, J = len(base.status), base.threshold.shape[1]
        self.mappings["keep"][0, :L, : land.parent.shape[1]] = template.keep
        plain = not (land.demand >= 0).any() and not p["leak"][: L + 1].any() and (p["cluster"][:L] <= 1).all()
        pool = [self._root(template)]
        everything = pool[0]
        first = 0
        room = 16_384 if beam else 65_536
        for depth in range(2 * L):
            level = L - 1 - depth // 2
            spatial = depth % 2 == 1
            if spatial:
                after = template.temporal[level - 1] if level else np.zeros((1, K, J))
                entry = template.spatial[level]
            else:
                after, entry = template.spatial[level], template.temporal[level]
            scratch = Scratch(
                np.zeros(1, LABEL), entry, np.zeros(len(land.count), np.int64), np.zeros(len(land.count), np.int64),
                np.zeros(K), np.zeros(J), np.zeros(4 * beam), np.zeros(1, np.int64),
            )  # fmt: skip
            at, last = first, len(everything)
            while True:
                table = self._table(template, room)
                scratch.held[0] = 0
                at = first
                while at < last and (table.dropped[0] == math.inf or room >= self.capacity):
                    upto = min(last, at + _CHUNK)
                    arguments = (everything, at, upto, depth, after, table, self.rule, self.best, self.found, cost,
                                 plain, scratch)  # fmt: skip
                    if spatial:
                        labels.expand_spatial(
                            p, land, self.mappings[0], self.works[0], *arguments, base.shares[level]
                        )
                    else:
                        labels.expand_temporal(p, land, self.works[0], *arguments)
                    at = upto
                    if self._late():
                        raise _Stop
                if at >= last and (table.dropped[0] == math.inf or room >= self.capacity):
                    break
                room = min(self.capacity, room * 4)
            self.cut = min(self.cut, table.dropped[0]) if not beam else self.cut
            fresh = table.labels[: table.state[0]]
            fresh = fresh[np.isfinite(fresh["value"])]
            fresh = fresh[np.argsort(fresh["value"], kind="stable")]
            if beam:
                fresh = fresh[:beam]
            self.statistics["labels"] += len(fresh)
            if self.progress is not None:
                self.progress({"depth": depth, "depths": 2 * L, "labels": len(fresh), "beam": beam, "best": self._value()})
            if not len(fresh):
                return
            first = len(everything)
            everything = np.concatenate([everything, fresh])
        self._leaves(base, template, everything, first)

    def _table(self, template: _Template, room: int) -> Table:
        keys = 1 << (2 * room - 1).bit_length()
        return Table(
            np.empty(room, LABEL), np.zeros(keys, np.int64), np.empty(keys, np.int64), np.zeros(1, np.int64),
            np.full(1, np.inf), template.orders, template.order_first,
        )  # fmt: skip

    def _leaves(self, base: Ground, template: _Template, pool: Array, first: int) -> None:
        """Evaluate complete labels with the model, the most promising first."""
        at = first
        while at < len(pool):
            chunk = np.arange(at, min(len(pool), at + _LEAVES))
            alive = [
                not labels.beaten(pool["energy"][i] + self._cost()[1], pool["cycles"][i], self.rule, self.best, self.found)
                for i in chunk
            ] if self.front else [self.found == 0 or pool["value"][i] <= self._value() * (1 + 1e-11) for i in chunk]  # fmt: skip
            chunk = chunk[np.array(alive, bool)]
            if len(chunk):
                packed = self._packed(base, template, pool, chunk)
                result = self.evaluator(packed)
                self.statistics["mappings"] += len(chunk)
                self._take(packed, result.energy_pj, result.cycles)
            at += _LEAVES

    def _value(self) -> float:
        if not self.found:
            return math.inf
        return float(self.objective.value(self.best[: self.found, 0], self.best[: self.found, 1]).min())

    def _take(self, packed: PackedMappings, energy: Array, cycles: Array) -> None:
        """Keep what beats the incumbents."""
        if not self.front:
            i = self.objective.best(energy, cycles)
            if i is None:
                return
            if not self.found or self.objective.beats(energy[i], cycles[i], *self.best[0]):
                self.best[0] = energy[i], cycles[i]
                self.found, self.rows = 1, [packed.take([i])]
            return
        points = [(self.best[i, 0], self.best[i, 1], self.rows[i]) for i in range(self.found)]
        points += [(e, c, packed.take([i])) for i, (e, c) in enumerate(zip(energy, cycles, strict=True)) if not math.isnan(e)]
        points.sort(key=lambda x: (x[1], x[0]))
        front: list[Any] = []
        for e, c, row in points:
            if not front or e < front[-1][0] * (1 - labels.SLACK):
                front.append((e, c, row))
        self.found = min(len(front), len(self.best))
        self.rows = [row for _, _, row in front[: self.found]]
        self.best[: self.found] = [(e, c) for e, c, _ in front[: self.found]]

    def _packed(self, base: Ground, template: _Template, pool: Array, rows: Array) -> PackedMappings:
        """Mappings of complete labels."""
        land, space = template.land, self.space
        L, D = len(space.level_names), len(space.bounds)
        n = len(rows)
        temporal, spatial = np.ones((n, L, D), np.int64), np.ones((n, L, D), np.int64)
        order = np.tile(np.arange(D), (n, L, 1))
        on_x = np.tile(space.default_on_x, (n, 1))
        at = rows.copy()
        for depth in range(2 * L, 0, -1):
            level = L - 1 - (depth - 1) // 2
            outer = pool["parent"][at]
            factors = land.extents[pool["shape"][outer]] // land.extents[pool["shape"][at]]
            choice = pool["choice"][at]
            if depth % 2:
                temporal[:, level] = factors
                listed = template.orders[level, choice]
                for i in range(n):
                    inner = [int(d) for d in listed[i] if d >= 0]
                    order[i, level] = [*inner, *(d for d in range(D) if d not in inner)]
            else:
                spatial[:, level] = factors
                used = ((factors > 1) << np.arange(D)).sum(axis=1)
                on_x[:, level] = (on_x[:, level] & ~used) | base.spreads[level].on_x[choice]
            at = outer
        return PackedMappings(
            temporal, spatial, order, np.tile(space.spatial_orders, (n, 1, 1)), on_x,
            np.tile(template.keep, (n, 1, 1)), space.multicast, space.peer_links,
        )  # fmt: skip

    def _answer(self, base: Ground) -> Optimum:
        if not self.found:
            if "stopped" in self.statistics:
                raise MappingError("the search was stopped before it found a mapping that fits", hint="give it more time")
            raise MappingError("no mapping of the map space fits the hardware")
        space = self.space
        mappings = tuple(unpack(space.workload, space.architecture, row, 0) for row in self.rows)
        found = self._value()
        certificate = Certificate.of(found, min(found, self.cut), self.objective.name)
        return Optimum(
            mappings,
            tuple(float(e) for e in self.best[: self.found, 0]),
            tuple(float(c) for c in self.best[: self.found, 1]),
            certificate,
            time.perf_counter() - self.started,
            self.statistics,
        )


def find_optimum(
    problem: Problem,
    space: MapSpace,
    objective: Objective,
    *,
    seconds: float | None = None,
    memory_mb: float = 4000,
    progress: Callable[[dict[str, Any]], None] | None = None,
    front: bool = False,
) -> Optimum:
    """The best mapping of `space`, or the whole Pareto front, with a certificate.

    Args:
        seconds: stop then, with the best found and a bound.
        memory_mb: most memory for labels; beyond it the least promising are left out, and the certificate says so.
        progress: called after every stage with what is known.
        front: all mappings that no other beats in energy and cycles.

    Raises:
        MappingError: when no mapping fits.
        UnsupportedError: for problems larger than the search takes.
    """
    return ExactSearch(
        problem, space, objective, seconds=seconds, memory_mb=memory_mb, progress=progress, front=front
    ).run()
