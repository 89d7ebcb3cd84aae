"""One interface for every search: a problem that evaluates batches, and searchers that ask and tell.

A searcher proposes mappings (`Searcher.ask`) and hears how good they are (`Searcher.tell`); it never evaluates anything
itself, so every mapper spends the same currency. `fiberloom.mapper.driver.run` joins the two under a budget.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.hyper_parameters import Method, Methods
from fiberloom.mapper.objective import Objective, parse_objective
from fiberloom.mapping.packed import ROWS, PackedMappings
from fiberloom.mapping.space import MapSpace
from fiberloom.model.evaluate import BatchEvaluator
from fiberloom.model.lower import Problem

Floats = NDArray[np.float64]

OUTSIDE: Final = 99
"""Status of a mapping that the space does not contain (no status of the kernel)."""


@dataclass(frozen=True)
class Outcome:
    """What became of a batch, one entry per mapping.

    Attributes:
        objective: lower is better; infinite where the mapping is not valid.
        energy_pj, cycles: NaN where the mapping is not valid.
        status: 0 where valid; `OUTSIDE` where constraints or fan-outs are violated; else the model's reason
            (see `fiberloom.model.evaluate.explain`).
    """

    objective: Floats
    energy_pj: Floats
    cycles: Floats
    status: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.objective)

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Mappings of the space that fit."""
        return np.asarray(self.status == 0)

    def take(self, rows: Any) -> Outcome:
        """The entries `rows`: indices, a slice or a mask."""
        return Outcome(self.objective[rows], self.energy_pj[rows], self.cycles[rows], self.status[rows])

    @staticmethod
    def concatenate(batches: Sequence[Outcome]) -> Outcome:
        """All entries of several batches, in order."""
        columns = ("objective", "energy_pj", "cycles", "status")
        return Outcome(*(np.concatenate([getattr(b, c) for b in batches]) for c in columns))


class SearchProblem:
    """What is searched: a lowered problem, the map space, and the objective.

    Attributes:
        problem: an Einsum on an architecture, lowered.
        space: where mappings come from; its constraints are the search's.
        objective: what is minimised.
        evaluations: mappings judged so far, valid or not.
    """

    def __init__(self, problem: Problem, space: MapSpace, objective: str | Objective = "edp") -> None:
        self.problem = problem
        self.space = space
        self.objective = parse_objective(objective)
        self.evaluations = 0
        self._evaluate = BatchEvaluator(problem)

    def prepare(self) -> None:
        """Load the compiled kernel (compile it, the first time on a machine), so that no budget pays for it."""
        self._evaluate(self.space.sample(np.random.default_rng(0), 1))

    def evaluate(self, packed: PackedMappings) -> Outcome:
        """Judge a batch; every mapping counts as one evaluation, also those that turn out invalid.

        Mappings outside the space are not evaluated: they get `OUTSIDE`.
        """
        n = len(packed)
        self.evaluations += n
        inside = np.asarray(self.space.violations(packed)) == 0
        energy, cycles = np.full(n, np.nan), np.full(n, np.nan)
        status = np.full(n, OUTSIDE, np.int64)
        if inside.any():
            result = self._evaluate(packed if inside.all() else packed.take(inside))
            energy[inside], cycles[inside], status[inside] = result.energy_pj, result.cycles, result.status
        return Outcome(self.objective.value(energy, cycles), energy, cycles, status)


class Searcher(Method, ABC):
    """Proposes mappings and learns from what becomes of them.

    A subclass is one published mapper: `name` and `summary` say which, the keyword arguments of its constructor are the
    paper's hyper-parameters with the paper's defaults, each kept as an attribute of the same name. All randomness
    comes from `rng`, so a seed and the hyper-parameters determine every trial. Modules of searchers import optional
    packages inside the constructor, so that listing searchers loads none of them.
    """

    given = 2
    exhaustive: ClassVar[bool] = False
    """Whether it has proposed every mapping of the space when it is exhausted."""

    finished: str = "exhausted"
    """Why `ask` had nothing more to propose."""

    def __init__(self, target: SearchProblem, rng: np.random.Generator) -> None:
        self.target = target
        self.space = target.space
        self.rng = rng

    def prepare(self) -> None:
        """Offline work before the search, such as training; its time is reported apart."""

    @abstractmethod
    def ask(self, n: int) -> PackedMappings | None:
        """At most `n` and at least one mapping to judge, or None when there is nothing more to propose.

        Everything that was asked is told before the next call.
        """

    @abstractmethod
    def tell(self, packed: PackedMappings, outcome: Outcome) -> None:
        """What became of the mappings of the last `ask`, in order."""


def same_mappings(a: PackedMappings, b: PackedMappings) -> bool:
    """Whether two batches hold the same mappings, gene for gene."""
    return len(a) == len(b) and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ROWS)


class GenerationalSearcher(Searcher):
    """A searcher that thinks in generations of its own size; however `ask` cuts them, its trials are the same.

    Subclasses implement `propose` and `learn`.
    """

    def __init__(self, target: SearchProblem, rng: np.random.Generator) -> None:
        super().__init__(target, rng)
        self._generation: PackedMappings | None = None
        self._asked = 0
        self._told: list[tuple[PackedMappings, Outcome]] = []

    @abstractmethod
    def propose(self) -> PackedMappings | None:
        """The next generation, or None when there is nothing more to propose."""

    def learn(self, packed: PackedMappings, outcome: Outcome) -> None:
        """What became of a whole generation, in the order proposed.

        The mappings are those proposed, except after `run` resumed a run that this searcher can't repeat.
        """

    def ask(self, n: int) -> PackedMappings | None:
        """The next mappings of the generation; proposes a new one when all are told."""
        while self._generation is None or not len(self._generation):
            self._generation, self._asked = self.propose(), 0
            if self._generation is None:
                return None
        first, self._asked = self._asked, min(self._asked + n, len(self._generation))
        if first == 0 and self._asked == len(self._generation):
            return self._generation
        return self._generation.take(slice(first, self._asked))

    def tell(self, packed: PackedMappings, outcome: Outcome) -> None:
        """Kept until the whole generation is told."""
        self._told.append((packed, outcome))
        if self._generation is not None and self._asked < len(self._generation):
            return
        told, self._told, self._generation = self._told, [], None
        if len(told) == 1:
            self.learn(*told[0])
        else:
            self.learn(PackedMappings.concatenate([p for p, _ in told]), Outcome.concatenate([o for _, o in told]))


def searchers() -> Methods[Searcher]:
    """Every searcher by its name; iterating over names loads no module."""
    from fiberloom.mapper.searchers import SEARCHERS

    return Methods("fiberloom.mapper.searchers", SEARCHERS)


def make(name: str, target: SearchProblem, rng: np.random.Generator | int, **hyper: Any) -> Searcher:
    """The searcher `name` for `target`; `rng` may be a seed.

    Raises:
        SpecError: for a name or a hyper-parameter that does not exist (with the nearest one), or a value out of range.
        MissingExtraError: when it needs a package that is not installed.
    """
    chosen = searchers().chosen(name, hyper, "searcher")
    generator = np.random.default_rng(rng) if isinstance(rng, int) else rng
    return chosen(target, generator, **hyper)
