"""Small map spaces that the tests of searches share: large enough to search, small enough to enumerate."""

from __future__ import annotations

from functools import cache

from fiberloom.architecture.levels import Architecture
from fiberloom.input.specification import parse
from fiberloom.mapper.search import SearchProblem
from fiberloom.mapping.constraints import Constraints, LevelConstraints
from fiberloom.mapping.space import MapSpace
from fiberloom.model.lower import Problem, lower
from fiberloom.workload.einsum import Einsum

GEMM = """\
fiberloom: 1
workload:
  name: gemm
  einsum: Z[m,n] = A[m,k] * B[k,n]
  shape: {m: 8, n: 4, k: 4}
architecture:
  name: small
  levels:
    - {name: DRAM, component: dram, width_bits: 64, keep: [A, B, Z]}
    - {name: Buffer, depth: 24, width_bits: 64, read_bandwidth: 4, keep: [A, B, Z]}
    - {name: Registers, component: regfile, mesh: 2x2, depth: 6, keep: [A, B, Z]}
  compute: {name: MAC, mesh: 2x2}
mapping:
  - level: DRAM
    temporal: m=8 n=4 k=4
"""


@cache
def specification(text: str = GEMM) -> tuple[Einsum, Architecture]:
    """The Einsum and the architecture of a specification."""
    spec = parse(text)
    return spec.workload, spec.architecture


@cache
def lowered(text: str = GEMM) -> Problem:
    """The same, lowered once per test run."""
    return lower(*specification(text))


def gemm_problem(objective: str = "edp", *, text: str = GEMM) -> SearchProblem:
    """An 8 x 4 x 4 matrix product on three levels with a 2 x 2 array, the buffer free to bypass A: some 200,000 points."""
    problem = lowered(text)
    constraints = Constraints(levels={"Buffer": LevelConstraints(free=("A",))})
    return SearchProblem(problem, MapSpace(problem.workload, problem.architecture, constraints), objective)
