"""A data-centric cost model in the manner of MAESTRO (Kwon et al., MICRO'19; IEEE Micro 40(3), 2020), written anew.

The mapping becomes a tree of clusters with directives (`data_centric_clusters`); each cluster level is analysed by its
iteration cases (`data_centric_cases`), and its run takes

    runtime(level) = Σ over cases of occurrences · max(ingress, egress, runtime(level inside))

where ingress and egress are ``hops · hop latency + ⌈words / bandwidth⌉ − 1``. The first step of every level can't overlap
with anything before it and costs the sum instead, once. Energy is activity times the energies of the architecture.

Two things differ from the published tool on purpose. Its count of MACs can go wrong (even negative) and its cycles below
the work there is, on tiles that do not divide their dimension; here factors divide, all counts are whole numbers, and MACs,
cycles and compulsory words are asserted for every evaluation. And levels may be bypassed, which it does not know: words
then pass a cluster level without being held there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from fiberloom.cost_models._base import Checks, Cost, CostModel, Words
from fiberloom.cost_models._loops import Loops, port_cycles, read_loops, used_words
from fiberloom.cost_models.data_centric_cases import Case, Kind, Run, arriving_words, cases, transfers, unsupported
from fiberloom.cost_models.data_centric_clusters import Cluster, clusters, notation
from fiberloom.errors import MappingError
from fiberloom.mapping.nest import Mapping
from fiberloom.model.lower import Problem
from fiberloom.workload.einsum import Tensor


@dataclass(frozen=True)
class DataCentricModel(CostModel):
    """MAESTRO-like: clusters, directives, reuse by coupling.

    Attributes:
        hops: average hops from a memory to a sub-cluster; 1 is MAESTRO's default (a bus or crossbar).
        hop_cycles: cycles per hop; 1 is MAESTRO's default.
        buffers: copies of a chunk that a level needs room for: 2, because the next one arrives while one is worked on.
    """

    name: ClassVar[str] = "data-centric"
    summary: ClassVar[str] = "MAESTRO-like: cluster tree, reuse by coupling, time summed over iteration cases; dense"

    hops: float = 1.0
    hop_cycles: float = 1.0
    buffers: int = 2

    def supports(self, problem: Problem) -> tuple[str, ...]:
        workload, architecture, p = problem.workload, problem.architecture, problem.arrays[0]
        reasons = list(unsupported(workload))
        for level, name in reversed(list(enumerate(problem.level_names))):
            described = [tensor for t, tensor in enumerate(problem.tensors) if p["has_metadata"][level, t]]
            if described:
                reasons.append(f"'{name}' holds {', '.join(described)} in a sparse format: metadata is not modelled")
            entries = architecture.level(name).optimizations
            if entries:
                reasons.append(f"'{name}' gates or skips ({'; '.join(str(entry) for entry in entries)}): dense only")
        thin = _sparse_inputs(problem)
        if thin and (architecture.compute.gating or architecture.compute.skipping):
            reasons.append(f"'{architecture.compute.name}' gates or skips zeros of {_listed(thin)}: dense only")
        return tuple(reasons)

    def directives(self, problem: Problem, mapping: Mapping) -> str:
        """The mapping in data-centric notation.

        Raises:
            MappingError: when the mapping does not fit the Einsum.
        """
        return notation(clusters(read_loops(problem, mapping)))

    def _cost(self, problem: Problem, mapping: Mapping) -> Cost:
        loops = read_loops(problem, mapping)
        _check_fanouts(loops)
        tree = clusters(loops)
        flows = _flows(loops)
        activity = _Activity.of(loops, tree, flows)
        runtime: dict[Run, float] = {}  # of one run of the level inside
        exposed = [0.0] * loops.levels
        start = 0.0
        for level in range(loops.levels):
            here = {}
            for run, times in activity.runs[level].items():
                total = 0.0
                for case in cases(tree[level], problem.workload, run):
                    ingress, egress = self._transfer_cycles(loops, tree, flows, level, case)
                    compute = runtime[case.run_inside] if level else 1.0
                    step = max(ingress, egress, compute)
                    total += case.occurrences * step
                    exposed[level] += times * case.occurrences * (step - compute)
                    if case.kind is Kind.INIT and run == Run():  # nothing to overlap with yet
                        start += ingress + egress + compute - step
                        exposed[level] += ingress + egress + compute - step
                here[run] = total
            runtime = here
        unit = problem.architecture.compute
        recursive = runtime[Run()] + start
        ports = _port_cycles(problem, loops, activity.words)
        cycles = math.ceil(max(recursive, *ports.values()) - 1e-9)
        added = {name: exposed[level] for level, name in enumerate(problem.level_names)}
        added[unit.name] = float(loops.steps)
        if cycles > recursive + 1:
            slowest = max(ports, key=lambda name: ports[name])
            added[slowest] += cycles - recursive
        energy = _energy(problem, loops, activity, cycles)
        named = {problem.level_names[level]: moved for level, moved in reversed(list(enumerate(activity.words)))}
        needs = self._needs(loops)
        return Cost(
            model=self.name,
            cycles=float(cycles),
            energy_pj=sum(energy.values()),
            cycles_by_component=dict(reversed(added.items())),
            energy_by_component_pj=energy,
            bottleneck=max(added, key=lambda name: added[name]),
            words=named,
            needs_words=needs,
            checks=_checked(problem, loops, activity, cycles),
            notes=tuple(_notes(problem, loops, needs)),
        )

    def _transfer_cycles(
        self, loops: Loops, tree: tuple[Cluster, ...], flows: tuple[_Flow, ...], level: int, case: Case
    ) -> tuple[float, float]:
        """Ingress and egress cycles of a step of a level."""
        p = loops.problem.arrays[0]
        sent, back, filled = [0.0] * loops.levels, [0.0] * loops.levels, 0.0
        for flow in flows:
            if flow.level == level:
                moved = flow.moved(tree, case)
                t = loops.problem.tensors.index(flow.tensor.name)
                sent[flow.source] += moved.reads * float(p["demand"][flow.source, t])
                back[flow.source] += moved.updates * float(p["demand"][flow.source, t])
                if level:
                    filled += moved.fills * float(p["demand"][level - 1, t])
        ingress = egress = 0.0
        for source in range(level, loops.levels):
            both = self._delay(sent[source] + back[source], p["shared_bandwidth"][source])
            ingress = max(ingress, both, self._delay(sent[source], p["read_bandwidth"][source]))
            egress = max(egress, self._delay(back[source], p["write_bandwidth"][source]))
        if level:
            ingress = max(ingress, self._delay(filled, p["write_bandwidth"][level - 1]))
        return ingress, egress

    def _delay(self, words: float, bandwidth: float) -> float:
        """Cycles that words need over a network."""
        if words == 0:
            return 0.0
        return self.hops * self.hop_cycles + max(1, math.ceil(words / float(bandwidth))) - 1

    def _needs(self, loops: Loops) -> dict[str, float]:
        """Words per instance that each level needs to hold its chunks while the next ones arrive."""
        return {
            name: float(
                self.buffers
                * sum(loops.tile_words(t, level) for t in loops.problem.workload.tensors if t.name in loops.keep[level])
            )
            for level, name in reversed(list(enumerate(loops.problem.level_names)))
            if level < loops.levels - 1
        }


class _Moved(NamedTuple):
    """Words of one step: reads and updates of one instance of the source, fills of one sub-cluster."""

    reads: int
    fills: int
    updates: int


@dataclass(frozen=True)
class _Flow:
    """Traffic of one tensor between a memory and the next holder inside (or compute).

    Attributes:
        level: cluster level whose steps bring the words.
        source: level whose memory they come from; outside `level` where levels between do not hold the tensor.
        transfers: words that one instance of the source sends for each word that a sub-cluster of `level` gets.
        distinct: the same if one transfer served all that need the same word, and partial sums were added on the way.
    """

    tensor: Tensor
    level: int
    source: int
    transfers: int
    distinct: int

    def moved(self, tree: tuple[Cluster, ...], case: Case) -> _Moved:
        """What one step of `level` moves."""
        cluster, into_memory = tree[self.level], self.level > 0
        if not self.tensor.is_output:
            words = arriving_words(self.tensor, cluster, case) if into_memory else 1
            return _Moved(words * self.transfers, words if into_memory else 0, 0)
        if into_memory and self.tensor.name in case.held:
            return _Moved(0, 0, 0)
        words = math.prod(self.tensor.tile_shape(cluster.chunk)) if into_memory else 1
        updates = words * self.transfers
        if case.resumes:
            return _Moved(updates, words if into_memory else 0, updates)
        # nothing is there yet: only what arrives on top of another's partial sum is read
        return _Moved(words * (self.transfers - self.distinct), 0, updates)


def _flows(loops: Loops) -> tuple[_Flow, ...]:
    found = []
    tree = clusters(loops)
    for tensor in loops.problem.workload.tensors:
        keepers = loops.keepers(tensor.name)
        for i, source in enumerate(keepers):
            level = keepers[i - 1] + 1 if i else 0
            sent = distinct = 1
            for between in range(level, source + 1):
                sent *= transfers(tensor, tree[between], multicast=tensor.name in loops.multicast[between])
                distinct *= transfers(tensor, tree[between], multicast=True)
            found.append(_Flow(tensor, level, source, sent, distinct))
    return tuple(found)


@dataclass
class _Activity:
    """What happens in the whole run.

    Attributes:
        runs: how often all clusters of a level run, side by side, by kind of run.
        words: words of all instances, by level and tensor.
        macs: multiply-accumulates carried out.
    """

    runs: list[dict[Run, int]]
    words: list[dict[str, Words]]
    macs: int = 0
    _counts: dict[tuple[int, str, str], int] = field(default_factory=dict)

    @classmethod
    def of(cls, loops: Loops, tree: tuple[Cluster, ...], flows: tuple[_Flow, ...]) -> _Activity:
        workload = loops.problem.workload
        found = cls([{} for _ in tree], [])
        found.runs[-1][Run()] = 1
        for level in reversed(range(loops.levels)):
            for run, times in found.runs[level].items():
                for case in cases(tree[level], workload, run):
                    steps = times * case.occurrences
                    for flow in flows:
                        if flow.level == level:
                            found._count(loops, flow, steps, flow.moved(tree, case))
                    if level:
                        inside = found.runs[level - 1]
                        inside[case.run_inside] = inside.get(case.run_inside, 0) + steps
                    else:
                        found.macs += steps * loops.lanes
        for level in range(loops.levels):
            found.words.append(
                {
                    t.name: Words(
                        *(float(found._counts.get((level, t.name, a), 0)) for a in ("read", "fill", "update"))
                    )
                    for t in workload.tensors
                    if t.name in loops.keep[level]
                }
            )
        return found

    def _count(self, loops: Loops, flow: _Flow, steps: int, moved: _Moved) -> None:
        name, sources = flow.tensor.name, steps * loops.used_instances[flow.source]
        counts = [((flow.source, name, "read"), sources * moved.reads)]
        counts.append(((flow.source, name, "update"), sources * moved.updates))
        if flow.level:
            children = steps * loops.used_instances[flow.level - 1]
            counts.append(((flow.level - 1, name, "fill"), children * moved.fills))
        for key, words in counts:
            self._counts[key] = self._counts.get(key, 0) + words


def _port_cycles(problem: Problem, loops: Loops, words: list[dict[str, Words]]) -> dict[str, float]:
    """Cycles that each memory's ports are busy: what all cluster levels together ask of it."""
    return {
        name: port_cycles(problem, level, words[level], loops.used_instances[level])
        for level, name in enumerate(problem.level_names)
    }


def _energy(problem: Problem, loops: Loops, activity: _Activity, cycles: float) -> dict[str, float]:
    p, unit = problem.arrays[0], problem.architecture.compute
    energy = {}
    for level, name in reversed(list(enumerate(problem.level_names))):
        instances = loops.used_instances[level]
        cluster = int(p["cluster"][level])
        shared = math.ceil(instances / cluster) / instances  # a cluster shares one access
        energy[name] = float(p["leak"][level + 1]) * cycles * instances
        for t, tensor in enumerate(problem.tensors):
            if tensor in activity.words[level]:
                moved = activity.words[level][tensor]
                table: Any = p["energy"][level]
                for a, count in enumerate((moved.reads, moved.fills, moved.updates)):
                    energy[name] += count / float(p["values_per_access"][level, t]) * float(table[a, 0]) * shared
    energy[unit.name] = activity.macs * float(p["compute_energy"][0]) + float(p["leak"][0]) * cycles * loops.lanes
    return energy


def _checked(problem: Problem, loops: Loops, activity: _Activity, cycles: float) -> tuple[Any, ...]:
    checks = Checks()
    checks.equal("MACs", activity.macs, problem.workload.macs, "points of the iteration space")
    checks.at_least("cycles", cycles, problem.workload.macs / loops.lanes, "MACs over lanes in use")
    for tensor in problem.workload.tensors:
        used = used_words(problem.workload, tensor)
        keepers = loops.keepers(tensor.name)
        for level in reversed(keepers):
            name, moved = problem.level_names[level], activity.words[level][tensor.name]
            what, words = ("updates", moved.updates) if tensor.is_output else ("reads", moved.reads)
            checks.at_least(f"{what} of {tensor.name} at {name}", words, used, "words that are used at all")
            if not tensor.is_output and level != keepers[-1]:
                checks.at_least(f"fills of {tensor.name} at {name}", moved.fills, used, "words that are used at all")
    return checks.held()


def _check_fanouts(loops: Loops) -> None:
    p, names = loops.problem.arrays[0], loops.problem.level_names
    for level, spatial in enumerate(loops.spatial):
        needed, there = math.prod(loop.bound for loop in spatial), int(p["fan_x"][level]) * int(p["fan_y"][level])
        if needed > there:
            raise MappingError(
                f"the spatial loops below '{names[level]}' need {needed} children, but it has {there}",
                hint="make spatial factors smaller",
            )


def _notes(problem: Problem, loops: Loops, needs: dict[str, float]) -> list[str]:
    notes = []
    thin = _sparse_inputs(problem)
    if thin:
        notes.append(f"zeros of {_listed(thin)} count like other values: nothing in the design sees them")
    if any(loops.peer_links):
        notes.append("links between neighbours are not used: every sub-cluster is sent its words by the level outside")
    for level, name in enumerate(problem.level_names):
        capacity = float(problem.arrays[0]["capacity"][level])
        if name in needs and needs[name] > capacity:
            notes.append(
                f"'{name}' holds {capacity:,.0f} words; with room for the chunks that arrive meanwhile it needs {needs[name]:,.0f}"
            )
    return notes


def _sparse_inputs(problem: Problem) -> list[str]:
    models = dict(zip(problem.tensors, problem.densities, strict=True))
    return [tensor.name for tensor in problem.workload.inputs if models[tensor.name].density < 1]


def _listed(names: list[str]) -> str:
    return " and ".join(f"'{name}'" for name in names)
