"""Why no mapping of a space is valid: which capacity, format or fan-out stands in the way, and by how much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fiberloom.errors import FiberloomError, MappingError
from fiberloom.mapper.search import OUTSIDE, SearchProblem
from fiberloom.mapping.packed import PackedMappings, unpack
from fiberloom.mapping.space import MapSpace
from fiberloom.model.evaluate import evaluate_problem

SAMPLES: Final = 4096
"""Mappings drawn to see what goes wrong how often."""
ACCOUNTS: Final = 128
"""Of those that overfill a level, how many are looked at in full."""


@dataclass(frozen=True)
class Shortfall:
    """A level that is too small for a mapping.

    Attributes:
        level: its name.
        needs, holds: words per instance.
    """

    level: str
    needs: float
    holds: float

    def __str__(self) -> str:
        return f"{self.needs:,.0f} words at '{self.level}', which holds {self.holds:,.0f}"


def why_nothing_is_valid(target: SearchProblem, *, tried: int | None = None, seed: int = 0) -> FiberloomError:
    """The error that says what empties the map space.

    First the smallest tile that the constraints allow at each level is held against its capacity, with nothing kept that may be
    bypassed: what does not fit then never fits. Otherwise samples tell what fails how often, and the smallest excess.

    Args:
        target: a search that found nothing valid.
        tried: mappings that the search judged; None for one that tries none.
    """
    problem, space = target.problem, target.space
    name = f"'{problem.workload}' on '{problem.architecture.name}'"
    smallest = [space.repair(smallest_tile(space, level)) for level in range(len(space.level_names))]
    for level, packed in enumerate(smallest):
        lack = _shortfalls(target, packed, 0).get(space.level_names[level])
        if lack is not None:
            return MappingError(
                f"no mapping of {name} fits: even the smallest tiles that the map space has need {lack}",
                hint=f"enlarge '{lack.level}' by {lack.needs - lack.holds:,.0f} words, bypass a tensor there, or loosen "
                "the constraints on the loops inside it",
            )
    samples = PackedMappings.concatenate([*smallest, space.repair(space.sample(np.random.default_rng(seed), SAMPLES))])
    outcome = target.evaluate(samples)
    if outcome.valid.any():
        seen = f"none of the {tried:,} mappings tried" if tried is not None else "no mapping found"
        share = float(np.mean(outcome.valid))
        return MappingError(
            f"{seen} of {name} is valid; there are valid ones ({share:.1%} of a sample that keeps to fan-outs)",
            hint="give the search a larger budget, or take the exact mapper",
        )
    reasons = "; ".join(_reasons(target, samples, outcome.status))
    return MappingError(
        f"no mapping of {name} is valid, as far as {len(samples):,} samples tell: {reasons}",
        hint="loosen what is named first; 'fiberloom mapspace' shows what the constraints fix",
    )


def smallest_tile(space: MapSpace, level: int) -> PackedMappings:
    """A mapping (one row) whose tile at a level is as small as the constraints allow, with nothing kept that may be bypassed.

    Args:
        level: counted from the innermost.
    """
    packed = space.decode([0])
    for d in range(len(space.variables)):
        space.set_factors(packed, d, np.array([_least_inside(space, d, level)]))
    packed.keep[:] = space.fixed_keep
    return packed


def _least_inside(space: MapSpace, d: int, level: int) -> list[int]:
    """Factors of a variable, in the order of slots, with the least product inside and at `level`."""
    choices, bound = space.factorizations[d].choices, space.factorizations[d].bound
    inside = [s for s, (at, _) in enumerate(space.slots) if at <= level]
    outside = [s for s, (at, _) in enumerate(space.slots) if at > level]
    within, beyond = _products(space, choices, inside, bound), _products(space, choices, outside, bound)
    exact = [product for product in within if bound % product == 0 and bound // product in beyond]
    if not exact:  # only with remainders: everything in the outermost slot
        return [bound if s == int(np.argmax([at for at, _ in space.slots])) else 1 for s in range(len(space.slots))]
    least = min(exact)
    factors = within[least] | beyond[bound // least]
    return [factors[s] for s in range(len(space.slots))]


def _products(space: MapSpace, choices: Any, slots: list[int], bound: int) -> dict[int, dict[int, int]]:
    """Products that some slots can have, each with the factors that make it; small spatial factors where there is a choice."""
    found: dict[int, dict[int, int]] = {1: {}}
    for s in sorted(slots, key=lambda s: (space.slots[s][1], -space.slots[s][0])):
        spatial = space.slots[s][1]
        step: dict[int, dict[int, int]] = {}
        for factor in sorted((int(f) for f in choices[s]), reverse=not spatial):
            for product, factors in found.items():
                if bound % (product * factor) == 0:
                    step.setdefault(product * factor, factors | {s: factor})
        found = step
    return found


def _shortfalls(target: SearchProblem, packed: PackedMappings, row: int) -> dict[str, Shortfall]:
    """Levels that a mapping overfills, by name; empty where the model can't say."""
    problem = target.problem
    mapping = unpack(problem.workload, problem.architecture, packed, row)
    try:
        result = evaluate_problem(problem, mapping, check_fit=False)
    except FiberloomError:
        return {}
    return {
        level.name: Shortfall(level.name, level.used_words, level.capacity_words)
        for level in result.levels
        if level.capacity_words is not None and level.used_words > level.capacity_words
    }


def _reasons(target: SearchProblem, packed: PackedMappings, status: Any) -> Iterator[str]:
    """What fails how often, the most frequent first."""
    for code, number in Counter(int(s) for s in status).most_common():
        rows = np.flatnonzero(status == code)
        share = f"{number / len(packed):.0%}"
        if code == OUTSIDE:
            kinds = Counter(v.problem for i in rows[:ACCOUNTS] for v in target.space.explain(packed, int(i)))
            yield f"{share} break constraints or fan-outs ({kinds.most_common(1)[0][0]})"
            continue
        closest = _closest(target, packed, rows) if code == 20 else None
        if closest is not None:
            yield f"{share} overfill a level, at least by {closest.needs - closest.holds:,.0f} words ({closest})"
        else:
            yield f"{share} fail otherwise ({_message(target, packed, int(rows[0]))})"


def _closest(target: SearchProblem, packed: PackedMappings, rows: Any) -> Shortfall | None:
    """Of mappings that overfill levels, the one that lacks least: its worst level."""
    worst = []
    for row in rows[:ACCOUNTS]:
        lacks = _shortfalls(target, packed, int(row)).values()
        if lacks:
            worst.append(max(lacks, key=lambda lack: lack.needs / max(lack.holds, 1)))
    return min(worst, key=lambda lack: lack.needs / max(lack.holds, 1)) if worst else None


def _message(target: SearchProblem, packed: PackedMappings, row: int) -> str:
    problem = target.problem
    try:
        evaluate_problem(problem, unpack(problem.workload, problem.architecture, packed, row))
    except FiberloomError as error:
        return error.problem
    return "no reason is known"
