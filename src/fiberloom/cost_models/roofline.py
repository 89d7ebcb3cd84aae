"""The roofline bound: what no schedule of a mapping's loops can undercut.

Williams, Waterman, Patterson, *Roofline*, CACM 2009, with every level of the hierarchy as a roof: work over lanes, and
compulsory words over bandwidth. Of the mapping it takes only how wide it spreads and which level keeps what; loop orders and
tile sizes do not matter. It is a lower bound of the sparse model in cycles and in energy (docs/cost-models.md has the
argument; a property test holds it).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fiberloom.architecture.sparse import SafKind
from fiberloom.cost_models._base import Checks, Cost, CostModel, Words
from fiberloom.cost_models._loops import Loops, distinct_children, port_cycles, read_loops, used_words
from fiberloom.mapping.nest import Mapping
from fiberloom.model.lower import Problem
from fiberloom.workload.einsum import Tensor

_ROUNDING = 1e-12
"""Relative room below a whole number of cycles, so that the noise of a division never rounds up past the model."""


class RooflineModel(CostModel):
    """Compulsory words over bandwidth, effectual computations over lanes, and their energy."""

    name: ClassVar[str] = "roofline"
    summary: ClassVar[str] = "a bound: effectual work over lanes, words that must move at all over bandwidth"

    def supports(self, problem: Problem) -> tuple[str, ...]:
        if not problem.rules.exact:
            return (
                f"rule set '{problem.rules.name}' rounds counts between steps, which a bound on them does not survive",
            )
        return ()

    def _cost(self, problem: Problem, mapping: Mapping) -> Cost:
        loops, p = read_loops(problem, mapping), problem.arrays[0]
        workload, unit = problem.workload, problem.architecture.compute
        sight = _Sight.of(problem)
        lanes = min(loops.lanes, unit.instances)
        busy = workload.macs * sight.share(problem, in_time=True)
        actual = workload.macs * sight.share(problem, in_time=False)
        cycles = {unit.name: _whole(busy / lanes)}
        energy = {unit.name: actual * float(p["compute_energy"][0])}
        words: dict[str, dict[str, Words]] = {}
        for level in reversed(range(loops.levels)):
            name = problem.level_names[level]
            moved = {
                tensor.name: _compulsory(loops, tensor, level, sight)
                for tensor in workload.tensors
                if tensor.name in loops.keep[level]
            }
            words[name] = moved
            instances = loops.used_instances[level]
            cycles[name] = _whole(port_cycles(problem, level, moved, instances))
            energy[name] = sum(
                count
                / float(p["values_per_access"][level, t])
                * float(p["energy"][level, a, 0])
                / float(p["cluster"][level])
                for t, tensor in enumerate(problem.tensors)
                if tensor in moved
                for a, count in enumerate((moved[tensor].reads, moved[tensor].fills, moved[tensor].updates))
            )
        total = max(cycles.values())
        energy[unit.name] += float(p["leak"][0]) * total * loops.lanes
        for level, name in enumerate(problem.level_names):
            energy[name] += float(p["leak"][level + 1]) * total * loops.used_instances[level]
        checks = Checks()
        checks.at_least("cycles", total, busy / lanes, "computations that take a cycle over lanes in use")
        return Cost(
            model=self.name,
            cycles=total,
            energy_pj=sum(energy.values()),
            cycles_by_component=cycles,
            energy_by_component_pj=energy,
            bottleneck=max(cycles, key=lambda name: cycles[name]),
            words=words,
            checks=checks.held(),
            notes=sight.assumptions(problem),
        )


@dataclass(frozen=True)
class _Sight:
    """Whose zeros the hardware can act on, and what that may save at most.

    Attributes:
        in_time: tensors whose zeros may save cycles: held with metadata, leading a skipping entry, or any if compute skips.
        at_all: tensors whose zeros may save anything; gating counts too.
        held: tensors with metadata at some level.
        leaders: by follower.
    """

    in_time: frozenset[str]
    at_all: frozenset[str]
    held: frozenset[str]
    leaders: dict[str, frozenset[str]]
    densities: dict[str, float]
    survives: dict[str, float]

    @classmethod
    def of(cls, problem: Problem) -> _Sight:
        p = problem.arrays[0]
        held = frozenset(n for t, n in enumerate(problem.tensors) if p["tensor_has_metadata"][t])
        in_time, at_all = set(held), set(held)
        leaders: dict[str, set[str]] = {name: set() for name in problem.tensors}
        for level in problem.architecture.levels:
            for entry in level.optimizations:
                for option in entry.options:
                    seen = option.leaders or (option.follower,)
                    at_all.update(seen)
                    if entry.kind is not SafKind.GATING:
                        in_time.update(seen)
                    leaders[option.follower].update(option.leaders)
        if problem.architecture.compute.skipping:
            in_time.update(problem.tensors)
        if problem.architecture.compute.gating or problem.architecture.compute.skipping:
            at_all.update(problem.tensors)
        frozen = {name: frozenset(found) for name, found in leaders.items()}
        return cls(
            frozenset(in_time),
            frozenset(at_all),
            held,
            frozen,
            dict(zip(problem.tensors, (float(d) for d in p["element_density"]), strict=False)),
            {name: _survives(problem, name, found) for name, found in frozen.items()},
        )

    def share(self, problem: Problem, *, in_time: bool) -> float:
        """Least share of the computations that take a cycle, or that are carried out at all."""
        seen = self.in_time if in_time else self.at_all
        return math.prod(self.densities[t.name] for t in problem.workload.inputs if t.name in seen)

    def kept(self, tensor: str) -> float:
        """Share of a tensor's words that remain when its own zeros are left out, where a format does that."""
        return self.densities[tensor] if tensor in self.held else 1.0

    def single(self, tensor: str) -> float:
        """Least share of accesses that its leaders let pass: each looks at one element only."""
        return math.prod(self.densities[leader] for leader in self.leaders[tensor])

    def assumptions(self, problem: Problem) -> tuple[str, ...]:
        share = self.share(problem, in_time=True)
        if share == 1:
            return ()
        return (
            f"at least {share:.3g} of the computations take a cycle: operands are independent, and only zeros that a format, "
            "a leader or compute can see are left out",
        )


def _survives(problem: Problem, follower: str, leaders: frozenset[str]) -> float:
    """Least share of a tensor's words that its leaders let pass once in the run.

    With one leader, a word is needed unless all elements that ever meet it are zero; with several, each is taken to look at
    a single element.
    """
    tensor = problem.workload.tensor(follower)
    models = dict(zip(problem.tensors, problem.densities, strict=True))
    if len(leaders) != 1:
        return math.prod(models[leader].density for leader in leaders)
    (leader,) = leaders
    met = {v: 1 if v in tensor.variables else bound for v, bound in problem.workload.shape.items()}
    shape = problem.workload.tensor(leader).tile_shape(met)
    return 1.0 - float(models[leader].probability_empty(shape))


def _compulsory(loops: Loops, tensor: Tensor, level: int, sight: _Sight) -> Words:
    """Words that all instances of a keeper move at least: each used word once, and towards compute one word per distinct
    lane and step."""
    name = tensor.name
    keepers = loops.keepers(name)
    once = used_words(loops.problem.workload, tensor) * sight.kept(name) * sight.survives[name]
    inner = 0.0
    if level == keepers[0]:
        distinct = distinct_children(loops, tensor, 0, level)
        inner = float(loops.steps * loops.used_instances[level] * distinct) * sight.kept(name) * sight.single(name)
    towards = max(once, inner)
    fills = 0.0 if level == keepers[-1] else once
    if not tensor.is_output:
        return Words(reads=towards, fills=fills)
    # Results: first visits are not read; every instance has at most all of what the loops outside it give it.
    visits = loops.used_instances[level] * math.prod(_reach(loops, variable, level) for variable in tensor.variables)
    simple = all(len(rank) == 1 for rank in tensor.ranks)
    reads = max(0.0, inner - visits) if simple and not sight.leaders[name] and name not in sight.held else 0.0
    return Words(reads=reads, updates=towards)


def _reach(loops: Loops, variable: str, level: int) -> int:
    """Iterations of `variable` that one instance of `level` sees in the run."""
    outside = math.prod(
        loop.bound for spatial in loops.spatial[level + 1 :] for loop in spatial if loop.variable == variable
    )
    return loops.problem.workload.shape[variable] // outside


def _whole(cycles: float) -> float:
    """Cycles rounded up as the model does."""
    return float(np.ceil(cycles * (1 - _ROUNDING) - _ROUNDING))
