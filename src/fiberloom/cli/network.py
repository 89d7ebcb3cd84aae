"""``fiberloom network``: a whole network on one or several designs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fiberloom.cli.failure import EXIT_INTERRUPTED
from fiberloom.cli.files import AsJson
from fiberloom.cli.output import print_all, print_json
from fiberloom.cli.saving import refuse_unwritable, save
from fiberloom.errors import MissingExtraError, SpecError

if TYPE_CHECKING:
    from fiberloom.network_evaluation import Case, NetworkResult, Progress


def network(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A network of the zoo (resnet50), an ONNX file, config.json, StableHLO or MLIR text, module.py:function.",
        ),
    ],
    arch: Annotated[
        list[str] | None,
        typer.Option(
            "--arch", metavar="NAME|FILE", help="A design of the library or a YAML file; repeat it to compare."
        ),
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            "--objective", metavar="NAME", help="edp | energy | latency | a product such as energy*latency^2."
        ),
    ] = "edp",
    mapper: Annotated[
        str, typer.Option("--mapper", metavar="NAME", help="exact, or one that 'fiberloom mappers' lists.")
    ] = "exact",
    time: Annotated[
        float | None, typer.Option("--time", metavar="S", help="Most seconds per layer: 30 (sampling mappers: 10).")
    ] = None,
    evaluations: Annotated[
        int | None, typer.Option("--evaluations", metavar="N", help="Most mappings per layer (sampling mappers).")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of a sampling mapper's random choices.")] = 0,
    batch: Annotated[
        str | None, typer.Option("--batch", metavar="N[,N…]", help="Batch size; several are evaluated side by side.")
    ] = None,
    dim: Annotated[
        list[str] | None, typer.Option("--dim", metavar="NAME=N", help="Extent of a dynamic axis, such as seq=128.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights", metavar="D[,D…]", help="Density of all weights: 0.3, 2:4 or dense; several: side by side."
        ),
    ] = None,
    activations: Annotated[
        str | None, typer.Option("--activations", metavar="D[,D…]", help="Density of all activations, likewise.")
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(
            "--profile", "--density", metavar="FILE", help="Sparsity profile, as 'fiberloom profile' makes it."
        ),
    ] = None,
    widths: Annotated[
        str,
        typer.Option(
            "--widths",
            metavar="HOW",
            help="fit: the network's number formats, no wider than a design's words | network | design: its words.",
        ),
    ] = "fit",
    fuse: Annotated[
        bool,
        typer.Option("--fuse", help="Compute element-wise operators behind an Einsum as its output leaves the array."),
    ] = False,
    keep_on_chip: Annotated[
        bool,
        typer.Option("--keep-on-chip", help="Hold intermediates on chip where they fit beside the layers' own tiles."),
    ] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", metavar="N", help="Worker processes; without it, one per core.")
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", metavar="DIR", help="Keep answers there instead of in the user's cache folder."),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither read nor keep answers.")] = False,
    all_layers: Annotated[bool, typer.Option("--all-layers", help="Print all layers of long networks.")] = False,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="OUT", help="Save layers and operators as CSV.")] = None,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", metavar="OUT", help="Save layers and operators as Parquet.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="OUT", help="Save a report as one HTML file.")] = None,
    json: AsJson = False,
) -> None:
    """Map every layer of a network on one or several designs: cycles, energy, traffic and bottlenecks, per layer and in all."""
    for path in (csv, parquet, html):
        refuse_unwritable(path)
    if parquet is not None:
        _need_pyarrow()
    if not arch:
        raise SpecError(
            "no design is given", hint="name one with --arch, such as --arch stc ('fiberloom designs' lists them)"
        )
    if cache is not None and no_cache:
        raise SpecError("--cache beside --no-cache", hint="give one of them")
    from fiberloom.network_evaluation import run_network
    from fiberloom.network_evaluation.designs import read_designs

    designs = read_designs(list(arch))  # a mistyped name is told before a large model is read
    cases = read_cases(model, batch, dim or [], weights, activations, profile)
    where: bool | Path = False if no_cache else cache if cache is not None else True
    with _shown() as listen, _resumable(kept=not no_cache) as news:

        def both(progress: Progress) -> None:
            news.append(progress)
            listen(progress)

        result = run_network(
            cases,
            list(designs),
            objective=objective,
            mapper=mapper,
            seconds=time,
            evaluations=evaluations,
            seed=seed,
            widths=widths,
            keep_on_chip=keep_on_chip,
            fuse=fuse,
            jobs=_processes(jobs),
            cache=where,
            progress=both,
        )
    _save(result, csv, parquet, html)
    if json:
        print_json(result.to_dict())
    else:
        from fiberloom.report.network import network_report

        print_all(network_report(result, all_layers=all_layers))
        sys.stdout.flush()


def read_cases(
    model: str,
    batch: str | None,
    dims: list[str],
    weights: str | None,
    activations: str | None,
    profile: Path | None,
) -> list[Case]:
    """Every combination of the batch sizes and densities that the options list, as cases of one network.

    Raises:
        SpecError: for options that can't be read, and as `read_network`.
    """
    from fiberloom.cli.reading_progress import reading
    from fiberloom.network_evaluation import Case, parse_density, with_densities
    from fiberloom.workload.importers import read_network

    extents = _extents(dims)
    if batch is not None and "batch" in extents:
        raise SpecError("--batch beside --dim batch=…", hint="give one of them")
    batches = [_whole(text, "--batch") for text in batch.split(",")] if batch is not None else [None]
    densities = [
        [(text.strip(), parse_density(text, option)) for text in given.split(",")]
        if given is not None
        else [(None, None)]
        for option, given in (("--weights", weights), ("--activations", activations))
    ]
    sparsity = None
    if profile is not None:
        from fiberloom.workload.profile import SparsityProfile

        sparsity = SparsityProfile.read(profile)
    cases = []
    for size in batches:
        with reading(model) as progress:
            read = read_network(model, dims=extents if size is None else {**extents, "batch": size}, progress=progress)
        if sparsity is not None:
            read = sparsity.apply(read)
        for weight_text, weight in densities[0]:
            for activation_text, activation in densities[1]:
                settings = {"batch": size, "weights": weight_text, "activations": activation_text}
                settings = {key: value for key, value in settings.items() if value is not None}
                name = ", ".join(f"{key} {value}" for key, value in settings.items()) or "all"
                if sparsity is not None:
                    settings["profile"] = str(profile)
                cases.append(Case(name, with_densities(read, weight, activation), settings))
    if len({case.name for case in cases}) < len(cases):
        raise SpecError("a batch size or a density is given twice", hint="list each once")
    return cases


def _processes(jobs: int | None) -> int | None:
    if jobs is not None and jobs < 1:
        raise SpecError(f"{jobs} jobs", hint="at least one process searches; leave it out for one per core")
    return jobs


def _extents(texts: list[str]) -> dict[str, int]:
    extents = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise SpecError(f"--dim {text} is not name=extent", hint="for example: --dim seq=128")
        extents[name.strip()] = _whole(value, f"--dim {name.strip()}")
    return extents


def _whole(text: str, option: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise SpecError(f"{option} {text.strip() or '(nothing)'}", hint="a whole number from 1")
    return value


def _need_pyarrow() -> None:
    from importlib.util import find_spec

    if find_spec("pyarrow") is None:
        raise MissingExtraError("pyarrow", "frames", "--parquet")


def _save(result: NetworkResult, csv: Path | None, parquet: Path | None, html: Path | None) -> None:
    if csv is not None:
        from fiberloom.report.network import csv_text

        save(csv, csv_text(result))
    if parquet is not None:
        from fiberloom.report.network import write_parquet

        write_parquet(result, parquet)
    if html is not None:
        from fiberloom.report.html import write_report

        write_report(result.to_dict(), html)


@contextmanager
def _shown() -> Iterator[Callable[[Progress], None]]:
    """A bar on stderr that says what runs, and disappears in the end; nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Display
    from rich.table import Column

    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
    )
    with Display(*columns, console=console, transient=True, disable=not console.is_terminal) as display:
        task = display.add_task("", total=None, visible=False)

        def listen(news: Progress) -> None:
            running = "   ".join(news.running) if news.running else "starting the workers"
            display.update(
                task, total=news.searches, completed=news.done, description=running, visible=news.searches > 0
            )

        yield listen


@contextmanager
def _resumable(*, kept: bool) -> Iterator[list[Progress]]:
    """Turn Ctrl-C into a sentence that says what is not lost."""
    news: list[Progress] = []
    try:
        yield news
    except KeyboardInterrupt:
        last = news[-1] if news else None
        if last is None or not last.searches:
            print("interrupted before the first mapping was searched", file=sys.stderr)
        else:
            rest = (
                "they are kept: the same command goes on from there" if kept else "nothing is kept, as --no-cache says"
            )
            print(f"interrupted after {last.done} of {last.searches} searches; {rest}", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from None
