"""Sparsity-aware search: one mapping that is best over a range of densities.

The density of activations changes with every image, so a mapping found for one density runs at others. The mapper study of Kao,
Kwon et al. (IISWC'22, arXiv 2210.03731) scores every mapping at several densities and searches on the sum. `MultiDensity` is
that score as a search problem, so any searcher finds such a mapping.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from fiberloom.architecture.levels import Architecture
from fiberloom.errors import SpecError, nearest
from fiberloom.mapper.objective import Floats, Objective
from fiberloom.mapper.search import OUTSIDE, Outcome, SearchProblem
from fiberloom.mapping.packed import PackedMappings
from fiberloom.mapping.space import MapSpace
from fiberloom.model.evaluate import BatchEvaluator
from fiberloom.model.lower import Problem, lower
from fiberloom.workload.einsum import Einsum

# source: the densities that the study trains on, as reported by readers of it. trust: not checked against the paper's text.
TRAINED: Final = (1.0, 0.8, 0.5, 0.2, 0.1)
"""Densities that a mapping is scored at by default."""

COMBINATIONS: Final = ("sum", "geomean")


class MultiDensity(SearchProblem):
    """Several problems that differ in densities alone, scored together.

    The objective of a mapping is the weighted sum of its objectives, or their weighted geometric mean; a mapping is valid where
    it fits at every density. Energy and cycles are weighted means, and break ties. A sum is ruled by the densest problem, a
    geometric mean asks for the same ratio everywhere.

    Attributes:
        problems: the problems; `problem` is the first.
        weights: ``(k,)``, positive, summing to one.
        model_evaluations: evaluations of the model: as many per mapping as there are problems.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        space: MapSpace,
        objective: str | Objective = "edp",
        *,
        weights: Sequence[float] | None = None,
        combine: str = "sum",
    ) -> None:
        """
        Args:
            space: of any of the problems; their mappings are the same.
            weights: one per problem, in any scale; equal by default.
            combine: ``sum`` or ``geomean``.

        Raises:
            SpecError: for no problem, problems of different shapes or architectures, weights that are not positive numbers, or an
                unknown combination.
        """
        if not problems:
            raise SpecError("a search over densities needs at least one problem")
        first = problems[0]
        for other in problems[1:]:
            if _without_densities(other.workload) != _without_densities(first.workload):
                raise SpecError(
                    f"'{other.workload.name}' is another Einsum than '{first.workload.name}'",
                    hint="problems scored together differ in densities only",
                )
            if other.architecture != first.architecture:
                raise SpecError(f"'{other.architecture.name}' is another architecture than '{first.architecture.name}'")
        if combine not in COMBINATIONS:
            raise SpecError(f"'{combine}' is no way to combine densities", hint=nearest(combine, COMBINATIONS))
        super().__init__(first, space, objective)
        self.problems = tuple(problems)
        self.combine = combine
        self.weights = _normalised(weights, len(problems))
        self.model_evaluations = 0
        self._evaluators = [BatchEvaluator(p) for p in problems]

    def evaluate_each(self, packed: PackedMappings) -> list[Outcome]:
        """The outcome at every density, in the order of `problems`."""
        n = len(packed)
        inside = np.asarray(self.space.violations(packed)) == 0
        legal = packed if inside.all() else packed.take(inside)
        outcomes = []
        for evaluator in self._evaluators:
            energy, cycles = np.full(n, np.nan), np.full(n, np.nan)
            status = np.full(n, OUTSIDE, np.int64)
            if inside.any():
                result = evaluator(legal)
                energy[inside], cycles[inside], status[inside] = result.energy_pj, result.cycles, result.status
            outcomes.append(Outcome(self.objective.value(energy, cycles), energy, cycles, status))
        self.model_evaluations += n * len(self._evaluators)
        return outcomes

    def evaluate(self, packed: PackedMappings) -> Outcome:
        """Judge a batch over all densities; a mapping counts as one evaluation, and `model_evaluations` counts each."""
        each = self.evaluate_each(packed)
        self.evaluations += len(packed)
        # The first reason not to fit.
        status = each[0].status.copy()
        for outcome in each[1:]:
            np.copyto(status, outcome.status, where=status == 0)
        energy = self._mean([o.energy_pj for o in each])
        cycles = self._mean([o.cycles for o in each])
        objective = self._combined(np.stack([o.objective for o in each]))
        bad = status != 0
        for column, missing in ((energy, np.nan), (cycles, np.nan), (objective, np.inf)):
            column[bad] = missing
        return Outcome(objective, energy, cycles, status)

    def _mean(self, columns: Sequence[Floats]) -> Floats:
        return np.asarray(np.tensordot(self.weights, np.stack(columns), 1))

    def _combined(self, values: Floats) -> Floats:
        if self.combine == "sum":
            return np.asarray(np.tensordot(self.weights, values, 1))
        with np.errstate(divide="ignore"):
            return np.asarray(np.exp(np.tensordot(self.weights, np.log(values), 1)))


def at_densities(
    workload: Einsum, tensor: str, densities: Sequence[float], *, distribution: Mapping[str, Any] | None = None
) -> list[Einsum]:
    """The Einsum with each density of one tensor; other tensors keep theirs.

    Args:
        distribution: what the density is the density of, as in a workload (``{distribution: fixed-structured}``); uniform by default.

    Raises:
        SpecError: for an unknown tensor, or a density outside 0..1.
    """
    workload.tensor(tensor)
    out = []
    for density in densities:
        if not 0 < density <= 1:
            raise SpecError(f"density {density} of '{tensor}' is not above 0 and at most 1")
        value: Any = {**distribution, "density": density} if distribution is not None else float(density)
        tensors = tuple(
            t.model_copy(update={"density": value}) if t.name == tensor else t for t in workload.tensors
        )  # fmt: skip
        out.append(workload.model_copy(update={"tensors": tensors}))
    return out


def multi_density(
    workload: Einsum,
    architecture: Architecture,
    space: MapSpace,
    tensor: str,
    *,
    densities: Sequence[float] = TRAINED,
    objective: str | Objective = "edp",
    weights: Sequence[float] | None = None,
    combine: str = "sum",
) -> MultiDensity:
    """The problem of mapping `workload` for all `densities` of one tensor at once.

    Raises:
        SpecError: as `at_densities` and `MultiDensity`.
    """
    problems = [lower(w, architecture) for w in at_densities(workload, tensor, densities)]
    return MultiDensity(problems, space, objective, weights=weights, combine=combine)


def _without_densities(workload: Einsum) -> Einsum:
    tensors = tuple(t.model_copy(update={"density": None}) for t in workload.tensors)
    return workload.model_copy(update={"tensors": tensors, "name": ""})


def _normalised(weights: Sequence[float] | None, count: int) -> Floats:
    given = [1.0] * count if weights is None else [float(w) for w in weights]
    if len(given) != count:
        raise SpecError(f"{len(given)} weights for {count} densities", hint="give one weight per density")
    if not all(math.isfinite(w) and w > 0 for w in given):
        raise SpecError(
            f"weights {given} are not all positive numbers", hint="leave out a density to give it no weight"
        )
    return np.asarray(given, np.float64) / sum(given)
