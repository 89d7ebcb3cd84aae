"""`run_network`: a network on designs, from layers to totals."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fiberloom.architecture.levels import Architecture
from fiberloom.errors import FiberloomError, SpecError, nearest
from fiberloom.network_evaluation.assembly import Placed, assemble
from fiberloom.network_evaluation.cache import ResultCache, default_folder
from fiberloom.network_evaluation.cases import Case, Widths, fitted, layers_of
from fiberloom.network_evaluation.designs import Bound, Design, read_designs
from fiberloom.network_evaluation.mapping_search import DATAFLOW, EXACT, MappingJob, seen_by
from fiberloom.network_evaluation.result import NetworkResult
from fiberloom.network_evaluation.workers import run_jobs
from fiberloom.workload.network import Network

SECONDS: Final = 30.0
"""Most time for the exact mapper per layer, unless said otherwise."""


@dataclass(frozen=True)
class Progress:
    """Where an evaluation stands.

    Attributes:
        done, searches: mappings searched so far, and to be searched in all; cached ones are in neither.
        cached: different layers whose answer was known.
        running: what is being searched, ``design: layer``.
    """

    done: int
    searches: int
    cached: int
    running: tuple[str, ...]


@dataclass(frozen=True)
class _Search:
    """How mappings are searched."""

    objective: str
    mapper: str
    seconds: float | None
    evaluations: int | None
    seed: int
    hyper_parameters: Mapping[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """For the result."""
        sampling = self.mapper not in (EXACT, DATAFLOW)
        return {
            "objective": self.objective,
            "mapper": {
                "name": self.mapper,
                "seconds_per_layer": self.seconds,
                "evaluations": self.evaluations,
                "seed": self.seed if sampling else None,
                "hyper_parameters": dict(self.hyper_parameters),
            },
        }

    def job(self, bound: Bound, design: Design) -> MappingJob:
        return MappingJob(
            einsum=seen_by(bound.architecture, bound.einsum),
            architecture=bound.architecture,
            constraints=bound.constraints,
            objective=self.objective,
            mapper=self.mapper,
            seconds=self.seconds,
            evaluations=self.evaluations,
            seed=self.seed,
            hyper_parameters=self.hyper_parameters,
            design=design.info,
        )


def run_network(
    network: Network | str | Sequence[Case],
    architectures: Sequence[str | Path | Architecture | Design],
    *,
    objective: str = "edp",
    mapper: str = EXACT,
    seconds: float | None = None,
    evaluations: int | None = None,
    seed: int = 0,
    hyper_parameters: Mapping[str, Any] | None = None,
    widths: str | Widths = Widths.FIT,
    keep_on_chip: bool = False,
    fuse: bool = False,
    jobs: int | None = None,
    cache: bool | str | Path = True,
    progress: Callable[[Progress], None] | None = None,
) -> NetworkResult:
    """Cycles, energy, traffic and bottlenecks of a network on one or several designs.

    Every different layer is mapped once per design, on worker processes; answers are kept on disk, so that a second run is
    immediate and an interrupted one goes on.

    Args:
        network: a network, a name or file that `fiberloom.workload.importers.read_network` takes, or several cases of one.
        architectures: names of the library, YAML files, or architectures.
        objective: what every layer's mapping minimises (`fiberloom.mapper.objective.parse_objective`).
        mapper: ``exact``, ``dataflow`` (no search: the design's own) or a searcher's name.
        seconds: most time per layer; None: 30 s for the exact mapper, 10 s for a sampling one without a budget.
        evaluations, seed, hyper_parameters: of a sampling mapper.
        widths: ``fit``, ``network`` or ``design`` (`Widths`).
        keep_on_chip: hold intermediates on chip where they fit (`fiberloom.network_evaluation.chip_residency`).
        fuse: compute element-wise operators as the output of an Einsum leaves the array (`fiberloom.network_evaluation.fusion`).
        jobs: worker processes; None: one per core; 0: search in this process.
        cache: True for the user's cache folder, a folder, or False for none.
        progress: called when a search begins or ends.

    Raises:
        SpecError: for a network, design, objective or mapper that does not exist or makes no sense. A layer that a design can't
            take is no error: the result lists it with the reason.
    """
    cases = _cases(network)
    designs = read_designs(list(architectures))
    search = _search(objective, mapper, seconds, evaluations, seed, hyper_parameters or {})
    chosen_widths = _widths(widths)
    if jobs is not None and jobs < 0:
        raise SpecError(f"{jobs} jobs", hint="0 searches in this process; leave it out for one process per core")
    store = ResultCache(_folder(cache))
    placed = _place(cases, designs, chosen_widths, search)
    _answer(placed, search, store, (os.cpu_count() or 1) if jobs is None else jobs, progress or (lambda news: None))
    return assemble(cases, designs, placed, search.facts(), chosen_widths, store, keep_on_chip=keep_on_chip, fuse=fuse)


def _cases(network: Network | str | Sequence[Case]) -> tuple[Case, ...]:
    if isinstance(network, str):
        from fiberloom.workload.importers import read_network

        network = read_network(network)
    if isinstance(network, Network):
        return (Case("all", network),)
    if not network:
        raise SpecError("no network is given")
    return tuple(network)


def _search(
    objective: str,
    mapper: str,
    seconds: float | None,
    evaluations: int | None,
    seed: int,
    hyper_parameters: Mapping[str, Any],
) -> _Search:
    from fiberloom.mapper.objective import parse_objective
    from fiberloom.mapper.searchers import SEARCHERS

    known = (EXACT, DATAFLOW, *SEARCHERS)
    if mapper not in known:
        raise SpecError(f"there is no mapper '{mapper}'", hint=nearest(mapper, known))
    for name, budget in (("seconds", seconds), ("evaluations", evaluations)):
        if budget is not None and not 0 < budget < float("inf"):
            raise SpecError(f"{name} is {budget:g}", hint="a budget is a positive number")
    if mapper in (EXACT, DATAFLOW) and (evaluations is not None or hyper_parameters):
        raise SpecError("evaluations and hyper-parameters are for sampling mappers", hint="leave them out, or name one")
    if seconds is None and mapper == EXACT:
        seconds = SECONDS
    return _Search(parse_objective(objective).name, mapper, seconds, evaluations, seed, dict(hyper_parameters))


def _widths(widths: str | Widths) -> Widths:
    try:
        return Widths(widths)
    except ValueError:
        raise SpecError(
            f"'{widths}' is no choice of widths", hint=nearest(str(widths), [w.value for w in Widths])
        ) from None


def _folder(cache: bool | str | Path) -> Path | None:
    if cache is False:
        return None
    return default_folder() if cache is True else Path(cache)


def _place(cases: Sequence[Case], designs: Sequence[Design], widths: Widths, search: _Search) -> list[Placed]:
    """Every layer of every case on every design, with the key of its search; what a design can't take has its answer already."""
    placed = []
    for case in cases:
        for layer in layers_of(case.network):
            for design in designs:
                einsum = fitted(layer.einsum, widths, design.architecture.compute.word_bits)
                try:
                    bound = design.bound(einsum)
                    key = search.job(bound, design).key()
                    placed.append(Placed(case, design, layer, bound, key))
                except FiberloomError as error:
                    refused = {"status": "not mappable", "reason": error.problem, "hint": error.hint, "seconds": 0.0}
                    placed.append(Placed(case, design, layer, None, None, refused))
    return placed


def _answer(
    placed: Sequence[Placed],
    search: _Search,
    store: ResultCache,
    workers: int,
    progress: Callable[[Progress], None],
) -> None:
    """Give every placed layer its answer: from the store, or of a search."""
    by_key: dict[str, list[Placed]] = {}
    for place in placed:
        if place.key is not None:
            by_key.setdefault(place.key, []).append(place)
    todo: list[tuple[str, MappingJob]] = []
    for key, places in by_key.items():
        bound = places[0].bound
        assert bound is not None
        job = search.job(bound, places[0].design)
        known = store.get(key)
        if known is not None and job.settled_by(known):
            for place in places:
                place.answer, place.cached = known, True
        else:
            todo.append((key, job))
    todo.sort(key=lambda entry: -_difficulty(entry[1]))
    names = [f"{by_key[key][0].design.name}: {by_key[key][0].layer.name}" for key, _ in todo]
    running: dict[int, str] = {}
    done = 0

    def say() -> None:
        progress(Progress(done, len(todo), len(by_key) - len(todo), tuple(running.values())))

    def begin(index: int) -> None:
        running[index] = names[index]
        say()

    def end(index: int, answer: dict[str, Any]) -> None:
        nonlocal done
        key, _ = todo[index]
        for place in by_key[key]:
            place.answer = answer
        if not answer.get("interrupted"):
            store.put(key, answer)
        running.pop(index, None)
        done += 1
        say()

    say()
    run_jobs([job for _, job in todo], min(workers, len(todo)), started=begin, done=end)


def _difficulty(job: MappingJob) -> float:
    """A guess of how long a search takes, so that long ones begin first: tile shapes times levels, more with sparse features."""
    shapes = 1.0
    for bound in job.einsum.shape.values():
        shapes *= sum(1 for d in range(1, min(bound, 4096) + 1) if bound % d == 0)
    features = sum(len(level.formats) + len(level.optimizations) for level in job.architecture.levels)
    return shapes * len(job.architecture.levels) * (1 + features)
