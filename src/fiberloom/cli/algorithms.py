"""``fiberloom algorithms``: one Einsum computed in several ways, and who wins where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fiberloom.cli.files import AsJson, placed, read_files
from fiberloom.cli.output import print_all, print_json

if TYPE_CHECKING:
    from fiberloom.architecture.levels import Architecture
    from fiberloom.cost_models import CostModel
    from fiberloom.cost_models.algorithms import FindMapping
    from fiberloom.mapping.nest import Mapping
    from fiberloom.model.lower import Problem
    from fiberloom.report.cost_models import Contest
    from fiberloom.workload.einsum import Einsum

_WAYS = ("optimum", "dataflow")


def algorithms(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="A workload, and an architecture unless --design names one.")
    ],
    design: Annotated[
        list[str] | None,
        typer.Option(
            "--design", metavar="NAME", help="A design of the library, without its sparse features; repeatable."
        ),
    ] = None,
    objective: Annotated[
        str, typer.Option("--objective", help="Who wins, and what mappings are sought for: cycles | energy | edp.")
    ] = "edp",
    mapping: Annotated[
        str,
        typer.Option(
            "--mapping",
            help="Each step's mapping: the proven optimum, or what the design's dataflow gives: optimum | dataflow.",
        ),
    ] = "optimum",
    rigid: Annotated[
        bool,
        typer.Option("--rigid/--flexible", help="Each axis of a fan-out runs over one index only, or over any number."),
    ] = False,
    time: Annotated[
        float | None,
        typer.Option("--time", metavar="SECONDS", help="Most time for one search; it then says how far off it may be."),
    ] = None,
    model: Annotated[str, typer.Option("--model", help="The cost model that judges.", metavar="NAME")] = "sparse",
    json: AsJson = False,
) -> None:
    """Compare algorithms: a contraction natively and as TTGT, a convolution directly and by im2col."""
    from fiberloom import cost_models
    from fiberloom.cost_models.algorithms import OBJECTIVES
    from fiberloom.errors import SpecError, nearest
    from fiberloom.report.cost_models import algorithms_dict, algorithms_report

    for given, known, what in ((objective, OBJECTIVES, "objective"), (mapping, _WAYS, "way to a mapping")):
        if given not in known:
            raise SpecError(f"no {what} '{given}'", hint=nearest(given, known))
    if mapping == "dataflow" and (rigid or not design):
        raise SpecError(
            "a dataflow is known for designs of the library only, and is what it is",
            hint="add --design NAME; leave out --rigid",
        )
    judge = cost_models.cost_model(model)
    specification = read_files(files)
    if specification.workload is None or (specification.architecture is None and not design):
        missing = "workload" if specification.workload is None else "architecture"
        raise SpecError(f"no {missing} in {' '.join(map(str, files))}", hint="add it, or name a design with --design")
    optimum = _Optimum(objective, rigid, time)
    with placed(files):
        contests = [
            _contest(specification.workload, place, judge, objective, rigid)
            for place in _places(specification.architecture, design or [], mapping, optimum)
        ]
    if json:
        print_json(algorithms_dict(contests, objective, optimum.gaps))
        return
    print_all(algorithms_report(contests, objective, optimum.gaps))


@dataclass(frozen=True)
class _Place:
    """A design to compare algorithms on.

    Attributes:
        build: its architecture under an Einsum's names.
        find: how mappings are found there.
    """

    name: str
    build: Callable[[Einsum], Architecture]
    find: FindMapping


def _places(architecture: Architecture | None, designs: list[str], mapping: str, optimum: _Optimum) -> Iterator[_Place]:
    from fiberloom.architecture import library

    if architecture is not None and not designs:
        given = architecture
        yield _Place(given.name, lambda einsum: given, optimum)
    for design in designs:
        name = library.describe(design).name
        yield _Place(name, partial(_plain, name), partial(_grown, name) if mapping == "dataflow" else optimum)


def _plain(name: str, workload: Einsum) -> Architecture:
    from fiberloom.architecture import library
    from fiberloom.architecture.features import without_features

    return without_features(library.load(name, workload))


def _grown(name: str, problem: Problem) -> Mapping:
    """What the design's own dataflow makes of the Einsum."""
    from fiberloom.architecture import library

    return library.plan_mapping(name, problem.workload, features=False).mapping


class _Optimum:
    """The best mapping of all that a design allows; `gaps` holds what is not proved of any."""

    def __init__(self, objective: str, rigid: bool, seconds: float | None) -> None:
        self.objective, self.rigid, self.seconds = objective, rigid, seconds
        self.gaps: list[float] = []

    def __call__(self, problem: Problem) -> Mapping:
        from fiberloom.cost_models.rigid_axes import one_index_per_axis
        from fiberloom.errors import MappingError
        from fiberloom.mapper.exact import Optimum, find_optimum
        from fiberloom.mapper.objective import parse_objective
        from fiberloom.mapping.constraints import Constraints
        from fiberloom.mapping.space import MapSpace

        workload, architecture = problem.workload, problem.architecture
        sought = parse_objective("latency" if self.objective == "cycles" else self.objective)
        best: Optimum | None = None
        bounds, refusal = [], None
        for constraints in one_index_per_axis(workload, architecture) if self.rigid else (Constraints(),):
            try:
                space = MapSpace(workload, architecture, constraints)
                found = find_optimum(problem, space, sought, seconds=self.seconds)
            except MappingError as error:
                refusal = error
                continue
            bounds.append(found.certificate.lower_bound)
            if best is None or sought.beats(found.energy_pj[0], found.cycles[0], best.energy_pj[0], best.cycles[0]):
                best = found
        if best is None:
            assert refusal is not None
            raise refusal
        value = float(sought.value(best.energy_pj[0], best.cycles[0]))
        if value > 0 and min(bounds) < value:
            self.gaps.append(1 - min(bounds) / value)
        return best.mappings[0]


def _contest(workload: Einsum, place: _Place, judge: CostModel, objective: str, rigid: bool) -> Contest:
    from fiberloom.cost_models.algorithms import algorithm_cost, natively_as_gemm, winner
    from fiberloom.errors import MappingError, UnsupportedError
    from fiberloom.report.cost_models import Contest
    from fiberloom.workload.algorithms import algorithms as ways

    costs, declined = {}, []
    for algorithm in ways(workload):
        try:
            costs[algorithm.name] = algorithm_cost(algorithm, place.build, place.find, judge)
        except (UnsupportedError, MappingError) as error:
            declined.append((algorithm.name, error.problem))
    if not rigid and isinstance(place.find, _Optimum) and "ttgt" in costs:
        # a search that was stopped may have missed what is known to be possible
        lifted = natively_as_gemm(costs["ttgt"], workload, place.build, judge)
        found = winner([costs["native"], lifted], objective) if "native" in costs else lifted
        costs = {"native": found} | {name: cost for name, cost in costs.items() if name != "native"}
        declined = [(name, reason) for name, reason in declined if name != "native"]
    if not costs:
        raise UnsupportedError(
            f"no algorithm for '{workload}' runs on '{place.name}': " + "; ".join(reason for _, reason in declined)
        )
    return Contest(str(workload), place.name, tuple(costs.values()), tuple(declined))
