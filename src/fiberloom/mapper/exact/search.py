"""The exact mapper: the shortest path over tile shapes, with a certificate.

Three passes share one incumbent. A narrow beam over every promising choice of keeps finds a good mapping at once; a wider one
improves it; the last pass keeps every label that the bound does not rule out, so that what it returns is proved
optimal. Whatever time or memory cut off is remembered by its bound, which is then the certificate's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import MappingError
from fiberloom.mapper.certificate import Certificate
from fiberloom.mapper.exact import expansions, labels
from fiberloom.mapper.exact.answer import Optimum
from fiberloom.mapper.exact.bounds import Bounds, Stop
from fiberloom.mapper.exact.compulsory import compulsory, least_compute
from fiberloom.mapper.exact.contexts import contexts
from fiberloom.mapper.exact.expansions import Scratch
from fiberloom.mapper.exact.ground import Ground, ground
from fiberloom.mapper.exact.labels import DEMANDS, LABEL, Table
from fiberloom.mapper.exact.lattice import subsets
from fiberloom.mapper.exact.moves import improved
from fiberloom.mapper.exact.simplified import simplified
from fiberloom.mapper.exact.sparsity import lists_by_idle_loops
from fiberloom.mapper.exact.template import Template, completed
from fiberloom.mapper.exact.terrain import terrain
from fiberloom.mapper.exact.worthwhile import slowest, wanted
from fiberloom.mapper.objective import Objective
from fiberloom.mapping.packed import PackedMappings, unpack
from fiberloom.mapping.space import MapSpace
from fiberloom.model.evaluate import BatchEvaluator
from fiberloom.model.lower import Problem
from fiberloom.model.records import MAPPING, WORK
from fiberloom.model.tables import OccupancyTables

Array = NDArray[Any]

_BEAMS: Final = (64, 512)
"""Labels that go on from every stage of the first two passes."""
_FIRST_KEEPS: Final = 8
"""Choices of keeps that these passes look at."""
_PATIENCE: Final = 2
"""Choices of keeps in a row that may bring nothing new, once all have been looked at."""
_FRONT: Final = 4096
"""Most points of a Pareto front."""
_CLOSE: Final = 0.9
"""Bound over incumbent from which a wide beam and moves are not worth their time."""
_REFINE: Final = 0.85
"""Bound over incumbent from which it is not worth its time to tell spreads apart in the bounds."""
_MANY: Final = 2000
"""Labels of a stage for which it is worth it all the same."""
_MOST_CONTEXTS: Final = 256
_LEAST_CONTEXTS: Final = 6
"""Contexts for which more sweeps leave room."""
_CONTEXT_NUMBERS: Final = 50_000_000
"""Most contexts of a level, and most numbers in their bounds."""
_MOVE_SHAPES: Final = 4096
"""Tile shapes below which the last pass is quicker than moves."""
_MOVES: Final = 1024
"""Mappings tried in a round of moves."""
_DRAWS: Final = 16
"""Rounds in which mappings are drawn until one fits."""
_DRAW_SECONDS: Final = 0.4
"""Time for draws, and again for moves, before a long search."""
_MOVE_SECONDS: Final = 3.0
_SPEEDS: Final = 14
"""Speeds told apart in refined bounds where skipping has a part in them."""
_CHUNK: Final = 128
"""Labels between two looks at the clock."""
_LEAVES: Final = 4096
"""Complete mappings evaluated together."""


class ExactSearch:
    """One search; `run` does it. State: the incumbents, and the least bound of whatever was cut off.

    Labels may be counted on a `problem` that costs at most as much as what complete mappings are judged by, `judge`: what
    costs the same on both is then proved, and the least that was met on `problem` bounds the rest.

    With `collect`, about so many of the complete mappings that it evaluates stay in `complete`.
    """

    def __init__(
        self,
        problem: Problem,
        space: MapSpace,
        objective: Objective,
        *,
        seconds: float | None = None,
        memory_mb: float = 4000,
        progress: Callable[[dict[str, Any]], None] | None = None,
        front: bool = False,
        collect: int = 0,
        judge: Problem | None = None,
    ) -> None:
        self.started = time.perf_counter()
        self.problem, self.space, self.objective = simplified(problem), space, objective
        self.seconds, self.progress, self.front = seconds, progress, front
        self.memory = memory_mb * 1e6
        self.capacity = max(4096, int(self.memory / (LABEL.itemsize * 3)))
        self.evaluator = BatchEvaluator(judge or problem)
        self.relaxed = BatchEvaluator(problem) if judge is not None else None
        self.vague = lists_by_idle_loops(self.problem, space)
        tie = (0.0, 1.0) if objective.energy_power else (1.0, 0.0)
        self.rule = np.array([objective.energy_power, objective.latency_power, *tie, float(front)])
        self.best = np.zeros((_FRONT if front else 1, 2))
        self.found = 0
        self.rows: list[PackedMappings] = []
        self.cut = self.others = math.inf
        self.collect = collect
        self.complete: list[PackedMappings] = []
        self.tables = OccupancyTables(self.problem)
        self.statistics: dict[str, Any] = {"labels": 0, "mappings": 0, "keeps": 0}
        if self.relaxed is not None or self.vague:
            self.statistics["relaxed"] = True
        self.works = np.zeros(1, WORK)
        self.bounds = Bounds(self.problem, self.memory, self._late)
        self.least = 0.0
        self.mappings = np.zeros(1, MAPPING)
        L, T = space.multicast.shape
        self.mappings["multicast"][0, :L, :T] = space.multicast
        self.mappings["peer_links"][0, :L, :T] = space.peer_links

    def run(self) -> Optimum:
        """Search.

        Raises:
            MappingError: when no mapping of the space fits the hardware, or none was found in the time given.
        """
        try:
            self._search(ground(self.problem, self.space))
        except (Stop, KeyboardInterrupt):
            self.statistics["stopped"] = "time" if self._late() else "interrupted"
        return self._answer()

    def _search(self, base: Ground) -> None:
        """All passes; `cut` bounds what is not finished when this is left early."""
        templates: list[Template] = []
        if base.points.size >= _MOVE_SHAPES:
            self._draw()
        # until every choice of keeps has a bound, nothing more is known of the rest
        self.least, cycles = compulsory(self.problem, self.space)
        self.cut = float(self.objective.value(self.least, cycles))
        for number, chosen in enumerate(subsets(self.space.free_keep)):
            template = self._template(base, self.space.fixed_keep | chosen)
            if template is None:
                continue
            self.bounds.of(template)
            if not templates and not self._hopeless(template):
                self._layers(template, _BEAMS[0])
                template.tried = True
            if not self._hopeless(template):
                templates.append(template)
            self.statistics["keeps"] += 1
            self._tell({"keeps": number + 1})
            if self._late():
                raise Stop
        self._beams(templates, _BEAMS[0])
        refine = self.cut < self._value() * _REFINE
        if self.cut < self._value() * _CLOSE:
            if not refine:
                self._beams(templates, _BEAMS[1], _PATIENCE)
            if self.cut < self._value() * _CLOSE and base.points.size >= _MOVE_SHAPES:
                self._move(_MOVE_SECONDS)
        dropped = math.inf
        for i, template in enumerate(templates):
            self.cut = min([dropped, *(self._root_value(t) for t in templates[i:])])
            if refine and not self._hopeless(template):
                self._refine(template)
                for beam in _BEAMS if i < _PATIENCE else ():
                    self._layers(template, beam)
                self._tell({"refined": i + 1})
            if self._hopeless(template):
                continue
            self.others = min([dropped, *(self._root_value(t) for t in templates[i + 1 :])])
            left_out = self._layers(template, 0, math.inf if template.refined else _MANY)
            if left_out < 0:
                self._refine(template)
                left_out = self._layers(template, 0)
            dropped = min(dropped, left_out)
        self.cut = dropped
        if self.vague:
            self._move(_DRAW_SECONDS)

    def _beams(self, templates: list[Template], beam: int, patience: int = _FIRST_KEEPS) -> None:
        """A beam over the most promising choices, until `patience` of them were in vain; sorts them and bounds them all."""
        templates.sort(key=self._root_value)
        vain = 0
        for template in templates[:_FIRST_KEEPS]:
            if (beam == _BEAMS[0] and template.tried) or self._hopeless(template):
                continue
            before = self._value()
            self._layers(template, beam)
            vain = vain + 1 if self._value() == before else 0
            if vain == patience:
                break
        self.cut = min([math.inf, *(self._root_value(t) for t in templates)])

    def _refine(self, template: Template) -> None:
        """Tell apart in the bounds how the lanes outside share words, and more sweeps, but fewer lanes."""
        assert template.root is not None
        base = template.base
        energy = template.compute_pj + float(template.root[0])
        least, worthwhile = wanted(base, energy, template.busy, self._beats)
        threshold, ceiling, share = base.thresholds(
            slowest(template, energy, self._beats) if template.land.refines else least, template.land.boost, _SPEEDS
        )
        land = template.land._replace(threshold=threshold, ceiling=ceiling, floor_share=share)
        rows = (land.spatial_count + land.temporal_count) * (np.isfinite(threshold[:-1]).sum(axis=1) + len(land.asks))
        large = int((rows > rows.max() / 4).sum())
        room = min(_CONTEXT_NUMBERS, self.memory / 3 / np.dtype(float).itemsize / large)
        template.base = base = base.finer(int(room / _LEAST_CONTEXTS / rows.max()))
        template.land = land = land._replace(
            sweeps=base.sweeps,
            idle_class=base.idle_class,
            sweeps_inside=base.sweeps_inside,
            first=base.first,
            runs=base.runs,
        )
        most = [max(1, min(_MOST_CONTEXTS, int(room / n))) for n in rows * base.first[-1]]
        template.contexts = contexts(base, land, most, worthwhile)
        template.refined = True
        self.bounds.of(template)

    def _beats(self, energy: float, cycles: float) -> bool:
        """Whether nothing found so far is as good."""
        return not labels.beaten(energy, cycles, self.rule, self.best, self.found)

    def _draw(self) -> None:
        """Draw mappings at random and improve the best by moves, lest the time ends before there is a good one."""
        rng = np.random.default_rng(0)
        until = time.perf_counter() + _DRAW_SECONDS
        for _ in range(_DRAWS):
            rows = self.space.sample(rng, _MOVES)
            rows = rows.take(self.space.violations(rows) == 0)
            if len(rows):
                result = self.evaluator(rows)
                self._take(rows, result.energy_pj, result.cycles)
            if self._late() or (self.found and time.perf_counter() > until):
                break
        self._move(_DRAW_SECONDS)

    def _move(self, seconds: float) -> None:
        """Improve the incumbent by moves."""
        if self.front or not self.found or self.collect:
            return
        rows, energy, cycles = improved(
            self.evaluator,
            self.space,
            self.objective,
            self.rows[0],
            self.best[:1, 0],
            self.best[:1, 1],
            seconds,
            _MOVES,
        )
        self._take(rows, energy, cycles)

    def _late(self) -> bool:
        return self.seconds is not None and time.perf_counter() - self.started > self.seconds

    def _tell(self, what: dict[str, Any]) -> None:
        if self.progress is not None:
            seconds = time.perf_counter() - self.started
            self.progress({"seconds": seconds, "best": self._value(), "bound": self.cut, **what})

    def _template(self, base: Ground, keep: Array) -> Template | None:
        energy, busy = least_compute(self.problem, self.space, keep)
        # choices of keeps share bounds, if nothing that one of them rules out differs
        least, worthwhile = wanted(base, 0.0 if self.space.free_keep.any() else self.least, busy, self._beats)
        land = terrain(base, keep, least)
        if land is None or not land.fits[-1, -1]:
            return None
        L = land.parent.shape[0] - 1
        start = busy
        if land.refines:  # what skipping rules out is known as the search goes on, or by the bounds
            p = self.problem.arrays[0]
            start = float(land.outside[0])
            for t in np.flatnonzero((land.last_row >= 0) & (land.told == 0)):
                start *= float(p["element_density"][t])
        return Template(
            base, keep, land, *base.orders_for(keep), energy, busy, start, contexts(base, land, [1] * L, worthwhile)
        )

    def _cost(self, template: Template) -> Array:
        """Energy of compute, and leakage of what lies inside each level from −1 on (see `labels.bound`)."""
        p = self.problem.arrays[0]
        L = int(p["levels"])
        leak = p["leak"][: L + 1]
        return np.array([template.compute_pj, *leak[:1], *np.cumsum(leak)[:L]])

    def _root(self, template: Template) -> Any:
        root = np.zeros(1, LABEL)
        L = template.land.parent.shape[0] - 1
        root["parent"], root["lanes"], root["sweeps"] = -1, 1.0, 1.0
        root["shape"] = len(template.land.extents) - 1
        root["power"] = self.problem.arrays[0]["leak"][L]
        root["busy"] = template.start
        return root

    def _root_value(self, template: Template) -> float:
        p = self.problem.arrays[0]
        L = int(p["levels"])
        return float(
            labels.bound(0.0, np.zeros(DEMANDS), template.start, 1.0, float(p["leak"][L]), L - 1, template.root, template.land,
                         self._cost(template), self.rule, self.best, self.found)
        )  # fmt: skip

    def _hopeless(self, template: Template) -> bool:
        return self._root_value(template) == math.inf

    def _layers(self, template: Template, beam: int, most: float = math.inf) -> float:
        """Labels of all stages, one after the other; at most `beam` go on from each (0: all).

        Returns the least bound among labels that memory had no room for; −1 where more than `most` labels went on.
        """
        base = template.base
        bounds = self.bounds.of(template)
        left_out = math.inf
        p, land = self.problem.arrays[0], template.land
        L = int(p["levels"])
        cost = self._cost(template)
        K, W = len(base.status), int(base.first[-1])
        self.mappings["keep"][0, :L, : land.parent.shape[1]] = template.keep
        told = len(land.asks) > 0 or p["leak"][: L + 1].any() or (p["cluster"][:L] > 1).any()
        plain = not told
        pool = [self._root(template)]
        everything = pool[0]
        T = land.parent.shape[1]
        states = np.zeros((1, T * (T + 2) if land.sparse else 0))
        states[:, :T] = 1.0
        first = 0
        room = 16_384 if beam else 65_536
        for depth in range(2 * L):
            level = L - 1 - depth // 2
            spatial = depth % 2 == 1
            if spatial:
                after = bounds[level - 1].temporal if level else np.zeros((1, 1, W, 1 + len(land.asks)))
                entry = bounds[level].spatial
            else:
                after, entry = bounds[level].spatial, bounds[level].temporal
            places = np.zeros((4, len(land.count) + 1), np.int64)
            scratch = Scratch(
                label=np.zeros(1, LABEL), state=np.zeros(states.shape[1]), own=np.zeros(T), entry=entry,
                turned=bounds[level].turned, digit=places[0], turn=places[1], shape=places[2], loops=places[3],
                kind_value=np.zeros(K), rest=np.zeros(after.shape[3]), heap=np.zeros(4 * beam), held=np.zeros(1, np.int64),
                shapes=np.zeros(L, np.int64), total=np.zeros(1 + len(land.asks)), part=np.zeros((1, 1 + len(land.asks))),
            )  # fmt: skip
            at, last = first, len(everything)
            while True:
                table = self._table(template, room, states.shape[1])
                scratch.held[0] = 0
                at = first
                while at < last and (table.dropped[0] == math.inf or room >= self.capacity):
                    upto = min(last, at + _CHUNK)
                    arguments = (everything, states, at, upto, depth, after, table, self.rule, self.best, self.found, cost,
                                 plain, scratch)  # fmt: skip
                    if spatial:
                        expansions.expand_spatial(
                            p,
                            land,
                            self.mappings[0],
                            self.tables.arrays,
                            self.works[0],
                            *arguments,
                            base.shares[level],
                            template.contexts.upper[level],
                            template.contexts.turn[level],
                        )
                    else:
                        expansions.expand_temporal(p, land, self.works[0], *arguments)
                    at = upto
                    if table.state[0] > most:
                        return -1.0
                    if self._late():
                        raise Stop
                if self.tables.absorb(self.works):
                    self.works["miss_count"] = 0
                    continue
                if at >= last and (table.dropped[0] == math.inf or room >= self.capacity):
                    break
                room = min(self.capacity, room * 4)
            left_out = min(left_out, float(table.dropped[0]))
            kept = self._kept(table.labels[: table.state[0]], depth, beam)
            fresh = table.labels[kept]
            self.statistics["labels"] += len(fresh)
            if not beam:  # whatever is still open goes on from here
                least = float(fresh["value"][0]) if len(fresh) else math.inf
                self.cut = max(self.cut, min(self.others, left_out, least))
            self._tell({"stage": depth + 1, "stages": 2 * L, "labels": len(fresh), "beam": beam})
            if not len(fresh):
                return left_out
            first = len(everything)
            everything = np.concatenate([everything, fresh])
            states = np.concatenate([states, table.states[kept]])
        return min(left_out, self._leaves(template, everything, first))

    def _kept(self, found: Array, depth: int, beam: int) -> Array:
        """Which labels of a stage go on, the most promising first."""
        kept: Array = np.argsort(found["value"], kind="stable")[: np.isfinite(found["value"]).sum()]
        return kept[:beam] if beam else kept

    def _table(self, template: Template, room: int, width: int) -> Table:
        keys = 1 << (2 * room - 1).bit_length()
        return Table(
            np.empty(room, LABEL), np.empty((room, width)), np.zeros(keys, np.int64), np.empty(keys, np.int64), np.zeros(1, np.int64),
            np.full(1, np.inf), template.orders, template.order_first,
        )  # fmt: skip

    def _leaves(self, template: Template, pool: Array, first: int) -> float:
        """Evaluate complete labels with the model, the most promising first.

        Returns what bounds those that may cost more than their labels say, or less in another order of idle loops: the least that one
        costs on the problem of the labels, or that its label says.
        """
        at = first
        least = math.inf
        while at < len(pool):
            chunk = np.arange(at, min(len(pool), at + _LEAVES))
            alive = [
                not labels.beaten(pool["energy"][i] + template.compute_pj, pool["cycles"][i], self.rule, self.best, self.found)
                for i in chunk
            ] if self.front else [self.found == 0 or pool["value"][i] <= self._value() * (1 + 1e-11) for i in chunk]  # fmt: skip
            chunk = chunk[np.array(alive, bool)]
            if len(chunk):
                packed = completed(self.space, template, pool, chunk)
                result = self.evaluator(packed)
                if self.statistics["mappings"] < self.collect:
                    self.complete.append(packed)
                self.statistics["mappings"] += len(chunk)
                self._take(packed, result.energy_pj, result.cycles)
                if self.relaxed is not None:
                    result = self.relaxed(packed)
                    values = self.objective.value(result.energy_pj, result.cycles)
                    least = min(least, float(np.nanmin(values, initial=math.inf)))
                if self.vague:
                    least = min(least, float(pool["value"][chunk[0]]))
            at += _LEAVES
        return least if self.front or least < self._value() * (1 - labels.SLACK) else math.inf

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
        points += [
            (e, c, packed.take([i])) for i, (e, c) in enumerate(zip(energy, cycles, strict=True)) if not math.isnan(e)
        ]
        points.sort(key=lambda x: (x[1], x[0]))
        front: list[Any] = []
        for e, c, row in points:
            if not front or e < front[-1][0] * (1 - labels.SLACK):
                front.append((e, c, row))
        self.found = min(len(front), len(self.best))
        self.rows = [row for _, _, row in front[: self.found]]
        self.best[: self.found] = [(e, c) for e, c, _ in front[: self.found]]

    def _answer(self) -> Optimum:
        if not self.found:
            if "stopped" in self.statistics:
                raise MappingError(
                    "the search was stopped before it found a mapping that fits", hint="give it more time"
                )
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
