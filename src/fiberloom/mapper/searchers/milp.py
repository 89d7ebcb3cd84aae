"""One mapping by mixed-integer programming, without a search (CoSA, ISCA'21), solved by HiGHS."""

from __future__ import annotations

from importlib import import_module

import numpy as np

from fiberloom.errors import MissingExtraError, SpecError, nearest
from fiberloom.mapper.search import GenerationalSearcher, SearchProblem
from fiberloom.mapper.searchers.milp_model import Assignment, MappingProgram, Weights
from fiberloom.mapper.searchers.stationary import with_stationary_orders
from fiberloom.mapping.packed import PackedMappings


class MilpSearcher(GenerationalSearcher):
    """CoSA's formulation: every prime factor to one loop, and a loop order at one buffer, by a mixed-integer program.

    The program minimises a weighted sum of logarithms (utilisation, compute steps, traffic) that stands for the true
    objective, which it never sees. Its solution is proposed, then the best one with other factors, and so on; each with
    every combination of stationary loop orders at the levels whose order CoSA leaves open. Free keeps are kept. Solutions
    are the same on every machine as long as no time limit strikes.

    Hyper-parameters:
        level: name of the level whose loop order the program decides; None takes the outermost of finite capacity (CoSA:
            the global buffer).
        alternatives: solutions beyond the first (CoSA: 0).
        utilization, compute, traffic: weights of the objective (CoSA's released code: -0.1, 10, 1).
        seconds: time limit per solution; the best found until then is proposed.
        orders: most combinations of loop orders per solution (CoSA: 1).
    """

    name = "milp"
    summary = "one mapping by mixed-integer programming with HiGHS (CoSA)"

    def __init__(
        self,
        target: SearchProblem,
        rng: np.random.Generator,
        *,
        level: str | None = None,
        alternatives: int = 4,
        utilization: float = -0.1,
        compute: float = 10.0,
        traffic: float = 1.0,
        seconds: float = 20.0,
        orders: int = 81,
    ) -> None:
        super().__init__(target, rng)
        self.level, self.alternatives, self.seconds, self.orders = level, alternatives, seconds, orders
        self.utilization, self.compute, self.traffic = utilization, compute, traffic
        self.bounded("alternatives", 0)
        self.bounded("seconds", 1e-3)
        self.bounded("orders", 1)
        names = self.space.level_names
        if level is not None and level not in names:
            raise SpecError(f"there is no level '{level}' to order", hint=nearest(level, names))
        try:
            import_module("scipy.optimize")
        except ImportError:
            raise MissingExtraError("scipy", "search", "the mixed-integer mapper") from None
        capacity = target.problem.arrays["capacity"][0][: len(names)]
        self._keep = self.space.fixed_keep | self.space.free_keep
        bounded = [i for i in range(len(names)) if np.isfinite(capacity[i]) and self._keep[i].any()]
        self._ordered = names.index(level) if level is not None else bounded[-1] if bounded else len(names) - 1
        self._program: MappingProgram | None = None
        self._solutions = 0
        self.finished = "solved"

    def propose(self) -> PackedMappings | None:
        """The next solution, with the loop orders that CoSA leaves open."""
        if self._solutions > self.alternatives:
            return None
        solution = self._solve()
        if solution is None:
            if self._solutions == 0:
                self.finished = "no solution within the time limit"
            return None
        self._solutions += 1
        assert self._program is not None
        self._program.forbid(solution)
        one = self._packed(solution)
        relevant = (
            self.target.problem.arrays["is_relevant"][0][: len(self.space.tensors), : len(self.space.variables)] != 0
        )
        several = with_stationary_orders(
            one, self.space.orders, relevant, most=int(self.orders), fixed=(self._ordered,)
        )
        return self.space.repair(several)

    def _solve(self) -> Assignment | None:
        """The program's next solution; capacities are shared equally by the kept tensors, or not at all if that is too tight."""
        if self._program is not None:
            return self._program.solve(seconds=self.seconds)
        kept = self._keep.astype(float)
        for share in (kept / np.maximum(kept.sum(axis=1, keepdims=True), 1.0), kept):
            self._program = MappingProgram(
                self.target.problem,
                self.space,
                self._keep,
                level=self._ordered,
                capacity_share=share,
                weights=Weights(self.utilization, self.compute, self.traffic),
            )
            solution = self._program.solve(seconds=self.seconds)
            if solution is not None:
                return solution
        return None

    def _packed(self, solution: Assignment) -> PackedMappings:
        packed = self.space.sample(self.rng, 1)
        packed.temporal[0], packed.spatial[0] = solution.temporal, solution.spatial
        bits = 1 << np.arange(solution.on_x.shape[1])
        packed.on_x[0] = (solution.on_x * bits).sum(axis=1)
        packed.temporal_order[0, self._ordered] = solution.order
        packed.keep[0] = self._keep
        return self.space.repair(packed)
