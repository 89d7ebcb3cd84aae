"""``fiberloom map``: the best mapping, and how far from the optimum it can be."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fiberloom.cli.evaluate import Rules
from fiberloom.cli.failure import EXIT_INTERRUPTED
from fiberloom.cli.files import ArchitectureChoice, AsJson
from fiberloom.cli.output import print_all, print_json
from fiberloom.cli.saving import refuse_unwritable, save_for_timeloop, save_specification
from fiberloom.cli.search_progress import shown, stopped_empty_handed
from fiberloom.cli.target import ConstraintsFile, ObjectiveChoice, RemaindersChoice, Target, read_target, refuse_budgets
from fiberloom.errors import MappingError, SpecError, UnsupportedError

if TYPE_CHECKING:
    from fiberloom.mapper.certificate import Certificate
    from fiberloom.mapping.nest import Mapping
    from fiberloom.report.mapping_search import SearchFacts

EXACT: Final = "exact"
"""The exact mapper's name; the others are `fiberloom.mapper.search.searchers`."""

SECONDS: Final = 10.0
"""Budget of a sampling mapper that is given none."""

MapperFiles = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...",
        help="Workload, architecture and constraints: fiberloom's YAML or Timeloop's mapper inputs.",
    ),
]


@dataclass(frozen=True)
class Found:
    """What a search found: one mapping, or a Pareto front by rising cycles; empty when nothing is valid."""

    mappings: tuple[Mapping, ...]
    costs: tuple[tuple[float, float], ...]
    best: int
    certificate: Certificate | None
    facts: SearchFacts


def map_files(
    files: MapperFiles,
    arch: ArchitectureChoice = None,
    objective: ObjectiveChoice = None,
    mapper: Annotated[
        str, typer.Option("--mapper", metavar="NAME", help="exact, or one that 'fiberloom mappers' lists.")
    ] = EXACT,
    time: Annotated[
        float | None,
        typer.Option("--time", metavar="S", help="Stop after so many seconds; sampling mappers without a budget: 10."),
    ] = None,
    evaluations: Annotated[
        int | None, typer.Option("--evaluations", metavar="N", help="Stop after so many mappings (sampling mappers).")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of a sampling mapper's random choices.")] = 0,
    front: Annotated[bool, typer.Option("--front", help="All Pareto-optimal mappings in energy and cycles.")] = False,
    constraints: ConstraintsFile = None,
    remainders: RemaindersChoice = False,
    rules: Rules = "fiberloom",
    store: Annotated[
        Path | None, typer.Option("--store", metavar="FILE", help="Append every trial to this file.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the search in --store stopped.")] = False,
    hyper: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A hyper-parameter of the mapper.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="OUT", help="Save everything as YAML that 'evaluate' takes."),
    ] = None,
    timeloop: Annotated[
        Path | None, typer.Option("--timeloop", metavar="OUT", help="Save the mapping as Timeloop's YAML.")
    ] = None,
    memory: Annotated[
        float, typer.Option("--memory", metavar="MB", help="What the exact mapper may take for its labels.")
    ] = 4000.0,
    savings: Annotated[
        bool, typer.Option("--savings/--no-savings", help="Show what each sparse feature saves under this mapping.")
    ] = True,
    json: AsJson = False,
) -> None:
    """Find the best mapping of a workload on an architecture, and say how far from the optimum it can be."""
    _refuse_contradictions(mapper, evaluations, front=front, store=store, resume=resume, hyper=hyper)
    if remainders and mapper == EXACT:
        raise UnsupportedError(
            "--remainders with the exact mapper, which takes factors that divide the bounds",
            hint="name a sampling mapper, such as --mapper genetic, or leave --remainders out",
        )
    refuse_budgets(time=time, evaluations=evaluations, memory=memory)
    for path in (output, timeloop, store):
        refuse_unwritable(path)
    target = read_target(
        files,
        architecture=arch,
        objective=objective,
        constraints=constraints,
        rules=rules,
        remainders=remainders,
    )
    parameters = _hyper_parameters(hyper or [])
    with stopped_empty_handed("a valid mapping was found"):
        if mapper == EXACT:
            found = _exact(target, time, memory, front=front)
        else:
            found = _sampled(target, mapper, parameters, evaluations, time, seed, store, resume=resume)
        interrupted = found.facts.stopped == "interrupted"
        if interrupted and not found.mappings:
            raise KeyboardInterrupt
    if not found.mappings:
        from fiberloom.mapper.emptiness import why_nothing_is_valid

        raise why_nothing_is_valid(target.search, tried=found.facts.evaluations)
    best = found.mappings[found.best]
    if output is not None:
        save_specification(output, target.specification, best)
    if timeloop is not None:
        save_for_timeloop(timeloop, target.specification, best)
    _print(target, found, front=front, savings=savings, as_json=json)
    if interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)


def _refuse_contradictions(
    mapper: str,
    evaluations: int | None,
    *,
    front: bool,
    store: Path | None,
    resume: bool,
    hyper: list[str] | None,
) -> None:
    """Raise for options that do not go together, before anything is read."""
    from fiberloom.errors import nearest
    from fiberloom.mapper.search import searchers

    known = (EXACT, *searchers())
    if mapper not in known:
        raise SpecError(f"there is no mapper '{mapper}'", hint=nearest(mapper, known))
    if mapper == EXACT:
        for option, given in (("--evaluations", evaluations), ("--store", store), ("--set", hyper)):
            if given:
                raise SpecError(
                    f"{option} is for sampling mappers; the exact one tries no mappings one by one",
                    hint="leave it out, or name another --mapper ('fiberloom mappers' lists them)",
                )
    elif front:
        raise SpecError(f"--front needs the exact mapper, not '{mapper}'", hint="leave --mapper out")
    if resume and store is None:
        raise SpecError("--resume without --store", hint="name the file that the search wrote: --store FILE --resume")


def _hyper_parameters(texts: list[str]) -> dict[str, Any]:
    """``name=value`` as numbers, true, false, none or words."""
    parameters: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise SpecError(f"--set {text} is not name=value", hint="for example: --set population=100")
        parameters[name.strip()] = _value(value.strip())
    return parameters


def _value(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _exact(target: Target, seconds: float | None, memory: float, *, front: bool) -> Found:
    from fiberloom.mapper.certificate import exact_ending
    from fiberloom.mapper.emptiness import why_nothing_is_valid
    from fiberloom.mapper.exact import find_optimum
    from fiberloom.report.mapping_search import SearchFacts

    search = target.search
    try:
        with shown(EXACT, search.objective) as progress:
            optimum = find_optimum(
                search.problem,
                search.space,
                search.objective,
                seconds=seconds,
                memory_mb=memory,
                progress=progress,
                front=front,
            )
    except MappingError as error:
        if error.hint is not None:  # stopped before anything was found
            raise
        raise why_nothing_is_valid(search) from None
    costs = tuple(zip(map(float, optimum.energy_pj), map(float, optimum.cycles), strict=True))
    best = search.objective.best([pj for pj, _ in costs], [cycles for _, cycles in costs]) or 0
    value = float(search.objective.value(*costs[best])) if costs else float("inf")
    stopped = exact_ending(optimum.certificate, optimum.statistics)
    statistics = {name: fact for name, fact in optimum.statistics.items() if name != "stopped"}
    facts = SearchFacts(
        EXACT, search.objective, value, search.space.size(), optimum.seconds, stopped, statistics=statistics
    )
    return Found(tuple(optimum.mappings), costs, best, optimum.certificate, facts)


def _sampled(
    target: Target,
    mapper: str,
    parameters: dict[str, Any],
    evaluations: int | None,
    seconds: float | None,
    seed: int,
    store: Path | None,
    *,
    resume: bool,
) -> Found:
    from contextlib import nullcontext

    from fiberloom.mapper.driver import run
    from fiberloom.mapper.floor import certified
    from fiberloom.mapper.search import make
    from fiberloom.mapper.trials import TrialStore
    from fiberloom.report.mapping_search import SearchFacts

    search = target.search
    searcher = make(mapper, search, seed, **parameters)
    if evaluations is None and seconds is None:
        seconds = SECONDS
    with TrialStore(store) if store is not None else nullcontext() as trials, shown(mapper, search.objective) as news:
        result = run(
            searcher,
            search,
            evaluations=evaluations,
            seconds=seconds,
            seed=seed,
            store=trials,
            resume=resume,
            progress=news,
        )
    facts = SearchFacts(
        mapper,
        search.objective,
        result.value,
        search.space.size(),
        result.seconds,
        result.stopped,
        result.prepare_seconds,
        result.evaluations,
        result.valid,
        {"seed": seed, "hyper_parameters": searcher.hyper_parameters, "replayed": result.replayed},
    )
    if result.best is None or result.best_outcome is None:
        return Found((), (), 0, None, facts)
    cost = (float(result.best_outcome.energy_pj[0]), float(result.best_outcome.cycles[0]))
    return Found((result.best,), (cost,), 0, certified(search, searcher, result), facts)


def _print(target: Target, found: Found, *, front: bool, savings: bool, as_json: bool) -> None:
    from fiberloom.model.evaluate import evaluate_problem
    from fiberloom.report.mapping_search import front_table, mapping_report
    from fiberloom.report.savings import feature_savings
    from fiberloom.report.tables import heading

    problem, base = target.search.problem, target.specification.base_directory
    mapping, certificate = found.mappings[found.best], found.certificate
    assert certificate is not None
    result = evaluate_problem(problem, mapping)
    result = replace(result, warnings=(*target.notes, *result.warnings))
    if as_json:
        answer = {
            **result.to_dict(),
            "mapping": _plain(target, mapping),
            "certificate": certificate.to_dict(),
            "search": found.facts.to_dict(),
        }
        if front:
            answer["front"] = [
                {"cycles": cycles, "energy_pj": pj, "mapping": _plain(target, point)}
                for point, (pj, cycles) in zip(found.mappings, found.costs, strict=True)
            ]
        print_json(answer)
        return
    saved = (
        feature_savings(
            problem.workload, problem.architecture, mapping, result, rules=problem.rules, base_directory=base
        )
        if savings
        else ()
    )
    print_all(mapping_report(result, certificate, found.facts, saved))
    if front:
        print_all((heading(f"Pareto front: {len(found.costs)} mappings"), front_table(found.costs, found.best)))
    sys.stdout.flush()


def _plain(target: Target, mapping: Mapping) -> Any:
    """The section ``mapping`` of fiberloom's YAML as lists and dictionaries."""
    import yaml

    from fiberloom.input.native_dump import dump
    from fiberloom.input.specification import Specification

    return yaml.safe_load(dump(Specification(target.specification.workload, None, mapping)))["mapping"]
