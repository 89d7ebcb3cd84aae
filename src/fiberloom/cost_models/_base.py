"""The contract of a cost model: what it is asked, what it answers, and what it has checked before it answers.

One mapping, several models (Jeong et al., *Union*, PACT'21: mappers and cost models meet in one abstraction). A model is a
pure function of a lowered `Problem` and a `Mapping`; it names the problems that it can't judge, with reasons.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping as ByName
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fiberloom.errors import UnsupportedError
from fiberloom.mapping.nest import Mapping
from fiberloom.model.lower import Problem

_SLACK = 1e-9
"""Relative room for the rounding of doubles in a check."""


@dataclass(frozen=True)
class Words:
    """Words that all instances of a level move of one tensor: read towards compute, filled from outside, updated from
    inside."""

    reads: float = 0.0
    fills: float = 0.0
    updates: float = 0.0

    @property
    def total(self) -> float:
        return self.reads + self.fills + self.updates


@dataclass(frozen=True)
class Check:
    """An invariant that held.

    Attributes:
        what: the quantity, e.g. ``reads of W at DRAM``.
        found: its value.
        relation: ``=`` or ``≥``.
        bound: what it equals, or is not less than.
        because: what the bound is, e.g. ``words that are used at all``.
    """

    what: str
    found: float
    relation: str
    bound: float
    because: str

    def __str__(self) -> str:
        return f"{self.what} {self.found:,.6g} {self.relation} {self.bound:,.6g} ({self.because})"


class Checks:
    """Collects checks while a model evaluates; a check that fails is a fault of the model and raises AssertionError."""

    def __init__(self) -> None:
        self._held: list[Check] = []

    def equal(self, what: str, found: float, bound: float, because: str) -> None:
        """Require ``found = bound``, exactly."""
        self._keep(Check(what, found, "=", bound, because), found == bound)

    def at_least(self, what: str, found: float, bound: float, because: str) -> None:
        """Require ``found ≥ bound``, up to the rounding of doubles."""
        self._keep(Check(what, found, "≥", bound, because), found >= bound * (1 - _SLACK))

    def _keep(self, check: Check, holds: bool) -> None:
        if not holds:
            raise AssertionError(f"does not hold: {check}")
        self._held.append(check)

    def held(self) -> tuple[Check, ...]:
        """All checks so far."""
        return tuple(self._held)


@dataclass(frozen=True)
class Cost:
    """What a model says that a mapping costs.

    Attributes:
        cycles, energy_pj: totals.
        cycles_by_component: cycles that each level and the compute ask for. In `sparse` and `roofline` everything overlaps
            and the largest decides; in `data-centric` they are the cycles that a level adds to the rest.
        energy_by_component_pj: parts of `energy_pj`.
        bottleneck: the component that sets the cycles.
        words: words moved, by level and tensor.
        needs_words: room that the model wants per instance, by level.
        checks: invariants that were asserted and held.
        notes: what a reader of the numbers should know.
    """

    model: str
    cycles: float
    energy_pj: float
    cycles_by_component: ByName[str, float]
    energy_by_component_pj: ByName[str, float]
    bottleneck: str
    words: ByName[str, ByName[str, Words]]
    needs_words: ByName[str, float] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def edp(self) -> float:
        """Energy–delay product in pJ · cycles."""
        return self.energy_pj * self.cycles

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {
            "cycles": self.cycles,
            "energy_pj": self.energy_pj,
            "edp_pj_cycles": self.edp,
            "bottleneck": self.bottleneck,
            "cycles_by_component": dict(self.cycles_by_component),
            "energy_by_component_pj": dict(self.energy_by_component_pj),
            "words": {
                level: {
                    name: {"reads": moved.reads, "fills": moved.fills, "updates": moved.updates}
                    for name, moved in tensors.items()
                }
                for level, tensors in self.words.items()
            },
            "needs_words": dict(self.needs_words),
            "checks": [
                {"what": c.what, "found": c.found, "relation": c.relation, "bound": c.bound, "because": c.because}
                for c in self.checks
            ],
            "notes": list(self.notes),
        }


class CostModel(ABC):
    """A cost model. Subclasses state `name` and `summary` and implement `supports` and `_cost`."""

    name: ClassVar[str]
    summary: ClassVar[str]

    @abstractmethod
    def supports(self, problem: Problem) -> tuple[str, ...]:
        """Why the model can't judge `problem`, one sentence each; empty when it can."""

    @abstractmethod
    def _cost(self, problem: Problem, mapping: Mapping) -> Cost:
        """The cost of a mapping of a supported problem."""

    def evaluate(self, problem: Problem, mapping: Mapping) -> Cost:
        """What `mapping` costs.

        Raises:
            UnsupportedError: naming the reasons that `supports` gives.
            MappingError: when the mapping does not fit the Einsum or the hardware.
        """
        reasons = self.supports(problem)
        if reasons:
            raise UnsupportedError(
                f"cost model '{self.name}' can't judge '{problem.workload}' on '{problem.architecture.name}': "
                + "; ".join(reasons),
                hint="cost model 'sparse' judges every problem",
            )
        return self._cost(problem, mapping)
