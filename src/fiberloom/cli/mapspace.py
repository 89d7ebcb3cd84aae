"""``fiberloom mapspace``: how many mappings there are, what constraints leave open, how much each axis matters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fiberloom.cli.evaluate import Rules
from fiberloom.cli.files import ArchitectureChoice, AsJson
from fiberloom.cli.map import EXACT, MapperFiles
from fiberloom.cli.output import print_all, print_json
from fiberloom.cli.search_progress import shown
from fiberloom.cli.target import ConstraintsFile, ObjectiveChoice, RemaindersChoice, read_target, refuse_budgets
from fiberloom.errors import MappingError, UnsupportedError

if TYPE_CHECKING:
    from fiberloom.mapper.axes import AxisSweep
    from fiberloom.mapper.search import SearchProblem
    from fiberloom.mapping.packed import PackedMappings

FALLBACK_EVALUATIONS = 50_000
"""Of random search, for the ablation of problems that the exact mapper does not take or solve in time."""


def mapspace(
    files: MapperFiles,
    arch: ArchitectureChoice = None,
    objective: ObjectiveChoice = None,
    constraints: ConstraintsFile = None,
    remainders: RemaindersChoice = False,
    rules: Rules = "fiberloom",
    samples: Annotated[
        int, typer.Option("--samples", min=1, max=10_000_000, help="Mappings drawn, and at most tried per axis.")
    ] = 10_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the samples.")] = 0,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Sweep each axis at the best mapping: what does it decide?")
    ] = False,
    time: Annotated[
        float, typer.Option("--time", metavar="S", help="For the exact mapper to find the ablation's best mapping.")
    ] = 30.0,
    json: AsJson = False,
) -> None:
    """Describe a map space: exact size, shares of canonical and valid mappings, what constraints fix, what axes decide."""
    refuse_budgets(time=time)
    target = read_target(
        files,
        architecture=arch,
        objective=objective,
        constraints=constraints,
        rules=rules,
        remainders=remainders,
    )

    import numpy as np

    from fiberloom.mapper.axes import levels_of, summarise
    from fiberloom.report.map_space import map_space_dict, map_space_report, sweep_dict

    rng = np.random.default_rng(seed)
    summary, levels = summarise(target.search, rng, samples), levels_of(target.search.space)
    sweeps: list[AxisSweep] = []
    found = ""
    details: dict[str, Any] | None = None
    if ablation:
        best, mapper, value = _best(target.search, time, seed)
        sweeps = _sweeps(target.search, best, rng, samples)
        name = target.search.objective.name
        details = {
            "objective": name,
            "mapper": mapper,
            "value": value,
            "axes": [sweep_dict(s) for s in sweeps],
        }
        found = f"{name} with the other axes as in the best mapping found, {value:.6g} by {mapper}"
    if json:
        print_json(map_space_dict(summary, levels, details))
        return
    problem = target.search.problem
    title = f"Map space of {problem.workload} on {problem.architecture.name}"
    print_all(map_space_report(title, summary, levels, sweeps, found))


def _sweeps(search: SearchProblem, best: PackedMappings, rng: Any, samples: int) -> list[AxisSweep]:
    from fiberloom.mapper.axes import sweep
    from fiberloom.mapping.space import AXES

    return [sweep(search, best, axis, rng, samples) for axis in AXES if search.space.varies(axis)]


def _best(search: SearchProblem, seconds: float, seed: int) -> tuple[PackedMappings, str, float]:
    """The best mapping as one packed row, the mapper that found it, and its objective."""
    from fiberloom.mapper.driver import run
    from fiberloom.mapper.exact import find_optimum
    from fiberloom.mapper.search import make
    from fiberloom.model.packing import pack

    if not search.space.remainders:  # the exact mapper takes none
        try:
            with shown(EXACT, search.objective) as progress:
                found = find_optimum(search.problem, search.space, search.objective, seconds=seconds, progress=progress)
            value = float(search.objective.value(found.energy_pj[0], found.cycles[0]))
            return search.space.canonical(pack(search.problem, found.mappings[:1])), EXACT, value
        except (UnsupportedError, MappingError):
            pass
    with shown("random", search.objective) as news:
        result = run(
            make("random", search, seed), search, evaluations=FALLBACK_EVALUATIONS, seconds=seconds, progress=news
        )
    if result.best_packed is None:
        from fiberloom.mapper.emptiness import why_nothing_is_valid

        raise why_nothing_is_valid(search, tried=result.evaluations)
    return result.best_packed, "random", result.value
