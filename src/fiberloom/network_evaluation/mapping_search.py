"""One layer on one design: the search of its mapping, and the account of what was found. Runs in worker processes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fiberloom.architecture.features import without_features
from fiberloom.architecture.levels import Architecture
from fiberloom.architecture.library.design import DesignInfo
from fiberloom.architecture.sparse import SafKind
from fiberloom.errors import FiberloomError, MappingError, UnsupportedError
from fiberloom.mapping.constraints import Constraints
from fiberloom.network_evaluation.account import account, number
from fiberloom.network_evaluation.fingerprint import content_hash, file_hash
from fiberloom.workload.einsum import Einsum

if TYPE_CHECKING:
    from fiberloom.mapper.certificate import Certificate
    from fiberloom.mapper.search import SearchProblem
    from fiberloom.mapping.nest import Mapping as LoopNest

EXACT: Final = "exact"
"""The exact mapper's name; the others are `fiberloom.mapper.search.searchers`."""

DATAFLOW: Final = "dataflow"
"""No search: the mapping that the design's own dataflow gives."""

SAMPLING_SECONDS: Final = 10.0
"""Budget of a sampling mapper that is given none, per layer."""

EMPTY_SECONDS: Final = 2.0
"""Of it, where the exact mapper went to its end and found nothing: most likely there is nothing."""

STAND_BY: Final = "genetic"
"""The sampling mapper that goes on where the exact one finds nothing in its time, or does not take the problem."""


@dataclass(frozen=True)
class MappingJob:
    """What is searched for one layer on one design.

    Attributes:
        einsum, architecture, constraints: under the same names.
        objective: as `fiberloom.mapper.objective.parse_objective` reads it.
        mapper: ``exact``, ``dataflow`` or a searcher's name.
        seconds: most time of the search; None: until it ends by itself (sampling mappers without a budget: 10 s).
        memory_mb: most memory for the exact mapper's labels.
        evaluations, seed, hyper_parameters: of a sampling mapper.
        design: whose dataflow is the mapping to beat; None for an architecture that has none.
    """

    einsum: Einsum
    architecture: Architecture
    constraints: Constraints = field(default_factory=Constraints)
    objective: str = "edp"
    mapper: str = EXACT
    seconds: float | None = None
    memory_mb: float = 2000.0
    evaluations: int | None = None
    seed: int = 0
    hyper_parameters: Mapping[str, Any] = field(default_factory=dict)
    design: DesignInfo | None = None

    def key(self) -> str:
        """Hash of everything that the answer depends on, names and budgets of time and memory apart."""
        einsum, architecture = self.einsum, self.architecture.model_dump(mode="json")
        for prose in ("name", "description", "sources"):
            del architecture[prose]
        return content_hash(
            {
                "shape": list(einsum.shape.items()),
                "tensors": [t.model_dump(mode="json") for t in einsum.tensors],
                "files": [_file(t.density) for t in einsum.tensors],
                "architecture": architecture,
                "constraints": self.constraints.model_dump(mode="json", exclude={"where"}),
                "objective": self.objective,
                "mapper": self.mapper,
                "sampling": None
                if self.mapper in (EXACT, DATAFLOW)
                else [self.evaluations, self.seed, dict(self.hyper_parameters)],
                "dataflow": None
                if self.design is None
                else [list(self.design.operands.items()), self.design.output, repr(self.design.dataflow)],
            }
        )

    def settled_by(self, answer: Mapping[str, Any]) -> bool:
        """Whether an answer found under other budgets serves: it is proved, or its budgets were no smaller."""
        if answer.get("interrupted"):
            return False
        if answer.get("certificate", {}).get("status") == "optimal" or answer.get("certain"):
            return True
        given = answer.get("budget", {})
        return _at_least(given.get("seconds", 0.0), self.seconds) and _at_least(
            given.get("memory_mb", 0.0), self.memory_mb
        )


def _at_least(given: float | None, wanted: float | None) -> bool:
    return given is None or (wanted is not None and given >= wanted)


def _file(density: Any) -> str | None:
    if not isinstance(density, Mapping) or not isinstance(density.get("file"), (str, Path)):
        return None
    return file_hash(Path(density["file"]).expanduser())


def seen_by(architecture: Architecture, einsum: Einsum) -> Einsum:
    """`einsum` with densities only where the hardware's sparse features can tell them from dense.

    A density matters to a tensor's own format, to what the tensor leads, to skipping by its position, and to compute that gates or
    skips; nothing else in the model reads it. Layers that differ only elsewhere are mapped once.
    """
    names: set[str] = set()
    compute = architecture.compute
    if compute.gating or compute.skipping:
        names |= {t.name for t in einsum.inputs}
    for level in architecture.levels:
        names |= set(level.formats)
        for entry in level.optimizations:
            for option in entry.options:
                names |= set(option.leaders)
                if entry.kind is SafKind.POSITION_SKIPPING:
                    names.add(option.follower)
    tensors = tuple(t if t.name in names else t.model_copy(update={"density": None}) for t in einsum.tensors)
    return einsum.model_copy(update={"tensors": tensors})


def solve(job: MappingJob) -> dict[str, Any]:
    """The best mapping found and its account, as plain data; what stands in the way where there is none.

    Returns:
        ``status`` is ``mapped`` or ``not mappable`` (then with ``reason`` and ``hint``); `certain` says that a larger budget
        would not change it.
    """
    begun = time.perf_counter()
    try:
        answer = _solved(job)
    except FiberloomError as error:
        answer = {
            "status": "not mappable",
            "reason": error.problem,
            "hint": error.hint,
            "certain": not isinstance(error, MappingError),
        }
    answer["seconds"] = round(time.perf_counter() - begun, 3)
    answer["budget"] = {"seconds": job.seconds, "memory_mb": job.memory_mb}
    return answer


def _solved(job: MappingJob) -> dict[str, Any]:
    from fiberloom.mapper.emptiness import why_nothing_is_valid
    from fiberloom.mapper.objective import parse_objective
    from fiberloom.mapper.search import SearchProblem
    from fiberloom.mapping.space import MapSpace
    from fiberloom.model.evaluate import evaluate_problem
    from fiberloom.model.lower import lower

    job.constraints.check(job.einsum, job.architecture)
    problem = lower(job.einsum, job.architecture)
    space = MapSpace(job.einsum, job.architecture, job.constraints)
    target = SearchProblem(problem, space, parse_objective(job.objective))
    failure: FiberloomError | None = None
    try:
        mapping, certificate, facts = _WAYS.get(job.mapper, _sampled)(job, target)
    except (MappingError, UnsupportedError) as error:
        if job.mapper != EXACT:
            raise
        failure = error
        seconds = min(job.seconds or SAMPLING_SECONDS, SAMPLING_SECONDS if error.hint is not None else EMPTY_SECONDS)
        mapping, certificate, facts = _sampled(replace(job, mapper=STAND_BY, seconds=seconds), target)
        facts["instead_of_exact"] = error.problem
    if certificate is None or certificate.status != "optimal":
        mapping, certificate, facts = _or_dataflow(job, target, mapping, certificate, facts)
    if mapping is None or certificate is None:
        raise failure if failure is not None and failure.hint is not None else why_nothing_is_valid(target)
    evaluation = evaluate_problem(problem, mapping)
    return {
        "status": "mapped",
        **account(problem, evaluation),
        "mapping": mapping.model_dump(mode="json", exclude_defaults=True)["levels"],
        "certificate": certificate.to_dict(),
        "search": {"mapper": job.mapper, **facts},
        "dense": _dense(job, mapping),
    }


def _exact(job: MappingJob, target: SearchProblem) -> tuple[LoopNest, Certificate, dict[str, Any]]:
    from fiberloom.mapper.certificate import exact_ending
    from fiberloom.mapper.exact import find_optimum

    optimum = find_optimum(target.problem, target.space, target.objective, seconds=job.seconds, memory_mb=job.memory_mb)
    stopped = exact_ending(optimum.certificate, optimum.statistics)
    costs = optimum.energy_pj, optimum.cycles
    best = target.objective.best(*costs) or 0
    return optimum.mappings[best], optimum.certificate, {"stopped": stopped, "found_by": EXACT}


def _own(job: MappingJob, target: SearchProblem) -> tuple[LoopNest | None, Certificate | None, dict[str, Any]]:
    """The dataflow's mapping, which `_or_dataflow` fills in."""
    if job.design is None:
        raise UnsupportedError("the architecture has no dataflow of its own", hint="name a mapper, such as exact")
    if job.constraints.levels:
        raise UnsupportedError("a dataflow beside constraints", hint="leave the constraints out, or name a mapper")
    return None, None, {"stopped": DATAFLOW, "found_by": DATAFLOW}


def _sampled(job: MappingJob, target: SearchProblem) -> tuple[LoopNest | None, Certificate | None, dict[str, Any]]:
    from fiberloom.mapper.driver import run
    from fiberloom.mapper.floor import certified
    from fiberloom.mapper.search import make

    seconds = job.seconds
    if seconds is None and job.evaluations is None:
        seconds = SAMPLING_SECONDS
    searcher = make(job.mapper, target, job.seed, **job.hyper_parameters)
    result = run(searcher, target, evaluations=job.evaluations, seconds=seconds, seed=job.seed)
    facts = {"stopped": result.stopped, "found_by": job.mapper, "evaluations": result.evaluations}
    if result.best is None:
        return None, None, facts
    return result.best, certified(target, searcher, result), facts


_WAYS: Final = {EXACT: _exact, DATAFLOW: _own}
"""How a mapper finds a mapping, where it is no searcher."""


def _or_dataflow(
    job: MappingJob,
    target: SearchProblem,
    mapping: LoopNest | None,
    certificate: Certificate | None,
    facts: dict[str, Any],
) -> tuple[LoopNest | None, Certificate | None, dict[str, Any]]:
    """What was found, or the mapping of the design's own dataflow where that is better."""
    from fiberloom.mapper.certificate import Certificate
    from fiberloom.model.evaluate import evaluate_problem

    if job.design is None or job.constraints.levels:
        return mapping, certificate, facts
    from fiberloom.architecture.library import plan_mapping

    try:
        own = plan_mapping(job.design, job.einsum).mapping
        cost = evaluate_problem(target.problem, own)
        if mapping is not None:
            found = evaluate_problem(target.problem, mapping)
            if not target.objective.beats(cost.energy_pj, cost.cycles, found.energy_pj, found.cycles):
                return mapping, certificate, facts
    except FiberloomError:
        return mapping, certificate, facts
    value = float(target.objective.value(cost.energy_pj, cost.cycles))
    bound = certificate.lower_bound if certificate is not None else 0.0
    searched = certificate is not None and certificate.status != "none"
    made = Certificate.of(value, bound, target.objective.name, searched=searched)
    return own, made, {**facts, "found_by": "dataflow of the design"}


def _dense(job: MappingJob, mapping: LoopNest) -> dict[str, Any] | None:
    """The same mapping on the same hardware without formats, gating and skipping, with dense tensors."""
    from fiberloom.model.evaluate import evaluate

    plain = without_features(job.architecture)
    tensors = tuple(t.model_copy(update={"density": None}) for t in job.einsum.tensors)
    try:
        dense = evaluate(job.einsum.model_copy(update={"tensors": tensors}), plain, mapping, check_fit=False)
    except FiberloomError:
        return None
    # Skipping in space lets a mapping spread more points than there are lanes; dense ones would take turns.
    least = job.einsum.macs / job.architecture.compute.instances
    return {
        "cycles": number(max(dense.cycles, least)),
        "energy_pj": number(dense.energy_pj),
        "fits": not any("does not fit" in warning for warning in dense.warnings),
        "energy_by_component_pj": {k: number(v) for k, v in dense.energy_by_component_pj.items()},
        "cycles_by_component": {
            **{level.name: number(level.cycles) for level in dense.levels},
            dense.compute.name: number(max(dense.compute.cycles, least)),
        },
    }
