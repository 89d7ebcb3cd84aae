"""A lower bound on the objective that no search is needed for: effectual computations over all lanes, and their energy.

The compute roof of the roofline model (Williams, Waterman, Patterson, CACM 2009), for the widest mapping there can be. It is
what samplers are measured against when nothing better is proved; the exact mapper bounds far more tightly.
"""

from __future__ import annotations

import math

import numpy as np

from fiberloom.architecture.features import without_features
from fiberloom.cost_models import RooflineModel
from fiberloom.mapper.certificate import Certificate
from fiberloom.mapper.driver import SearchResult
from fiberloom.mapper.search import Searcher, SearchProblem


def floor(target: SearchProblem) -> float | None:
    """A value of the objective that no mapping of any space undercuts; None where the roofline model can't judge the problem.

    Sparse designs are taken to leave out every computation with a zero operand, operands being independent.
    """
    problem = target.problem
    if RooflineModel().supports(problem):
        return None
    arrays, unit = problem.arrays[0], problem.architecture.compute
    plain = without_features(problem.architecture)
    dense = plain.levels == problem.architecture.levels and plain.compute == unit
    densities = dict(zip(problem.tensors, (float(d) for d in arrays["element_density"]), strict=False))
    share = 1.0 if dense else math.prod(densities[t.name] for t in problem.workload.inputs)
    least = problem.workload.macs * share
    energy = least * float(arrays["compute_energy"][0])
    return float(np.asarray(target.objective.value(energy, least / unit.instances)))


def certified(target: SearchProblem, searcher: Searcher, result: SearchResult) -> Certificate:
    """What is known of the answer of a searcher: proved where every mapping was judged or nothing can be lower, else only `floor`."""
    exhausted = searcher.exhaustive and result.stopped == "exhausted"
    bound = result.value if exhausted else floor(target) or 0.0
    return Certificate.of(result.value, bound, target.objective.name, searched=False)
